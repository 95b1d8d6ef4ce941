/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapback-device.o drivers/tapback-keys.o */
/*
 * What tapback decides for a device, played against a guest, a toolstack and a tapdisk
 * that are a few lines here; and how it reads what a guest has written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tapback-device.h"
#include "tapback-keys.h"

/* --- what is to be done ------------------------------------------------------------ */

/* Does it, as xenstore and a tapdisk that works would. */
static void
act(struct tapback_view *v, struct tapback_step step)
{
	switch (step.action) {
	case TAPBACK_REST:
		break;
	case TAPBACK_DISCONNECT:
		v->ring = TAPBACK_RING_NONE;
		break;
	case TAPBACK_CONNECT:
	case TAPBACK_RESUME:
		v->ring = TAPBACK_RING_CONNECTED;
		break;
	case TAPBACK_ENTER:
		v->back = step.state;
		break;
	}
}

static void
settle(struct tapback_view *v)
{
	struct tapback_step step;

	do {
		step = tapback_next(v);
		act(v, step);
	} while (step.action != TAPBACK_REST);
}

static void
is_at(const struct tapback_view *v, enum xenbus_state back, enum tapback_ring ring)
{
	assert_int_equal(v->back, back);
	assert_int_equal(v->ring, ring);
}

static const struct tapback_view new_device = {
	.front = XENBUS_INITIALISING,
	.back = XENBUS_INITIALISING,
	.ring = TAPBACK_RING_UNKNOWN,
};

static struct tapback_view
connected_device(void)
{
	struct tapback_view v = new_device;

	v.ready = true;
	v.front = XENBUS_INITIALISED;
	settle(&v);
	v.front = XENBUS_CONNECTED;
	settle(&v);
	is_at(&v, XENBUS_CONNECTED, TAPBACK_RING_CONNECTED);
	return v;
}

static void
test_a_guest_connects(void **state)
{
	struct tapback_view v = new_device;

	settle(&v);
	is_at(&v, XENBUS_INIT_WAIT, TAPBACK_RING_NONE);
	v.front = XENBUS_INITIALISED; /* before the script is done */
	settle(&v);
	is_at(&v, XENBUS_INIT_WAIT, TAPBACK_RING_NONE);
	v.ready = true;
	assert_int_equal(tapback_next(&v).action, TAPBACK_CONNECT);
	settle(&v);
	is_at(&v, XENBUS_CONNECTED, TAPBACK_RING_CONNECTED);
}

static void
test_a_guest_shuts_down(void **state)
{
	struct tapback_view v = connected_device();

	v.front = XENBUS_CLOSING; /* there may still be requests */
	settle(&v);
	is_at(&v, XENBUS_CLOSING, TAPBACK_RING_CONNECTED);
	v.front = XENBUS_CLOSED;
	settle(&v);
	is_at(&v, XENBUS_CLOSED, TAPBACK_RING_NONE);
}

static void
test_a_guest_comes_back(void **state)
{
	struct tapback_view v = connected_device();

	v.front = XENBUS_CLOSED; /* its driver is unloaded, and loaded again */
	settle(&v);
	v.front = XENBUS_INITIALISING;
	settle(&v);
	is_at(&v, XENBUS_INIT_WAIT, TAPBACK_RING_NONE);
	v.front = XENBUS_INITIALISED;
	settle(&v);
	is_at(&v, XENBUS_CONNECTED, TAPBACK_RING_CONNECTED);
}

static void
test_a_guest_starts_anew_without_closing(void **state)
{
	struct tapback_view v = connected_device();

	v.front = XENBUS_INITIALISING; /* as after kexec */
	settle(&v);
	is_at(&v, XENBUS_INIT_WAIT, TAPBACK_RING_NONE);
}

static void
test_a_guest_names_another_ring(void **state)
{
	struct tapback_view v = connected_device();

	v.front = XENBUS_INITIALISED;
	v.ring = TAPBACK_RING_STALE;
	assert_int_equal(tapback_next(&v).action, TAPBACK_DISCONNECT);
	act(&v, tapback_next(&v));
	assert_int_equal(tapback_next(&v).action, TAPBACK_CONNECT); /* it is a new one */
}

static void
test_a_guest_is_gone(void **state)
{
	struct tapback_view v = connected_device();

	v.front = XENBUS_GONE;
	settle(&v);
	is_at(&v, XENBUS_CLOSED, TAPBACK_RING_NONE);
	v.back = XENBUS_GONE; /* the script has removed it all */
	settle(&v);
	is_at(&v, XENBUS_GONE, TAPBACK_RING_NONE);
}

