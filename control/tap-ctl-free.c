/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_free(int argc, char **argv)
{
	int minor = -1;
	const struct cli_option options[] = { CLI_MINOR(&minor), CLI_END };
	int err;

	err = cli_parse(argc, argv, options,
			"Gives back a minor that no tapdisk has attached.");
	return err ? err : tap_ctl_free(minor);
}
