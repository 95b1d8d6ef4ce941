/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static struct pool ops;
/* What was read last into buffers that are not the guest's. */
static struct copier_read {
	const void *buf;
	uint64_t sector;
	uint32_t count;
} copier_reads[COPIER_MAX_DEPTH];
static struct {
	struct sim_disk *disk;
	struct op *op; /* NULL once answered */
	struct disk_io io;
	enum who who;
	int err;
	uint64_t event;
} last; /* submitted */

static const char *const side_name[SIDES] = { "src", "dst" };
static const char *const who_name[] = { "guest", "copier", "engine" };

void
sector_put(char *buf, uint64_t tag)
{
	uint64_t inverted = tag ? ~tag : 0;

	if (!tag)
		memset(buf, 0, SECTOR_BYTES);
	memcpy(buf, &tag, sizeof(tag));
	memcpy(buf + SECTOR_BYTES - sizeof(tag), &inverted, sizeof(tag));
}

uint64_t
sector_get(const char *buf)
{
	uint64_t tag, inverted;

	memcpy(&tag, buf, sizeof(tag));
	memcpy(&inverted, buf + SECTOR_BYTES - sizeof(tag), sizeof(tag));
	return inverted == (tag ? ~tag : 0) ? tag : UINT64_MAX;
}

static struct sim_disk *
sim_disk_of(struct disk *disk)
{
	return list_entry(disk, struct sim_disk, disk);
}

static bool
writes(const struct disk_io *io)
{
	return io->op == DISK_WRITE || io->op == DISK_ZERO;
}

static bool
range_overlaps(const struct disk_io *io, uint64_t sector, uint64_t count)
{
	return io->sector < sector + count && sector < io->sector + io->count;
}

/* --- whose it is ------------------------------------------------------------- */

/* The copier has read into buf. */
static struct copier_read *
copier_read_at(const void *buf)
{
	for (unsigned i = 0; i < COPIER_MAX_DEPTH; i++)
		if (copier_reads[i].buf == buf)
			return &copier_reads[i];
	return NULL;
}

static bool
is_copiers_write(const struct disk_io *io)
{
	for (unsigned i = 0; i < COPIER_MAX_DEPTH; i++) {
		const struct copier_read *r = &copier_reads[i];
		uint64_t offset = (uint64_t)((const char *)io->buf - (const char *)r->buf);

		if (r->buf && io->sector >= r->sector &&
		    io->sector + io->count <= r->sector + r->count &&
		    offset == (io->sector - r->sector) * SECTOR_BYTES)
			return true;
	}
	return false;
}

/*
 * The guest's zeroes must stay allocated, so that they can be told from the
 * copier's; a mirrored write comes from a buffer that is neither's.
 */
static enum who
who_wants(const struct disk_io *io)
{
	struct copier_read *r;

	switch (io->op) {
	case DISK_FLUSH:
		return WHO_ENGINE;
	case DISK_STATUS:
		return WHO_COPIER;
	case DISK_ZERO:
		return io->no_hole ? WHO_GUEST : WHO_COPIER;
	case DISK_READ:
		if (guest_owns(io->buf))
			return WHO_GUEST;
		r = copier_read_at(io->buf);
		if (!r)
			r = copier_read_at(NULL);
		if (!r)
			world_fail("the copier reads into more than %u buffers",
				   COPIER_MAX_DEPTH);
		*r = (struct copier_read){ io->buf, io->sector, io->count };
		return WHO_COPIER;
	default:
		return is_copiers_write(io) ? WHO_COPIER : WHO_GUEST;
	}
}

