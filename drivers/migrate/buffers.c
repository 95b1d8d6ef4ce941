/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "buffers.h"

#define LISTS (sizeof(((struct buffers *)0)->lists) / sizeof(void *))

/* Which list has buffers of at least that many bytes. */
static unsigned
list_of(size_t bytes)
{
	unsigned list = 0;

	while (((size_t)1 << (BUFFER_MIN_SHIFT + list)) < bytes)
		list++;
	assert(list < LISTS);
	return list;
}

static size_t
list_size(unsigned list)
{
	return (size_t)1 << (BUFFER_MIN_SHIFT + list);
}

/* Takes one that is kept, or NULL. Its first bytes hold the next one's address. */
static void *
take(struct buffers *b, unsigned list)
{
	void *buf = b->lists[list];

	if (buf) {
		memcpy(&b->lists[list], buf, sizeof(void *));
		b->idle -= list_size(list);
	}
	return buf;
}

void
buffers_init(struct buffers *b, size_t idle_max)
{
	*b = (struct buffers){ .idle_max = idle_max };
}

void
buffers_release(struct buffers *b)
{
	void *buf;

	for (unsigned list = 0; list < LISTS; list++)
		while ((buf = take(b, list)))
			free(buf);
}

size_t
buffers_size(size_t bytes)
{
	return list_size(list_of(bytes));
}

void *
buffers_get(struct buffers *b, size_t bytes)
{
	unsigned list = list_of(bytes);
	void *buf = take(b, list);

	return buf ? buf : aligned_alloc(list_size(0), list_size(list));
}

void
buffers_put(struct buffers *b, void *buf, size_t bytes)
{
	unsigned list = list_of(bytes);

	if (!buf || b->idle + list_size(list) > b->idle_max) {
		free(buf);
		return;
	}
	memcpy(buf, &b->lists[list], sizeof(void *));
	b->lists[list] = buf;
	b->idle += list_size(list);
}
