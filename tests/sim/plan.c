/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "plan.h"

#define OP(op) (1u << (op))

static uint32_t
aligned(const struct plan *p, uint64_t sectors)
{
	return (uint32_t)(sectors / p->align * p->align);
}

static void
plan_disks(struct plan *p, struct rng *r)
{
	for (enum side s = SRC; s < SIDES; s++) {
		struct plan_disk *d = &p->disk[s];

		*d = (struct plan_disk){
			.latency_ns = rng_scale(r, 10 * MS),
			.spread_ns = rng_scale(r, 20 * MS),
			.sector_ns = rng_scale(r, MS / 20),
			.at_once = rng_chance(r, 30) ? (unsigned)rng_below(r, 60) : 0,
			.tears = (unsigned)rng_range(r, 1, 4),
			.knows_holes = rng_chance(r, 50),
			.rng = { rng_next(r) },
		};
	}
	if (rng_chance(r, 30))
		p->disk[DST].extra = aligned(p, rng_below(r, 64));
}

/* Where a request lies: anywhere, on a hot spot, or after the one before. */
static void
place_request(const struct plan *p, struct rng *r, struct plan_request *q, uint32_t hot,
	      uint32_t next)
{
	uint32_t longest = p->sectors < REQUEST_MAX ? p->sectors : REQUEST_MAX;
	uint64_t where = rng_below(r, 100);
	uint32_t count = (uint32_t)rng_scale(r, longest);

	if (where < 45)
		count = (uint32_t)rng_scale(r, p->chunk < longest ? p->chunk : longest);
	q->count = aligned(p, count);
	if (!q->count)
		q->count = p->align;
	if (where < 30)
		q->sector = aligned(p, rng_below(r, p->sectors));
	else if (where < 80)
		q->sector = aligned(p, hot + rng_below(r, p->chunk));
	else
		q->sector = next;
	if (q->sector >= p->sectors)
		q->sector = 0;
	if (q->count > p->sectors - q->sector)
		q->count = p->sectors - q->sector;
}

static void
plan_requests(struct plan *p, struct rng *r)
{
	unsigned writes = (unsigned)rng_range(r, 20, 90), zeroes = (unsigned)rng_below(r, 20);
	unsigned flushes = (unsigned)rng_below(r, 10);
	uint64_t think_ns = rng_scale(r, 20 * MS);
	uint32_t hot = 0, next = 0;

	p->requests = (unsigned)rng_scale(r, PLAN_REQUESTS);
	for (unsigned i = 0; i < p->requests; i++) {
		struct plan_request *q = &p->request[i];

		*q = (struct plan_request){ .op = DISK_READ };
		if (!rng_below(r, 24))
			hot = aligned(p, rng_below(r, p->sectors));
		if (rng_chance(r, 60))
			q->think_ns = rng_below(r, think_ns);
		if (rng_chance(r, flushes)) {
			q->op = DISK_FLUSH;
			continue;
		}
		if (rng_chance(r, writes))
			q->op = rng_chance(r, zeroes) ? DISK_ZERO : DISK_WRITE;
		place_request(p, r, q, hot, next);
		next = q->sector + q->count;
	}
}

/*
 * Where gaps are copied again (by dirty block tracking), what is between them is often
 * short, and close together.
 */
static void
plan_gaps(struct plan *p, struct rng *r)
{
	uint32_t span = p->sectors < 128 ? p->sectors : 128;

	p->gap = rng_chance(r, 60) ? (uint32_t)rng_scale(r, 64) : 0;
	if (!p->gap || p->strategy != STRATEGY_DBT)
		return;
	for (unsigned i = 0; i < p->requests; i++) {
		struct plan_request *q = &p->request[i];

		if (q->op == DISK_FLUSH || rng_chance(r, 20))
			continue;
		q->sector = aligned(p, q->sector % span);
		q->count = p->align * (uint32_t)rng_range(r, 1, 3);
		if (q->count > p->sectors - q->sector)
			q->count = p->sectors - q->sector;
	}
}

static void
plan_stall(struct rng *r, struct plan_fault *f)
{
	f->kind = FAULT_STALL;
	f->from_ns = rng_scale(r, 2 * SECOND);
	f->to_ns = rng_chance(r, 25) ? FOREVER : f->from_ns + rng_scale(r, 30 * SECOND);
}

