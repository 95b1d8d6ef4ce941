/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine, the copier and the migration, event by event: the test decides in
 * which order the disks answer, and how. docs/claims.md names the tests that
 * prove the clauses of claim 1.
 *
 * A world's chunks are written as letters: S valid on the source alone, D on the
 * destination alone, B on both. Chunk n is at C(n).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

#define C(n)	      ((uint64_t)(n)*CHUNK)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static struct world *
begin(enum strategy strategy, const char *chunks)
{
	return world_begin(&(struct world_config){ .strategy = strategy, .chunks = chunks });
}

static struct world *
begin_copying(enum strategy strategy, const char *chunks)
{
	return world_begin(&(struct world_config){
		.strategy = strategy, .chunks = chunks, .running = true });
}

/* A read that only that side serves, with version v. */
static void
check_served_by(struct world *w, enum side side, uint64_t sector, uint32_t count, unsigned v)
{
	unsigned others = outstanding(w, side_other(side));
	struct request *r = guest_read(w, sector, count);

	assert_int_equal(outstanding(w, side_other(side)), others);
	answer(w, side, DISK_READ, sector, count, 0);
	check_read_is(r, v);
}

/* A write that goes to that side alone; it is answered. */
static void
check_written_to(struct world *w, enum side side, uint64_t sector, uint32_t count, unsigned v)
{
	unsigned others = outstanding(w, side_other(side));
	struct request *r = guest_write(w, sector, count, v);

	assert_int_equal(outstanding(w, side_other(side)), others);
	answer(w, side, DISK_WRITE, sector, count, 0);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	check_disk(w, side, sector, count, v);
}

static void
copy_chunk(struct world *w, unsigned n)
{
	answer(w, SRC, DISK_READ, C(n), CHUNK, 0);
	answer(w, DST, DISK_WRITE, C(n), CHUNK, 0);
}

/* --- claim (a), low redundancy ------------------------------------------- */

static void
test_a_writes_to_be_copied_go_to_the_destination_and_are_recorded(void **state)
{
	struct world *w = begin(STRATEGY_LR, "S");

	check_written_to(w, DST, 8, 8, 7);
	check_valid(w, 0, 8, SRC_BIT);
	check_valid(w, 8, 8, DST_BIT);
	check_valid(w, 16, CHUNK - 16, SRC_BIT);
	world_end(w);
}

static void
test_a_writes_to_copied_go_to_the_destination(void **state)
{
	struct world *w = begin(STRATEGY_LR, "B");

	check_written_to(w, DST, 8, 8, 7);
	check_valid(w, 8, 8, DST_BIT);
	world_end(w);
}

static void
test_a_reads_of_copied_come_from_the_destination(void **state)
{
	struct world *w = begin(STRATEGY_LR, "BD");

	check_served_by(w, DST, 8, 8, ON_SRC);
	check_served_by(w, DST, C(1), 8, ON_DST);
	world_end(w);
}

static void
test_a_reads_of_to_be_copied_come_from_the_destination_if_recorded_else_the_source(void **state)
{
	struct world *w = begin(STRATEGY_LR, "S");
	struct request *r;

	check_written_to(w, DST, 9, 3, 7);
	check_served_by(w, DST, 9, 3, 7);
	check_served_by(w, SRC, 12, 4, ON_SRC);
	r = guest_read(w, 6, 10);
	answer(w, SRC, DISK_READ, 6, 3, 0);
	answer(w, DST, DISK_READ, 9, 3, 0);
	assert_false(r->done);
	answer(w, SRC, DISK_READ, 12, 4, 0);
	check_read(r);
	world_end(w);
}

static void
test_a_the_copier_skips_recorded_blocks(void **state)
{
	struct world *w = begin(STRATEGY_LR, "S");

	check_written_to(w, DST, 9, 3, 7);
	migration_resume(&w->m);
	/* One read is cheaper than two, but what is written is exactly what is lacking. */
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	answer(w, DST, DISK_WRITE, 12, CHUNK - 12, 0);
	answer(w, DST, DISK_WRITE, 0, 9, 0);
	assert_int_equal(outstanding_all(w), 0);
	check_disk(w, DST, 9, 3, 7);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	assert_int_equal(status_of(w).copier.skipped, 3 * SECTOR_BYTES);
	assert_int_equal(status_of(w).copier.copied, (CHUNK - 3) * SECTOR_BYTES);
	world_end(w);
}

static void
test_a_reads_and_writes_of_a_chunk_being_copied_wait_for_its_copy(void **state)
{
	struct world *w = begin_copying(STRATEGY_LR, "SB");
	struct request *r = guest_read(w, 5, 3), *wr = guest_write(w, 10, 2, 7);

	assert_int_equal(outstanding_all(w), 1);
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	assert_int_equal(outstanding_all(w), 1);
	answer(w, DST, DISK_WRITE, 0, CHUNK, 0);
	answer(w, DST, DISK_READ, 5, 3, 0);
	check_read_is(r, ON_SRC);
	answer(w, DST, DISK_WRITE, 10, 2, 0);
	assert_true(wr->done);
	world_end(w);
}

static void
test_a_other_chunks_do_not_wait_for_a_copy(void **state)
{
	struct world *w = begin_copying(STRATEGY_LR, "SSB");

	check_served_by(w, DST, C(2), 8, ON_SRC);
	check_written_to(w, DST, C(1), 8, 7);
	world_end(w);
}

/* --- claim (b), source-based low redundancy ------------------------------ */

static void
test_b_reads_and_writes_of_to_be_copied_go_to_the_source(void **state)
{
	struct world *w = begin(STRATEGY_SLR, "S");

	check_served_by(w, SRC, 8, 8, ON_SRC);
	check_written_to(w, SRC, 8, 8, 7);
	check_valid(w, 0, CHUNK, SRC_BIT);
	check_served_by(w, SRC, 8, 8, 7);
	world_end(w);
}

static void
test_b_writes_to_copied_go_to_the_destination_and_are_recorded(void **state)
{
	struct world *w = begin(STRATEGY_SLR, "B");

	check_written_to(w, DST, 8, 8, 7);
	check_valid(w, 0, 8, BOTH);
	check_valid(w, 8, 8, DST_BIT);
	world_end(w);
}

static void
test_b_reads_of_copied_come_from_the_destination_if_updated_else_the_source(void **state)
{
	struct world *w = begin(STRATEGY_SLR, "B");

	check_written_to(w, DST, 9, 3, 7);
	check_served_by(w, DST, 9, 3, 7);
	check_served_by(w, SRC, 0, 9, ON_SRC);
	check_served_by(w, SRC, 12, 9, ON_SRC);
	world_end(w);
}

static void
test_b_a_chunk_being_copied_is_read_from_the_source_and_written_after_its_copy(void **state)
{
	struct world *w = begin_copying(STRATEGY_SLR, "S");
	struct request *r = guest_read(w, 5, 3), *wr = guest_write(w, 10, 2, 7);

	answer(w, SRC, DISK_READ, 5, 3, 0);
	check_read_is(r, ON_SRC);
	assert_int_equal(outstanding_all(w), 1);
	copy_chunk(w, 0);
	answer(w, DST, DISK_WRITE, 10, 2, 0);
	assert_true(wr->done);
	world_end(w);
}

/* --- claim (c), asynchronous I/O mirroring ------------------------------- */

static void
test_c_reads_and_writes_of_to_be_copied_go_to_the_source(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "S");

	check_served_by(w, SRC, 8, 8, ON_SRC);
	check_written_to(w, SRC, 8, 8, 7);
	check_served_by(w, SRC, 8, 8, 7);
	assert_int_equal(status_of(w).pending_writes, 0);
	world_end(w);
}

static void
test_c_reads_of_copied_come_from_the_source(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");

	check_served_by(w, SRC, 8, 8, ON_SRC);
	world_end(w);
}

/* Acknowledged at the first success, of either side; pending until both. */
static void
test_c_writes_to_copied_go_to_both_and_are_complete_when_either_has_them(void **state)
{
	for (enum side first = SRC; first <= DST; first++) {
		struct world *w = begin(STRATEGY_AIO, "B");
		struct request *r = guest_write(w, 8, 8, 7);

		the_io(w, side_other(first), DISK_WRITE, 8, 8);
		assert_int_equal(status_of(w).pending_writes, 1);
		answer(w, first, DISK_WRITE, 8, 8, 0);
		assert_true(r->done);
		assert_int_equal(r->err, 0);
		assert_int_equal(status_of(w).pending_writes, 1);
		answer(w, side_other(first), DISK_WRITE, 8, 8, 0);
		assert_int_equal(status_of(w).pending_writes, 0);
		check_disk(w, SRC, 8, 8, 7);
		check_disk(w, DST, 8, 8, 7);
		check_valid(w, 0, CHUNK, BOTH);
		world_end(w);
	}
}

static void
test_c_a_failure_is_no_completion(void **state)
{
	for (enum side bad = SRC; bad <= DST; bad++) {
		struct world *w = begin(STRATEGY_AIO, "B");
		struct request *r = guest_write(w, 8, 8, 7);

		answer(w, bad, DISK_WRITE, 8, 8, -EIO);
		assert_false(r->done);
		answer(w, side_other(bad), DISK_WRITE, 8, 8, 0);
		assert_true(r->done);
		assert_int_equal(r->err, 0);
		check_valid(w, 8, 8, side_bit(side_other(bad)));
		world_end(w);
	}
}

/* One is issued while pending <= threshold; a part counts until both have answered. */
static void
test_c_writes_are_delayed_while_more_than_threshold_pend(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_AIO, .chunks = "B", .threshold = 2 });

	for (unsigned i = 0; i < 5; i++)
		guest_write(w, 8 * i, 8, 7 + i);
	assert_int_equal(status_of(w).pending_writes, 3);
	assert_int_equal(outstanding(w, DST), 3);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	assert_true(w->requests[1]->done);
	assert_int_equal(outstanding(w, DST), 3);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	the_io(w, SRC, DISK_WRITE, 24, 8);
	the_io(w, DST, DISK_WRITE, 24, 8);
	assert_int_equal(status_of(w).pending_writes, 3);
	assert_int_equal(status_of(w).held_writes, 1);
	assert_int_equal(status_of(w).delayed_writes, 2);
	world_end(w);
}

static void
test_c_a_new_threshold_takes_effect_at_once(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_AIO, .chunks = "B", .threshold = 1 });

	for (unsigned i = 0; i < 6; i++)
		guest_write(w, 8 * i, 8, 7 + i);
	assert_int_equal(outstanding(w, DST), 2);
	migration_set_threshold(&w->m, 3);
	assert_int_equal(outstanding(w, DST), 4);
	migration_set_threshold(&w->m, 0);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	answer(w, DST, DISK_WRITE, 0, 8, 0);
	assert_int_equal(outstanding(w, DST), 3);
	world_end(w);
}

static void
test_c_only_writes_to_copied_are_delayed(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_AIO, .chunks = "BS", .threshold = 1 });

	for (unsigned i = 0; i < 4; i++)
		guest_write(w, 8 * i, 8, 7 + i);
	for (unsigned i = 0; i < 4; i++)
		guest_write(w, C(1) + 8 * i, 8, 7 + i);
	check_served_by(w, SRC, 64, 8, ON_SRC);
	assert_int_equal(outstanding(w, SRC), 2 + 4);
	world_end(w);
}

static void
test_c_a_read_that_overlaps_a_pending_write_waits_for_its_source_side(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");
	struct request *r;

	guest_write(w, 10, 4, 7);
	answer(w, DST, DISK_WRITE, 10, 4, 0);
	r = guest_read(w, 8, 12);
	answer(w, SRC, DISK_READ, 8, 2, 0);
	answer(w, SRC, DISK_WRITE, 10, 4, 0);
	settle(w);
	check_read(r);
	assert_int_equal(w->disk[DST].submitted[DISK_READ], 0);
	world_end(w);
}

static void
test_c_a_read_is_served_by_the_source_once_it_has_the_pending_write(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");

	guest_write(w, 10, 4, 7);
	answer(w, SRC, DISK_WRITE, 10, 4, 0);
	check_served_by(w, SRC, 11, 2, 7); /* the destination's write is still out */
	world_end(w);
}

/* Were we killed now, the map would have the destination alone serve it, as it was before. */
static void
test_what_nobody_was_told_of_is_not_read_where_only_the_destination_is_valid(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "D");
	struct request *r;

	guest_write(w, 10, 4, 7);
	answer(w, SRC, DISK_WRITE, 10, 4, 0);
	r = guest_read(w, 11, 2);
	assert_int_equal(outstanding(w, SRC), 0);
	answer(w, DST, DISK_WRITE, 10, 4, 0);
	answer(w, SRC, DISK_READ, 11, 2, 0);
	check_read_is(r, 7);
	world_end(w);

	w = begin(STRATEGY_AIO, "D");
	guest_write(w, 10, 4, 7);
	answer(w, SRC, DISK_WRITE, 10, 4, 0);
	check_served_by(w, SRC, 11, 2, 7); /* here the guest has its answer */
	world_end(w);
}

/* --- the background art -------------------------------------------------- */

static void
test_mirror_answers_when_both_have_answered(void **state)
{
	for (enum side first = SRC; first <= DST; first++) {
		struct world *w = begin(STRATEGY_MIRROR, "B");
		struct request *r = guest_write(w, 8, 8, 7);

		answer(w, first, DISK_WRITE, 8, 8, 0);
		assert_false(r->done);
		answer(w, side_other(first), DISK_WRITE, 8, 8, 0);
		assert_true(r->done);
		assert_int_equal(r->err, 0);
		check_valid(w, 0, CHUNK, BOTH);
		world_end(w);
	}
}

static void
test_mirror_is_not_throttled(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_MIRROR, .chunks = "B", .threshold = 1 });

	for (unsigned i = 0; i < 6; i++)
		guest_write(w, 8 * i, 8, 7 + i);
	assert_int_equal(outstanding(w, DST), 6);
	world_end(w);
}

