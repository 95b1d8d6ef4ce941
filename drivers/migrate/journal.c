/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error-class.h"
#include "journal-record.h"
#include "journal.h"
#include "pool.h"

#define INTENTS_MAX 8192u /* written at once */
#define DROPS_MAX   8192u
#define RUN_MAX	    ((1u << 30) - 1) /* sectors, in a map's record */
/* A piece of the map covers at most so much, 16 TiB: to look through it takes about 1 ms. */
#define SLICE_SECTORS (UINT64_C(1) << 35)
/* The simulator's are small, so that what is rare happens often. */
#ifndef LIVE_SLACK
#define LIVE_MAX    16384u	 /* changes */
#define LIVE_SLACK  64u		 /* changes that need no reservation */
#define SLICE_BYTES (256u << 10) /* of the map, written with one sync */
#define GROW_BYTES  (4ull << 20) /* of the file, allocated ahead */
#endif
#define RESERVE_BYTES                                                           \
	(GROW_BYTES / 4) /* ... of which the copier leaves so much to the guest \
			  */

#define BUFFER_BYTES                                                                \
	(RECORD_BYTES(JOURNAL_HEAD_MAX) + RECORD_BYTES(JOURNAL_NOTE_MAX) +          \
	 RECORD_BYTES(SLICE_BYTES) + RECORD_BYTES(LIVE_MAX * RECORD_CHANGE_BYTES) + \
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
	uint64_t wrote; /* journal_marks's of DST, when a write here ended last */
};

/* Of a live change, beside what is in the live memory. */
struct said {
	uint64_t wrote[SIDES];	   /* journal_marks's, when it was made */
	uint8_t file[STORE_FILES]; /* what each file says of it, as said_of() had it */
	uint8_t batch;		   /* ... and will, after the batch */
	side_mask lost;		   /* sides of which it is not to be said any more */
	bool copied;		   /* one of the sides was valid before */
};

/* One of the two files: what is there, and stable. */
struct file {
	struct record_chain chain;
	uint64_t allocated;
	uint64_t map_end; /* bytes */
};

/* A batch is written to the current file, then to the next one, whose turn it may be. */
enum step { STEP_GROW, STEP_CURRENT, STEP_NEXT, STEP_GROW_NEXT, STEP_PUBLISH };

struct journal {
	struct journal_config config;
	const struct validity *map;
	const struct journal_marks *marks;
	void (*changed)(void *ctx);
	void *ctx;
	struct journal_live *live;
	unsigned reserved; /* changes */

	struct file current, next;
	bool starting;	  /* there is no current file of ours yet */
	bool failed;	  /* ... a write to it has failed, or it is spoilt */
	bool spoilt;	  /* the next one is to begin anew */
	bool full;	  /* ... it cannot grow */
	bool blocked;	  /* what is to be written waits for journal_retry() */
	int error;	  /* -errno of the last failure */
	bool next_active; /* the next file is being written */
	uint64_t cursor;  /* sectors before it are in its map */

	struct said *said;	 /* of each live change */
	uint64_t flushed[SIDES]; /* marks->stable, at the last sync */
	unsigned unflushed;	 /* live changes of which the file cannot say all yet */
	uint64_t forced;      /* ... and does: there was no room, or no side could be flushed */
	uint64_t base;	      /* live changes before it are of no use any more */
	uint64_t target_base; /* ... will be, after the batch */
	struct list_head aheads; /* the oldest first */
	uint64_t edition;	 /* grows with what there is to say */
	uint64_t stable_edition; /* ... of which the file says so much */
	bool both[SIDES];	 /* journal_may_say_both() */
	unsigned untold;	 /* of the live changes takes_away(), not in the file yet */
	bool distrusts_old;	 /* the old live changes have been told */
	bool note_dirty;

	struct intent **intent_at; /* by region */
	struct list_head intents;
	struct pool intent_pool;
	unsigned asked; /* intents that are not stable */
	unsigned trusted[SIDES];
	uint64_t drop[DROPS_MAX]; /* regions << 8 | side */
	unsigned drops;

