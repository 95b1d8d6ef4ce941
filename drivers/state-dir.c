/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state-dir.h"

#define STATE_DIR     "/var/lib/tapmigrate"
#define STATE_DIR_ENV "TAPMIGRATE_STATE_DIR"

const char *
state_dir(void)
{
	const char *dir = getenv(STATE_DIR_ENV);

	return dir && *dir ? dir : STATE_DIR;
}

int
state_dir_make(void)
{
	/* Whoever may open an image may know what it is marked with. */
	return mkdir(state_dir(), 0755) && errno != EEXIST ? -errno : 0;
}

static int
path_of(const char *name, const char *suffix, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/%s%s", state_dir(), name, suffix) < PATH_MAX
		       ? 0
		       : -ENAMETOOLONG;
}

static int
sync_directory(void)
{
	int fd = open(state_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

ssize_t
state_file_get(const char *name, char *text, size_t size)
{
	char path[PATH_MAX];
	ssize_t n = path_of(name, "", path);
	struct stat st;
	int fd;

	if (n)
		return n;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENODATA : -errno;
	if (fstat(fd, &st))
		n = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size > (off_t)size)
		n = -EBADMSG;
	else if ((n = read(fd, text, size)) < 0)
		n = -errno;
	close(fd);
	return n > 0 && text[n - 1] == '\n' ? n - 1 : n;
}

static int
write_new(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	int err = 0;

	if (fd < 0)
		return -errno;
	errno = 0;
	if (dprintf(fd, "%s\n", text) != (int)strlen(text) + 1)
		err = errno ? -errno : -EIO;
	else if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

int
state_file_put(const char *name, const char *text)
{
	char path[PATH_MAX], next[PATH_MAX];
	int err;

	err = path_of(name, "", path);
	if (!err)
		err = path_of(name, ".new", next);
	if (!err)
		err = state_dir_make();
	if (err)
		return err;
	err = write_new(next, text);
	if (!err && rename(next, path))
		err = -errno;
	if (!err)
		return sync_directory();
	unlink(next); /* it may have been made, and hold what little room there is */
	return err;
}

int
state_file_remove(const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	int err = path_of(name, "", path);

	/* A directory that cannot be written to is asked first what there is. */
	if (err || (lstat(path, &st) && errno == ENOENT))
		return err;
	if (unlink(path))
		return errno == ENOENT ? 0 : -errno;
	return sync_directory();
}
