/* SPDX-License-Identifier: BSD-3-Clause */
#include "libaio-backend.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tapdisk-loop.h"

#define LIBAIO_REAP 64 /* completions taken from the kernel at a time */

long
libaio_within(long n, struct iocb **iocbs)
{
	struct stat st;
	int fd = -1;

	for (long i = 0; i < n; i++) {
		const struct iocb *iocb = iocbs[i];
		const struct tiocb *tiocb = list_entry(iocbs[i], struct tiocb, iocb);

		if (!tiocb->within)
			continue;
		if (iocb->aio_fildes != fd) {
			fd = iocb->aio_fildes;
			if (fstat(fd, &st))
				return i;
		}
		if (iocb->u.c.offset + (long long)iocb->u.c.nbytes > st.st_size)
			return i;
	}
	return n;
}

static long
libaio_kernel_submit(struct libaio *aio, long n, struct iocb **iocbs)
{
	long res;

	tapdisk_loop_lend_if_slow();
	n = libaio_within(n, iocbs);
	res = n ? io_submit(aio->ctx, n, iocbs) : -EIO;
	tapdisk_loop_take_back();
	return res;
}

void
libaio_init(struct libaio *aio, unsigned int depth)
{
	memset(aio, 0, sizeof(*aio));
	INIT_LIST_HEAD(&aio->ready);
	INIT_LIST_HEAD(&aio->completed);
	aio->depth = depth < LIBAIO_DEPTH ? depth : LIBAIO_DEPTH;
}

int
libaio_open(struct libaio *aio, unsigned int depth)
{
	int err;

	libaio_init(aio, depth);
	aio->submit = libaio_kernel_submit;

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
	if (aio->ctx)
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
	tiocb->within = false;
}

static struct libaio_file *
libaio_file(struct libaio *aio, const struct tiocb *tiocb)
{
	return &aio->files[(unsigned int)tiocb->iocb.aio_fildes % LIBAIO_FILES];
}

/* Whether the file is among those that are ready changes only here and below. */
static void
libaio_make_ready(struct libaio *aio, struct libaio_file *file)
{
	list_add_tail(&file->link, &aio->ready);
	aio->n_ready++;
}

static struct libaio_file *
libaio_take_ready(struct libaio *aio)
{
	struct libaio_file *file = list_entry(aio->ready.next, struct libaio_file, link);

	list_del(&file->link);
	aio->n_ready--;
	return file;
}

void
libaio_queue(struct libaio *aio, struct tiocb *tiocb)
{
	struct libaio_file *file = libaio_file(aio, tiocb);
	bool first;

	if (!file->queued.next)
		INIT_LIST_HEAD(&file->queued);
	first = list_empty(&file->queued);
	list_add_tail(&tiocb->link, &file->queued);
	if (first && !file->submitting)
		libaio_make_ready(aio, file);
}

/* How many more of the file's may go to the kernel at once. */
static long
libaio_room(const struct libaio *aio, const struct libaio_file *file)
{
	const long left = (long)(aio->depth - aio->in_flight), has = (long)file->in_flight;
	const long room = left > has ? (left - has + 1) / 2 : 0;

	return room < LIBAIO_BATCH ? room : LIBAIO_BATCH;
}

static void
libaio_count(struct libaio *aio, struct libaio_file *file, long n)
{
	aio->in_flight += (unsigned int)n;
	aio->submitting += (unsigned int)n;
	file->in_flight += (unsigned int)n;
}

/*
 * Submits at most room of the file's, which is not ready meanwhile. What the kernel has
 * taken may be completed, and its memory another's, before io_submit() returns. How
 * many it took, or -errno, of the first one.
 */
static long
libaio_submit_batch(struct libaio *aio, struct libaio_file *file, long room)
{
	struct iocb *batch[LIBAIO_BATCH];
	struct tiocb *tiocb;
	long n = 0, res, taken;

	while (n < room && !list_empty(&file->queued)) {
		tiocb = list_entry(file->queued.next, struct tiocb, link);
		list_del(&tiocb->link);
		batch[n++] = &tiocb->iocb;
	}
	file->submitting = true;
	libaio_count(aio, file, n);
	res = aio->submit(aio, n, batch);
	taken = res > 0 ? res : 0;
	file->submitting = false;
	aio->submitting -= (unsigned int)taken;
	libaio_count(aio, file, taken - n);

	while (n > taken)
		list_add(&list_entry(batch[--n], struct tiocb, iocb)->link, &file->queued);
	return res;
}

/* The kernel stops at the one that it refuses. */
static void
libaio_refuse_first(struct libaio_file *file, int err)
{
	struct tiocb *tiocb = list_entry(file->queued.next, struct tiocb, link);

	list_del(&tiocb->link);
	tiocb->cb(tiocb->arg, tiocb, err);
}

bool
libaio_submit(struct libaio *aio)
{
	unsigned int full = 0; /* files in a row */

	while (full < aio->n_ready) {
		struct libaio_file *file = libaio_take_ready(aio);
		long room = libaio_room(aio, file), res = 0;

		if (room)
			res = libaio_submit_batch(aio, file, room);
		if (!list_empty(&file->queued) && res < 0 && res != -EAGAIN && res != -EINTR) {
			file->submitting = true;
			libaio_refuse_first(file, (int)res);
			file->submitting = false;
		}
		if (!list_empty(&file->queued))
			libaio_make_ready(aio, file);

		if (room && (res == -EAGAIN || res == 0))
			return aio->in_flight > aio->submitting;
		full = room ? 0 : full + 1;
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

void
libaio_take(struct libaio *aio, struct tiocb *tiocb, long res)
{
	tiocb->res = res;
	list_add_tail(&tiocb->link, &aio->completed);
	libaio_file(aio, tiocb)->in_flight--;
	aio->in_flight--;
}

/* Takes completions from the kernel, to be delivered in order. */
static int
libaio_reap(struct libaio *aio)
{
	struct io_event events[LIBAIO_REAP];
	struct timespec now = { 0 };
	int n = aio->ctx ? io_getevents(aio->ctx, 0, LIBAIO_REAP, events, &now) : 0;

	for (int i = 0; i < n; i++)
		libaio_take(aio, events[i].data, (long)events[i].res);

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
