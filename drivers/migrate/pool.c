/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

#define BLOCK_OBJECTS 64

struct block {
	struct block *next;
	_Alignas(max_align_t) char objects[];
};

void
pool_init(struct pool *p, size_t size)
{
	size_t align = _Alignof(max_align_t);

	*p = (struct pool){ .size = (size + align - 1) / align * align };
}

void
pool_release(struct pool *p)
{
	struct block *next;

	assert(!p->used);
	for (struct block *b = p->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	*p = (struct pool){ .size = p->size };
}

static void
push(struct pool *p, void *object)
{
	memcpy(object, &p->free, sizeof(p->free));
	p->free = object;
}

static int
grow(struct pool *p)
{
	struct block *b = malloc(sizeof(*b) + BLOCK_OBJECTS * p->size);

	if (!b)
		return -1;
	b->next = p->blocks;
	p->blocks = b;
	for (int i = 0; i < BLOCK_OBJECTS; i++)
		push(p, b->objects + (size_t)i * p->size);
	return 0;
}

void *
pool_get(struct pool *p)
{
	void *object;

	if (!p->free && grow(p))
		return NULL;
	object = p->free;
	memcpy(&p->free, object, sizeof(p->free));
	p->used++;
	return memset(object, 0, p->size);
}

void
pool_put(struct pool *p, void *object)
{
	p->used--;
	push(p, object);
}
