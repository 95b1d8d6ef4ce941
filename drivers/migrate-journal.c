/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate-file.h"
#include "migrate-journal.h"
#include "migrate-unnamed.h"

/* What holds a journal's head, whatever follows. */
#define HEAD_READ (JOURNAL_HEAD_MAX + 4096u)

__attribute__((format(printf, 4, 5))) static int
fail(char *why, size_t size, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, size, fmt, args);
	va_end(args);
	return err;
}

void
migrate_uuid_text(const uint8_t uuid[16], char text[MIGRATE_UUID_SIZE])
{
	for (int i = 0; i < 16; i++)
		text += sprintf(text, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
				uuid[i]);
}

/* The descriptor, by which it is locked, or -errno. */
static int
create(const char *path, const void *bytes, size_t len)
{
	struct migrate_unnamed u;
	int err = migrate_unnamed_open(&u, path), fd = -1;

	if (err)
		return err;
	err = migrate_file_lock(u.fd);
	if (!err)
		err = migrate_file_write(u.fd, bytes, len, 0);
	if (!err && fsync(u.fd))
		err = -errno;
	if (!err)
		err = migrate_unnamed_name(&u);
	if (!err) {
		fd = fcntl(u.fd, F_DUPFD_CLOEXEC, 0);
		err = fd < 0 ? -errno : 0;
	}
	migrate_unnamed_close(&u, err);
	return err ? err : fd;
}

int
migrate_journal_create_locked(const char *path, const uint8_t uuid[16], uint64_t sectors,
			      const json_t *head, const json_t *note, char *why, size_t size)
{
	char *head_text = json_dumps(head, JSON_COMPACT);
	char *note_text = json_dumps(note, JSON_COMPACT);
	void *bytes = NULL;
	size_t len;
	int fd = -ENOMEM;

	if (head_text && note_text && strlen(head_text) <= JOURNAL_HEAD_MAX)
		bytes = journal_new(uuid, sectors, head_text, strlen(head_text), note_text,
				    strlen(note_text), &len);
	if (bytes)
		fd = create(path, bytes, len);
	if (fd < 0)
		fail(why, size, fd, "cannot create the journal %s: %s", path, strerror(-fd));
	free(bytes);
	free(note_text);
	free(head_text);
	return fd;
}

int
migrate_journal_create(const char *path, const uint8_t uuid[16], uint64_t sectors,
		       const json_t *head, const json_t *note, char *why, size_t size)
{
	int fd = migrate_journal_create_locked(path, uuid, sectors, head, note, why, size);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int
migrate_journal_settings(const struct journal_contents *c, json_t **settings, char *why,
			 size_t size)
{
	json_t *head = json_loadb(c->head, c->head_len, 0, NULL);
	json_t *note = c->note ? json_loadb(c->note, c->note_len, 0, NULL) : json_object();
	char uuid[MIGRATE_UUID_SIZE];

	if (!json_is_object(head) || !json_is_object(note) || json_object_update(head, note)) {
		json_decref(note);
		json_decref(head);
		return fail(why, size, -EINVAL,
			    "what it says about the migration is not understood");
	}
	json_decref(note);
	migrate_uuid_text(c->uuid, uuid);
	json_object_set_new(head, "uuid", json_string(uuid));
	json_object_set_new(head, "sectors", json_integer((json_int_t)c->sectors));
	*settings = head;
	return 0;
}

static int
load(const void *bytes, size_t len, bool whole, json_t **settings, char *why, size_t size)
{
	struct validity *map = NULL;
	struct journal_contents c;
	int err;

	err = journal_read(bytes, len, NULL, &c, whole ? &map : NULL, why, size);
	if (!err && map)
		validity_destroy(map);
	return err ? err : migrate_journal_settings(&c, settings, why, size);
}

int
migrate_journal_load(const char *path, bool whole, json_t **settings, char *why, size_t size)
{
	int fd = migrate_file_open(AT_FDCWD, path, O_RDONLY), err = fd;
	void *bytes;
	size_t len;
	char text[256];

	if (fd >= 0) {
		err = migrate_file_read(fd, whole ? SIZE_MAX - 1 : HEAD_READ, &bytes, &len);
		close(fd);
	}
	if (err)
		return fail(why, size, err, "cannot read the journal %s: %s", path,
			    migrate_file_error(err));
	err = load(bytes, len, whole, settings, text, sizeof(text));
	free(bytes);
	return err ? fail(why, size, err, "%s: %s", path, text) : 0;
}
