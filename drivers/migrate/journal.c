/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal-record.h"
#include "journal.h"
#include "pool.h"

#define LIVE_MAX    16384u /* changes */
#define INTENTS_MAX 8192u  /* written at once */
#define DROPS_MAX   8192u
#define RUN_MAX	    ((1u << 30) - 1) /* sectors, in a map's record */
/* The simulator's are small, so that what is rare happens often. */
#ifndef LIVE_SLACK
#define LIVE_SLACK  64u		 /* changes that need no reservation */
#define SLICE_BYTES (256u << 10) /* of the map, written with one sync */
#define GROW_BYTES  (4ull << 20) /* of the file, allocated ahead */
#endif
#define RESERVE_BYTES                                                           \
	(GROW_BYTES / 4) /* ... of which the copier leaves so much to the guest \
			  */

#define BUFFER_BYTES                                                                    \
	(RECORD_BYTES(JOURNAL_HEAD_MAX) + RECORD_BYTES(JOURNAL_NOTE_MAX) +              \
	 RECORD_BYTES(SLICE_BYTES) + RECORD_BYTES(2 * LIVE_MAX * RECORD_CHANGE_BYTES) + \
	 RECORD_BYTES(INTENTS_MAX * 8) + RECORD_BYTES(DROPS_MAX * 8) + (64u << 10))

_Static_assert(2 * BUFFER_BYTES + 2 * SLICE_BYTES <= JOURNAL_BYTES, "the bound of journal.h");

struct intent {
	struct list_head link; /* of the journal's */
	struct journal *journal;
	uint64_t region;
	enum side side;
	bool stable;
	bool in_batch; /* ... that is being written */
	bool in_next;  /* the next file has it */
	bool used;     /* since the last sync of all */
	unsigned inflight;
	uint64_t seq; /* of the last write that ended */
};

/* One of the two files: what is there, and stable. */
struct file {
	struct record_chain chain;
	uint64_t position; /* live changes before it are in the file */
	uint64_t allocated;
	uint64_t map_end; /* bytes */
};

/* A batch is written to the current file, then to the next one, whose turn it may be. */
enum step { STEP_GROW, STEP_CURRENT, STEP_NEXT, STEP_GROW_NEXT, STEP_PUBLISH };

struct journal {
	struct journal_config config;
	const struct validity *map;
	void (*changed)(void *ctx);
	void *ctx;
	struct journal_live *live;
	unsigned reserved; /* changes */

	struct file current, next;
	bool starting;	  /* there is no current file of ours yet */
	bool failed;	  /* ... a write to it has failed */
	bool full;	  /* ... it cannot grow */
	bool blocked;	  /* what is to be written waits for journal_retry() */
	int error;	  /* -errno of the last failure */
	bool next_active; /* the next file is being written */
	uint64_t cursor;  /* sectors before it are in its map */

	uint64_t written;     /* live changes before it are in a batch, or stable */
	uint64_t *weakened;   /* of each that says both: 0, or what narrows it: position << 2 |
				 sides */
	uint64_t committed;   /* ... are stable */
	uint64_t base;	      /* ... are of no use any more: the file says so */
	uint64_t target_base; /* ... will be, after the batch */
	struct list_head aheads; /* the oldest first */
	uint64_t last_set;	 /* ... are of use in the file */
	uint64_t distrusted;	 /* writes wait until those before it are stable */
	uint64_t lost;		 /* syncs too: a side has lost what an intent trusts it with */
	bool note_dirty;

	struct intent **intent_at; /* by region */
	struct list_head intents;
	struct pool intent_pool;
	unsigned asked; /* intents that are not stable */
	unsigned trusted[SIDES];
	uint64_t drop[DROPS_MAX]; /* regions << 8 | side */
	unsigned drops;

	/* The migration's own sync. */
	uint64_t all_position, all_seq;
	bool all_flushed;	       /* both sides were: intents may go when it is stable */
	struct journal_wait *all_wait; /* whose it is */
	uint8_t *slice;		       /* of the map, when it was taken: 4 bytes a run */
	uint8_t *slice_before;	       /* while it is weakened */
	size_t slice_len;
	uint64_t slice_end;	 /* sectors */
	uint64_t slice_position; /* live changes before it are in the slice */
	bool slice_taken, slice_ready;

