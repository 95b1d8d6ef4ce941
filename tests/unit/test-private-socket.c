/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/private-socket.o drivers/scheduler.o drivers/tapdisk-log.o */
/*
 * A socket's clients when the process has no descriptor left: what is counted is how often
 * the system is asked for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop.h"
#include "private-socket.h"

static unsigned int accepts;

int
accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	accepts++;
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

/* --- its owner and its clients ---------------------------------------------------- */

static struct private_socket s;
static char dir[64], path[96];
static int taken[1024];
static unsigned int n_taken, most;

static void
take(void *ctx, int fd)
{
	assert_ptr_equal(ctx, &s);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	taken[n_taken++] = fd;
	if (n_taken == most)
		private_socket_full(&s, true);
}

static void
one_leaves(void)
{
	close(taken[--n_taken]);
	private_socket_full(&s, n_taken == most);
}

static int
dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Takes all descriptors but so many. */
static int used[4096];
static unsigned int n_used;

static void
leave_descriptors(unsigned int left)
{
	int fd;

	while ((fd = dup(0)) >= 0)
		used[n_used++] = fd;
	assert_int_equal(errno, EMFILE);
	while (left--)
		close(used[--n_used]);
}

static void
give_back(unsigned int n)
{
	for (; n_used && n; n--)
		close(used[--n_used]);
}

static int
setup(void **state)
{
	const struct rlimit few = { 256, 256 };

	n_taken = accepts = 0;
	most = 100;
	strcpy(dir, "/tmp/tapmigrate.XXXXXX");
	if (setrlimit(RLIMIT_NOFILE, &few) || !mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", dir);
	return scheduler_initialize(&loop_scheduler);
}

static int
teardown(void **state)
{
	give_back(UINT32_MAX);
	private_socket_close(&s);
	while (n_taken)
		close(taken[--n_taken]);
	scheduler_destroy(&loop_scheduler);
	return rmdir(dir); /* so the socket is gone */
}

/* --- tests ------------------------------------------------------------------------- */

static void
only_its_owner_can_connect(void **state)
{
	const mode_t mask = umask(0);
	struct stat st;

	assert_int_equal(private_socket_open(&s, path, 8, false, take, &s), 0);
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
a_socket_that_was_left_is_replaced(void **state)
{
	assert_int_equal(private_socket_open(&s, path, 8, false, take, &s), 0);
	close(s.fd);
	assert_int_equal(private_socket_open(&s, path, 8, false, take, &s), 0);
	close(dial());
	loop_turns(1);
	assert_int_equal(n_taken, 1);
}

static void
what_cannot_be_had_leaves_nothing(void **state)
{
	char longer[sizeof(s.addr.sun_path) + 1], none[200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(private_socket_open(&s, longer, 8, false, take, &s), -ENAMETOOLONG);
	assert_int_equal(s.fd, -1);
	snprintf(none, sizeof(none), "%s/none/socket", dir);
	assert_int_equal(private_socket_open(&s, none, 8, true, take, &s), -ENOENT);
	assert_int_equal(s.fd, -1);
	assert_int_equal(s.spare, -1);
}

static void
one_client_is_taken_in_a_turn(void **state)
{
	int fds[3];

	assert_int_equal(private_socket_open(&s, path, 8, false, take, &s), 0);
	for (int i = 0; i < 3; i++)
		fds[i] = dial();
	loop_turns(1);
	assert_int_equal(n_taken, 1);
	loop_turns(5);
	assert_int_equal(n_taken, 3);
	assert_int_equal(accepts, 3);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void
those_that_there_is_no_room_for_wait(void **state)
{
	int fds[3];

	most = 1;
	assert_int_equal(private_socket_open(&s, path, 8, false, take, &s), 0);
	for (int i = 0; i < 3; i++)
		fds[i] = dial();
	loop_turns(50);
	assert_int_equal(n_taken, 1);
	assert_int_equal(accepts, 1);
	one_leaves();
	loop_turns(50);
	assert_int_equal(accepts, 2);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void
without_descriptors_it_asks_once_a_second(void **state)
{
	int fd;

	assert_int_equal(private_socket_open(&s, path, 8, false, take, &s), 0);
	fd = dial();
	leave_descriptors(0);
	loop_turns(100);
	assert_int_equal(n_taken, 0);
	assert_int_equal(accepts, 1);
	for (unsigned int i = 0; i < 3; i++) {
		loop_seconds(1);
		loop_turns(100);
		assert_int_equal(accepts, 2 + i);
	}
	give_back(1);
	loop_seconds(1);
	assert_int_equal(n_taken, 1);
	loop_turns(10);
	assert_int_equal(accepts, 5);
	close(fd);
}

static void
a_client_that_goes_gives_its_descriptor_to_the_next(void **state)
{
	int fds[2];

	assert_int_equal(private_socket_open(&s, path, 8, false, take, &s), 0);
	fds[0] = dial();
	fds[1] = dial();
	leave_descriptors(1);
	loop_turns(100);
	assert_int_equal(n_taken, 1);
	assert_int_equal(accepts, 2);
	one_leaves();
	loop_turns(1);
	assert_int_equal(n_taken, 1);
	assert_int_equal(accepts, 3);
	close(fds[0]);
	close(fds[1]);
}

static void
a_spare_descriptor_serves_one_client_after_the_other(void **state)
{
	int fds[3];

	assert_int_equal(private_socket_open(&s, path, 8, true, take, &s), 0);
	for (int i = 0; i < 3; i++)
		fds[i] = dial();
	leave_descriptors(0);
	for (unsigned int i = 0; i < 3; i++) {
		loop_turns(100);
		assert_int_equal(n_taken, 1);
		one_leaves();
	}
	loop_turns(100);
	assert_int_equal(n_taken, 0);
	assert_in_range(accepts, 3, 9);
	assert_true(s.spare >= 0); /* for the next */
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void
a_client_that_went_while_it_rested_is_forgotten(void **state)
{
	int fd;

	assert_int_equal(private_socket_open(&s, path, 8, false, take, &s), 0);
	fd = dial();
	leave_descriptors(0);
	loop_turns(10);
	close(fd);
	give_back(2);
	loop_seconds(1);
	loop_turns(10);
	while (n_taken)
		one_leaves();
	fd = dial();
	loop_turns(1);
	assert_int_equal(n_taken, 1);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_its_owner_can_connect),
		TEST(a_socket_that_was_left_is_replaced),
		TEST(what_cannot_be_had_leaves_nothing),
		TEST(one_client_is_taken_in_a_turn),
		TEST(those_that_there_is_no_room_for_wait),
		TEST(without_descriptors_it_asks_once_a_second),
		TEST(a_client_that_goes_gives_its_descriptor_to_the_next),
		TEST(a_spare_descriptor_serves_one_client_after_the_other),
		TEST(a_client_that_went_while_it_rested_is_forgotten),
	};

	return cmocka_run_group_tests_name("private socket", tests, NULL, NULL);
}
