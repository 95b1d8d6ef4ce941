/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "error-class.h"

#define FLIGHT_BUCKETS 1024
#define SYNC_AGAIN_NS  1000000000ull /* after one that could not flush both sides */
#define BLOCK_MAX      8u	     /* sectors */
#define FLUSH_ASKED_LATE_NS \
	1000000000ull /* after the side's last answer: others owe it longer */
/* The simulator's disks are small, and it uses fewer. */
#ifndef GRAINS
#define GRAINS CLOSURE_GRAINS
#endif

/* The piece of a guest request that lies in one chunk. */
struct part {
	struct list_head link;	  /* in exactly one list: incoming, held, waiting, flight */
	struct list_head waiters; /* parts that wait for this write */
	struct list_head behind;  /* in engine.behind while it waits for another write */
	struct list_head early;	  /* in engine.early if flushes wait for it, until settled */
	struct engine *engine;
	struct guest_io *guest; /* NULL once answered */
	uint64_t number;	/* in the order in which they were made */
	enum disk_op op;
	bool no_hole;
	bool ack_first; /* acknowledged at the first success */
	bool throttled; /* has been delayed once */
	bool settled;	/* its outcome is in the map; only a lost side owes an answer */
	bool forsaken;	/* ... and the guest waits for that, for its buffer is there */
	struct journal_ahead ahead; /* it was acknowledged at one side's success */
	unsigned reserved;	    /* changes of the journal */
	struct intent *intent;	    /* of its region, if some of it was valid on both */
	struct list_head sync;	    /* in engine.to_sync or in_sync: its answer waits */
	uint64_t sector;
	uint32_t count;
	char *buf;	  /* the guest's */
	char *copy;	  /* ours, of a mirrored write */
	side_mask issued; /* sides it was sent to */
	side_mask answered;
	side_mask ok;	    /* ... well */
	side_mask unstable; /* ... and failed a flush since, before the write was answered */
	side_mask lost;	    /* sides that stalled under it: counted as failed */
	side_mask avoid;    /* a read: sides that have failed it */
	uint64_t errors;    /* a read: its side's when it was issued */
	int err;
	uint64_t ack_seq;
	struct side_io sio[SIDES];
};

enum flush_kind {
	FLUSH_SAID,   /* the guest's, and whose else ends when the journal says so */
	FLUSH_SIDE,   /* of one side, and the journal is told nothing */
	FLUSH_WRITES, /* for which the answers of writes wait */
	FLUSH_ALL,    /* the migration's own, of all that there is to say */
};

struct flush {
	struct list_head link;
	struct engine *engine;
	struct guest_io *guest;		  /* or */
	void (*done)(void *ctx, int err); /* flush_sides' */
	void *ctx;
	uint64_t ack_seq;    /* waits for the early writes up to this one */
	uint64_t seq[SIDES]; /* what a good flush of the side covers */
	enum flush_kind kind;
	bool whole;	    /* fails on a disk that has become smaller */
	side_mask needed;   /* flush_sides' */
	side_mask must;	    /* sides without which nothing is stable */
	side_mask awaited;  /* sides that were asked */
	side_mask given_up; /* ... and have stalled; they answer later, or never */
	side_mask failed;
	bool ended; /* but for the answers of sides given up */
	int err;
	struct side_io sio[SIDES];

	/* For the journal. */
	uint64_t wrote[SIDES];	/* what each side had been written then */
	uint64_t asked[SIDES];	/* ... when it was asked */
	uint64_t errors[SIDES]; /* flushes of the side that had failed then */
	struct journal_wait wait;
};

static void part_route(struct part *p);

static bool
overlaps(uint64_t a, uint64_t a_count, uint64_t b, uint64_t b_count)
{
	return a < b + b_count && b < a + a_count;
}

static struct list_head *
flight_of(const struct engine *e, uint64_t sector)
{
	return &e->flight[sector / e->chunk % FLIGHT_BUCKETS];
}

/* Of the same chunk, the writes that wait for another one's end. */
static struct list_head *
behind_of(const struct engine *e, uint64_t sector)
{
	return &e->behind[sector / e->chunk % FLIGHT_BUCKETS];
}

static bool
is_before(const struct list_head *list, const struct part *p)
{
	return !list_empty(list) &&
	       list_entry(list->next, struct part, link)->number < p->number;
}

/*
 * First come, first served, wherever it has waited meanwhile. Quick for the first and for
 * the last, which most are.
 */
static void
hold(struct part *p, struct list_head *where)
{
	struct list_head *before = where->prev;

	if (!is_before(where, p)) {
		list_add(&p->link, where);
		return;
	}
	while (before != where && list_entry(before, struct part, link)->number > p->number)
		before = before->prev;
	list_add(&p->link, before);
}

/* Until that write lets it go; others that come later and overlap it wait for it in turn. */
static void
hold_behind(struct part *p, struct part *w)
{
	struct list_head *list = behind_of(p->engine, p->sector), *before = list->prev;

	hold(p, &w->waiters);
	if (p->op == DISK_READ)
		return;
	while (before != list && list_entry(before, struct part, behind)->number > p->number)
		before = before->prev;
	list_add(&p->behind, before);
}

/* What held these has changed: they are routed again, before all that came later. */
static void
wake(struct engine *e, struct list_head *held)
{
	struct part *p, *next;

	list_for_each_entry_safe(p, next, held, link) {
		list_del(&p->link);
		if (p->behind.next)
			list_del(&p->behind);
		p->behind.next = NULL;
		hold(p, &e->incoming);
	}
}

/* --- splitting a request, and answering it -------------------------------- */

/* Makes its next parts, as many as it may have; the run routes them. */
static void
guest_split(struct engine *e, struct guest_io *g)
{
	while (g->split < g->count && g->parts < GUEST_PARTS && !g->err) {
		uint64_t sector = g->sector + g->split;
		uint32_t in_chunk = e->chunk - (uint32_t)(sector % e->chunk);
		struct part *p = pool_get(&e->parts);

		if (!p) {
			g->err = -ENOMEM;
			return;
		}
		p->engine = e;
		p->guest = g;
		p->number = ++e->made;
		p->op = g->op;
		p->no_hole = g->no_hole;
		p->sector = sector;
		p->count = in_chunk < g->count - g->split ? in_chunk : g->count - g->split;
		p->buf = g->buf ? (char *)g->buf + (size_t)g->split * SECTOR_BYTES : NULL;
		INIT_LIST_HEAD(&p->waiters);
		g->parts++;
		g->split += p->count;
		list_add_tail(&p->link, &e->incoming);
	}
}

/* A part of it is answered, or its flush. */
static void
guest_answer(struct engine *e, struct guest_io *g, int err)
{
	if (err && !g->err)
		g->err = err;
	g->parts--;
	guest_split(e, g);
	if (g->parts)
		return;
	if (g->op != DISK_FLUSH)
		e->guest_answered(e->ctx, g);
	g->done(g, g->err);
}

static void
part_answer(struct part *p, int err)
{
	struct guest_io *g = p->guest;

	p->guest = NULL;
	if (g)
		guest_answer(p->engine, g, err);
}

static void
part_free(struct part *p)
{
	struct engine *e = p->engine;
	size_t bytes = (size_t)p->count * SECTOR_BYTES;

	if (p->copy) {
		buffers_put(&e->copies, p->copy, bytes);
		e->copy_bytes -= buffers_size(bytes);
		e->eased = true;
	}
	pool_put(&e->parts, p);
}

/* --- sides ---------------------------------------------------------------- */

static void
side_done(struct disk_io *io, int err)
{
	struct side_io *sio = list_entry(io, struct side_io, io);

	io->err = err;
	list_add_tail(&io->link, &sio->engine->answered);
	engine_run(sio->engine);
}

void
engine_submit(struct engine *e, enum side side, struct side_io *sio)
{
	struct side_state *s = &e->side[side];
	bool running = e->running;

	assert(!e->retired);
	if (!s->inflight++)
		s->heard_ns = e->now_ns(e->ctx);
	if (sio->io.op == DISK_FLUSH && !s->flushing++)
		s->flush_ns = e->now_ns(e->ctx);
	sio->engine = e;
	sio->side = side;
	sio->io.disk = e->disk[side];
	sio->io.done = side_done;
	/* An answer from inside submit() waits for the run. */
	e->running = true;
	e->disk[side]->submit(e->disk[side], &sio->io);
	e->running = running;
}

static void
side_flushed(struct side_state *s)
{
	uint64_t took_ns = s->heard_ns - s->flush_ns;

	if (took_ns > s->flush_max_ns)
		s->flush_max_ns = took_ns < FLUSH_NS ? took_ns : FLUSH_NS;
	s->flush_ns = s->heard_ns;
	s->flushing--;
}

