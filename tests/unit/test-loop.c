/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-loop.o drivers/tapdisk-log.o */
/*
 * What the loop's turns do here are jobs, posted through a pipe. `steps` is an
 * ordinary variable that only the thread with the loop may touch.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tapdisk-loop.h"

struct job {
	void (*run)(struct job *job);
	sem_t *wait, *post;
	struct job *other;
	bool done;
	unsigned int number;
};

static int pipe_fds[2], loop_fd;
static struct job *kept; /* the first of the next turn */
static int turn_ms;	 /* a turn ends after so long; -1: when there is something to do */
static bool stop;
static unsigned int steps;
static unsigned int turns;
static sem_t sems[LOOP_THREADS + 2];
static pthread_t turner; /* the thread that ran the last turn */

static void
post(struct job *job)
{
	assert_int_equal(write(pipe_fds[1], &job, sizeof(job)), sizeof(job));
}

static bool
turn(void)
{
	struct pollfd fds[] = { { .fd = loop_fd, .events = POLLIN },
				{ .fd = pipe_fds[0], .events = POLLIN } };
	struct job *job = kept;

	turns++;
	turner = pthread_self();
	assert_true(poll(fds, 2, job ? 0 : turn_ms) >= 0);
	if (fds[0].revents)
		tapdisk_loop_heard();
	if (!job && fds[1].revents)
		assert_int_equal(read(pipe_fds[0], &job, sizeof(job)), sizeof(job));
	kept = NULL;
	if (job)
		job->run(job);
	return !stop;
}

/* Runs turns until a job stops it. */
static void
run(void)
{
	stop = false;
	steps = turns = 0;
	tapdisk_loop_run(turn);
}

static int
setup(void **state)
{
	assert_int_equal(pipe(pipe_fds), 0);
	loop_fd = tapdisk_loop_open();
	turn_ms = -1;
	assert_true(loop_fd >= 0);
	for (size_t i = 0; i < sizeof(sems) / sizeof(*sems); i++)
		sem_init(&sems[i], 0, 0);
	return 0;
}

static int
teardown(void **state)
{
	tapdisk_loop_close();
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return 0;
}

static void
job_stop(struct job *job)
{
	stop = true;
}

/* A call that waits for its semaphore. */
static void
job_wait(struct job *job)
{
	steps++;
	tapdisk_loop_lend();
	sem_wait(job->wait);
	tapdisk_loop_take_back();
	job->done = true;
	job->number = ++steps;
}

static void
job_wait_if_slow(struct job *job)
{
	tapdisk_loop_lend_if_slow();
	sem_wait(job->wait);
	tapdisk_loop_take_back();
	job->done = true;
	job->number = ++steps;
}

static void
job_post(struct job *job)
{
	steps++;
	sem_post(job->post);
}

/* Waits, turn by turn, for another job. */
static void
job_pass(struct job *job)
{
	while (!job->done)
		assert_true(tapdisk_loop_pass());
	job->number = ++steps;
}

static void
job_satisfy(struct job *job)
{
	job->other->done = true;
}

/* Keeps later jobs from beginning before another one has ended. */
static void
job_wait_for(struct job *job)
{
	if (job->other->done)
		return;
	usleep(1000);
	kept = job;
}

static void
calls_end_in_any_order(void **state)
{
	for (unsigned int first = 0; first < 2; first++) {
		struct job calls[] = { { .run = job_wait, .wait = &sems[0] },
				       { .run = job_wait, .wait = &sems[1] } };
		struct job ends[] = { { .run = job_post, .post = &sems[first] },
				      { .run = job_wait_for, .other = &calls[first] },
				      { .run = job_post, .post = &sems[!first] } };
		struct job end = { .run = job_stop };

		post(&calls[0]);
		post(&calls[1]);
		for (int i = 0; i < 3; i++)
			post(&ends[i]);
		post(&end);
		run();
		assert_true(calls[first].number < calls[!first].number);
		assert_int_equal(steps, 6);
	}
}

/* In the order in which they are told to, whichever began first. */
static void
the_first_to_end_goes_on(void **state)
{
	for (unsigned int first = 0; first < 2; first++) {
		struct job calls[] = { { .run = job_pass }, { .run = job_pass } };
		struct job tell[] = { { .run = job_satisfy, .other = &calls[first] },
				      { .run = job_satisfy, .other = &calls[!first] } };
		struct job nothing = { .run = job_post, .post = &sems[2] };
		struct job end = { .run = job_stop };

		post(&calls[0]);
		post(&calls[1]);
		post(&tell[0]);
		for (int i = 0; i < 4; i++)
			post(&nothing);
		post(&tell[1]);
		for (int i = 0; i < 4; i++)
			post(&nothing);
		post(&end);
		run();
		assert_true(calls[first].number < calls[!first].number);
	}
}

static void *
poster(void *arg)
{
	sem_post(arg);
	return NULL;
}

static void
job_wait_for_thread(struct job *job)
{
	pthread_t thread;

	job_wait(job);
	assert_int_equal(pthread_create(&thread, NULL, poster, job->post), 0);
	pthread_join(thread, NULL);
	stop = true;
}

/* Nobody else makes the runner's turn end: it sleeps without a limit. */
static void
it_is_taken_back_from_a_runner_that_sleeps(void **state)
{
	struct job call = { .run = job_wait_for_thread, .wait = &sems[0], .post = &sems[1] };
	pthread_t thread;

	post(&call);
	assert_int_equal(pthread_create(&thread, NULL, poster, &sems[0]), 0);
	run();
	pthread_join(thread, NULL);
	assert_true(call.done);
}

static void
job_wait_then_post(struct job *job)
{
	job_wait(job);
	sem_post(job->post);
}

