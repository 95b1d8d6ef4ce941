/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <string.h>

#include "cli.h"
#include "journal-apart.h"
#include "migrate-commands.h"
#include "migrate-follow.h"
#include "migrate-registry.h"

static void
print(const json_t *object, bool as_json)
{
	if (!as_json)
		migrate_print(object);
	else if (!json_dumpf(object, stdout, JSON_INDENT(2)))
		putchar('\n');
}

/* What this host remembers of a migration whose journal cannot be read; it may be nothing. */
static void
remembered(const char *path, bool as_json)
{
	json_t *known = *path == '/' ? registry_find(path) : NULL;

	if (!known)
		return;
	if (as_json) {
		json_object_set_new(known, "state", json_string("unknown"));
		print(known, true);
	} else {
		printf("%s -> %s\n  state        unknown: it has not ended as far as this host "
		       "remembers\n",
		       json_string_value(json_object_get(known, "source")),
		       json_string_value(json_object_get(known, "destination")));
	}
	json_decref(known);
}

/* What a journal says of a migration that is over. */
static int
recorded(const char *path, bool as_json)
{
	json_t *settings = NULL, *result;
	char why[TAP_CTL_TEXT];
	int err;

	err = journal_load_apart(path, &settings, why, sizeof(why));
	if (err) {
		remembered(path, as_json);
		return tap_ctl_fail(err, "%s", why);
	}
	result = json_object_get(settings, "result");
	if (json_is_object(result)) {
		print(result, as_json);
	} else if (as_json) {
		print(settings, as_json);
	} else {
		printf("%s -> %s\n  state        not ended; status -m MINOR shows it if it "
		       "runs\n",
		       json_string_value(json_object_get(settings, "source")),
		       json_string_value(json_object_get(settings, "destination")));
	}
	json_decref(settings);
	return 0;
}

static int
running(int pid, int minor, bool as_json, bool watch)
{
	struct migrate_client client;
	json_t *status;
	int err;

	err = migrate_connect(&client, pid, minor);
	if (!err && watch) {
		err = migrate_follow(&client, GOAL_END, true);
	} else if (!err) {
		err = migrate_call(&client, migrate_request("status"), &status);
		if (!err) {
			print(status, as_json);
			json_decref(status);
		}
	}
	migrate_close(&client);
	return err;
}

int
migrate_cli_status(int argc, char **argv)
{
	unsigned int as_json = 0, watch = 0;
	int err, pid = -1, minor = -1;
	const char *journal = NULL;
	const struct cli_option options[] = {
		CLI_OF_PID(&pid),
		{ .letter = 'm',
		  .kind = CLI_NUMBER,
		  .value = &minor,
		  .max = TAPDISK_MAX_MINORS - 1,
		  .argument = "MINOR",
		  .help = "the VBD's number" },
		{ .name = "journal",
		  .kind = CLI_STRING,
		  .value = &journal,
		  .argument = "FILE",
		  .help = "what this journal has recorded, instead of -m" },
		{ .name = "json", .flags = &as_json, .bit = 1, .help = "as JSON" },
		{ .name = "watch",
		  .flags = &watch,
		  .bit = 1,
		  .help = "show the progress until it ends" },
		CLI_END,
	};

	err = cli_parse(argc, argv, options, "Shows how a migration goes, or how it ended.");
	if (err)
		return err;
	if ((minor < 0) == !journal)
		return tap_ctl_fail(-EINVAL, "status wants either -m MINOR or --journal FILE");
	if (journal)
		return recorded(journal, as_json);
	return running(pid, minor, as_json, watch);
}
