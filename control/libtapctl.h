/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtapctl.h - what the files of libtapctl share
 */
#ifndef LIBTAPCTL_H
#define LIBTAPCTL_H

#include <sys/uio.h>

#include "tap-ctl.h"

#define TAP_CTL_PATH 108 /* what a Unix socket's name may have, with the terminating zero */

/* Milliseconds since some moment; never set back. */
int64_t tap_ctl_now(void);

/* Records what tap_ctl_error() is to say, and returns err. clear: nothing. */
void tap_ctl_clear(void);
int tap_ctl_fail(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts <run directory>/<format> into path. -ENAMETOOLONG if it does not fit. */
int tap_ctl_path(char path[TAP_CTL_PATH], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * A non-blocking connection to a socket: a file descriptor, or -errno.
 * -EAGAIN: its owner does not accept just now.
 */
int tap_ctl_connect(const char *path);

/* Waits for events (POLLIN, POLLOUT) until deadline, -1 for ever. 0 or -errno. */
int tap_ctl_wait(int fd, short events, int64_t deadline);

/*
 * Sends message, then count buffers of extra, to tapdisk pid; the answer replaces
 * message. A tapdisk's error becomes -errno. request leaves the connection
 * open (a file descriptor) for what follows the answer, exchange closes it.
 */
int tap_ctl_request(pid_t pid, tapdisk_message_t *message, const struct iovec *extra, int count,
		    int64_t deadline);
int tap_ctl_exchange(pid_t pid, tapdisk_message_t *message, const struct iovec *extra,
		     int count, int timeout);

/* Exactly size bytes. -EPROTO if the tapdisk hangs up before. */
int tap_ctl_read(int fd, void *buf, size_t size, int64_t deadline);

#endif