static void
test_dbt_a_write_to_copied_makes_it_to_be_copied_again(void **state)
{
	struct world *w = begin_copying(STRATEGY_DBT, "B");
	struct request *r;

	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	r = guest_write(w, 8, 8, 7);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	assert_true(r->done);
	assert_int_equal(w->m.state, MIGRATION_COPYING);
	answer(w, SRC, DISK_READ, 8, 8, 0);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	check_disk(w, DST, 8, 8, 7);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

/* Whatever of the copy it meets: what it writes is copied again, and nothing else. */
static void
test_dbt_a_write_passes_a_copy_and_what_it_writes_is_copied_again(void **state)
{
	for (int moment = 0; moment < 4; moment++) {
		struct world *w = begin_copying(STRATEGY_DBT, "S");
		struct request *r;

		if (moment == 3)
			answer(w, SRC, DISK_READ, 0, CHUNK, 0);
		r = guest_write(w, 23, 9, 7);
		the_io(w, SRC, DISK_WRITE, 23, 9);
		if (moment == 0 || moment == 3)
			answer(w, SRC, DISK_WRITE, 23, 9, 0);
		if (moment != 3)
			answer(w, SRC, DISK_READ, 0, CHUNK, 0);
		if (moment == 1)
			answer(w, SRC, DISK_WRITE, 23, 9, 0);
		answer(w, DST, DISK_WRITE, 0, CHUNK, 0);
		check_valid(w, 0, 23, BOTH);
		check_valid(w, 23, 9, SRC_BIT);
		check_valid(w, 32, CHUNK - 32, BOTH);
		if (moment == 2) {
			assert_int_equal(outstanding_all(w), 1);
			answer(w, SRC, DISK_WRITE, 23, 9, 0);
		}
		assert_true(r->done);
		answer(w, SRC, DISK_READ, 23, 9, 0);
		answer(w, DST, DISK_WRITE, 23, 9, 0);
		check_disk(w, DST, 23, 9, 7);
		assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
		world_end(w);
	}
}

static void
test_dbt_what_a_write_passes_into_is_not_valid_though_it_fails(void **state)
{
	struct world *w = begin_copying(STRATEGY_DBT, "S");
	struct request *r = guest_write(w, 24, 8, 7);

	answer(w, SRC, DISK_WRITE, 24, 8, -EIO);
	assert_int_equal(r->err, -EIO);
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	answer(w, DST, DISK_WRITE, 0, CHUNK, 0);
	check_valid(w, 24, 8, SRC_BIT);
	world_end(w);
}

/*
 * It would lack then, and the copy would put what it has read before in the place of what
 * may be the only stable copy. What comes later of the same sectors waits too.
 */
static void
test_dbt_a_write_of_what_the_destination_alone_holds_waits_for_the_copy(void **state)
{
	struct world *w = begin(STRATEGY_LR, "S");
	struct request *waits, *behind, *passes;

	check_written_to(w, DST, 16, 8, 7);
	migration_set_strategy(&w->m, STRATEGY_DBT);
	migration_resume(&w->m);
	waits = guest_write(w, 20, 8, 8);
	behind = guest_write(w, 26, 4, 9);
	passes = guest_write(w, 32, 8, 10);
	answer(w, SRC, DISK_WRITE, 32, 8, 0);
	assert_true(passes->done);
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	assert_int_equal(outstanding(w, SRC), 0);
	answer(w, DST, DISK_WRITE, 0, 16, 0);
	check_disk(w, DST, 16, 8, 7);
	answer(w, DST, DISK_WRITE, 24, CHUNK - 24, 0);
	answer(w, SRC, DISK_WRITE, 20, 8, 0);
	assert_true(waits->done);
	answer(w, SRC, DISK_WRITE, 26, 4, 0);
	assert_true(behind->done);
	world_end(w);
}

/* Those that were there before: a copy begins once they are done. */
static void
test_dbt_a_write_waits_only_until_a_copy_begins(void **state)
{
	struct world *w = begin(STRATEGY_DBT, "S");
	struct request *late;

	guest_write(w, 8, 8, 7);
	migration_resume(&w->m);
	late = guest_write(w, 32, 8, 8);
	assert_int_equal(outstanding_all(w), 1);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	the_io(w, SRC, DISK_READ, 0, CHUNK);
	answer(w, SRC, DISK_WRITE, 32, 8, 0);
	assert_true(late->done);
	world_end(w);
}

/* What could not be read may be readable once it has been written. */
static void
test_dbt_what_is_written_while_it_cannot_be_read_is_not_called_bad(void **state)
{
	struct world *w = begin_copying(STRATEGY_DBT, "S");

	answer(w, SRC, DISK_READ, 0, CHUNK, -EIO);
	for (uint32_t count = CHUNK / 2; count > 1; count /= 2)
		answer(w, SRC, DISK_READ, 0, count, -EIO);
	guest_write(w, 0, 8, 7);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	answer(w, SRC, DISK_READ, 0, 1, -EIO);
	assert_int_equal(status_of(w).bad_sectors, 0);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, 0, 8, 7);
	world_end(w);
}

/* After a switch writes wait again for the copy, which began when they did not. */
static void
test_dbt_what_has_passed_a_copy_is_copied_again_after_a_switch(void **state)
{
	struct world *w = begin_copying(STRATEGY_DBT, "S");
	struct request *passes = guest_write(w, 24, 8, 7), *waits;

	migration_set_strategy(&w->m, STRATEGY_MIRROR);
	waits = guest_write(w, 40, 8, 8);
	answer(w, SRC, DISK_WRITE, 24, 8, 0);
	assert_true(passes->done);
	assert_ptr_equal(w->m.engine.row, strategy_row(STRATEGY_MIRROR));
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	assert_int_equal(outstanding(w, SRC), 0);
	answer(w, DST, DISK_WRITE, 0, CHUNK, 0);
	check_valid(w, 24, 8, SRC_BIT);
	settle(w);
	assert_true(waits->done);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, 24, 8, 7);
	check_disk(w, DST, 40, 8, 8);
	world_end(w);
}

/*
 * A chunk that has been copied, and in which the guest has written since: [8,16) and
 * [24,32). A gap of so many sectors is quicker written than left out.
 */
static struct world *
begin_with_gap(enum strategy strategy, uint64_t worth)
{
	struct world *w = begin_copying(STRATEGY_DBT, "SS");

	copy_chunk(w, 0);
	copy_chunk(w, 1);
	migration_pause(&w->m);
	check_written_to(w, SRC, 8, 8, 7);
	check_written_to(w, SRC, 24, 8, 8);
	w->m.copier.gaps.worth = (double)(worth * SECTOR_BYTES);
	migration_set_strategy(&w->m, strategy);
	migration_resume(&w->m);
	return w;
}

static void
check_gap_is_left_out(struct world *w)
{
	answer(w, SRC, DISK_READ, 8, 24, 0);
	check_valid(w, 16, 8, BOTH);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	answer(w, DST, DISK_WRITE, 24, 8, 0);
}

static void
test_dbt_a_gap_that_is_quicker_written_is_copied_again(void **state)
{
	struct world *w = begin_with_gap(STRATEGY_DBT, 8);

	answer(w, SRC, DISK_READ, 8, 24, 0);
	check_valid(w, 16, 8, SRC_BIT);
	answer(w, DST, DISK_WRITE, 8, 24, 0);
	check_valid(w, 0, C(2), BOTH);
	check_disk(w, DST, 8, 8, 7);
	check_disk(w, DST, 16, 8, ON_SRC);
	check_disk(w, DST, 24, 8, 8);
	world_end(w);

	w = begin_with_gap(STRATEGY_DBT, 7);
	check_gap_is_left_out(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

static void
test_dbt_a_gap_that_fails_to_be_written_is_lacking(void **state)
{
	struct world *w = begin_with_gap(STRATEGY_DBT, 8);

	answer(w, SRC, DISK_READ, 8, 24, 0);
	answer(w, DST, DISK_WRITE, 8, 24, -EIO);
	check_valid(w, 0, 8, BOTH);
	check_valid(w, 8, 24, SRC_BIT);
	check_valid(w, 32, C(2) - 32, BOTH);
	world_end(w);
}

/* If that fails, what the destination has is all that is left. */
static void
test_dbt_a_gap_that_the_guest_is_writing_into_is_left_out(void **state)
{
	struct world *w = begin_with_gap(STRATEGY_DBT, 8);
	struct request *r = guest_write(w, 18, 4, 9);

	check_gap_is_left_out(w);
	answer(w, SRC, DISK_WRITE, 18, 4, -EIO);
	assert_int_equal(r->err, -EIO);
	check_valid(w, 16, 2, BOTH);
	check_valid(w, 18, 4, DST_BIT);
	world_end(w);
}

/* Where writes reach the destination, what it has once it keeps. */
static void
test_only_dbt_copies_a_gap_again(void **state)
{
	for (enum strategy s = 0; s < STRATEGIES; s++) {
		struct world *w;

		if (s == STRATEGY_DBT)
			continue;
		w = begin_with_gap(s, 8);
		check_gap_is_left_out(w);
		assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
		world_end(w);
	}
}

/* --- parts --------------------------------------------------------------- */

static void
test_a_request_is_split_at_chunks_and_each_part_goes_its_way(void **state)
{
	struct world *w = begin(STRATEGY_SLR, "BS");
	struct request *r = guest_write(w, C(1) - 8, 16, 7);

	answer(w, DST, DISK_WRITE, C(1) - 8, 8, 0);
	assert_false(r->done);
	answer(w, SRC, DISK_WRITE, C(1), 8, 0);
	assert_true(r->done);
	world_end(w);
}

static void
test_a_late_parts_success_never_hides_an_early_parts_error(void **state)
{
	const uint64_t parts[] = { C(1) - 8, C(1) };

	for (int bad = 0; bad < 2; bad++) {
		struct world *w = begin(STRATEGY_DBT, "SS");
		struct request *r = guest_write(w, C(1) - 8, 16, 7);

		answer(w, SRC, DISK_WRITE, parts[bad], 8, -EIO);
		answer(w, SRC, DISK_WRITE, parts[!bad], 8, 0);
		assert_true(r->done);
		assert_int_equal(r->err, -EIO);
		world_end(w);
	}
}

/* The chunk is copied while the write is held: it goes where copied chunks' writes go. */
static void
test_a_held_part_is_routed_by_the_region_it_finds_not_the_one_it_met(void **state)
{
	struct world *w = begin_copying(STRATEGY_AIO, "S");
	struct request *r = guest_write(w, 8, 8, 7);

	copy_chunk(w, 0);
	the_io(w, SRC, DISK_WRITE, 8, 8);
	the_io(w, DST, DISK_WRITE, 8, 8);
	settle(w);
	assert_true(r->done);
	check_disk(w, SRC, 8, 8, 7);
	check_disk(w, DST, 8, 8, 7);
	world_end(w);
}

static void
test_validity_changes_when_a_write_completes(void **state)
{
	struct world *w = begin(STRATEGY_LR, "S");

	guest_write(w, 8, 8, 7);
	check_valid(w, 0, CHUNK, SRC_BIT);
	check_served_by(w, SRC, 8, 8, ON_SRC); /* while it is in flight: the old data */
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	check_valid(w, 8, 8, DST_BIT);
	world_end(w);
}

/* --- a chunk being copied ------------------------------------------------ */

static void
test_a_copy_waits_for_writes_in_flight_and_only_then_reads_the_map(void **state)
{
	struct world *w = begin(STRATEGY_LR, "S");
	struct request *late;

	guest_write(w, 8, 8, 7);
	migration_resume(&w->m);
	assert_int_equal(outstanding(w, SRC), 0);
	late = guest_write(w, 32, 8, 8); /* behind the copier: it must not starve */
	assert_int_equal(outstanding(w, DST), 1);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	answer(w, DST, DISK_WRITE, 0, 8, 0);
	answer(w, DST, DISK_WRITE, 16, CHUNK - 16, 0);
	assert_false(late->done);
	answer(w, DST, DISK_WRITE, 32, 8, 0);
	check_disk(w, DST, 8, 8, 7);
	check_disk(w, DST, 32, 8, 8);
	world_end(w);
}

static void
test_writes_held_by_a_copy_go_on_in_their_order(void **state)
{
	struct world *w = begin_copying(STRATEGY_SLR, "S");

	for (unsigned i = 0; i < 4; i++)
		guest_write(w, 8, 8, 7 + i);
	copy_chunk(w, 0);
	settle(w);
	check_disk(w, DST, 8, 8, 10);
	world_end(w);
}

static void
test_several_chunks_are_copied_at_once(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_SLR, .chunks = "SBSSS", .depth = 3, .running = true });

	assert_int_equal(outstanding(w, SRC), 3);
	the_io(w, SRC, DISK_READ, C(0), CHUNK);
	the_io(w, SRC, DISK_READ, C(2), CHUNK);
	copy_chunk(w, 3);
	copy_chunk(w, 4);
	copy_chunk(w, 2);
	copy_chunk(w, 0);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

static void
test_the_copy_is_exact_to_the_sector_at_the_disks_end(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_LR, .sectors = C(1) + 13, .running = true });

	copy_chunk(w, 0);
	answer(w, SRC, DISK_READ, C(1), 13, 0);
	answer(w, DST, DISK_WRITE, C(1), 13, 0);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

/*
 * A write starts before, while its chunk is read, while it is written, or after the
 * copy; its disks answer at the first of these moments, from a given one on, at
 * which they have something to answer. Whatever the order, the write is not lost,
 * and no write of the guest is in flight beside the copy's I/O, but by dirty block
 * tracking, where none waits.
 */
enum moment { BEFORE, COPY_READ, COPY_WRITE, AFTER, MOMENTS };

static void
answer_guest_write(struct world *w)
{
	for (enum side s = SRC; s < SIDES; s++)
		if (find_io(w, s, DISK_WRITE, 24, 8))
			answer(w, s, DISK_WRITE, 24, 8, 0);
}

static void
race(enum strategy strategy, enum moment start, enum moment finish)
{
	struct world *w = begin(strategy, "SB");
	struct request *r = NULL;

	for (enum moment now = BEFORE; now < MOMENTS; now++) {
		struct disk_io *copy_io = NULL;

		if (now == COPY_READ)
			migration_resume(&w->m);
		for (enum side s = SRC; s < SIDES; s++) {
			enum disk_op op = s == SRC ? DISK_READ : DISK_WRITE;

			copy_io = copy_io ? copy_io : find_io(w, s, op, 0, CHUNK);
			copy_io = copy_io ? copy_io : find_io(w, s, op, 0, 24);
		}
		if (now == start)
			r = guest_write(w, 24, 8, 7);
		if (copy_io && strategy != STRATEGY_DBT)
			assert_true(!find_io(w, SRC, DISK_WRITE, 24, 8) &&
				    !find_io(w, DST, DISK_WRITE, 24, 8));
		else if (copy_io && now == start)
			the_io(w, SRC, DISK_WRITE, 24, 8);
		if (r && now >= finish)
			answer_guest_write(w);
		if (copy_io)
			fake_complete(copy_io, 0);
	}
	settle(w);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, 24, 8, 7);
	check_disk(w, DST, 0, 24, ON_SRC);
	world_end(w);
}

