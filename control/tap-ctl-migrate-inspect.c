/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "image-lock.h"
#include "libtapctl.h"
#include "migrate-commands.h"
#include "migrate-journal-file.h"
#include "migrate-text.h"

static uint64_t
bytes_of(const struct migrate_journal_file *f, side_mask sides)
{
	return validity_count(f->recovery.map, sides) * SECTOR_BYTES;
}

static json_t *
describe(const struct migrate_journal_file *f, const char *path)
{
	const struct journal_contents *c = &f->recovery.contents;
	char holder[IMAGE_HOLDER_SIZE] = "";
	bool held = migrate_journal_is_open(path, holder, sizeof(holder));

	return json_pack(
		"{s:o, s:O, s:i, s:I, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I}, s:s, "
		"s:{s:I, s:I, s:b}, s:o}",
		"journal", migrate_text_json(path), "migration", f->recovery.settings,
		"version", (int)c->version, "epoch", (json_int_t)c->epoch, "bytes", "total",
		(json_int_t)(c->sectors * SECTOR_BYTES), "source",
		(json_int_t)bytes_of(f, SRC_BIT), "destination",
		(json_int_t)bytes_of(f, DST_BIT), "both", (json_int_t)bytes_of(f, BOTH),
		"in_doubt", "regions", (json_int_t)c->intents, "bytes",
		(json_int_t)(c->doubtful * SECTOR_BYTES), "source", (json_int_t)f->trusted[SRC],
		"destination", (json_int_t)f->trusted[DST], "live_changes",
		recovery_live_name(f->recovery.live), "file", "bytes", (json_int_t)f->len,
		"used", (json_int_t)c->used, "torn_tail", (int)c->torn, "open_by",
		held ? migrate_text_json(holder) : json_null());
}

static void
print_share(const struct migrate_journal_file *f, const char *what, side_mask sides)
{
	uint64_t sectors = validity_count(f->recovery.map, sides);

	printf("  %-17s%12.1f MiB  %5.1f %%\n", what,
	       (double)sectors * SECTOR_BYTES / (1 << 20),
	       100.0 * (double)sectors / (double)f->recovery.contents.sectors);
}

/* What becomes of it when it is opened. */
static void
print_outlook(const struct migrate_journal_file *f)
{
	const struct journal_contents *c = &f->recovery.contents;
	const char *state = migrate_journal_text(f, "state");

	if (!strcmp(state, "completed"))
		printf("  it is over: the disk is %s\n",
		       migrate_journal_text(f, "destination"));
	else if (!strcmp(state, "cancelled"))
		printf("  it is over: the disk is %s\n", migrate_journal_text(f, "source"));
	else
		printf("  neither image is the disk by itself: open migrate:JOURNAL, which "
		       "goes "
		       "on with it\n");
	if (f->recovery.live == RECOVERY_LIVE_FOUND)
		printf("  its newest changes are in memory: open it before this machine is "
		       "started anew\n");
	if (f->recovery.live == RECOVERY_LIVE_GONE)
		printf("  the machine was started anew while it was open, or this is another "
		       "one: "
		       "what the guest had not flushed may be lost\n");
	if (c->intents)
		printf("  in doubt: %" PRIu64 " regions, of which %.1f MiB are copied again "
		       "(%" PRIu64 " from the source, %" PRIu64 " from the destination)\n",
		       c->intents, (double)c->doubtful * SECTOR_BYTES / (1 << 20),
		       f->trusted[SRC], f->trusted[DST]);
	if (c->torn)
		printf("  its end was torn by a power failure: nothing that was promised is "
		       "lost\n");
}

/* Those of one that is open may have been replaced while we looked. */
static void
print_missing(const struct migrate_journal_file *f)
{
	char why[TAP_CTL_TEXT];

	if (f->recovery.live != RECOVERY_LIVE_MISSING)
		return;
	recovery_missing(&f->recovery, why, sizeof(why));
	printf("  it cannot be opened: %s\n", why);
}

static void
print(const struct migrate_journal_file *f, const char *path)
{
	const struct journal_contents *c = &f->recovery.contents;
	char holder[IMAGE_HOLDER_SIZE] = "";

	printf("%s: migration %s\n", path, migrate_journal_text(f, "uuid"));
	printf("  source           %s\n", migrate_journal_text(f, "source"));
	printf("  destination      %s\n", migrate_journal_text(f, "destination"));
	printf("  strategy         %s\n", migrate_journal_text(f, "strategy"));
	printf("  state            %s%s\n", migrate_journal_text(f, "state"),
	       json_is_true(json_object_get(f->recovery.settings, "paused")) ? ", paused" : "");
	if (migrate_journal_is_open(path, holder, sizeof(holder)))
		printf("  open by          %s (tap-ctl migrate status tells what it does)\n",
		       holder);
	else
		print_missing(f);
	printf("  disk             %12.1f MiB\n",
	       (double)c->sectors * SECTOR_BYTES / (1 << 20));
	print_share(f, "only on source", SRC_BIT);
	print_share(f, "only on dest.", DST_BIT);
	print_share(f, "on both", BOTH);
	printf("  journal          %12.1f KiB, format %u, opened %" PRIu64 " times\n",
	       (double)c->used / 1024, c->version, c->epoch - 1);
	print_outlook(f);
}

int
migrate_cli_inspect(int argc, char **argv)
{
	struct migrate_journal_file f;
	unsigned int as_json = 0;
	const char *path = NULL;
	const struct cli_option options[] = {
		{ .name = "json", .flags = &as_json, .bit = 1, .help = "as JSON" },
		CLI_JOURNAL(&path),
		CLI_END,
	};
	int err = cli_parse(argc, argv, options,
			    "Shows a migration's journal at rest. Nothing is written, no disk "
			    "is opened.");

	if (!err)
		err = migrate_journal_file_read(&f, path);
	if (err)
		return err;
	if (as_json) {
		json_t *object = describe(&f, path);

		if (!object || json_dumpf(object, stdout, JSON_INDENT(2)))
			err = tap_ctl_fail(-ENOMEM, "out of memory");
		else
			putchar('\n');
		json_decref(object);
	} else {
		print(&f, path);
	}
	migrate_journal_file_free(&f);
	return err;
}
