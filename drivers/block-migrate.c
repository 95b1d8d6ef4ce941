/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block-migrate.c - the plugin: struct tap_disk on one side, migrate/ on the other
 *
 * "migrate:/path/to/state-file" is a disk that is moving from one image to
 * another (migrate-state.h). Opening it starts or resumes the migration; closing
 * it in order saves what is where. When the migration is over, our tapdisk hands
 * the VBD the image that is left, and nothing of the migration remains; in
 * blktap, requests pass through until `tap-ctl unpause -a`.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "tapdisk-disktype.h"
#include "timeout-math.h"

#include "migrate-control.h"
#include "migrate-disk.h"
#include "migrate-state.h"
#include "migrate/migration.h"

#define NS_PER_S   1000000000ull
#define MIB	   (1ull << 20)
#define CHUNK_MIN  (64u << 10)
#define CHUNK_MAX  (16u << 20)
#define DEPTH	   4 /* chunks copied at once, unless the settings say */
#define ERROR_TEXT 512

/*
 * Lives as long as it has I/O in flight, which may be longer than the driver: a
 * side that has stalled keeps its buffers until it answers.
 */
struct migrate {
	td_driver_t *driver; /* NULL once that is closed */
	char *path;	     /* of the state file */
	json_t *settings;    /* its first line */
	struct image_disk disk[SIDES];
	struct migration migration;
	struct migrate_control *control;
	struct pool guests;
	event_id_t tick; /* once a second */
	event_id_t wake; /* when the engine asked for it, and when it has ended */
	uint64_t started_ns;
	uint64_t before_ns; /* what earlier openings took */
	bool ended;	    /* over, and recorded */
};

/* A guest's request on its way through the engine. */
struct guest {
	struct guest_io io;
	struct migrate *migrate;
	td_request_t treq;
};

struct driver_data {
	struct migrate *migrate;
};

static uint64_t
now_ns(void *ctx)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static const char *
setting(const struct migrate *m, const char *key)
{
	const char *text = json_string_value(json_object_get(m->settings, key));

	return text ? text : "";
}

static json_int_t
setting_int(const struct migrate *m, const char *key)
{
	return json_integer_value(json_object_get(m->settings, key));
}

/* --- the guest's requests --------------------------------------------------- */

static void
guest_done(struct guest_io *io, int err)
{
	struct guest *g = list_entry(io, struct guest, io);
	td_request_t treq = g->treq;

	pool_put(&g->migrate->guests, g);
	td_complete_request(treq, err);
}

static void
guest_submit(td_driver_t *driver, td_request_t treq, enum disk_op op)
{
	struct migrate *m = ((struct driver_data *)driver->data)->migrate;
	struct guest *g = pool_get(&m->guests);

	if (!g) {
		td_complete_request(treq, -ENOMEM);
		return;
	}
	g->migrate = m;
	g->treq = treq;
	g->io.op = op;
	g->io.sector = treq.sec;
	g->io.count = (uint32_t)treq.secs;
	g->io.buf = treq.buf;
	g->io.done = guest_done;
#ifdef TAPDISK_EXTENDED
	g->io.no_hole = treq.flags & TD_REQ_NO_HOLE;
#endif
	migration_guest(&m->migration, &g->io);
}

static void
migrate_queue_read(td_driver_t *driver, td_request_t treq)
{
	guest_submit(driver, treq, DISK_READ);
}

static void
migrate_queue_write(td_driver_t *driver, td_request_t treq)
{
	guest_submit(driver, treq, DISK_WRITE);
}

#ifdef TAPDISK_EXTENDED
static void
migrate_queue_flush(td_driver_t *driver, td_request_t treq)
{
	guest_submit(driver, treq, DISK_FLUSH);
}

static void
migrate_queue_zero(td_driver_t *driver, td_request_t treq)
{
	guest_submit(driver, treq, DISK_ZERO);
}
#endif

/* --- status ------------------------------------------------------------------ */

