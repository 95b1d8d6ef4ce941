/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-mark.c - the marks of a migration's images (image-mark.h)
 *
 * The steps, each on stable storage before the next:
 *
 *	opening		the destination is marked, then the source; then the journal
 *			says "open", and the guest is served
 *	completing	the journal says "completed"; then the destination's mark
 *			goes; then the source's says "superseded" instead of "source";
 *			then the source is closed; then the migration is said to have
 *			completed, and the journal is removed if that is wanted
 *	cancelling	the journal says "cancelled"; then the source's mark goes;
 *			then the destination is removed, if it was made for this
 *			migration, or its mark says "abandoned"; then it is closed;
 *			then it is said, and the journal is removed if that is wanted
 *
 * So whenever the process dies, an image without a mark holds the whole disk (or
 * nothing, where it is the destination and has not been written to), and a mark
 * names a journal that is there and tells what to do. Once that says "completed"
 * or "cancelled", opening it does the steps that are missing, for each of them can
 * be done again. migrate-end.c has their order; here is what each does.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-loop.h"
#include "image-identity.h"
#include "image-mark.h"
#include "state-dir.h"
#include "migrate-plugin.h"
#include "migrate-registry.h"

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

/*
 * The mark that every opening before this one has left is gone. The migration may have ended
 * by the record of another host (migrate-alone.c), or somebody has used the image. Where
 * marks stay behind on the host, this may be another one.
 */
static int
miss(const struct migrate *m, enum side side)
{
	const char *image = migrate_setting(m, migrate_side_name(side));

	if (!image_mark_travels(m->disk[side].fd)) {
		tlog_syslog(TLOG_WARN, "%s: has no mark of this migration here", image);
		return 0;
	}
	EPRINTF("%s: the %s %s has lost this migration's mark: it is the whole disk by itself "
		"now, or somebody has used it. If neither is so: setfattr -n " IMAGE_MARK_XATTR
		" -v '1 %s %s %s' %s",
		m->path, migrate_side_name(side), image, image_mark_role_name(roles[side]),
		m->uuid, m->path, strchr(image, ':') + 1);
	return -ESTALE;
}

