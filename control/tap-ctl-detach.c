/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_detach(int argc, char **argv)
{
	int pid = -1, minor = -1;
	const struct cli_option options[] = { CLI_PID(&pid), CLI_MINOR(&minor), CLI_END };
	int err;

	err = cli_parse(argc, argv, options,
			"Takes a closed VBD out of its tapdisk, which ends with its last one.");
	return err ? err : tap_ctl_detach(pid, minor);
}