static void
test_a_directory_that_is_removed_under_a_guest_lets_the_ring_go(void **state)
{
	struct tapback_view v = connected_device();

	v.back = XENBUS_GONE;
	settle(&v);
	is_at(&v, XENBUS_GONE, TAPBACK_RING_NONE);
}

static void
test_a_disk_is_detached(void **state)
{
	struct tapback_view v = connected_device();

	v.closing = true;
	settle(&v); /* it is the guest's to let go */
	is_at(&v, XENBUS_CLOSING, TAPBACK_RING_CONNECTED);
	v.front = XENBUS_CLOSED;
	settle(&v);
	is_at(&v, XENBUS_CLOSED, TAPBACK_RING_NONE);
	v.front = XENBUS_INITIALISING;
	settle(&v); /* it does not come back */
	is_at(&v, XENBUS_CLOSED, TAPBACK_RING_NONE);
}

static void
test_a_disk_that_no_guest_has_looked_at_is_detached_at_once(void **state)
{
	struct tapback_view v = new_device;

	settle(&v);
	v.closing = true;
	settle(&v);
	is_at(&v, XENBUS_CLOSED, TAPBACK_RING_NONE);
}

static void
test_another_tapback_goes_on(void **state)
{
	struct tapback_view v = connected_device();

	v.ring = TAPBACK_RING_UNKNOWN;
	assert_int_equal(tapback_next(&v).action, TAPBACK_RESUME);
	settle(&v);
	is_at(&v, XENBUS_CONNECTED, TAPBACK_RING_CONNECTED);
}

static void
test_what_another_tapback_has_not_told_the_guest_is_done_anew(void **state)
{
	struct tapback_view v = connected_device();

	v.ring = TAPBACK_RING_UNKNOWN;
	v.front = XENBUS_INITIALISED;
	v.back = XENBUS_INIT_WAIT;
	assert_int_equal(tapback_next(&v).action, TAPBACK_DISCONNECT);
	act(&v, tapback_next(&v));
	assert_int_equal(tapback_next(&v).action, TAPBACK_CONNECT);
}

static void
test_a_guest_waits_while_its_tapdisk_is_dead(void **state)
{
	struct tapback_view v = connected_device();

	v.ring = TAPBACK_RING_UNKNOWN;
	v.ready = false;
	settle(&v);
	is_at(&v, XENBUS_CONNECTED, TAPBACK_RING_UNKNOWN);
	v.ready = true;
	assert_int_equal(tapback_next(&v).action, TAPBACK_RESUME);
}

/* Every state that there can be, whoever has brought it about. */
static void
test_it_always_comes_to_rest_and_never_breaks_a_rule(void **state)
{
	for (unsigned int i = 0; i < 10 * 10 * 4 * 2 * 2; i++) {
		struct tapback_view v = {
			.front = (enum xenbus_state)(i % 10),
			.back = (enum xenbus_state)(i / 10 % 10),
			.ring = (enum tapback_ring)(i / 100 % 4),
			.ready = i / 400 % 2,
			.closing = i / 800,
		};
		const enum xenbus_state was = v.back;
		int steps = 0;

		for (;;) {
			const struct tapback_step step = tapback_next(&v);

			if (step.action == TAPBACK_REST)
				break;
			assert_true(++steps < 5);
			if (step.action == TAPBACK_CONNECT)
				assert_int_equal(v.ring, TAPBACK_RING_NONE);
			if (step.action == TAPBACK_RESUME)
				assert_true(v.ring == TAPBACK_RING_UNKNOWN &&
					    was == XENBUS_CONNECTED);
			if (step.action == TAPBACK_CONNECT || step.action == TAPBACK_RESUME)
				assert_true(v.ready && !v.closing);
			if (step.action == TAPBACK_ENTER) {
				assert_int_not_equal(v.back, XENBUS_GONE);
				assert_int_equal(step.state == XENBUS_CONNECTED,
						 v.ring == TAPBACK_RING_CONNECTED &&
							 step.state != XENBUS_CLOSING);
				if (step.state == XENBUS_CLOSED ||
				    step.state == XENBUS_INIT_WAIT)
					assert_int_equal(v.ring, TAPBACK_RING_NONE);
			}
			act(&v, step);
		}
	}
}

