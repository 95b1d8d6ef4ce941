/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c - the engine's pools and buffers, laid out within the world
 *
 * In place of pool.c, buffers.c and slots.c: whoever asks gets the lowest free
 * cell, so that states that differ only in who was served first come out alike.
 * What has been given back holds nonsense.
 */
#include <assert.h>
#include <string.h>

#include "buffers.h"
#include "model.h"
#include "pool.h"
#include "slots.h"

static void *
cell_get(void)
{
	for (unsigned i = 0; i < CELLS; i++)
		if (!world.cell_used[i]) {
			world.cell_used[i] = true;
			return world.cells[i];
		}
	assert(!"a free cell");
	return NULL;
}

static void
cell_put(void *cell)
{
	size_t i = (size_t)((char(*)[CELL_BYTES])cell - world.cells);

	assert(i < CELLS && world.cell_used[i]);
	world.cell_used[i] = false;
	memset(cell, 0xdd, CELL_BYTES);
}

void
pool_init(struct pool *p, size_t size)
{
	assert(size <= CELL_BYTES);
	*p = (struct pool){ .size = size };
}

void
pool_release(struct pool *p)
{
	assert(!p->used);
}

void *
pool_get(struct pool *p)
{
	p->used++;
	return memset(cell_get(), 0, CELL_BYTES);
}

void
pool_put(struct pool *p, void *object)
{
	p->used--;
	cell_put(object);
}

void
buffers_init(struct buffers *b, size_t idle_max)
{
	memset(b, 0, sizeof(*b));
}

void
buffers_release(struct buffers *b)
{
}

size_t
buffers_size(size_t bytes)
{
	return bytes;
}

void *
buffers_get(struct buffers *b, size_t bytes)
{
	assert(bytes <= CELL_BYTES);
	return cell_get();
}

void
buffers_put(struct buffers *b, void *buf, size_t bytes)
{
	cell_put(buf);
}

void
slots_init(struct slots *s, size_t size)
{
	/* A chunk's; but of the only chunk, the disk has no more than a cell holds. */
	memset(s, 0, sizeof(*s));
}

void
slots_release(struct slots *s)
{
	assert(!s->used);
}

void *
slots_get(struct slots *s)
{
	s->used++;
	return cell_get();
}

void
slots_put(struct slots *s, void *buf)
{
	s->used--;
	cell_put(buf);
}
