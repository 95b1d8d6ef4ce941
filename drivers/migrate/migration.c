/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "error-class.h"
#include "migration.h"

#define NS_PER_S 1000000000ull

/* Dirty block tracking holds the guest's writes for the rest when this little is left. */
#define CONVERGE_SECTORS ((uint64_t)(2u << 20) / SECTOR_BYTES)

static const char *const state_names[MIGRATION_STATES] = {
	[MIGRATION_COPYING] = "copying",	   [MIGRATION_SYNCHRONISED] = "synchronised",
	[MIGRATION_COMPLETING] = "completing",	   [MIGRATION_COMPLETED] = "completed",
	[MIGRATION_ROLLING_BACK] = "rolling-back", [MIGRATION_CANCELLED] = "cancelled",
};

static const char *const pause_names[PAUSES] = {
	[PAUSE_NONE] = "",
	[PAUSE_OPERATOR] = "operator",
	[PAUSE_NO_SPACE] = "no-space",
	[PAUSE_STALLED] = "stalled",
	[PAUSE_WRITE_ERRORS] = "write-errors",
	[PAUSE_READ_ERRORS] = "read-errors",
	[PAUSE_BAD_SECTORS] = "bad-sectors",
	[PAUSE_JOURNAL_FULL] = "journal-full",
	[PAUSE_JOURNAL_FAILED] = "journal-failed",
};

const char *
migration_state_name(enum migration_state state)
{
	return state_names[state];
}

int
migration_state_find(const char *name)
{
	for (int s = 0; s < MIGRATION_STATES; s++)
		if (!strcmp(state_names[s], name))
			return s;
	return -1;
}

const char *
migration_pause_name(enum migration_pause pause)
{
	return pause_names[pause];
}

static uint64_t
now(void *ctx)
{
	struct migration *m = ctx;

	return m->now_ns(m->ctx);
}

static uint64_t
lacking(const struct migration *m, enum side side)
{
	return validity_lacking(m->engine.map, side);
}

static enum migration_pause
pause_of(const struct migration *m)
{
	static const enum migration_pause of_stop[] = {
		[COPIER_GOES] = PAUSE_NONE,
		[COPIER_NO_SPACE] = PAUSE_NO_SPACE,
		[COPIER_WRITE_ERRORS] = PAUSE_WRITE_ERRORS,
		[COPIER_READ_ERRORS] = PAUSE_READ_ERRORS,
		[COPIER_BAD_SECTORS] = PAUSE_BAD_SECTORS,
	};

	if (migration_over(m))
		return PAUSE_NONE;
	if (m->paused)
		return PAUSE_OPERATOR;
	if (m->engine.no_space)
		return PAUSE_NO_SPACE;
	if (m->engine.side[SRC].stalled || m->engine.side[DST].stalled)
		return PAUSE_STALLED;
	if (m->engine.journal) {
		struct journal_status journal;

		journal_get_status(m->engine.journal, &journal);
		if (m->alone.hangs || m->alone.step)
			return PAUSE_JOURNAL_FAILED;
		if (error_class(journal.error) == ERROR_NO_SPACE)
			return PAUSE_JOURNAL_FULL;
		if (journal.error)
			return PAUSE_JOURNAL_FAILED;
	}
	/* A copier that turns round forgets why it stopped; the source's flush has failed
	 * still. */
	if (m->state == MIGRATION_ROLLING_BACK && m->error)
		return PAUSE_WRITE_ERRORS;
	return of_stop[m->copier.stop];
}

/* From now on one side has everything, and alone serves everything. */
static void
end(struct migration *m)
{
	static const struct strategy_row all_dst = {
		.name = "completed",
		.read_prefers = DST,
		.write_reaches = { DST_BIT, DST_BIT },
		.ack = ACK_ALL,
	};
	bool completed = m->state == MIGRATION_COMPLETING;

	/* The guest was told that what the destination alone held is written. */
	if (m->forced && lacking(m, SRC))
		engine_owe(&m->engine, -EIO);
	m->state = completed ? MIGRATION_COMPLETED : MIGRATION_CANCELLED;
	validity_set(m->engine.map, 0, validity_sectors(m->engine.map),
		     completed ? DST_BIT : SRC_BIT);
	engine_end(&m->engine, completed ? &all_dst : strategy_rollback());
	m->ended(m->ctx);
}

/* The side that has everything then, if it ends now. */
static side_mask
outcome_side(const struct migration *m)
{
	return m->state == MIGRATION_ROLLING_BACK ? SRC_BIT : DST_BIT;
}

