/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions that are in doubt: when the engine asks for an intent, which side it has it
 * trust, and what is read there meanwhile. Much of it is what a copy forgets, to write it again
 * with what lies around it (engine_forget_gaps); without a journal that is in test-engine.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rig.h"

#define SYNCS 4 /* after which no intent is left that is not used */

/* By dbt: all is on both. */
static void
begin(struct rig *r)
{
	rig_start(r, (struct world_config){
			     .strategy = STRATEGY_DBT, .chunks = "S", .running = true });
	settle(r->w);
	assert_int_equal(r->w->m.state, MIGRATION_SYNCHRONISED);
	migration_pause(&r->w->m);
}

/* The guest writes [8,16) and [24,32), and the gap is quicker written than left out. */
static void
write_around_gap(struct rig *r)
{
	guest_write(r->w, 8, 8, 7);
	guest_write(r->w, 24, 8, 8);
	settle(r->w);
	check_valid(r->w, 16, 8, BOTH);
	r->w->m.copier.gaps.worth = 8 * SECTOR_BYTES;
}

static uint64_t
intents(const struct rig *r)
{
	struct journal_status status;

	journal_get_status(r->w->m.engine.journal, &status);
	return status.intents;
}

static void
test_a_gap_is_left_out_until_its_intent_is_stable(void **state)
{
	struct rig r;

	begin(&r);
	write_around_gap(&r);
	for (int i = 0; i < SYNCS; i++) {
		engine_sync(&r.w->m.engine);
		settle(r.w);
	}
	assert_int_equal(intents(&r), 0);
	r.memory.hold = true;
	migration_resume(&r.w->m);
	answer(r.w, SRC, DISK_READ, 8, 24, 0);
	check_valid(r.w, 16, 8, BOTH);
	the_io(r.w, DST, DISK_WRITE, 8, 8);
	the_io(r.w, DST, DISK_WRITE, 24, 8);
	assert_int_equal(intents(&r), 1);
	r.memory.hold = false;
	memory_do(&r.memory, r.memory.held);
	settle(r.w);

	migration_pause(&r.w->m);
	write_around_gap(&r);
	migration_resume(&r.w->m);
	answer(r.w, SRC, DISK_READ, 8, 24, 0);
	check_valid(r.w, 16, 8, SRC_BIT);
	answer(r.w, DST, DISK_WRITE, 8, 24, 0);
	check_valid(r.w, 0, CHUNK, BOTH);
	rig_end(&r);
}

/*
 * By lr recovery trusts the destination in regions that are in doubt: not one that is being
 * written again, while the file calls it valid.
 */
static void
test_a_switch_waits_until_what_was_forgotten_is_written_down(void **state)
{
	const struct strategy_row *lr = strategy_row(STRATEGY_LR);

	for (int busy = 0; busy < 2; busy++) {
		struct journal *j;
		struct rig r;

		begin(&r);
		j = r.w->m.engine.journal;
		write_around_gap(&r);
		migration_resume(&r.w->m);
		answer(r.w, SRC, DISK_READ, 8, 24, 0);
		check_valid(r.w, 16, 8, SRC_BIT);
		/* No copy would begin, but one has. */
		if (busy)
			assert_true(journal_reserve(j, ENTRIES * 3 / 4));

		migration_set_strategy(&r.w->m, STRATEGY_LR);
		assert_ptr_not_equal(r.w->m.engine.row, lr);
		answer(r.w, DST, DISK_WRITE, 8, 24, -EIO);
		assert_ptr_not_equal(r.w->m.engine.row, lr);
		r.memory.hold = true;
		answer(r.w, SRC, DISK_FLUSH, 0, 0, 0);
		answer(r.w, DST, DISK_FLUSH, 0, 0, 0);
		assert_ptr_not_equal(r.w->m.engine.row, lr);
		r.memory.hold = false;
		memory_do(&r.memory, r.memory.held);
		assert_ptr_equal(r.w->m.engine.row, lr);
		check_valid(r.w, 16, 8, SRC_BIT);
		if (busy)
			journal_unreserve(j, ENTRIES * 3 / 4);
		rig_end(&r);
	}
}

/* Once the guest's writes have reached the destination it may be the only one to trust. */
static void
test_after_a_strategy_that_wrote_the_destination_nothing_is_forgotten(void **state)
{
	struct rig r;

	begin(&r);
	migration_set_strategy(&r.w->m, STRATEGY_MIRROR);
	settle(r.w);
	guest_write(r.w, 40, 8, 9);
	settle(r.w);
	migration_set_strategy(&r.w->m, STRATEGY_DBT);
	settle(r.w);
	write_around_gap(&r);
	migration_resume(&r.w->m);
	answer(r.w, SRC, DISK_READ, 8, 24, 0);
	check_valid(r.w, 16, 8, BOTH);
	rig_end(&r);
}

/* lr's writes are read from the destination, in flight too: they must be found there. */
static void
test_after_a_switch_regions_in_doubt_trust_the_side_that_is_read(void **state)
{
	const struct journal *j;
	struct rig r;

	rig_start(&r, (struct world_config){ .strategy = STRATEGY_MIRROR, .chunks = "B" });
	j = r.w->m.engine.journal;
	settle(r.w);
	guest_write(r.w, 8, 8, 7);
	settle(r.w);
	assert_true(journal_trusts(j, SRC));
	migration_set_strategy(&r.w->m, STRATEGY_LR);
	settle(r.w);
	assert_ptr_equal(r.w->m.engine.row, strategy_row(STRATEGY_LR));
	assert_int_equal(intents(&r), 1);
	assert_false(journal_trusts(j, SRC));
	assert_true(journal_trusts(j, DST));
	rig_end(&r);
}

