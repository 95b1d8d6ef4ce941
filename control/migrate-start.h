/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-start.h - a migration that begins under a running VBD, in a tapdisk of either kind
 */
#ifndef MIGRATE_START_H
#define MIGRATE_START_H

#include "libtapctl.h"
#include "migrate-new.h"

struct migrate_start {
	struct migrate_new new; /* the source is that of vbd */
	tap_list_t vbd;
	char params[MIGRATE_NEW_PARAMS]; /* out: migrate:<journal> */
	const char *journal;		 /* in params */
};

/*
 * One request: that tapdisk does it all, or nothing. 0, or -errno, reported. If it does not
 * know the request it is one of blktap's, and *known is false.
 */
int migrate_start_here(struct migrate_start *s, bool *known);

/*
 * In blktap's: the journal is written here, and the VBD is paused and resumed from that. 0, or
 * -errno, reported; then the VBD runs as before and nothing is left, unless that is reported.
 */
int migrate_start_blktap(struct migrate_start *s);

#endif