	/* The batch. */
	bool busy;
	enum step step;
	uint64_t batch;	   /* of the last one begun */
	unsigned dropping; /* drops in it */
	bool noting;
	bool in_next;	/* the next file gets it */
	bool slicing;	/* ... and the slice with it */
	bool ends_next; /* ... and its map is whole then */
	bool stable;	/* one file has it */
	uint64_t target;
	struct record_buf buf[STORE_FILES];
	struct store_io io;
	struct list_head waits;
};

static void kick(struct journal *j);
static void run_step(struct journal *j);

/* --- changes ---------------------------------------------------------------------- */

/* What is newer than the slice will be written behind it, though it is stable already. */
static unsigned
room(const struct journal *j)
{
	bool slice = j->slice_taken || j->slice_ready;
	uint64_t base = slice && j->slice_position < j->base ? j->slice_position : j->base;

	return j->live->entries - (unsigned)(j->live->head - base);
}

static struct journal_change *
change_at(const struct journal *j, uint64_t position)
{
	return &j->live->change[position & (j->live->entries - 1)];
}

/* Live changes before that position are of no use once those before target are stable. */
static uint64_t
base_of(const struct journal *j, uint64_t target)
{
	const struct journal_ahead *ahead;

	if (list_empty(&j->aheads))
		return target;
	ahead = list_entry(j->aheads.next, struct journal_ahead, link);
	return ahead->position < target ? ahead->position : target;
}

/* What is of no use in the file makes room without a flush of the disks. */
static bool
wants_room(const struct journal *j)
{
	return room(j) < j->live->entries / 2 && j->last_set <= j->committed &&
	       base_of(j, j->live->head) > j->base;
}

bool
journal_reserve(struct journal *j, unsigned changes)
{
	if (wants_room(j))
		kick(j);
	if (room(j) < j->reserved + changes + LIVE_SLACK)
		return false;
	j->reserved += changes;
	return true;
}

void
journal_unreserve(struct journal *j, unsigned changes)
{
	assert(j->reserved >= changes);
	j->reserved -= changes;
}

void
journal_change(struct journal *j, enum journal_change_kind kind, uint64_t sector,
	       uint64_t count, side_mask sides)
{
	assert(room(j) && count <= UINT32_MAX);
	j->weakened[j->live->head & (j->live->entries - 1)] = NO_SIDE;
	*change_at(j, j->live->head) = (struct journal_change){
		.sector = sector,
		.count = (uint32_t)count,
		.kind = (uint16_t)kind,
		.sides = sides,
	};
	/* Whoever reads this after we were killed sees the change, or not its number. */
	__atomic_store_n(&j->live->head, j->live->head + 1, __ATOMIC_RELEASE);
	if (kind != CHANGE_AHEAD && kind != CHANGE_SETTLED)
		j->last_set = j->live->head;
	/* The file may say both still, and the writes that follow need no intent. */
	if (kind == CHANGE_DISTRUST)
		j->lost = j->live->head;
	if (kind == CHANGE_DISTRUST || kind == CHANGE_NARROW)
		j->distrusted = j->live->head;
}

void
journal_ahead(struct journal *j, struct journal_ahead *ahead, uint64_t sector, uint64_t count,
	      side_mask sides)
{
	ahead->position = j->live->head;
	list_add_tail(&ahead->link, &j->aheads);
	journal_change(j, CHANGE_AHEAD, sector, count, sides);
}

void
journal_ahead_ends(struct journal_ahead *ahead)
{
	list_del(&ahead->link);
}

/* --- intents ----------------------------------------------------------------------- */

bool
journal_open_to_writes(const struct journal *j)
{
	return !j->starting && !j->failed && j->committed >= j->distrusted;
}

bool
journal_open_to_copies(const struct journal *j)
{
	return journal_open_to_writes(j) && !j->full &&
	       room(j) > j->reserved + j->live->entries / 4;
}

