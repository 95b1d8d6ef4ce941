/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/migrate-file.o drivers/image-lock.o */
/* A journal is replaced by rename() while others look whose it is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "image-lock.h"
#include "migrate-file.h"

#define ROUNDS 3000
#define SCANS  30

static char path[] = "/var/tmp/tm.XXXXXX";
static char next[sizeof(path) + 4];

/* As the store does: what has the name is locked at every moment. */
static int
replace(int current)
{
	int fd = open(next, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || migrate_file_lock(fd) || rename(next, path))
		_exit(1);
	close(current);
	return fd;
}

/* A process that has the file, and replaces it once for each byte that it is sent. */
static pid_t
start_owner(int *order, int *ready)
{
	int orders[2], answers[2], fd;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(orders), 0);
	assert_int_equal(pipe(answers), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(orders[1]);
		fd = migrate_file_open_locked(AT_FDCWD, path, O_RDWR);
		if (fd < 0 || write(answers[1], "", 1) != 1)
			_exit(1);
		while (read(orders[0], &byte, 1) == 1)
			fd = replace(fd);
		_exit(0);
	}
	close(orders[0]);
	close(answers[1]);
	*order = orders[1];
	*ready = answers[0];
	assert_int_equal(read(*ready, &byte, 1), 1);
	return pid;
}

static void
end_owner(pid_t pid, int order, int ready)
{
	int status;

	close(order);
	close(ready);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
a_file_that_is_replaced_is_locked_by_its_name(void **state)
{
	int before = migrate_file_open_locked(AT_FDCWD, path, O_RDWR), after;

	assert_true(before >= 0);
	assert_int_equal(migrate_file_open_locked(AT_FDCWD, path, O_RDWR), -EBUSY);
	after = replace(before);
	assert_int_equal(migrate_file_open_locked(AT_FDCWD, path, O_RDWR), -EBUSY);
	assert_true(migrate_file_is_named(AT_FDCWD, path, after));
	assert_int_equal(close(after), 0);
	after = migrate_file_open_locked(AT_FDCWD, path, O_RDWR);
	assert_true(after >= 0);
	assert_int_equal(close(after), 0);
	assert_int_equal(migrate_file_open_locked(AT_FDCWD, next, O_RDWR), -ENOENT);
}

static void
nobody_gets_hold_of_what_has_just_been_replaced(void **state)
{
	int order, ready;
	pid_t pid = start_owner(&order, &ready);

	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(write(order, "", 1), 1);
		assert_int_equal(migrate_file_open_locked(AT_FDCWD, path, O_RDONLY), -EBUSY);
	}
	end_owner(pid, order, ready);
}

static void
its_holder_is_found_though_it_is_replaced_meanwhile(void **state)
{
	char who[IMAGE_HOLDER_SIZE];
	int order, ready;
	pid_t pid = start_owner(&order, &ready);

	for (int i = 0; i < SCANS; i++) {
		assert_int_equal(write(order, "", 1), 1);
		assert_int_equal(image_lock_holder(path, who, sizeof(who)), pid);
	}
	end_owner(pid, order, ready);
}

static int
setup(void **state)
{
	int fd = mkstemp(path);

	snprintf(next, sizeof(next), "%s.new", path);
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
		cmocka_unit_test(a_file_that_is_replaced_is_locked_by_its_name),
		cmocka_unit_test(nobody_gets_hold_of_what_has_just_been_replaced),
		cmocka_unit_test(its_holder_is_found_though_it_is_replaced_meanwhile),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
