/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A journal that cannot be written, or whose store does not answer: how long the guest and
 * the operator wait for it, and what goes on without it, where one side has everything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rig.h"

#define C(chunk) ((uint64_t)(chunk)*CHUNK)

static void
begin(struct rig *r, enum strategy strategy, const char *chunks)
{
	rig_start(r, (struct world_config){
			     .strategy = strategy, .chunks = chunks, .records = true });
	settle(r->w);
}

/* From now on the store takes what it is asked, and does not answer. */
static void
store_hangs(struct rig *r)
{
	r->memory.hold = true;
	r->memory.held = NULL;
}

static void
store_answers(struct rig *r)
{
	r->memory.hold = false;
	if (r->memory.held)
		memory_do(&r->memory, r->memory.held);
	r->memory.held = NULL;
	settle(r->w);
}

static void
seconds(struct rig *r, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		pass_time(r->w, SECOND);
		settle(r->w);
	}
}

static void
check_done(const struct request *q)
{
	assert_true(q->done);
	assert_int_equal(q->err, 0);
}

static void
check_paused(const struct rig *r, enum migration_pause pause)
{
	assert_int_equal(status_of(r->w).pause, pause);
}

/* --- the guest ------------------------------------------------------------------------ */

static void
test_a_write_waits_ten_seconds_for_a_journal_that_hangs(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	store_hangs(&r);
	q = guest_write(r.w, 0, 8, 7); /* on both: that needs an intent */
	seconds(&r, 9);
	assert_false(q->done);
	assert_int_equal(r.w->record, NO_SIDE);
	seconds(&r, 2);
	check_done(q);
	assert_int_equal(r.w->record, SRC_BIT);
	check_valid(r.w, 0, C(2), SRC_BIT);
	assert_true(status_of(r.w).journal_hangs);
	assert_true(status_of(r.w).alone);
	migration_resume(&r.w->m);
	settle(r.w);
	check_paused(&r, PAUSE_JOURNAL_FAILED);
	assert_int_equal(status_of(r.w).error, -ETIMEDOUT);
	migration_pause(&r.w->m);
	/* No other one waits. */
	q = guest_write(r.w, C(1), 8, 8);
	settle(r.w);
	check_done(q);
	q = guest_flush(r.w);
	settle(r.w);
	check_done(q);
	check_disk(r.w, DST, C(1), 8, ON_SRC);

	store_answers(&r);
	rig_end(&r);
}

static void
test_a_flush_waits_no_longer_either(void **state)
{
	struct request *w, *f;
	struct rig r;

	begin(&r, STRATEGY_DBT, "SS");
	w = guest_write(r.w, 0, 8, 7);
	settle(r.w);
	check_done(w);
	store_hangs(&r);
	engine_sync(&r.w->m.engine);
	settle(r.w);
	f = guest_flush(r.w);
	settle(r.w);
	guest_write(r.w, 0, 8, 8);
	seconds(&r, 12);
	check_done(f);
	store_answers(&r);
	rig_end(&r);
}

static void
test_a_journal_that_answers_at_last_takes_over_again(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	store_hangs(&r);
	q = guest_write(r.w, 0, 8, 7);
	seconds(&r, 11);
	check_done(q);
	assert_int_equal(r.w->record, SRC_BIT);
	store_answers(&r);
	seconds(&r, 3);
	assert_int_equal(r.w->record, NO_SIDE);
	assert_false(status_of(r.w).alone);
	check_paused(&r, PAUSE_OPERATOR);
	/* And all is copied. */
	migration_resume(&r.w->m);
	settle(r.w);
	check_valid(r.w, 0, C(2), BOTH);
	rig_end(&r);
}

static void
test_nothing_is_copied_while_the_record_is_there(void **state)
{
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	migration_resume(&r.w->m);
	store_hangs(&r);
	guest_write(r.w, 0, 8, 7);
	seconds(&r, 11);
	assert_int_equal(r.w->record, SRC_BIT);
	r.w->record_waits = true;
	store_answers(&r);
	seconds(&r, 5);
	assert_int_equal(r.w->asked, NO_SIDE);
	check_valid(r.w, 0, C(2), SRC_BIT);
	r.w->record_waits = false;
	world_answer_record(r.w, 0);
	settle(r.w);
	check_valid(r.w, 0, C(2), BOTH);
	rig_end(&r);
}

