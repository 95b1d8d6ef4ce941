/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block-migrate.h - a migration that begins under a running VBD (tapdisk-start.c)
 *
 * The VBD's open image is the source: it is not opened again. The new migration is opened over
 * it with tapdisk_image_open_given(), while the VBD goes on with the image. All that can wait
 * is done by then: both images are marked, and the journal is written as soon as
 * migrate_image_ready() says so. Then the VBD is given the migration's image in the place of
 * its own, and the migration begins.
 *
 * Closed before that, it leaves nothing: the marks are gone, and then the journal.
 */
#ifndef BLOCK_MIGRATE_H
#define BLOCK_MIGRATE_H

#include "tapdisk.h"

/* What tapdisk_image_open_given() takes: both stay the caller's until the migration begins. */
struct migrate_given {
	td_image_t *source;
	td_image_t *destination;
};

/* 1: the journal is on stable storage; 0: not yet; or why it cannot be, -errno. */
int migrate_image_ready(td_image_t *image);

/*
 * The VBD sends its requests to this image from now on, and nothing is in flight to the source
 * any more. Source and destination are the migration's.
 */
void migrate_image_begin(td_image_t *image);

#endif
