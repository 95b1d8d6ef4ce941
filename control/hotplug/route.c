/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * route.c - how the guest comes to its tapdisk (docs/xen.md)
 *
 *	vbd3  tapback serves backend/vbd3/DOM/DEV, and the frontend is pointed there: while a
 *	      domain is being created
 *	vbd   tapback serves backend/vbd/DOM/DEV: when the guest runs already, and no
 *	      xen-blkback is loaded
 *	nbd   xen-blkback serves the kernel's /dev/nbdX, which is the tapdisk's socket: when the
 *	      guest runs already, where tapback does not answer, or by the name of
 *	      block-tapmigrate-nbd
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hotplug.h"

#define PATH_KEY "physical-device-path"
#define NBD_NAME "-nbd"

/* --- what is there ------------------------------------------------------------------------ */

static bool
blkback_is_loaded(void)
{
	char path[256];

	sysfs_path(path, "bus/xen-backend/drivers/vbd");
	return !access(path, F_OK);
}

/*
 * A domain that is being built is paused. One that runs may have read in its xenstore
 * directory already that backend/vbd is its backend, and does not look there again.
 */
static bool
guest_has_not_run(const struct device *device)
{
	char domain[16], said[1024], *line, *state = NULL, *next, *rest;
	char *argv[] = { (char *)"xl", (char *)"list", domain, NULL };

	snprintf(domain, sizeof(domain), "%u", device->domid);
	if (run_program(argv, NULL, NULL, said, sizeof(said)))
		return false;
	log_step("xl list");
	/* The last line but for its last word: Name ID Mem VCPUs State Time(s) */
	line = strrchr(said, '\n');
	line = strtok_r(line ? line : said, " \n", &rest);
	while (line && (next = strtok_r(NULL, " \n", &rest))) {
		state = line;
		line = next;
	}
	return state && strlen(state) > 2 && state[2] == 'p';
}

static bool
is_in_init_wait(void *dir)
{
	return key_is(dir, "state", "2");
}

/* --- vbd3
 * -------------------------------------------------------------------------------------- */

static bool
path_exists(void *path)
{
	return !access(path, F_OK);
}

/* blkback must not meet the frontend, so if it has not met the device yet that is waited for.
 */
static int
unbind_blkback(const struct device *device)
{
	char path[256], unbind[256], name[64];
	int fd, len, err = 0;

	if (!blkback_is_loaded())
		return 0;
	len = snprintf(name, sizeof(name), "vbd-%u-%u\n", device->domid, device->devid);
	sysfs_path(path, "bus/xen-backend/drivers/vbd/vbd-%u-%u", device->domid, device->devid);
	sysfs_path(unbind, "bus/xen-backend/drivers/vbd/unbind");
	if (!wait_until(KERNEL_MS, path_exists, path))
		return tap_ctl_fail(-ETIMEDOUT, "xen-blkback has not taken the device up");
	fd = open(unbind, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, name, (size_t)len) != len)
		err = fail_with_reason(-errno, "xen-blkback does not let go of the device");
	if (fd >= 0)
		close(fd);
	log_step("blkback");
	return err;
}

/* Makes backend/vbd3/DOM/DEV, with all that tapback needs but the word that all is there. */
static int
make_vbd3(const struct device *device, const char *frontend)
{
	char *mode = tapback_store_read(device->vbd, "mode");
	char *params = tapback_store_read(device->vbd, "params");
	char domain[16];
	const struct tapback_pair pairs[] = {
		{ PATH_KEY, device->socket },
		{ "frontend", frontend },
		{ "frontend-id", domain },
		{ "online", "1" },
		{ "state", "1" },
		{ "mode", mode ? mode : "" },
		{ "params", params ? params : "" },
	};
	int err;

	snprintf(domain, sizeof(domain), "%u", device->domid);
	err = tapback_store_make(device->vbd3, device->domid, pairs,
				 sizeof(pairs) / sizeof(pairs[0]));
	free(mode);
	free(params);
	return err ? fail_with_reason(err, "xenstore does not take %s", device->vbd3) : 0;
}

