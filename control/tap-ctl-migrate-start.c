/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap-ctl migrate start: puts a migration under a running VBD
 *
 * The settings are written to a new state file; then the VBD is paused and
 * resumed from that file. If any step fails, what was made is removed and the
 * VBD runs as it did.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "image-mark.h"
#include "migrate-commands.h"
#include "migrate-follow.h"
#include "migrate-holder.h"
#include "migrate-state.h"

#define STATE_SUFFIX  ".migrate"
#define PAUSE_SECONDS 60
#define CHUNK_MIN     (64u << 10)
#define CHUNK_MAX     (16u << 20)
#define UUID_SIZE     37

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
	int threshold, rate, depth;
	uint64_t chunk;
	const char *state_option;
	unsigned int create, wait, watch;

	tap_list_t vbd;
	const char *destination; /* the path in to */
	bool created;		 /* ... which we have made */
	char source[TAPDISK_MESSAGE_MAX_PATH_LENGTH];
	char params[TAPDISK_MESSAGE_MAX_PATH_LENGTH]; /* migrate:<state file> */
	const char *state_file;			      /* in params */
};

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
	if (strncmp(s->to, "aio:/", 5))
		return tap_ctl_fail(-EINVAL, "--to wants aio: and an absolute path, not \"%s\"",
				    s->to);
	if (s->state_option && *s->state_option != '/')
		return tap_ctl_fail(-EINVAL, "--state wants an absolute path, not \"%s\"",
				    s->state_option);
	s->destination = s->to + strlen("aio:");
	return 0;
}

/* The VBD must be running from an ordinary image. */
static int
find_source(struct start *s)
{
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
	return 0;
}

static int
sync_directory_of(const char *path)
{
	char copy[PATH_MAX];
	int fd, err = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* A sparse file of the source's size, where there is nothing yet. */
static int
create_destination(struct start *s)
{
	tapdisk_message_image_t info;
	int fd, err;

	err = tap_ctl_info(s->vbd.pid, s->minor, &info);
	if (err)
		return err;
	fd = open(s->destination, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return tap_ctl_fail(-errno, "cannot create %s", s->destination);
	s->created = true;
	if (ftruncate(fd, (off_t)info.sectors * 512) || fsync(fd))
		err = -errno;
	close(fd);
	if (!err)
		err = sync_directory_of(s->destination);
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
choose_state_file(struct start *s, bool device)
{
	static const char type[] = MIGRATE_TYPE ":";
	int err, n;

	if (s->state_option) {
		n = snprintf(s->params, sizeof(s->params), "%s%s", type, s->state_option);
	} else if (!device) {
		n = snprintf(s->params, sizeof(s->params), "%s%s" STATE_SUFFIX, type,
			     s->destination);
	} else {
		err = image_mark_make_state_dir();
		if (err)
			return tap_ctl_fail(err, "cannot make %s", image_mark_state_dir());
		n = snprintf(s->params, sizeof(s->params), "%s%s%s" STATE_SUFFIX, type,
			     image_mark_state_dir(), strrchr(s->destination, '/'));
	}
	s->state_file = s->params + strlen(type);
	if ((size_t)n >= sizeof(s->params))
		return tap_ctl_fail(
			-ENAMETOOLONG,
			"the state file's path is too long; choose one with --state: %s...",
			s->state_file);
	return 0;
}

static int
new_uuid(char uuid[UUID_SIZE])
{
	int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, uuid, UUID_SIZE - 1);

	if (fd >= 0)
		close(fd);
	uuid[UUID_SIZE - 1] = '\0';
	return n == UUID_SIZE - 1 ? 0 : tap_ctl_fail(-EIO, "no uuid from the kernel");
}

static int
write_state_file(const struct start *s)
{
	char uuid[UUID_SIZE], why[256];
	json_t *settings;
	int err;

	err = new_uuid(uuid);
	if (err)
		return err;
	/* clang-format off */
	settings = json_pack("{s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:I, s:s, s:s, s:n}",
			     "uuid", uuid,
			     "source", s->source,
			     "destination", s->to,
			     "strategy", s->strategy,
			     "destination_is_zero", (int)s->created,
			     "threshold", s->threshold,
			     "rate_mib_s", s->rate,
			     "depth", s->depth,
			     "chunk", (json_int_t)s->chunk,
			     "complete", s->complete,
			     "state", MIGRATE_STATE_NEW,
			     "result");
	/* clang-format on */
	if (!settings)
		return tap_ctl_fail(-EINVAL, "a name that is not UTF-8: %s, %s", s->source,
				    s->to);
	err = migrate_state_create(s->state_file, settings, why, sizeof(why));
	json_decref(settings);
	if (err == -EEXIST)
		return tap_ctl_fail(
			err,
			"%s is there from an earlier migration; tap-ctl migrate status "
			"--state shows it; remove it if that is over",
			s->state_file);
	return err ? tap_ctl_fail(err, "%s", why) : 0;
}

/*
 * Pauses the VBD and resumes it from the state file. If that fails, it resumes
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
		err = choose_state_file(s, device);
	if (!err)
		err = write_state_file(s);
	if (!err) {
		written = true;
		err = switch_over(s, &restored);
	}
	if (err && restored) {
		if (written)
			unlink(s->state_file);
		if (s->created)
			unlink(s->destination);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return err;
}

static int
follow(const struct start *s)
{
	enum goal goal = strcmp(s->complete, "auto") ? GOAL_SYNCHRONISED : GOAL_COMPLETED;
	struct migrate_client client;
	json_t *settings;
	char why[256];
	int err;

	goal = s->wait ? goal : GOAL_END;
	err = migrate_connect_state(&client, s->state_file);
	if (!err)
		err = migrate_follow(&client, goal, s->watch);
	else if ((err == -ENOENT || err == -ECONNREFUSED) &&
		 !migrate_state_load(s->state_file, &settings, why, sizeof(why))) {
		/* It has ended already. */
		client.ended = true;
		json_object_set_new(settings, "state_file", json_string(s->state_file));
		err = migrate_judge(&client, settings, goal);
		migrate_print_end(settings);
		json_decref(settings);
	}
	migrate_close(&client);
	return err;
}

/* Says what has been done and what can be done next, and waits if that is wanted. */
static int
report(const struct start *s)
{
	printf("minor %d: %s -> %s (%s), state file %s\n", s->minor, s->source, s->to,
	       s->strategy, s->state_file);
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
	struct start s = {
		.pid = -1, .strategy = "lr", .threshold = 32, .chunk = 1 << 20, .depth = 4
	};
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
		CLI_RATE(&s.rate),
		{ .name = "chunk",
		  .kind = CLI_BYTES,
		  .value = &s.chunk,
		  .argument = "SIZE",
		  .help = "copy in pieces of this size, 64K to 16M; 1M unless given" },
		CLI_DEPTH(&s.depth),
		{ .name = "state",
		  .kind = CLI_STRING,
		  .value = &s.state_option,
		  .argument = "FILE",
		  .help = "the state file; beside the destination unless given" },
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