	/* The migration's own sync. */
	uint64_t all_position;
	uint64_t all_edition;	       /* says all before that position */
	uint64_t all_batch;	       /* ... if any does */
	bool all_flushed;	       /* both sides were: intents may go when it is stable */
	struct journal_wait *all_wait; /* whose it is */
	uint8_t *slice;		       /* of the map, when it was taken: 4 bytes a run */
	uint8_t *slice_before;	       /* while it is weakened */
	size_t slice_len;
	uint64_t slice_end;	 /* sectors */
	uint64_t slice_position; /* live changes before it are in the slice */
	uint64_t next_position;	 /* ... in some slice of the next file */
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
	uint64_t batch_edition;
	uint64_t target; /* live changes before it have been looked at */
	struct record_buf buf[STORE_FILES];
	struct store_io io;
	uint64_t requests; /* to the store, ever */
	uint64_t progress; /* journal_work's */
	struct list_head waits;
};

static void kick(struct journal *j);
static void run_step(struct journal *j);

/* There is a file that can be written to. */
static bool
has_current(const struct journal *j)
{
	return !j->starting && !j->failed;
}

/* --- changes ---------------------------------------------------------------------- */

/* What is newer than the slice will be written behind it, though it is stable already. */
static uint64_t
oldest(const struct journal *j)
{
	bool slice = j->slice_taken || j->slice_ready;

	return slice && j->slice_position < j->base ? j->slice_position : j->base;
}

/* The last entry is left to who opens the journal next (distrust_old). */
static unsigned
room(const struct journal *j)
{
	return j->live->entries - 1 - (unsigned)(j->live->head - oldest(j));
}

static struct journal_change *
change_at(const struct journal *j, uint64_t position)
{
	return &j->live->change[position & (j->live->entries - 1)];
}

static struct said *
said_at(const struct journal *j, uint64_t position)
{
	return &j->said[position & (j->live->entries - 1)];
}

/*
 * Where a live change leaves the range valid, as far as that is so still: the sides that
 * must have been flushed before the file says so.
 */
static side_mask
claims_of(const struct journal *j, uint64_t position)
{
	const struct journal_change *c = change_at(j, position);

	switch (c->kind) {
	case CHANGE_SET:
		return c->sides & (side_mask)~said_at(j, position)->lost;
	case CHANGE_NARROW:
		return (side_mask)c->sides;
	case CHANGE_FAILED:
		return c->sides == BOTH ? SRC_BIT : BOTH & (side_mask)~c->sides;
	case CHANGE_DISTRUST:
		return BOTH & (side_mask)~c->sides;
	default:
		return NO_SIDE; /* there is nothing about it to say in the file */
	}
}

/* What the file may say of a live change: of these claims, what is stable. */
static side_mask
said_of(const struct journal *j, uint64_t position)
{
	const struct said *said = said_at(j, position);
	side_mask sides = NO_SIDE;

	for (enum side s = SRC; s < SIDES; s++)
		if (said->wrote[s] <= j->flushed[s])
			sides |= claims_of(j, position) & side_bit(s);
	/* Of one side alone the file would say less than it does. */
	return said->copied && sides != claims_of(j, position) ? NO_SIDE : sides;
}

static bool
is_unflushed(const struct journal *j, uint64_t position)
{
	return claims_of(j, position) != said_of(j, position);
}

/* From now on the file may say all of it. */
static void
say_all(struct journal *j, uint64_t position)
{
	j->unflushed -= is_unflushed(j, position);
	memset(said_at(j, position)->wrote, 0, sizeof(said_at(j, position)->wrote));
}

/* Live changes before that position are of no use once the file says all that it may. */
static uint64_t
base_of(const struct journal *j)
{
	uint64_t base = j->base, end = j->live->head;

	if (!list_empty(&j->aheads))
		end = list_entry(j->aheads.next, struct journal_ahead, link)->position;
	if (!j->unflushed)
		return end;
	while (base < end && !is_unflushed(j, base))
		base++;
	return base;
}

