/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-disks.c - opens the two disks of a migration, and looks whether they can be its
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"

#ifdef TAPDISK_EXTENDED
#include "block-migrate.h"
#endif
#include "image-same.h"
#include "migrate-plugin.h"
#include "tapdisk-loop.h"

/* "type:path" names a file or device that exists: its identity. */
static bool
identity(const char *name, struct stat *st)
{
	const char *path = strchr(name, ':');

	return path && !stat(path + 1, st);
}

static int
check_not_the_same(const struct migrate *m)
{
	struct stat a, b;
	bool known;

	tapdisk_loop_lend();
	known = identity(migrate_setting(m, "source"), &a) &&
		identity(migrate_setting(m, "destination"), &b);
	tapdisk_loop_take_back();
	if (!known)
		return 0; /* opening it will tell what is wrong */
	if ((S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode))
		    ? a.st_rdev != b.st_rdev
		    : a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return 0;
	EPRINTF("source %s and destination %s are the same disk", migrate_setting(m, "source"),
		migrate_setting(m, "destination"));
	return -EINVAL;
}

/* ... by what was opened, under whatever name. */
static int
check_storage(const struct migrate *m)
{
	bool same;

	if (m->disk[SRC].fd < 0 || m->disk[DST].fd < 0)
		return 0;
	tapdisk_loop_lend();
	same = image_same(m->disk[SRC].fd, m->disk[DST].fd);
	tapdisk_loop_take_back();
	if (!same)
		return 0;
	EPRINTF("source %s and destination %s are the same disk, or parts of it that overlap",
		migrate_setting(m, "source"), migrate_setting(m, "destination"));
	return -EINVAL;
}

static int
check_sectors(const struct migrate *m)
{
	const td_disk_info_t *src = &m->disk[SRC].image->info;
	const td_disk_info_t *dst = &m->disk[DST].image->info;

	if (dst->sector_size <= src->sector_size)
		return 0;
	EPRINTF("destination %s has sectors of %ld bytes, and the guest was shown %ld: it "
		"cannot write that little there",
		migrate_setting(m, "destination"), dst->sector_size, src->sector_size);
	return -EINVAL;
}

/* The guest's disk has the size that the journal says; the rest of an image is not used. */
static int
check_size(struct migrate *m, enum side side)
{
	uint64_t sectors = (uint64_t)migrate_setting_int(m, "sectors");
	uint64_t size = m->disk[side].image->info.size;

	if (size >= sectors)
		return 0;
	EPRINTF("%s: the disk has %" PRIu64 " bytes, but the %s %s is smaller: %" PRIu64,
		m->path, sectors * SECTOR_BYTES, migrate_side_name(side),
		migrate_setting(m, migrate_side_name(side)), size * SECTOR_BYTES);
	return -EMEDIUMTYPE;
}

#ifdef TAPDISK_EXTENDED
static int
open_image(struct migrate *m, enum side side, td_flag_t flags)
{
	const struct migrate_given *given = m->driver->given;

	if (given)
		return image_disk_adopt(&m->disk[side],
					side == SRC ? given->source : given->destination);
	return image_disk_open(&m->disk[side], migrate_setting(m, migrate_side_name(side)),
			       flags, m->encryption);
}

bool
migrate_disks_given(const struct migrate *m)
{
	return m->driver->given;
}
#else
static int
open_image(struct migrate *m, enum side side, td_flag_t flags)
{
	return image_disk_open(&m->disk[side], migrate_setting(m, migrate_side_name(side)),
			       flags, m->encryption);
}

bool
migrate_disks_given(const struct migrate *m)
{
	return false;
}
#endif

int
migrate_disks_open_one(struct migrate *m, enum side side, td_flag_t flags)
{
	int err = open_image(m, side, flags);

	if (err)
		return err;
	err = migrate_record_check_disk(m, side);
	if (!err)
		err = check_size(m, side);
	if (err)
		image_disk_close(&m->disk[side]);
	return err;
}

int
migrate_disks_open(struct migrate *m, td_flag_t flags)
{
	int err = migrate_disks_given(m) ? 0 : check_not_the_same(m);

	if (!err)
		err = migrate_disks_open_one(m, SRC, flags);
	if (err)
		return err;
	err = migrate_disks_open_one(m, DST, flags);
	if (!err) {
		m->disk[DST].sparse = migrate_setting_true(m, "destination_is_zero");
		if (m->disk[DST].sparse)
			m->destination_dir =
				migrate_mark_open_directory(migrate_setting(m, "destination"));
		err = check_sectors(m);
		if (!err)
			err = check_storage(m);
		if (err)
			image_disk_close(&m->disk[DST]);
	}
	if (err)
		image_disk_close(&m->disk[SRC]);
	return err;
}

void
migrate_disks_close(struct migrate *m)
{
	image_disk_close(&m->disk[DST]);
	image_disk_close(&m->disk[SRC]);
}
