/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block-migrate.c - the plugin: struct tap_disk on one side, migrate/ on the other
 *
 * "migrate:/path/to/journal" is a disk that is moving from one image to another.
 * Opening it goes on with the migration, whether it is new, was closed, or its
 * tapdisk died. When the migration is over, our tapdisk hands the VBD the image
 * that is left, and nothing of the migration remains; in blktap, requests pass
 * through until `tap-ctl unpause -a`.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "tapdisk-disktype.h"
#include "timeout-math.h"

#include "tapdisk-loop.h"
#include "tapdisk-worker.h"

#ifdef TAPDISK_EXTENDED
#include "block-migrate.h"
#endif
#include "migrate-plugin.h"

/* How soon a disk that answers at last is found to have done so. */
#define LINGER_USECS 10000

/* A guest's request on its way through the engine. */
struct guest {
	struct guest_io io;
	struct migrate *migrate;
	td_request_t treq;
};

struct driver_data {
	struct migrate *migrate;
};

/* Closed, while a disk still owes them answers. */
static struct list_head lingering = { &lingering, &lingering };

/* --- the guest's requests --------------------------------------------------- */

static void
guest_done(struct guest_io *io, int err)
{
	struct guest *g = list_entry(io, struct guest, io);
	td_request_t treq = g->treq;

	pool_put(&g->migrate->guests, g);
	td_complete_request(treq, err);
}

/* Of a migration that was over when it was opened: to the disk that is left. */
static void
pass_through(struct migrate *m, td_request_t treq)
{
	td_image_t *image = m->disk[m->served].image;

	treq.image = image;
	switch (treq.op) {
	case TD_OP_READ:
		td_queue_read(image, treq);
		break;
	case TD_OP_WRITE:
		td_queue_write(image, treq);
		break;
#ifdef TAPDISK_EXTENDED
	case TD_OP_FLUSH:
		td_queue_flush(image, treq);
		break;
	case TD_OP_ZERO:
		td_queue_zero(image, treq);
		break;
#endif
	}
}

