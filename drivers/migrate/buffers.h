/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffers.h - aligned buffers within a budget
 *
 * For the engine's own copies of mirrored writes. Buffers come in sizes of a
 * power of two and are kept for reuse, so that the steady state allocates
 * nothing; what is in use and what is kept never exceed the limit together, but
 * for one buffer, which is always granted.
 */
#ifndef MIGRATE_BUFFERS_H
#define MIGRATE_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

#define BUFFER_MIN_SHIFT 12 /* 4 KiB, also the alignment */
#define BUFFER_CLASSES	 13 /* up to 16 MiB */

struct buffers {
	size_t limit;  /* bytes */
	size_t in_use; /* bytes */
	size_t kept;   /* bytes */
	void *free[BUFFER_CLASSES];
};

void buffers_init(struct buffers *b, size_t limit);
void buffers_release(struct buffers *b); /* none in use */

/*
 * A buffer of at least that many bytes (> 0, at most 16 MiB), or NULL: over
 * budget, or out of memory. An empty budget grants any one buffer.
 */
void *buffers_get(struct buffers *b, size_t bytes);

/* Takes a buffer back; bytes as it was asked for. */
void buffers_put(struct buffers *b, void *buf, size_t bytes);

#endif
