/* SPDX-License-Identifier: BSD-3-Clause */
/* image-space.h - whether there is room for an image's data */
#ifndef IMAGE_SPACE_H
#define IMAGE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Bytes of an open file that hold data, of the first so many; of a device all. Looks at a
 * bounded number of pieces: what is behind them counts as data as far as the file has blocks.
 */
uint64_t image_space_data(int fd, uint64_t bytes);

/*
 * What a file can grow by, and what it has of its own: bytes that can be written to it. False:
 * nothing tells, or it is a device.
 */
bool image_space_room(int fd, uint64_t *bytes);

#endif
