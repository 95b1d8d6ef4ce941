/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-start.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block-migrate.h"
#include "image-identity.h"
#include "image-name.h"
#include "image-same.h"
#include "image-sector.h"
#include "image-space.h"
#include "migrate-journal.h"
#include "migrate-leftover.h"
#include "migrate-new.h"
#include "migrate-text.h"
#include "migrate-unnamed.h"
#include "tapdisk-disktype.h"
#include "tapdisk-driver.h"
#include "tapdisk-image.h"
#include "tapdisk-interface.h"
#include "tapdisk-log.h"
#include "tapdisk-loop.h"
#include "tapdisk-server.h"
#include "tapdisk-vbd.h"

#define TEXT TAPDISK_LOG_TEXT

/* How long the guest's requests are held, one after the other, and how long they are not. */
static const unsigned int hold_ms[] = { 500, 1000, 2000, 4000, 8000 };
#define REST_MS 500

struct start {
	struct td_vbd_claim claim;
	bool (*wanted)(void *client);
	void *client;

	json_t *request;
	struct migrate_new new;
	json_t *warnings; /* for people */

	td_vbd_t *vbd; /* claimed; gone if claim.vbd is NULL */
	td_disk_info_t shown;
	int flags;	   /* TD_OPEN_ */
	char *source_name; /* that leads to it now */
	bool nameless;	   /* none does */
	int source;	   /* a descriptor of ours, or -1: it is no file */

	struct migrate_unnamed made; /* the destination, if it was made */
	td_image_t *destination;
	long sectors_before; /* what it said of its sectors */
	bool sectors_changed;
	char params[MIGRATE_NEW_PARAMS]; /* migrate:<journal> */
	const char *journal;		 /* in params */
	bool written;			 /* the journal is there, and is to be removed */
	td_image_t *migration;
	bool begun;
};

/* To the log, for the answer. */
static int
say(int err, const char *why)
{
	EPRINTF("%s", why);
	return err;
}

__attribute__((format(printf, 2, 3))) static void
warn(struct start *s, const char *fmt, ...)
{
	char text[TEXT];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	tlog_syslog(TLOG_WARN, "%s", text);
	json_array_append_new(s->warnings, migrate_text_json(text));
}

/* Whether the start is still to be made: somebody waits for it, and the VBD runs. */
static int
check_wanted(const struct start *s)
{
	if (!s->claim.vbd) {
		EPRINTF("the disk has been paused or closed meanwhile");
		return -ECANCELED;
	}
	if (!s->wanted(s->client)) {
		EPRINTF("the client has gone");
		return -ECANCELED;
	}
	return 0;
}

/* --- the source ---------------------------------------------------------------- */

static int
check_source(struct start *s)
{
	const td_vbd_t *vbd = s->vbd;

	if (vbd->image->type == DISK_TYPE_MIGRATE) {
		EPRINTF("minor %u is under migration already; tap-ctl migrate status -m %u",
			vbd->minor, vbd->minor);
		return -EALREADY;
	}
	if (strcmp(vbd->name, s->new.source)) {
		EPRINTF("minor %u runs on %s by now, not on %s", vbd->minor, vbd->name,
			s->new.source);
		return -ESTALE;
	}
	if (vbd->image->flags & TD_OPEN_RDONLY) {
		EPRINTF("%s: a disk that is read only cannot be migrated", vbd->name);
		return -EROFS;
	}
	return 0;
}

static int
take_source(struct start *s)
{
	int fd, err = check_source(s);

	if (err)
		return err;
	s->shown = s->vbd->disk_info;
	s->flags = (int)s->vbd->flags & ~TD_OPEN_STRICT;
	fd = td_get_fd(s->vbd->image);
	s->source = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd >= 0 && s->source < 0 ? -errno : 0;
}

/* Another name of it, "type:path", or NULL. */
static char *
find_name(const struct start *s)
{
	char link[32], path[PATH_MAX], *name = NULL;
	int prefix = (int)(strchr(s->new.source, ':') - s->new.source);
	json_t *text;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", s->source);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	text = json_string(path);
	if (!text || !image_is_named(path, s->source) ||
	    asprintf(&name, "%.*s:%s", prefix, s->new.source, path) < 0)
		name = NULL;
	json_decref(text);
	return name;
}

/*
 * Opens it once more, as it is: what was copied has the image's lock, which would outlive a
 * pause that takes the disk from us.
 */
static void
let_go_of_lock(struct start *s)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->source);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	close(s->source);
	s->source = fd;
}

/*
 * The name by which the source is found when the journal is opened again. Where there is
 * none, the image lives for as long as this process has it open.
 */