static void
side_heard(struct engine *e, struct side_io *sio)
{
	struct side_state *s = &e->side[sio->side];
	int err = sio->io.err;

	s->inflight--;
	s->heard_ns = e->now_ns(e->ctx);
	if (sio->io.op == DISK_FLUSH)
		side_flushed(s);
	if (s->stalled) {
		s->stalled = false;
		wake(e, &e->held[HELD_SIDE]);
	}
	if (err && !(sio->io.op == DISK_STATUS && error_class(err) == ERROR_UNABLE))
		s->errors++;
	if (sio->io.op == DISK_WRITE || sio->io.op == DISK_ZERO)
		e->marks.wrote[sio->side]++;
}

static side_mask
stalled_sides(const struct engine *e)
{
	return (side_mask)((e->side[SRC].stalled ? SRC_BIT : 0) |
			   (e->side[DST].stalled ? DST_BIT : 0));
}

static void
part_submit(struct part *p, enum side side)
{
	struct side_io *sio = &p->sio[side];

	sio->io.op = p->op;
	sio->io.no_hole = p->no_hole;
	sio->io.as_is = false;
	sio->io.sector = p->sector;
	sio->io.count = p->count;
	sio->io.buf = p->copy ? p->copy : p->buf;
	engine_submit(p->engine, side, sio);
}

/* --- writes --------------------------------------------------------------- */

static bool
journalled(const struct engine *e)
{
	return e->journal && !e->over;
}

/* Something that the guest was told is written has been lost: its next flush is to fail. */
static void
owe(struct engine *e, int err)
{
	e->flush_err = err;
	if (journalled(e))
		journal_owe(e->journal, true);
}

static bool
valid_on_exactly(const struct engine *e, const struct part *p, side_mask sides)
{
	uint64_t run;

	return validity_get(e->map, p->sector, p->count, &run) == sides && run == p->count;
}

/* The write has reached p->ok. */
static void
map_written(struct part *p)
{
	struct engine *e = p->engine;
	bool changes = !valid_on_exactly(e, p, p->ok);

	if (changes)
		validity_set(e->map, p->sector, p->count, p->ok);
	if (journalled(e) && (changes || p->ahead.link.next))
		journal_change(e->journal, changes ? CHANGE_SET : CHANGE_SETTLED, p->sector,
			       p->count, p->ok);
}

/* The write has failed on all sides. */
static void
map_failed(struct part *p)
{
	struct engine *e = p->engine;
	uint64_t both = validity_count(e->map, BOTH);

	validity_failed(e->map, p->sector, p->count, p->issued);
	if (journalled(e) && (validity_count(e->map, BOTH) != both || p->ahead.link.next))
		journal_failed(e->journal, p->sector, p->count, p->issued);
	/* The last good flush may have been of another side than what is left. */
	for (uint64_t s = p->sector, end = s + p->count, run; s < end; s += run) {
		side_mask left = validity_get(e->map, s, end - s, &run);

		e->side[left == SRC_BIT ? SRC : DST].alone_seq = e->seq;
	}
}

static void
part_unreserve(struct part *p)
{
	if (p->reserved)
		journal_unreserve(p->engine->journal, p->reserved);
	p->reserved = 0;
}

static void
closures_drain(struct engine *e, const struct part *p)
{
	struct closure *c, *next;

	list_for_each_entry_safe(c, next, &e->closures, link)
		if (!c->drained && overlaps(c->sector, c->count, p->sector, p->count) &&
		    !--c->draining) {
			c->drained = true;
			if (!e->row->writes_wait_for_copy)
				wake(e, &c->waiting);
			c->closed(c);
		}
}

/* The write owes nobody anything more. */
static void
write_end(struct part *p)
{
	list_del(&p->link);
	wake(p->engine, &p->waiters);
	closures_drain(p->engine, p);
	if (p->intent)
		journal_write_ends(p->intent);
	part_free(p);
}

/* A write that only the full destination could take waits for the operator. */
static bool
write_wants_space(const struct part *p)
{
	return !p->ok && p->issued == DST_BIT && error_class(p->err) == ERROR_NO_SPACE &&
	       p->guest && !p->engine->over;
}

/* Sides that have taken the write, and have not failed a flush since. */
static side_mask
stable_on(const struct part *p)
{
	return p->ok & (side_mask)~p->unstable;
}

/*
 * A flush has failed on a side after that side took the write: the other side is
 * to be believed if it took it too. If not, the write has failed; a guest that has
 * its answer already is told by its next flush.
 */
static void
write_unstable(struct part *p)
{
	if (stable_on(p)) {
		p->ok = stable_on(p);
	} else if (p->guest) {
		p->ok = NO_SIDE;
		p->err = p->err ? p->err : -EIO;
	} else {
		p->ok = p->ok == BOTH ? SRC_BIT : p->ok;
		owe(p->engine, -EIO);
	}
}

static void
write_answer(struct part *p)
{
	part_answer(p, p->ok ? 0 : p->err);
	if (p->lost)
		wake(p->engine, &p->waiters);
	else
		write_end(p);
}

static enum region
region_of(const struct engine *e, uint64_t sector)
{
	uint64_t first = sector / e->chunk * e->chunk;
	uint64_t left = validity_sectors(e->map) - first;

	return validity_all(e->map, first, left < e->chunk ? left : e->chunk, DST)
		       ? REGION_COPIED
		       : REGION_TO_BE_COPIED;
}

/* Every side that is not lost has answered: the outcome goes into the map. */
static void
write_settle(struct part *p)
{
	struct engine *e = p->engine;
	enum region was = REGIONS;

	p->settled = true;
	e->writes--;
	e->seq++;
	if (stalled_sides(e) || p->ok != p->issued || p->unstable)
		was = region_of(e, p->sector);
	if (p->ok & p->unstable)
		write_unstable(p);
	if (p->ok)
		map_written(p);
	else
		map_failed(p);
	if (p->ahead.link.next)
		journal_ahead_ends(&p->ahead);
	validity_unreserve(e->map);
	part_unreserve(p);

	if (p->ok == BOTH)
		e->both_seq = e->seq;
	else if (p->ok)
		e->side[p->ok == SRC_BIT ? SRC : DST].alone_seq = e->seq;
	if (p->issued == BOTH) {
		e->pending--;
		e->eased = true;
	}
	if (p->early.next)
		list_del(&p->early);
	/* Other sides will do there now: those that wait for both, or for one, need not. */
	if (was != REGIONS && region_of(e, p->sector) != was) {
		wake(e, &e->held[HELD_SIDE]);
		wake(e, &e->held[HELD_THROTTLE]);
	}

	if (write_wants_space(p)) {
		e->no_space = p->err;
		list_del(&p->link);
		wake(e, &p->waiters);
		closures_drain(e, p);
		if (p->intent)
			journal_write_ends(p->intent);
		p->intent = NULL;
		p->issued = p->answered = NO_SIDE;
		p->settled = false;
		hold(p, &e->held[HELD_SPACE]);
		return;
	}
	/* Else it could change again in a crash, after the guest was told. */
	if (journalled(e) && p->guest && (!p->ok || e->writes_are_durable)) {
		list_add_tail(&p->sync, &e->to_sync);
		wake(e, &p->waiters);
	} else {
		write_answer(p);
	}
}

/*
 * From now on flushes wait until this write has settled: it is acknowledged, or a
 * failure has spoilt what one side held, perhaps alone, of the time before it.
 */
static void
flushes_wait(struct part *p)
{
	if (p->early.next)
		return;
	p->ack_seq = ++p->engine->ack_seq;
	list_add_tail(&p->early, &p->engine->early);
}

/* A side of the write has answered, or was given up. */
static void
write_progress(struct part *p)
{
	struct engine *e = p->engine;

	if ((p->answered | p->lost) == p->issued) {
		write_settle(p);
		return;
	}
	if (p->ack_first && p->ok && p->guest && !e->writes_are_durable) {
		flushes_wait(p);
		if (journalled(e)) {
			journal_ahead(e->journal, &p->ahead, p->sector, p->count, p->ok);
		}
		part_answer(p, 0);
	} else if (p->answered & ~p->ok) {
		flushes_wait(p);
	}
	/* Claim (c): a read that overlaps a pending write waits for its source side. */
	wake(e, &p->waiters);
}

/* Some of its sectors are valid on exactly these sides. */
static bool
some_is_on(const struct part *p, side_mask sides)
{
	uint64_t end = p->sector + p->count, run;

	for (uint64_t s = p->sector; s < end; s += run)
		if (validity_get(p->engine->map, s, end - s, &run) == sides)
			return true;
	return false;
}

