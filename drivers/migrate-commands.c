/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "migrate-plugin.h"

/* --- status ------------------------------------------------------------------ */

static const char *
reason_of(const struct migrate *m, const struct migration_status *s)
{
	if (migration_over(&m->migration))
		return migrate_end_reason(m);
	if (s->pause == PAUSE_WRITE_ERRORS || s->pause == PAUSE_READ_ERRORS)
		return s->error_side == DST ? "destination-errors" : "source-errors";
	return migration_pause_name(s->pause);
}

/* Of a migration that has ended but for what migrate-end.c has to do yet: as before. */
static enum migration_state
state_of(const struct migrate *m, const struct migration_status *s)
{
	if (m->end.told || !migration_over(&m->migration))
		return s->state;
	return s->state == MIGRATION_COMPLETED ? MIGRATION_COMPLETING : MIGRATION_ROLLING_BACK;
}

const char *
migrate_state_name(const struct migrate *m, const struct migration_status *s)
{
	bool paused = s->pause &&
		      (s->state == MIGRATION_COPYING || s->state == MIGRATION_SYNCHRONISED);

	return paused ? "paused" : migration_state_name(state_of(m, s));
}

static json_t *
error_of(const struct migrate *m, const struct migration_status *s)
{
	const char *side = migrate_side_name(s->error_side);

	if (s->pause == PAUSE_JOURNAL_FULL || s->pause == PAUSE_JOURNAL_FAILED)
		return migrate_text_printf("the journal %s%s%s", m->path,
					   s->journal_hangs ? " does not answer"
					   : s->error	    ? ": "
							    : " is being written again",
					   !s->journal_hangs && s->error ? error_text(s->error)
									 : "");
	if (migration_over(&m->migration))
		return migrate_end_error(m);
	if (!s->error)
		return json_null();
	if (s->bad_sectors)
		return migrate_text_printf(
			"%" PRIu64 " sectors of the %s %s cannot be read: %s", s->bad_sectors,
			side, migrate_setting(m, side), error_text(s->error));
	return migrate_text_printf("the %s %s: %s", side, migrate_setting(m, side),
				   s->pause == PAUSE_STALLED ? "does not answer"
							     : error_text(s->error));
}

static json_t *
class_of(const struct migration_status *s)
{
	return s->error ? json_string(error_class_name(error_class(s->error))) : json_null();
}

static json_t *
number_or_null(int64_t n)
{
	return n < 0 ? json_null() : json_integer(n);
}

/* Of a latency that has not been measured nothing is known. */
static json_t *
us_or_null(uint64_t ns)
{
	return ns ? json_real((double)ns / 1000) : json_null();
}

static const struct {
	const char *name;
	uint32_t target;
} priorities[] = {
	{ "guest", PACER_GUEST },
	{ "balanced", PACER_BALANCED },
	{ "copy", PACER_COPY },
};

static const char *
priority_of(uint32_t target)
{
	for (size_t i = 0; i < sizeof(priorities) / sizeof(*priorities); i++)
		if (priorities[i].target == target)
			return priorities[i].name;
	return "";
}

static json_t *
bytes_of(const struct migration_status *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "total", (json_int_t)s->total,
			 "valid", (json_int_t)s->valid, "copied", (json_int_t)s->copier.copied,
			 "skipped", (json_int_t)s->copier.skipped, "zero",
			 (json_int_t)s->copier.zero, "only_source", (json_int_t)s->only[SRC],
			 "only_destination", (json_int_t)s->only[DST]);
}

static json_t *
written_to(const struct migration_status *s, enum side side)
{
	return json_pack("{s:I, s:I}", "copy", (json_int_t)s->copier.written[side], "guest",
			 (json_int_t)s->guest_written[side]);
}

static json_t *
journal_of(const struct migrate *m, const struct journal_status *s)
{
	static const char *const states[] = {
		[JOURNAL_STARTING] = "starting",
		[JOURNAL_GOOD] = "good",
		[JOURNAL_FULL] = "full",
		[JOURNAL_FAILED] = "failed",
	};
	bool hangs = m->migration.alone.hangs;

	return json_pack(
		"{s:o, s:s, s:o, s:I, s:I, s:I, s:I}", "path", migrate_text_json(m->path),
		"state", states[hangs ? JOURNAL_FAILED : s->state], "error",
		hangs	   ? json_string("it does not answer")
		: s->error ? json_string(error_text(s->error))
			   : json_null(),
		"bytes", (json_int_t)s->file_bytes, "intents", (json_int_t)s->intents,
		"unwritten", (json_int_t)s->unwritten, "forced", (json_int_t)s->forced);
}