/* A mirrored write goes to the source and at once to the destination. */
static void
find_twin(struct op *op)
{
	if (op->who == WHO_GUEST && writes(op->io) && op->disk->side == DST &&
	    last.disk == &world.disk[SRC] && last.event == world.events &&
	    last.who == WHO_GUEST && last.io.op == op->io->op &&
	    last.io.sector == op->io->sector && last.io.count == op->io->count &&
	    last.io.buf == op->io->buf) {
		op->mirrored = true;
		op->twin = last.op;
		op->twin_failed = last.err;
		op->twin_answered = world.events;
		if (last.op) {
			last.op->mirrored = true;
			last.op->twin = op;
		}
	}
}

static void
remember(struct op *op)
{
	last.disk = op->disk;
	last.op = op;
	last.io = *op->io;
	last.who = op->who;
	last.err = 0;
	last.event = world.events;
}

/* --- faults ------------------------------------------------------------------ */

static int
fault_of(struct sim_disk *d, const struct disk_io *io)
{
	int err = 0;

	if (world.healed)
		return 0;
	for (unsigned i = 0; i < world.plan.faults; i++) {
		const struct plan_fault *f = &world.plan.fault[i];

		if (f->dropped || f->kind != FAULT_ERROR || f->side != d->side ||
		    !(f->ops & 1u << io->op) ||
		    (io->op != DISK_FLUSH && !range_overlaps(io, f->sector, f->count)))
			continue;
		if (d->matched[i]++ >= f->first && d->matched[i] - f->first <= f->times)
			err = err ? err : f->err;
	}
	return err == -ENOSPC && !writes(io) ? -EIO : err;
}

/* When a request that would be answered then really is; FOREVER for never. */
static uint64_t
after_stalls(struct sim_disk *d, uint64_t done_ns)
{
	if (world.healed)
		return done_ns;
	for (unsigned i = 0; i < world.plan.faults; i++) {
		const struct plan_fault *f = &world.plan.fault[i];

		if (f->dropped || f->kind != FAULT_STALL || f->side != d->side ||
		    done_ns < f->from_ns || world.now_ns >= f->to_ns)
			continue;
		if (f->to_ns == FOREVER)
			return FOREVER;
		if (done_ns < f->to_ns)
			done_ns = f->to_ns + rng_below(&d->plan->rng, f->drain_ns);
	}
	return done_ns;
}

/* --- data moves -------------------------------------------------------------- */

static void
recent_add(struct sim_disk *d, uint64_t sector, uint64_t tag)
{
	d->recent[sector][d->recents[sector]++ % RECENT] = tag;
}

static void
move_sector(struct op *op, uint32_t i)
{
	struct disk_io *io = op->io;
	struct sim_disk *d = op->disk;
	uint64_t sector = io->sector + i;
	char *buf = (char *)io->buf + (size_t)i * SECTOR_BYTES;

	if (io->op == DISK_READ)
		sector_put(buf, d->tag[sector]);
	else if (io->op == DISK_ZERO)
		d->tag[sector] = TAG_ZERO;
	else
		d->tag[sector] = sector_get(buf);
	if (io->op != DISK_READ)
		recent_add(d, sector, d->tag[sector]);
	if (d->tag[sector] == UINT64_MAX)
		world_fail("%s is given half a sector, at %" PRIu64, side_name[d->side],
			   sector);
}

static unsigned
moment_of(const struct op *op, uint32_t i)
{
	return (unsigned)(((op->salt ^ i * 0x9e3779b97f4a7c15u) >> 24) % op->moments);
}

/* Of the op's sectors, those whose moment this is move. */
static void
move_now(struct op *op, unsigned moment)
{
	if (op->io->op != DISK_READ && !writes(op->io))
		return;
	if (op->err && (op->skip >> moment & 1))
		return;
	for (uint32_t i = 0; i < op->io->count; i++)
		if (op->moments == 1 || moment_of(op, i) == moment)
			move_sector(op, i);
}

/* --- answers ----------------------------------------------------------------- */

static void
op_put(struct op *op)
{
	if (--op->events)
		return;
	free(op->snapshot);
	pool_put(&ops, op);
}