static void
test_a_write_is_not_lost_in_any_order_with_the_copy_of_its_chunk(void **state)
{
	for (int s = 0; s < STRATEGIES; s++)
		for (enum moment start = BEFORE; start < MOMENTS; start++)
			for (enum moment finish = start; finish < MOMENTS; finish++)
				race((enum strategy)s, start, finish);
}

/* --- overlaps ------------------------------------------------------------ */

static void
test_a_write_that_overlaps_a_mirrored_write_is_held_until_both_sides_have_that(void **state)
{
	const enum strategy strategies[] = { STRATEGY_AIO, STRATEGY_MIRROR };

	for (size_t i = 0; i < LENGTH(strategies); i++) {
		struct world *w = begin(strategies[i], "B");

		guest_write(w, 8, 8, 7);
		guest_write(w, 12, 8, 8);
		answer(w, SRC, DISK_WRITE, 8, 8, 0);
		assert_int_equal(outstanding(w, SRC), 0);
		answer(w, DST, DISK_WRITE, 8, 8, 0);
		/* Even if the sides now answer in another order. */
		answer(w, DST, DISK_WRITE, 12, 8, 0);
		answer(w, SRC, DISK_WRITE, 12, 8, 0);
		for (enum side s = SRC; s < SIDES; s++) {
			check_disk(w, s, 8, 4, 7);
			check_disk(w, s, 12, 8, 8);
		}
		check_valid(w, 0, CHUNK, BOTH);
		world_end(w);
	}
}

static void
test_writes_that_overlap_on_one_side_keep_their_order(void **state)
{
	struct world *w = begin(STRATEGY_LR, "S");

	guest_write(w, 8, 8, 7);
	guest_write(w, 12, 8, 8);
	guest_write(w, 10, 1, 9);
	settle(w);
	check_disk(w, DST, 8, 2, 7);
	check_disk(w, DST, 10, 1, 9);
	check_disk(w, DST, 12, 8, 8);
	world_end(w);
}

/* --- the engine's copies of mirrored writes ------------------------------ */

/* request_done() scribbles over the buffer as soon as the guest has it back. */
static void
test_the_guests_buffer_is_not_used_after_the_acknowledgement(void **state)
{
	for (enum side first = SRC; first <= DST; first++) {
		struct world *w = begin(STRATEGY_AIO, "B");

		guest_write(w, 8, 8, 7);
		answer(w, first, DISK_WRITE, 8, 8, 0);
		answer(w, side_other(first), DISK_WRITE, 8, 8, 0);
		check_disk(w, SRC, 8, 8, 7);
		check_disk(w, DST, 8, 8, 7);
		world_end(w);
	}
}

static void
test_copies_of_mirrored_writes_are_bounded_in_bytes(void **state)
{
	const uint32_t mib = 2048;
	struct world *w = world_begin(&(struct world_config){ .strategy = STRATEGY_AIO,
							      .chunks = "BBBBBBBBBBBBBBBBBBBB",
							      .chunk = mib,
							      .threshold = 1000 });

	for (unsigned i = 0; i < 20; i++)
		guest_write(w, i * mib, mib, 7);
	assert_int_equal(outstanding(w, SRC), MIRROR_COPY_BYTES / (mib * SECTOR_BYTES));
	answer(w, SRC, DISK_WRITE, 0, mib, 0);
	answer(w, DST, DISK_WRITE, 0, mib, 0);
	the_io(w, DST, DISK_WRITE, 16 * mib, mib);
	world_end(w);
}

static void
test_one_mirrored_write_is_admitted_whatever_its_size(void **state)
{
	const uint32_t chunk = MIRROR_COPY_BYTES / SECTOR_BYTES;
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_AIO, .chunks = "BB", .chunk = chunk });

	guest_write(w, chunk - 8, chunk, 7);
	assert_int_equal(outstanding(w, DST), 1);
	answer(w, DST, DISK_WRITE, chunk - 8, 8, 0);
	answer(w, SRC, DISK_WRITE, chunk - 8, 8, 0);
	the_io(w, DST, DISK_WRITE, chunk, chunk - 8);
	world_end(w);
}

/* --- long requests ------------------------------------------------------- */

#define LONG (3 * GUEST_PARTS) /* chunks */

/* A disk of so many chunks, all of them valid on the source, or on both sides. */
static struct world *
begin_long(enum strategy strategy, char valid)
{
	static char chunks[LONG + 1];

	memset(chunks, valid, LONG);
	return world_begin(&(struct world_config){
		.strategy = strategy, .chunks = chunks, .threshold = 4 });
}

static void
test_of_a_long_request_a_few_parts_are_made_at_a_time(void **state)
{
	const enum disk_op ops[] = { DISK_ZERO, DISK_WRITE, DISK_READ };

	for (size_t i = 0; i < LENGTH(ops); i++) {
		struct world *w = begin_long(STRATEGY_SLR, 'S');
		struct request *r =
			guest_send(guest_request(w, ops[i], 8, C(LONG) - 16, 7 * !!i));

		for (unsigned left = LONG; left; left--) {
			unsigned alive = left < GUEST_PARTS ? left : GUEST_PARTS;

			assert_false(r->done);
			assert_int_equal(outstanding(w, SRC), alive);
			assert_int_equal(w->m.engine.parts.used, alive);
			/* The last ones first: any answer makes room. */
			fake_complete(
				list_entry(w->disk[SRC].outstanding.prev, struct disk_io, link),
				0);
		}
		assert_true(r->done);
		assert_int_equal(r->err, 0);
		assert_int_equal(w->disk[SRC].submitted[ops[i]], LONG);
		world_end(w);
	}
}

/* Parts that the guest has its answer to are bounded by the threshold. */
static void
test_of_a_long_request_few_parts_are_left_to_the_slower_side(void **state)
{
	struct world *w = begin_long(STRATEGY_AIO, 'B');
	struct request *r = guest_zero(w, 0, C(LONG), false);

	while (!r->done) {
		enum side quicker = outstanding(w, SRC) ? SRC : DST;

		assert_in_range(w->m.engine.parts.used, 1, GUEST_PARTS + 4 + 1);
		fake_complete(
			list_entry(w->disk[quicker].outstanding.next, struct disk_io, link), 0);
	}
	assert_int_equal(w->m.engine.parts.used, 4 + 1);
	settle(w);
	check_valid(w, 0, C(LONG), BOTH);
	world_end(w);
}

static void
test_nobody_waits_for_what_is_not_made_yet_of_a_long_request(void **state)
{
	struct world *w = begin_long(STRATEGY_SLR, 'S');
	struct request *r = guest_zero(w, 0, C(LONG), false), *flush;

	check_written_to(w, SRC, C(LONG) - 8, 8, 7);
	flush = guest_flush(w);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_true(flush->done);
	/* What is held when its turn comes comes before it. */
	guest_write(w, C(GUEST_PARTS), 8, 8);
	guest_write(w, C(GUEST_PARTS), 8, 9);
	answer(w, SRC, DISK_ZERO, 0, CHUNK, 0);
	answer(w, SRC, DISK_WRITE, C(GUEST_PARTS), 8, 0);
	answer(w, SRC, DISK_WRITE, C(GUEST_PARTS), 8, 0);
	the_io(w, SRC, DISK_ZERO, C(GUEST_PARTS), CHUNK);
	settle(w);
	assert_true(r->done);
	check_disk(w, SRC, 0, C(LONG), 0);
	world_end(w);
}

static void
test_a_long_request_begun_before_a_switch_goes_on_by_the_new_row(void **state)
{
	struct world *w = begin_long(STRATEGY_DBT, 'B');
	struct request *r = guest_zero(w, 0, C(LONG), false);

	migration_set_strategy(&w->m, STRATEGY_LR);
	for (unsigned i = 0; i < GUEST_PARTS; i++) {
		assert_int_equal(outstanding(w, DST), 0);
		answer(w, SRC, DISK_ZERO, C(i), CHUNK, 0);
	}
	assert_int_equal(outstanding(w, SRC), 0);
	assert_int_equal(outstanding(w, DST), GUEST_PARTS);
	settle(w);
	assert_true(r->done);
	check_valid(w, 0, C(GUEST_PARTS), SRC_BIT);
	check_valid(w, C(GUEST_PARTS), C(LONG - GUEST_PARTS), DST_BIT);
	world_end(w);
}

static void
test_a_long_request_is_held_and_goes_on_where_it_is_completed_under_it(void **state)
{
	struct world *w = begin_long(STRATEGY_MIRROR, 'B');
	struct request *r = guest_zero(w, 0, C(LONG), false);

	migration_resume(&w->m);
	assert_int_equal(migration_complete(&w->m), 0);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_COMPLETING);
	for (unsigned i = 0; i < GUEST_PARTS; i++) {
		answer(w, SRC, DISK_ZERO, C(i), CHUNK, 0);
		answer(w, DST, DISK_ZERO, C(i), CHUNK, 0);
	}
	assert_int_equal(status_of(w).held_writes, GUEST_PARTS);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	assert_false(r->done);
	assert_int_equal(outstanding(w, SRC), 0);
	settle(w);
	assert_true(r->done);
	assert_int_equal(w->disk[SRC].submitted[DISK_ZERO], GUEST_PARTS);
	check_disk(w, DST, 0, C(LONG), 0);
	world_end(w);
}

static void
test_a_long_request_that_has_failed_makes_no_more_parts(void **state)
{
	struct world *w = begin_long(STRATEGY_DBT, 'S');
	struct request *r = guest_zero(w, 0, C(LONG), false);

	answer(w, SRC, DISK_ZERO, C(3), CHUNK, -EIO);
	settle(w);
	assert_true(r->done);
	assert_int_equal(r->err, -EIO);
	assert_int_equal(w->disk[SRC].submitted[DISK_ZERO], GUEST_PARTS);
	world_end(w);
}

/* --- failed writes ------------------------------------------------------- */

/* What one failed write to the sides of issued leaves where the map said was. */
static void
check_failed_write(enum strategy strategy, char was, side_mask issued, side_mask left)
{
	struct world *w = begin(strategy, (char[]){ was, '\0' });
	struct request *r = guest_write(w, 8, 8, 7);

	for (enum side s = SRC; s < SIDES; s++) {
		assert_int_equal(outstanding(w, s), !!(issued & side_bit(s)));
		if (issued & side_bit(s))
			answer(w, s, DISK_WRITE, 8, 8, -EIO);
	}
	assert_true(r->done);
	assert_int_equal(r->err, -EIO);
	assert_int_equal(validity_get(w->m.engine.map, 8, 8, &(uint64_t){ 0 }), left);
	settle(w);
	world_end(w);
}

static void
test_a_failed_write_leaves_its_side_untrusted_if_the_other_is_valid(void **state)
{
	check_failed_write(STRATEGY_LR, 'B', DST_BIT, SRC_BIT);
	check_failed_write(STRATEGY_LR, 'S', DST_BIT, SRC_BIT);
	check_failed_write(STRATEGY_DBT, 'B', SRC_BIT, DST_BIT);
	check_failed_write(STRATEGY_DBT, 'D', SRC_BIT, DST_BIT);
}

static void
test_a_failed_write_to_the_only_valid_side_leaves_that_side(void **state)
{
	check_failed_write(STRATEGY_LR, 'D', DST_BIT, DST_BIT);
	check_failed_write(STRATEGY_SLR, 'S', SRC_BIT, SRC_BIT);
	check_failed_write(STRATEGY_AIO, 'D', BOTH, DST_BIT);
}

/* Old, new or neither, and another on each side: so one of them alone is asked from now on. */
static void
test_a_mirrored_write_that_fails_on_both_sides_leaves_exactly_one_valid(void **state)
{
	check_failed_write(STRATEGY_AIO, 'B', BOTH, SRC_BIT);
	check_failed_write(STRATEGY_MIRROR, 'B', BOTH, SRC_BIT);
}

static void
test_a_mirrored_write_that_fails_on_one_side_succeeds_and_is_valid_on_the_other(void **state)
{
	const enum strategy strategies[] = { STRATEGY_AIO, STRATEGY_MIRROR };

	for (size_t i = 0; i < LENGTH(strategies); i++)
		for (enum side bad = SRC; bad <= DST; bad++)
			for (int bad_first = 0; bad_first < 2; bad_first++) {
				struct world *w = begin(strategies[i], "B");
				struct request *r = guest_write(w, 8, 8, 7);
				enum side first = bad_first ? bad : side_other(bad);

				answer(w, first, DISK_WRITE, 8, 8, first == bad ? -EIO : 0);
				answer(w, side_other(first), DISK_WRITE, 8, 8,
				       first == bad ? 0 : -EIO);
				assert_true(r->done);
				assert_int_equal(r->err, 0);
				check_valid(w, 8, 8, side_bit(side_other(bad)));
				world_end(w);
			}
}

static void
test_what_a_failed_write_left_untrusted_is_copied_again(void **state)
{
	struct world *w = begin_copying(STRATEGY_MIRROR, "B");

	guest_write(w, 8, 8, 7);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, DST, DISK_WRITE, 8, 8, -EIO);
	answer(w, SRC, DISK_READ, 8, 8, 0);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	check_disk(w, DST, 8, 8, 7);
	check_valid(w, 0, CHUNK, BOTH);
	world_end(w);
}

/* --- reads that fail over ------------------------------------------------ */

static void
test_a_read_that_fails_is_served_by_the_other_valid_side(void **state)
{
	for (int s = 0; s < STRATEGIES; s++) {
		struct world *w = begin((enum strategy)s, "B");
		enum side first = strategy_row((enum strategy)s)->read_prefers;
		struct request *r = guest_read(w, 8, 8);

		answer(w, first, DISK_READ, 8, 8, -EIO);
		assert_false(r->done);
		answer(w, side_other(first), DISK_READ, 8, 8, 0);
		check_read_is(r, ON_SRC);
		world_end(w);
	}
}

static void
test_a_read_fails_when_no_valid_side_is_left(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "BS");
	struct request *r = guest_read(w, 8, 8), *alone = guest_read(w, C(1), 8);

	answer(w, SRC, DISK_READ, 8, 8, -EIO);
	answer(w, DST, DISK_READ, 8, 8, -ENOMEDIUM);
	assert_true(r->done);
	assert_int_equal(r->err, -EIO);
	answer(w, SRC, DISK_READ, C(1), 8, -EIO);
	assert_int_equal(outstanding(w, DST), 0);
	assert_int_equal(alone->err, -EIO);
	world_end(w);
}

