/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * util.c - waiting, other programs, sysfs and xenstore, as the hotplug program uses them
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hotplug.h"

#define POLL_US (20 * 1000)

static volatile sig_atomic_t ending_signal;

int
fail_with_reason(int err, const char *format, ...)
{
	char what[TAP_CTL_TEXT], reason[TAP_CTL_TEXT];
	va_list args;

	snprintf(reason, sizeof(reason), "%s", tap_ctl_error());
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (!*reason)
		return tap_ctl_fail(err, "%s: %s", what, strerror(-err));
	if (strstr(reason, strerror(-err)))
		return tap_ctl_fail(err, "%s: %s", what, reason);
	return tap_ctl_fail(err, "%s: %s: %s", what, strerror(-err), reason);
}

/* --- sysfs ------------------------------------------------------------------------------ */

void
sysfs_path(char path[256], const char *format, ...)
{
	const char *root = getenv("SYSFS");
	va_list args;
	int n = snprintf(path, 256, "%s/", root && *root ? root : "/sys");

	va_start(args, format);
	if (n < 256)
		n += vsnprintf(path + n, 256 - n, format, args);
	va_end(args);
	if (n >= 256)
		*path = '\0';
}

void
sysfs_read(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, line, size - 1);

	if (fd >= 0)
		close(fd);
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

/* --- waiting ---------------------------------------------------------------------------- */

static void
ask_to_end(int signal)
{
	ending_signal = signal;
}

void
catch_signals(void)
{
	const struct sigaction act = { .sa_handler = ask_to_end, .sa_flags = SA_RESTART };

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
}

int
ended_by(void)
{
	return ending_signal;
}

bool
wait_until(int64_t ms, bool (*done)(void *arg), void *arg)
{
	const int64_t deadline = tap_ctl_now() + ms;

	while (!done(arg)) {
		if (ending_signal || tap_ctl_now() >= deadline)
			return false;
		usleep(POLL_US);
	}
	return true;
}

/* --- other programs ------------------------------------------------------------------------
 */

struct program {
	pid_t pid;
	int status;
};

static bool
has_ended(void *arg)
{
	struct program *program = arg;

	return waitpid(program->pid, &program->status, WNOHANG) == program->pid;
}

/* In the child: begins when the other end of gate says so, and ends if that is closed. */
static void __attribute__((noreturn)) become(char *const argv[], int gate, int said)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char go;

	if (read(gate, &go, 1) != 1)
		_exit(125);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(said, STDOUT_FILENO) < 0 ||
	    dup2(said, STDERR_FILENO) < 0)
		_exit(126);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static int
exit_status(const char *name, int status)
{
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return tap_ctl_fail(-ENOENT, "there is no %s", name);
	if (WIFEXITED(status))
		return tap_ctl_fail(-EIO, "%s failed with exit status %d", name,
				    WEXITSTATUS(status));
	return tap_ctl_fail(-EIO, "%s was killed by signal %d", name, WTERMSIG(status));
}

/* What the file has, as one line. */
static void
read_said(int fd, char *said, size_t size)
{
	ssize_t n = pread(fd, said, size - 1, 0);

	said[n > 0 ? n : 0] = '\0';
	for (size_t len = strlen(said); len && said[len - 1] == '\n';)
		said[--len] = '\0';
}

int
run_program(char *const argv[], int (*started)(pid_t pid, void *arg), void *arg, char *said,
	    size_t size)
{
	struct program program = { 0 };
	int gate[2], file, err = 0;

	*said = '\0';
	if (pipe2(gate, O_CLOEXEC))
		return tap_ctl_fail(-errno, "no pipe");
	file = memfd_create("said", MFD_CLOEXEC);
	program.pid = file < 0 ? -1 : fork();
	if (!program.pid) {
		close(gate[1]);
		become(argv, gate[0], file);
	}
	if (program.pid < 0)
		err = tap_ctl_fail(-errno, "%s cannot be started", argv[0]);
	close(gate[0]);
	if (!err && started)
		err = started(program.pid, arg);
	if (!err && write(gate[1], "g", 1) != 1)
		err = tap_ctl_fail(-errno, "%s cannot be started", argv[0]);
	close(gate[1]);
	if (program.pid > 0 && !wait_until(PROGRAM_MS, has_ended, &program)) {
		kill(program.pid, SIGKILL);
		while (waitpid(program.pid, &program.status, 0) < 0 && errno == EINTR)
			;
		err = tap_ctl_fail(-ETIMEDOUT, "%s does not come back", argv[0]);
	}
	if (file >= 0) {
		read_said(file, said, size);
		close(file);
	}
	return err ? err : exit_status(argv[0], program.status);
}

/* --- xenstore
 * --------------------------------------------------------------------------------- */

int
write_key(const char *dir, const char *must, const char *key, const char *value)
{
	const struct tapback_pair pair = { key, value };
	int err = tapback_store_write(dir, must, &pair, 1);

	if (!err)
		return 0;
	return tap_ctl_fail(err, "xenstore does not take %s/%s: %s", dir, key, strerror(-err));
}

int
write_vbd(const struct device *device, const char *key, const char *value)
{
	return write_key(device->vbd, "frontend", key, value);
}

bool
key_is(const char *dir, const char *key, const char *value)
{
	char *text = tapback_store_read(dir, key);
	bool equal = text && !strcmp(text, value);

	free(text);
	return equal;
}

bool
is_writable(const struct device *device)
{
	char *mode = tapback_store_read(device->vbd, "mode");
	bool writable = mode && strchr(mode, 'w');

	free(mode);
	return writable;
}
