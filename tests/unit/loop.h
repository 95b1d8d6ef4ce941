/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.h - the loop of tapdisk with the real scheduler, and a clock that the test moves
 *
 * For test programs of what waits for clients: nothing in them depends on how fast the
 * machine is. Needs drivers/scheduler.o and drivers/tapdisk-log.o.
 */
#ifndef LOOP_H
#define LOOP_H

#include <time.h>

#include "tapdisk-server.h"
#include "timeout-math.h"

static scheduler_t loop_scheduler;
static int64_t loop_now = 1000; /* seconds; all that any clock says */

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	*now = (struct timespec){ .tv_sec = loop_now };
	return 0;
}

event_id_t
tapdisk_server_register_event(char mode, int fd, struct timeval timeout, event_cb_t cb,
			      void *private)
{
	return scheduler_register_event(&loop_scheduler, mode, fd, timeout, cb, private);
}

void
tapdisk_server_unregister_event(event_id_t id)
{
	scheduler_unregister_event(&loop_scheduler, id);
}

void
tapdisk_server_mask_event(event_id_t id, int masked)
{
	scheduler_mask_event(&loop_scheduler, id, masked);
}

int
tapdisk_server_event_set_timeout(event_id_t id, struct timeval timeout)
{
	return scheduler_event_set_timeout(&loop_scheduler, id, timeout);
}

static inline void
loop_turns(unsigned int n)
{
	while (n--) {
		scheduler_set_max_timeout(&loop_scheduler, TV_ZERO);
		assert_int_equal(scheduler_wait_for_events(&loop_scheduler), 0);
	}
}

/* Second by second. */
static inline void
loop_seconds(unsigned int n)
{
	while (n--) {
		loop_now++;
		loop_turns(2);
	}
}

#endif
