/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal's two files and the live changes, and what a crash leaves of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal-record.h"
#include "sim.h"

static const char head[] = "a migration of the simulator's";
static const uint8_t uuid[16] = "simulated uuid ";

struct file {
	uint8_t *bytes;
	size_t size, room;
	size_t last; /* where what was written last begins */
};

static struct {
	struct store store;
	struct file file[STORE_FILES];
	struct store_io *io; /* that it has, until answered */
	uint64_t request;    /* its number */
	int err;
	bool done;			  /* the publication has happened */
	uint32_t matched[PLAN_FAULTS];	  /* requests that matched each fault */
	struct journal_live *live;	  /* where the next life looks */
	struct journal_live *made;	  /* of this life, until its file is published */
	struct journal_contents contents; /* of what was read */
	char note[64];
} journal;

static const char *const op_names[] = { "write", "grow", "publish" };

/* --- files ------------------------------------------------------------------- */

static void
file_grow(struct file *f, size_t size)
{
	if (size > f->room) {
		f->room = 2 * size;
		f->bytes = realloc(f->bytes, f->room);
		if (!f->bytes)
			abort();
	}
	if (size > f->size) {
		memset(f->bytes + f->size, 0, size - f->size);
		f->size = size;
	}
}

/* The request's sectors, those that rng chooses, or all of them. */
static void
write_sectors(const struct store_io *io, bool all)
{
	struct file *f = &journal.file[io->file];

	if (!io->offset)
		f->size = 0;
	else if (io->offset > f->size)
		world_fail("the journal writes at %" PRIu64 ", behind its file's end",
			   io->offset);
	file_grow(f, io->offset + io->len);
	for (size_t at = 0; at < io->len; at += SECTOR_BYTES)
		if (all || rng_chance(&world.plan.store.rng, 50))
			memcpy(f->bytes + io->offset + at, (const char *)io->buf + at,
			       SECTOR_BYTES);
}

static void
publish(void)
{
	struct file old = journal.file[STORE_CURRENT];

	journal.file[STORE_CURRENT] = journal.file[STORE_NEXT];
	journal.file[STORE_NEXT] = old;
	journal.file[STORE_NEXT].size = 0;
	journal.done = true;
}

/* --- requests ---------------------------------------------------------------- */

static int
fault_of(const struct store_io *io)
{
	int err = 0;

	if (world.healed)
		return 0;
	for (unsigned i = 0; i < world.plan.faults; i++) {
		const struct plan_fault *f = &world.plan.fault[i];

		if (!f->dropped && f->kind == FAULT_STORE_TIME && world.now_ns >= f->from_ns &&
		    world.now_ns < f->to_ns)
			err = err ? err : f->err;
		if (f->dropped || f->kind != FAULT_STORE || !(f->ops & 1u << io->op))
			continue;
		if (journal.matched[i]++ >= f->first &&
		    journal.matched[i] - f->first <= f->times)
			err = err ? err : f->err;
	}
	return err;
}

/* Until when a request that is made now is not answered; 0: it is at once. */
static uint64_t
hangs_until(void)
{
	uint64_t until = 0;

	for (unsigned i = 0; i < world.plan.faults && !world.healed; i++) {
		const struct plan_fault *f = &world.plan.fault[i];

		if (!f->dropped && f->kind == FAULT_STORE_TIME && !f->err &&
		    world.now_ns >= f->from_ns && world.now_ns < f->to_ns && f->to_ns > until)
			until = f->to_ns;
	}
	return until;
}

/* The request happens; of one that fails with -EIO nobody knows what has. */
static void
happen(void)
{
	const struct store_io *io = journal.io;
	struct rng *r = &world.plan.store.rng;

	if (io->op == STORE_PUBLISH) {
		if (!journal.done &&
		    (!journal.err || (journal.err == -EIO && rng_chance(r, 50))))
			publish();
	} else if (io->op == STORE_GROW) {
		if (!journal.err)
			file_grow(&journal.file[io->file], io->len);
	} else if (!journal.err || journal.err == -EIO) {
		write_sectors(io, !journal.err);
		if (!journal.err)
			journal.file[io->file].last = io->offset;
	}
}

static void
answer(void)
{
	struct store_io *io = journal.io;

	happen();
	trace("journal: %s is answered%s%s", op_names[io->op], journal.err ? ": " : "",
	      journal.err ? strerror(-journal.err) : "");
	if (io->op == STORE_PUBLISH && !journal.err && journal.made) {
		free(journal.live);
		journal.live = journal.made;
		journal.made = NULL;
	}
	journal.io = NULL;
	promise_written();
	io->done(io, journal.err);
}

