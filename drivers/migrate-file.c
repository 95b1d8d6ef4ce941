/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-lock.h"
#include "migrate-file.h"

int
migrate_file_open(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == EISDIR ? -EINVAL : -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

int
migrate_file_lock(int fd)
{
	bool readonly = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;

	return image_lock(fd, !readonly) == -EBUSY ? -EBUSY : 0;
}

bool
migrate_file_is_named(int dir, const char *name, int fd)
{
	struct stat there, here;

	return !fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) && !fstat(fd, &here) &&
	       there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

int
migrate_file_open_locked(int dir, const char *name, int flags)
{
	for (;;) {
		int fd = migrate_file_open(dir, name, flags), err;

		if (fd < 0)
			return fd;
		err = migrate_file_lock(fd);
		if (!err && migrate_file_is_named(dir, name, fd))
			return fd;
		close(fd);
		if (err)
			return err;
	}
}

int
migrate_file_read(int fd, size_t max, void **bytes, size_t *len)
{
	struct stat st;
	size_t size;
	char *buf;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;
	size = (uint64_t)st.st_size < max ? (size_t)st.st_size : max;
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	for (*len = 0; *len < size; *len += (size_t)n) {
		n = pread(fd, buf + *len, size - *len, (off_t)*len);
		if (n < 0 && errno == EINTR) {
			n = 0;
		} else if (n < 0) {
			int err = -errno;

			free(buf);
			return err;
		} else if (!n) {
			break;
		}
	}
	*bytes = buf;
	return 0;
}

int
migrate_file_write(int fd, const void *buf, size_t len, uint64_t offset)
{
	const char *at = buf;

	while (len) {
		ssize_t n = pwrite(fd, at, len, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return -EIO;
		if (n > 0) {
			at += n;
			offset += (size_t)n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int
migrate_file_sync_directory(const char *path)
{
	char copy[PATH_MAX];
	int fd, err = 0;

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

const char *
migrate_file_error(int err)
{
	return err == -EINVAL  ? "it is not a regular file"
	       : err == -ELOOP ? "it is a symbolic link"
			       : strerror(-err);
}