bool
journal_intent(struct journal *j, uint64_t sector, enum side trusted)
{
	uint64_t region = sector / JOURNAL_REGION_SECTORS;
	struct intent *intent = j->intent_at[region];

	if (!intent) {
		intent = pool_get(&j->intent_pool);
		if (!intent)
			return false; /* and asked for again, at the latest with the next tick
				       */
		intent->journal = j;
		intent->region = region;
		intent->side = trusted;
		j->intent_at[region] = intent;
		list_add_tail(&intent->link, &j->intents);
		j->asked++;
		j->trusted[trusted]++;
		kick(j);
	}
	intent->used = true;
	return intent->stable;
}

struct intent *
journal_write_begins(struct journal *j, uint64_t sector)
{
	struct intent *intent = j->intent_at[sector / JOURNAL_REGION_SECTORS];

	assert(intent && intent->stable);
	intent->inflight++;
	return intent;
}

void
journal_write_ends(struct intent *intent, uint64_t seq)
{
	intent->inflight--;
	intent->seq = seq;
}

bool
journal_trusts(const struct journal *j, enum side side)
{
	return j->trusted[side];
}

/* What both sides have been flushed of since, and P knows: that is in doubt no more. */
static void
drop_intents(struct journal *j)
{
	struct intent *intent, *next;

	list_for_each_entry_safe(intent, next, &j->intents, link) {
		if (!intent->stable || intent->inflight || intent->seq > j->all_seq)
			continue;
		/* One that is in use would be asked for again at once. */
		if (intent->used) {
			intent->used = false;
			continue;
		}
		if (j->drops == DROPS_MAX)
			return;
		j->drop[j->drops++] = intent->region << 8 | side_bit(intent->side);
		j->trusted[intent->side]--;
		j->intent_at[intent->region] = NULL;
		list_del(&intent->link);
		pool_put(&j->intent_pool, intent);
	}
}

/* --- the map, for the next file ------------------------------------------------------ */

static void
begin_next(struct journal *j)
{
	struct intent *intent;

	j->next_active = true;
	j->cursor = 0;
	j->slice_taken = j->slice_ready = false;
	j->next = (struct file){ 0 };
	j->next.chain.epoch = j->config.epoch + j->starting;
	list_for_each_entry(intent, &j->intents, link)
		intent->in_next = false;
}

static void
abandon_next(struct journal *j)
{
	j->next_active = j->slice_taken = j->slice_ready = false;
}

/* There is no good file, or it has grown by enough. */
static bool
next_is_due(const struct journal *j)
{
	uint64_t grown = j->current.chain.offset - j->current.map_end;

	return j->starting || j->failed || grown > j->config.log_bytes + j->current.map_end;
}

static void
slice_put(struct journal *j, uint64_t count, side_mask sides)
{
	uint32_t run = (uint32_t)count << 2 | sides;

	memcpy(j->slice + j->slice_len, &run, sizeof(run));
	j->slice_len += sizeof(run);
}

/* The map as it is now, from the cursor on, as far as it fits. */
static void
take_slice(struct journal *j)
{
	uint64_t sectors = validity_sectors(j->map), run;

	j->slice_position = j->live->head;
	j->slice_len = 0;
	j->slice_end = j->cursor;
	while (j->slice_end < sectors && j->slice_len < SLICE_BYTES) {
		side_mask sides =
			validity_get(j->map, j->slice_end, sectors - j->slice_end, &run);

		run = run < RUN_MAX ? run : RUN_MAX;
		slice_put(j, run, sides);
		j->slice_end += run;
	}
	j->slice_taken = true;
}

static bool
has_both(const struct journal *j, uint64_t sector, uint64_t end)
{
	for (uint64_t run; sector < end; sector += run)
		if (validity_get(j->map, sector, end - sector, &run) == BOTH)
			return true;
	return false;
}

/*
 * Both where not both were flushed is one; and so it is in M from now on. It may be
 * that already: then it is what M says, for what narrows both has no effect on one.
 */
