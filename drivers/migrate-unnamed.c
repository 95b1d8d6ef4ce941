/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate-file.h"
#include "migrate-unnamed.h"

static int
open_directory(struct migrate_unnamed *u, const char *path)
{
	char *copy = strdup(path);
	int err = -ENOMEM;

	u->path = strdup(path);
	if (copy && u->path) {
		u->name = strrchr(u->path, '/');
		u->name = u->name ? u->name + 1 : u->path;
		u->dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = u->dir < 0 ? -errno : 0;
	}
	free(copy);
	return err;
}

/* What is there is better found now than in the end. */
static int
check_nothing_is_there(const struct migrate_unnamed *u)
{
	struct stat st;

	if (!fstatat(u->dir, u->name, &st, AT_SYMLINK_NOFOLLOW))
		return -EEXIST;
	return errno == ENOENT ? 0 : -errno;
}

static bool
cannot_be_unnamed(int err)
{
	return err == EOPNOTSUPP || err == EISDIR || err == EINVAL || err == ENOENT;
}

static int
create(struct migrate_unnamed *u)
{
	u->fd = openat(u->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (u->fd < 0 && cannot_be_unnamed(errno)) {
		u->fd = openat(u->dir, u->name,
			       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		u->named = u->fd >= 0;
	}
	return u->fd < 0 ? -errno : 0;
}

int
migrate_unnamed_open(struct migrate_unnamed *u, const char *path)
{
	int err;

	*u = (struct migrate_unnamed)MIGRATE_UNNAMED_NONE;
	err = open_directory(u, path);
	if (!err)
		err = check_nothing_is_there(u);
	if (!err)
		err = create(u);
	if (err)
		migrate_unnamed_close(u, true);
	return err;
}

int
migrate_unnamed_name(struct migrate_unnamed *u)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", u->fd);
	if (!u->named && linkat(AT_FDCWD, path, u->dir, u->name, AT_SYMLINK_FOLLOW))
		return -errno;
	u->named = true;
	return fsync(u->dir) ? -errno : 0;
}

void
migrate_unnamed_close(struct migrate_unnamed *u, bool remove)
{
	if (remove && u->named && migrate_file_is_named(u->dir, u->name, u->fd))
		unlinkat(u->dir, u->name, 0);
	if (u->fd >= 0)
		close(u->fd);
	if (u->dir >= 0)
		close(u->dir);
	free(u->path);
	*u = (struct migrate_unnamed)MIGRATE_UNNAMED_NONE;
}
