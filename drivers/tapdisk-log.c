/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * syslog(3) waits for a syslogd that does not read, which may itself wait for a disk
 * that this process serves. So this is the same without waiting: a line that cannot
 * be handed over at once is lost, and the number of those is said where they are missing.
 */
#include "tapdisk-log.h"

#include <ctype.h>
#include <paths.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "log-limit.h"

#define LOG_LINE 3900 /* and what is before it on a line are less than PIPE_BUF */

/* Somewhere that lines go to. */
struct sink {
	bool (*put)(int priority, const char *text); /* whether it was taken, at once */
	unsigned long lost;
};

static bool put_syslog(int priority, const char *text);
static bool put_stderr(int priority, const char *text);

static struct {
	pthread_mutex_t lock; /* workers log too */
	const char *ident;
	bool to_stderr;
	bool debug;
	int fd; /* connected to syslogd, or -1 */
	struct sink syslogd, err;
} log_state = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.ident = "tapdisk",
	.fd = -1,
	.syslogd = { .put = put_syslog },
	.err = { .put = put_stderr },
};

static __thread char first_error[TAPDISK_LOG_TEXT];
static __thread struct log_limit *limit;

void
tapdisk_log_open(const char *ident, bool to_stderr)
{
	pthread_mutex_lock(&log_state.lock);
	log_state.ident = ident;
	log_state.to_stderr = to_stderr;
	tzset(); /* reads a file, which no line should */
	pthread_mutex_unlock(&log_state.lock);
}

void
tapdisk_log_debug(bool on)
{
	log_state.debug = on;
}

const char *
tapdisk_log_first_error(void)
{
	return first_error;
}

void
tapdisk_log_clear_error(void)
{
	first_error[0] = '\0';
}

void
tapdisk_log_set_error(const char *text)
{
	snprintf(first_error, sizeof(first_error), "%s", text);
}

/* Formats into text: one line without control characters. */
static void
log_format(char *text, size_t size, const char *fmt, va_list args)
{
	size_t len;

	if (vsnprintf(text, size, fmt, args) < 0)
		snprintf(text, size, "%s", fmt);

	for (len = strlen(text); len && text[len - 1] == '\n'; len--)
		text[len - 1] = '\0';
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
}

/*
 * Keeps what fits, without half a UTF-8 character at the end. The first error is the
 * cause: those that follow are of what is undone because of it.
 */
static void
log_remember(const char *text)
{
	size_t len = strnlen(text, sizeof(first_error) - 1);

	if (*first_error)
		return;
	while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	memcpy(first_error, text, len);
	first_error[len] = '\0';
}

static const char *
log_socket(void)
{
	const char *path = getenv(TAPDISK_LOG_SOCKET_ENV);

	return path && *path ? path : _PATH_LOG;
}

/* False: nobody is there. */
static bool
syslog_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (log_state.fd >= 0)
		return true;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", log_socket());
	log_state.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (log_state.fd >= 0 &&
	    connect(log_state.fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(log_state.fd);
		log_state.fd = -1;
	}
	return log_state.fd >= 0;
}

/* As RFC 3164 has it: syslog(3) writes the same. */
static bool
put_syslog(int priority, const char *text)
{
	char line[LOG_LINE + 128], date[32];
	time_t now = time(NULL);
	struct tm tm;
	int len;

	localtime_r(&now, &tm);
	strftime(date, sizeof(date), "%h %e %T", &tm);
	len = snprintf(line, sizeof(line), "<%d>%s %s[%d]: %s", LOG_DAEMON | priority, date,
		       log_state.ident, getpid(), text);

	/* A syslogd that was started anew has another socket under that name. */
	for (int attempt = 0; attempt < 2 && syslog_connect(); attempt++) {
		if (send(log_state.fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return true;
		if (errno == EAGAIN || errno == ENOBUFS || errno == EMSGSIZE)
			return false;
		close(log_state.fd);
		log_state.fd = -1;
	}
	return false;
}

/* A pipe that has room has it for PIPE_BUF bytes, and more than a line has. */
static bool
put_stderr(int priority, const char *text)
{
	struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
	char line[LOG_LINE + 128];
	int len = snprintf(line, sizeof(line), "%s: %s\n", log_state.ident, text);
	ssize_t n = send(STDERR_FILENO, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK && poll(&room, 1, 0) == 1 && room.revents & POLLOUT)
		n = write(STDERR_FILENO, line, (size_t)len);
	return n == len;
}

static void
sink_put(struct sink *sink, int priority, const char *text)
{
	char missing[64];

	if (sink->lost) {
		snprintf(missing, sizeof(missing), "lines lost here: %lu", sink->lost);
		if (sink->put(LOG_WARNING, missing))
			sink->lost = 0;
	}
	if (sink->lost || !sink->put(priority, text))
		sink->lost++;
}

/* May be called by any thread; leaves errno alone, which callers still look at. */
static void
log_emit_line(int priority, const char *text)
{
	int err = errno;

	pthread_mutex_lock(&log_state.lock);
	sink_put(&log_state.syslogd, priority, text);
	if (log_state.to_stderr)
		sink_put(&log_state.err, priority, text);
	pthread_mutex_unlock(&log_state.lock);
	errno = err;
}

static int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void
log_emit(int priority, const char *text)
{
	char left_out[64];

	if (!limit) {
		log_emit_line(priority, text);
		return;
	}
	if (!log_limit_pass(limit, now_ns()))
		return;
	if (limit->left_out) {
		snprintf(left_out, sizeof(left_out), "%u lines like the next were left out",
			 limit->left_out);
		log_emit_line(LOG_WARNING, left_out);
		limit->left_out = 0;
	}
	log_emit_line(priority, text);
}

struct log_limit *
tapdisk_log_limit(struct log_limit *next)
{
	struct log_limit *before = limit;

	limit = next;
	return before;
}

static void
log_write(int level, const char *fmt, va_list args)
{
	static const int priority[] = {
		[TLOG_WARN] = LOG_WARNING,
		[TLOG_INFO] = LOG_INFO,
		[TLOG_DBG] = LOG_DEBUG,
	};
	char text[LOG_LINE];

	if (level < TLOG_WARN || level > TLOG_DBG)
		level = TLOG_INFO;
	if (level == TLOG_DBG && !log_state.debug)
		return;

	log_format(text, sizeof(text), fmt, args);
	log_emit(priority[level], text);
}

void
tlog_syslog(int level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_write(level, fmt, args);
	va_end(args);
}

void
__tlog_write(int level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_write(level, fmt, args);
	va_end(args);
}

void
__tlog_error(const char *fmt, ...)
{
	char text[TAPDISK_LOG_TEXT], line[LOG_LINE];
	va_list args;

	va_start(args, fmt);
	log_format(text, sizeof(text), fmt, args);
	va_end(args);

	/* The log has no room for a line with several long names; who asked has it whole. */
	snprintf(line, sizeof(line), "%.*s", (int)sizeof(line) - 1, text);
	log_emit(LOG_ERR, line);
	log_remember(text);
}
