/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-buffers.h - buffers for direct I/O that are used again
 *
 * Sizes are powers of two. What is given back is kept for the next one who
 * asks, up to TAPDISK_BUFFERS_IDLE bytes; so a steady load allocates nothing.
 */
#ifndef TAPDISK_BUFFERS_H
#define TAPDISK_BUFFERS_H

#include <stddef.h>

#define TAPDISK_BUFFER_MIN_SHIFT 12 /* the least size, and the alignment */
#define TAPDISK_BUFFER_MAX_SHIFT 25

#define TAPDISK_BUFFERS_IDLE ((size_t)32 << 20)

/* Zeroed at first. */
struct tapdisk_buffers {
	void *idle[TAPDISK_BUFFER_MAX_SHIFT - TAPDISK_BUFFER_MIN_SHIFT + 1];
	size_t idle_bytes;
};

/* What a buffer for size bytes takes; size is 1 to 32 MiB. */
size_t tapdisk_buffer_size(size_t size);

/* At least size bytes, aligned to 4096, contents undefined; or NULL. */
void *tapdisk_buffer_get(struct tapdisk_buffers *buffers, size_t size);

/* size: as it was asked for. NULL is allowed. */
void tapdisk_buffer_put(struct tapdisk_buffers *buffers, void *buffer, size_t size);

/* Frees what is idle. */
void tapdisk_buffers_trim(struct tapdisk_buffers *buffers);

#endif
