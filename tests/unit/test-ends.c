/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a cancel comes to where something stands in its way: a state that says so, and a way on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

#define C(chunk) ((uint64_t)(chunk)*CHUNK)

static struct world *
begin(enum strategy strategy, const char *chunks)
{
	return world_begin(&(struct world_config){ .strategy = strategy, .chunks = chunks });
}

static void
check_rests(struct world *w, enum migration_pause pause, int err, enum side side)
{
	struct migration_status s = status_of(w);

	assert_int_equal(s.state, MIGRATION_ROLLING_BACK);
	assert_int_equal(s.pause, pause);
	assert_int_equal(s.error, err);
	assert_int_equal(s.error_side, side);
	assert_int_equal(w->ended, 0);
}

static void
check_cancelled(struct world *w)
{
	assert_int_equal(w->ended, 1);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	assert_int_equal(status_of(w).pause, PAUSE_NONE);
	assert_int_equal(migration_cancel(&w->m), -EBUSY);
	world_end(w);
}

static void
test_a_full_source_holds_a_rollback_until_there_is_room(void **state)
{
	struct world *w = begin(STRATEGY_LR, "SDS");
	struct request *q;

	assert_int_equal(migration_cancel(&w->m), 0);
	answer(w, DST, DISK_READ, C(1), CHUNK, 0);
	answer(w, SRC, DISK_WRITE, C(1), CHUNK, -ENOSPC);
	check_rests(w, PAUSE_NO_SPACE, -ENOSPC, SRC);
	assert_int_equal(status_of(w).only[DST], CHUNK * SECTOR_BYTES);
	/* The guest goes on where there is room. */
	q = guest_read(w, C(1), 8);
	settle(w);
	check_read(q);
	q = guest_write(w, 0, 8, 7);
	settle(w);
	assert_true(q->done);
	pass_time(w, 60 * SECOND);
	assert_int_equal(outstanding_all(w), 0);
	assert_int_equal(migration_resume(&w->m), 0);
	settle(w);
	check_cancelled(w);
}

static void
test_a_second_cancel_is_told_that_there_was_one(void **state)
{
	struct world *w = begin(STRATEGY_LR, "SD");

	assert_int_equal(migration_cancel(&w->m), 0);
	assert_int_equal(migration_cancel(&w->m), -EALREADY);
	assert_int_equal(status_of(w).state, MIGRATION_ROLLING_BACK);
	settle(w);
	check_cancelled(w);
}

static void
test_a_cancel_ends_though_the_destination_is_silent(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "BS");
	struct request *q;

	q = guest_write(w, 0, 8, 7);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	pass_time(w, 11 * SECOND);
	assert_true(w->m.engine.side[DST].stalled);
	assert_true(q->done);
	assert_int_equal(migration_cancel(&w->m), 0);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->ended, 1);
	settle(w);
	check_cancelled(w);
}

/* It is cancelled first, and falls silent then. */
static void
test_a_cancel_ends_when_the_destination_counts_as_silent(void **state)
{
	struct world *w = begin(STRATEGY_AIO, "BS");
	struct disk_io *io;

	guest_write(w, 0, 8, 7);
	io = the_io(w, DST, DISK_WRITE, 0, 8);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	assert_int_equal(migration_cancel(&w->m), 0);
	pass_time(w, 9 * SECOND);
	assert_int_equal(w->ended, 0);
	pass_time(w, 2 * SECOND);
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->ended, 1);
	fake_complete(io, 0);
	check_cancelled(w);
}

static void
test_a_source_that_fails_holds_a_rollback_until_the_operator_says_so(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "BS");

	assert_int_equal(migration_cancel(&w->m), 0);
	answer(w, SRC, DISK_FLUSH, 0, 0, -EIO);
	/* What both held is the destination's alone now. */
	assert_int_equal(status_of(w).only[DST], CHUNK * SECTOR_BYTES);
	check_rests(w, PAUSE_WRITE_ERRORS, -EIO, SRC);
	assert_int_equal(migration_resume(&w->m), 0);
	settle(w);
	check_cancelled(w);
}

static void
test_a_silent_destination_that_alone_holds_something_holds_a_rollback(void **state)
{
	struct world *w = begin(STRATEGY_LR, "SD");

	assert_int_equal(migration_cancel(&w->m), 0);
	the_io(w, DST, DISK_READ, C(1), CHUNK);
	pass_time(w, 11 * SECOND);
	check_rests(w, PAUSE_STALLED, -ETIMEDOUT, DST);
	/* It goes on by itself when that answers. */
	settle(w);
	pass_time(w, SECOND);
	settle(w);
	check_cancelled(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_full_source_holds_a_rollback_until_there_is_room),
		cmocka_unit_test(test_a_second_cancel_is_told_that_there_was_one),
		cmocka_unit_test(test_a_cancel_ends_though_the_destination_is_silent),
		cmocka_unit_test(test_a_cancel_ends_when_the_destination_counts_as_silent),
		cmocka_unit_test(
			test_a_source_that_fails_holds_a_rollback_until_the_operator_says_so),
		cmocka_unit_test(
			test_a_silent_destination_that_alone_holds_something_holds_a_rollback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
