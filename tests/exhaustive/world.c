/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define CHUNK 8u /* sectors; the disk ends within the first */

struct world world;

/* --- the disks -------------------------------------------------------------- */

static enum side
side_of(const struct disk_io *io)
{
	return io->disk == &world.disk[SRC] ? SRC : DST;
}

static void
disk_submit(struct disk *disk, struct disk_io *io)
{
	unsigned at;

	if (io->op == DISK_STATUS) {
		io->done(io, -EOPNOTSUPP);
		return;
	}
	if (world.ios == IOS_MAX)
		fail("more is outstanding than the model has room for");
	for (at = world.ios++; at && world.io[at - 1] > io; at--)
		world.io[at] = world.io[at - 1];
	world.io[at] = io;
	/* The bits of those that have moved, move too. */
	world.taken = (world.taken & ((1u << at) - 1)) | (world.taken >> at << (at + 1));
}

static void
fill(uint64_t *sector, uint64_t stamp)
{
	for (unsigned i = 0; i < SECTOR_STAMPS; i++)
		sector[i] = stamp;
}

static void
disk_write(const struct disk_io *io, enum outcome outcome)
{
	const uint64_t(*buf)[SECTOR_STAMPS] = io->buf;

	for (uint32_t i = 0; i < io->count; i++) {
		uint64_t sector = io->sector + i;

		if (outcome == FAIL_JUNK)
			world.held[side_of(io)][sector] = STAMP(JUNK, sector);
		else if (outcome == WELL || outcome == FAIL_NEW)
			world.held[side_of(io)][sector] = buf[i][0];
	}
}

/* A failed flush may have lost what the disk held. Of what only it held, nothing
 * more can be said; what both did the other side must answer for. */
static void
disk_spoil(enum side side)
{
	uint64_t run;

	for (uint64_t sector = 0; sector < SECTORS; sector++)
		if (validity_get(world.m.engine.map, sector, 1, &run) == BOTH)
			world.held[side][sector] = STAMP(JUNK, sector);
}

static void
disk_answer(unsigned which, enum outcome outcome)
{
	static const int errors[] = { 0, -EIO, -EIO, -EIO, -ENOSPC };
	struct disk_io *io = world.io[which];
	uint64_t(*buf)[SECTOR_STAMPS] = io->buf;

	world.ios--;
	for (unsigned i = which; i < world.ios; i++)
		world.io[i] = world.io[i + 1];
	world.io[world.ios] = NULL;
	world.taken =
		(world.taken & ((1u << which) - 1)) | (world.taken >> (which + 1) << which);

	if (outcome != WELL) {
		world.faulty = true;
		world.failed = io->op;
	}
	if (io->op == DISK_WRITE)
		disk_write(io, outcome);
	else if (io->op == DISK_FLUSH && outcome == FAIL_JUNK)
		disk_spoil(side_of(io));
	else if (io->op == DISK_READ && outcome == WELL)
		for (uint32_t i = 0; i < io->count; i++)
			fill(buf[i], world.held[side_of(io)][io->sector + i]);
	io->done(io, errors[outcome]);
}

/* --- the guest ---------------------------------------------------------------- */

static void
guest_answered(struct guest_io *g, int err)
{
	struct request *r = list_entry(g, struct request, g);

	if (r->answered)
		fail("a request of the guest was answered twice");
	r->answered = true;
	r->err = err;
	check_answer(r);
	world.answered |= 1u << (r - world.request);
	/* The buffer is the guest's again. */
	if (g->op == DISK_WRITE)
		memset(r->buf, 0xee, sizeof(r->buf));
}

static void
guest_send(struct request *r)
{
	r->sent = true;
	r->before = world.answered;
	migration_guest(&world.m, &r->g);
}

static void
guest_begin(const struct wish *wish)
{
	for (; world.requests < REQUESTS_MAX && wish->count; wish++) {
		struct request *r = &world.request[world.requests];

		r->g = (struct guest_io){ .op = wish->op,
					  .sector = wish->sector,
					  .count = wish->count,
					  .buf = r->buf,
					  .done = guest_answered };
		for (uint32_t i = 0; i < wish->count; i++)
			fill(r->buf[i], STAMP(OF_REQUEST + world.requests, wish->sector + i));
		world.requests++;
	}
}

/* --- the migration -------------------------------------------------------------- */

static uint64_t
now_ns(void *ctx)
{
	return world.now_ns;
}

static void
wake_at(void *ctx, uint64_t ns)
{
}

static void
ended(void *ctx)
{
	world.ended++;
}

