/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli.h"
#include "commands.h"
#include "migrate-commands.h"

static const struct cli_command commands[] = {
	{ "start", migrate_cli_start, "start moving a running VBD to another image" },
	{ "status", migrate_cli_status, "show how a migration goes" },
	{ "pause", migrate_cli_pause, "stop the copy; the guest goes on" },
	{ "resume", migrate_cli_resume, "go on with the copy" },
	{ "set", migrate_cli_set, "change the strategy and other settings under way" },
	{ "complete", migrate_cli_complete, "leave the source when synchronised" },
	{ "cancel", migrate_cli_cancel, "go back to the source" },
	{ "list", migrate_cli_list, "list the migrations on this host" },
	{ "inspect", migrate_cli_inspect, "show a journal at rest" },
	{ "check", migrate_cli_check, "verify a journal, and compare its images" },
	{ "accept-loss", migrate_cli_accept_loss,
	  "open a journal whose newest changes are gone" },
	{ "mark", migrate_cli_mark, "show what a migration has marked an image with" },
	{ "unmark", migrate_cli_unmark, "remove the mark: the image may be used again" },
	{ "where", migrate_cli_where, "show where a disk is now that was an image" },
	{ NULL, NULL, NULL },
};

int
tap_cli_migrate(int argc, char **argv)
{
	return cli_run("tap-ctl migrate", commands, argc, argv);
}
