/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who waits, and for what. A part of a request (what lies in one chunk) waits until
 * it is asked of a disk; after every event each that waits must be able to name what
 * it waits for, and that must be under way. So nobody waits for longer than a few
 * answers of the disks: the guest for at most one copy, of its own chunk, and the
 * copier for at most the writes that were in its chunk before it. Of a long request the
 * engine makes a few parts at a time: the next ones wait for nothing but those.
 */
#include <inttypes.h>
#include <string.h>

#include "sim.h"

#define CHUNK_MIN 8
#define PARTS_MAX (PLAN_QUEUE * (REQUEST_MAX / CHUNK_MIN + 2))

struct part {
	const struct request *q;
	uint64_t sector; /* what lies before it has been asked of a disk */
	uint64_t end;
	unsigned copies; /* of its chunk, before it began to wait */
	unsigned ahead;	 /* earlier writes of its chunk for which it may have to wait */
	bool late;	 /* the engine has made it after the request's first ones */
};

static struct {
	struct part part[PARTS_MAX]; /* that wait, the oldest first */
	unsigned parts;
	unsigned copies[PLAN_SECTORS / CHUNK_MIN]; /* of each chunk */
	uint64_t copied_to[PLAN_SECTORS / CHUNK_MIN];
	bool stalls;
	bool faultless;
	bool fills_up;	 /* then a write may wait for one that was asked of a disk */
	unsigned window; /* writes of an endless guest, while the copier does one thing */
	unsigned writes; /* ... so far */
} wait;

static bool
is_write(enum disk_op op)
{
	return op == DISK_WRITE || op == DISK_ZERO;
}

static bool
is_guests_write(const struct op *op)
{
	return op->who == WHO_GUEST && is_write(op->io->op);
}

static bool
is_copiers(const struct op *op)
{
	return op->who == WHO_COPIER;
}

typedef bool kind_fn(const struct op *op);

/* That disk has a request of that kind for some of [sector, end). */
static bool
disk_has(const struct sim_disk *d, uint64_t sector, uint64_t end, kind_fn *kind)
{
	const struct op *op;

	list_for_each_entry(op, &d->inflight, link)
		if (kind(op) && op->io->sector < end && sector < op->io->sector + op->io->count)
			return true;
	return false;
}

static bool
under_way(uint64_t sector, uint64_t end, kind_fn *kind)
{
	return disk_has(&world.disk[SRC], sector, end, kind) ||
	       disk_has(&world.disk[DST], sector, end, kind);
}

static bool
is_copiers_write(const struct op *op)
{
	return is_copiers(op) && is_write(op->io->op);
}

static bool
closure_moves(const struct closure *c)
{
	return under_way(c->sector, c->sector + c->count, is_copiers) ||
	       under_way(c->sector, c->sector + c->count, is_guests_write);
}

/* ... a copy that has begun: by dirty block tracking, but not where the destination alone is
 * valid. */
static bool
writes_pass(uint64_t sector, uint64_t end)
{
	uint64_t run;

	for (uint64_t s = sector; s < end; s += run)
		if (validity_get(world.map, s, end - s, &run) == DST_BIT)
			return false;
	return world.m.engine.row == strategy_row(STRATEGY_DBT);
}

/* --- the guest ------------------------------------------------------------------ */

static bool
overlap(const struct part *a, const struct part *b)
{
	return is_write(a->q->g.op) && is_write(b->q->g.op) && a->sector < b->end &&
	       b->sector < a->end;
}

/* Only if it overlaps one of them: and that one may wait for any of the others. */
static unsigned
count_ahead(const struct part *p)
{
	unsigned ahead = 0;
	bool any = false;

	for (const struct part *q = wait.part; q < p; q++) {
		ahead += q->sector / world.plan.chunk == p->sector / world.plan.chunk;
		any |= overlap(p, q);
	}
	return any ? ahead : 0;
}

void
wait_begins(const struct request *q)
{
	uint64_t end = q->g.sector + q->g.count;

	for (uint64_t s = q->g.sector; s < end;) {
		uint64_t chunk = s / world.plan.chunk;
		uint64_t limit = (chunk + 1) * world.plan.chunk;
		struct part *p = &wait.part[wait.parts++];

		*p = (struct part){
			.q = q,
			.sector = s,
			.end = limit < end ? limit : end,
			.copies = wait.copies[chunk],
		};
		p->ahead = count_ahead(p);
		s = limit;
	}
}

