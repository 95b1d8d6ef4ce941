/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-new.h - a migration that is to begin: what is asked for, and its journal
 *
 * tap-ctl sends it to tapdisk as a JSON object (docs/migrate-protocol.md), which makes
 * the journal from it. For a tapdisk of blktap's tap-ctl makes the journal itself.
 */
#ifndef MIGRATE_NEW_H
#define MIGRATE_NEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIGRATE_NEW_PARAMS 256 /* of "migrate:JOURNAL", with the terminating zero */

/* Strings are the caller's, and stay. */
struct migrate_new {
	const char *source;	 /* "type:path": what the disk runs on */
	const char *destination; /* "aio:/path" */
	const char *journal;	 /* its path, or NULL: one that belongs to the destination */
	int create;		 /* the destination is to be made */
	int dry_run;		 /* all is tried, and undone */
	int any_space;		 /* the destination's free space is not looked at */
	const char *strategy, *complete, *journal_after;
	int threshold, rate, latency, depth;
	json_int_t chunk; /* bytes */
};

/* What only the one who has the images open can tell. */
struct migrate_new_disks {
	uint64_t sectors;
	const char *source; /* the name that leads to it now, "type:path" */
	bool nameless;	    /* none does */
	const char *source_identity, *destination_identity; /* or NULL */
};

/* NULL: a name is not UTF-8, or there is no memory. */
json_t *migrate_new_request(const struct migrate_new *new);
/* The strings are the request's. 0, or -EINVAL with a sentence in why. */
int migrate_new_parse(json_t *request, struct migrate_new *new, char *why, size_t size);

/* The path of the destination: what follows "aio:". */
const char *migrate_new_path(const struct migrate_new *new);

/*
 * Whether names and paths can be used at all: 0, or -errno with a sentence in why. run_dir
 * is where the migration's socket is to be.
 */
int
migrate_new_check(const struct migrate_new *new, const char *run_dir, char *why, size_t size);

/*
 * Puts "migrate:JOURNAL" into params. A device's journal is in the state directory, which is
 * made. 0, or -errno with a sentence in why.
 */
int migrate_new_journal(const struct migrate_new *new, bool device,
			char params[MIGRATE_NEW_PARAMS], char *why, size_t size);

/*
 * Makes the journal at path, where nothing may be. It is on stable storage then, and locked for
 * as long as the descriptor that is returned is open; or -errno with a sentence in why.
 */
int migrate_new_write(const struct migrate_new *new, const struct migrate_new_disks *disks,
		      const char *path, char *why, size_t size);

#endif
