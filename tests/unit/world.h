/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * world.h - a migration between two fake disks, with a guest and a clock
 *
 * Nothing happens in it but what a test does: the disks answer when told to, and
 * time passes when told to. Include it after cmocka.h.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <stdio.h>
#include <string.h>

#include "fake-disk.h"
#include "migration.h"

#define SECOND	 UINT64_C(1000000000)
#define ANYTHING UINT32_MAX /* a version: the guest was told of an error */

/* What is on the disks when the world begins. */
#define ON_SRC	     1 /* where the source is valid */
#define ON_DST	     2 /* where only the destination is: newer */
#define STALE_ON_SRC 0x51a1e
#define STALE_ON_DST 0xd1517

struct world;

struct request {
	struct guest_io g;
	struct world *w;
	bool done;
	int err;
	unsigned v;
	uint64_t *buf;
};

struct world {
	struct migration m;
	struct fake_disk disk[SIDES];
	uint64_t now_ns;
	uint64_t wake_ns;
	unsigned ended;
	unsigned *expected; /* version of each sector, as the guest knows it */
	struct request **requests;
	unsigned request_count;
	/* Called when a request has been answered. */
	void (*answered)(struct request *r);
	side_mask record;  /* what is recorded outside of the journal: one side, or none */
	side_mask asked;   /* ... is to be, where the test answers itself */
	unsigned asks;	   /* so often */
	bool record_waits; /* the test does */
	int record_err;	   /* else this is the answer */
};

struct world_config {
	enum strategy strategy;
	/* A letter for each chunk, where it is valid: S, D or B; the default is S. */
	const char *chunks;
	uint64_t sectors;   /* default: those chunks, whole */
	uint32_t chunk;	    /* sectors; default CHUNK */
	uint32_t threshold; /* default 32 */
	unsigned depth;	    /* default 1 */
	uint64_t rate;
	uint32_t align; /* default 1 */
	bool running;	/* else the copier is paused */
	bool auto_complete;
	bool pristine;
	bool tells_zeroes;
	struct journal *journal; /* the migration's from now on; or NULL */
	bool records;		 /* the host can record that one side is alone */
};

#define CHUNK 128u /* sectors */

static inline uint64_t
world_now(void *ctx)
{
	return ((struct world *)ctx)->now_ns;
}

static inline void
world_wake_at(void *ctx, uint64_t ns)
{
	((struct world *)ctx)->wake_ns = ns;
}

static inline void
world_ended(void *ctx)
{
	((struct world *)ctx)->ended++;
}

static inline void
world_answer_record(struct world *w, int err)
{
	if (!err)
		w->record = w->asked;
	migration_recorded_alone(&w->m, err);
}

static inline void
world_record_alone(void *ctx, side_mask side)
{
	struct world *w = ctx;

	w->asks++;
	w->asked = side;
	if (!w->record_waits)
		world_answer_record(w, w->record_err);
}

/* Makes one chunk valid as the letter says. */
static inline void
world_place(struct world *w, struct validity *map, char letter, uint64_t sector, uint64_t count)
{
	side_mask sides = letter == 'S' ? SRC_BIT : letter == 'D' ? DST_BIT : BOTH;

	assert_non_null(strchr("SDB", letter));
	assert_int_equal(validity_reserve(map), 0);
	validity_set(map, sector, count, sides);
	validity_unreserve(map);
	fake_place(&w->disk[SRC], sides & SRC_BIT ? ON_SRC : STALE_ON_SRC, sector, count);
	fake_place(&w->disk[DST],
		   sides == BOTH ? ON_SRC : (sides == DST_BIT ? ON_DST : STALE_ON_DST), sector,
		   count);
	for (uint64_t i = 0; i < count; i++)
		w->expected[sector + i] = sides == DST_BIT ? ON_DST : ON_SRC;
}

