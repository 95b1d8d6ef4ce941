/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-worker.h - calls that may block, off the loop's thread
 *
 * A work's run() is called by one of a few threads, started when first needed;
 * then its done() by the event loop. The work is embedded in its owner, who must
 * keep it until done(). Works start in order but may end in any order. The threads
 * are shared: an image has two works at most at a time, a journal one, so that some
 * twenty disks whose storage does not answer leave threads to the others.
 */
#ifndef TAPDISK_WORKER_H
#define TAPDISK_WORKER_H

#include "list.h"

#define TAPDISK_WORKERS 64 /* threads at most; they stay */

struct td_work {
	void (*run)(struct td_work *work);
	void (*done)(struct td_work *work);
	struct list_head link;
};

/* 0 or -errno. */
int tapdisk_worker_init(void);
/* Every work must be done. */
void tapdisk_worker_exit(void);

/* Runs it here and now if not even one thread can be had. */
void tapdisk_worker_submit(struct td_work *work);

#endif
