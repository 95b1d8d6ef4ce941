/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-store.h - a journal's file, and the next one that is to replace it
 *
 * The journal is PATH; what is to take its place is written to PATH.next, synced,
 * and renamed, and the directory is synced. What the journal asks for is done by
 * tapdisk-worker's threads, one request at a time: the loop never waits.
 *
 * While it is open the journal is locked by its open file description. The next
 * file is locked before it has the name; who opens PATH locks it and then looks
 * whether PATH still names what was locked. Both are 0600 and never symbolic links.
 */
#ifndef MIGRATE_STORE_H_
#define MIGRATE_STORE_H_

#include <stddef.h>

#include "migrate/store.h"

struct migrate_store;

/*
 * Opens and locks path. On a read-only file system it can be read, and every
 * request fails. 0; or -errno with a sentence in why, -EBUSY if another has it.
 */
int migrate_store_open(struct migrate_store **s, const char *path, char *why, size_t size);

/* All bytes of it, malloc'ed and the caller's. 0, or -errno with a sentence in why. */
int
migrate_store_read(struct migrate_store *s, void **bytes, size_t *len, char *why, size_t size);

/*
 * published() is called, by a thread, when a next file has taken the journal's
 * place, until it has once returned 0; its -errno fails the publication.
 */
void migrate_store_on_publish(struct migrate_store *s, int (*published)(void *ctx), void *ctx);

/* For the journal. */
struct store *migrate_store(struct migrate_store *s);

/* The journal is no longer there. 0 or -errno. */
int migrate_store_remove(struct migrate_store *s);

/*
 * Closes it; no request is under way. A next file that has not taken its place is
 * removed.
 */
void migrate_store_close(struct migrate_store *s);

#endif
