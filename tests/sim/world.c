/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"

#define LOAD_NS	    (40 * SECOND)  /* then what fails is mended */
#define LOAD_DBT    1000	   /* requests, of an endless guest */
#define DEADLINE_NS (300 * SECOND) /* for what must then come to an end */

#define STILL_EVENTS 50000 /* while time stands still: somebody spins */

struct world world;
const char *volatile *world_verdict;

struct event {
	uint64_t ns;
	uint64_t order; /* of those at one time, first come first served */
	event_fn *fn;
	void *arg;
	uint64_t n;
};

/* A heap, the earliest first. */
static struct {
	struct event *at;
	size_t count, room;
	uint64_t order;
} queue;

static uint64_t phase_ns; /* when the phase began */

void
world_log(const char *format, ...)
{
	va_list args;

	printf("%6" PRIu64 " %12.6f  ", world.events, (double)world.now_ns / SECOND);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void
world_fail(const char *format, ...)
{
	va_list args;

	*world_verdict = format;
	printf("# seed %" PRIu64 " event %" PRIu64 ": ", world.plan.seed, world.events);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	_exit(EXIT_VIOLATION);
}

/* --- events ------------------------------------------------------------------ */

static bool
before(const struct event *a, const struct event *b)
{
	return a->ns != b->ns ? a->ns < b->ns : a->order < b->order;
}

void
world_at(uint64_t ns, event_fn *fn, void *arg, uint64_t n)
{
	struct event event = { ns, queue.order++, fn, arg, n };
	size_t i = queue.count++;

	if (queue.count > queue.room) {
		queue.room = queue.room ? queue.room * 2 : 1024;
		queue.at = realloc(queue.at, queue.room * sizeof(*queue.at));
		if (!queue.at)
			abort();
	}
	for (; i && before(&event, &queue.at[(i - 1) / 2]); i = (i - 1) / 2)
		queue.at[i] = queue.at[(i - 1) / 2];
	queue.at[i] = event;
}

static struct event
event_take(void)
{
	struct event first = queue.at[0], last = queue.at[--queue.count];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < queue.count) {
		if (child + 1 < queue.count && before(&queue.at[child + 1], &queue.at[child]))
			child++;
		if (!before(&queue.at[child], &last))
			break;
		queue.at[i] = queue.at[child];
		i = child;
	}
	queue.at[i] = last;
	return first;
}

/* --- the migration's host ---------------------------------------------------- */

static uint64_t
host_now_ns(void *ctx)
{
	return world.now_ns;
}

static void
wake_event(void *arg, uint64_t n)
{
	if (world.phase < PHASE_OVER)
		migration_wake(&world.m);
}

static void
host_wake_at(void *ctx, uint64_t ns)
{
	world_at(ns > world.now_ns ? ns : world.now_ns, wake_event, NULL, 0);
}

static void
host_ended(void *ctx)
{
	trace("the migration has ended: %s", migration_state_name(world.m.state));
	if (world.ended)
		world_fail("ended twice");
	world.ended = true;
	promise_end(world.m.state);
}

/* --- the host's record ------------------------------------------------------- */

static void
record_change(void)
{
	if (!world.record_pending)
		return;
	world.record_pending = false;
	world.record = world.record_asked;
	trace("record: %u is alone", world.record);
	promise_record(world.record);
}

static void
record_change_event(void *arg, uint64_t life)
{
	if (life == world.lives && world.phase < PHASE_OVER)
		record_change();
}

static void
record_answer_event(void *arg, uint64_t life)
{
	if (life != world.lives || world.phase == PHASE_OVER)
		return;
	record_change();
	migration_recorded_alone(&world.m, 0);
}

static void
record_failed_event(void *arg, uint64_t life)
{
	if (life != world.lives || world.phase == PHASE_OVER)
		return;
	trace("record: fails");
	world.record_pending = false;
	migration_recorded_alone(&world.m, -EIO);
}

