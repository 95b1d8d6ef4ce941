/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-alone.c - the record that one side alone is the disk
 *
 * Where the journal cannot be written the engine may ask for it (migrate/alone.h).
 * The record is a file in the state directory (migrate-registry.h), which every
 * opening of the journal on this host looks for. Another host does not have it; so
 * that image loses its mark too, and a journal whose image has lost its mark is not
 * opened (migrate-mark.c). In order, each stable before the next:
 *
 *	made		the file is written; then the image's mark is cleared
 *	removed		the image is marked again; then the file is removed
 *
 * Whenever the process dies: with the file, opening the journal serves that image.
 * Without it, the image is marked and the journal is what counts. An image that has
 * no mark is the whole disk, and may be opened by its own name, which is the way out
 * where the journal cannot be read at all.
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
#include "tapdisk-worker.h"

#include "migrate-plugin.h"
#include "migrate-registry.h"

#define UNDO_TRIES 10

/* The engine waits for it, whatever else happens. */
struct task {
	struct td_work work;
	struct migrate *m;
	side_mask side;		    /* to be recorded */
	struct mark_change *change; /* of the image's mark */
	int err;
};

/*
 * A record of which the engine does not know must not stay: it is believed before the
 * journal. If the state directory fails for that too, there is no more to be done.
 */
static int
make(struct task *task)
{
	int err = registry_record(task->m->uuid, task->side);

	if (!err)
		err = migrate_mark_change(task->change);
	for (int tries = 0; err && tries < UNDO_TRIES; tries++) {
		if (!registry_record(task->m->uuid, NO_SIDE))
			break;
		sleep(1);
	}
	return err;
}

static int
unmake(struct task *task)
{
	int err = migrate_mark_change(task->change);

	return err ? err : registry_record(task->m->uuid, NO_SIDE);
}

/* By a thread; of m it looks at the UUID, which does not change. */
static void
task_run(struct td_work *work)
{
	struct task *task = list_entry(work, struct task, work);

	task->err = task->side == NO_SIDE ? unmake(task) : make(task);
	migrate_mark_change_free(task->change);
}

static void
task_done(struct td_work *work)
{
	struct task *task = list_entry(work, struct task, work);
	struct migrate *m = task->m;
	int err = task->err;

	if (err)
		EPRINTF("%s: cannot be written, and that one disk alone has everything cannot "
			"be recorded elsewhere: %s",
			m->path, strerror(-err));
	else if (task->side != NO_SIDE)
		EPRINTF("%s: cannot be written; the %s %s has everything and serves alone",
			m->path, migrate_side_name(task->side == SRC_BIT ? SRC : DST),
			migrate_setting(m,
					migrate_side_name(task->side == SRC_BIT ? SRC : DST)));
	else
		DPRINTF("%s: is written again", m->path);
	free(task);
	migration_recorded_alone(&m->migration, err);
}

void
migrate_alone_record(void *ctx, side_mask side)
{
	struct migrate *m = ctx;
	struct task *task = calloc(1, sizeof(*task));
	/* The destination's stays for ever: only the source's is removed again. */
	enum side image = side == DST_BIT ? DST : SRC;

	if (task)
		task->change = migrate_mark_change_alone(m, image, side != NO_SIDE);
	if (!task || !task->change) {
		free(task);
		migration_recorded_alone(&m->migration, -ENOMEM);
		return;
	}
	task->m = m;
	task->side = side;
	task->work.run = task_run;
	task->work.done = task_done;
	tapdisk_worker_submit(&task->work);
}
