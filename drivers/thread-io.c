/* SPDX-License-Identifier: BSD-3-Clause */
#include "thread-io.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tapdisk-worker.h"

struct slot {
	struct td_work work;
	struct tiocb *tiocb; /* NULL: free */
	long res;
};

static struct {
	struct libaio *aio;
	struct slot slots[THREAD_IO_DEPTH];
} io;

/* A transfer may be short; the rest is then queued as another one. */
static void
slot_run(struct td_work *work)
{
	struct slot *slot = list_entry(work, struct slot, work);
	struct iocb *iocb = &slot->tiocb->iocb;
	ssize_t n;

	if (!libaio_within(1, &iocb)) {
		slot->res = -EIO;
		return;
	}
	do {
		n = iocb->aio_lio_opcode == IO_CMD_PWRITE
			    ? pwrite(iocb->aio_fildes, iocb->u.c.buf, iocb->u.c.nbytes,
				     iocb->u.c.offset)
			    : pread(iocb->aio_fildes, iocb->u.c.buf, iocb->u.c.nbytes,
				    iocb->u.c.offset);
	} while (n < 0 && errno == EINTR);
	slot->res = n < 0 ? -errno : n;
}

static void
slot_done(struct td_work *work)
{
	struct slot *slot = list_entry(work, struct slot, work);
	struct tiocb *tiocb = slot->tiocb;

	slot->tiocb = NULL;
	libaio_take(io.aio, tiocb, slot->res);
	libaio_complete(io.aio);
}

static long
thread_io_submit(struct libaio *aio, long n, struct iocb **iocbs)
{
	long started = 0;

	for (int i = 0; i < THREAD_IO_DEPTH && started < n; i++) {
		struct slot *slot = &io.slots[i];

		if (slot->tiocb)
			continue;
		slot->tiocb = list_entry(iocbs[started++], struct tiocb, iocb);
		slot->work.run = slot_run;
		slot->work.done = slot_done;
		tapdisk_worker_submit(&slot->work);
	}
	return started;
}

int
thread_io_open(struct libaio *aio)
{
	libaio_init(aio, THREAD_IO_DEPTH);
	aio->submit = thread_io_submit;
	io.aio = aio;
	aio->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return aio->event_fd < 0 ? -errno : 0;
}
