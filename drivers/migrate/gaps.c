/* SPDX-License-Identifier: BSD-3-Clause */
#include "gaps.h"

#define SAMPLES	  64.0
#define FADE	  1024.0 /* samples, until e times less is left */
#define GAIN	  4.0
#define DIFFERENT 0.5 /* requests squared: their least variance */
#define WORTH_MAX ((double)(1u << 30))

static void
vary(double *variance, double product)
{
	*variance = (1 - 1 / SAMPLES) * (*variance + product / SAMPLES);
}

void
gaps_learn(struct gaps *g, unsigned requests, uint64_t bytes, uint64_t ns)
{
	double byte_ns = (double)ns / (double)bytes, r, t;

	if (!g->byte_ns || byte_ns < g->byte_ns)
		g->byte_ns = byte_ns;
	else
		g->byte_ns *= 1 + 1 / FADE;
	if (!g->requests)
		g->requests = requests;
	r = requests - g->requests;
	t = (double)ns - g->byte_ns * (double)bytes - g->ns;
	g->requests += r / SAMPLES;
	g->ns += t / SAMPLES;
	vary(&g->rr, r * r);
	vary(&g->rt, r * t);
	if (g->rr < DIFFERENT)
		g->worth *= 1 - 1 / FADE;
	else if (g->rt <= 0)
		g->worth = 0;
	else if (g->rt >= g->rr * g->byte_ns * GAIN * WORTH_MAX)
		g->worth = WORTH_MAX;
	else
		g->worth = g->rt / g->rr / g->byte_ns / GAIN;
}

uint64_t
gaps_worth(const struct gaps *g)
{
	return (uint64_t)g->worth;
}
