/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

int
tap_cli_stats(int argc, char **argv)
{
	int pid = -1, minor = -1;
	const struct cli_option options[] = {
		CLI_PID(&pid),
		{ .letter = 'm',
		  .kind = CLI_NUMBER,
		  .value = &minor,
		  .max = TAPDISK_MESSAGE_COOKIE_ALL,
		  .required = true,
		  .argument = "MINOR",
		  .help = "the VBD's number; 65535: all of this tapdisk" },
		CLI_END,
	};
	char *json;
	int err;

	err = cli_parse(argc, argv, options,
			"Prints the statistics of a VBD as JSON; images from leaf to root.");
	if (!err)
		err = tap_ctl_stats(pid, minor, TAP_CTL_TIMEOUT, &json);
	if (err)
		return err;
	json[strcspn(json, "\n")] = '\0';
	cli_clean(json);
	printf("%s\n\n", json);
	free(json);
	return 0;
}
