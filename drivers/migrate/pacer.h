/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pacer.h - how fast the copier may go
 *
 * A bucket that fills at the rate the operator set and holds at most a tenth of
 * a second's worth. A copy may start while the bucket is not empty and takes
 * its bytes at once, so the bucket may go into debt by one copy: the mean rate
 * is exact however large the copies are, and waking early buys nothing.
 */
#ifndef MIGRATE_PACER_H
#define MIGRATE_PACER_H

#include <stdint.h>

struct pacer {
	uint64_t rate; /* bytes a second; 0: no limit */
	int64_t level; /* bytes */
	uint64_t filled_ns;
};

/* A new rate takes effect from now; what was saved or owed is forgotten. */
void pacer_set(struct pacer *p, uint64_t bytes_per_s, uint64_t now_ns);

/* When a copy may start: now_ns, or a later time. */
uint64_t pacer_ready_ns(struct pacer *p, uint64_t now_ns);

/* A copy of that many bytes has started. */
void pacer_take(struct pacer *p, uint64_t bytes);

#endif