static void
test_the_toolstack_is_answered_in_backend_vbd(void **state)
{
	/* It waits for this before it calls the script, and for that after xl destroy. */
	assert_int_equal(tapback_twin_next(XENBUS_INITIALISING, XENBUS_GONE), XENBUS_INIT_WAIT);
	assert_int_equal(tapback_twin_next(XENBUS_CLOSING, XENBUS_CONNECTED), XENBUS_UNKNOWN);
	assert_int_equal(tapback_twin_next(XENBUS_CLOSING, XENBUS_CLOSED), XENBUS_CLOSED);
	assert_int_equal(tapback_twin_next(XENBUS_CLOSING, XENBUS_GONE), XENBUS_CLOSED);
	/* Anything else is left as it is, above all an answer. */
	for (int back = XENBUS_UNKNOWN; back <= XENBUS_GONE; back++) {
		assert_int_equal(tapback_twin_next(XENBUS_CLOSED, back), XENBUS_UNKNOWN);
		assert_int_equal(tapback_twin_next(XENBUS_INIT_WAIT, back), XENBUS_UNKNOWN);
		assert_int_equal(tapback_twin_next(XENBUS_GONE, back), XENBUS_UNKNOWN);
	}
}

/* --- what a guest has written ---------------------------------------------------------- */

struct key {
	const char *name, *value;
};

static char *
read_key(void *front, const char *name)
{
	for (const struct key *key = front; key->name; key++)
		if (!strcmp(key->name, name))
			return strdup(key->value);
	return NULL;
}

/* 0, or -EINVAL for the key why. */
#define RING(...) \
	tapback_front_ring(read_key, (struct key[]){ __VA_ARGS__, { NULL, NULL } }, &ring, &why)

static void
test_rings_of_one_page_and_of_more(void **state)
{
	tapdisk_message_blkif_t ring;
	const char *why;

	assert_int_equal(RING({ "ring-ref", "8" }, { "event-channel", "15" },
			      { "protocol", "x86_64-abi" }),
			 0);
	assert_int_equal(ring.order, 0);
	assert_int_equal(ring.gref[0], 8);
	assert_int_equal(ring.port, 15);
	assert_int_equal(ring.proto, 3);

	assert_int_equal(RING({ "ring-page-order", "1" }, { "ring-ref0", "8" },
			      { "ring-ref1", "4294967295" }, { "event-channel", "1" }),
			 0);
	assert_int_equal(ring.order, 1);
	assert_int_equal(ring.gref[1], UINT32_MAX);
	assert_int_equal(ring.proto, 2); /* nobody else leaves it out */

	assert_int_equal(RING({ "ring-page-order", "0" }, { "ring-ref", "8" },
			      { "event-channel", "1" }, { "protocol", "x86_32-abi" }),
			 0);
	assert_int_equal(ring.gref[0], 8);
}

static void
test_what_is_no_ring_is_named(void **state)
{
	tapdisk_message_blkif_t ring;
	const char *why;

#define BAD(key_, ...)                                      \
	do {                                                \
		assert_int_not_equal(RING(__VA_ARGS__), 0); \
		assert_string_equal(why, key_);             \
	} while (0)
	BAD("ring-ref", { "event-channel", "1" });
	BAD("ring-ref", { "ring-ref", "" }, { "event-channel", "1" });
	BAD("ring-ref", { "ring-ref", "-1" }, { "event-channel", "1" });
	BAD("ring-ref", { "ring-ref", "0x8" }, { "event-channel", "1" });
	BAD("ring-ref", { "ring-ref", " 8" }, { "event-channel", "1" });
	BAD("ring-ref", { "ring-ref", "8 " }, { "event-channel", "1" });
	BAD("ring-ref", { "ring-ref", "4294967296" }, { "event-channel", "1" });
	BAD("ring-ref", { "ring-ref", "99999999999999999999999" }, { "event-channel", "1" });
	BAD("event-channel", { "ring-ref", "8" });
	BAD("event-channel", { "ring-ref", "8" }, { "event-channel", "one" });
	BAD("ring-page-order", { "ring-page-order", "4" }, { "ring-ref0", "8" });
	BAD("ring-page-order", { "ring-page-order", "" }, { "ring-ref", "8" });
	BAD("ring-ref1", { "ring-page-order", "1" }, { "ring-ref0", "8" }, { "ring-ref", "8" });
	BAD("ring-ref3", { "ring-page-order", "2" }, { "ring-ref0", "8" }, { "ring-ref1", "9" },
	    { "ring-ref2", "10" }, { "ring-ref3", "x" });
	BAD("protocol", { "ring-ref", "8" }, { "event-channel", "1" }, { "protocol", "" });
	BAD("protocol", { "ring-ref", "8" }, { "event-channel", "1" },
	    { "protocol", "x86_64-abi " });
}

