/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate-journal.h"
#include "migrate-registry.h"
#include "migrate-text.h"
#include "state-dir.h"

#define KNOWN	   "migration-"
#define RECORD	   "alone-"
#define NAME	   (sizeof(KNOWN) + MIGRATE_UUID_SIZE)
#define TEXT_BYTES 8192

static const char *const side_words[] = { [SRC_BIT] = "source", [DST_BIT] = "destination" };

static void
name_of(char name[NAME], const char *prefix, const char *uuid)
{
	snprintf(name, NAME, "%s%.*s", prefix, MIGRATE_UUID_SIZE - 1, uuid);
}

int
registry_remove(const char *uuid)
{
	char name[NAME];

	name_of(name, KNOWN, uuid);
	return state_file_remove(name);
}

static json_t *
get(const char *name)
{
	char text[TEXT_BYTES];
	ssize_t n = state_file_get(name, text, sizeof(text));
	json_t *object = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
	const char *unused;

	if (!json_unpack(object, "{s:s, s:s, s:s, s:s}", "uuid", &unused, "journal", &unused,
			 "source", &unused, "destination", &unused))
		return object;
	json_decref(object);
	return NULL;
}

json_t *
registry_find(const char *journal)
{
	DIR *dir = opendir(state_dir());
	json_t *found = NULL;
	struct dirent *entry;

	while (dir && !found && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, KNOWN, strlen(KNOWN)) ||
		    strlen(entry->d_name) != strlen(KNOWN) + MIGRATE_UUID_SIZE - 1)
			continue;
		found = get(entry->d_name);
		if (found &&
		    strcmp(json_string_value(json_object_get(found, "journal")), journal)) {
			json_decref(found);
			found = NULL;
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

/* One whose journal has been removed, and this one has its place. */
static int
forget_earlier(const char *journal, const char *uuid)
{
	json_t *earlier = registry_find(journal);
	const char *its = earlier ? json_string_value(json_object_get(earlier, "uuid")) : uuid;
	int err = strcmp(its, uuid) ? registry_remove(its) : 0;

	json_decref(earlier);
	return err;
}

int
registry_put(const char *uuid, const char *journal, const char *source, const char *destination)
{
	json_t *object =
		json_pack("{s:s, s:o, s:o, s:o}", "uuid", uuid, "journal",
			  migrate_text_json(journal), "source", migrate_text_json(source),
			  "destination", migrate_text_json(destination));
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	char name[NAME];
	int err = -ENOMEM;

	name_of(name, KNOWN, uuid);
	if (text)
		err = forget_earlier(journal, uuid);
	if (text && !err)
		err = state_file_put(name, text);
	free(text);
	json_decref(object);
	return err;
}

int
registry_record(const char *uuid, side_mask side)
{
	char name[NAME];

	name_of(name, RECORD, uuid);
	return side == NO_SIDE ? state_file_remove(name)
			       : state_file_put(name, side_words[side]);
}

int
registry_recorded(const char *uuid, side_mask *side)
{
	char name[NAME], text[32];
	ssize_t n;

	*side = NO_SIDE;
	name_of(name, RECORD, uuid);
	n = state_file_get(name, text, sizeof(text) - 1);
	if (n < 0)
		return n == -ENODATA ? 0 : (int)n;
	text[n] = '\0';
	for (side_mask s = SRC_BIT; s <= DST_BIT; s++)
		if (!strcmp(text, side_words[s])) {
			*side = s;
			return 0;
		}
	return -EBADMSG;
}
