/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "sim.h"

static struct {
	bool plain; /* no fault, one strategy from the beginning: the claims hold to the letter
		     */
	bool source_serves; /* it does not fail, and every write reaches it */
	bool paused;
	bool copier_rested; /* ... and since then nothing was in flight */
	enum migration_state state;
	uint64_t lacking;
	unsigned pending;
	bool fixed_threshold;
	bool copied[PLAN_SECTORS];	     /* by the copier, to the destination */
	bool guest_wrote[PLAN_SECTORS];	     /* the destination */
	side_mask unreadable[PLAN_SECTORS];  /* sides that have failed a read */
	uint64_t read_failed[PLAN_SECTORS];  /* history's time: no valid side is left to read */
	uint64_t write_failed[PLAN_SECTORS]; /* ... or to write */
	uint64_t flush_failed[SIDES];	     /* the event, from 1 on */
	uint64_t flush_error;		     /* when the last one failed */
	uint64_t owed;	  /* since then, an error: of a flush that lost the only copy */
	uint64_t flushed; /* when the last flush that went well was issued */
	uint64_t forced;  /* the journal's counter */

	bool writing[PLAN_SECTORS]; /* when it crashed */

	uint64_t rate;
	uint64_t rate_ns;    /* when it was set */
	uint64_t rate_bytes; /* copied since */
	unsigned rate_depth; /* the highest since */
} promise;

/* The claims, written down a second time: the engine's own table is not believed. */
static const struct claim {
	const char *name;
	enum side prefers;
	side_mask reaches[REGIONS];
	bool reads_wait;
	bool throttled;
	bool stays_copied; /* what the destination has once, it keeps */
} claims[STRATEGIES] = {
	[STRATEGY_LR] = { "lr", DST, { DST_BIT, DST_BIT }, true, false, true },
	[STRATEGY_SLR] = { "slr", SRC, { SRC_BIT, DST_BIT }, false, false, true },
	[STRATEGY_AIO] = { "aio", SRC, { SRC_BIT, BOTH }, false, true, true },
	[STRATEGY_MIRROR] = { "mirror", SRC, { SRC_BIT, BOTH }, false, false, true },
	[STRATEGY_DBT] = { "dbt", SRC, { SRC_BIT, SRC_BIT }, false, false, false },
};

static const struct claim *
claim(void)
{
	return &claims[world.plan.strategy];
}

static bool
going_forward(void)
{
	enum migration_state state = world.m.state;

	return state == MIGRATION_COPYING || state == MIGRATION_SYNCHRONISED ||
	       state == MIGRATION_COMPLETING;
}

static bool
is_write(const struct disk_io *io)
{
	return io->op == DISK_WRITE || io->op == DISK_ZERO;
}

static uint64_t
chunk_end(uint64_t sector)
{
	uint64_t end = (sector / world.plan.chunk + 1) * world.plan.chunk;

	return end < world.plan.sectors ? end : world.plan.sectors;
}

static bool
chunk_copied(uint64_t sector)
{
	uint64_t first = sector / world.plan.chunk * world.plan.chunk;

	return validity_all(world.map, first, chunk_end(sector) - first, DST);
}

/* --- the claims, to the letter ----------------------------------------------- */

static void
check_guest_write(const struct op *op)
{
	const struct disk_io *io = op->io;
	enum side side = op->disk->side;
	side_mask reaches = claim()->reaches[chunk_copied(io->sector) ? REGION_COPIED
								      : REGION_TO_BE_COPIED];

	if (!(reaches & side_bit(side)))
		world_fail("%s: a write of the %s region goes to side %d", claim()->name,
			   chunk_copied(io->sector) ? "copied" : "to-be-copied", side);
	if (op->mirrored && promise.fixed_threshold && claim()->throttled &&
	    promise.pending > world.plan.threshold + 1)
		world_fail("%u mirrored writes pend, the threshold is %u", promise.pending,
			   world.plan.threshold);
	for (uint64_t s = io->sector; side == DST && s < io->sector + io->count; s++)
		promise.guest_wrote[s] = true;
}

