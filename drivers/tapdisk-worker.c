/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tapdisk-log.h"
#include "tapdisk-server.h"
#include "timeout-math.h"

/* Of which little is used: JSON may be nested deeply. */
#define WORKER_STACK ((size_t)1 << 20)

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* Under the lock: */
	struct list_head queued;
	struct list_head finished;
	unsigned int n_queued;
	unsigned int idle; /* threads that wait for work */
	bool stop;

	/* The loop's: */
	pthread_t threads[TAPDISK_WORKERS];
	unsigned int n_threads;
	int event_fd;
	event_id_t event;
} pool = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.wake = PTHREAD_COND_INITIALIZER,
};

/* A finished work, and that there is one more. Under the lock. */
static void
worker_finish(struct td_work *work)
{
	const uint64_t one = 1;

	list_add_tail(&work->link, &pool.finished);
	while (write(pool.event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *
worker_thread(void *arg)
{
	pthread_mutex_lock(&pool.lock);
	while (!pool.stop) {
		struct td_work *work;

		if (list_empty(&pool.queued)) {
			pool.idle++;
			pthread_cond_wait(&pool.wake, &pool.lock);
			pool.idle--;
			continue;
		}

		work = list_entry(pool.queued.next, struct td_work, link);
		list_del(&work->link);
		pool.n_queued--;
		pthread_mutex_unlock(&pool.lock);

		work->run(work);

		pthread_mutex_lock(&pool.lock);
		worker_finish(work);
	}
	pthread_mutex_unlock(&pool.lock);

	return NULL;
}

/*
 * The eventfd is a semaphore that counts the finished works: a done() that runs
 * nested turns leaves the others to them.
 */
static void
worker_event(event_id_t id, char mode, void *private)
{
	uint64_t one;

	while (read(pool.event_fd, &one, sizeof(one)) == sizeof(one)) {
		struct td_work *work;

		pthread_mutex_lock(&pool.lock);
		work = list_entry(pool.finished.next, struct td_work, link);
		list_del(&work->link);
		pthread_mutex_unlock(&pool.lock);

		work->done(work);
	}
}

/* One more thread, if there may be one. */
static void
worker_grow(void)
{
	pthread_attr_t attr;
	int err;

	if (pool.n_threads == TAPDISK_WORKERS)
		return;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	err = pthread_create(&pool.threads[pool.n_threads], &attr, worker_thread, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		EPRINTF("cannot start a worker thread: %s", strerror(err));
	else
		pool.n_threads++;
}

void
tapdisk_worker_submit(struct td_work *work)
{
	bool idle;

	pthread_mutex_lock(&pool.lock);
	idle = pool.idle > pool.n_queued;
	pthread_mutex_unlock(&pool.lock);

	if (!idle)
		worker_grow();

	pthread_mutex_lock(&pool.lock);
	if (pool.n_threads) {
		list_add_tail(&work->link, &pool.queued);
		pool.n_queued++;
		pthread_cond_signal(&pool.wake);
	} else {
		work->run(work);
		worker_finish(work);
	}
	pthread_mutex_unlock(&pool.lock);
}

int
tapdisk_worker_init(void)
{
	int err;

	INIT_LIST_HEAD(&pool.queued);
	INIT_LIST_HEAD(&pool.finished);
	pool.stop = false;

	pool.event_fd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	if (pool.event_fd < 0)
		return -errno;

	pool.event = tapdisk_server_register_event(SCHEDULER_POLL_READ_FD, pool.event_fd,
						   TV_INF, worker_event, NULL);
	if (pool.event < 0) {
		err = pool.event;
		close(pool.event_fd);
		return err;
	}

	return 0;
}

void
tapdisk_worker_exit(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_broadcast(&pool.wake);
	pthread_mutex_unlock(&pool.lock);

	while (pool.n_threads)
		pthread_join(pool.threads[--pool.n_threads], NULL);

	tapdisk_server_unregister_event(pool.event);
	close(pool.event_fd);
}
