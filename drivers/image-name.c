/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-name.h"

static bool
is_same(const struct stat *a, const struct stat *b)
{
	return S_ISBLK(a->st_mode) ? S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev
				   : a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool
image_is_named(const char *path, int fd)
{
	struct stat there, here;

	return !stat(path, &there) && !fstat(fd, &here) && is_same(&here, &there);
}

int
image_check_name(const char *path, int fd, bool readonly, off_t bytes, char *why, size_t size)
{
	struct stat there, here;
	int again, err = 0;
	off_t has;

	if (stat(path, &there) || fstat(fd, &here) || !is_same(&here, &there)) {
		snprintf(why, size,
			 "the name %s does not lead to the image that is open any more (it was "
			 "removed, replaced or covered): it could not be opened again",
			 path);
		return -ESTALE;
	}
	again = open(path, (readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC);
	if (again < 0) {
		err = -errno;
		snprintf(why, size, "%s could not be opened again: %s", path, strerror(-err));
		return err;
	}
	has = lseek(again, 0, SEEK_END);
	if (has < bytes) {
		err = has < 0 ? -errno : -EMEDIUMTYPE;
		snprintf(why, size,
			 "%s has become smaller (%lld bytes, and the disk has %lld): it could "
			 "not "
			 "be opened again",
			 path, (long long)has, (long long)bytes);
	}
	close(again);
	return err;
}