static void
weaken_slice(struct journal *j, side_mask kept, weakened_fn *weakened, void *ctx)
{
	size_t len = j->slice_len;
	uint64_t end = j->cursor;

	if (!has_both(j, j->cursor, j->slice_end)) {
		/* Nothing is lost. */
	} else if (room(j) > j->reserved + 1) {
		weakened(ctx, j->cursor, j->slice_end - j->cursor, kept);
		journal_change(j, CHANGE_NARROW, j->cursor, j->slice_end - j->cursor, kept);
	} else {
		weakened(ctx, 0, validity_sectors(j->map), kept);
		journal_distrust(j, kept == SRC_BIT ? DST : SRC);
	}

	memcpy(j->slice_before, j->slice, len);
	j->slice_len = 0;
	j->slice_end = j->cursor;
	for (size_t i = 0; i < len; i += sizeof(uint32_t)) {
		uint32_t run;
		uint64_t part;

		memcpy(&run, j->slice_before + i, sizeof(run));
		end += run >> 2;
		for (; j->slice_end < end && j->slice_len < SLICE_BYTES; j->slice_end += part) {
			side_mask sides = run & BOTH;

			part = end - j->slice_end;
			if (sides == BOTH)
				sides = validity_get(j->map, j->slice_end, part, &part);
			slice_put(j, part, sides);
		}
	}
}

/* --- syncs -------------------------------------------------------------------------- */

uint64_t
journal_take(const struct journal *j)
{
	return j->live->head;
}

static uint64_t *
weakened_at(const struct journal *j, uint64_t position)
{
	return &j->weakened[position & (j->live->entries - 1)];
}

static bool
claims_both(const struct journal *j, uint64_t position)
{
	const struct journal_change *c = change_at(j, position);

	return c->kind == CHANGE_SET && c->sides == BOTH && !*weakened_at(j, position);
}

void
journal_distrust(struct journal *j, enum side side)
{
	side_mask other = side_bit(side_other(side));

	for (uint64_t i = j->written; i < j->live->head; i++)
		if (claims_both(j, i))
			*weakened_at(j, i) = j->live->head << 2 | other;
	journal_change(j, CHANGE_DISTRUST, 0, 0, side_bit(side));
}

bool
journal_claims_both(const struct journal *j, uint64_t position)
{
	for (uint64_t i = j->written; i < position; i++)
		if (claims_both(j, i))
			return true;
	return false;
}

void
journal_weaken(struct journal *j, uint64_t position, side_mask kept, weakened_fn *weakened,
	       void *ctx)
{
	for (uint64_t i = j->written; i < position; i++) {
		const struct journal_change c = *change_at(j, i);

		if (!claims_both(j, i))
			continue;
		if (room(j) <= j->reserved + 1) {
			weakened(ctx, 0, validity_sectors(j->map), kept);
			journal_distrust(j, kept == SRC_BIT ? DST : SRC);
			return;
		}
		*weakened_at(j, i) = j->live->head << 2 | kept;
		weakened(ctx, c.sector, c.count, kept);
		journal_change(j, CHANGE_NARROW, c.sector, c.count, kept);
	}
}

static bool
is_stable(const struct journal *j, uint64_t position)
{
	/* What is of use to a killed process only is never written for its own sake. */
	return (position <= j->committed && j->lost <= j->committed) ||
	       j->last_set <= j->committed;
}

static void
wait_add(struct journal *j, struct journal_wait *w, uint64_t position)
{
	w->position = position;
	w->batch = j->batch + 1;
	list_add_tail(&w->link, &j->waits);
	kick(j);
}

void
journal_sync(struct journal *j, struct journal_wait *w, uint64_t position)
{
	if (is_stable(j, position) && !j->failed && !j->starting)
		w->done(w);
	else
		wait_add(j, w, position);
}

uint64_t
journal_take_all(struct journal *j, uint64_t seq)
{
	j->all_position = j->live->head;
	j->all_seq = seq;
	j->all_flushed = false;
	if (!j->next_active && !j->blocked && next_is_due(j))
		begin_next(j);
	if (j->next_active && !j->slice_ready)
		take_slice(j);
	return j->all_position;
}

void
journal_sync_all(struct journal *j, struct journal_wait *w, side_mask flushed,
		 weakened_fn *weakened, void *ctx)
{
	j->all_flushed = flushed == BOTH;
	if (j->slice_taken && flushed != BOTH) {
		if (j->starting || j->failed)
			weaken_slice(j, flushed ? flushed : SRC_BIT, weakened, ctx);
		else
			abandon_next(j);
	}
	j->slice_ready = j->slice_taken;
	j->slice_taken = false;
	j->note_dirty = true; /* what has been counted since */
	j->all_wait = w;
	wait_add(j, w, j->all_position);
}

