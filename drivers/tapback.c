/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapback.c - the daemon that connects Xen guests to the tapdisks of their disks
 *
 * Guest, toolstack and script leave in xenstore what they want; tapback-vbd.h does it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "background.h"
#include "fresh-process.h"
#include "scheduler.h"
#include "tapback-store.h"
#include "tapback-vbd.h"
#include "tapdisk-log.h"
#include "tapdisk-message.h"
#include "timeout-math.h"

#define PID_FILE "/run/tapback.pid"

static scheduler_t scheduler;
static int signal_fd = -1;
static bool over;
static int failure; /* -errno: why it is */

static void
usage(FILE *out)
{
	fprintf(out, "usage: tapback [-f] [-d] [-p FILE]\n"
		     "\n"
		     "Connects Xen guests to the tapdisks that have their disks: it "
		     "watches\n" TAPBACK_ROOT
		     " in xenstore, where block-tapmigrate puts a disk that xl attaches,\n"
		     "and serves all domains. It goes to the background when it is ready.\n"
		     "It can be ended and started at any time: guests go on.\n"
		     "\n"
		     "  -f, --foreground     stay in the foreground, log to stderr too\n"
		     "  -d, --debug          log more\n"
		     "  -p, --pidfile FILE   (" PID_FILE ")\n"
		     "  -h, --help           this\n"
		     "\n"
		     "environment:\n"
		     "  " TAPDISK_RUN_DIR_ENV "       where the tapdisks are (" TAPDISK_RUN_DIR
		     ")\n");
}

/* One tapback only: two would answer each other's guests. The descriptor, or -errno. */
static int
lock_pid_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err;

	/* Whoever may read the file may lock it. An older tapback has left it to everybody. */
	if (fd < 0 || fchmod(fd, 0600)) {
		err = -errno;
		EPRINTF("%s: %s", path, strerror(-err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = -errno;
		EPRINTF("%s: %s", path,
			err == -EWOULDBLOCK ? "another tapback runs" : strerror(-err));
		close(fd);
		return err;
	}
	if (ftruncate(fd, 0) || dprintf(fd, "%d\n", getpid()) < 0) {
		err = -errno;
		EPRINTF("%s: %s", path, strerror(-err));
		close(fd);
		return err;
	}
	return fd;
}

static void
signalled(event_id_t id, char mode, void *private)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
		DPRINTF("signal %u: ends, guests go on", info.ssi_signo);
		over = true;
	}
}

static void
store_changed(event_id_t id, char mode, void *private)
{
	int err = tapback_store_changed(tapback_vbds_changed);

	if (err) {
		failure = err;
		over = true;
	}
}

static int
wait_for_signals(void)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPWR };
	sigset_t set;
	event_id_t event;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		sigaddset(&set, wanted[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return -errno;
	event = scheduler_register_event(&scheduler, SCHEDULER_POLL_READ_FD, signal_fd, TV_INF,
					 signalled, NULL);
	return event < 0 ? event : 0;
}

/* Everything that can fail. */
static int
start(const char *pid_file)
{
	event_id_t event;
	int err = lock_pid_file(pid_file);

	if (err < 0)
		return err;
	err = scheduler_initialize(&scheduler);
	if (!err)
		err = wait_for_signals(); /* first: xenstore's library starts a thread */
	if (err)
		return err;
	err = tapback_store_open();
	if (err) {
		EPRINTF("no xenstore here: %s", strerror(-err));
		return err;
	}
	event = scheduler_register_event(&scheduler, SCHEDULER_POLL_READ_FD, tapback_store_fd(),
					 TV_INF, store_changed, NULL);
	if (event < 0)
		return event;
	return tapback_vbds_start(&scheduler);
}

static void
serve(void)
{
	while (!over) {
		tapback_vbds_look();
		if (!failure)
			failure = tapback_store_broken();
		if (!failure)
			failure = scheduler_wait_for_events(&scheduler);
		over |= failure != 0;
	}
	if (failure)
		EPRINTF("xenstore, or waiting for it, fails: %s", strerror(-failure));
}

static int
run(bool foreground, const char *pid_file)
{
	int err = 0, report = -1;

	if (!foreground)
		err = background(&report);
	tapdisk_log_open("tapback", true);
	if (!err)
		err = start(pid_file);
	if (err)
		EPRINTF("cannot start: %s", strerror(-err));
	else if (!foreground)
		err = background_detach(false);
	tapdisk_log_open("tapback", foreground);

	if (background_started(report, -err))
		EPRINTF("cannot tell that it runs");
	if (err)
		return -err;

	DPRINTF("running");
	serve();
	tapback_vbds_stop();
	tapback_store_close();
	scheduler_destroy(&scheduler);
	unlink(pid_file);
	return -failure;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "foreground", no_argument, NULL, 'f' },
		{ "debug", no_argument, NULL, 'd' },
		{ "pidfile", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *pid_file = PID_FILE;
	bool foreground = false;
	int c;

	fresh_process();
	while ((c = getopt_long(argc, argv, "fdp:h", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			foreground = true;
			break;
		case 'd':
			tapdisk_log_debug(true);
			break;
		case 'p':
			pid_file = optarg;
			break;
		case 'h':
			usage(stdout);
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
	return run(foreground, pid_file);
}