static void
test_a_read_that_fails_over_waits_for_writes_in_flight_on_its_sectors(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");
	struct request *r = guest_read(w, 8, 8);

	guest_write(w, 10, 2, 7);
	answer(w, SRC, DISK_READ, 8, 8, -EIO);
	assert_int_equal(outstanding(w, DST), 2); /* the write, and what is before it */
	answer(w, DST, DISK_READ, 8, 2, 0);
	answer(w, SRC, DISK_WRITE, 10, 2, 0);
	assert_int_equal(outstanding(w, DST), 1);
	answer(w, DST, DISK_WRITE, 10, 2, 0);
	settle(w);
	check_read(r);
	world_end(w);
}

/* What it has read there may be neither the old data nor the new. */
static void
test_a_read_under_which_a_write_has_failed_is_read_again(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "D");
	struct request *r = guest_read(w, 8, 8);

	guest_write(w, 8, 8, 7);
	answer(w, DST, DISK_WRITE, 8, 8, -EIO);
	answer(w, DST, DISK_READ, 8, 8, 0);
	assert_false(r->done);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, SRC, DISK_READ, 8, 8, 0);
	check_read_is(r, 7);
	world_end(w);
}

static void
test_a_read_goes_to_the_destination_if_a_pending_write_failed_on_the_source(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");
	struct request *r;

	guest_write(w, 8, 8, 7);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	r = guest_read(w, 8, 8);
	assert_int_equal(outstanding(w, DST), 0);
	answer(w, SRC, DISK_WRITE, 8, 8, -EIO);
	answer(w, DST, DISK_READ, 8, 8, 0);
	check_read_is(r, 7);
	world_end(w);
}

/* --- switching the strategy ---------------------------------------------- */

static void
test_a_switch_drains_every_write_and_routes_held_ones_by_the_new_row(void **state)
{
	struct world *w = begin(STRATEGY_SLR, "BS");
	struct request *held;

	guest_write(w, 0, 8, 7);
	guest_write(w, C(1), 8, 7);
	migration_set_strategy(&w->m, STRATEGY_AIO);
	held = guest_write(w, 16, 8, 8);
	assert_int_equal(outstanding_all(w), 2);
	assert_int_equal(status_of(w).held_writes, 1);
	check_served_by(w, SRC, 32, 8, ON_SRC); /* reads go on */
	answer(w, DST, DISK_WRITE, 0, 8, 0);
	assert_int_equal(outstanding_all(w), 1);
	answer(w, SRC, DISK_WRITE, C(1), 8, 0);
	the_io(w, SRC, DISK_WRITE, 16, 8);
	the_io(w, DST, DISK_WRITE, 16, 8);
	settle(w);
	assert_true(held->done);
	world_end(w);
}

static void
test_a_write_held_by_the_throttle_is_routed_by_the_new_row(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_AIO, .chunks = "B", .threshold = 1 });

	for (unsigned i = 0; i < 4; i++)
		guest_write(w, 8 * i, 8, 7);
	migration_set_strategy(&w->m, STRATEGY_DBT);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	answer(w, DST, DISK_WRITE, 0, 8, 0);
	assert_int_equal(outstanding_all(w), 2);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	assert_int_equal(outstanding(w, SRC), 2);
	assert_int_equal(outstanding(w, DST), 0);
	world_end(w);
}

static void
test_after_any_switch_what_either_side_alone_holds_is_still_read(void **state)
{
	for (int from = 0; from < STRATEGIES; from++)
		for (int to = 0; to < STRATEGIES; to++) {
			struct world *w = begin((enum strategy)from, "BSD");

			for (unsigned n = 0; n < 3; n++)
				guest_write(w, C(n) + 8, 9, 7);
			settle(w);
			assert_int_equal(migration_set_strategy(&w->m, (enum strategy)to), 0);
			for (unsigned n = 0; n < 3; n++)
				guest_write(w, C(n) + 12, 9, 8);
			settle(w);
			for (unsigned n = 0; n < 3; n++) {
				struct request *r = guest_read(w, C(n), 32);

				settle(w);
				check_read(r);
			}
			world_end(w);
		}
}

/* --- cancel is rollback, by the map -------------------------------------- */

static void
test_cancel_copies_back_what_only_the_destination_holds(void **state)
{
	struct world *w = begin(STRATEGY_LR, "SB");

	check_written_to(w, DST, 8, 8, 7);
	check_written_to(w, DST, C(1) + 3, 2, 8);
	assert_int_equal(migration_cancel(&w->m), 0);
	assert_int_equal(w->m.state, MIGRATION_ROLLING_BACK);
	answer(w, DST, DISK_READ, 8, 8, 0);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, DST, DISK_READ, C(1) + 3, 2, 0);
	answer(w, SRC, DISK_WRITE, C(1) + 3, 2, 0);
	assert_int_equal(w->ended, 0);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	assert_int_equal(w->ended, 1);
	check_disk(w, SRC, 8, 8, 7);
	check_disk(w, SRC, C(1) + 3, 2, 8);
	world_end(w);
}

static void
test_cancel_drains_first_then_writes_reach_the_source_alone(void **state)
{
	struct world *w = begin(STRATEGY_LR, "BDB");
	struct request *held;

	guest_write(w, 8, 8, 7);
	migration_cancel(&w->m);
	held = guest_write(w, C(2), 8, 8);
	assert_int_equal(outstanding_all(w), 1);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	the_io(w, SRC, DISK_WRITE, C(2), 8);
	assert_null(find_io(w, DST, DISK_WRITE, C(2), 8));
	answer(w, SRC, DISK_WRITE, C(2), 8, 0);
	assert_true(held->done);
	check_valid(w, C(2), 8, SRC_BIT);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	check_disk(w, SRC, 8, 8, 7);
	check_disk(w, SRC, C(1), CHUNK, ON_DST);
	world_end(w);
}

static void
test_cancel_after_a_switch_from_lr_to_aio_loses_nothing(void **state)
{
	struct world *w = begin(STRATEGY_LR, "SB");

	check_written_to(w, DST, 8, 8, 7);
	check_written_to(w, DST, C(1) + 8, 8, 8);
	migration_set_strategy(&w->m, STRATEGY_AIO);
	guest_write(w, C(1) + 12, 2, 9);
	settle(w);
	migration_cancel(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	check_disk(w, SRC, 8, 8, 7);
	check_disk(w, SRC, C(1) + 8, 4, 8);
	check_disk(w, SRC, C(1) + 12, 2, 9);
	check_disk(w, SRC, C(1) + 14, 2, 8);
	world_end(w);
}

static void
test_cancel_lets_the_copy_under_way_finish_and_copies_no_more(void **state)
{
	struct world *w = begin_copying(STRATEGY_AIO, "SS");

	migration_cancel(&w->m);
	copy_chunk(w, 0);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	assert_int_equal(w->disk[SRC].submitted[DISK_READ], 1);
	world_end(w);
}

static void
test_after_cancel_nothing_goes_to_the_destination(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "SB");

	migration_cancel(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	check_written_to(w, SRC, C(1), 8, 7);
	check_served_by(w, SRC, C(1), 8, 7);
	world_end(w);
}

static void
test_cancel_that_cannot_flush_the_source_keeps_the_destination(void **state)
{
	struct world *w = begin(STRATEGY_LR, "D");

	migration_cancel(&w->m);
	answer(w, DST, DISK_READ, 0, CHUNK, 0);
	answer(w, SRC, DISK_WRITE, 0, CHUNK, 0);
	answer(w, SRC, DISK_FLUSH, 0, 0, -EIO);
	assert_int_equal(w->ended, 0);
	assert_int_equal(w->m.state, MIGRATION_ROLLING_BACK);
	assert_int_equal(status_of(w).error, -EIO);
	check_valid(w, 0, CHUNK, DST_BIT);
	assert_int_equal(migration_resume(&w->m), 0);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	check_disk(w, SRC, 0, CHUNK, ON_DST);
	world_end(w);
}

/* --- no space ------------------------------------------------------------ */

static void
test_a_write_that_finds_no_space_is_held_until_resumed(void **state)
{
	struct world *w = begin_copying(STRATEGY_LR, "B");
	struct request *r = guest_write(w, 8, 8, 7);

	answer(w, DST, DISK_WRITE, 8, 8, -ENOSPC);
	assert_false(r->done);
	assert_int_equal(status_of(w).pause, PAUSE_NO_SPACE);
	assert_int_equal(status_of(w).error, -ENOSPC);
	assert_int_equal(status_of(w).held_writes, 1);
	assert_int_equal(migration_resume(&w->m), 0);
	settle(w);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	check_disk(w, DST, 8, 8, 7);
	world_end(w);
}

static void
test_a_write_that_finds_no_space_goes_to_the_source_after_cancel(void **state)
{
	struct world *w = begin(STRATEGY_LR, "B");
	struct request *r = guest_write(w, 8, 8, 7);

	answer(w, DST, DISK_WRITE, 8, 8, -ENOSPC);
	migration_cancel(&w->m);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	world_end(w);
}

static void
test_a_mirrored_write_needs_no_space_on_the_destination(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");
	struct request *r = guest_write(w, 8, 8, 7);

	answer(w, DST, DISK_WRITE, 8, 8, -ENOSPC);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	check_valid(w, 8, 8, SRC_BIT);
	world_end(w);
}

static void
test_a_copy_that_finds_no_space_pauses_the_copier_and_not_the_guest(void **state)
{
	struct world *w = begin_copying(STRATEGY_SLR, "SS");

	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	answer(w, DST, DISK_WRITE, 0, CHUNK, -ENOSPC);
	assert_int_equal(status_of(w).pause, PAUSE_NO_SPACE);
	check_written_to(w, SRC, 8, 8, 7);
	pass_time(w, 10 * SECOND);
	assert_int_equal(outstanding_all(w), 0);
	migration_resume(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, 8, 8, 7);
	world_end(w);
}

/* --- a stalled side ------------------------------------------------------ */

static void
test_a_mirrored_write_counts_as_failed_on_a_side_that_stalls(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "B");
	struct request *r = guest_write(w, 8, 8, 7);

	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	pass_time(w, 9 * SECOND);
	assert_false(r->done);
	pass_time(w, SECOND);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	check_valid(w, 8, 8, SRC_BIT);
	assert_int_equal(status_of(w).pending_writes, 0);
	answer(w, DST, DISK_WRITE, 8, 8, 0); /* too late to mean anything */
	check_valid(w, 8, 8, SRC_BIT);
	world_end(w);
}

/* Stopped, or frozen with its machine: the answers may be there, and are looked at next. */
static void
test_no_side_stalls_while_the_process_does_not_run(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "B");
	struct request *r = guest_write(w, 8, 8, 7);

	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	pass_time(w, 9 * SECOND);
	w->now_ns += 60 * SECOND;
	migration_tick(&w->m);
	assert_false(r->done);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	assert_true(r->done);
	check_valid(w, 8, 8, BOTH);

	/* What it had been silent for before counts, and so does what comes after. */
	r = guest_write(w, 8, 8, 8);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	pass_time(w, 9 * SECOND);
	w->now_ns += 60 * SECOND;
	migration_tick(&w->m);
	assert_false(r->done);
	pass_time(w, SECOND);
	assert_true(r->done);
	check_valid(w, 8, 8, SRC_BIT);
	world_end(w);
}

static void
test_aio_and_mirror_write_the_source_alone_while_the_destination_is_stalled(void **state)
{
	const enum strategy strategies[] = { STRATEGY_AIO, STRATEGY_MIRROR };

	for (size_t i = 0; i < LENGTH(strategies); i++) {
		struct world *w = begin(strategies[i], "B");

		guest_write(w, 8, 8, 7);
		answer(w, SRC, DISK_WRITE, 8, 8, 0);
		pass_time(w, 10 * SECOND);
		assert_int_equal(status_of(w).pause, PAUSE_OPERATOR);
		guest_write(w, 32, 8, 8);
		guest_write(w, 12, 8, 9); /* also where the lost write still is */
		assert_int_equal(outstanding(w, DST), 1);
		answer(w, SRC, DISK_WRITE, 32, 8, 0);
		answer(w, SRC, DISK_WRITE, 12, 8, 0);
		for (unsigned n = 0; n < 3; n++)
			assert_true(w->requests[n]->done);
		world_end(w);
	}
}

static void
test_throttled_writes_go_on_when_the_destination_stalls(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_AIO, .chunks = "B", .threshold = 1 });

	for (unsigned i = 0; i < 4; i++)
		guest_write(w, 8 * i, 8, 7);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	pass_time(w, 10 * SECOND);
	answer(w, SRC, DISK_WRITE, 16, 8, 0);
	answer(w, SRC, DISK_WRITE, 24, 8, 0);
	for (unsigned n = 0; n < 4; n++)
		assert_true(w->requests[n]->done);
	world_end(w);
}

/*
 * All the copies that there may be are of writes that a silent destination owes, and it
 * has answered something else since: one more mirrored write waits for one of them, or
 * for the next silence.
 */
static void
test_a_write_waits_for_the_copies_that_a_lost_side_owes(void **state)
{
	const enum strategy strategies[] = { STRATEGY_AIO, STRATEGY_MIRROR };
	const uint32_t mib = 2048;
	const unsigned copies = MIRROR_COPY_BYTES / (mib * SECTOR_BYTES);

	for (int again = 0; again < 4; again++) {
		struct world *w =
			world_begin(&(struct world_config){ .strategy = strategies[again / 2],
							    .chunks = "BBBBBBBBBBBBBBBBBB",
							    .chunk = mib,
							    .threshold = 1000 });
		struct request *r;

		for (unsigned i = 0; i < copies; i++)
			guest_write(w, i * mib, mib, 7);
		guest_zero(w, copies * mib, 8, false);
		for (unsigned i = 0; i < copies; i++)
			answer(w, SRC, DISK_WRITE, i * mib, mib, 0);
		answer(w, SRC, DISK_ZERO, copies * mib, 8, 0);
		pass_time(w, 10 * SECOND);
		assert_int_equal(status_of(w).pending_writes, 0);
		answer(w, DST, DISK_ZERO, copies * mib, 8, 0);

		r = guest_write(w, (copies + 1) * mib, 8, 9);
		assert_false(r->done);
		assert_int_equal(status_of(w).held_writes, 1);
		if (again % 2) {
			pass_time(w, 10 * SECOND);
			assert_int_equal(outstanding(w, DST), copies);
		} else {
			answer(w, DST, DISK_WRITE, 0, mib, 0);
			the_io(w, DST, DISK_WRITE, (copies + 1) * mib, 8);
		}
		settle(w);
		assert_true(r->done);
		assert_int_equal(r->err, 0);
		check_disk(w, SRC, (copies + 1) * mib, 8, 9);
		world_end(w);
	}
}