static void
plan_faults(struct plan *p, struct rng *r)
{
	static const unsigned ops[] = {
		OP(DISK_READ),	OP(DISK_WRITE) | OP(DISK_ZERO),
		OP(DISK_FLUSH), OP(DISK_READ) | OP(DISK_WRITE) | OP(DISK_ZERO) | OP(DISK_FLUSH),
		OP(DISK_ZERO),	OP(DISK_STATUS),
	};

	p->faults = rng_chance(r, 50) ? 0 : (unsigned)rng_range(r, 1, PLAN_FAULTS);
	for (unsigned i = 0; i < p->faults; i++) {
		struct plan_fault *f = &p->fault[i];

		*f = (struct plan_fault){
			.side = rng_chance(r, 50) ? SRC : DST,
			.ops = ops[rng_below(r, sizeof(ops) / sizeof(ops[0]))],
			.count = p->sectors,
			.first = (uint32_t)rng_scale(r, 100) - 1,
			.times = (uint32_t)(rng_chance(r, 50) ? 1 : rng_scale(r, 40)),
			.err = -EIO,
		};
		if (rng_chance(r, 10))
			f->times = UINT32_MAX;
		if (f->ops & OP(DISK_FLUSH))
			f->first /= 8;
		if (rng_chance(r, 30)) {
			f->sector = (uint32_t)rng_below(r, p->sectors);
			f->count = (uint32_t)rng_scale(r, p->sectors);
		}
		if (f->side == DST && (f->ops & OP(DISK_WRITE)) && rng_chance(r, 40))
			f->err = -ENOSPC;
		if (rng_chance(r, 15))
			plan_stall(r, f);
	}
}

static void
plan_commands(struct plan *p, struct rng *r)
{
	p->commands = rng_chance(r, 40) ? 0 : (unsigned)rng_scale(r, PLAN_COMMANDS);
	for (unsigned i = 0; i < p->commands; i++) {
		struct plan_command *c = &p->command[i];

		*c = (struct plan_command){
			.command = (enum command)rng_below(r, COMMANDS),
			.at_event = rng_scale(r, 6000),
		};
		switch (c->command) {
		case COMMAND_RATE:
			c->argument = rng_chance(r, 50) ? 0 : rng_scale(r, 100u << 20);
			break;
		case COMMAND_THRESHOLD:
			c->argument = rng_scale(r, 64) - 1;
			break;
		case COMMAND_DEPTH:
			c->argument = rng_scale(r, COPIER_MAX_DEPTH);
			break;
		case COMMAND_STRATEGY:
			c->argument = rng_below(r, STRATEGIES);
			break;
		case COMMAND_AUTO:
			c->argument = rng_below(r, 2);
			break;
		default:
			break;
		}
	}
}

/*
 * Who recovers from a silence answers what it owes little by little, and a guest
 * that takes its time, and keeps to one spot, is still there to see it.
 */
static void
plan_recoveries(struct plan *p, struct rng *r)
{
	enum side silent = SRC;

	for (unsigned i = 0; i < p->faults; i++)
		if (p->fault[i].kind == FAULT_STALL) {
			p->fault[i].drain_ns = rng_below(r, 5 * SECOND);
			silent = p->fault[i].side;
		}
	if (!plan_stalls(p) || rng_chance(r, 50))
		return;
	for (unsigned i = 0; i < p->faults; i++)
		if (p->fault[i].kind == FAULT_ERROR && rng_chance(r, 50)) {
			p->fault[i].side = side_other(silent);
			p->fault[i].ops = OP(DISK_WRITE) | OP(DISK_ZERO);
			p->fault[i].times = UINT32_MAX;
		}
	for (unsigned i = 0; i < p->requests; i++) {
		p->request[i].think_ns = rng_below(r, SECOND / 4);
		if (rng_chance(r, 70))
			p->request[i].sector %= p->chunk;
	}
}

