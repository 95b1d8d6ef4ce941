/* SPDX-License-Identifier: BSD-3-Clause */
#include "scheduler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tapdisk-log.h"
#include "timeout-math.h"

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)

#define SCHEDULER_MAX_WAIT   (600 * NSEC_PER_SEC)
#define SCHEDULER_MAX_EVENTS 0x8000 /* slots; an id is a generation and a slot */
#define SCHEDULER_BATCH	     64	    /* file descriptors looked at in one turn */
#define SCHEDULER_FD_MODES \
	(SCHEDULER_POLL_READ_FD | SCHEDULER_POLL_WRITE_FD | SCHEDULER_POLL_EXCEPT_FD)

struct event {
	event_id_t id;
	char mode;
	char pending; /* modes that the callback is due for */
	bool masked;
	bool own_fd; /* fd is a duplicate, to be closed with the event */
	int fd;	     /* what epoll watches, or -1 */
	struct timeval timeout;
	int64_t deadline; /* ns; INT64_MAX: never */
	event_cb_t cb;
	void *private;
	struct list_head runnable;
};

int64_t
scheduler_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static int64_t
timeval_ns(struct timeval tv)
{
	return tv.tv_sec * NSEC_PER_SEC + tv.tv_usec * INT64_C(1000);
}

static struct event *
scheduler_find(scheduler_t *s, event_id_t id)
{
	unsigned int slot = (unsigned int)id & (SCHEDULER_MAX_EVENTS - 1);
	struct event *event = id > 0 && slot < s->n_slots ? s->slots[slot] : NULL;

	return event && event->id == id ? event : NULL;
}

/* Starts the event's timeout. next_due may be early: a turn then corrects it. */
static void
event_arm(scheduler_t *s, struct event *event, int64_t now)
{
	if (!(event->mode & SCHEDULER_POLL_TIMEOUT) || TV_IS_INF(event->timeout)) {
		event->deadline = INT64_MAX;
		return;
	}

	event->deadline = now + timeval_ns(event->timeout);
	if (event->deadline < s->next_due)
		s->next_due = event->deadline;
}

static void
event_cancel(struct event *event)
{
	event->pending = 0;
	list_del_init(&event->runnable);
}

/*
 * epoll knows a descriptor once; a second event for it watches a duplicate.
 * A masked event is not in epoll at all, where a hang-up could not be masked.
 */
static int
event_watch(scheduler_t *s, struct event *event)
{
	struct epoll_event ev = { .data.u32 = (uint32_t)event->id };
	int fd;

	if (event->fd < 0)
		return 0;

	if (event->mode & SCHEDULER_POLL_READ_FD)
		ev.events |= EPOLLIN;
	if (event->mode & SCHEDULER_POLL_WRITE_FD)
		ev.events |= EPOLLOUT;
	if (event->mode & SCHEDULER_POLL_EXCEPT_FD)
		ev.events |= EPOLLPRI;
	if (event->mode & SCHEDULER_POLL_EDGE)
		ev.events |= EPOLLET;

	if (!epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, event->fd, &ev))
		return 0;
	if (errno != EEXIST)
		return -errno;

	fd = fcntl(event->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	event->fd = fd;
	event->own_fd = true;
	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static void
event_unwatch(scheduler_t *s, struct event *event)
{
	if (event->fd >= 0)
		epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, event->fd, NULL);
}

static void
event_free(struct event *event)
{
	if (event->own_fd)
		close(event->fd);
	free(event);
}

/* A free slot, or -errno. */
static int
scheduler_slot(scheduler_t *s)
{
	struct event **slots;
	unsigned int slot, n;

	for (slot = 0; slot < s->n_slots; slot++)
		if (!s->slots[slot])
			return (int)slot;

	n = s->n_slots ? 2 * s->n_slots : 32;
	if (n > SCHEDULER_MAX_EVENTS)
		return -ENOMEM;
	slots = reallocarray(s->slots, n, sizeof(*slots));
	if (!slots)
		return -ENOMEM;

	memset(slots + s->n_slots, 0, (n - s->n_slots) * sizeof(*slots));
	s->slots = slots;
	s->n_slots = n;
	return (int)slot;
}

event_id_t
scheduler_register_event(scheduler_t *s, char mode, int fd, struct timeval timeout,
			 event_cb_t cb, void *private)
{
	struct event *event;
	int err, slot;

	if (!cb || !mode ||
	    mode & ~(SCHEDULER_FD_MODES | SCHEDULER_POLL_TIMEOUT | SCHEDULER_POLL_EDGE) ||
	    ((mode & SCHEDULER_FD_MODES) && fd < 0))
		return -EINVAL;

	slot = scheduler_slot(s);
	if (slot < 0)
		return slot;

	event = calloc(1, sizeof(*event));
	if (!event)
		return -ENOMEM;

	/* A generation makes an id that was unregistered stay unknown. */
	s->generation = s->generation % 0x7fff + 1;
	event->id = (event_id_t)s->generation << 15 | slot;
	event->mode = mode;
	event->fd = mode & SCHEDULER_FD_MODES ? fd : -1;
	event->timeout = timeout;
	event->cb = cb;
	event->private = private;
	INIT_LIST_HEAD(&event->runnable);

	err = event_watch(s, event);
	if (err) {
		event_free(event);
		return err;
	}

	event_arm(s, event, scheduler_now());
	s->slots[slot] = event;
	return event->id;
}