static void
check_guest_read(const struct op *op)
{
	const struct disk_io *io = op->io;
	enum side side = op->disk->side, prefers = claim()->prefers;
	struct op *other;
	uint64_t run;

	for (uint64_t s = io->sector; s < io->sector + io->count; s += run)
		if (validity_get(world.map, s, io->sector + io->count - s, &run) == BOTH &&
		    side != prefers)
			world_fail("%s: a read that both sides could serve goes to side %d",
				   claim()->name, side);
	for (enum side s = SRC; s < SIDES && claim()->reads_wait; s++)
		list_for_each_entry(other, &world.disk[s].inflight, link)
			if (other->who == WHO_COPIER && other->io->op != DISK_STATUS &&
			    io->sector < chunk_end(other->io->sector + other->io->count - 1) &&
			    io->sector >=
				    other->io->sector / world.plan.chunk * world.plan.chunk)
				world_fail(
					"%s: a read of a chunk that is being copied does not "
					"wait",
					claim()->name);
}

static void
check_copier_write(const struct op *op)
{
	const struct disk_io *io = op->io;

	if (op->disk->side != DST)
		world_fail("the copier writes the source, and nobody cancelled");
	for (uint64_t s = io->sector; s < io->sector + io->count; s++) {
		if (promise.copied[s] && world.plan.strategy != STRATEGY_DBT &&
		    !world.plan.journal)
			world_fail("sector %" PRIu64 " is copied twice", s);
		if (promise.guest_wrote[s] && world.plan.strategy == STRATEGY_LR)
			world_fail("lr: sector %" PRIu64 " is copied, and the guest wrote it",
				   s);
		promise.copied[s] = true;
	}
}

static void
check_plain(const struct op *op)
{
	if (op->who == WHO_COPIER && is_write(op->io))
		check_copier_write(op);
	else if (op->who == WHO_GUEST && is_write(op->io))
		check_guest_write(op);
	else if (op->who == WHO_GUEST)
		check_guest_read(op);
}

/* --- pace -------------------------------------------------------------------- */

static void
rate_begin(uint64_t rate)
{
	promise.rate = rate;
	promise.rate_ns = world.now_ns;
	promise.rate_bytes = 0;
	promise.rate_depth = world.m.copier.depth;
}

/*
 * The bucket may be full at first, and each copy that began may overdraw it once;
 * more often if what it reads fails and is read again.
 */
static void
check_rate(const struct op *op)
{
	double allowed = (double)promise.rate *
				 ((double)(world.now_ns - promise.rate_ns) / SECOND + 0.1) +
			 1;

	if (promise.rate_depth < world.m.copier.depth)
		promise.rate_depth = world.m.copier.depth;
	allowed += (double)promise.rate_depth * plan_closure(&world.plan) * SECTOR_BYTES;
	if (promise.rate && plan_faultless(&world.plan) &&
	    promise.rate_bytes > (uint64_t)allowed)
		world_fail("the copier has read %" PRIu64 " bytes where %.0f are allowed",
			   promise.rate_bytes, allowed);
	promise.rate_bytes += (uint64_t)op->io->count * SECTOR_BYTES;
}

/* --- what the disks see ------------------------------------------------------ */

void
promise_submit(const struct op *op)
{
	enum side gone = world.m.state == MIGRATION_COMPLETED ? SRC : DST;

	if (world.ended && op->disk->side == gone)
		world_fail("a disk that the migration has let go is asked to %s",
			   op_name(op->io->op));
	if (world.record && is_write(op->io) && side_bit(op->disk->side) != world.record)
		world_fail("the record says that %u is alone, and the other side is written",
			   world.record);
	if (op->mirrored)
		promise.pending++;
	if (op->who == WHO_COPIER) {
		if (promise.copier_rested)
			world_fail("the copier works, and the operator has paused it");
		if (op->io->op == DISK_READ)
			check_rate(op);
	}
	if (promise.plain && going_forward())
		check_plain(op);
	if (world.plan.strategy == STRATEGY_LR && !plan_has(&world.plan, COMMAND_STRATEGY) &&
	    going_forward() && is_write(op->io) && op->disk->side == SRC)
		world_fail("lr: the source is written, and nobody cancelled");
}

/* The half of a mirrored write that is in flight there, and whose other half is not. */
static const struct op *
half_pending(enum side side, uint64_t sector)
{
	const struct op *op;

	list_for_each_entry(op, &world.disk[side].inflight, link)
		if (op->mirrored && !op->twin && sector >= op->io->sector &&
		    sector - op->io->sector < op->io->count)
			return op;
	return NULL;
}

/* Every valid side has failed a read of it. */
static bool
unreadable(uint64_t sector)
{
	uint64_t run;

	return !(validity_get(world.map, sector, 1, &run) & ~promise.unreadable[sector]);
}

