/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes that wait, and how much work they are: what ends lets go those that wait for it, in
 * the order in which they came, and does not look at the others. Work is counted in routings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rig.h"

#define C(chunk) ((uint64_t)(chunk)*CHUNK)

static uint64_t
routed(const struct world *w)
{
	return w->m.engine.routed;
}

/* So many chunks, valid as the letter says, without a journal. */
static struct world *
begin(enum strategy strategy, char letter, unsigned chunks)
{
	char *letters = calloc(1, chunks + 1);
	struct world *w;

	memset(letters, letter, chunks);
	w = world_begin(&(struct world_config){ .strategy = strategy, .chunks = letters });
	free(letters);
	return w;
}

/* The oldest that is outstanding there is answered well. */
static void
answer_first(struct world *w, enum side side)
{
	fake_complete(list_entry(w->disk[side].outstanding.next, struct disk_io, link), 0);
}

static void
test_the_end_of_a_mirrored_write_lets_go_one_that_the_throttle_holds(void **state)
{
	enum { FIT = MIRROR_COPY_BYTES / 4096, MORE = 1000 };
	struct world *w = begin(STRATEGY_MIRROR, 'B', (FIT + MORE) * 8 / CHUNK + 1);
	uint64_t before;

	for (unsigned i = 0; i < FIT + MORE; i++)
		guest_write(w, i * 8, 8, i + 10);
	assert_int_equal(outstanding(w, SRC), FIT);
	assert_int_equal(status_of(w).held_writes, MORE);
	for (unsigned i = 0; i < 100; i++) {
		before = routed(w);
		answer_first(w, SRC);
		answer_first(w, DST);
		assert_int_equal(outstanding(w, SRC), FIT);
		assert_int_equal(outstanding(w, DST), FIT);
		assert_int_equal(routed(w), before + 1);
	}
	/* Those that came first. */
	the_io(w, SRC, DISK_WRITE, (FIT + 99) * 8, 8);
	before = routed(w);
	settle(w);
	assert_int_equal(routed(w), before + MORE - 100);
	world_end(w);
}

static void
test_a_long_write_that_the_throttle_holds_is_not_passed_by_short_ones(void **state)
{
	enum { FIT = MIRROR_COPY_BYTES / (64 << 10) };
	struct world *w = begin(STRATEGY_MIRROR, 'B', FIT + 3);

	for (unsigned i = 0; i < FIT - 1; i++)
		guest_write(w, C(i), CHUNK, i + 10); /* 64 KiB each */
	guest_write(w, C(FIT - 1), 8, 7);
	guest_write(w, C(FIT), CHUNK, 8); /* does not fit any more */
	guest_write(w, C(FIT + 1), 8, 9); /* would */
	assert_null(find_io(w, SRC, DISK_WRITE, C(FIT + 1), 8));
	answer(w, SRC, DISK_WRITE, C(FIT - 1), 8, 0);
	answer(w, DST, DISK_WRITE, C(FIT - 1), 8, 0);
	the_io(w, SRC, DISK_WRITE, C(FIT), CHUNK);
	assert_null(find_io(w, SRC, DISK_WRITE, C(FIT + 1), 8));
	settle(w);
	world_end(w);
}

/* The chunk of one that is held is not mirrored any more: the next there must not pass it. */
static void
test_a_write_that_needs_no_copy_does_not_pass_one_that_waits_for_it(void **state)
{
	struct world *w;

	w = world_begin(&(struct world_config){
		.strategy = STRATEGY_AIO, .chunks = "BB", .threshold = 1 });
	guest_write(w, 0, 8, 6);
	guest_write(w, C(1), 8, 7);
	guest_write(w, 64, 8, 8); /* delayed */
	assert_null(find_io(w, SRC, DISK_WRITE, 64, 8));
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	answer(w, DST, DISK_WRITE, 0, 8, -EIO);
	the_io(w, SRC, DISK_WRITE, 64, 8);
	guest_write(w, 64, 8, 9);
	answer(w, SRC, DISK_WRITE, 64, 8, 0);
	settle(w);
	check_disk(w, SRC, 64, 8, 9);
	world_end(w);
}

static void
test_of_many_writes_of_one_place_each_lets_go_the_next(void **state)
{
	enum { MANY = 1000 };
	struct world *w = begin(STRATEGY_MIRROR, 'B', 1);
	uint64_t before;

	for (unsigned i = 0; i < MANY; i++)
		guest_write(w, 16, 8, i + 10);
	assert_int_equal(outstanding(w, SRC), 1);
	before = routed(w);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(outstanding(w, SRC), 1);
		answer_first(w, SRC);
		answer_first(w, DST);
		check_disk(w, DST, 16, 8, i + 10);
	}
	/* Each once as the first side has answered, and once as the second one has. */
	assert_in_range(routed(w), before, before + 2 * MANY);
	world_end(w);
}

