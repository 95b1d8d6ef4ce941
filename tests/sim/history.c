/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every sector is a register. For each we keep all the values that were ever
 * written to it, with the times of the write that wrote it, and so know at any
 * moment which values a read may return: those that no other value has
 * superseded before the read was issued. A value is superseded once a write
 * that was issued after its own had ended (well or badly) is acknowledged.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define NEVER UINT64_MAX
#define NONE  UINT32_MAX

struct value {
	uint64_t tag;
	uint64_t writer;
	uint64_t issued;
	uint64_t ended;	     /* answered, well or badly */
	uint64_t superseded; /* by an acknowledged write */
	uint64_t first_end;  /* of the write, if it went well, and the reads of it */
	uint64_t last_issue; /* likewise */
	uint32_t next;	     /* of the sector, the older one */
};

struct sector {
	uint32_t values;
	uint32_t writers;    /* in flight */
	uint64_t changed;    /* when a write last began or ended */
	bool settled;	     /* read since, with no write about */
	uint64_t settled_on; /* this tag */
	uint64_t settled_at; /* since */
	bool fresh;	     /* written, or lost, since the last power failure */
};

static struct {
	struct value *value;
	uint32_t count, room;
	struct sector sector[PLAN_SECTORS];
	uint64_t now;
	bool faulty; /* something was lost: it cannot be linear */
} history;

uint64_t
history_now(void)
{
	return ++history.now;
}

static void
value_add(uint64_t sector, const struct value *value)
{
	struct sector *s = &history.sector[sector];

	if (history.count == history.room) {
		history.room = history.room ? 2 * history.room : 1u << 16;
		history.value = realloc(history.value, history.room * sizeof(*value));
		if (!history.value)
			abort();
	}
	history.value[history.count] = *value;
	history.value[history.count].next = s->values;
	s->values = history.count++;
}

#define for_each_value(v, s)                                                                  \
	for (struct value *v = NULL;                                                          \
	     ((v = v			 ? (v->next == NONE ? NULL : &history.value[v->next]) \
		   : (s)->values == NONE ? NULL                                               \
					 : &history.value[(s)->values]));)

void
history_initial(uint64_t sector, uint64_t tag)
{
	value_add(sector,
		  &(struct value){ .tag = tag, .writer = WRITER_DISK, .superseded = NEVER });
}

void
history_write_begins(uint64_t sector, uint32_t count, uint64_t writer, bool zero)
{
	uint64_t now = history_now();

	for (uint64_t i = sector; i < sector + count; i++) {
		struct sector *s = &history.sector[i];

		value_add(i, &(struct value){
				     .tag = zero ? TAG_ZERO : tag_make(writer, i),
				     .writer = writer,
				     .issued = now,
				     .ended = NEVER,
				     .superseded = NEVER,
				     .first_end = NEVER,
				     .last_issue = now,
			     });
		s->writers++;
		s->fresh = true;
		s->changed = now;
		s->settled = false;
	}
}

void
history_write_ends(uint64_t sector, uint32_t count, uint64_t writer, uint64_t issued, bool ok)
{
	uint64_t now = history_now();

	for (uint64_t i = sector; i < sector + count; i++) {
		struct sector *s = &history.sector[i];

		s->writers--;
		s->changed = now;
		s->settled = false;
		for_each_value(v, s)
		{
			if (v->writer == writer) {
				v->ended = now;
				v->first_end = ok && now < v->first_end ? now : v->first_end;
			} else if (ok && v->ended < issued && v->superseded == NEVER) {
				v->superseded = now;
			}
		}
	}
}

bool
history_allows(uint64_t sector, uint64_t tag, uint64_t since)
{
	for_each_value(v, &history.sector[sector]) if (v->tag == tag &&
						       v->superseded >= since) return true;
	return false;
}

bool
history_writing(uint64_t sector)
{
	return history.sector[sector].writers;
}

bool
history_ended(uint64_t sector, uint64_t tag)
{
	for_each_value(v, &history.sector[sector]) if (v->tag == tag &&
						       v->ended != NEVER) return true;
	return false;
}