void
scheduler_unregister_event(scheduler_t *s, event_id_t id)
{
	struct event *event = scheduler_find(s, id);

	if (!event)
		return;

	s->slots[id & (SCHEDULER_MAX_EVENTS - 1)] = NULL;
	if (!event->masked)
		event_unwatch(s, event);
	event_cancel(event);
	event_free(event);
}

void
scheduler_mask_event(scheduler_t *s, event_id_t id, int masked)
{
	struct event *event = scheduler_find(s, id);

	if (!event || event->masked == !!masked)
		return;

	event->masked = !!masked;
	if (masked) {
		event_unwatch(s, event);
		event_cancel(event);
	} else {
		if (event_watch(s, event))
			EPRINTF("cannot wait for file descriptor %d any more", event->fd);
		if (event->deadline < s->next_due)
			s->next_due = event->deadline;
	}
}

int
scheduler_event_set_timeout(scheduler_t *s, event_id_t id, struct timeval timeout)
{
	struct event *event = scheduler_find(s, id);

	if (id <= 0)
		return -EINVAL;
	if (!event)
		return -ENOENT;
	if (!(event->mode & SCHEDULER_POLL_TIMEOUT))
		return -EINVAL;

	event->timeout = timeout;
	event_arm(s, event, scheduler_now());
	return 0;
}

void
scheduler_set_max_timeout(scheduler_t *s, struct timeval timeout)
{
	int64_t wait = timeval_ns(timeout);

	if (!TV_IS_INF(timeout) && wait < s->max_wait)
		s->max_wait = wait;
}

static void
scheduler_make_runnable(scheduler_t *s, struct event *event, char modes)
{
	if (!event->pending)
		list_add_tail(&event->runnable, &s->runnable);
	event->pending |= modes;
}

/* The timeouts that are due, the earliest first. */
static void
scheduler_check_timeouts(scheduler_t *s)
{
	int64_t now = scheduler_now();
	struct event *event, *first;

	if (now < s->next_due)
		return;

	do {
		first = NULL;
		s->next_due = INT64_MAX;
		for (unsigned int i = 0; i < s->n_slots; i++) {
			event = s->slots[i];
			if (!event || event->masked || event->pending & SCHEDULER_POLL_TIMEOUT)
				continue;
			if (event->deadline < s->next_due)
				s->next_due = event->deadline;
			if (event->deadline <= now &&
			    (!first || event->deadline < first->deadline))
				first = event;
		}
		if (first)
			scheduler_make_runnable(s, first, SCHEDULER_POLL_TIMEOUT);
	} while (first);
}

static void
scheduler_check_fds(scheduler_t *s, const struct epoll_event *ready, int n)
{
	for (int i = 0; i < n; i++) {
		struct event *event = scheduler_find(s, (event_id_t)ready[i].data.u32);
		char modes = 0;

		if (!event)
			continue;
		if (ready[i].events & EPOLLIN)
			modes |= SCHEDULER_POLL_READ_FD;
		if (ready[i].events & EPOLLOUT)
			modes |= SCHEDULER_POLL_WRITE_FD;
		if (ready[i].events & EPOLLPRI)
			modes |= SCHEDULER_POLL_EXCEPT_FD;
		if (ready[i].events & (EPOLLERR | EPOLLHUP))
			modes |= SCHEDULER_FD_MODES;
		scheduler_make_runnable(s, event, modes & event->mode);
	}
}

static void
scheduler_run(scheduler_t *s)
{
	while (!list_empty(&s->runnable)) {
		struct event *event = list_entry(s->runnable.next, struct event, runnable);
		char modes = event->pending;

		event_cancel(event);
		if (event->mode & SCHEDULER_POLL_TIMEOUT)
			event_arm(s, event, scheduler_now());
		/* The callback may free the event. */
		event->cb(event->id, modes, event->private);
	}
}

/* How long to wait, in the milliseconds of epoll, rounded up: never early. */
static int
scheduler_wait_ms(scheduler_t *s)
{
	int64_t wait = s->max_wait;

	if (s->next_due != INT64_MAX) {
		int64_t due = s->next_due - scheduler_now();

		if (due < wait)
			wait = due;
	}
	return wait <= 0 ? 0 : (int)((wait + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
}

int
scheduler_wait_for_events(scheduler_t *s)
{
	struct epoll_event ready[SCHEDULER_BATCH];
	int n;

	/* Only a nested turn finds anything: what the outer one had left. */
	if (list_empty(&s->runnable)) {
		n = epoll_wait(s->epoll_fd, ready, SCHEDULER_BATCH, scheduler_wait_ms(s));
		s->max_wait = SCHEDULER_MAX_WAIT;
		if (n < 0 && errno != EINTR)
			return -errno;

		scheduler_check_timeouts(s);
		scheduler_check_fds(s, ready, n);
	}

	scheduler_run(s);
	return 0;
}

int
scheduler_initialize(scheduler_t *s)
{
	memset(s, 0, sizeof(*s));
	INIT_LIST_HEAD(&s->runnable);
	s->next_due = INT64_MAX;
	s->max_wait = SCHEDULER_MAX_WAIT;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return s->epoll_fd < 0 ? -errno : 0;
}

void
scheduler_destroy(scheduler_t *s)
{
	for (unsigned int i = 0; i < s->n_slots; i++)
		if (s->slots[i])
			event_free(s->slots[i]);
	free(s->slots);
	close(s->epoll_fd);
}
