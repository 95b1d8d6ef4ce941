/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-start.h - a migration of a running VBD begins: all of it, or nothing
 *
 *	1. the VBD is claimed: nobody else can start a migration of it
 *	2. what may fail or wait is done, while the guest goes on: names, sizes, sectors and
 *	   space are checked; the destination is made or opened; both images are flushed; the
 *	   journal is written, and the images are marked
 *	3. the guest's requests are held for as long as those in flight take; the migration
 *	   takes the place of the image, which is the source from then on, open as it was
 *
 * Whatever fails, or is not wanted any more, before the end of 3 is undone, and the VBD has
 * noticed nothing. A pause or a close in 2 is done at once, and the start is undone. When
 * tapdisk is killed, what is left of 2 is in nobody's way (migrate-leftover.h), or is a
 * migration that its journal goes on with.
 */
#ifndef TAPDISK_START_H
#define TAPDISK_START_H

#include <stdbool.h>
#include <stddef.h>

#include "tapdisk.h"

/* As control_start_t says (tapdisk-control.h). */
char *tapdisk_start(td_vbd_t *vbd, const char *json, size_t size, bool (*wanted)(void *client),
		    void *client);

#endif
