/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "tapdisk-loop.h"

#include "image-identity.h"
#include "migrate-plugin.h"
#include "migrate-registry.h"
#include "state-dir.h"

#define CHUNK_MIN (64u << 10)
#define CHUNK_MAX (16u << 20)

uint64_t
migrate_now_ns(void *ctx)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

const char *
migrate_side_name(enum side side)
{
	return side == SRC ? "source" : "destination";
}

const char *
migrate_setting(const struct migrate *m, const char *key)
{
	const char *text = json_string_value(json_object_get(m->settings, key));

	return text ? text : "";
}

bool
migrate_setting_true(const struct migrate *m, const char *key)
{
	return json_is_true(json_object_get(m->settings, key));
}

json_int_t
migrate_setting_int(const struct migrate *m, const char *key)
{
	return json_integer_value(json_object_get(m->settings, key));
}

const char *
migrate_run_dir(void)
{
#ifdef TAPDISK_EXTENDED
	return tapdisk_server_run_dir();
#else
	return "/run/blktap-control";
#endif
}

uint64_t
migrate_elapsed_ns(const struct migrate *m)
{
	return m->before_ns + migrate_now_ns(NULL) - m->started_ns;
}

/* --- what is written down -------------------------------------------------------- */

static json_t *
counters(const struct migrate *m)
{
	const struct copier_counters *n = &m->migration.copier.counters;
	const struct engine_counters *e = &m->migration.engine.counters;

	return json_pack("{s:[I,I,I,I,I,I], s:[I,I,I,I,I], s:I}", "copier",
			 (json_int_t)n->copied, (json_int_t)n->zero, (json_int_t)n->skipped,
			 (json_int_t)n->written[SRC], (json_int_t)n->written[DST],
			 (json_int_t)n->counted_to, "guest", (json_int_t)e->written[SRC],
			 (json_int_t)e->written[DST], (json_int_t)e->read[SRC],
			 (json_int_t)e->read[DST], (json_int_t)e->delayed_writes, "elapsed_ns",
			 (json_int_t)migrate_elapsed_ns(m));
}

/* The last status, once that is known: the engine asks for this before it ends. */
static json_t *
result(const struct migrate *m, enum migration_state state)
{
	json_t *status;

	if (state != MIGRATION_COMPLETED && state != MIGRATION_CANCELLED)
		return json_null();
	status = migrate_status(m);
	json_object_set_new(status, "state", json_string(migration_state_name(state)));
	json_object_set_new(status, "reason", json_string(""));
	if (state == MIGRATION_COMPLETED)
		json_object_set_new(status, "hold_ms",
				    json_real((double)m->migration.held_ns / 1000000));
	return status;
}

/* Whoever opens the journal next needs them, unless this opening is over. */
static json_t *
live(const struct migrate *m, enum migration_state state)
{
	if (m->closed || state == MIGRATION_COMPLETED || state == MIGRATION_CANCELLED)
		return json_null();
	return recovery_note(m->live);
}

static json_t *
note(const struct migrate *m)
{
	const struct migration *g = &m->migration;
	enum migration_state state = migration_recorded_state(g);

	return json_pack("{s:s, s:s, s:i, s:I, s:i, s:i, s:b, s:s, s:s, s:b, s:o, s:o, s:o}",
			 "state", migration_state_name(state), "strategy",
			 strategy_row(g->strategy)->name, "threshold", (int)g->engine.threshold,
			 "rate_mib_s", (json_int_t)(g->copier.pacer.limit.rate / MIB),
			 "guest_latency_pct", (int)g->copier.pacer.target, "depth",
			 (int)g->copier.depth, "paused", (int)g->paused, "complete",
			 g->auto_complete ? "auto" : "manual", "journal_after",
			 m->remove ? "remove" : "keep", "keep_destination",
			 (int)m->keep_destination, "live", live(m, state), "counters",
			 counters(m), "result", result(m, state));
}

/*
 * What must be said of a migration that ends, without memory: its settings are texts and
 * numbers of ours, and its counters and result are not known then.
 */
