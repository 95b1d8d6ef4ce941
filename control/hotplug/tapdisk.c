/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk.c - the tapdisk of a device: started, put on record, ended
 *
 * Xenstore names a tapdisk before it has a VBD, so that the disk is found and closed
 * however an add has ended.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../image-where.h"
#include "hotplug.h"
#include "tapdisk-log.h"

#define ENVIRON_MAX (128 << 10)

/* --- what is on record ------------------------------------------------------------------ */

/* "<directory>/nbd<pid>.<minor>", which is where the disk is served. */
static bool
parse_socket(struct device *device, const char *socket)
{
	const char *name = strrchr(socket, '/');
	int pid, minor, len = 0;

	if (*socket != '/' || strlen(socket) >= sizeof(device->socket) ||
	    sscanf(name, "/nbd%d.%d%n", &pid, &minor, &len) != 2 || name[len] || pid <= 0 ||
	    minor < 0)
		return false;
	device->pid = pid;
	device->minor = minor;
	strcpy(device->socket, socket);
	return true;
}

bool
find_tapdisk(struct device *device)
{
	/* What tapback goes by comes first: a tapdisk that was started again is named there. */
	const struct {
		const char *dir, *key;
	} places[] = {
		{ device->vbd3, "physical-device-path" },
		{ device->vbd, "physical-device-path" },
		{ device->vbd, "tapdisk" },
	};
	bool found = false;

	device->pid = 0;
	for (size_t i = 0; !found && i < sizeof(places) / sizeof(places[0]); i++) {
		char *socket = tapback_store_read(places[i].dir, places[i].key);

		found = socket && parse_socket(device, socket);
		free(socket);
	}
	return found;
}

enum vbd_stage {
	VBD_NONE,     /* there is no such tapdisk */
	VBD_NO_VBD,   /* it has no VBD of that minor, and no other */
	VBD_FOREIGN,  /* it has others only */
	VBD_ATTACHED, /* without an image, as far as is known */
	VBD_OPEN,
};

/* How far the VBD that pid and minor name has come. */
static enum vbd_stage
stage_of(pid_t pid, int minor)
{
	enum vbd_stage stage = VBD_NONE;
	struct list_head list;
	tap_list_t *vbd;

	INIT_LIST_HEAD(&list);
	if (tap_ctl_list_pid(pid, &list))
		return VBD_NONE;
	list_for_each_entry(vbd, &list, entry) {
		enum vbd_stage found = vbd->minor < 0	     ? VBD_NO_VBD
				       : vbd->minor != minor ? VBD_FOREIGN
				       : vbd->path	     ? VBD_OPEN
							     : VBD_ATTACHED;

		stage = found > stage ? found : stage;
	}
	tap_ctl_list_free(&list);
	return stage;
}

bool
tapdisk_lives(const struct device *device)
{
	return stage_of(device->pid, device->minor) >= VBD_ATTACHED;
}

/* --- its minor ---------------------------------------------------------------------------- */

/* A file in the run directory: the minor of this device is marked by another name of it. */
static int
owner_path(const struct device *device, char path[TAP_CTL_PATH])
{
	return tap_ctl_path(path, "hotplug-%u-%u", device->domid, device->devid);
}