static const char *
reason_of(const struct migration_status *s)
{
	if (s->pause == PAUSE_WRITE_ERRORS || s->pause == PAUSE_READ_ERRORS)
		return s->error_side == DST ? "destination-errors" : "source-errors";
	return migration_pause_name(s->pause);
}

static const char *
state_of(const struct migration_status *s)
{
	bool paused = s->pause &&
		      (s->state == MIGRATION_COPYING || s->state == MIGRATION_SYNCHRONISED);

	return paused ? "paused" : migration_state_name(s->state);
}

static json_t *
error_of(const struct migrate *m, const struct migration_status *s)
{
	const char *side = s->error_side == SRC ? "source" : "destination";

	if (!s->error)
		return json_null();
	if (s->bad_sectors)
		return json_sprintf("%" PRIu64 " sectors of the %s %s cannot be read: %s",
				    s->bad_sectors, side, setting(m, side),
				    strerror(-s->error));
	return json_sprintf("the %s %s: %s", side, setting(m, side),
			    s->pause == PAUSE_STALLED ? "does not answer"
						      : strerror(-s->error));
}

static json_t *
number_or_null(int64_t n)
{
	return n < 0 ? json_null() : json_integer(n);
}

static json_t *
bytes_of(const struct migration_status *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "total", (json_int_t)s->total, "valid",
			 (json_int_t)s->valid, "copied", (json_int_t)s->copier.copied,
			 "skipped", (json_int_t)s->copier.skipped, "zero",
			 (json_int_t)s->copier.zero);
}

static json_t *
written_to(const struct migration_status *s, enum side side)
{
	return json_pack("{s:I, s:I}", "copy", (json_int_t)s->copier.written[side], "guest",
			 (json_int_t)s->guest_written[side]);
}

static uint64_t
elapsed_ns(const struct migrate *m)
{
	return m->before_ns + now_ns(NULL) - m->started_ns;
}

/* The status object of docs/migrate-protocol.md; NULL if out of memory. */
static json_t *
status_json(const struct migrate *m)
{
	struct migration_status s;
	json_t *status;

	migration_get_status(&m->migration, &s);
	status = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "uuid",
			   setting(m, "uuid"), "state_file", m->path, "source",
			   setting(m, "source"), "destination", setting(m, "destination"),
			   "strategy", strategy_row(s.strategy)->name, "state", state_of(&s),
			   "reason", reason_of(&s), "error", error_of(m, &s), "complete",
			   m->migration.auto_complete ? "auto" : "manual");
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
	json_object_update_new(
		status,
		json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:o}", "rate_mib_s",
			  (json_int_t)(s.rate / MIB), "rate_limit_mib_s",
			  (json_int_t)(s.rate_limit / MIB), "eta_s", number_or_null(s.eta_s),
			  "elapsed_s", (json_int_t)(elapsed_ns(m) / NS_PER_S), "chunk",
			  (json_int_t)setting_int(m, "chunk"), "destination_larger_by",
			  (json_int_t)(m->disk[DST].disk.sectors - m->disk[SRC].disk.sectors) *
				  SECTOR_BYTES,
			  "map_bytes", (json_int_t)s.map_memory, "hold_ms",
			  s.held_ns < 0 ? json_null()
					: json_real((double)s.held_ns / 1000000)));
	return status;
}

/* --- commands ---------------------------------------------------------------- */

static json_t *
reply_to(const struct migrate *m, int err)
{
	struct migration_status s;

	if (!err)
		return json_pack("{s:b, s:o}", "ok", 1, "status", status_json(m));
	migration_get_status(&m->migration, &s);
	if (err == -EALREADY)
		return migrate_control_error(err, "that is so already: the migration is %s%s%s",
					     state_of(&s), s.pause ? ", reason: " : "",
					     reason_of(&s));
	return migrate_control_error(err, "not now: the migration is %s%s%s%s", state_of(&s),
				     s.pause ? ", reason: " : "", reason_of(&s),
				     s.pause && !migration_over(&m->migration)
					     ? " (resume or cancel it first)"
					     : "");
}

