/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>

#include "alone.h"

static void
flushed(void *ctx, int err)
{
	struct alone *a = ctx;

	/* Another flush has failed meanwhile: what this one was to cover is looked at again. */
	if (err == -EAGAIN)
		a->step = ALONE_DRAINING;
	else
		a->step = err ? ALONE_NOT : ALONE_FLUSHED;
	a->waits |= err && err != -EAGAIN;
}

static void
ask(struct alone *a, enum alone_step step, side_mask side)
{
	a->step = step;
	a->record(a->ctx, side);
}

/* As of the last tick, and nothing has come of it since. */
static bool
is_lost(const struct alone *a)
{
	struct journal_work work;

	if (!a->lost)
		return false;
	journal_get_work(a->engine->journal, &work);
	return work.progress == a->progress.count;
}

/* Somebody waits for the journal in vain, and a side is there that needs none. */
static bool
is_due(const struct alone *a, const struct alone_view *view)
{
	return a->record && !a->waits && view->wanted && view->side && is_lost(a);
}

/* The file is whole and says what the map does: that all is on one side. */
static bool
journal_is_back(const struct alone *a)
{
	const struct journal *j = a->engine->journal;

	return !a->hangs && journal_is_good(j) && journal_open_to_writes(j);
}

/* One step; false if nothing can be done now. */
static bool
step(struct alone *a, const struct alone_view *view)
{
	switch (a->step) {
	case ALONE_NOT:
		if (!is_due(a, view))
			return false;
		a->side = view->side;
		a->ends = view->ends;
		if (view->ends)
			ask(a, ALONE_RECORDING, a->side);
		else
			a->step = ALONE_DRAINING;
		return true;
	case ALONE_DRAINING:
		if (!is_lost(a) || view->side != a->side) {
			a->step = ALONE_NOT;
			return true;
		}
		if (!view->at_rest)
			return false;
		a->step = ALONE_FLUSHING;
		engine_flush_whole(a->engine, a->side == SRC_BIT ? SRC : DST, flushed, a);
		return true;
	case ALONE_FLUSHED:
		if (view->side != a->side || !view->at_rest)
			a->step = ALONE_NOT;
		else
			ask(a, ALONE_RECORDING, a->side);
		return true;
	case ALONE_YES:
		/* A migration that has asked for its end has it now. */
		if (view->ends || a->waits || !journal_is_back(a))
			return false;
		ask(a, ALONE_LEAVING, NO_SIDE);
		return true;
	default:
		return false;
	}
}

void
alone_pump(struct alone *a, const struct alone_view *view)
{
	while (step(a, view))
		;
}

void
alone_recorded(struct alone *a, int err)
{
	bool recording = a->step == ALONE_RECORDING;

	assert(alone_asks(a));
	a->waits |= err != 0;
	if (recording == !err)
		a->step = ALONE_YES;
	else
		a->step = ALONE_NOT;
	/* What ends does so now, and needs no more than that. */
	if (!err && !a->ends)
		engine_go_alone(a->engine, recording);
	else
		engine_run(a->engine);
}

void
alone_tick(struct alone *a)
{
	struct engine *e = a->engine;
	uint64_t now_ns = e->now_ns(e->ctx), absent_ns = now_ns - a->tick_ns;
	struct journal_work work;

	if (!e->journal)
		return;
	if (absent_ns < TICK_LATE_NS)
		absent_ns = 0;
	a->tick_ns = now_ns;
	a->waits = false;
	journal_get_work(e->journal, &work);
	a->hangs = watch_look(&a->answers, work.requests, !work.busy, now_ns, absent_ns) >=
		   STALL_NS;
	a->lost = watch_look(&a->progress, work.progress, work.rests, now_ns, absent_ns) >=
		  STALL_NS;
}

void
alone_init(struct alone *a, struct engine *e, void (*record)(void *ctx, side_mask side),
	   void *ctx)
{
	uint64_t now_ns = e->now_ns(e->ctx);

	*a = (struct alone){
		.engine = e,
		.record = record,
		.ctx = ctx,
		.answers.since_ns = now_ns,
		.progress.since_ns = now_ns,
		.tick_ns = now_ns,
	};
}
