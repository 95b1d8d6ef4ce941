/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a journal costs: the syncs of its file that a guest's writes and flushes take,
 * and how much is copied twice when power fails. The engine, over disks, a store and
 * a clock in memory; nothing is timed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rig.h"

#define REGION	    ((uint64_t)JOURNAL_REGION_SECTORS)
#define MIB_SECTORS 2048u

/* Each write of the store is one sync. */
static unsigned
syncs(const struct rig *r)
{
	return r->memory.count[STORE_WRITE];
}

static void
write_and_settle(struct rig *r, uint64_t sector, unsigned v)
{
	struct request *q = guest_write(r->w, sector, 8, v);

	settle(r->w);
	assert_true(q->done);
	assert_int_equal(q->err, 0);
}

static void
flush_and_settle(struct rig *r)
{
	struct request *q = guest_flush(r->w);

	settle(r->w);
	assert_true(q->done);
	assert_int_equal(q->err, 0);
}

static void
second(struct rig *r)
{
	pass_time(r->w, SECOND);
	settle(r->w);
}

/* --- the guest's writes ------------------------------------------------------------ */

/* Two regions and a bit, valid on both sides. */
static void
start_copied(struct rig *r, enum strategy strategy)
{
	static char chunks[2 * JOURNAL_REGION_SECTORS / CHUNK + 2];

	memset(chunks, 'B', sizeof(chunks) - 1);
	rig_start(r, (struct world_config){
			     .strategy = strategy,
			     .chunks = chunks,
			     .sectors = (uint64_t)CHUNK * (sizeof(chunks) - 1),
		     });
	settle(r->w);
}

static void
each_strategy(void (*test)(struct rig *r, enum strategy strategy))
{
	for (int s = 0; s < STRATEGIES; s++) {
		struct rig r;

		start_copied(&r, (enum strategy)s);
		test(&r, (enum strategy)s);
		rig_end(&r);
	}
}

static void
hot_region(struct rig *r, enum strategy strategy)
{
	unsigned before = syncs(r);

	for (unsigned i = 0; i < 1000; i++) {
		write_and_settle(r, i * 8 % REGION, i + 10);
		assert_int_equal(syncs(r), before + 1);
	}
	/* The same sectors, again and again; and all over the region. */
	for (unsigned i = 0; i < 1000; i++)
		write_and_settle(r, i % 4 * 8, i + 2000);
	for (unsigned i = 0; i < 1000; i++)
		write_and_settle(r, i * 1237 % (REGION / 8) * 8, i + 4000);
	assert_int_equal(syncs(r), before + 1);
	write_and_settle(r, REGION + 80, 1);
	assert_int_equal(syncs(r), before + 2);
}

static void
test_a_hot_region_costs_one_sync_and_its_writes_none(void **state)
{
	each_strategy(hot_region);
}

/* Changes of use to a killed process only fill the list; room is made for many at once. */
static void
endless(struct rig *r, enum strategy strategy)
{
	unsigned n = 20000, before = syncs(r);

	for (unsigned i = 0; i < n; i++)
		write_and_settle(r, i % 64 * 8, i + 10);
	/* Two changes a write at most, and a sync for each half of the list. */
	assert_true(syncs(r) - before <= 1 + 2 * n / (ENTRIES / 2));
}

static void
test_endless_writes_cost_a_sync_for_thousands(void **state)
{
	each_strategy(endless);
}

static void
steady(struct rig *r, enum strategy strategy)
{
	unsigned seconds = 60, before = syncs(r);

	for (unsigned s = 0; s < seconds; s++) {
		for (unsigned i = 0; i < 50; i++)
			write_and_settle(r, (s * 50 + i) % 1000 * 8, s * 50 + i + 10);
		second(r);
	}
	/* The migration's own, whatever the guest writes. */
	assert_true(syncs(r) - before <= 1 + seconds / 5);
}

static void
test_over_time_there_is_a_sync_every_five_seconds(void **state)
{
	each_strategy(steady);
}

static void
idle(struct rig *r, enum strategy strategy)
{
	unsigned before;

	write_and_settle(r, 0, 10);
	for (unsigned s = 0; s < 30; s++)
		second(r);
	before = syncs(r);
	for (unsigned s = 0; s < 60; s++)
		second(r);
	assert_int_equal(syncs(r), before);
}

static void
test_a_guest_that_does_not_write_costs_nothing(void **state)
{
	each_strategy(idle);
}

static void
flushes(struct rig *r, enum strategy strategy)
{
	unsigned before;

	for (unsigned i = 0; i < 100; i++)
		write_and_settle(r, i * 8, i + 10);
	before = syncs(r);
	flush_and_settle(r);
	assert_true(syncs(r) - before <= 1);
	/* What is written again is where it was: there is nothing to write down. */
	before = syncs(r);
	for (unsigned i = 0; i < 100; i++) {
		write_and_settle(r, i * 8, i + 200);
		if (i % 8 == 0)
			flush_and_settle(r);
	}
	assert_int_equal(syncs(r), before);
}