/* Of one that was over when its journal was opened: as it ended, but for what is missing yet.
 */
static json_t *
status_over(const struct migrate *m)
{
	json_t *status = json_deep_copy(json_object_get(m->settings, "result"));

	if (!json_is_object(status)) {
		/* There was no memory for it. */
		json_decref(status);
		status = json_pack("{s:s, s:s, s:s, s:s, s:s}", "uuid", m->uuid, "source",
				   migrate_setting(m, "source"), "destination",
				   migrate_setting(m, "destination"), "strategy",
				   migrate_setting(m, "strategy"), "state",
				   migrate_setting(m, "state"));
	}
	if (m->end.told)
		return status;
	json_object_set_new(status, "state",
			    json_string(m->served == DST ? "completing" : "rolling-back"));
	json_object_set_new(status, "reason", json_string(migrate_end_reason(m)));
	json_object_set_new(status, "error", migrate_end_error(m));
	return status;
}

/* What the source has more than the disk, as far as is known: it may have grown. */
static json_int_t
source_larger_by(const struct migrate *m, uint64_t total)
{
	uint64_t bytes = m->served == DST ? m->end.left_bytes : 0;

	if (!bytes)
		bytes = m->disk[SRC].disk.sectors * SECTOR_BYTES;
	return bytes > total ? (json_int_t)(bytes - total) : 0;
}

json_t *
migrate_status(const struct migrate *m)
{
	struct migration_status s;
	json_t *status;

	if (m->over)
		return status_over(m);
	migration_get_status(&m->migration, &s);
	status = json_pack(
		"{s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s}", "uuid", m->uuid,
		"journal", journal_of(m, &s.journal), "source", migrate_setting(m, "source"),
		"destination", migrate_setting(m, "destination"), "strategy",
		strategy_row(s.strategy)->name, "state", migrate_state_name(m, &s), "reason",
		reason_of(m, &s), "error", error_of(m, &s), "error_class", class_of(&s),
		"complete", m->migration.auto_complete ? "auto" : "manual", "journal_after",
		m->remove ? "remove" : "keep");
	json_object_update_new(
		status,
		json_pack("{s:o, s:{s:o, s:o}, s:{s:I, s:I}, s:i, s:i, s:I, s:i, s:i}", "bytes",
			  bytes_of(&s), "written", "source", written_to(&s, SRC), "destination",
			  written_to(&s, DST), "guest_reads", "source",
			  (json_int_t)s.guest_read[SRC], "destination",
			  (json_int_t)s.guest_read[DST], "pending_writes",
			  (int)s.pending_writes, "delayed_writes", (int)s.held_writes,
			  "delayed_writes_total", (json_int_t)s.delayed_writes, "threshold",
			  (int)s.threshold, "depth", (int)s.depth));
	json_object_update_new(status, json_pack("{s:b, s:b}", "recorded", (int)s.recorded,
						 "without_journal", (int)s.alone));
	json_object_update_new(status,
			       json_pack("{s:s, s:I, s:{s:o, s:o}}", "priority",
					 priority_of(s.guest_latency), "guest_latency_pct",
					 (json_int_t)s.guest_latency, "guest_latency_us",
					 "alone", us_or_null(s.guest_alone_ns), "copying",
					 us_or_null(s.guest_now_ns)));
	json_object_update_new(
		status,
		json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:o}", "rate_mib_s",
			  (json_int_t)(s.rate / MIB), "rate_limit_mib_s",
			  (json_int_t)(s.rate_limit / MIB), "eta_s", number_or_null(s.eta_s),
			  "elapsed_s", (json_int_t)(migrate_elapsed_ns(m) / NS_PER_S), "chunk",
			  (json_int_t)migrate_setting_int(m, "chunk"), "destination_larger_by",
			  (json_int_t)(m->disk[DST].disk.sectors * SECTOR_BYTES - s.total),
			  "source_larger_by", source_larger_by(m, s.total), "map_bytes",
			  (json_int_t)s.map_memory, "hold_ms",
			  s.held_ns < 0 ? json_null()
					: json_real((double)s.held_ns / 1000000)));
	return status;
}

/* --- commands ---------------------------------------------------------------- */