static inline struct world *
world_begin(const struct world_config *config)
{
	struct world *w = calloc(1, sizeof(*w));
	uint32_t chunk = config->chunk ? config->chunk : CHUNK;
	const char *letter = config->chunks ? config->chunks : "";
	uint64_t sectors = config->sectors ? config->sectors : strlen(letter) * chunk;
	struct validity *map = validity_create(sectors, SRC_BIT);
	struct migration_config m = {
		.disk = { &w->disk[SRC].disk, &w->disk[DST].disk },
		.map = map,
		.journal = config->journal,
		.stable = config->journal,
		.strategy = config->strategy,
		.state = MIGRATION_COPYING,
		.chunk = chunk,
		.unit = chunk,
		.threshold = config->threshold ? config->threshold : 32,
		.depth = config->depth ? config->depth : 1,
		.rate = config->rate,
		.align = config->align ? config->align : 1,
		.auto_complete = config->auto_complete,
		.paused = !config->running,
		.pristine = config->pristine,
		.now_ns = world_now,
		.wake_at = world_wake_at,
		.ended = world_ended,
		.record_alone = config->records ? world_record_alone : NULL,
		.ctx = w,
	};

	w->now_ns = 1000 * SECOND;
	w->wake_ns = UINT64_MAX;
	w->expected = calloc(sectors, sizeof(*w->expected));
	for (enum side s = SRC; s < SIDES; s++) {
		fake_init(&w->disk[s], sectors);
		w->disk[s].tells_zeroes = config->tells_zeroes;
	}
	for (uint64_t at = 0; at < sectors; at += chunk)
		world_place(w, map, *letter ? *letter++ : 'S', at,
			    sectors - at < chunk ? sectors - at : chunk);
	assert_int_equal(migration_init(&w->m, &m), 0);
	migration_start(&w->m);
	return w;
}

/* --- the guest ----------------------------------------------------------------- */

static inline void
request_done(struct guest_io *g, int err)
{
	struct request *r = list_entry(g, struct request, g);

	assert_false(r->done);
	r->done = true;
	r->err = err;
	if (g->op == DISK_WRITE || g->op == DISK_ZERO)
		for (uint32_t i = 0; i < g->count; i++)
			r->w->expected[g->sector + i] = err ? ANYTHING : r->v;
	/* The buffer is the guest's again. */
	if (g->op == DISK_WRITE)
		memset(r->buf, 0xee, (size_t)g->count * SECTOR_BYTES);
	if (r->w->answered)
		r->w->answered(r);
}

static inline struct request *
guest_request(struct world *w, enum disk_op op, uint64_t sector, uint32_t count, unsigned v)
{
	struct request *r = calloc(1, sizeof(*r));

	*r = (struct request){
		.g = { .op = op, .sector = sector, .count = count, .done = request_done },
		.w = w,
		.v = v,
	};
	if (op == DISK_READ || op == DISK_WRITE)
		r->g.buf = r->buf = calloc(count, SECTOR_BYTES);
	for (uint32_t i = 0; op == DISK_WRITE && i < count; i++)
		stamps_to_buf(r->buf + i * SECTOR_WORDS, &(uint64_t){ STAMP(v, sector + i) },
			      1);
	w->requests = realloc(w->requests, (w->request_count + 1) * sizeof(*w->requests));
	w->requests[w->request_count++] = r;
	return r;
}

static inline struct request *
guest_send(struct request *r)
{
	migration_guest(&r->w->m, &r->g);
	return r;
}

static inline struct request *
guest_write(struct world *w, uint64_t sector, uint32_t count, unsigned v)
{
	return guest_send(guest_request(w, DISK_WRITE, sector, count, v));
}

static inline struct request *
guest_read(struct world *w, uint64_t sector, uint32_t count)
{
	return guest_send(guest_request(w, DISK_READ, sector, count, 0));
}

static inline struct request *
guest_zero(struct world *w, uint64_t sector, uint32_t count, bool no_hole)
{
	struct request *r = guest_request(w, DISK_ZERO, sector, count, 0);

	r->g.no_hole = no_hole;
	return guest_send(r);
}

static inline struct request *
guest_flush(struct world *w)
{
	return guest_send(guest_request(w, DISK_FLUSH, 0, 0, 0));
}

/* What a read got: the versions expected now, or version v. */
static inline void
check_read_is(const struct request *r, unsigned v)
{
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	for (uint32_t i = 0; i < r->g.count * SECTOR_WORDS; i++)
		assert_int_equal(r->buf[i], v ? STAMP(v, r->g.sector + i / SECTOR_WORDS) : 0);
}

static inline void
check_read(const struct request *r)
{
	assert_true(r->done);
	assert_int_equal(r->err, 0);
	for (uint32_t i = 0; i < r->g.count; i++) {
		unsigned v = r->w->expected[r->g.sector + i];

		if (v != ANYTHING)
			assert_int_equal(r->buf[i * SECTOR_WORDS],
					 v ? STAMP(v, r->g.sector + i) : 0);
	}
}

