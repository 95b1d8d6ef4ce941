/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image-lock.h - one at a time: locks of whole files, and who has them
 *
 * A lock belongs to the open file description: another open of the same file
 * counts, in this process too, and it is gone with the process.
 */
#ifndef IMAGE_LOCK_H
#define IMAGE_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define IMAGE_HOLDER_SIZE 64

/*
 * Locks it for as long as fd is open; exclusive needs a descriptor that can write.
 * 0; -EBUSY: somebody has it; another -errno: there are no locks there.
 */
int image_lock(int fd, bool exclusive);

/* Whether somebody else has a lock. */
bool image_lock_is_held(int fd);

/*
 * Who has the file or block device that path names locked: "tapdisk 4711", and
 * its process id; or "another program", and 0: it is mounted, or a process that
 * cannot be seen from here has it.
 */
pid_t image_lock_holder(const char *path, char *text, size_t size);

#endif
