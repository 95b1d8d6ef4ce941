/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffers.h - buffers for direct I/O that are used again
 *
 * Sizes are powers of two. What is given back is kept for the next one who asks,
 * up to a bound, so that a steady load allocates nothing. How much is in use at
 * once is the user's to bound.
 */
#ifndef MIGRATE_BUFFERS_H
#define MIGRATE_BUFFERS_H

#include <stddef.h>

#define BUFFER_MIN_SHIFT 12 /* the least size, 4 KiB, and the alignment */
#define BUFFER_MAX_SHIFT 25 /* the largest, 32 MiB */

struct buffers {
	size_t idle_max; /* bytes kept at the most */
	size_t idle;	 /* bytes kept */
	void *lists[BUFFER_MAX_SHIFT - BUFFER_MIN_SHIFT + 1];
};

void buffers_init(struct buffers *b, size_t idle_max);

/* Frees what is kept. */
void buffers_release(struct buffers *b);

/* What a buffer for that many bytes (1 to 32 MiB) takes. */
size_t buffers_size(size_t bytes);

/* At least bytes, contents undefined; NULL if out of memory. */
void *buffers_get(struct buffers *b, size_t bytes);

/* Takes a buffer back; bytes as it was asked for. NULL is allowed. */
void buffers_put(struct buffers *b, void *buf, size_t bytes);

#endif