/* The settings that "set" can change: all are checked before any is changed. */
struct changes {
	int strategy;	      /* or -1 */
	json_int_t threshold; /* or -1, as all below */
	json_int_t rate_mib_s;
	json_int_t depth;
	int auto_complete;
};

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
parse_change(const char *key, json_t *value, struct changes *c)
{
	const char *text = json_string_value(value);

	if (!strcmp(key, "threshold"))
		return parse_number(value, key, 1, 65536, &c->threshold);
	if (!strcmp(key, "rate_mib_s"))
		return parse_number(value, key, 0, 16384, &c->rate_mib_s);
	if (!strcmp(key, "depth"))
		return parse_number(value, key, 1, COPIER_MAX_DEPTH, &c->depth);
	if (!strcmp(key, "strategy")) {
		c->strategy = text ? strategy_find(text) : -1;
		return c->strategy >= 0
			       ? NULL
			       : migrate_control_error(-EINVAL, "there is no strategy \"%s\"",
						       text ? text : "");
	}
	if (!strcmp(key, "complete")) {
		c->auto_complete = text && !strcmp(text, "auto") ? 1 : 0;
		return text && (c->auto_complete || !strcmp(text, "manual"))
			       ? NULL
			       : migrate_control_error(
					 -EINVAL,
					 "\"complete\" must be \"auto\" or \"manual\"");
	}
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
		json_object_set_new(
			m->settings, "strategy",
			json_string(strategy_row((enum strategy)c->strategy)->name));
	}
	if (c->threshold >= 0)
		migration_set_threshold(g, (uint32_t)c->threshold);
	if (c->rate_mib_s >= 0)
		migration_set_rate(g, (uint64_t)c->rate_mib_s * MIB);
	if (c->depth >= 0)
		migration_set_depth(g, (unsigned)c->depth);
	if (c->auto_complete >= 0)
		migration_set_auto(g, c->auto_complete);
	return 0;
}

static json_t *
command_set(struct migrate *m, json_t *request)
{
	struct changes c = { -1, -1, -1, -1, -1 };
	const char *key;
	json_t *value;

	if (migration_over(&m->migration))
		return reply_to(m, -EBUSY);
	json_object_foreach(request, key, value)
	{
		json_t *error = parse_change(key, value, &c);

		if (error)
			return error;
	}
	return reply_to(m, apply_changes(m, &c));
}

static int
command_status(struct migration *g)
{
	return 0;
}

static json_t *
handle_request(void *ctx, json_t *request)
{
	static const struct {
		const char *name;
		int (*run)(struct migration *);
	} commands[] = {
		{ "status", command_status },	{ "pause", migration_pause },
		{ "resume", migration_resume }, { "complete", migration_complete },
		{ "cancel", migration_cancel },
	};
	struct migrate *m = ctx;
	const char *name = json_string_value(json_object_get(request, "command"));

	if (name && !strcmp(name, "set"))
		return command_set(m, request);
	for (size_t i = 0; name && i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(name, commands[i].name)) {
			if (json_object_size(request) > 1)
				return migrate_control_error(-EINVAL,
							     "\"%s\" takes nothing else", name);
			return reply_to(m, commands[i].run(&m->migration));
		}
	return migrate_control_error(-EINVAL, "there is no command \"%s\"", name ? name : "");
}

/* --- the state file ------------------------------------------------------------ */

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
				      "elapsed_ns", (json_int_t)elapsed_ns(m)));
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

/*
 * A file that is neither new nor saved belongs to a process that died with it.
 * Its map is gone, and nothing is served on a guess.
 */
