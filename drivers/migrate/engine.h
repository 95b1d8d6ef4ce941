/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.h - guest requests, served by the map and the strategy's row
 *
 * A guest request is split at chunk boundaries, into GUEST_PARTS parts at first; each
 * that is answered makes room for the next. A part is in flight from its issue until
 * all its sides have answered; a part that is held owns nothing and is routed anew
 * when what held it has changed. So the region and the row are looked up when a part
 * is issued, never on arrival.
 *
 * Invariants:
 *  - Validity changes when a write completes, never when it is issued.
 *  - At most one write in flight on any sector, and none where the copier has
 *    closed the chunk; but in a row whose writes need not wait, for they reach only the
 *    side that the copy reads. Reads never hold anything up.
 *  - What has been in flight since a copy asked for it is not made valid by the copy:
 *    whether the copy has it is not known. And a write of what the side that is written
 *    alone holds waits for the copy in any row: that would lack then, and the copy would
 *    put something older, read before, in the place of what may be the only stable one.
 *  - First come, first served: writes of the same sectors are done in the order
 *    in which their parts were made (but for one that has found no space), wherever
 *    they wait. Nobody waits for a part that is not made yet, be it another write, a
 *    flush or a drain: its request has no answer, and what comes later may go first.
 *  - Nobody starves. A part waits for one copy at most, of its own chunk (one more
 *    for each earlier write that it must let go first); the copier waits for the
 *    writes that were in flight when it closed the chunk. What holds writes for the
 *    whole disk's sake is enum held.
 *  - A mirrored write is written from the engine's own copy of its data: the
 *    guest's buffer is the guest's again once it has its answer.
 *  - Errors stick: a request answers with the first error of its parts, and makes no
 *    more of them.
 *  - After a failed write the side it touched is not trusted where the other
 *    side is valid; where none is, one side stays valid.
 *
 *  - An event costs what it lets go, however many wait. The end of a write routes those
 *    that wait for that write and for no later one, and of those that the throttle holds
 *    as many as fit now, in order; the end of a copy those that wait for its chunk; a sync
 *    of the journal, if writes may go on, those that wait for the journal. All that is held
 *    is routed again only where all may be concerned: a switch, a side that stalls or
 *    answers again, a failed flush, and the operator's word. To route one looks through the
 *    writes of its chunk.
 *
 * All of it runs in one thread. Nothing here calls the guest or a disk while it
 * walks a list: answers are queued and handled one by one (engine_run).
 *
 * Memory: of each request that the host admits GUEST_PARTS parts of some 400 bytes,
 * however long it is (a read has one for each run of sectors on the same side); besides
 * those whose answer came before all their sides': in aio one more than the threshold,
 * and what a silent side owes. And the copies of mirrored writes: MIRROR_COPY_BYTES in
 * use (one write is always admitted), as much kept.
 */
#ifndef MIGRATE_ENGINE_H
#define MIGRATE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "buffers.h"
#include "disk.h"
#include "journal.h"
#include "list.h"
#include "pool.h"
#include "strategy.h"
#include "validity.h"

/*
 * The parts of a request that are not answered, at most: 32 MiB, the longest write that
 * NBD has, in chunks of 1 MiB. A discard may have millions.
 */
#ifndef GUEST_PARTS
#define GUEST_PARTS 32u
#endif

#define MIRROR_COPY_BYTES (16u << 20)
#define STALL_NS	  10000000000ull /* a side silent for this long is absent */
/*
 * A flush may take long where much is to be written, and so may what the disk is asked
 * meanwhile: for as long as the side has needed for one before, and STALL_NS, it is not
 * silent. For so long at most; and so long from the beginning, if nobody waits for it.
 */
#ifndef FLUSH_NS
#define FLUSH_NS 120000000000ull
#endif
#define TICK_LATE_NS \
	3000000000ull /* a tick this late: we have not run ourselves since the last */
/*
 * The migration syncs what it has copied after so long, or so much; while that is under
 * way as much again is copied, and then the copier waits for it. So after a crash at most
 * twice as much is copied twice, and the copies in flight, besides what was in doubt: with
 * the usual settings less than 256 MiB.
 */
#define SYNC_NS		  5000000000ull
#define SYNC_COPIED_BYTES (120u << 20)

/*
 * So much of a copy is told apart when the guest writes there: sectors, of up to 1 MiB;
 * beyond that multiples of 4 KiB, the most that a disk's block has.
 */
#define CLOSURE_GRAINS 2048u

/*
 * A request of the guest; it and its buffer belong to the host until done(),
 * which is called exactly once, possibly from inside engine_guest().
 */