static void
write_done(struct side_io *sio, int err)
{
	struct part *p = list_entry(sio, struct part, sio[sio->side]);
	side_mask bit = side_bit(sio->side);

	p->answered |= bit;
	if (p->lost & bit) {
		p->lost &= (side_mask)~bit;
		p->engine->side[sio->side].owed--;
	}
	if (p->settled) {
		/* What has come so late was not there for the flushes before it. */
		if (!p->engine->over && some_is_on(p, bit))
			p->engine->side[sio->side].alone_seq = ++p->engine->seq;
		if (p->forsaken)
			part_answer(p, p->err);
		if (!p->lost && !p->sync.next)
			write_end(p);
		else
			wake(p->engine, &p->waiters);
		return;
	}
	if (!err)
		p->ok |= bit;
	else if (!p->err)
		p->err = err;
	write_progress(p);
}

/*
 * The write that p is to wait for: the last earlier one that overlaps it and waits itself,
 * which waits for those before it; else one in flight that p would collide with on one of
 * sides; or NULL.
 */
static struct part *
write_in_the_way(const struct part *p, side_mask sides)
{
	const struct list_head *list = behind_of(p->engine, p->sector), *at;
	struct part *w;

	for (at = list->prev; at != list; at = at->prev) {
		w = list_entry(at, struct part, behind);
		if (w->number < p->number && overlaps(w->sector, w->count, p->sector, p->count))
			return w;
	}
	list_for_each_entry(w, flight_of(p->engine, p->sector), link)
		if (overlaps(w->sector, w->count, p->sector, p->count) &&
		    (!w->settled || (w->lost & sides)))
			return w;
	return NULL;
}

/* Who waits for what a side owes a write may not need that side any more. */
static void
wake_behind_owed(struct engine *e)
{
	struct part *w;

	for (int i = 0; i < FLIGHT_BUCKETS; i++)
		list_for_each_entry(w, &e->flight[i], link)
			if (w->settled && w->lost)
				wake(e, &w->waiters);
}

/* Claim (c)'s throttle, and the bound on the copies: may this write be mirrored now? */
static bool
mirror_fits(const struct part *p)
{
	const struct engine *e = p->engine;
	size_t size = buffers_size((size_t)p->count * SECTOR_BYTES);

	if (e->row->mirrored_writes_throttled && e->pending > e->threshold)
		return false;
	return p->op != DISK_WRITE || !e->copy_bytes ||
	       e->copy_bytes + size <= MIRROR_COPY_BYTES;
}

/* Not before an earlier one that waits for the same. */
static bool
mirror_admit(struct part *p)
{
	struct engine *e = p->engine;
	size_t bytes = (size_t)p->count * SECTOR_BYTES;

	if (is_before(&e->held[HELD_THROTTLE], p) || !mirror_fits(p))
		return false;
	if (p->op == DISK_WRITE) {
		p->copy = buffers_get(&e->copies, bytes);
		if (!p->copy) {
			e->eased = false; /* until one is given back */
			return false;
		}
		e->copy_bytes += buffers_size(bytes);
		memcpy(p->copy, p->buf, bytes);
	}
	return true;
}

/* Room has come free: the first that the throttle holds has its turn, if it fits. */
static bool
release_throttled(struct engine *e)
{
	struct list_head *held = &e->held[HELD_THROTTLE];
	struct part *p;

	if (!e->eased || list_empty(held))
		return false;
	p = list_entry(held->next, struct part, link);
	e->eased = mirror_fits(p);
	if (!e->eased)
		return false;
	list_del(&p->link);
	hold(p, &e->incoming);
	return true;
}

/* An earlier write of its sectors is in that list, and comes first. */
static bool
overtakes(const struct part *p, const struct list_head *list)
{
	const struct part *q;

	list_for_each_entry(q, list, link) {
		if (q->number > p->number)
			break;
		if (q->op != DISK_READ && overlaps(q->sector, q->count, p->sector, p->count))
			return true;
	}
	return false;
}

/* The journal has what must be stable before this write, and room for its outcome. */
static bool
journal_admit(struct part *p)
{
	struct engine *e = p->engine;
	unsigned changes = e->row->ack == ACK_FIRST ? 2 : 1;

	if (!journalled(e) || e->alone)
		return true;
	if (!journal_open_to_writes(e->journal) ||
	    (some_is_on(p, BOTH) &&
	     !journal_intent(e->journal, p->sector, e->row->recovery_trusts)) ||
	    !journal_reserve(e->journal, changes))
		return false;
	p->reserved = changes;
	/* Last: those that wait all alike need not be walked for each of them. */
	if (!overtakes(p, &e->held[HELD_JOURNAL]) && !overtakes(p, &e->incoming))
		return true;
	part_unreserve(p);
	return false;
}

static void
write_issue(struct part *p, side_mask sides)
{
	struct engine *e = p->engine;

	if (journalled(e) && some_is_on(p, BOTH))
		p->intent = journal_write_begins(e->journal, p->sector);

	p->issued = sides;
	p->answered = p->ok = p->unstable = NO_SIDE;
	p->err = 0;
	p->ack_first = e->row->ack == ACK_FIRST && sides == BOTH;
	e->writes++;
	if (sides == BOTH)
		e->pending++;
	list_add_tail(&p->link, flight_of(e, p->sector));
	for (enum side s = SRC; s < SIDES; s++)
		if (sides & side_bit(s)) {
			e->counters.written[s] += (uint64_t)p->count * SECTOR_BYTES;
			p->sio[s].done = write_done;
			part_submit(p, s);
		}
}

/* The copy there, if any, must be done, or have begun, before this write of these sides. */
static bool
closure_holds(const struct closure *c, const struct part *p, side_mask sides)
{
	if (!c)
		return false;
	if (c->lost)
		return sides & (c->lost | c->writing);
	return !c->drained || p->engine->row->writes_wait_for_copy || some_is_on(p, DST_BIT) ||
	       overtakes(p, &c->waiting);
}

/* That range is, or will be, in flight while the copy is at it. */
static void
closure_touch(struct closure *c, uint64_t sector, uint64_t count)
{
	uint64_t end = sector + count, asked_end = c->asked + c->asked_count;

	sector = sector < c->asked ? c->asked : sector;
	end = end > asked_end ? asked_end : end;
	if (sector >= end)
		return;
	sector -= c->asked;
	end -= c->asked;
	for (uint64_t g = sector / c->grain; g <= (end - 1) / c->grain; g++)
		c->touched[g / 64] |= 1ull << g % 64;
}

static void
write_route(struct part *p)
{
	struct engine *e = p->engine;
	struct closure *c = engine_closure_at(e, p->sector);
	struct part *w;
	side_mask sides;

	if (e->hold_writes) {
		hold(p, &e->held[HELD_SWITCH]);
		return;
	}
	sides = e->row->write_reaches[region_of(e, p->sector)] & (side_mask)~stalled_sides(e);
	/* First, for it may leave what a copy need not hold. */
	w = write_in_the_way(p, sides);
	if (w) {
		hold_behind(p, w);
		return;
	}
	if (closure_holds(c, p, sides)) {
		hold(p, &c->waiting);
		return;
	}
	if (!sides) {
		hold(p, &e->held[HELD_SIDE]);
		return;
	}
	if (!journal_admit(p)) {
		/* To ask may have let go those that had waited: these are routed first. */
		hold(p, overtakes(p, &e->incoming) ? &e->incoming : &e->held[HELD_JOURNAL]);
		return;
	}
	if (sides == BOTH && !mirror_admit(p)) {
		part_unreserve(p);
		/*
		 * While nothing pends, and no lost side owes the answer to a copy, nothing
		 * would wake it: then memory is what it lacks.
		 */
		if (!e->pending && !e->copy_bytes && !is_before(&e->held[HELD_THROTTLE], p))
			goto no_memory;
		e->counters.delayed_writes += !p->throttled;
		p->throttled = true;
		hold(p, &e->held[HELD_THROTTLE]);
		return;
	}
	if (validity_reserve(e->map))
		goto no_memory;
	if (c)
		closure_touch(c, p->sector, p->count);
	write_issue(p, sides);
	return;

no_memory:
	part_unreserve(p);
	wake(e, &p->waiters);
	part_answer(p, -ENOMEM);
	part_free(p);
}

/* --- reads ---------------------------------------------------------------- */

/* The side that serves a read where sides are valid, for this part. */
static int
read_side(const struct part *p, side_mask sides)
{
	enum side preferred = p->engine->row->read_prefers;
	side_mask can = sides & (side_mask)~p->avoid;

	if (can == BOTH && p->engine->side[preferred].stalled)
		preferred = side_other(preferred);
	if (can & side_bit(preferred))
		return preferred;
	return can ? (int)side_other(preferred) : -1;
}

