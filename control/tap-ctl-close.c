/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"
#include "migrate-left.h"

int
tap_cli_close(int argc, char **argv)
{
	int pid = -1, minor = -1, timeout = TAP_CTL_FOREVER;
	unsigned int force = 0;
	const struct cli_option options[] = {
		CLI_PID(&pid),
		CLI_MINOR(&minor),
		CLI_SET('f', &force, 1, "do not wait for the guest to let go"),
		CLI_TIMEOUT(&timeout),
		CLI_END,
	};
	struct migrate_left left;
	int err;

	err = cli_parse(argc, argv, options, "Closes the image of a VBD.");
	if (err)
		return err;
	migrate_left_listen(&left, pid, minor);
	err = tap_ctl_close(pid, minor, force, timeout);
	/* A forced one is not over when it is answered. */
	migrate_left_say(&left, !err && !force);
	return err;
}
