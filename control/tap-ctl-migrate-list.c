/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "migrate-commands.h"
#include "migrate-client.h"
#include "migrate-registry.h"
#include "migrate-text.h"

/* What a tapdisk has given a name, or said. */
static json_t *
shown(const char *said)
{
	char *text = strdup(said);
	json_t *string = NULL;

	if (text) {
		cli_clean(text);
		string = migrate_text_json(text);
	}
	free(text);
	return string;
}

/* The status of the migration that vbd is under, or what keeps us from knowing it. */
static json_t *
ask(const tap_list_t *vbd)
{
	struct migrate_client client;
	json_t *status, *known;
	int err;

	err = migrate_connect_vbd(&client, vbd);
	if (!err)
		err = migrate_call(&client, migrate_request("status"), &status);
	migrate_close(&client);
	if (!err)
		return status;
	status = json_pack("{s:s, s:{s:o}, s:o}", "state", "unknown", "journal", "path",
			   shown(vbd->path), "error", shown(tap_ctl_error()));
	known = registry_find(vbd->path);
	for (int i = 0; known && i < 2; i++) {
		static const char *const sides[] = { "source", "destination" };

		json_object_set_new(status, sides[i],
				    shown(json_string_value(json_object_get(known, sides[i]))));
	}
	json_decref(known);
	return status;
}

static void
print_row(const json_t *row)
{
	const char *strategy = "-", *state = "-", *source = "-", *destination = "-";
	const char *error = json_string_value(json_object_get(row, "error")); /* or null */
	double valid = 0, total = 0;
	int pid = -1, minor = -1;
	json_t *bytes;

	json_unpack((json_t *)row, "{s:i, s:i, s?s, s?s, s?s, s?s}", "pid", &pid, "minor",
		    &minor, "strategy", &strategy, "state", &state, "source", &source,
		    "destination", &destination);
	bytes = json_object_get(row, "bytes");
	valid = json_number_value(json_object_get(bytes, "valid"));
	total = json_number_value(json_object_get(bytes, "total"));
	printf("%8d %5d %-8s %-12s %5.1f%% %s -> %s\n", pid, minor, strategy, state,
	       total > 0 ? 100 * valid / total : 0, source, destination);
	if (error)
		printf("%14s %s\n", "", error);
}

static void
print(const json_t *rows, bool as_json)
{
	size_t i;

	if (as_json) {
		json_dumpf(rows, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	if (json_array_size(rows))
		printf("%8s %5s %-8s %-12s %6s %s\n", "PID", "MINOR", "STRATEGY", "STATE",
		       "DONE", "SOURCE -> DESTINATION");
	for (i = 0; i < json_array_size(rows); i++)
		print_row(json_array_get(rows, i));
}

int
migrate_cli_list(int argc, char **argv)
{
	unsigned int as_json = 0;
	const struct cli_option options[] = {
		{ .name = "json", .flags = &as_json, .bit = 1, .help = "as JSON" },
		CLI_END,
	};
	json_t *rows = json_array(), *row;
	struct list_head list;
	tap_list_t *vbd;
	int err;

	err = cli_parse(argc, argv, options, "Lists the migrations on this host.");
	if (err)
		return err;
	INIT_LIST_HEAD(&list);
	err = tap_ctl_list(&list);
	if (err)
		return err;
	list_for_each_entry(vbd, &list, entry) {
		if (vbd->error)
			fprintf(stderr, "tap-ctl: tapdisk %d does not answer: %s\n", vbd->pid,
				strerror(-vbd->error));
		if (!vbd->type || strcmp(vbd->type, MIGRATE_TYPE))
			continue;
		row = ask(vbd);
		if (!row) {
			err = tap_ctl_fail(-ENOMEM, "out of memory");
			break;
		}
		json_object_set_new(row, "pid", json_integer(vbd->pid));
		json_object_set_new(row, "minor", json_integer(vbd->minor));
		json_array_append_new(rows, row);
	}
	tap_ctl_list_free(&list);
	if (!err)
		print(rows, as_json);
	json_decref(rows);
	return err;
}
