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
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "tapdisk-disktype.h"
#include "timeout-math.h"

#include "migrate-plugin.h"
#include "migrate-state.h"

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

	if (!identity(migrate_setting(m, "source"), &a) ||
	    !identity(migrate_setting(m, "destination"), &b))
		return 0; /* opening it will tell what is wrong */
	if ((S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode))
		    ? a.st_rdev != b.st_rdev
		    : a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return 0;
	EPRINTF("source %s and destination %s are the same disk", migrate_setting(m, "source"),
		migrate_setting(m, "destination"));
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
			migrate_setting(m, "destination"), (uint64_t)dst->size * SECTOR_BYTES,
			(uint64_t)src->size * SECTOR_BYTES);
		return -ENOSPC;
	}
	if (dst->sector_size > src->sector_size) {
		EPRINTF("destination %s has sectors of %ld bytes, and the guest was shown %ld: "
			"it "
			"cannot write that little there",
			migrate_setting(m, "destination"), dst->sector_size, src->sector_size);
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
	err = image_disk_open(&m->disk[SRC], migrate_setting(m, "source"), flags);
	if (err)
		return err;
	err = image_disk_open(&m->disk[DST], migrate_setting(m, "destination"), flags);
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

static int
open_migration(struct migrate *m)
{
	struct migration_config config = {
		.disk = { &m->disk[SRC].disk, &m->disk[DST].disk },
		.strategy = (enum strategy)strategy_find(migrate_setting(m, "strategy")),
		.state = strcmp(migrate_setting(m, "phase"), "rolling-back")
				 ? MIGRATION_COPYING
				 : MIGRATION_ROLLING_BACK,
		.chunk = (uint32_t)(migrate_setting_int(m, "chunk") / SECTOR_BYTES),
		.threshold = (uint32_t)migrate_setting_int(m, "threshold"),
		.depth = (unsigned)migrate_setting_int(m, "depth"),
		.rate = (uint64_t)migrate_setting_int(m, "rate_mib_s") * MIB,
		.align = (uint32_t)(m->disk[SRC].image->info.sector_size / SECTOR_BYTES),
		.auto_complete = !strcmp(migrate_setting(m, "complete"), "auto"),
		.paused = json_is_true(json_object_get(m->settings, "paused")),
		.pristine = !strcmp(migrate_setting(m, "state"), MIGRATE_STATE_NEW) &&
			    json_is_true(json_object_get(m->settings, "destination_is_zero")),
		.now_ns = migrate_now_ns,
		.wake_at = engine_wake_at,
		.ended = engine_ended,
		.ctx = m,
	};
	struct engine_counters counters;
	int err;

	err = migrate_restore(m, &config.map, &config.counters, &counters);
	if (err)
		return err;
	err = migration_init(&m->migration, &config);
	if (err)
		return err;
	m->migration.engine.counters = counters;
	m->started_ns = migrate_now_ns(NULL);
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
	const char *uuid = migrate_setting(m, "uuid");
	char path[512];

	if (strlen(uuid) != 36 || strspn(uuid, "0123456789abcdef-") != 36) {
		EPRINTF("%s: \"uuid\" is none", m->path);
		return -EINVAL;
	}
	snprintf(path, sizeof(path), "%s/migrate-%s", run_dir(), uuid);
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

static void
unlock(struct migrate *m)
{
	if (m->lock >= 0)
		close(m->lock);
	m->lock = -1;
}

static void
migrate_free(struct migrate *m)
{
	unlock(m);
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

	err = migrate_check_settings(m);
	if (err == -EALREADY)
		migrate_mark_recover(m);
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
	err = migrate_mark_open(m);
	if (err)
		goto out_control;
	err = migrate_record_open(m);
	if (err)
		goto out_mark;
	return 0;

out_mark:
	migrate_mark_undo(m);
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
	INIT_LIST_HEAD(&m->link);
	pool_init(&m->guests, sizeof(struct guest));
	m->driver = driver;
	m->lock = -1;
	m->path = strdup(name);
	if (!m->path)
		goto fail;
	if (flags & TD_OPEN_RDONLY) {
		EPRINTF("%s: a disk that is read only cannot be migrated", name);
		err = -EROFS;
		goto fail;
	}
	err = migrate_state_lock(m->path, &m->lock, text, sizeof(text));
	if (!err)
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
	int err = tapdisk_vbd_replace_image(
		m->driver, m->disk[side].image,
		migrate_setting(m, completed ? "destination" : "source"));

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

static void
write_end(struct migrate *m)
{
	if (!migrate_record_end(m, migrate_status(m)))
		migrate_mark_end(m);
}

/* The driver is closed and the side that had stalled has answered at last. */
static void
bury(struct migrate *m)
{
	list_del(&m->link);
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
		write_end(m);
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

/* Only what does not answer stays open, and locked: the other disk may be used. */
static void
linger(struct migrate *m)
{
	list_add_tail(&m->link, &lingering);
	tapdisk_server_event_set_timeout(m->tick, TV_USECS(LINGER_USECS));
	for (enum side side = SRC; side < SIDES; side++) {
		if (!m->migration.engine.side[side].inflight)
			image_disk_close(&m->disk[side]);
		else
			EPRINTF("%s: closed, but the %s does not answer: it stays locked until "
				"it does",
				m->path, side == SRC ? "source" : "destination");
	}
}

static void
say_last(struct migrate *m)
{
	json_t *last = json_pack("{s:b, s:o}", "final", 1, "status", migrate_status(m));

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
		if (!m->ended)
			write_end(m);
	} else {
		err = migrate_record_saved(m);
		if (err) {
			migration_start(&m->migration);
			return err;
		}
	}
	say_last(m);
	unlock(m);
	m->driver = NULL;
	if (migration_quiet(&m->migration))
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

	migration_get_status(&m->migration, &s);
	tapdisk_stats_field(st, "state", "s", migrate_state_name(&s));
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