void
promise_done(const struct op *op)
{
	const struct disk_io *io = op->io;
	uint64_t now = history_now();

	/* Of the two halves, the first to be submitted does not count. */
	if (op->mirrored && !op->twin)
		promise.pending--;
	if (!op->err)
		return;
	if (io->op == DISK_FLUSH) {
		promise.flush_failed[op->disk->side] = 1 + world.events;
		promise.flush_error = now;
	}
	for (uint64_t s = io->sector; s < io->sector + io->count && s < world.plan.sectors;
	     s++) {
		if (io->op == DISK_READ) {
			promise.unreadable[s] |= side_bit(op->disk->side);
			/* A write about may leave it valid on the failed side alone. */
			if (unreadable(s) || history_writing(s) ||
			    half_pending(side_other(op->disk->side), s))
				promise.read_failed[s] = now;
		} else if (!op->mirrored || (!op->twin && op->twin_failed))
			promise.write_failed[s] = now;
	}
}

void
promise_lost(enum side side, uint64_t sector, uint64_t old_tag)
{
	const struct op *other = half_pending(side_other(side), sector);
	uint64_t run;
	bool alone = validity_get(world.map, sector, 1, &run) == side_bit(side);

	/* It will be there; but for what only this side had before, and a flush wants now. */
	if (other && !other->err && !plan_stalls(&world.plan) &&
	    !(alone && !history_ended(sector, world.disk[side].tag[sector])))
		return;
	/* The engine may not have heard yet that the other one has failed too. */
	if (alone || promise.flush_failed[side_other(side)] == 1 + world.events)
		promise.owed = other ? 0 : history_now();
	else if (!other || (world.m.engine.row->ack != ACK_FIRST &&
			    !history_ended(sector, world.disk[side].tag[sector])))
		return; /* a guest that has no answer yet can be told */
	history_revive(sector, old_tag);
}

/*
 * The journal has run out of room for what a disk that fails its flushes does not make
 * stable, and says all the same where the only copy is (migrate status: forced).
 */
static void
excuse_forced(void)
{
	struct migration_status status;
	uint64_t run;

	migration_get_status(&world.m, &status);
	if (status.journal.forced == promise.forced)
		return;
	promise.forced = status.journal.forced;
	for (uint64_t s = 0; s < world.plan.sectors; s++) {
		side_mask sides = validity_get(world.map, s, 1, &run);
		const struct sim_disk *d = &world.disk[sides == SRC_BIT ? SRC : DST];

		if (sides == BOTH || d->tag[s] == d->stable[s])
			continue;
		history_revive(s, d->stable[s]);
		for (uint32_t i = 0; i < d->recents[s] && i < RECENT; i++)
			history_revive(s, d->recent[s][i]);
	}
}

/* --- what the guest is told -------------------------------------------------- */

static bool
any_flush_failed(void)
{
	return promise.flush_failed[SRC] || promise.flush_failed[DST];
}

static void
check_error(const struct request *q, int err)
{
	const struct guest_io *g = &q->g;

	if (promise.source_serves && world.m.state != MIGRATION_COMPLETED)
		world_fail("a %s fails (%s) by the destination, and the source has it all",
			   op_name(g->op), strerror(-err));
	if (g->op == DISK_FLUSH) {
		if (!any_flush_failed())
			world_fail("a flush fails (%s) that no disk failed", strerror(-err));
		promise.owed = 0;
		return;
	}
	for (uint64_t s = g->sector; s < g->sector + g->count; s++)
		if (g->op == DISK_READ ? promise.read_failed[s] >= q->issued || unreadable(s)
				       : promise.write_failed[s] >= q->issued)
			return;
	/* What it was read from may have lost its validity by a flush. */
	if (g->op == DISK_READ && promise.flush_error >= q->issued)
		return;
	/* A side that was given up, or had to flush, fails a write long after it took it. */
	if (g->op != DISK_READ && (any_flush_failed() || plan_stalls(&world.plan)))
		return;
	world_fail("a %s fails (%s) that a side could have served", op_name(g->op),
		   strerror(-err));
}

/* The sides that are valid now are among those that may hold what it makes stable. */
void
promise_flush_sees(struct request *q)
{
	uint64_t run;

	for (uint64_t s = 0; s < world.plan.sectors; s += run) {
		side_mask sides = validity_get(world.map, s, world.plan.sectors, &run);

		for (uint64_t i = s; i < s + run; i++)
			q->valid[i] |= sides;
	}
}