/* Disks know of holes by their own sectors, the larger of which is align. */
static bool
is_hole(const struct sim_disk *d, uint64_t sector)
{
	for (uint32_t i = 0; i < world.plan.align; i++)
		if (d->tag[sector + i])
			return false;
	return true;
}

static void
answer_status(struct op *op)
{
	struct disk_io *io = op->io;
	uint32_t n = world.plan.align;

	if (!op->disk->plan->knows_holes) {
		op->err = -EOPNOTSUPP;
		return;
	}
	io->zero = is_hole(op->disk, io->sector);
	while (n < io->count && is_hole(op->disk, io->sector + n) == io->zero)
		n += world.plan.align;
	io->count = n;
}

static void
answer_write(struct op *op)
{
	struct sim_disk *d = op->disk;

	for (uint64_t s = op->io->sector; s < op->io->sector + op->io->count; s++)
		d->answered[s] = d->tag[s];
}

static bool
in_flight_at(const struct sim_disk *d, uint64_t sector)
{
	struct op *op;

	list_for_each_entry(op, &d->inflight, link)
		if (range_overlaps(op->io, sector, 1))
			return true;
	return false;
}

/*
 * A flush that fails may lose what it was to make stable, and then the error is
 * all that is ever heard of it. What somebody is reading or writing just then
 * is left alone: that is a matter of when exactly it was lost.
 */
static void
lose_cache(struct sim_disk *d)
{
	struct op *op;

	for (uint64_t s = 0; s < world.plan.sectors; s++) {
		if (d->tag[s] == d->stable[s] || rng_chance(&d->plan->rng, 50) ||
		    in_flight_at(d, s))
			continue;
		trace("%s loses sector %" PRIu64, side_name[d->side], s);
		if (!world.ended || d->side == (world.m.state == MIGRATION_COMPLETED))
			promise_lost(d->side, s, d->stable[s]);
		d->tag[s] = d->answered[s] = d->stable[s];
		d->recents[s] = 0;
		list_for_each_entry(op, &d->inflight, link)
			if (op->snapshot)
				op->snapshot[s] = d->stable[s];
	}
}

static void
answer_flush(struct op *op)
{
	struct sim_disk *d = op->disk;

	if (op->err) {
		if (world.plan.drops_cache)
			lose_cache(d);
		return;
	}
	if (op->flush < d->flushed)
		return;
	d->flushed = op->flush;
	memcpy(d->stable, op->snapshot, d->disk.sectors * sizeof(*d->stable));
	memset(d->recents, 0, sizeof(d->recents));
}

/* What has been answered by now is what the flush makes stable. */
static void
begin_flush(struct op *op)
{
	struct sim_disk *d = op->disk;
	size_t bytes = d->disk.sectors * sizeof(*d->answered);

	op->flush = ++d->flushes;
	op->snapshot = malloc(bytes);
	if (!op->snapshot)
		abort();
	memcpy(op->snapshot, d->answered, bytes);
	guest_flushes_see();
}

/* A copier that has read zeroes does not write them from its buffer. */
static bool
is_zero(const struct op *op)
{
	for (uint32_t i = 0; i < op->io->count; i++)
		if (sector_get((char *)op->io->buf + (size_t)i * SECTOR_BYTES))
			return false;
	return true;
}

static void
op_answer(struct op *op)
{
	struct disk_io *io = op->io;
	struct sim_disk *d = op->disk;

	op->answered = true;
	list_del(&op->link);
	d->inflight_by[op->who]--;
	if (io->op == DISK_STATUS && !op->err)
		answer_status(op);
	else if (writes(io))
		answer_write(op);
	else if (io->op == DISK_FLUSH)
		answer_flush(op);
	trace("%s %s: %s [%" PRIu64 ",+%u) is answered%s%s", side_name[d->side],
	      who_name[op->who], op_name(io->op), io->sector, io->count, op->err ? ": " : "",
	      op->err ? strerror(-op->err) : "");
	if (last.op == op) {
		last.op = NULL;
		last.err = op->err;
	}
	if (op->who == WHO_COPIER && io->op == DISK_READ && (op->err || is_zero(op)))
		copier_read_at(io->buf)->buf = NULL;
	promise_done(op);
	wait_done(op);
	if (op->twin) {
		op->twin->twin_failed = op->err;
		op->twin->twin_answered = world.events;
		op->twin->twin = NULL;
	}
	io->done(io, op->err);
}

