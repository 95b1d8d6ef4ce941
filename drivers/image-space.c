/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "image-space.h"

#define PIECES 4096 /* of data, that are looked at */

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t
image_space_data(int fd, uint64_t bytes)
{
	off_t at = 0, data, hole;
	uint64_t sum = 0, blocks;
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return bytes;
	blocks = (uint64_t)st.st_blocks * 512;
	for (int i = 0; i < PIECES; i++) {
		data = lseek(fd, at, SEEK_DATA);
		if (data < 0 || (uint64_t)data >= bytes)
			return sum;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data)
			break;
		sum += least((uint64_t)hole, bytes) - (uint64_t)data;
		at = hole;
	}
	/* Unwritten blocks count too, for want of time to look. */
	return least(blocks > sum ? blocks : sum, bytes);
}

bool
image_space_room(int fd, uint64_t *bytes)
{
	struct statvfs fs;
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || fstatvfs(fd, &fs) || !fs.f_blocks)
		return false;
	*bytes = (uint64_t)(geteuid() ? fs.f_bavail : fs.f_bfree) * fs.f_frsize +
		 (uint64_t)st.st_blocks * 512;
	return true;
}
