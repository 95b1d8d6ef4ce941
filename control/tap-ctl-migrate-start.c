/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap-ctl migrate start: puts a migration under a running VBD
 *
 * A new journal is written; then the VBD is paused and resumed from that. If any step fails,
 * what was made is removed and the VBD runs as it did.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "image-identity.h"
#include "image-mark.h"
#include "migrate-commands.h"
#include "migrate-file.h"
#include "migrate-follow.h"
#include "migrate-holder.h"
#include "migrate-journal.h"
#include "migrate/pacer.h"
#include "state-dir.h"

#define JOURNAL_SUFFIX ".migrate"
#define PAUSE_SECONDS  60
#define CHUNK_MIN      (64u << 10)
#define CHUNK_MAX      (16u << 20)

/* The strategies, and when each completes unless one says otherwise. */
static const struct {
	const char *name, *complete;
} strategies[] = {
	{ "lr", "auto" },	{ "slr", "auto" },   { "aio", "manual" },
	{ "mirror", "manual" }, { "dbt", "manual" },
};

struct start {
	int pid, minor;
	const char *to, *strategy, *complete;
	const char *priority;
	int threshold, rate, depth, latency;
	uint64_t chunk;
	const char *journal_option, *journal_after;
	unsigned int create, wait, watch;

	tap_list_t vbd;
	const char *destination; /* the path in to */
	bool created;		 /* ... which we have made */
	char source[TAPDISK_MESSAGE_MAX_PATH_LENGTH];
	char params[TAPDISK_MESSAGE_MAX_PATH_LENGTH]; /* migrate:<journal> */
	const char *journal;			      /* in params */
	uint64_t sectors;
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
	size_t i = 0;

	if (s->priority && s->latency >= 0)
		return tap_ctl_fail(-EINVAL, "--priority or --guest-latency, not both");
	while (s->priority && strcmp(priorities[i].name, s->priority))
		if (++i == sizeof(priorities) / sizeof(priorities[0]))
			return tap_ctl_fail(-EINVAL,
					    "--priority is guest, balanced or copy, not \"%s\"",
					    s->priority);
	if (s->latency < 0)
		s->latency = (int)priorities[i].percent;
	return 0;
}

static int
check_settings(struct start *s)
{
	size_t i = 0;

	while (strcmp(strategies[i].name, s->strategy))
		if (++i == sizeof(strategies) / sizeof(strategies[0]))
			return tap_ctl_fail(-EINVAL,
					    "there is no strategy \"%s\"; there are lr, slr, "
					    "aio, mirror and dbt",
					    s->strategy);
	if (!s->complete)
		s->complete = strategies[i].complete;
	if (strcmp(s->complete, "auto") && strcmp(s->complete, "manual"))
		return tap_ctl_fail(-EINVAL, "--complete is auto or manual, not \"%s\"",
				    s->complete);
	if (s->chunk < CHUNK_MIN || s->chunk > CHUNK_MAX || s->chunk & (s->chunk - 1))
		return tap_ctl_fail(-EINVAL, "--chunk is a power of two from 64K to 16M");
	if (check_priority(s))
		return -EINVAL;
	if (strncmp(s->to, "aio:/", 5))
		return tap_ctl_fail(-EINVAL, "--to wants aio: and an absolute path, not \"%s\"",
				    s->to);
	if (s->journal_option && *s->journal_option != '/')
		return tap_ctl_fail(-EINVAL, "--journal wants an absolute path, not \"%s\"",
				    s->journal_option);
	if (strcmp(s->journal_after, "keep") && strcmp(s->journal_after, "remove"))
		return tap_ctl_fail(-EINVAL, "--journal-after is keep or remove, not \"%s\"",
				    s->journal_after);
	s->destination = s->to + strlen("aio:");
	return 0;
}

/* The VBD must be running from an ordinary image. */
static int
find_source(struct start *s)
{
	tapdisk_message_image_t info;
	int err;

	err = migrate_find_vbd(s->pid, s->minor, &s->vbd);
	if (err)
		return err;
	if (!strcmp(s->vbd.type, MIGRATE_TYPE))
		return tap_ctl_fail(
			-EALREADY,
			"minor %d is under migration already; tap-ctl migrate status -m %d",
			s->minor, s->minor);
	if (s->vbd.state)
		return tap_ctl_fail(-EBUSY, "minor %d does not run (state %#x): is it paused?",
				    s->minor, (unsigned int)s->vbd.state);
	snprintf(s->source, sizeof(s->source), "%s:%s", s->vbd.type, s->vbd.path);
	err = tap_ctl_info(s->vbd.pid, s->minor, &info);
	s->sectors = info.sectors;
	return err;
}