struct guest_io {
	enum disk_op op; /* read, write, zero or flush */
	bool no_hole;	 /* zero: the range must stay allocated */
	uint64_t sector;
	uint32_t count; /* sectors; 0 for a flush */
	void *buf;
	void (*done)(struct guest_io *g, int err); /* 0 or -errno */

	/* The engine's. */
	uint64_t began_ns;
	int err;
	uint32_t parts; /* not yet answered */
	uint32_t split; /* sectors for which parts have been made */
};

struct engine;

/* A request of ours to one side; it belongs to whoever submitted it. */
struct side_io {
	struct disk_io io;
	struct engine *engine;
	enum side side;
	void (*done)(struct side_io *sio, int err);
};

/*
 * A range of whole chunks that the copier has closed to the guest's writes (in
 * a row whose reads wait, to its reads too, once the writes in flight there
 * have drained and the copy is under way; in one whose writes do not, to most of these
 * only until then).
 */
struct closure {
	uint64_t sector;
	uint64_t count;
	void (*closed)(struct closure *c); /* the last write in flight there is done */
	/*
	 * Sides that have stalled meanwhile: the copy is lost, must change no
	 * validity any more, and is to open the closure as soon as it has its
	 * answer. Until then only writes to these sides are held, and to the one
	 * that the copy writes.
	 */
	side_mask lost;
	side_mask writing; /* ... once it does */

	/* The engine's. */
	struct engine *engine;
	unsigned draining; /* writes in flight in the range */
	bool drained;
	struct list_head waiting; /* parts, first come first served */
	struct list_head link;
	/* What the copy is at, and, in grains of it, what was in flight there meanwhile. */
	uint64_t asked, asked_count;
	uint64_t grain; /* sectors: one, but for what is too long */
	uint64_t touched[CLOSURE_GRAINS / 64];
};

/* Why a part is held, where it is not for one chunk's sake. */
enum held {
	HELD_SWITCH,   /* writes drain, for a switch, a cancel or completion */
	HELD_THROTTLE, /* too many mirrored writes pend, or too much of their data */
	HELD_SIDE,     /* the side it must reach is stalled */
	HELD_SPACE,    /* the destination is full */
	HELD_JOURNAL,  /* what must be stable first is not written down yet */
	HELD_REASONS
};

struct side_state {
	unsigned inflight;     /* requests of any kind */
	uint64_t heard_ns;     /* when it last answered, or last stopped being idle */
	bool stalled;	       /* silent for STALL_NS with something in flight (see FLUSH_NS) */
	unsigned flushing;     /* flushes in flight */
	uint64_t flush_ns;     /* when the last one was answered, or they ceased to be none */
	uint64_t flush_max_ns; /* the longest, so far */
	uint64_t errors;       /* requests that failed */
	unsigned owed;	       /* writes lost in a stall and not answered since */
	uint64_t alone_seq;    /* the last write that this side alone took */
	uint64_t heir_seq;     /* when a failed flush of the other last left it all it has */
	uint64_t flushed_seq;  /* writes up to this one are stable here */
	uint64_t flush_errors; /* flushes that failed */
};

struct engine_counters {
	uint64_t written[SIDES]; /* bytes, guest's writes and zeroes */
	uint64_t read[SIDES];	 /* bytes, guest's reads */
	uint64_t delayed_writes; /* writes that the throttle ever held */
};

struct engine {
	struct disk *disk[SIDES];
	struct validity *map;
	struct journal *journal; /* NULL: none */
	uint32_t chunk;		 /* sectors, a power of two */
	const struct strategy_row *row;
	uint32_t threshold;
	uint64_t (*now_ns)(void *ctx);
	void (*after_run)(void *ctx); /* what was waited for may have happened */
	/* A read or write of the guest's is being answered. */
	void (*guest_answered)(void *ctx, const struct guest_io *g);
	void *ctx;

	uint64_t tick_ns; /* when the last one was */
	struct side_state side[SIDES];
	struct journal_marks marks; /* writes of the guest and the copier */
	struct engine_counters counters;

