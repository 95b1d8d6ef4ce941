/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_create(int argc, char **argv)
{
	struct tap_ctl_image image = { 0 };
	const char *unused;
	const struct cli_option options[] = {
		CLI_IMAGE(&image),
		{ .letter = 'd',
		  .kind = CLI_STRING,
		  .value = &unused,
		  .argument = "NAME",
		  .help = "accepted for blktap's sake; does nothing" },
		CLI_END,
	};
	char *devname;
	int err;

	err = cli_parse(
		argc, argv, options,
		"Starts a tapdisk that serves an image; prints the path that marks its minor.\n"
		"If it cannot, nothing is left behind.");
	if (!err)
		err = tap_ctl_create(&image, &devname);
	if (err)
		return err;
	puts(devname);
	free(devname);
	return 0;
}
