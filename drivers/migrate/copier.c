/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "copier.h"
#include "error-class.h"

/*
 * At most this much of a hole is closed to the guest at once, where it must be made on
 * the side that is written; and so much where it need not, or is asked about.
 */
#define HOLE_SECTORS	 ((uint64_t)(1u << 30) / SECTOR_BYTES)
#define HOLE_SECTORS_MAX ((uint64_t)1 << 29)
#define READ_ERRORS_MAX	 64 /* unreadable in a row: not a bad sector, a bad disk */

#define PIECES 16 /* writes of one window */

_Static_assert(COPIER_MAX_DEPTH <= SLOTS_MAX, "each copy can have its buffer");

struct copy;

/* What is lacking in one run of a window, and is being written. */
struct piece {
	struct copy *copy;
	struct side_io sio;
};

/*
 * One closure being copied, a window at a time: one read, and as many writes at once
 * as there are runs that lack the side, or are zero.
 */
struct copy {
	struct closure closure;
	struct copier *copier;
	struct side_io sio; /* the window's read, or a question about holes */
	uint64_t read_ns;   /* when that was asked for */
	uint64_t pos;	    /* what lies before it in the closure is done */
	uint64_t until;	    /* the window's end */
	uint32_t unit;	    /* sectors: the most that is read at once */
	bool paced;	    /* the pacer knows of it */
	bool first_visit;   /* ... of these chunks: what is valid there is skipped */
	bool hole;	    /* no data is expected: it is longer than what is copied at once */
	unsigned writes;    /* pieces under way */
	uint64_t write_ns;  /* when the last one began that writes data */
	unsigned queued;    /* so many then were under way, of all copies */
	uint64_t queued_bytes;
	bool zeroes;	       /* some write none, and take their own time */
	int err;	       /* of one of them */
	char *buf;	       /* of a unit, once needed */
	uint64_t flush_errors; /* of the side read, when the closure was the copy's */
	uint64_t retry_ns;     /* the copier's, when this began: which try it belongs to */
};

static void copy_step(struct copy *copy);

static struct copy *
copy_of(struct side_io *sio)
{
	return list_entry(sio, struct copy, sio);
}

/* Sectors that are to be read at once now. */
static uint32_t
unit_now(const struct copier *c)
{
	return pacer_unit(&c->pacer) / SECTOR_BYTES;
}

/* The pacer is charged what is read: how much a chunk lacks is known only then. */
static void
copy_charge(struct copy *copy, uint64_t bytes)
{
	struct copier *c = copy->copier;

	pacer_take(&c->pacer, bytes);
	c->unpaced -= !copy->paced;
	copy->paced = true;
}

/* The chunk's copy ends here, finished or not; the guest's writes go on. */
static void
copy_end(struct copy *copy)
{
	struct copier *c = copy->copier;

	if (copy->buf)
		slots_put(&c->slots, copy->buf);
	copy_charge(copy, 0);
	pacer_copy_ends(&c->pacer, c->engine->now_ns(c->engine->ctx));
	c->active--;
	engine_open(c->engine, &copy->closure);
	pool_put(&c->copies, copy);
}

/*
 * Copies that were under way at once are one try: what has failed under one of them
 * may well fail under all. The first failure counts, and sets the time of the next
 * try, from which those that began before can be told. After too many of them the
 * copier stops for that reason.
 */
static void
copy_fail(struct copy *copy, int err, enum copier_stop reason)
{
	struct copier *c = copy->copier;

	c->error = err;
	c->error_side = reason == COPIER_READ_ERRORS ? side_other(c->to) : c->to;
	if (copy->retry_ns == c->retry_ns) {
		c->failures++;
		c->retry_ns = c->engine->now_ns(c->engine->ctx) + COPIER_RETRY_NS;
	}
	if (reason == COPIER_NO_SPACE || c->failures >= COPIER_TRIES)
		c->stop = reason;
	copy_end(copy);
}

/* The window is done, or as much of it as could be. */
static void
copy_window_done(struct copy *copy)
{
	struct copier *c = copy->copier;
	int err = copy->err;

	if (!err && copy->queued && !copy->zeroes)
		gaps_learn(&c->gaps, copy->queued, copy->queued_bytes,
			   c->engine->now_ns(c->engine->ctx) - copy->write_ns);
	copy->err = 0;
	copy->queued = 0;
	copy->zeroes = false;
	if (err == -EAGAIN) {
		copy_end(copy);
	} else if (err) {
		copy_fail(copy, err,
			  error_class(err) == ERROR_NO_SPACE ? COPIER_NO_SPACE
							     : COPIER_WRITE_ERRORS);
	} else {
		c->failures = 0;
		copy->pos = copy->until;
		copy_step(copy);
	}
}

