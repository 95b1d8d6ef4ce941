/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gaps.h - how long a gap between two writes is quicker written too than left out
 *
 * Until a disk has done what it has to do is taken to be
 *
 *	ns = c + a * requests + b * bytes
 *
 * fitted to about the last SAMPLES of them by least squares. A gap of a / b bytes costs as
 * much as the request that it saves. It must be read too, takes bandwidth of the guest's
 * and wears the disk: GAIN times less is worth it. That is little or nothing on flash,
 * which does several at once, and hundreds of KiB on a spindle, which would seek. What
 * others ask of the disk makes a and b larger, and not the gap. Where they cannot be told
 * apart, for there are always as many bytes to a request, what was known before fades, so
 * that it is found out again.
 */
#ifndef MIGRATE_GAPS_H
#define MIGRATE_GAPS_H

#include <stdint.h>

struct gaps {
	double requests, bytes, ns; /* means */
	double rr, rb, bb, rt, bt;  /* (co)variances of requests, bytes and time */
	double worth;		    /* bytes */
};

/* So many requests, of so many bytes together, were under way at once, and took so long. */
void gaps_learn(struct gaps *g, unsigned requests, uint64_t bytes, uint64_t ns);

/* Bytes; 0 while nothing is known. */
uint64_t gaps_worth(const struct gaps *g);

#endif
