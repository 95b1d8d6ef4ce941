/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-live.h - a journal's live changes, in memory that survives the process
 *
 * They are in <run directory>/live-<uuid>, a file that is mapped shared: a change
 * is a store, and it is there when tapdisk has been killed. A boot of the machine
 * ends it, on whatever file system the run directory is, so the file has the
 * boot's id in it.
 *
 * An opening of the journal begins a file of its own, live-<uuid>.next, and
 * gives it the name only when the journal itself has been replaced by one that
 * has all that the old live changes say; until then journal and live changes of
 * the opening before are there as they were. Which file goes with a journal is
 * told by its epoch, whatever its name: whoever is killed between the two leaves
 * a .next that does.
 */
#ifndef MIGRATE_LIVE_H
#define MIGRATE_LIVE_H

#include <stddef.h>
#include <stdint.h>

#include "migrate/journal-file.h"

#define MIGRATE_LIVE_ENTRIES 16384

struct migrate_live;

/*
 * What the opening that wrote the journal with that uuid and epoch has left in dir.
 * 0, also if there is nothing; or -errno with a sentence in why.
 */
int migrate_live_open(struct migrate_live **l, const char *dir, const uint8_t uuid[16],
		      uint64_t epoch, char *why, size_t size);
/* ... or left at path, by a tapdisk with another run directory: this is taken instead. */
int migrate_live_look_at(struct migrate_live *l, const char *path, const uint8_t uuid[16],
			 uint64_t epoch, char *why, size_t size);
/* NULL: there is nothing, or nothing of this boot of the machine. */
const struct journal_live *migrate_live_old(const struct migrate_live *l);

/* Where this opening's are to be: an absolute path, if the run directory exists. */
const char *migrate_live_path(const struct migrate_live *l);
/* The name of this start of the machine. */
const char *migrate_live_boot(const struct migrate_live *l);

/* Makes this opening's. Nobody else has the journal open. 0, or -errno as above. */
int migrate_live_begin(struct migrate_live *l, char *why, size_t size);
/* The old ones, which this opening may still add to. */
struct journal_live *migrate_live_old_writable(struct migrate_live *l);
/* Zeroed, but for boot and entries. */
struct journal_live *migrate_live_new(struct migrate_live *l);

/*
 * The new one takes the old one's place, wherever that is; again is nothing. 0 or
 * -errno. By any thread.
 */
int migrate_live_publish(struct migrate_live *l);

/*
 * In the place of what the opening of that epoch has left, which is lost for good: that
 * nothing has changed since the position of the journal. 0, or -errno as above.
 */
int migrate_live_accept_loss(struct migrate_live *l, const uint8_t uuid[16], uint64_t epoch,
			     uint64_t position, char *why, size_t size);

/* remove: whoever opens the journal next finds everything in it. */
void migrate_live_close(struct migrate_live *l, bool remove);

#endif
