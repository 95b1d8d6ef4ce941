/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "tapdisk-buffers.h"

/* The shift of the least power of two that holds size bytes. */
static unsigned int
buffer_shift(size_t size)
{
	const unsigned int shift = size > 1 ? 64 - __builtin_clzl(size - 1) : 0;

	return shift < TAPDISK_BUFFER_MIN_SHIFT ? TAPDISK_BUFFER_MIN_SHIFT : shift;
}

/* Idle buffers of a size are a list, linked through their first word. */
static void **
idle_list(struct tapdisk_buffers *buffers, unsigned int shift)
{
	return &buffers->idle[shift - TAPDISK_BUFFER_MIN_SHIFT];
}

static void *
take_idle(struct tapdisk_buffers *buffers, unsigned int shift)
{
	void **list = idle_list(buffers, shift);
	void *buffer = *list;

	if (buffer) {
		*list = *(void **)buffer;
		buffers->idle_bytes -= (size_t)1 << shift;
	}
	return buffer;
}

size_t
tapdisk_buffer_size(size_t size)
{
	return (size_t)1 << buffer_shift(size);
}

void *
tapdisk_buffer_get(struct tapdisk_buffers *buffers, size_t size)
{
	const unsigned int shift = buffer_shift(size);
	void *buffer = take_idle(buffers, shift);

	if (!buffer)
		buffer = aligned_alloc((size_t)1 << TAPDISK_BUFFER_MIN_SHIFT,
				       (size_t)1 << shift);
	return buffer;
}

void
tapdisk_buffer_put(struct tapdisk_buffers *buffers, void *buffer, size_t size)
{
	const unsigned int shift = buffer_shift(size);
	const size_t bytes = (size_t)1 << shift;
	void **list = idle_list(buffers, shift);

	if (!buffer || buffers->idle_bytes + bytes > TAPDISK_BUFFERS_IDLE) {
		free(buffer);
		return;
	}
	*(void **)buffer = *list;
	*list = buffer;
	buffers->idle_bytes += bytes;
}

void
tapdisk_buffers_trim(struct tapdisk_buffers *buffers)
{
	for (unsigned int shift = TAPDISK_BUFFER_MIN_SHIFT; shift <= TAPDISK_BUFFER_MAX_SHIFT;
	     shift++) {
		void *buffer;

		while ((buffer = take_idle(buffers, shift)))
			free(buffer);
	}
}
