/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image-lock.h"
#include "libtapctl.h"
#include "migrate-file.h"
#include "migrate-journal-file.h"

#define WHY_BYTES TAP_CTL_TEXT

const char *
migrate_journal_text(const struct migrate_journal_file *f, const char *key)
{
	const char *text = json_string_value(json_object_get(f->recovery.settings, key));

	return text ? text : "";
}

bool
migrate_journal_is_open(const char *path, char *text, size_t size)
{
	bool held = false, named = false;
	int fd;

	/* One that has been replaced meanwhile says nothing of the one that is there now. */
	while (!held && !named && (fd = migrate_file_open(AT_FDCWD, path, O_RDONLY)) >= 0) {
		held = image_lock_is_held(fd);
		named = migrate_file_is_named(AT_FDCWD, path, fd);
		close(fd);
	}
	if (held)
		image_lock_holder(path, text, size);
	return held;
}

static const char *
advice(int err)
{
	switch (err) {
	case -EUCLEAN:
		return ". Nothing is served on a guess: what follows the damage is lost, and "
		       "with it where the newest data is. Bring the file back from a copy "
		       "of it that was made later than its last use, or go back to a backup "
		       "of the disk; with mirror, aio or dbt the source is whole but for "
		       "the last writes";
	case -EPROTONOSUPPORT:
		return "; use the version of tapmigrate that wrote it";
	default:
		return "";
	}
}

static void
count_trusted(void *ctx, uint64_t sector, enum side side)
{
	((struct migrate_journal_file *)ctx)->trusted[side]++;
}

static const char *
run_dir(void)
{
	const char *dir = getenv(TAPDISK_RUN_DIR_ENV);

	return dir && *dir ? dir : TAPDISK_RUN_DIR;
}

static int
parse(struct migrate_journal_file *f, const char *path)
{
	char why[WHY_BYTES];
	int err = recovery_read(&f->recovery, f->bytes, f->len, run_dir(), why, sizeof(why));

	if (err)
		return tap_ctl_fail(err, "%s: %s%s", path, why, advice(err));
	journal_read_intents(f->bytes, f->len, count_trusted, f);
	return 0;
}

int
migrate_journal_file_read(struct migrate_journal_file *f, const char *path)
{
	int fd = migrate_file_open(AT_FDCWD, path, O_RDONLY), err = fd;

	*f = (struct migrate_journal_file){ 0 };
	if (fd >= 0) {
		err = migrate_file_read(fd, SIZE_MAX - 1, &f->bytes, &f->len);
		close(fd);
	}
	if (err < 0)
		return tap_ctl_fail(err, "cannot read the journal %s", path);
	err = parse(f, path);
	if (err)
		migrate_journal_file_free(f);
	return err;
}

void
migrate_journal_file_free(struct migrate_journal_file *f)
{
	recovery_free(&f->recovery);
	free(f->bytes);
	*f = (struct migrate_journal_file){ 0 };
}
