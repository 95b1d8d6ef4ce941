/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/image-lock.o */
/* One at a time, and who it is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "image-lock.h"

static char path[] = "/var/tmp/tm.XXXXXX";
static char who[IMAGE_HOLDER_SIZE];

static int
opened(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void
two_may_read_and_one_may_write(void **state)
{
	int a = opened(path, O_RDWR), b = opened(path, O_RDONLY), c = opened(path, O_RDWR);

	assert_int_equal(image_lock(a, false), 0);
	assert_int_equal(image_lock(b, false), 0);
	assert_int_equal(image_lock(c, true), -EBUSY);
	assert_int_equal(close(b), 0);
	assert_false(image_lock_is_held(a));
	assert_true(image_lock_is_held(c));
	assert_int_equal(close(a), 0);
	assert_int_equal(image_lock(c, true), 0);
	assert_int_equal(close(c), 0);
}

static void
the_holder_is_who_has_it_locked_not_who_has_it_open(void **state)
{
	int a = opened(path, O_RDWR), b = opened(path, O_RDWR);
	char number[16];

	assert_int_equal(image_lock_holder(path, who, sizeof(who)), 0);
	assert_string_equal(who, "another program");
	assert_int_equal(image_lock(b, true), 0);
	assert_int_equal(image_lock_holder(path, who, sizeof(who)), getpid());
	snprintf(number, sizeof(number), " %d", getpid());
	assert_non_null(strstr(who, number));
	assert_int_equal(close(a), 0);
	assert_int_equal(close(b), 0);
	assert_int_equal(image_lock_holder("/none", who, sizeof(who)), 0);
}

static int
setup(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int
teardown(void **state)
{
	return unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_may_read_and_one_may_write),
		cmocka_unit_test(the_holder_is_who_has_it_locked_not_who_has_it_open),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
