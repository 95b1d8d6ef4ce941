/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slots.h - the copier's buffers: a few large ones, in huge pages
 *
 * A unit in 4 KiB pages is hundreds of segments to the disk, more than many
 * take in one request; in a huge page it is one. That was measured to more than
 * double the speed of the copy.
 *
 * Buffers come in blocks of at least a huge page, taken when first needed and
 * kept, the lowest first: as many as were ever in use at once, rounded up to
 * whole blocks.
 */
#ifndef MIGRATE_SLOTS_H
#define MIGRATE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#define SLOTS_MAX 64

struct slots {
	size_t size;	    /* bytes of a buffer, a power of two */
	unsigned per_block; /* buffers */
	uint64_t used;	    /* a bit for each buffer */
	char *blocks[SLOTS_MAX];
};

void slots_init(struct slots *s, size_t size);
void slots_release(struct slots *s); /* none in use */

/* A buffer, or NULL: SLOTS_MAX are in use, or there is no memory. */
void *slots_get(struct slots *s);
void slots_put(struct slots *s, void *buf);

#endif