/* A sparse file of the source's size, where there is nothing yet. */
static int
create_destination(struct start *s)
{
	int fd, err = 0;

	fd = open(s->destination, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return tap_ctl_fail(-errno, "cannot create %s", s->destination);
	s->created = true;
	if (ftruncate(fd, (off_t)s->sectors * 512) || fsync(fd))
		err = -errno;
	close(fd);
	if (!err)
		err = migrate_file_sync_directory(s->destination);
	return err ? tap_ctl_fail(err, "cannot make %s as large as the source", s->destination)
		   : 0;
}

static int
check_destination(const struct start *s, bool *device)
{
	struct stat st;

	if (stat(s->destination, &st))
		return tap_ctl_fail(-errno, "%s%s", s->destination,
				    errno == ENOENT ? ": --create makes it" : "");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return tap_ctl_fail(-EINVAL, "%s is neither a file nor a block device",
				    s->destination);
	*device = S_ISBLK(st.st_mode);
	/* Its own disk: that they are the same will be said. */
	return migrate_check_free(s->destination, &s->vbd);
}

/* Beside a file; for a block device in a directory of our own. */
static int
choose_journal(struct start *s, bool device)
{
	static const char type[] = MIGRATE_TYPE ":";
	int err, n;

	if (s->journal_option) {
		n = snprintf(s->params, sizeof(s->params), "%s%s", type, s->journal_option);
	} else if (!device) {
		n = snprintf(s->params, sizeof(s->params), "%s%s" JOURNAL_SUFFIX, type,
			     s->destination);
	} else {
		err = state_dir_make();
		if (err)
			return tap_ctl_fail(err, "cannot make %s", state_dir());
		n = snprintf(s->params, sizeof(s->params), "%s%s%s" JOURNAL_SUFFIX, type,
			     state_dir(), strrchr(s->destination, '/'));
	}
	s->journal = s->params + strlen(type);
	if ((size_t)n >= sizeof(s->params))
		return tap_ctl_fail(
			-ENAMETOOLONG,
			"the journal's path is too long; choose one with --journal: %s...",
			s->journal);
	return 0;
}

/* What is recognised again when the journal is opened; other images have none. */
static json_t *
identity_of(const char *image)
{
	char identity[IMAGE_IDENTITY_SIZE];
	int fd, err;

	if (strncmp(image, "aio:", 4))
		return NULL;
	fd = open(image + 4, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	err = image_identity(fd, identity, sizeof(identity));
	close(fd);
	return err ? NULL : json_string(identity);
}

/* What never changes (docs/migrate-protocol.md). */
static json_t *
new_head(const struct start *s)
{
	return json_pack("{s:s, s:s, s:o*, s:o*, s:I, s:b}", "source", s->source, "destination",
			 s->to, "source_identity", identity_of(s->source),
			 "destination_identity", identity_of(s->to), "chunk",
			 (json_int_t)s->chunk, "destination_is_zero", (int)s->created);
}

static json_t *
new_note(const struct start *s)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:b, s:s, s:s, s:n}", "state",
			 MIGRATE_STATE_NEW, "strategy", s->strategy, "threshold", s->threshold,
			 "rate_mib_s", s->rate, "guest_latency_pct", s->latency, "depth",
			 s->depth, "paused", 0, "complete", s->complete, "journal_after",
			 s->journal_after, "result");
}

static int
write_journal(const struct start *s)
{
	json_t *head = new_head(s), *note = new_note(s);
	char why[512];
	uint8_t uuid[16];
	int err = -EINVAL;

	if (!head || !note)
		tap_ctl_fail(err, "a name that is not UTF-8: %s, %s", s->source, s->to);
	else if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		err = tap_ctl_fail(-EIO, "no random numbers from the kernel");
	else
		err = migrate_journal_create(s->journal, uuid, s->sectors, head, note, why,
					     sizeof(why));
	json_decref(head);
	json_decref(note);
	if (err == -EEXIST)
		return tap_ctl_fail(
			err,
			"%s is there from an earlier migration; tap-ctl migrate status "
			"--journal shows it; remove it if that is over",
			s->journal);
	return err && head && note && err != -EIO ? tap_ctl_fail(err, "%s", why) : err;
}

/*
 * Pauses the VBD and resumes it from the journal. If that fails, it resumes
 * it as it was; *restored is false if even that has not worked.
 */
static int
switch_over(const struct start *s, bool *restored)
{
	const struct tap_ctl_image migration = { .params = s->params };
	const struct tap_ctl_image before = { .params = s->source };
	char why[512];
	int err, worse;

	*restored = true;
	err = tap_ctl_pause(s->vbd.pid, s->minor, PAUSE_SECONDS);
	if (!err)
		err = tap_ctl_unpause(s->vbd.pid, s->minor, &migration);
	if (!err)
		return 0;
	snprintf(why, sizeof(why), "%s", tap_ctl_error());
	worse = tap_ctl_unpause(s->vbd.pid, s->minor, &before);
	if (!worse)
		return tap_ctl_fail(err, "%s. The disk runs on %s as before", why, s->source);
	*restored = false;
	return tap_ctl_fail(err,
			    "%s. The disk could not be resumed (%s: %s): when that is mended, "
			    "tap-ctl unpause -p %d -m %d -a %s",
			    why, strerror(-worse), tap_ctl_error(), s->vbd.pid, s->minor,
			    s->source);
}