/* The unsettled write of that sector, or NULL; cuts *run to where that is so. */
static const struct part *
write_at(const struct engine *e, uint64_t sector, uint64_t *run)
{
	const struct part *w, *found = NULL;
	uint64_t until;

	list_for_each_entry(w, flight_of(e, sector), link) {
		if (w->settled || !overlaps(w->sector, w->count, sector, *run))
			continue;
		if (w->sector <= sector)
			found = w;
		until = w->sector <= sector ? w->sector + w->count : w->sector;
		if (until - sector < *run)
			*run = until - sector;
	}
	return found;
}

/*
 * Of a mirrored write that nobody has been told of a kill leaves what is here: without a
 * change of the map, for an intent of a row that mirrors trusts the source.
 */
static side_mask
kept_in_kill(side_mask sides)
{
	return sides & SRC_BIT ? SRC_BIT : sides;
}

/*
 * Whether what a side has answered may be told. While the read was in flight a
 * write may have reached this side, and be in flight still, while the next read
 * goes to the other side, and would return something older: because that alone
 * has become valid meanwhile, or because a switch has made it the preferred one, or
 * after a kill.
 */
static bool
read_stands(const struct part *p, enum side side)
{
	const struct engine *e = p->engine;
	uint64_t end = p->sector + p->count;
	uint64_t run;

	for (uint64_t s = p->sector; s < end; s += run) {
		side_mask sides = validity_get(e->map, s, end - s, &run);
		const struct part *w = write_at(e, s, &run);

		if (w && w->issued == BOTH && w->guest) {
			if (!(kept_in_kill(sides) & side_bit(side)))
				return false;
		} else if (read_side(p, sides) != (int)side &&
			   !((w ? stable_on(w) : sides) & side_bit(side))) {
			return false;
		}
	}
	return true;
}

static void
read_done(struct side_io *sio, int err)
{
	struct part *p = list_entry(sio, struct part, sio[sio->side]);

	if (err) {
		/* Another valid side may serve; if none is, this is the answer. */
		p->err = p->err ? p->err : err;
		p->avoid |= side_bit(sio->side);
		part_route(p);
		return;
	}
	if (p->errors != p->engine->side[sio->side].errors) {
		/* If a write failed there under it, it may have read neither old nor new. */
		part_route(p);
		return;
	}
	if (!read_stands(p, sio->side)) {
		/* What has been written since may be read where it failed before. */
		p->avoid = NO_SIDE;
		p->err = 0;
		part_route(p);
		return;
	}
	part_answer(p, 0);
	part_free(p);
}

/*
 * Which side serves the read's first sectors, and how many of them (*run); -1
 * if no valid side is left. Where a mirrored write is in flight the map still
 * tells of the time before it: once the source has taken it, the source serves
 * (claim c); until then, and if the source failed, *wait is that write. So it is where
 * the destination alone is valid still, as after a switch, and nobody has been told: if
 * we were killed now, what is read here would be gone.
 */
static int
read_choose(const struct part *p, uint64_t *run, struct part **wait)
{
	struct engine *e = p->engine;
	uint64_t limit = p->count;
	struct part *pending = NULL, *w;
	int side;

	list_for_each_entry(w, flight_of(e, p->sector), link) {
		if (w->settled || !overlaps(w->sector, w->count, p->sector, p->count))
			continue;
		if (w->sector > p->sector) {
			if (w->issued == BOTH || p->avoid)
				limit = limit < w->sector - p->sector ? limit
								      : w->sector - p->sector;
		} else if (p->avoid || (w->issued == BOTH && !(stable_on(w) & SRC_BIT))) {
			*wait = w;
			return -1;
		} else if (w->issued == BOTH) {
			pending = w;
			limit = limit < w->sector + w->count - p->sector
					? limit
					: w->sector + w->count - p->sector;
		}
	}
	if (pending) {
		side_mask sides = validity_get(e->map, p->sector, limit, run);

		if (!pending->guest || (kept_in_kill(sides) & SRC_BIT))
			return SRC;
		*wait = pending;
		return -1;
	}
	side = read_side(p, validity_get(e->map, p->sector, limit, run));
	while (*run < limit) {
		uint64_t more;

		if (read_side(p, validity_get(e->map, p->sector + *run, limit - *run, &more)) !=
		    side)
			break;
		*run += more;
	}
	return side;
}

/* Cuts p to its first count sectors; the rest becomes a part of its own. */
static int
part_cut(struct part *p, uint32_t count)
{
	struct part *rest = pool_get(&p->engine->parts);

	if (!rest)
		return -ENOMEM;
	*rest = (struct part){
		.engine = p->engine,
		.guest = p->guest,
		.number = p->number,
		.op = p->op,
		.sector = p->sector + count,
		.count = p->count - count,
		.buf = p->buf + (size_t)count * SECTOR_BYTES,
		.avoid = p->avoid,
		.err = p->err,
	};
	INIT_LIST_HEAD(&rest->waiters);
	p->guest->parts++;
	p->count = count;
	list_add(&rest->link, &p->engine->incoming);
	return 0;
}

/*
 * A write that has failed, of whose sectors this side holds the only valid copy
 * although it still owes the write its answer: who reads before that may see the
 * sectors change once more.
 */
static struct part *
write_owed(const struct part *p, uint64_t run, enum side side)
{
	struct part *w;

	list_for_each_entry(w, flight_of(p->engine, p->sector), link)
		if ((w->lost & side_bit(side)) && overlaps(w->sector, w->count, p->sector, run))
			return w;
	return NULL;
}

static void
read_route(struct part *p)
{
	struct engine *e = p->engine;
	struct closure *c = engine_closure_at(e, p->sector);
	struct part *wait = NULL;
	uint64_t run;
	int side, err;

	if (c && c->drained && !c->lost && e->row->reads_wait_for_copy) {
		hold(p, &c->waiting);
		return;
	}
	side = read_choose(p, &run, &wait);
	if (side >= 0)
		wait = write_owed(p, run, (enum side)side);
	if (wait) {
		hold_behind(p, wait);
		return;
	}
	err = side < 0 ? p->err : run < p->count ? part_cut(p, (uint32_t)run) : 0;
	if (err) {
		part_answer(p, err);
		part_free(p);
		return;
	}
	e->counters.read[side] += (uint64_t)p->count * SECTOR_BYTES;
	p->errors = e->side[side].errors;
	p->sio[side].done = read_done;
	part_submit(p, side);
}

static void
part_route(struct part *p)
{
	p->engine->routed++;
	if (p->op == DISK_READ)
		read_route(p);
	else
		write_route(p);
}

/* --- flushes -------------------------------------------------------------- */

static bool
alone_unflushed(const struct engine *e, enum side side)
{
	return e->side[side].alone_seq > e->side[side].flushed_seq;
}

/*
 * The sides that may be the only one to hold an acknowledged write. What both
 * took needs one of them; the source is asked, for it is what a reader who
 * knows of no migration would open. With a journal it is asked in any case, for what
 * has been copied is the source's there until both are stable; and so is the side
 * that the intents trust.
 */
static side_mask
flush_needed(const struct engine *e)
{
	side_mask needed = (alone_unflushed(e, SRC) ? SRC_BIT : 0) |
			   (alone_unflushed(e, DST) ? DST_BIT : 0);

	if (e->alone)
		return needed & SRC_BIT;
	if (journalled(e)) {
		for (enum side s = SRC; s < SIDES; s++)
			if (e->both_seq > e->side[s].flushed_seq &&
			    (s == SRC || journal_trusts(e->journal, s)))
				needed |= side_bit(s);
	} else if (e->both_seq > e->side[SRC].flushed_seq &&
		   e->both_seq > e->side[DST].flushed_seq && !needed) {
		needed = SRC_BIT;
	}
	return needed;
}

/* The sides that have been written to since they were last flushed, and that answer. */
static side_mask
unflushed_sides(const struct engine *e)
{
	return (side_mask)((e->marks.wrote[SRC] != e->marks.stable[SRC] ? SRC_BIT : 0) |
			   (e->marks.wrote[DST] != e->marks.stable[DST] ? DST_BIT : 0)) &
	       (side_mask)~stalled_sides(e);
}

/* What the journal is to say is taken now, before the disks are asked. */
static void
flush_take(struct flush *f)
{
	struct engine *e = f->engine;

	if (f->kind == FLUSH_ALL)
		journal_take_all(e->journal);
	for (enum side s = SRC; s < SIDES; s++)
		f->wrote[s] = e->marks.wrote[s];
}

