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
#include "migrate-journal.h"
#include "migrate-live.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

struct migrate_live {
	char path[PATH_MAX - 16], next[PATH_MAX];
	char boot[sizeof(((struct journal_live *)0)->boot)], boot_name[40];
	struct journal_live *live;
	struct journal_live *old; /* or NULL; can be written to from begin() on */
	size_t old_bytes;
	char old_path[PATH_MAX];
	bool published;
};

#define LIVE_BYTES journal_live_bytes(MIGRATE_LIVE_ENTRIES)

static int
read_boot_id(struct migrate_live *l)
{
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC), err;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, l->boot, sizeof(l->boot) - 1);
	err = n < 0 ? -errno : n ? 0 : -EIO;
	close(fd);
	memcpy(l->boot_name, l->boot, sizeof(l->boot));
	l->boot_name[strcspn(l->boot_name, "\n")] = '\0';
	return err;
}

/* Whether a file of that many bytes has all its entries, and goes with the journal. */
static bool
belongs(const struct migrate_live *l, const struct journal_live *old, size_t bytes,
	const uint8_t uuid[16], uint64_t epoch)
{
	return bytes >= sizeof(*old) && old->entries &&
	       journal_live_bytes(old->entries) <= bytes &&
	       !memcmp(old->boot, l->boot, sizeof(old->boot)) &&
	       !memcmp(old->uuid, uuid, sizeof(old->uuid)) && old->epoch == epoch;
}

static void
unmap_old(struct migrate_live *l)
{
	if (l->old)
		munmap(l->old, l->old_bytes);
	l->old = NULL;
}

/* 0 also if there is none that goes with the journal. */
static int
map_old(struct migrate_live *l, const char *path, const uint8_t uuid[16], uint64_t epoch)
{
	int fd = migrate_file_open(AT_FDCWD, path, O_RDONLY), err = 0;
	struct stat st;
	void *old;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstat(fd, &st)) {
		err = -errno;
	} else if (st.st_size) {
		size_t bytes = (size_t)st.st_size;

		old = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
		if (old == MAP_FAILED) {
			err = -errno;
		} else if (belongs(l, old, bytes, uuid, epoch)) {
			l->old = old;
			l->old_bytes = bytes;
			snprintf(l->old_path, sizeof(l->old_path), "%s", path);
		} else {
			munmap(old, bytes);
		}
	}
	close(fd);
	return err;
}

/* What has the name, or was to have it next. */
static int
find_old(struct migrate_live *l, const char *path, const uint8_t uuid[16], uint64_t epoch)
{
	char next[PATH_MAX];
	int err;

	if (snprintf(next, sizeof(next), "%s" MIGRATE_NEXT_SUFFIX, path) >= (int)sizeof(next))
		return -ENAMETOOLONG;
	unmap_old(l);
	err = map_old(l, path, uuid, epoch);
	if (!err && !l->old)
		err = map_old(l, next, uuid, epoch);
	return err;
}

/* Who only looks at a journal has no business to write to what goes with it. */
static int
make_old_writable(struct migrate_live *l)
{
	int fd, err = 0;
	void *old;

	if (!l->old)
		return 0;
	fd = migrate_file_open(AT_FDCWD, l->old_path, O_RDWR);
	if (fd < 0)
		return fd;
	old = mmap(NULL, l->old_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (old == MAP_FAILED) {
		err = -errno;
	} else {
		unmap_old(l);
		l->old = old;
	}
	close(fd);
	return err;
}

/* Whoever made it, in this run directory or another, died before it had the name. */
static int
name_old(struct migrate_live *l)
{
	size_t len = strlen(l->old_path), suffix = strlen(MIGRATE_NEXT_SUFFIX);
	char name[PATH_MAX];

	if (!l->old || len <= suffix || strcmp(l->old_path + len - suffix, MIGRATE_NEXT_SUFFIX))
		return 0;
	snprintf(name, sizeof(name), "%.*s", (int)(len - suffix), l->old_path);
	if (rename(l->old_path, name))
		return -errno;
	strcpy(l->old_path, name);
	return 0;
}

static int
make_new(struct migrate_live *l)
{
	int fd, err = name_old(l);
	void *live;

	if (err)
		return err;
	/* Another one that a process left behind when it died. */
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
	unmap_old(l);
	if (l->live)
		munmap(l->live, LIVE_BYTES);
	free(l);
}

static int
fail(const char *what, const char *path, int err, char *why, size_t size)
{
	snprintf(why, size, "what %s in %s: %s", what, path, migrate_file_error(err));
	return err;
}

#define KEEP "changes cannot be kept"
#define READ "has changed cannot be read"

static int
set_path(struct migrate_live *l, const char *dir, const uint8_t uuid[16])
{
	char *real = realpath(dir, NULL), text[MIGRATE_UUID_SIZE];
	int n;

	/* One that is not there has nothing, and begin() says so. */
	if (!real && errno != ENOENT)
		return -errno;
	migrate_uuid_text(uuid, text);
	n = snprintf(l->path, sizeof(l->path), "%s/live-%s", real ? real : dir, text);
	free(real);
	if (n >= (int)sizeof(l->path))
		return -ENAMETOOLONG;
	snprintf(l->next, sizeof(l->next), "%s" MIGRATE_NEXT_SUFFIX, l->path);
	return 0;
}

int
migrate_live_open(struct migrate_live **out, const char *dir, const uint8_t uuid[16],
		  uint64_t epoch, char *why, size_t size)
{
	struct migrate_live *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return fail(READ, dir, -ENOMEM, why, size);
	err = set_path(l, dir, uuid);
	if (!err)
		err = read_boot_id(l);
	if (!err)
		err = find_old(l, l->path, uuid, epoch);
	if (err) {
		fail(READ, *l->path ? l->path : dir, err, why, size);
		unmap(l);
		return err;
	}
	*out = l;
	return 0;
}

int
migrate_live_look_at(struct migrate_live *l, const char *path, const uint8_t uuid[16],
		     uint64_t epoch, char *why, size_t size)
{
	int err = find_old(l, path, uuid, epoch);

	return err ? fail(READ, path, err, why, size) : 0;
}

const char *
migrate_live_path(const struct migrate_live *l)
{
	return l->path;
}

const char *
migrate_live_boot(const struct migrate_live *l)
{
	return l->boot_name;
}

int
migrate_live_begin(struct migrate_live *l, char *why, size_t size)
{
	int err = make_old_writable(l);

	if (err)
		return fail(READ, l->old_path, err, why, size);
	err = make_new(l);
	return err ? fail(KEEP, l->next, err, why, size) : 0;
}

const struct journal_live *
migrate_live_old(const struct migrate_live *l)
{
	return l->old;
}

struct journal_live *
migrate_live_old_writable(struct migrate_live *l)
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
	/* In another run directory: what it says, the journal does by now. */
	if (l->old && strcmp(l->old_path, l->path))
		unlink(l->old_path);
	return 0;
}

int
migrate_live_accept_loss(struct migrate_live *l, const uint8_t uuid[16], uint64_t epoch,
			 uint64_t position, char *why, size_t size)
{
	int err = make_new(l);

	if (!err) {
		l->live->version = JOURNAL_VERSION;
		l->live->epoch = epoch;
		l->live->head = position;
		memcpy(l->live->uuid, uuid, sizeof(l->live->uuid));
		memcpy(l->live->magic, JOURNAL_LIVE_MAGIC, sizeof(l->live->magic));
		err = migrate_live_publish(l);
	}
	return err ? fail(KEEP, l->path, err, why, size) : 0;
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
