/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest is still to be told, should the process be killed now. By aio it has
 * the destination's answer to a write, a flush fails there, and the source has the write
 * yet to answer: until then nothing is lost, but a kill would lose it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rig.h"

static const struct journal_live *live;

struct half_lost {
	struct rig rig;
	struct request *write, *flush;
};

static bool
owed(const struct half_lost *h)
{
	return h->rig.live->owed;
}

static void
begin(struct half_lost *h)
{
	struct world *w;

	rig_start(&h->rig, (struct world_config){ .strategy = STRATEGY_AIO, .chunks = "B" });
	w = h->rig.w;
	settle(w);
	guest_write(w, 8, 8, 7); /* the destination will have it alone, and need a flush */
	answer(w, SRC, DISK_WRITE, 8, 8, -EIO);
	answer(w, DST, DISK_WRITE, 8, 8, 0);
	h->flush = guest_flush(w);
	h->write = guest_write(w, 0, 8, 8);
	answer(w, DST, DISK_WRITE, 0, 8, 0);
	assert_true(h->write->done);
	assert_int_equal(h->write->err, 0);
	assert_false(owed(h));
	answer(w, DST, DISK_FLUSH, 0, 0, -EIO);
	assert_true(owed(h));
	/* It tells of what the destination has alone, not of the write, which came after it. */
	answer(w, SRC, DISK_FLUSH, 0, 0, 0);
	assert_true(h->flush->done);
	assert_int_equal(h->flush->err, -EIO);
	assert_true(owed(h));
}

static void
test_the_guest_is_owed_an_error_until_the_other_side_has_answered(void **state)
{
	struct half_lost h;
	struct world *w;
	struct request *flush;

	begin(&h);
	w = h.rig.w;
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	check_valid(w, 0, 8, SRC_BIT);
	flush = guest_flush(w);
	settle(w);
	assert_true(flush->done);
	assert_int_equal(flush->err, 0);
	assert_false(owed(&h));
	rig_end(&h.rig);
}

/* For a kill before that: the error is told twice rather than never. */
static void
check_owed_until_answered(struct request *r)
{
	assert_true(live->owed);
}

static void
test_the_next_flush_tells_what_the_other_side_has_not_taken_either(void **state)
{
	struct half_lost h;
	struct world *w;
	struct request *flush;

	begin(&h);
	w = h.rig.w;
	answer(w, SRC, DISK_WRITE, 0, 8, -EIO);
	assert_true(owed(&h));
	live = h.rig.live;
	w->answered = check_owed_until_answered;
	flush = guest_flush(w);
	settle(w);
	w->answered = NULL;
	assert_true(flush->done);
	assert_int_equal(flush->err, -EIO);
	assert_false(owed(&h));
	rig_end(&h.rig);
}

/* No flush of the guest's: nothing is on the destination alone, but for that write. */
static void
test_the_guest_is_owed_an_error_where_it_has_not_asked_for_a_flush(void **state)
{
	struct half_lost h;
	struct world *w;

	rig_start(&h.rig, (struct world_config){ .strategy = STRATEGY_AIO, .chunks = "B" });
	w = h.rig.w;
	settle(w);
	guest_write(w, 8, 8, 7);
	settle(w);
	h.write = guest_write(w, 0, 8, 8);
	engine_sync(&w->m.engine);
	answer(w, DST, DISK_WRITE, 0, 8, 0);
	assert_true(h.write->done);
	assert_false(owed(&h));
	answer(w, DST, DISK_FLUSH, 0, 0, -EIO);
	assert_true(owed(&h));
	rig_end(&h.rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_the_guest_is_owed_an_error_until_the_other_side_has_answered),
		cmocka_unit_test(
			test_the_next_flush_tells_what_the_other_side_has_not_taken_either),
		cmocka_unit_test(
			test_the_guest_is_owed_an_error_where_it_has_not_asked_for_a_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
