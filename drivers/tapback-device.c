/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapback-device.h"

enum want {
	KEEP, /* as it is */
	NONE,
	RING,
};

/* Where a device should be. */
struct goal {
	enum want ring;
	enum xenbus_state back; /* XENBUS_UNKNOWN: as it is */
};

/* By the frontend's state, and whether the toolstack wants the device gone. */
static const struct goal goals[][2] = {
	/* clang-format off */
	[XENBUS_UNKNOWN]       = { { KEEP, XENBUS_UNKNOWN },   { NONE, XENBUS_CLOSED } },
	[XENBUS_INITIALISING]  = { { NONE, XENBUS_INIT_WAIT }, { NONE, XENBUS_CLOSED } },
	[XENBUS_INIT_WAIT]     = { { KEEP, XENBUS_UNKNOWN },   { NONE, XENBUS_CLOSED } },
	[XENBUS_INITIALISED]   = { { RING, XENBUS_CONNECTED }, { KEEP, XENBUS_CLOSING } },
	[XENBUS_CONNECTED]     = { { RING, XENBUS_CONNECTED }, { KEEP, XENBUS_CLOSING } },
	[XENBUS_CLOSING]       = { { KEEP, XENBUS_CLOSING },   { KEEP, XENBUS_CLOSING } },
	[XENBUS_CLOSED]        = { { NONE, XENBUS_CLOSED },    { NONE, XENBUS_CLOSED } },
	[XENBUS_RECONFIGURING] = { { KEEP, XENBUS_UNKNOWN },   { KEEP, XENBUS_CLOSING } },
	[XENBUS_RECONFIGURED]  = { { KEEP, XENBUS_UNKNOWN },   { KEEP, XENBUS_CLOSING } },
	[XENBUS_GONE]          = { { NONE, XENBUS_CLOSED },    { NONE, XENBUS_CLOSED } },
	/* clang-format on */
};

static const struct tapback_step rest = { TAPBACK_REST, XENBUS_UNKNOWN };
static const struct tapback_step disconnect = { TAPBACK_DISCONNECT, XENBUS_UNKNOWN };
static const struct tapback_step connect = { TAPBACK_CONNECT, XENBUS_UNKNOWN };
static const struct tapback_step resume = { TAPBACK_RESUME, XENBUS_UNKNOWN };

/* Towards a ring that is the guest's. A ring is in use only while we say "connected". */
static struct tapback_step
next_to_ring(const struct tapback_view *view)
{
	if (!view->ready)
		return rest;
	if (view->ring == TAPBACK_RING_NONE)
		return connect;
	if (view->ring == TAPBACK_RING_UNKNOWN && view->back == XENBUS_CONNECTED)
		return resume;
	return disconnect;
}

struct tapback_step
tapback_next(const struct tapback_view *view)
{
	static const struct goal removed = { NONE, XENBUS_UNKNOWN };
	const struct goal *goal =
		view->back == XENBUS_GONE ? &removed : &goals[view->front][view->closing];

	if (goal->ring == RING && view->ring != TAPBACK_RING_CONNECTED)
		return next_to_ring(view);
	if (goal->ring == NONE && view->ring != TAPBACK_RING_NONE)
		return disconnect;
	if (goal->back != XENBUS_UNKNOWN && goal->back != view->back)
		return (struct tapback_step){ TAPBACK_ENTER, goal->back };
	return rest;
}

enum xenbus_state
tapback_twin_next(enum xenbus_state twin, enum xenbus_state back)
{
	const bool over = back == XENBUS_CLOSED || back == XENBUS_GONE;

	if (twin == XENBUS_INITIALISING && back == XENBUS_GONE)
		return XENBUS_INIT_WAIT; /* xl calls the script then */
	if (twin == XENBUS_CLOSING && over)
		return XENBUS_CLOSED;
	return XENBUS_UNKNOWN;
}
