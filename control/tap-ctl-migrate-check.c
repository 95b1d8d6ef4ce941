/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "image-identity.h"
#include "image-lock.h"
#include "libtapctl.h"
#include "migrate-commands.h"
#include "migrate-journal-file.h"

#define PIECE_BYTES (1u << 20)
#define RUNS_SHOWN  10

static const char *const side_names[SIDES] = { "source", "destination" };

struct check {
	struct migrate_journal_file f;
	const char *path;
	int fd[SIDES];
	char *buf[SIDES];
	unsigned complaints;
	uint64_t compared;  /* sectors */
	uint64_t different; /* sectors */
	uint64_t run_begin, run_end;
	uint64_t runs;
};

static void
complain(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
complain(struct check *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	c->complaints++;
}

/* The image must be there, large enough, and the one that was recorded. */
static void
check_image(struct check *c, enum side side)
{
	static const char *const keys[SIDES] = { "source_identity", "destination_identity" };
	const char *name = migrate_journal_text(&c->f, side_names[side]);
	const char *path = strchr(name, ':') ? strchr(name, ':') + 1 : name;
	const char *recorded = migrate_journal_text(&c->f, keys[side]);
	char identity[IMAGE_IDENTITY_SIZE];
	off_t size;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	c->fd[side] = fd;
	if (fd < 0) {
		complain(c, "the %s %s cannot be opened: %s", side_names[side], path,
			 strerror(errno));
		return;
	}
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || (uint64_t)size / SECTOR_BYTES < c->f.recovery.contents.sectors)
		complain(c, "the %s %s is smaller than the migration's disk", side_names[side],
			 path);
	if (*recorded && !image_identity(fd, identity, sizeof(identity)) &&
	    strcmp(identity, recorded))
		complain(c,
			 "the %s %s is another disk than the one that was recorded: %s, not %s",
			 side_names[side], path, identity, recorded);
}

/* --- comparing -------------------------------------------------------------------- */

static void
run_ends(struct check *c)
{
	if (c->run_begin == c->run_end)
		return;
	if (c->runs++ < RUNS_SHOWN)
		complain(c, "sectors %" PRIu64 " to %" PRIu64 " differ", c->run_begin,
			 c->run_end - 1);
	c->run_begin = c->run_end = 0;
}

static void
differs(struct check *c, uint64_t sector)
{
	c->different++;
	if (c->run_end != sector) {
		run_ends(c);
		c->run_begin = sector;
	}
	c->run_end = sector + 1;
}

static int
read_piece(struct check *c, enum side side, uint64_t sector, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pread(c->fd[side], c->buf[side] + done, bytes - done,
				  (off_t)(sector * SECTOR_BYTES + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return tap_ctl_fail(n ? -errno : -EIO,
					    "the %s cannot be read at sector %" PRIu64,
					    side_names[side], sector + done / SECTOR_BYTES);
		done += (size_t)n;
	}
	return 0;
}

static int
compare_piece(struct check *c, uint64_t sector, uint64_t count)
{
	size_t bytes = count * SECTOR_BYTES;
	int err = read_piece(c, SRC, sector, bytes);

	if (!err)
		err = read_piece(c, DST, sector, bytes);
	if (err)
		return err;
	c->compared += count;
	if (!memcmp(c->buf[SRC], c->buf[DST], bytes))
		return 0;
	for (uint64_t i = 0; i < count; i++)
		if (memcmp(c->buf[SRC] + i * SECTOR_BYTES, c->buf[DST] + i * SECTOR_BYTES,
			   SECTOR_BYTES))
			differs(c, sector + i);
	return 0;
}

static void
show_progress(const struct check *c)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\rcompared %" PRIu64 " of %" PRIu64 " MiB ",
			c->compared * SECTOR_BYTES >> 20,
			validity_count(c->f.recovery.map, BOTH) * SECTOR_BYTES >> 20);
}

static int
compare(struct check *c)
{
	uint64_t sectors = c->f.recovery.contents.sectors, run;
	int err = 0;

	for (enum side side = SRC; side < SIDES; side++) {
		c->buf[side] = aligned_alloc(4096, PIECE_BYTES);
		if (!c->buf[side])
			return tap_ctl_fail(-ENOMEM, "out of memory");
	}
	for (uint64_t s = 0; !err && s < sectors; s += run) {
		uint64_t left = sectors - s;

		if (validity_get(c->f.recovery.map, s, left, &run) != BOTH)
			continue;
		run = run < PIECE_BYTES / SECTOR_BYTES ? run : PIECE_BYTES / SECTOR_BYTES;
		err = compare_piece(c, s, run);
		show_progress(c);
	}
	if (isatty(STDERR_FILENO))
		fputc('\n', stderr);
	run_ends(c);
	if (c->runs > RUNS_SHOWN)
		complain(c, "... and %" PRIu64 " more runs", c->runs - RUNS_SHOWN);
	return err;
}

/* What is being written cannot be compared. */
static int
check_at_rest(const struct check *c)
{
	char holder[IMAGE_HOLDER_SIZE];

	if (!migrate_journal_is_open(c->path, holder, sizeof(holder)))
		return 0;
	return tap_ctl_fail(-EBUSY, "%s is in use by %s; the images are compared at rest only",
			    c->path, holder);
}

/* Those of a journal that is open may have been replaced while we looked. */
static void
check_live(struct check *c)
{
	char holder[IMAGE_HOLDER_SIZE], why[TAP_CTL_TEXT];

	if (c->f.recovery.live != RECOVERY_LIVE_MISSING ||
	    migrate_journal_is_open(c->path, holder, sizeof(holder)))
		return;
	recovery_missing(&c->f.recovery, why, sizeof(why));
	complain(c, "%s", why);
}

static int
check(struct check *c, bool comparing)
{
	int err = comparing ? check_at_rest(c) : 0;

	if (err)
		return err;
	check_live(c);
	for (enum side side = SRC; side < SIDES; side++)
		check_image(c, side);
	if (comparing && c->fd[SRC] >= 0 && c->fd[DST] >= 0)
		err = compare(c);
	if (err)
		return err;
	if (comparing)
		printf("compared %" PRIu64 " MiB that are valid on both: %" PRIu64
		       " sectors differ\n",
		       c->compared * SECTOR_BYTES >> 20, c->different);
	if (c->complaints)
		return tap_ctl_fail(-EBADMSG, "%s: something is wrong", c->path);
	printf("%s: all right%s\n", c->path,
	       c->f.recovery.contents.torn ? " (its torn end was never promised to anybody)"
					   : "");
	return 0;
}

int
migrate_cli_check(int argc, char **argv)
{
	struct check c = { .fd = { -1, -1 } };
	unsigned int comparing = 0;
	const struct cli_option options[] = {
		{ .name = "compare",
		  .flags = &comparing,
		  .bit = 1,
		  .help = "read what is valid on both images, and compare it" },
		CLI_JOURNAL(&c.path),
		CLI_END,
	};
	int err = cli_parse(argc, argv, options,
			    "Verifies a migration's journal and that its images are there. "
			    "Nothing is written.");

	if (!err)
		err = migrate_journal_file_read(&c.f, c.path);
	if (err)
		return err;
	err = check(&c, comparing);
	for (enum side side = SRC; side < SIDES; side++) {
		if (c.fd[side] >= 0)
			close(c.fd[side]);
		free(c.buf[side]);
	}
	migrate_journal_file_free(&c.f);
	return err;
}