static void
test_lr_and_slr_hold_writes_for_a_stalled_destination_until_it_answers(void **state)
{
	const enum strategy strategies[] = { STRATEGY_LR, STRATEGY_SLR };

	for (size_t i = 0; i < LENGTH(strategies); i++) {
		struct world *w = begin_copying(strategies[i], "B");

		guest_write(w, 8, 8, 7);
		pass_time(w, 10 * SECOND);
		guest_write(w, 32, 8, 8);
		assert_int_equal(outstanding_all(w), 1);
		assert_int_equal(status_of(w).pause, PAUSE_STALLED);
		assert_int_equal(status_of(w).held_writes, 1);
		answer(w, DST, DISK_WRITE, 8, 8, 0);
		assert_true(w->requests[0]->done);
		answer(w, DST, DISK_WRITE, 32, 8, 0);
		assert_true(w->requests[1]->done);
		assert_int_equal(status_of(w).pause, PAUSE_NONE);
		world_end(w);
	}
}

static void
test_a_read_avoids_a_stalled_side_where_the_other_is_valid(void **state)
{
	struct world *w = begin(STRATEGY_LR, "B");
	struct request *r;

	guest_write(w, 8, 8, 7);
	pass_time(w, 10 * SECOND);
	r = guest_read(w, 32, 8);
	answer(w, SRC, DISK_READ, 32, 8, 0);
	check_read_is(r, ON_SRC);
	world_end(w);
}

static void
test_sectors_of_a_lost_write_get_no_new_write_there_until_it_has_its_answer(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "BB");

	guest_write(w, 8, 8, 7);
	guest_write(w, C(1), 8, 7);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, SRC, DISK_WRITE, C(1), 8, 0);
	pass_time(w, 10 * SECOND);
	migration_set_strategy(&w->m, STRATEGY_LR);
	/* Another answer ends the stall; the first write's is still owed. */
	answer(w, DST, DISK_WRITE, C(1), 8, 0);
	guest_write(w, 12, 8, 8);
	assert_int_equal(outstanding(w, DST), 1);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	answer(w, DST, DISK_WRITE, 12, 8, 0);
	check_disk(w, DST, 12, 8, 8);
	world_end(w);
}

/* Its late answer must not be taken for a copy of what the guest has written since. */
static void
test_a_copy_under_way_is_lost_when_the_destination_stalls(void **state)
{
	struct world *w = begin_copying(STRATEGY_AIO, "S");
	struct request *r;

	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	r = guest_write(w, 8, 8, 7);
	assert_int_equal(outstanding(w, SRC), 0);
	pass_time(w, 10 * SECOND);
	answer(w, SRC, DISK_WRITE, 8, 8, 0); /* the guest does not wait */
	assert_true(r->done);
	answer(w, DST, DISK_WRITE, 0, CHUNK, 0);
	assert_int_equal(w->m.state, MIGRATION_COPYING);
	check_valid(w, 0, CHUNK, SRC_BIT);
	pass_time(w, 2 * SECOND);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, 8, 8, 7);
	world_end(w);
}

static void
test_cancel_ends_while_the_destination_is_stalled(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "SB");

	guest_write(w, C(1), 8, 7);
	answer(w, SRC, DISK_WRITE, C(1), 8, 0);
	pass_time(w, 10 * SECOND);
	migration_cancel(&w->m);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	world_end(w);
}

/* Whichever is back first: nobody goes on waiting for the other one. */
static void
test_of_two_silent_sides_the_one_that_is_back_has_the_writes(void **state)
{
	const enum strategy strategies[] = { STRATEGY_AIO, STRATEGY_MIRROR };

	for (unsigned n = 0; n < SIDES * LENGTH(strategies); n++) {
		enum side back = (enum side)(n % SIDES);
		struct world *w = begin(strategies[n / SIDES], "B");
		struct request *half, *none, *flush, *read;

		guest_flush(w);
		settle(w);
		half = guest_write(w, 8, 8, 7);
		none = guest_write(w, 32, 8, 8);
		answer(w, back, DISK_WRITE, 8, 8, 0);
		pass_time(w, 10 * SECOND);
		assert_true(half->done);
		assert_false(none->done);
		check_valid(w, 8, 8, side_bit(back));
		flush = guest_flush(w);
		answer(w, back, DISK_WRITE, 32, 8, 0);
		pass_time(w, SECOND);
		assert_true(none->done);
		assert_int_equal(none->err, 0);
		check_valid(w, 32, 8, side_bit(back));
		answer(w, back, DISK_FLUSH, 0, 0, 0);
		assert_true(flush->done);
		assert_int_equal(flush->err, 0);
		read = guest_read(w, 32, 8);
		answer(w, back, DISK_READ, 32, 8, 0);
		check_read_is(read, 8);
		world_end(w);
	}
}

/* The source is given up first, and is back while the destination is silent too. */
static void
test_a_side_that_is_back_has_the_writes_that_it_was_given_up_for(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "B");
	struct request *r = guest_write(w, 8, 8, 7), *other = guest_write(w, 32, 8, 7);

	pass_time(w, 5 * SECOND);
	answer(w, DST, DISK_WRITE, 32, 8, 0);
	pass_time(w, 5 * SECOND);
	assert_true(other->done);
	assert_false(r->done);
	pass_time(w, 5 * SECOND);
	assert_true(w->m.engine.side[DST].stalled);
	assert_false(r->done);
	answer(w, SRC, DISK_WRITE, 32, 8, 0);
	pass_time(w, SECOND);
	assert_false(r->done);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	check_valid(w, 8, 8, SRC_BIT);
	world_end(w);
}

static void
test_a_write_behind_what_a_side_owes_does_without_it_when_it_is_silent_again(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "B");
	struct request *r;

	guest_write(w, 8, 8, 7);
	guest_write(w, 32, 8, 7);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	answer(w, DST, DISK_WRITE, 32, 8, 0);
	pass_time(w, 10 * SECOND);
	answer(w, SRC, DISK_WRITE, 32, 8, 0);
	r = guest_write(w, 12, 8, 8);
	assert_int_equal(outstanding(w, DST), 0);
	pass_time(w, 10 * SECOND);
	answer(w, DST, DISK_WRITE, 12, 8, 0);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	world_end(w);
}

static void
test_a_write_behind_what_a_side_owes_does_without_it_after_a_switch(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "BB");
	struct request *r;

	guest_write(w, 8, 8, 7);
	guest_write(w, C(1), 8, 7);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, SRC, DISK_WRITE, C(1), 8, 0);
	pass_time(w, 10 * SECOND);
	migration_set_strategy(&w->m, STRATEGY_LR);
	answer(w, DST, DISK_WRITE, C(1), 8, 0);
	r = guest_write(w, 12, 8, 8);
	assert_int_equal(outstanding(w, DST), 1);
	migration_set_strategy(&w->m, STRATEGY_AIO);
	answer(w, SRC, DISK_WRITE, 12, 8, 0);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	world_end(w);
}

/* --- flush --------------------------------------------------------------- */

static void
flush_all(struct world *w)
{
	struct request *r = guest_flush(w);

	settle(w);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
}

static void
test_a_flush_reaches_every_side_that_alone_holds_an_acknowledged_write(void **state)
{
	struct world *w = begin(STRATEGY_SLR, "BS");
	struct request *r;

	check_written_to(w, DST, 0, 8, 7);
	check_written_to(w, SRC, C(1), 8, 7);
	r = guest_flush(w);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_false(r->done);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	world_end(w);
}

static void
test_a_flush_goes_only_where_something_is_not_yet_stable(void **state)
{
	struct world *w = begin(STRATEGY_LR, "B");

	flush_all(w);
	assert_int_equal(w->disk[SRC].submitted[DISK_FLUSH], 1);
	check_written_to(w, DST, 0, 8, 7);
	guest_flush(w);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(outstanding(w, SRC), 0);
	world_end(w);
}

static void
test_the_first_flush_reaches_what_the_source_held_before_the_migration(void **state)
{
	struct world *w = begin(STRATEGY_LR, "S");

	guest_flush(w);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	world_end(w);
}

static void
test_a_flush_waits_for_pending_writes(void **state)
{
	for (enum side first = SRC; first <= DST; first++) {
		struct world *w = begin(STRATEGY_AIO, "B");
		struct request *r;

		flush_all(w);
		guest_write(w, 8, 8, 7);
		answer(w, first, DISK_WRITE, 8, 8, 0);
		r = guest_flush(w);
		assert_int_equal(outstanding_all(w), 1);
		answer(w, side_other(first), DISK_WRITE, 8, 8, 0);
		assert_int_equal(outstanding_all(w), 1); /* both have it: one will do */
		settle(w);
		assert_true(r->done);
		world_end(w);
	}
}

/* The pending write fails on one side: that the other has it must be stable. */
static void
test_a_flush_of_a_pending_write_follows_its_outcome(void **state)
{
	for (enum side bad = SRC; bad <= DST; bad++) {
		struct world *w = begin(STRATEGY_AIO, "B");
		struct request *r;

		flush_all(w);
		guest_write(w, 8, 8, 7);
		answer(w, side_other(bad), DISK_WRITE, 8, 8, 0);
		r = guest_flush(w);
		answer(w, bad, DISK_WRITE, 8, 8, -EIO);
		answer(w, side_other(bad), DISK_FLUSH, 0, 0, 0);
		assert_true(r->done);
		assert_int_equal(r->err, 0);
		world_end(w);
	}
}

static void
test_a_flush_does_not_wait_for_writes_acknowledged_after_it(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");
	struct request *r;

	guest_write(w, 8, 8, 7);
	r = guest_flush(w);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_true(r->done);
	world_end(w);
}

static void
test_a_write_after_a_flush_began_needs_the_next_flush(void **state)
{
	struct world *w = begin(STRATEGY_LR, "B");

	flush_all(w);
	check_written_to(w, DST, 0, 8, 7);
	guest_flush(w);
	check_written_to(w, DST, 16, 8, 8);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	guest_flush(w);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	world_end(w);
}

static void
test_after_a_failed_flush_what_both_hold_is_trusted_on_the_other_side_alone(void **state)
{
	struct world *w = begin(STRATEGY_LR, "BBS");
	struct request *r;

	check_written_to(w, DST, 8, 8, 7);
	r = guest_flush(w);
	answer(w, DST, DISK_FLUSH, 0, 0, -EIO);
	settle(w);
	assert_true(r->done);
	assert_int_equal(r->err, -EIO);
	check_valid(w, 0, 8, SRC_BIT);
	check_valid(w, 8, 8, DST_BIT);
	check_valid(w, 16, C(2) - 16, SRC_BIT);
	world_end(w);
}

/* Both took the write; the flush of one fails, so the other's must not be skipped. */
static void
test_a_flush_that_fails_on_one_side_is_made_good_by_the_other(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");
	struct request *r;

	flush_all(w);
	guest_write(w, 8, 8, 7);
	settle(w);
	r = guest_flush(w);
	answer(w, SRC, DISK_FLUSH, 0, 0, -EIO);
	check_valid(w, 0, CHUNK, DST_BIT);
	assert_false(r->done);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	world_end(w);
}

static void
test_a_retried_flush_means_nothing_for_what_the_failed_one_covered(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");

	flush_all(w);
	guest_write(w, 8, 8, 7);
	settle(w);
	guest_flush(w);
	answer(w, SRC, DISK_FLUSH, 0, 0, -EIO);
	answer(w, DST, DISK_FLUSH, 0, 0, -EIO);
	assert_int_equal(w->requests[2]->err, -EIO);
	assert_int_not_equal(validity_get(w->m.engine.map, 8, 8, &(uint64_t){ 0 }), BOTH);
	world_end(w);
}

/* The source took the write, then failed a flush: the destination is believed. */
static void
test_a_failed_flush_undoes_a_pending_writes_success_there(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "B");
	struct request *r;

	guest_write(w, 8, 8, 7);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	guest_flush(w);
	answer(w, SRC, DISK_FLUSH, 0, 0, -EIO);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	check_valid(w, 0, CHUNK, DST_BIT);
	settle(w);
	r = guest_flush(w);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(r->err, 0);
	world_end(w);
}

/* ... and the destination fails the write: readable at the source, but perhaps not stable. */
static void
test_a_pending_write_that_a_failed_flush_left_nowhere_stable_is_told_by_the_next(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");
	struct request *failed, *r;

	flush_all(w);
	guest_write(w, 64, 8, 7);
	settle(w);
	failed = guest_flush(w);
	guest_write(w, 8, 8, 8);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, SRC, DISK_FLUSH, 0, 0, -EIO);
	answer(w, DST, DISK_WRITE, 8, 8, -EIO);
	check_served_by(w, SRC, 8, 8, 8);
	settle(w);
	r = guest_flush(w);
	settle(w);
	assert_true(failed->err || r->err);
	world_end(w);
}

/* The source alone is left with what only the destination had made stable. */
static void
test_a_flush_after_a_failed_write_reaches_the_side_that_is_left(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "B");
	struct request *r;

	guest_write(w, 8, 8, 7);
	settle(w);
	migration_set_strategy(&w->m, STRATEGY_LR);
	check_written_to(w, DST, 64, 8, 8);
	r = guest_flush(w); /* the destination's is enough for both writes, with the source's */
	settle(w);
	assert_int_equal(r->err, 0);
	guest_write(w, 8, 8, 9);
	answer(w, DST, DISK_WRITE, 8, 8, -EIO);
	check_valid(w, 8, 8, SRC_BIT);
	r = guest_flush(w);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	settle(w);
	assert_int_equal(r->err, 0);
	world_end(w);
}

/* It may hold the only stable copy of what the failure has spoilt. */
static void
test_a_flush_waits_for_a_mirrored_write_that_has_failed_on_one_side(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "B");
	struct request *r;

	guest_write(w, 8, 8, 7);
	answer(w, SRC, DISK_WRITE, 8, 8, -EIO);
	r = guest_flush(w);
	assert_int_equal(outstanding_all(w), 1);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	the_io(w, DST, DISK_FLUSH, 0, 0);
	settle(w);
	assert_int_equal(r->err, 0);
	world_end(w);
}

