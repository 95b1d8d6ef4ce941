/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libaio-backend.h - kernel AIO
 *
 * What is queued waits in order until libaio_submit(), which hands it over in
 * batches, small enough that the disk works on the first while the next is being
 * prepared; what does not fit into the kernel's queue waits longer, it never
 * fails for that. A tiocb that the kernel refuses is completed with its error
 * and the others go on. A short transfer is continued until it is whole, or
 * fails; one that gets nowhere is -EIO. Memory is a fixed array and the tiocbs
 * of the callers.
 */
#ifndef LIBAIO_BACKEND_H
#define LIBAIO_BACKEND_H

#include <stdbool.h>

#include "io-backend.h"

/* Kernel's queue; counts against fs.aio-max-nr (65536 by default) of the host. */
#define LIBAIO_DEPTH 512
/* I/Os of one call; the kernel starts none of them before it has seen all. */
#define LIBAIO_BATCH 8

struct libaio {
	io_context_t ctx;
	int event_fd; /* counts completions */
	unsigned int in_flight;
	unsigned int depth;
	struct list_head queued;    /* to be submitted */
	struct list_head completed; /* to be delivered */
	struct iocb *batch[LIBAIO_BATCH];
};

/* depth: at most LIBAIO_DEPTH in flight. 0 or -errno. */
int libaio_open(struct libaio *aio, unsigned int depth);
/* Nothing may be queued or in flight. */
void libaio_close(struct libaio *aio);

void libaio_prep(struct libaio *aio, struct tiocb *tiocb, int fd, bool write, char *buf,
		 size_t size, long long offset, td_queue_callback_t cb, void *arg);
void libaio_queue(struct libaio *aio, struct tiocb *tiocb);

/*
 * Hands over all that fits. False if the kernel took nothing although nothing is in
 * flight: try again.
 */
bool libaio_submit(struct libaio *aio);

/*
 * Takes all that has completed from the kernel, and delivers it. A callback may
 * run nested turns of the loop if those call this: what was taken, but not
 * delivered yet, is then delivered there.
 */
void libaio_complete(struct libaio *aio);

#endif