static void
host_record_alone(void *ctx, side_mask side)
{
	struct rng *r = &world.plan.store.rng;
	uint64_t done_ns =
		world.now_ns + rng_below(r, rng_chance(r, 20) ? 3 * SECOND : 20 * MS);

	trace("record: %u is to be alone", side);
	if (world.record_pending)
		world_fail("the host is asked for two records");
	if (world.crash < world.plan.crashes && rng_chance(r, 20))
		world.crashing = true;
	world_may_crash();
	world.record_pending = true;
	world.record_asked = side;
	if (!world.healed && rng_chance(r, 10)) {
		world_at(done_ns, record_failed_event, NULL, world.lives);
	} else if (rng_chance(r, 10)) {
		record_change();
		migration_recorded_alone(&world.m, 0);
	} else {
		world_at(rng_range(r, world.now_ns, done_ns), record_change_event, NULL,
			 world.lives);
		world_at(done_ns, record_answer_event, NULL, world.lives);
	}
}

static void
resume_until_over(void)
{
	struct migration_status status;

	migration_get_status(&world.m, &status);
	if (status.pause != PAUSE_NONE) {
		promise_command(COMMAND_RESUME, 0);
		migration_resume(&world.m);
	}
	if (world.phase != PHASE_END || migration_over(&world.m))
		return;
	if (world.plan.ending == END_COMPLETE)
		migration_complete(&world.m);
	else if (world.plan.ending == END_CANCEL) {
		promise_command(COMMAND_CANCEL, 0);
		migration_cancel(&world.m);
	}
}

static bool ticks; /* another one is in the queue */

static void
second_event(void *arg, uint64_t n)
{
	ticks = false;
	if (world.phase == PHASE_OVER)
		return;
	migration_tick(&world.m);
	if (world.healed && world.phase < PHASE_CLOSE)
		resume_until_over();
	ticks = true;
	world_at(world.now_ns + SECOND, second_event, NULL, 0);
}

/* --- the operator ------------------------------------------------------------ */

static int
command_run(const struct plan_command *c)
{
	struct migration *m = &world.m;

	switch (c->command) {
	case COMMAND_PAUSE:
		return migration_pause(m);
	case COMMAND_RESUME:
		return migration_resume(m);
	case COMMAND_RATE:
		return migration_set_rate(m, c->argument);
	case COMMAND_THRESHOLD:
		return migration_set_threshold(m, (uint32_t)c->argument);
	case COMMAND_DEPTH:
		return migration_set_depth(m, (unsigned)c->argument);
	case COMMAND_STRATEGY:
		return migration_set_strategy(m, (enum strategy)c->argument);
	case COMMAND_AUTO:
		return migration_set_auto(m, c->argument);
	case COMMAND_COMPLETE:
		return migration_complete(m);
	case COMMAND_CANCEL:
		return migration_cancel(m);
	default:
		abort();
	}
}

static void
operator_act(void)
{
	for (unsigned i = 0; i < world.plan.commands; i++) {
		struct plan_command *c = &world.plan.command[i];
		int result;

		if (c->dropped || c->at_event != world.events || world.phase >= PHASE_END)
			continue;
		trace("operator: %s %" PRIu64, command_name(c->command), c->argument);
		promise_command(c->command, c->argument);
		result = command_run(c);
		if (result)
			trace("operator: is told %s", strerror(-result));
		if (result && result != -EBUSY && result != -EALREADY)
			world_fail("%s answers %d", command_name(c->command), result);
	}
}

/* --- from the beginning to the end ------------------------------------------- */

/* What a migration that is resumed finds: any map, and disks that agree with it. */
static void
make_contents(struct rng *r)
{
	const struct plan *p = &world.plan;
	unsigned holes = (unsigned)rng_below(r, 100);
	uint64_t run = 0;
	bool hole = false;
	side_mask sides = SRC_BIT;

	for (uint64_t s = 0; s < p->sectors; s++) {
		uint64_t tag;

		if (!run--) {
			run = rng_scale(r, 4 * p->chunk) / p->align * p->align + p->align - 1;
			hole = rng_chance(r, holes);
			if (p->resumed)
				sides = (side_mask)rng_range(r, SRC_BIT, BOTH);
		}
		tag = hole ? TAG_ZERO : tag_make(WRITER_DISK, s);
		for (enum side side = SRC; side < SIDES; side++) {
			struct sim_disk *d = &world.disk[side];

			d->tag[s] = sides & side_bit(side) ? tag : tag_make(WRITER_STALE, s);
			if (p->pristine && side == DST)
				d->tag[s] = TAG_ZERO;
			d->answered[s] = d->stable[s] = d->tag[s];
		}
		if (sides != SRC_BIT) {
			if (validity_reserve(world.map))
				abort();
			validity_set(world.map, s, 1, sides);
			validity_unreserve(world.map);
		}
		history_initial(s, tag);
	}
}

