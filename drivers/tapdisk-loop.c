/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every thread here is a runner. One has the loop. The others are either idle, at the
 * bottom of their stacks, and can run turns; or away in a lent call; or back from one,
 * waiting for the loop. A runner that has ended its turn gives the loop to the first
 * of those that wait, and is idle then.
 *
 * A call that lends the loop only if it is slow leaves its number in its runner. A
 * thread that looks at it now and then finds the same number twice, and lends the loop
 * on behalf of the runner that waits. It sleeps while there are no such calls.
 */
#include "tapdisk-loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "list.h"
#include "tapdisk-log.h"

#define LOOP_IDLE 2 /* threads kept for the next calls */
/* Of which little is used: a turn parses JSON, which may be nested deeply. */
#define LOOP_STACK ((size_t)1 << 20)
/* Looks of the watcher at an idle loop, before it sleeps until it is woken. */
#define WATCH_LOOKS 100

#define CALL_NONE UINT64_C(0)
#define CALL_LENT UINT64_MAX /* by the watcher */

struct runner {
	pthread_cond_t wake;
	struct list_head link; /* loop.idle or loop.waiting */
	uint64_t since;	       /* it waits for the end of a turn after that one */
	bool granted;	       /* the loop is given to it */
	bool idle;	       /* it waits to run turns */
	bool lent;	       /* its call is: it has not got the loop */
	bool watched;	       /* its call is lent if it is slow */
	_Atomic uint64_t call; /* the number of that, or one of the above */
};

static struct {
	pthread_mutex_t lock;
	/* Under the lock: */
	struct list_head idle;
	struct list_head waiting;
	struct runner *grantee; /* has been granted the loop, and has not noticed yet */
	unsigned int n_idle;
	unsigned int threads; /* besides the main one and the watcher */
	unsigned int lent;
	bool kicked; /* event_fd is readable */
	bool quit;
	pthread_cond_t ended; /* a thread */

	atomic_bool wanted; /* waiting is not empty */
	int event_fd;
	struct runner main;

	/* Of the thread that has the loop: */
	bool (*turn)(void);
	uint64_t turns; /* so many have ended */
	bool over;
} loop = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.idle = { &loop.idle, &loop.idle },
	.waiting = { &loop.waiting, &loop.waiting },
	.ended = PTHREAD_COND_INITIALIZER,
	.event_fd = -1,
};

static struct {
	_Atomic(struct runner *) runner; /* that began the last call; or NULL: it has ended */
	_Atomic uint64_t calls;		 /* so many have begun; the number of the last one */
	atomic_bool asleep;
	bool runs;
	pthread_t thread;
	pthread_cond_t wake; /* with loop.lock */
} watch = { .wake = PTHREAD_COND_INITIALIZER };

static __thread struct runner *self; /* NULL: no runner's thread */

static void runner_turns(void);

/* --- giving and getting; all under the lock ------------------------------------- */

static void
grant(struct runner *r)
{
	r->granted = true;
	loop.grantee = r;
	pthread_cond_signal(&r->wake);
}

/* Waits for the loop, or for the end. */
static void
await(struct runner *r)
{
	while (!r->granted && !(r->idle && loop.quit))
		pthread_cond_wait(&r->wake, &loop.lock);
	if (r->granted)
		loop.grantee = NULL;
	r->granted = false;
}

static void
idle_add(struct runner *r)
{
	r->idle = true;
	loop.n_idle++;
	list_add(&r->link, &loop.idle);
}

static struct runner *
idle_take(void)
{
	struct runner *r = list_entry(loop.idle.next, struct runner, link);

	list_del(&r->link);
	loop.n_idle--;
	return r;
}

/* The first one for which enough turns have ended, or NULL. */
static struct runner *
waiting_first(void)
{
	struct runner *r;

	list_for_each_entry(r, &loop.waiting, link)
		if (r->since < loop.turns)
			return r;
	return NULL;
}

/* Takes it from those that wait. */
static struct runner *
waiting_take(void)
{
	struct runner *r = waiting_first();

	if (r) {
		list_del(&r->link);
		atomic_store(&loop.wanted, !list_empty(&loop.waiting));
	}
	return r;
}

static void
waiting_add(struct runner *r, uint64_t since)
{
	r->since = since;
	list_add_tail(&r->link, &loop.waiting);
	atomic_store(&loop.wanted, true);
}

