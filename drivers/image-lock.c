/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-lock.h"

int
image_lock(int fd, bool exclusive)
{
	struct flock lock = {
		.l_type = exclusive ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
	};

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

bool
image_lock_is_held(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

/* --- who -------------------------------------------------------------------------- */

static bool
is_image(const struct stat *a, const struct stat *b)
{
	return S_ISBLK(a->st_mode) ? S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev
				   : a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether this open file of a process holds a lock. */
static bool
holds_lock(int proc, const char *pid, const char *number)
{
	char path[600], line[256];
	bool found = false;
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), "%s/fdinfo/%s", pid, number);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (!file) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (!found && fgets(line, sizeof(line), file))
		found = !strncmp(line, "lock:", 5);
	fclose(file);
	return found;
}

static bool
is_holder(int proc, const char *pid, const struct stat *image)
{
	struct dirent *entry;
	bool found = false;
	struct stat st;
	char path[300];
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "%s/fd", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (!found && (entry = readdir(dir)))
		found = !fstatat(fd, entry->d_name, &st, 0) && is_image(image, &st) &&
			holds_lock(proc, pid, entry->d_name);
	closedir(dir);
	return found;
}

static void
name_process(int proc, const char *pid, char *text, size_t size)
{
	char path[300], name[32] = "process";
	int fd;

	snprintf(path, sizeof(path), "%s/comm", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, name, sizeof(name) - 1);

		if (n > 0)
			name[name[n - 1] == '\n' ? n - 1 : n] = '\0';
		close(fd);
	}
	snprintf(text, size, "%s %s", name, pid);
}

static pid_t
find_holder(const struct stat *image, char *text, size_t size)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t pid = 0;

	while (proc && !pid && (entry = readdir(proc)))
		if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name) &&
		    is_holder(dirfd(proc), entry->d_name, image)) {
			name_process(dirfd(proc), entry->d_name, text, size);
			pid = (pid_t)atoi(entry->d_name);
		}
	if (proc)
		closedir(proc);
	return pid;
}

pid_t
image_lock_holder(const char *path, char *text, size_t size)
{
	struct stat image, now;
	pid_t pid;

	snprintf(text, size, "another program");
	if (stat(path, &now))
		return 0;
	/* A journal is replaced now and then; its old file has no holder any more. */
	do {
		image = now;
		pid = find_holder(&image, text, size);
	} while (!pid && !stat(path, &now) && !is_image(&image, &now));
	return pid;
}
