/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap-ctl - lists, starts and controls tapdisks
 *
 * The exit status is 0 or the errno value of what went wrong; stderr says what
 * that was.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libtapctl.h"
#include "cli.h"
#include "commands.h"

static const struct cli_command commands[] = {
	{ "list", tap_cli_list, "list tapdisks and their VBDs" },
	{ "allocate", tap_cli_allocate, "take a free minor" },
	{ "free", tap_cli_free, "give a minor back" },
	{ "create", tap_cli_create, "allocate, spawn, attach and open" },
	{ "destroy", tap_cli_destroy, "close, detach and free" },
	{ "spawn", tap_cli_spawn, "start a tapdisk" },
	{ "attach", tap_cli_attach, "make a VBD of a minor in a tapdisk" },
	{ "detach", tap_cli_detach, "take a closed VBD out of its tapdisk" },
	{ "open", tap_cli_open, "open an image in an attached VBD" },
	{ "close", tap_cli_close, "close the image of a VBD" },
	{ "pause", tap_cli_pause, "finish a VBD's requests, hold new ones, close its image" },
	{ "unpause", tap_cli_unpause, "reopen the image, or another, and go on" },
	{ "stats", tap_cli_stats, "print a VBD's statistics as JSON" },
	{ "migrate", tap_cli_migrate, "move a running VBD to another image" },
	{ NULL, NULL, NULL },
};

int
main(int argc, char **argv)
{
	char *more;
	int err;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* EFBIG is told like other errors */
	err = cli_run("tap-ctl", commands, argc, argv);
	if (fflush(stdout) && !err)
		err = tap_ctl_fail(-errno, "writing the output");
	if (!err)
		return 0;
	more = strdup(tap_ctl_error());
	if (more)
		cli_clean(more);
	if (more && *more && strcmp(more, strerror(-err)))
		fprintf(stderr, "tap-ctl: %s: %s\n", strerror(-err), more);
	else
		fprintf(stderr, "tap-ctl: %s\n", strerror(-err));
	free(more);
	return -err;
}
