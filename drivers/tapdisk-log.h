/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-log.h - messages to syslog, and to whoever asked
 *
 * Everything goes to syslog; to stderr too while tapdisk runs in the foreground
 * or where $TAPDISK_LOG_STDERR is set. Logging never waits: what syslogd or stderr
 * does not take at once is lost, and counted, and the next line that is taken is
 * preceded by "lines lost here: N". The first error since they were cleared is
 * remembered, so that the control client whose request failed is told in words why:
 * those that follow are of what is undone because of it.
 *
 * Control characters in a message become '?': names come from untrusted peers.
 */
#ifndef TAPDISK_LOG_H
#define TAPDISK_LOG_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <syslog.h>

struct log_limit; /* log-limit.h */
/* The socket of syslogd, if that is not /dev/log. */
#define TAPDISK_LOG_SOCKET_ENV "TAPDISK_LOG_SOCKET"

/* The longest message, with the terminating zero: three names of files, and words. */
#define TAPDISK_LOG_TEXT 12800

#define TLOG_WARN 0
#define TLOG_INFO 1
#define TLOG_DBG  2

/* Starts logging as ident; to_stderr: there as well. May be called again. */
void tapdisk_log_open(const char *ident, bool to_stderr);

/* Whether TLOG_DBG messages are wanted (they are not at first). */
void tapdisk_log_debug(bool on);

void tlog_syslog(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void __tlog_write(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An error; the text is remembered. */
void __tlog_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * What this thread says is counted against limit from now on, and left out where that is
 * exceeded; NULL: against none. Returns what it was before, to be set again. For all that a
 * guest or a client can have us say as often as it likes: each has a limit of its own. An
 * error is remembered in any case.
 */
struct log_limit *tapdisk_log_limit(struct log_limit *limit);

/*
 * The text of this thread's first error since it was cleared, or "".
 * Each thread has its own: what a request failed by is said where it is handled.
 */
const char *tapdisk_log_first_error(void);
void tapdisk_log_clear_error(void);
/* Puts back what it was before a request that was served in the middle of another one. */
void tapdisk_log_set_error(const char *text);

#define EPRINTF(fmt, ...)	    __tlog_error(fmt, ##__VA_ARGS__)
#define DPRINTF(fmt, ...)	    tlog_syslog(TLOG_INFO, fmt, ##__VA_ARGS__)
#define PERROR(fmt, ...)	    __tlog_error(fmt ": %s", ##__VA_ARGS__, strerror(errno))
#define tlog_write(level, fmt, ...) __tlog_write(level, "%s: " fmt, __func__, ##__VA_ARGS__)
#define tlog_error(err, fmt, ...)   __tlog_error(fmt " (error %d)", ##__VA_ARGS__, (int)(err))

/*
 * As tlog_error(), at most 16 times in 90 seconds for each driver. Not remembered: an I/O
 * that fails is not what the control client's request has failed by.
 */
#define tlog_drv_error(driver, err, fmt, ...)                                                 \
	do {                                                                                  \
		if (tapdisk_driver_log_pass(driver, __func__))                                \
			tlog_syslog(TLOG_WARN, fmt " (error %d)", ##__VA_ARGS__, (int)(err)); \
	} while (0)

#endif
