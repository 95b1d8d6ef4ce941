/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtapctl-spawn.c - starting a tapdisk
 *
 * A tapdisk puts itself into the background. The process that we started says
 * on its stdout where the control socket is, and exits with 0, only once that
 * works; otherwise it says why not on stderr. What it says there is shown only if
 * it fails, unless $TAPDISK_LOG_STDERR makes stderr its log for good.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libtapctl.h"

#define START_SECONDS  60
#define LOG_STDERR_ENV "TAPDISK_LOG_STDERR"

/* The directories, relative to this program's, where a tapdisk may be. */
static const char *const places[] = { "tapdisk", "../libexec/tapdisk" };

static void
find_tapdisk(char path[PATH_MAX])
{
	const char *chosen = getenv("TAPDISK");
	char self[PATH_MAX - 32], *slash;
	ssize_t len;
	size_t i;

	if (chosen && *chosen) {
		snprintf(path, PATH_MAX, "%s", chosen);
		return;
	}
	len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len < 0 ? 0 : len] = '\0';
	slash = strrchr(self, '/');
	for (i = 0; slash && i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash - self), self, places[i]);
		if (!access(path, X_OK))
			return;
	}
	strcpy(path, "tapdisk"); /* in $PATH */
}

/*
 * In the child: stdin from nowhere, stdout and, if it is to be kept, stderr to files;
 * nothing else of ours. Our tapdisk sees to that itself, another may not.
 */
static void
exec_tapdisk(int out, int said)
{
	char path[PATH_MAX];
	char *argv[] = { path, NULL };
	int err, null = open("/dev/null", O_RDONLY);
	sigset_t none;

	find_tapdisk(path);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	(void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    (said < 0 || dup2(said, STDERR_FILENO) >= 0))
		execvp(path, argv);
	err = errno;
	fprintf(stderr, "tap-ctl: cannot start %s: %s\n", path, strerror(err));
	_exit(err);
}

/* Reads a line into text, or what there is until the end. 0 or -errno. */
static int
read_line(int fd, char *text, size_t size)
{
	const int64_t deadline = tap_ctl_now() + START_SECONDS * 1000;
	size_t have = 0;
	ssize_t n;
	int err;

	while (have < size - 1) {
		err = tap_ctl_wait(fd, POLLIN, deadline);
		if (err)
			return err;
		n = read(fd, text + have, size - 1 - have);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		have += n > 0 ? n : 0;
		text[have] = '\0';
		if (strchr(text, '\n'))
			break;
	}
	text[have] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

/* What became of a process that was to start a tapdisk. */
static int
exit_error(int status)
{
	if (WIFSIGNALED(status))
		return tap_ctl_fail(-ECHILD,
				    "the tapdisk was killed by signal %d as it started",
				    WTERMSIG(status));
	if (WEXITSTATUS(status))
		return tap_ctl_fail(-WEXITSTATUS(status),
				    "the tapdisk ended with status %d instead of starting",
				    WEXITSTATUS(status));
	return 0;
}

/* Passes on what a tapdisk has said of its failure. */
static void
show(int said)
{
	char text[4096];
	off_t at = 0;
	ssize_t n;

	while (said >= 0 && (n = pread(said, text, sizeof(text), at)) > 0) {
		fwrite(text, 1, (size_t)n, stderr);
		at += n;
	}
}

/* Runs a tapdisk until it is in the background. Its first line; 0 or -errno. */
static int
start(int said, char *line, size_t size)
{
	int out[2], err, status = 0;
	pid_t child;

	if (pipe2(out, O_CLOEXEC))
		return tap_ctl_fail(-errno, "no pipe");
	fflush(NULL);
	child = fork();
	if (!child)
		exec_tapdisk(out[1], said);
	err = child < 0 ? tap_ctl_fail(-errno, "no new process") : 0;
	close(out[1]);
	if (child > 0) {
		err = read_line(out[0], line, size);
		if (err) {
			tap_ctl_fail(err, "the tapdisk was not ready after %d seconds",
				     START_SECONDS);
			kill(child, SIGKILL);
		}
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (!err)
			err = exit_error(status);
	}
	close(out[0]);
	return err;
}

pid_t
tap_ctl_spawn(void)
{
	char path[TAP_CTL_PATH], line[TAP_CTL_PATH + 2] = "", *end = NULL;
	int err, said = -1;
	long pid = 0;

	tap_ctl_clear();
	err = tap_ctl_path(path, TAPDISK_CTL_PREFIX);
	if (err)
		return err;
	if (!getenv(LOG_STDERR_ENV))
		said = memfd_create("tapdisk-stderr", MFD_CLOEXEC);
	err = start(said, line, sizeof(line));
	if (!err && !strncmp(line, path, strlen(path)))
		pid = strtol(line + strlen(path), &end, 10);
	if (!err && (pid <= 0 || pid > INT_MAX || *end))
		err = tap_ctl_fail(
			-EPROTO, "the tapdisk said \"%s\" where its socket's name was expected",
			line);
	if (err)
		show(said);
	close(said);
	return err ? err : (pid_t)pid;
}
