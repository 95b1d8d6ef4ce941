/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/scheduler.o drivers/tapdisk-log.o */
/* The event loop: who is called, in which order, and who is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "scheduler.h"
#include "timeout-math.h"

static scheduler_t sched;
static int pair[2]; /* connected sockets */

/* What was called, a letter for each. */
static char calls[64];
static char last_mode;

static void
record(event_id_t id, char mode, void *private)
{
	strncat(calls, private, sizeof(calls) - strlen(calls) - 1);
	last_mode = mode;
}

static int
setup(void **state)
{
	calls[0] = '\0';
	return scheduler_initialize(&sched) ||
	       socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
}

static int
teardown(void **state)
{
	scheduler_destroy(&sched);
	close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
	return 0;
}

static event_id_t
timer(struct timeval timeout, char *name)
{
	return scheduler_register_event(&sched, SCHEDULER_POLL_TIMEOUT, -1, timeout, record,
					name);
}

/* A turn that does not wait. */
static void
turn(void)
{
	scheduler_set_max_timeout(&sched, TV_ZERO);
	assert_int_equal(scheduler_wait_for_events(&sched), 0);
}

static void
timeouts_come_in_the_order_of_their_deadlines(void **state)
{
	int64_t start;

	do { /* again, if they could not be made in less time than is between them */
		teardown(state);
		assert_int_equal(setup(state), 0);
		start = scheduler_now();
		timer(TV_USECS(3000), "c");
		timer(TV_USECS(1000), "a");
		timer(TV_USECS(2000), "b");
	} while (scheduler_now() - start >= INT64_C(1000000));
	usleep(4000);
	turn();
	assert_string_equal(calls, "abc");
}

static void
a_timeout_is_never_early_and_comes_again(void **state)
{
	int64_t start = scheduler_now();

	timer(TV_USECS(5000), "a");
	for (int i = 1; i <= 3; i++) {
		while (strlen(calls) < (size_t)i)
			assert_int_equal(scheduler_wait_for_events(&sched), 0);
		assert_true(scheduler_now() - start >= i * INT64_C(5000000));
	}
}

static void
record_once(event_id_t id, char mode, void *private)
{
	record(id, mode, private);
	scheduler_event_set_timeout(&sched, id, TV_INF);
}

static void
an_infinite_timeout_set_in_the_callback_makes_one_shot(void **state)
{
	scheduler_register_event(&sched, SCHEDULER_POLL_TIMEOUT, -1, TV_ZERO, record_once, "a");
	for (int i = 0; i < 3; i++)
		turn();
	assert_string_equal(calls, "a");
}

static void
a_zero_timeout_comes_once_a_turn(void **state)
{
	timer(TV_ZERO, "a");
	for (int i = 0; i < 3; i++)
		turn();
	assert_string_equal(calls, "aaa");
}

static void
the_longest_wait_is_limited_for_one_turn(void **state)
{
	const event_id_t id = timer(TV_SECS(3600), "a");
	int64_t start;

	scheduler_set_max_timeout(&sched, TV_ZERO);
	assert_int_equal(scheduler_wait_for_events(&sched), 0);
	assert_string_equal(calls, "");
	start = scheduler_now();
	assert_int_equal(scheduler_event_set_timeout(&sched, id, TV_USECS(50000)), 0);
	assert_int_equal(scheduler_wait_for_events(&sched), 0);
	assert_string_equal(calls, "a");
	assert_true(scheduler_now() - start >= INT64_C(50000000));
}

static void
a_masked_event_waits_for_nothing(void **state)
{
	event_id_t id = scheduler_register_event(
		&sched, SCHEDULER_POLL_READ_FD | SCHEDULER_POLL_TIMEOUT, pair[0],
		TV_USECS(1000), record, "a");

	scheduler_mask_event(&sched, id, 1);
	close(pair[1]);
	pair[1] = -1;
	usleep(2000);
	turn();
	assert_string_equal(calls, "");

	scheduler_mask_event(&sched, id, 0);
	turn();
	assert_string_equal(calls, "a");
	assert_int_equal(last_mode, SCHEDULER_POLL_READ_FD | SCHEDULER_POLL_TIMEOUT);
}

static void
a_hang_up_is_what_the_event_waits_for(void **state)
{
	scheduler_register_event(&sched, SCHEDULER_POLL_EXCEPT_FD, pair[0], TV_INF, record,
				 "a");
	turn();
	assert_string_equal(calls, "");
	close(pair[1]);
	pair[1] = -1;
	turn();
	assert_string_equal(calls, "a");
	assert_int_equal(last_mode, SCHEDULER_POLL_EXCEPT_FD);
}