/*
 * Of every sector a side must hold stably what was acknowledged before the flush
 * was issued: one that was valid then, or when a disk was flushed, or is now.
 */
static void
check_flushed(struct request *q)
{
	promise_flush_sees(q);
	for (uint64_t s = 0; s < world.plan.sectors; s++) {
		side_mask sides = q->valid[s];
		bool stable = false;

		for (enum side side = SRC; side < SIDES; side++)
			if (sides & side_bit(side))
				stable |= history_allows(s, world.disk[side].stable[s],
							 q->issued);
		if (!stable)
			world_fail("a flush returns, and sector %" PRIu64
				   " is not stable on any "
				   "valid side (%u)",
				   s, sides);
	}
}

/*
 * What the journal's file calls valid holds, stably, what was acknowledged by then:
 * on all sides that it names, for who reads it may choose.
 */
static void
check_persisted(uint64_t since)
{
	struct validity *map;
	uint64_t run;

	if (!world.plan.journal || world.ended || world.record)
		return;
	map = journal_stable_map();
	for (uint64_t s = 0; s < world.plan.sectors; s++) {
		side_mask sides = validity_get(map, s, 1, &run);

		for (enum side side = SRC; side < SIDES; side++)
			if ((sides & side_bit(side)) &&
			    !history_allows(s, world.disk[side].stable[s], since))
				world_fail("sector %" PRIu64
					   " is to be stable, and by the journal it is on %u, "
					   "where it is not (%u by the map)",
					   s, sides, validity_get(world.map, s, 1, &run));
	}
	validity_destroy(map);
}

/* A sector is on that disk, and power may fail: it has this value in any case. */
static bool
is_certain(enum side side, uint64_t sector, uint64_t tag)
{
	const struct sim_disk *d = &world.disk[side];

	return d->stable[sector] == tag && d->answered[sector] == tag && d->tag[sector] == tag;
}

/* What the file calls valid on both, and not in doubt, is the same whatever happens now. */
void
promise_written(void)
{
	struct validity *map;
	uint64_t run;

	if (!world.plan.journal || world.ended || world.record)
		return;
	map = journal_stable_map();
	for (uint64_t s = 0; s < world.plan.sectors; s += run) {
		if (validity_get(map, s, world.plan.sectors, &run) != BOTH)
			continue;
		for (uint64_t i = s; i < s + run; i++)
			if (!is_certain(SRC, i, world.disk[DST].stable[i]) ||
			    !is_certain(DST, i, world.disk[SRC].stable[i]))
				world_fail("the journal says that sector %" PRIu64
					   " is valid on both, and it may differ (%u by the "
					   "map)",
					   i, validity_get(world.map, i, 1, &run));
	}
	validity_destroy(map);
}

void
promise_answer(struct request *q, int err)
{
	if (err) {
		check_error(q, err);
	} else if (q->g.op == DISK_FLUSH) {
		promise_written();
		check_persisted(q->issued);
		if (promise.owed && q->issued > promise.owed)
			world_fail("a flush returns well, and an earlier one had lost the only "
				   "copy of something");
		check_flushed(q);
		promise.flushed = q->issued > promise.flushed ? q->issued : promise.flushed;
	}
}

/* --- after every event ------------------------------------------------------- */

static void
check_state(enum migration_state to)
{
#define TO(state) (1u << (state))
	static const unsigned forward = TO(MIGRATION_COPYING) | TO(MIGRATION_SYNCHRONISED) |
					TO(MIGRATION_COMPLETING) | TO(MIGRATION_COMPLETED) |
					TO(MIGRATION_ROLLING_BACK) | TO(MIGRATION_CANCELLED);
	static const unsigned next[MIGRATION_STATES] = {
		[MIGRATION_COPYING] = forward,
		[MIGRATION_SYNCHRONISED] = forward,
		[MIGRATION_COMPLETING] = forward,
		[MIGRATION_ROLLING_BACK] = TO(MIGRATION_ROLLING_BACK) | TO(MIGRATION_CANCELLED),
		[MIGRATION_COMPLETED] = TO(MIGRATION_COMPLETED),
		[MIGRATION_CANCELLED] = TO(MIGRATION_CANCELLED),
	};

	if (to == promise.state)
		return;
	trace("state: %s", migration_state_name(to));
	if (!(next[promise.state] & TO(to)))
		world_fail("state %s follows %s", migration_state_name(to),
			   migration_state_name(promise.state));
	promise.state = to;
}