static void
test_of_flushes_in_flight_none_says_all_is_well_after_one_has_failed(void **state)
{
	struct world *w = begin(STRATEGY_LR, "B");
	struct request *one, *two;

	flush_all(w);
	check_written_to(w, DST, 8, 8, 7);
	one = guest_flush(w);
	two = guest_flush(w);
	answer(w, DST, DISK_FLUSH, 0, 0, -EIO);
	assert_false(one->done); /* it is still to flush the source */
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	settle(w);
	assert_int_equal(one->err, -EIO);
	assert_true(two->done);
	world_end(w);
}

/* --- zeroes and holes ---------------------------------------------------- */

static void
test_zeroes_are_written_as_zeroes_and_stay_allocated_if_so_asked(void **state)
{
	for (int no_hole = 0; no_hole < 2; no_hole++) {
		struct world *w = begin(STRATEGY_AIO, "B");

		guest_zero(w, 8, 8, no_hole);
		for (enum side s = SRC; s < SIDES; s++)
			assert_int_equal(the_io(w, s, DISK_ZERO, 8, 8)->no_hole, no_hole);
		settle(w);
		check_valid(w, 0, CHUNK, BOTH);
		check_served_by(w, SRC, 8, 8, 0);
		world_end(w);
	}
}

static void
test_a_copy_of_zeroes_is_written_as_zeroes_that_may_be_holes(void **state)
{
	struct world *w = begin(STRATEGY_DBT, "S");

	guest_zero(w, 0, CHUNK, false);
	settle(w);
	migration_resume(&w->m);
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	assert_false(the_io(w, DST, DISK_ZERO, 0, CHUNK)->no_hole);
	settle(w);
	check_disk(w, DST, 0, CHUNK, 0);
	assert_int_equal(status_of(w).copier.zero, CHUNK * SECTOR_BYTES);
	assert_int_equal(status_of(w).copier.copied, 0);
	world_end(w);
}

static struct world *
begin_with_hole(enum strategy strategy, bool pristine)
{
	struct world *w = world_begin(&(struct world_config){ .strategy = strategy,
							      .chunks = "SSSS",
							      .tells_zeroes = true,
							      .pristine = pristine });

	fake_place(&w->disk[SRC], 0, C(1), C(2));
	memset(w->expected + C(1), 0, C(2) * sizeof(*w->expected));
	if (pristine)
		fake_place(&w->disk[DST], 0, 0, C(4));
	return w;
}

static void
test_holes_of_the_source_are_not_read(void **state)
{
	struct world *w = begin_with_hole(STRATEGY_SLR, false);

	migration_resume(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	assert_int_equal(w->disk[SRC].submitted[DISK_READ], 2);
	assert_int_equal(w->disk[DST].submitted[DISK_WRITE], 2);
	check_disk(w, DST, C(1), C(2), 0);
	world_end(w);
}

static void
test_holes_are_not_even_written_to_a_destination_that_was_made_for_it(void **state)
{
	struct world *w = begin_with_hole(STRATEGY_SLR, true);

	migration_resume(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	assert_int_equal(w->disk[DST].submitted[DISK_ZERO], 0);
	assert_int_equal(w->disk[DST].submitted[DISK_WRITE], 2);
	check_disk(w, DST, C(1), C(2), 0);
	world_end(w);
}

/* Data that the copier has written, and what has become zero since. */
static void
test_a_made_destination_is_not_called_zero_in_a_second_pass(void **state)
{
	struct world *w = begin_with_hole(STRATEGY_DBT, true);

	migration_resume(&w->m);
	settle(w);
	guest_zero(w, C(0), 8, false);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, C(0), 8, 0);
	world_end(w);
}

static void
test_a_made_destination_is_not_called_zero_after_an_error(void **state)
{
	struct world *w = begin_with_hole(STRATEGY_LR, true);

	guest_write(w, C(2), 8, 7);
	answer(w, DST, DISK_WRITE, C(2), 8, -EIO);
	migration_resume(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, C(2), 8, 0);
	world_end(w);
}

static void
test_a_made_destination_is_not_called_zero_after_a_switch(void **state)
{
	struct world *w = begin_with_hole(STRATEGY_LR, true);

	check_written_to(w, DST, C(2), 8, 7);
	migration_set_strategy(&w->m, STRATEGY_DBT);
	guest_zero(w, C(2), 8, false);
	settle(w);
	check_valid(w, C(2), 8, SRC_BIT);
	migration_resume(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, C(2), 8, 0);
	world_end(w);
}

/* A hole is closed as a whole; data that the guest writes there meanwhile is not. */
static void
test_data_is_copied_a_chunk_at_a_time_where_a_hole_was_seen(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_SLR, .chunks = "SSSSSS", .tells_zeroes = true });

	fake_place(&w->disk[SRC], 0, 0, C(6));
	memset(w->expected, 0, C(6) * sizeof(*w->expected));
	migration_resume(&w->m);
	the_io(w, DST, DISK_ZERO, 0, CHUNK);
	check_written_to(w, SRC, C(4) + 8, 8, 7);
	answer(w, DST, DISK_ZERO, 0, CHUNK, 0);
	answer(w, DST, DISK_ZERO, C(1), C(3), 0); /* up to the chunk that was written */
	answer(w, DST, DISK_ZERO, C(4), 8, 0);
	the_io(w, SRC, DISK_READ, C(4) + 8, 8);
	check_written_to(w, SRC, C(5), 8, 8);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, C(4) + 8, 8, 7);
	check_disk(w, DST, C(5), 8, 8);
	world_end(w);
}

static void
test_the_guest_may_write_where_a_hole_was_seen(void **state)
{
	struct world *w = begin_with_hole(STRATEGY_SLR, false);

	migration_resume(&w->m);
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	check_written_to(w, SRC, C(2) + 8, 8, 7);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, C(2) + 8, 8, 7);
	check_disk(w, DST, C(2), 8, 0);
	world_end(w);
}

/* Of what is too long to be told apart to the sector, more is copied again than was written. */
static void
test_dbt_a_write_passes_the_copy_of_a_hole(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_DBT, .sectors = C(20), .tells_zeroes = true });

	fake_place(&w->disk[SRC], 0, 0, C(20));
	memset(w->expected, 0, C(20) * sizeof(*w->expected));
	migration_resume(&w->m);
	answer(w, DST, DISK_ZERO, 0, CHUNK, 0);
	the_io(w, DST, DISK_ZERO, C(1), C(19));
	check_written_to(w, SRC, C(3) + 9, 2, 7);
	answer(w, DST, DISK_ZERO, C(1), C(19), 0);
	check_valid(w, 0, C(3) + 8, BOTH);
	check_valid(w, C(3) + 8, 8, SRC_BIT);
	check_valid(w, C(3) + 16, C(17) - 16, BOTH);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, C(3) + 9, 2, 7);
	world_end(w);
}

/* --- a destination or a source that fails -------------------------------- */

