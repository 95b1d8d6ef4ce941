/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-file.h - the files a migration keeps, for those who may wait for them
 *
 * All return -errno on failure. Used by tapdisk and by tap-ctl.
 */
#ifndef MIGRATE_FILE_H
#define MIGRATE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIGRATE_NEXT_SUFFIX ".next" /* of what is to be renamed when it is whole */

/* An open regular file, never through a symbolic link. -EINVAL: it is no such file. */
int migrate_file_open(int dir, const char *name, int flags);

/*
 * Locks it (image-lock.h), alone if it can be written. -EBUSY: another has. A file
 * system without locks does without.
 */
int migrate_file_lock(int fd);

/* Whether name still names the open file: it may have been replaced by rename(). */
bool migrate_file_is_named(int dir, const char *name, int fd);

/*
 * Opens and locks a file that may be replaced: when this returns, name names the file
 * that is locked. -EBUSY: another has it.
 */
int migrate_file_open_locked(int dir, const char *name, int flags);

/* The first bytes, at most max of them; malloc'ed and the caller's. */
int migrate_file_read(int fd, size_t max, void **bytes, size_t *len);

/* All of buf, or an error. */
int migrate_file_write(int fd, const void *buf, size_t len, uint64_t offset);

/* The names in the directory of path are on stable storage. */
int migrate_file_sync_directory(const char *path);

/* strerror() of a -errno of these. */
const char *migrate_file_error(int err);

#endif