/* One side fails flushes, the other one writes, under a guest that flushes often. */
static void
plan_flushes(struct plan *p, struct rng *r)
{
	enum side side = rng_chance(r, 50) ? SRC : DST;

	if (!p->faults || rng_chance(r, 80))
		return;
	for (unsigned i = 0; i < p->faults; i++) {
		struct plan_fault *f = &p->fault[i];

		f->side = i % 2 ? side_other(side) : side;
		if (f->kind == FAULT_ERROR)
			f->ops = i % 2 ? OP(DISK_WRITE) | OP(DISK_ZERO) : OP(DISK_FLUSH);
		f->err = -EIO;
		f->first = (uint32_t)rng_below(r, 30);
		f->times = 1 + (uint32_t)rng_below(r, 30);
	}
	for (unsigned i = 0; i < p->requests; i++)
		if (rng_chance(r, 15))
			p->request[i] = (struct plan_request){
				.op = DISK_FLUSH,
				.think_ns = p->request[i].think_ns,
			};
	p->drops_cache = true;
}

/*
 * A guest that keeps its queue full of writes until the migration has ended, on
 * disks that it saturates. Nothing else keeps the copier from its work.
 */
static void
plan_endless(struct plan *p, struct rng *r)
{
	p->endless = rng_chance(r, 4);
	if (!p->endless)
		return;
	p->faults = p->commands = 0;
	p->resumed = p->paused = false;
	p->state = MIGRATION_COPYING;
	p->rate = 0;
	p->auto_complete = p->strategy != STRATEGY_DBT;
	for (enum side s = SRC; s < SIDES; s++) {
		struct plan_disk *d = &p->disk[s];

		d->latency_ns = MS + rng_below(r, 3 * MS);
		d->spread_ns = rng_below(r, 3 * MS);
		d->sector_ns = rng_below(r, MS / 100);
		d->at_once = 0;
	}
	for (unsigned i = 0; i < p->requests; i++) {
		struct plan_request *q = &p->request[i];

		q->think_ns = 0;
		if (q->count > ENDLESS_COUNT)
			q->count = ENDLESS_COUNT;
		if (q->op == DISK_READ && rng_chance(r, 90))
			q->op = DISK_WRITE;
		/* Flushes take no time where nothing has been written. */
		if (q->op == DISK_FLUSH) {
			q->op = DISK_WRITE;
			q->count = p->align;
		}
	}
}

/*
 * One side falls silent, recovers and falls silent again, while the other one, which
 * was silent too, takes its time over what it owes.
 */
static void
plan_relapse(struct plan *p, struct rng *r)
{
	enum side side;

	if (!plan_stalls(p) || p->faults < 3 || rng_chance(r, 80))
		return;
	side = rng_chance(r, 50) ? SRC : DST;
	for (unsigned i = 0; i < 3; i++) {
		p->fault[i] = (struct plan_fault){
			.kind = FAULT_STALL,
			.side = i ? side : side_other(side),
			.count = p->sectors,
			.from_ns = rng_below(r, SECOND / 2) + (i == 2 ? 14 * SECOND : 0),
			.drain_ns = i < 2 ? 40 * SECOND : SECOND / 2,
		};
		p->fault[i].to_ns =
			p->fault[i].from_ns + (i ? 11 : 0) * SECOND + rng_below(r, 3 * SECOND);
	}
}

static void
plan_store_faults(struct plan *p, struct rng *r)
{
	static const unsigned ops[] = {
		OP(STORE_WRITE),
		OP(STORE_GROW),
		OP(STORE_PUBLISH),
		OP(STORE_WRITE) | OP(STORE_GROW) | OP(STORE_PUBLISH),
	};
	unsigned n = rng_chance(r, 60) ? 0 : (unsigned)rng_range(r, 1, 2);

	for (unsigned i = 0; i < n && p->faults < PLAN_FAULTS; i++)
		p->fault[p->faults++] = (struct plan_fault){
			.kind = FAULT_STORE,
			.ops = ops[rng_below(r, sizeof(ops) / sizeof(ops[0]))],
			.first = (uint32_t)rng_scale(r, 60) - 1,
			.times = (uint32_t)(rng_chance(r, 20)	? UINT32_MAX
					    : rng_chance(r, 50) ? 1
								: rng_scale(r, 10)),
			.err = rng_chance(r, 50) ? -EIO : -ENOSPC,
		};
}