static struct migration_config
plan_config(void)
{
	const struct plan *p = &world.plan;

	return (struct migration_config){
		.disk = { &world.disk[SRC].disk, &world.disk[DST].disk },
		.writes_are_durable = p->durable,
		.strategy = p->strategy,
		.state = p->state,
		.chunk = p->chunk,
		.unit = p->unit,
		.threshold = p->threshold,
		.depth = p->depth,
		.rate = world.healed ? 0 : p->rate,
		.guest_latency = p->guest_latency,
		.align = p->align,
		.auto_complete = p->auto_complete,
		.paused = p->paused,
		.pristine = p->pristine,
		.now_ns = host_now_ns,
		.wake_at = host_wake_at,
		.ended = host_ended,
		.record_alone = p->records ? host_record_alone : NULL,
	};
}

static void
world_begin(void)
{
	const struct plan *p = &world.plan;
	struct rng r = p->rng;
	struct migration_config config;

	queue.count = queue.order = 0;
	world.now_ns = world.events = 0;
	world.phase = PHASE_LOAD;
	world.healed = world.ended = world.gone = world.crashing = world.may_crash = false;
	world.crash = 0;
	world.record = NO_SIDE;
	world.record_pending = false;
	world.lives++;
	world.store_writes = 0;
	phase_ns = 0;
	config = plan_config();
	config.map = world.map = validity_create(p->sectors, SRC_BIT);
	if (!world.map)
		abort();
	history_init();
	disk_init(SRC);
	disk_init(DST);
	make_contents(&r);
	guest_init();
	if (p->journal) {
		journal_begin(world.map);
		config.journal = journal_make();
	}
	if (migration_init(&world.m, &config))
		abort();
	promise_init();
	wait_init();
	ticks = true;
	world_at(SECOND, second_event, NULL, 0);
	migration_start(&world.m);
	guest_start(false);
}

static void
enter(enum phase phase)
{
	static const char *const names[] = {
		[PHASE_LOAD] = "load",
		[PHASE_HEAL] = "everything mended",
		[PHASE_READ] = "read all",
		[PHASE_END] = "come to an end",
		[PHASE_CHECK] = "read all, at the end",
		[PHASE_CLOSE] = "close",
		[PHASE_OVER] = "over",
	};

	trace("--- %s", names[phase]);
	world.phase = phase;
	phase_ns = world.now_ns;
	switch (phase) {
	case PHASE_HEAL:
		guest_stop();
		world.healed = true;
		disk_heal();
		if (world.plan.records)
			journal_heal();
		promise_command(COMMAND_RATE, 0);
		migration_set_rate(&world.m, 0);
		break;
	case PHASE_READ:
	case PHASE_CHECK:
		guest_read_all();
		break;
	case PHASE_END:
		guest_start(true);
		if (world.plan.ending == END_CLOSE)
			migration_stop(&world.m);
		else
			resume_until_over();
		break;
	case PHASE_CLOSE:
		migration_stop(&world.m);
		break;
	default:
		break;
	}
}

/* An endless guest goes on until the migration has completed under it. */
static bool
endless_load_over(void)
{
	if (world.now_ns > LOAD_NS)
		world_fail("the migration does not end under an endless load");
	/* Dirty block tracking need not get there. */
	return world.ended ||
	       (world.plan.strategy == STRATEGY_DBT && guest_issued() > LOAD_DBT);
}

static bool
phase_over(void)
{
	switch (world.phase) {
	case PHASE_LOAD:
		if (guest_is_endless())
			return endless_load_over();
		return guest_done() || world.now_ns > LOAD_NS;
	case PHASE_END:
		return guest_done() && (world.ended || world.plan.ending == END_CLOSE);
	case PHASE_CLOSE:
		return migration_quiet(&world.m);
	default:
		return guest_done();
	}
}

static const char *
waiting_for(void)
{
	return guest_done() ? "the migration does not end"
			    : "a request of the guest is never answered";
}

/* --- crashes ----------------------------------------------------------------- */

void
world_may_crash(void)
{
	if (world.crashing && world.may_crash)
		longjmp(world.crashed, 1);
}