/* What the host has been asked is answered first: nothing else is then under way there. */
static void
end_if_recorded(struct migration *m)
{
	if (m->recording && !migration_over(m) && !alone_asks(&m->alone) &&
	    (m->is_recorded || alone_is(&m->alone, outcome_side(m))))
		end(m);
}

static void
outcome_recorded(struct journal_wait *w)
{
	/* The pump goes on: nobody is to be served by one side before the host knows. */
	list_entry(w, struct migration, recorded)->is_recorded = true;
}

/*
 * The side that is left is stable, and nothing is written to either: that it is the
 * authority must be stable too before the other one is let go.
 */
static void
record_outcome(struct migration *m)
{
	if (!m->engine.journal) {
		end(m);
		return;
	}
	m->recording = true;
	m->recorded.done = outcome_recorded;
	journal_note(m->engine.journal, &m->recorded);
	end_if_recorded(m);
}

enum migration_state
migration_recorded_state(const struct migration *m)
{
	if (!m->recording || migration_over(m))
		return m->state;
	return m->state == MIGRATION_ROLLING_BACK ? MIGRATION_CANCELLED : MIGRATION_COMPLETED;
}

/* --- completing ----------------------------------------------------------- */

/*
 * Whether to hold the guest's writes and finish. Not while the destination owes
 * answers to writes that were lost in a stall: nobody would know of them once it
 * is handed over. A strategy that mirrors, or that writes to the destination,
 * only waits until nothing is lacking. Dirty block tracking may never get there:
 * it is forced when little is left, or when another pass would leave no less.
 */
static bool
may_converge(const struct migration *m)
{
	const struct copier *c = &m->copier;
	uint64_t left = lacking(m, DST);

	if (m->engine.side[DST].owed)
		return false;
	if (!left)
		return true;
	if (m->engine.row->write_reaches[REGION_COPIED] & DST_BIT)
		return false;
	return left <= CONVERGE_SECTORS ||
	       (c->pass > 1 && c->lacking_at_pass[0] > c->lacking_at_pass[1] / 2);
}

static void
hold_for_completion(struct migration *m)
{
	m->state = MIGRATION_COMPLETING;
	m->hold_began_ns = m->now_ns(m->ctx);
	engine_hold_writes(&m->engine, true);
}

/* Whether writes are held, by all that there is to hold them for. */
static void
hold_writes(struct migration *m)
{
	engine_hold_writes(&m->engine, m->next_row || m->state == MIGRATION_COMPLETING ||
					       alone_holds(&m->alone));
}

/* The guest's writes go on, and so does the migration, if it can. */
static void
give_up_completion(struct migration *m, int err)
{
	m->state = MIGRATION_COPYING;
	/* A flush that goes on is as good as one ahead of the next try, when it is answered. */
	m->completing = m->flushed_ahead = m->flush_ends = false;
	if (err)
		m->error = err;
	/* A switch that was asked for meanwhile goes on holding them. */
	hold_writes(m);
}

static void
completion_flushed(void *ctx, int err)
{
	struct migration *m = ctx;

	m->flushing = false;
	if (err == -EAGAIN || m->state == MIGRATION_ROLLING_BACK || migration_over(m)) {
		/* The pump looks at what is left to copy now, and flushes again. */
	} else if (!err && !m->flush_ends) {
		m->flushed_ahead = true;
	} else if (err) {
		/* What both sides hold is trusted on the source alone now (see
		 * engine_flush_side). Copying it all again waits for a word of the
		 * operator: the destination may fail for good. */
		m->copier.stop = COPIER_WRITE_ERRORS;
		m->copier.error = err;
		give_up_completion(m, err);
	} else if (!lacking(m, DST)) {
		m->held_ns = m->now_ns(m->ctx) - m->hold_began_ns;
		record_outcome(m);
	}
}

static void
flush_destination(struct migration *m)
{
	m->flushing = true;
	m->flush_ends = m->state == MIGRATION_COMPLETING;
	engine_flush_whole(&m->engine, DST, completion_flushed, m);
}

static void
pump_completing(struct migration *m)
{
	enum migration_pause pause = pause_of(m);

	if (pause) {
		give_up_completion(m, pause == PAUSE_STALLED ? -ETIMEDOUT : 0);
		return;
	}
	if (lacking(m, DST) || m->copier.active) {
		copier_pump(&m->copier);
	} else if (engine_drained(&m->engine) && !m->flushing) {
		flush_destination(m);
	}
}