/* One crash often follows another at once: what the first one left is being read. */
static void
plan_journal(struct plan *p, struct rng *r)
{
	uint64_t at = 0;

	p->journal = true;
	p->durable = rng_chance(r, 20);
	p->live_entries = 64u << rng_below(r, 3);
	p->log_bytes = (uint32_t)rng_scale(r, 16384);
	p->store = (struct plan_store){
		.latency_ns = rng_scale(r, 10 * MS),
		.spread_ns = rng_scale(r, 20 * MS),
		.at_once = rng_chance(r, 30) ? (unsigned)rng_below(r, 60) : 0,
		.rng = { rng_next(r) },
	};
	for (unsigned i = 0; i < p->faults && p->seed < PLAN_FLUSH_SEEDS; i++)
		p->fault[i].ops &= ~OP(DISK_FLUSH);
	plan_store_faults(p, r);
	if (rng_chance(r, 50))
		for (unsigned i = 0; i < p->requests; i++)
			if (rng_chance(r, 10))
				p->request[i] = (struct plan_request){
					.op = DISK_FLUSH,
					.think_ns = p->request[i].think_ns,
				};
	p->crashes = rng_chance(r, 15) ? 0 : (unsigned)rng_scale(r, PLAN_CRASHES);
	for (unsigned i = 0; i < p->crashes; i++) {
		at += rng_chance(r, 40) ? rng_scale(r, 60) : rng_scale(r, 2000);
		p->crash[i] = (struct plan_crash){
			.kind = rng_chance(r, 50) ? CRASH_KILL : CRASH_POWER,
			.at_event = at,
			.inside = rng_chance(r, 50),
		};
	}
}

/* To another strategy and to a last one, under a guest that is busy in a small place. */
static void
plan_switch(struct plan *p, struct rng *r)
{
	uint32_t span = p->sectors < 32 ? p->sectors : 32;
	uint64_t at = rng_scale(r, 1000);

	for (unsigned i = 0; i < p->requests; i++) {
		struct plan_request *q = &p->request[i];

		if (q->op == DISK_FLUSH)
			continue;
		q->sector = aligned(p, q->sector % span);
		q->count =
			q->count < p->sectors - q->sector ? q->count : p->sectors - q->sector;
	}
	p->paused = false;
	p->commands = (unsigned)rng_range(r, 1, 2);
	for (unsigned i = 0; i < p->commands; i++) {
		p->command[i] = (struct plan_command){
			.command = COMMAND_STRATEGY,
			.argument = rng_below(r, STRATEGIES),
			.at_event = at,
		};
		at += rng_scale(r, 300);
	}
	p->crashes = (unsigned)rng_range(r, 1, 3);
	for (unsigned i = 0; i < p->crashes; i++) {
		p->crash[i] = (struct plan_crash){
			.kind = rng_chance(r, 80) ? CRASH_KILL : CRASH_POWER,
			.at_event = at,
			.inside = rng_chance(r, 50),
		};
		at += rng_scale(r, 300);
	}
}

/*
 * The journal cannot be written for so long that one side may go on alone, once or twice; the
 * guest goes on for longer, and now and then the process is killed meanwhile.
 */
static void
plan_alone(struct plan *p, struct rng *r)
{
	uint64_t from_ns = rng_scale(r, 4 * SECOND), at = rng_scale(r, 3000);
	unsigned n = (unsigned)rng_range(r, 1, 2);

	p->records = true;
	p->paused = false;
	if (p->faults > PLAN_FAULTS - n)
		p->faults = PLAN_FAULTS - n;
	if (rng_chance(r, 50))
		p->faults = 0;
	while (n--) {
		struct plan_fault *f = &p->fault[p->faults++];

		*f = (struct plan_fault){
			.kind = FAULT_STORE_TIME,
			.err = rng_chance(r, 60)   ? 0
			       : rng_chance(r, 70) ? -EIO
						   : -ENOSPC,
			.from_ns = from_ns,
			.to_ns = from_ns + rng_range(r, 5, 20) * SECOND + rng_below(r, SECOND),
		};
		if (!n && rng_chance(r, 30))
			f->to_ns = FOREVER;
		from_ns += rng_range(r, 12, 30) * SECOND;
	}
	for (unsigned i = 0; i < p->requests; i++)
		if (rng_chance(r, 10))
			p->request[i].think_ns = rng_scale(r, 4 * SECOND);
	p->crashes = rng_chance(r, 30) ? 0 : (unsigned)rng_range(r, 1, 2);
	for (unsigned i = 0; i < p->crashes; i++) {
		p->crash[i] = (struct plan_crash){
			.kind = rng_chance(r, 50) ? CRASH_KILL : CRASH_POWER,
			.at_event = at,
			.inside = rng_chance(r, 50),
		};
		at += rng_scale(r, 2000);
	}
}

