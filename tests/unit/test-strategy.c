/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The strategy table against claim 1 of US 2015/0234617 A1, clause by clause, as
 * far as the table alone says it. What the engine makes of the table is tested in
 * test-engine.c. docs/claims.md names the test of each clause.
 *
 * In the table a chunk's region is looked up by what is valid on the destination,
 * so "recorded" (a) is "valid on the destination", and "updated" (b) is "no longer
 * valid on the source".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "strategy.h"

#define LR  strategy_row(STRATEGY_LR)
#define SLR strategy_row(STRATEGY_SLR)
#define AIO strategy_row(STRATEGY_AIO)

/* The side that a row reads, where the claims speak of blocks in these states. */
static side_mask
reads(const struct strategy_row *row, side_mask valid)
{
	return valid == BOTH ? side_bit(row->read_prefers) : valid;
}

static side_mask
writes(const struct strategy_row *row, enum region region)
{
	return row->write_reaches[region];
}

/* --- claim (a), low redundancy --------------------------------------------------- */

static void
test_a_writes_to_be_copied_go_to_the_destination(void **state)
{
	assert_int_equal(writes(LR, REGION_TO_BE_COPIED), DST_BIT);
}

static void
test_a_writes_to_copied_go_to_the_destination(void **state)
{
	assert_int_equal(writes(LR, REGION_COPIED), DST_BIT);
}

static void
test_a_reads_of_copied_come_from_the_destination(void **state)
{
	assert_int_equal(reads(LR, BOTH), DST_BIT);
	assert_int_equal(reads(LR, DST_BIT), DST_BIT);
}

static void
test_a_reads_of_to_be_copied_come_from_the_destination_if_recorded_else_the_source(void **state)
{
	assert_int_equal(reads(LR, DST_BIT), DST_BIT);
	assert_int_equal(reads(LR, SRC_BIT), SRC_BIT);
}

static void
test_a_reads_of_blocks_being_copied_wait(void **state)
{
	assert_true(LR->reads_wait_for_copy);
	assert_true(LR->writes_wait_for_copy);
}

static void
test_a_writes_reach_one_side_so_nothing_is_mirrored_or_throttled(void **state)
{
	assert_int_equal(LR->ack, ACK_ALL);
	assert_false(LR->mirrored_writes_throttled);
}

/* --- claim (b), source-based low redundancy --------------------------------------- */

static void
test_b_reads_and_writes_of_to_be_copied_go_to_the_source(void **state)
{
	assert_int_equal(reads(SLR, SRC_BIT), SRC_BIT);
	assert_int_equal(writes(SLR, REGION_TO_BE_COPIED), SRC_BIT);
}

static void
test_b_writes_to_copied_go_to_the_destination(void **state)
{
	assert_int_equal(writes(SLR, REGION_COPIED), DST_BIT);
}

static void
test_b_reads_of_copied_come_from_the_destination_if_updated_else_the_source(void **state)
{
	assert_int_equal(reads(SLR, DST_BIT), DST_BIT);
	assert_int_equal(reads(SLR, BOTH), SRC_BIT);
}

static void
test_b_reads_do_not_wait_for_the_copy(void **state)
{
	assert_false(SLR->reads_wait_for_copy);
}

/* --- claim (c), asynchronous I/O mirroring ------------------------------------------ */

static void
test_c_reads_and_writes_of_to_be_copied_go_to_the_source(void **state)
{
	assert_int_equal(reads(AIO, SRC_BIT), SRC_BIT);
	assert_int_equal(writes(AIO, REGION_TO_BE_COPIED), SRC_BIT);
}

static void
test_c_reads_of_copied_come_from_the_source(void **state)
{
	assert_int_equal(reads(AIO, BOTH), SRC_BIT);
}

static void
test_c_writes_to_copied_go_to_both(void **state)
{
	assert_int_equal(writes(AIO, REGION_COPIED), BOTH);
}

static void
test_c_writes_to_copied_are_throttled_while_too_many_pend(void **state)
{
	assert_true(AIO->mirrored_writes_throttled);
}

static void
test_c_a_write_is_complete_when_either_side_has_it(void **state)
{
	assert_int_equal(AIO->ack, ACK_FIRST);
}

/* --- the background art --------------------------------------------------------------- */

static void
test_mirror_is_aio_that_waits_for_both_and_is_not_throttled(void **state)
{
	const struct strategy_row *mirror = strategy_row(STRATEGY_MIRROR);

	assert_int_equal(writes(mirror, REGION_TO_BE_COPIED), SRC_BIT);
	assert_int_equal(writes(mirror, REGION_COPIED), BOTH);
	assert_int_equal(reads(mirror, BOTH), SRC_BIT);
	assert_int_equal(mirror->ack, ACK_ALL);
	assert_false(mirror->mirrored_writes_throttled);
	assert_false(mirror->reads_wait_for_copy);
	assert_true(mirror->writes_wait_for_copy);
}