void
world_begin(const struct scenario *scenario, enum strategy strategy)
{
	struct migration_config config = {
		.disk = { &world.disk[SRC], &world.disk[DST] },
		.map = validity_create(SECTORS, SRC_BIT),
		.strategy = strategy,
		.state = MIGRATION_COPYING,
		.chunk = CHUNK,
		.unit = CHUNK,
		.threshold = scenario->threshold,
		.depth = 1,
		.align = 1,
		.now_ns = now_ns,
		.wake_at = wake_at,
		.ended = ended,
	};

	memset(&world, 0, sizeof(world));
	world.scenario = scenario;
	world.now_ns = 1000000000;
	for (enum side s = SRC; s < SIDES; s++) {
		world.disk[s] = (struct disk){ .submit = disk_submit, .sectors = SECTORS };
		for (uint64_t i = 0; i < SECTORS; i++)
			world.held[s][i] = STAMP(s == SRC ? INITIAL : STALE, i);
	}
	guest_begin(scenario->guest);
	if (!config.map || migration_init(&world.m, &config))
		fail("out of memory");
	migration_start(&world.m);
}

void
world_end(void)
{
	migration_stop(&world.m);
	migration_release(&world.m);
	for (unsigned i = 0; i < CELLS; i++)
		if (world.cell_used[i])
			fail("memory was not given back");
}

void
world_abandon(void)
{
	/* What is not in the world. */
	validity_destroy(world.m.engine.map);
	free(world.m.engine.flight);
}

/* --- moves ------------------------------------------------------------------------ */

static void
add(struct move *moves, unsigned *n, enum kind kind, unsigned which, enum outcome outcome)
{
	assert(*n < MOVES_MAX);
	moves[(*n)++] = (struct move){ kind, which, outcome };
}

/*
 * A write may be done before it is answered. That makes a difference only to a read
 * that is answered in between, and so only when one is there already.
 */
static bool
may_take(unsigned which)
{
	const struct disk_io *w = world.io[which];

	if (w->op != DISK_WRITE || (world.taken & 1u << which))
		return false;
	for (unsigned i = 0; i < world.ios; i++) {
		const struct disk_io *r = world.io[i];

		if (r->op == DISK_READ && r->disk == w->disk &&
		    r->sector < w->sector + w->count && w->sector < r->sector + r->count)
			return true;
	}
	return false;
}

static void
add_answers(struct move *moves, unsigned *n, unsigned which)
{
	/* The ways of failing that make a difference. */
	static const unsigned ways[] = {
		[DISK_READ] = 1u << FAIL_OLD,
		[DISK_WRITE] = 1u << FAIL_OLD | 1u << FAIL_NEW | 1u << FAIL_JUNK,
		[DISK_FLUSH] = 1u << FAIL_OLD | 1u << FAIL_JUNK,
	};
	const struct disk_io *io = world.io[which];
	unsigned failing = ways[io->op];

	if (io->op == DISK_WRITE && side_of(io) == DST)
		failing |= 1u << FAIL_SPACE;
	if (world.taken & 1u << which)
		failing = 1u << FAIL_NEW;
	if (may_take(which))
		add(moves, n, TAKE, which, 0);
	add(moves, n, ANSWER, which, WELL);
	for (enum outcome o = FAIL_OLD; o <= FAIL_SPACE; o++)
		if ((world.scenario->may & MAY_FAIL) && !world.faulty && (failing & 1u << o))
			add(moves, n, ANSWER, which, o);
}

static void
add_commands(struct move *moves, unsigned *n)
{
	const struct migration *m = &world.m;
	bool forward = m->state == MIGRATION_COPYING || m->state == MIGRATION_SYNCHRONISED;
	unsigned may = world.scenario->may;
	struct migration_status status;

	migration_get_status(m, &status);
	if ((may & MAY_SWITCH) && forward && !world.switched)
		for (enum strategy s = 0; s < STRATEGIES; s++)
			if (s != m->strategy)
				add(moves, n, SWITCH, s, 0);
	if ((may & MAY_CANCEL) && (forward || m->state == MIGRATION_COMPLETING))
		add(moves, n, CANCEL, 0, 0);
	/* Without leave to do more, the operator sees to it that there is an end. */
	if (migration_over(m) || (*n && !(may & MAY_COMPLETE)))
		return;
	if (forward && !m->completing && !status.pause)
		add(moves, n, COMPLETE, 0, 0);
	else if (!*n && status.pause)
		add(moves, n, RESUME, 0, 0);
}

