/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zero-as-is.h - zeroes in a file that keeps the space it has
 */
#ifndef ZERO_AS_IS_H
#define ZERO_AS_IS_H

#include <sys/types.h>

/*
 * The bytes from start up to end, which the file has, read as zeroes afterwards. What of
 * them is allocated stays so, and what is a hole stays one. It may wait for the storage.
 * Both are multiples of what the descriptor's I/O must be aligned to. 0 or -errno; -ENXIO
 * if the file ends before end.
 */
int zero_as_is(int fd, off_t start, off_t end);

#endif