/* The writes whose answers waited for this sync; it has failed where they alone are. */
static void
answer_synced(struct engine *e, const struct flush *f)
{
	while (!list_empty(&e->in_sync)) {
		struct part *p = list_entry(e->in_sync.next, struct part, sync);
		side_mask stable = stable_on(p);

		list_del(&p->sync);
		p->sync.next = NULL;
		if (f->err)
			stable &= (side_mask)~f->failed;
		if (p->ok && !stable) {
			p->ok = NO_SIDE;
			p->err = f->err ? f->err : -EIO;
		}
		write_answer(p);
	}
}

/* A write that the guest was told is done, and of which it is not known yet whether it is. */
static bool
is_uncertain(const struct part *w)
{
	return !w->settled && !w->guest && w->ok && !stable_on(w);
}

/*
 * The guest's flush is answered: it knows all that there is to know. Killed in between
 * we would tell it twice.
 */
static void
guest_is_told(struct engine *e)
{
	struct part *w;

	if (!journalled(e))
		return;
	list_for_each_entry(w, &e->early, early)
		if (is_uncertain(w))
			return;
	journal_owe(e->journal, false);
}

static void
flush_end(struct flush *f)
{
	struct engine *e = f->engine;
	struct guest_io *g = f->guest;
	void (*done)(void *, int) = f->done;
	void *ctx = f->ctx;
	int err = f->err;

	if (f->kind == FLUSH_WRITES)
		answer_synced(e, f);
	else if (f->kind == FLUSH_ALL)
		e->sync_all = false;
	list_del(&f->link);
	f->ended = true;
	if (!f->given_up)
		pool_put(&e->flush_pool, f);
	if (g) {
		err = err ? err : e->flush_err;
		e->flush_err = 0;
		guest_answer(e, g, err);
		guest_is_told(e);
	} else if (done) {
		done(ctx, err);
	}
}

static void
flush_recorded(struct journal_wait *w)
{
	struct flush *f = list_entry(w, struct flush, wait);

	/* The run ends it, once the journal is done with its own lists. */
	f->engine->recording -= f->kind != FLUSH_ALL;
	list_del(&f->link);
	list_add_tail(&f->link, &f->engine->recorded);
}

/* The range is not to be called valid on both, for only kept was flushed. */
static void
weaken(void *ctx, uint64_t sector, uint64_t count, side_mask kept)
{
	struct engine *e = ctx;
	uint64_t end = sector + count, run;

	for (; sector < end; sector += run) {
		if (validity_get(e->map, sector, end - sector, &run) != BOTH)
			continue;
		if (validity_reserve(e->map)) {
			enum side lost = kept == SRC_BIT ? DST : SRC;

			/* That needs no memory, but costs the copy of everything. */
			validity_distrust(e->map, lost);
			journal_flush_failed(e->journal, lost, true);
			break;
		}
		validity_set(e->map, sector, run, kept);
		validity_unreserve(e->map);
	}
	wake(e, &e->held[HELD_SIDE]);
	wake(e, &e->held[HELD_THROTTLE]);
}

/* The disks have been flushed, or have failed it: the journal is told. */
static void
flush_record(struct flush *f)
{
	struct engine *e = f->engine;
	side_mask kept = NO_SIDE;

	/* One side's flush ends the migration, and says nothing of the other. */
	if (!journalled(e) || f->kind == FLUSH_SIDE || (e->alone && f->kind != FLUSH_ALL)) {
		flush_end(f);
		return;
	}
	for (enum side s = SRC; s < SIDES; s++)
		if (e->marks.stable[s] >= f->wrote[s])
			kept |= side_bit(s);
	f->wait.done = flush_recorded;
	if (f->kind == FLUSH_ALL) {
		if (kept != BOTH)
			e->sync_not_before_ns = e->now_ns(e->ctx) + SYNC_AGAIN_NS;
		journal_sync_all(e->journal, &f->wait, kept, weaken, e);
	} else {
		e->recording++;
		journal_sync(e->journal, &f->wait);
	}
}

static void
flush_submit(struct flush *f, side_mask sides)
{
	struct engine *e = f->engine;

	f->awaited |= sides; /* of both, before one answers */
	for (enum side s = SRC; s < SIDES; s++)
		if (sides & side_bit(s)) {
			f->seq[s] = e->seq;
			f->asked[s] = e->marks.wrote[s];
			f->errors[s] = e->side[s].flush_errors;
			f->sio[s].io.op = DISK_FLUSH;
			f->sio[s].io.whole = f->whole;
			engine_submit(e, s, &f->sio[s]);
		}
}

/*
 * A side's flush failed: what was written to it since its last good flush, by
 * the guest or the copier, is as after a failed write, and a retry's success
 * would mean nothing. So what both sides hold is now the other side's alone
 * (all of it: which of it is older than the last good flush is not recorded),
 * and must be flushed there before the next flush can succeed. The same goes for
 * what this side has of mirrored writes that the other has not answered yet.
 */
static void
side_distrusted(struct engine *e, enum side side)
{
	side_mask bit = side_bit(side);
	/* What the map has on one side by now the journal may lead to this one for. */
	bool lost = !e->alone && (validity_count(e->map, BOTH) ||
				  (journalled(e) && journal_may_say_both(e->journal, side)));
	bool uncertain = false;
	struct part *w;

	if (lost) {
		struct side_state *other = &e->side[side_other(side)];

		validity_distrust(e->map, side);
		other->alone_seq = other->heir_seq = ++e->seq;
		/* What was copied is to be copied again: its writes are not mirrored now. */
		wake(e, &e->held[HELD_THROTTLE]);
		wake(e, &e->held[HELD_SIDE]);
	}
	for (int i = 0; i < FLIGHT_BUCKETS; i++)
		list_for_each_entry(w, &e->flight[i], link)
			if (w->ok & bit) {
				w->unstable |= bit;
				lost |= !w->settled;
				uncertain |= is_uncertain(w);
			}
	/* First, for a kill between the two: what is distrusted may be lost by it. */
	if (uncertain && e->journal)
		journal_owe(e->journal, true);
	if (e->journal)
		journal_flush_failed(e->journal, side, lost);
}

static void
flush_failed(struct engine *e, enum side side)
{
	e->side[side].flush_errors++;
	if (!e->over) /* else there is no other side */
		side_distrusted(e, side);
}

/*
 * Sides that hold something alone and were not asked by this flush, and those that
 * were, but inherit from the other side's failed flush what they got since.
 */
static side_mask
flush_again(const struct flush *f)
{
	const struct side_state *side = f->engine->side;
	side_mask again = NO_SIDE;

	for (enum side s = SRC; s < SIDES; s++)
		if (f->seq[s] ? side[s].heir_seq > f->seq[s] &&
					side[s].heir_seq > side[s].flushed_seq
			      : alone_unflushed(f->engine, s))
			again |= side_bit(s);
	return again & (side_mask)~f->failed;
}

/* All that were awaited have answered, or are given up. */
static void
flush_answered(struct flush *f)
{
	side_mask again = f->kind == FLUSH_SIDE ? NO_SIDE : flush_again(f);

	if (f->engine->retired)
		return; /* as it is: nobody waits for it */
	f->must |= again;
	if (again & f->given_up) {
		/* It has become the only one: its answer is waited for after all. */
		f->awaited = again & f->given_up;
		f->given_up &= (side_mask)~again;
	} else if (again) {
		flush_submit(f, again);
	} else {
		flush_record(f);
	}
}

static void
flush_done(struct side_io *sio, int err)
{
	enum side side = sio->side;
	struct flush *f = list_entry(sio, struct flush, sio[side]);
	struct engine *e = f->engine;
	side_mask bit = side_bit(side);

	/* Another flush has failed meanwhile: what this one was to cover may be lost. */
	if (!err && f->errors[side] != e->side[side].flush_errors) {
		if (f->kind == FLUSH_SIDE)
			f->err = f->err ? f->err : -EAGAIN;
		else
			err = -EIO;
	}
	if (!err && f->err != -EAGAIN) {
		if (f->seq[side] > e->side[side].flushed_seq)
			e->side[side].flushed_seq = f->seq[side];
		if (f->asked[side] > e->marks.stable[side])
			e->marks.stable[side] = f->asked[side];
	} else if (err) {
		if (alone_unflushed(e, side))
			owe(e, err);
		if (alone_unflushed(e, side) || (f->needed & bit))
			f->err = f->err ? f->err : err;
		f->failed |= bit;
		flush_failed(e, side);
	}
	if (f->given_up & bit) {
		f->given_up &= (side_mask)~bit;
		if (f->ended && !f->given_up)
			pool_put(&e->flush_pool, f);
		return;
	}
	f->awaited &= (side_mask)~bit;
	if (!f->awaited)
		flush_answered(f);
}