static void
test_states(void **state)
{
	assert_int_equal(tapback_state(NULL), XENBUS_GONE);
	assert_int_equal(tapback_state("4"), XENBUS_CONNECTED);
	assert_int_equal(tapback_state("8"), XENBUS_RECONFIGURED);
	/* A guest cannot say that it is gone, nor anything else that is none. */
	assert_int_equal(tapback_state("9"), XENBUS_UNKNOWN);
	assert_int_equal(tapback_state("-1"), XENBUS_UNKNOWN);
	assert_int_equal(tapback_state("4x"), XENBUS_UNKNOWN);
	assert_int_equal(tapback_state(""), XENBUS_UNKNOWN);
}

static void
test_which_tapdisk(void **state)
{
	pid_t pid;
	int minor;

	assert_true(tapback_device_path("/run/b/nbd4711.3", "/run/b", &pid, &minor));
	assert_int_equal(pid, 4711);
	assert_int_equal(minor, 3);
	assert_false(tapback_device_path(NULL, "/run/b", &pid, &minor));
	assert_false(tapback_device_path("/dev/sda", "/run/b", &pid, &minor));
	assert_false(tapback_device_path("/run/bb/nbd1.3", "/run/b", &pid, &minor));
	assert_false(tapback_device_path("/run/b/nbd0.3", "/run/b", &pid, &minor));
	assert_false(tapback_device_path("/run/b/nbd1", "/run/b", &pid, &minor));
	assert_false(tapback_device_path("/run/b/nbd1.", "/run/b", &pid, &minor));
	assert_false(tapback_device_path("/run/b/nbd1.3.4", "/run/b", &pid, &minor));
	assert_false(tapback_device_path("/run/b/nbd1.16384", "/run/b", &pid, &minor));
	assert_false(tapback_device_path("/run/b/nbd2147483648.1", "/run/b", &pid, &minor));
}

static void
test_which_device(void **state)
{
	uint32_t domid, devid;

	assert_true(tapback_node("backend/vbd3/7/51712", "backend/vbd3", &domid, &devid));
	assert_int_equal(domid, 7);
	assert_int_equal(devid, 51712);
	assert_true(tapback_node("backend/vbd3/7/51712/state", "backend/vbd3", &domid, &devid));
	assert_false(tapback_node("backend/vbd3", "backend/vbd3", &domid, &devid));
	assert_false(tapback_node("backend/vbd3/7", "backend/vbd3", &domid, &devid));
	assert_false(tapback_node("backend/vbd3/7/", "backend/vbd3", &domid, &devid));
	assert_false(tapback_node("backend/vbd3/7/a", "backend/vbd3", &domid, &devid));
	assert_false(tapback_node("backend/vbd3/32752/1", "backend/vbd3", &domid, &devid));
	/* Not this one's, though it starts like it. */
	assert_false(tapback_node("backend/vbd3/7/51712", "backend/vbd", &domid, &devid));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_guest_connects),
		cmocka_unit_test(test_a_guest_shuts_down),
		cmocka_unit_test(test_a_guest_comes_back),
		cmocka_unit_test(test_a_guest_starts_anew_without_closing),
		cmocka_unit_test(test_a_guest_names_another_ring),
		cmocka_unit_test(test_a_guest_is_gone),
		cmocka_unit_test(
			test_a_directory_that_is_removed_under_a_guest_lets_the_ring_go),
		cmocka_unit_test(test_a_disk_is_detached),
		cmocka_unit_test(test_a_disk_that_no_guest_has_looked_at_is_detached_at_once),
		cmocka_unit_test(test_another_tapback_goes_on),
		cmocka_unit_test(test_what_another_tapback_has_not_told_the_guest_is_done_anew),
		cmocka_unit_test(test_a_guest_waits_while_its_tapdisk_is_dead),
		cmocka_unit_test(test_it_always_comes_to_rest_and_never_breaks_a_rule),
		cmocka_unit_test(test_the_toolstack_is_answered_in_backend_vbd),
		cmocka_unit_test(test_rings_of_one_page_and_of_more),
		cmocka_unit_test(test_what_is_no_ring_is_named),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_which_tapdisk),
		cmocka_unit_test(test_which_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
