/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "image-identity.h"

#define BY_UUID "/dev/disk/by-uuid"

/* As <linux/fs.h> has it since Linux 6.9. */
struct fs_uuid {
	uint8_t size;
	uint8_t uuid[16];
};
#define GET_FS_UUID _IOR(0x15, 0, struct fs_uuid)

/* "kind-value", with what is no good in a file name replaced. */
static int
say(char *text, size_t size, const char *kind, const char *value)
{
	int n = snprintf(text, size, "%s-%s", kind, value);

	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	for (char *c = text; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			*c = '_';
	return 0;
}

static int
unknown(char *text, size_t size)
{
	snprintf(text, size, "unknown");
	return -ENODATA;
}

/* --- files ----------------------------------------------------------------------- */

/* Where it has one: of nothing but zeroes is none. */
static bool
uuid_of_ioctl(int fd, char *text, size_t size)
{
	struct fs_uuid fs = { 0 };
	uint8_t any = 0;
	size_t n = 0;

	if (ioctl(fd, GET_FS_UUID, &fs) || fs.size > sizeof(fs.uuid) ||
	    size <= 2 * sizeof(fs.uuid))
		return false;
	for (uint8_t i = 0; i < fs.size; i++) {
		n += (size_t)snprintf(text + n, size - n, "%02x", fs.uuid[i]);
		any |= fs.uuid[i];
	}
	return any;
}

/* By the device that the file system is on, where udev knows that; without dashes, as above. */
static bool
uuid_of_udev(const struct stat *st, char *text, size_t size)
{
	DIR *dir = opendir(BY_UUID);
	struct dirent *entry;
	struct stat device;
	size_t n = 0;

	while (dir && !n && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &device, 0) ||
		    !S_ISBLK(device.st_mode) || device.st_rdev != st->st_dev)
			continue;
		for (const char *c = entry->d_name; *c && n < size - 1; c++)
			if (*c != '-')
				text[n++] = *c;
		text[n] = '\0';
	}
	if (dir)
		closedir(dir);
	return n;
}

/*
 * An inode's number is given away again; its time of birth, to the nanosecond,
 * is not, and where nothing tells of the file system it stands for that too.
 */
static int
file_identity(int fd, const struct stat *st, char *text, size_t size)
{
	char value[IMAGE_IDENTITY_SIZE], uuid[64];
	struct statx stx = { 0 };
	bool found =
		uuid_of_ioctl(fd, uuid, sizeof(uuid)) || uuid_of_udev(st, uuid, sizeof(uuid));
	int n = snprintf(value, sizeof(value), "%s-%" PRIu64, found ? uuid : "none",
			 (uint64_t)st->st_ino);

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) && stx.stx_mask & STATX_BTIME)
		snprintf(value + n, sizeof(value) - (size_t)n, "-%lld.%09u",
			 (long long)stx.stx_btime.tv_sec, (unsigned)stx.stx_btime.tv_nsec);
	else if (!found)
		return unknown(text, size);
	return say(text, size, "file", value);
}

/* --- block devices ----------------------------------------------------------------- */

/*
 * The rest of the first line that begins with key, without blanks around it;
 * false if that is empty.
 */
static bool
line_of(const char *path, const char *key, char *value, size_t size)
{
	FILE *file = fopen(path, "re");
	char line[1024], *start = NULL;
	size_t len = 0;

	if (!file)
		return false;
	while (!start && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			start = line + strlen(key);
	fclose(file);
	if (!start)
		return false;
	start += strspn(start, " \t");
	len = strlen(start);
	while (len && isspace((unsigned char)start[len - 1]))
		len--;
	if (!len || len >= size)
		return false;
	memcpy(value, start, len);
	value[len] = '\0';
	return true;
}

static bool
attribute(const char *sys, const char *name, const char *key, char *value, size_t size)
{
	char path[256];

	return snprintf(path, sizeof(path), "%s/%s", sys, name) < (int)sizeof(path) &&
	       line_of(path, key, value, size);
}

int
image_identity_of_device(const char *sys, const char *udev, char *text, size_t size)
{
	char v[160], unused[160];

	if (attribute(sys, "dm/uuid", "", v, sizeof(v)))
		return say(text, size, "dm", v);
	/* All below is the whole disk's. */
	if (attribute(sys, "partition", "", v, sizeof(v)))
		return attribute(sys, "uevent", "PARTUUID=", v, sizeof(v)) ||
				       line_of(udev, "E:ID_PART_ENTRY_UUID=", v, sizeof(v))
			       ? say(text, size, "part", v)
			       : unknown(text, size);
	if (attribute(sys, "wwid", "", v, sizeof(v)) ||
	    attribute(sys, "device/wwid", "", v, sizeof(v)))
		return say(text, size, "wwid", v);
	if (line_of(udev, "E:ID_WWN_WITH_EXTENSION=", v, sizeof(v)) ||
	    line_of(udev, "E:ID_WWN=", v, sizeof(v)))
		return say(text, size, "wwn", v);
	/* Without a short one it is only the model's name. */
	if (line_of(udev, "E:ID_SERIAL_SHORT=", unused, sizeof(unused)) &&
	    line_of(udev, "E:ID_SERIAL=", v, sizeof(v)))
		return say(text, size, "serial", v);
	if (attribute(sys, "serial", "", v, sizeof(v)))
		return say(text, size, "serial", v);
	return unknown(text, size);
}

/* A loop device is the file behind it, if that is still where it was found. */
static int
loop_identity(int fd, const char *sys, char *text, size_t size)
{
	char path[PATH_MAX], file[IMAGE_IDENTITY_SIZE], value[2 * IMAGE_IDENTITY_SIZE];
	struct loop_info64 info;
	struct stat st;
	int backing, err;

	if (ioctl(fd, LOOP_GET_STATUS64, &info) ||
	    !attribute(sys, "loop/backing_file", "", path, sizeof(path)))
		return unknown(text, size);
	backing = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (backing < 0)
		return unknown(text, size);
	err = fstat(backing, &st) ? -errno : 0;
	if (!err && (st.st_ino != info.lo_inode || !S_ISREG(st.st_mode)))
		err = unknown(text, size);
	if (!err)
		err = file_identity(backing, &st, file, sizeof(file));
	close(backing);
	if (err)
		return unknown(text, size);
	snprintf(value, sizeof(value), "%llu-%s", (unsigned long long)info.lo_offset, file);
	return say(text, size, "loop", value);
}

int
image_identity(int fd, char *text, size_t size)
{
	char sys[64], udev[64];
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISREG(st.st_mode))
		return file_identity(fd, &st, text, size);
	if (!S_ISBLK(st.st_mode))
		return -EINVAL;
	snprintf(sys, sizeof(sys), "/sys/dev/block/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	snprintf(udev, sizeof(udev), "/run/udev/data/b%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	return major(st.st_rdev) == LOOP_MAJOR
		       ? loop_identity(fd, sys, text, size)
		       : image_identity_of_device(sys, udev, text, size);
}