static int
check_state(const struct migrate *m)
{
	const char *state = setting(m, "state");

	if (!strcmp(state, MIGRATE_STATE_NEW) || !strcmp(state, MIGRATE_STATE_SAVED))
		return 0;
	if (!strcmp(state, "completed") || !strcmp(state, "cancelled")) {
		EPRINTF("%s: this migration is %s; the disk is %s now", m->path, state,
			setting(m, strcmp(state, "completed") ? "source" : "destination"));
		return -EALREADY;
	}
	EPRINTF("%s: a tapdisk ended without closing this migration, or still runs it: which "
		"of "
		"%s and %s holds what is not recorded. With strategy mirror or dbt the source "
		"is "
		"whole; with lr, slr and aio restore it from a backup, or ask for help",
		m->path, setting(m, "source"), setting(m, "destination"));
	return -EUCLEAN;
}

/* --- opening -------------------------------------------------------------------- */

/* "type:path" names a file or device that exists: its identity. */
static bool
identity(const char *name, struct stat *st)
{
	const char *path = strchr(name, ':');

	return path && !stat(path + 1, st);
}

static int
check_not_the_same(const struct migrate *m)
{
	struct stat a, b;

	if (!identity(setting(m, "source"), &a) || !identity(setting(m, "destination"), &b))
		return 0; /* opening it will tell what is wrong */
	if ((S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode))
		    ? a.st_rdev != b.st_rdev
		    : a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return 0;
	EPRINTF("source %s and destination %s are the same disk", setting(m, "source"),
		setting(m, "destination"));
	return -EINVAL;
}

static int
check_fit(const struct migrate *m)
{
	const td_disk_info_t *src = &m->disk[SRC].image->info;
	const td_disk_info_t *dst = &m->disk[DST].image->info;

	if (dst->size < src->size) {
		EPRINTF("destination %s is smaller than the source: %" PRIu64
			" bytes of %" PRIu64,
			setting(m, "destination"), (uint64_t)dst->size * SECTOR_BYTES,
			(uint64_t)src->size * SECTOR_BYTES);
		return -ENOSPC;
	}
	if (dst->sector_size > src->sector_size) {
		EPRINTF("destination %s has sectors of %ld bytes, and the guest was shown %ld: "
			"it "
			"cannot write that little there",
			setting(m, "destination"), dst->sector_size, src->sector_size);
		return -EINVAL;
	}
	return 0;
}

static int
open_disks(struct migrate *m, td_flag_t flags)
{
	int err = check_not_the_same(m);

	if (err)
		return err;
	err = image_disk_open(&m->disk[SRC], setting(m, "source"), flags);
	if (err)
		return err;
	err = image_disk_open(&m->disk[DST], setting(m, "destination"), flags);
	if (!err) {
		err = check_fit(m);
		if (err)
			image_disk_close(&m->disk[DST]);
	}
	if (err)
		image_disk_close(&m->disk[SRC]);
	return err;
}

static void
close_disks(struct migrate *m)
{
	image_disk_close(&m->disk[DST]);
	image_disk_close(&m->disk[SRC]);
}

/* The map as it was when the migration was last closed; all SRC if it is new. */
static int
load_map(struct migrate *m, struct validity **map)
{
	char text[ERROR_TEXT];
	int err = 0;

	*map = validity_create(m->disk[SRC].disk.sectors, SRC_BIT);
	if (!*map)
		return -ENOMEM;
	if (!strcmp(setting(m, "state"), MIGRATE_STATE_SAVED))
		err = migrate_state_load_map(m->path, read_run, *map, text, sizeof(text));
	if (err) {
		EPRINTF("%s", text);
		validity_destroy(*map);
	}
	return err;
}

/* A setting in range, or a message. */
static int
check_setting(const struct migrate *m, const char *key, json_int_t min, json_int_t max)
{
	json_int_t value = setting_int(m, key);

	if (json_is_integer(json_object_get(m->settings, key)) && value >= min && value <= max)
		return 0;
	EPRINTF("%s: \"%s\" must be a whole number from %lld to %lld", m->path, key,
		(long long)min, (long long)max);
	return -EINVAL;
}