void
remove_vbd3(const struct device *device)
{
	char parent[64];

	tapback_store_remove(device->vbd3);
	tapback_store_tidy(device->vbd3);
	snprintf(parent, sizeof(parent), "%s", device->vbd3);
	*strrchr(parent, '/') = '\0';
	tapback_store_tidy(parent);
}

/* The guest's xenstore directory says where its backend is. */
static int
point_frontend(const struct device *device, const char *frontend)
{
	char *domid = tapback_store_read(NULL, "domid");
	char path[128];

	snprintf(path, sizeof(path), "/local/domain/%s/%s", domid ? domid : "0", device->vbd3);
	free(domid);
	return write_key(frontend, "backend", "backend", path);
}

/* -EAGAIN: tapback does not answer. */
static int
route_vbd3(const struct device *device)
{
	char *frontend = tapback_store_read(device->vbd, "frontend");
	int err;

	if (!frontend)
		return tap_ctl_fail(-ENOENT, "%s/frontend is missing", device->vbd);
	err = make_vbd3(device, frontend);
	if (!err)
		err = write_key(device->vbd3, "frontend", "hotplug-status", "connected");
	if (!err && !wait_until(TAPBACK_MS, is_in_init_wait, (void *)device->vbd3))
		err = -EAGAIN;
	log_step("tapback");
	if (!err)
		err = unbind_blkback(device);
	if (!err)
		err = point_frontend(device, frontend);
	free(frontend);
	return err;
}

/* --- vbd, nbd
 * ------------------------------------------------------------------------------------ */

/* Tapback it must be that has brought libxl to call us. */
static int
route_vbd(const struct device *device)
{
	return write_vbd(device, PATH_KEY, device->socket);
}

/* By that name of the script remove comes by nbd too, and tapback knows that it is not asked.
 */
static int
name_nbd_script(const struct device *device)
{
	char *script = tapback_store_read(device->vbd, "script");
	char name[512];
	size_t len;
	int err = 0;

	len = script ? strlen(script) : 0;
	if (len &&
	    (len < strlen(NBD_NAME) || strcmp(script + len - strlen(NBD_NAME), NBD_NAME))) {
		snprintf(name, sizeof(name), "%s%s", script, NBD_NAME);
		err = write_vbd(device, "script", name);
	}
	free(script);
	return err;
}

static int
route_nbd(const struct device *device, const char *why)
{
	char name[16], path[32], number[32];
	const struct tapback_pair pairs[] = { { PATH_KEY, path },
					      { "physical-device", number } };
	int err;

	remove_vbd3(device);
	err = nbd_connect(device, why, name, number);
	if (!err)
		err = name_nbd_script(device);
	if (err)
		return err;
	snprintf(path, sizeof(path), "/dev/%s", name);
	err = tapback_store_write(device->vbd, "frontend", pairs, 2);
	return err ? fail_with_reason(err, "xenstore does not take %s/" PATH_KEY, device->vbd)
		   : 0;
}

/* --- which
 * ---------------------------------------------------------------------------------------- */

int
connect_guest(struct device *device, const char **route)
{
	const size_t len = strlen(device->name);
	int err;

	*route = "nbd";
	if (len > strlen(NBD_NAME) && !strcmp(device->name + len - strlen(NBD_NAME), NBD_NAME))
		return route_nbd(device, "");
	if (guest_has_not_run(device)) {
		*route = "vbd3";
		err = route_vbd3(device);
		if (err != -EAGAIN || ended_by())
			return err;
		*route = "nbd";
		return route_nbd(device, "tapback does not answer, and ");
	}
	if (blkback_is_loaded())
		return route_nbd(device,
				 "the guest runs, so that xen-blkback must serve it, and ");
	*route = "vbd";
	return route_vbd(device);
}
