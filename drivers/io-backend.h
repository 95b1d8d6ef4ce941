/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io-backend.h - one kernel I/O, as a driver sees it
 *
 * A driver prepares a tiocb (td_prep_read, td_prep_write) and queues it
 * (td_queue_tiocb). The tiocb and its buffer belong to the driver and must live
 * until cb(arg, tiocb, err), which comes from the event loop: err is 0 only if
 * all bytes were transferred, and -errno otherwise. What was queued during one
 * turn of the loop is submitted in one batch.
 */
#ifndef IO_BACKEND_H
#define IO_BACKEND_H

#include <libaio.h>
#include <stdbool.h>
#include <stddef.h>

#include "list.h"

struct tiocb;

typedef void (*td_queue_callback_t)(void *arg, struct tiocb *tiocb, int err);

struct tiocb {
	td_queue_callback_t cb;
	void *arg;

	/* Set after it was prepared: a write that is -EIO rather than make its file longer. */
	bool within;

	/* The backend's. */
	struct iocb iocb;
	struct list_head link;
	long res; /* bytes, or -errno */
};

#endif