/* It could not be flushed at the switch: the region's next write asks again. */
static void
test_an_intent_that_a_switch_left_as_it_was_is_turned_by_the_next_write(void **state)
{
	const struct journal *j;
	struct rig r;

	rig_start(&r, (struct world_config){ .strategy = STRATEGY_MIRROR, .chunks = "B" });
	j = r.w->m.engine.journal;
	settle(r.w);
	guest_write(r.w, 8, 8, 7);
	settle(r.w);
	guest_write(r.w, 16, 8, 8);
	answer(r.w, SRC, DISK_WRITE, 16, 8, 0);
	for (int i = 0; i < 10; i++) {
		pass_time(r.w, SECOND);
		while (find_io(r.w, SRC, DISK_FLUSH, 0, 0))
			answer(r.w, SRC, DISK_FLUSH, 0, 0, 0);
	}
	assert_true(r.w->m.engine.side[DST].stalled);
	migration_set_strategy(&r.w->m, STRATEGY_LR);
	assert_ptr_equal(r.w->m.engine.row, strategy_row(STRATEGY_LR));
	guest_write(r.w, 24, 8, 9);
	settle(r.w);
	guest_flush(r.w);
	settle(r.w);
	assert_true(journal_trusts(j, SRC));

	guest_write(r.w, 8, 8, 9);
	settle(r.w);
	assert_false(journal_trusts(j, SRC));
	assert_true(journal_trusts(j, DST));
	rig_end(&r);
}

/* What was flushed for a switch that has been taken back is older than the next one. */
static void
test_a_flush_is_of_one_switch_only(void **state)
{
	const struct strategy_row *lr = strategy_row(STRATEGY_LR);
	struct rig r;

	rig_start(&r, (struct world_config){ .strategy = STRATEGY_MIRROR, .chunks = "B" });
	settle(r.w);
	guest_write(r.w, 8, 8, 7);
	settle(r.w);
	migration_set_strategy(&r.w->m, STRATEGY_LR);
	the_io(r.w, DST, DISK_FLUSH, 0, 0);
	migration_set_strategy(&r.w->m, STRATEGY_MIRROR);
	assert_null(r.w->m.next_row);
	guest_write(r.w, 16, 8, 8);
	answer(r.w, SRC, DISK_WRITE, 16, 8, 0);
	answer(r.w, DST, DISK_WRITE, 16, 8, 0);

	/* The first one is under way still, then a second one. */
	migration_set_strategy(&r.w->m, STRATEGY_LR);
	answer(r.w, DST, DISK_FLUSH, 0, 0, 0);
	assert_ptr_not_equal(r.w->m.engine.row, lr);
	answer(r.w, DST, DISK_FLUSH, 0, 0, 0);
	assert_ptr_equal(r.w->m.engine.row, lr);
	rig_end(&r);
}

/*
 * A read that was with the destination when the strategy changed meets a write there
 * that the source has not taken yet: killed now, it is the source that would be read.
 */
static void
test_what_only_the_untrusted_side_has_of_a_write_is_not_read(void **state)
{
	struct request *read, *write;
	struct rig r;

	rig_start(&r, (struct world_config){ .strategy = STRATEGY_LR, .chunks = "B" });
	settle(r.w);
	read = guest_read(r.w, 0, 8);
	the_io(r.w, DST, DISK_READ, 0, 8);
	migration_set_strategy(&r.w->m, STRATEGY_MIRROR);
	assert_ptr_equal(r.w->m.engine.row, strategy_row(STRATEGY_MIRROR));
	write = guest_write(r.w, 0, 8, 7);
	answer(r.w, DST, DISK_WRITE, 0, 8, 0);
	answer(r.w, DST, DISK_READ, 0, 8, 0);
	assert_false(read->done);
	answer(r.w, SRC, DISK_WRITE, 0, 8, 0);
	assert_true(write->done);
	settle(r.w);
	check_read_is(read, 7);
	rig_end(&r);
}

/* Of a write that has failed on all sides the error waits, and nobody else does. */
static void
test_reads_do_not_wait_for_the_journal(void **state)
{
	struct request *read, *write;
	struct rig r;

	rig_start(&r, (struct world_config){ .strategy = STRATEGY_MIRROR, .chunks = "B" });
	settle(r.w);
	guest_write(r.w, 8, 8, 7);
	settle(r.w); /* it has its intent */
	write = guest_write(r.w, 8, 8, 8);
	read = guest_read(r.w, 8, 8);
	assert_int_equal(outstanding_all(r.w), 2);
	r.memory.hold = true;
	answer(r.w, SRC, DISK_WRITE, 8, 8, -EIO);
	answer(r.w, DST, DISK_WRITE, 8, 8, -EIO);
	settle(r.w);
	assert_true(read->done);
	assert_false(write->done);
	r.memory.hold = false;
	memory_do(&r.memory, r.memory.held);
	settle(r.w);
	assert_true(write->done);
	assert_int_equal(write->err, -EIO);
	rig_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_gap_is_left_out_until_its_intent_is_stable),
		cmocka_unit_test(test_a_switch_waits_until_what_was_forgotten_is_written_down),
		cmocka_unit_test(
			test_after_a_strategy_that_wrote_the_destination_nothing_is_forgotten),
		cmocka_unit_test(
			test_after_a_switch_regions_in_doubt_trust_the_side_that_is_read),
		cmocka_unit_test(
			test_an_intent_that_a_switch_left_as_it_was_is_turned_by_the_next_write),
		cmocka_unit_test(test_a_flush_is_of_one_switch_only),
		cmocka_unit_test(test_what_only_the_untrusted_side_has_of_a_write_is_not_read),
		cmocka_unit_test(test_reads_do_not_wait_for_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
