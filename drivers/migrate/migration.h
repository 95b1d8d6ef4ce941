/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migration.h - the life of a migration
 *
 *   copying -> synchronised -> completing -> completed
 *      \____________\______________\-> rolling-back -> cancelled
 *
 * "Paused" is not a state but a reason for which the copier does not go on; the
 * guest always does. What is completed or cancelled serves from one disk alone,
 * without looking at the other, until whoever embeds it takes that disk back.
 *
 * This is the engine's outer face: a plugin or a simulator talks to nothing
 * below it but the two disks and the map that it hands in.
 */
#ifndef MIGRATE_MIGRATION_H
#define MIGRATE_MIGRATION_H

#include "alone.h"
#include "copier.h"
#include "engine.h"

enum migration_state {
	MIGRATION_COPYING,
	MIGRATION_SYNCHRONISED,
	MIGRATION_COMPLETING, /* the guest's writes are held */
	MIGRATION_ROLLING_BACK,
	MIGRATION_COMPLETED,
	MIGRATION_CANCELLED,
	MIGRATION_STATES
};

/* Why the copier rests; in the order in which they are reported. */
enum migration_pause {
	PAUSE_NONE,
	PAUSE_OPERATOR,
	PAUSE_NO_SPACE,
	PAUSE_STALLED,
	PAUSE_WRITE_ERRORS,
	PAUSE_READ_ERRORS,
	PAUSE_BAD_SECTORS,
	PAUSE_JOURNAL_FULL,
	PAUSE_JOURNAL_FAILED,
	PAUSES
};

struct migration_config {
	struct disk *disk[SIDES]; /* the destination may be the larger one */
	struct validity *map;	  /* the migration's from now on */
	struct journal *journal;  /* likewise; NULL: what happens is not written down */
	bool stable;		  /* all that the map calls valid is on stable storage */
	bool owed;		  /* the guest's next flush is to fail: something was lost */
	bool writes_are_durable;  /* the host cannot flush: a write's answer means it is stable
				   */
	enum strategy strategy;
	enum migration_state state; /* copying, or rolling-back to resume that */
	uint32_t chunk;		/* sectors, a power of two, 128 (64 KiB) .. 32768 (16 MiB) */
	uint32_t unit;		/* sectors, a power of two: the most that is copied at once */
	uint32_t threshold;	/* pending mirrored writes */
	unsigned depth;		/* chunks copied at once, 1 .. COPIER_MAX_DEPTH */
	uint64_t rate;		/* bytes a second; 0: no limit */
	uint32_t guest_latency; /* percent by which the copy may raise it; 0: any */
	uint32_t align;		/* sectors: the larger of the disks' logical sectors */
	bool auto_complete;
	bool paused;
	bool pristine; /* the destination reads as zeroes and was never written */
	struct copier_counters counters;

	uint64_t (*now_ns)(void *ctx);
	/* migration_wake() is wanted at that time. */
	void (*wake_at)(void *ctx, uint64_t ns);
	/* It is completed or cancelled. Called once, from inside the engine. */
	void (*ended)(void *ctx);
	/*
	 * The journal cannot be written, or does not answer, and somebody waits for it in vain;
	 * but one side holds everything, stably. The host makes durable somewhere else than in
	 * the journal that this side alone is the disk (SRC_BIT or DST_BIT; the record), or
	 * that this is so no more (NO_SIDE), and then answers with migration_recorded_alone(),
	 * perhaps from in here. It is asked one thing at a time.
	 *
	 * While the record is there whoever opens this journal, be it after a kill, a power
	 * failure or a pause, finds it and serves from that side, as if the journal said
	 * "cancelled" (SRC_BIT) or "completed" (DST_BIT), whatever it says: it knows less than
	 * is so. A migration may end by the record alone: ended() is called after the answer,
	 * and migration_by_record() says so; then the record stays until the journal cannot be
	 * opened by anybody any more. It may also go on: with SRC_BIT the guest is served by
	 * the source, and once a new journal has been written NO_SIDE is asked for.
	 *
	 * NULL, or -EOPNOTSUPP: there is no such place, and what waits for the journal waits.
	 */
	void (*record_alone)(void *ctx, side_mask side);
	void *ctx;
};

struct migration {
	struct engine engine;
	struct copier copier;
	struct alone alone;
	enum migration_state state;
	enum strategy strategy;
	const struct strategy_row *next_row; /* once the guest's writes have drained */
	bool row_flushing;		     /* ... and what that row needs is flushed */
	bool row_flushed;		     /* ... or could not be */
	bool row_flush_ignored;		     /* the flush under way was for an earlier switch */
	bool auto_complete;
	bool completing; /* asked for, or automatic */
	bool paused;
	bool stopping;
	bool forced;	      /* cancelled, whatever the destination alone holds */
	bool flushing;	      /* completion's flush of the destination is under way */
	bool flush_ends;      /* ... that ends it: it was asked for under this hold */
	bool flushed_ahead;   /* one has been done before the guest's writes are held */
	bool source_flushing; /* rollback's */
	bool source_short;    /* ... has found the source smaller than it was */
	uint64_t wish;	      /* the journal's edition that has what was wished for last */
	bool recording;	      /* that it has ended, before anybody is told */
	bool is_recorded;     /* ... and that is stable */
	struct journal_wait recorded;
	int error; /* -errno of a completion or rollback that failed */
	uint64_t hold_began_ns;
	uint64_t held_ns; /* how long completion held the guest's writes */
	uint64_t rate_ns; /* when progress was last looked at */
	uint64_t rate_bytes;
	uint64_t rate; /* bytes a second, smoothed */
	uint64_t wake_ns;
	void (*wake_at)(void *ctx, uint64_t ns);
	void (*ended)(void *ctx);
	uint64_t (*now_ns)(void *ctx);
	void *ctx;
};

