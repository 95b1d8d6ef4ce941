/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-recover.h - what a journal and the live changes beside it say together
 *
 * For tapdisk, which goes on with it, and tap-ctl, which looks. Nothing is written.
 *
 * While an opening lasts its note says where its live changes are, and in which
 * start of the machine ("live" in docs/migrate-protocol.md). So whoever comes
 * after a kill finds them though its run directory is another one, and knows it
 * if they are missing: without them writes that the guest was told are done would
 * be lost. Nobody opens a journal then (struct recovery: live).
 */
#ifndef MIGRATE_RECOVER_H
#define MIGRATE_RECOVER_H

#include "migrate-journal.h"
#include "migrate-live.h"

/* Whether the opening before has left live changes. */
enum recovery_live {
	RECOVERY_LIVE_NONE, /* it was closed in order, or has ended, or there was none */
	RECOVERY_LIVE_FOUND,
	RECOVERY_LIVE_MISSING, /* of this start of the machine, and not there */
	RECOVERY_LIVE_GONE,    /* of another start, or another machine: as after a power failure
				*/
};

struct recovery {
	struct journal_contents contents;
	struct validity *map; /* with the live changes that were found */
	json_t *settings;
	struct migrate_live *live_file;
	enum recovery_live live;
	const char *live_path; /* where the note says that they are, or NULL; of settings */
};

/*
 * Of a journal's bytes, which stay the caller's and are pointed to; dir is the
 * run directory. 0, and the caller frees it; or -errno with a sentence in why.
 */
int recovery_read(struct recovery *r, const void *bytes, size_t len, const char *dir, char *why,
		  size_t size);
/* What of it the caller has taken is NULL by then. */
void recovery_free(struct recovery *r);

/* The words for people where live changes are missing. */
void recovery_missing(const struct recovery *r, char *why, size_t size);

/* "none", "found", "missing", "gone". */
const char *recovery_live_name(enum recovery_live live);

/* What the note of an opening is to say of its live changes; NULL if out of memory. */
json_t *recovery_note(const struct migrate_live *live);

#endif
