/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapmigrate-hotplug - what xl's hotplug script block-tapmigrate does
 *
 *	tapmigrate-hotplug NAME add|remove
 *
 * NAME is what the script was called by. libxl runs the script as `block-tapmigrate add`
 * when backend/vbd/DOM/DEV (XENBUS_PATH) is in InitWait, and as `block-tapmigrate remove`
 * when it is Closed.
 *
 *	add     starts a tapdisk, then leads the guest to it (route.c)
 *	remove  ends that tapdisk, and what else add has made for this device
 *
 * Invariants: xenstore names the tapdisk, and the nbd device, before they have a disk, so
 * that remove finds them however add has ended. An add that fails has undone all that it
 * did, and says why in hotplug-error, which xl shows. Either may be run again, and makes
 * good what one that was killed has left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hotplug.h"
#include "tapdisk-log.h"

#define VALUE_MAX 2048 /* of a message in xenstore, whose values have 4096 bytes at most */

/* --- which device --------------------------------------------------------------------------
 */

static int
parse_device(struct device *device)
{
	const char *path = getenv("XENBUS_PATH");
	int len = 0;

	if (!path)
		return -EINVAL;
	if (sscanf(path, "backend/vbd/%u/%u%n", &device->domid, &device->devid, &len) != 2 ||
	    path[len])
		return -EINVAL;
	device->xenbus_path = path;
	snprintf(device->vbd, sizeof(device->vbd), "backend/vbd/%u/%u", device->domid,
		 device->devid);
	snprintf(device->vbd3, sizeof(device->vbd3), "backend/vbd3/%u/%u", device->domid,
		 device->devid);
	return 0;
}

/* --- remove ----------------------------------------------------------------------------------
 */

/* All that add has made; whatever is not there is no matter. */
static int
undo(struct device *device)
{
	static const char *const keys[] = { "nbd", "tapdisk", "physical-device-path" };
	const int nbd = nbd_disconnect(device);
	char path[128];
	int err;

	if (nbd)
		log_line(LOG_ERR, "%s", tap_ctl_error());
	err = end_tapdisk(device);
	if (err)
		log_line(LOG_ERR, "%s", tap_ctl_error());
	log_step("clean-up");
	remove_vbd3(device);
	/* What is left stays on record. */
	for (size_t i = 0; !nbd && !err && i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", device->vbd, keys[i]);
		tapback_store_remove(path);
	}
	return nbd ? nbd : err;
}

static int
remove_disk(struct device *device)
{
	int err = undo(device);

	if (err)
		return fail_with_reason(err, "something is left of the disk");
	log_line(LOG_INFO, "detached%s", log_times());
	return 0;
}

/* --- add
 * --------------------------------------------------------------------------------------- */

/* The configured disk as TYPE:NAME, the caller's to free; NULL: it is none. */
static char *
read_target(const struct device *device)
{
	char *params = tapback_store_read(device->vbd, "params"), *target = NULL;
	const size_t type = params ? strspn(params, "abcdefghijklmnopqrstuvwxyz") : 0;

	if (!params) {
		tap_ctl_fail(-ENOENT, "%s/params is missing", device->vbd);
		return NULL;
	}
	if (type && !strncmp(params + type, ":/", 2))
		return params;
	if (*params != '/')
		tap_ctl_fail(-EINVAL,
			     "target= wants aio: or migrate: and an absolute path, not %s",
			     params);
	else if (asprintf(&target, "aio:%s", params) < 0)
		target = NULL;
	free(params);
	return target;
}

static int
attach(struct device *device, const char *target)
{
	const char *route;
	int err;

	err = start_tapdisk(device);
	if (!err)
		err = open_disk(device, target);
	if (!err)
		err = connect_guest(device, &route);
	if (!err && !ended_by())
		err = write_vbd(device, "hotplug-status", "connected");
	if (ended_by())
		err = tap_ctl_fail(-EINTR, "was ended by signal %d", ended_by());
	if (!err)
		log_line(LOG_INFO, "attached by %s%s", route, log_times());
	return err;
}

static int
add_disk(struct device *device)
{
	char *target, *why;
	int err;

	if (key_is(device->vbd, "hotplug-status", "connected") && find_tapdisk(device) &&
	    tapdisk_lives(device)) {
		log_line(LOG_INFO, "is attached already");
		return 0;
	}
	undo(device); /* what an earlier one has left */
	target = read_target(device);
	if (!target)
		return -EINVAL;
	err = attach(device, target);
	free(target);
	if (!err)
		return 0;
	why = strdup(tap_ctl_error());
	undo(device);
	tap_ctl_fail(err, "%s", why ? why : strerror(-err));
	free(why);
	return err;
}

/* --- the program
 * ------------------------------------------------------------------------------- */

/* Where xl looks for what to show. */
static void
report(const struct device *device)
{
	char text[VALUE_MAX];
	const struct tapback_pair pairs[] = { { "hotplug-error", text },
					      { "hotplug-status", "error" } };
	int err;

	log_line(LOG_ERR, "%s; it ended%s", tap_ctl_error(), log_times());
	snprintf(text, sizeof(text), "%s: %s", device->name, tap_ctl_error());
	err = tapback_store_write(device->vbd, "frontend", pairs, 2);
	if (err)
		log_line(LOG_ERR, "xl cannot be told: %s", strerror(-err));
}

static int
run(struct device *device, const char *command)
{
	if (!strcmp(command, "add"))
		return add_disk(device);
	if (!strcmp(command, "remove"))
		return remove_disk(device);
	return tap_ctl_fail(-EINVAL, "there is no command \"%s\", only add and remove",
			    command);
}

int
main(int argc, char **argv)
{
	struct device device = { .name = argc > 1 ? argv[1] : "block-tapmigrate" };
	const char *command = argc > 2 ? argv[2] : "";
	int err;

	if (parse_device(&device)) {
		fprintf(stderr,
			"%s: libxl calls this, with backend/vbd/DOM/DEV in $XENBUS_PATH: see "
			"block-tapmigrate in the domain's config\n",
			device.name);
		return 1;
	}
	log_start(device.name, command, device.xenbus_path);
	catch_signals();
	err = tapback_store_open();
	if (err) {
		log_line(LOG_ERR, "no xenstore here: %s", strerror(-err));
		return 1;
	}
	err = run(&device, command);
	if (err)
		report(&device);
	tapback_store_close();
	return err ? 1 : 0;
}