static int
name_source(struct start *s)
{
	const char *path = strchr(s->new.source, ':') + 1;

	if (s->source < 0 || image_is_named(path, s->source)) {
		s->source_name = strdup(s->new.source);
		return s->source_name ? 0 : -ENOMEM;
	}
	s->source_name = find_name(s);
	if (s->source_name) {
		warn(s, "%s has another name by now, and the journal says so: %s",
		     s->new.source, s->source_name);
		return 0;
	}
	s->nameless = true;
	s->source_name = strdup(s->new.source);
	warn(s,
	     "no name leads to the source %s any more (it was removed, replaced or covered): "
	     "it "
	     "is there only as long as tapdisk %d runs. If that ends before the migration has "
	     "completed, what only the source holds is lost, as without a migration, and the "
	     "migration cannot go on",
	     s->new.source, getpid());
	return s->source_name ? 0 : -ENOMEM;
}

/* --- the destination ------------------------------------------------------------ */

static int
refuse_same(const struct start *s)
{
	EPRINTF("source %s and destination %s are the same disk, or parts of it that overlap",
		s->new.source, s->new.destination);
	return -EINVAL;
}

/* What is found wrong by the name alone: what is opened is looked at again. */
static int
check_path(const struct start *s)
{
	const char *path = migrate_new_path(&s->new);
	struct stat st;
	int err;

	if (stat(path, &st)) {
		err = -errno;
		EPRINTF("%s: %s%s", path, strerror(-err),
			err == -ENOENT ? ": --create makes it" : "");
		return err;
	}
	if (s->source >= 0 && image_is_named(path, s->source))
		return refuse_same(s);
	return 0;
}

/* By the thread that has lent the loop. */
static int
find_destination(struct start *s, char why[TEXT])
{
	const char *path = migrate_new_path(&s->new);
	int err = s->new.create ? 0 : check_path(s);
	struct stat st;

	if (err)
		return err;
	err = migrate_new_journal(&s->new,
				  !s->new.create && !stat(path, &st) && S_ISBLK(st.st_mode),
				  s->params, why, TEXT);
	if (err)
		return say(err, why);
	s->journal = strchr(s->params, ':') + 1;
	if (!s->new.create)
		return 0;
	err = migrate_leftover_remove(&s->new, s->journal, s->source, tapdisk_server_run_dir(),
				      why, TEXT);
	if (err)
		return say(err, why);
	err = migrate_unnamed_open(&s->made, path);
	if (!err && (ftruncate(s->made.fd, (off_t)(s->shown.size << SECTOR_SHIFT)) ||
		     fsync(s->made.fd)))
		err = -errno;
	if (err)
		EPRINTF("cannot create %s: %s", path, strerror(-err));
	return err;
}

static int
open_destination(struct start *s)
{
	const char *path = migrate_new_path(&s->new);
	const int flags = s->flags | TD_OPEN_MIGRATION | TD_OPEN_OWN_SECTORS;
	char why[TEXT];
	int err;

	tapdisk_loop_lend();
	err = find_destination(s, why);
	tapdisk_loop_take_back();
	if (err)
		return err;
	if (s->new.create)
		return tapdisk_image_open_given(DISK_TYPE_AIO, path, flags, &s->made.fd,
						&s->destination);
	return tapdisk_image_open(DISK_TYPE_AIO, path, flags, NULL, &s->destination);
}

static int
check_destination(const struct start *s)
{
	const td_disk_info_t *info = &s->destination->info;

	if (info->size < s->shown.size) {
		EPRINTF("the disk has %" PRIu64 " bytes, but the destination %s is smaller: "
			"%" PRIu64,
			s->shown.size << SECTOR_SHIFT, s->new.destination,
			info->size << SECTOR_SHIFT);
		return -EMEDIUMTYPE;
	}
	if (info->sector_size > s->shown.sector_size) {
		EPRINTF("destination %s has sectors of %ld bytes, and the guest was shown %ld: "
			"it cannot write that little there",
			s->new.destination, info->sector_size, s->shown.sector_size);
		return -EINVAL;
	}
	return 0;
}

/* Between two files that the kernel tells of; of a device all may be needed, or nothing. */
static int
check_space(struct start *s, int destination)
{
	uint64_t bytes = s->shown.size << SECTOR_SHIFT, room;
	struct stat st;

	if (s->new.any_space || s->source < 0 || !image_space_room(destination, &room))
		return 0;
	bytes = image_space_data(s->source, bytes);
	if (bytes <= room)
		return 0;
	if (fstat(s->source, &st) || !S_ISREG(st.st_mode)) {
		warn(s,
		     "the source may have %" PRIu64 " MiB of data; for %s there is room for "
		     "%" PRIu64 " MiB",
		     bytes >> 20, s->new.destination, room >> 20);
		return 0;
	}
	EPRINTF("the source has %" PRIu64 " MiB of data, but for %s there is room for %" PRIu64
		" MiB only (--no-space-check starts all the same)",
		bytes >> 20, s->new.destination, room >> 20);
	return -ENOSPC;
}