static void
test_a_flush_costs_one_sync_if_the_map_has_changed_and_else_none(void **state)
{
	each_strategy(flushes);
}

/* What it would say waits for a flush of a side that has nothing, and others wait behind it. */
static void
test_a_failed_write_that_takes_nothing_away_is_not_written_down(void **state)
{
	struct request *q;
	struct rig r;
	uint64_t before;

	rig_start(&r, (struct world_config){ .strategy = STRATEGY_SLR, .chunks = "SB" });
	settle(r.w);
	before = r.live->head;
	q = guest_write(r.w, 0, 8, 10);
	answer(r.w, SRC, DISK_WRITE, 0, 8, -EIO);
	settle(r.w);
	assert_true(q->done && q->err == -EIO);
	assert_int_equal(r.live->head, before);
	/* Where it takes something away it is. */
	q = guest_write(r.w, CHUNK, 8, 11);
	answer(r.w, DST, DISK_WRITE, CHUNK, 8, -EIO);
	settle(r.w);
	assert_true(r.live->head > before);
	rig_end(&r);
}

/* --- what is copied twice ------------------------------------------------------------ */

/* What a power failure would leave of the map. */
static struct validity *
stable_map(const struct rig *r)
{
	struct journal_contents c;
	struct validity *map;
	char why[200];

	assert_int_equal(journal_read(r->memory.bytes[STORE_CURRENT],
				      r->memory.len[STORE_CURRENT], NULL, &c, &map, why,
				      sizeof(why)),
			 0);
	return map;
}

/* Sectors that are on the destination and would be copied again. */
static uint64_t
at_risk(const struct rig *r)
{
	struct validity *p = stable_map(r);
	uint64_t lacking = validity_lacking(p, DST);

	validity_destroy(p);
	return lacking - validity_lacking(r->w->m.engine.map, DST);
}

/* Answers the oldest request that is no flush; false if there is none. */
static bool
answer_copy(struct world *w)
{
	struct disk_io *io;

	for (enum side s = SRC; s < SIDES; s++)
		list_for_each_entry(io, &w->disk[s].outstanding, link)
			if (io->op != DISK_FLUSH) {
				fake_complete(io, 0);
				return true;
			}
	return false;
}

static bool
answer_flush(struct world *w)
{
	struct disk_io *io;

	for (enum side s = SRC; s < SIDES; s++)
		list_for_each_entry(io, &w->disk[s].outstanding, link)
			if (io->op == DISK_FLUSH) {
				fake_complete(io, 0);
				return true;
			}
	return false;
}

static void
start_copying(struct rig *r, uint64_t mib)
{
	rig_start(r, (struct world_config){
			     .strategy = STRATEGY_LR,
			     .sectors = mib * MIB_SECTORS,
			     .chunk = MIB_SECTORS,
			     .running = true,
		     });
	while (answer_flush(r->w))
		;
}

/* A flush takes until nothing else goes on. */
static void
test_at_most_256_mib_are_copied_twice_however_slow_a_flush_is(void **state)
{
	uint64_t bound = 256 * MIB_SECTORS, most = 0;
	struct rig r;

	start_copying(&r, 640);
	while (validity_lacking(r.w->m.engine.map, DST)) {
		while (answer_copy(r.w))
			;
		most = at_risk(&r) > most ? at_risk(&r) : most;
		assert_true(at_risk(&r) <= bound);
		assert_true(answer_flush(r.w));
	}
	/* It is not held up for nothing. */
	assert_true(most >= bound / 2);
	rig_end(&r);
}

/* A disk that is one hole, onto one that is known to be zero, or not: the syncs that takes. */
static unsigned
syncs_of_a_hole(uint64_t mib, bool pristine)
{
	struct rig r;
	unsigned begun, taken;

	rig_start(&r, (struct world_config){
			      .strategy = STRATEGY_LR,
			      .sectors = mib * MIB_SECTORS,
			      .chunk = MIB_SECTORS,
			      .pristine = pristine,
			      .tells_zeroes = true,
		      });
	for (enum side s = SRC; s < SIDES; s++)
		memset(r.w->disk[s].stamps, 0, mib * MIB_SECTORS * sizeof(uint64_t));
	for (uint64_t i = 0; i < mib * MIB_SECTORS; i++)
		r.w->expected[i] = ANYTHING;
	settle(r.w);
	begun = syncs(&r);
	migration_resume(&r.w->m);
	settle(r.w);
	assert_int_equal(validity_lacking(r.w->m.engine.map, DST), 0);
	taken = syncs(&r) - begun;
	rig_end(&r);
	return taken;
}

