/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal.h - the map, kept where it survives the process and the machine
 *
 * M is the map in memory, P what stable storage says. Two things outlive us:
 *
 *   the live changes  memory that the host shares with a file on tmpfs. Every
 *                     change of M is stored there before the guest hears of what
 *                     caused it. P and the live changes since are M: when only
 *                     the process dies, nothing is lost.
 *   the file          records, appended and synced (journal-file.h). After a
 *                     power failure P is all there is.
 *
 * Invariants of the file:
 *  - Durability. When a flush of the guest's returns, P names for every sector a
 *    valid side that holds at least the last write acknowledged before it. So a
 *    sync takes the changes made so far, then flushes the disks, then writes
 *    down just those (journal_sync). That a sector is valid on both is written
 *    only if both were flushed; else P knows less than M, which costs a copy.
 *  - Stability. What P calls {SRC,DST} is the same on both, or lies in a region
 *    with an intent: recovery trusts the side that this names. Before the guest
 *    writes to a sector that P or M calls {SRC,DST} its region's intent must be
 *    stable (journal_intent). An intent is dropped once nothing is in flight in
 *    the region, both sides have been flushed since, and P says what M does.
 *
 * The file is never overwritten: it begins with the map (a checkpoint) and grows
 * by what changes; when it has grown enough, or was spoilt by a failed write, a
 * next one is written beside it, a piece of the map with each sync, and takes its
 * place when it is whole.
 *
 * Memory: JOURNAL_BYTES of buffers, 16 bytes a live change, 8 bytes for each
 * 16 MiB of disk (touched only where there are intents), 64 bytes an intent.
 */
#ifndef MIGRATE_JOURNAL_H
#define MIGRATE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"
#include "journal-file.h"
#include "list.h"
#include "store.h"
#include "validity.h"

#define JOURNAL_BYTES	  (4u << 20)
#define JOURNAL_LOG_BYTES (4u << 20)

/* --- the journal of a running migration --------------------------------------------- */

struct journal_config {
	struct store *store;
	struct journal_live *live; /* zeroed but for boot and entries; the host's memory */
	uint8_t uuid[16];
	uint64_t epoch;	  /* of the file that was read; the next one's is one more */
	const char *head; /* copied into every file; stays where it is */
	size_t head_len;
	size_t log_bytes; /* when a file has grown by so much, and by as much as its map
			     took, a next one is begun; 0: JOURNAL_LOG_BYTES */
	/* Writes the note as it is now into buf, and returns its length. */
	size_t (*note)(void *ctx, char *buf, size_t size);
	void *ctx;
};

enum journal_state {
	JOURNAL_STARTING, /* a file of our own is not there yet: writes wait */
	JOURNAL_GOOD,
	JOURNAL_FULL,	/* the file cannot grow: the copier rests, in the end the guest's writes
			 */
	JOURNAL_FAILED, /* a write failed, the next file is being written: writes wait */
};

struct journal;

struct journal_wait {
	void (*done)(struct journal_wait *w);
	/* The journal's. */
	struct list_head link;
	uint64_t batch, position;
};

struct journal_status {
	enum journal_state state;
	int error;	     /* -errno of the last failure, while it is not good */
	uint64_t file_bytes; /* of the current file, in use */
	uint64_t intents;    /* regions that are in doubt if power fails now */
	uint64_t unwritten;  /* live changes that are not in the file yet */
};

/* For a disk of so many sectors; NULL if out of memory. It does nothing before it is attached.
 */
struct journal *journal_create(const struct journal_config *config, uint64_t sectors);
void journal_destroy(struct journal *j); /* no request is with the store */
bool journal_quiet(const struct journal *j);

/*
 * The engine's: map is only read. changed() is called when something was written
 * down, or can be: writes may go on, or a sync is wanted (journal_wants_sync).
 */
void journal_attach(struct journal *j, const struct validity *map, void (*changed)(void *ctx),
		    void *ctx);

