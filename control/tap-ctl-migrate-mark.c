/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli.h"
#include "image-identity.h"
#include "image-mark.h"
#include "image-sector.h"
#include "libtapctl.h"
#include "migrate-commands.h"
#include "migrate-text.h"

static void
print(const char *image, const struct image_mark *mark, int err, long sector)
{
	if (err == -ENODATA)
		printf("%s: no mark\n", image);
	else if (err)
		printf("%s: a mark that is not understood\n", image);
	else if (mark->role == IMAGE_MARK_SUPERSEDED)
		printf("%s: out of date; the disk has moved to %s (migration %s)\n", image,
		       mark->name, mark->uuid);
	else if (mark->role == IMAGE_MARK_ABANDONED)
		printf("%s: not a whole disk; its migration was cancelled, the disk is %s "
		       "(migration %s)\n",
		       image, mark->name, mark->uuid);
	else
		printf("%s: %s of migration %s, journal %s\n", image,
		       image_mark_role_name(mark->role), mark->uuid, mark->name);
	if (sector)
		printf("%s: shown with sectors of %ld bytes\n", image, sector);
}

static void
print_json(const char *image, const char *identity, const struct image_mark *mark, int err,
	   long sector)
{
	json_t *object = json_pack("{s:o, s:s, s:n}", "image", migrate_text_json(image),
				   "identity", identity, "mark");

	if (!err)
		json_object_set_new(
			object, "mark",
			json_pack("{s:s, s:s, s:o}", "role", image_mark_role_name(mark->role),
				  "uuid", mark->uuid, "name", migrate_text_json(mark->name)));
	else if (err == -EBADMSG)
		json_object_set_new(object, "mark", json_pack("{s:s}", "role", "unknown"));
	if (sector)
		json_object_set_new(object, "sector_size", json_integer(sector));
	if (!json_dumpf(object, stdout, JSON_INDENT(2)))
		putchar('\n');
	json_decref(object);
}

int
migrate_cli_mark(int argc, char **argv)
{
	char identity[IMAGE_IDENTITY_SIZE];
	unsigned int as_json = 0;
	struct image_mark mark;
	const char *image = "";
	int fd, err;
	const struct cli_option options[] = {
		{ .name = "json", .flags = &as_json, .bit = 1, .help = "as JSON" },
		CLI_MARKED(&image),
		CLI_END,
	};

	err = cli_parse(argc, argv, options,
			"Shows what a migration has marked an image with, if anything.");
	if (err)
		return err;
	image += strncmp(image, "aio:", 4) ? 0 : 4;
	fd = open(image, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return tap_ctl_fail(-errno, "%s", image);
	err = image_mark_get(fd, &mark);
	if (err && err != -ENODATA && err != -EBADMSG) {
		tap_ctl_fail(err, "the mark of %s cannot be read", image);
	} else if (as_json) {
		int known = image_identity(fd, identity, sizeof(identity));

		if (known && known != -ENODATA)
			err = tap_ctl_fail(known, "%s", image);
		else
			print_json(image, identity, &mark, err, image_sector_get(fd));
	} else {
		print(image, &mark, err, image_sector_get(fd));
	}
	close(fd);
	return err == -ENODATA || err == -EBADMSG ? 0 : err;
}
