/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A migration that is closed while a disk owes it answers: whatever these are, nothing is
 * asked of either disk any more, for one of them is closed already. What the next opening
 * is to know is in the journal, or in the live changes, which are kept then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rig.h"

#define C(chunk) ((uint64_t)(chunk)*CHUNK)

/* By slr: one chunk on both, one on the destination, and one that is to be copied. */
static void
begin(struct rig *r)
{
	rig_start(r, (struct world_config){ .strategy = STRATEGY_SLR, .chunks = "BDS" });
	settle(r->w);
}

/* The guest has both disks written to, and nothing flushed. */
static void
write_both(struct rig *r)
{
	guest_write(r->w, C(1), 8, 7);
	answer(r->w, DST, DISK_WRITE, C(1), 8, 0);
	guest_write(r->w, C(2), 8, 8);
	answer(r->w, SRC, DISK_WRITE, C(2), 8, 0);
}

/* As the plugin does, once only who is silent keeps it from ending. */
static void
close_it(struct rig *r)
{
	migration_stop(&r->w->m);
	pass_time(r->w, SECOND);
	migration_stop(&r->w->m);
	assert_int_equal(outstanding(r->w, SRC), 0);
	assert_true(r->w->m.engine.side[DST].stalled);
	assert_true(journal_quiet(r->w->m.engine.journal));
	engine_retire(&r->w->m.engine);
}

/* The last answer has come. */
static void
bury(struct rig *r)
{
	struct world *w = r->w;

	pass_time(w, 10 * SECOND);
	assert_int_equal(outstanding_all(w), 0);
	assert_true(migration_quiet(&w->m));
	world_free(w);
	rig_free(r);
}

static void
test_a_sync_that_could_not_begin_does_not_begin_when_the_destination_answers(void **state)
{
	struct disk_io *copy;
	struct rig r;

	begin(&r);
	/* A sync is under way for as long as the destination is silent. */
	r.memory.hold = true;
	engine_sync(&r.w->m.engine);
	settle(r.w);
	assert_non_null(r.memory.held);
	write_both(&r);
	migration_resume(&r.w->m);
	answer(r.w, SRC, DISK_READ, C(2), CHUNK, 0);
	copy = the_io(r.w, DST, DISK_WRITE, C(2), CHUNK);
	pass_time(r.w, 10 * SECOND);
	r.memory.hold = false;
	memory_do(&r.memory, r.memory.held);

	close_it(&r);
	assert_false(engine_saved(&r.w->m.engine));
	fake_complete(copy, 0);
	check_valid(r.w, C(2), CHUNK, SRC_BIT);
	bury(&r);
}

static void
test_a_flush_that_fails_is_not_done_again_on_the_other_side(void **state)
{
	struct rig r;

	begin(&r);
	write_both(&r);
	engine_sync(&r.w->m.engine);
	answer(r.w, SRC, DISK_FLUSH, 0, 0, 0);
	pass_time(r.w, 10 * SECOND);

	close_it(&r);
	assert_false(engine_saved(&r.w->m.engine));
	answer(r.w, DST, DISK_FLUSH, 0, 0, -EIO);
	/* The next opening believes what the source has, and tells the guest of the rest. */
	check_valid(r.w, 0, CHUNK, SRC_BIT);
	assert_true(r.live->owed);
	bury(&r);
}

/* Nothing is left to be written down, and yet the next opening must not think it stable. */
static void
test_what_was_written_again_and_not_flushed_is_not_saved(void **state)
{
	struct journal_status status;
	struct rig r;

	begin(&r);
	write_both(&r);
	engine_sync(&r.w->m.engine);
	settle(r.w);
	assert_true(engine_saved(&r.w->m.engine));
	guest_write(r.w, C(1), 8, 9);
	answer(r.w, DST, DISK_WRITE, C(1), 8, 0);
	journal_get_status(r.w->m.engine.journal, &status);
	assert_int_equal(status.unwritten, 0);
	assert_false(engine_saved(&r.w->m.engine));
	/* A flush that fails is no better, once it is over. */
	engine_sync(&r.w->m.engine);
	answer(r.w, DST, DISK_FLUSH, 0, 0, -EIO);
	settle(r.w);
	journal_get_status(r.w->m.engine.journal, &status);
	assert_int_equal(status.unwritten, 0);
	assert_false(engine_saved(&r.w->m.engine));
	rig_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_sync_that_could_not_begin_does_not_begin_when_the_destination_answers),
		cmocka_unit_test(test_a_flush_that_fails_is_not_done_again_on_the_other_side),
		cmocka_unit_test(test_what_was_written_again_and_not_flushed_is_not_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
