/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-plugin.h - one open migration, for the plugin's own files
 *
 *   block-migrate.c     opens and closes it, and passes the guest's requests on
 *   migrate-end.c       what follows its outcome, in order
 *   migrate-alone.c     what is recorded where the journal cannot be written
 *   migrate-disks.c     opens its two disks, and looks whether they can be its
 *   migrate-reopen.c    whether it could be opened again
 *   migrate-mark.c      keeps others from opening its images
 *   migrate-commands.c  what is asked of it and told about it, as JSON
 *   migrate-record.c    its settings, and what of it is kept in the journal
 *
 * Each uses those below it.
 */
#ifndef MIGRATE_PLUGIN_H
#define MIGRATE_PLUGIN_H

#include <jansson.h>

#include "migrate-control.h"
#include "migrate-disk.h"
#include "migrate-journal.h"
#include "migrate-recover.h"
#include "migrate-store.h"
#include "migrate-text.h"
#include "migrate/error-class.h"
#include "migrate/migration.h"

#define MIB	   (1ull << 20)
#define NS_PER_S   1000000000ull
#define ERROR_TEXT 12800 /* three names of files, and words */

/* What of the end has to be done yet (migrate-end.c), in order. */
enum end_step {
	END_MARK_LEFT,	/* the mark of the image that is left */
	END_MARK_OTHER, /* and of the other one */
	END_FORGET,	/* the state directory's entry */
	END_STEPS
};

struct migrate_end {
	enum end_step step;
	struct end_task *task; /* that a thread does; NULL: none */
	uint64_t since_ns;     /* the step has been tried since then */
	uint64_t retry_ns;     /* ... and is not tried again before then */
	int err;	       /* -errno of its last try */
	bool forced;	       /* nothing is waited for */
	int given_up;	       /* -errno: a mark was left as it is; 0: none was */
	enum side given_up_side;
	uint64_t left_bytes; /* the size of the image that is left behind; 0: not known */
	bool stopped;	     /* the VBD is being closed: nothing more is begun */
	bool settling;	     /* the other image is being closed */
	bool settled; /* the other image is closed, and the VBD asked to go on without us */
	bool told;    /* all is done that had to be before anybody is told that it is over */
};

/*
 * Lives as long as it has I/O in flight, which may be longer than the driver: a
 * side that has stalled keeps its buffers until it answers.
 */
struct migrate {
	td_driver_t *driver;		      /* NULL once that is closed */
	struct list_head link;		      /* among those that linger */
	struct td_vbd_encryption *encryption; /* the host's, while it is opened */
	char *path;			      /* of the journal */
	char uuid[MIGRATE_UUID_SIZE];
	json_t *settings; /* what the journal said when it was opened */
	char *head;	  /* its text that never changes */
	size_t head_len;
	char *note; /* the text that was written down last, or NULL */
	struct migrate_store *store;
	struct migrate_live *live;
	struct journal *journal; /* the migration's */
	struct image_disk disk[SIDES];
	bool over; /* it was when it was opened: one side is open, and there is no migration */
	bool by_record;	  /* ... and the journal does not know (migrate-alone.c) */
	enum side served; /* ... that one */
	struct migration migration;
	struct migrate_control *control;
	struct pool guests;
	int32_t tick; /* once a second */
	int32_t wake; /* when the engine asked for it, and when it has ended */
	uint64_t started_ns;
	uint64_t before_ns;	      /* what earlier openings took */
	bool begun;		      /* it serves the guest */
	bool ended;		      /* the outcome is stable */
	struct migrate_end end;	      /* ... and what follows it */
	bool marked_first;	      /* the images, by this opening */
	struct image_mark *abandoned; /* what the destination was marked with before; or NULL */
	int destination_dir;   /* of one that was made for this: it goes with a cancel; or -1 */
	bool keep_destination; /* ... but not if this is wanted */
	bool remove;	       /* the journal, when it is over */
	bool closed;	       /* the note is to say that this opening is over */
	struct journal_wait closing; /* until it does */
	bool saved; /* all is in the journal: the live changes are of no more use */
};

/* Whether the disks are given, open (block-migrate.h). */
bool migrate_disks_given(const struct migrate *m);
/*
 * Opens both disks, or takes those that are given, and checks them against the journal and each
 * other; one of them alone. 0, or -errno with the reason in the log, and nothing is open. Lends
 * the loop.
 */