static int
check_settings(const struct migrate *m)
{
	json_int_t chunk = setting_int(m, "chunk");
	int err;

	if (!json_object_get(m->settings, "depth"))
		json_object_set_new(m->settings, "depth", json_integer(DEPTH));

	if (strategy_find(setting(m, "strategy")) < 0) {
		EPRINTF("%s: there is no strategy \"%s\"", m->path, setting(m, "strategy"));
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

static void
engine_wake_at(void *ctx, uint64_t at_ns)
{
	struct migrate *m = ctx;
	uint64_t now = now_ns(NULL);
	uint64_t usecs = at_ns > now ? (at_ns - now + 999) / 1000 : 0;

	tapdisk_server_event_set_timeout(m->wake, TV_USECS((long)usecs));
}

/* The engine has ended the migration; what follows is done outside of it. */
static void
engine_ended(void *ctx)
{
	struct migrate *m = ctx;

	tapdisk_server_event_set_timeout(m->wake, TV_ZERO);
}

static int
open_migration(struct migrate *m)
{
	struct migration_config config = {
		.disk = { &m->disk[SRC].disk, &m->disk[DST].disk },
		.strategy = (enum strategy)strategy_find(setting(m, "strategy")),
		.state = strcmp(setting(m, "phase"), "rolling-back") ? MIGRATION_COPYING
								     : MIGRATION_ROLLING_BACK,
		.chunk = (uint32_t)(setting_int(m, "chunk") / SECTOR_BYTES),
		.threshold = (uint32_t)setting_int(m, "threshold"),
		.depth = (unsigned)setting_int(m, "depth"),
		.rate = (uint64_t)setting_int(m, "rate_mib_s") * MIB,
		.align = (uint32_t)(m->disk[SRC].image->info.sector_size / SECTOR_BYTES),
		.auto_complete = !strcmp(setting(m, "complete"), "auto"),
		.paused = json_is_true(json_object_get(m->settings, "paused")),
		.pristine = !strcmp(setting(m, "state"), MIGRATE_STATE_NEW) &&
			    json_is_true(json_object_get(m->settings, "destination_is_zero")),
		.now_ns = now_ns,
		.wake_at = engine_wake_at,
		.ended = engine_ended,
		.ctx = m,
	};
	struct engine_counters counters;
	int err;

	restore_counters(m, &config.counters, &counters);
	err = load_map(m, &config.map);
	if (err)
		return err;
	err = migration_init(&m->migration, &config);
	if (err)
		return err;
	m->migration.engine.counters = counters;
	m->started_ns = now_ns(NULL);
	return 0;
}

static const char *
run_dir(void)
{
#ifdef TAPDISK_EXTENDED
	return tapdisk_server_run_dir();
#else
	return "/run/blktap-control";
#endif
}

static int
open_control(struct migrate *m)
{
	const char *uuid = setting(m, "uuid");
	char path[512];

	if (strlen(uuid) != 36 || strspn(uuid, "0123456789abcdef-") != 36) {
		EPRINTF("%s: \"uuid\" is none", m->path);
		return -EINVAL;
	}
	snprintf(path, sizeof(path), "%s/migrate-%s", run_dir(), uuid);
	return migrate_control_open(&m->control, path, handle_request, m);
}

static void on_tick(event_id_t id, char mode, void *private);
static void on_wake(event_id_t id, char mode, void *private);

static int
open_events(struct migrate *m)
{
	m->tick = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_USECS(1000000),
						on_tick, m);
	if (m->tick < 0)
		return m->tick;
	m->wake = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_INF, on_wake, m);
	if (m->wake < 0) {
		tapdisk_server_unregister_event(m->tick);
		return m->wake;
	}
	return 0;
}

static void
close_events(struct migrate *m)
{
	tapdisk_server_unregister_event(m->tick);
	tapdisk_server_unregister_event(m->wake);
}