static json_t *
reply_to(const struct migrate *m, int err)
{
	json_t *status = migrate_status(m), *reply;
	const char *state = json_string_value(json_object_get(status, "state"));
	const char *reason = json_string_value(json_object_get(status, "reason"));
	bool waits = reason && *reason;

	if (!err)
		return json_pack("{s:b, s:o}", "ok", 1, "status", status);
	reply = migrate_control_error(
		err, "%s: the migration is %s%s%s%s",
		err == -EALREADY ? "that is so already" : "not now", state ? state : "?",
		waits ? ", reason: " : "", waits ? reason : "",
		err != -EALREADY && waits && !m->ended ? " (resume or cancel it first)" : "");
	json_decref(status);
	return reply;
}

/* The settings that "set" can change: all are checked before any is changed. */
struct changes {
	int strategy;	      /* or -1 */
	json_int_t threshold; /* or -1, as all below */
	json_int_t rate_mib_s;
	json_int_t depth;
	json_int_t guest_latency_pct;
	int auto_complete;
	int remove_journal;
};

/* One of two words: 0 or 1. */
static json_t *
parse_choice(json_t *value, const char *key, const char *const words[2], int *out)
{
	const char *text = json_string_value(value);

	for (*out = 0; text && *out < 2; (*out)++)
		if (!strcmp(text, words[*out]))
			return NULL;
	return migrate_control_error(-EINVAL, "\"%s\" must be \"%s\" or \"%s\"", key, words[0],
				     words[1]);
}

static json_t *
parse_number(json_t *value, const char *key, json_int_t min, json_int_t max, json_int_t *out)
{
	*out = json_integer_value(value);
	if (!json_is_integer(value) || *out < min || *out > max)
		return migrate_control_error(-EINVAL,
					     "\"%s\" must be a whole number from %lld to %lld",
					     key, (long long)min, (long long)max);
	return NULL;
}

static json_t *
parse_priority(json_t *value, json_int_t *target)
{
	const char *text = json_string_value(value);

	for (size_t i = 0; text && i < sizeof(priorities) / sizeof(*priorities); i++)
		if (!strcmp(text, priorities[i].name)) {
			*target = priorities[i].target;
			return NULL;
		}
	return migrate_control_error(
		-EINVAL, "\"priority\" must be \"guest\", \"balanced\" or \"copy\"");
}

static json_t *
parse_change(const char *key, json_t *value, struct changes *c)
{
	const char *text = json_string_value(value);

	if (!strcmp(key, "threshold"))
		return parse_number(value, key, 1, 65536, &c->threshold);
	if (!strcmp(key, "rate_mib_s"))
		return parse_number(value, key, 0, 16384, &c->rate_mib_s);
	if (!strcmp(key, "depth"))
		return parse_number(value, key, 1, COPIER_MAX_DEPTH, &c->depth);
	if (!strcmp(key, "guest_latency_pct"))
		return parse_number(value, key, 0, PACER_TARGET_MAX, &c->guest_latency_pct);
	if (!strcmp(key, "priority"))
		return parse_priority(value, &c->guest_latency_pct);
	if (!strcmp(key, "strategy")) {
		c->strategy = text ? strategy_find(text) : -1;
		return c->strategy >= 0
			       ? NULL
			       : migrate_control_error(-EINVAL, "there is no strategy \"%s\"",
						       text ? text : "");
	}
	if (!strcmp(key, "complete"))
		return parse_choice(value, key, (const char *const[]){ "manual", "auto" },
				    &c->auto_complete);
	if (!strcmp(key, "journal_after"))
		return parse_choice(value, key, (const char *const[]){ "keep", "remove" },
				    &c->remove_journal);
	return strcmp(key, "command")
		       ? migrate_control_error(-EINVAL, "there is nothing \"%s\" to set", key)
		       : NULL;
}

static int
apply_changes(struct migrate *m, const struct changes *c)
{
	struct migration *g = &m->migration;

	/* The one that can be refused comes first. */
	if (c->strategy >= 0) {
		int err = migration_set_strategy(g, (enum strategy)c->strategy);

		if (err)
			return err;
	}
	if (c->threshold >= 0)
		migration_set_threshold(g, (uint32_t)c->threshold);
	if (c->rate_mib_s >= 0)
		migration_set_rate(g, (uint64_t)c->rate_mib_s * MIB);
	if (c->depth >= 0)
		migration_set_depth(g, (unsigned)c->depth);
	if (c->guest_latency_pct >= 0)
		migration_set_guest_latency(g, (uint32_t)c->guest_latency_pct);
	if (c->auto_complete >= 0)
		migration_set_auto(g, c->auto_complete);
	if (c->remove_journal >= 0)
		m->remove = c->remove_journal;
	return 0;
}

