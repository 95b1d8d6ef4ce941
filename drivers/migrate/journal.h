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
 *    valid side that holds at least the last write acknowledged before it. So the
 *    file names a side for what a change made valid there only once that side has
 *    been flushed since (said_of). Until then P knows less than M, which is as
 *    good after a power failure; and the live change is kept, for a kill.
 *    What has been said may be said again, with more of it, in the same order:
 *    the outcome is the same.
 *  - Stability. What P calls {SRC,DST} is the same on both, or lies in a region
 *    with an intent: recovery trusts the side that this names. Before the guest
 *    writes to a sector that P or M calls {SRC,DST}, or the copier forgets that the
 *    destination has it, its region's intent must be stable (journal_intent). An
 *    intent is dropped once nothing is in flight in the region, both sides have been
 *    flushed since, and P says what M does.
 *
 * The file is never overwritten: it begins with the map (a checkpoint) and grows
 * by what changes; when it has grown enough, or was spoilt by a failed write, a
 * next one is written beside it, a piece of the map with each sync, and takes its
 * place when it is whole. A piece has at most 65,536 runs of at most 16 TiB in all, and
 * no sync looks at more of the map than that, however large the disk is.
 *
 * Memory: JOURNAL_BYTES of buffers, 40 bytes a live change, 8 bytes for each
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
	struct journal_live *old;  /* what was read with the file and belongs to it, or NULL */
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
	JOURNAL_FAILED, /* a write failed, or (error is 0) what a disk has lost can't be told
			   any more: the next file is being written, and writes wait */
};

struct journal;

struct journal_wait {
	void (*done)(struct journal_wait *w);
	/* The journal's. */
	struct list_head link;
	uint64_t edition;
};

struct journal_status {
	enum journal_state state;
	int error;	     /* -errno of the last failure, while it is not good */
	uint64_t file_bytes; /* of the current file, in use */
	uint64_t intents;    /* regions that are in doubt if power fails now */
	uint64_t unwritten;  /* changes that the file does not say, or not all of */
	uint64_t forced;     /* changes ever that it says though they are not stable */
};

/* For a disk of so many sectors; NULL if out of memory. It does nothing before it is attached.
 */
struct journal *journal_create(const struct journal_config *config, uint64_t sectors);
void journal_destroy(struct journal *j); /* no request is with the store */
bool journal_quiet(const struct journal *j);

/*
 * Of each side, how many writes it has answered, and of how many of these a good flush
 * that was asked for later has made stable.
 */
struct journal_marks {
	uint64_t wrote[SIDES];
	uint64_t stable[SIDES];
};

/*
 * The engine's: map and marks are only read. changed() is called when something was written
 * down, or can be: writes may go on, or a sync is wanted (journal_wants_sync).
 */
void journal_attach(struct journal *j, const struct validity *map,
		    const struct journal_marks *marks, void (*changed)(void *ctx), void *ctx);

void journal_get_status(const struct journal *j, struct journal_status *status);

/* How it gets on with its store. */
struct journal_work {
	bool busy;	   /* the store has a request */
	uint64_t requests; /* ever */
	bool rests;	   /* the file is good and says all */
	uint64_t progress; /* what was ever written down, or a next file carried on with */
};

void journal_get_work(const struct journal *j, struct journal_work *work);
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

/* ... by a write that failed on those sides: CHANGE_FAILED, in M already. */
void journal_failed(struct journal *j, uint64_t sector, uint64_t count, side_mask sides);
/* ... by a copy: the range is valid on both, as it was on one before. */
void journal_copied(struct journal *j, uint64_t sector, uint64_t count);

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

/* Something was valid on both sides since that one was last distrusted. */
bool journal_may_say_both(const struct journal *j, enum side side);

/*
 * A flush of side failed. distrusted: M trusts it nowhere any more where the other side
 * is valid; writes wait until that is stable. Needs no reservation.
 */
void journal_flush_failed(struct journal *j, enum side side, bool distrusted);

/* Whether the guest is yet to be told that something was lost, should we be killed now. */
void journal_owe(struct journal *j, bool owed);

/* --- intents ----------------------------------------------------------------------- */

struct intent;

/*
 * Whether the guest may write now; to a sector that M calls {SRC,DST}, whether the
 * region's intent is stable, which is asked for if it is not.
 */
bool journal_open_to_writes(const struct journal *j);
bool journal_open_to_copies(const struct journal *j); /* the copier leaves it the last room */
bool journal_is_good(const struct journal *j);	      /* nothing keeps syncs from ending */
bool journal_intent(struct journal *j, uint64_t sector, enum side trusted);

/* A write in such a region begins, and has ended on both sides. */
struct intent *journal_write_begins(struct journal *j, uint64_t sector);
void journal_write_ends(struct intent *intent);

/*
 * The strategy changes, and no write is with a disk: intents are to trust the side that the
 * next one's writes are read from, or who has read one might find it gone after a kill. Those
 * remain as they are in whose regions that side lacks a flush, until they are asked for and
 * it has had one; whether there are none such.
 */
void journal_trust(struct journal *j, enum side side);
bool journal_may_trust(const struct journal *j, enum side side);

/* Whether there are intents that trust that side. */
bool journal_trusts(const struct journal *j, enum side side);

/* --- syncs -------------------------------------------------------------------------- */

/*
 * A sync, after a flush of the disks: w->done is called once the file says all that
 * may be said, perhaps at once. Nothing is written if there is nothing new to say.
 */
void journal_sync(struct journal *j, struct journal_wait *w);

/* M is to follow: where the range is valid on both it is on kept only. */
typedef void weakened_fn(void *ctx, uint64_t sector, uint64_t count, side_mask kept);

/*
 * The migration's own sync, for which the engine has both disks flushed: intents are dropped,
 * and the next file is carried on by a piece; w is done when that has been written, or has
 * failed. One at a time. flushed is what could be: where there is no file that is good the next
 * one is carried on all the same, and says less.
 */
void journal_take_all(struct journal *j);
void journal_sync_all(struct journal *j, struct journal_wait *w, side_mask flushed,
		      weakened_fn *weakened, void *ctx);
bool journal_wants_sync(const struct journal *j);

/*
 * The note that is stable says that one disk has all: nobody needs to wait for
 * anything more, whether it could be written or not.
 */
void journal_end(struct journal *j);

/* Likewise, where that is said elsewhere for a while (alone.h). The sync of all goes on. */
void journal_let_go(struct journal *j);

/* The note has changed; w (or NULL) is done when that is stable. */
void journal_note(struct journal *j, struct journal_wait *w);
/* How much there is to say by now; and whether so much is stable. */
uint64_t journal_edition(const struct journal *j);
bool journal_has(const struct journal *j, uint64_t edition);

#endif
