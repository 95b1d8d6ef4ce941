/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/migrate-text.o */
/* links: drivers/migrate-control.o drivers/private-socket.o drivers/scheduler.o */
/* links: drivers/tapdisk-log.o */
/*
 * A migration's socket and clients that dawdle: nothing is kept or done for them without
 * measure, and they keep nobody out.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop.h"
#include "migrate-control.h"

static struct migrate_control *control;
static char dir[64], path[96];
static unsigned int handled;
static size_t reply_size;

static json_t *
handle(void *ctx, json_t *request)
{
	char *text = calloc(1, reply_size + 1);
	json_t *reply;

	handled++;
	memset(text, 'x', reply_size);
	reply = json_pack("{s:b, s:s}", "ok", 1, "text", text);
	free(text);
	return reply;
}

static int
dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	loop_turns(2);
	return fd;
}

static void
say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	loop_turns(2);
}

/* Takes what there is. How many lines that were, or -1 if it has been hung up on. */
static int
hear(int fd)
{
	char bytes[65536];
	int lines = 0;
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			lines += bytes[i] == '\n';
		loop_turns(3);
	}
	return !n || errno == ECONNRESET ? -1 : lines;
}

static int
setup(void **state)
{
	handled = 0;
	reply_size = 10;
	strcpy(dir, "/tmp/tapmigrate.XXXXXX");
	if (!mkdtemp(dir) || scheduler_initialize(&loop_scheduler))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", dir);
	return migrate_control_open(&control, path, handle, NULL);
}

static int
teardown(void **state)
{
	json_t *last = json_object();

	migrate_control_close(control, last);
	json_decref(last);
	scheduler_destroy(&loop_scheduler);
	return rmdir(dir);
}

static void
one_that_owes_nothing_may_stay(void **state)
{
	const int fd = dial();

	say(fd, "{}\n");
	assert_int_equal(hear(fd), 1);
	loop_seconds(3600);
	say(fd, "{}\n");
	assert_int_equal(hear(fd), 1);
	close(fd);
}

static void
half_a_line_is_not_waited_for_for_ever(void **state)
{
	const int fd = dial();

	say(fd, "{");
	loop_seconds(20);
	assert_int_equal(hear(fd), 0);
	loop_seconds(15);
	assert_int_equal(hear(fd), -1);
	close(fd);
}

static void
nor_is_one_that_comes_byte_by_byte(void **state)
{
	const int fd = dial();
	int seconds;

	for (seconds = 0; seconds < 60 && send(fd, " ", 1, MSG_NOSIGNAL) == 1; seconds++)
		loop_seconds(1);
	assert_in_range(seconds, 24, 36);
	close(fd);
}

static void
an_answer_that_is_not_taken_ends_the_connection(void **state)
{
	const int fd = dial();
	char bytes[4096];

	reply_size = 200000;
	for (int i = 0; i < 10; i++)
		say(fd, "{}\n");
	assert_in_range(handled, 1, 3);
	loop_seconds(60);
	/* What had been sent is there, and no more. */
	while (recv(fd, bytes, sizeof(bytes), 0) > 0)
		;
	assert_int_not_equal(errno, EAGAIN);
	assert_in_range(handled, 1, 3);
	close(fd);
}

static void
the_next_request_is_handled_when_the_last_answer_is_taken(void **state)
{
	const int fd = dial();

	reply_size = 200000;
	for (int i = 0; i < 10; i++)
		say(fd, "{}\n");
	assert_in_range(handled, 1, 3);
	assert_int_equal(hear(fd), 10);
	assert_int_equal(handled, 10);
	close(fd);
}

static void
a_flood_of_requests_leaves_others_their_turn(void **state)
{
	const int flood = dial(), other = dial();
	char lines[60000];

	memset(lines, '\n', sizeof(lines));
	for (size_t i = 0; i + 3 <= sizeof(lines); i += 3)
		memcpy(lines + i, "{}\n", 3);
	assert_int_equal(send(flood, lines, sizeof(lines), 0), sizeof(lines));
	assert_int_equal(send(other, "{}\n", 3, 0), 3);
	loop_turns(2);
	assert_in_range(handled, 2, 20);
	assert_int_equal(hear(other), 1);
	for (int i = 0; i < 20000 && handled < 20001; i++)
		assert_int_not_equal(hear(flood), -1);
	assert_int_equal(handled, 20001);
	close(flood);
	close(other);
}

static void
a_line_without_end_is_refused(void **state)
{
	const int fd = dial();
	char bytes[64 << 10];

	memset(bytes, ' ', sizeof(bytes));
	assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	loop_turns(5);
	assert_in_range(recv(fd, bytes, sizeof(bytes), 0), 20, 200);
	assert_non_null(memmem(bytes, 200, "at most 65536 bytes", 19));
	assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 0);
	close(fd);
}

static void
who_is_silent_keeps_no_others_out(void **state)
{
	int fds[MIGRATE_CONTROL_CLIENTS], late;

	for (int i = 0; i < MIGRATE_CONTROL_CLIENTS; i++)
		fds[i] = dial();
	late = dial();
	say(late, "{}\n");
	loop_seconds(20);
	assert_int_equal(handled, 0);
	/* One of them goes on asking. */
	say(fds[3], "{}\n");
	loop_seconds(20);
	assert_int_equal(hear(late), 1);
	for (int i = 0; i < MIGRATE_CONTROL_CLIENTS; i++) {
		assert_int_equal(hear(fds[i]), i == 3 ? 1 : -1);
		close(fds[i]);
	}
	close(late);
}

static void
one_that_has_gone_is_not_served(void **state)
{
	const int fd = dial();

	reply_size = 200000;
	for (int i = 0; i < 10; i++)
		say(fd, "{}\n");
	close(fd);
	loop_turns(20);
	assert_in_range(handled, 1, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_that_owes_nothing_may_stay),
		TEST(half_a_line_is_not_waited_for_for_ever),
		TEST(nor_is_one_that_comes_byte_by_byte),
		TEST(an_answer_that_is_not_taken_ends_the_connection),
		TEST(the_next_request_is_handled_when_the_last_answer_is_taken),
		TEST(a_flood_of_requests_leaves_others_their_turn),
		TEST(a_line_without_end_is_refused),
		TEST(who_is_silent_keeps_no_others_out),
		TEST(one_that_has_gone_is_not_served),
	};

	return cmocka_run_group_tests_name("the socket of a migration", tests, NULL, NULL);
}
