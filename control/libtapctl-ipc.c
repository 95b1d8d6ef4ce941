/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtapctl-ipc.c - one request to a tapdisk and its answer, within a time
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "libtapctl.h"

#define BUSY_RETRY_MS 20   /* between attempts at a socket whose queue is full */
#define REST_MS	      5000 /* for what of an error's message did not fit into it */
#define POKE_MS	      50   /* between questions that keep a tapdisk awake */
#define UTF8_MAX      4
#define ERRNO_MAX     4095

FILE *tap_ctl_debug;

static _Thread_local char error_text[TAP_CTL_TEXT];

static const char *const request_names[] = {
	[TAPDISK_MESSAGE_PID] = "pid",
	[TAPDISK_MESSAGE_ATTACH] = "attach",
	[TAPDISK_MESSAGE_OPEN] = "open",
	[TAPDISK_MESSAGE_PAUSE] = "pause",
	[TAPDISK_MESSAGE_RESUME] = "resume",
	[TAPDISK_MESSAGE_CLOSE] = "close",
	[TAPDISK_MESSAGE_DETACH] = "detach",
	[TAPDISK_MESSAGE_LIST] = "list",
	[TAPDISK_MESSAGE_STATS] = "stats",
	[TAPDISK_MESSAGE_FORCE_SHUTDOWN] = "force shutdown",
	[TAPDISK_MESSAGE_DISK_INFO] = "disk info",
};

static const char *
request_name(int request)
{
	const size_t known = sizeof(request_names) / sizeof(*request_names);

	if (request == TAPDISK_MESSAGE_MIGRATE_START)
		return "migrate start";
	return (size_t)request < known && request_names[request] ? request_names[request] : "?";
}

const char *
tap_ctl_error(void)
{
	return error_text;
}

void
tap_ctl_clear(void)
{
	error_text[0] = '\0';
}

int
tap_ctl_fail(int err, const char *format, ...)
{
	char text[sizeof(error_text)];
	va_list args;

	/* The arguments may be tap_ctl_error() itself. */
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(error_text, text, strlen(text) + 1);
	return err;
}

int64_t
tap_ctl_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *
tap_ctl_run_dir(void)
{
	const char *dir = getenv(TAPDISK_RUN_DIR_ENV);

	return dir && *dir ? dir : TAPDISK_RUN_DIR;
}

int
tap_ctl_path(char path[TAP_CTL_PATH], const char *format, ...)
{
	const char *dir = tap_ctl_run_dir();
	va_list args;
	int len, more;

	len = snprintf(path, TAP_CTL_PATH, "%s/", dir);
	if (len < TAP_CTL_PATH) {
		va_start(args, format);
		more = vsnprintf(path + len, TAP_CTL_PATH - len, format, args);
		va_end(args);
		if (len + more < TAP_CTL_PATH)
			return 0;
	}
	return tap_ctl_fail(-ENAMETOOLONG,
			    "the run directory %s is too long for the sockets in it", dir);
}

int
tap_ctl_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return tap_ctl_fail(-errno, "no socket");
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	err = -errno;
	close(fd);
	return tap_ctl_fail(err, "nobody answers on %s", path);
}