static json_t *
command_set(struct migrate *m, json_t *request)
{
	struct changes c = { -1, -1, -1, -1, -1, -1, -1 };
	const char *key;
	json_t *value;

	if (m->over || migration_over(&m->migration))
		return reply_to(m, -EBUSY);
	json_object_foreach(request, key, value)
	{
		json_t *error = parse_change(key, value, &c);

		if (error)
			return error;
	}
	return reply_to(m, apply_changes(m, &c));
}

/* --- commands without settings --------------------------------------------------- */

/* What a command may have beside its name. */
struct words {
	bool force; /* to end without what cannot be done */
	bool keep;  /* cancel: the destination's file, though it was made for this */
};

static bool
is_over(const struct migrate *m)
{
	return m->over || migration_over(&m->migration);
}

static int
command_status(struct migrate *m, const struct words *w)
{
	return 0;
}

static int
command_pause(struct migrate *m, const struct words *w)
{
	return m->over ? -EBUSY : migration_pause(&m->migration);
}

static int
command_resume(struct migrate *m, const struct words *w)
{
	return m->over ? -EBUSY : migration_resume(&m->migration);
}

/* To end one that has ended that way already, but for what cannot be done. */
static int
end_on(struct migrate *m, enum side served, const struct words *w)
{
	if (!m->ended || m->served != served)
		return -EBUSY;
	return w->force ? migrate_end_force(m) : -EALREADY;
}

static int
command_complete(struct migrate *m, const struct words *w)
{
	int err;

	if (is_over(m))
		return end_on(m, DST, w);
	err = migration_complete(&m->migration);
	if (err == -EALREADY && w->force)
		err = 0;
	if (!err)
		m->end.forced = w->force;
	return err;
}

/* That it is to be kept is written down with the rest, and can be said later on too. */
static int
command_cancel(struct migrate *m, const struct words *w)
{
	bool kept = m->keep_destination;
	int err;

	if (is_over(m))
		return end_on(m, SRC, w);
	/* What it alone holds is lost to the guest, and not to be destroyed as well. */
	m->keep_destination |= w->keep || w->force;
	err = w->force ? migration_cancel_forced(&m->migration)
		       : migration_cancel(&m->migration);
	if (err == -EALREADY && w->keep) {
		journal_note(m->journal, NULL);
		err = 0;
	}
	if (err)
		m->keep_destination = kept;
	else
		m->end.forced = w->force;
	return err;
}

static const struct command {
	const char *name;
	int (*run)(struct migrate *m, const struct words *w);
	bool force, keep; /* what it may have */
} commands[] = {
	{ "status", command_status, false, false },
	{ "pause", command_pause, false, false },
	{ "resume", command_resume, false, false },
	{ "complete", command_complete, true, false },
	{ "cancel", command_cancel, true, true },
};

/* NULL, or the error to answer. */
static json_t *
parse_words(const struct command *c, json_t *request, struct words *w)
{
	const char *key;
	json_t *value;

	json_object_foreach(request, key, value)
	{
		if (!strcmp(key, "command"))
			continue;
		if (c->force && !strcmp(key, "force") && json_is_boolean(value))
			w->force = json_is_true(value);
		else if (c->keep && !strcmp(key, "keep") && json_is_boolean(value))
			w->keep = json_is_true(value);
		else
			return migrate_control_error(-EINVAL, "\"%s\" takes no such \"%s\"",
						     c->name, key);
	}
	return NULL;
}

json_t *
migrate_handle(void *ctx, json_t *request)
{
	struct migrate *m = ctx;
	const char *name = json_string_value(json_object_get(request, "command"));
	struct words w = { false };
	json_t *error;

	if (name && !strcmp(name, "set"))
		return command_set(m, request);
	for (size_t i = 0; name && i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(name, commands[i].name))
			continue;
		error = parse_words(&commands[i], request, &w);
		return error ? error : reply_to(m, commands[i].run(m, &w));
	}
	return migrate_control_error(-EINVAL, "there is no command \"%s\"", name ? name : "");
}