static int
take_minor(struct device *device)
{
	char owner[TAP_CTL_PATH], *marker;
	int fd, err = owner_path(device, owner);

	if (err)
		return err;
	fd = open(owner, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_with_reason(-errno, "%s cannot be made", owner);
	close(fd);
	err = tap_ctl_allocate_for(owner, &device->minor, &marker);
	if (!err)
		free(marker);
	return err;
}

/* Gives back every minor that is marked by owner, which goes too. */
static int
free_marked(const char *owner)
{
	char dir[TAP_CTL_PATH], *prefix;
	struct stat ours, st;
	struct dirent *entry;
	DIR *minors;
	int err = 0;

	if (lstat(owner, &ours))
		return errno == ENOENT ? 0 : fail_with_reason(-errno, "%s", owner);
	if (tap_ctl_path(dir, TAPDISK_MINOR_PREFIX))
		return -ENAMETOOLONG;
	prefix = strrchr(dir, '/');
	*prefix++ = '\0';
	minors = opendir(dir);
	while (!err && minors && (entry = readdir(minors)))
		if (!strncmp(entry->d_name, prefix, strlen(prefix)) &&
		    !fstatat(dirfd(minors), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    st.st_ino == ours.st_ino)
			err = tap_ctl_free(atoi(entry->d_name + strlen(prefix)));
	if (minors)
		closedir(minors);
	return err ? err : unlink(owner) ? -errno : 0;
}

static int
free_minor(const struct device *device)
{
	char owner[TAP_CTL_PATH];
	int err = owner_path(device, owner);

	return err ? err : free_marked(owner);
}

/* --- its start ------------------------------------------------------------------------------
 */

int
start_tapdisk(struct device *device)
{
	int err;

	device->pid = tap_ctl_spawn();
	if (device->pid < 0) {
		err = fail_with_reason(device->pid, "no tapdisk");
		device->pid = 0;
		return err;
	}
	log_step("tapdisk");
	err = take_minor(device);
	if (err)
		return fail_with_reason(err, "no minor");
	err = tap_ctl_path(device->socket, "nbd%d.%d", device->pid, device->minor);
	if (!err)
		err = write_vbd(device, "tapdisk", device->socket);
	if (err)
		return err;
	err = tap_ctl_attach(device->pid, device->minor);
	return err ? fail_with_reason(err, "the tapdisk takes no VBD") : 0;
}

int
open_disk(struct device *device, const char *target)
{
	char image_name[IMAGE_WHERE_SIZE];
	struct tap_ctl_image image = { .params = image_name };
	int err = image_where(target, image_name);

	if (err)
		return fail_with_reason(err, "where the disk %s is now cannot be found out",
					target);
	if (strcmp(image_name, target))
		log_line(LOG_INFO, "%s has moved: %s is opened", target, image_name);
	if (!is_writable(device))
		image.flags |= TAPDISK_MESSAGE_FLAG_RDONLY;
	err = tap_ctl_open(device->pid, device->minor, &image);
	if (err)
		return fail_with_reason(err, "%s cannot be opened", image_name);
	log_step("image");
	return write_vbd(device, "params", image_name);
}

/* --- its end
 * ---------------------------------------------------------------------------------- */

static int
detach(const struct device *device)
{
	tapdisk_message_t message = { .type = TAPDISK_MESSAGE_DETACH,
				      .cookie = (uint16_t)device->minor };

	return tap_ctl_exchange(device->pid, &message, NULL, 0, FORCED_S);
}

/* The guest is gone, or has never come. */
static int
end_vbd(const struct device *device, bool open)
{
	int err = 0;

	if (open) {
		err = tap_ctl_close(device->pid, device->minor, false, CLOSE_S);
		if (err) {
			log_line(LOG_INFO, "tapdisk %d does not close its disk (%s): by force",
				 device->pid, strerror(-err));
			tap_ctl_close(device->pid, device->minor, true, FORCED_S);
		}
	}
	err = detach(device);
	return err ? fail_with_reason(err, "tapdisk %d, minor %d, does not end", device->pid,
				      device->minor)
		   : 0;
}

/* The one on record. */
static int
end_recorded(const struct device *device)
{
	const enum vbd_stage stage = stage_of(device->pid, device->minor);
	int err = 0;

	if (stage >= VBD_ATTACHED)
		err = end_vbd(device, stage == VBD_OPEN);
	else if (stage == VBD_NO_VBD)
		kill(device->pid, SIGTERM);
	if (err)
		return err;
	err = tap_ctl_free(device->minor);
	return err == -ENOENT ? 0 : err;
}

/* --- tapdisks that are not on record
 * ------------------------------------------------------------ */

/* Where name's value is in an environment, as /proc has it; NULL if it is not there. */
static const char *
env_value(const char *text, size_t size, const char *name)
{
	const size_t len = strlen(name);

	for (const char *at = text; at < text + size; at += strlen(at) + 1)
		if (!strncmp(at, name, len) && at[len] == '=')
			return at + len + 1;
	return NULL;
}

static ssize_t
read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	size_t have = 0;
	char path[64];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (have < size - 1 && (n = read(fd, text + have, size - 1 - have)) > 0)
		have += (size_t)n;
	close(fd);
	text[have] = '\0';
	return n < 0 ? -errno : (ssize_t)have;
}

/* Whether an add for this device has started it: it has that add's environment. */
static bool
was_started_for(pid_t pid, const struct device *device, char *text)
{
	const char *ours = getenv(TAPDISK_RUN_DIR_ENV), *path, *dir;
	ssize_t size;

	if (read_proc(pid, "comm", text, ENVIRON_MAX) < 0 || strcmp(text, "tapdisk\n"))
		return false;
	size = read_proc(pid, "environ", text, ENVIRON_MAX);
	if (size <= 0)
		return false;
	path = env_value(text, (size_t)size, "XENBUS_PATH");
	dir = env_value(text, (size_t)size, TAPDISK_RUN_DIR_ENV);
	return path && !strcmp(path, device->xenbus_path) &&
	       !strcmp(dir ? dir : "", ours ? ours : "");
}

/*
 * Those that an add of this device has started and was killed before it said so. They do
 * not answer yet, or nobody has given them a disk.
 */
static void
end_strays(const struct device *device)
{
	char *text = malloc(ENVIRON_MAX);
	DIR *proc = text ? opendir("/proc") : NULL;
	struct dirent *entry;
	pid_t pid;

	while (proc && (entry = readdir(proc))) {
		pid = atoi(entry->d_name);
		/* The one that was on record has had its end, and may still be at it. */
		if (pid <= 0 || pid == device->pid || !was_started_for(pid, device, text))
			continue;
		if (stage_of(pid, -1) <= VBD_NO_VBD) {
			log_line(LOG_INFO, "ends tapdisk %d, which has no disk", pid);
			kill(pid, SIGTERM);
		}
	}
	if (proc)
		closedir(proc);
	free(text);
}

int
end_tapdisk(struct device *device)
{
	const int recorded = find_tapdisk(device) ? end_recorded(device) : 0;

	end_strays(device);
	return recorded ? recorded : free_minor(device);
}