	bool hold_writes;
	unsigned writes;   /* in flight, without those that only a lost side owes */
	unsigned pending;  /* mirrored writes not yet answered by both */
	uint64_t made;	   /* parts of the guest's requests, so far */
	uint64_t routed;   /* ... and how often one was looked at, to be issued or held */
	bool eased;	   /* mirrored writes that the throttle holds may fit now */
	uint64_t seq;	   /* of the last write that settled */
	uint64_t both_seq; /* the last write that both sides took */
	uint64_t ack_seq;  /* of the last write that flushes wait for */
	int no_space;	   /* -errno: a write is held for want of space; 0: none is */
	int flush_err;	   /* a side lost what it alone had: the guest is yet to be told */
	bool hurried;	   /* the host closes: it waits for flushes (FLUSH_NS) */
	bool over;	   /* one side serves all: there is nothing to hold a write for */
	bool alone;	   /* the source does, and no write needs the journal (alone.h) */
	bool retired;	   /* no disk is asked any more: it may be closed */

	struct list_head answered; /* disk_io, not yet handled */
	struct list_head incoming; /* parts, not yet routed */
	struct list_head held[HELD_REASONS];
	struct list_head closures;
	bool writes_are_durable;     /* a write's answer means that it is stable */
	struct list_head to_sync;    /* writes whose answer waits for the next sync */
	struct list_head in_sync;    /* ... for the one that is under way */
	bool sync_all;		     /* the migration's own is under way */
	bool sync_due;		     /* ... is wanted */
	uint64_t sync_ns;	     /* when the last one began */
	uint64_t sync_not_before_ns; /* one that could not flush both is not repeated at once */
	uint64_t copied;	     /* bytes since */
	bool dst_had_some;	     /* alone, when we began */

	struct list_head early;	   /* writes that flushes wait for, by ack_seq */
	struct list_head flushes;  /* flushes that wait for early writes */
	struct list_head flushing; /* ... that are under way */
	struct list_head recorded; /* ... that the journal has written down what it must */
	unsigned recording;	   /* flushes that it has not yet, but for FLUSH_ALL */
	struct list_head *flight;  /* write parts, hashed by chunk */
	struct list_head *behind;  /* ... that wait for another one, by number */
	bool running;

	struct pool parts;
	struct pool flush_pool;
	struct buffers copies; /* of mirrored writes */
	size_t copy_bytes;     /* in use */
};

struct engine_config {
	struct disk *disk[SIDES];
	struct validity *map;	 /* the engine's from now on */
	struct journal *journal; /* likewise; NULL: none */
	bool stable;		 /* all that the map calls valid is so on stable storage */
	bool owed;		 /* the guest's next flush is to fail: something was lost */
	bool writes_are_durable; /* for hosts that have no flush operation */
	uint32_t chunk;		 /* sectors, a power of two, 8 .. 32768 (16 MiB) */
	const struct strategy_row *row;
	uint32_t threshold;	       /* pending mirrored writes */
	uint64_t (*now_ns)(void *ctx); /* monotonic */
	void (*after_run)(void *ctx);
	void (*guest_answered)(void *ctx, const struct guest_io *g);
	void *ctx;
};

/* 0 or -ENOMEM; e is the caller's memory. The map is taken in either case. */
int engine_init(struct engine *e, const struct engine_config *config);

/* Frees what init made. Nothing is in flight or held (engine_quiet). */
void engine_release(struct engine *e);

/* Serves a guest's request; the range must be within the disk. */
void engine_guest(struct engine *e, struct guest_io *g);

/* Does what can be done now, and calls after_run: that may have waited for the time. */
void engine_run(struct engine *e);

/* No request of ours is with a disk. */
bool engine_quiet(const struct engine *e);

/*
 * Writes that arrive from now on are held, or routed again. What is in flight
 * goes on; engine_drained() says when none is.
 */
void engine_hold_writes(struct engine *e, bool hold);
bool engine_drained(const struct engine *e);

/*
 * Another row, with the writes held and drained; or the very same one. Whether the
 * destination is to be flushed before: see journal_trust(). Or whether the copies under way
 * must have ended, and all be stable and written down (engine_flush_both): where writes did
 * not wait for them, they may be writing what the file still calls valid there, and after
 * the switch recovery would trust that.
 */
void engine_set_row(struct engine *e, const struct strategy_row *row);
bool engine_row_wants_flush(const struct engine *e, const struct strategy_row *row);
bool engine_row_wants_copies_said(const struct engine *e, const struct strategy_row *row);
void engine_set_threshold(struct engine *e, uint32_t threshold);

/*
 * The migration has ended: one side alone serves everything, by that row. A write
 * that it has no space for fails from now on, as it would without us.
 */
void engine_end(struct engine *e, const struct strategy_row *row);

/*
 * The source alone is the disk, by a record outside of the journal: from now on nothing is
 * valid on the destination, and nothing waits for the journal; or both are as ever again.
 * For the former all is valid on the source, and that is stable; no write is in flight, and
 * no copy; and the row reaches nothing but the source where the destination lacks.
 */