bool
journal_wants_sync(const struct journal *j)
{
	return (!j->blocked && !j->slice_ready && (j->next_active || next_is_due(j))) ||
	       (room(j) < j->live->entries / 2 && j->last_set > j->committed) ||
	       j->committed < j->distrusted;
}

void
journal_note(struct journal *j, struct journal_wait *w)
{
	j->note_dirty = true;
	if (w)
		wait_add(j, w, 0);
	else
		kick(j);
}

/* --- the batch ------------------------------------------------------------------------ */

static void
put_note(struct journal *j, struct record_buf *b)
{
	record_begin(b, RECORD_NOTE);
	b->len += j->config.note(j->config.ctx, (char *)b->bytes + b->len, JOURNAL_NOTE_MAX);
	record_end(b);
}

static void
put_changes(struct journal *j, struct record_buf *b, uint64_t from, uint64_t to)
{
	if (from == to && j->target_base == j->base)
		return;
	record_begin(b, RECORD_CHANGES);
	record_put64(b, j->target_base);
	for (uint64_t i = from; i < to; i++) {
		const struct journal_change *c = change_at(j, i);

		if (c->kind != CHANGE_AHEAD && c->kind != CHANGE_SETTLED)
			record_change(b, c);
	}
	/* What narrows them comes later, but must be read with them: the same record has it. */
	for (uint64_t i = from; i < to; i++)
		if (*weakened_at(j, i) >> 2 >= to) {
			struct journal_change c = *change_at(j, i);

			c.kind = CHANGE_NARROW;
			c.sides = *weakened_at(j, i) & BOTH;
			record_change(b, &c);
		}
	record_end(b);
}

/*
 * But for regions that have an intent again: that takes the old one's place, and may
 * be in the file already, if this is said a second time because a write has failed.
 */
static void
put_drops(struct journal *j, struct record_buf *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < j->dropping; i++) {
		if (j->intent_at[j->drop[i] >> 8])
			continue;
		if (!n++)
			record_begin(b, RECORD_DROPS);
		record_put64(b, j->drop[i]);
	}
	if (n)
		record_end(b);
}

static void
put_intents(struct journal *j, struct record_buf *b, bool next)
{
	struct intent *intent;
	unsigned n = 0;

	list_for_each_entry(intent, &j->intents, link) {
		if (next ? intent->in_next : !intent->in_batch)
			continue;
		if (n == INTENTS_MAX) {
			j->ends_next = false; /* the rest goes with the next batch */
			break;
		}
		if (!n++)
			record_begin(b, RECORD_INTENTS);
		record_put64(b, intent->region << 8 | side_bit(intent->side));
		if (next)
			intent->in_next = true;
	}
	if (n)
		record_end(b);
}

static void
put_slice(struct journal *j, struct record_buf *b)
{
	if (!j->slicing)
		return;
	record_begin(b, RECORD_MAP);
	record_put64(b, j->cursor);
	for (size_t i = 0; i < j->slice_len; i += sizeof(uint32_t)) {
		uint32_t run;

		memcpy(&run, j->slice + i, sizeof(run));
		record_put32(b, run);
	}
	record_end(b);
}

static void
build_current(struct journal *j)
{
	struct record_buf *b = &j->buf[STORE_CURRENT];

	record_start(b, &j->current.chain);
	if (j->noting)
		put_note(j, b);
	put_changes(j, b, j->current.position, j->target);
	put_drops(j, b);
	put_intents(j, b, false);
	record_finish(b);
}

/*
 * The slice comes first, and all changes since it was taken follow it, those too that
 * the file has already: it would undo them.
 */
