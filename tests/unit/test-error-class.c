/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the migration does by an error's class, for each errno of it: there are file
 * systems that say it by that one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "error-class.h"
#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

static const int no_space[] = { -ENOSPC, -EDQUOT, -EFBIG };
static const int whole_disk[] = { -ENXIO, -ENODEV, -ESTALE, -EROFS, -ENOENT, -EACCES, -EPERM };

static void
test_every_errno_has_one_class_with_a_name(void **state)
{
	assert_int_equal(error_class(0), ERROR_NONE);
	assert_string_equal(error_class_name(ERROR_NONE), "");
	for (int err = 1; err < 256; err++) {
		enum error_class class = error_class(err);

		assert_in_range(class, ERROR_NONE + 1, ERROR_CLASSES - 1);
		assert_int_equal(class, error_class(-err));
		assert_true(strlen(error_class_name(class)) > 3);
		assert_true(strlen(error_text(-err)) > 3);
	}
	for (size_t i = 0; i < LENGTH(no_space); i++)
		assert_int_equal(error_class(no_space[i]), ERROR_NO_SPACE);
	assert_int_equal(error_class(-EIO), ERROR_FAILED);
	assert_int_equal(error_class(-EILSEQ), ERROR_FAILED);
	assert_int_equal(error_class(-ENODATA), ERROR_FAILED);
	assert_int_equal(error_class(-EAGAIN), ERROR_BUSY);
	assert_string_equal(error_text(-EIO), strerror(EIO));
	assert_null(strstr(error_text(-EMEDIUMTYPE), "medium"));
}

static void
test_a_guests_write_waits_for_room_of_each_kind(void **state)
{
	for (size_t i = 0; i < LENGTH(no_space); i++) {
		struct world *w = world_begin(
			&(struct world_config){ .strategy = STRATEGY_LR, .chunks = "B" });
		struct request *r = guest_write(w, 8, 8, 7);

		answer(w, DST, DISK_WRITE, 8, 8, no_space[i]);
		assert_false(r->done);
		assert_int_equal(status_of(w).error, no_space[i]);
		assert_int_equal(status_of(w).held_writes, 1);
		assert_int_equal(migration_resume(&w->m), 0);
		settle(w);
		assert_int_equal(r->err, 0);
		check_disk(w, DST, 8, 8, 7);
		world_end(w);
	}
}

static void
test_a_copy_waits_for_room_of_each_kind(void **state)
{
	for (size_t i = 0; i < LENGTH(no_space); i++) {
		struct world *w = world_begin(&(struct world_config){
			.strategy = STRATEGY_SLR, .chunks = "SS", .running = true });

		answer(w, SRC, DISK_READ, 0, CHUNK, 0);
		answer(w, DST, DISK_WRITE, 0, CHUNK, no_space[i]);
		assert_int_equal(status_of(w).pause, PAUSE_NO_SPACE);
		assert_int_equal(status_of(w).error, no_space[i]);
		assert_int_equal(status_of(w).error_side, DST);
		pass_time(w, 10 * SECOND);
		assert_int_equal(outstanding_all(w), 0);
		assert_int_equal(migration_resume(&w->m), 0);
		settle(w);
		assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
		world_end(w);
	}
}

/* A source that is full itself is what the guest would have met without a migration. */
static void
test_lack_of_space_on_the_source_is_the_guests(void **state)
{
	struct world *w =
		world_begin(&(struct world_config){ .strategy = STRATEGY_SLR, .chunks = "S" });
	struct request *r = guest_write(w, 8, 8, 7);

	answer(w, SRC, DISK_WRITE, 8, 8, -ENOSPC);
	assert_true(r->done);
	assert_int_equal(r->err, -ENOSPC);
	assert_int_not_equal(status_of(w).pause, PAUSE_NO_SPACE);
	world_end(w);
}

/* Each try of the copier, until it makes no more. */
static void
fail_reads(struct world *w, int err)
{
	while (outstanding(w, SRC)) {
		answer(w, SRC, DISK_READ, 0, CHUNK, err);
		assert_int_equal(status_of(w).error_side, SRC);
		pass_time(w, 2 * SECOND);
	}
}

/*
 * A source that is gone in the middle of a copy: no sector of it is called bad, none is
 * taken for zeroes, and the guest reads what has been copied.
 */
