/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check.c - what the guest saw, judged by what it knows
 *
 * The history is who was answered before whom was sent (request.before), and what
 * was read. The engine is asked for nothing but its map, and that is judged too.
 */
#include "model.h"

static unsigned
bit(const struct request *r)
{
	return 1u << (r - world.request);
}

static bool
writes(const struct request *r, uint64_t sector)
{
	return r->g.op == DISK_WRITE && sector - r->g.sector < r->g.count;
}

/* Whether a good write of the sector, after those, was answered before. */
static bool
superseded(uint64_t sector, unsigned those, unsigned before)
{
	for (unsigned i = 0; i < world.requests; i++) {
		const struct request *r = &world.request[i];

		if (writes(r, sector) && (bit(r) & before) && !r->err &&
		    (r->before & those) == those)
			return true;
	}
	return false;
}

/*
 * Whether a read that is answered now, and was sent after those before had been
 * answered, may get that stamp: the last write, or one that overlaps it in time;
 * where a write has failed the old data, its own or neither.
 */
static bool
may_read(uint64_t sector, uint64_t stamp, unsigned before)
{
	if (stamp == STAMP(INITIAL, sector) && !superseded(sector, 0, before))
		return true;
	for (unsigned i = 0; i < world.requests; i++) {
		const struct request *r = &world.request[i];
		bool junk = r->answered && r->err && stamp == STAMP(JUNK, sector);

		if (writes(r, sector) && r->sent &&
		    (junk || stamp == STAMP(OF_REQUEST + i, sector)) &&
		    !superseded(sector, bit(r), before))
			return true;
	}
	return false;
}

static bool
being_written(uint64_t sector)
{
	for (unsigned i = 0; i < world.ios; i++)
		if (world.io[i]->op == DISK_WRITE &&
		    sector - world.io[i]->sector < world.io[i]->count)
			return true;
	return false;
}

/* Where nothing is being written, a side that is called valid could be read now. */
void
check_sides(void)
{
	const struct validity *map = world.m.engine.map;
	uint64_t run;

	for (uint64_t sector = 0; sector < SECTORS; sector++) {
		side_mask sides = validity_get(map, sector, 1, &run);

		if (!sides)
			fail("a sector is valid nowhere");
		if (being_written(sector))
			continue;
		if (sides == BOTH && world.held[SRC][sector] != world.held[DST][sector])
			fail("a sector is called valid on both sides, and they differ");
		for (enum side s = SRC; s < SIDES; s++)
			if ((sides & side_bit(s)) &&
			    !may_read(sector, world.held[s][sector], world.answered))
				fail("a side is called valid that holds the wrong data");
	}
}

void
check_answer(const struct request *r)
{
	if (r->err && !(world.faulty && world.failed == r->g.op))
		fail("the guest got an error that no disk gave");
	if (r->err || r->g.op != DISK_READ)
		return;
	for (uint64_t sector = r->g.sector; sector < r->g.sector + r->g.count; sector++) {
		const uint64_t *stamps = r->buf[sector - r->g.sector];

		for (unsigned i = 1; i < SECTOR_STAMPS; i++)
			if (stamps[i] != stamps[0])
				fail("a read got a torn sector");
		if (!may_read(sector, stamps[0], r->before))
			fail("a read got data that is too old, or never was");
	}
}

/*
 * Whether what is left of the history of a sector can be put in one order that
 * respects who came before whom, from where it holds value to where it ends.
 */
static bool
linearisable(uint64_t sector, unsigned left, uint64_t value, uint64_t last)
{
	if (!left)
		return value == last;
	for (unsigned i = 0; i < world.requests; i++) {
		const struct request *r = &world.request[i];
		uint64_t next = value;

		if (!(left & bit(r)) || (left & r->before))
			continue;
		if (r->g.op == DISK_WRITE)
			next = STAMP(OF_REQUEST + i, sector);
		else if (r->buf[sector - r->g.sector][0] != value)
			continue;
		if (linearisable(sector, left & ~bit(r), next, last))
			return true;
	}
	return false;
}

/* Reads that were sent after the last write was answered agree with the end. */
static void
check_settled(uint64_t sector, uint64_t last)
{
	unsigned all = 0;

	for (unsigned i = 0; i < world.requests; i++)
		if (writes(&world.request[i], sector))
			all |= 1u << i;
	for (unsigned i = 0; i < world.requests; i++) {
		const struct request *r = &world.request[i];

		if (r->g.op == DISK_READ && !r->err && sector - r->g.sector < r->g.count &&
		    (r->before & all) == all && r->buf[sector - r->g.sector][0] != last)
			fail("reads disagree though nothing was being written");
	}
}

void
check_end(void)
{
	enum side side = world.m.state == MIGRATION_COMPLETED ? DST : SRC;
	uint64_t run;

	if (world.answered != (1u << world.requests) - 1)
		fail("a request of the guest was never answered");
	if (world.ended != 1)
		fail("the end was not told once");
	if (!migration_quiet(&world.m))
		fail("it has ended, and is not quiet");
	for (uint64_t sector = 0; sector < SECTORS; sector++) {
		uint64_t last = world.held[side][sector];
		unsigned touching = 0;

		if (validity_get(world.m.engine.map, sector, 1, &run) != side_bit(side))
			fail("after the end a side alone is not what is valid");
		if (!may_read(sector, last, world.answered))
			fail("the disk that is left lacks what was acknowledged");
		check_settled(sector, last);
		for (unsigned i = 0; i < world.requests; i++)
			if (sector - world.request[i].g.sector < world.request[i].g.count)
				touching |= 1u << i;
		if (!world.faulty &&
		    !linearisable(sector, touching, STAMP(INITIAL, sector), last))
			fail("what was read and what is left fit no one order");
	}
}
