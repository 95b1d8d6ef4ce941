/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-log.o drivers/scheduler.o */
/* How often somebody else may have us log something, by a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log-limit.h"
#include "loop.h"
#include "tapdisk-log.h"

#define S INT64_C(1000000000)

static unsigned int
passed(struct log_limit *limit, int64_t from, int64_t until, int64_t step)
{
	unsigned int n = 0;

	for (int64_t now = from; now < until; now += step)
		n += log_limit_pass(limit, now);
	return n;
}

static void
a_burst_passes_and_then_one_in_ten_seconds(void **state)
{
	struct log_limit limit = { 0 };

	assert_int_equal(passed(&limit, 5 * S, 6 * S, S / 1000), LOG_LIMIT_BURST);
	assert_int_equal(limit.left_out, 1000 - LOG_LIMIT_BURST);
	assert_in_range(passed(&limit, 6 * S, 606 * S, S / 10), 59, 61);
}

static void
one_that_was_quiet_has_its_burst_again_and_no_more(void **state)
{
	struct log_limit limit = { 0 };

	passed(&limit, S, 2 * S, S / 100);
	assert_int_equal(passed(&limit, 100000 * S, 100001 * S, S / 100), LOG_LIMIT_BURST);
}

static void
who_says_little_is_never_left_out(void **state)
{
	struct log_limit limit = { 0 };

	assert_int_equal(passed(&limit, S, 36001 * S, 10 * S), 3600);
	assert_int_equal(limit.left_out, 0);
}

/* --- in the log ------------------------------------------------------------------- */

static char *logged;
static size_t logged_size;

/* What act() logs, as lines in logged. Their number. */
static unsigned int
lines_of(void (*act)(void))
{
	const int before = dup(STDERR_FILENO);
	FILE *file = tmpfile();
	unsigned int lines = 0;
	long size;

	assert_non_null(file);
	fflush(stderr);
	dup2(fileno(file), STDERR_FILENO);
	act();
	fflush(stderr);
	dup2(before, STDERR_FILENO);
	close(before);

	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	free(logged);
	logged_size = (size_t)size;
	logged = calloc(1, logged_size + 1);
	assert_int_equal(fread(logged, 1, logged_size, file), logged_size);
	fclose(file);
	for (char *c = logged; *c; c++)
		lines += *c == '\n';
	return lines;
}

static struct log_limit one, other;

static void
two_devices_complain(void)
{
	for (int i = 0; i < 500; i++) {
		struct log_limit *before = tapdisk_log_limit(&one);

		assert_null(before);
		EPRINTF("one complains, %d", i);
		tlog_syslog(TLOG_INFO, "one tells something");
		assert_ptr_equal(tapdisk_log_limit(&other), &one);
		if (i % 100 == 0)
			EPRINTF("other complains");
		tapdisk_log_limit(NULL);
	}
	EPRINTF("what nobody else causes");
}

static void
one_complains_once_more(void)
{
	tapdisk_log_limit(&one);
	EPRINTF("one complains once more");
	tapdisk_log_limit(NULL);
}

static void
each_has_a_limit_of_its_own_and_what_was_left_out_is_told(void **state)
{
	tapdisk_log_open("test", true);
	assert_int_equal(lines_of(two_devices_complain), LOG_LIMIT_BURST + 5 + 1);
	assert_non_null(strstr(logged, "what nobody else causes"));
	loop_now += LOG_LIMIT_SECONDS + 1;
	assert_int_equal(lines_of(one_complains_once_more), 2);
	assert_non_null(strstr(logged, "990 lines"));
	assert_non_null(strstr(logged, "once more"));
	free(logged);
	logged = NULL;
}

static void
an_error(void)
{
	tapdisk_log_limit(&one);
	EPRINTF("nobody reads this");
	tapdisk_log_limit(NULL);
}

static void
an_error_that_is_left_out_is_remembered(void **state)
{
	passed(&one, loop_now * S, loop_now * S + S, S / 100);
	tapdisk_log_clear_error();
	assert_int_equal(lines_of(an_error), 0);
	assert_string_equal(tapdisk_log_first_error(), "nobody reads this");
	free(logged);
	logged = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_passes_and_then_one_in_ten_seconds),
		cmocka_unit_test(one_that_was_quiet_has_its_burst_again_and_no_more),
		cmocka_unit_test(who_says_little_is_never_left_out),
		cmocka_unit_test(each_has_a_limit_of_its_own_and_what_was_left_out_is_told),
		cmocka_unit_test(an_error_that_is_left_out_is_remembered),
	};

	return cmocka_run_group_tests_name("the log's limits", tests, NULL, NULL);
}
