/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image-sector.h"

#define ATTRIBUTE "user.tapmigrate.sector"
#define LEAST	  512
#define MOST	  65536

long
image_sector_get(int fd)
{
	char text[16], *end;
	ssize_t n = fgetxattr(fd, ATTRIBUTE, text, sizeof(text) - 1);
	long bytes;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	bytes = strtol(text, &end, 10);
	return *end || bytes < LEAST || bytes > MOST || bytes & (bytes - 1) ? 0 : bytes;
}

int
image_sector_set(int fd, long bytes)
{
	char text[16];
	struct stat st;
	int n = snprintf(text, sizeof(text), "%ld", bytes), err;

	if (fstat(fd, &st))
		return -errno;
	/* A device's attributes would be those of its node. */
	if (!S_ISREG(st.st_mode))
		return bytes ? -EOPNOTSUPP : 0;
	err = bytes ? fsetxattr(fd, ATTRIBUTE, text, (size_t)n, 0)
		    : fremovexattr(fd, ATTRIBUTE);
	if (err)
		err = -errno;
	if (!bytes && (err == -ENODATA || err == -EOPNOTSUPP))
		return 0;
	if (!err && fsync(fd))
		err = -errno;
	return err;
}
