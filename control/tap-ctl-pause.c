/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_pause(int argc, char **argv)
{
	int pid = -1, minor = -1, timeout = TAP_CTL_FOREVER;
	unsigned int flags = 0;
	const struct cli_option options[] = {
		CLI_PID(&pid),
		CLI_MINOR(&minor),
		CLI_TIMEOUT(&timeout),
		CLI_SET('f', &flags, 1, "also if the image could not be opened again"),
		CLI_END,
	};
	int err;

	err = cli_parse(
		argc, argv, options,
		"Lets the requests of a VBD finish, holds new ones and closes its image.");
	return err ? err : tap_ctl_pause(pid, minor, flags, timeout);
}