static void
guest_submit(td_driver_t *driver, td_request_t treq, enum disk_op op)
{
	struct migrate *m = ((struct driver_data *)driver->data)->migrate;
	struct guest *g;

	if (m->over) {
		pass_through(m, treq);
		return;
	}
	g = pool_get(&m->guests);
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

/* --- opening -------------------------------------------------------------------- */

static void
engine_wake_at(void *ctx, uint64_t at_ns)
{
	struct migrate *m = ctx;
	uint64_t now = migrate_now_ns(NULL);
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

/* By a thread: the journal is one that this opening has written. */
static int
publish_live(void *ctx)
{
	struct migrate *m = ctx;

	return migrate_live_publish(m->live);
}

static int
open_journal(struct migrate *m, const struct journal_contents *contents)
{
	struct journal_config config = {
		.store = migrate_store(m->store),
		.epoch = contents->epoch,
		.head = m->head,
		.head_len = m->head_len,
		.log_bytes = (size_t)migrate_setting_int(m, "log_bytes"),
		.note = migrate_record_note,
		.ctx = m,
	};
	char why[ERROR_TEXT];
	int err;

	tapdisk_loop_lend();
	err = migrate_live_begin(m->live, why, sizeof(why));
	tapdisk_loop_take_back();
	if (err) {
		EPRINTF("%s: %s", m->path, why);
		return err;
	}
	migrate_store_on_publish(m->store, publish_live, m);
	memcpy(config.uuid, contents->uuid, sizeof(config.uuid));
	config.live = migrate_live_new(m->live);
	config.old = contents->live ? migrate_live_old_writable(m->live) : NULL;
	m->journal = journal_create(&config, contents->sectors);
	return m->journal ? 0 : -ENOMEM;
}

/* The map is taken in either case. */
static int
open_migration(struct migrate *m, const struct journal_contents *contents, struct validity *map)
{
	struct migration_config config = {
		.disk = { &m->disk[SRC].disk, &m->disk[DST].disk },
		.map = map,
		.strategy = (enum strategy)strategy_find(migrate_setting(m, "strategy")),
		.state = strcmp(migrate_setting(m, "state"), "rolling-back")
				 ? MIGRATION_COPYING
				 : MIGRATION_ROLLING_BACK,
		.chunk = (uint32_t)(migrate_setting_int(m, "chunk") / SECTOR_BYTES),
		.unit = COPIER_UNIT,
		.threshold = (uint32_t)migrate_setting_int(m, "threshold"),
		.depth = (unsigned)migrate_setting_int(m, "depth"),
		.rate = (uint64_t)migrate_setting_int(m, "rate_mib_s") * MIB,
		.guest_latency = (uint32_t)migrate_setting_int(m, "guest_latency_pct"),
		.align = (uint32_t)(m->disk[SRC].image->info.sector_size / SECTOR_BYTES),
		.auto_complete = !strcmp(migrate_setting(m, "complete"), "auto"),
		.stable = !contents->live,
		.owed = contents->owed,
		.paused = json_is_true(json_object_get(m->settings, "paused")),
		.pristine = !strcmp(migrate_setting(m, "state"), MIGRATE_STATE_NEW) &&
			    json_is_true(json_object_get(m->settings, "destination_is_zero")),
#ifndef TAPDISK_EXTENDED
		.writes_are_durable = true,
#endif
		.now_ns = migrate_now_ns,
		.wake_at = engine_wake_at,
		.ended = engine_ended,
		.record_alone = migrate_alone_record,
		.ctx = m,
	};
	struct engine_counters counters;
	int err = open_journal(m, contents);

	if (err) {
		validity_destroy(map);
		return err;
	}
	config.journal = m->journal;
	migrate_record_counters(m, &config.counters, &counters);
	err = migration_init(&m->migration, &config);
	if (err)
		return err;
	m->migration.engine.counters = counters;
	m->started_ns = migrate_now_ns(NULL);
	return 0;
}

static int
open_control(struct migrate *m)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/migrate-%s", migrate_run_dir(), m->uuid);
	return migrate_control_open(&m->control, path, migrate_handle, m);
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

#ifdef TAPDISK_EXTENDED
static int
start_workers(void)
{
	return 0;
}
#else
/* blktap has no threads of that kind: ours, from the first migration on. */
static int
start_workers(void)
{
	static bool started;
	int err = started ? 0 : tapdisk_worker_init();

	started |= !err;
	return err;
}
#endif

static void
migrate_free(struct migrate *m)
{
	/* Nobody knows m any more. */
	tapdisk_loop_lend();
	if (m->live)
		migrate_live_close(m->live, m->saved);
	if (m->store)
		migrate_store_close(m->store);
	if (m->destination_dir >= 0)
		close(m->destination_dir);
	tapdisk_loop_take_back();
	pool_release(&m->guests);
	free(m->abandoned);
	json_decref(m->settings);
	free(m->head);
	free(m->note);
	free(m->path);
	free(m);
}

/* To the guest. */
static void
show_disk(struct migrate *m, enum side side)
{
	m->driver->info = m->disk[side].image->info;
	m->driver->info.size = (td_sector_t)migrate_setting_int(m, "sectors");
}

static void
begin(struct migrate *m)
{
	m->begun = true;
	migration_start(&m->migration);
}

/* All that can fail, in order; undone in the reverse order. The map is taken. */
static int
start_migration(struct migrate *m, const struct journal_contents *contents,
		struct validity *map, td_flag_t flags)
{
	int err;

	err = migrate_disks_open(m, flags);
	if (!err) {
		err = migrate_mark_open(m);
		if (err)
			migrate_disks_close(m);
	}
	if (err) {
		validity_destroy(map);
		return err;
	}
	err = open_migration(m, contents, map);
	if (err)
		goto out_marks;
	err = open_events(m);
	if (err)
		goto out_migration;
	err = open_control(m);
	if (err)
		goto out_events;
	show_disk(m, SRC);
	if (migrate_disks_given(m))
		migration_wake(&m->migration); /* the journal is written */
	else
		begin(m);
	return 0;

out_events:
	close_events(m);
out_migration:
	migration_release(&m->migration);
out_marks:
	migrate_mark_undo(m);
	migrate_disks_close(m);
	return err;
}

/* The disk that is left serves alone, and is handed over at once. */
static int
start_over(struct migrate *m, td_flag_t flags)
{
	int err;

	m->over = m->saved = true;
	m->served = strcmp(migrate_setting(m, "state"), "completed") ? SRC : DST;
	err = migrate_disks_open_one(m, m->served, flags);
	if (err)
		return err;
	err = migrate_mark_check_left(m);
	if (!err)
		err = open_events(m);
	if (err)
		goto out_disk;
	err = open_control(m);
	if (err)
		goto out_events;
	show_disk(m, m->served);
	tapdisk_server_event_set_timeout(m->wake, TV_ZERO);
	return 0;

out_events:
	close_events(m);
out_disk:
	migrate_disks_close(m);
	return err;
}

static int
migrate_start(struct migrate *m, td_flag_t flags)
{
	struct journal_contents contents;
	struct validity *map;
	char text[ERROR_TEXT];
	int state, err;

	err = start_workers();
	if (err)
		return err;
	/* Nobody knows of it yet. */
	tapdisk_loop_lend();
	err = migrate_store_open(&m->store, m->path, text, sizeof(text));
	if (err)
		EPRINTF("%s", text);
	else
		err = migrate_record_load(m, &contents, &map);
	tapdisk_loop_take_back();
	if (err)
		return err;
	state = migration_state_find(migrate_setting(m, "state"));
	if (state != MIGRATION_COMPLETED && state != MIGRATION_CANCELLED)
		return start_migration(m, &contents, map, flags);
	validity_destroy(map);
	return start_over(m, flags);
}

static int
migrate_open(td_driver_t *driver, const char *name, struct td_vbd_encryption *encryption,
	     td_flag_t flags)
{
	struct migrate *m = calloc(1, sizeof(*m));
	int err = -ENOMEM;

	if (!m)
		return err;
	INIT_LIST_HEAD(&m->link);
	pool_init(&m->guests, sizeof(struct guest));
	m->disk[SRC].closed = m->disk[DST].closed = true;
	m->destination_dir = -1;
	m->driver = driver;
	m->encryption = encryption;
	m->path = strdup(name);
	if (!m->path)
		goto fail;
	if (flags & TD_OPEN_RDONLY) {
		EPRINTF("%s: a disk that is read only cannot be migrated", name);
		err = -EROFS;
		goto fail;
	}
	((struct driver_data *)driver->data)->migrate = m;
	err = migrate_start(m, flags);
	if (err)
		goto fail;
	return 0;

fail:
	migrate_free(m);
	return err;
}

/* --- ending --------------------------------------------------------------------- */

/* The driver is closed and the side that had stalled has answered at last. */
static void
bury(struct migrate *m)
{
	list_del(&m->link);
	close_events(m);
	if (!m->over)
		migration_release(&m->migration);
	migrate_disks_close(m);
	migrate_free(m);
}

/* It is over, and that is on stable storage. */
static void
end_migration(struct migrate *m)
{
	if (!m->over)
		m->served = m->migration.state == MIGRATION_COMPLETED ? DST : SRC;
	migrate_end_begin(m);
}

static void
on_tick(event_id_t id, char mode, void *private)
{
	struct migrate *m = private;

	if (m->driver && m->ended)
		migrate_end_go_on(m);
	if (m->over)
		return;
	migration_tick(&m->migration);
	if (!m->driver && migration_quiet(&m->migration))
		bury(m);
}

static void
on_wake(event_id_t id, char mode, void *private)
{
	struct migrate *m = private;

	tapdisk_server_event_set_timeout(id, TV_INF);
	if (!m->over && !migration_over(&m->migration))
		migration_wake(&m->migration);
	else if (!m->ended)
		end_migration(m);
	else if (m->driver)
		migrate_end_go_on(m);
}

/*
 * Only what does not answer stays open, and locked: the other disk may be used. Closing
 * that lends the loop; until it is closed on_tick() takes m for one that has its driver.
 */
static void
linger(struct migrate *m)
{
	engine_retire(&m->migration.engine);
	list_add_tail(&m->link, &lingering);
	tapdisk_server_event_set_timeout(m->tick, TV_USECS(LINGER_USECS));
	for (enum side side = SRC; side < SIDES; side++) {
		if (!m->migration.engine.side[side].inflight)
			image_disk_close(&m->disk[side]);
		else
			EPRINTF("%s: closed, but the %s does not answer: it stays locked until "
				"it does",
				m->path, migrate_side_name(side));
	}
	if (!journal_quiet(m->journal))
		EPRINTF("%s: closed, but the journal does not answer: it stays locked until it "
			"does",
			m->path);
	m->driver = NULL;
}

static void
say_last(struct migrate *m)
{
	json_t *last = json_pack("{s:b, s:o}", "final", 1, "status", migrate_status(m));

	migrate_control_close(m->control, last);
	json_decref(last);
}

/*
 * Whether all that the guest was told is in the journal, and stable; else it is in the
 * live changes, which stay: who opens them knows that not everything has been flushed.
 */
static bool
is_saved(const struct migrate *m)
{
	struct migration_status s;

	migration_get_status(&m->migration, &s);
	if (s.journal.state == JOURNAL_GOOD && !s.journal.unwritten && !s.journal_hangs &&
	    engine_saved(&m->migration.engine))
		return true;
	EPRINTF("%s: not all could be flushed and written down%s%s. Open it again before this "
		"machine is started anew; what the guest has flushed is safe",
		m->path, s.journal.error ? ": " : "",
		s.journal.error ? strerror(-s.journal.error) : "");
	return false;
}

static void
closing_done(struct journal_wait *w)
{
	list_entry(w, struct migrate, closing)->saved = true;
}

/*
 * Once the journal says so nobody looks for the live changes any more. If it cannot
 * be said they are left; nothing is lost either way.
 */
static void
record_closed(struct migrate *m)
{
	m->closed = true;
	m->closing.done = closing_done;
	journal_note(m->journal, &m->closing);
	while (!m->saved && !journal_quiet(m->journal) && !m->migration.alone.hangs)
		tapdisk_server_iterate();
}

/* As asked for, once the VBD has another name. */
static void
remove_journal(struct migrate *m)
{
	int err;

	tapdisk_loop_lend();
	err = migrate_store_remove(m->store);
	tapdisk_loop_take_back();
	if (err)
		EPRINTF("cannot remove the journal %s: %s", m->path, strerror(-err));
}

#ifdef TAPDISK_EXTENDED
static struct migrate *
migrate_of(const td_image_t *image)
{
	return ((struct driver_data *)image->driver->data)->migrate;
}

int
migrate_image_ready(td_image_t *image)
{
	struct journal_status s;

	journal_get_status(migrate_of(image)->journal, &s);
	return s.error ? s.error : s.state == JOURNAL_GOOD;
}

void
migrate_image_begin(td_image_t *image)
{
	struct migrate *m = migrate_of(image);

	for (enum side side = SRC; side < SIDES; side++)
		image_disk_keep(&m->disk[side]);
	migration_source_written(&m->migration);
	begin(m);
}
#endif

/* The guest has never been served by it. Both images hold what they held before. */
static void
forget(struct migrate *m)
{
	while (!migration_quiet(&m->migration) && !migration_only_stalled(&m->migration))
		tapdisk_server_iterate();
	migrate_mark_undo(m);
	m->saved = true;
	remove_journal(m);
}

static void
stop(struct migrate *m)
{
	migration_stop(&m->migration);
	while (!migration_quiet(&m->migration) && !migration_only_stalled(&m->migration))
		tapdisk_server_iterate();
}

/* The guest's requests have been answered. */
static int
migrate_close(td_driver_t *driver)
{
	struct migrate *m = ((struct driver_data *)driver->data)->migrate;

	if (!m->over && !m->begun) {
		forget(m);
	} else if (!m->over) {
		stop(m);
		/* Copies that ended meanwhile are to be in the journal too. */
		stop(m);
		if (migration_over(&m->migration))
			m->saved = true;
		else if (is_saved(m))
			record_closed(m);
	}
	if (!m->ended && (m->over || migration_over(&m->migration)))
		end_migration(m);
	if (m->ended)
		migrate_end_stop(m);
	if (m->remove && m->disk[m->served].handed_over && migrate_end_is_marked(m))
		remove_journal(m);
	say_last(m);
	if (m->over || migration_quiet(&m->migration))
		bury(m);
	else
		linger(m);
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

	tapdisk_stats_field(st, "uuid", "s", m->uuid);
	if (m->over) {
		tapdisk_stats_field(st, "state", "s", migrate_setting(m, "state"));
		return;
	}
	migration_get_status(&m->migration, &s);
	tapdisk_stats_field(st, "state", "s", migrate_state_name(m, &s));
	tapdisk_stats_field(st, "strategy", "s", strategy_row(s.strategy)->name);
	tapdisk_stats_field(st, "total", "llu", (unsigned long long)s.total);
	tapdisk_stats_field(st, "valid", "llu", (unsigned long long)s.valid);
	tapdisk_stats_field(st, "pending", "d", (int)s.pending_writes);
}

#ifdef TAPDISK_EXTENDED
static int
migrate_check_name(td_driver_t *driver)
{
	return migrate_check_names(((struct driver_data *)driver->data)->migrate);
}
#endif

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
	.td_check_name = migrate_check_name,
#endif
};
