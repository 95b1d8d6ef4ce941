/* SPDX-License-Identifier: BSD-3-Clause */
#include "zero-as-is.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate/error-class.h"

#define WRITE_BYTES (256 << 10)

/* Aligned as O_DIRECT may want it. */
static const char zeroes[WRITE_BYTES] __attribute__((aligned(4096)));

/* Where no call makes zeroes, they are written: the space is allocated already. */
static int
write_zeroes(int fd, off_t at, off_t end)
{
	while (at < end) {
		size_t bytes = end - at < WRITE_BYTES ? (size_t)(end - at) : WRITE_BYTES;
		ssize_t n = pwrite(fd, zeroes, bytes, at);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			at += n;
	}
	return 0;
}

/* From at on there is data: how far, but not beyond end. */
static off_t
data_until(int fd, off_t at, off_t end)
{
	off_t hole = lseek(fd, at, SEEK_HOLE);

	return hole > at && hole < end ? hole : end;
}

/*
 * Space that was reserved and never written is a hole to SEEK_DATA, reads as zeroes, and
 * is left alone; so is a hole.
 */
int
zero_as_is(int fd, off_t start, off_t end)
{
	struct stat st;
	off_t at = start, until;
	int err = 0;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < end)
		return -ENXIO;
	for (; !err && at < end; at = until) {
		off_t data = lseek(fd, at, SEEK_DATA);

		if (data < 0 && errno != ENXIO)
			data = at; /* not known: then all of it may be */
		if (data < 0 || data >= end)
			break;
		until = data_until(fd, data, end);
		if (!fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, data,
			       until - data))
			continue;
		err = error_class(errno) == ERROR_UNABLE ? write_zeroes(fd, data, until)
							 : -errno;
	}
	return err;
}
