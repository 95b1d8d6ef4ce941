/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "slots.h"

#define HUGE_PAGE ((size_t)2 << 20)

static size_t
block_bytes(const struct slots *s)
{
	return s->size * s->per_block;
}

void
slots_init(struct slots *s, size_t size)
{
	*s = (struct slots){
		.size = size,
		.per_block = size < HUGE_PAGE ? (unsigned)(HUGE_PAGE / size) : 1,
	};
}

void
slots_release(struct slots *s)
{
	assert(!s->used);
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		free(s->blocks[i]);
}

void *
slots_get(struct slots *s)
{
	unsigned slot;
	char **block;

	if (!~s->used)
		return NULL;
	slot = (unsigned)__builtin_ctzll(~s->used);
	block = &s->blocks[slot / s->per_block];
	if (!*block) {
		*block = aligned_alloc(HUGE_PAGE, block_bytes(s));
		if (!*block)
			return NULL;
		/* A host without huge pages copies more slowly, and that is all. */
		madvise(*block, block_bytes(s), MADV_HUGEPAGE);
	}
	s->used |= 1ull << slot;
	return *block + slot % s->per_block * s->size;
}

void
slots_put(struct slots *s, void *buf)
{
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		uintptr_t offset = (uintptr_t)buf - (uintptr_t)s->blocks[i];

		if (s->blocks[i] && offset < block_bytes(s)) {
			s->used &= ~(1ull << (i * s->per_block + offset / s->size));
			return;
		}
	}
	assert(!"a buffer of these slots");
}
