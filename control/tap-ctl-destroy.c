/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"
#include "migrate-left.h"

int
tap_cli_destroy(int argc, char **argv)
{
	int pid = -1, minor = -1, timeout = TAP_CTL_FOREVER;
	const struct cli_option options[] = {
		CLI_PID(&pid),
		CLI_MINOR(&minor),
		CLI_TIMEOUT(&timeout),
		CLI_END,
	};
	struct migrate_left left;
	int err;

	err = cli_parse(argc, argv, options, "Closes, detaches and frees a VBD.");
	if (err)
		return err;
	migrate_left_listen(&left, pid, minor);
	err = tap_ctl_destroy(pid, minor, timeout);
	migrate_left_say(&left, !err);
	return err;
}
