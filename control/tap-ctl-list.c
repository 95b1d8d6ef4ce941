/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tap-ctl.h"
#include "cli.h"
#include "commands.h"

struct filter {
	int pid, minor;
	const char *type, *path;
};

static bool
wanted(const tap_list_t *vbd, const struct filter *filter)
{
	if (filter->pid >= 0 && vbd->pid != filter->pid)
		return false;
	if (filter->minor >= 0 && vbd->minor != filter->minor)
		return false;
	if (filter->type && (!vbd->type || strcmp(vbd->type, filter->type)))
		return false;
	return !filter->path || (vbd->path && !strcmp(vbd->path, filter->path));
}

/* For people. The widths are blktap's. */
static void
print_row(const tap_list_t *vbd)
{
	char pid[16] = "-", minor[16] = "-", state[16] = "-";

	if (vbd->pid >= 0)
		snprintf(pid, sizeof(pid), "%d", vbd->pid);
	if (vbd->minor >= 0)
		snprintf(minor, sizeof(minor), "%d", vbd->minor);
	if (vbd->state >= 0)
		snprintf(state, sizeof(state), "%#x", (unsigned int)vbd->state);
	printf("%8s %4s %4s %10s %s\n", pid, minor, state, vbd->type ? vbd->type : "-",
	       vbd->path ? vbd->path : "-");
}

/* For programs: what is known, in this order. */
static void
print_line(const tap_list_t *vbd)
{
	const char *space = "";

	if (vbd->pid >= 0) {
		printf("pid=%d", vbd->pid);
		space = " ";
	}
	if (vbd->minor >= 0) {
		printf("%sminor=%d", space, vbd->minor);
		space = " ";
	}
	if (vbd->state >= 0) {
		printf("%sstate=%#x", space, (unsigned int)vbd->state);
		space = " ";
	}
	if (vbd->type && vbd->path)
		printf("%sargs=%s:%s", space, vbd->type, vbd->path);
	putchar('\n');
}

int
tap_cli_list(int argc, char **argv)
{
	struct filter filter = { .pid = -1, .minor = -1 };
	const struct cli_option options[] = {
		{ .letter = 'p',
		  .kind = CLI_NUMBER,
		  .value = &filter.pid,
		  .max = INT32_MAX,
		  .argument = "PID",
		  .help = "only this tapdisk" },
		{ .letter = 'm',
		  .kind = CLI_NUMBER,
		  .value = &filter.minor,
		  .max = INT32_MAX,
		  .argument = "MINOR",
		  .help = "only this VBD" },
		{ .letter = 't',
		  .kind = CLI_STRING,
		  .value = &filter.type,
		  .argument = "TYPE",
		  .help = "only images of this type" },
		{ .letter = 'f',
		  .kind = CLI_STRING,
		  .value = &filter.path,
		  .argument = "PATH",
		  .help = "only this image" },
		CLI_END,
	};
	struct list_head list;
	tap_list_t *vbd;
	pid_t warned = -1;
	int err, tty;

	err = cli_parse(argc, argv, options,
			"Lists tapdisks and their VBDs: pid=, minor=, state=, args=type:path.\n"
			"A terminal gets columns. A paused VBD has state 0x2a.");
	if (err)
		return err;
	INIT_LIST_HEAD(&list);
	err = filter.pid >= 0 ? tap_ctl_list_pid(filter.pid, &list) : tap_ctl_list(&list);
	if (err)
		return err;

	tty = isatty(STDOUT_FILENO);
	list_for_each_entry(vbd, &list, entry) {
		if (vbd->error && vbd->pid != warned) {
			warned = vbd->pid;
			fprintf(stderr,
				"tap-ctl: tapdisk %d does not answer (%s): is it stopped?\n",
				vbd->pid, strerror(-vbd->error));
		}
		if (!wanted(vbd, &filter))
			continue;
		if (vbd->type)
			cli_clean(vbd->type);
		if (vbd->path)
			cli_clean(vbd->path);
		if (tty)
			print_row(vbd);
		else
			print_line(vbd);
	}
	tap_ctl_list_free(&list);
	return 0;
}