static bool
is_made(const struct part *p)
{
	return p->sector < p->q->g.sector + p->q->g.split;
}

static void
mark_late(void)
{
	for (unsigned i = 0; i < wait.parts; i++)
		wait.part[i].late |= !is_made(&wait.part[i]);
}

/* An earlier write of the same sectors waits too. */
static bool
passes_another(const struct part *p)
{
	for (const struct part *q = wait.part; q < p; q++)
		if (overlap(p, q) && !p->late && !q->late)
			return true;
	return false;
}

/* ... or one that may be earlier: late parts have their turn as they are made. */
static bool
waits_its_turn(const struct part *p)
{
	for (const struct part *q = wait.part; q < wait.part + wait.parts; q++)
		if (q != p && overlap(p, q) && is_made(q) && (q < p || p->late))
			return true;
	return false;
}

static void
part_remove(struct part *p)
{
	memmove(p, p + 1, (size_t)(&wait.part[--wait.parts] - p) * sizeof(*p));
}

static bool
is_of(const struct part *p, const struct op *op)
{
	const struct request *q = p->q;
	const struct disk_io *io = op->io;

	if (q->g.op != io->op || p->sector != io->sector)
		return false;
	if (io->op == DISK_WRITE)
		return tag_writer(sector_get(io->buf)) == q->writer;
	return io->buf == q->buf + (io->sector - q->g.sector) * SECTOR_BYTES;
}

static void
part_submitted(const struct op *op)
{
	struct part *p = wait.part, *last = wait.part + wait.parts;

	mark_late();
	while (p < last && !is_of(p, op))
		p++;
	if (p == last)
		return; /* it has waited already, and is asked for again */
	/* A write held for a stalled side is passed by one that the map sends elsewhere. */
	if (!wait.fills_up && !(world.plan.journal && plan_stalls(&world.plan)) &&
	    passes_another(p))
		world_fail("a write passes an earlier one of the same sectors");
	p->sector += op->io->count;
	if (p->sector == p->end)
		part_remove(p);
}

/* Within one copy the sectors are asked for in their order. */
static void
count_copies(const struct op *op)
{
	uint64_t chunk = op->io->sector / world.plan.chunk;
	uint64_t end = op->io->sector + op->io->count;

	for (; chunk * world.plan.chunk < end; chunk++) {
		wait.copies[chunk] +=
			op->io->sector < wait.copied_to[chunk] || !wait.copied_to[chunk];
		wait.copied_to[chunk] = end;
	}
}

void
wait_submit(const struct op *op)
{
	const struct closure *c = engine_closure_at(&world.m.engine, op->io->sector);
	uint64_t end = op->io->sector + op->io->count;

	if (is_copiers_write(op))
		count_copies(op);
	if (op->who != WHO_GUEST)
		return;
	if (is_guests_write(op) && c && !c->lost &&
	    !(c->drained && writes_pass(op->io->sector, end)))
		world_fail("a write passes the copier, which has closed the chunk");
	if (is_guests_write(op) && disk_has(op->disk, op->io->sector, end, is_copiers_write))
		world_fail("a write meets the copier's, of the same sectors");
	/* Of the two halves of a mirrored write the first has ended the wait. */
	if (!op->mirrored)
		part_submitted(op);
}

void
wait_ends(const struct request *q, int err)
{
	for (struct part *p = wait.part; p < wait.part + wait.parts;) {
		if (p->q != q) {
			p++;
			continue;
		}
		if (!err)
			world_fail("a request is answered well, and some of it was not asked "
				   "of any disk");
		part_remove(p);
	}
	if (is_write(q->g.op) && wait.window && !world.ended && ++wait.writes > wait.window)
		world_fail("%u writes of the guest go by, and the copier gets nothing done",
			   wait.writes);
}