/* The guest's sectors go with its disk: at its next start too it is shown what it knows. */
static int
record_sectors(struct start *s, int destination)
{
	const long shown = s->shown.sector_size, own = s->destination->info.sector_size;
	int err;

	if (own < shown && (s->destination->info.size << SECTOR_SHIFT) % (uint64_t)shown) {
		EPRINTF("the guest was shown sectors of %ld bytes, and the size of %s is no "
			"multiple of them: at its next start it could not be shown them",
			shown, s->new.destination);
		return -EINVAL;
	}
	s->sectors_before = image_sector_get(destination);
	err = image_sector_set(destination, own < shown ? shown : 0);
	if (!err)
		s->sectors_changed = true;
	else if (own < shown)
		EPRINTF("the guest was shown sectors of %ld bytes, and %s has %ld: nothing can "
			"be recorded there (%s), and at its next start it would not find its "
			"partition table",
			shown, s->new.destination, own, strerror(-err));
	else
		EPRINTF("%s: what it says of another disk's sectors cannot be removed: %s",
			s->new.destination, strerror(-err));
	return err;
}

/* --- the journal ------------------------------------------------------------------ */

/* What the kernel has not written yet: later flushes, and marks, find little to do. */
static int
flush_images(struct start *s, int destination)
{
	if (s->source >= 0 && fsync(s->source))
		warn(s,
		     "the source %s cannot be flushed (%s): it may have lost what was "
		     "written to it",
		     s->new.source, strerror(errno));
	if (fsync(destination)) {
		int err = -errno;

		EPRINTF("the destination %s cannot be flushed: %s", s->new.destination,
			strerror(-err));
		return err;
	}
	return 0;
}

static int
write_journal(struct start *s, int destination, char why[TEXT])
{
	char identity[2][IMAGE_IDENTITY_SIZE];
	struct migrate_new_disks disks = { .sectors = s->shown.size,
					   .source = s->source_name,
					   .nameless = s->nameless };
	int fd;

	if (s->source >= 0 && !image_identity(s->source, identity[0], sizeof(identity[0])))
		disks.source_identity = identity[0];
	if (!image_identity(destination, identity[1], sizeof(identity[1])))
		disks.destination_identity = identity[1];
	fd = migrate_new_write(&s->new, &disks, s->journal, why, TEXT);
	if (fd < 0)
		return say(fd, why);
	s->written = true;
	return fd;
}