static void
test_what_need_not_be_written_costs_no_syncs(void **state)
{
	unsigned beginning = syncs_of_a_hole(64, true);

	assert_int_equal(syncs_of_a_hole(1024, true), beginning);
	assert_int_equal(syncs_of_a_hole(1024, false), beginning + 1);
}

/* A copy of 2 MiB/s, whose flushes take a second. */
static void
test_at_most_five_seconds_are_copied_twice(void **state)
{
	struct rig r;

	start_copying(&r, 64);
	for (unsigned s = 0; validity_lacking(r.w->m.engine.map, DST); s++) {
		assert_true(s < 100);
		for (unsigned mib = 0; mib < 2; mib++) {
			/* A chunk is read and written. */
			answer_copy(r.w);
			answer_copy(r.w);
		}
		while (answer_flush(r.w))
			;
		pass_time(r.w, SECOND);
		/* A second until it is noticed, and one of the flush. */
		assert_true(at_risk(&r) <= (5 + 2) * 2 * MIB_SECTORS);
	}
	rig_end(&r);
}

static void
test_what_is_in_doubt_is_copied_twice_and_soon_is_not(void **state)
{
	struct rig r;

	start_copied(&r, STRATEGY_MIRROR);
	assert_int_equal(at_risk(&r), 0);
	write_and_settle(&r, 100, 10);
	assert_int_equal(at_risk(&r), REGION);
	write_and_settle(&r, 10000, 10);
	assert_int_equal(at_risk(&r), REGION);
	write_and_settle(&r, REGION + 100, 10);
	assert_int_equal(at_risk(&r), 2 * REGION);
	for (unsigned s = 0; s < 20; s++)
		second(&r);
	assert_int_equal(at_risk(&r), 0);
	rig_end(&r);
}

static void
test_a_file_that_cannot_be_written_is_tried_again_with_the_tick_alone(void **state)
{
	unsigned tries;
	struct rig r;

	start_copied(&r, STRATEGY_SLR);
	r.memory.fail[STORE_WRITE] = r.memory.fail[STORE_PUBLISH] = -EIO;
	guest_write(r.w, 100, 8, 10);
	assert_int_equal(status_of(r.w).journal.state, JOURNAL_FAILED);
	tries = syncs(&r);
	for (unsigned i = 0; i < 100; i++) {
		r.w->now_ns += SECOND / 100;
		migration_wake(&r.w->m);
	}
	assert_int_equal(syncs(&r), tries);
	migration_tick(&r.w->m);
	assert_true(syncs(&r) > tries);
	rig_end(&r);
}

/* --- memory ----------------------------------------------------------------------- */

/* Discards of the whole disk, all of which wait for the journal. */
static void
test_of_long_requests_a_few_parts_wait_for_the_journal_at_a_time(void **state)
{
	struct rig r;

	start_copied(&r, STRATEGY_SLR);
	r.memory.hold = true;
	for (unsigned i = 1; i <= 4; i++) {
		guest_zero(r.w, 0, (uint32_t)r.w->disk[SRC].disk.sectors, false);
		assert_int_equal(status_of(r.w).held_writes, i * GUEST_PARTS);
		assert_int_equal(r.w->m.engine.parts.used, i * GUEST_PARTS);
	}
	r.memory.hold = false;
	memory_do(&r.memory, r.memory.held);
	settle(r.w);
	for (unsigned i = 0; i < r.w->request_count; i++)
		assert_true(r.w->requests[i]->done);
	rig_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_hot_region_costs_one_sync_and_its_writes_none),
		cmocka_unit_test(test_endless_writes_cost_a_sync_for_thousands),
		cmocka_unit_test(test_over_time_there_is_a_sync_every_five_seconds),
		cmocka_unit_test(test_a_guest_that_does_not_write_costs_nothing),
		cmocka_unit_test(
			test_a_flush_costs_one_sync_if_the_map_has_changed_and_else_none),
		cmocka_unit_test(test_at_most_256_mib_are_copied_twice_however_slow_a_flush_is),
		cmocka_unit_test(
			test_a_failed_write_that_takes_nothing_away_is_not_written_down),
		cmocka_unit_test(test_what_need_not_be_written_costs_no_syncs),
		cmocka_unit_test(test_at_most_five_seconds_are_copied_twice),
		cmocka_unit_test(test_what_is_in_doubt_is_copied_twice_and_soon_is_not),
		cmocka_unit_test(
			test_a_file_that_cannot_be_written_is_tried_again_with_the_tick_alone),
		cmocka_unit_test(
			test_of_long_requests_a_few_parts_wait_for_the_journal_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
