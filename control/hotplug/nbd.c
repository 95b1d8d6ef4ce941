/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd.c - a tapdisk's socket becomes a block device of the kernel's, for xen-blkback
 *
 * Xenstore's key nbd names the device and the process that has connected it, which tells
 * this connection from a later one of the same device. It is written before nbd-client
 * begins, so that a remove finds the device also where the add was killed in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hotplug.h"

#define NBD_MAX	 1024 /* devices looked at */
#define LOCK	 "hotplug-nbd"
#define SAID_MAX 1024

struct connection {
	const struct device *device;
	char name[16];	/* nbdX */
	char path[256]; /* below sysfs, of the file that is there while it is connected */
};

static bool
exists(const char *path)
{
	return *path && !access(path, F_OK);
}

static bool
kernel_has_nbd(void)
{
	char path[256];

	sysfs_path(path, "block/nbd0");
	return exists(path);
}

static bool
is_connected(void *arg)
{
	const struct connection *c = arg;

	return exists(c->path);
}

/* --- one at a time ------------------------------------------------------------------------ */

static bool
try_lock(void *arg)
{
	return !flock(*(int *)arg, LOCK_EX | LOCK_NB);
}

/*
 * From the choice of a device to its connection. Only root reaches the run directory, so
 * that nobody else can hold the lock. The descriptor, or -errno.
 */
static int
lock_devices(void)
{
	char path[TAP_CTL_PATH];
	int fd, err = tap_ctl_path(path, LOCK);

	if (err)
		return err;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return fail_with_reason(-errno, "%s", path);
	if (wait_until(KERNEL_MS, try_lock, &fd))
		return fd;
	close(fd);
	return tap_ctl_fail(-EAGAIN,
			    "another disk is being connected by nbd, and does not end");
}

/* --- its connection --------------------------------------------------------------------------
 */

static void
name_connection(struct connection *c, unsigned int n)
{
	snprintf(c->name, sizeof(c->name), "nbd%u", n);
	sysfs_path(c->path, "block/%s/pid", c->name);
}

/* The first device that nobody uses. */
static int
choose_device(struct connection *c)
{
	char path[256];

	for (unsigned int n = 0; n < NBD_MAX; n++) {
		name_connection(c, n);
		sysfs_path(path, "block/%s", c->name);
		if (!exists(path))
			break;
		if (!exists(c->path))
			return 0;
	}
	return tap_ctl_fail(-EBUSY, "all nbd devices are in use");
}

static int
put_on_record(pid_t pid, void *arg)
{
	const struct connection *c = arg;
	char text[48];

	snprintf(text, sizeof(text), "%s %d", c->name, pid);
	return write_vbd(c->device, "nbd", text);
}

static int
run_client(struct connection *c)
{
	char dev[24], said[SAID_MAX];
	char *argv[] = { (char *)"nbd-client",
			 (char *)"-unix",
			 (char *)c->device->socket,
			 dev,
			 (char *)"-b",
			 (char *)"512",
			 is_writable(c->device) ? NULL : (char *)"-R",
			 NULL };
	char pid[16];
	int err;

	snprintf(dev, sizeof(dev), "/dev/%s", c->name);
	err = run_program(argv, put_on_record, c, said, sizeof(said));
	if (err == -ENOENT || (err && !*said))
		return err;
	if (err)
		return tap_ctl_fail(err, "nbd-client: %s", said);
	if (!wait_until(KERNEL_MS, is_connected, c))
		return tap_ctl_fail(-ETIMEDOUT, "nbd-client has not connected /dev/%s",
				    c->name);
	/* Without netlink it is a process that nbd-client has left in the background. */
	sysfs_read(c->path, pid, sizeof(pid));
	return put_on_record(atoi(pid), c);
}

/* As blkback wants it: MAJOR:MINOR in hexadecimal. */
static int
number_of(const struct connection *c, char number[32])
{
	unsigned int major, minor;
	char path[256], line[32];

	sysfs_path(path, "block/%s/dev", c->name);
	sysfs_read(path, line, sizeof(line));
	if (sscanf(line, "%u:%u", &major, &minor) != 2)
		return tap_ctl_fail(-ENXIO, "%s does not name a device", path);
	snprintf(number, 32, "%x:%x", major, minor);
	return 0;
}

/* Whether this host can do it at all. */
static int
check_host(const char *why)
{
	char *modprobe[] = { (char *)"modprobe", (char *)"nbd", NULL };
	char blkback[256], said[SAID_MAX];

	sysfs_path(blkback, "bus/xen-backend/drivers/vbd");
	if (!exists(blkback))
		return tap_ctl_fail(-ENXIO, "%sxen-blkback is not loaded", why);
	if (!kernel_has_nbd())
		run_program(modprobe, NULL, NULL, said, sizeof(said));
	return kernel_has_nbd() ? 0 : tap_ctl_fail(-ENXIO, "%sthe kernel has no nbd", why);
}

int
nbd_connect(const struct device *device, const char *why, char name[16], char number[32])
{
	struct connection c = { .device = device };
	int lock, err = check_host(why);

	if (err)
		return err;
	lock = lock_devices();
	if (lock < 0)
		return lock;
	err = choose_device(&c);
	if (!err)
		err = run_client(&c);
	close(lock);
	if (err == -ENOENT)
		return tap_ctl_fail(err, "%sthere is no nbd-client", why);
	if (err)
		return err;
	log_step("nbd");
	strcpy(name, c.name);
	return number_of(&c, number);
}

int
nbd_disconnect(const struct device *device)
{
	char *record = tapback_store_read(device->vbd, "nbd");
	char dev[24], pid[16], said[SAID_MAX], ours[16] = "";
	char *argv[] = { (char *)"nbd-client", (char *)"-d", dev, NULL };
	struct connection c = { .device = device };
	unsigned int n;
	int err = 0;

	if (record && sscanf(record, "nbd%u %15s", &n, ours) == 2) {
		name_connection(&c, n);
		sysfs_read(c.path, pid, sizeof(pid));
		snprintf(dev, sizeof(dev), "/dev/%s", c.name);
		if (*pid && !strcmp(pid, ours)) {
			err = run_program(argv, NULL, NULL, said, sizeof(said));
			log_step("nbd");
		}
	}
	free(record);
	return err;
}