/*
 * A side has stalled under the copy, or the one that is read has failed a flush: it may
 * have lost what was read, and the other one may have become the only one to hold what the
 * guest is writing to it just now. All that is still lacking is copied by another copy.
 */
static bool
is_spoilt(const struct copy *copy)
{
	const struct copier *c = copy->copier;

	return copy->closure.lost ||
	       c->engine->side[side_other(c->to)].flush_errors != copy->flush_errors;
}

static void
piece_written(struct side_io *sio, int err)
{
	struct piece *p = list_entry(sio, struct piece, sio);
	struct copy *copy = p->copy;
	struct copier *c = copy->copier;
	uint64_t bytes = (uint64_t)sio->io.count * SECTOR_BYTES;

	if (sio->io.op == DISK_WRITE) {
		c->writes--;
		c->write_bytes -= bytes;
	}
	if (is_spoilt(copy) && !err)
		err = -EAGAIN;
	if (err)
		copy->err = err;
	else if (sio->io.op == DISK_WRITE)
		c->counters.copied += bytes;
	else
		c->counters.zero += bytes;
	engine_copy_ends(c->engine, &copy->closure, sio->io.sector, sio->io.count,
			 err ? COPIED_NOT : COPIED_WRITTEN);
	pool_put(&c->pieces, p);
	if (!--copy->writes)
		copy_window_done(copy);
}

/*
 * The destination was made for this migration, and what it lacks where the copier
 * comes for the first time has never been written: it reads as zeroes already. Any
 * error or switch ends that certainty.
 */
static bool
known_zero(const struct copy *copy)
{
	const struct copier *c = copy->copier;

	return c->pristine && copy->first_visit && !c->engine->side[DST].errors;
}

/*
 * Writes what lacks the side: the data read, or zeroes that may stay holes. False if
 * there is no room for the outcome.
 */
static bool
piece_write(struct copy *copy, enum disk_op op, uint64_t sector, uint64_t count)
{
	struct copier *c = copy->copier;
	struct piece *p;
	int err = engine_copy_begins(c->engine);

	if (err) {
		copy->err = err;
		return false;
	}
	if (op == DISK_ZERO && known_zero(copy)) {
		c->counters.zero += count * SECTOR_BYTES;
		engine_copy_ends(c->engine, &copy->closure, sector, count, COPIED_BEFORE);
		return true;
	}
	p = pool_get(&c->pieces);
	if (!p) {
		engine_copy_ends(c->engine, &copy->closure, sector, count, COPIED_NOT);
		copy->err = -ENOMEM;
		return false;
	}
	p->copy = copy;
	p->sio.done = piece_written;
	p->sio.io.op = op;
	p->sio.io.no_hole = false;
	p->sio.io.as_is = true;
	p->sio.io.sector = sector;
	p->sio.io.count = (uint32_t)count;
	p->sio.io.buf = op == DISK_WRITE
				? copy->buf + (sector - copy->sio.io.sector) * SECTOR_BYTES
				: NULL;
	copy->closure.writing = side_bit(c->to);
	if (op == DISK_WRITE) {
		copy->write_ns = c->engine->now_ns(c->engine->ctx);
		copy->queued = ++c->writes;
		copy->queued_bytes = c->write_bytes += count * SECTOR_BYTES;
	}
	copy->zeroes |= op == DISK_ZERO;
	copy->writes++;
	c->counters.written[c->to] += count * SECTOR_BYTES;
	engine_submit(c->engine, c->to, &p->sio);
	return true;
}

/* The first byte is zero, and each is what the one before it is. */
static bool
is_zero(const char *buf, size_t bytes)
{
	return !buf[0] && !memcmp(buf, buf + 1, bytes - 1);
}

/*
 * Sectors that are worth a request of their own, 64 KiB of a unit of 1 MiB: so many
 * zeroes are not written, and so many that do not lack the side are not read.
 */
static uint64_t
grain(const struct copier *c)
{
	return c->unit / 16 > c->align ? c->unit / 16 : c->align;
}

