/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-reopen.c - whether a migration that is closed could be opened again
 *
 * Its journal and its disks are found by their names then.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"

#include "image-name.h"
#include "migrate-plugin.h"
#include "tapdisk-loop.h"

/* One of the disks, as its own: the migration may end while its name is looked at. */
static int
check_disk(const struct migrate *m, enum side side)
{
	const char *path = strchr(migrate_setting(m, migrate_side_name(side)), ':');
	int fd = m->disk[side].closed ? -1 : m->disk[side].fd, err;
	off_t bytes = (off_t)migrate_setting_int(m, "sectors") * SECTOR_BYTES;
	char *copy = NULL, why[ERROR_TEXT];

	if (fd < 0 || !path)
		return 0;
	copy = strdup(path + 1);
	fd = copy ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (fd < 0) {
		free(copy);
		return -ENOMEM;
	}
	tapdisk_loop_lend();
	err = image_check_name(copy, fd, false, bytes, why, sizeof(why));
	close(fd);
	tapdisk_loop_take_back();
	if (err)
		EPRINTF("%s", why);
	free(copy);
	return err;
}

static int
check_journal(const struct migrate *m)
{
	char *path = strdup(m->path), uuid[MIGRATE_UUID_SIZE], why[ERROR_TEXT];
	json_t *settings = NULL;
	int err;

	if (!path)
		return -ENOMEM;
	memcpy(uuid, m->uuid, sizeof(uuid));
	tapdisk_loop_lend();
	err = migrate_journal_load(path, false, &settings, why, sizeof(why));
	if (err)
		EPRINTF("%s", why);
	else if (strcmp(json_string_value(json_object_get(settings, "uuid")), uuid)) {
		EPRINTF("%s is the journal of another migration by now", path);
		err = -ESTALE;
	}
	json_decref(settings);
	free(path);
	tapdisk_loop_take_back();
	return err;
}

int
migrate_check_names(const struct migrate *m)
{
	int err = check_journal(m);

	if (!err)
		err = check_disk(m, SRC);
	return err ? err : check_disk(m, DST);
}