int
tap_ctl_wait(int fd, short events, int64_t deadline)
{
	struct pollfd poller = { .fd = fd, .events = events };
	int64_t left = -1;
	int n;

	do {
		if (deadline >= 0) {
			left = deadline - tap_ctl_now();
			left = left < 0 ? 0 : left;
		}
		n = poll(&poller, 1, left > INT32_MAX ? INT32_MAX : (int)left);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

int
tap_ctl_read(int fd, void *buf, size_t size, int64_t deadline)
{
	ssize_t n;
	int err;

	while (size) {
		n = recv(fd, buf, size, 0);
		if (n > 0) {
			buf = (char *)buf + n;
			size -= n;
		} else if (!n) {
			return tap_ctl_fail(-EPROTO, "the tapdisk hung up without an answer");
		} else if (errno == EAGAIN) {
			err = tap_ctl_wait(fd, POLLIN, deadline);
			if (err)
				return tap_ctl_fail(err, "the tapdisk has not answered");
		} else if (errno != EINTR) {
			return tap_ctl_fail(-errno, "reading the tapdisk's answer");
		}
	}
	return 0;
}

static int
send_all(int fd, const void *buf, size_t size, int64_t deadline)
{
	ssize_t n;
	int err;

	while (size) {
		n = send(fd, buf, size, MSG_NOSIGNAL);
		if (n >= 0) {
			buf = (const char *)buf + n;
			size -= n;
		} else if (errno == EAGAIN) {
			err = tap_ctl_wait(fd, POLLOUT, deadline);
			if (err)
				return tap_ctl_fail(err, "the tapdisk takes no requests");
		} else if (errno != EINTR) {
			return tap_ctl_fail(-errno, "sending the tapdisk a request");
		}
	}
	return 0;
}

static int
connect_pid(pid_t pid, int64_t deadline)
{
	char path[TAP_CTL_PATH];
	int fd, err;

	err = tap_ctl_path(path, TAPDISK_CTL_PREFIX "%d", pid);
	if (err)
		return err;
	while ((fd = tap_ctl_connect(path)) == -EAGAIN) {
		if (deadline >= 0 && tap_ctl_now() >= deadline)
			return tap_ctl_fail(-ETIMEDOUT, "tapdisk %d is too busy to accept",
					    pid);
		usleep(BUSY_RETRY_MS * 1000);
	}
	return fd;
}

/* The end of a message, which its tapdisk sends until it hangs up; for REST_MS at most. */
static void
read_rest(int fd, char *text, size_t size, int64_t deadline)
{
	const int64_t soon = tap_ctl_now() + REST_MS;
	size_t have = 0;
	ssize_t n;

	if (deadline < 0 || deadline > soon)
		deadline = soon;
	while (have < size - 1) {
		n = recv(fd, text + have, size - 1 - have, 0);
		if (n > 0)
			have += (size_t)n;
		else if (!n || (errno != EINTR && errno != EAGAIN) ||
			 (errno == EAGAIN && tap_ctl_wait(fd, POLLIN, deadline)))
			break;
	}
	text[have] = '\0';
}

/*
 * The error that a tapdisk answered with, as -errno, and its message. One that fills its
 * place may go on behind it: at its end there is no half of a character, so a few bytes
 * may be free.
 */
static int
answered_error(pid_t pid, int fd, const tapdisk_message_response_t *response, int64_t deadline)
{
	const size_t size = sizeof(response->message),
		     len = strnlen(response->message, size - 1);
	char text[TAP_CTL_TEXT];

	memcpy(text, response->message, len);
	text[len] = '\0';
	if (len >= size - UTF8_MAX)
		read_rest(fd, text + len, sizeof(text) - len, deadline);
	if (response->error <= 0 || response->error > ERRNO_MAX)
		return tap_ctl_fail(-EPROTO, "tapdisk %d answered with error %d", pid,
				    response->error);
	return tap_ctl_fail(-response->error, "%s", text);
}

/* What is asked does not matter, nor what is answered. */
static void
poke(pid_t pid)
{
	tapdisk_message_t message = { .type = TAPDISK_MESSAGE_PID };
	char path[TAP_CTL_PATH];
	int fd;

	if (tap_ctl_path(path, TAPDISK_CTL_PREFIX "%d", pid))
		return;
	fd = tap_ctl_connect(path);
	if (fd < 0)
		return;
	if (!send_all(fd, &message, sizeof(message), tap_ctl_now() + POKE_MS))
		tap_ctl_wait(fd, POLLIN, tap_ctl_now() + POKE_MS);
	close(fd);
}

/*
 * Waits for the answer to a pause. The loop of blktap's tapdisk may have gone to sleep by the
 * time that the last request is answered, for up to ten minutes: it is kept awake.
 */
static void
keep_awake(pid_t pid, int fd, int64_t deadline)
{
	int64_t now = tap_ctl_now();

	while (tap_ctl_wait(fd, POLLIN, now + POKE_MS) == -ETIMEDOUT) {
		now = tap_ctl_now();
		if (deadline >= 0 && now >= deadline)
			return;
		poke(pid);
		now = tap_ctl_now();
	}
}

int
tap_ctl_request(pid_t pid, tapdisk_message_t *message, const struct iovec *extra, int count,
		int64_t deadline)
{
	const int request = message->type;
	const int answer = request == TAPDISK_MESSAGE_FORCE_SHUTDOWN ? TAPDISK_MESSAGE_CLOSE_RSP
								     : request + 1;
	int fd, err;

	tap_ctl_clear();
	fd = connect_pid(pid, deadline);
	if (fd < 0)
		return fd;
	if (tap_ctl_debug)
		fprintf(tap_ctl_debug, "tap-ctl: tapdisk %d, minor %d: %s\n", pid,
			message->cookie, request_name(request));

	err = send_all(fd, message, sizeof(*message), deadline);
	for (; !err && count; extra++, count--)
		err = send_all(fd, extra->iov_base, extra->iov_len, deadline);
	if (!err && request == TAPDISK_MESSAGE_PAUSE)
		keep_awake(pid, fd, deadline);
	/* One that does not know the request may answer before it has all of it. */
	if (!err || err == -EPIPE || err == -ECONNRESET)
		err = tap_ctl_read(fd, message, sizeof(*message), deadline);
	if (!err && message->type == TAPDISK_MESSAGE_ERROR)
		err = answered_error(pid, fd, &message->u.response, deadline);
	else if (!err && message->type != answer)
		err = tap_ctl_fail(-EPROTO, "tapdisk %d answered %s with message %d", pid,
				   request_name(request), message->type);

	if (tap_ctl_debug)
		fprintf(tap_ctl_debug, "tap-ctl: tapdisk %d, minor %d: %s: %s\n", pid,
			message->cookie, request_name(request), strerror(-err));
	if (!err)
		return fd;
	close(fd);
	return err;
}

int
tap_ctl_exchange(pid_t pid, tapdisk_message_t *message, const struct iovec *extra, int count,
		 int timeout)
{
	int64_t deadline = timeout < 0 ? -1 : tap_ctl_now() + (int64_t)timeout * 1000;
	int fd;

	fd = tap_ctl_request(pid, message, extra, count, deadline);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}
