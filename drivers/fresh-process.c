/* SPDX-License-Identifier: BSD-3-Clause */
#include "fresh-process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES 65536 /* descriptors, if allowed */

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_NONE	   0 /* as the niceness says */

/* Kernels before 5.9 cannot close a range. */
static void
close_one_by_one(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (fd > STDERR_FILENO && fd != dirfd(dir))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* One of the first three that is missing would be taken for a file opened later. */
static void
clean_descriptors(void)
{
	int fd;

	if (close_range(STDERR_FILENO + 1, ~0U, 0))
		close_one_by_one();
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static void
clean_signals(void)
{
	static const int useless[] = { SIGPIPE, SIGXFSZ,   SIGXCPU, SIGUSR1, SIGUSR2,
				       SIGALRM, SIGVTALRM, SIGPROF, SIGIO,   SIGSTKFLT };
	struct sigaction action;
	sigset_t none;

	for (int sig = 1; sig <= SIGRTMAX; sig++)
		if (!sigaction(sig, NULL, &action) && action.sa_handler == SIG_IGN)
			signal(sig, SIG_DFL);
	for (size_t i = 0; i < sizeof(useless) / sizeof(*useless); i++)
		signal(useless[i], SIG_IGN);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		signal(sig, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* To at least that much, or as far as the hard limit allows. */
static void
raise_limit(__rlimit_resource_t what, rlim_t to)
{
	struct rlimit limit, more = { to, to };

	if (getrlimit(what, &limit) || limit.rlim_cur >= to)
		return;
	if (limit.rlim_max > to)
		more.rlim_max = limit.rlim_max;
	if (!setrlimit(what, &more))
		return;
	limit.rlim_cur = limit.rlim_max < to ? limit.rlim_max : to;
	(void)setrlimit(what, &limit);
}

static void
clean_limits(void)
{
	raise_limit(RLIMIT_FSIZE, RLIM_INFINITY);
	raise_limit(RLIMIT_CPU, RLIM_INFINITY);
	raise_limit(RLIMIT_AS, RLIM_INFINITY);
	raise_limit(RLIMIT_DATA, RLIM_INFINITY);
	raise_limit(RLIMIT_NPROC, RLIM_INFINITY);
	raise_limit(RLIMIT_NOFILE, FILES);
}

static void
clean_oom_score(void)
{
	static const char path[] = "/proc/self/oom_score_adj";
	char text[16] = "";
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0 && atoi(text) > 0 && pwrite(fd, "0", 1, 0) < 0)
		errno = 0; /* only one with the privilege may be less likely to be killed */
	close(fd);
}

/* Each as far as it is allowed. */
static void
clean_priority(void)
{
	const struct sched_param normal = { 0 };
	const int policy = sched_getscheduler(0);

	if (policy == SCHED_IDLE || policy == SCHED_BATCH)
		(void)sched_setscheduler(0, SCHED_OTHER, &normal);
	if (getpriority(PRIO_PROCESS, 0) > 0)
		(void)setpriority(PRIO_PROCESS, 0, 0);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_NONE);
	clean_oom_score();
}

void
fresh_process(void)
{
	clean_descriptors();
	clean_signals();
	clean_limits();
	clean_priority();
	umask(077);
}
