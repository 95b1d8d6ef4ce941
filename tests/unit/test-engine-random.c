/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random schedules: a guest that reads, writes and flushes, an operator who
 * changes his mind, disks that answer in any order, and fail, fill up or stall.
 * Checked all along, against the history of every sector:
 *
 *  - a read returns the last write acknowledged before it was issued, or one that
 *    overlaps it in time; after a write that failed for the guest, also the old
 *    data, or junk; never anything else;
 *  - once nothing is being written all reads agree;
 *  - when a flush has succeeded, a side holds stably, for every sector, at least the
 *    last write acknowledged before that flush; what an earlier flush failed to make
 *    stable is excused, for the guest was told;
 *  - when the migration has ended, the disk that is left holds stably all that the
 *    guest has successfully flushed;
 *  - a guest whose writes all reach the source never sees the destination's errors.
 *
 * SEED=n FAULTS=name runs that seed alone, TRACE=1 tells what happens in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

#define SECTORS	  (4 * CHUNK + 37)
#define STEPS	  1500
#define IN_FLIGHT 12
#define DRAWN	  4096 /* events in a schedule, at most */

/* What may go wrong, and on which sides. */
struct faults {
	const char *name;
	side_mask sides;
	unsigned percent; /* of the answers of these sides */
	bool no_space;
	bool stalls;
};

static const struct faults no_faults = { .name = "none" };

struct write {
	unsigned v;
	uint64_t issued, ended; /* moments; ended 0: in flight */
	bool failed;
	bool must_fail; /* its junk has been read while it was in flight */
	bool excused;	/* a flush failed since: it need not be stable */
};

struct history {
	struct write *writes;
	unsigned count;
};

struct schedule {
	struct world *w;
	const struct faults *faults;
	uint64_t state; /* of the random numbers */
	uint64_t moment;
	unsigned version;
	unsigned in_flight;
	unsigned flushes;      /* ... of these */
	uint64_t flushed;      /* the moment of issue of the last good flush */
	bool source_takes_all; /* only rows whose writes all reach the source were used */
	struct history history[SECTORS];
	uint64_t issued[DRAWN]; /* of w->requests, by number */
};

/* request_done() knows the world alone. */
static struct schedule *current;

static uint64_t
draw(struct schedule *s, uint64_t n)
{
	uint64_t z = s->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % n;
}

static bool
chance(struct schedule *s, unsigned percent)
{
	return draw(s, 100) < percent;
}

static void
trace(const struct schedule *s, const char *what, enum disk_op op, uint64_t sector,
      uint32_t count, unsigned v, int err)
{
	static const char *const ops[] = { "read", "write", "zero", "flush", "status" };

	if (getenv("TRACE"))
		print_message("%lu: %s %s of %lu + %u, version %x: %d\n", s->moment, what,
			      ops[op], sector, count, v, err);
}

/* --- the history ---------------------------------------------------------- */

static void
history_add(struct history *h, struct write w)
{
	h->writes = realloc(h->writes, (h->count + 1) * sizeof(*h->writes));
	h->writes[h->count++] = w;
}

/* What has been written so far need not be stable. */
static void
excuse(struct history *h)
{
	for (unsigned i = 0; i < h->count; i++)
		h->writes[i].excused = true;
}

static void
excuse_all(struct schedule *s)
{
	for (uint64_t sector = 0; sector < SECTORS; sector++)
		excuse(&s->history[sector]);
}

/* The moment of issue of the last good write that ended before that moment. */
static uint64_t
superseded_before(const struct history *h, uint64_t moment, bool durable)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < h->count; i++) {
		const struct write *w = &h->writes[i];

		if (!w->failed && !(durable && w->excused) && w->ended && w->ended < moment &&
		    w->issued > last)
			last = w->issued;
	}
	return last;
}

/*
 * Whether a sector may hold that stamp for who asked at moment. durable: stably,
 * after a flush.
 */
static bool
history_allows(const struct history *h, uint64_t sector, uint64_t stamp, uint64_t moment,
	       bool durable)
{
	uint64_t last = superseded_before(h, moment, durable);

	for (unsigned i = 0; i < h->count; i++) {
		const struct write *w = &h->writes[i];

		if (w->ended && w->ended < last)
			continue;
		if (stamp == (w->v ? STAMP(w->v, sector) : 0))
			return true;
		if (w->failed && (durable || stamp == STAMP(JUNK, sector)))
			return true;
		if (durable && w->excused)
			return true;
	}
	return false;
}

