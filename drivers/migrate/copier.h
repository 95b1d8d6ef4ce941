/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * copier.h - makes one side valid everywhere, chunk after chunk
 *
 * The copier visits what its side lacks in the order of the disk, then goes
 * round again for what the guest has invalidated since. It closes a unit, at least
 * a chunk, to the guest's writes, waits until those in flight there are done, and
 * only then reads the map to see what is lacking: what the guest has written on
 * the side meanwhile is skipped (the claims' recorded blocks).
 *
 * A unit is copied by one read and as many writes at once as there are runs that
 * lack the side or are zero; where there are too many, window after window. What
 * lies between two runs is read too if it is short, but not written; unless the guest's
 * writes leave it to be copied again in any case (dirty block tracking), and the disk is
 * quicker to write it than to leave it out (gaps.h). How large a unit is, and when one may
 * begin, is the pacer's: a small one where the guest is busy, for it waits for the one that
 * it meets, a large one where it rests.
 *
 * A rollback is the same copier with the sides exchanged.
 *
 * A read that fails is narrowed to the sectors that cannot be read; they are
 * listed and left out until the guest has written them or the operator says so,
 * the rest proceeds. Writes that fail, and reads where the whole disk does
 * (error-class.h), are tried again after COPIER_RETRY_NS; when COPIER_TRIES tries in
 * a row have failed the copier stops. For want of space it stops at once.
 * Copies that a silent side has lost are simply made again. The guest goes on in
 * any case.
 *
 * Memory: depth buffers of one unit, at most 32 MiB in tapdisk (slots.h).
 */
#ifndef MIGRATE_COPIER_H
#define MIGRATE_COPIER_H

#include "engine.h"
#include "gaps.h"
#include "pacer.h"
#include "slots.h"

#define COPIER_TRIES	 5
#define COPIER_RETRY_NS	 1000000000ull
#define COPIER_BAD_RUNS	 256
#define COPIER_MAX_DEPTH 32u
#define COPIER_UNIT	 2048u /* sectors, 1 MiB: what disks like best */

/* Why the copier does not go on by itself. */
enum copier_stop {
	COPIER_GOES,
	COPIER_NO_SPACE,     /* the side it writes has no room */
	COPIER_WRITE_ERRORS, /* it fails again and again */
	COPIER_READ_ERRORS,  /* the side it reads fails all over */
	COPIER_BAD_SECTORS,  /* nothing but unreadable sectors is left */
};

/* In bytes. They outlive the process: the journal keeps them. */
struct copier_counters {
	uint64_t copied;	 /* data written by the copier, once for each time */
	uint64_t zero;		 /* made zero, or found to be: nothing written */
	uint64_t skipped;	 /* found valid already when first visited */
	uint64_t written[SIDES]; /* data and zeroes that the copier sent to a side */
	uint64_t counted_to;	 /* sectors before this one have been visited once */
};

struct bad_run {
	uint64_t sector;
	uint64_t count;
};

/*
 * What the side that is read has said of its holes, for whichever copy comes there next.
 * Data is believed; a hole only tells how much to close before it is asked about again,
 * for the guest may have written there since.
 */
struct copier_seen {
	uint64_t data_from, data_until; /* sectors: it holds data */
	uint64_t hole_until;		/* it held none up to here, from where it was asked */
};

struct copier {
	struct engine *engine;
	enum side to;
	unsigned depth;
	uint32_t unit;	/* sectors: the most that is read at once */
	uint32_t align; /* sectors: the least that the disks read or write */
	bool pristine;	/* the destination was created for us and never written */
	struct pacer pacer;
	struct gaps gaps; /* of the side that is written */

	struct copier_counters counters;
	uint64_t cursor;	     /* sectors */
	unsigned pass;		     /* times that the cursor has come round */
	uint64_t lacking_at_pass[2]; /* sectors, when this pass and the one before began */
	struct copier_seen seen;

	enum copier_stop stop;
	int error; /* -errno of the last failure ... */
	enum side error_side;
	unsigned failures; /* tries in a row, each of all the copies then under way */
	unsigned read_failures;
	uint64_t retry_ns; /* not before then; another one for each try */
	uint64_t wake_ns;  /* when a pump that did nothing would do something; or never */
	struct bad_run bad[COPIER_BAD_RUNS]; /* no two overlap */
	unsigned bad_runs;

	unsigned active;  /* chunks being copied */
	unsigned asking;  /* ... of these, those that have asked about holes */
	unsigned unpaced; /* of these, those that the pacer has not charged yet */
	unsigned writes;  /* of data, under way */
	uint64_t write_bytes;
	struct pool copies;
	struct pool pieces; /* what they write, PIECES each at the most */
	struct slots slots; /* a unit's data each */
};

struct copier_config {
	struct engine *engine;
	unsigned depth;
	uint32_t unit; /* sectors, a power of two, at least align */
	uint32_t align;
	bool pristine;
	uint64_t rate;		/* bytes a second, 0: no limit */
	uint32_t guest_latency; /* percent that the copy may add to it, 0: any */
	struct copier_counters counters;
};

void copier_init(struct copier *c, const struct copier_config *config);
void copier_release(struct copier *c); /* nothing active */

/* Turns round: from now on the copier makes to valid. Nothing may be active. */
void copier_turn(struct copier *c, enum side to);

/* Starts as many copies as depth and pace allow. Called from engine.after_run. */
void copier_pump(struct copier *c);

/* A write of the guest's there has succeeded: what could not be read is tried again. */
void copier_guest_wrote(struct copier *c, uint64_t sector, uint64_t count);

/* Forgets errors and unreadable sectors, and tries them again. */
void copier_retry(struct copier *c);

#endif