static void
test_a_source_that_is_gone_stops_the_copy(void **state)
{
	for (size_t i = 0; i < LENGTH(whole_disk); i++) {
		struct world *w = world_begin(&(struct world_config){
			.strategy = STRATEGY_SLR, .chunks = "SB", .running = true });
		struct request *r;

		fail_reads(w, whole_disk[i]);
		assert_int_equal(w->disk[SRC].submitted[DISK_READ], COPIER_TRIES);
		assert_int_equal(status_of(w).pause, PAUSE_READ_ERRORS);
		assert_int_equal(status_of(w).error, whole_disk[i]);
		assert_int_equal(status_of(w).error_side, SRC);
		assert_int_equal(status_of(w).bad_sectors, 0);
		assert_int_equal(status_of(w).copier.zero, 0);
		assert_int_equal(status_of(w).copier.copied, 0);
		check_valid(w, 0, CHUNK, SRC_BIT);
		assert_int_equal(migration_complete(&w->m), -EBUSY);

		r = guest_read(w, CHUNK, 8);
		answer(w, SRC, DISK_READ, CHUNK, 8, whole_disk[i]);
		settle(w);
		check_read(r);

		/* It is back. */
		assert_int_equal(migration_resume(&w->m), 0);
		settle(w);
		assert_int_equal(w->m.state, MIGRATION_SYNCHRONISED);
		world_end(w);
	}
}

/* What has become smaller may have lost what was flushed long ago. */
static void
test_a_destination_that_has_become_smaller_does_not_complete(void **state)
{
	struct world *w = world_begin(&(struct world_config){
		.strategy = STRATEGY_MIRROR, .chunks = "BB", .running = true });
	struct disk_io *flush;

	assert_int_equal(migration_complete(&w->m), 0);
	flush = the_io(w, DST, DISK_FLUSH, 0, 0);
	assert_true(flush->whole);
	fake_complete(flush, -EMEDIUMTYPE);
	settle(w);
	assert_int_equal(w->ended, 0);
	assert_int_equal(status_of(w).pause, PAUSE_WRITE_ERRORS);
	assert_int_equal(status_of(w).error, -EMEDIUMTYPE);
	assert_int_equal(status_of(w).error_side, DST);
	world_end(w);
}

static void
test_a_source_that_has_become_smaller_gets_back_what_both_had(void **state)
{
	struct world *w = world_begin(
		&(struct world_config){ .strategy = STRATEGY_MIRROR, .chunks = "SB" });
	struct disk_io *flush;

	assert_int_equal(migration_cancel(&w->m), 0);
	flush = the_io(w, SRC, DISK_FLUSH, 0, 0);
	assert_true(flush->whole);
	fake_complete(flush, -EMEDIUMTYPE);
	check_valid(w, CHUNK, CHUNK, DST_BIT);
	answer(w, DST, DISK_READ, CHUNK, CHUNK, 0);
	answer(w, SRC, DISK_WRITE, CHUNK, CHUNK, 0);
	flush = the_io(w, SRC, DISK_FLUSH, 0, 0);
	assert_false(flush->whole);
	settle(w);
	assert_int_equal(w->m.state, MIGRATION_CANCELLED);
	world_end(w);
}

static void
test_a_source_that_cannot_take_it_back_is_not_called_the_disk(void **state)
{
	struct world *w = world_begin(
		&(struct world_config){ .strategy = STRATEGY_MIRROR, .chunks = "SB" });

	migration_cancel(&w->m);
	answer(w, SRC, DISK_FLUSH, 0, 0, -EMEDIUMTYPE);
	for (int i = 0; i < COPIER_TRIES; i++) {
		answer(w, DST, DISK_READ, CHUNK, CHUNK, 0);
		answer(w, SRC, DISK_WRITE, CHUNK, CHUNK, -EIO);
		pass_time(w, 2 * SECOND);
	}
	assert_int_equal(w->ended, 0);
	assert_int_equal(w->m.state, MIGRATION_ROLLING_BACK);
	assert_int_equal(status_of(w).pause, PAUSE_WRITE_ERRORS);
	assert_int_equal(status_of(w).error_side, SRC);
	check_valid(w, CHUNK, CHUNK, DST_BIT);
	world_end(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_errno_has_one_class_with_a_name),
		cmocka_unit_test(test_a_guests_write_waits_for_room_of_each_kind),
		cmocka_unit_test(test_a_copy_waits_for_room_of_each_kind),
		cmocka_unit_test(test_lack_of_space_on_the_source_is_the_guests),
		cmocka_unit_test(test_a_source_that_is_gone_stops_the_copy),
		cmocka_unit_test(test_a_destination_that_has_become_smaller_does_not_complete),
		cmocka_unit_test(test_a_source_that_has_become_smaller_gets_back_what_both_had),
		cmocka_unit_test(test_a_source_that_cannot_take_it_back_is_not_called_the_disk),
	};

	return cmocka_run_group_tests_name("error-class", tests, NULL, NULL);
}