/* Sectors that the side has, and that are quicker copied again than left out. */
static uint64_t
gap(const struct copier *c)
{
	return engine_forgets(c->engine) ? gaps_worth(&c->gaps) / SECTOR_BYTES : 0;
}

/* How many of the sectors read, from that one on, are all zero, or all taken for data. */
static uint64_t
alike(const struct copy *copy, uint64_t sector, uint64_t count, bool *zero)
{
	uint64_t end = sector + count, at = sector, step = grain(copy->copier);

	while (at < end) {
		uint64_t next = (at / step + 1) * step;
		bool z;

		if (next > end)
			next = end;
		z = is_zero(copy->buf + (at - copy->sio.io.sector) * SECTOR_BYTES,
			    (next - at) * SECTOR_BYTES);
		if (at > sector && z != *zero)
			break;
		*zero = z;
		at = next;
	}
	return at - sector;
}

/* Writes of the window what lacks the side; what more there is belongs to the next one. */
static void
copy_write(struct copy *copy)
{
	const struct validity *map = copy->copier->engine->map;
	side_mask bit = side_bit(copy->copier->to);
	uint64_t s = copy->sio.io.sector, run;

	for (; s < copy->until; s += run) {
		bool zero = false;

		if (validity_get(map, s, copy->until - s, &run) & bit)
			continue;
		if (copy->writes == PIECES)
			break;
		run = alike(copy, s, run, &zero);
		if (!piece_write(copy, zero ? DISK_ZERO : DISK_WRITE, s, run))
			break;
	}
	copy->until = s < copy->until ? s : copy->until;
	if (!copy->writes)
		copy_window_done(copy);
}

/* False if there is no room. The sectors are not listed yet. */
static bool
bad_add(struct copier *c, uint64_t sector, uint64_t count)
{
	for (unsigned i = 0; i < c->bad_runs; i++) {
		struct bad_run *run = &c->bad[i];

		if (run->sector + run->count != sector && sector + count != run->sector)
			continue;
		run->sector = run->sector < sector ? run->sector : sector;
		run->count += count;
		return true;
	}
	if (c->bad_runs == COPIER_BAD_RUNS)
		return false;
	c->bad[c->bad_runs++] = (struct bad_run){ sector, count };
	return true;
}

static const struct bad_run *
bad_at(const struct copier *c, uint64_t sector)
{
	for (unsigned i = 0; i < c->bad_runs; i++)
		if (sector >= c->bad[i].sector && sector - c->bad[i].sector < c->bad[i].count)
			return &c->bad[i];
	return NULL;
}

/* Where the first run behind that sector begins, if before limit; or limit. */
static uint64_t
bad_after(const struct copier *c, uint64_t sector, uint64_t limit)
{
	for (unsigned i = 0; i < c->bad_runs; i++)
		if (c->bad[i].sector > sector && c->bad[i].sector < limit)
			limit = c->bad[i].sector;
	return limit;
}

/* The first sector from there on that lacks the side and can be read, for all we know. */
static uint64_t
next_to_copy(const struct copier *c, uint64_t sector)
{
	const struct bad_run *bad;

	for (;;) {
		sector = validity_next_lacking(c->engine->map, sector, c->to);
		bad = bad_at(c, sector);
		if (!bad)
			return sector;
		sector = bad->sector + bad->count;
	}
}

/*
 * What the guest has written anew may be readable again. What is left of a run that
 * finds no room is read, and found, again.
 */
void
copier_guest_wrote(struct copier *c, uint64_t sector, uint64_t count)
{
	uint64_t end = sector + count;

	for (unsigned i = c->bad_runs; i--;) {
		struct bad_run run = c->bad[i];
		uint64_t run_end = run.sector + run.count;

		if (run.sector >= end || run_end <= sector)
			continue;
		c->bad[i] = c->bad[--c->bad_runs];
		if (run.sector < sector)
			bad_add(c, run.sector, sector - run.sector);
		if (run_end > end)
			bad_add(c, end, run_end - end);
	}
}

