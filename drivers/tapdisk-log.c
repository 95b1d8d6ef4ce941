/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "log-limit.h"

static struct {
	const char *ident;
	bool to_stderr;
	bool debug;
} log_state = { .ident = "tapdisk" };

static __thread char last_error[256];
static __thread struct log_limit *limit;

void
tapdisk_log_open(const char *ident, bool to_stderr)
{
	log_state.ident = ident;
	log_state.to_stderr = to_stderr;
	openlog(ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void
tapdisk_log_debug(bool on)
{
	log_state.debug = on;
}

const char *
tapdisk_log_last_error(void)
{
	return last_error;
}

void
tapdisk_log_clear_error(void)
{
	last_error[0] = '\0';
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

/* Keeps what fits, without half a UTF-8 character at the end. */
static void
log_remember(const char *text)
{
	size_t len = strnlen(text, sizeof(last_error) - 1);

	while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	memcpy(last_error, text, len);
	last_error[len] = '\0';
}

static void
log_emit_line(int priority, const char *text)
{
	syslog(priority, "%s", text);
	if (log_state.to_stderr)
		fprintf(stderr, "%s: %s\n", log_state.ident, text);
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
	char text[1024];

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
	char text[1024];
	va_list args;

	va_start(args, fmt);
	log_format(text, sizeof(text), fmt, args);
	va_end(args);

	log_emit(LOG_ERR, text);
	log_remember(text);
}
