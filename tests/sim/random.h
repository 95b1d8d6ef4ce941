/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * random.h - everything that a simulation leaves to chance, from one seed
 */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

/* splitmix64 */
static inline uint64_t
rng_next(struct rng *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 .. n - 1 */
static inline uint64_t
rng_below(struct rng *r, uint64_t n)
{
	return n ? rng_next(r) % n : 0;
}

static inline uint64_t
rng_range(struct rng *r, uint64_t low, uint64_t high)
{
	return low + rng_below(r, high - low + 1);
}

static inline bool
rng_chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

/* 1 .. high, every order of magnitude as likely as the next. */
static inline uint64_t
rng_scale(struct rng *r, uint64_t high)
{
	uint64_t top = high;

	while (top > 1 && rng_chance(r, 50))
		top /= 2;
	return rng_range(r, 1, top);
}

#endif
