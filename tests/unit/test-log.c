/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-log.o */
/* The log: what it says, and that it never waits. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tapdisk-log.h"

/* More than any queue takes. */
#define MANY 3000

static char dir[] = "/tmp/test-log-XXXXXX";
static struct sockaddr_un addr = { .sun_family = AF_UNIX };
static int syslogd = -1, saved_stderr;
static char line[8192];

static void
syslogd_start(void)
{
	unlink(addr.sun_path);
	syslogd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(syslogd, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

static void
syslogd_stop(void)
{
	close(syslogd);
	syslogd = -1;
}

/* False: there is none. */
static bool
syslogd_reads(void)
{
	ssize_t n = recv(syslogd, line, sizeof(line) - 1, MSG_DONTWAIT);

	line[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static void
assert_line_ends(const char *text)
{
	assert_true(strlen(line) > strlen(text));
	assert_string_equal(line + strlen(line) - strlen(text), text);
}

static int
setup(void **state)
{
	syslogd_start();
	tapdisk_log_open("somebody", false);
	return 0;
}

static int
teardown(void **state)
{
	syslogd_stop();
	/* What is lost is said now, not in the next test. */
	syslogd_start();
	tapdisk_log_open("somebody", false);
	DPRINTF("over");
	syslogd_stop();
	return 0;
}

static void
a_line_is_as_syslog_writes_it(void **state)
{
	int pid, priority, day, h, m, s, n = 0;
	char month[4];

	errno = EXDEV;
	EPRINTF("it is %s", "so");
	assert_int_equal(errno, EXDEV);
	assert_true(syslogd_reads());
	assert_int_equal(sscanf(line, "<%d>%3s %d %d:%d:%d somebody[%d]: it is so%n", &priority,
				month, &day, &h, &m, &s, &pid, &n),
			 7);
	assert_int_equal(n, strlen(line));
	assert_int_equal(priority, LOG_DAEMON | LOG_ERR);
	assert_int_equal(pid, getpid());
}

static void
what_does_not_fit_is_counted(void **state)
{
	unsigned long taken = 0, lost;

	for (int i = 0; i < MANY; i++)
		DPRINTF("line %d", i);
	while (syslogd_reads())
		taken++;
	assert_in_range(taken, 1, MANY - 1);

	DPRINTF("there is room");
	assert_true(syslogd_reads());
	assert_int_equal(sscanf(strstr(line, "]: "), "]: lines lost here: %lu", &lost), 1);
	assert_int_equal(taken + lost, MANY);
	assert_true(syslogd_reads());
	assert_line_ends("]: there is room");
	assert_false(syslogd_reads());
}

static void
a_new_syslogd_is_found(void **state)
{
	DPRINTF("one");
	syslogd_stop();
	DPRINTF("nobody is there");
	syslogd_start();
	DPRINTF("two");
	assert_true(syslogd_reads());
	assert_line_ends("]: lines lost here: 1");
	assert_true(syslogd_reads());
	assert_line_ends("]: two");
}

static void
a_long_line_is_cut(void **state)
{
	char text[8000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	DPRINTF("%s", text);
	assert_true(syslogd_reads());
	assert_in_range(strlen(line), 3900, 4096);
}

/* What it writes, and somebody does not read, with that as stderr. */
static void
fill(int writer, int reader)
{
	char text[1 << 16];
	unsigned long lines = 0, lost = 0;
	ssize_t n;

	saved_stderr = dup(STDERR_FILENO);
	dup2(writer, STDERR_FILENO);
	tapdisk_log_open("somebody", true);
	for (int i = 0; i < MANY; i++)
		DPRINTF("%0500d", i);

	/* All that there is, then what comes when there is room again. */
	fcntl(reader, F_SETFL, O_NONBLOCK);
	while ((n = read(reader, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	DPRINTF("there is room");
	n = read(reader, text, sizeof(text) - 1);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	tapdisk_log_open("somebody", false);

	assert_true(n > 0);
	text[n] = '\0';
	assert_int_equal(sscanf(text, "somebody: lines lost here: %lu", &lost), 1);
	assert_non_null(strstr(text, "somebody: there is room\n"));
	assert_int_equal(lines + lost, MANY);
	close(writer);
	close(reader);
}

static void
a_pipe_that_is_full_is_not_waited_for(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	fill(fds[1], fds[0]);
}

/* What is undone after a failure may fail too: the first error is the cause. */
static void
the_first_error_is_remembered_until_it_is_cleared(void **state)
{
	tapdisk_log_clear_error();
	EPRINTF("cannot open %s", "it");
	tlog_syslog(TLOG_WARN, "something else");
	EPRINTF("cannot remove what was made for it");
	assert_string_equal(tapdisk_log_first_error(), "cannot open it");
	tapdisk_log_clear_error();
	assert_string_equal(tapdisk_log_first_error(), "");
	EPRINTF("no");
	assert_string_equal(tapdisk_log_first_error(), "no");
}

static void
neither_is_a_socket(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	fill(fds[1], fds[0]);
}

int
main(void)
{
#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		t(a_line_is_as_syslog_writes_it),
		t(what_does_not_fit_is_counted),
		t(a_new_syslogd_is_found),
		t(a_long_line_is_cut),
		t(a_pipe_that_is_full_is_not_waited_for),
		t(neither_is_a_socket),
		t(the_first_error_is_remembered_until_it_is_cleared),
	};
	int err;

	if (!mkdtemp(dir))
		return 1;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/log", dir);
	setenv(TAPDISK_LOG_SOCKET_ENV, addr.sun_path, 1);
	err = cmocka_run_group_tests_name("log", tests, NULL, NULL);
	unlink(addr.sun_path);
	rmdir(dir);
	return err;
}