static size_t
last_note(const struct migrate *m, enum migration_state state, char *buf, size_t size)
{
	const struct migration *g = &m->migration;

	return (size_t)snprintf(buf, size,
				"{\"state\": \"%s\", \"strategy\": \"%s\", \"threshold\": %u, "
				"\"rate_mib_s\": 0, \"depth\": %u, \"journal_after\": \"%s\", "
				"\"keep_destination\": %s}",
				migration_state_name(state), strategy_row(g->strategy)->name,
				g->engine.threshold, g->copier.depth,
				m->remove ? "remove" : "keep",
				m->keep_destination ? "true" : "false");
}

/*
 * Where there is no memory for a new one, the last one stays true enough, unless the
 * migration ends: the disk that is left must be named.
 */
size_t
migrate_record_note(void *ctx, char *buf, size_t size)
{
	struct migrate *m = ctx;
	enum migration_state state = migration_recorded_state(&m->migration);
	json_t *object = note(m);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	size_t len;

	json_decref(object);
	if (text && strlen(text) <= size) {
		free(m->note);
		m->note = text;
	} else {
		free(text);
		if (state == MIGRATION_COMPLETED || state == MIGRATION_CANCELLED)
			return last_note(m, state, buf, size);
	}
	len = strlen(m->note);
	memcpy(buf, m->note, len);
	return len;
}

void
migrate_record_counters(struct migrate *m, struct copier_counters *n, struct engine_counters *e)
{
	json_int_t v[12] = { 0 };

	if (json_unpack(json_object_get(m->settings, "counters"),
			"{s:[I,I,I,I,I,I], s:[I,I,I,I,I], s:I}", "copier", &v[0], &v[1], &v[2],
			&v[3], &v[4], &v[5], "guest", &v[6], &v[7], &v[8], &v[9], &v[10],
			"elapsed_ns", &v[11]))
		memset(v, 0, sizeof(v));
	*n = (struct copier_counters){
		.copied = (uint64_t)v[0],
		.zero = (uint64_t)v[1],
		.skipped = (uint64_t)v[2],
		.written = { (uint64_t)v[3], (uint64_t)v[4] },
		.counted_to = (uint64_t)v[5],
	};
	*e = (struct engine_counters){
		.written = { (uint64_t)v[6], (uint64_t)v[7] },
		.read = { (uint64_t)v[8], (uint64_t)v[9] },
		.delayed_writes = (uint64_t)v[10],
	};
	m->before_ns = (uint64_t)v[11];
}

/* --- what is read ------------------------------------------------------------------ */

/* A setting in range, or a message. */
static int
check_setting(const struct migrate *m, const char *key, json_int_t min, json_int_t max)
{
	json_int_t value = migrate_setting_int(m, key);

	if (json_is_integer(json_object_get(m->settings, key)) && value >= min && value <= max)
		return 0;
	EPRINTF("%s: \"%s\" must be a whole number from %lld to %lld", m->path, key,
		(long long)min, (long long)max);
	return -EINVAL;
}

static int
check_settings(const struct migrate *m)
{
	json_int_t chunk = migrate_setting_int(m, "chunk");
	int err;

	if (strategy_find(migrate_setting(m, "strategy")) < 0) {
		EPRINTF("%s: there is no strategy \"%s\"", m->path,
			migrate_setting(m, "strategy"));
		return -EINVAL;
	}
	err = check_setting(m, "chunk", CHUNK_MIN, CHUNK_MAX);
	if (!err && (chunk & (chunk - 1))) {
		EPRINTF("%s: \"chunk\" must be a power of two", m->path);
		err = -EINVAL;
	}
	if (!err)
		err = check_setting(m, "threshold", 1, 65536);
	if (!err)
		err = check_setting(m, "rate_mib_s", 0, 16384);
	if (!err)
		err = check_setting(m, "depth", 1, COPIER_MAX_DEPTH);
	if (!err && json_object_get(m->settings, "guest_latency_pct"))
		err = check_setting(m, "guest_latency_pct", 0, PACER_TARGET_MAX);
	return err;
}

static int
keep_texts(struct migrate *m, const struct journal_contents *c)
{
	m->head = strndup(c->head, c->head_len);
	m->head_len = c->head_len;
	m->note = c->note ? strndup(c->note, c->note_len) : strdup("{}");
	return m->head && m->note ? 0 : -ENOMEM;
}

/* Whatever is wrong, nothing is written: the file can be looked at. */
static int
refuse(const struct migrate *m, int err, const char *why)
{
	EPRINTF("%s: %s%s", m->path, why,
		err == -EUCLEAN ? " (tap-ctl migrate check says more; nothing has been written)"
				: "");
	return err;
}