/* --- rolling back --------------------------------------------------------- */

static void
rollback_flushed(void *ctx, int err)
{
	struct migration *m = ctx;

	m->source_flushing = false;
	if (m->stopping || err == -EAGAIN)
		return; /* to the pump, which flushes again what is left after another's failure
			 */
	if (err == -EMEDIUMTYPE) {
		/* What both sides held is the destination's alone now: it is copied back
		 * first, as far as the source that is left takes it. */
		m->source_short = true;
	} else if (err) {
		m->copier.stop = COPIER_WRITE_ERRORS;
		m->copier.error = m->error = err;
	} else if (!lacking(m, SRC) || m->forced) {
		record_outcome(m);
	}
}

static void
pump_rolling_back(struct migration *m)
{
	struct copier *c = &m->copier;

	if (m->engine.row != strategy_rollback())
		return;
	if (c->to != SRC && !c->active)
		copier_turn(c, SRC);
	if (m->paused)
		return;
	if (lacking(m, SRC) && !m->forced) {
		if (c->to == SRC)
			copier_pump(c);
	} else if ((!c->active || m->engine.side[DST].stalled) && !m->source_flushing &&
		   !m->engine.side[SRC].owed && !m->error) {
		/* Of a destination that does not answer nothing is needed any more. */
		m->source_flushing = true;
		(m->source_short ? engine_flush_side : engine_flush_whole)(&m->engine, SRC,
									   rollback_flushed, m);
	}
}

/* --- the pump ------------------------------------------------------------- */

/* Then no copy begins until the row has changed, and that waits for those under way. */
static bool
row_wants_copies_said(const struct migration *m)
{
	return m->next_row && engine_row_wants_copies_said(&m->engine, m->next_row);
}

static void
pump_copying(struct migration *m)
{
	if (m->paused || m->alone.step)
		return;
	if (!row_wants_copies_said(m))
		copier_pump(&m->copier);
	if (!lacking(m, DST) && !m->copier.active)
		m->state = MIGRATION_SYNCHRONISED;
	if (!(m->completing || m->auto_complete) || m->next_row || !may_converge(m) ||
	    pause_of(m))
		return;
	/* The long flush, of all that was copied, is done while the guest writes. */
	if (m->flushed_ahead)
		hold_for_completion(m);
	else if (!m->flushing)
		flush_destination(m);
}

/* The row changes when every write that followed the old one is done. */
static void
change_row(struct migration *m)
{
	const struct strategy_row *row = m->next_row;

	m->next_row = NULL;
	m->row_flushed = false;
	m->row_flush_ignored = m->row_flushing;
	engine_set_row(&m->engine, row);
	hold_writes(m);
}

/* A switch that waits for the journal's word would hold the writes for as long. */
static void
abandon_switch(struct migration *m)
{
	m->next_row = NULL;
	m->row_flushed = false;
	m->row_flush_ignored = m->row_flushing;
	m->strategy = (enum strategy)strategy_find(m->engine.row->name);
	hold_writes(m);
}

/* Where that fails, it does so without the flush. */
static void
row_flushed(void *ctx, int err)
{
	struct migration *m = ctx;

	m->row_flushing = false;
	m->row_flushed = !m->row_flush_ignored;
	m->row_flush_ignored = false;
}

static void
pump_row(struct migration *m)
{
	bool said = row_wants_copies_said(m);

	/* What it alone was asked to write is lost with it. */
	if (m->forced && m->next_row && m->engine.side[DST].stalled)
		engine_forsake(&m->engine, DST);
	if (said && m->alone.lost) {
		abandon_switch(m);
		return;
	}
	if (!m->next_row || !engine_drained(&m->engine) || (said && m->copier.active))
		return;
	if (m->row_flushed || !(said || engine_row_wants_flush(&m->engine, m->next_row))) {
		change_row(m);
	} else if (!m->row_flushing) {
		m->row_flushing = true;
		if (said)
			engine_flush_both(&m->engine, row_flushed, m);
		else
			engine_flush_side(&m->engine, DST, row_flushed, m);
	}
}

/* The side that could serve alone, without the journal; or NO_SIDE. */
static side_mask
could_be_alone(const struct migration *m)
{
	const struct strategy_row *row = m->engine.row;

	if (m->recording)
		return outcome_side(m);
	if (m->stopping || m->next_row || m->state == MIGRATION_COMPLETING ||
	    m->engine.side[SRC].owed)
		return NO_SIDE;
	return (!lacking(m, SRC) || m->forced) &&
			       row->write_reaches[REGION_TO_BE_COPIED] == SRC_BIT
		       ? SRC_BIT
		       : NO_SIDE;
}