/* From now on only we know the map: the file says so until it is closed. */
static int
mark_open(struct migrate *m)
{
	char text[ERROR_TEXT];
	int err;

	json_object_set_new(m->settings, "state", json_string(MIGRATE_STATE_OPEN));
	err = migrate_state_save(m->path, m->settings, NULL, NULL, text, sizeof(text));
	if (err)
		EPRINTF("%s", text);
	return err;
}

static void
migrate_free(struct migrate *m)
{
	pool_release(&m->guests);
	json_decref(m->settings);
	free(m->path);
	free(m);
}

/* All that can fail, in order; undone in the reverse order. */
static int
migrate_start(struct migrate *m, td_flag_t flags)
{
	int err;

	err = check_state(m);
	if (!err)
		err = check_settings(m);
	if (!err)
		err = open_disks(m, flags);
	if (err)
		return err;
	err = open_migration(m);
	if (err)
		goto out_disks;
	err = open_events(m);
	if (err)
		goto out_migration;
	err = open_control(m);
	if (err)
		goto out_events;
	err = mark_open(m);
	if (err)
		goto out_control;
	return 0;

out_control:
	migrate_control_close(m->control, NULL);
out_events:
	close_events(m);
out_migration:
	migration_release(&m->migration);
out_disks:
	close_disks(m);
	return err;
}

static int
migrate_open(td_driver_t *driver, const char *name, struct td_vbd_encryption *encryption,
	     td_flag_t flags)
{
	struct migrate *m = calloc(1, sizeof(*m));
	char text[ERROR_TEXT];
	int err = -ENOMEM;

	if (!m)
		return err;
	pool_init(&m->guests, sizeof(struct guest));
	m->driver = driver;
	m->path = strdup(name);
	if (!m->path)
		goto fail;
	if (flags & TD_OPEN_RDONLY) {
		EPRINTF("%s: a disk that is read only cannot be migrated", name);
		err = -EROFS;
		goto fail;
	}
	err = migrate_state_load(m->path, &m->settings, text, sizeof(text));
	if (err) {
		EPRINTF("%s", text);
		goto fail;
	}
	err = migrate_start(m, flags);
	if (err)
		goto fail;
	driver->info = m->disk[SRC].image->info;
	((struct driver_data *)driver->data)->migrate = m;
	migration_start(&m->migration);
	return 0;

fail:
	migrate_free(m);
	return err;
}

/* --- ending --------------------------------------------------------------------- */

/* Writes the result down, once, and tells who listens. */
static void
record_end(struct migrate *m)
{
	char text[ERROR_TEXT];

	if (m->ended)
		return;
	m->ended = true;
	record(m, migration_state_name(m->migration.state));
	json_object_set_new(m->settings, "result", status_json(m));
	if (migrate_state_save(m->path, m->settings, NULL, NULL, text, sizeof(text)))
		EPRINTF("the migration is %s, but %s", migration_state_name(m->migration.state),
			text);
}

#ifdef TAPDISK_EXTENDED
/*
 * The VBD goes on with the disk that is left, without us. If it cannot, because
 * it is being closed, requests pass through until it is.
 */
static void
hand_over(struct migrate *m)
{
	bool completed = m->migration.state == MIGRATION_COMPLETED;
	enum side side = completed ? DST : SRC;
	int err = tapdisk_vbd_replace_image(m->driver, m->disk[side].image,
					    setting(m, completed ? "destination" : "source"));

	if (!err)
		image_disk_hand_over(&m->disk[side]);
	else
		DPRINTF("%s: requests pass through to the %s: %s", m->path,
			completed ? "destination" : "source", strerror(-err));
}
#else
static void
hand_over(struct migrate *m)
{
}
#endif

/* The driver is closed and the side that had stalled has answered at last. */
static void
bury(struct migrate *m)
{
	close_events(m);
	migration_release(&m->migration);
	close_disks(m);
	migrate_free(m);
}

static void
on_tick(event_id_t id, char mode, void *private)
{
	struct migrate *m = private;

	migration_tick(&m->migration);
	if (!m->driver && migration_quiet(&m->migration))
		bury(m);
}

