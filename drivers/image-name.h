/* SPDX-License-Identifier: BSD-3-Clause */
/* image-name.h - whether a name leads to an image that is open */
#ifndef IMAGE_NAME_H
#define IMAGE_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whether path is the open file or device. All may wait for their storage. */
bool image_is_named(const char *path, int fd);

/*
 * Whether it can be opened again by its name, as it is: 0; -ESTALE, the name leads to nothing
 * or to something else; -EMEDIUMTYPE, it has not so many bytes any more; or why it cannot be
 * opened, -errno. With a sentence in why.
 */
int
image_check_name(const char *path, int fd, bool readonly, off_t bytes, char *why, size_t size);

#endif