/* By the thread that has lent the loop. The journal's descriptor, or -errno. */
static int
write_down(struct start *s, int destination, char why[TEXT])
{
	int fd, err;

	if (s->source >= 0 && image_same(s->source, destination))
		return refuse_same(s);
	err = check_space(s, destination);
	if (!err)
		err = record_sectors(s, destination);
	if (!err)
		err = flush_images(s, destination);
	if (!err && !s->new.create) {
		err = migrate_leftover_remove(&s->new, s->journal, s->source,
					      tapdisk_server_run_dir(), why, TEXT);
		if (err)
			EPRINTF("%s", why);
	}
	if (err)
		return err;
	fd = write_journal(s, destination, why);
	if (fd >= 0 && s->new.create) {
		err = migrate_unnamed_name(&s->made);
		if (err)
			EPRINTF("cannot create %s: %s", migrate_new_path(&s->new),
				strerror(-err));
	}
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* All that may wait and needs only what is the start's own. */
static int
prepare(struct start *s)
{
	char why[TEXT];
	int err, fd;

	tapdisk_loop_lend();
	if (s->source >= 0)
		let_go_of_lock(s);
	err = name_source(s);
	tapdisk_loop_take_back();
	if (!err)
		err = open_destination(s);
	if (!err)
		err = check_destination(s);
	if (!err)
		err = check_wanted(s);
	if (err)
		return err;
	tapdisk_loop_lend();
	fd = write_down(s, td_get_fd(s->destination), why);
	/* It is open and locked by the migration now, or nobody's. */
	if (fd >= 0)
		close(fd);
	tapdisk_loop_take_back();
	return fd < 0 ? fd : check_wanted(s);
}

/* --- the switch -------------------------------------------------------------------- */

/* Until the migration's journal is written, which is on stable storage then. */
static int
wait_until_ready(struct start *s)
{
	int ready, err = 0;

	while (!err && !(ready = migrate_image_ready(s->migration))) {
		tapdisk_server_iterate();
		err = check_wanted(s);
	}
	if (!err && ready < 0) {
		EPRINTF("the journal %s cannot be written: %s", s->journal, strerror(-ready));
		err = ready;
	}
	return err;
}

static int
open_migration(struct start *s)
{
	const struct migrate_given given = { .source = s->vbd->image,
					     .destination = s->destination };
	int err = tapdisk_image_open_given(DISK_TYPE_MIGRATE, s->journal, s->flags, &given,
					   &s->migration);

	if (err)
		return err;
	s->written = false; /* it is the migration's */
	return wait_until_ready(s);
}

/*
 * The guest is not held for long at a time: where a request does not end, its others go on
 * now and then.
 */
static int
switch_over(struct start *s)
{
	int err = -ETIMEDOUT;

	for (size_t i = 0; err == -ETIMEDOUT && i < sizeof(hold_ms) / sizeof(*hold_ms); i++) {
		if (i) {
			tapdisk_loop_lend();
			usleep(REST_MS * 1000);
			tapdisk_loop_take_back();
		}
		err = check_wanted(s);
		if (!err)
			err = tapdisk_vbd_switch(s->vbd, s->migration, s->params, hold_ms[i],
						 migrate_image_begin);
	}
	if (err == -ETIMEDOUT)
		EPRINTF("requests of the guest to %s are under way for so long that the disk "
			"cannot be switched: they are not answered",
			s->new.source);
	s->begun = !err;
	return err;
}

/* --- all of it --------------------------------------------------------------------- */

/* The VBD is claimed, and runs. */
static int
run(struct start *s)
{
	int err = take_source(s);

	if (!err)
		err = prepare(s);
	/* A pause may be looking at it. */
	if (!err)
		err = tapdisk_vbd_check_busy(s->vbd);
	if (err)
		return err;
	/* From here on its open image is used. */
	s->vbd->busy++;
	s->vbd->starting = 1;
	err = open_migration(s);
	if (!err && !s->new.dry_run)
		err = switch_over(s);
	if (!s->begun)
		tapdisk_image_close(s->migration);
	s->vbd->starting = 0;
	s->vbd->busy--;
	return err;
}

/* What the start has made, unless the migration has it. The text of the error stays. */
static void
end(struct start *s)
{
	tapdisk_vbd_unclaim(&s->claim);
	if (!s->begun && s->sectors_changed) {
		tapdisk_loop_lend();
		image_sector_set(td_get_fd(s->destination), s->sectors_before);
		tapdisk_loop_take_back();
	}
	if (!s->begun)
		tapdisk_image_close(s->destination);
	tapdisk_loop_lend();
	if (s->written && !s->begun)
		unlink(s->journal);
	migrate_unnamed_close(&s->made, !s->begun);
	if (s->source >= 0)
		close(s->source);
	tapdisk_loop_take_back();
	free(s->source_name);
	json_decref(s->request);
}

static char *
answer(const struct start *s, int err, const char *why)
{
	json_t *json =
		err ? json_pack("{s:b, s:{s:i, s:o}}", "ok", 0, "error", "errno", -err,
				"message", migrate_text_json(*why ? why : strerror(-err)))
		    : json_pack("{s:b, s:s}", "ok", 1, "journal", s->journal);
	char *text;

	json_object_set(json, "warnings", s->warnings);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return text;
}

static int
parse(struct start *s, const char *json, size_t size)
{
	char why[TEXT];
	int err;

	s->request = json_loadb(json, size, 0, NULL);
	err = migrate_new_parse(s->request, &s->new, why, sizeof(why));
	if (!err)
		err = migrate_new_check(&s->new, tapdisk_server_run_dir(), why, sizeof(why));
	return err ? say(err, why) : 0;
}

char *
tapdisk_start(td_vbd_t *vbd, const char *json, size_t size, bool (*wanted)(void *),
	      void *client)
{
	struct start s = {
		.wanted = wanted,
		.client = client,
		.vbd = vbd,
		.warnings = json_array(),
		.source = -1,
		.made = MIGRATE_UNNAMED_NONE,
	};
	char why[TEXT] = "", *text;
	int err = parse(&s, json, size);

	if (!err)
		err = tapdisk_vbd_claim(vbd, &s.claim);
	if (!err)
		err = run(&s);
	if (err)
		snprintf(why, sizeof(why), "%s", tapdisk_log_first_error());
	end(&s);
	text = answer(&s, err, why);
	json_decref(s.warnings);
	return text;
}