static void
pump_alone(struct migration *m)
{
	struct alone_view view = {
		.wanted = m->recording || engine_waits_for_journal(&m->engine),
		.side = could_be_alone(m),
		.at_rest = engine_at_rest(&m->engine),
		.ends = m->recording,
	};

	if (!m->engine.journal || migration_over(m))
		return;
	alone_pump(&m->alone, &view);
	if (alone_holds(&m->alone) != m->engine.hold_writes)
		hold_writes(m);
}

/*
 * Does what can be done now; called after every event. Its calls into the engine
 * leave their work to the engine's run, which calls it again.
 */
static void
pump(void *ctx)
{
	struct migration *m = ctx;
	uint64_t wake_ns;

	/* What a copier that rests once waited for has passed. */
	m->copier.wake_ns = UINT64_MAX;

	pump_alone(m);
	end_if_recorded(m);
	if (m->recording)
		return;
	pump_row(m);
	if (!m->stopping) {
		if (m->state == MIGRATION_SYNCHRONISED && lacking(m, DST))
			m->state = MIGRATION_COPYING;
		if (m->state == MIGRATION_COPYING || m->state == MIGRATION_SYNCHRONISED)
			pump_copying(m);
		if (m->state == MIGRATION_COMPLETING)
			pump_completing(m);
		if (m->state == MIGRATION_ROLLING_BACK)
			pump_rolling_back(m);
	}
	wake_ns = m->copier.wake_ns;
	if (wake_ns != m->wake_ns && wake_ns != UINT64_MAX)
		m->wake_at(m->ctx, wake_ns);
	m->wake_ns = wake_ns;
}

static void
guest_answered(void *ctx, const struct guest_io *g)
{
	struct migration *m = ctx;

	if (g->op != DISK_READ && !g->err)
		copier_guest_wrote(&m->copier, g->sector, g->count);
	pacer_guest_ends(&m->copier.pacer, g->began_ns, m->now_ns(m->ctx));
}

void
migration_guest(struct migration *m, struct guest_io *g)
{
	if (g->op != DISK_FLUSH)
		pacer_guest_begins(&m->copier.pacer, m->now_ns(m->ctx));
	engine_guest(&m->engine, g);
}

/* How fast the side becomes valid, smoothed over a few seconds. */
static void
measure_rate(struct migration *m)
{
	const struct copier_counters *n = &m->copier.counters;
	uint64_t now_ns = m->now_ns(m->ctx);
	uint64_t bytes = n->copied + n->zero;
	uint64_t elapsed_ns = now_ns - m->rate_ns;
	double rate;

	if (elapsed_ns < NS_PER_S / 2)
		return;
	rate = (double)(bytes - m->rate_bytes) * NS_PER_S / (double)elapsed_ns;
	m->rate = m->rate ? (uint64_t)(0.6 * (double)m->rate + 0.4 * rate) : (uint64_t)rate;
	m->rate_ns = now_ns;
	m->rate_bytes = bytes;
}

void
migration_tick(struct migration *m)
{
	measure_rate(m);
	alone_tick(&m->alone);
	engine_tick(&m->engine);
}

/* The copier has waited for the time alone: the pump finds what it may do now. */
void
migration_wake(struct migration *m)
{
	m->wake_ns = UINT64_MAX;
	engine_run(&m->engine);
}

/* --- commands ------------------------------------------------------------- */

/* The command is to outlive us. */
static void
note_wish(struct migration *m)
{
	if (!m->engine.journal)
		return;
	journal_note(m->engine.journal, NULL);
	m->wish = journal_edition(m->engine.journal);
}

/* ... and to have its effect. */
static void
go(struct migration *m)
{
	note_wish(m);
	engine_hold_writes(&m->engine, m->engine.hold_writes);
}

int
migration_pause(struct migration *m)
{
	if (migration_over(m))
		return -EBUSY;
	if (m->paused)
		return -EALREADY;
	m->paused = true;
	go(m);
	return 0;
}

int
migration_resume(struct migration *m)
{
	enum migration_pause pause = pause_of(m);

	if (migration_over(m))
		return -EBUSY;
	m->paused = false;
	m->error = 0;
	copier_retry(&m->copier);
	engine_retry_space(&m->engine);
	go(m);
	return pause ? 0 : -EALREADY;
}

