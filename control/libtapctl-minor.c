/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtapctl-minor.c - the numbers of VBDs on this host
 *
 * A minor is taken while the file tapdisk/tapdisk-<minor> exists in the run
 * directory; the tapdisk that has it attached holds a flock on that file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libtapctl.h"

static int
make_directory(const char *path)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return tap_ctl_fail(-errno, "cannot make %s", path);
	return 0;
}

static int
make_directories(void)
{
	char path[TAP_CTL_PATH];
	int err;

	err = tap_ctl_path(path, "%s", TAPDISK_MINOR_PREFIX);
	if (err)
		return err;
	*strrchr(path, '/') = '\0';
	err = make_directory(tap_ctl_run_dir());
	return err ? err : make_directory(path);
}

/* Makes the file that marks a minor, as another name of owner if that is not NULL. */
static int
mark_minor(const char *path, const char *owner)
{
	int fd;

	if (owner)
		return link(owner, path) ? -errno : 0;
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int
tap_ctl_allocate_for(const char *owner, int *minor, char **devname)
{
	char path[TAP_CTL_PATH];
	int err, n;

	tap_ctl_clear();
	err = make_directories();
	for (n = 0; !err && n < TAPDISK_MAX_MINORS; n++) {
		err = tap_ctl_path(path, TAPDISK_MINOR_PREFIX "%d", n);
		if (err)
			break;
		err = mark_minor(path, owner);
		if (!err) {
			*minor = n;
			*devname = strdup(path);
			if (*devname)
				return 0;
			unlink(path);
			return -ENOMEM;
		}
		err = err == -EEXIST ? 0 : tap_ctl_fail(err, "cannot make %s", path);
	}
	return err ? err : tap_ctl_fail(-ENOSPC, "all %d minors are taken", TAPDISK_MAX_MINORS);
}

int
tap_ctl_allocate(int *minor, char **devname)
{
	return tap_ctl_allocate_for(NULL, minor, devname);
}

int
tap_ctl_free(int minor)
{
	char path[TAP_CTL_PATH];
	int fd, err;

	tap_ctl_clear();
	err = tap_ctl_path(path, TAPDISK_MINOR_PREFIX "%d", minor);
	if (err)
		return err;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return tap_ctl_fail(-errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB))
		err = tap_ctl_fail(-errno, "a tapdisk has minor %d attached", minor);
	else if (unlink(path))
		err = tap_ctl_fail(-errno, "cannot remove %s", path);
	close(fd);
	return err;
}