static void
answer_event(void *arg, uint64_t n)
{
	struct op *op = arg;

	/* Requests that were stuck when everything was mended are answered already. */
	if (!op->answered)
		op_answer(op);
	op_put(op);
}

static void
move_event(void *arg, uint64_t moment)
{
	struct op *op = arg;

	if (!op->answered)
		move_now(op, (unsigned)moment);
	op_put(op);
}

/* --- submitting -------------------------------------------------------------- */

static void
check_request(const struct sim_disk *d, const struct disk_io *io)
{
	if (io->op == DISK_FLUSH)
		return;
	if (!io->count || io->sector + io->count > d->disk.sectors)
		world_fail("%s is asked to %s [%" PRIu64 ",+%u) of %" PRIu64 " sectors",
			   side_name[d->side], op_name(io->op), io->sector, io->count,
			   d->disk.sectors);
	if (io->op != DISK_STATUS &&
	    (io->sector % world.plan.align || io->count % world.plan.align))
		world_fail("%s is asked to %s [%" PRIu64 ",+%u), which is not aligned to %u",
			   side_name[d->side], op_name(io->op), io->sector, io->count,
			   world.plan.align);
	if ((io->op == DISK_READ || io->op == DISK_WRITE) && !io->buf)
		world_fail("%s gets no buffer", side_name[d->side]);
}

static uint64_t
service_ns(struct sim_disk *d, const struct disk_io *io)
{
	const struct plan_disk *p = d->plan;
	uint64_t start = d->busy_until_ns > world.now_ns ? d->busy_until_ns : world.now_ns;

	if (io->op == DISK_READ || io->op == DISK_WRITE)
		start += io->count * p->sector_ns;
	d->busy_until_ns = start;
	return start + p->latency_ns + rng_below(&d->plan->rng, p->spread_ns);
}

/* The moments at which the op's sectors move, and the one at which it is answered. */
static void
schedule(struct op *op, uint64_t done_ns)
{
	struct rng *r = &op->disk->plan->rng;
	uint64_t last_ns = done_ns == FOREVER ? world.now_ns + 30 * SECOND : done_ns;

	for (unsigned i = 0; i < op->moments; i++) {
		op->events++;
		world_at(rng_range(r, world.now_ns, last_ns), move_event, op, i);
	}
	op->events++;
	if (done_ns == FOREVER)
		op->stuck = true;
	else
		world_at(done_ns, answer_event, op, 0);
}

static void
disk_submit(struct disk *disk, struct disk_io *io)
{
	struct sim_disk *d = sim_disk_of(disk);
	struct rng *r = &d->plan->rng;
	struct op *op;
	uint64_t done_ns;

	world_may_crash();
	op = pool_get(&ops);
	check_request(d, io);
	op->io = io;
	op->disk = d;
	op->who = who_wants(io);
	op->salt = rng_next(r);
	op->skip = (unsigned)rng_next(r);
	op->moments = (unsigned)rng_range(r, 1, d->plan->tears);
	op->err = fault_of(d, io);
	if (io->op == DISK_FLUSH)
		begin_flush(op);
	trace("%s %s: %s [%" PRIu64 ",+%u)%s", side_name[d->side], who_name[op->who],
	      op_name(io->op), io->sector, io->count, op->err ? ", will fail" : "");
	find_twin(op);
	list_add_tail(&op->link, &d->inflight);
	d->inflight_by[op->who]++;
	if (io->op != DISK_STATUS && io->op != DISK_FLUSH)
		d->bytes[op->who][writes(io)] += (uint64_t)io->count * SECTOR_BYTES;
	promise_submit(op);
	wait_submit(op);
	remember(op);
	done_ns = after_stalls(d, service_ns(d, io));
	if (done_ns < SECOND + world.now_ns && rng_chance(r, d->plan->at_once)) {
		for (unsigned i = 0; i < op->moments; i++)
			move_now(op, i);
		op->events = 1;
		op_answer(op);
		op_put(op);
		return;
	}
	schedule(op, done_ns);
}

