/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libaio-backend.h - kernel AIO
 *
 * What is queued waits in order until libaio_submit(), which hands it over in
 * batches, small enough that the disk works on the first while the next is being
 * prepared; what does not fit into the kernel's queue waits longer, it never
 * fails for that. A tiocb that the kernel refuses is completed with its error
 * and the others go on. A short transfer is continued until it is whole, or
 * fails; one that gets nowhere is -EIO.
 *
 * No file waits for another. A batch is of one file, and each has its turn. The
 * submission itself may wait inside of a file system; the loop is lent then
 * (tapdisk-loop.h), and what is queued for that file waits until it has returned. A
 * file may have as many I/Os in flight as are left for others, so that one whose
 * storage does not answer at all leaves half of the kernel's queue, and a second one
 * a third. Memory is fixed arrays and the tiocbs of the callers.
 */
#ifndef LIBAIO_BACKEND_H
#define LIBAIO_BACKEND_H

#include <stdbool.h>

#include "io-backend.h"

/* Kernel's queue; counts against fs.aio-max-nr (65536 by default) of the host. */
#define LIBAIO_DEPTH 512
/* The least with which it is worth to begin. */
#define LIBAIO_DEPTH_MIN 8
/* I/Os of one call; the kernel starts none of them before it has seen all. */
#define LIBAIO_BATCH 8
/* Files by their descriptor; with still more of them open, two may share a queue. */
#define LIBAIO_FILES 4096

struct libaio_file {
	struct list_head queued; /* to be submitted */
	struct list_head link;	 /* libaio.ready, if any are and none is being submitted */
	unsigned int in_flight;
	bool submitting;
};

struct libaio {
	/* As io_submit(); it may lend the loop. */
	long (*submit)(struct libaio *aio, long n, struct iocb **iocbs);
	io_context_t ctx; /* NULL: not the kernel's */
	int event_fd;	  /* counts completions */
	unsigned int in_flight;
	unsigned int submitting; /* of those: not known to be taken yet */
	unsigned int depth;
	struct list_head ready; /* files */
	unsigned int n_ready;
	struct list_head completed; /* to be delivered */
	struct libaio_file files[LIBAIO_FILES];
};

/* Nothing is queued; submit, ctx and event_fd are still to be set. */
void libaio_init(struct libaio *aio, unsigned int depth);
/*
 * depth: at most LIBAIO_DEPTH in flight. 0 or -errno: -EAGAIN, the host's limit does not
 * allow that many.
 */
int libaio_open(struct libaio *aio, unsigned int depth);
/* Nothing may be queued or in flight. */
void libaio_close(struct libaio *aio);

void libaio_prep(struct libaio *aio, struct tiocb *tiocb, int fd, bool write, char *buf,
		 size_t size, long long offset, td_queue_callback_t cb, void *arg);
void libaio_queue(struct libaio *aio, struct tiocb *tiocb);

/*
 * Hands over all that fits. False if the kernel took nothing although nothing is in
 * flight: try again. May lend the loop.
 */
bool libaio_submit(struct libaio *aio);

/*
 * Takes all that has completed from the kernel, and delivers it. A callback may
 * run nested turns of the loop if those call this: what was taken, but not
 * delivered yet, is then delivered there.
 */
void libaio_complete(struct libaio *aio);

/*
 * How many of the first ones may go on: the next one would make a file longer that it must
 * not (tiocb.within). It costs a look at the file, for as many as are submitted at once;
 * that may wait as they may. Somebody who cuts the file off just then is not noticed.
 */
long libaio_within(long n, struct iocb **iocbs);

/* Takes the completion of one: bytes, or -errno; for libaio_complete() to deliver. */
void libaio_take(struct libaio *aio, struct tiocb *tiocb, long res);

#endif
