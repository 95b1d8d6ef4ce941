/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk whose flush takes a minute is slow, not silent: what counts as silence while a flush
 * is under way, and that a migration to such a disk completes, with one hold.
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

/* A flush of the destination that takes so long, while all else is answered at once. */
static void
flush_takes(struct world *w, unsigned seconds)
{
	the_io(w, DST, DISK_FLUSH, 0, 0);
	for (unsigned i = 0; i < seconds; i++) {
		pass_time(w, SECOND);
		while (outstanding(w, SRC))
			fake_complete(
				list_entry(w->disk[SRC].outstanding.next, struct disk_io, link),
				0);
	}
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
}

static void
complete(struct world *w)
{
	migration_resume(&w->m);
	assert_int_equal(migration_complete(&w->m), 0);
}

static void
test_a_migration_whose_flushes_take_a_minute_completes_with_one_hold(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "BB");
	struct request *q;

	complete(w);
	/* The long one is done while the guest writes. */
	for (unsigned i = 0; i < 60; i++) {
		q = guest_write(w, 0, 8, i + 10);
		answer(w, SRC, DISK_WRITE, 0, 8, 0);
		answer(w, DST, DISK_WRITE, 0, 8, 0);
		assert_true(q->done);
		pass_time(w, SECOND);
	}
	assert_false(w->m.engine.side[DST].stalled);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(w->m.state, MIGRATION_COMPLETING);
	flush_takes(w, 60);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	assert_int_equal(w->disk[DST].submitted[DISK_FLUSH], 2);
	assert_true(status_of(w).held_ns >= (int64_t)(60 * SECOND));
	world_end(w);
}

/* The first flush ahead was short, and the hold is no longer than that and ten seconds. */
static void
test_a_hold_is_given_up_that_takes_longer_than_any_flush_before(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "BB");
	struct request *q;

	complete(w);
	flush_takes(w, 3);
	assert_int_equal(w->m.state, MIGRATION_COMPLETING);
	q = guest_write(w, 0, 8, 7);
	pass_time(w, 12 * SECOND);
	assert_int_equal(w->m.state, MIGRATION_COMPLETING);
	pass_time(w, 2 * SECOND);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	assert_int_equal(status_of(w).pause, PAUSE_STALLED);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	assert_true(q->done);

	/* It is asked for again, and its answer counts: it is the long one, ahead of the hold.
	 */
	migration_resume(&w->m);
	assert_int_equal(migration_complete(&w->m), -EBUSY);
	answer(w, DST, DISK_FLUSH, 0, 0, 0);
	answer(w, SRC, DISK_READ, 0, 8, 0);
	answer(w, DST, DISK_WRITE, 0, 8, 0);
	assert_int_equal(migration_complete(&w->m), 0);
	flush_takes(w, 1);
	assert_int_equal(w->m.state, MIGRATION_COMPLETING);
	flush_takes(w, 20);
	assert_int_equal(w->m.state, MIGRATION_COMPLETED);
	world_end(w);
}

static void
test_a_flush_that_fails_after_its_hold_was_given_up_is_told(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "B");

	complete(w);
	flush_takes(w, 1);
	pass_time(w, 12 * SECOND);
	assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
	answer(w, DST, DISK_FLUSH, 0, 0, -EIO);
	assert_int_equal(status_of(w).pause, PAUSE_WRITE_ERRORS);
	check_valid(w, 0, CHUNK, SRC_BIT);
	world_end(w);
}

static void
nothing(void *ctx, int err)
{
}

static void
test_a_write_beside_a_flush_is_given_up_when_that_takes_longer_than_ever(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "BB");
	struct request *q;

	engine_flush_side(&w->m.engine, DST, nothing, NULL);
	q = guest_write(w, 0, 8, 6);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	pass_time(w, 9 * SECOND);
	assert_false(q->done);
	pass_time(w, 2 * SECOND);
	assert_true(q->done);
	assert_int_equal(q->err, 0);
	pass_time(w, 19 * SECOND);
	settle(w);
	assert_false(w->m.engine.side[DST].stalled);

	/* It has taken half a minute: so may the next one. */
	engine_flush_side(&w->m.engine, DST, nothing, NULL);
	q = guest_write(w, C(1), 8, 7);
	answer(w, SRC, DISK_WRITE, C(1), 8, 0);
	pass_time(w, 39 * SECOND);
	assert_false(q->done);
	assert_false(w->m.engine.side[DST].stalled);
	pass_time(w, 2 * SECOND);
	assert_true(q->done);
	settle(w);
	world_end(w);
}

static void
test_a_flush_does_not_excuse_who_was_silent_before(void **state)
{
	struct world *w = begin(STRATEGY_MIRROR, "BB");
	struct request *q;

	engine_flush_side(&w->m.engine, DST, nothing, NULL);
	pass_time(w, 60 * SECOND);
	settle(w);
	q = guest_write(w, 0, 8, 6);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	pass_time(w, 5 * SECOND);
	engine_flush_side(&w->m.engine, DST, nothing, NULL);
	pass_time(w, 6 * SECOND);
	assert_true(q->done);
	settle(w);
	world_end(w);
}

static void
test_closing_waits_no_longer_for_a_flush_than_one_has_taken(void **state)
{
	struct world *w = begin(STRATEGY_SLR, "B");

	engine_flush_side(&w->m.engine, DST, nothing, NULL);
	pass_time(w, 20 * SECOND);
	assert_false(w->m.engine.side[DST].stalled);
	migration_stop(&w->m);
	pass_time(w, SECOND);
	assert_true(migration_only_stalled(&w->m));
	settle(w);
	world_end(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_migration_whose_flushes_take_a_minute_completes_with_one_hold),
		cmocka_unit_test(
			test_a_hold_is_given_up_that_takes_longer_than_any_flush_before),
		cmocka_unit_test(test_a_flush_that_fails_after_its_hold_was_given_up_is_told),
		cmocka_unit_test(
			test_a_write_beside_a_flush_is_given_up_when_that_takes_longer_than_ever),
		cmocka_unit_test(test_a_flush_does_not_excuse_who_was_silent_before),
		cmocka_unit_test(test_closing_waits_no_longer_for_a_flush_than_one_has_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