/* A write in flight may have failed here, in one of its parts. Then it must fail. */
static bool
history_allows_junk(struct history *h)
{
	struct write *failing = NULL;
	unsigned in_flight = 0;

	for (unsigned i = 0; i < h->count; i++)
		if (!h->writes[i].ended) {
			failing = &h->writes[i];
			in_flight++;
		}
	if (in_flight == 1)
		failing->must_fail = true;
	return in_flight;
}

static void
print_history(const struct schedule *s, uint64_t sector)
{
	const struct history *h = &s->history[sector];

	for (unsigned i = h->count > 12 ? h->count - 12 : 0; i < h->count; i++)
		print_error("sector %lu: version %x issued %lu ended %lu%s%s\n", sector,
			    h->writes[i].v, h->writes[i].issued, h->writes[i].ended,
			    h->writes[i].failed ? " failed" : "",
			    h->writes[i].excused ? " excused" : "");
}

static void
check_allowed(struct schedule *s, uint64_t sector, uint64_t stamp, uint64_t moment,
	      bool durable)
{
	uint64_t run;

	if (history_allows(&s->history[sector], sector, stamp, moment, durable))
		return;
	if (stamp == STAMP(JUNK, sector) && history_allows_junk(&s->history[sector]))
		return;
	print_history(s, sector);
	print_error("moment %lu, asked at %lu: sector %lu %s version %lx; valid on %x\n",
		    s->moment, moment, sector, durable ? "is stable at" : "reads as",
		    stamp >> 32, validity_get(s->w->m.engine.map, sector, 1, &run));
	fail();
}

/* --- what must hold --------------------------------------------------------- */

/* The disks that there are: both, or the one that is left. */
static side_mask
disks_left(const struct schedule *s)
{
	if (!migration_over(&s->w->m))
		return BOTH;
	return s->w->m.state == MIGRATION_COMPLETED ? DST_BIT : SRC_BIT;
}

/* What a good flush issued at that moment promises. */
static void
check_durable(struct schedule *s, uint64_t moment)
{
	side_mask left = disks_left(s);

	for (uint64_t sector = 0; sector < SECTORS; sector++) {
		const struct history *h = &s->history[sector];
		uint64_t src = s->w->disk[SRC].stable[sector];
		uint64_t dst = s->w->disk[DST].stable[sector];
		bool dst_failed = dst == STAMP(JUNK, sector);

		if ((left & SRC_BIT) && history_allows(h, sector, src, moment, true))
			continue;
		if ((left & DST_BIT) && history_allows(h, sector, dst, moment, true))
			continue;
		check_allowed(s, sector, left == DST_BIT || dst_failed ? dst : src, moment,
			      true);
	}
}

static void
read_answered(struct schedule *s, const struct request *r, uint64_t issued)
{
	for (uint32_t i = 0; i < r->g.count; i++)
		check_allowed(s, r->g.sector + i, r->buf[i * SECTOR_WORDS], issued, false);
}

static void
write_answered(struct schedule *s, const struct request *r, uint64_t issued)
{
	for (uint32_t i = 0; i < r->g.count; i++) {
		struct history *h = &s->history[r->g.sector + i];

		for (unsigned k = 0; k < h->count; k++)
			if (h->writes[k].issued == issued) {
				h->writes[k].ended = s->moment;
				h->writes[k].failed = r->err;
				assert_true(r->err || !h->writes[k].must_fail);
			}
	}
}

static void
flush_answered(struct schedule *s, const struct request *r, uint64_t issued)
{
	s->flushes--;
	if (!r->err) {
		check_durable(s, issued);
		if (issued > s->flushed)
			s->flushed = issued;
		return;
	}
	excuse_all(s);
}

/* Whether the guest may be told of an error. */
static bool
may_fail(const struct schedule *s)
{
	bool source_serves = s->source_takes_all && s->w->m.state != MIGRATION_COMPLETED;

	return s->faults->percent && ((s->faults->sides & SRC_BIT) || !source_serves);
}

static void
request_answered(struct request *r)
{
	struct schedule *s = current;
	unsigned n = 0;

	while (s->w->requests[n] != r)
		n++;
	s->moment++;
	trace(s, "guest gets", r->g.op, r->g.sector, r->g.count, r->v, r->err);
	s->in_flight--;
	if (r->err && !may_fail(s)) {
		print_error("request %u (op %d) answered with %d\n", n, r->g.op, r->err);
		fail();
	}
	if (r->g.op == DISK_FLUSH)
		flush_answered(s, r, s->issued[n]);
	else if (r->g.op != DISK_READ)
		write_answered(s, r, s->issued[n]);
	else if (!r->err)
		read_answered(s, r, s->issued[n]);
}

/* --- who acts ----------------------------------------------------------------- */

