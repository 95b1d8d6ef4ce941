/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-mark.c - the marks of a migration's images (image-mark.h)
 *
 * The steps, each on stable storage before the next:
 *
 *	opening		the destination is marked, then the source; then the journal
 *			says "open", and the guest is served
 *	completing	the journal says "completed"; then the destination's mark
 *			goes; then the source's says "superseded" instead of "source"
 *	cancelling	the journal says "cancelled"; then the source's mark goes;
 *			then the destination's
 *
 * So whenever the process dies, an image without a mark holds the whole disk (or
 * nothing, where it is the destination and has not been written to), and a mark
 * names a journal that tells what to do. Once that says "completed" or
 * "cancelled", opening it does the steps that are missing, for each of them can
 * be done again.
 *
 * The image that is left has just been flushed. The other one may be on a disk
 * that does not answer, so a worker waits for that.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#ifdef TAPDISK_EXTENDED
#include "tapdisk-worker.h"
#endif

#include "image-mark.h"
#include "state-dir.h"
#include "migrate-plugin.h"

static const enum image_mark_role roles[SIDES] = {
	[SRC] = IMAGE_MARK_SOURCE, [DST] = IMAGE_MARK_DESTINATION
};

static int
make(const struct migrate *m, struct image_mark *mark, enum image_mark_role role,
     const char *name)
{
	int err = image_mark_make(mark, role, m->uuid, name);

	if (err)
		EPRINTF("%s: an image cannot be marked with this migration: no UUID, or a name "
			"that is too long or has control characters",
			m->path);
	return err;
}

/* --- opening ----------------------------------------------------------------------- */

static int
check(const struct migrate *m, enum side side)
{
	const char *image = migrate_setting(m, migrate_side_name(side));
	char why[2 * IMAGE_MARK_NAME];
	struct image_mark ours;
	int err = make(m, &ours, roles[side], m->path);

	if (err || m->disk[side].fd < 0)
		return err;
	err = image_mark_check(m->disk[side].fd, image, &ours, why, sizeof(why));
	if (err)
		EPRINTF("%s", why);
	else if (strcmp(migrate_setting(m, "state"), MIGRATE_STATE_NEW) &&
		 image_mark_get(m->disk[side].fd, &ours) == -ENODATA)
		tlog_syslog(TLOG_WARN,
			    "%s: the mark of this migration is gone: has anybody used it?",
			    image);
	return err;
}

static int
set(const struct migrate *m, enum side side)
{
	const char *image = migrate_setting(m, migrate_side_name(side));
	struct image_mark mark;
	int err = make(m, &mark, roles[side], m->path);

	if (err || m->disk[side].fd < 0)
		return err;
	err = image_mark_set(m->disk[side].fd, &mark);
	if (err == -ENODATA) {
		tlog_syslog(TLOG_WARN,
			    "%s: cannot be marked, for nothing tells it from other disks; take "
			    "care that nobody opens it",
			    image);
		return 0;
	}
	if (err)
		EPRINTF("%s: cannot be marked as part of a migration (its attribute, or in "
			"%s): "
			"%s",
			image, state_dir(), strerror(-err));
	return err;
}

int
migrate_mark_open(struct migrate *m)
{
	int err = check(m, SRC);

	m->marked_first = !strcmp(migrate_setting(m, "state"), MIGRATE_STATE_NEW);
	if (!err)
		err = check(m, DST);
	if (!err)
		err = set(m, DST);
	if (!err)
		err = set(m, SRC);
	if (err)
		migrate_mark_undo(m);
	return err;
}

/* --- ending -------------------------------------------------------------------------- */

/* What is to be done about the mark of an image that has ours. */
struct step {
#ifdef TAPDISK_EXTENDED
	struct td_work work;
#endif
	char image[IMAGE_MARK_NAME]; /* for messages */
	int fd;
	struct image_mark ours;
	bool supersede; /* by next; or it is cleared */
	struct image_mark next;
	int err;
};

static void
step_run(struct step *step)
{
	struct image_mark mark;

	step->err = image_mark_get(step->fd, &mark);
	if (step->err == -ENODATA)
		step->err = 0;
	else if (!step->err && mark.role == step->ours.role &&
		 !strcmp(mark.uuid, step->ours.uuid))
		step->err = step->supersede ? image_mark_set(step->fd, &step->next)
					    : image_mark_clear(step->fd);
}

static void
step_end(struct step *step)
{
	if (step->err)
		EPRINTF("%s: the migration has ended, but its mark cannot be changed: %s "
			"(tap-ctl migrate unmark)",
			step->image, strerror(-step->err));
	close(step->fd);
	free(step);
}

/* Takes fd. NULL if that is none, or with a message. */
static struct step *
step_new(const struct migrate *m, enum side side, int fd, bool completed)
{
	const char *image = migrate_setting(m, migrate_side_name(side));
	struct step *step;

	if (fd < 0)
		return NULL;
	step = calloc(1, sizeof(*step));
	if (!step || make(m, &step->ours, roles[side], m->path) ||
	    make(m, &step->next, IMAGE_MARK_SUPERSEDED, migrate_setting(m, "destination"))) {
		EPRINTF("%s: the migration has ended, but its mark cannot be changed", image);
		free(step);
		close(fd);
		return NULL;
	}
	snprintf(step->image, sizeof(step->image), "%s", image);
	step->fd = fd;
	step->supersede = completed && side == SRC;
	return step;
}

static void
do_step(struct step *step)
{
	if (!step)
		return;
	step_run(step);
	step_end(step);
}

#ifdef TAPDISK_EXTENDED
static void
work_run(struct td_work *work)
{
	step_run(list_entry(work, struct step, work));
}

static void
work_done(struct td_work *work)
{
	step_end(list_entry(work, struct step, work));
}

static void
do_step_later(struct step *step)
{
	if (!step)
		return;
	step->work.run = work_run;
	step->work.done = work_done;
	tapdisk_worker_submit(&step->work);
}
#else
static void
do_step_later(struct step *step)
{
	do_step(step);
}
#endif

static int
copy_of(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

void
migrate_mark_end(struct migrate *m)
{
	bool completed = m->served == DST;
	enum side left = m->served, other = side_other(left);

	do_step(step_new(m, left, copy_of(m->disk[left].fd), completed));
	do_step_later(step_new(m, other, copy_of(m->disk[other].fd), completed));
}

void
migrate_mark_undo(struct migrate *m)
{
	if (!m->marked_first)
		return;
	do_step(step_new(m, SRC, copy_of(m->disk[SRC].fd), false));
	do_step(step_new(m, DST, copy_of(m->disk[DST].fd), false));
}

/* An image that is not there any more has no mark either. */
static int
open_image(const struct migrate *m, enum side side)
{
	const char *name = migrate_setting(m, migrate_side_name(side));

	return strncmp(name, "aio:", 4) ? -1
					: open(name + 4, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

void
migrate_mark_recover(struct migrate *m)
{
	bool completed = m->served == DST;
	enum side left = m->served, other = side_other(left);

	do_step(step_new(m, left, open_image(m, left), completed));
	do_step(step_new(m, other, open_image(m, other), completed));
}

int
migrate_mark_check_left(const struct migrate *m)
{
	const struct image_disk *d = &m->disk[m->served];
	char why[2 * IMAGE_MARK_NAME];
	int err;

	if (d->fd < 0)
		return 0;
	err = image_mark_check(d->fd, migrate_setting(m, migrate_side_name(m->served)), NULL,
			       why, sizeof(why));
	if (err)
		EPRINTF("%s", why);
	return err;
}