/* --- the disks ------------------------------------------------------------------- */

static inline unsigned
outstanding(const struct world *w, enum side side)
{
	struct disk_io *io;
	unsigned n = 0;

	list_for_each_entry(io, &w->disk[side].outstanding, link)
		n++;
	return n;
}

static inline unsigned
outstanding_all(const struct world *w)
{
	return outstanding(w, SRC) + outstanding(w, DST);
}

/* The request that is outstanding there, or NULL. */
static inline struct disk_io *
find_io(struct world *w, enum side side, enum disk_op op, uint64_t sector, uint32_t count)
{
	struct disk_io *io;

	list_for_each_entry(io, &w->disk[side].outstanding, link)
		if (io->op == op && io->sector == sector && io->count == count)
			return io;
	return NULL;
}

static inline void
print_outstanding(const struct world *w)
{
	static const char *const sides[] = { "source", "destination" };
	static const char *const ops[] = { "read", "write", "zero", "flush", "status" };
	struct disk_io *io;

	for (enum side s = SRC; s < SIDES; s++)
		list_for_each_entry(io, &w->disk[s].outstanding, link)
			print_error("outstanding on %s: %s of %lu + %u\n", sides[s],
				    ops[io->op], io->sector, io->count);
}

/* The request must be outstanding there. */
static inline struct disk_io *
the_io(struct world *w, enum side side, enum disk_op op, uint64_t sector, uint32_t count)
{
	struct disk_io *io = find_io(w, side, op, sector, count);

	if (!io)
		print_outstanding(w);
	assert_non_null(io);
	return io;
}

/* ... and is answered. */
static inline void
answer(struct world *w, enum side side, enum disk_op op, uint64_t sector, uint32_t count,
       int err)
{
	fake_complete(the_io(w, side, op, sector, count), err);
}

/* Answers what is outstanding, and what comes of it, well, oldest first. */
static inline void
settle(struct world *w)
{
	while (outstanding_all(w))
		for (enum side s = SRC; s < SIDES; s++)
			if (outstanding(w, s))
				fake_complete(list_entry(w->disk[s].outstanding.next,
							 struct disk_io, link),
					      0);
}

/* The migration ticks every second, and at the end. */
static inline void
pass_time(struct world *w, uint64_t ns)
{
	for (uint64_t step; ns; ns -= step) {
		step = ns < SECOND ? ns : SECOND;
		w->now_ns += step;
		if (w->now_ns >= w->wake_ns) {
			w->wake_ns = UINT64_MAX;
			migration_wake(&w->m);
		}
		migration_tick(&w->m);
	}
}

static inline void
check_valid(const struct world *w, uint64_t sector, uint64_t count, side_mask sides)
{
	uint64_t run;

	assert_int_equal(validity_get(w->m.engine.map, sector, count, &run), sides);
	assert_int_equal(run, count);
}

/* What a disk itself holds. */
static inline void
check_disk(const struct world *w, enum side side, uint64_t sector, uint64_t count, unsigned v)
{
	for (uint64_t i = sector; i < sector + count; i++)
		assert_int_equal(w->disk[side].stamps[i], v ? STAMP(v, i) : 0);
}

static inline struct migration_status
status_of(const struct world *w)
{
	struct migration_status status;

	migration_get_status(&w->m, &status);
	return status;
}

/* Nothing is under way any more. */
static inline void
world_free(struct world *w)
{
	assert_true(migration_quiet(&w->m));
	migration_release(&w->m);
	for (unsigned i = 0; i < w->request_count; i++) {
		free(w->requests[i]->buf);
		free(w->requests[i]);
	}
	free(w->requests);
	free(w->expected);
	fake_release(&w->disk[SRC]);
	fake_release(&w->disk[DST]);
	free(w);
}

/*
 * Answers everything well; then every request must have been answered, and the
 * guest must read what it has written.
 */
static inline void
world_end(struct world *w)
{
	uint64_t sectors = w->disk[SRC].disk.sectors;
	struct request *r;

	migration_stop(&w->m);
	settle(w);
	for (unsigned i = 0; i < w->request_count; i++)
		assert_true(w->requests[i]->done);
	for (uint64_t at = 0; at < sectors; at += 1024) {
		r = guest_read(w, at, (uint32_t)(sectors - at < 1024 ? sectors - at : 1024));
		settle(w);
		check_read(r);
	}
	world_free(w);
}

#endif