/* A flush that can do without that side's answer, or NULL. */
static struct flush *
flush_to_give_up(struct engine *e, side_mask bit)
{
	struct flush *f;

	list_for_each_entry(f, &e->flushing, link)
		if (f->awaited & bit & (side_mask)~f->must)
			return f;
	return NULL;
}

/* A side has stalled: who can do without its flush goes on, and others perhaps with it. */
static void
flushes_give_up(struct engine *e, enum side side)
{
	side_mask bit = side_bit(side);
	struct flush *f;

	while ((f = flush_to_give_up(e, bit))) {
		f->awaited &= (side_mask)~bit;
		f->given_up |= bit;
		if (!f->awaited)
			flush_answered(f);
	}
}

/* Asks the sides that must be flushed, and those that should. */
static void
flush_begin(struct flush *f)
{
	struct engine *e = f->engine;
	side_mask sides = f->needed;

	list_add_tail(&f->link, &e->flushing);
	if (f->kind != FLUSH_SIDE)
		sides |= flush_needed(e);
	f->must = sides;
	if (journalled(e) && f->kind != FLUSH_SIDE) {
		flush_take(f);
		if (f->kind == FLUSH_ALL)
			sides |= unflushed_sides(e);
	}
	if (sides)
		flush_submit(f, sides);
	else
		flush_record(f);
}

/* Starts the first flush if the writes acknowledged before it have all settled. */
static bool
flush_start(struct engine *e)
{
	struct flush *f;

	if (list_empty(&e->flushes))
		return false;
	f = list_entry(e->flushes.next, struct flush, link);
	if (!list_empty(&e->early) &&
	    list_entry(e->early.next, struct part, early)->ack_seq <= f->ack_seq)
		return false;
	list_del(&f->link);
	flush_begin(f);
	return true;
}

static struct flush *
flush_new(struct engine *e)
{
	struct flush *f = pool_get(&e->flush_pool);

	if (!f)
		return NULL;
	f->engine = e;
	f->ack_seq = e->ack_seq;
	f->sio[SRC].done = f->sio[DST].done = flush_done;
	return f;
}

/* In its turn, as the guest's. */
static void
flush_sides(struct engine *e, enum flush_kind kind, side_mask sides, bool whole,
	    void (*done)(void *ctx, int err), void *ctx)
{
	struct flush *f = flush_new(e);

	if (!f) {
		done(ctx, -ENOMEM);
		return;
	}
	f->kind = kind;
	f->whole = whole;
	f->needed = sides;
	f->done = done;
	f->ctx = ctx;
	list_add_tail(&f->link, &e->flushes);
	engine_run(e);
}

void
engine_flush_side(struct engine *e, enum side side, void (*done)(void *ctx, int err), void *ctx)
{
	flush_sides(e, FLUSH_SIDE, side_bit(side), false, done, ctx);
}

void
engine_flush_whole(struct engine *e, enum side side, void (*done)(void *ctx, int err),
		   void *ctx)
{
	flush_sides(e, FLUSH_SIDE, side_bit(side), true, done, ctx);
}

void
engine_flush_both(struct engine *e, void (*done)(void *ctx, int err), void *ctx)
{
	flush_sides(e, FLUSH_SAID, BOTH, false, done, ctx);
}

/* Writes that have settled wait until that is stable, as many at once as there are. */
static bool
sync_writes(struct engine *e)
{
	struct flush *f;

	if (list_empty(&e->to_sync) || !list_empty(&e->in_sync))
		return false;
	f = flush_new(e);
	if (!f)
		return false; /* the next tick tries again */
	f->kind = FLUSH_WRITES;
	while (!list_empty(&e->to_sync))
		list_move_tail(e->to_sync.next, &e->in_sync);
	flush_begin(f);
	return true;
}

static bool
sync_all(struct engine *e)
{
	struct flush *f;

	if (!journalled(e) || e->sync_all || !(e->sync_due || journal_wants_sync(e->journal)) ||
	    e->now_ns(e->ctx) < e->sync_not_before_ns || (flush_needed(e) & stalled_sides(e)))
		return false;
	f = flush_new(e);
	if (!f)
		return false;
	f->kind = FLUSH_ALL;
	e->sync_all = true;
	e->sync_due = false;
	e->sync_ns = e->now_ns(e->ctx);
	e->copied = 0;
	flush_begin(f);
	return true;
}

/* Something has been written down, or is to be. */
static void
journal_changed(void *ctx)
{
	struct engine *e = ctx;

	if (journal_open_to_writes(e->journal) || !journalled(e))
		wake(e, &e->held[HELD_JOURNAL]);
	engine_run(e);
}

/* --- the run -------------------------------------------------------------- */

static bool
handle_answer(struct engine *e)
{
	struct side_io *sio;

	if (list_empty(&e->answered))
		return false;
	sio = list_entry(e->answered.next, struct side_io, io.link);
	list_del(&sio->io.link);
	side_heard(e, sio);
	sio->done(sio, sio->io.err);
	return true;
}

static bool
end_recorded(struct engine *e)
{
	if (list_empty(&e->recorded))
		return false;
	flush_end(list_entry(e->recorded.next, struct flush, link));
	return true;
}

static bool
route_incoming(struct engine *e)
{
	struct part *p;

	if (list_empty(&e->incoming))
		return false;
	p = list_entry(e->incoming.next, struct part, link);
	list_del(&p->link);
	part_route(p);
	return true;
}

static bool
work(struct engine *e)
{
	if (handle_answer(e) || end_recorded(e))
		return true;
	return !e->retired && (route_incoming(e) || release_throttled(e) || flush_start(e) ||
			       sync_writes(e) || sync_all(e));
}

/*
 * The one loop from which everything happens, so that no list changes under
 * whoever walks it: a call from inside it only leaves work for it to find.
 */
void
engine_run(struct engine *e)
{
	if (e->running)
		return;
	e->running = true;
	do {
		while (work(e))
			;
		e->after_run(e->ctx);
	} while (work(e));
	e->running = false;
}

void
engine_guest(struct engine *e, struct guest_io *g)
{
	g->began_ns = e->now_ns(e->ctx);
	g->err = 0;
	g->parts = 1; /* this call, or its flush */
	g->split = 0;
	if (g->op != DISK_FLUSH) {
		assert(g->count && g->sector + g->count <= validity_sectors(e->map));
		guest_answer(e, g, 0);
	} else {
		struct flush *f = flush_new(e);

		assert(!g->count);
		if (f) {
			f->guest = g;
			list_add_tail(&f->link, &e->flushes);
		} else {
			guest_answer(e, g, -ENOMEM);
		}
	}
	engine_run(e);
}

/* --- what the copier and the migration do with it --------------------------- */

struct closure *
engine_closure_at(const struct engine *e, uint64_t sector)
{
	struct closure *c;

	list_for_each_entry(c, &e->closures, link)
		if (sector >= c->sector && sector - c->sector < c->count)
			return c;
	return NULL;
}

void
engine_close(struct engine *e, struct closure *c)
{
	struct part *w;

	c->engine = e;
	c->draining = 0;
	c->lost = c->writing = NO_SIDE;
	c->drained = false;
	c->asked = c->asked_count = 0;
	INIT_LIST_HEAD(&c->waiting);
	list_add_tail(&c->link, &e->closures);
	for (uint64_t i = 0; i < FLIGHT_BUCKETS && i * e->chunk < c->count; i++)
		list_for_each_entry(w, flight_of(e, c->sector + i * e->chunk), link)
			if (overlaps(c->sector, c->count, w->sector, w->count))
				c->draining++;
	if (!c->draining) {
		c->drained = true;
		c->closed(c);
	}
}

void
engine_open(struct engine *e, struct closure *c)
{
	list_del(&c->link);
	wake(e, &c->waiting);
	engine_run(e);
}

void
engine_hold_writes(struct engine *e, bool hold_them)
{
	e->hold_writes = hold_them;
	if (!hold_them)
		wake(e, &e->held[HELD_SWITCH]);
	engine_run(e);
}

bool
engine_drained(const struct engine *e)
{
	return !e->writes;
}

bool
engine_row_wants_flush(const struct engine *e, const struct strategy_row *row)
{
	return journalled(e) && !e->side[DST].stalled &&
	       !journal_may_trust(e->journal, row->recovery_trusts);
}

bool
engine_row_wants_copies_said(const struct engine *e, const struct strategy_row *row)
{
	return journalled(e) && journal_is_good(e->journal) && !stalled_sides(e) &&
	       !e->row->writes_wait_for_copy && row->recovery_trusts == DST;
}