__attribute__((noreturn)) static void
fail_read(uint64_t sector, uint64_t tag, uint64_t issued, const char *what)
{
	for_each_value(v, &history.sector[sector])
		trace("    %s value %" PRIx64 " of writer %" PRIu64,
		      v->superseded >= issued ? "possible" : "superseded", v->tag, v->writer);
	world_fail("sector %" PRIu64 " reads as %s (writer %" PRIu64 ", sector %" PRIu64 ")",
		   sector, what, tag_writer(tag), tag & ((1u << 24) - 1));
}

void
history_read(uint64_t sector, uint64_t tag, uint64_t issued)
{
	struct sector *s = &history.sector[sector];
	uint64_t now = history_now();

	if (!history_allows(sector, tag, issued))
		fail_read(sector, tag, issued,
			  "what is older than its last acknowledged write");
	for_each_value(v, s) if (v->tag == tag)
	{
		v->first_end = now < v->first_end ? now : v->first_end;
		v->last_issue = issued > v->last_issue ? issued : v->last_issue;
	}
	if (s->writers || s->changed > issued)
		return;
	if (s->settled && s->settled_on != tag)
		fail_read(sector, tag, issued,
			  "another of its possible values, with no write about");
	if (!s->settled)
		s->settled_at = now;
	s->settled = true;
	s->settled_on = tag;
}

void
history_power(uint64_t flushed, uint64_t seen)
{
	history.faulty = true;
	for (uint64_t i = 0; i < world.plan.sectors; i++) {
		struct sector *s = &history.sector[i];

		if (s->settled && (!s->fresh || s->settled_at < seen))
			continue;
		s->settled = s->fresh = false;
		s->changed = history_now();
		for_each_value(v, s) if (v->superseded >= flushed) v->superseded = NEVER;
	}
}

void
history_revive(uint64_t sector, uint64_t tag)
{
	struct sector *s = &history.sector[sector];
	bool known = false;

	s->changed = history_now();
	s->settled = false;
	s->fresh = true;
	history.faulty = true;
	for_each_value(v, s) if (v->tag == tag && v->ended != NEVER)
	{
		v->superseded = NEVER;
		v->ended = s->changed;
		known = true;
	}
	if (!known)
		value_add(sector, &(struct value){ .tag = tag,
						   .writer = tag_writer(tag),
						   .ended = s->changed,
						   .superseded = NEVER });
}

/*
 * A history of a register whose values are all different is atomic if the
 * values can be put in an order: a value whose uses (its write and its reads)
 * do not all overlap occupies the time from the first that ended to the last
 * that began; no two such times may overlap, and no value whose uses do all
 * overlap may have them all within such a time. (Gibbons and Korach, 1997)
 */
static void
check_pair(uint64_t sector, const struct value *a, const struct value *b)
{
	bool a_forward = a->first_end < a->last_issue, b_forward = b->first_end < b->last_issue;

	if (a_forward && b_forward) {
		if (a->first_end < b->last_issue && b->first_end < a->last_issue)
			world_fail("sector %" PRIu64 ": reads go back and forth between "
				   "writers %" PRIu64 " and %" PRIu64,
				   sector, a->writer, b->writer);
	} else if (a_forward && b->last_issue > a->first_end && b->first_end < a->last_issue) {
		world_fail("sector %" PRIu64 ": writer %" PRIu64
			   "'s value is seen in the midst "
			   "of writer %" PRIu64 "'s",
			   sector, b->writer, a->writer);
	}
}

void
history_check_linear(void)
{
	if (!plan_faultless(&world.plan) || history.faulty)
		return;
	for (uint64_t i = 0; i < world.plan.sectors; i++) {
		struct sector *s = &history.sector[i];
		unsigned zeroes = 0;

		for_each_value(v, s) zeroes += v->tag == TAG_ZERO;
		if (zeroes > 1)
			continue; /* its values are not all different */
		for_each_value(a, s) for_each_value(b, s) if (a != b) check_pair(i, a, b);
	}
}

void
history_init(void)
{
	history.count = 0;
	history.now = 1;
	history.faulty = false;
	for (uint64_t i = 0; i < world.plan.sectors; i++)
		history.sector[i] = (struct sector){ .values = NONE };
}