void engine_go_alone(struct engine *e, bool alone);

/* No write is in flight, nor a copy that may still change the map. */
bool engine_at_rest(const struct engine *e);

/* Something that the guest was told is written is lost: its next flush is to fail. */
void engine_owe(struct engine *e, int err);

/* Something of the guest's waits for the journal. */
bool engine_waits_for_journal(const struct engine *e);

/*
 * What a silent side has not answered of the writes that reach it alone is given up: these
 * have failed, but keep their buffers until it answers. For a disk that is given up itself.
 */
void engine_forsake(struct engine *e, enum side side);

/* Writes held for want of space are tried again. */
void engine_retry_space(struct engine *e);

/*
 * Closes [c->sector, + c->count), whole chunks (but for the disk's end) that no
 * other closure has: c->closed is called, perhaps at once, when no write is in
 * flight there. c is the engine's until engine_open().
 */
void engine_close(struct engine *e, struct closure *c);
void engine_open(struct engine *e, struct closure *c);
struct closure *engine_closure_at(const struct engine *e, uint64_t sector);

/* Submits a request to a side; done() is called from engine_run. */
void engine_submit(struct engine *e, enum side side, struct side_io *sio);

/*
 * Makes everything that has been written to side stable, and calls done. If the
 * flush fails, nothing that both sides hold is trusted on this one any more.
 * -EAGAIN: another flush of the side has failed meanwhile, and what it lost may be
 * lacking, or have been written again since: look at the map, and flush again.
 */
void engine_flush_side(struct engine *e, enum side side, void (*done)(void *ctx, int err),
		       void *ctx);

/*
 * The same for a side that is to be the whole disk: -EMEDIUMTYPE if it has become smaller,
 * and what it has lost may have been written and flushed long ago.
 */
void engine_flush_whole(struct engine *e, enum side side, void (*done)(void *ctx, int err),
			void *ctx);

/* The same of both sides, and the journal says so when done is called. */
void engine_flush_both(struct engine *e, void (*done)(void *ctx, int err), void *ctx);

/* The map and the journal are to be the same on stable storage, soon. */
void engine_sync(struct engine *e);

/*
 * The copier's part in the map. As it asks one side for a range of a closure, data or
 * whether there are any. Whether the guest has written since where it asked; *run is how
 * many sectors from there, at most max, are alike. Before it writes some of it: 0, -EAGAIN if
 * the journal has no room, -ENOMEM. After: that is valid on both, unless COPIED_NOT, and but
 * for what the guest has written since it was asked for. While there is no leave nothing new is
 * begun.
 */
bool engine_lets_copy(const struct engine *e);
void engine_copy_asks(struct engine *e, struct closure *c, uint64_t sector, uint64_t count);
bool engine_copy_missed(const struct closure *c, uint64_t sector, uint64_t max, uint64_t *run);
int engine_copy_begins(struct engine *e);
enum copied {
	COPIED_NOT,
	COPIED_WRITTEN,
	COPIED_BEFORE, /* there was nothing to write: it held that already */
};

void engine_copy_ends(struct engine *e, const struct closure *c, uint64_t sector,
		      uint64_t count, enum copied copied);

/*
 * What the destination has already, in gaps between what it lacks, may be quicker copied
 * again with that than left out. Where the guest's writes leave such to be copied again, and
 * neither they nor a failure of the source can ever have left anything to the destination
 * alone (engine_forgets), gaps of at most so many sectors in a range that has just been read
 * are made valid on the source alone; but for those that the guest has written into
 * meanwhile, and all of them while the journal is not ready for it.
 */
bool engine_forgets(const struct engine *e);
void engine_forget_gaps(struct engine *e, const struct closure *c, uint64_t sector,
			uint64_t count, uint64_t most);

/*
 * To be called every second or so: finds stalled sides, and syncs the journal now
 * and then. A mirrored write loses a side that stalls; the rest waits.
 */
void engine_tick(struct engine *e);

/* Before any request: migration_source_written(). */
void engine_source_written(struct engine *e);

/*
 * The guest has gone, and the host closes the disk that owes no answer. Nothing is asked of
 * either any more; the answers that are owed are taken. A flush that fails is told the
 * journal still, and one that goes well says nothing there: it may not have been all.
 */
void engine_retire(struct engine *e);

/* Nothing that the guest was told is written lacks a flush, or is lost without its knowing. */
bool engine_saved(const struct engine *e);

/* Guest writes that are held back just now. */
unsigned engine_held_writes(const struct engine *e);

#endif
