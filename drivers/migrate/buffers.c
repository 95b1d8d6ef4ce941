/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "buffers.h"

static int
class_of(size_t bytes)
{
	int class = 0;

	while (((size_t)1 << (BUFFER_MIN_SHIFT + class)) < bytes)
		class ++;
	assert(class < BUFFER_CLASSES);
	return class;
}

static size_t
class_bytes(int class)
{
	return (size_t)1 << (BUFFER_MIN_SHIFT + class);
}

/* A free buffer holds the address of the next one of its class. */
static void *
pop(struct buffers *b, int class)
{
	void *buf = b->free[class];

	if (buf) {
		memcpy(&b->free[class], buf, sizeof(void *));
		b->kept -= class_bytes(class);
	}
	return buf;
}

void
buffers_init(struct buffers *b, size_t limit)
{
	*b = (struct buffers){ .limit = limit };
}

/* Gives kept buffers back to the system, the largest first, until bytes are free. */
static void
shrink(struct buffers *b, size_t bytes)
{
	for (int class = BUFFER_CLASSES - 1; class >= 0; class --)
		while (b->in_use + b->kept + bytes > b->limit && b->free[class])
			free(pop(b, class));
}

void
buffers_release(struct buffers *b)
{
	assert(!b->in_use);
	b->limit = 0;
	shrink(b, 0);
}

void *
buffers_get(struct buffers *b, size_t bytes)
{
	int class = class_of(bytes);
	size_t size = class_bytes(class);
	void *buf;

	if (b->in_use && b->in_use + size > b->limit)
		return NULL;
	buf = pop(b, class);
	if (!buf) {
		shrink(b, size);
		buf = aligned_alloc((size_t)1 << BUFFER_MIN_SHIFT, size);
	}
	if (buf)
		b->in_use += size;
	return buf;
}

void
buffers_put(struct buffers *b, void *buf, size_t bytes)
{
	int class = class_of(bytes);

	memcpy(buf, &b->free[class], sizeof(void *));
	b->free[class] = buf;
	b->in_use -= class_bytes(class);
	b->kept += class_bytes(class);
}