static void
guest_acts(struct schedule *s)
{
	static const enum disk_op ops[] = { DISK_WRITE, DISK_WRITE, DISK_WRITE,
					    DISK_WRITE, DISK_READ,  DISK_READ,
					    DISK_READ,	DISK_ZERO,  DISK_FLUSH };
	enum disk_op op = ops[draw(s, sizeof(ops) / sizeof(*ops))];
	uint64_t sector = draw(s, chance(s, 50) ? 40 : SECTORS);
	uint32_t count = 1 + (uint32_t)draw(s, chance(s, 80) ? 20 : 2 * CHUNK);
	struct request *r;

	s->flushes += op == DISK_FLUSH;
	if (op == DISK_FLUSH)
		sector = count = 0;
	else if (count > SECTORS - sector)
		count = (uint32_t)(SECTORS - sector);
	r = guest_request(s->w, op, sector, count, op == DISK_WRITE ? ++s->version : 0);
	r->g.no_hole = chance(s, 50);
	s->issued[s->w->request_count - 1] = ++s->moment;
	s->in_flight++;
	for (uint32_t i = 0; (op == DISK_WRITE || op == DISK_ZERO) && i < count; i++)
		history_add(&s->history[sector + i],
			    (struct write){ .v = r->v, .issued = s->moment });
	trace(s, "guest sends", op, sector, count, r->v, 0);
	guest_send(r);
}

static int
draw_error(struct schedule *s, enum side side)
{
	if (!(s->faults->sides & side_bit(side)) || !chance(s, s->faults->percent))
		return 0;
	return s->faults->no_space && side == DST && chance(s, 60) ? -ENOSPC : -EIO;
}

/*
 * A medium that loses what was stable, under a write that has not reached the other
 * side, while a flush is under way: more than a flush can promise anything about.
 */
static void
write_failed(struct schedule *s, const struct disk_io *io)
{
	for (uint64_t i = io->sector; s->flushes && i < io->sector + io->count; i++)
		excuse(&s->history[i]);
}

static void
a_disk_answers(struct schedule *s)
{
	enum side side = chance(s, 50) ? SRC : DST;
	unsigned n = outstanding(s->w, side);
	struct disk_io *io;
	int err;

	if (!n)
		return;
	n = (unsigned)draw(s, n);
	list_for_each_entry(io, &s->w->disk[side].outstanding, link)
		if (!n--)
			break;
	err = draw_error(s, side);
	trace(s, side == SRC ? "source answers" : "destination answers", io->op, io->sector,
	      io->count, 0, err);
	if (err && (io->op == DISK_WRITE || io->op == DISK_ZERO))
		write_failed(s, io);
	fake_complete(io, err);
}

static void
set_strategy(struct schedule *s, enum strategy strategy)
{
	if (strategy == STRATEGY_LR || strategy == STRATEGY_SLR)
		s->source_takes_all = false;
	migration_set_strategy(&s->w->m, strategy);
}

static void
operator_acts(struct schedule *s)
{
	struct migration *m = &s->w->m;

	switch (draw(s, 16)) {
	case 0:
	case 1:
	case 2:
		migration_pause(m);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		migration_resume(m);
		break;
	case 9:
	case 10:
		/* Half of the schedules keep to rows of which the source takes all. */
		if (!s->source_takes_all || m->strategy == STRATEGY_LR)
			set_strategy(s, (enum strategy)draw(s, STRATEGIES));
		else
			set_strategy(s, STRATEGY_AIO + (enum strategy)draw(s, 3));
		break;
	case 11:
		migration_set_threshold(m, (uint32_t)draw(s, 4));
		break;
	case 12:
		migration_set_rate(m, draw(s, 3) * 4 * CHUNK * SECTOR_BYTES);
		break;
	case 13:
		migration_set_depth(m, 1 + (unsigned)draw(s, 4));
		break;
	case 14:
		if (chance(s, 10))
			migration_complete(m);
		break;
	case 15:
		if (chance(s, 10))
			migration_cancel(m);
		break;
	}
}

static void
step(struct schedule *s)
{
	uint64_t event = draw(s, 100);

	if (event < 55)
		a_disk_answers(s);
	else if (event < 90 && s->in_flight < IN_FLIGHT)
		guest_acts(s);
	else if (event < 95)
		operator_acts(s);
	else
		pass_time(s->w, draw(s, s->faults->stalls && chance(s, 10) ? 12 * SECOND
									   : SECOND / 10));
}

/* --- the end -------------------------------------------------------------------- */