/* Writes are held until those in flight are done; then row rules. */
static void
switch_row(struct migration *m, const struct strategy_row *row)
{
	m->next_row = row;
	/* First: what follows may find them drained already, and lets them go again. */
	engine_hold_writes(&m->engine, true);
	note_wish(m);
}

int
migration_set_strategy(struct migration *m, enum strategy strategy)
{
	if ((m->state != MIGRATION_COPYING && m->state != MIGRATION_SYNCHRONISED) ||
	    m->alone.step)
		return -EBUSY;
	m->strategy = strategy;
	m->copier.pristine = false;
	switch_row(m, strategy_row(strategy));
	return 0;
}

int
migration_set_threshold(struct migration *m, uint32_t threshold)
{
	engine_set_threshold(&m->engine, threshold);
	go(m);
	return 0;
}

int
migration_set_rate(struct migration *m, uint64_t bytes_per_s)
{
	pacer_set_rate(&m->copier.pacer, bytes_per_s, m->now_ns(m->ctx));
	go(m);
	return 0;
}

int
migration_set_guest_latency(struct migration *m, uint32_t percent)
{
	pacer_set_target(&m->copier.pacer, percent, m->now_ns(m->ctx));
	go(m);
	return 0;
}

int
migration_set_depth(struct migration *m, unsigned depth)
{
	m->copier.depth = depth;
	go(m);
	return 0;
}

int
migration_set_auto(struct migration *m, bool auto_complete)
{
	m->auto_complete = auto_complete;
	go(m);
	return 0;
}

int
migration_complete(struct migration *m)
{
	if (m->state != MIGRATION_COPYING && m->state != MIGRATION_SYNCHRONISED)
		return m->state == MIGRATION_COMPLETING ? -EALREADY : -EBUSY;
	if (pause_of(m))
		return -EBUSY;
	m->completing = true;
	m->flushed_ahead = false;
	m->error = 0;
	go(m);
	return 0;
}

int
migration_cancel(struct migration *m)
{
	if (migration_over(m) || (m->recording && m->state == MIGRATION_COMPLETING))
		return -EBUSY;
	if (m->state == MIGRATION_ROLLING_BACK)
		return -EALREADY;
	m->flush_ends = false;
	m->state = MIGRATION_ROLLING_BACK;
	m->completing = m->paused = false;
	m->error = 0;
	copier_retry(&m->copier);
	switch_row(m, strategy_rollback());
	/* Not before: the full destination is not asked again. */
	engine_retry_space(&m->engine);
	return 0;
}

int
migration_cancel_forced(struct migration *m)
{
	int err = migration_cancel(m);

	if (err && err != -EALREADY)
		return err;
	if (m->forced)
		return -EALREADY;
	m->forced = true;
	m->paused = false;
	m->error = 0;
	copier_retry(&m->copier);
	engine_run(&m->engine);
	return 0;
}

void
migration_recorded_alone(struct migration *m, int err)
{
	alone_recorded(&m->alone, err);
}

bool
migration_by_record(const struct migration *m)
{
	return migration_over(m) && m->alone.step == ALONE_YES;
}

void
migration_stop(struct migration *m)
{
	m->stopping = m->engine.hurried = true;
	if (m->state == MIGRATION_COMPLETING && !m->recording)
		give_up_completion(m, 0);
	/* What is not stable yet survives our end, but not the machine's. */
	engine_sync(&m->engine);
}

bool
migration_quiet(const struct migration *m)
{
	return engine_quiet(&m->engine) && !m->copier.active && !alone_asks(&m->alone);
}

bool
migration_only_stalled(const struct migration *m)
{
	const struct side_state *s = m->engine.side;

	return (!m->engine.journal || journal_quiet(m->engine.journal) || m->alone.hangs) &&
	       (!s[SRC].inflight || s[SRC].stalled) && (!s[DST].inflight || s[DST].stalled) &&
	       !alone_asks(&m->alone);
}

/* --- status --------------------------------------------------------------- */

static void
status_error(const struct migration *m, struct migration_status *s)
{
	s->error_side = m->copier.to;
	if (m->error) {
		s->error = m->error;
	} else if (m->copier.stop || m->copier.failures) {
		s->error = m->copier.error;
		s->error_side = m->copier.error_side;
	} else if (m->engine.no_space) {
		s->error = m->engine.no_space;
		s->error_side = DST;
	} else if (s->pause == PAUSE_STALLED) {
		s->error = -ETIMEDOUT;
		s->error_side = m->engine.side[SRC].stalled ? SRC : DST;
	} else if (s->pause == PAUSE_JOURNAL_FULL || s->pause == PAUSE_JOURNAL_FAILED) {
		s->error = s->journal_hangs ? -ETIMEDOUT : s->journal.error;
	}
}

