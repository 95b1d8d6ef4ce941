/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim: runs seeds, looks for one that fails, and shrinks it
 *
 *	sim [-j JOBS] [-f FIRST] [-n SEEDS]	many; one that fails is shrunk,
 *						but for -q
 *	sim -t -f SEED [-d FIRST-LAST,...]	one, with a log of all that happens,
 *						without the plan's items named
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define JOBS_MAX       64
#define HANG_S	       20 /* a run takes milliseconds */
#define CRASHING_SEEDS 32 /* run by one process */

/* What a worker tells of where it is, in memory that outlives it. */
struct progress {
	volatile uint64_t seed;
	volatile uint64_t done;
	pid_t pid;
};

static struct progress *workers;
static const char *verdict; /* the kind of failure that is being shrunk */

static uint64_t
real_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* Of the processor's time: the machine may be busy, or this process stopped for a while. */
static void
limit_run(void)
{
	setitimer(ITIMER_PROF, &(struct itimerval){ .it_value.tv_sec = HANG_S }, NULL);
}

static void
run(uint64_t seed)
{
	plan_make(&world.plan, seed);
	world_run();
}

static void *
shared(size_t bytes)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		perror("sim: mmap");
		exit(2);
	}
	return memory;
}

/* Runs what world.plan holds in a process of its own. True if that goes well. */
static bool
run_apart(bool log)
{
	int status;
	pid_t pid;

	fflush(NULL);
	*world_verdict = NULL;
	pid = fork();
	if (pid < 0) {
		perror("sim: fork");
		exit(2);
	}
	if (!pid) {
		world.trace = log;
		if (log)
			setvbuf(stdout, NULL, _IOLBF, 0); /* it may end by a signal */
		if (!log &&
		    (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)))
			_exit(2);
		limit_run();
		world_run();
		fflush(stdout);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (log && WIFSIGNALED(status))
		printf("# ends by signal %d: %s\n", WTERMSIG(status),
		       strsignal(WTERMSIG(status)));
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* --- shrinking --------------------------------------------------------------- */

static bool
fails_without(unsigned first, unsigned count)
{
	bool was[PLAN_ITEMS];
	bool changed = false;

	for (unsigned i = 0; i < count; i++) {
		was[i] = *plan_dropped(&world.plan, first + i);
		changed |= !was[i];
		*plan_dropped(&world.plan, first + i) = true;
	}
	if (changed && !run_apart(false) && *world_verdict == verdict)
		return true;
	for (unsigned i = 0; i < count; i++)
		*plan_dropped(&world.plan, first + i) = was[i];
	return false;
}

/* Drops what it can of the plan, in ever smaller pieces, while it still fails. */
static void
shrink(void)
{
	unsigned items = plan_items(&world.plan);
	bool smaller = true;

	for (unsigned size = items / 2 ? items / 2 : 1; size; size /= 2)
		for (unsigned i = 0; i < items; i += size)
			fails_without(i, size < items - i ? size : items - i);
	while (smaller) {
		smaller = false;
		for (unsigned i = 0; i < items; i++)
			smaller |= fails_without(i, 1);
	}
}

static void
print_left(void)
{
	unsigned items = plan_items(&world.plan), left = 0;
	const char *comma = "";

	printf("# again: make sim TRACE=1 SEED=%" PRIu64 " DROP=", world.plan.seed);
	for (unsigned i = 0; i < items; i++) {
		unsigned first = i;

		if (!*plan_dropped(&world.plan, i)) {
			left++;
			continue;
		}
		while (i + 1 < items && *plan_dropped(&world.plan, i + 1))
			i++;
		printf("%s%u-%u", comma, first, i);
		comma = ",";
	}
	printf("\n# %u of %u requests, faults, commands and crashes are left\n", left, items);
}

static void
report(uint64_t seed)
{
	plan_make(&world.plan, seed);
	printf("# seed %" PRIu64 " fails. It is being shrunk.\n", seed);
	if (run_apart(false)) {
		puts("# it does not fail alone: the simulator is not deterministic");
	} else {
		verdict = *world_verdict;
		shrink();
	}
	plan_print(&world.plan);
	run_apart(true);
	print_left();
}

static void
drop(const char *list)
{
	unsigned items = plan_items(&world.plan), first, last;
	int used;

	while (sscanf(list, "%u-%u%n", &first, &last, &used) == 2) {
		for (unsigned i = first; i <= last && i < items; i++)
			*plan_dropped(&world.plan, i) = true;
		list += used + (list[used] == ',');
	}
	if (*list) {
		fprintf(stderr, "sim: not a list of items (first-last,...): %s\n", list);
		exit(2);
	}
}

/* --- many seeds -------------------------------------------------------------- */

static void
run_some(struct progress *p, uint64_t first, uint64_t count, unsigned step)
{
	bool crashes = false;

	for (uint64_t i = 0; i < count; i += step) {
		p->seed = first + i;
		limit_run();
		run(first + i);
		crashes |= plan_crashes(&world.plan);
		p->done++;
	}
	fflush(stdout);
	if (crashes)
		_exit(0);
	exit(0); /* not _exit: a leak is looked for at exit */
}

/* Who crashes leaves its memory behind, so not too many do it in one process. */
static void
run_in_child(struct progress *p, uint64_t first, uint64_t count, unsigned step)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("sim: fork");
		exit(2);
	}
	if (!pid)
		run_some(p, first, count, step);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status)
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

