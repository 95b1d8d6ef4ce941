/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-leftover.h - what a start has left whose tapdisk was killed
 *
 * A journal in the state "new" has never served a guest: both images hold what they held
 * before. If nobody has it open it, the marks that name it, and the destination that was
 * made with it may go, and the same start be made again.
 */
#ifndef MIGRATE_LEFTOVER_H
#define MIGRATE_LEFTOVER_H

#include <stddef.h>

#include "migrate-new.h"

/*
 * Removes what an earlier start of the same disk to the same destination has left, if the
 * journal at path is such a one. source is the open source, or -1; run_dir the run directory.
 * 0, also if there is nothing to remove; or -errno with a sentence in why: it is another's,
 * or has begun, and nothing was changed; or not all could be removed. May wait.
 */
int migrate_leftover_remove(const struct migrate_new *new, const char *path, int source,
			    const char *run_dir, char *why, size_t size);

#endif