static void
copy_read_done(struct side_io *sio, int err)
{
	struct copy *copy = copy_of(sio);
	struct copier *c = copy->copier;
	uint64_t run;
	bool missed;

	if (is_spoilt(copy)) {
		copy_end(copy);
		return;
	}
	if (!err) {
		c->read_failures = 0;
		copy->unit = copy->unit * 2 < unit_now(c) ? copy->unit * 2 : unit_now(c);
		pacer_read(&c->pacer, (uint64_t)sio->io.count * SECTOR_BYTES,
			   c->engine->now_ns(c->engine->ctx) - copy->read_ns);
		/* What is forgotten is not zero because it is lacking. */
		if (gap(c) && !known_zero(copy))
			engine_forget_gaps(c->engine, &copy->closure, sio->io.sector,
					   sio->io.count, gap(c));
		copy_write(copy);
		return;
	}
	if (error_class(err) != ERROR_FAILED) { /* not of these sectors */
		copy_fail(copy, err, COPIER_READ_ERRORS);
		return;
	}
	c->error = err;
	c->error_side = side_other(c->to);
	if (sio->io.count > c->align) {
		copy->unit = sio->io.count / 2 / c->align * c->align;
		copy->unit = copy->unit < c->align ? c->align : copy->unit;
	} else {
		/* What the guest has written meanwhile may be readable again. */
		missed = engine_copy_missed(&copy->closure, sio->io.sector, sio->io.count,
					    &run) ||
			 run < sio->io.count;
		if (++c->read_failures >= READ_ERRORS_MAX ||
		    (!missed && !bad_add(c, sio->io.sector, sio->io.count)))
			c->stop = COPIER_READ_ERRORS;
		copy->pos = sio->io.sector + sio->io.count;
	}
	if (c->stop)
		copy_end(copy);
	else
		copy_step(copy);
}

/*
 * Where the window that begins with that lacking sector ends: behind a lacking one.
 * The gaps between them are read too, for one long read is quicker than many short ones.
 */
static uint64_t
window_end(const struct copy *copy, uint64_t sector)
{
	const struct copier *c = copy->copier;
	uint64_t limit = copy->closure.sector + copy->closure.count, until = sector, run;
	uint64_t apart = gap(c);
	unsigned runs = 0;

	if (limit - sector > copy->unit)
		limit = sector + copy->unit;
	if (limit > c->seen.data_until)
		limit = c->seen.data_until;
	limit = bad_after(c, sector, limit);
	for (uint64_t s = sector; s < limit && runs < PIECES; s += run) {
		if (s - until > grain(c) && s - until > apart)
			break;
		if (validity_get(c->engine->map, s, limit - s, &run) & side_bit(c->to))
			continue;
		runs += s == sector || s - until > apart;
		until = s + run;
	}
	return until;
}

static void
copy_read(struct copy *copy, uint64_t sector)
{
	struct copier *c = copy->copier;

	if (!copy->buf)
		copy->buf = slots_get(&c->slots);
	if (!copy->buf) {
		copy_fail(copy, -ENOMEM, COPIER_READ_ERRORS);
		return;
	}
	copy->until = window_end(copy, sector);
	copy->sio.io.op = DISK_READ;
	copy->sio.io.sector = sector;
	copy->sio.io.count = (uint32_t)(copy->until - sector);
	copy->sio.io.buf = copy->buf;
	copy->sio.done = copy_read_done;
	copy->read_ns = c->engine->now_ns(c->engine->ctx);
	engine_copy_asks(c->engine, &copy->closure, sector, copy->sio.io.count);
	copy_charge(copy, (uint64_t)copy->sio.io.count * SECTOR_BYTES);
	engine_submit(c->engine, side_other(c->to), &copy->sio);
}

/*
 * A range of several chunks was closed as a hole, and the guest has written
 * there since. What is left of it is opened, for data is copied a chunk at a
 * time; whole chunks, so that none is left copied in part.
 */
static void
copy_leave_hole(struct copy *copy, uint64_t sector)
{
	struct copier *c = copy->copier;

	c->seen.hole_until = 0;
	if (c->cursor > sector)
		c->cursor = sector / c->engine->chunk * c->engine->chunk;
	copy_end(copy);
}