static void
test_a_write_waits_ten_seconds_for_a_journal_that_fails(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_AIO, "BS");
	r.memory.fail_all = -EIO;
	q = guest_write(r.w, 0, 8, 7);
	seconds(&r, 9);
	assert_false(q->done);
	seconds(&r, 3);
	check_done(q);
	assert_int_equal(r.w->record, SRC_BIT);
	assert_true(status_of(r.w).alone);
	r.memory.fail_all = 0;
	seconds(&r, 8); /* a new file is written */
	assert_int_equal(r.w->record, NO_SIDE);
	rig_end(&r);
}

static void
test_what_the_guest_does_not_wait_for_costs_no_copy(void **state)
{
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	store_hangs(&r);
	engine_sync(&r.w->m.engine);
	seconds(&r, 60);
	assert_true(status_of(r.w).journal_hangs);
	assert_int_equal(r.w->asks, 0);
	check_valid(r.w, 0, C(2), BOTH);
	store_answers(&r);
	seconds(&r, 2);
	assert_false(status_of(r.w).journal_hangs);
	rig_end(&r);
}

static void
test_where_the_destination_alone_has_something_the_guest_waits(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_SLR, "BDS");
	store_hangs(&r);
	q = guest_write(r.w, 0, 8, 7);
	seconds(&r, 60);
	assert_false(q->done);
	assert_int_equal(r.w->asks, 0);
	assert_int_equal(status_of(r.w).only[DST], CHUNK * SECTOR_BYTES);
	store_answers(&r);
	check_done(q);
	rig_end(&r);
}

/* It would be the destination that a write reaches, of which the record says nothing. */
static void
test_lr_does_not_go_on_without_the_journal(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_LR, "BB");
	store_hangs(&r);
	q = guest_write(r.w, 0, 8, 7);
	seconds(&r, 60);
	assert_false(q->done);
	assert_int_equal(r.w->asks, 0);
	store_answers(&r);
	rig_end(&r);
}

static void
test_a_record_that_cannot_be_made_is_asked_for_again(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	r.w->record_err = -EROFS;
	store_hangs(&r);
	q = guest_write(r.w, 0, 8, 7);
	seconds(&r, 20);
	assert_false(q->done);
	assert_in_range(r.w->asks, 5, 11);
	check_valid(r.w, 0, C(2), BOTH);
	r.w->record_err = 0;
	seconds(&r, 2);
	check_done(q);
	store_answers(&r);
	rig_end(&r);
}

