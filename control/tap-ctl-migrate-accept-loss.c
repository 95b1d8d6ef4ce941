/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cli.h"
#include "image-lock.h"
#include "libtapctl.h"
#include "migrate-commands.h"
#include "migrate-file.h"
#include "migrate-journal-file.h"

/* Nobody opens the journal meanwhile. The descriptor that has it locked, or -errno, reported.
 */
static int
lock(const char *path)
{
	int fd = migrate_file_open_locked(AT_FDCWD, path, O_RDONLY);
	char who[IMAGE_HOLDER_SIZE];

	if (fd == -EBUSY) {
		image_lock_holder(path, who, sizeof(who));
		return tap_ctl_fail(fd, "%s is in use by %s", path, who);
	}
	return fd < 0 ? tap_ctl_fail(fd, "cannot open the journal %s", path) : fd;
}

static int
accept_loss(struct migrate_journal_file *f, const char *path)
{
	const struct recovery *r = &f->recovery;
	const struct journal_contents *c = &r->contents;
	char why[TAP_CTL_TEXT];
	int err;

	if (r->live != RECOVERY_LIVE_MISSING)
		return tap_ctl_fail(-EALREADY, "%s: nothing is missing; open migrate:%s", path,
				    path);
	err = migrate_live_accept_loss(r->live_file, c->uuid, c->epoch, c->position, why,
				       sizeof(why));
	if (err)
		return tap_ctl_fail(err, "%s", why);
	printf("%s can be opened, as after a power failure: what its guest had flushed is "
	       "there, "
	       "what it had not may be lost\n",
	       path);
	return 0;
}

int
migrate_cli_accept_loss(int argc, char **argv)
{
	struct migrate_journal_file f;
	const char *path = NULL;
	const struct cli_option options[] = { CLI_JOURNAL(&path), CLI_END };
	int fd, err;

	err = cli_parse(argc, argv, options,
			"Lets a journal be opened though the newest changes, which its killed\n"
			"tapdisk had left in memory, are gone: writes that the guest was told\n"
			"are done, but had not flushed, may then be lost. Its guest must not\n"
			"go on as if nothing had been: start it anew.");
	if (err)
		return err;
	fd = lock(path);
	if (fd < 0)
		return fd;
	err = migrate_journal_file_read(&f, path);
	if (!err) {
		err = accept_loss(&f, path);
		migrate_journal_file_free(&f);
	}
	close(fd);
	return err;
}