static void
answer_event(void *arg, uint64_t request)
{
	if (journal.io && request == journal.request)
		answer();
}

/* Some time before its answer, when the live changes are still the old ones. */
static void
publish_event(void *arg, uint64_t request)
{
	if (journal.io && request == journal.request && !journal.err && !journal.done) {
		trace("journal: is published");
		publish();
	}
}

static void
store_submit(struct store *store, struct store_io *io)
{
	const struct plan_store *p = &world.plan.store;
	struct rng *r = &world.plan.store.rng;
	uint64_t done_ns = world.now_ns + p->latency_ns + rng_below(r, p->spread_ns);

	world_may_crash();
	if (journal.io)
		world_fail("the journal has two requests with its store");
	if (io->op == STORE_WRITE && (io->offset % SECTOR_BYTES || io->len % SECTOR_BYTES))
		world_fail("the journal writes half a sector");
	journal.io = io;
	journal.request++;
	journal.err = fault_of(io);
	journal.done = false;
	world.store_writes += io->op == STORE_WRITE && io->file == STORE_CURRENT;
	trace("journal: %s of the %s file [%" PRIu64 ",+%zu)%s", op_names[io->op],
	      io->file == STORE_CURRENT ? "current" : "next", io->offset, io->len,
	      journal.err ? ", will fail" : "");
	if (hangs_until()) {
		trace("journal: does not answer");
		if (hangs_until() != FOREVER)
			world_at(hangs_until(), answer_event, NULL, journal.request);
		return;
	}
	if (rng_chance(r, p->at_once)) {
		answer();
		return;
	}
	if (io->op == STORE_PUBLISH)
		world_at(rng_range(r, world.now_ns, done_ns), publish_event, NULL,
			 journal.request);
	world_at(done_ns, answer_event, NULL, journal.request);
}

void
journal_heal(void)
{
	if (journal.io)
		world_at(world.now_ns, answer_event, NULL, journal.request);
}

/* --- opening ----------------------------------------------------------------- */

static size_t
write_note(void *ctx, char *buf, size_t size)
{
	const struct migration *m = &world.m;

	return (size_t)snprintf(buf, size, "%d %d %d %d", migration_recorded_state(m),
				m->strategy, m->auto_complete, m->paused);
}

/* What is there: the map, and in config what the note says. The file itself stays. */
static struct validity *
read_file(const struct journal_live *live, struct journal_contents *c)
{
	struct validity *map = NULL;
	char why[256];
	int err =
		journal_read(journal.file[STORE_CURRENT].bytes,
			     journal.file[STORE_CURRENT].size, live, c, &map, why, sizeof(why));

	if (err)
		world_fail("the journal cannot be read: %s (%s)", why, strerror(-err));
	return map;
}

struct validity *
journal_stable_map(void)
{
	struct journal_contents c;

	return read_file(NULL, &c);
}

bool
journal_reopen(struct migration_config *config)
{
	struct journal_contents *c = &journal.contents;
	int state, strategy, auto_complete, paused;

	config->map = read_file(journal.live, c);
	if (c->note_len >= sizeof(journal.note))
		world_fail("the note has %zu bytes", c->note_len);
	memcpy(journal.note, c->note, c->note_len);
	journal.note[c->note_len] = '\0';
	if (sscanf(journal.note, "%d %d %d %d", &state, &strategy, &auto_complete, &paused) !=
	    4)
		world_fail("the note says \"%s\"", journal.note);
	config->state = (enum migration_state)state;
	config->strategy = (enum strategy)strategy;
	config->auto_complete = auto_complete;
	config->paused = paused;
	trace("journal: epoch %" PRIu64 ", %" PRIu64 " bytes used%s%s, %" PRIu64
	      " regions in doubt",
	      c->epoch, c->used, c->torn ? ", torn" : "", c->live ? ", live" : "", c->intents);
	return c->live;
}

/* A journal for the next life; the live changes of the one before stay meanwhile. */
struct journal *
journal_make(void)
{
	struct journal_config config = {
		.store = &journal.store,
		.epoch = journal.contents.epoch,
		.head = head,
		.head_len = sizeof(head),
		.log_bytes = world.plan.log_bytes,
		.note = write_note,
	};
	struct journal *j;

	memcpy(config.uuid, uuid, sizeof(uuid));
	journal.made = calloc(1, journal_live_bytes(world.plan.live_entries));
	if (!journal.made)
		abort();
	journal.made->entries = world.plan.live_entries;
	config.live = journal.made;
	config.old = journal.contents.live ? journal.live : NULL;
	j = journal_create(&config, world.plan.sectors);
	if (!j)
		abort();
	return j;
}

/* --- crashes ----------------------------------------------------------------- */

