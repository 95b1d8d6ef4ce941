/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapback-device.h - what is to be done next for a guest's disk
 *
 * Nothing is remembered of how a device came to be where it is: what is in xenstore
 * now, and whether its tapdisk has the guest's ring, decide. So a tapback that has just
 * been started goes on where another one ended, and events may be late, many or lost
 * in others.
 */
#ifndef TAPBACK_DEVICE_H
#define TAPBACK_DEVICE_H

#include <stdbool.h>

/* What each end of a device says of itself, as in Xen's io/xenbus.h. */
enum xenbus_state {
	XENBUS_UNKNOWN,
	XENBUS_INITIALISING,
	XENBUS_INIT_WAIT,
	XENBUS_INITIALISED,
	XENBUS_CONNECTED,
	XENBUS_CLOSING,
	XENBUS_CLOSED,
	XENBUS_RECONFIGURING,
	XENBUS_RECONFIGURED,
	XENBUS_GONE, /* ours: there is no such end */
};

/* What is known of the ring that the tapdisk has of this device. */
enum tapback_ring {
	TAPBACK_RING_UNKNOWN, /* this tapback, or the tapdisk, is new */
	TAPBACK_RING_NONE,
	TAPBACK_RING_CONNECTED,
	TAPBACK_RING_STALE, /* connected, and not what the guest names now */
};

struct tapback_view {
	enum xenbus_state front;
	enum xenbus_state back; /* ours; XENBUS_GONE when our directory is removed */
	enum tapback_ring ring;
	bool ready;   /* the script has told which tapdisk it is */
	bool closing; /* the toolstack wants the device gone */
};

enum tapback_action {
	TAPBACK_REST,
	TAPBACK_DISCONNECT,
	TAPBACK_CONNECT, /* a ring that nobody has served yet */
	TAPBACK_RESUME,	 /* one that a guest is using */
	TAPBACK_ENTER,	 /* a state */
};

struct tapback_step {
	enum tapback_action action;
	enum xenbus_state state; /* to enter */
};

struct tapback_step tapback_next(const struct tapback_view *view);

/*
 * The twin: where xl's script was called for a device under backend/vbd, xl looks
 * there only. What to write as its state, or XENBUS_UNKNOWN for nothing. back is this
 * device's own, XENBUS_GONE if there is none (yet, or any more).
 */
enum xenbus_state tapback_twin_next(enum xenbus_state twin, enum xenbus_state back);

#endif