static void
copy_status_done(struct side_io *sio, int err)
{
	struct copy *copy = copy_of(sio);
	struct copier *c = copy->copier;
	uint64_t sector = sio->io.sector, until = sector + sio->io.count;
	uint64_t end = copy->closure.sector + copy->closure.count;
	uint64_t run;

	c->asking--;
	if (is_spoilt(copy)) {
		copy_end(copy);
		return;
	}
	if (err || !sio->io.zero) {
		/* Data may be believed for as long as we like: it is at worst copied
		 * for nothing. A disk that cannot say is data all over, and what has
		 * failed is read, to see whether it can be. */
		bool unable = error_class(err) == ERROR_UNABLE;

		c->seen.data_from = unable ? 0 : sector;
		c->seen.data_until = unable ? UINT64_MAX : err ? end : until;
		copy_step(copy);
		return;
	}
	/* That it is zero holds only where the guest cannot write: in the closure. */
	c->seen.hole_until = until;
	validity_get(c->engine->map, sector, end - sector, &run);
	run = run < sio->io.count ? run : sio->io.count;
	if (copy->hole && sector + run < end) {
		uint64_t whole = (sector + run) / c->engine->chunk * c->engine->chunk;

		if (whole <= sector) {
			copy_leave_hole(copy, sector);
			return;
		}
		run = whole - sector;
	}
	copy->until = sector + run;
	piece_write(copy, DISK_ZERO, sector, run);
	if (!copy->writes)
		copy_window_done(copy);
}

static void
copy_status(struct copy *copy, uint64_t sector)
{
	struct copier *c = copy->copier;
	uint64_t left = validity_sectors(c->engine->map) - sector;
	uint64_t end = copy->closure.sector + copy->closure.count;

	copy->sio.io.op = DISK_STATUS;
	copy->sio.io.zero = false;
	copy->sio.io.sector = sector;
	copy->sio.io.count = (uint32_t)(left < HOLE_SECTORS_MAX ? left : HOLE_SECTORS_MAX);
	c->asking++;
	engine_copy_asks(c->engine, &copy->closure, sector, end - sector);
	copy->sio.io.buf = NULL;
	copy->sio.done = copy_status_done;
	engine_submit(c->engine, side_other(c->to), &copy->sio);
}

/* Goes on with what the side still lacks in the closure, one run at a time. */
static void
copy_step(struct copy *copy)
{
	struct copier *c = copy->copier;
	uint64_t end = copy->closure.sector + copy->closure.count;
	uint64_t sector = next_to_copy(c, copy->pos);

	if (sector >= end || !engine_lets_copy(c->engine) || is_spoilt(copy)) {
		copy_end(copy);
		return;
	}
	if (sector < c->seen.data_from || sector >= c->seen.data_until)
		copy_status(copy, sector);
	else if (copy->hole)
		copy_leave_hole(copy, sector);
	else
		copy_read(copy, sector);
}

/* The sectors of [sector, + count) that the side has already. */
static uint64_t
count_valid(const struct copier *c, uint64_t sector, uint64_t count)
{
	uint64_t end = sector + count, valid = 0, run;

	for (; sector < end; sector += run)
		if (validity_get(c->engine->map, sector, end - sector, &run) & side_bit(c->to))
			valid += run;
	return valid;
}

/* What is passed on the first visit and is valid is what the copier skips. */
static void
count_skipped(struct copier *c, uint64_t to)
{
	if (c->to != DST || c->pass || to <= c->counters.counted_to)
		return;
	c->counters.skipped +=
		count_valid(c, c->counters.counted_to, to - c->counters.counted_to) *
		SECTOR_BYTES;
	c->counters.counted_to = to;
}

static void
copy_closed(struct closure *closure)
{
	struct copy *copy = list_entry(closure, struct copy, closure);
	struct copier *c = copy->copier;

	if (closure->lost) {
		copy_end(copy);
		return;
	}
	copy->flush_errors = c->engine->side[side_other(c->to)].flush_errors;
	if (copy->first_visit)
		c->counters.skipped +=
			count_valid(c, closure->sector, closure->count) * SECTOR_BYTES;
	copy_step(copy);
}

static void
begin_pass(struct copier *c)
{
	c->pass++;
	c->lacking_at_pass[1] = c->lacking_at_pass[0];
	c->lacking_at_pass[0] = validity_lacking(c->engine->map, c->to);
}

/*
 * Finds the next chunk that lacks the side and is not being copied, going round
 * at the disk's end once. False if there is none.
 */
static bool
next_chunk(struct copier *c, uint64_t *sector)
{
	struct engine *e = c->engine;
	uint64_t size = validity_sectors(e->map);
	bool round = false;

	while (validity_lacking(e->map, c->to)) {
		const struct closure *closed;
		uint64_t at = next_to_copy(c, c->cursor);

		if (at >= size) {
			if (round)
				return false;
			count_skipped(c, size);
			round = true;
			c->cursor = 0;
			continue;
		}
		closed = engine_closure_at(e, at);
		if (!closed) {
			if (round)
				begin_pass(c);
			*sector = at / e->chunk * e->chunk;
			return true;
		}
		c->cursor = closed->sector + closed->count;
	}
	return false;
}

