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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate-file.h"
#include "migrate-live.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

struct migrate_live {
	char path[PATH_MAX - 16], next[PATH_MAX];
	char boot[sizeof(((struct journal_live *)0)->boot)];
	struct journal_live *live;
	const struct journal_live *old; /* or NULL */
	size_t old_bytes;
	bool published;
};

#define LIVE_BYTES journal_live_bytes(MIGRATE_LIVE_ENTRIES)

static int
read_boot_id(char *boot, size_t size)
{
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC), err;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, boot, size - 1);
	err = n < 0 ? -errno : n ? 0 : -EIO;
	close(fd);
	return err;
}

/* Whether a file of that many bytes is of this boot and has all its entries. */
static bool
is_of_boot(const struct journal_live *old, size_t bytes, const char *boot)
{
	return old->entries && journal_live_bytes(old->entries) <= bytes &&
	       !memcmp(old->boot, boot, sizeof(old->boot));
}

/* 0 also if there is none that could be used. */
static int
map_old(struct migrate_live *l)
{
	int fd = migrate_file_open(AT_FDCWD, l->path, O_RDONLY), err = 0;
	struct stat st;
	void *old;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstat(fd, &st)) {
		err = -errno;
	} else if ((size_t)st.st_size >= sizeof(*l->old)) {
		old = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (old == MAP_FAILED) {
			err = -errno;
		} else if (is_of_boot(old, (size_t)st.st_size, l->boot)) {
			l->old = old;
			l->old_bytes = (size_t)st.st_size;
		} else {
			munmap(old, (size_t)st.st_size);
		}
	}
	close(fd);
	return err;
}

static int
make_new(struct migrate_live *l)
{
	int fd, err;
	void *live;

	/* One that a process left behind when it died. */
	unlink(l->next);
	fd = open(l->next, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* Now, for a store to a mapped file that has no space is deadly. */
	err = -posix_fallocate(fd, 0, (off_t)LIVE_BYTES);
	if (!err) {
		live = mmap(NULL, LIVE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (live == MAP_FAILED)
			err = -errno;
		else
			l->live = live;
	}
	close(fd);
	if (err) {
		unlink(l->next);
		return err;
	}
	l->live->entries = MIGRATE_LIVE_ENTRIES;
	memcpy(l->live->boot, l->boot, sizeof(l->boot));
	return 0;
}

static void
unmap(struct migrate_live *l)
{
	if (l->old)
		munmap((void *)l->old, l->old_bytes);
	if (l->live)
		munmap(l->live, LIVE_BYTES);
	free(l);
}

static int
fail(const char *path, int err, char *why, size_t size)
{
	snprintf(why, size, "what changes cannot be kept in %s: %s", path,
		 migrate_file_error(err));
	return err;
}

int
migrate_live_open(struct migrate_live **out, const char *dir, const char *uuid, char *why,
		  size_t size)
{
	struct migrate_live *l = calloc(1, sizeof(*l));
	int err = 0;

	if (!l)
		return fail(dir, -ENOMEM, why, size);
	if (snprintf(l->path, sizeof(l->path), "%s/live-%s", dir, uuid) >= (int)sizeof(l->path))
		err = -ENAMETOOLONG;
	snprintf(l->next, sizeof(l->next), "%s" MIGRATE_NEXT_SUFFIX, l->path);
	if (!err)
		err = read_boot_id(l->boot, sizeof(l->boot));
	if (!err)
		err = map_old(l);
	if (err) {
		fail(l->path, err, why, size);
		unmap(l);
		return err;
	}
	*out = l;
	return 0;
}

int
migrate_live_begin(struct migrate_live *l, char *why, size_t size)
{
	int err = make_new(l);

	return err ? fail(l->next, err, why, size) : 0;
}

const struct journal_live *
migrate_live_old(const struct migrate_live *l)
{
	return l->old;
}

struct journal_live *
migrate_live_new(struct migrate_live *l)
{
	return l->live;
}

int
migrate_live_publish(struct migrate_live *l)
{
	if (!l->published && rename(l->next, l->path))
		return -errno;
	l->published = true;
	return 0;
}

void
migrate_live_close(struct migrate_live *l, bool remove)
{
	if (l->live && !l->published)
		unlink(l->next);
	if (remove)
		unlink(l->path);
	unmap(l);
}
