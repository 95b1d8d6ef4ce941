/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image-where.h - where a disk is now that was once an image
 *
 * An image that a migration has left is marked with where the disk has gone, and an image
 * of a migration that has not ended with its journal (image-mark.h).
 */
#ifndef IMAGE_WHERE_H
#define IMAGE_WHERE_H

#include "image-mark.h"

#define IMAGE_WHERE_SIZE (IMAGE_MARK_NAME + 16) /* a mark's name, and a type */

/*
 * Follows the marks from image ("TYPE:NAME") to what is the disk now, which goes into now:
 * the image itself, a successor, or migrate:JOURNAL. This is the one place that decides
 * which marks are believed. An image that cannot be read, or has no mark that is
 * understood, is where the way ends. -ENAMETOOLONG, or -ELOOP where the marks lead round
 * in a circle.
 */
int image_where(const char *image, char now[IMAGE_WHERE_SIZE]);

#endif
