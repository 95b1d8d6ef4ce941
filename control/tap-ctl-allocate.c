/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_allocate(int argc, char **argv)
{
	const struct cli_option options[] = { CLI_END };
	char *devname;
	int err, minor;

	err = cli_parse(argc, argv, options,
			"Takes the lowest free minor and prints the path that marks it.");
	if (!err)
		err = tap_ctl_allocate(&minor, &devname);
	if (err)
		return err;
	puts(devname);
	free(devname);
	return 0;
}
