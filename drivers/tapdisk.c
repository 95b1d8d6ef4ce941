/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk.c - starts the process
 *
 * It goes to the background when everything that can fail has been done, and
 * then prints the path of its control socket. Its exit status is an errno value.
 */
#include <errno.h>
#include <getopt.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "background.h"
#include "fresh-process.h"
#include "tapdisk-control.h"
#include "tapdisk-log.h"
#include "tapdisk-message.h"
#include "tapdisk-server.h"
#include "tapdisk-start.h"

#ifndef TAPDISK_VERSION
#define TAPDISK_VERSION "0.1"
#endif

#define SLICE_NS 100000 /* the shortest that there is */

static void
usage(FILE *out)
{
	fprintf(out,
		"usage: tapdisk [-f]\n"
		"\n"
		"Serves virtual disks, as tap-ctl tells it to. It prints the path of its\n"
		"control socket and goes to the background; it ends when the last disk has\n"
		"been detached, or after SIGTERM when all are closed.\n"
		"\n"
		"  -f, -D, --foreground  stay in the foreground, log to stderr too\n"
		"  -h, --help            this\n"
		"  -V, --version         the version\n"
		"\n"
		"environment:\n"
		"  " TAPDISK_RUN_DIR_ENV "        where the sockets are (" TAPDISK_RUN_DIR ")\n"
		"  TAPDISK_LOG_STDERR    log to stderr too, in the background as well\n"
		"  TAPDISK_LOG_SOCKET    the socket of syslogd (/dev/log)\n");
}

/*
 * Memory that is swapped out to a disk that this process serves would never come
 * back. Locked only without a limit, under which allocations would fail instead.
 */
static void
lock_memory(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &unlimited) ||
	    mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		tlog_syslog(TLOG_WARN, "cannot lock memory (%s); going on without",
			    strerror(errno));
}

/*
 * A request wakes this process for a few microseconds of work. With the shortest slice
 * it gets them at once, also on a processor that it shares with the client; otherwise
 * the client goes on until it has nothing left to ask, while the disk is idle. It is a
 * hint: kernels before 6.12 have no slices and ignore it.
 */
static void
ask_for_short_slices(void)
{
	struct sched_attr attr;

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) ||
	    attr.sched_policy != SCHED_NORMAL)
		return;
	attr.sched_runtime = SLICE_NS;
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

/* Everything that can fail. */
static int
start(void)
{
	const char *path;
	int err = tapdisk_server_init();

	tapdisk_control_set_start(tapdisk_start);
	if (!err)
		err = tapdisk_control_open(&path);
	if (err)
		return err;

	if (printf("%s\n", path) < 0 || fflush(stdout)) {
		err = -errno;
		tapdisk_control_close();
		return err;
	}

	DPRINTF("running, control on %s", path);
	return 0;
}

static int
run(bool foreground)
{
	bool log_stderr = foreground || getenv("TAPDISK_LOG_STDERR");
	int err = 0, report = -1, status;

	if (!foreground)
		err = background(&report);
	/*
	 * blktap's tap-ctl reads both stdout and stderr, and expects nothing but the
	 * control socket's path; only what keeps it from running is worth more.
	 */
	tapdisk_log_open("tapdisk", log_stderr);
	if (!err) {
		lock_memory();
		ask_for_short_slices();
		err = start();
	}
	if (err && !log_stderr)
		fprintf(stderr, "tapdisk: cannot start: %s\n",
			*tapdisk_log_first_error() ? tapdisk_log_first_error()
						   : strerror(-err));
	else if (err)
		EPRINTF("cannot start: %s", strerror(-err));
	if (!err && !foreground)
		err = background_detach(log_stderr);

	status = -err;
	if (background_started(report, status))
		EPRINTF("cannot tell that it runs");
	if (err) {
		tapdisk_control_close();
		return status;
	}

	tapdisk_server_run();
	tapdisk_server_exit();
	DPRINTF("ends");
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "foreground", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	bool foreground = false;
	int c;

	fresh_process();
	while ((c = getopt_long(argc, argv, "fDhV", options, NULL)) != -1) {
		switch (c) {
		case 'f':
		case 'D':
			foreground = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			printf("tapdisk %s\n", TAPDISK_VERSION);
			return 0;
		default:
			usage(stderr);
			return EINVAL;
		}
	}
	if (optind != argc) {
		usage(stderr);
		return EINVAL;
	}

	return run(foreground);
}
