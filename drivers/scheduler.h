/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scheduler.h - waits for file descriptors and timeouts, and calls back
 *
 * An event has a mode (any of the POLL bits), a file descriptor or -1, and a
 * timeout, which is relative, periodic, and starts anew before each callback:
 * TV_INF is never, TV_ZERO is every turn. Who wants one shot sets TV_INF in the
 * callback. Time is monotonic; a timeout is never early.
 *
 * A callback may register, mask and unregister any event, its own too, and may
 * run a nested turn: that first runs what the outer turn had left, and returns.
 * An event that is masked or unregistered is not called again, whatever had
 * been pending for it. Unregister an event before closing its file descriptor.
 *
 * An error or a hang-up of a file descriptor counts as everything that its event
 * waits for. One descriptor may have several events.
 */
#ifndef SCHEDULER_H
#define SCHEDULER_H

#include <stdint.h>
#include <sys/time.h>

#include "list.h"

#define SCHEDULER_POLL_READ_FD	 0x1
#define SCHEDULER_POLL_WRITE_FD	 0x2
#define SCHEDULER_POLL_EXCEPT_FD 0x4
#define SCHEDULER_POLL_TIMEOUT	 0x8
/* With READ: only for what arrives anew, which the callback must then take all of. */
#define SCHEDULER_POLL_EDGE 0x10

typedef int32_t event_id_t;
typedef void (*event_cb_t)(event_id_t id, char mode, void *private);

struct event;

typedef struct scheduler {
	int epoll_fd;
	struct event **slots; /* by id; those that are free are NULL */
	unsigned int n_slots;
	uint16_t generation;
	struct list_head runnable; /* events whose callback is due, in order */
	int64_t next_due;	   /* no timeout is due before; ns */
	int64_t max_wait;	   /* of the next turn; ns */
} scheduler_t;

/* 0 or -errno. */
int scheduler_initialize(scheduler_t *s);
/* Frees everything; the file descriptors of events stay open. */
void scheduler_destroy(scheduler_t *s);

/* An id > 0, or -errno: -EINVAL, -ENOMEM, -EPERM for a file epoll cannot wait for. */
event_id_t scheduler_register_event(scheduler_t *s, char mode, int fd, struct timeval timeout,
				    event_cb_t cb, void *private);
/* An id that is unknown is ignored. */
void scheduler_unregister_event(scheduler_t *s, event_id_t id);
/* A masked event waits for nothing, its timeout neither. */
void scheduler_mask_event(scheduler_t *s, event_id_t id, int masked);
/* Starts a new timeout now. 0, -EINVAL (no timeout event, bad id), -ENOENT. */
int scheduler_event_set_timeout(scheduler_t *s, event_id_t id, struct timeval timeout);
/* The next turn, and only that, waits at most so long. */
void scheduler_set_max_timeout(scheduler_t *s, struct timeval timeout);

/* One turn: waits, then calls back. 0 or -errno. */
int scheduler_wait_for_events(scheduler_t *s);

/* The monotonic clock, nanoseconds. */
int64_t scheduler_now(void);

#endif
