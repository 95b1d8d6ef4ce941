/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-start-blktap.c - a migration begins in a tapdisk of blktap's
 *
 * Its protocol has only this: the VBD is paused, which closes its image, and resumed from the
 * journal. So all that can be looked at is looked at before, and a source that would not open
 * again under its name is not closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "image-identity.h"
#include "migrate-holder.h"
#include "migrate-leftover.h"
#include "migrate-start.h"
#include "migrate-unnamed.h"

#define PAUSE_SECONDS 60
#define WHY	      TAP_CTL_TEXT

struct change {
	struct migrate_start *start;
	struct migrate_unnamed made; /* the destination, if we make it */
	bool written;		     /* the journal is */
	tapdisk_message_image_t info;
};

/* A sparse file of the source's size, where there is nothing yet. */
static int
create_destination(struct change *c)
{
	const char *path = migrate_new_path(&c->start->new);
	int err = migrate_unnamed_open(&c->made, path);

	if (!err && (ftruncate(c->made.fd, (off_t)c->info.sectors * 512) || fsync(c->made.fd)))
		err = -errno;
	if (!err)
		err = migrate_unnamed_name(&c->made);
	return err ? tap_ctl_fail(err, "cannot create %s", path) : 0;
}

static int
check_destination(const struct change *c, bool *device)
{
	const char *path = migrate_new_path(&c->start->new);
	struct stat st;

	if (stat(path, &st))
		return tap_ctl_fail(-errno, "%s%s", path,
				    errno == ENOENT ? ": --create makes it" : "");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return tap_ctl_fail(-EINVAL, "%s is neither a file nor a block device", path);
	*device = S_ISBLK(st.st_mode);
	/* Its own disk: that they are the same will be said. */
	return migrate_check_free(path, &c->start->vbd);
}

/* By which an image is recognised again when the journal is opened. NULL: it has none. */
static char *
identity_of(const char *image)
{
	char identity[IMAGE_IDENTITY_SIZE];
	int fd, err;

	fd = open(strchr(image, ':') + 1, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	err = image_identity(fd, identity, sizeof(identity));
	close(fd);
	return err ? NULL : strdup(identity);
}

static int
write_journal(struct change *c)
{
	struct migrate_start *s = c->start;
	char *source = identity_of(s->new.source),
	     *destination = identity_of(s->new.destination);
	const struct migrate_new_disks disks = {
		.sectors = c->info.sectors,
		.source = s->new.source,
		.source_identity = source,
		.destination_identity = destination,
	};
	char why[WHY];
	int fd = migrate_new_write(&s->new, &disks, s->journal, why, sizeof(why));

	free(source);
	free(destination);
	if (fd < 0)
		return tap_ctl_fail(fd, "%s", why);
	close(fd);
	c->written = true;
	return 0;
}

static int
prepare(struct change *c)
{
	struct migrate_start *s = c->start;
	bool device = false;
	char why[WHY];
	int err;

	err = tap_ctl_info(s->vbd.pid, s->vbd.minor, &c->info);
	if (!err && s->new.create)
		err = create_destination(c);
	if (!err)
		err = check_destination(c, &device);
	if (err)
		return err;
	err = migrate_new_journal(&s->new, device, s->params, why, sizeof(why));
	if (err)
		return tap_ctl_fail(err, "%s", why);
	s->journal = s->params + strlen("migrate:");
	return write_journal(c);
}

/* The VBD runs on its old image, or will as soon as that can be opened. */
static int
resume(const struct migrate_start *s, int err)
{
	const struct tap_ctl_image before = { .params = s->new.source };
	char *why = strdup(tap_ctl_error());
	int worse = tap_ctl_unpause(s->vbd.pid, s->vbd.minor, &before);

	/* EINVAL: it is not paused. */
	if (!worse || worse == -EINVAL)
		tap_ctl_fail(err, "%s. The disk runs on %s as before", why ? why : "",
			     s->new.source);
	else
		tap_ctl_fail(err,
			     "%s. The disk could not be resumed (%s: %s): when that is mended, "
			     "tap-ctl unpause -p %d -m %d -a %s",
			     why ? why : "", strerror(-worse), tap_ctl_error(), s->vbd.pid,
			     s->vbd.minor, s->new.source);
	free(why);
	return worse == -EINVAL ? 0 : worse;
}

/*
 * Pauses the VBD and resumes it from the journal. If that fails, it resumes
 * it as it was; *restored is false if even that has not worked.
 */
static int
switch_over(const struct migrate_start *s, bool *restored)
{
	const struct tap_ctl_image migration = { .params = s->params };
	int err = tap_ctl_pause(s->vbd.pid, s->vbd.minor, false, PAUSE_SECONDS);

	/* It runs; a pause that is still awaited is taken back when we hang up. */
	if (err)
		return tap_ctl_fail(err,
				    "%s: the disk cannot be paused. It runs on %s as before",
				    tap_ctl_error(), s->new.source);
	err = tap_ctl_unpause(s->vbd.pid, s->vbd.minor, &migration);
	if (err)
		*restored = !resume(s, err);
	return err;
}

/* Not even Ctrl-C leaves the disk paused, or files behind. */
int
migrate_start_blktap(struct migrate_start *s)
{
	struct change c = { .start = s, .made = MIGRATE_UNNAMED_NONE };
	sigset_t fatal, before;
	bool restored = true;
	char why[WHY];
	int err;

	err = migrate_new_check(&s->new, tap_ctl_run_dir(), why, sizeof(why));
	if (err)
		return tap_ctl_fail(err, "%s", why);
	sigemptyset(&fatal);
	sigaddset(&fatal, SIGINT);
	sigaddset(&fatal, SIGTERM);
	sigaddset(&fatal, SIGHUP);
	sigaddset(&fatal, SIGQUIT);
	sigprocmask(SIG_BLOCK, &fatal, &before);

	err = prepare(&c);
	if (!err && !s->new.dry_run)
		err = switch_over(s, &restored);
	if (c.written && restored && (err || s->new.dry_run))
		unlink(s->journal);
	migrate_unnamed_close(&c.made, restored && (err || s->new.dry_run));
	sigprocmask(SIG_SETMASK, &before, NULL);
	return err;
}
