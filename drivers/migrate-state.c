/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-lock.h"
#include "migrate-state.h"

#define FIRST_LINE_MAX (64 * 1024)

static int fail(char *err, size_t size, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int
fail(char *err, size_t size, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(err, size, fmt, args);
	va_end(args);
	return code;
}

static int
sync_directory_of(const char *path)
{
	char copy[PATH_MAX];
	int fd, err = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

/* Writes the whole file into fd, which is closed. */
static int
write_file(int fd, json_t *settings, int (*write_map)(FILE *, void *), void *ctx)
{
	FILE *file = fdopen(fd, "w");
	int err = 0;

	if (!file) {
		err = -errno;
		close(fd);
		return err;
	}
	if (json_dumpf(settings, file, JSON_COMPACT) || fputc('\n', file) == EOF)
		err = errno ? -errno : -EIO;
	if (!err && write_map)
		err = write_map(file, ctx);
	if (!err && (fflush(file) || fsync(fd)))
		err = -errno;
	if (fclose(file) && !err)
		err = -errno;
	return err;
}

static int
create(const char *path, json_t *settings, int (*write_map)(FILE *, void *), void *ctx,
       char *err, size_t err_size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int code;

	if (fd < 0)
		return fail(err, err_size, -errno, "cannot create the state file %s: %s", path,
			    strerror(errno));
	code = write_file(fd, settings, write_map, ctx);
	if (!code)
		code = sync_directory_of(path);
	if (code) {
		unlink(path);
		return fail(err, err_size, code, "cannot write the state file %s: %s", path,
			    strerror(-code));
	}
	return 0;
}

int
migrate_state_create(const char *path, json_t *settings, char *err, size_t err_size)
{
	if (json_object_set_new(settings, "format", json_string(MIGRATE_STATE_FORMAT)) ||
	    json_object_set_new(settings, "version", json_integer(MIGRATE_STATE_VERSION)))
		return fail(err, err_size, -ENOMEM, "out of memory");
	return create(path, settings, NULL, NULL, err, err_size);
}

int
migrate_state_lock(const char *path, int *lock, char *err, size_t err_size)
{
	int fd = image_lock_open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
	char who[IMAGE_HOLDER_SIZE];

	if (fd == -EBUSY) {
		image_lock_holder(path, who, sizeof(who));
		return fail(err, err_size, fd, "the state file %s is in use by %s", path, who);
	}
	if (fd < 0)
		return fail(err, err_size, fd, "cannot open the state file %s and lock it: %s",
			    path, strerror(-fd));
	*lock = fd;
	return 0;
}

int
migrate_state_save(const char *path, int *lock, json_t *settings,
		   int (*write_map)(FILE *, void *), void *ctx, char *err, size_t err_size)
{
	char next[PATH_MAX];
	int code, next_lock;

	if (snprintf(next, sizeof(next), "%s.new", path) >= (int)sizeof(next))
		return fail(err, err_size, -ENAMETOOLONG, "%s: the name is too long", path);
	/* One that a process left behind when it died. */
	unlink(next);
	code = create(next, settings, write_map, ctx, err, err_size);
	if (!code)
		code = migrate_state_lock(next, &next_lock, err, err_size);
	if (code)
		return code;
	if (rename(next, path)) {
		code = -errno;
		unlink(next);
		close(next_lock);
	} else {
		close(*lock);
		*lock = next_lock;
		code = sync_directory_of(path);
	}
	if (code)
		fail(err, err_size, code, "cannot replace the state file %s: %s", path,
		     strerror(-code));
	return code;
}

/* Reads the first line of an open file into *settings. */
static int
read_settings(FILE *file, const char *path, json_t **settings, char *err, size_t err_size)
{
	const char *format = NULL;
	char *line = NULL;
	size_t size = 0;
	int version = 0;
	ssize_t len;
	json_t *object;

	len = getline(&line, &size, file);
	object = len > 0 && len <= FIRST_LINE_MAX ? json_loadb(line, (size_t)len, 0, NULL)
						  : NULL;
	free(line);
	if (!object ||
	    json_unpack(object, "{s:s, s:i}", "format", &format, "version", &version) ||
	    strcmp(format, MIGRATE_STATE_FORMAT)) {
		json_decref(object);
		return fail(err, err_size, -EINVAL, "%s is not a migration's state file", path);
	}
	if (version != MIGRATE_STATE_VERSION) {
		json_decref(object);
		return fail(
			err, err_size, -EINVAL,
			"%s has version %d of the state file; this program knows version %d",
			path, version, MIGRATE_STATE_VERSION);
	}
	*settings = object;
	return 0;
}

/* Opens path for reading, with its first line read; the stream, or NULL and *code. */
static FILE *
open_state(const char *path, json_t **settings, int *code, char *err, size_t err_size)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	FILE *file;

	if (fd < 0) {
		*code = fail(err, err_size, -errno, "cannot open the state file %s: %s", path,
			     strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		*code = fail(err, err_size, -EINVAL, "%s is not a regular file", path);
		close(fd);
		return NULL;
	}
	file = fdopen(fd, "r");
	if (!file) {
		*code = fail(err, err_size, -ENOMEM, "out of memory");
		close(fd);
		return NULL;
	}
	*code = read_settings(file, path, settings, err, err_size);
	if (*code) {
		fclose(file);
		return NULL;
	}
	return file;
}

int
migrate_state_load(const char *path, json_t **settings, char *err, size_t err_size)
{
	int code;
	FILE *file = open_state(path, settings, &code, err, err_size);

	if (file)
		fclose(file);
	return code;
}

int
migrate_state_load_map(const char *path,
		       int (*run)(void *, uint64_t sector, uint64_t count, unsigned sides),
		       void *ctx, char *err, size_t err_size)
{
	uint64_t sector, count, runs = 0, said;
	unsigned sides;
	json_t *settings;
	int code;
	FILE *file = open_state(path, &settings, &code, err, err_size);

	if (!file)
		return code;
	json_decref(settings);
	while (!code &&
	       fscanf(file, "%" SCNu64 " %" SCNu64 " %u", &sector, &count, &sides) == 3) {
		code = run(ctx, sector, count, sides);
		runs++;
	}
	if (!code && (fscanf(file, "end %" SCNu64, &said) != 1 || said != runs))
		code = -EINVAL;
	if (code)
		fail(err, err_size, code, "%s: its map of what is where is damaged", path);
	fclose(file);
	return code;
}
