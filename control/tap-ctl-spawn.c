/* SPDX-License-Identifier: BSD-3-Clause */
#include <unistd.h>

#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_spawn(int argc, char **argv)
{
	const struct cli_option options[] = { CLI_END };
	pid_t pid;
	int err;

	err = cli_parse(argc, argv, options,
			"Starts a tapdisk and prints its process id once it answers.\n"
			"It ends when its last VBD is detached.");
	if (err)
		return err;
	pid = tap_ctl_spawn();
	if (pid < 0)
		return pid;
	printf(isatty(STDOUT_FILENO) ? "tapdisk spawned with pid %d\n" : "%d\n", pid);
	return 0;
}
