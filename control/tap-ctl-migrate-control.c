/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands that tell a migration something: pause, resume, set, complete
 * and cancel.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "cli.h"
#include "migrate-commands.h"
#include "migrate-follow.h"

#define WAIT  1u
#define WATCH 2u /* waits too */

#define RECORD_MS 5000 /* for so long a command waits until the journal has it */
#define POLL_MS	  50

static bool
is_recorded(const json_t *status)
{
	return !json_is_false(json_object_get(status, "recorded"));
}

/*
 * Until the journal has what was asked for. -EINPROGRESS: not yet; *status, which is replaced,
 * says why.
 */
static int
wait_recorded(struct migrate_client *client, json_t **status)
{
	int64_t deadline = tap_ctl_now() + RECORD_MS;
	const char *why;

	while (!is_recorded(*status) && !client->ended && tap_ctl_now() < deadline) {
		json_t *next;
		int err;

		tap_ctl_wait(client->fd, POLLIN, tap_ctl_now() + POLL_MS);
		err = migrate_call(client, migrate_request("status"), &next);
		if (err)
			return err;
		json_decref(*status);
		*status = next;
	}
	if (is_recorded(*status))
		return 0;
	why = json_string_value(json_object_get(*status, "error"));
	return tap_ctl_fail(
		-EINPROGRESS,
		"that is done, but the journal does not have it yet. Were the disk "
		"paused or closed now, or the tapdisk to die, it could be forgotten: "
		"mend the journal and give the command again%s%s",
		why ? ": " : "", why ? why : "");
}

/* Sends request, whose reference it takes; then waits for the goal if follow says so. */
static int
tell(int pid, int minor, json_t *request, enum goal goal, unsigned int follow)
{
	struct migrate_client client;
	json_t *status;
	int err;

	err = migrate_connect(&client, pid, minor);
	if (err) {
		json_decref(request);
		return err;
	}
	err = migrate_call(&client, request, &status);
	if (!err) {
		/* It may have ended just before. */
		if (client.ended) {
			err = migrate_judge(&client, status, goal);
			migrate_print_end(status);
		} else if (follow) {
			err = migrate_follow(&client, goal, follow & WATCH);
		} else {
			err = wait_recorded(&client, &status);
		}
		json_decref(status);
	} else if (err == -EALREADY && follow) {
		/* It was asked for before, and is waited for all the same. */
		err = migrate_follow(&client, goal, follow & WATCH);
	}
	migrate_close(&client);
	return err;
}

#define FORCE 1u
#define KEEP  2u

/* A command without settings, and what its options do, in this order; NULL: there are no more.
 */
struct simple {
	const char *command;
	enum goal goal;
	const char *about, *wait, *force, *keep;
};

static int
simple(int argc, char **argv, const struct simple *s)
{
	unsigned int follow = 0, words = 0;
	int pid = -1, minor = -1;
	const struct cli_option options[] = {
		CLI_OF_PID(&pid),
		CLI_MINOR(&minor),
		{ .name = "wait", .flags = &follow, .bit = WAIT, .help = s->wait },
		{ .name = "watch",
		  .flags = &follow,
		  .bit = WATCH,
		  .help = "the same, and show the progress" },
		{ .name = "force", .flags = &words, .bit = FORCE, .help = s->force },
		{ .name = "keep", .flags = &words, .bit = KEEP, .help = s->keep },
		CLI_END,
	};
	json_t *request;
	int err;

	err = cli_parse(argc, argv, options, s->about);
	if (err)
		return err;
	request = migrate_request(s->command);
	if (words & FORCE)
		json_object_set_new(request, "force", json_true());
	if (words & KEEP)
		json_object_set_new(request, "keep", json_true());
	return tell(pid, minor, request, s->goal, follow);
}

int
migrate_cli_pause(int argc, char **argv)
{
	static const struct simple pause = {
		.command = "pause",
		.goal = GOAL_RUNNING,
		.about = "Stops the copy. The guest's reads and writes go on as before.",
	};

	return simple(argc, argv, &pause);
}

int
migrate_cli_resume(int argc, char **argv)
{
	static const struct simple resume = {
		.command = "resume",
		.goal = GOAL_RUNNING,
		.about = "Goes on with the copy, also where it paused by itself.",
	};

	return simple(argc, argv, &resume);
}

int
migrate_cli_complete(int argc, char **argv)
{
	static const struct simple complete = {
		.command = "complete",
		.goal = GOAL_COMPLETED,
		.about = "Leaves the source for the destination as soon as both agree.",
		.wait = "wait until it has completed",
		.force = "end it though a mark cannot be changed; the journal is kept then",
	};

	return simple(argc, argv, &complete);
}

int
migrate_cli_cancel(int argc, char **argv)
{
	static const struct simple cancel = {
		.command = "cancel",
		.goal = GOAL_CANCELLED,
		.about = "Goes back to the source. What only the destination has is copied "
			 "back\nfirst; then the destination is removed, if --create has made "
			 "it.",
		.wait = "wait until it has been cancelled",
		.force = "end it though a mark cannot be changed; the journal is kept then",
		.keep = "do not remove the destination's file",
	};

	return simple(argc, argv, &cancel);
}

int
migrate_cli_set(int argc, char **argv)
{
	int pid = -1, minor = -1, threshold = -1, rate = -1, depth = -1, latency = -1;
	const char *strategy = NULL, *priority = NULL, *complete = NULL, *journal_after = NULL;
	const struct cli_option options[] = {
		CLI_OF_PID(&pid),
		CLI_MINOR(&minor),
		CLI_STRATEGY(&strategy),
		CLI_THRESHOLD(&threshold),
		CLI_RATE(&rate),
		CLI_PRIORITY(&priority),
		CLI_GUEST_LATENCY(&latency),
		CLI_DEPTH(&depth),
		CLI_COMPLETE(&complete),
		CLI_JOURNAL_AFTER(&journal_after),
		CLI_END,
	};
	const struct {
		const char *key;
		const int *value;
	} numbers[] = { { "threshold", &threshold },
			{ "rate_mib_s", &rate },
			{ "guest_latency_pct", &latency },
			{ "depth", &depth } };
	json_t *request;
	size_t i;
	int err;

	err = cli_parse(argc, argv, options, "Changes settings of a migration under way.");
	if (err)
		return err;
	if (priority && latency >= 0)
		return tap_ctl_fail(-EINVAL, "--priority or --guest-latency, not both");
	request = json_pack("{s:s, s:s*, s:s*, s:s*, s:s*}", "command", "set", "strategy",
			    strategy, "priority", priority, "complete", complete,
			    "journal_after", journal_after);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (*numbers[i].value >= 0)
			json_object_set_new(request, numbers[i].key,
					    json_integer(*numbers[i].value));
	if (json_object_size(request) > 1)
		return tell(pid, minor, request, GOAL_RUNNING, 0);
	json_decref(request);
	return tap_ctl_fail(-EINVAL, "set what? tap-ctl migrate set --help lists the settings");
}