int migrate_disks_open(struct migrate *m, td_flag_t flags);
int migrate_disks_open_one(struct migrate *m, enum side side, td_flag_t flags);
/* Those that are not closed yet. */
void migrate_disks_close(struct migrate *m);

/* The status object of docs/migrate-protocol.md; NULL if out of memory. */
json_t *migrate_status(const struct migrate *m);
/* "copying", ...; "paused" where the copier rests and nothing else goes on. */
const char *migrate_state_name(const struct migrate *m, const struct migration_status *s);
/* Answers one request of the control socket; ctx is the struct migrate. */
json_t *migrate_handle(void *ctx, json_t *request);

/*
 * Marks both images for this migration, which must not be another's: 0, or
 * -errno, with the reason in the log, and as it was.
 */
int migrate_mark_open(struct migrate *m);
/* The opening has failed later on. A migration that was never open leaves none. */
void migrate_mark_undo(struct migrate *m);
/* Whether the disk that is left is nobody else's by now. 0, or -errno as above. */
int migrate_mark_check_left(const struct migrate *m);
/* The directory of "aio:path", open; -1 if that cannot be. */
int migrate_mark_open_directory(const char *image);
/*
 * The change of one image's mark that the end of a migration needs, or its removal. It is the
 * caller's, and needs nothing of m any more. NULL if out of memory or descriptors.
 */
struct mark_change *migrate_mark_change_new(const struct migrate *m, enum side side);
void migrate_mark_change_free(struct mark_change *c); /* NULL: nothing */
/* Does it, if the mark is this migration's still. By a thread. 0, or -errno. */
int migrate_mark_change(struct mark_change *c);
/* How large the image is by then; by a thread. 0 if that is not known. */
int64_t migrate_mark_change_bytes(const struct mark_change *c);

/* The outcome is stable; m->served is the side that is left. */
void migrate_end_begin(struct migrate *m);
/* To be called once a second, and when m->wake is due, from then on. */
void migrate_end_go_on(struct migrate *m);
/* Its operator wants it to end without what cannot be done. 0; -EALREADY: all is done. */
int migrate_end_force(struct migrate *m);
/* The VBD is being closed: does what can be done. Runs turns of the loop. */
void migrate_end_stop(struct migrate *m);
/* The record that one side alone is the disk (migration_config.record_alone). */
void migrate_alone_record(void *ctx, side_mask side);
/* The change of that image's mark that goes with it, or with its removal. As above. */
struct mark_change *
migrate_mark_change_alone(const struct migrate *m, enum side side, bool alone);

/* Both marks have been changed. */
bool migrate_end_is_marked(const struct migrate *m);
/* Why it does not go on: "" or "marks", and for people. */
const char *migrate_end_reason(const struct migrate *m);
json_t *migrate_end_error(const struct migrate *m);

/*
 * Whether the migration could be opened again, by its journal's and its disks' names: 0, or
 * -errno with the reason in the log. Lends the loop.
 */
int migrate_check_names(const struct migrate *m);

/* The monotonic clock; ctx is not looked at. */
uint64_t migrate_now_ns(void *ctx);

/* How long the migration has gone on, all its openings together. */
uint64_t migrate_elapsed_ns(const struct migrate *m);

const char *migrate_run_dir(void);
const char *migrate_side_name(enum side side);

/* A setting as text, or ""; as a number, or 0. */
const char *migrate_setting(const struct migrate *m, const char *key);
bool migrate_setting_true(const struct migrate *m, const char *key);
json_int_t migrate_setting_int(const struct migrate *m, const char *key);

/*
 * Reads the journal, that is open and locked, with the live changes: the settings,
 * and what is where. If there is a record (migrate-alone.c) it says how the migration
 * ended, and m->by_record is set. 0, or -errno with the reason in the log.
 */
int migrate_record_load(struct migrate *m, struct journal_contents *contents,
			struct validity **map);
/* Whether the disk that was opened is the recorded one. As above. */
int migrate_record_check_disk(const struct migrate *m, enum side side);
/* The counters as they were written down last; of earlier openings. */
void migrate_record_counters(struct migrate *m, struct copier_counters *copier,
			     struct engine_counters *engine);
/* The journal's note as it is now (journal_config.note; ctx is the struct migrate). */
size_t migrate_record_note(void *ctx, char *buf, size_t size);

#endif