static void
build_next(struct journal *j)
{
	struct record_buf *b = &j->buf[STORE_NEXT];
	bool begins = !j->next.chain.offset;
	uint64_t from = j->next.position;

	record_start(b, &j->next.chain);
	if (begins)
		record_head(b, j->config.uuid, validity_sectors(j->map), j->config.head,
			    j->config.head_len);
	if (begins || j->noting)
		put_note(j, b);
	put_slice(j, b);
	if (j->slicing && (!j->cursor || j->slice_position < from))
		from = j->slice_position;
	put_changes(j, b, from, j->target);
	put_drops(j, b);
	j->ends_next = j->slicing && j->slice_end == validity_sectors(j->map);
	put_intents(j, b, true);
	if (j->ends_next) {
		record_begin(b, RECORD_MAP_END);
		record_put64(b, j->target_base);
		record_end(b);
	}
	record_finish(b);
}

/* How far the changes may be written: to the last that somebody has flushed. */
static uint64_t
flushed_position(const struct journal *j)
{
	uint64_t position = j->last_set <= j->committed ? j->live->head : j->written;
	const struct journal_wait *w;

	list_for_each_entry(w, &j->waits, link)
		if (w->position > position)
			position = w->position;
	return position;
}

static bool
has_work(const struct journal *j)
{
	const struct journal_wait *w;

	/* A sync that has brought no piece, for want of a file, is to make way for one. */
	if (j->starting || j->failed)
		return j->slice_ready || j->all_wait;
	list_for_each_entry(w, &j->waits, link)
		if (w->batch > j->batch || w->position > j->committed)
			return true;
	return j->asked || j->note_dirty || j->slice_ready || wants_room(j);
}

static void
build(struct journal *j)
{
	struct intent *intent;
	unsigned n = 0;

	j->batch++;
	j->stable = false;
	j->target = j->written = flushed_position(j);
	j->target_base = base_of(j, j->target);
	j->noting = j->note_dirty;
	j->note_dirty = false;
	j->dropping = j->drops;
	list_for_each_entry(intent, &j->intents, link)
		if (!intent->stable && n < INTENTS_MAX) {
			intent->in_batch = true;
			n++;
		}
	if (!j->starting && !j->failed)
		build_current(j);
	j->in_next = j->next_active && (j->slice_ready || j->cursor);
	j->slicing = j->in_next && j->slice_ready;
	if (j->in_next)
		build_next(j);
}

/* Starts a batch, if there is something to write and none is being written. */
static void
kick(struct journal *j)
{
	if (j->busy || j->blocked || !j->map || !has_work(j))
		return;
	j->busy = true;
	build(j);
	j->step = STEP_GROW;
	run_step(j);
}

/*
 * The batch that this waits for has ended. A piece of a file that is not whole yet
 * makes nothing stable, but without the end of that sync there were no next piece.
 */
static bool
is_over(const struct journal *j, const struct journal_wait *w)
{
	return w->batch <= j->batch &&
	       (w == j->all_wait ||
		(j->stable && w->position <= j->committed && j->lost <= j->committed));
}

static void
wake_waits(struct journal *j)
{
	struct journal_wait *w, *next;
	struct list_head done;

	INIT_LIST_HEAD(&done);
	list_for_each_entry_safe(w, next, &j->waits, link)
		if (is_over(j, w))
			list_move_tail(&w->link, &done);
	while (!list_empty(&done)) {
		w = list_entry(done.next, struct journal_wait, link);
		list_del(&w->link);
		if (w == j->all_wait)
			j->all_wait = NULL;
		w->done(w);
	}
}

static void
batch_is_stable(struct journal *j)
{
	struct intent *intent;

	j->committed = j->current.position;
	j->base = j->target_base;
	if (j->dropping) {
		j->drops -= j->dropping;
		memmove(j->drop, j->drop + j->dropping, j->drops * sizeof(*j->drop));
	}
	list_for_each_entry(intent, &j->intents, link)
		if (intent->in_batch) {
			intent->in_batch = false;
			intent->stable = true;
			j->asked--;
		}
	if (j->all_flushed && j->committed >= j->all_position) {
		j->all_flushed = false;
		drop_intents(j);
	}
}

static void
batch_is_not_stable(struct journal *j)
{
	struct intent *intent;

	list_for_each_entry(intent, &j->intents, link)
		intent->in_batch = false;
	j->note_dirty |= j->noting;
}

