/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-journal.h - a journal's settings, for tapdisk and for tap-ctl
 *
 * A journal (migrate/journal-file.h) has two texts of ours, each a JSON object
 * (docs/migrate-protocol.md): the head, which says what is moved and never
 * changes, and the note, which says what has come of it. Here they are one
 * object, with "uuid" and "sectors" of the journal's own added.
 */
#ifndef MIGRATE_JOURNAL_FILES_H
#define MIGRATE_JOURNAL_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "migrate/journal-file.h"

#define MIGRATE_UUID_SIZE 37
#define MIGRATE_STATE_NEW "new" /* "state" of a migration that has not begun */

void migrate_uuid_text(const uint8_t uuid[16], char text[MIGRATE_UUID_SIZE]);

/*
 * Makes the journal of a new migration at path, where nothing may be. 0, and it
 * is on stable storage; or -errno, with a sentence in why.
 */
int migrate_journal_create(const char *path, const uint8_t uuid[16], uint64_t sectors,
			   const json_t *head, const json_t *note, char *why, size_t size);

/* The same, but returns a descriptor: the journal is locked for as long as that is open. */
int
migrate_journal_create_locked(const char *path, const uint8_t uuid[16], uint64_t sectors,
			      const json_t *head, const json_t *note, char *why, size_t size);

/* What was read, as one object, the caller's: 0, or -errno with a sentence in why. */
int migrate_journal_settings(const struct journal_contents *contents, json_t **settings,
			     char *why, size_t size);

/*
 * The same of the journal at path, which somebody may have open. whole: all of it
 * is read and checked; else only the head, and there is no note.
 */
int
migrate_journal_load(const char *path, bool whole, json_t **settings, char *why, size_t size);

#endif