static void
test_a_destination_that_fails_again_and_again_stops_the_copier_and_not_the_guest(void **state)
{
	struct world *w = begin_copying(STRATEGY_AIO, "SS");

	for (int i = 0; i < COPIER_TRIES; i++) {
		struct disk_io *io;

		assert_int_equal(status_of(w).pause, PAUSE_NONE);
		assert_int_equal(outstanding(w, SRC), 1);
		fake_complete(list_entry(w->disk[SRC].outstanding.next, struct disk_io, link),
			      0);
		io = list_entry(w->disk[DST].outstanding.next, struct disk_io, link);
		fake_complete(io, -EIO);
		assert_int_equal(outstanding_all(w), 0); /* not before a while */
		pass_time(w, COPIER_RETRY_NS);
	}
	assert_int_equal(status_of(w).pause, PAUSE_WRITE_ERRORS);
	assert_int_equal(status_of(w).error, -EIO);
	assert_int_equal(status_of(w).error_side, DST);
	assert_int_equal(outstanding_all(w), 0);
	check_written_to(w, SRC, 8, 8, 7);
	migration_resume(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

static void
test_only_failures_in_a_row_stop_the_copier(void **state)
{
	struct world *w = begin_copying(STRATEGY_AIO, "SSSS");

	for (int i = 0; i < 2 * COPIER_TRIES; i++) {
		struct disk_io *io =
			list_entry(w->disk[SRC].outstanding.next, struct disk_io, link);
		uint64_t sector = io->sector;

		answer(w, SRC, DISK_READ, sector, CHUNK, 0);
		answer(w, DST, DISK_WRITE, sector, CHUNK, i == COPIER_TRIES - 1 ? 0 : -EIO);
		if (i < 2 * COPIER_TRIES - 2)
			assert_int_equal(status_of(w).pause, PAUSE_NONE);
		pass_time(w, COPIER_RETRY_NS);
		if (status_of(w).pause)
			break;
	}
	assert_int_equal(status_of(w).pause, PAUSE_WRITE_ERRORS);
	world_end(w);
}

/* Answers what is outstanding on one side, and nothing that comes of it. */
static void
answer_all(struct world *w, enum side side, int err)
{
	for (unsigned n = outstanding(w, side); n; n--)
		fake_complete(list_entry(w->disk[side].outstanding.next, struct disk_io, link),
			      err);
}

static struct world *
begin_copying_eight_at_once(void)
{
	return world_begin(&(struct world_config){
		.strategy = STRATEGY_AIO, .chunks = "SSSSSSSS", .depth = 8, .running = true });
}

/* Whichever side it was that hung. */
static void
test_a_stall_of_many_copies_is_no_failure(void **state)
{
	for (enum side hung = SRC; hung <= DST; hung++) {
		struct world *w = begin_copying_eight_at_once();

		if (hung == DST)
			answer_all(w, SRC, 0);
		assert_int_equal(outstanding(w, hung), 8);
		pass_time(w, STALL_NS);
		assert_int_equal(status_of(w).pause, PAUSE_STALLED);
		answer_all(w, hung, 0);
		assert_int_equal(status_of(w).pause, PAUSE_NONE);
		settle(w);
		assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
		world_end(w);
	}
}

static void
test_copies_that_fail_at_once_are_one_failure(void **state)
{
	struct world *w = begin_copying_eight_at_once();

	for (int i = 0; i < COPIER_TRIES; i++) {
		assert_int_equal(status_of(w).pause, PAUSE_NONE);
		assert_int_equal(outstanding(w, SRC), 8);
		answer_all(w, SRC, 0);
		assert_int_equal(outstanding(w, DST), 8);
		answer_all(w, DST, -EIO);
		assert_int_equal(outstanding_all(w), 0); /* not before a while */
		pass_time(w, COPIER_RETRY_NS);
	}
	assert_int_equal(status_of(w).pause, PAUSE_WRITE_ERRORS);
	assert_int_equal(status_of(w).error, -EIO);
	migration_resume(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

/* One that began before the last try does not put off the next, nor count for it. */
static void
test_a_copy_that_fails_late_belongs_to_the_try_that_it_began_in(void **state)
{
	struct world *w = begin_copying_eight_at_once();
	struct disk_io *late;

	answer_all(w, SRC, 0);
	late = the_io(w, DST, DISK_WRITE, C(7), CHUNK);
	for (unsigned n = 0; n < 7; n++)
		answer(w, DST, DISK_WRITE, C(n), CHUNK, -EIO);
	pass_time(w, COPIER_RETRY_NS);
	answer_all(w, SRC, 0);
	assert_int_equal(w->m.copier.failures, 1);
	fake_complete(late, -EIO);
	assert_int_equal(w->m.copier.failures, 1);
	for (unsigned n = 0; n < 7; n++)
		answer(w, DST, DISK_WRITE, C(n), CHUNK, -EIO);
	assert_int_equal(w->m.copier.failures, 2);
	pass_time(w, COPIER_RETRY_NS);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

/* Answers reads of the source that touch [bad, + count) badly, everything else well. */
static void
settle_but_run(struct world *w, uint64_t bad, uint32_t count)
{
	while (outstanding_all(w))
		for (enum side s = SRC; s < SIDES; s++) {
			struct disk_io *io;

			if (!outstanding(w, s))
				continue;
			io = list_entry(w->disk[s].outstanding.next, struct disk_io, link);
			fake_complete(io, s == SRC && io->op == DISK_READ &&
							  io->sector < bad + count &&
							  bad < io->sector + io->count
						  ? -EIO
						  : 0);
		}
}

static void
settle_but(struct world *w, uint64_t bad)
{
	settle_but_run(w, bad, 1);
}

static void
test_a_failed_copy_read_is_narrowed_to_the_sectors_that_fail(void **state)
{
	const uint32_t aligns[] = { 1, 8 };

	for (size_t i = 0; i < LENGTH(aligns); i++) {
		struct world *w = world_begin(&(struct world_config){ .strategy = STRATEGY_LR,
								      .chunks = "SSS",
								      .align = aligns[i],
								      .running = true });
		uint64_t bad = C(1) + 77, first = bad / aligns[i] * aligns[i];
		struct request *r;

		settle_but(w, bad);
		assert_int_equal(w->m.state, MIGRATION_COPYING);
		assert_int_equal(status_of(w).pause, PAUSE_BAD_SECTORS);
		assert_int_equal(status_of(w).bad_sectors, aligns[i]);
		assert_int_equal(status_of(w).error, -EIO);
		assert_int_equal(status_of(w).error_side, SRC);
		assert_int_equal(validity_lacking(w->m.engine.map, DST), aligns[i]);
		check_valid(w, first, aligns[i], SRC_BIT);
		assert_int_equal(migration_complete(&w->m), -EBUSY);
		/* The guest writes there: nothing is lacking any more. */
		r = guest_write(w, first, aligns[i], 7);
		settle(w);
		assert_int_equal(r->err, 0);
		assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
		world_end(w);
	}
}

static void
test_bad_sectors_are_tried_again_when_told(void **state)
{
	struct world *w = begin_copying(STRATEGY_LR, "SS");

	settle_but(w, 5);
	assert_int_equal(status_of(w).pause, PAUSE_BAD_SECTORS);
	migration_resume(&w->m);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	assert_int_equal(status_of(w).bad_sectors, 0);
	world_end(w);
}

/*
 * Their chunk never becomes copied, so what the guest writes there goes to the source
 * alone, again and again.
 */
static void
test_bad_sectors_are_not_read_again_when_their_chunk_is_copied_again(void **state)
{
	const uint64_t bad = C(1) + 77;
	struct world *w = begin_copying(STRATEGY_SLR, "SSS");
	unsigned reads;

	settle_but(w, bad);
	reads = w->disk[SRC].submitted[DISK_READ];
	for (int i = 0; i <= COPIER_BAD_RUNS; i++) {
		assert_int_equal(status_of(w).pause, PAUSE_BAD_SECTORS);
		guest_write(w, bad - 4, 4, 7);
		guest_write(w, bad + 1, 4, 7);
		settle_but(w, bad);
		check_disk(w, DST, bad - 4, 4, 7);
		check_disk(w, DST, bad + 1, 4, 7);
	}
	/* A read for each, and none of what lies between them. */
	assert_int_equal(w->disk[SRC].submitted[DISK_READ], reads + 2 * (COPIER_BAD_RUNS + 1));
	assert_int_equal(status_of(w).bad_sectors, 1);
	check_valid(w, bad, 1, SRC_BIT);
	world_end(w);
}

static void
test_bad_sectors_that_the_guest_has_written_are_copied(void **state)
{
	const uint64_t bad = C(1) + 70;
	struct world *w = begin_copying(STRATEGY_SLR, "SSS");

	settle_but_run(w, bad, 9);
	assert_int_equal(status_of(w).bad_sectors, 9);
	/* One in their midst, and what is left on either side is still bad. */
	check_written_to(w, SRC, bad + 4, 1, 7);
	assert_int_equal(status_of(w).bad_sectors, 8);
	the_io(w, SRC, DISK_READ, bad + 4, 1);
	settle(w);
	check_valid(w, bad + 4, 1, BOTH);
	assert_int_equal(status_of(w).pause, PAUSE_BAD_SECTORS);
	check_written_to(w, SRC, C(1), CHUNK, 8);
	assert_int_equal(status_of(w).bad_sectors, 0);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	check_disk(w, DST, C(1), CHUNK, 8);
	world_end(w);
}

/* A guest's write that fails does not make good what it meant to write. */
static void
test_bad_sectors_that_the_guest_could_not_write_stay_bad(void **state)
{
	struct world *w = begin_copying(STRATEGY_SLR, "SS");

	settle_but(w, 5);
	guest_write(w, 5, 1, 7);
	answer(w, SRC, DISK_WRITE, 5, 1, -EIO);
	assert_int_equal(status_of(w).bad_sectors, 1);
	assert_int_equal(outstanding_all(w), 0);
	world_end(w);
}

/* Two copies find theirs in turn. */
static void
test_bad_sectors_that_adjoin_are_one_run(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_SLR, .chunks = "SSSS", .depth = 2, .running = true });

	settle_but_run(w, C(1) - 10, 20);
	assert_int_equal(status_of(w).pause, PAUSE_BAD_SECTORS);
	assert_int_equal(status_of(w).bad_sectors, 20);
	assert_in_range(w->m.copier.bad_runs, 1, 2);
	world_end(w);
}

static void
test_a_read_without_memory_is_tried_again_and_its_sectors_are_not_bad(void **state)
{
	struct world *w = begin_copying(STRATEGY_SLR, "S");

	answer(w, SRC, DISK_READ, 0, CHUNK, -ENOMEM);
	assert_int_equal(outstanding_all(w), 0); /* not before a while */
	assert_int_equal(status_of(w).bad_sectors, 0);
	pass_time(w, COPIER_RETRY_NS);
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

/* --- completing ---------------------------------------------------------- */

/* The destination is flushed once while the guest writes on, then its writes are held. */
static void
begin_completion(struct world *w)
{
	assert_int_equal(migration_complete(&w->m), 0);
	assert_int_not_equal(w->m.state, MIGRATION_COMPLETING);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_COMPLETING);
}

static void
test_completing_holds_writes_flushes_the_destination_and_leaves_the_source_alone(void **state)
{
	for (int s = 0; s < STRATEGIES; s++) {
		struct world *w = begin_copying((enum strategy)s, "SB");
		struct request *held;

		copy_chunk(w, 0);
		assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
		begin_completion(w);
		held = guest_write(w, 8, 8, 7);
		assert_int_equal(outstanding(w, SRC), 0);
		check_served_by(w, strategy_row((enum strategy)s)->read_prefers, 0, 8, ON_SRC);
		w->now_ns += SECOND / 100;
		answer(w, DST, DISK_FLUSH, 0, 0, 0);
		assert_int_equal(w->m.state, MIGRATION_COMPLETED);
		assert_int_equal(w->ended, 1);
		assert_int_equal(status_of(w).held_ns, SECOND / 100);
		answer(w, DST, DISK_WRITE, 8, 8, 0);
		assert_true(held->done);
		check_served_by(w, DST, 8, 8, 7);
		assert_int_equal(outstanding(w, SRC), 0);
		check_disk(w, SRC, 8, 8, ON_SRC);
		world_end(w);
	}
}

static void
test_completing_waits_for_writes_in_flight(void **state)
{
	struct world *w = begin_copying(STRATEGY_AIO, "B");

	guest_write(w, 8, 8, 7);
	begin_completion(w);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	assert_int_equal(outstanding_all(w), 1);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	check_disk(w, DST, 8, 8, 7);
	world_end(w);
}

/* The mirrored write fails on the destination while completion waits for it. */
static void
test_completing_copies_what_is_lacking_after_the_drain(void **state)
{
	struct world *w = begin_copying(STRATEGY_MIRROR, "B");

	guest_write(w, 8, 8, 7);
	begin_completion(w);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, DST, DISK_WRITE, 8, 8, -EIO);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	check_disk(w, DST, 8, 8, 7);
	world_end(w);
}

static void
test_completion_by_itself_when_told_so(void **state)
{
	struct world *w = world_begin(&(struct world_config){ .strategy = STRATEGY_LR,
							      .chunks = "S",
							      .running = true,
							      .auto_complete = true });

	copy_chunk(w, 0);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	world_end(w);
}

static void
test_a_completion_whose_flush_fails_is_given_up(void **state)
{
	for (int ahead = 0; ahead < 2; ahead++) {
		struct world *w = begin_copying(STRATEGY_AIO, "B");
		struct request *r;

		if (ahead)
			migration_complete(&w->m);
		else
			begin_completion(w);
		answer(w, DST, DISK_FLUSH, 0, 0, -EIO);
		assert_int_equal(w->ended, 0);
		assert_int_equal(w->m.state, MIGRATION_COPYING);
		assert_int_equal(status_of(w).error, -EIO);
		check_valid(w, 0, CHUNK, SRC_BIT);
		r = guest_write(w, 8, 8, 7);
		answer(w, SRC, DISK_WRITE, 8, 8, 0);
		assert_true(r->done);
		world_end(w);
	}
}

static void
test_cancel_while_the_completion_flushes_wins(void **state)
{
	for (int ahead = 0; ahead < 2; ahead++)
		for (int err = -EIO; err <= 0; err += EIO) {
			struct world *w = begin_copying(STRATEGY_AIO, "B");

			if (ahead)
				migration_complete(&w->m);
			else
				begin_completion(w);
			the_io(w, DST, DISK_FLUSH, 0, 0);
			migration_cancel(&w->m);
			answer(w, DST, DISK_FLUSH, 0, 0, err);
			assert_int_equal(w->m.state, MIGRATION_ROLLING_BACK);
			settle(w);
			assert_int_equal(w->m.state, MIGRATION_CANCELLED);
			assert_int_equal(w->ended, 1);
			check_written_to(w, SRC, 8, 8, 7);
			world_end(w);
		}
}

/* Both flushes of that side are under way; the guest's, the newer, fails first. */
static void
check_no_end_on_a_failed_side(struct world *w, enum side side)
{
	struct request *flush = guest_flush(w);

	assert_int_equal(outstanding(w, side), 2);
	fake_complete(list_entry(w->disk[side].outstanding.prev, struct disk_io, link), -EIO);
	answer(w, side, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->ended, 0);
	assert_true(validity_lacking(w->m.engine.map, side) > 0);
	settle(w);
	assert_true(flush->done);
	assert_int_equal(w->ended, 1);
}

static void
test_nothing_is_completed_on_what_another_flush_has_failed_for(void **state)
{
	struct world *w = begin_copying(STRATEGY_LR, "B");

	flush_all(w);
	guest_write(w, 8, 8, 7);
	begin_completion(w);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	check_no_end_on_a_failed_side(w, DST);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	world_end(w);
}

static void
test_nothing_is_cancelled_on_what_another_flush_has_failed_for(void **state)
{
	struct world *w = begin(STRATEGY_LR, "D");

	migration_cancel(&w->m);
	answer(w, DST, DISK_READ, 0, CHUNK, 0);
	answer(w, SRC, DISK_WRITE, 0, CHUNK, 0);
	check_written_to(w, SRC, 8, 8, 7);
	check_no_end_on_a_failed_side(w, SRC);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	world_end(w);
}

/* What the destination alone holds is lost, and the guest has not been told yet. */
static void
test_a_failed_flush_of_ours_is_told_by_the_guests_next_flush(void **state)
{
	struct world *w = begin_copying(STRATEGY_LR, "D");
	struct request *r;

	check_written_to(w, DST, 8, 8, 7);
	migration_complete(&w->m);
	answer(w, DST, DISK_FLUSH, 0, 0, -EIO);
	r = guest_flush(w);
	settle(w);
	assert_int_equal(r->err, -EIO);
	r = guest_flush(w);
	settle(w);
	assert_int_equal(r->err, 0);
	world_end(w);
}

/* As a disk without us: there is nothing that it could wait for. */
static void
test_after_completion_a_write_that_finds_no_space_fails(void **state)
{
	struct world *w = begin_copying(STRATEGY_LR, "B");
	struct request *r;

	begin_completion(w);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	r = guest_write(w, 8, 8, 7);
	answer(w, DST, DISK_WRITE, 8, 8, -ENOSPC);
	assert_true(r->done);
	assert_int_equal(r->err, -ENOSPC);
	world_end(w);
}

static void
test_dbt_is_forced_to_converge_and_says_for_how_long_it_held_writes(void **state)
{
	struct world *w = begin_copying(STRATEGY_DBT, "SB");
	struct request *held;

	begin_completion(w);
	held = guest_write(w, C(1), 8, 7);
	assert_int_equal(w->m.state, MIGRATION_COMPLETING);
	assert_int_equal(outstanding_all(w), 1);
	answer(w, SRC, DISK_READ, 0, CHUNK, 0);
	w->now_ns += SECOND / 10;
	answer(w, DST, DISK_WRITE, 0, CHUNK, 0);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	assert_int_equal(status_of(w).held_ns, SECOND / 10);
	settle(w);
	assert_true(held->done);
	check_disk(w, DST, C(1), 8, 7);
	world_end(w);
}

/* --- the operator -------------------------------------------------------- */

static void
test_a_paused_copier_starts_nothing_and_the_guest_goes_on(void **state)
{
	struct world *w = begin_copying(STRATEGY_SLR, "SS");

	assert_int_equal(migration_pause(&w->m), 0);
	assert_int_equal(migration_pause(&w->m), -EALREADY);
	copy_chunk(w, 0);
	assert_int_equal(outstanding_all(w), 0);
	check_written_to(w, DST, 8, 8, 7);
	check_written_to(w, SRC, C(1), 8, 7);
	assert_int_equal(migration_resume(&w->m), 0);
	copy_chunk(w, 1);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	world_end(w);
}

static void
test_the_rate_is_kept_however_often_the_copier_is_woken(void **state)
{
	const uint64_t rate = 10 * CHUNK * SECTOR_BYTES; /* ten chunks a second */
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_SLR, .sectors = C(100), .rate = rate, .running = true });

	for (int i = 0; i < 3000; i++) {
		settle(w);
		w->now_ns += SECOND / 1000;
		migration_pause(&w->m);
		migration_resume(&w->m);
		migration_wake(&w->m);
	}
	/* Three seconds' worth, and what the bucket held and one copy more at most. */
	assert_in_range(status_of(w).copier.copied, 29 * CHUNK * SECTOR_BYTES,
			32 * CHUNK * SECTOR_BYTES);
	world_end(w);
}

static void
test_the_copier_asks_to_be_woken_when_it_may_go_on(void **state)
{
	struct world *w = world_begin(&(struct world_config){ .strategy = STRATEGY_SLR,
							      .sectors = C(4),
							      .rate = CHUNK * SECTOR_BYTES,
							      .running = true });

	copy_chunk(w, 0);
	assert_int_equal(outstanding_all(w), 0);
	assert_true(w->wake_ns > w->now_ns && w->wake_ns <= w->now_ns + SECOND);
	w->now_ns = w->wake_ns;
	migration_wake(&w->m);
	copy_chunk(w, 1);
	/* And again, for the third. */
	assert_int_equal(outstanding_all(w), 0);
	assert_true(w->wake_ns > w->now_ns);
	world_end(w);
}

/* It comes many times a second. */
static void
test_a_wake_does_nothing_of_what_is_to_be_done_once_a_second(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "B");
	struct request *r = guest_write(w, 8, 8, 7);

	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	pass_time(w, 9 * SECOND);
	w->now_ns += SECOND;
	migration_wake(&w->m);
	assert_false(r->done);
	assert_false(w->m.engine.side[DST].stalled);
	migration_tick(&w->m);
	assert_true(r->done);
	assert_true(w->m.engine.side[DST].stalled);
	world_end(w);
}

static void
test_commands_that_the_state_forbids_are_refused(void **state)
{
	struct world *w = begin_copying(STRATEGY_LR, "B");

	begin_completion(w);
	assert_int_equal(migration_complete(&w->m), -EALREADY);
	assert_int_equal(migration_set_strategy(&w->m, STRATEGY_AIO), -EBUSY);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	assert_int_equal(migration_complete(&w->m), -EBUSY);
	assert_int_equal(migration_cancel(&w->m), -EBUSY);
	assert_int_equal(migration_pause(&w->m), -EBUSY);
	assert_int_equal(migration_resume(&w->m), -EBUSY);
	world_end(w);
}

