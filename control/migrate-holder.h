/* SPDX-License-Identifier: BSD-3-Clause */
/* migrate-holder.h - which disk of which tapdisk has an image */
#ifndef MIGRATE_HOLDER_H
#define MIGRATE_HOLDER_H

#include "libtapctl.h"

/*
 * If somebody has the file or block device locked: -EBUSY, and tap_ctl_error() tells
 * who, with the minor where it is a tapdisk of this run directory. except (NULL: none)
 * may have it. 0, or -errno.
 */
int migrate_check_free(const char *path, const tap_list_t *except);

#endif