/* Held back for a reason that has nothing to do with any chunk's copy. */
static bool
is_held(const struct part *p)
{
	const struct engine *e = &world.m.engine;

	return is_write(p->q->g.op) &&
	       (world.m.next_row || world.m.state == MIGRATION_COMPLETING || wait.fills_up ||
		(e->row->mirrored_writes_throttled && promise_pending() > e->threshold));
}

static bool
waits_for_copy(const struct part *p)
{
	const struct closure *c = engine_closure_at(&world.m.engine, p->sector);

	if (!c)
		return false;
	if (is_write(p->q->g.op) && writes_pass(p->sector, p->end))
		return !c->drained &&
		       under_way(c->sector, c->sector + c->count, is_guests_write);
	if (is_write(p->q->g.op))
		return closure_moves(c);
	return world.m.engine.row->reads_wait_for_copy &&
	       under_way(c->sector, c->sector + c->count, is_copiers);
}

static void
check_part(struct part *p)
{
	unsigned copies = wait.copies[p->sector / world.plan.chunk];

	if (!is_made(p))
		return;
	if (is_held(p)) {
		p->copies = copies;
		return;
	}
	if (!waits_for_copy(p) && !waits_its_turn(p) &&
	    !under_way(p->sector, p->end, is_guests_write))
		world_fail("a %s of [%" PRIu64 ",%" PRIu64 ") waits for nothing",
			   op_name(p->q->g.op), p->sector, p->end);
	/* Each that goes first may leave something to copy again. */
	if (wait.faultless && !p->late && copies - p->copies > 1 + p->ahead)
		world_fail("a %s of [%" PRIu64 ",%" PRIu64 ") waits for %u copies of its chunk",
			   op_name(p->q->g.op), p->sector, p->end, copies - p->copies);
}

/* --- the copier ----------------------------------------------------------------- */

void
wait_done(const struct op *op)
{
	if (op->who == WHO_COPIER)
		wait.writes = 0;
}

/* It has something to do, and neither the operator nor a disk keeps it from that. */
static bool
copier_should_work(void)
{
	const struct migration *m = &world.m;
	bool closing = world.phase >= PHASE_CLOSE ||
		       (world.phase >= PHASE_END && world.plan.ending == END_CLOSE);

	if (closing || world.ended || !wait.faultless || promise_copier_is_held())
		return false;
	if (m->state == MIGRATION_ROLLING_BACK)
		return !m->next_row && validity_lacking(world.map, SRC);
	return validity_lacking(world.map, DST);
}

static void
check_copier(void)
{
	const struct closure *c;

	list_for_each_entry(c, &world.m.engine.closures, link)
		if (!closure_moves(c))
			world_fail("the copier has closed a chunk, and waits for nothing");
	if (!copier_should_work())
		wait.writes = 0;
	else if (list_empty(&world.m.engine.closures))
		world_fail("the copier rests without a reason");
}

void
wait_event(void)
{
	if (wait.stalls)
		return;
	mark_late();
	for (unsigned i = 0; i < wait.parts; i++)
		check_part(&wait.part[i]);
	check_copier();
}

/*
 * What an endless guest may write while the copier waits for the writes in its
 * chunk, and then for a disk: its queue, as often as the quicker disk can answer
 * while the slower one, with all the queues before it, does two things.
 */
static unsigned
window(const struct plan *p)
{
	uint64_t longest = 0, shortest = FOREVER;

	for (enum side s = SRC; s < SIDES; s++) {
		const struct plan_disk *d = &p->disk[s];
		uint64_t ahead = p->queue * ENDLESS_COUNT + p->depth * plan_closure(p);
		uint64_t ns = d->latency_ns + d->spread_ns + ahead * d->sector_ns;

		longest = ns > longest ? ns : longest;
		shortest = d->latency_ns < shortest ? d->latency_ns : shortest;
	}
	return p->queue * (unsigned)(2 * longest / shortest + 2);
}

void
wait_init(void)
{
	memset(&wait, 0, sizeof(wait));
	/* Nor is it known what a journal that fails holds up. */
	wait.stalls = plan_stalls(&world.plan) || world.plan.journal;
	wait.faultless = plan_faultless(&world.plan);
	wait.fills_up = plan_fills_up(&world.plan);
	if (world.plan.endless)
		wait.window = window(&world.plan);
}
