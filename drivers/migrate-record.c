/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"

#include "migrate-plugin.h"
#include "migrate-state.h"

#define CHUNK_MIN (64u << 10)
#define CHUNK_MAX (16u << 20)
#define DEPTH	  4 /* chunks copied at once, unless the settings say */

uint64_t
migrate_now_ns(void *ctx)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

const char *
migrate_setting(const struct migrate *m, const char *key)
{
	const char *text = json_string_value(json_object_get(m->settings, key));

	return text ? text : "";
}

json_int_t
migrate_setting_int(const struct migrate *m, const char *key)
{
	return json_integer_value(json_object_get(m->settings, key));
}

uint64_t
migrate_elapsed_ns(const struct migrate *m)
{
	return m->before_ns + migrate_now_ns(NULL) - m->started_ns;
}

/* Brings the settings up to what the migration has come to. */
static void
record(struct migrate *m, const char *state)
{
	const struct migration *g = &m->migration;
	const struct copier_counters *n = &g->copier.counters;
	const struct engine_counters *e = &g->engine.counters;

	json_object_set_new(m->settings, "state", json_string(state));
	json_object_set_new(
		m->settings, "phase",
		json_string(g->state == MIGRATION_ROLLING_BACK ? "rolling-back" : "copying"));
	json_object_set_new(m->settings, "paused", json_boolean(g->paused));
	json_object_set_new(m->settings, "threshold", json_integer(g->engine.threshold));
	json_object_set_new(m->settings, "rate_mib_s",
			    json_integer((json_int_t)(g->copier.pacer.rate / MIB)));
	json_object_set_new(m->settings, "depth", json_integer(g->copier.depth));
	json_object_set_new(m->settings, "complete",
			    json_string(g->auto_complete ? "auto" : "manual"));
	json_object_set_new(m->settings, "counters",
			    json_pack("{s:[I,I,I,I,I,I], s:[I,I,I,I,I], s:I}", "copier",
				      (json_int_t)n->copied, (json_int_t)n->zero,
				      (json_int_t)n->skipped, (json_int_t)n->written[SRC],
				      (json_int_t)n->written[DST], (json_int_t)n->counted_to,
				      "guest", (json_int_t)e->written[SRC],
				      (json_int_t)e->written[DST], (json_int_t)e->read[SRC],
				      (json_int_t)e->read[DST], (json_int_t)e->delayed_writes,
				      "elapsed_ns", (json_int_t)migrate_elapsed_ns(m)));
}

/* The counters of earlier openings; zeroes for a new migration. */
static void
restore_counters(struct migrate *m, struct copier_counters *n, struct engine_counters *e)
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

struct counted_file {
	FILE *file;
	uint64_t runs;
};

static int
put_run(void *ctx, uint64_t sector, uint64_t count, side_mask sides)
{
	struct counted_file *c = ctx;

	c->runs++;
	return fprintf(c->file, "%" PRIu64 " %" PRIu64 " %u\n", sector, count, sides) < 0 ? -EIO
											  : 0;
}

static int
write_map(FILE *file, void *ctx)
{
	const struct migrate *m = ctx;
	struct counted_file counted = { .file = file };
	int err = validity_save(m->migration.engine.map, put_run, &counted);

	if (!err && fprintf(file, "end %" PRIu64 "\n", counted.runs) < 0)
		err = -EIO;
	return err;
}

static int
read_run(void *ctx, uint64_t sector, uint64_t count, unsigned sides)
{
	struct validity *map = ctx;
	uint64_t size = validity_sectors(map);
	int err;

	if (!count || sector >= size || count > size - sector || !sides || sides > BOTH)
		return -EINVAL;
	err = validity_reserve(map);
	if (err)
		return err;
	validity_set(map, sector, count, (side_mask)sides);
	validity_unreserve(map);
	return 0;
}

/* As it was when the migration was last closed; all SRC if it is new. */
static int
load_map(struct migrate *m, struct validity **map)
{
	char text[ERROR_TEXT];
	int err = 0;

	*map = validity_create(m->disk[SRC].disk.sectors, SRC_BIT);
	if (!*map)
		return -ENOMEM;
	if (!strcmp(migrate_setting(m, "state"), MIGRATE_STATE_SAVED))
		err = migrate_state_load_map(m->path, read_run, *map, text, sizeof(text));
	if (err) {
		EPRINTF("%s", text);
		validity_destroy(*map);
	}
	return err;
}

int
migrate_restore(struct migrate *m, struct validity **map, struct copier_counters *copier,
		struct engine_counters *engine)
{
	restore_counters(m, copier, engine);
	return load_map(m, map);
}

static int
check_state(const struct migrate *m)
{
	const char *state = migrate_setting(m, "state");

	if (!strcmp(state, MIGRATE_STATE_NEW) || !strcmp(state, MIGRATE_STATE_SAVED))
		return 0;
	if (!strcmp(state, "completed") || !strcmp(state, "cancelled")) {
		EPRINTF("%s: this migration is %s; the disk is %s now", m->path, state,
			migrate_setting(m,
					strcmp(state, "completed") ? "source" : "destination"));
		return -EALREADY;
	}
	EPRINTF("%s: its tapdisk died: what is where is not recorded. With mirror or dbt the "
		"source is whole; with lr, slr or aio (this is %s) neither disk need "
		"be",
		m->path, migrate_setting(m, "strategy"));
	return -EUCLEAN;
}

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

int
migrate_check_settings(struct migrate *m)
{
	json_int_t chunk = migrate_setting_int(m, "chunk");
	int err = check_state(m);

	if (err)
		return err;

	if (!json_object_get(m->settings, "depth"))
		json_object_set_new(m->settings, "depth", json_integer(DEPTH));

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
	return err;
}

int
migrate_record_open(struct migrate *m)
{
	char text[ERROR_TEXT];
	int err;

	json_object_set_new(m->settings, "state", json_string(MIGRATE_STATE_OPEN));
	err = migrate_state_save(m->path, &m->lock, m->settings, NULL, NULL, text,
				 sizeof(text));
	if (err)
		EPRINTF("%s", text);
	return err;
}

int
migrate_record_saved(struct migrate *m)
{
	char text[ERROR_TEXT];
	int err;

	record(m, MIGRATE_STATE_SAVED);
	err = migrate_state_save(m->path, &m->lock, m->settings, write_map, m, text,
				 sizeof(text));
	if (err) {
		EPRINTF("%s; the disk stays open, for what is where would be lost", text);
		json_object_set_new(m->settings, "state", json_string(MIGRATE_STATE_OPEN));
	}
	return err;
}

int
migrate_record_end(struct migrate *m, json_t *result)
{
	char text[ERROR_TEXT];
	int err;

	m->ended = true;
	record(m, migration_state_name(m->migration.state));
	json_object_set_new(m->settings, "result", result);
	err = migrate_state_save(m->path, &m->lock, m->settings, NULL, NULL, text,
				 sizeof(text));
	if (err)
		EPRINTF("the migration is %s, but %s", migration_state_name(m->migration.state),
			text);
	return err;
}
