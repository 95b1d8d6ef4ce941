/* SPDX-License-Identifier: BSD-3-Clause */
#include "gaps.h"

#define SAMPLES	  64.0
#define GAIN	  4.0
#define DIFFERENT 0.5  /* requests squared: their least variance */
#define APART	  0.02 /* 1 - the square of the greatest correlation with bytes */
#define WORTH_MAX ((double)(1u << 30))

static void
vary(double *variance, double product)
{
	*variance = (1 - 1 / SAMPLES) * (*variance + product / SAMPLES);
}

void
gaps_learn(struct gaps *g, unsigned requests, uint64_t bytes, uint64_t ns)
{
	double r = requests - g->requests, b = (double)bytes - g->bytes, t = (double)ns - g->ns;
	double of_request, of_byte;

	if (!g->requests) {
		*g = (struct gaps){ .requests = r, .bytes = b, .ns = t, .worth = g->worth };
		return;
	}
	g->requests += r / SAMPLES;
	g->bytes += b / SAMPLES;
	g->ns += t / SAMPLES;
	vary(&g->rr, r * r);
	vary(&g->rb, r * b);
	vary(&g->bb, b * b);
	vary(&g->rt, r * t);
	vary(&g->bt, b * t);
	if (g->rr < DIFFERENT || g->rr * g->bb - g->rb * g->rb < APART * g->rr * g->bb) {
		g->worth *= 1 - 1 / SAMPLES;
		return;
	}
	of_request = g->bb * g->rt - g->rb * g->bt;
	of_byte = g->rr * g->bt - g->rb * g->rt;
	if (of_request <= 0)
		g->worth = 0;
	else if (of_byte > 0)
		g->worth = of_request / of_byte / GAIN < WORTH_MAX ? of_request / of_byte / GAIN
								   : WORTH_MAX;
}

uint64_t
gaps_worth(const struct gaps *g)
{
	return (uint64_t)g->worth;
}