/* Whoever reads the file finds the live changes that go with it, whatever name they have. */
static uint64_t
file_epoch(void)
{
	struct journal_contents c;

	validity_destroy(read_file(NULL, &c));
	return c.epoch;
}

bool
journal_owed(void)
{
	return journal.contents.owed;
}

bool
journal_began(void)
{
	return !journal.made;
}

void
journal_crash(enum crash_kind kind)
{
	struct rng *r = &world.plan.store.rng;
	struct store_io *io = journal.io;

	if (io) {
		if (io->op != STORE_WRITE || (kind == CRASH_KILL && rng_chance(r, 50))) {
			if (rng_chance(r, 50))
				happen();
		} else {
			write_sectors(io, false);
		}
	}
	journal.io = NULL;
	if (kind == CRASH_KILL && journal.made && journal.made->epoch == file_epoch()) {
		free(journal.live);
		journal.live = journal.made;
	} else {
		free(journal.made);
	}
	journal.made = NULL;
	/* Those of an older file may be found there still, and are none of this one's. */
	if (kind == CRASH_POWER && journal.live && journal.live->epoch == file_epoch()) {
		free(journal.live);
		journal.live = NULL;
	}
}

/*
 * A bit that changes in what had been synced is noticed if anything has been synced
 * since, unless nobody looks at it.
 */
void
journal_check_damage(void)
{
	struct file *f = &journal.file[STORE_CURRENT];
	struct rng *r = &world.plan.store.rng;
	struct journal_contents was, is;
	struct validity *map = NULL;
	char why[256];
	uint8_t bit = (uint8_t)(1u << rng_below(r, 8));
	size_t at;
	int err;

	if (!f->last)
		return;
	at = rng_below(r, f->last);
	validity_destroy(read_file(NULL, &was));
	f->bytes[at] ^= bit;
	err = journal_read(f->bytes, f->size, NULL, &is, &map, why, sizeof(why));
	if (map)
		validity_destroy(map);
	f->bytes[at] ^= bit;
	if (err ? err != -EUCLEAN && at >= SECTOR_BYTES
		: is.used != was.used || is.position != was.position)
		world_fail("a bit changes at %zu of the journal, and reading it says %d", at,
			   err);
}

/* --- the beginning ----------------------------------------------------------- */

/* A file of a migration that is resumed: with the map as it is. */
static void
put_map(const struct validity *map)
{
	const struct record_chain chain = { .epoch = 1 };
	struct record_buf b = { .size = 65536, .bytes = malloc(65536) };
	uint64_t run;

	if (!b.bytes)
		abort();
	record_start(&b, &chain);
	record_head(&b, uuid, world.plan.sectors, head, sizeof(head));
	record_begin(&b, RECORD_NOTE);
	record_put(&b, journal.note, strlen(journal.note));
	record_end(&b);
	record_begin(&b, RECORD_MAP);
	record_put64(&b, 0);
	for (uint64_t s = 0; s < world.plan.sectors; s += run) {
		side_mask sides = validity_get(map, s, world.plan.sectors - s, &run);

		record_put32(&b, (uint32_t)run << 2 | sides);
	}
	record_end(&b);
	record_begin(&b, RECORD_MAP_END);
	record_put64(&b, 0);
	record_end(&b);
	record_finish(&b);
	file_grow(&journal.file[STORE_CURRENT], b.len);
	memcpy(journal.file[STORE_CURRENT].bytes, b.bytes, b.len);
	free(b.bytes);
}

void
journal_begin(const struct validity *map)
{
	const struct plan *p = &world.plan;
	struct file *f = &journal.file[STORE_CURRENT];

	for (enum store_file i = STORE_CURRENT; i < STORE_FILES; i++)
		journal.file[i].size = journal.file[i].last = 0;
	free(journal.live);
	free(journal.made);
	journal.live = journal.made = NULL;
	journal.io = NULL;
	journal.store.submit = store_submit;
	memset(journal.matched, 0, sizeof(journal.matched));
	snprintf(journal.note, sizeof(journal.note), "%d %d %d %d", p->state, p->strategy,
		 p->auto_complete, p->paused);
	if (p->resumed) {
		put_map(map);
	} else {
		size_t size;
		void *bytes = journal_new(uuid, p->sectors, head, sizeof(head), journal.note,
					  strlen(journal.note), &size);

		if (!bytes)
			abort();
		file_grow(f, size);
		memcpy(f->bytes, bytes, size);
		free(bytes);
	}
	validity_destroy(read_file(NULL, &journal.contents));
}

void
journal_free(void)
{
	free(journal.live);
	free(journal.made);
	journal.live = journal.made = NULL;
}
