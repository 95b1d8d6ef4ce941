/* SPDX-License-Identifier: BSD-3-Clause */
#include "pacer.h"

#define NS_PER_S 1000000000ull

static int64_t
capacity(const struct pacer *p)
{
	return (int64_t)(p->rate / 10 + 1);
}

void
pacer_set(struct pacer *p, uint64_t bytes_per_s, uint64_t now_ns)
{
	p->rate = bytes_per_s;
	p->filled_ns = now_ns;
	p->level = capacity(p);
}

uint64_t
pacer_ready_ns(struct pacer *p, uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns - p->filled_ns;

	if (!p->rate)
		return now_ns;
	/* A second more than fills any debt of one copy's size; it also keeps
	 * the product below within 64 bits at 16 GiB/s. */
	if (elapsed_ns > NS_PER_S) {
		p->level += (int64_t)(p->rate * (elapsed_ns / NS_PER_S));
		p->filled_ns += elapsed_ns / NS_PER_S * NS_PER_S;
		elapsed_ns %= NS_PER_S;
	}
	/* Only whole bytes are credited, and only the time they stand for. */
	uint64_t bytes = elapsed_ns * p->rate / NS_PER_S;
	p->level += (int64_t)bytes;
	p->filled_ns += bytes * NS_PER_S / p->rate;
	if (p->level > capacity(p))
		p->level = capacity(p);
	if (p->level > 0)
		return now_ns;
	return now_ns + ((uint64_t)(1 - p->level) * NS_PER_S + p->rate - 1) / p->rate;
}

void
pacer_take(struct pacer *p, uint64_t bytes)
{
	if (p->rate)
		p->level -= (int64_t)bytes;
}