static void
check_counters(const struct migration_status *s)
{
	for (enum side side = SRC; side < SIDES; side++) {
		uint64_t(*bytes)[2] = world.disk[side].bytes;

		if (s->guest_written[side] != bytes[WHO_GUEST][1] ||
		    s->guest_read[side] != bytes[WHO_GUEST][0] ||
		    s->copier.written[side] != bytes[WHO_COPIER][1])
			world_fail("side %d was written %" PRIu64
				   " bytes by the guest and %" PRIu64
				   " by the copier, and read %" PRIu64
				   ": the counters say %" PRIu64 ", %" PRIu64 ", %" PRIu64,
				   side, bytes[WHO_GUEST][1], bytes[WHO_COPIER][1],
				   bytes[WHO_GUEST][0], s->guest_written[side],
				   s->copier.written[side], s->guest_read[side]);
	}
}

void
promise_event(void)
{
	struct migration_status status;
	uint64_t lacking = validity_lacking(world.map, DST);

	excuse_forced();
	migration_get_status(&world.m, &status);
	check_state(status.state);
	check_counters(&status);
	if (promise.paused && !world.disk[SRC].inflight_by[WHO_COPIER] &&
	    !world.disk[DST].inflight_by[WHO_COPIER] && !world.m.copier.active)
		promise.copier_rested = true;
	/* A copier that the journal stops leaves chunks copied in part. */
	if (promise.plain && going_forward() && claim()->stays_copied && !world.plan.journal &&
	    lacking > promise.lacking)
		world_fail("%s: the destination lacks more than before", claim()->name);
	promise.lacking = lacking;
}

void
promise_command(enum command command, uint64_t argument)
{
	switch (command) {
	case COMMAND_PAUSE:
		promise.paused = !migration_over(&world.m);
		break;
	case COMMAND_RESUME:
		promise.paused = promise.copier_rested = false;
		break;
	case COMMAND_CANCEL:
		if (world.m.state != MIGRATION_ROLLING_BACK)
			promise.paused = promise.copier_rested = false;
		break;
	case COMMAND_RATE:
		rate_begin(argument);
		break;
	default:
		break;
	}
}

unsigned
promise_pending(void)
{
	return promise.pending;
}

bool
promise_copier_is_held(void)
{
	return promise.paused || promise.rate || world.plan.guest_latency;
}

/* --- at the end -------------------------------------------------------------- */

/* What is left alone holds what was acknowledged, and a flush has made it stable. */
void
promise_end(enum migration_state state)
{
	enum side left = state == MIGRATION_COMPLETED ? DST : SRC;
	const struct sim_disk *d = &world.disk[left];
	uint64_t now = history_now();

	check_state(state);
	if (state == MIGRATION_COMPLETED || world.plan.durable)
		promise.flushed = now;
	for (uint64_t s = 0; s < world.plan.sectors; s++) {
		history_read(s, d->tag[s], now);
		if (!history_allows(s, d->stable[s], promise.flushed))
			world_fail("%s, and sector %" PRIu64 " is not stable",
				   migration_state_name(state), s);
	}
	promise.plain = false;
}

/* The file says that the source has everything: the record is needed no more. */
static void
check_file_is_source(void)
{
	struct validity *map = journal_stable_map();

	for (uint64_t s = 0, run; s < world.plan.sectors; s += run)
		if (validity_get(map, s, world.plan.sectors, &run) != SRC_BIT)
			world_fail("the record goes, and by the journal sector %" PRIu64
				   " is on more than the source",
				   s);
	validity_destroy(map);
}

/* Nothing that was acknowledged is anywhere else, whatever becomes of the journal. */
void
promise_record(side_mask side)
{
	const struct sim_disk *d = &world.disk[side == DST_BIT ? DST : SRC];
	uint64_t now = history_now();

	if (!side) {
		check_file_is_source();
		return;
	}
	for (uint64_t s = 0; s < world.plan.sectors; s++) {
		if (!history_allows(s, d->tag[s], now))
			world_fail("the record says that %u is alone, and sector %" PRIu64
				   " is not there",
				   side, s);
		if (!history_allows(s, d->stable[s],
				    world.plan.durable ? now : promise.flushed))
			world_fail("the record says that %u is alone, and sector %" PRIu64
				   " is not stable there",
				   side, s);
	}
}