/* What is of no use in the file makes room without a flush of the disks. */
static bool
wants_room(const struct journal *j)
{
	return room(j) < j->live->entries / 2 && base_of(j) > j->base;
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

/*
 * While the file does not say so it may say both still, and the writes that would follow
 * need no intent: they wait.
 */
static bool
takes_away(const struct journal_change *c)
{
	return c->kind == CHANGE_DISTRUST || c->kind == CHANGE_NARROW;
}

void
journal_change(struct journal *j, enum journal_change_kind kind, uint64_t sector,
	       uint64_t count, side_mask sides)
{
	assert(room(j) && count <= UINT32_MAX);
	*said_at(j, j->live->head) = (struct said){
		.wrote = { j->marks->wrote[SRC], j->marks->wrote[DST] },
	};
	*change_at(j, j->live->head) = (struct journal_change){
		.sector = sector,
		.count = (uint32_t)count,
		.kind = (uint16_t)kind,
		.sides = sides,
	};
	/* Whoever reads this after we were killed sees the change, or not its number. */
	__atomic_store_n(&j->live->head, j->live->head + 1, __ATOMIC_RELEASE);
	j->unflushed += is_unflushed(j, j->live->head - 1);
	j->edition += said_of(j, j->live->head - 1) != NO_SIDE;
	j->untold += takes_away(change_at(j, j->live->head - 1));
	if (kind == CHANGE_SET && sides == BOTH)
		j->both[SRC] = j->both[DST] = true;
	else if (kind == CHANGE_DISTRUST)
		j->both[sides == SRC_BIT ? SRC : DST] = false;
}

bool
journal_may_say_both(const struct journal *j, enum side side)
{
	return j->both[side];
}

static void
force(struct journal *j, uint64_t position)
{
	say_all(j, position);
	j->forced++;
	j->edition++;
}

/*
 * What is to be said can't be told from the live changes any more: the next file says it,
 * which begins with the map as it is then.
 */
static void
spoil(struct journal *j)
{
	j->failed = !j->starting;
	j->spoilt = true;
}

/* The first live change of which any file, or the next one, is to say something yet. */
static uint64_t
first_of_use(const struct journal *j)
{
	if (has_current(j))
		return j->base;
	if (!j->next_active || j->spoilt)
		return j->live->head;
	return j->cursor ? j->next_position : j->slice_position;
}

static bool
overlaps(const struct journal_change *c, uint64_t sector, uint64_t count)
{
	return c->sector < sector + count && sector < c->sector + c->count;
}

/*
 * What a change says of a side that may have lost it is not to be said, unless it is said
 * anew: of what is valid there still. Where all of it is so nothing better is known. Without
 * room for that the file is spoilt.
 */
static void
take_back(struct journal *j, uint64_t position, side_mask side)
{
	const struct journal_change c = *change_at(j, position);
	const struct said said = {
		.wrote = { said_at(j, position)->wrote[SRC], said_at(j, position)->wrote[DST] },
		.copied = said_at(j, position)->copied,
	};
	uint64_t end = c.sector + c.count, run, valid = 0;

	for (uint64_t s = c.sector; s < end; s += run)
		if (validity_get(j->map, s, end - s, &run) & side)
			valid += run;
	if (valid == c.count)
		return;
	for (uint64_t s = c.sector; valid && s < end; s += run) {
		side_mask sides = validity_get(j->map, s, end - s, &run);

		if (!(sides & side))
			continue;
		if (room(j) <= j->reserved + 1) {
			spoil(j);
			return;
		}
		journal_change(j, CHANGE_SET, s, run, sides);
		j->unflushed -= is_unflushed(j, j->live->head - 1);
		*said_at(j, j->live->head - 1) = said;
		j->unflushed += is_unflushed(j, j->live->head - 1);
	}
	j->unflushed -= is_unflushed(j, position);
	said_at(j, position)->lost |= side;
	j->unflushed += is_unflushed(j, position);
	j->edition++;
}

/*
 * A side may have lost what was written to it in that range since its last good flush, or
 * M does not believe it any more. A later good flush does not bring that back.
 */
static void
take_back_range(struct journal *j, enum side side, uint64_t sector, uint64_t count)
{
	uint64_t end = j->live->head;

	for (uint64_t i = first_of_use(j); i < end && !j->spoilt; i++)
		if (overlaps(change_at(j, i), sector, count) &&
		    change_at(j, i)->kind == CHANGE_SET && (claims_of(j, i) & side_bit(side)) &&
		    said_at(j, i)->wrote[side] > j->marks->stable[side])
			take_back(j, i, side_bit(side));
}

static void
take_back_all(struct journal *j, enum side side)
{
	take_back_range(j, side, 0, validity_sectors(j->map));
}

/* What waited for a flush of that side to be said is said without: neither could be. */
static void
force_all(struct journal *j, enum side side)
{
	for (uint64_t i = j->base; i < j->live->head; i++)
		if (change_at(j, i)->kind != CHANGE_SET && is_unflushed(j, i) &&
		    (claims_of(j, i) & side_bit(side)))
			force(j, i);
}

void
journal_failed(struct journal *j, uint64_t sector, uint64_t count, side_mask sides)
{
	journal_change(j, CHANGE_FAILED, sector, count, sides);
	for (enum side s = SRC; s < SIDES; s++)
		if (sides & side_bit(s))
			take_back_range(j, s, sector, count);
}

void
journal_copied(struct journal *j, uint64_t sector, uint64_t count)
{
	journal_change(j, CHANGE_SET, sector, count, BOTH);
	said_at(j, j->live->head - 1)->copied = true;
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

void
journal_owe(struct journal *j, bool owed)
{
	j->live->owed = owed;
	if (j->starting && j->config.old)
		j->config.old->owed |= owed;
}

/* --- intents ----------------------------------------------------------------------- */

bool
journal_open_to_writes(const struct journal *j)
{
	return !j->starting && !j->failed && !j->untold;
}

bool
journal_open_to_copies(const struct journal *j)
{
	return journal_open_to_writes(j) && !j->full &&
	       room(j) > j->reserved + j->live->entries / 4;
}

bool
journal_is_good(const struct journal *j)
{
	return !j->starting && !j->failed && !j->full;
}

static void
intent_ask(struct journal *j, struct intent *intent, enum side trusted)
{
	intent->side = trusted;
	intent->stable = intent->in_batch = intent->in_next = false;
	j->asked++;
	j->trusted[trusted]++;
	kick(j);
}

/*
 * The source holds stably what the guest's flushes have returned for, in any case. The
 * destination may have lost it by a flush that the file does not tell of yet.
 */
static bool
may_trust(const struct journal *j, const struct intent *intent, enum side side)
{
	uint64_t wrote = intent->inflight ? j->marks->wrote[DST] : intent->wrote;

	return side == SRC || intent->side == side ||
	       (wrote <= j->marks->stable[DST] && !j->untold);
}

static void
intent_turn(struct journal *j, struct intent *intent, enum side trusted)
{
	if (intent->side == trusted || !may_trust(j, intent, trusted))
		return;
	j->asked -= !intent->stable;
	j->trusted[intent->side]--;
	intent_ask(j, intent, trusted);
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
		j->intent_at[region] = intent;
		list_add_tail(&intent->link, &j->intents);
		intent_ask(j, intent, trusted);
	} else if (!intent->inflight) {
		intent_turn(j, intent, trusted); /* it could not be at the switch */
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
journal_write_ends(struct intent *intent)
{
	intent->inflight--;
	intent->wrote = intent->journal->marks->wrote[DST];
}

bool
journal_may_trust(const struct journal *j, enum side side)
{
	const struct intent *intent;

	list_for_each_entry(intent, &j->intents, link)
		if (!may_trust(j, intent, side))
			return false;
	return true;
}

void
journal_trust(struct journal *j, enum side side)
{
	struct intent *intent;

	list_for_each_entry(intent, &j->intents, link)
		intent_turn(j, intent, side);
}

bool
journal_trusts(const struct journal *j, enum side side)
{
	return j->trusted[side];
}

/*
 * What both sides have been flushed of since, and P knows: that is in doubt no more.
 * So it is for a region in which nothing has been in flight since the last time.
 */
static void
drop_intents(struct journal *j)
{
	struct intent *intent, *next;

	list_for_each_entry_safe(intent, next, &j->intents, link) {
		if (!intent->stable || intent->inflight)
			continue;
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
	j->spoilt = false;
	j->cursor = 0;
	j->slice_taken = j->slice_ready = false;
	j->next = (struct file){ 0 };
	j->next.chain.epoch = j->config.epoch + j->starting;
	for (uint64_t i = j->base; i < j->live->head; i++)
		said_at(j, i)->file[STORE_NEXT] = NO_SIDE;
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

/* The map as it is now, from the cursor on, as far as it fits. Looks at no more of it. */
static void
take_slice(struct journal *j)
{
	uint64_t end = validity_sectors(j->map), run;

	if (end - j->cursor > SLICE_SECTORS)
		end = j->cursor + SLICE_SECTORS;
	j->slice_position = j->live->head;
	j->slice_len = 0;
	j->slice_end = j->cursor;
	while (j->slice_end < end && j->slice_len < SLICE_BYTES) {
		uint64_t left = end - j->slice_end;
		side_mask sides = validity_get(j->map, j->slice_end,
					       left < RUN_MAX ? left : RUN_MAX, &run);

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

/* What M calls valid on both in the range is valid on kept only, from now on. */
static void
narrow(struct journal *j, uint64_t sector, uint64_t count, side_mask kept,
       weakened_fn *weakened, void *ctx)
{
	if (!has_both(j, sector, sector + count))
		return;
	if (room(j) > j->reserved + 1) {
		weakened(ctx, sector, count, kept);
		journal_change(j, CHANGE_NARROW, sector, count, kept);
	} else {
		weakened(ctx, 0, validity_sectors(j->map), kept);
		journal_change(j, CHANGE_DISTRUST, 0, 0, BOTH & (side_mask)~kept);
	}
	take_back_all(j, kept == SRC_BIT ? DST : SRC);
}

/*
 * Both where not both were flushed is one; and so it is in M from now on. It may be
 * that already: then it is what M says, for what narrows both has no effect on one.
 */
static void
weaken_slice(struct journal *j, side_mask flushed, weakened_fn *weakened, void *ctx)
{
	size_t len = j->slice_len;
	uint64_t end = j->cursor;

	narrow(j, j->cursor, j->slice_end - j->cursor, flushed ? flushed : SRC_BIT, weakened,
	       ctx);

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
			j->forced += !(sides & flushed);
			slice_put(j, part, sides);
		}
	}
}

/* --- syncs -------------------------------------------------------------------------- */

/*
 * Should this opening of the journal be killed before it has a file, the next one reads
 * the old live changes again, which are to know that a side has lost what they say of
 * both. Once is enough: then nothing is on both, until there is a file.
 */
static void
distrust_old(struct journal *j, enum side side)
{
	struct journal_live *old = j->config.old;

	old->change[old->head & (old->entries - 1)] =
		(struct journal_change){ .kind = CHANGE_DISTRUST_READ,
					 .sides = side_bit(side) };
	__atomic_store_n(&old->head, old->head + 1, __ATOMIC_RELEASE);
	j->distrusts_old = true;
}

void
journal_flush_failed(struct journal *j, enum side side, bool distrusted)
{
	if (distrusted)
		journal_change(j, CHANGE_DISTRUST, 0, 0, side_bit(side));
	if (distrusted && j->starting && j->config.old && !j->distrusts_old)
		distrust_old(j, side);
	take_back_all(j, side);
	force_all(j, side);
	kick(j);
}

/* Looks at what has been flushed since the last time. */
static void
look(struct journal *j)
{
	uint64_t was[SIDES] = { j->flushed[SRC], j->flushed[DST] };

	memcpy(j->flushed, j->marks->stable, sizeof(j->flushed));
	if (!j->unflushed || !memcmp(was, j->flushed, sizeof(was)))
		return;
	j->unflushed = 0;
	for (uint64_t i = j->base; i < j->live->head; i++)
		j->unflushed += is_unflushed(j, i);
	j->edition++;
}

/*
 * What cannot be flushed has used up half of the room, and the guest is not to wait
 * for it: what one side has alone is said of it all the same.
 */
static void
make_room(struct journal *j, weakened_fn *weakened, void *ctx)
{
	for (uint64_t i = j->base; i < j->all_position; i++) {
		const struct journal_change c = *change_at(j, i);

		if (!is_unflushed(j, i))
			continue;
		if (claims_of(j, i) == BOTH)
			narrow(j, c.sector, c.count, said_of(j, i) ? said_of(j, i) : SRC_BIT,
			       weakened, ctx);
		if (is_unflushed(j, i))
			force(j, i);
	}
}

static void
wait_add(struct journal *j, struct journal_wait *w)
{
	w->edition = j->edition;
	list_add_tail(&w->link, &j->waits);
	kick(j);
}

void
journal_sync(struct journal *j, struct journal_wait *w)
{
	look(j);
	if (j->stable_edition == j->edition && has_current(j))
		w->done(w);
	else
		wait_add(j, w);
}

void
journal_take_all(struct journal *j)
{
	j->all_position = j->live->head;
	j->all_flushed = false;
	if (!j->blocked && (j->spoilt || (!j->next_active && next_is_due(j))))
		begin_next(j);
	if (j->next_active && !j->slice_ready)
		take_slice(j);
}

void
journal_sync_all(struct journal *j, struct journal_wait *w, side_mask flushed,
		 weakened_fn *weakened, void *ctx)
{
	j->all_flushed = flushed == BOTH;
	look(j);
	if (flushed != BOTH && room(j) < j->live->entries / 2)
		make_room(j, weakened, ctx);
	if (j->spoilt || (j->slice_taken && flushed != BOTH && has_current(j)))
		abandon_next(j);
	else if (j->slice_taken && flushed != BOTH)
		weaken_slice(j, flushed, weakened, ctx);
	j->slice_ready = j->slice_taken;
	j->slice_taken = false;
	j->note_dirty = true; /* what has been counted since */
	j->all_edition = ++j->edition;
	j->all_batch = j->batch + 1;
	j->all_wait = w;
	wait_add(j, w);
}

bool
journal_wants_sync(const struct journal *j)
{
	return (!j->blocked && !j->slice_ready && (j->next_active || next_is_due(j))) ||
	       (room(j) < j->live->entries / 2 && j->unflushed);
}

void
journal_note(struct journal *j, struct journal_wait *w)
{
	j->note_dirty = true;
	j->edition++;
	if (w)
		wait_add(j, w);
	else
		kick(j);
}

uint64_t
journal_edition(const struct journal *j)
{
	return j->edition;
}

bool
journal_has(const struct journal *j, uint64_t edition)
{
	return has_current(j) && j->stable_edition >= edition;
}

/* --- the batch ------------------------------------------------------------------------ */

static void
put_note(struct journal *j, struct record_buf *b)
{
	record_begin(b, RECORD_NOTE);
	b->len += j->config.note(j->config.ctx, (char *)b->bytes + b->len, JOURNAL_NOTE_MAX);
	record_end(b);
}

/*
 * From the first of which there is something else to say than the file does, to the
 * last: so often as they are read, in their order, the outcome is the same.
 */
static void
put_changes(struct journal *j, struct record_buf *b, enum store_file file)
{
	uint64_t i = oldest(j);

	while (i < j->target && said_at(j, i)->batch == said_at(j, i)->file[file])
		i++;
	if (i == j->target && j->target_base == j->base)
		return;
	record_begin(b, RECORD_CHANGES);
	record_put64(b, j->target_base);
	for (; i < j->target; i++) {
		struct journal_change c = *change_at(j, i);

		if (c.kind == CHANGE_SET)
			c.sides = said_at(j, i)->batch;
		if (said_at(j, i)->batch)
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
	put_changes(j, b, STORE_CURRENT);
	put_drops(j, b);
	put_intents(j, b, false);
	record_finish(b);
}

/* All changes since the slice was taken follow it, for it would undo them. */
static void
follow_slice(struct journal *j)
{
	if (!j->slicing)
		return;
	if (!j->cursor) {
		j->next_position = j->slice_position;
		for (uint64_t i = oldest(j); i < j->slice_position; i++)
			said_at(j, i)->file[STORE_NEXT] = said_at(j, i)->batch;
	}
	for (uint64_t i = j->slice_position; i < j->target; i++)
		said_at(j, i)->file[STORE_NEXT] = NO_SIDE;
}

static void
build_next(struct journal *j)
{
	struct record_buf *b = &j->buf[STORE_NEXT];
	bool begins = !j->next.chain.offset;

	record_start(b, &j->next.chain);
	if (begins)
		record_head(b, j->config.uuid, validity_sectors(j->map), j->config.head,
			    j->config.head_len);
	if (begins || j->noting)
		put_note(j, b);
	put_slice(j, b);
	follow_slice(j);
	put_changes(j, b, STORE_NEXT);
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

static bool
has_work(const struct journal *j)
{
	/* A sync that has brought no piece, for want of a file, is to make way for one. */
	if (!has_current(j))
		return j->slice_ready || j->all_wait;
	return j->edition > j->stable_edition || j->asked || j->slice_ready || wants_room(j);
}

/*
 * What the batch says of each live change. Those that take away from what there is do
 * not commute, so none is said before an earlier one.
 */
static void
say(struct journal *j)
{
	bool in_order = true;

	for (uint64_t i = oldest(j); i < j->target; i++) {
		side_mask says = said_of(j, i);

		if (change_at(j, i)->kind != CHANGE_SET && claims_of(j, i)) {
			in_order = in_order && says;
			says = in_order ? says : NO_SIDE;
		}
		said_at(j, i)->batch = says;
	}
}

static void
build(struct journal *j)
{
	struct intent *intent;
	unsigned n = 0;

	j->batch++;
	j->stable = false;
	j->batch_edition = j->edition;
	j->target = j->live->head;
	j->target_base = base_of(j);
	say(j);
	j->noting = j->note_dirty;
	j->note_dirty = false;
	j->dropping = j->drops;
	list_for_each_entry(intent, &j->intents, link)
		if (!intent->stable && n < INTENTS_MAX) {
			intent->in_batch = true;
			n++;
		}
	if (has_current(j))
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
	return w->edition <= j->stable_edition ||
	       (w == j->all_wait && j->all_batch <= j->batch);
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

	j->stable_edition = j->batch_edition;
	j->progress++;
	j->untold = 0;
	for (uint64_t i = j->base; i < j->live->head; i++)
		j->untold += takes_away(change_at(j, i)) && !said_at(j, i)->file[STORE_CURRENT];
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
	if (j->all_flushed && j->stable_edition >= j->all_edition) {
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
journal_let_go(struct journal *j)
{
	struct journal_wait *w, *next;

	list_for_each_entry_safe(w, next, &j->waits, link)
		if (w != j->all_wait) {
			list_del(&w->link);
			w->done(w);
		}
}

void
journal_end(struct journal *j)
{
	j->all_wait = NULL;
	journal_let_go(j);
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

/* The file has what the batch says. */
static void
file_has(struct journal *j, enum store_file file)
{
	for (uint64_t i = oldest(j); i < j->target; i++)
		said_at(j, i)->file[file] = said_at(j, i)->batch;
}

static void
next_is_written(struct journal *j)
{
	j->next.chain = j->buf[STORE_NEXT].chain;
	file_has(j, STORE_NEXT);
	if (j->slicing) {
		j->cursor = j->slice_end;
		j->slice_ready = false;
		/* What begins again and again gets nowhere. */
		j->progress += !j->error;
	}
}

static void
next_is_published(struct journal *j)
{
	for (uint64_t i = j->base; i < j->live->head; i++) {
		struct said *said = said_at(j, i);

		/* What could not be flushed is in the slices, as the map had it since. */
		if (i < j->next_position) {
			say_all(j, i);
			said->file[STORE_NEXT] = said_of(j, i);
		}
		said->file[STORE_CURRENT] = said->file[STORE_NEXT];
	}
	j->current = j->next;
	j->current.map_end = j->current.chain.offset;
	j->config.epoch = j->current.chain.epoch;
	j->starting = j->full = false;
	j->failed = j->spoilt;
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
	j->full |= error_class(err) == ERROR_NO_SPACE;
	j->blocked = true;
	abandon_next(j);
	end_batch(j);
}

static void
store_done(struct store_io *io, int err)
{
	struct journal *j = list_entry(io, struct journal, io);

	/*
	 * The file that it replaces makes room once it is gone: where that one is of no use
	 * anyway, what is to come need not fit beside it.
	 */
	if (error_class(err) == ERROR_NO_SPACE && j->step == STEP_GROW_NEXT &&
	    !has_current(j)) {
		io->len = j->next.chain.offset;
		err = 0;
	}
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
		j->failed |= err != 0;
		j->error = err ? err : j->error;
		if (!err) {
			j->current.chain = j->buf[STORE_CURRENT].chain;
			file_has(j, STORE_CURRENT);
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
	j->requests++;
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
		.unwritten = j->unflushed + (j->edition - j->stable_edition),
		.forced = j->forced,
	};
	list_for_each_entry(intent, &j->intents, link)
		s->intents++;
	/* The file does not know of these yet. */
	for (unsigned i = 0; i < j->drops; i++)
		s->intents += !j->intent_at[j->drop[i] >> 8];
}

void
journal_get_work(const struct journal *j, struct journal_work *work)
{
	*work = (struct journal_work){
		.busy = j->busy,
		.requests = j->requests,
		.rests = !j->busy && has_current(j) && !has_work(j),
		.progress = j->progress,
	};
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
journal_attach(struct journal *j, const struct validity *map, const struct journal_marks *marks,
	       void (*changed)(void *ctx), void *ctx)
{
	j->map = map;
	j->marks = marks;
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
	j->both[SRC] = j->both[DST] = true;
	INIT_LIST_HEAD(&j->intents);
	INIT_LIST_HEAD(&j->waits);
	INIT_LIST_HEAD(&j->aheads);
	pool_init(&j->intent_pool, sizeof(struct intent));
	j->said = calloc(live->entries, sizeof(*j->said));
	j->intent_at = calloc((sectors + JOURNAL_REGION_SECTORS - 1) / JOURNAL_REGION_SECTORS,
			      sizeof(*j->intent_at));
	j->slice = malloc(SLICE_BYTES);
	j->slice_before = malloc(SLICE_BYTES);
	for (enum store_file f = STORE_CURRENT; f < STORE_FILES; f++) {
		j->buf[f].size = BUFFER_BYTES / JOURNAL_ALIGN * JOURNAL_ALIGN;
		j->buf[f].bytes = malloc(BUFFER_BYTES);
	}
	if (!j->said || !j->intent_at || !j->slice || !j->slice_before ||
	    !j->buf[STORE_CURRENT].bytes || !j->buf[STORE_NEXT].bytes) {
		journal_destroy(j);
		return NULL;
	}
	live->version = JOURNAL_VERSION;
	live->epoch = config->epoch + 1;
	live->owed = 0;
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
	free(j->said);
	free(j->intent_at);
	free(j->slice);
	free(j->slice_before);
	free(j->buf[STORE_CURRENT].bytes);
	free(j->buf[STORE_NEXT].bytes);
	free(j);
}
