/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "image-identity.h"
#include "image-same.h"

#define SYS    "/sys/dev/block"
#define UDEV   "/run/udev/data"
#define LAYERS 64 /* more are not looked at */
#define DEPTH  8
#define ALL    UINT64_MAX

/*
 * What an image is, or lies on: a range of a file or of a device. Of what is in_part nobody
 * knows where in the range the image lies.
 */
struct layer {
	bool device;
	dev_t dev; /* the device; or the file system of the file */
	ino_t ino;
	uint64_t start, end; /* bytes */
	bool in_part;
	char id[IMAGE_IDENTITY_SIZE]; /* of a whole disk, or "" */
};

struct layers {
	const char *sys, *udev;
	unsigned int n;
	struct layer layer[LAYERS];
};

/* A range of the layer above. */
struct range {
	uint64_t start, end;
	bool in_part;
};

static const struct range whole = { 0, ALL, false };
static const struct range somewhere = { 0, ALL, true };

static uint64_t
plus(uint64_t a, uint64_t b)
{
	return a > ALL - b ? ALL : a + b;
}

/* The range of what begins at offset, and has size bytes (0: all that follow). */
static struct range
shift(struct range r, uint64_t offset, uint64_t size)
{
	uint64_t end = size ? plus(offset, size) : ALL;

	r.start = plus(r.start, offset);
	r.end = plus(r.end, offset);
	if (r.end > end)
		r.end = end;
	return r;
}

static struct layer *
add(struct layers *l, bool device, dev_t dev, ino_t ino, struct range r)
{
	struct layer *layer = &l->layer[l->n];

	if (l->n == LAYERS)
		return NULL;
	l->n++;
	*layer = (struct layer){ .device = device,
				 .dev = dev,
				 .ino = ino,
				 .start = r.start,
				 .end = r.end,
				 .in_part = r.in_part };
	return layer;
}

/* --- devices ----------------------------------------------------------------------- */

static void add_device(struct layers *l, dev_t dev, struct range r, int depth);
static void add_file(struct layers *l, const struct stat *st, struct range r, int depth);

/* The first line of <sys>/<device>/<name>; false if there is none. */
static bool
attribute(const struct layers *l, dev_t dev, const char *name, char *value, size_t size)
{
	char path[PATH_MAX];
	FILE *file;
	bool found;

	snprintf(path, sizeof(path), "%s/%u:%u/%s", l->sys, major(dev), minor(dev), name);
	file = fopen(path, "re");
	if (!file)
		return false;
	found = fgets(value, (int)size, file);
	fclose(file);
	if (found)
		value[strcspn(value, "\n")] = '\0';
	return found;
}

static uint64_t
number(const struct layers *l, dev_t dev, const char *name)
{
	char value[64];

	return attribute(l, dev, name, value, sizeof(value)) ? strtoull(value, NULL, 10) : 0;
}

static bool
device_number(const struct layers *l, dev_t dev, const char *name, dev_t *other)
{
	unsigned int maj, min;
	char value[64];

	if (!attribute(l, dev, name, value, sizeof(value)) ||
	    sscanf(value, "%u:%u", &maj, &min) != 2)
		return false;
	*other = makedev(maj, min);
	return true;
}

static void
add_disk_of_partition(struct layers *l, dev_t dev, struct range r, int depth)
{
	dev_t disk;

	if (device_number(l, dev, "../dev", &disk))
		add_device(
			l, disk,
			shift(r, number(l, dev, "start") * 512, number(l, dev, "size") * 512),
			depth);
}