void
journal_end(struct journal *j)
{
	j->all_wait = NULL;
	while (!list_empty(&j->waits)) {
		struct journal_wait *w = list_entry(j->waits.next, struct journal_wait, link);

		list_del(&w->link);
		w->done(w);
	}
}

static void
end_batch(struct journal *j)
{
	if (j->stable)
		batch_is_stable(j);
	else
		batch_is_not_stable(j);
	j->busy = false;
	wake_waits(j);
	kick(j);
	j->changed(j->ctx);
}

static void
next_is_written(struct journal *j)
{
	j->next.chain = j->buf[STORE_NEXT].chain;
	j->next.position = j->target;
	if (j->slicing) {
		j->cursor = j->slice_end;
		j->slice_ready = false;
	}
}

static void
next_is_published(struct journal *j)
{
	j->current = j->next;
	j->current.map_end = j->current.chain.offset;
	j->config.epoch = j->current.chain.epoch;
	j->starting = j->failed = j->full = false;
	j->error = 0;
	j->next_active = false;
	j->stable = true;
}

/* The next file is not to be had: the batch ends with what the current one has. */
static void
next_failed(struct journal *j, int err)
{
	if (j->step == STEP_PUBLISH) {
		/* It may have happened, or not: neither file can be relied upon. */
		j->failed = true;
		j->stable = false;
	}
	j->error = err;
	j->full |= err == -ENOSPC;
	j->blocked = true;
	abandon_next(j);
	end_batch(j);
}

static bool
has_current(const struct journal *j)
{
	return !j->starting && !j->failed;
}

static void
store_done(struct store_io *io, int err)
{
	struct journal *j = list_entry(io, struct journal, io);

	if (err && j->step >= STEP_NEXT) {
		next_failed(j, err);
		return;
	}
	switch (j->step) {
	case STEP_GROW:
		j->full = err;
		j->error = err;
		if (!err)
			j->current.allocated = io->len;
		break;
	case STEP_CURRENT:
		j->failed = err;
		j->error = err ? err : j->error;
		if (!err) {
			j->current.chain = j->buf[STORE_CURRENT].chain;
			j->current.position = j->target;
			j->stable = true;
		}
		break;
	case STEP_NEXT:
		next_is_written(j);
		break;
	case STEP_GROW_NEXT:
		j->next.allocated = io->len;
		break;
	case STEP_PUBLISH:
		next_is_published(j);
		end_batch(j);
		return;
	}
	j->step++;
	run_step(j);
}

static void
submit(struct journal *j, enum store_op op, enum store_file file, uint64_t offset,
       const void *buf, size_t len)
{
	j->io = (struct store_io){
		.op = op,
		.file = file,
		.offset = offset,
		.buf = buf,
		.len = len,
		.done = store_done,
	};
	j->config.store->submit(j->config.store, &j->io);
}

/* Asks the store for the step; false if there is nothing to ask, and it is done. */
static bool
step_submit(struct journal *j)
{
	const struct record_buf *b = &j->buf[j->step < STEP_NEXT ? STORE_CURRENT : STORE_NEXT];
	uint64_t end = j->current.chain.offset + b->len;

	switch (j->step) {
	case STEP_GROW:
		if (!has_current(j) || end + RESERVE_BYTES <= j->current.allocated)
			return false;
		submit(j, STORE_GROW, STORE_CURRENT, 0, NULL, end + GROW_BYTES);
		return true;
	case STEP_CURRENT:
		if (!has_current(j))
			return false;
		if (!b->len) {
			j->stable = true;
			return false;
		}
		submit(j, STORE_WRITE, STORE_CURRENT, j->current.chain.offset, b->bytes,
		       b->len);
		return true;
	case STEP_NEXT:
		if (!b->len) {
			next_is_written(j);
			return false;
		}
		submit(j, STORE_WRITE, STORE_NEXT, j->next.chain.offset, b->bytes, b->len);
		return true;
	case STEP_GROW_NEXT:
		submit(j, STORE_GROW, STORE_NEXT, 0, NULL, j->next.chain.offset + GROW_BYTES);
		return true;
	case STEP_PUBLISH:
		submit(j, STORE_PUBLISH, STORE_NEXT, 0, NULL, 0);
		return true;
	}
	return false;
}

