/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "image-mark.h"
#include "libtapctl.h"
#include "migrate-commands.h"
#include "migrate-holder.h"
#include "migrate-registry.h"

/* Of a migration that exists, and not by record the disk alone, though its mark is there yet.
 */
static bool
is_half(const struct image_mark *mark)
{
	side_mask side = mark->role == IMAGE_MARK_SOURCE	? SRC_BIT
			 : mark->role == IMAGE_MARK_DESTINATION ? DST_BIT
								: NO_SIDE;
	side_mask alone;

	return side != NO_SIDE && (registry_recorded(mark->uuid, &alone) || alone != side);
}

/* Whether the mark may go; a word of who knows what is at stake counts. */
static int
check_mark(int fd, const char *image, bool force)
{
	struct image_mark mark;
	int err = image_mark_get(fd, &mark);

	if (!err && !force && is_half(&mark))
		return tap_ctl_fail(
			-EBUSY,
			"%s is the %s of migration %s. Parts of the disk may be on the other "
			"image only: whoever uses this one by itself can read old data, and "
			"what is written here can be lost. tap-ctl migrate inspect %s tells "
			"how it stands; --force removes the mark all the same",
			image, image_mark_role_name(mark.role), mark.uuid, mark.name);
	if (err == -EBADMSG && !force)
		return tap_ctl_fail(err,
				    "the mark of %s is not understood: perhaps a newer version "
				    "has set it; --force removes it all the same",
				    image);
	return err == -ENODATA || err == -EBADMSG ? 0 : err;
}

int
migrate_cli_unmark(int argc, char **argv)
{
	unsigned int force = 0;
	const char *image = "";
	int fd, err;
	const struct cli_option options[] = {
		{ .name = "force",
		  .flags = &force,
		  .bit = 1,
		  .help = "also while the migration exists: parts of the disk may be "
			  "elsewhere" },
		CLI_MARKED(&image),
		CLI_END,
	};

	err = cli_parse(argc, argv, options,
			"Removes the mark of an image that a migration has left, so that\n"
			"tapdisks open it again. Its contents are those of that moment.");
	if (err)
		return err;
	image += strncmp(image, "aio:", 4) ? 0 : 4;
	err = migrate_check_free(image, NULL);
	if (err)
		return err;
	fd = open(image, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return tap_ctl_fail(-errno, "%s", image);
	err = check_mark(fd, image, force);
	if (!err) {
		err = image_mark_clear(fd);
		if (err)
			tap_ctl_fail(err, "the mark of %s cannot be removed", image);
	}
	close(fd);
	return err;
}