/* Of the op's sectors some still move, or all of them. */
static void
op_crash(struct op *op, enum crash_kind kind)
{
	struct sim_disk *d = op->disk;
	struct rng *r = &d->plan->rng;
	bool whole = kind == CRASH_KILL && rng_chance(r, 50);

	op->answered = true;
	list_del(&op->link);
	if (writes(op->io)) {
		for (uint32_t i = 0; i < op->io->count; i++)
			if (whole || rng_chance(r, 50))
				move_sector(op, i);
	} else if (op->io->op == DISK_FLUSH && whole && !op->err) {
		answer_flush(op);
	}
	if (op->stuck)
		op_put(op);
}

void
disk_crash(enum side side, enum crash_kind kind)
{
	struct sim_disk *d = &world.disk[side];
	struct rng *r = &d->plan->rng;
	struct op *op, *next;

	list_for_each_entry_safe(op, next, &d->inflight, link)
		op_crash(op, kind);
	memset(d->inflight_by, 0, sizeof(d->inflight_by));
	memset(d->bytes, 0, sizeof(d->bytes));
	memset(&last, 0, sizeof(last));
	memset(copier_reads, 0, sizeof(copier_reads));
	memcpy(d->answered, d->tag, sizeof(d->answered)); /* nothing is under way */
	if (kind == CRASH_KILL)
		return;
	for (uint64_t s = 0; s < d->disk.sectors; s++) {
		uint32_t n = d->recents[s] < RECENT ? d->recents[s] : RECENT;
		uint64_t which = n || d->tag[s] != d->stable[s] ? rng_below(r, n + 2) : 0;

		d->tag[s] = which > 1 ? d->recent[s][which - 2]
			    : which   ? d->tag[s]
				      : d->stable[s];
		d->answered[s] = d->stable[s] = d->tag[s];
	}
	memset(d->recents, 0, sizeof(d->recents));
	d->busy_until_ns = 0;
	d->flushed = d->flushes;
}

void
disk_heal(void)
{
	for (enum side s = SRC; s < SIDES; s++) {
		struct op *op;

		list_for_each_entry(op, &world.disk[s].inflight, link)
			if (op->stuck) {
				op->stuck = false;
				op->err = -EIO;
				world_at(world.now_ns, answer_event, op, 0);
			}
	}
}

void
disk_init(enum side side)
{
	struct sim_disk *d = &world.disk[side];

	if (side == SRC) {
		if (!ops.size)
			pool_init(&ops, sizeof(struct op));
		memset(copier_reads, 0, sizeof(copier_reads));
		memset(&last, 0, sizeof(last));
	}
	d->side = side;
	d->plan = &world.plan.disk[side];
	d->disk.submit = disk_submit;
	d->disk.sectors = world.plan.sectors + d->plan->extra;
	d->busy_until_ns = 0;
	d->flushes = d->flushed = 0;
	memset(d->matched, 0, sizeof(d->matched));
	memset(d->bytes, 0, sizeof(d->bytes));
	memset(d->inflight_by, 0, sizeof(d->inflight_by));
	memset(d->recents, 0, sizeof(d->recents));
	INIT_LIST_HEAD(&d->inflight);
	for (uint64_t s = world.plan.sectors; s < d->disk.sectors; s++)
		d->tag[s] = d->answered[s] = d->stable[s] = tag_make(WRITER_STALE, s);
}
