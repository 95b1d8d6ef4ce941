/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image-identity.h"
#include "image-lock.h"
#include "image-mark.h"
#include "migrate-file.h"
#include "migrate-journal.h"
#include "migrate-leftover.h"

__attribute__((format(printf, 4, 5))) static int
fail(char *why, size_t size, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, size, fmt, args);
	va_end(args);
	return err;
}

static const char *
text_of(const json_t *settings, const char *key)
{
	const char *text = json_string_value(json_object_get(settings, key));

	return text ? text : "";
}

/* Whether the open image is the one that the journal recorded. */
static bool
is_recorded(const json_t *settings, const char *key, int fd)
{
	char identity[IMAGE_IDENTITY_SIZE];

	return fd >= 0 && !image_identity(fd, identity, sizeof(identity)) &&
	       !strcmp(text_of(settings, key), identity);
}

static bool
is_of_same_start(const json_t *settings, const struct migrate_new *new, int source)
{
	return !strcmp(text_of(settings, "state"), MIGRATE_STATE_NEW) &&
	       !strcmp(text_of(settings, "destination"), new->destination) &&
	       (is_recorded(settings, "source_identity", source) ||
		(source < 0 && !strcmp(text_of(settings, "source"), new->source)));
}

static int
clear_mark(int fd, const json_t *settings)
{
	struct image_mark mark;

	if (fd < 0 || image_mark_get(fd, &mark) || strcmp(mark.uuid, text_of(settings, "uuid")))
		return 0;
	return image_mark_clear(fd);
}

/* What the start before made, and nobody has open, makes room for the next one. */
static int
remove_destination(const json_t *settings, const struct migrate_new *new, int fd)
{
	if (fd < 0 || !new->create ||
	    !json_is_true(json_object_get(settings, "destination_is_zero")) ||
	    !is_recorded(settings, "destination_identity", fd))
		return 0;
	if (image_lock(fd, true) == -EBUSY)
		return -EBUSY;
	return unlink(migrate_new_path(new)) && errno != ENOENT ? -errno : 0;
}

/* The socket, and the live changes, of which there are none. */
static void
remove_live(const json_t *settings, const char *run_dir)
{
	static const struct {
		const char *before, *after;
	} names[] = { { "live-", "" }, { "live-", MIGRATE_NEXT_SUFFIX }, { "migrate-", "" } };
	int dir = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[64];

	for (size_t i = 0; dir >= 0 && i < sizeof(names) / sizeof(*names); i++) {
		snprintf(name, sizeof(name), "%s%s%s", names[i].before,
			 text_of(settings, "uuid"), names[i].after);
		unlinkat(dir, name, 0);
	}
	if (dir >= 0)
		close(dir);
}

/* The marks first: a mark without a journal would keep its image from being used. */
static int
remove_all(const json_t *settings, const struct migrate_new *new, const char *path, int source,
	   const char *run_dir)
{
	int fd = open(migrate_new_path(new), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int err = clear_mark(fd, settings);

	if (!err)
		err = clear_mark(source, settings);
	if (!err)
		err = remove_destination(settings, new, fd);
	if (fd >= 0)
		close(fd);
	if (err)
		return err;
	remove_live(settings, run_dir);
	return unlink(path) ? -errno : migrate_file_sync_directory(path);
}

static int
remove_locked(const struct migrate_new *new, const char *path, int source, const char *run_dir,
	      char *why, size_t size)
{
	json_t *settings = NULL;
	int err = 0;

	/* What cannot be read is nobody's we know. */
	migrate_journal_load(path, true, &settings, why, size);
	if (!is_of_same_start(settings, new, source))
		err = fail(why, size, -EEXIST,
			   "%s is there from an earlier migration; tap-ctl migrate status "
			   "--journal shows it; remove it if that is over",
			   path);
	else
		err = remove_all(settings, new, path, source, run_dir);
	if (err && err != -EEXIST)
		fail(why, size, err,
		     "what an earlier start has left, which was killed, cannot be removed (%s "
		     "and the marks that name it): %s",
		     path, strerror(-err));
	json_decref(settings);
	return err;
}

int
migrate_leftover_remove(const struct migrate_new *new, const char *path, int source,
			const char *run_dir, char *why, size_t size)
{
	int fd = migrate_file_open_locked(AT_FDCWD, path, O_RDWR), err;
	char who[IMAGE_HOLDER_SIZE];

	if (fd == -ENOENT)
		return 0;
	if (fd == -EBUSY) {
		image_lock_holder(path, who, sizeof(who));
		return fail(why, size, fd, "the journal %s is in use by %s", path, who);
	}
	if (fd < 0)
		return fail(why, size, fd, "%s is in the way of the journal: %s", path,
			    migrate_file_error(fd));
	err = remove_locked(new, path, source, run_dir, why, size);
	close(fd);
	return err;
}
