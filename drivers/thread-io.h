/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thread-io.h - I/O by worker threads, where there is no kernel AIO to be had
 *
 * The host's limit fs.aio-max-nr is for all its programs together. A tapdisk that
 * finds it used up still serves its disks, by pread() and pwrite(): slower.
 */
#ifndef THREAD_IO_H
#define THREAD_IO_H

#include "libaio-backend.h"

/* I/Os in flight; there are as many threads, and more for the rest (tapdisk-worker.h). */
#define THREAD_IO_DEPTH 16

/* As libaio_open(). One at a time in a process. */
int thread_io_open(struct libaio *aio);

#endif