void
engine_set_row(struct engine *e, const struct strategy_row *row)
{
	struct closure *c;

	if (journalled(e) && row->recovery_trusts != e->row->recovery_trusts)
		journal_trust(e->journal, row->recovery_trusts);
	e->row = row;
	for (enum held h = 0; h < HELD_REASONS; h++)
		if (h != HELD_SWITCH)
			wake(e, &e->held[h]);
	list_for_each_entry(c, &e->closures, link)
		wake(e, &c->waiting);
	wake_behind_owed(e);
	engine_run(e);
}

void
engine_set_threshold(struct engine *e, uint32_t threshold)
{
	e->threshold = threshold;
	e->eased = true;
	engine_run(e);
}

/* What that side has not made stable concerns nobody any more: the other one has it all. */
static void
let_side_go(struct engine *e, enum side side)
{
	struct flush *f;

	e->side[side].alone_seq = e->side[side].heir_seq = 0;
	list_for_each_entry(f, &e->flushing, link)
		if (f->kind != FLUSH_SIDE)
			f->must &= (side_mask)~side_bit(side);
	if (e->side[side].stalled)
		flushes_give_up(e, side);
}

void
engine_go_alone(struct engine *e, bool alone)
{
	bool running = e->running;

	/* What comes of it waits: the journal may answer from in here, and all be over again.
	 */
	e->running = true;
	if (alone) {
		assert(!e->writes && !validity_lacking(e->map, SRC));
		side_distrusted(e, DST);
		e->alone = true;
		let_side_go(e, DST);
		journal_let_go(e->journal);
		wake(e, &e->held[HELD_JOURNAL]);
	}
	e->alone = alone;
	e->running = running;
	engine_run(e);
}

bool
engine_at_rest(const struct engine *e)
{
	const struct closure *c;

	list_for_each_entry(c, &e->closures, link)
		if (!c->lost)
			return false;
	return !e->writes;
}

void
engine_owe(struct engine *e, int err)
{
	owe(e, err);
}

bool
engine_waits_for_journal(const struct engine *e)
{
	return e->recording || !list_empty(&e->held[HELD_JOURNAL]);
}

void
engine_forsake(struct engine *e, enum side side)
{
	side_mask bit = side_bit(side);
	struct part *w;

	for (int i = 0; i < FLIGHT_BUCKETS; i++)
		list_for_each_entry(w, &e->flight[i], link) {
			if (w->settled || w->issued != bit || w->answered)
				continue;
			w->settled = w->forsaken = true;
			w->lost = bit;
			w->err = -ETIMEDOUT;
			e->side[side].owed++;
			e->writes--;
			validity_unreserve(e->map);
			part_unreserve(w);
			if (w->early.next)
				list_del(&w->early);
			wake(e, &w->waiters);
		}
}

void
engine_end(struct engine *e, const struct strategy_row *row)
{
	e->over = true;
	e->alone = false;
	e->no_space = 0;
	let_side_go(e, row->write_reaches[REGION_COPIED] == SRC_BIT ? DST : SRC);
	if (e->journal)
		journal_end(e->journal);
	engine_set_row(e, row);
	engine_hold_writes(e, false);
}

void
engine_retry_space(struct engine *e)
{
	e->no_space = 0;
	wake(e, &e->held[HELD_SPACE]);
	engine_run(e);
}

/* The journal has more room than it must leave to the guest. */
static bool
journal_leaves_room(const struct engine *e)
{
	return !journalled(e) || journal_open_to_copies(e->journal);
}

bool
engine_lets_copy(const struct engine *e)
{
	return journal_leaves_room(e) && (!journalled(e) || e->copied < SYNC_COPIED_BYTES);
}

int
engine_copy_begins(struct engine *e)
{
	int err = validity_reserve(e->map);

	if (!err && journalled(e) && !journal_reserve(e->journal, 1)) {
		validity_unreserve(e->map);
		err = -EAGAIN;
	}
	return err;
}

void
engine_copy_asks(struct engine *e, struct closure *c, uint64_t sector, uint64_t count)
{
	const struct part *w;

	c->asked = sector;
	c->asked_count = count;
	c->grain = (count + GRAINS - 1) / GRAINS;
	if (c->grain > 1)
		c->grain = (c->grain + BLOCK_MAX - 1) / BLOCK_MAX * BLOCK_MAX;
	memset(c->touched, 0, sizeof(c->touched));
	for (uint64_t i = 0; i < FLIGHT_BUCKETS && i * e->chunk < c->count; i++)
		list_for_each_entry(w, flight_of(e, c->sector + i * e->chunk), link)
			if (!w->settled)
				closure_touch(c, w->sector, w->count);
}

static bool
is_touched(const struct closure *c, uint64_t sector)
{
	uint64_t g = (sector - c->asked) / c->grain;

	return c->touched[g / 64] & 1ull << g % 64;
}

bool
engine_copy_missed(const struct closure *c, uint64_t sector, uint64_t max, uint64_t *run)
{
	uint64_t end = sector + max, s = sector;
	bool missed;

	assert(sector >= c->asked && end <= c->asked + c->asked_count);
	missed = is_touched(c, sector);
	while (s < end && is_touched(c, s) == missed)
		s += c->grain - (s - c->asked) % c->grain;
	*run = (s < end ? s : end) - sector;
	return missed;
}

static void
copy_unreserve(struct engine *e)
{
	validity_unreserve(e->map);
	if (journalled(e))
		journal_unreserve(e->journal, 1);
}

void
engine_copy_ends(struct engine *e, const struct closure *c, uint64_t sector, uint64_t count,
		 enum copied copied)
{
	uint64_t end = copied == COPIED_NOT ? sector : sector + count, run;
	bool reserved = true;

	/* Each run of what was left alone is a change; what finds no room is copied again. */
	for (uint64_t s = sector; s < end; s += run) {
		if (engine_copy_missed(c, s, end - s, &run))
			continue;
		if (!reserved && (!journal_leaves_room(e) || engine_copy_begins(e)))
			break;
		validity_set(e->map, s, run, BOTH);
		if (journalled(e))
			journal_copied(e->journal, s, run);
		copy_unreserve(e);
		reserved = false;
	}
	if (reserved)
		copy_unreserve(e);
	/* What need not be written costs nothing to do again. */
	if (copied == COPIED_WRITTEN) {
		e->copied += count * SECTOR_BYTES;
		e->sync_due |= e->copied >= SYNC_COPIED_BYTES;
	}
}

bool
engine_forgets(const struct engine *e)
{
	const struct side_state *src = &e->side[SRC];

	return !e->row->writes_wait_for_copy && !e->dst_had_some && !e->counters.written[DST] &&
	       !src->errors && !src->flush_errors;
}

/* The intents of the range's regions are stable; those that are not are asked for. */
static bool
intents_ready(struct engine *e, uint64_t sector, uint64_t count)
{
	bool ready = journal_open_to_copies(e->journal) && !journal_trusts(e->journal, DST);

	for (uint64_t s = sector; s < sector + count; s = (s / e->chunk + 1) * e->chunk)
		ready &= journal_intent(e->journal, s, SRC);
	return ready;
}

/*
 * To the map and the journal this is a write of the guest's that the source alone has
 * taken, of what is there already. It needs the same intent: what the copy overwrites is
 * not to be believed after a power failure, nor what the guest writes there without one,
 * though the file may call it valid on both still.
 */
static void
forget(struct engine *e, uint64_t sector, uint64_t count)
{
	if ((journalled(e) && !intents_ready(e, sector, count)) || engine_copy_begins(e))
		return;
	validity_set(e->map, sector, count, SRC_BIT);
	if (journalled(e))
		journal_change(e->journal, CHANGE_SET, sector, count, SRC_BIT);
	e->side[SRC].alone_seq = ++e->seq;
	copy_unreserve(e);
}

void
engine_forget_gaps(struct engine *e, const struct closure *c, uint64_t sector, uint64_t count,
		   uint64_t most)
{
	uint64_t end = sector + count, from = sector, run, alike;
	bool any = false;

	for (uint64_t s = sector; s < end; s += run) {
		side_mask sides = validity_get(e->map, s, end - s, &run);
		bool gap = sides == BOTH && run <= most &&
			   !engine_copy_missed(c, s, run, &alike) && alike == run;

		if (!gap && sides != SRC_BIT) {
			if (any)
				forget(e, from, s - from);
			from = s + run;
			any = false;
		}
		any |= gap;
	}
	if (any)
		forget(e, from, end - from);
}

void
engine_sync(struct engine *e)
{
	e->sync_due = true;
	engine_run(e);
}