static void
copy_start(struct copier *c, struct copy *copy, uint64_t sector)
{
	struct engine *e = c->engine;
	uint64_t count = unit_now(c) > e->chunk ? unit_now(c) : e->chunk;
	const struct closure *closed;

	copy->copier = c;
	copy->retry_ns = c->retry_ns;
	count_skipped(c, sector);
	copy->first_visit = c->to == DST && sector == c->counters.counted_to;
	/* Whole holes are closed at once: that costs the guest no data's copy. */
	if (c->seen.hole_until > sector + count) {
		uint64_t most = known_zero(copy) ? HOLE_SECTORS_MAX : HOLE_SECTORS;

		copy->hole = true;
		count = (c->seen.hole_until - sector) / e->chunk * e->chunk;
		count = count < most ? count : most;
	}
	if (count > validity_sectors(e->map) - sector)
		count = validity_sectors(e->map) - sector;
	list_for_each_entry(closed, &e->closures, link)
		if (closed->sector > sector && closed->sector - sector < count)
			count = closed->sector - sector;
	copy->unit = unit_now(c);
	copy->pos = sector;
	copy->closure.sector = sector;
	copy->closure.count = count;
	copy->closure.closed = copy_closed;
	c->cursor = sector + copy->closure.count;
	if (copy->first_visit)
		c->counters.counted_to = c->cursor;
	pacer_copy_begins(&c->pacer);
	c->active++;
	c->unpaced++;
	engine_close(e, &copy->closure);
}

void
copier_pump(struct copier *c)
{
	struct engine *e = c->engine;
	uint64_t now_ns, ready_ns, sector;
	struct copy *copy;

	c->wake_ns = UINT64_MAX;
	/* The guest may have written what could not be read. */
	if (c->stop == COPIER_BAD_SECTORS)
		c->stop = COPIER_GOES;
	/* What a question about holes finds out concerns what comes next. */
	while (!c->stop && c->active < c->depth && !c->asking && !e->side[SRC].stalled &&
	       !e->side[DST].stalled && engine_lets_copy(e)) {
		if (!next_chunk(c, &sector)) {
			if (!c->active && validity_lacking(e->map, c->to))
				c->stop = COPIER_BAD_SECTORS;
			return;
		}
		/* With a limit, the next starts when this one's cost is known. */
		if (pacer_counts(&c->pacer) && c->unpaced)
			return;
		now_ns = e->now_ns(e->ctx);
		ready_ns = pacer_ready_ns(&c->pacer, now_ns);
		if (ready_ns < c->retry_ns)
			ready_ns = c->retry_ns;
		if (ready_ns > now_ns) {
			c->wake_ns = ready_ns;
			return;
		}
		copy = pool_get(&c->copies);
		if (!copy)
			return;
		copy_start(c, copy, sector);
	}
}

void
copier_retry(struct copier *c)
{
	c->stop = COPIER_GOES;
	c->failures = c->read_failures = 0;
	c->retry_ns = 0;
	c->bad_runs = 0;
}

void
copier_turn(struct copier *c, enum side to)
{
	assert(!c->active);
	c->to = to;
	c->cursor = 0;
	c->seen = (struct copier_seen){ 0 };
	copier_retry(c);
}

void
copier_init(struct copier *c, const struct copier_config *config)
{
	struct engine *e = config->engine;

	*c = (struct copier){
		.engine = e,
		.to = DST,
		.depth = config->depth,
		.unit = config->unit,
		.align = config->align,
		.pristine = config->pristine,
		.counters = config->counters,
		.cursor = config->counters.counted_to,
		.lacking_at_pass = { UINT64_MAX, UINT64_MAX },
	};
	pacer_init(&c->pacer, config->unit * SECTOR_BYTES, e->now_ns(e->ctx));
	pacer_set_rate(&c->pacer, config->rate, e->now_ns(e->ctx));
	pacer_set_target(&c->pacer, config->guest_latency, e->now_ns(e->ctx));
	pool_init(&c->copies, sizeof(struct copy));
	pool_init(&c->pieces, sizeof(struct piece));
	slots_init(&c->slots, (size_t)config->unit * SECTOR_BYTES);
}

void
copier_release(struct copier *c)
{
	assert(!c->active);
	pool_release(&c->copies);
	pool_release(&c->pieces);
	slots_release(&c->slots);
}
