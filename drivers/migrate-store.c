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

#include "tapdisk-worker.h"

#include "image-lock.h"
#include "migrate-file.h"
#include "migrate-store.h"
#include "migrate/error-class.h"

struct migrate_store {
	struct store store;
	struct td_work work;
	struct store_io *io; /* under way */
	int err;	     /* ... and how it went */

	int dir;
	char *path;
	const char *name; /* in dir */
	char *next_name;
	int fd[STORE_FILES]; /* -1: there is no next file */

	int (*published)(void *ctx); /* NULL: nobody waits for it any more */
	void *ctx;
};

/* --- what blocks, on a thread of tapdisk-worker's ---------------------------- */

/* An empty next file, locked, whatever was there. */
static int
begin_next(struct migrate_store *s)
{
	int fd;

	if (s->fd[STORE_NEXT] >= 0)
		close(s->fd[STORE_NEXT]);
	s->fd[STORE_NEXT] = -1;
	if (unlinkat(s->dir, s->next_name, 0) && errno != ENOENT)
		return -errno;
	fd = openat(s->dir, s->next_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	s->fd[STORE_NEXT] = fd;
	return migrate_file_lock(fd);
}

static int
store_write(struct migrate_store *s, const struct store_io *io)
{
	int err = 0;

	if (io->file == STORE_NEXT && !io->offset)
		err = begin_next(s);
	if (!err)
		err = migrate_file_write(s->fd[io->file], io->buf, io->len, io->offset);
	if (!err && fdatasync(s->fd[io->file]))
		err = -errno;
	return err;
}

static int
store_grow(struct migrate_store *s, const struct store_io *io)
{
	int err;

	do {
		err = posix_fallocate(s->fd[io->file], 0, (off_t)io->len);
	} while (err == EINTR);
	return -err;
}

/* Once it is renamed the next file is the current one, even if the rest fails. */
static int
store_publish(struct migrate_store *s)
{
	int err = 0;

	if (fsync(s->fd[STORE_NEXT]) || renameat(s->dir, s->next_name, s->dir, s->name))
		return -errno;
	close(s->fd[STORE_CURRENT]);
	s->fd[STORE_CURRENT] = s->fd[STORE_NEXT];
	s->fd[STORE_NEXT] = -1;

	/* Whether the renaming is stable or not: who opens it now finds this file. */
	if (s->published)
		err = s->published(s->ctx);
	if (!err)
		s->published = NULL;
	if (fsync(s->dir) && !err)
		err = -errno;
	/* To the journal, no space would mean that the old file is the current one. */
	return error_class(err) == ERROR_NO_SPACE ? -EIO : err;
}

static void
store_run(struct td_work *work)
{
	struct migrate_store *s = list_entry(work, struct migrate_store, work);

	switch (s->io->op) {
	case STORE_WRITE:
		s->err = store_write(s, s->io);
		break;
	case STORE_GROW:
		s->err = store_grow(s, s->io);
		break;
	case STORE_PUBLISH:
		s->err = store_publish(s);
		break;
	}
}

/* --- the loop's ---------------------------------------------------------------- */

static void
store_done(struct td_work *work)
{
	struct migrate_store *s = list_entry(work, struct migrate_store, work);
	struct store_io *io = s->io;

	s->io = NULL;
	io->done(io, s->err);
}

static void
store_submit(struct store *store, struct store_io *io)
{
	struct migrate_store *s = list_entry(store, struct migrate_store, store);

	s->io = io;
	tapdisk_worker_submit(&s->work);
}

static void
store_free(struct migrate_store *s)
{
	for (int i = 0; i < STORE_FILES; i++)
		if (s->fd[i] >= 0)
			close(s->fd[i]);
	if (s->dir >= 0)
		close(s->dir);
	free(s->path);
	free(s->next_name);
	free(s);
}

static int
store_init(struct migrate_store *s, const char *path)
{
	char copy[PATH_MAX];

	*s = (struct migrate_store){
		.store.submit = store_submit,
		.work = { .run = store_run, .done = store_done },
		.dir = -1,
		.fd = { -1, -1 },
	};
	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	s->path = strdup(path);
	s->name = s->path ? basename(s->path) : NULL;
	if (!s->path || asprintf(&s->next_name, "%s" MIGRATE_NEXT_SUFFIX, s->name) < 0) {
		s->next_name = NULL;
		return -ENOMEM;
	}
	s->dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->dir < 0 ? -errno : 0;
}

static int
open_current(struct migrate_store *s)
{
	int fd = migrate_file_open_locked(s->dir, s->name, O_RDWR);

	if (fd == -EROFS)
		fd = migrate_file_open_locked(s->dir, s->name, O_RDONLY);
	s->fd[STORE_CURRENT] = fd;
	return fd < 0 ? fd : 0;
}

int
migrate_store_open(struct migrate_store **out, const char *path, char *why, size_t size)
{
	struct migrate_store *s = malloc(sizeof(*s));
	char who[IMAGE_HOLDER_SIZE];
	int err = -ENOMEM;

	if (s) {
		err = store_init(s, path);
		if (!err)
			err = open_current(s);
		if (!err) {
			*out = s;
			return 0;
		}
		store_free(s);
	}
	if (err == -EBUSY) {
		image_lock_holder(path, who, sizeof(who));
		snprintf(why, size, "the journal %s is in use by %s", path, who);
		return err;
	}
	snprintf(why, size, "cannot open the journal %s: %s", path, migrate_file_error(err));
	return err;
}

int
migrate_store_read(struct migrate_store *s, void **bytes, size_t *len, char *why, size_t size)
{
	int err = migrate_file_read(s->fd[STORE_CURRENT], SIZE_MAX - 1, bytes, len);

	if (err)
		snprintf(why, size, "cannot read the journal %s: %s", s->path, strerror(-err));
	return err;
}

void
migrate_store_on_publish(struct migrate_store *s, int (*published)(void *ctx), void *ctx)
{
	s->published = published;
	s->ctx = ctx;
}

struct store *
migrate_store(struct migrate_store *s)
{
	return &s->store;
}

int
migrate_store_remove(struct migrate_store *s)
{
	return unlinkat(s->dir, s->name, 0) || fsync(s->dir) ? -errno : 0;
}

void
migrate_store_close(struct migrate_store *s)
{
	if (s->fd[STORE_NEXT] >= 0)
		unlinkat(s->dir, s->next_name, 0);
	store_free(s);
}