unsigned
world_moves(struct move *moves)
{
	unsigned n = 0;

	for (unsigned i = 0; i < world.requests; i++)
		if (!world.request[i].sent)
			add(moves, &n, SEND, i, 0);
	for (unsigned i = 0; i < world.ios; i++)
		add_answers(moves, &n, i);
	if (world.m.wake_ns != UINT64_MAX)
		add(moves, &n, WAIT, 0, 0);
	add_commands(moves, &n);
	if (!n && !migration_over(&world.m))
		fail("nothing can happen any more, and it has not ended");
	return n;
}

/* They decide nothing, and would tell states apart that have the same future. */
static void
forget_statistics(void)
{
	memset(&world.m.engine.counters, 0, sizeof(world.m.engine.counters));
	memset(&world.m.copier.counters, 0, sizeof(world.m.copier.counters));
	world.m.engine.routed = 0;
}

void
world_do(const struct move *move)
{
	int err = 0;

	switch (move->kind) {
	case SEND:
		guest_send(&world.request[move->which]);
		break;
	case TAKE:
		disk_write(world.io[move->which], WELL);
		world.taken |= 1u << move->which;
		break;
	case ANSWER:
		disk_answer(move->which, move->outcome);
		break;
	case SWITCH:
		world.switched = true;
		err = migration_set_strategy(&world.m, move->which);
		break;
	case CANCEL:
		err = migration_cancel(&world.m);
		break;
	case COMPLETE:
		err = migration_complete(&world.m);
		break;
	case RESUME:
		err = migration_resume(&world.m);
		break;
	case WAIT:
		world.now_ns = world.m.wake_ns;
		migration_wake(&world.m);
		break;
	}
	if (err)
		fail("a command was refused");
	check_sides();
	forget_statistics();
}

void
world_print(const struct move *move)
{
	static const char *const ops[] = { "read", "write", "zero", "flush" };
	static const char *const sides[] = { "source", "destination" };
	static const char *const outcomes[] = { "", ": fails", ": fails, but was done",
						": fails and leaves junk", ": has no space" };
	static const char *const others[] = { [CANCEL] = "operator: cancel",
					      [COMPLETE] = "operator: complete",
					      [RESUME] = "operator: resume",
					      [WAIT] = "time passes" };
	const struct guest_io *g = &world.request[move->which % REQUESTS_MAX].g;
	const struct disk_io *io = world.io[move->which % IOS_MAX];

	if (move->kind == SEND)
		printf("#   guest: %s %c, %lu + %u\n", ops[g->op], 'A' + move->which, g->sector,
		       g->count);
	else if (move->kind == TAKE)
		printf("#   %s: has done, not answered, write of %lu + %u\n",
		       sides[side_of(io)], io->sector, io->count);
	else if (move->kind == ANSWER)
		printf("#   %s: %s of %lu + %u%s\n", sides[side_of(io)], ops[io->op],
		       io->op == DISK_FLUSH ? 0 : io->sector,
		       io->op == DISK_FLUSH ? 0 : io->count, outcomes[move->outcome]);
	else if (move->kind == SWITCH)
		printf("#   operator: switch to %s\n", strategy_row(move->which)->name);
	else
		printf("#   %s\n", others[move->kind]);
}

/* --- which state it is ---------------------------------------------------------- */

/* Four lanes, for the sake of speed. */
static uint64_t
mix(uint64_t key, const void *data, size_t bytes)
{
	const uint64_t *words = data;
	uint64_t lanes[4] = { key, ~key, key << 1 | 1, key >> 1 };

	assert(bytes % sizeof(lanes) == 0);
	for (size_t i = 0; i < bytes / sizeof(*words); i++) {
		unsigned __int128 product =
			(unsigned __int128)(lanes[i % 4] ^ words[i]) * 0x9e3779b97f4a7c15u;

		lanes[i % 4] = (uint64_t)product + (uint64_t)(product >> 64) + i;
	}
	key = lanes[0];
	for (unsigned i = 1; i < 4; i++)
		key = (key ^ lanes[i]) * 0xff51afd7ed558ccdu ^ key >> 29;
	return key;
}

uint64_t
world_key(void)
{
	uint64_t key = mix(1, &world, offsetof(struct world, cells)), run;

	/* A free cell holds nothing; the map lies elsewhere. */
	for (unsigned i = 0; i < CELLS; i++)
		if (world.cell_used[i])
			key = mix(key, world.cells[i], CELL_BYTES);
	for (uint64_t sector = 0; sector < SECTORS; sector++) {
		uint64_t sides[4] = { validity_get(world.m.engine.map, sector, 1, &run) };

		key = mix(key, sides, sizeof(sides));
	}
	return key;
}