/* Ends the wait of the turn that is under way, or else the next one's. */
static void
kick(void)
{
	const uint64_t one = 1;

	if (loop.kicked)
		return;
	loop.kicked = true;
	while (write(loop.event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *
runner_thread(void *arg)
{
	struct runner *watched = arg;

	self = arg;
	pthread_mutex_lock(&loop.lock);
	await(self);
	if (!loop.quit)
		runner_turns();
	/* The watcher looks at it under the lock. */
	atomic_compare_exchange_strong(&watch.runner, &watched, NULL);
	pthread_cond_destroy(&self->wake);
	free(self);
	loop.threads--;
	pthread_cond_signal(&loop.ended);
	pthread_mutex_unlock(&loop.lock);
	return NULL;
}

static int
start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	int err = pthread_attr_init(&attr);

	if (err)
		return err;
	pthread_attr_setstacksize(&attr, LOOP_STACK);
	err = pthread_create(thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return err;
}

/* Makes one more idle runner. 0 or an errno. */
static int
runner_create(void)
{
	struct runner *r;
	pthread_t thread;
	int err;

	if (loop.threads == LOOP_THREADS)
		return EAGAIN;
	r = calloc(1, sizeof(*r));
	if (!r)
		return ENOMEM;
	pthread_cond_init(&r->wake, NULL);
	r->idle = true;
	err = start_thread(&thread, runner_thread, r);
	if (err) {
		free(r);
		return err;
	}
	pthread_detach(thread);
	loop.threads++;
	idle_add(r);
	return 0;
}

/* Whether there is an idle runner now. */
static bool
ready_spare(void)
{
	int err;

	if (!list_empty(&loop.idle))
		return true;
	err = runner_create();
	if (err)
		tlog_syslog(TLOG_WARN, "a call waits in the loop: no spare thread: %s",
			    strerror(err));
	return !err;
}

/* Whether somebody else can have the loop now. */
static bool
ready_next(void)
{
	return waiting_first() || ready_spare();
}

/*
 * Gives it to somebody, after ready_next(). One that waits comes first: that it waits has
 * been heard already, perhaps, and a turn that began now would not be ended for it.
 */
static void
grant_next(void)
{
	grant(waiting_first() ? waiting_take() : idle_take());
}

/* --- calls -------------------------------------------------------------------------- */

void
tapdisk_loop_lend(void)
{
	int err = errno;

	if (!self)
		return;
	/* Or two threads would run turns at once. */
	assert(!self->lent && !self->watched);
	pthread_mutex_lock(&loop.lock);
	self->lent = ready_next();
	if (self->lent) {
		loop.lent++;
		grant_next();
	}
	pthread_mutex_unlock(&loop.lock);
	errno = err;
}

void
tapdisk_loop_lend_if_slow(void)
{
	uint64_t call;

	if (!self || !watch.runs)
		return;
	self->watched = true;
	call = atomic_load_explicit(&watch.calls, memory_order_relaxed) + 1;
	atomic_store_explicit(&self->call, call, memory_order_release);
	atomic_store_explicit(&watch.runner, self, memory_order_release);
	/* In this order: either the watcher sees the call, or we see that it sleeps. */
	atomic_store(&watch.calls, call);
	if (!atomic_load(&watch.asleep))
		return;
	pthread_mutex_lock(&loop.lock);
	atomic_store(&watch.asleep, false);
	pthread_cond_signal(&watch.wake);
	pthread_mutex_unlock(&loop.lock);
}

/* Under the lock, by a runner whose call is lent and has ended. */
static void
take_back(void)
{
	struct runner *r = loop.grantee;

	/* The one that was to run turns has not even begun. */
	if (r && r->idle) {
		r->granted = false;
		loop.grantee = NULL;
		idle_add(r);
	} else {
		waiting_add(self, 0);
		kick();
		await(self);
	}
	loop.lent--;
}

void
tapdisk_loop_take_back(void)
{
	int err = errno;

	if (!self)
		return;
	if (self->watched)
		self->lent = atomic_exchange(&self->call, CALL_NONE) == CALL_LENT;
	self->watched = false;
	if (!self->lent)
		return;
	self->lent = false;
	pthread_mutex_lock(&loop.lock);
	take_back();
	pthread_mutex_unlock(&loop.lock);
	errno = err;
}

bool
tapdisk_loop_is_held(void)
{
	return self && !self->lent && !self->watched;
}

bool
tapdisk_loop_pass(void)
{
	bool passed;

	if (!self)
		return false;
	pthread_mutex_lock(&loop.lock);
	passed = ready_next();
	if (passed) {
		grant_next();
		waiting_add(self, loop.turns);
		await(self);
	}
	pthread_mutex_unlock(&loop.lock);
	return passed;
}

/* --- the watcher ------------------------------------------------------------------ */

/* Lends the loop if the last call to begin is the one that was seen before. */
static void
watch_call(uint64_t *seen)
{
	struct runner *r = atomic_load(&watch.runner);
	uint64_t call = r ? atomic_load(&r->call) : CALL_NONE;

	if (call != CALL_NONE && call != CALL_LENT && call == *seen && ready_next() &&
	    atomic_compare_exchange_strong(&r->call, &call, CALL_LENT)) {
		loop.lent++;
		grant_next();
	}
	*seen = call;
}

/* Sleeps until a call begins after those that have been seen. Under the lock. */
static void
watch_sleep(uint64_t calls)
{
	atomic_store(&watch.asleep, true);
	if (atomic_load(&watch.calls) != calls)
		atomic_store(&watch.asleep, false);
	while (atomic_load(&watch.asleep) && !loop.quit)
		pthread_cond_wait(&watch.wake, &loop.lock);
}

static void *
watch_thread(void *arg)
{
	const struct timespec tick = { .tv_nsec = LOOP_SLOW_MS * 1000000L };
	uint64_t seen = CALL_NONE, calls = 0, now;
	unsigned int looks = 0;

	pthread_mutex_lock(&loop.lock);
	while (!loop.quit) {
		pthread_mutex_unlock(&loop.lock);
		nanosleep(&tick, NULL);
		pthread_mutex_lock(&loop.lock);

		watch_call(&seen);
		now = atomic_load(&watch.calls);
		looks = now != calls || (seen != CALL_NONE && seen != CALL_LENT) ? 0
										 : looks + 1;
		calls = now;
		if (looks == WATCH_LOOKS) {
			watch_sleep(calls);
			looks = 0;
		}
	}
	pthread_mutex_unlock(&loop.lock);
	return NULL;
}

static void
watch_start(void)
{
	int err = start_thread(&watch.thread, watch_thread, NULL);

	watch.runs = !err;
	if (err)
		tlog_syslog(TLOG_WARN,
			    "cannot watch for storage that does not take I/O: no thread: %s",
			    strerror(err));
}

static void
watch_stop(void)
{
	if (!watch.runs)
		return;
	pthread_mutex_lock(&loop.lock);
	pthread_cond_signal(&watch.wake);
	pthread_mutex_unlock(&loop.lock);
	pthread_join(watch.thread, NULL);
	watch.runs = false;
	atomic_store(&watch.asleep, false);
}

/* --- turns ------------------------------------------------------------------------- */

/* Gives the loop to next, and waits to get it again. False: this thread ends. */
static bool
give(struct runner *next)
{
	grant(next);
	if (self != &loop.main && loop.n_idle >= LOOP_IDLE)
		return false;
	idle_add(self);
	await(self);
	return !loop.quit;
}

/* The turn has ended. Whether this runner is to run another; under the lock. */
static bool
end_turn(void)
{
	struct runner *next;

	do {
		next = waiting_take();
		if (!next && (!loop.over || loop.lent))
			return true;
		if (!next && self == &loop.main)
			return false;
		/* At the end main is idle: nothing is lent, and nobody waits. */
		if (!next) {
			next = &loop.main;
			list_del(&next->link);
			loop.n_idle--;
		}
		if (!give(next))
			return false;
	} while (loop.over);
	return true;
}

/* Runs turns whenever this runner has the loop, which it has; under the lock. */
static void
runner_turns(void)
{
	do {
		self->idle = false;
		pthread_mutex_unlock(&loop.lock);
		do {
			loop.over = !loop.turn();
			loop.turns++;
		} while (!loop.over && !atomic_load(&loop.wanted));
		pthread_mutex_lock(&loop.lock);
	} while (end_turn());
}

void
tapdisk_loop_run(bool (*turn)(void))
{
	struct runner *r;

	loop.turn = turn;
	loop.turns = 1; /* more than those that take it back wait for */
	loop.quit = false;
	pthread_cond_init(&loop.main.wake, NULL);
	self = &loop.main;
	watch_start();

	pthread_mutex_lock(&loop.lock);
	runner_turns();
	loop.quit = true;
	list_for_each_entry(r, &loop.idle, link)
		pthread_cond_signal(&r->wake);
	while (loop.threads)
		pthread_cond_wait(&loop.ended, &loop.lock);
	INIT_LIST_HEAD(&loop.idle);
	loop.n_idle = 0;
	pthread_mutex_unlock(&loop.lock);
	watch_stop();
	self = NULL;
}

int
tapdisk_loop_open(void)
{
	loop.kicked = false;
	loop.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return loop.event_fd < 0 ? -errno : loop.event_fd;
}

void
tapdisk_loop_heard(void)
{
	uint64_t count;

	pthread_mutex_lock(&loop.lock);
	loop.kicked = false;
	while (read(loop.event_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	pthread_mutex_unlock(&loop.lock);
}

void
tapdisk_loop_close(void)
{
	close(loop.event_fd);
	loop.event_fd = -1;
}