static void
work(struct progress *p, uint64_t first, uint64_t count, unsigned step)
{
	uint64_t batch = (uint64_t)step * CRASHING_SEEDS;

	if (first < PLAN_JOURNAL_SEEDS)
		run_some(p, first, count, step);
	for (uint64_t i = 0; i < count; i += batch)
		run_in_child(p, first + i, i + batch < count ? batch : count - i, step);
	_exit(0);
}

static void
start_workers(unsigned jobs, uint64_t first, uint64_t count)
{
	fflush(NULL);
	for (unsigned i = 0; i < jobs; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("sim: fork");
			exit(2);
		}
		if (!pid)
			work(&workers[i], first + i, i < count ? count - i : 0, jobs);
		workers[i].pid = pid;
	}
}

/* The lowest seed of those that the workers failed at, or UINT64_MAX. */
static uint64_t
await_workers(unsigned jobs)
{
	uint64_t failed = UINT64_MAX;
	int status;
	pid_t pid;

	for (unsigned left = jobs; left; left--) {
		pid = wait(&status);
		for (unsigned i = 0; i < jobs; i++) {
			if (workers[i].pid != pid)
				continue;
			workers[i].pid = 0;
			if (!status || (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM))
				continue;
			if (workers[i].seed < failed)
				failed = workers[i].seed;
			for (unsigned j = 0; j < jobs; j++)
				if (workers[j].pid)
					kill(workers[j].pid, SIGTERM);
		}
	}
	return failed;
}

/* 0, or 1 if a seed fails. */
static int
run_many(unsigned jobs, uint64_t first, uint64_t count, bool quick)
{
	uint64_t began_ns = real_ns(), done = 0, failed;
	double seconds;

	start_workers(jobs, first, count);
	failed = await_workers(jobs);
	seconds = (double)(real_ns() - began_ns) / SECOND;
	for (unsigned i = 0; i < jobs; i++)
		done += workers[i].done;
	printf("# %" PRIu64 " seeds in %.1f s, %.0f a second\n", done, seconds,
	       (double)done / seconds);
	if (failed == UINT64_MAX && done < count)
		puts("# stopped before all were run");
	if (failed == UINT64_MAX)
		return done < count;
	if (quick)
		printf("# seed %" PRIu64 " fails\n", failed);
	else
		report(failed);
	return 1;
}

int
main(int argc, char **argv)
{
	uint64_t first = 1, count = 20000;
	unsigned jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	const char *dropped = "";
	bool log = false, quick = false;
	int option;

	while ((option = getopt(argc, argv, "j:f:n:td:q")) != -1) {
		if (option == 'j')
			jobs = (unsigned)strtoul(optarg, NULL, 0);
		else if (option == 'f')
			first = strtoull(optarg, NULL, 0);
		else if (option == 'n')
			count = strtoull(optarg, NULL, 0);
		else if (option == 't')
			log = true;
		else if (option == 'q')
			quick = true;
		else if (option == 'd')
			dropped = optarg;
		else
			return 2;
	}
	/* Many lives ask for the same memory: most of the time went into fresh pages. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	world_verdict = shared(sizeof(*world_verdict));
	workers = shared(JOBS_MAX * sizeof(*workers));
	if (log) {
		plan_make(&world.plan, first);
		drop(dropped);
		plan_print(&world.plan);
		return run_apart(true) ? 0 : 1;
	}
	if (!jobs || jobs > JOBS_MAX)
		jobs = 1;
	return run_many(jobs, first, count, quick);
}
