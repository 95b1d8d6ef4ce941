/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap-ctl migrate start: puts a migration under a running VBD
 *
 * What is asked for is checked here; the rest is done by the tapdisk, or for one of blktap's
 * with it (migrate-start.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "migrate-commands.h"
#include "migrate-follow.h"
#include "migrate-journal.h"
#include "migrate-start.h"
#include "migrate/pacer.h"

#define CHUNK_MIN (64u << 10)
#define CHUNK_MAX (16u << 20)

/* The strategies, and when each completes unless one says otherwise. */
static const struct {
	const char *name, *complete;
} strategies[] = {
	{ "lr", "auto" },	{ "slr", "auto" },   { "aio", "manual" },
	{ "mirror", "manual" }, { "dbt", "manual" },
};

/* What is asked for, as flags. */
enum {
	CREATE = 1,
	DRY_RUN = 2,
	ANY_SPACE = 4,
	WAIT = 8,
	WATCH = 16,
};

struct start {
	struct migrate_start migration;
	int pid, minor;
	const char *priority;
	uint64_t chunk;
	unsigned int flags;
	char source[TAPDISK_MESSAGE_MAX_PATH_LENGTH];
};

/* Either says what the copy may cost the guest, in percent of its latency. */
static int
check_priority(struct start *s)
{
	static const struct {
		const char *name;
		unsigned int percent;
	} priorities[] = {
		{ "balanced", PACER_BALANCED },
		{ "guest", PACER_GUEST },
		{ "copy", PACER_COPY },
	};
	int *latency = &s->migration.new.latency;
	size_t i = 0;

	if (s->priority && *latency >= 0)
		return tap_ctl_fail(-EINVAL, "--priority or --guest-latency, not both");
	while (s->priority && strcmp(priorities[i].name, s->priority))
		if (++i == sizeof(priorities) / sizeof(priorities[0]))
			return tap_ctl_fail(-EINVAL,
					    "--priority is guest, balanced or copy, not \"%s\"",
					    s->priority);
	if (*latency < 0)
		*latency = (int)priorities[i].percent;
	return 0;
}

static int
check_words(struct migrate_new *n)
{
	size_t i = 0;

	while (strcmp(strategies[i].name, n->strategy))
		if (++i == sizeof(strategies) / sizeof(strategies[0]))
			return tap_ctl_fail(-EINVAL,
					    "there is no strategy \"%s\"; there are lr, slr, "
					    "aio, mirror and dbt",
					    n->strategy);
	if (!n->complete)
		n->complete = strategies[i].complete;
	if (strcmp(n->complete, "auto") && strcmp(n->complete, "manual"))
		return tap_ctl_fail(-EINVAL, "--complete is auto or manual, not \"%s\"",
				    n->complete);
	if (strcmp(n->journal_after, "keep") && strcmp(n->journal_after, "remove"))
		return tap_ctl_fail(-EINVAL, "--journal-after is keep or remove, not \"%s\"",
				    n->journal_after);
	if (strncmp(n->destination, "aio:/", 5))
		return tap_ctl_fail(-EINVAL, "--to wants aio: and an absolute path, not \"%s\"",
				    n->destination);
	if (n->journal && *n->journal != '/')
		return tap_ctl_fail(-EINVAL, "--journal wants an absolute path, not \"%s\"",
				    n->journal);
	return 0;
}

static int
check_settings(struct start *s)
{
	struct migrate_new *n = &s->migration.new;

	if (check_words(n) || check_priority(s))
		return -EINVAL;
	if (s->chunk < CHUNK_MIN || s->chunk > CHUNK_MAX || s->chunk & (s->chunk - 1))
		return tap_ctl_fail(-EINVAL, "--chunk is a power of two from 64K to 16M");
	n->chunk = (json_int_t)s->chunk;
	n->create = !!(s->flags & CREATE);
	n->dry_run = !!(s->flags & DRY_RUN);
	n->any_space = !!(s->flags & ANY_SPACE);
	return 0;
}

static int
find_source(struct start *s)
{
	tap_list_t *vbd = &s->migration.vbd;
	int err = migrate_find_vbd(s->pid, s->minor, vbd);

	if (err)
		return err;
	if (!strcmp(vbd->type, MIGRATE_TYPE))
		return tap_ctl_fail(
			-EALREADY,
			"minor %d is under migration already; tap-ctl migrate status -m %d",
			s->minor, s->minor);
	if (vbd->state)
		return tap_ctl_fail(-EBUSY, "minor %d does not run (state %#x): is it paused?",
				    s->minor, (unsigned int)vbd->state);
	snprintf(s->source, sizeof(s->source), "%s:%s", vbd->type, vbd->path);
	s->migration.new.source = s->source;
	return 0;
}

/* All of it, or nothing. */
static int
begin(struct start *s)
{
	bool known;
	int err = migrate_start_here(&s->migration, &known);

	return known ? err : migrate_start_blktap(&s->migration);
}

/* A migration that nobody answers for any more: what its journal says has come of it. */
static int
judge_ended(const struct start *s, struct migrate_client *client, enum goal goal)
{
	json_t *settings;
	char why[TAP_CTL_TEXT];
	int err = migrate_journal_load(s->migration.journal, true, &settings, why, sizeof(why));

	/* It was to be removed at the end. */
	if (err == -ENOENT && !strcmp(s->migration.new.journal_after, "remove"))
		return 0;
	if (err)
		return tap_ctl_fail(err, "%s", why);
	client->ended = true;
	err = migrate_judge(client, settings, goal);
	migrate_print_end(settings);
	json_decref(settings);
	return err;
}

static int
follow(const struct start *s)
{
	enum goal goal =
		strcmp(s->migration.new.complete, "auto") ? GOAL_SYNCHRONISED : GOAL_COMPLETED;
	struct migrate_client client;
	int err;

	goal = s->flags & WAIT ? goal : GOAL_END;
	err = migrate_connect_journal(&client, s->migration.journal);
	if (!err)
		err = migrate_follow(&client, goal, s->flags & WATCH);
	else if (err == -ENOENT || err == -ECONNREFUSED)
		err = judge_ended(s, &client, goal);
	migrate_close(&client);
	return err;
}

/* Says what has been done and what can be done next, and waits if that is wanted. */
static int
report(const struct start *s)
{
	const struct migrate_new *n = &s->migration.new;

	printf("minor %d: %s -> %s (%s), journal %s%s\n", s->minor, n->source, n->destination,
	       n->strategy, s->migration.journal,
	       n->dry_run ? ": can be started; nothing was" : "");
	if (n->dry_run)
		return 0;
	if (strcmp(n->complete, "auto"))
		printf("tap-ctl migrate complete -m %d leaves the source once synchronised\n",
		       s->minor);
	if (s->flags & (WAIT | WATCH))
		return follow(s);
	printf("tap-ctl migrate status -m %d --watch shows how it goes\n", s->minor);
	return 0;
}

#define FLAG(word, b, text)                                                   \
	{                                                                     \
		.name = (word), .flags = &s.flags, .bit = (b), .help = (text) \
	}

static int
start(struct start *s)
{
	int err = check_settings(s);

	if (!err)
		err = find_source(s);
	if (!err)
		err = begin(s);
	if (!err)
		err = report(s);
	free(s->migration.vbd.type);
	free(s->migration.vbd.path);
	return err;
}

int
migrate_cli_start(int argc, char **argv)
{
	struct start s = { .pid = -1,
			   .chunk = 256 << 10,
			   .migration.new = { .strategy = "lr",
					      .threshold = 32,
					      .depth = 8,
					      .latency = -1,
					      .journal_after = "keep" } };
	struct migrate_new *n = &s.migration.new;
	const struct cli_option options[] = {
		CLI_OF_PID(&s.pid),
		CLI_MINOR(&s.minor),
		{ .name = "to",
		  .kind = CLI_STRING,
		  .value = &n->destination,
		  .required = true,
		  .argument = "aio:PATH",
		  .help = "the destination" },
		FLAG("create", CREATE,
		     "make the destination, a sparse file of the source's size"),
		FLAG("dry-run", DRY_RUN, "try all of it, and undo it"),
		FLAG("no-space-check", ANY_SPACE,
		     "do not look whether there is room for the source's data"),
		CLI_STRATEGY(&n->strategy),
		CLI_THRESHOLD(&n->threshold),
		CLI_PRIORITY(&s.priority),
		CLI_GUEST_LATENCY(&n->latency),
		CLI_RATE(&n->rate),
		{ .name = "chunk",
		  .kind = CLI_BYTES,
		  .value = &s.chunk,
		  .argument = "SIZE",
		  .help = "what becomes copied at once, 64K to 16M; 256K unless given" },
		CLI_DEPTH(&n->depth),
		{ .name = "journal",
		  .kind = CLI_STRING,
		  .value = &n->journal,
		  .argument = "FILE",
		  .help = "the journal; beside the destination unless given" },
		CLI_JOURNAL_AFTER(&n->journal_after),
		CLI_COMPLETE(&n->complete),
		FLAG("wait", WAIT,
		     "wait until it is synchronised (manual) or completed (auto)"),
		FLAG("watch", WATCH, "show the progress"),
		CLI_END,
	};
	int err;

	err = cli_parse(
		argc, argv, options,
		"Moves a running VBD to another image while its guest goes on.\n"
		"lr (used unless given) and slr complete by themselves when synchronised;\n"
		"aio, mirror and dbt wait for tap-ctl migrate complete.");
	return err ? err : start(&s);
}