static void
on_wake(event_id_t id, char mode, void *private)
{
	struct migrate *m = private;

	tapdisk_server_event_set_timeout(id, TV_INF);
	if (!migration_over(&m->migration)) {
		migration_tick(&m->migration);
	} else if (!m->ended) {
		record_end(m);
		hand_over(m);
	}
}

/* Nothing is in flight but with a side that does not answer. */
static bool
only_stalled(const struct migrate *m)
{
	const struct side_state *s = m->migration.engine.side;

	return (!s[SRC].inflight || s[SRC].stalled) && (!s[DST].inflight || s[DST].stalled);
}

static int
save(struct migrate *m)
{
	char text[ERROR_TEXT];
	int err;

	record(m, MIGRATE_STATE_SAVED);
	err = migrate_state_save(m->path, m->settings, write_map, m, text, sizeof(text));
	if (err) {
		EPRINTF("%s; the disk stays open, for what is where would be lost", text);
		json_object_set_new(m->settings, "state", json_string(MIGRATE_STATE_OPEN));
	}
	return err;
}

static void
say_last(struct migrate *m)
{
	json_t *last = json_pack("{s:b, s:o}", "final", 1, "status", status_json(m));

	migrate_control_close(m->control, last);
	json_decref(last);
}

/*
 * The guest's requests have been answered. Refuses, and goes on, if what is
 * where cannot be saved (a host that closes us all the same, as blktap does,
 * has a state file that says it was left open).
 */
static int
migrate_close(td_driver_t *driver)
{
	struct migrate *m = ((struct driver_data *)driver->data)->migrate;
	int err;

	migration_stop(&m->migration);
	while (!migration_quiet(&m->migration) && !only_stalled(m))
		tapdisk_server_iterate();
	if (migration_over(&m->migration)) {
		record_end(m);
	} else {
		err = save(m);
		if (err) {
			migration_start(&m->migration);
			return err;
		}
	}
	say_last(m);
	m->driver = NULL;
	if (migration_quiet(&m->migration))
		bury(m);
	else
		EPRINTF("%s: closed, but a disk does not answer: it stays locked until it does",
			m->path);
	return 0;
}

static int
migrate_get_parent_id(td_driver_t *driver, td_disk_id_t *id)
{
	return TD_NO_PARENT;
}

static int
migrate_validate_parent(td_driver_t *driver, td_driver_t *parent, td_flag_t flags)
{
	return -EINVAL;
}

static void
migrate_stats(td_driver_t *driver, td_stats_t *st)
{
	struct migrate *m = ((struct driver_data *)driver->data)->migrate;
	struct migration_status s;

	migration_get_status(&m->migration, &s);
	tapdisk_stats_field(st, "state", "s", state_of(&s));
	tapdisk_stats_field(st, "strategy", "s", strategy_row(s.strategy)->name);
	tapdisk_stats_field(st, "total", "llu", (unsigned long long)s.total);
	tapdisk_stats_field(st, "valid", "llu", (unsigned long long)s.valid);
	tapdisk_stats_field(st, "pending", "d", (int)s.pending_writes);
}

/* Not const: blktap's table of drivers has pointers to what may be changed. */
extern struct tap_disk tapdisk_migrate;

struct tap_disk tapdisk_migrate = {
	.disk_type = "tapdisk_migrate",
	.private_data_size = sizeof(struct driver_data),
	.td_open = migrate_open,
	.td_close = migrate_close,
	.td_get_parent_id = migrate_get_parent_id,
	.td_validate_parent = migrate_validate_parent,
	.td_queue_read = migrate_queue_read,
	.td_queue_write = migrate_queue_write,
	.td_stats = migrate_stats,
#ifdef TAPDISK_EXTENDED
	.td_queue_flush = migrate_queue_flush,
	.td_queue_zero = migrate_queue_zero,
#endif
};
