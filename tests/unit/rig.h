/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rig.h - a world whose migration has a journal, in memory
 *
 * Include it after cmocka.h.
 */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include "memory-store.h"
#include "world.h"

#define ENTRIES 16384u /* live changes, as in tapdisk */
#define DEPTH	4u

struct rig {
	struct memory memory;
	struct journal_live *live;
	struct world *w;
};

static inline size_t
no_note(void *ctx, char *buf, size_t size)
{
	return 0;
}

/* A migration with a journal that has been begun. */
static inline void
rig_start(struct rig *r, struct world_config config)
{
	struct journal_config journal = {
		.store = &r->memory.store,
		.epoch = 1,
		.head = "",
		.note = no_note,
		.ctx = r,
	};

	memory_init(&r->memory);
	r->live = calloc(1, journal_live_bytes(ENTRIES));
	r->live->entries = ENTRIES;
	journal.live = r->live;
	config.journal = journal_create(
		&journal, config.sectors ? config.sectors : strlen(config.chunks) * CHUNK);
	assert_non_null(config.journal);
	config.depth = config.depth ? config.depth : DEPTH;
	r->w = world_begin(&config);
}

/* What is left once its world is gone. */
static inline void
rig_free(struct rig *r)
{
	memory_release(&r->memory);
	free(r->live);
}

static inline void
rig_end(struct rig *r)
{
	world_end(r->w);
	rig_free(r);
}

#endif