static int
check(const struct migrate *m, enum side side)
{
	const char *image = migrate_setting(m, migrate_side_name(side));
	char why[ERROR_TEXT];
	struct image_mark ours;
	int err = make(m, &ours, roles[side], m->path);

	if (err || m->disk[side].fd < 0)
		return err;
	err = image_mark_check(m->disk[side].fd, image, &ours, why, sizeof(why));
	if (err)
		EPRINTF("%s", why);
	else if (!m->over && strcmp(migrate_setting(m, "state"), MIGRATE_STATE_NEW) &&
		 image_mark_get(m->disk[side].fd, &ours) == -ENODATA)
		err = miss(m, side);
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

/* What the destination had before, if a migration has abandoned it: to be put back. */
static int
remember(struct migrate *m)
{
	struct image_mark mark;

	if (m->disk[DST].fd < 0 || image_mark_get(m->disk[DST].fd, &mark) ||
	    mark.role != IMAGE_MARK_ABANDONED)
		return 0;
	m->abandoned = malloc(sizeof(mark));
	if (!m->abandoned)
		return -ENOMEM;
	*m->abandoned = mark;
	return 0;
}

static int
mark_both(struct migrate *m)
{
	int err = check(m, SRC);

	m->marked_first = !strcmp(migrate_setting(m, "state"), MIGRATE_STATE_NEW);
	if (!err)
		err = check(m, DST);
	if (!err)
		err = remember(m);
	if (!err)
		err = set(m, DST);
	if (!err)
		err = set(m, SRC);
	return err;
}

/* For people alone: it goes on without. */
static void
remember_migration(const struct migrate *m)
{
	int err = registry_put(m->uuid, m->path, migrate_setting(m, "source"),
			       migrate_setting(m, "destination"));

	if (err)
		tlog_syslog(TLOG_WARN, "%s: not remembered in %s: %s", m->path, state_dir(),
			    strerror(-err));
}

/* Nobody else knows m yet, so the loop can be lent. */
int
migrate_mark_open(struct migrate *m)
{
	int err;

	tapdisk_loop_lend();
	err = mark_both(m);
	if (!err)
		remember_migration(m);
	tapdisk_loop_take_back();
	if (err)
		migrate_mark_undo(m);
	return err;
}

/* --- ending -------------------------------------------------------------------------- */

/* A change of one image's mark, with all that it needs: the migration may go meanwhile. */
struct mark_change {
	char *image; /* "type:path" */
	int fd;	     /* the image; -1: it is opened for this */
	bool held;   /* ... by the migration, until now */
	int dir;     /* its directory, if it is to be removed; or -1 */
	struct image_mark ours;
	enum { CLEAR, SET, REMOVE, MARK } action;
	struct image_mark next;		    /* SET, MARK; REMOVE: where that cannot be done */
	char identity[IMAGE_IDENTITY_SIZE]; /* REMOVE: no other one */
};

static bool
is_path(const char *image)
{
	return !strncmp(image, "aio:", 4);
}

/* "" in a name that ends with a slash, which no image has. */
static const char *
base_of(const char *image)
{
	const char *slash = strrchr(image, '/');

	return slash ? slash + 1 : image + 4;
}

int
migrate_mark_open_directory(const char *image)
{
	char path[IMAGE_MARK_NAME];
	size_t len;
	int fd;

	if (!is_path(image))
		return -1;
	len = (size_t)(base_of(image) - (image + 4));
	if (len >= sizeof(path))
		return -1;
	memcpy(path, image + 4, len);
	path[len] = '\0';
	tapdisk_loop_lend();
	fd = open(len ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	tapdisk_loop_take_back();
	return fd;
}

/* The name leads to the open file, and that is what the migration began with. */
static bool
is_still(const struct mark_change *c)
{
	char identity[IMAGE_IDENTITY_SIZE];
	struct stat named, open;

	return !fstatat(c->dir, base_of(c->image), &named, AT_SYMLINK_NOFOLLOW) &&
	       !fstat(c->fd, &open) && S_ISREG(open.st_mode) && named.st_dev == open.st_dev &&
	       named.st_ino == open.st_ino &&
	       !image_identity(c->fd, identity, sizeof(identity)) &&
	       !strcmp(identity, c->identity);
}

/*
 * What was made for the migration goes with it. Where it has another name by now, or cannot
 * be removed, it stays, marked.
 */
static int
remove_image(const struct mark_change *c)
{
	if (c->dir < 0 || !is_still(c) || unlinkat(c->dir, base_of(c->image), 0))
		return image_mark_set(c->fd, &c->next);
	if (fsync(c->dir))
		return -errno;
	return image_mark_forget(c->fd);
}

/* An image that is not there any more has no mark either, nor has one that is no path. */
static int
open_image(struct mark_change *c)
{
	if (c->fd >= 0)
		return 0;
	if (!is_path(c->image))
		return -ENODATA;
	c->fd = open(c->image + 4, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (c->fd < 0)
		return errno == ENOENT ? -ENODATA : -errno;
	if (c->action == REMOVE && c->dir < 0)
		c->dir = migrate_mark_open_directory(c->image);
	return 0;
}

static int
change(struct mark_change *c)
{
	struct image_mark mark;
	int err = open_image(c);

	if (!err && c->action == MARK)
		return image_mark_set(c->fd, &c->next);
	if (!err)
		err = image_mark_get(c->fd, &mark);
	/* Its storage is gone. It was open, and locked, all the time: the mark is ours. */
	if (err && err != -ENODATA && c->held && c->action != CLEAR)
		return image_mark_set(c->fd, &c->next);
	if (err)
		return err;
	if (mark.role != c->ours.role || strcmp(mark.uuid, c->ours.uuid))
		return 0;
	switch (c->action) {
	case SET:
		return image_mark_set(c->fd, &c->next);
	case REMOVE:
		return remove_image(c);
	default:
		return image_mark_clear(c->fd);
	}
}

int
migrate_mark_change(struct mark_change *c)
{
	int err = change(c);

	return err == -ENODATA ? 0 : err;
}

int64_t
migrate_mark_change_bytes(const struct mark_change *c)
{
	return c->fd < 0 ? 0 : lseek(c->fd, 0, SEEK_END);
}

void
migrate_mark_change_free(struct mark_change *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	if (c->dir >= 0)
		close(c->dir);
	free(c->image);
	free(c);
}

static int
copy_of(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static bool
is_by_record(const struct migrate *m)
{
	return m->by_record || (m->ended && !m->over && migration_by_record(&m->migration));
}

/* The image that is left has no mark; the other one says what has become of it. */
static int
say_next(const struct migrate *m, enum side side, struct mark_change *c)
{
	/* By the record: what the journal does not know cannot be known when it is opened. */
	bool removed = side == DST && migrate_setting_true(m, "destination_is_zero") &&
		       !m->keep_destination && !is_by_record(m);

	if (side == m->served)
		return 0;
	c->action = removed ? REMOVE : SET;
	snprintf(c->identity, sizeof(c->identity), "%s",
		 migrate_setting(m, "destination_identity"));
	return make(m, &c->next, side == SRC ? IMAGE_MARK_SUPERSEDED : IMAGE_MARK_ABANDONED,
		    migrate_setting(m, migrate_side_name(m->served)));
}

/* Without what it changes the mark to; -1 of what is not open. */
static struct mark_change *
change_of(const struct migrate *m, enum side side)
{
	struct mark_change *c = calloc(1, sizeof(*c));
	const struct image_disk *d = &m->disk[side];

	if (!c)
		return NULL;
	c->fd = d->closed ? -1 : copy_of(d->fd);
	c->held = c->fd >= 0;
	c->dir = side == DST ? copy_of(m->destination_dir) : -1;
	c->image = strdup(migrate_setting(m, migrate_side_name(side)));
	if (c->image && (d->closed || d->fd < 0 || c->fd >= 0) &&
	    !make(m, &c->ours, roles[side], m->path))
		return c;
	migrate_mark_change_free(c);
	return NULL;
}

struct mark_change *
migrate_mark_change_new(const struct migrate *m, enum side side)
{
	struct mark_change *c = change_of(m, side);

	if (!c || !say_next(m, side, c))
		return c;
	migrate_mark_change_free(c);
	return NULL;
}

struct mark_change *
migrate_mark_change_alone(const struct migrate *m, enum side side, bool alone)
{
	struct mark_change *c = change_of(m, side);

	if (c && !alone) {
		c->action = MARK;
		c->next = c->ours;
	}
	return c;
}

/* What is left behind is said in the log alone: the reason for it all has been given. */
static void
undo(struct migrate *m, enum side side)
{
	struct image_mark mark;
	int fd = m->disk[side].fd, err;

	if (fd < 0 || image_mark_get(fd, &mark) || mark.role != roles[side] ||
	    strcmp(mark.uuid, m->uuid))
		return;
	err = side == DST && m->abandoned ? image_mark_set(fd, m->abandoned)
					  : image_mark_clear(fd);
	if (err)
		tlog_syslog(TLOG_WARN,
			    "%s: its mark cannot be changed back: %s (tap-ctl migrate unmark)",
			    migrate_setting(m, migrate_side_name(side)), strerror(-err));
}

void
migrate_mark_undo(struct migrate *m)
{
	if (!m->marked_first)
		return;
	tapdisk_loop_lend();
	undo(m, SRC);
	undo(m, DST);
	registry_remove(m->uuid);
	tapdisk_loop_take_back();
}

int
migrate_mark_check_left(const struct migrate *m)
{
	int err;

	tapdisk_loop_lend();
	err = check(m, m->served);
	tapdisk_loop_take_back();
	return err;
}