void
plan_make(struct plan *p, uint64_t seed)
{
	/* What was added later draws from a generator of its own: see regressions. */
	struct rng later = { seed * 0x9e3779b97f4a7c15u + 2 };
	struct rng last = { seed * 0xd1342543de82ef95u + 3 };
	struct rng rng = { seed * 0x2545f4914f6cdd1du + 1 }, *r = &rng;
	uint32_t chunks;

	p->seed = seed;
	p->strategy = (enum strategy)(seed % STRATEGIES);
	p->chunk = 8u << rng_below(r, 4);
	p->align = rng_chance(r, 85) ? 1 : 8;
	chunks = (uint32_t)rng_scale(r, PLAN_SECTORS / p->chunk < 48 ? PLAN_SECTORS / p->chunk
								     : 48);
	p->sectors = aligned(p, chunks * p->chunk - rng_below(r, p->chunk / 2) + p->align - 1);
	p->threshold = (uint32_t)rng_scale(r, 33) - 1;
	p->depth = (unsigned)rng_scale(r, 8);
	p->rate = rng_chance(r, 75) ? 0 : rng_scale(r, 64u << 20);
	p->auto_complete = rng_chance(r, 40);
	p->paused = rng_chance(r, 10);
	p->pristine = rng_chance(r, 25);
	p->resumed = rng_chance(r, 15);
	p->state = p->resumed && rng_chance(r, 40) ? MIGRATION_ROLLING_BACK : MIGRATION_COPYING;
	if (p->resumed)
		p->pristine = false;
	p->ending = (enum ending)rng_below(r, ENDINGS);
	p->queue = (unsigned)rng_scale(r, PLAN_QUEUE);
	p->issues_in_done = rng_chance(r, 50);
	p->drops_cache = rng_chance(r, 50);
	plan_disks(p, r);
	plan_requests(p, r);
	plan_faults(p, r);
	plan_commands(p, r);
	p->rng.state = rng_next(r);
	plan_recoveries(p, &later);
	plan_flushes(p, &later);
	p->endless = false;
	if (seed < PLAN_JOURNAL_SEEDS)
		plan_endless(p, &later);
	plan_relapse(p, &last);
	p->unit = 8u << rng_below(&last, 6);
	p->guest_latency = rng_chance(&last, 20) ? (uint32_t)rng_scale(&last, 400) : 0;
	if (p->endless)
		p->guest_latency = 0;
	plan_gaps(p, &last);
	p->journal = p->durable = false;
	p->crashes = 0;
	if (seed >= PLAN_JOURNAL_SEEDS)
		plan_journal(p, &later);
	p->records = false;
	if (seed >= PLAN_ALONE_SEEDS)
		plan_alone(p, &last);
	else if (seed >= PLAN_SWITCH_SEEDS)
		plan_switch(p, &last);
}

unsigned
plan_items(const struct plan *p)
{
	return p->requests + p->faults + p->commands + p->crashes;
}

bool *
plan_dropped(struct plan *p, unsigned item)
{
	if (item < p->requests)
		return &p->request[item].dropped;
	item -= p->requests;
	if (item < p->faults)
		return &p->fault[item].dropped;
	item -= p->faults;
	if (item < p->commands)
		return &p->command[item].dropped;
	return &p->crash[item - p->commands].dropped;
}

bool
plan_faultless(const struct plan *p)
{
	for (unsigned i = 0; i < p->faults; i++)
		if (!p->fault[i].dropped)
			return false;
	return true;
}

bool
plan_stalls(const struct plan *p)
{
	for (unsigned i = 0; i < p->faults; i++)
		if (!p->fault[i].dropped && p->fault[i].kind == FAULT_STALL)
			return true;
	return false;
}

bool
plan_fills_up(const struct plan *p)
{
	for (unsigned i = 0; i < p->faults; i++)
		if (!p->fault[i].dropped && p->fault[i].err == -ENOSPC)
			return true;
	return false;
}

bool
plan_crashes(const struct plan *p)
{
	for (unsigned i = 0; i < p->crashes; i++)
		if (!p->crash[i].dropped)
			return true;
	return false;
}

