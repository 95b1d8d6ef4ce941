/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gaps.h - how long a gap between two writes is quicker written too than left out
 *
 * Until a disk has done what it has to do is taken to be
 *
 *	ns = c + a * requests + b * bytes
 *
 * b is at most what the quickest bytes of late have taken, and is taken for that; a is the
 * slope of the rest over the last SAMPLES or so. A gap of a / b bytes costs as much as the
 * request that it saves. It must be read too, takes bandwidth of the guest's and wears the
 * disk: GAIN times less is worth it. That is a few KiB at most on flash, which does several
 * at once, and hundreds on a spindle, which would seek. Where there are always as many
 * requests, what was known before fades, so that it is found out again.
 */
#ifndef MIGRATE_GAPS_H
#define MIGRATE_GAPS_H

#include <stdint.h>

struct gaps {
	double byte_ns;
	double requests, ns; /* means; of the time without that for the bytes */
	double rr, rt;	     /* variance of requests, and covariance of both */
	double worth;	     /* bytes */
};

/* So many requests, of so many bytes together, were under way at once, and took so long. */
void gaps_learn(struct gaps *g, unsigned requests, uint64_t bytes, uint64_t ns);

/* Bytes; 0 while nothing is known. */
uint64_t gaps_worth(const struct gaps *g);

#endif
