/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-registry.h - what this host remembers of migrations, beside their journals
 *
 * A journal may be on storage that does not answer, or is gone. So the state directory
 * (state-dir.h) has two files:
 *
 *	migration-UUID	where the journal and the images of a migration are that has
 *			not ended: only for people, who are told of it
 *	alone-UUID	the record: one side alone is the disk, whatever the journal says
 *			(migration_config.record_alone)
 *
 * The record is believed before the journal. It stays when the migration has ended by it,
 * for the journal may come back: opening that then serves the disk that is left.
 *
 * All of it may wait for the storage.
 */
#ifndef MIGRATE_REGISTRY_H
#define MIGRATE_REGISTRY_H

#include <jansson.h>

#include "migrate/disk.h"

/* Remembers the migration: 0, or -errno. */
int registry_put(const char *uuid, const char *journal, const char *source,
		 const char *destination);
int registry_remove(const char *uuid);
/*
 * An object with "uuid", "journal", "source" and "destination" of the migration with that
 * journal, the caller's; NULL if none is remembered.
 */
json_t *registry_find(const char *journal);

/* Makes the record, or with NO_SIDE removes it. 0, and it is on stable storage; or -errno. */
int registry_record(const char *uuid, side_mask side);
/* What it says: SRC_BIT, DST_BIT, or NO_SIDE if there is none. 0 or -errno. */
int registry_recorded(const char *uuid, side_mask *side);

#endif