static void
test_the_source_is_flushed_before_the_record(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	store_hangs(&r);
	q = guest_write(r.w, 0, 8, 7);
	pass_time(r.w, 11 * SECOND);
	assert_int_equal(r.w->asks, 0);
	answer(r.w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_int_equal(r.w->record, SRC_BIT);
	settle(r.w);
	check_done(q);
	store_answers(&r);
	rig_end(&r);
}

static void
test_where_the_source_fails_its_flush_there_is_no_record(void **state)
{
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	store_hangs(&r);
	guest_write(r.w, 0, 8, 7);
	pass_time(r.w, 11 * SECOND);
	answer(r.w, SRC, DISK_FLUSH, 0, 0, -EIO);
	/* What both held is the destination's alone now. */
	check_valid(r.w, 0, C(2), DST_BIT);
	seconds(&r, 30);
	assert_int_equal(r.w->asks, 0);
	store_answers(&r);
	rig_end(&r);
}

static void
test_a_new_file_need_not_find_room_beside_a_bad_one(void **state)
{
	struct journal_status status;
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	r.memory.fail[STORE_WRITE] = -EIO;
	q = guest_write(r.w, 0, 8, 7);
	r.memory.fail[STORE_GROW] = -ENOSPC;
	seconds(&r, 3);
	check_done(q);
	journal_get_status(r.w->m.engine.journal, &status);
	assert_int_equal(status.state, JOURNAL_GOOD);
	assert_int_equal(r.w->asks, 0);
	rig_end(&r);
}

static void
test_what_was_wished_for_is_recorded_when_the_file_has_it(void **state)
{
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	assert_true(status_of(r.w).recorded);
	store_hangs(&r);
	assert_int_equal(migration_set_rate(&r.w->m, 1 << 20), 0);
	assert_false(status_of(r.w).recorded);
	store_answers(&r);
	assert_true(status_of(r.w).recorded);
	/* One more, under the write of the one before. */
	store_hangs(&r);
	migration_set_rate(&r.w->m, 2 << 20);
	migration_set_depth(&r.w->m, 2);
	r.memory.hold = true;
	memory_do(&r.memory, r.memory.held);
	assert_false(status_of(r.w).recorded);
	store_answers(&r);
	assert_true(status_of(r.w).recorded);
	/* Until there is a file of this opening's there is none. */
	r.memory.fail_all = -EIO;
	assert_int_equal(migration_resume(&r.w->m), 0);
	seconds(&r, 2);
	assert_false(status_of(r.w).recorded);
	r.memory.fail_all = 0;
	seconds(&r, 3);
	assert_true(status_of(r.w).recorded);
	rig_end(&r);
}

/* --- the operator --------------------------------------------------------------------- */

static void
test_a_cancel_ends_by_the_record(void **state)
{
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BS");
	store_hangs(&r);
	assert_int_equal(migration_cancel(&r.w->m), 0);
	seconds(&r, 9);
	assert_int_equal(r.w->ended, 0);
	seconds(&r, 2);
	assert_int_equal(r.w->ended, 1);
	assert_int_equal(r.w->m.state, MIGRATION_CANCELLED);
	assert_int_equal(r.w->record, SRC_BIT);
	assert_true(migration_by_record(&r.w->m));
	store_answers(&r);
	rig_end(&r);
}

static void
test_a_cancel_of_what_goes_on_without_the_journal_ends_at_once(void **state)
{
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BS");
	store_hangs(&r);
	guest_write(r.w, 0, 8, 7);
	seconds(&r, 11);
	assert_int_equal(r.w->record, SRC_BIT);
	assert_int_equal(migration_cancel(&r.w->m), 0);
	settle(r.w);
	assert_int_equal(r.w->ended, 1);
	assert_int_equal(r.w->asks, 1);
	store_answers(&r);
	rig_end(&r);
}

static void
test_a_cancel_that_the_journal_has_needs_no_record(void **state)
{
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BS");
	assert_int_equal(migration_cancel(&r.w->m), 0);
	settle(r.w);
	assert_int_equal(r.w->ended, 1);
	assert_int_equal(r.w->asks, 0);
	assert_false(migration_by_record(&r.w->m));
	rig_end(&r);
}

/* The host is asked, and then the journal answers: the end waits for the host. */
static void
test_the_end_waits_for_the_host_s_answer(void **state)
{
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BS");
	store_hangs(&r);
	assert_int_equal(migration_cancel(&r.w->m), 0);
	r.w->record_waits = true;
	seconds(&r, 11);
	assert_int_equal(r.w->asks, 1);
	store_answers(&r);
	assert_int_equal(r.w->ended, 0);
	assert_false(migration_quiet(&r.w->m));
	world_answer_record(r.w, -EIO);
	settle(r.w);
	assert_int_equal(r.w->ended, 1);
	assert_false(migration_by_record(&r.w->m));
	rig_end(&r);
}

static void
test_a_completion_ends_by_a_record_of_the_destination(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_MIRROR, "BB");
	migration_resume(&r.w->m);
	assert_int_equal(migration_complete(&r.w->m), 0);
	/* To the last flush, under which the store begins to hang. */
	answer(r.w, DST, DISK_FLUSH, 0, 0, 0);
	store_hangs(&r);
	settle(r.w);
	assert_int_equal(r.w->m.state, MIGRATION_COMPLETING);
	q = guest_write(r.w, 0, 8, 7);
	seconds(&r, 9);
	assert_false(q->done);
	seconds(&r, 2);
	assert_int_equal(r.w->ended, 1);
	assert_int_equal(r.w->m.state, MIGRATION_COMPLETED);
	assert_int_equal(r.w->record, DST_BIT);
	check_done(q);
	store_answers(&r);
	rig_end(&r);
}

/* --- a destination that is given up ---------------------------------------------------- */

