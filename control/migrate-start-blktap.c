/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-start-blktap.c - a migration begins in a tapdisk of blktap's
 *
 * Its protocol has only this: the VBD is paused, which closes its image, and resumed from the
 * journal. So all that can be looked at is looked at before, and a source that would not open
 * again under its name is not closed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "image-identity.h"
#include "image-name.h"
#include "image-same.h"
#include "migrate-holder.h"
#include "migrate-leftover.h"
#include "migrate-start.h"
#include "migrate-unnamed.h"

#define PAUSE_SECONDS 60
#define WHY	      TAP_CTL_TEXT
#define PLUGIN	      "tapdisk_migrate"
#define INFO_READONLY 4 /* of tapdisk_message_image.info, as in Xen's block protocol */

struct change {
	struct migrate_start *start;
	struct migrate_unnamed made; /* the destination, if we make it */
	bool written;		     /* the journal is */
	int source; /* by its name, which leads to what the tapdisk has open; or -1 */
	tapdisk_message_image_t info;
};

/* --- the tapdisk ------------------------------------------------------------------ */

/* Whether a tapdisk's program has the plugin: one that was started before an upgrade may not.
 */
static int
check_plugin(pid_t pid)
{
	char path[64];
	struct stat st;
	char *text = MAP_FAILED;
	bool found = false;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return tap_ctl_fail(-errno, "the program of tapdisk %d cannot be looked at",
				    pid);
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (text != MAP_FAILED) {
		found = memmem(text, (size_t)st.st_size, PLUGIN, strlen(PLUGIN));
		munmap(text, (size_t)st.st_size);
	}
	return found ? 0
		     : tap_ctl_fail(-EOPNOTSUPP,
				    "tapdisk %d knows no migrations: was it started before "
				    "the plugin was installed?",
				    pid);
}

/* A descriptor of what the tapdisk has open and the source's name leads to, or -errno. */
static int
open_source(const struct migrate_start *s)
{
	const char *path = s->vbd.path;
	char dir[64], name[64 + 256];
	struct dirent *entry;
	bool found = false;
	DIR *fds;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return tap_ctl_fail(-errno, "%s cannot be opened again: the disk is not paused",
				    path);
	snprintf(dir, sizeof(dir), "/proc/%d/fd", s->vbd.pid);
	fds = opendir(dir);
	while (fds && !found && (entry = readdir(fds))) {
		snprintf(name, sizeof(name), "%s/%s", dir, entry->d_name);
		found = image_is_named(name, fd);
	}
	if (fds)
		closedir(fds);
	if (found)
		return fd;
	close(fd);
	return tap_ctl_fail(-ESTALE,
			    "the name %s does not lead to what tapdisk %d has open (it was "
			    "removed, replaced or covered): the disk could not be opened "
			    "again, and is not paused",
			    path, s->vbd.pid);
}

static int
check_vbd(struct change *c)
{
	struct migrate_start *s = c->start;
	int err;

	if (strcmp(s->vbd.type, "aio"))
		return tap_ctl_fail(-EOPNOTSUPP,
				    "%s: only raw images (aio:) can be migrated in this "
				    "tapdisk",
				    s->new.source);
	err = check_plugin(s->vbd.pid);
	if (!err)
		err = tap_ctl_info(s->vbd.pid, s->vbd.minor, &c->info);
	if (err)
		return err;
	if (c->info.info & INFO_READONLY)
		return tap_ctl_fail(-EROFS, "%s: a disk that is read only cannot be migrated",
				    s->new.source);
	c->source = open_source(s);
	return c->source < 0 ? c->source : 0;
}

/* --- the destination and the journal ------------------------------------------------ */

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

/* As blktap needs it: else the VBD could never be unpaused to it. */
static int
check_shape(const struct change *c, int fd, const struct stat *st)
{
	const char *name = c->start->new.destination;
	uint64_t bytes = (uint64_t)st->st_size;
	int sector = 512;

	if (image_same(c->source, fd))
		return tap_ctl_fail(-EINVAL,
				    "source %s and destination %s are the same disk, or parts "
				    "of it that overlap",
				    c->start->new.source, name);
	if (S_ISBLK(st->st_mode) &&
	    (ioctl(fd, BLKGETSIZE64, &bytes) || ioctl(fd, BLKSSZGET, &sector)))
		return tap_ctl_fail(-errno, "%s", name);
	if (bytes != c->info.sectors * 512)
		return tap_ctl_fail(-EMEDIUMTYPE,
				    "the disk has %" PRIu64 " bytes, and %s has %" PRIu64
				    ": they must be equal in this tapdisk",
				    c->info.sectors * 512, name, bytes);
	if ((uint32_t)sector != c->info.sector_size)
		return tap_ctl_fail(-EMEDIUMTYPE,
				    "the guest was shown sectors of %u bytes, and %s has %d: "
				    "they must be equal in this tapdisk",
				    c->info.sector_size, name, sector);
	return 0;
}

static int
check_destination(const struct change *c, bool *device)
{
	const char *path = migrate_new_path(&c->start->new);
	struct stat st;
	int fd, err;

	if (stat(path, &st))
		return tap_ctl_fail(-errno, "%s%s", path,
				    errno == ENOENT ? ": --create makes it" : "");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return tap_ctl_fail(-EINVAL, "%s is neither a file nor a block device", path);
	*device = S_ISBLK(st.st_mode);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return tap_ctl_fail(-errno, "%s", path);
	err = check_shape(c, fd, &st);
	/* A mark ends with a flush, while the guest waits. */
	if (!err && (fsync(fd) || fsync(c->source)))
		err = tap_ctl_fail(-errno, "%s or %s cannot be flushed", path,
				   c->start->vbd.path);
	close(fd);
	return err ? err : migrate_check_free(path, &c->start->vbd);
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

	err = check_vbd(c);
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
switch_over(const struct change *c, bool *restored)
{
	const struct migrate_start *s = c->start;
	const struct tap_ctl_image migration = { .params = s->params };
	int err = tap_ctl_pause(s->vbd.pid, s->vbd.minor, false, PAUSE_SECONDS);

	/* It runs; a pause that is still awaited is taken back when we hang up. */
	if (err)
		return tap_ctl_fail(err,
				    "%s: the disk cannot be paused. It runs on %s as before",
				    tap_ctl_error(), s->new.source);
	if (!image_is_named(s->vbd.path, c->source)) {
		*restored = false;
		return tap_ctl_fail(-ESTALE,
				    "the name %s leads elsewhere since the disk was paused: it "
				    "stays paused. When that is mended, tap-ctl unpause -p %d "
				    "-m %d -a %s",
				    s->vbd.path, s->vbd.pid, s->vbd.minor, s->new.source);
	}
	err = tap_ctl_unpause(s->vbd.pid, s->vbd.minor, &migration);
	if (err)
		*restored = !resume(s, err);
	return err;
}

/* Not even Ctrl-C leaves the disk paused, or files behind. */
int
migrate_start_blktap(struct migrate_start *s)
{
	struct change c = { .start = s, .source = -1, .made = MIGRATE_UNNAMED_NONE };
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
		err = switch_over(&c, &restored);
	if (c.written && restored && (err || s->new.dry_run))
		unlink(s->journal);
	migrate_unnamed_close(&c.made, restored && (err || s->new.dry_run));
	if (c.source >= 0)
		close(c.source);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return err;
}