/* Whoever opens the journal finds the record, and serves from that side alone. */
static void
reopen_alone(void)
{
	trace("by the record %u is alone", world.record);
	validity_set(world.map, 0, world.plan.sectors, world.record);
	promise_recovered(world.map);
	validity_destroy(world.map);
	world.gone = true;
	world.phase = PHASE_OVER;
}

static void
crash(enum crash_kind kind)
{
	struct migration_config config = plan_config();
	bool began = journal_began();

	trace("--- %s", kind == CRASH_POWER ? "power fails" : "the process is killed");
	world.crashing = false;
	promise_crash(kind);
	for (enum side s = SRC; s < SIDES; s++)
		disk_crash(s, kind);
	journal_crash(kind);
	guest_crash(kind);
	journal_check_damage();
	if (world.record_pending && rng_chance(&world.plan.store.rng, 50))
		world.record = world.record_asked;
	world.record_pending = false;
	world.lives++;
	if (journal_reopen(&config) && began && !world.ended && !world.record)
		promise_survives(world.map, config.map);
	world.map = config.map;
	if (world.record) {
		reopen_alone();
		return;
	}
	if (config.state == MIGRATION_COMPLETED || config.state == MIGRATION_CANCELLED) {
		trace("it had ended: %s", migration_state_name(config.state));
		validity_set(world.map, 0, world.plan.sectors,
			     config.state == MIGRATION_COMPLETED ? DST_BIT : SRC_BIT);
		promise_recovered(world.map);
		validity_destroy(world.map);
		world.gone = true;
		world.phase = PHASE_OVER;
		return;
	}
	if (world.ended)
		world_fail("it had ended, and the journal says %s",
			   migration_state_name(config.state));
	promise_recovered(world.map);
	if (config.state != MIGRATION_ROLLING_BACK)
		config.state = MIGRATION_COPYING;
	config.pristine = false;
	config.stable = kind == CRASH_POWER;
	config.owed = journal_owed();
	config.journal = journal_make();
	promise_reopen(&config);
	if (migration_init(&world.m, &config))
		abort();
	migration_start(&world.m);
	if (!ticks) {
		ticks = true;
		world_at(world.now_ns + SECOND, second_event, NULL, 0);
	}
	if (world.phase == PHASE_END && world.plan.ending == END_CLOSE)
		migration_stop(&world.m);
}

static void
crash_if_due(void)
{
	const struct plan *p = &world.plan;

	while (world.crash < p->crashes && world.phase < PHASE_CLOSE) {
		const struct plan_crash *c = &p->crash[world.crash];

		if (c->at_event > world.events)
			return;
		if (!c->dropped) {
			if (c->inside) {
				world.crashing = true;
				return;
			}
			crash(c->kind);
		}
		world.crash++;
	}
}

void
world_run(void)
{
	volatile unsigned still = 0;

	world_begin();
	if (setjmp(world.crashed)) {
		world.may_crash = false;
		crash(world.plan.crash[world.crash++].kind);
	}
	while (world.phase != PHASE_OVER) {
		crash_if_due();
		if (world.phase == PHASE_OVER)
			break;
		if (!queue.count)
			abort();
		struct event event = event_take();

		if (event.ns > world.now_ns)
			still = 0;
		else if ((still = still + 1) > STILL_EVENTS)
			world_fail("it spins");
		world.now_ns = event.ns;
		world.events++;
		if (world.plan.gap) /* whatever it learns */
			world.m.copier.gaps.worth = (double)world.plan.gap * SECTOR_BYTES;
		world.may_crash = true;
		event.fn(event.arg, event.n);
		operator_act();
		world.may_crash = false;
		promise_event();
		wait_event();
		while (world.phase != PHASE_OVER && phase_over())
			enter(world.phase + 1);
		if (world.phase > PHASE_LOAD && world.now_ns - phase_ns > DEADLINE_NS)
			world_fail("%s (%s)", waiting_for(),
				   migration_state_name(world.m.state));
	}
	history_check_linear();
	if (!world.gone)
		promise_close();
	/* What is left in the queue concerns nobody any more, but returns its memory. */
	while (queue.count) {
		struct event event = event_take();

		event.fn(event.arg, event.n);
	}
	if (!world.gone)
		migration_release(&world.m);
	journal_free();
}
