/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-plugin.h - one open migration, for the plugin's own files
 *
 *   block-migrate.c     opens and closes it, and passes the guest's requests on
 *   migrate-mark.c      keeps others from opening its images
 *   migrate-commands.c  what is asked of it and told about it, as JSON
 *   migrate-record.c    its settings, and what of it is kept in the state file
 *
 * Each uses those below it.
 */
#ifndef MIGRATE_PLUGIN_H
#define MIGRATE_PLUGIN_H

#include <jansson.h>

#include "migrate-control.h"
#include "migrate-disk.h"
#include "migrate/migration.h"

#define MIB	   (1ull << 20)
#define NS_PER_S   1000000000ull
#define ERROR_TEXT 512

/*
 * Lives as long as it has I/O in flight, which may be longer than the driver: a
 * side that has stalled keeps its buffers until it answers.
 */
struct migrate {
	td_driver_t *driver;   /* NULL once that is closed */
	struct list_head link; /* among those that linger */
	char *path;	       /* of the state file */
	int lock;	       /* that file, open and locked; -1 */
	json_t *settings;      /* its first line */
	struct image_disk disk[SIDES];
	struct migration migration;
	struct migrate_control *control;
	struct pool guests;
	int32_t tick; /* once a second */
	int32_t wake; /* when the engine asked for it, and when it has ended */
	uint64_t started_ns;
	uint64_t before_ns; /* what earlier openings took */
	bool ended;	    /* over, and recorded */
	bool marked_first;  /* the images, by this opening */
};

/* The status object of docs/migrate-protocol.md; NULL if out of memory. */
json_t *migrate_status(const struct migrate *m);
/* "copying", ...; "paused" where the copier rests and nothing else goes on. */
const char *migrate_state_name(const struct migration_status *s);
/* Answers one request of the control socket; ctx is the struct migrate. */
json_t *migrate_handle(void *ctx, json_t *request);

/*
 * Marks both images for this migration, which must not be another's: 0, or
 * -errno, with the reason in the log, and as it was.
 */
int migrate_mark_open(struct migrate *m);
/* The opening has failed later on. A migration that was never open leaves none. */
void migrate_mark_undo(struct migrate *m);
/* After the end has been written down: the disk that is left can be opened again. */
void migrate_mark_end(struct migrate *m);
/* The same for a migration that ended, and whose process died before it had done that. */
void migrate_mark_recover(struct migrate *m);

/* The monotonic clock; ctx is not looked at. */
uint64_t migrate_now_ns(void *ctx);

/* How long the migration has gone on, all its openings together. */
uint64_t migrate_elapsed_ns(const struct migrate *m);

/* A setting as text, or ""; as a number, or 0. */
const char *migrate_setting(const struct migrate *m, const char *key);
json_int_t migrate_setting_int(const struct migrate *m, const char *key);

/*
 * Whether the settings can be opened: 0, or -errno with the reason in the log.
 * A file that is neither new nor saved belongs to a process that died with it.
 * Its map is gone, and nothing is served on a guess.
 */
int migrate_check_settings(struct migrate *m);
/* The map and the counters as they were when it was last closed. 0 or -errno. */
int migrate_restore(struct migrate *m, struct validity **map, struct copier_counters *copier,
		    struct engine_counters *engine);
/* From now on only we know the map: the file says so until it is closed. */
int migrate_record_open(struct migrate *m);
/* Keeps the map and the counters for the next opening. 0, or -errno and a message. */
int migrate_record_saved(struct migrate *m);
/*
 * Writes down that it has ended, and the last status, which becomes the record's.
 * 0, or -errno and a message: then, should the process die, it has not.
 */
int migrate_record_end(struct migrate *m, json_t *result);

#endif