/* Not even Ctrl-C leaves the disk paused, or files behind. */
static int
start_undisturbed(struct start *s)
{
	bool device = false, restored = true, written = false;
	sigset_t fatal, before;
	int err;

	sigemptyset(&fatal);
	sigaddset(&fatal, SIGINT);
	sigaddset(&fatal, SIGTERM);
	sigaddset(&fatal, SIGHUP);
	sigaddset(&fatal, SIGQUIT);
	sigprocmask(SIG_BLOCK, &fatal, &before);

	err = s->create ? create_destination(s) : 0;
	if (!err)
		err = check_destination(s, &device);
	if (!err)
		err = choose_journal(s, device);
	if (!err)
		err = write_journal(s);
	if (!err) {
		written = true;
		err = switch_over(s, &restored);
	}
	if (err && restored) {
		if (written)
			unlink(s->journal);
		if (s->created)
			unlink(s->destination);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return err;
}

/* A migration that nobody answers for any more: what its journal says has come of it. */
static int
judge_ended(const struct start *s, struct migrate_client *client, enum goal goal)
{
	json_t *settings;
	char why[512];
	int err = migrate_journal_load(s->journal, true, &settings, why, sizeof(why));

	/* It was to be removed at the end. */
	if (err == -ENOENT && !strcmp(s->journal_after, "remove"))
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
	enum goal goal = strcmp(s->complete, "auto") ? GOAL_SYNCHRONISED : GOAL_COMPLETED;
	struct migrate_client client;
	int err;

	goal = s->wait ? goal : GOAL_END;
	err = migrate_connect_journal(&client, s->journal);
	if (!err)
		err = migrate_follow(&client, goal, s->watch);
	else if (err == -ENOENT || err == -ECONNREFUSED)
		err = judge_ended(s, &client, goal);
	migrate_close(&client);
	return err;
}

/* Says what has been done and what can be done next, and waits if that is wanted. */
static int
report(const struct start *s)
{
	printf("minor %d: %s -> %s (%s), journal %s\n", s->minor, s->source, s->to, s->strategy,
	       s->journal);
	if (strcmp(s->complete, "auto"))
		printf("tap-ctl migrate complete -m %d leaves the source once synchronised\n",
		       s->minor);
	if (s->wait || s->watch)
		return follow(s);
	printf("tap-ctl migrate status -m %d --watch shows how it goes\n", s->minor);
	return 0;
}

int
migrate_cli_start(int argc, char **argv)
{
	struct start s = { .pid = -1,
			   .strategy = "lr",
			   .threshold = 32,
			   .chunk = 256 << 10,
			   .depth = 8,
			   .latency = -1,
			   .journal_after = "keep" };
	const struct cli_option options[] = {
		CLI_OF_PID(&s.pid),
		CLI_MINOR(&s.minor),
		{ .name = "to",
		  .kind = CLI_STRING,
		  .value = &s.to,
		  .required = true,
		  .argument = "aio:PATH",
		  .help = "the destination" },
		{ .name = "create",
		  .flags = &s.create,
		  .bit = 1,
		  .help = "make the destination, a sparse file of the source's size" },
		CLI_STRATEGY(&s.strategy),
		CLI_THRESHOLD(&s.threshold),
		CLI_PRIORITY(&s.priority),
		CLI_GUEST_LATENCY(&s.latency),
		CLI_RATE(&s.rate),
		{ .name = "chunk",
		  .kind = CLI_BYTES,
		  .value = &s.chunk,
		  .argument = "SIZE",
		  .help = "what becomes copied at once, 64K to 16M; 256K unless given" },
		CLI_DEPTH(&s.depth),
		{ .name = "journal",
		  .kind = CLI_STRING,
		  .value = &s.journal_option,
		  .argument = "FILE",
		  .help = "the journal; beside the destination unless given" },
		CLI_JOURNAL_AFTER(&s.journal_after),
		CLI_COMPLETE(&s.complete),
		{ .name = "wait",
		  .flags = &s.wait,
		  .bit = 1,
		  .help = "wait until it is synchronised (manual) or completed (auto)" },
		{ .name = "watch", .flags = &s.watch, .bit = 1, .help = "show the progress" },
		CLI_END,
	};
	int err;

	err = cli_parse(
		argc, argv, options,
		"Moves a running VBD to another image while its guest goes on.\n"
		"lr (used unless given) and slr complete by themselves when synchronised;\n"
		"aio, mirror and dbt wait for tap-ctl migrate complete.");
	if (!err)
		err = check_settings(&s);
	if (!err)
		err = find_source(&s);
	if (!err)
		err = start_undisturbed(&s);
	if (!err)
		err = report(&s);
	free(s.vbd.type);
	free(s.vbd.path);
	return err;
}