static void
check_source_alone(const struct strategy_row *row)
{
	assert_int_equal(writes(row, REGION_TO_BE_COPIED), SRC_BIT);
	assert_int_equal(writes(row, REGION_COPIED), SRC_BIT);
	assert_int_equal(reads(row, BOTH), SRC_BIT);
	assert_int_equal(row->ack, ACK_ALL);
	assert_false(row->mirrored_writes_throttled);
	assert_false(row->reads_wait_for_copy);
}

static void
test_dbt_writes_the_source_so_what_was_copied_is_dirty_again(void **state)
{
	check_source_alone(strategy_row(STRATEGY_DBT));
}

/* Then a copy has them or has not. Only where nothing is written that the copy writes. */
static void
test_dbt_alone_lets_writes_pass_a_copy(void **state)
{
	for (enum strategy s = 0; s < STRATEGIES; s++)
		assert_true(strategy_row(s)->writes_wait_for_copy == (s != STRATEGY_DBT));
	assert_true(strategy_rollback()->writes_wait_for_copy);
}

static void
test_a_rollback_writes_nothing_to_the_destination(void **state)
{
	check_source_alone(strategy_rollback());
}

/* --- the table itself ------------------------------------------------------------------- */

static void
test_each_row_is_found_by_its_name_and_nothing_else_is(void **state)
{
	static const char *const names[STRATEGIES] = {
		[STRATEGY_LR] = "lr",	      [STRATEGY_SLR] = "slr", [STRATEGY_AIO] = "aio",
		[STRATEGY_MIRROR] = "mirror", [STRATEGY_DBT] = "dbt",
	};

	for (int s = 0; s < STRATEGIES; s++) {
		assert_string_equal(strategy_row((enum strategy)s)->name, names[s]);
		assert_int_equal(strategy_find(names[s]), s);
	}
	assert_int_equal(strategy_find(""), -1);
	assert_int_equal(strategy_find("LR"), -1);
	assert_int_equal(strategy_find("lrx"), -1);
	assert_int_equal(strategy_find("rollback"), -1);
}

static void
test_every_write_reaches_a_side(void **state)
{
	for (int s = 0; s < STRATEGIES; s++)
		for (int region = 0; region < REGIONS; region++)
			assert_int_not_equal(
				writes(strategy_row((enum strategy)s), (enum region)region),
				NO_SIDE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_writes_to_be_copied_go_to_the_destination),
		cmocka_unit_test(test_a_writes_to_copied_go_to_the_destination),
		cmocka_unit_test(test_a_reads_of_copied_come_from_the_destination),
		cmocka_unit_test(
			test_a_reads_of_to_be_copied_come_from_the_destination_if_recorded_else_the_source),
		cmocka_unit_test(test_a_reads_of_blocks_being_copied_wait),
		cmocka_unit_test(
			test_a_writes_reach_one_side_so_nothing_is_mirrored_or_throttled),
		cmocka_unit_test(test_b_reads_and_writes_of_to_be_copied_go_to_the_source),
		cmocka_unit_test(test_b_writes_to_copied_go_to_the_destination),
		cmocka_unit_test(
			test_b_reads_of_copied_come_from_the_destination_if_updated_else_the_source),
		cmocka_unit_test(test_b_reads_do_not_wait_for_the_copy),
		cmocka_unit_test(test_c_reads_and_writes_of_to_be_copied_go_to_the_source),
		cmocka_unit_test(test_c_reads_of_copied_come_from_the_source),
		cmocka_unit_test(test_c_writes_to_copied_go_to_both),
		cmocka_unit_test(test_c_writes_to_copied_are_throttled_while_too_many_pend),
		cmocka_unit_test(test_c_a_write_is_complete_when_either_side_has_it),
		cmocka_unit_test(test_mirror_is_aio_that_waits_for_both_and_is_not_throttled),
		cmocka_unit_test(test_dbt_writes_the_source_so_what_was_copied_is_dirty_again),
		cmocka_unit_test(test_dbt_alone_lets_writes_pass_a_copy),
		cmocka_unit_test(test_a_rollback_writes_nothing_to_the_destination),
		cmocka_unit_test(test_each_row_is_found_by_its_name_and_nothing_else_is),
		cmocka_unit_test(test_every_write_reaches_a_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
