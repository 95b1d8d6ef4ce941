/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "image-where.h"
#include "libtapctl.h"
#include "migrate-commands.h"

int
migrate_cli_where(int argc, char **argv)
{
	char now[IMAGE_WHERE_SIZE];
	const char *image = "";
	int err;
	const struct cli_option options[] = {
		{ .kind = CLI_STRING,
		  .value = &image,
		  .required = true,
		  .argument = "TYPE:NAME",
		  .help = "what the disk was" },
		CLI_END,
	};

	err = cli_parse(
		argc, argv, options,
		"Shows what is now the disk that an image was: itself, where migrations have\n"
		"taken it, or the journal of one that has not ended.");
	if (err)
		return err;
	err = image_where(image, now);
	if (err)
		return tap_ctl_fail(err, "where %s is now cannot be found out", image);
	if (isatty(STDOUT_FILENO))
		cli_clean(now);
	puts(now);
	return 0;
}