void journal_get_status(const struct journal *j, struct journal_status *status);
/* Tries again what failed; to be called every second or so, and when told to. */
void journal_retry(struct journal *j);

/* --- changes ---------------------------------------------------------------------- */

/*
 * M has changed, before the guest hears of it. Each change needs room that was
 * reserved before what causes it began, or none; journal_reserve() says whether
 * there is some, and what is reserved is given back once it is of no use any more.
 */
bool journal_reserve(struct journal *j, unsigned changes);
void journal_unreserve(struct journal *j, unsigned changes);
void journal_change(struct journal *j, enum journal_change_kind kind, uint64_t sector,
		    uint64_t count, side_mask sides);

/*
 * The guest is told that a mirrored write is done, and only sides have it. Until that
 * ends, once its outcome is a change, the file does not let go of the live change.
 */
struct journal_ahead {
	struct list_head link;
	uint64_t position;
};

void journal_ahead(struct journal *j, struct journal_ahead *ahead, uint64_t sector,
		   uint64_t count, side_mask sides);
void journal_ahead_ends(struct journal_ahead *ahead);

/*
 * A flush of side failed, and M trusts it nowhere where the other side is valid.
 * Writes wait until that is stable. Needs no reservation.
 */
void journal_distrust(struct journal *j, enum side side);

/* --- intents ----------------------------------------------------------------------- */

struct intent;

/*
 * Whether the guest may write now; to a sector that M calls {SRC,DST}, whether the
 * region's intent is stable, which is asked for if it is not.
 */
bool journal_open_to_writes(const struct journal *j);
bool journal_open_to_copies(const struct journal *j); /* the copier leaves it the last room */
bool journal_intent(struct journal *j, uint64_t sector, enum side trusted);

/* A write in such a region begins, and has ended on both sides: at seq of the engine's. */
struct intent *journal_write_begins(struct journal *j, uint64_t sector);
void journal_write_ends(struct intent *intent, uint64_t seq);

/* Whether there are intents that trust that side. */
bool journal_trusts(const struct journal *j, enum side side);

/* --- syncs -------------------------------------------------------------------------- */

/*
 * A sync: journal_take() before the disks are asked to flush gives the position
 * that it covers; journal_sync() after they have calls w->done once all changes
 * before it are stable (perhaps at once). Nothing is written if there is nothing
 * to write.
 */
uint64_t journal_take(const struct journal *j);
void journal_sync(struct journal *j, struct journal_wait *w, uint64_t position);

/* Whether one of the changes before position says that a range is valid on both. */
bool journal_claims_both(const struct journal *j, uint64_t position);
/* M is to follow: where the range is valid on both it is on kept only. */
typedef void weakened_fn(void *ctx, uint64_t sector, uint64_t count, side_mask kept);

/*
 * A side could not be flushed, so none of the changes before position may say that
 * both are valid: they are written down along with what narrows that to kept.
 * weakened() is told each range.
 */
void journal_weaken(struct journal *j, uint64_t position, side_mask kept, weakened_fn *weakened,
		    void *ctx);

/*
 * The migration's own sync, for which the engine, having written up to seq, has
 * both disks flushed: intents are dropped, and the next file is carried on by a
 * piece; w is done when that has been written, or has failed. One at a time.
 * flushed is what could be: where there is no file that is good the next one is
 * carried on all the same, and says less.
 */
uint64_t journal_take_all(struct journal *j, uint64_t seq);
void journal_sync_all(struct journal *j, struct journal_wait *w, side_mask flushed,
		      weakened_fn *weakened, void *ctx);
bool journal_wants_sync(const struct journal *j);

/*
 * The note that is stable says that one disk has all: nobody needs to wait for
 * anything more, whether it could be written or not.
 */
void journal_end(struct journal *j);

/* The note has changed; w (or NULL) is done when that is stable. */
void journal_note(struct journal *j, struct journal_wait *w);

#endif
