/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-state.h - the state file, which is a migration's name
 *
 * Its first line is a JSON object: the two disks, the strategy, the settings,
 * and what became of it (docs/migrate-protocol.md). Behind it, while the
 * migration is closed and not over, stands the validity map, a run of sectors a
 * line ("sector count sides", sectors that only the source holds left out),
 * ended by a line that counts them ("end runs").
 *
 * The file is replaced as a whole (written beside, synced, renamed, directory
 * synced), so that at any moment the old one or the new one is there. It is
 * 0600 and never a symbolic link. Used by tapdisk and by tap-ctl; all calls
 * block, on a small file.
 */
#ifndef MIGRATE_STATE_H
#define MIGRATE_STATE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define MIGRATE_STATE_FORMAT  "tapmigrate-state"
#define MIGRATE_STATE_VERSION 1

/* "state" in the file: */
#define MIGRATE_STATE_NEW   "new"   /* made by tap-ctl, never opened */
#define MIGRATE_STATE_OPEN  "open"  /* a tapdisk has it, or died with it */
#define MIGRATE_STATE_SAVED "saved" /* closed in order: the map follows */
/* ... or "completed" or "cancelled", with the last status as "result" */

/*
 * Creates path, which must not exist, with format and version added to
 * settings. 0; or -errno, with a sentence about it in err.
 */
int migrate_state_create(const char *path, json_t *settings, char *err, size_t err_size);

/* Reads the first line: 0 and *settings, the caller's; or -errno, with a sentence. */
int migrate_state_load(const char *path, json_t **settings, char *err, size_t err_size);

/*
 * Locks the file that path names (image-lock.h) for as long as *lock is open. 0; or
 * -errno, -EBUSY if somebody has it, with a sentence.
 */
int migrate_state_lock(const char *path, int *lock, char *err, size_t err_size);

/*
 * Replaces path by settings and, unless write_map is NULL, what it writes: it
 * returns 0 or -errno. *lock becomes the new file's. 0; or -errno with a sentence,
 * and the old file is still there.
 */
int migrate_state_save(const char *path, int *lock, json_t *settings,
		       int (*write_map)(FILE *file, void *ctx), void *ctx, char *err,
		       size_t err_size);

/*
 * Reads the map behind the first line, a call of run() for each; it returns 0 or
 * -errno. 0; or -errno, -EINVAL if the map is not whole, with a sentence.
 */
int
migrate_state_load_map(const char *path,
		       int (*run)(void *ctx, uint64_t sector, uint64_t count, unsigned sides),
		       void *ctx, char *err, size_t err_size);

#endif
