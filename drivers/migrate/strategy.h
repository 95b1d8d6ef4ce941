/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * strategy.h - the strategies of US 2015/0234617 A1, as the rows of a table
 *
 * A strategy decides which copies serve the guest while the copier makes the
 * destination valid. Everything else (which copy of a sector is valid, what a
 * write leaves behind) is the same for all of them and is not here.
 *
 * docs/claims.md maps each clause of claim 1 to a column of this table.
 */
#ifndef MIGRATE_STRATEGY_H
#define MIGRATE_STRATEGY_H

#include <stdbool.h>

#include "disk.h"

enum strategy {
	STRATEGY_LR,	 /* low redundancy, claim 1 (a) */
	STRATEGY_SLR,	 /* source-based low redundancy, claim 1 (b) */
	STRATEGY_AIO,	 /* asynchronous I/O mirroring, claim 1 (c) */
	STRATEGY_MIRROR, /* synchronous I/O mirroring, the background art */
	STRATEGY_DBT,	 /* dirty block tracking, the background art */
	STRATEGIES
};

/* The region of the chunk that a request touches, as the claims name them. */
enum region { REGION_TO_BE_COPIED, REGION_COPIED, REGIONS };

enum ack {
	ACK_ALL,   /* when every side has answered, at least one of them well */
	ACK_FIRST, /* at the first success; the rest is a pending write */
};

struct strategy_row {
	const char *name;
	const char *title;
	enum side read_prefers; /* where both copies are valid */
	side_mask write_reaches[REGIONS];
	enum ack ack;
	bool reads_wait_for_copy;	/* a read of a chunk being copied is held */
	bool writes_wait_for_copy;	/* ... a write; where it need not, it is copied again */
	bool mirrored_writes_throttled; /* ... while more than threshold pend */
	/* After a crash, of what is valid on both and was being written (journal.h). */
	enum side recovery_trusts;
};

/* The row of a strategy. */
const struct strategy_row *strategy_row(enum strategy strategy);

/*
 * The row of a rollback, whatever the strategy was: the source serves all that
 * is valid there and takes every write, so nothing new lands on the
 * destination, which is about to be dropped.
 */
const struct strategy_row *strategy_rollback(void);

/* The strategy of that name ("lr", "slr", ...), or -1. */
int strategy_find(const char *name);

#endif