/* From now on the disks answer, and well. */
static void
calm_down(struct schedule *s)
{
	for (int i = 0; i < 20; i++) {
		settle(s->w);
		pass_time(s->w, SECOND);
		migration_resume(&s->w->m);
	}
	assert_int_equal(s->in_flight, 0);
}

static void
check_reads_agree(struct schedule *s)
{
	struct request *reads[2];

	for (int i = 0; i < 2; i++) {
		s->in_flight++;
		reads[i] = guest_request(s->w, DISK_READ, 0, SECTORS, 0);
		s->issued[s->w->request_count - 1] = ++s->moment;
		guest_send(reads[i]);
		settle(s->w);
	}
	assert_memory_equal(reads[0]->buf, reads[1]->buf, SECTORS * SECTOR_BYTES);
}

static void
check_ended(struct schedule *s)
{
	struct migration *m = &s->w->m;

	if (!migration_over(m)) {
		if (m->state != MIGRATION_ROLLING_BACK && chance(s, 50))
			migration_complete(m);
		else
			migration_cancel(m);
		calm_down(s);
	}
	assert_true(migration_over(m));
	assert_int_equal(s->w->ended, 1);
	check_reads_agree(s);
}

static void
ended_durably(void *ctx)
{
	struct world *w = ctx;

	w->ended++;
	if (w->m.engine.flush_err)
		excuse_all(current); /* the guest's next flush says so */
	check_durable(current, current->flushed);
}

static void
run_schedule(uint64_t seed, const struct faults *faults)
{
	struct schedule *s = calloc(1, sizeof(*s));
	struct world_config config = { .sectors = SECTORS, .depth = 2, .running = true };

	print_message("# seed %lu, faults %s\n", seed, faults->name);
	current = s;
	s->state = seed;
	s->faults = faults;
	s->version = 100;
	s->moment = 10;
	s->source_takes_all = chance(s, 50);
	config.strategy = s->source_takes_all ? STRATEGY_AIO + (enum strategy)draw(s, 3)
					      : (enum strategy)draw(s, STRATEGIES);
	config.chunks = s->source_takes_all ? "SBSBS" : "SBDBS";
	config.threshold = 1 + (uint32_t)draw(s, 4);
	config.tells_zeroes = chance(s, 50);
	s->w = world_begin(&config);
	s->w->answered = request_answered;
	s->w->m.ended = ended_durably;
	for (uint64_t i = 0; i < SECTORS; i++)
		history_add(&s->history[i],
			    (struct write){ .v = s->w->expected[i], .ended = 1 });

	for (int i = 0; i < STEPS; i++)
		step(s);
	calm_down(s);
	check_reads_agree(s);
	check_ended(s);

	s->w->answered = NULL;
	for (uint64_t i = 0; i < SECTORS; i++)
		s->w->expected[i] = ANYTHING;
	world_end(s->w);
	for (uint64_t i = 0; i < SECTORS; i++)
		free(s->history[i].writes);
	free(s);
}

static void
run_schedules(const struct faults *faults)
{
	const char *alone = getenv("SEED"), *name = getenv("FAULTS");

	if (name && strcmp(name, faults->name))
		skip();
	if (alone)
		run_schedule(strtoull(alone, NULL, 10), faults);
	for (uint64_t seed = 1; !alone && seed <= 150; seed++)
		run_schedule(seed, faults);
}

static void
test_any_order_of_events(void **state)
{
	run_schedules(&no_faults);
}

static void
test_any_order_of_events_on_a_destination_that_fails(void **state)
{
	run_schedules(&(struct faults){ "destination", DST_BIT, 10, false, false });
}

static void
test_any_order_of_events_on_disks_that_fail(void **state)
{
	run_schedules(&(struct faults){ "both", BOTH, 5, false, false });
}

static void
test_any_order_of_events_on_a_destination_that_fills_up(void **state)
{
	run_schedules(&(struct faults){ "no-space", DST_BIT, 10, true, false });
}

static void
test_any_order_of_events_on_disks_that_stall(void **state)
{
	run_schedules(&(struct faults){ "stalls", BOTH, 0, false, true });
}

static void
test_any_order_of_events_on_disks_that_do_all_of_that(void **state)
{
	run_schedules(&(struct faults){ "all", BOTH, 5, true, true });
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order_of_events),
		cmocka_unit_test(test_any_order_of_events_on_a_destination_that_fails),
		cmocka_unit_test(test_any_order_of_events_on_disks_that_fail),
		cmocka_unit_test(test_any_order_of_events_on_a_destination_that_fills_up),
		cmocka_unit_test(test_any_order_of_events_on_disks_that_stall),
		cmocka_unit_test(test_any_order_of_events_on_disks_that_do_all_of_that),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
