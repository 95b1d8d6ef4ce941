/* SPDX-License-Identifier: BSD-3-Clause */
#include "libaio-backend.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LIBAIO_REAP 64 /* completions taken from the kernel at a time */

int
libaio_open(struct libaio *aio, unsigned int depth)
{
	int err;

	memset(aio, 0, sizeof(*aio));
	INIT_LIST_HEAD(&aio->queued);
	INIT_LIST_HEAD(&aio->completed);
	aio->depth = depth < LIBAIO_DEPTH ? depth : LIBAIO_DEPTH;

	aio->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (aio->event_fd < 0)
		return -errno;

	err = io_setup((int)aio->depth, &aio->ctx);
	if (err)
		close(aio->event_fd);
	return err;
}

void
libaio_close(struct libaio *aio)
{
	io_destroy(aio->ctx);
	close(aio->event_fd);
}

void
libaio_prep(struct libaio *aio, struct tiocb *tiocb, int fd, bool write, char *buf, size_t size,
	    long long offset, td_queue_callback_t cb, void *arg)
{
	if (write)
		io_prep_pwrite(&tiocb->iocb, fd, buf, size, offset);
	else
		io_prep_pread(&tiocb->iocb, fd, buf, size, offset);
	io_set_eventfd(&tiocb->iocb, aio->event_fd);
	tiocb->iocb.data = tiocb;
	tiocb->cb = cb;
	tiocb->arg = arg;
}

void
libaio_queue(struct libaio *aio, struct tiocb *tiocb)
{
	list_add_tail(&tiocb->link, &aio->queued);
}

/* Takes the n first of the queue. */
static void
libaio_dequeue(struct libaio *aio, int n)
{
	while (n--)
		list_del(aio->queued.next);
}

bool
libaio_submit(struct libaio *aio)
{
	while (!list_empty(&aio->queued) && aio->in_flight < aio->depth) {
		struct tiocb *tiocb;
		long room = aio->depth - aio->in_flight, n = 0;
		int res;

		list_for_each_entry(tiocb, &aio->queued, link) {
			if (n == room || n == LIBAIO_BATCH)
				break;
			aio->batch[n++] = &tiocb->iocb;
		}

		res = io_submit(aio->ctx, n, aio->batch);
		if (res > 0) {
			libaio_dequeue(aio, res);
			aio->in_flight += (unsigned int)res;
		} else if (res == -EAGAIN || res == 0) {
			return aio->in_flight > 0;
		} else if (res != -EINTR) {
			/* The kernel stops at the one that it refuses. */
			tiocb = list_entry(aio->queued.next, struct tiocb, link);
			libaio_dequeue(aio, 1);
			tiocb->cb(tiocb->arg, tiocb, res);
		}
	}

	return true;
}

/* Queues the rest of a short transfer; its own error, if any, comes then. */
static void
libaio_continue(struct libaio *aio, struct tiocb *tiocb, size_t done)
{
	struct iocb *iocb = &tiocb->iocb;

	iocb->u.c.buf = (char *)iocb->u.c.buf + done;
	iocb->u.c.nbytes -= done;
	iocb->u.c.offset += (long long)done;
	libaio_queue(aio, tiocb);
}

/* Takes completions from the kernel, to be delivered in order. */
static int
libaio_reap(struct libaio *aio)
{
	struct io_event events[LIBAIO_REAP];
	struct timespec now = { 0 };
	int n = io_getevents(aio->ctx, 0, LIBAIO_REAP, events, &now);

	for (int i = 0; i < n; i++) {
		struct tiocb *tiocb = events[i].data;

		tiocb->res = (long)events[i].res;
		list_add_tail(&tiocb->link, &aio->completed);
		aio->in_flight--;
	}

	return n;
}

static void
libaio_deliver(struct libaio *aio)
{
	while (!list_empty(&aio->completed)) {
		struct tiocb *tiocb = list_entry(aio->completed.next, struct tiocb, link);
		long want = (long)tiocb->iocb.u.c.nbytes;

		list_del(&tiocb->link);
		if (tiocb->res == want)
			tiocb->cb(tiocb->arg, tiocb, 0);
		else if (tiocb->res > 0 && tiocb->res < want)
			libaio_continue(aio, tiocb, (size_t)tiocb->res);
		else
			tiocb->cb(tiocb->arg, tiocb, tiocb->res < 0 ? (int)tiocb->res : -EIO);
	}
}

void
libaio_complete(struct libaio *aio)
{
	int n;

	do {
		n = libaio_reap(aio);
		libaio_deliver(aio);
	} while (n == LIBAIO_REAP || n == -EINTR);
}
