/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-worker.h - calls that may block, off the loop's thread
 *
 * A work's run() is called by one of a few threads, started when first needed;
 * then its done() by the event loop. The work is embedded in its owner, who must
 * keep it until done(). Works start in order but may end in any order. Who may
 * block for long should have few works at a time, the threads are shared.
 */
#ifndef TAPDISK_WORKER_H
#define TAPDISK_WORKER_H

#include "list.h"

#define TAPDISK_WORKERS 8 /* threads at most */

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
