/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_unpause(int argc, char **argv)
{
	struct tap_ctl_image image = { 0 };
	int pid = -1, minor = -1;
	const struct cli_option options[] = {
		CLI_PID(&pid),
		CLI_MINOR(&minor),
		{ .letter = 'a',
		  .kind = CLI_STRING,
		  .value = &image.params,
		  .argument = "TYPE:NAME",
		  .help = "another image than before, of the same size" },
		{ .letter = '2',
		  .kind = CLI_STRING,
		  .value = &image.secondary,
		  .flags = &image.flags,
		  .bit = TAPDISK_MESSAGE_FLAG_SECONDARY,
		  .argument = "TYPE:NAME",
		  .help = "a secondary image, or null for none" },
		{ .letter = 'c',
		  .kind = CLI_STRING,
		  .value = &image.log,
		  .flags = &image.flags,
		  .bit = TAPDISK_MESSAGE_FLAG_ADD_LOG,
		  .argument = "PATH",
		  .help = "log changed blocks there" },
		CLI_END,
	};
	int err;

	err = cli_parse(argc, argv, options, "Reopens the image of a paused VBD and goes on.");
	return err ? err : tap_ctl_unpause(pid, minor, &image);
}