/* What there is to know; all of it derived. Bytes, unless the name says so. */
struct migration_status {
	enum migration_state state;
	enum migration_pause pause;
	enum strategy strategy;
	uint64_t total;
	uint64_t valid;	      /* on the side that is being made valid */
	uint64_t only[SIDES]; /* what that side alone holds: lost with it, if it is given up */
	struct copier_counters copier;
	uint64_t guest_written[SIDES];
	uint64_t guest_read[SIDES];
	unsigned pending_writes;
	unsigned held_writes;
	uint64_t delayed_writes;
	uint32_t threshold;
	unsigned depth;
	uint64_t rate;		 /* a second */
	uint64_t rate_limit;	 /* a second */
	uint32_t guest_latency;	 /* percent that the copy may add; 0: any */
	uint64_t guest_alone_ns; /* the mean latency while the copier rests; 0: not known */
	uint64_t guest_now_ns;	 /* ... and with the copy */
	int64_t eta_s;		 /* -1: not known */
	int64_t held_ns;	 /* -1: not completed yet */
	uint64_t bad_sectors;
	size_t map_memory;
	struct journal_status journal; /* of use if there is one */
	bool journal_hangs;	       /* its store has not answered for STALL_NS */
	bool alone;		       /* the source serves, without the journal (alone.h) */
	bool recorded; /* what was wished for last outlives the machine, and a pause of the VBD
			*/
	int error;     /* -errno */
	enum side error_side;
};

/* 0 or -ENOMEM; m is the caller's memory. The map is taken in either case. */
int migration_init(struct migration *m, const struct migration_config *config);
/* Frees what init made; nothing is in flight or held. */
void migration_release(struct migration *m);

/* Starts, once init has succeeded and the host is ready for callbacks. */
void migration_start(struct migration *m);
/*
 * Between init and start: the guest has written to the source in another way until now. None
 * of that need be stable.
 */
void migration_source_written(struct migration *m);
void migration_guest(struct migration *m, struct guest_io *g);
/* To be called once a second. */
void migration_tick(struct migration *m);
/* To be called when wake_at asked for it, which may be many times a second. */
void migration_wake(struct migration *m);

/*
 * The operator's commands: 0, or -EBUSY if the state does not allow it, or
 * -EALREADY if it is so. migration_resume also tries again what stopped it.
 * They have their effect at once; migration_status.recorded says when they are written
 * down. Until then a later opening of the journal may know nothing of them.
 */
int migration_pause(struct migration *m);
int migration_resume(struct migration *m);
int migration_set_strategy(struct migration *m, enum strategy strategy);
int migration_set_threshold(struct migration *m, uint32_t threshold);
int migration_set_rate(struct migration *m, uint64_t bytes_per_s);
int migration_set_guest_latency(struct migration *m, uint32_t percent);
int migration_set_depth(struct migration *m, unsigned depth);
int migration_set_auto(struct migration *m, bool auto_complete);
int migration_complete(struct migration *m);
int migration_cancel(struct migration *m);
/*
 * The destination is given up, with what it alone holds (migration_status.only[DST]): the
 * guest has lost that. Also of a migration that is rolling back. It still waits until the
 * source is flushed, and for a destination that answers.
 */
int migration_cancel_forced(struct migration *m);

/*
 * What record_alone() asked for has been made durable, or -errno: then nobody will find a
 * record that was to be made, or not find one that was to be removed. It is asked for again.
 */
void migration_recorded_alone(struct migration *m, int err);
/* It has ended, and only the record says so for certain: the journal may say something else. */
bool migration_by_record(const struct migration *m);

/*
 * No more copies are started, and the journal is brought up to date if the disks
 * answer. When migration_quiet(), it can be released.
 */
void migration_stop(struct migration *m);
bool migration_quiet(const struct migration *m);
/*
 * Nothing is under way but with a side that has stalled, or with the journal's store that does
 * not answer: a host that closes it need not wait for these, but must keep it until quiet.
 */
bool migration_only_stalled(const struct migration *m);

static inline bool
migration_over(const struct migration *m)
{
	return m->state == MIGRATION_COMPLETED || m->state == MIGRATION_CANCELLED;
}

/*
 * What the journal's note is to say: completed or cancelled as soon as that is to
 * be made stable, which is before it is so.
 */
enum migration_state migration_recorded_state(const struct migration *m);

void migration_get_status(const struct migration *m, struct migration_status *status);

/* "copying", "synchronised", ...; "operator", "no-space", ..., "" for none. */
const char *migration_state_name(enum migration_state state);
int migration_state_find(const char *name); /* or -1 */
const char *migration_pause_name(enum migration_pause pause);

#endif