void
migration_get_status(const struct migration *m, struct migration_status *s)
{
	const struct copier *c = &m->copier;
	const struct engine *e = &m->engine;
	uint64_t total = validity_sectors(e->map);

	*s = (struct migration_status){
		.state = m->state,
		.pause = pause_of(m),
		.strategy = m->strategy,
		.total = total * SECTOR_BYTES,
		.valid = (total - lacking(m, c->to)) * SECTOR_BYTES,
		.only = { lacking(m, DST) * SECTOR_BYTES, lacking(m, SRC) * SECTOR_BYTES },
		.copier = c->counters,
		.guest_written = { e->counters.written[SRC], e->counters.written[DST] },
		.guest_read = { e->counters.read[SRC], e->counters.read[DST] },
		.pending_writes = e->pending,
		.held_writes = engine_held_writes(e),
		.delayed_writes = e->counters.delayed_writes,
		.threshold = e->threshold,
		.depth = c->depth,
		.rate = m->rate,
		.rate_limit = c->pacer.limit.rate,
		.guest_latency = c->pacer.target,
		.guest_alone_ns = (uint64_t)c->pacer.base.mean_ns,
		.guest_now_ns = (uint64_t)c->pacer.with.mean_ns,
		.eta_s = -1,
		.held_ns = m->state == MIGRATION_COMPLETED ? (int64_t)m->held_ns : -1,
		.map_memory = validity_memory(e->map),
		.journal_hangs = m->alone.hangs,
		.alone = m->alone.step == ALONE_YES || m->alone.step == ALONE_LEAVING,
	};
	if (m->state == MIGRATION_COMPLETED)
		s->valid = s->total;
	s->recorded = !e->journal || migration_over(m) || journal_has(e->journal, m->wish);
	if (e->journal)
		journal_get_status(e->journal, &s->journal);
	for (unsigned i = 0; i < c->bad_runs; i++)
		s->bad_sectors += c->bad[i].count;
	if (m->rate && !s->pause && !migration_over(m))
		s->eta_s = (int64_t)((s->total - s->valid) / m->rate);
	status_error(m, s);
}

/* --- making and ending it ------------------------------------------------- */

int
migration_init(struct migration *m, const struct migration_config *config)
{
	bool back = config->state == MIGRATION_ROLLING_BACK;
	const struct engine_config engine = {
		.disk = { config->disk[SRC], config->disk[DST] },
		.map = config->map,
		.journal = config->journal,
		.stable = config->stable,
		.owed = config->owed,
		.writes_are_durable = config->writes_are_durable,
		.chunk = config->chunk,
		.row = back ? strategy_rollback() : strategy_row(config->strategy),
		.threshold = config->threshold,
		.now_ns = now,
		.after_run = pump,
		.guest_answered = guest_answered,
		.ctx = m,
	};
	int err;

	*m = (struct migration){
		.state = config->state,
		.strategy = config->strategy,
		.auto_complete = config->auto_complete,
		.paused = config->paused,
		.stopping = true,
		.wake_ns = UINT64_MAX,
		.now_ns = config->now_ns,
		.wake_at = config->wake_at,
		.ended = config->ended,
		.ctx = config->ctx,
	};
	err = engine_init(&m->engine, &engine);
	if (err)
		return err;
	alone_init(&m->alone, &m->engine, config->record_alone, config->ctx);
	copier_init(&m->copier, &(struct copier_config){
					.engine = &m->engine,
					.depth = config->depth,
					.unit = config->unit,
					.align = config->align,
					.pristine = config->pristine,
					.rate = config->rate,
					.guest_latency = config->guest_latency,
					.counters = config->counters,
				});
	if (back)
		copier_turn(&m->copier, SRC);
	m->rate_bytes = config->counters.copied + config->counters.zero;
	m->rate_ns = m->now_ns(m->ctx);
	return 0;
}

void
migration_start(struct migration *m)
{
	m->stopping = false;
	go(m);
}

void
migration_source_written(struct migration *m)
{
	engine_source_written(&m->engine);
}

void
migration_release(struct migration *m)
{
	copier_release(&m->copier);
	engine_release(&m->engine);
}