bool
plan_has(const struct plan *p, enum command command)
{
	for (unsigned i = 0; i < p->commands; i++)
		if (!p->command[i].dropped && p->command[i].command == command)
			return true;
	return false;
}

const char *
command_name(enum command command)
{
	static const char *const names[COMMANDS] = {
		[COMMAND_PAUSE] = "pause",	  [COMMAND_RESUME] = "resume",
		[COMMAND_RATE] = "rate",	  [COMMAND_THRESHOLD] = "threshold",
		[COMMAND_DEPTH] = "depth",	  [COMMAND_STRATEGY] = "strategy",
		[COMMAND_AUTO] = "auto-complete", [COMMAND_COMPLETE] = "complete",
		[COMMAND_CANCEL] = "cancel",
	};

	return names[command];
}

const char *
op_name(enum disk_op op)
{
	static const char *const names[] = {
		[DISK_READ] = "read",	[DISK_WRITE] = "write",	  [DISK_ZERO] = "zero",
		[DISK_FLUSH] = "flush", [DISK_STATUS] = "status",
	};

	return names[op];
}

static void
print_fault(const struct plan_fault *f)
{
	static const char *const store_ops[] = { "write", "grow", "publish" };
	const char *side = f->side == SRC ? "src" : "dst";

	if (f->kind == FAULT_STORE) {
		printf("# fault: journal");
		for (enum store_op op = STORE_WRITE; op <= STORE_PUBLISH; op++)
			if (f->ops & OP(op))
				printf(" %s", store_ops[op]);
		printf(": number %u and on, %u times, error %d\n", f->first, f->times, f->err);
		return;
	}
	if (f->kind == FAULT_STORE_TIME) {
		printf("# fault: journal %s (error %d) from %.6f s to ",
		       f->err ? "fails" : "hangs", f->err, (double)f->from_ns / SECOND);
		if (f->to_ns == FOREVER)
			puts("the end");
		else
			printf("%.6f s\n", (double)f->to_ns / SECOND);
		return;
	}
	if (f->kind == FAULT_STALL) {
		printf("# fault: %s silent from %.6f s to ", side, (double)f->from_ns / SECOND);
		if (f->to_ns == FOREVER)
			puts("the end");
		else
			printf("%.6f s\n", (double)f->to_ns / SECOND);
		return;
	}
	printf("# fault: %s", side);
	for (enum disk_op op = DISK_READ; op <= DISK_STATUS; op++)
		if (f->ops & OP(op))
			printf(" %s", op_name(op));
	printf(" at [%u,+%u): number %u and on, %u times, error %d\n", f->sector, f->count,
	       f->first, f->times, f->err);
}

void
plan_print(const struct plan *p)
{
	printf("# seed %" PRIu64 ": %s%s%s, %u sectors, chunk %u, align %u, threshold %u, "
	       "depth %u, unit %u, gap %u, rate %" PRIu64
	       ", guest latency %u%s%s%s, guest queue %u%s\n",
	       p->seed, strategy_row(p->strategy)->name, p->resumed ? ", resumed" : "",
	       p->state == MIGRATION_ROLLING_BACK ? " rolling back" : "", p->sectors, p->chunk,
	       p->align, p->threshold, p->depth, p->unit, p->gap, p->rate, p->guest_latency,
	       p->auto_complete ? ", auto" : "", p->paused ? ", paused" : "",
	       p->pristine ? ", pristine" : "", p->queue, p->endless ? ", endless" : "");
	for (unsigned i = 0; i < p->faults; i++)
		if (!p->fault[i].dropped)
			print_fault(&p->fault[i]);
	for (unsigned i = 0; i < p->commands; i++)
		if (!p->command[i].dropped)
			printf("# command: %s %" PRIu64 " at event %" PRIu64 "\n",
			       command_name(p->command[i].command), p->command[i].argument,
			       p->command[i].at_event);
	if (p->journal)
		printf("# journal: %u live changes, log %u bytes%s\n", p->live_entries,
		       p->log_bytes, p->durable ? ", writes are durable" : "");
	for (unsigned i = 0; i < p->crashes; i++)
		if (!p->crash[i].dropped)
			printf("# crash: %s at event %" PRIu64 "%s\n",
			       p->crash[i].kind == CRASH_POWER ? "power" : "kill",
			       p->crash[i].at_event, p->crash[i].inside ? ", inside" : "");
}