/*
 * Gives up a stalled side of the mirrored writes that wait for it, and for which the other
 * one is there, perhaps again, or has answered.
 */
static void
lose_side(struct engine *e, enum side side)
{
	struct part *w, *next;
	side_mask bit = side_bit(side);
	side_mask there = BOTH & (side_mask)~stalled_sides(e);

	for (int i = 0; i < FLIGHT_BUCKETS; i++)
		list_for_each_entry_safe(w, next, &e->flight[i], link) {
			if (w->settled || w->issued != BOTH ||
			    ((w->answered | w->lost) & bit) || !(there | w->answered))
				continue;
			if (w->lost & there) {
				w->lost = NO_SIDE;
				e->side[side_other(side)].owed--;
			}
			w->lost |= bit;
			e->side[side].owed++;
			if (!w->err)
				w->err = -ETIMEDOUT;
			write_progress(w);
		}
}

/*
 * Nobody has been silent for the time in which we did not run (stopped, frozen, starved):
 * the answers may be there, and are looked at after this.
 */
static void
skip_absence(struct engine *e, uint64_t now_ns)
{
	uint64_t absent_ns = now_ns - e->tick_ns;

	e->tick_ns = now_ns;
	for (enum side s = SRC; absent_ns >= TICK_LATE_NS && s < SIDES; s++) {
		uint64_t heard_ns = e->side[s].heard_ns + absent_ns;
		uint64_t flush_ns = e->side[s].flush_ns + absent_ns;

		e->side[s].heard_ns = heard_ns < now_ns ? heard_ns : now_ns;
		e->side[s].flush_ns = flush_ns < now_ns ? flush_ns : now_ns;
	}
}

/*
 * It has not answered for STALL_NS, and not because of a flush. For that what else is in
 * flight had been silent before the flush was asked for; or it has taken STALL_NS more than
 * any before; or, where nobody waits and nothing else is in flight, very long.
 */
static bool
is_silent(const struct engine *e, const struct side_state *s, uint64_t now_ns)
{
	bool others = s->inflight > s->flushing;
	bool waits = others || e->hold_writes || e->hurried || engine_waits_for_journal(e);

	if (!s->inflight || now_ns - s->heard_ns < STALL_NS)
		return false;
	if (!s->flushing || (others && s->flush_ns >= s->heard_ns + FLUSH_ASKED_LATE_NS))
		return true;
	return now_ns - s->flush_ns >= STALL_NS + (waits ? s->flush_max_ns : FLUSH_NS);
}

/* The side has nothing for a while: what waited for it may do without. */
static void
side_stalls(struct engine *e, enum side side)
{
	struct closure *c;

	e->side[side].stalled = true;
	list_for_each_entry(c, &e->closures, link) {
		c->lost |= side_bit(side);
		wake(e, &c->waiting);
	}
	/* A mirrored write that is throttled can go to the other side now. */
	wake(e, &e->held[HELD_THROTTLE]);
	wake_behind_owed(e);
}

/*
 * Finds sides that have stalled, and who can do without them: at every tick, for where
 * both had, one of them may be back.
 */
static void
check_stalls(struct engine *e)
{
	uint64_t now_ns = e->now_ns(e->ctx);

	skip_absence(e, now_ns);
	for (enum side s = SRC; s < SIDES; s++) {
		if (!e->side[s].stalled && is_silent(e, &e->side[s], now_ns))
			side_stalls(e, s);
	}
	e->running = true;
	for (enum side s = SRC; s < SIDES; s++)
		if (e->side[s].stalled) {
			lose_side(e, s);
			flushes_give_up(e, s);
		}
	e->running = false;
}

/* Something has been written since the last sync, or is in doubt. */
static bool
unsynced(const struct engine *e)
{
	struct journal_status status;

	journal_get_status(e->journal, &status);
	return status.unwritten || status.intents ||
	       e->marks.wrote[SRC] != e->marks.stable[SRC] ||
	       e->marks.wrote[DST] != e->marks.stable[DST];
}

void
engine_tick(struct engine *e)
{
	if (e->retired)
		return;
	check_stalls(e);
	if (journalled(e)) {
		journal_retry(e->journal);
		if (journal_open_to_writes(e->journal))
			wake(e, &e->held[HELD_JOURNAL]);
		e->sync_due |= unsynced(e) && e->now_ns(e->ctx) - e->sync_ns >= SYNC_NS;
	}
	engine_run(e);
}

/* As if a write of the guest's had just been answered by the source alone. */
void
engine_source_written(struct engine *e)
{
	e->side[SRC].alone_seq = ++e->seq;
	e->marks.wrote[SRC]++;
}

void
engine_retire(struct engine *e)
{
	e->retired = true;
}

bool
engine_saved(const struct engine *e)
{
	return !e->writes && !e->side[SRC].owed && !e->side[DST].owed && !e->flush_err &&
	       !flush_needed(e);
}

static unsigned
count_writes(const struct list_head *held)
{
	unsigned n = 0;
	struct part *p;

	list_for_each_entry(p, held, link)
		n += p->op != DISK_READ;
	return n;
}

unsigned
engine_held_writes(const struct engine *e)
{
	struct closure *c;
	unsigned n = 0;

	for (enum held h = 0; h < HELD_REASONS; h++)
		n += count_writes(&e->held[h]);
	list_for_each_entry(c, &e->closures, link)
		n += count_writes(&c->waiting);
	return n;
}

bool
engine_quiet(const struct engine *e)
{
	return !e->side[SRC].inflight && !e->side[DST].inflight &&
	       (!e->journal || journal_quiet(e->journal));
}

int
engine_init(struct engine *e, const struct engine_config *config)
{
	*e = (struct engine){
		.disk = { config->disk[SRC], config->disk[DST] },
		.map = config->map,
		.journal = config->journal,
		.writes_are_durable = config->writes_are_durable,
		.chunk = config->chunk,
		.row = config->row,
		.threshold = config->threshold,
		.now_ns = config->now_ns,
		.after_run = config->after_run,
		.guest_answered = config->guest_answered,
		.ctx = config->ctx,
		/* What the guest wrote before there was a migration is the source's alone. */
		.seq = 1,
		.side[SRC].alone_seq = 1,
		/* ... and what it wrote in a former life may be the destination's. */
		.side[DST].alone_seq = !config->stable && validity_lacking(config->map, SRC),
		.dst_had_some = validity_lacking(config->map, SRC),
		.tick_ns = config->now_ns(config->ctx),
		.marks.wrote = { !config->stable, !config->stable },
	};
	if (e->journal)
		journal_attach(e->journal, e->map, &e->marks, journal_changed, e);
	if (config->owed)
		owe(e, -EIO);
	INIT_LIST_HEAD(&e->answered);
	INIT_LIST_HEAD(&e->incoming);
	INIT_LIST_HEAD(&e->closures);
	INIT_LIST_HEAD(&e->early);
	INIT_LIST_HEAD(&e->flushes);
	INIT_LIST_HEAD(&e->flushing);
	INIT_LIST_HEAD(&e->recorded);
	INIT_LIST_HEAD(&e->to_sync);
	INIT_LIST_HEAD(&e->in_sync);
	for (enum held h = 0; h < HELD_REASONS; h++)
		INIT_LIST_HEAD(&e->held[h]);
	pool_init(&e->parts, sizeof(struct part));
	pool_init(&e->flush_pool, sizeof(struct flush));
	buffers_init(&e->copies, MIRROR_COPY_BYTES);
	e->flight = malloc(2 * FLIGHT_BUCKETS * sizeof(*e->flight));
	if (!e->flight) {
		if (e->journal)
			journal_destroy(e->journal);
		validity_destroy(e->map);
		return -ENOMEM;
	}
	e->behind = e->flight + FLIGHT_BUCKETS;
	for (int i = 0; i < 2 * FLIGHT_BUCKETS; i++)
		INIT_LIST_HEAD(&e->flight[i]);
	return 0;
}

/* Ours, which may wait for a journal that cannot be written, or for who has retired. */
static void
flushes_free(struct engine *e, struct list_head *flushes)
{
	struct flush *f, *next;

	list_for_each_entry_safe(f, next, flushes, link) {
		assert(!f->guest);
		pool_put(&e->flush_pool, f);
	}
}

void
engine_release(struct engine *e)
{
	assert(engine_quiet(e));
	flushes_free(e, &e->flushes);
	flushes_free(e, &e->flushing);
	pool_release(&e->parts);
	pool_release(&e->flush_pool);
	buffers_release(&e->copies);
	free(e->flight);
	if (e->journal)
		journal_destroy(e->journal);
	validity_destroy(e->map);
}
