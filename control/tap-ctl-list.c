/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libtapctl.h"
#include "cli.h"
#include "commands.h"

#define NAME_BYTES   (sizeof(((tapdisk_message_list_t *)NULL)->path) - 1)
#define NAME_TIMEOUT 5 /* seconds */

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

/* The name in a VBD's statistics, the caller's to free; or NULL. */
static char *
name_in_stats(const tap_list_t *vbd)
{
	const char *name = NULL;
	char *json, *copy;
	json_t *stats;

	if (tap_ctl_stats(vbd->pid, vbd->minor, NAME_TIMEOUT, &json))
		return NULL;
	stats = json_loads(json, 0, NULL);
	free(json);
	json_unpack(stats, "{s:s}", "name", &name);
	copy = name ? strdup(name) : NULL;
	json_decref(stats);
	return copy;
}

/* The list has room for NAME_BYTES of a name; the whole of it is in the statistics. */
static void
complete_name(tap_list_t *vbd)
{
	const size_t type = vbd->type ? strlen(vbd->type) : 0;
	const size_t path = vbd->path ? strlen(vbd->path) : 0;
	char *name;

	if (!type || type + 1 + path != NAME_BYTES)
		return;
	name = name_in_stats(vbd);
	if (name && !strncmp(name, vbd->type, type) && name[type] == ':' &&
	    !strncmp(name + type + 1, vbd->path, path)) {
		memmove(name, name + type + 1, strlen(name + type + 1) + 1);
		free(vbd->path);
		vbd->path = name;
	} else {
		free(name);
	}
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

/* One thing that is known, for programs, exactly as it is; nothing where it is not. */
static void
print_field(const tap_list_t *vbd, const char *field)
{
	if (!strcmp(field, "pid") && vbd->pid >= 0)
		printf("%d\n", vbd->pid);
	else if (!strcmp(field, "minor") && vbd->minor >= 0)
		printf("%d\n", vbd->minor);
	else if (!strcmp(field, "state") && vbd->state >= 0)
		printf("%#x\n", (unsigned int)vbd->state);
	else if (!strcmp(field, "args") && vbd->type && vbd->path)
		printf("%s:%s\n", vbd->type, vbd->path);
}

static void
print_vbd(tap_list_t *vbd, const char *field, bool tty)
{
	if (field && !tty)
		return print_field(vbd, field);
	if (vbd->type)
		cli_clean(vbd->type);
	if (vbd->path)
		cli_clean(vbd->path);
	if (field)
		print_field(vbd, field);
	else if (tty)
		print_row(vbd);
	else
		print_line(vbd);
}

static bool
is_field(const char *name)
{
	static const char *const fields[] = { "pid", "minor", "state", "args" };
	size_t i = 0;

	while (i < sizeof(fields) / sizeof(fields[0]) && strcmp(name, fields[i]))
		i++;
	return i < sizeof(fields) / sizeof(fields[0]);
}

static void
print_list(struct list_head *list, const struct filter *filter, const char *field)
{
	const int tty = isatty(STDOUT_FILENO);
	pid_t warned = -1;
	tap_list_t *vbd;

	list_for_each_entry(vbd, list, entry) {
		if (vbd->error && vbd->pid != warned) {
			warned = vbd->pid;
			fprintf(stderr,
				"tap-ctl: tapdisk %d does not answer (%s): is it stopped?\n",
				vbd->pid, strerror(-vbd->error));
		}
		complete_name(vbd);
		if (wanted(vbd, filter))
			print_vbd(vbd, field, tty);
	}
}

int
tap_cli_list(int argc, char **argv)
{
	struct filter filter = { .pid = -1, .minor = -1 };
	const char *field = NULL;
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
		{ .name = "field",
		  .kind = CLI_STRING,
		  .value = &field,
		  .argument = "NAME",
		  .help = "only pid, minor, state or args of each, exactly as it is" },
		CLI_END,
	};
	struct list_head list;
	int err;

	err = cli_parse(argc, argv, options,
			"Lists tapdisks and their VBDs: pid=, minor=, state=, args=type:path.\n"
			"A terminal gets columns. A paused VBD has state 0x2a.");
	if (err)
		return err;
	if (field && !is_field(field))
		return tap_ctl_fail(-EINVAL, "there is no field \"%s\"", field);
	INIT_LIST_HEAD(&list);
	err = filter.pid >= 0 ? tap_ctl_list_pid(filter.pid, &list) : tap_ctl_list(&list);
	if (err)
		return err;

	print_list(&list, &filter, field);
	tap_ctl_list_free(&list);
	return 0;
}