static void
test_every_byte_written_is_counted_by_side_and_by_whose_it_is(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "BS");

	guest_write(w, 8, 8, 7);
	guest_write(w, C(1), 3, 7);
	guest_read(w, 64, 5);
	settle(w);
	migration_resume(&w->m);
	settle(w);
	assert_int_equal(status_of(w).guest_written[SRC], 11 * SECTOR_BYTES);
	assert_int_equal(status_of(w).guest_written[DST], 8 * SECTOR_BYTES);
	assert_int_equal(status_of(w).guest_read[SRC], 5 * SECTOR_BYTES);
	assert_int_equal(status_of(w).copier.written[DST], CHUNK * SECTOR_BYTES);
	assert_int_equal(status_of(w).copier.written[SRC], 0);
	assert_int_equal(status_of(w).total, 2 * CHUNK * SECTOR_BYTES);
	assert_int_equal(status_of(w).valid, 2 * CHUNK * SECTOR_BYTES);
	world_end(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_writes_to_be_copied_go_to_the_destination_and_are_recorded),
		cmocka_unit_test(test_a_writes_to_copied_go_to_the_destination),
		cmocka_unit_test(test_a_reads_of_copied_come_from_the_destination),
		cmocka_unit_test(
			test_a_reads_of_to_be_copied_come_from_the_destination_if_recorded_else_the_source),
		cmocka_unit_test(test_a_the_copier_skips_recorded_blocks),
		cmocka_unit_test(
			test_a_reads_and_writes_of_a_chunk_being_copied_wait_for_its_copy),
		cmocka_unit_test(test_a_other_chunks_do_not_wait_for_a_copy),
		cmocka_unit_test(test_b_reads_and_writes_of_to_be_copied_go_to_the_source),
		cmocka_unit_test(
			test_b_writes_to_copied_go_to_the_destination_and_are_recorded),
		cmocka_unit_test(
			test_b_reads_of_copied_come_from_the_destination_if_updated_else_the_source),
		cmocka_unit_test(
			test_b_a_chunk_being_copied_is_read_from_the_source_and_written_after_its_copy),
		cmocka_unit_test(test_c_reads_and_writes_of_to_be_copied_go_to_the_source),
		cmocka_unit_test(test_c_reads_of_copied_come_from_the_source),
		cmocka_unit_test(
			test_c_writes_to_copied_go_to_both_and_are_complete_when_either_has_them),
		cmocka_unit_test(test_c_a_failure_is_no_completion),
		cmocka_unit_test(test_c_writes_are_delayed_while_more_than_threshold_pend),
		cmocka_unit_test(test_c_a_new_threshold_takes_effect_at_once),
		cmocka_unit_test(test_c_only_writes_to_copied_are_delayed),
		cmocka_unit_test(
			test_c_a_read_that_overlaps_a_pending_write_waits_for_its_source_side),
		cmocka_unit_test(
			test_c_a_read_is_served_by_the_source_once_it_has_the_pending_write),
		cmocka_unit_test(
			test_what_nobody_was_told_of_is_not_read_where_only_the_destination_is_valid),
		cmocka_unit_test(test_mirror_answers_when_both_have_answered),
		cmocka_unit_test(test_mirror_is_not_throttled),
		cmocka_unit_test(test_dbt_a_write_to_copied_makes_it_to_be_copied_again),
		cmocka_unit_test(
			test_dbt_a_write_passes_a_copy_and_what_it_writes_is_copied_again),
		cmocka_unit_test(
			test_dbt_what_a_write_passes_into_is_not_valid_though_it_fails),
		cmocka_unit_test(
			test_dbt_a_write_of_what_the_destination_alone_holds_waits_for_the_copy),
		cmocka_unit_test(test_dbt_a_write_waits_only_until_a_copy_begins),
		cmocka_unit_test(
			test_dbt_what_is_written_while_it_cannot_be_read_is_not_called_bad),
		cmocka_unit_test(
			test_dbt_what_has_passed_a_copy_is_copied_again_after_a_switch),
		cmocka_unit_test(test_dbt_a_gap_that_is_quicker_written_is_copied_again),
		cmocka_unit_test(test_dbt_a_gap_that_fails_to_be_written_is_lacking),
		cmocka_unit_test(test_dbt_a_gap_that_the_guest_is_writing_into_is_left_out),
		cmocka_unit_test(test_only_dbt_copies_a_gap_again),
		cmocka_unit_test(test_a_request_is_split_at_chunks_and_each_part_goes_its_way),
		cmocka_unit_test(test_a_late_parts_success_never_hides_an_early_parts_error),
		cmocka_unit_test(
			test_a_held_part_is_routed_by_the_region_it_finds_not_the_one_it_met),
		cmocka_unit_test(test_validity_changes_when_a_write_completes),
		cmocka_unit_test(
			test_a_copy_waits_for_writes_in_flight_and_only_then_reads_the_map),
		cmocka_unit_test(test_writes_held_by_a_copy_go_on_in_their_order),
		cmocka_unit_test(test_several_chunks_are_copied_at_once),
		cmocka_unit_test(test_the_copy_is_exact_to_the_sector_at_the_disks_end),
		cmocka_unit_test(
			test_a_write_is_not_lost_in_any_order_with_the_copy_of_its_chunk),
		cmocka_unit_test(
			test_a_write_that_overlaps_a_mirrored_write_is_held_until_both_sides_have_that),
		cmocka_unit_test(test_writes_that_overlap_on_one_side_keep_their_order),
		cmocka_unit_test(test_the_guests_buffer_is_not_used_after_the_acknowledgement),
		cmocka_unit_test(test_copies_of_mirrored_writes_are_bounded_in_bytes),
		cmocka_unit_test(test_one_mirrored_write_is_admitted_whatever_its_size),
		cmocka_unit_test(test_of_a_long_request_a_few_parts_are_made_at_a_time),
		cmocka_unit_test(test_of_a_long_request_few_parts_are_left_to_the_slower_side),
		cmocka_unit_test(test_nobody_waits_for_what_is_not_made_yet_of_a_long_request),
		cmocka_unit_test(
			test_a_long_request_begun_before_a_switch_goes_on_by_the_new_row),
		cmocka_unit_test(
			test_a_long_request_is_held_and_goes_on_where_it_is_completed_under_it),
		cmocka_unit_test(test_a_long_request_that_has_failed_makes_no_more_parts),
		cmocka_unit_test(
			test_a_failed_write_leaves_its_side_untrusted_if_the_other_is_valid),
		cmocka_unit_test(test_a_failed_write_to_the_only_valid_side_leaves_that_side),
		cmocka_unit_test(
			test_a_mirrored_write_that_fails_on_both_sides_leaves_exactly_one_valid),
		cmocka_unit_test(
			test_a_mirrored_write_that_fails_on_one_side_succeeds_and_is_valid_on_the_other),
		cmocka_unit_test(test_what_a_failed_write_left_untrusted_is_copied_again),
		cmocka_unit_test(test_a_read_that_fails_is_served_by_the_other_valid_side),
		cmocka_unit_test(test_a_read_fails_when_no_valid_side_is_left),
		cmocka_unit_test(
			test_a_read_that_fails_over_waits_for_writes_in_flight_on_its_sectors),
		cmocka_unit_test(test_a_read_under_which_a_write_has_failed_is_read_again),
		cmocka_unit_test(
			test_a_read_goes_to_the_destination_if_a_pending_write_failed_on_the_source),
		cmocka_unit_test(
			test_a_switch_drains_every_write_and_routes_held_ones_by_the_new_row),
		cmocka_unit_test(test_a_write_held_by_the_throttle_is_routed_by_the_new_row),
		cmocka_unit_test(
			test_after_any_switch_what_either_side_alone_holds_is_still_read),
		cmocka_unit_test(test_cancel_copies_back_what_only_the_destination_holds),
		cmocka_unit_test(test_cancel_drains_first_then_writes_reach_the_source_alone),
		cmocka_unit_test(test_cancel_after_a_switch_from_lr_to_aio_loses_nothing),
		cmocka_unit_test(test_cancel_lets_the_copy_under_way_finish_and_copies_no_more),
		cmocka_unit_test(test_after_cancel_nothing_goes_to_the_destination),
		cmocka_unit_test(
			test_cancel_that_cannot_flush_the_source_keeps_the_destination),
		cmocka_unit_test(test_a_write_that_finds_no_space_is_held_until_resumed),
		cmocka_unit_test(
			test_a_write_that_finds_no_space_goes_to_the_source_after_cancel),
		cmocka_unit_test(test_a_mirrored_write_needs_no_space_on_the_destination),
		cmocka_unit_test(
			test_a_copy_that_finds_no_space_pauses_the_copier_and_not_the_guest),
		cmocka_unit_test(test_a_mirrored_write_counts_as_failed_on_a_side_that_stalls),
		cmocka_unit_test(test_no_side_stalls_while_the_process_does_not_run),
		cmocka_unit_test(
			test_aio_and_mirror_write_the_source_alone_while_the_destination_is_stalled),
		cmocka_unit_test(test_throttled_writes_go_on_when_the_destination_stalls),
		cmocka_unit_test(test_a_write_waits_for_the_copies_that_a_lost_side_owes),
		cmocka_unit_test(
			test_lr_and_slr_hold_writes_for_a_stalled_destination_until_it_answers),
		cmocka_unit_test(test_a_read_avoids_a_stalled_side_where_the_other_is_valid),
		cmocka_unit_test(
			test_sectors_of_a_lost_write_get_no_new_write_there_until_it_has_its_answer),
		cmocka_unit_test(test_a_copy_under_way_is_lost_when_the_destination_stalls),
		cmocka_unit_test(test_cancel_ends_while_the_destination_is_stalled),
		cmocka_unit_test(test_of_two_silent_sides_the_one_that_is_back_has_the_writes),
		cmocka_unit_test(
			test_a_side_that_is_back_has_the_writes_that_it_was_given_up_for),
		cmocka_unit_test(
			test_a_write_behind_what_a_side_owes_does_without_it_when_it_is_silent_again),
		cmocka_unit_test(
			test_a_write_behind_what_a_side_owes_does_without_it_after_a_switch),
		cmocka_unit_test(
			test_a_flush_reaches_every_side_that_alone_holds_an_acknowledged_write),
		cmocka_unit_test(test_a_flush_goes_only_where_something_is_not_yet_stable),
		cmocka_unit_test(
			test_the_first_flush_reaches_what_the_source_held_before_the_migration),
		cmocka_unit_test(test_a_flush_waits_for_pending_writes),
		cmocka_unit_test(test_a_flush_of_a_pending_write_follows_its_outcome),
		cmocka_unit_test(test_a_flush_does_not_wait_for_writes_acknowledged_after_it),
		cmocka_unit_test(test_a_write_after_a_flush_began_needs_the_next_flush),
		cmocka_unit_test(
			test_after_a_failed_flush_what_both_hold_is_trusted_on_the_other_side_alone),
		cmocka_unit_test(test_a_flush_that_fails_on_one_side_is_made_good_by_the_other),
		cmocka_unit_test(
			test_a_retried_flush_means_nothing_for_what_the_failed_one_covered),
		cmocka_unit_test(test_a_failed_flush_undoes_a_pending_writes_success_there),
		cmocka_unit_test(
			test_a_pending_write_that_a_failed_flush_left_nowhere_stable_is_told_by_the_next),
		cmocka_unit_test(
			test_a_flush_after_a_failed_write_reaches_the_side_that_is_left),
		cmocka_unit_test(
			test_a_flush_waits_for_a_mirrored_write_that_has_failed_on_one_side),
		cmocka_unit_test(
			test_of_flushes_in_flight_none_says_all_is_well_after_one_has_failed),
		cmocka_unit_test(
			test_zeroes_are_written_as_zeroes_and_stay_allocated_if_so_asked),
		cmocka_unit_test(test_a_copy_of_zeroes_is_written_as_zeroes_that_may_be_holes),
		cmocka_unit_test(test_holes_of_the_source_are_not_read),
		cmocka_unit_test(
			test_holes_are_not_even_written_to_a_destination_that_was_made_for_it),
		cmocka_unit_test(test_a_made_destination_is_not_called_zero_in_a_second_pass),
		cmocka_unit_test(test_a_made_destination_is_not_called_zero_after_an_error),
		cmocka_unit_test(test_a_made_destination_is_not_called_zero_after_a_switch),
		cmocka_unit_test(test_data_is_copied_a_chunk_at_a_time_where_a_hole_was_seen),
		cmocka_unit_test(test_the_guest_may_write_where_a_hole_was_seen),
		cmocka_unit_test(test_dbt_a_write_passes_the_copy_of_a_hole),
		cmocka_unit_test(
			test_a_destination_that_fails_again_and_again_stops_the_copier_and_not_the_guest),
		cmocka_unit_test(test_only_failures_in_a_row_stop_the_copier),
		cmocka_unit_test(test_a_stall_of_many_copies_is_no_failure),
		cmocka_unit_test(test_copies_that_fail_at_once_are_one_failure),
		cmocka_unit_test(
			test_a_copy_that_fails_late_belongs_to_the_try_that_it_began_in),
		cmocka_unit_test(test_a_failed_copy_read_is_narrowed_to_the_sectors_that_fail),
		cmocka_unit_test(test_bad_sectors_are_tried_again_when_told),
		cmocka_unit_test(
			test_bad_sectors_are_not_read_again_when_their_chunk_is_copied_again),
		cmocka_unit_test(test_bad_sectors_that_the_guest_has_written_are_copied),
		cmocka_unit_test(test_bad_sectors_that_the_guest_could_not_write_stay_bad),
		cmocka_unit_test(test_bad_sectors_that_adjoin_are_one_run),
		cmocka_unit_test(
			test_a_read_without_memory_is_tried_again_and_its_sectors_are_not_bad),
		cmocka_unit_test(
			test_completing_holds_writes_flushes_the_destination_and_leaves_the_source_alone),
		cmocka_unit_test(test_completing_waits_for_writes_in_flight),
		cmocka_unit_test(test_completing_copies_what_is_lacking_after_the_drain),
		cmocka_unit_test(test_completion_by_itself_when_told_so),
		cmocka_unit_test(test_a_completion_whose_flush_fails_is_given_up),
		cmocka_unit_test(test_cancel_while_the_completion_flushes_wins),
		cmocka_unit_test(
			test_nothing_is_completed_on_what_another_flush_has_failed_for),
		cmocka_unit_test(
			test_nothing_is_cancelled_on_what_another_flush_has_failed_for),
		cmocka_unit_test(test_a_failed_flush_of_ours_is_told_by_the_guests_next_flush),
		cmocka_unit_test(test_after_completion_a_write_that_finds_no_space_fails),
		cmocka_unit_test(
			test_dbt_is_forced_to_converge_and_says_for_how_long_it_held_writes),
		cmocka_unit_test(test_a_paused_copier_starts_nothing_and_the_guest_goes_on),
		cmocka_unit_test(test_the_rate_is_kept_however_often_the_copier_is_woken),
		cmocka_unit_test(test_the_copier_asks_to_be_woken_when_it_may_go_on),
		cmocka_unit_test(test_a_wake_does_nothing_of_what_is_to_be_done_once_a_second),
		cmocka_unit_test(test_commands_that_the_state_forbids_are_refused),
		cmocka_unit_test(test_every_byte_written_is_counted_by_side_and_by_whose_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
