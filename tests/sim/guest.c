/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define READ_ALL_COUNT	64 /* sectors */
#define PERCENT_AT_ONCE 70 /* of the requests; the rest comes while the migration ends */

static struct {
	struct request slot[PLAN_QUEUE];
	char *buffers;
	unsigned next; /* planned request */
	unsigned until;
	uint32_t read_next; /* of reading everything */
	uint64_t ready_ns;
	bool waiting; /* for ready_ns */
	bool endless;
	bool anew; /* it reads everything before it goes on */
	unsigned busy;
	uint64_t writers;
} guest;

static void guest_pump(void);

bool
guest_owns(const void *buf)
{
	size_t bytes = (size_t)PLAN_QUEUE * REQUEST_MAX * SECTOR_BYTES;

	return (const char *)buf >= guest.buffers && (const char *)buf < guest.buffers + bytes;
}

bool
guest_done(void)
{
	return !guest.busy && guest.next == guest.until &&
	       guest.read_next >= world.plan.sectors;
}

void
guest_flushes_see(void)
{
	for (unsigned i = 0; i < PLAN_QUEUE; i++)
		if (guest.slot[i].busy && guest.slot[i].g.op == DISK_FLUSH)
			promise_flush_sees(&guest.slot[i]);
}

static void
fill(const struct request *q, uint64_t writer)
{
	for (uint32_t i = 0; i < q->g.count; i++)
		sector_put(q->buf + (size_t)i * SECTOR_BYTES,
			   tag_make(writer, q->g.sector + i));
}

static void
check_read(const struct request *q)
{
	for (uint32_t i = 0; i < q->g.count; i++) {
		uint64_t tag = sector_get(q->buf + (size_t)i * SECTOR_BYTES);

		history_read(q->g.sector + i, tag, q->issued);
	}
}

static void
pump_event(void *arg, uint64_t n)
{
	if (n)
		guest.waiting = false;
	guest_pump();
}

static void
guest_answered(struct guest_io *g, int err)
{
	struct request *q = list_entry(g, struct request, g);

	trace("guest: %s [%" PRIu64 ",+%u) is answered%s%s", op_name(g->op), g->sector,
	      g->count, err ? ": " : "", err ? strerror(-err) : "");
	if (!q->busy)
		world_fail("a request is answered twice");
	q->busy = false;
	guest.busy--;
	promise_answer(q, err);
	wait_ends(q, err);
	if (g->op == DISK_READ && !err)
		check_read(q);
	if (g->op == DISK_WRITE || g->op == DISK_ZERO)
		history_write_ends(g->sector, g->count, q->writer, q->issued, !err);
	world_may_crash();
	/* The buffer is the guest's again, who puts something else there. */
	if (g->op == DISK_WRITE)
		fill(q, WRITER_POISON);
	if (world.plan.issues_in_done)
		guest_pump();
	else
		world_at(world.now_ns, pump_event, NULL, false);
}

static struct request *
free_slot(void)
{
	for (unsigned i = 0; i < world.plan.queue; i++)
		if (!guest.slot[i].busy)
			return &guest.slot[i];
	return NULL;
}

static void
issue(struct request *q, enum disk_op op, uint32_t sector, uint32_t count)
{
	q->writer = guest.writers++;
	q->g = (struct guest_io){
		.op = op,
		.no_hole = op == DISK_ZERO,
		.sector = sector,
		.count = count,
		.buf = op == DISK_FLUSH ? NULL : q->buf, /* a zero's only says whose it is */
		.done = guest_answered,
	};
	q->busy = true;
	guest.busy++;
	fill(q, op == DISK_WRITE ? q->writer : WRITER_POISON);
	if (op == DISK_WRITE)
		trace("guest: write [%u,+%u) of %" PRIu64, sector, count, q->writer);
	else
		trace("guest: %s [%u,+%u)", op_name(op), sector, count);
	q->issued = history_now();
	q->issued_ns = world.now_ns;
	if (op == DISK_FLUSH) {
		memset(q->valid, NO_SIDE, sizeof(q->valid));
		promise_flush_sees(q);
	}
	if (op == DISK_WRITE || op == DISK_ZERO)
		history_write_begins(sector, count, q->writer, op == DISK_ZERO);
	wait_begins(q);
	migration_guest(&world.m, &q->g);
}

static void
skip_dropped(void)
{
	while (guest.next < guest.until && world.plan.request[guest.next].dropped)
		guest.next++;
}

/* Issues the next request. False if it has to wait, or there is none. */
static bool
issue_next(void)
{
	struct request *q = free_slot();
	const struct plan_request *r;
	uint32_t sector = guest.read_next, left = world.plan.sectors - sector;

	skip_dropped();
	if (guest.endless && guest.next == guest.until) {
		guest.next = 0;
		skip_dropped();
	}
	if (!q)
		return false;
	if (!left)
		guest.anew = false;
	if (guest.next < guest.until && !guest.anew) {
		r = &world.plan.request[guest.next];
		if (!guest.ready_ns)
			guest.ready_ns = world.now_ns + r->think_ns;
		if (guest.ready_ns > world.now_ns) {
			if (!guest.waiting)
				world_at(guest.ready_ns, pump_event, NULL, true);
			guest.waiting = true;
			return false;
		}
		guest.ready_ns = 0;
		guest.next++;
		issue(q, r->op, r->sector, r->count);
		return true;
	}
	if (!left)
		return false;
	left = left < READ_ALL_COUNT ? left : READ_ALL_COUNT;
	guest.read_next += left;
	issue(q, DISK_READ, sector, left);
	return true;
}

static void
guest_pump(void)
{
	while (!world.gone && issue_next())
		;
}

/* Of what it has no answer to, it does not know whether it has happened. */
void
guest_crash(enum crash_kind kind)
{
	for (unsigned i = 0; i < PLAN_QUEUE; i++) {
		struct request *q = &guest.slot[i];

		if (!q->busy)
			continue;
		q->busy = false;
		guest.busy--;
		if (q->g.op == DISK_WRITE || q->g.op == DISK_ZERO)
			history_write_ends(q->g.sector, q->g.count, q->writer, q->issued,
					   false);
	}
	wait_init();
	if (kind == CRASH_POWER) {
		guest.anew = true;
		guest.read_next = 0;
	}
	world_at(world.now_ns, pump_event, NULL, false);
}

void
guest_start(bool rest)
{
	guest.until = rest ? world.plan.requests : world.plan.requests * PERCENT_AT_ONCE / 100;
	for (unsigned i = 0; i < guest.until && !rest; i++)
		guest.endless |= world.plan.endless && !world.plan.request[i].dropped;
	guest_pump();
}

void
guest_stop(void)
{
	guest.endless = false;
	guest.next = guest.until;
}

bool
guest_is_endless(void)
{
	return guest.endless;
}

uint64_t
guest_issued(void)
{
	return guest.writers - WRITER_GUEST;
}

void
guest_read_all(void)
{
	guest.read_next = 0;
	guest_pump();
}

void
guest_init(void)
{
	size_t each = (size_t)REQUEST_MAX * SECTOR_BYTES;
	char *buffers = guest.buffers;

	if (!buffers)
		buffers = aligned_alloc(4096, PLAN_QUEUE * each);
	if (!buffers)
		abort();
	memset(&guest, 0, sizeof(guest));
	guest.buffers = buffers;
	guest.writers = WRITER_GUEST;
	guest.read_next = world.plan.sectors;
	for (unsigned i = 0; i < PLAN_QUEUE; i++)
		guest.slot[i].buf = buffers + i * each;
}