static void
one_descriptor_may_have_two_events(void **state)
{
	event_id_t in = scheduler_register_event(&sched, SCHEDULER_POLL_READ_FD, pair[0],
						 TV_INF, record, "r");
	event_id_t out = scheduler_register_event(&sched, SCHEDULER_POLL_WRITE_FD, pair[0],
						  TV_INF, record, "w");

	assert_true(in > 0 && out > 0 && in != out);
	turn();
	assert_string_equal(calls, "w");

	assert_int_equal(write(pair[1], "x", 1), 1);
	scheduler_mask_event(&sched, out, 1);
	turn();
	assert_string_equal(calls, "wr");

	scheduler_unregister_event(&sched, in);
	scheduler_mask_event(&sched, out, 0);
	turn();
	assert_string_equal(calls, "wrw");
}

static event_id_t victims[2];

static void
unregister_both(event_id_t id, char mode, void *private)
{
	record(id, mode, private);
	scheduler_unregister_event(&sched, victims[0]);
	scheduler_unregister_event(&sched, victims[1]);
}

static void
what_a_callback_unregisters_is_not_called(void **state)
{
	for (int i = 0; i < 2; i++)
		victims[i] = scheduler_register_event(&sched, SCHEDULER_POLL_TIMEOUT, -1,
						      TV_ZERO, unregister_both, "a");
	turn();
	turn();
	assert_string_equal(calls, "a");
}

static void
an_unregistered_id_stays_unknown(void **state)
{
	event_id_t old = timer(TV_INF, "a"), new;

	scheduler_unregister_event(&sched, old);
	new = timer(TV_INF, "b");
	assert_int_not_equal(old, new);
	assert_int_equal(scheduler_event_set_timeout(&sched, old, TV_ZERO), -ENOENT);
	scheduler_unregister_event(&sched, old);
	assert_int_equal(scheduler_event_set_timeout(&sched, new, TV_ZERO), 0);
	assert_int_equal(scheduler_event_set_timeout(&sched, 0, TV_ZERO), -EINVAL);
}

static void
run_nested(event_id_t id, char mode, void *private)
{
	record(id, mode, "(");
	scheduler_event_set_timeout(&sched, id, TV_INF);
	assert_int_equal(scheduler_wait_for_events(&sched), 0);
	record(id, mode, ")");
}

static void
a_nested_turn_runs_what_the_outer_one_had_left(void **state)
{
	scheduler_register_event(&sched, SCHEDULER_POLL_TIMEOUT, -1, TV_ZERO, run_nested, NULL);
	usleep(10);
	timer(TV_ZERO, "a");
	usleep(10);
	timer(TV_ZERO, "b");
	turn();
	assert_string_equal(calls, "(ab)");
}

static void
nonsense_is_refused(void **state)
{
	assert_int_equal(scheduler_register_event(&sched, 0, -1, TV_INF, record, NULL),
			 -EINVAL);
	assert_int_equal(scheduler_register_event(&sched, SCHEDULER_POLL_READ_FD, -1, TV_INF,
						  record, NULL),
			 -EINVAL);
	assert_int_equal(scheduler_register_event(&sched, SCHEDULER_POLL_TIMEOUT, -1, TV_INF,
						  NULL, NULL),
			 -EINVAL);
}

static void
many_events_are_kept_apart(void **state)
{
	event_id_t ids[200];

	for (int i = 0; i < 200; i++)
		assert_true((ids[i] = timer(i % 50 ? TV_INF : TV_ZERO, "a")) > 0);
	for (int i = 0; i < 200; i += 100)
		scheduler_unregister_event(&sched, ids[i]);
	turn();
	assert_string_equal(calls, "aa");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(timeouts_come_in_the_order_of_their_deadlines),
		TEST(a_timeout_is_never_early_and_comes_again),
		TEST(an_infinite_timeout_set_in_the_callback_makes_one_shot),
		TEST(a_zero_timeout_comes_once_a_turn),
		TEST(the_longest_wait_is_limited_for_one_turn),
		TEST(a_masked_event_waits_for_nothing),
		TEST(a_hang_up_is_what_the_event_waits_for),
		TEST(one_descriptor_may_have_two_events),
		TEST(what_a_callback_unregisters_is_not_called),
		TEST(an_unregistered_id_stays_unknown),
		TEST(a_nested_turn_runs_what_the_outer_one_had_left),
		TEST(nonsense_is_refused),
		TEST(many_events_are_kept_apart),
	};

	return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