static void
test_a_forced_cancel_gives_up_what_the_destination_alone_holds(void **state)
{
	struct request *q;
	struct rig r;

	begin(&r, STRATEGY_LR, "SDS");
	assert_int_equal(migration_cancel(&r.w->m), 0);
	pass_time(r.w, SECOND);
	answer(r.w, DST, DISK_READ, C(1), CHUNK, -EIO);
	assert_int_equal(r.w->ended, 0);
	assert_int_equal(migration_cancel_forced(&r.w->m), 0);
	for (unsigned i = 0; i < 20; i++) {
		while (outstanding(r.w, DST))
			fake_complete(list_entry(r.w->disk[DST].outstanding.next,
						 struct disk_io, link),
				      -EIO);
		settle(r.w);
		pass_time(r.w, SECOND);
	}
	assert_int_equal(r.w->ended, 1);
	assert_int_equal(r.w->m.state, MIGRATION_CANCELLED);
	/* The guest was told that it is written. */
	q = guest_flush(r.w);
	settle(r.w);
	assert_int_equal(q->err, -EIO);
	for (uint64_t s = C(1); s < C(2); s++)
		r.w->expected[s] = STALE_ON_SRC;
	assert_int_equal(migration_cancel_forced(&r.w->m), -EBUSY);
	rig_end(&r);
}

/* Its buffer is the disk's until that answers; nothing else waits for it. */
static void
test_a_forced_cancel_does_not_wait_for_a_silent_destination(void **state)
{
	struct request *q, *again;
	struct disk_io *io;
	struct rig r;

	begin(&r, STRATEGY_LR, "SD");
	q = guest_write(r.w, C(1), 8, 7);
	io = the_io(r.w, DST, DISK_WRITE, C(1), 8);
	pass_time(r.w, 11 * SECOND);
	assert_int_equal(migration_cancel(&r.w->m), 0);
	assert_int_equal(migration_cancel(&r.w->m), -EALREADY);
	pass_time(r.w, 20 * SECOND);
	assert_int_equal(r.w->ended, 0);
	assert_int_equal(migration_cancel_forced(&r.w->m), 0);
	assert_int_equal(migration_cancel_forced(&r.w->m), -EALREADY);
	while (outstanding(r.w, SRC))
		fake_complete(list_entry(r.w->disk[SRC].outstanding.next, struct disk_io, link),
			      0);
	assert_int_equal(r.w->ended, 1);
	assert_false(q->done);
	again = guest_write(r.w, C(1), 8, 8);
	answer(r.w, SRC, DISK_WRITE, C(1), 8, 0);
	check_done(again);
	fake_complete(io, 0);
	assert_true(q->done);
	assert_int_equal(q->err, -ETIMEDOUT);
	for (uint64_t s = C(1); s < C(2); s++)
		r.w->expected[s] = s < C(1) + 8 ? 8 : STALE_ON_SRC;
	rig_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_write_waits_ten_seconds_for_a_journal_that_hangs),
		cmocka_unit_test(test_a_flush_waits_no_longer_either),
		cmocka_unit_test(test_a_journal_that_answers_at_last_takes_over_again),
		cmocka_unit_test(test_nothing_is_copied_while_the_record_is_there),
		cmocka_unit_test(test_a_write_waits_ten_seconds_for_a_journal_that_fails),
		cmocka_unit_test(test_what_the_guest_does_not_wait_for_costs_no_copy),
		cmocka_unit_test(
			test_where_the_destination_alone_has_something_the_guest_waits),
		cmocka_unit_test(test_lr_does_not_go_on_without_the_journal),
		cmocka_unit_test(test_a_record_that_cannot_be_made_is_asked_for_again),
		cmocka_unit_test(test_the_source_is_flushed_before_the_record),
		cmocka_unit_test(test_where_the_source_fails_its_flush_there_is_no_record),
		cmocka_unit_test(test_a_new_file_need_not_find_room_beside_a_bad_one),
		cmocka_unit_test(test_what_was_wished_for_is_recorded_when_the_file_has_it),
		cmocka_unit_test(test_a_cancel_ends_by_the_record),
		cmocka_unit_test(
			test_a_cancel_of_what_goes_on_without_the_journal_ends_at_once),
		cmocka_unit_test(test_a_cancel_that_the_journal_has_needs_no_record),
		cmocka_unit_test(test_the_end_waits_for_the_host_s_answer),
		cmocka_unit_test(test_a_completion_ends_by_a_record_of_the_destination),
		cmocka_unit_test(
			test_a_forced_cancel_gives_up_what_the_destination_alone_holds),
		cmocka_unit_test(test_a_forced_cancel_does_not_wait_for_a_silent_destination),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