static void
test_what_waits_for_a_long_write_goes_all_at_once(void **state)
{
	struct world *w = begin(STRATEGY_SLR, 'S', 1);

	guest_write(w, 0, CHUNK, 6);
	for (unsigned i = 0; i < CHUNK / 8; i++)
		guest_write(w, i * 8, 8, i + 10);
	guest_write(w, 8, 16, 7); /* for two of those */
	assert_int_equal(outstanding(w, SRC), 1);
	answer_first(w, SRC);
	assert_int_equal(outstanding(w, SRC), CHUNK / 8);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	assert_null(find_io(w, SRC, DISK_WRITE, 8, 16));
	answer(w, SRC, DISK_WRITE, 16, 8, 0);
	the_io(w, SRC, DISK_WRITE, 8, 16);
	settle(w);
	world_end(w);
}

static void
test_a_write_waits_for_the_last_of_those_that_wait_before_it(void **state)
{
	struct world *w = begin(STRATEGY_SLR, 'S', 1);

	guest_write(w, 0, 8, 6);
	guest_write(w, 4, 8, 7);   /* waits for the first */
	guest_write(w, 8, 8, 8);   /* for the second alone */
	guest_write(w, 32, 8, 9);  /* for none */
	guest_write(w, 12, 24, 5); /* for the third and the fourth */
	assert_int_equal(outstanding(w, SRC), 2);
	answer(w, SRC, DISK_WRITE, 32, 8, 0);
	assert_int_equal(outstanding(w, SRC), 1);
	answer(w, SRC, DISK_WRITE, 0, 8, 0);
	answer(w, SRC, DISK_WRITE, 4, 8, 0);
	answer(w, SRC, DISK_WRITE, 8, 8, 0);
	answer(w, SRC, DISK_WRITE, 12, 24, 0);
	check_disk(w, SRC, 0, 4, 6);
	check_disk(w, SRC, 4, 4, 7);
	check_disk(w, SRC, 8, 4, 8);
	check_disk(w, SRC, 12, 24, 5);
	check_disk(w, SRC, 36, 4, 9);
	world_end(w);
}

/* By slr the copied region is written on the destination alone, any other on the source. */
static void
test_what_waits_for_a_silent_side_is_not_looked_at_with_each_write(void **state)
{
	enum { MANY = 200 };
	struct world *w;
	uint64_t before;

	w = world_begin(&(struct world_config){ .strategy = STRATEGY_SLR, .chunks = "BS" });
	guest_write(w, 0, 8, 6);
	pass_time(w, 11 * SECOND);
	for (unsigned i = 0; i < MANY; i++)
		guest_write(w, 8 + i % 8 * 8, 8, i + 10);
	assert_int_equal(status_of(w).held_writes, MANY);
	before = routed(w);
	for (unsigned i = 0; i < 100; i++) {
		guest_write(w, C(1), 8, i + 300);
		answer(w, SRC, DISK_WRITE, C(1), 8, 0);
	}
	assert_int_equal(routed(w), before + 100);
	settle(w);
	assert_int_equal(status_of(w).held_writes, 0);
	world_end(w);
}

static void
test_what_waits_for_a_journal_that_fails_is_not_looked_at(void **state)
{
	enum { MANY = 200 };
	uint64_t before;
	struct rig r;

	rig_start(&r, (struct world_config){ .strategy = STRATEGY_MIRROR, .chunks = "BB" });
	settle(r.w);
	r.memory.fail_all = -EIO;
	guest_write(r.w, 0, 8, 6); /* needs an intent */
	settle(r.w);
	for (unsigned i = 0; i < MANY; i++)
		guest_write(r.w, i % 16 * 8, 8, i + 10);
	before = routed(r.w);
	for (unsigned i = 0; i < 30; i++) {
		pass_time(r.w, SECOND);
		settle(r.w);
	}
	assert_int_equal(routed(r.w), before);
	r.memory.fail_all = 0;
	pass_time(r.w, 2 * SECOND);
	settle(r.w);
	rig_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_the_end_of_a_mirrored_write_lets_go_one_that_the_throttle_holds),
		cmocka_unit_test(
			test_a_long_write_that_the_throttle_holds_is_not_passed_by_short_ones),
		cmocka_unit_test(
			test_a_write_that_needs_no_copy_does_not_pass_one_that_waits_for_it),
		cmocka_unit_test(test_of_many_writes_of_one_place_each_lets_go_the_next),
		cmocka_unit_test(test_what_waits_for_a_long_write_goes_all_at_once),
		cmocka_unit_test(test_a_write_waits_for_the_last_of_those_that_wait_before_it),
		cmocka_unit_test(
			test_what_waits_for_a_silent_side_is_not_looked_at_with_each_write),
		cmocka_unit_test(test_what_waits_for_a_journal_that_fails_is_not_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