/* The record is believed before the journal. The loop is lent for all of the reading. */
static int
find_record(struct migrate *m)
{
	enum migration_state state;
	side_mask side;
	int err;

	err = registry_recorded(m->uuid, &side);
	if (err) {
		EPRINTF("%s: whether it has ended without its journal cannot be read in %s: %s",
			m->path, state_dir(), strerror(-err));
		return err;
	}
	if (side == NO_SIDE)
		return 0;
	state = side == SRC_BIT ? MIGRATION_CANCELLED : MIGRATION_COMPLETED;
	DPRINTF("%s: could not be written when the %s alone became the disk: that is served",
		m->path, migrate_side_name(side == SRC_BIT ? SRC : DST));
	m->by_record = true;
	return json_object_set_new(m->settings, "state",
				   json_string(migration_state_name(state)))
		       ? -ENOMEM
		       : 0;
}

/* The live changes must be there where there are any, and those to come must be found. */
static int
check_live(const struct migrate *m, const struct recovery *r)
{
	json_t *path = json_string(migrate_live_path(r->live_file));
	char why[ERROR_TEXT];

	if (!path)
		return refuse(m, -EILSEQ, "the run directory's name is not UTF-8");
	json_decref(path);
	if (r->live == RECOVERY_LIVE_MISSING) {
		recovery_missing(r, why, sizeof(why));
		return refuse(m, -EUCLEAN, why);
	}
	if (r->live == RECOVERY_LIVE_GONE)
		DPRINTF("%s: the machine was started anew while it was open, or this is "
			"another one: what the guest had not flushed may be lost",
			m->path);
	return 0;
}

static int
load(struct migrate *m, const void *bytes, size_t len, struct journal_contents *c,
     struct validity **map)
{
	struct recovery r;
	char why[ERROR_TEXT];
	int err;

	err = recovery_read(&r, bytes, len, migrate_run_dir(), why, sizeof(why));
	if (err)
		return refuse(m, err, why);
	*c = r.contents;
	migrate_uuid_text(c->uuid, m->uuid);
	m->settings = json_incref(r.settings);
	err = find_record(m);
	if (!err && !m->by_record)
		err = check_live(m, &r);
	if (!err)
		err = check_settings(m);
	if (!err)
		err = keep_texts(m, c);
	if (!err) {
		*map = r.map;
		m->live = r.live_file;
		r.map = NULL;
		r.live_file = NULL;
	}
	recovery_free(&r);
	m->remove = !strcmp(migrate_setting(m, "journal_after"), "remove");
	m->keep_destination = migrate_setting_true(m, "keep_destination");
	if (!err && c->torn)
		DPRINTF("%s: its end was torn when power failed, and is left out", m->path);
	return err;
}

int
migrate_record_load(struct migrate *m, struct journal_contents *c, struct validity **map)
{
	char why[ERROR_TEXT];
	void *bytes;
	size_t len;
	int err;

	err = migrate_store_read(m->store, &bytes, &len, why, sizeof(why));
	if (err) {
		EPRINTF("%s", why);
		return err;
	}
	err = load(m, bytes, len, c, map);
	/* What is of use of them has been copied. */
	c->head = c->note = NULL;
	free(bytes);
	return err;
}

/* --- the disks -------------------------------------------------------------------- */

/* Of files and devices; other images are known by their names only. */
int
migrate_record_check_disk(const struct migrate *m, enum side side)
{
	static const char *const keys[SIDES] = { "source_identity", "destination_identity" };
	const char *recorded = migrate_setting(m, keys[side]);
	char identity[IMAGE_IDENTITY_SIZE];
	int err;

	if (!*recorded || m->disk[side].fd < 0)
		return 0;
	tapdisk_loop_lend();
	err = image_identity(m->disk[side].fd, identity, sizeof(identity));
	tapdisk_loop_take_back();
	if (!err && strcmp(identity, recorded))
		err = -EMEDIUMTYPE;
	if (err)
		EPRINTF("%s: the %s %s is not the disk that this migration began with, which "
			"was %s: this is %s",
			m->path, migrate_side_name(side),
			migrate_setting(m, migrate_side_name(side)), recorded,
			err == -EMEDIUMTYPE ? identity : strerror(-err));
	return err;
}
