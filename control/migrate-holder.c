/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-lock.h"
#include "migrate-client.h"
#include "migrate-holder.h"
#include "migrate-journal.h"

static bool
is_same(const char *a, const char *b)
{
	struct stat x, y;

	if (stat(a, &x) || stat(b, &y))
		return false;
	return S_ISBLK(x.st_mode) ? S_ISBLK(y.st_mode) && x.st_rdev == y.st_rdev
				  : x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Whether one side of the migration is that image. */
static bool
migrates(const char *journal, const char *path)
{
	static const char *const sides[] = { "source", "destination" };
	json_t *settings;
	bool found = false;
	char why[TAP_CTL_TEXT];

	if (migrate_journal_load(journal, false, &settings, why, sizeof(why)))
		return false;
	for (int i = 0; i < 2; i++) {
		const char *name = json_string_value(json_object_get(settings, sides[i]));

		name = name ? strchr(name, ':') : NULL;
		found |= name && is_same(name + 1, path);
	}
	json_decref(settings);
	return found;
}

/* The minor by which the tapdisk has it open, or -1. */
static int
minor_of(pid_t pid, const char *path)
{
	struct list_head list;
	tap_list_t *vbd;
	int minor = -1;

	INIT_LIST_HEAD(&list);
	if (!pid || tap_ctl_list_pid(pid, &list))
		return -1;
	list_for_each_entry(vbd, &list, entry)
		if (vbd->type && (strcmp(vbd->type, MIGRATE_TYPE) ? is_same(vbd->path, path)
								  : migrates(vbd->path, path)))
			minor = vbd->minor;
	tap_ctl_list_free(&list);
	return minor;
}

int
migrate_check_free(const char *path, const tap_list_t *except)
{
	int minor, fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char who[IMAGE_HOLDER_SIZE];
	bool held;
	pid_t pid;

	if (fd < 0)
		return tap_ctl_fail(-errno, "%s", path);
	held = image_lock_is_held(fd);
	close(fd);
	if (!held)
		return 0;
	pid = image_lock_holder(path, who, sizeof(who));
	minor = minor_of(pid, path);
	if (except && pid == except->pid && minor == except->minor)
		return 0;
	return minor < 0 ? tap_ctl_fail(-EBUSY, "%s is in use by %s", path, who)
			 : tap_ctl_fail(-EBUSY, "%s is in use by %s (minor %d)", path, who,
					minor);
}
