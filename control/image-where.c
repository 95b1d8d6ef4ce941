/* SPDX-License-Identifier: BSD-3-Clause */
#include "image-where.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TYPE	 "aio:"
#define HOPS_MAX 16

/*
 * By role: what comes before the mark's name where it leads on. The two images of a
 * migration are half a disk each: the disk is its journal. One that was abandoned never was
 * the disk: tapdisk refuses it and says so.
 */
static const char *const leads_on[IMAGE_MARK_ROLES] = {
	[IMAGE_MARK_SOURCE] = "migrate:",
	[IMAGE_MARK_DESTINATION] = "migrate:",
	[IMAGE_MARK_SUPERSEDED] = "",
};

/* 0: image has a mark. */
static int
mark_of(const char *image, struct image_mark *mark)
{
	int fd, err;

	if (strncmp(image, TYPE, strlen(TYPE)))
		return -ENODATA;
	fd = open(image + strlen(TYPE), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = image_mark_get(fd, mark);
	close(fd);
	return err;
}

int
image_where(const char *image, char now[IMAGE_WHERE_SIZE])
{
	struct image_mark mark;

	if (strlen(image) >= IMAGE_WHERE_SIZE)
		return -ENAMETOOLONG;
	strcpy(now, image);
	for (int hops = 0; !mark_of(now, &mark) && leads_on[mark.role]; hops++) {
		if (hops == HOPS_MAX)
			return -ELOOP;
		snprintf(now, IMAGE_WHERE_SIZE, "%s%s", leads_on[mark.role], mark.name);
	}
	return 0;
}
