/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_attach(int argc, char **argv)
{
	int pid = -1, minor = -1;
	const struct cli_option options[] = { CLI_PID(&pid), CLI_MINOR(&minor), CLI_END };
	int err;

	err = cli_parse(argc, argv, options, "Makes a VBD of an allocated minor in a tapdisk.");
	return err ? err : tap_ctl_attach(pid, minor);
}