/* The node of a loop device, open, or -1. */
static int
open_node(dev_t dev)
{
	char path[64];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/dev/block/%u:%u", major(dev), minor(dev));
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		snprintf(path, sizeof(path), "/dev/loop%u", minor(dev));
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	if (fd >= 0 && (fstat(fd, &st) || !S_ISBLK(st.st_mode) || st.st_rdev != dev)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void
add_below_loop(struct layers *l, dev_t dev, struct range r, int depth)
{
	struct loop_info64 info;
	int fd = open_node(dev);
	struct stat st = { 0 };

	if (fd < 0)
		return;
	if (!ioctl(fd, LOOP_GET_STATUS64, &info)) {
		r = shift(r, info.lo_offset, info.lo_sizelimit);
		st.st_dev = (dev_t)info.lo_device;
		st.st_ino = (ino_t)info.lo_inode;
		if (info.lo_rdevice)
			add_device(l, (dev_t)info.lo_rdevice, r, depth);
		else
			add_file(l, &st, r, depth);
	}
	close(fd);
}

/* dm and md say what they are made of, but not where in it a sector lies. */
static void
add_slaves(struct layers *l, dev_t dev, int depth)
{
	char path[PATH_MAX], name[300];
	struct dirent *entry;
	dev_t slave;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%u:%u/slaves", l->sys, major(dev), minor(dev));
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		snprintf(name, sizeof(name), "slaves/%s/dev", entry->d_name);
		if (device_number(l, dev, name, &slave))
			add_device(l, slave, somewhere, depth);
	}
	if (dir)
		closedir(dir);
}

/* Two paths to one disk have its name. */
static void
identify(const struct layers *l, struct layer *layer)
{
	static const char *const kinds[] = { "wwid-", "wwn-", "serial-" };
	char sys[PATH_MAX], udev[PATH_MAX];
	bool disk = false;

	snprintf(sys, sizeof(sys), "%s/%u:%u", l->sys, major(layer->dev), minor(layer->dev));
	snprintf(udev, sizeof(udev), "%s/b%u:%u", l->udev, major(layer->dev),
		 minor(layer->dev));
	if (!image_identity_of_device(sys, udev, layer->id, sizeof(layer->id)))
		for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
			disk |= !strncmp(layer->id, kinds[i], strlen(kinds[i]));
	if (!disk)
		layer->id[0] = '\0';
}

static void
add_device(struct layers *l, dev_t dev, struct range r, int depth)
{
	struct layer *layer = depth < DEPTH ? add(l, true, dev, 0, r) : NULL;
	char unused[8];

	if (!layer)
		return;
	identify(l, layer);
	if (attribute(l, dev, "partition", unused, sizeof(unused)))
		add_disk_of_partition(l, dev, r, depth + 1);
	else if (major(dev) == LOOP_MAJOR)
		add_below_loop(l, dev, r, depth + 1);
	add_slaves(l, dev, depth + 1);
}

/* --- files -------------------------------------------------------------------------- */

static void
add_file(struct layers *l, const struct stat *st, struct range r, int depth)
{
	if (depth >= DEPTH || !add(l, false, st->st_dev, st->st_ino, r))
		return;
	if (major(st->st_dev))
		add_device(l, st->st_dev, somewhere, depth + 1);
}

/* The line of mountinfo about the mount that an open file is on. *line is to be freed. */
static bool
mount_of(int fd, char **line)
{
	char path[64], key[32] = "";
	size_t size = 0;
	bool found = false;
	FILE *file;
	int id;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	*line = NULL;
	file = fopen(path, "re");
	while (file && getline(line, &size, file) > 0)
		if (sscanf(*line, "mnt_id: %d", &id) == 1)
			snprintf(key, sizeof(key), "%d ", id);
	if (file)
		fclose(file);
	file = *key ? fopen("/proc/self/mountinfo", "re") : NULL;
	while (file && !found && getline(line, &size, file) > 0)
		found = !strncmp(*line, key, strlen(key));
	if (file)
		fclose(file);
	return found;
}

/* As the kernel writes it: blanks and the like are \040. In place. */
static void
unescape(char *text)
{
	char *to = text;
	unsigned int code;

	for (; *text; text++) {
		if (*text == '\\' && sscanf(text + 1, "%3o", &code) == 1 && code) {
			*to++ = (char)code;
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* The parts of a line of mountinfo that matter, which is changed. */
static bool
parse_overlay(char *line, char **root, char **point, char **upper)
{
	char *fields[5], *save = NULL, *options = strstr(line, " - overlay ");

	*upper = options ? strstr(options, "upperdir=") : NULL;
	if (!*upper)
		return false;
	*upper += strlen("upperdir=");
	(*upper)[strcspn(*upper, ",\n")] = '\0';
	for (int i = 0; i < 5; i++)
		if (!(fields[i] = strtok_r(i ? NULL : line, " ", &save)))
			return false;
	*root = fields[3];
	*point = fields[4];
	unescape(*root);
	unescape(*point);
	unescape(*upper);
	return true;
}

/* What an overlay shows of a file that can be written is the one of its upper layer. */
static bool
upper_of(int fd, struct stat *st)
{
	char link[32], path[PATH_MAX], real[2 * PATH_MAX], *root, *point, *upper, *line;
	struct statfs fs;
	bool found = false;
	ssize_t n;

	if (fstatfs(fd, &fs) || fs.f_type != OVERLAYFS_SUPER_MAGIC)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	if (mount_of(fd, &line) && parse_overlay(line, &root, &point, &upper)) {
		size_t len = strcmp(point, "/") ? strlen(point) : 0;

		if (!strncmp(path, point, len)) {
			snprintf(real, sizeof(real), "%s%s%s", upper,
				 strcmp(root, "/") ? root : "", path + len);
			found = !stat(real, st);
		}
	}
	free(line);
	return found;
}

static void
add_image(struct layers *l, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return;
	if (S_ISBLK(st.st_mode)) {
		add_device(l, st.st_rdev, whole, 0);
		return;
	}
	add_file(l, &st, whole, 0);
	if (upper_of(fd, &st))
		add_file(l, &st, whole, 1);
}

/* --- both ---------------------------------------------------------------------------- */

static bool
is_same(const struct layer *a, const struct layer *b)
{
	bool same = a->device == b->device && ((a->dev == b->dev && a->ino == b->ino) ||
					       (*a->id && !strcmp(a->id, b->id)));

	return same && !(a->in_part && b->in_part) && a->start < b->end && b->start < a->end;
}

static bool
overlap(const struct layers *a, const struct layers *b)
{
	for (unsigned int i = 0; i < a->n; i++)
		for (unsigned int k = 0; k < b->n; k++)
			if (is_same(&a->layer[i], &b->layer[k]))
				return true;
	return false;
}

bool
image_same(int a, int b)
{
	struct layers *l = calloc(2, sizeof(*l));
	bool same = true;

	/* Without memory nothing is begun. */
	if (l) {
		l[0].sys = l[1].sys = SYS;
		l[0].udev = l[1].udev = UDEV;
		add_image(&l[0], a);
		add_image(&l[1], b);
		same = overlap(&l[0], &l[1]);
	}
	free(l);
	return same;
}

bool
image_same_devices(const char *sys, const char *udev, dev_t a, dev_t b)
{
	struct layers *l = calloc(2, sizeof(*l));
	bool same = true;

	if (l) {
		l[0].sys = l[1].sys = sys;
		l[0].udev = l[1].udev = udev;
		add_device(&l[0], a, whole, 0);
		add_device(&l[1], b, whole, 0);
		same = overlap(&l[0], &l[1]);
	}
	free(l);
	return same;
}