/* Whether the batch ends before this step. */
static bool
ends_before(struct journal *j)
{
	const struct record_buf *b = &j->buf[STORE_CURRENT];

	if (j->step == STEP_CURRENT && has_current(j) &&
	    j->current.chain.offset + b->len > j->current.allocated) {
		/* It goes on where it was once there is room (journal_retry). */
		j->blocked = true;
		abandon_next(j);
		return true;
	}
	return (j->step == STEP_NEXT && !j->in_next) ||
	       (j->step == STEP_GROW_NEXT && !j->ends_next);
}

static void
run_step(struct journal *j)
{
	while (!ends_before(j)) {
		if (step_submit(j))
			return;
		j->step++;
	}
	end_batch(j);
}

/* --- making and ending it ------------------------------------------------------------- */

bool
journal_quiet(const struct journal *j)
{
	return !j->busy;
}

void
journal_get_status(const struct journal *j, struct journal_status *s)
{
	const struct intent *intent;

	*s = (struct journal_status){
		.state = j->failed     ? JOURNAL_FAILED
			 : j->starting ? JOURNAL_STARTING
			 : j->full     ? JOURNAL_FULL
				       : JOURNAL_GOOD,
		.error = j->error,
		.file_bytes = j->current.chain.offset,
		.unwritten = j->live->head - j->committed,
	};
	list_for_each_entry(intent, &j->intents, link)
		s->intents++;
}

void
journal_retry(struct journal *j)
{
	if (j->busy || !j->blocked)
		return;
	j->blocked = false;
	kick(j);
	j->changed(j->ctx);
}

void
journal_attach(struct journal *j, const struct validity *map, void (*changed)(void *ctx),
	       void *ctx)
{
	j->map = map;
	j->changed = changed;
	j->ctx = ctx;
}

struct journal *
journal_create(const struct journal_config *config, uint64_t sectors)
{
	struct journal *j = calloc(1, sizeof(*j));
	struct journal_live *live = config->live;

	assert(live->entries <= LIVE_MAX && !(live->entries & (live->entries - 1)));
	if (!j)
		return NULL;
	j->config = *config;
	if (!j->config.log_bytes)
		j->config.log_bytes = JOURNAL_LOG_BYTES;
	j->live = live;
	j->starting = true;
	INIT_LIST_HEAD(&j->intents);
	INIT_LIST_HEAD(&j->waits);
	INIT_LIST_HEAD(&j->aheads);
	pool_init(&j->intent_pool, sizeof(struct intent));
	j->intent_at = calloc((sectors + JOURNAL_REGION_SECTORS - 1) / JOURNAL_REGION_SECTORS,
			      sizeof(*j->intent_at));
	j->slice = malloc(SLICE_BYTES);
	j->slice_before = malloc(SLICE_BYTES);
	j->weakened = calloc(live->entries, sizeof(*j->weakened));
	for (enum store_file f = STORE_CURRENT; f < STORE_FILES; f++) {
		j->buf[f].size = BUFFER_BYTES / JOURNAL_ALIGN * JOURNAL_ALIGN;
		j->buf[f].bytes = malloc(BUFFER_BYTES);
	}
	if (!j->intent_at || !j->slice || !j->slice_before || !j->weakened ||
	    !j->buf[STORE_CURRENT].bytes || !j->buf[STORE_NEXT].bytes) {
		journal_destroy(j);
		return NULL;
	}
	live->version = JOURNAL_VERSION;
	live->epoch = config->epoch + 1;
	live->head = 0;
	memcpy(live->uuid, config->uuid, sizeof(live->uuid));
	memcpy(live->magic, JOURNAL_LIVE_MAGIC, sizeof(live->magic));
	return j;
}

void
journal_destroy(struct journal *j)
{
	struct intent *intent, *next;

	assert(!j->busy);
	list_for_each_entry_safe(intent, next, &j->intents, link)
		pool_put(&j->intent_pool, intent);
	pool_release(&j->intent_pool);
	free(j->intent_at);
	free(j->slice);
	free(j->slice_before);
	free(j->weakened);
	free(j->buf[STORE_CURRENT].bytes);
	free(j->buf[STORE_NEXT].bytes);
	free(j);
}
