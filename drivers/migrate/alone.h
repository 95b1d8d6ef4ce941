/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * alone.h - what goes on without the journal: one side alone, on the host's record
 *
 * The guest's writes, its flushes and the end of a migration wait for the journal. Where
 * that cannot be written, or its store does not answer, they need not wait for longer than
 * a side that is silent may take (STALL_NS), if one side holds everything by itself. The
 * host then records elsewhere, durably, that this side alone is the disk (the record).
 * From then on the journal knows less than is so, and nobody may believe it: whoever opens
 * it finds the record and serves from that side. So:
 *
 *  - The record is made only while no write and no copy is under way, every sector is
 *    valid on the side, and the side has been flushed since; or for a migration that ends
 *    so, and whose writes reach nothing but that side.
 *  - While it is there the map calls nothing valid on the other side, and no write reaches
 *    that: what is written needs no word in the journal.
 *  - Where the journal can be written again it says so too, in a file that is whole, before
 *    the record is removed; and nothing is copied before it is gone.
 *
 * A migration that is cancelled, or completed, while the journal is lost ends by the record.
 */
#ifndef MIGRATE_ALONE_H
#define MIGRATE_ALONE_H

#include "engine.h"
#include "watch.h"

enum alone_step {
	ALONE_NOT,
	ALONE_DRAINING, /* the guest's writes are held, and those under way awaited */
	ALONE_FLUSHING,
	ALONE_FLUSHED,
	ALONE_RECORDING, /* the host is asked to make the record */
	ALONE_YES,
	ALONE_LEAVING, /* ... and to remove it */
};

struct alone {
	struct engine *engine;
	/* See migration_config.record_alone; NULL: there is no such place. */
	void (*record)(void *ctx, side_mask side);
	void *ctx;
	enum alone_step step;
	side_mask side; /* the one that is, or is about to be, alone */
	bool ends;	/* ... with which the migration ends */
	bool hangs;	/* the journal's store has not answered for STALL_NS */
	bool lost;  /* nor has the journal written anything down that it should, for as long */
	bool waits; /* after a failure, for the next tick */
	struct watch answers, progress;
	uint64_t tick_ns;
};

/* What the migration says of itself, each time. */
struct alone_view {
	bool wanted;	/* somebody waits for the journal */
	side_mask side; /* that could be alone, or NO_SIDE */
	bool at_rest;	/* no write is in flight, and no copy may change the map any more */
	bool ends;	/* the migration does so with that side, which has been flushed */
};

void alone_init(struct alone *a, struct engine *e, void (*record)(void *ctx, side_mask side),
		void *ctx);

/* To be called every second or so, before the engine's tick: looks at the journal. */
void alone_tick(struct alone *a);

/* Does what can be done now. */
void alone_pump(struct alone *a, const struct alone_view *view);

/* The host's answer to record(): 0 or -errno. */
void alone_recorded(struct alone *a, int err);

/* The guest's writes are to be held. */
static inline bool
alone_holds(const struct alone *a)
{
	return a->step >= ALONE_DRAINING && a->step <= ALONE_RECORDING;
}

/* The host has been asked, and has not answered. */
static inline bool
alone_asks(const struct alone *a)
{
	return a->step == ALONE_RECORDING || a->step == ALONE_LEAVING;
}

/* The record says that this side alone is the disk. */
static inline bool
alone_is(const struct alone *a, side_mask side)
{
	return a->step == ALONE_YES && a->side == side;
}

#endif