/* The map is what outlives the process: all that it calls valid is the same. */
void
promise_close(void)
{
	uint64_t now = history_now(), run;

	for (uint64_t s = 0; s < world.plan.sectors; s++) {
		side_mask sides = validity_get(world.map, s, 1, &run);

		for (enum side side = SRC; side < SIDES; side++)
			if (sides & side_bit(side))
				history_read(s, world.disk[side].tag[s], now);
	}
	if (promise.pending)
		world_fail("%u mirrored writes still pend", promise.pending);
}

static bool
source_serves(const struct plan *p)
{
	if (p->resumed || p->strategy < STRATEGY_AIO)
		return false;
	for (unsigned i = 0; i < p->faults; i++)
		if (!p->fault[i].dropped && p->fault[i].side == SRC)
			return false;
	for (unsigned i = 0; i < p->commands; i++)
		if (!p->command[i].dropped && p->command[i].command == COMMAND_STRATEGY &&
		    p->command[i].argument < STRATEGY_AIO)
			return false;
	return true;
}

/* --- crashes ----------------------------------------------------------------- */

/*
 * A mirrored write was acknowledged, the side that had it has failed a flush since, and
 * the other one has not answered: neither is sure to have it, and what is there may be of
 * before it on either. The guest is to be told.
 */
static void
excuse_uncertain(enum side side)
{
	const struct op *op;

	list_for_each_entry(op, &world.disk[side].inflight, link) {
		if (!op->mirrored || op->twin || op->twin_failed ||
		    promise.flush_failed[side_other(side)] <= op->twin_answered)
			continue;
		for (uint64_t s = op->io->sector; s < op->io->sector + op->io->count; s++) {
			/* Else the other one may have been given up, and the loss told long
			 * ago. */
			if (!history_writing(s) && !plan_stalls(&world.plan))
				promise.owed = history_now();
			history_revive(s, world.disk[SRC].tag[s]);
			history_revive(s, world.disk[DST].tag[s]);
		}
	}
}

void
promise_crash(enum crash_kind kind)
{
	excuse_forced();
	/* Nobody has heard of a failure that the engine had not heard of. */
	if (kind == CRASH_POWER || !world.m.engine.flush_err)
		promise.owed = 0;
	if (kind == CRASH_KILL) {
		for (enum side side = SRC; side < SIDES; side++)
			excuse_uncertain(side);
		/* aio: what the destination took first may never come to the source. */
		promise.source_serves = false;
	}
	memset(promise.writing, 0, sizeof(promise.writing));
	for (enum side side = SRC; side < SIDES; side++) {
		const struct op *op;

		list_for_each_entry(op, &world.disk[side].inflight, link)
			for (uint32_t i = 0; i < op->io->count && is_write(op->io); i++)
				promise.writing[op->io->sector + i] = true;
	}
	if (kind == CRASH_KILL)
		return;
	history_power(world.plan.durable && !world.ended ? history_now() : promise.flushed,
		      promise.flushed);
}

void
promise_survives(const struct validity *was, const struct validity *is)
{
	uint64_t run;

	for (uint64_t s = 0; s < world.plan.sectors; s++) {
		side_mask before = validity_get(was, s, 1, &run);
		side_mask after = validity_get(is, s, 1, &run);

		if (!promise.writing[s] && (after & (side_mask)~before))
			world_fail("a killed process leaves sector %" PRIu64
				   " valid on %u, and it was on %u",
				   s, after, before);
	}
}

/* All that is called valid is right, and will stay so. */
void
promise_recovered(const struct validity *map)
{
	for (uint64_t s = 0, run; s < world.plan.sectors; s++) {
		side_mask sides = validity_get(map, s, 1, &run);

		for (enum side side = SRC; side < SIDES; side++)
			if (sides & side_bit(side))
				history_read(s, world.disk[side].tag[s], history_now());
	}
}

void
promise_reopen(const struct migration_config *config)
{
	promise.plain = false;
	promise.state = config->state;
	promise.paused = config->paused;
	promise.copier_rested = false;
	promise.pending = 0;
	promise.forced = 0;
	rate_begin(config->rate);
}

void
promise_init(void)
{
	memset(&promise, 0, sizeof(promise));
	promise.plain = plan_faultless(&world.plan) && !world.plan.resumed &&
			!plan_has(&world.plan, COMMAND_STRATEGY);
	promise.source_serves = source_serves(&world.plan);
	promise.fixed_threshold = !plan_has(&world.plan, COMMAND_THRESHOLD);
	promise.state = world.plan.state;
	promise.paused = world.plan.paused;
	promise.lacking = world.plan.sectors;
	rate_begin(world.plan.rate);
}