/* The other call ends, and that it wants the loop is heard before this one is lent. */
static void
job_hears(struct job *job)
{
	sem_post(job->post);
	usleep(20000);
	tapdisk_loop_heard();
	job_wait(job);
	stop = true;
}

/* No turn begins while a thread waits for the end of one that has ended. */
static void
one_that_waits_comes_before_a_turn(void **state)
{
	struct job calls[] = {
		{ .run = job_wait_then_post, .wait = &sems[0], .post = &sems[1] },
		{ .run = job_hears, .post = &sems[0], .wait = &sems[1] }
	};

	post(&calls[0]);
	post(&calls[1]);
	run();
	assert_true(calls[0].done && calls[1].done);
}

static void *
post_later(void *arg)
{
	/* Long enough for turns to be counted, if any were run. */
	usleep(50000);
	sem_post(arg);
	return NULL;
}

static void
the_end_waits_for_calls(void **state)
{
	struct job call = { .run = job_wait, .wait = &sems[0] };
	struct job end = { .run = job_stop };
	pthread_t thread;

	post(&call);
	post(&end);
	assert_int_equal(pthread_create(&thread, NULL, post_later, &sems[0]), 0);
	run();
	assert_true(call.done);
	pthread_join(thread, NULL);
}

/* Only a job of another turn lets the call end. */
static void
a_slow_call_is_lent(void **state)
{
	struct job calls[] = { { .run = job_wait_if_slow, .wait = &sems[0] },
			       { .run = job_wait_if_slow, .wait = &sems[1] } };
	struct job posts[] = { { .run = job_post, .post = &sems[1] },
			       { .run = job_post, .post = &sems[0] } };
	struct job end = { .run = job_stop };

	post(&calls[0]);
	post(&calls[1]);
	post(&posts[0]);
	post(&posts[1]);
	post(&end);
	run();
	assert_true(calls[0].done && calls[1].done);
}

static void
job_quick(struct job *job)
{
	for (int i = 0; i < 1000; i++) {
		tapdisk_loop_lend_if_slow();
		tapdisk_loop_take_back();
	}
	job->done = pthread_equal(turner, pthread_self());
}

static void
a_quick_call_is_not(void **state)
{
	struct job calls[] = { { .run = job_quick }, { .run = job_quick } };
	struct job end = { .run = job_stop };

	post(&calls[0]);
	post(&calls[1]);
	post(&end);
	run();
	assert_true(calls[0].done && calls[1].done);
}

/* It has not been lent: the thread is still the one of the last turn. */
static void
job_one_too_many(struct job *job)
{
	const unsigned int before = turns;

	tapdisk_loop_lend();
	usleep(1000);
	job->done = turns == before;
	tapdisk_loop_take_back();
	for (int i = 0; i < LOOP_THREADS; i++)
		sem_post(&sems[0]);
}

static void
one_too_many_waits_in_the_loop(void **state)
{
	static struct job calls[LOOP_THREADS];
	struct job last = { .run = job_one_too_many }, end = { .run = job_stop };

	for (int i = 0; i < LOOP_THREADS; i++) {
		calls[i] = (struct job){ .run = job_wait, .wait = &sems[0] };
		post(&calls[i]);
	}
	post(&last);
	post(&end);
	run();
	assert_true(last.done);
	assert_int_equal(steps, 2 * LOOP_THREADS);
}

static void
others_may_call_it(void **state)
{
	errno = EXDEV;
	tapdisk_loop_lend();
	tapdisk_loop_lend_if_slow();
	tapdisk_loop_take_back();
	assert_false(tapdisk_loop_pass());
	assert_int_equal(errno, EXDEV);
}

static void
job_errno(struct job *job)
{
	tapdisk_loop_lend();
	errno = EXDEV;
	tapdisk_loop_take_back();
	job->done = errno == EXDEV;
	stop = true;
}

static void
errno_is_the_calls(void **state)
{
	struct job call = { .run = job_errno };

	post(&call);
	run();
	assert_true(call.done);
}

#define STORM_JOBS 400

static unsigned int storm_left;

/* Lends in every way; the last one to end stops. */
static void
job_storm(struct job *job)
{
	for (unsigned int i = 0; i < 4; i++) {
		steps++;
		switch ((job->number + i) % 4) {
		case 0:
			tapdisk_loop_lend();
			usleep(job->number % 7 * 100);
			tapdisk_loop_take_back();
			break;
		case 1:
			tapdisk_loop_lend_if_slow();
			usleep(job->number % 41 ? 0 : 30000);
			tapdisk_loop_take_back();
			break;
		case 2:
			tapdisk_loop_lend();
			tapdisk_loop_take_back();
			break;
		default:
			/* Or there is no thread for it. */
			(void)tapdisk_loop_pass();
		}
	}
	if (!--storm_left)
		stop = true;
}

static void
only_one_has_the_loop(void **state)
{
	static struct job jobs[STORM_JOBS];

	storm_left = STORM_JOBS;
	turn_ms = 1;
	for (unsigned int i = 0; i < STORM_JOBS; i++) {
		jobs[i] = (struct job){ .run = job_storm, .number = i };
		post(&jobs[i]);
	}
	run();
	assert_int_equal(steps, 4 * STORM_JOBS);
}

int
main(void)
{
#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		t(calls_end_in_any_order),
		t(the_first_to_end_goes_on),
		t(it_is_taken_back_from_a_runner_that_sleeps),
		t(one_that_waits_comes_before_a_turn),
		t(the_end_waits_for_calls),
		t(a_slow_call_is_lent),
		t(a_quick_call_is_not),
		t(one_too_many_waits_in_the_loop),
		t(others_may_call_it),
		t(errno_is_the_calls),
		t(only_one_has_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
