/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal-file.h - what is in a journal: reading one, and making a new one
 *
 * docs/journal.md has the format byte by byte. A file is a preamble and records;
 * each carries a checksum of itself, its sequence number, its predecessor's
 * checksum, and the highest sequence number that was known to be synced when it
 * was written. So a record that is damaged is told from one that was torn by a
 * power failure: only of the former a later record says that it had been synced.
 *
 * No journal is open here: these work on bytes, of files and of memory.
 */
#ifndef MIGRATE_JOURNAL_FILE_H
#define MIGRATE_JOURNAL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "validity.h"

#define JOURNAL_VERSION	 1
#define JOURNAL_NOTE_MAX (64u << 10)
#define JOURNAL_HEAD_MAX (64u << 10)

/* What an intent covers: 16 MiB, the largest chunk. The simulator has smaller disks. */
#ifndef JOURNAL_REGION_SECTORS
#define JOURNAL_REGION_SECTORS 32768u
#endif

/* --- the live changes ------------------------------------------------------- */

enum journal_change_kind {
	CHANGE_SET,	 /* the range is valid on exactly sides */
	CHANGE_DISTRUST, /* all that was valid on both is not on sides any more */
	CHANGE_FAILED,	 /* a write of sides has failed: validity_failed() */
	/*
	 * The guest was told that a mirrored write is done, and only sides have it; and
	 * that both have. Of use when the process dies in between.
	 */
	CHANGE_AHEAD,
	CHANGE_SETTLED,
	CHANGE_NARROW, /* what was valid on both in the range is valid on sides only */
	/* CHANGE_DISTRUST by an opening that had no file yet, after what was in doubt. */
	CHANGE_DISTRUST_READ,
};

struct journal_change {
	uint64_t sector;
	uint32_t count;
	uint16_t kind;
	uint16_t sides;
};

/*
 * In shared memory, in the machine's own byte order. An entry is stored before
 * head says so; whoever is killed in between leaves a list that is whole.
 */
struct journal_live {
	char magic[8]; /* JOURNAL_LIVE_MAGIC, stored last when it is made */
	uint32_t version;
	uint32_t entries; /* of change, a power of two */
	uint64_t epoch;	  /* of the file that it belongs to */
	uint8_t uuid[16];
	char boot[40]; /* the host's: of what start of the machine it is */
	uint64_t owed; /* something was lost, and the guest is to be told by its next flush */
	uint64_t head; /* changes ever made; the last of them are in change[] */
	struct journal_change change[];
};

#define JOURNAL_LIVE_MAGIC "tapmlive"

static inline size_t
journal_live_bytes(uint32_t entries)
{
	return sizeof(struct journal_live) + (size_t)entries * sizeof(struct journal_change);
}

/* --- what is in a file -------------------------------------------------------- */

struct journal_contents {
	uint32_t version;
	uint64_t epoch;
	uint8_t uuid[16];
	uint64_t sectors;
	const char *head; /* what the host wrote when the migration was made; not ended by 0 */
	size_t head_len;
	const char *note; /* what it said last; within the bytes read */
	size_t note_len;
	uint64_t position; /* live changes before this are in the file */
	uint64_t intents;  /* regions in doubt */
	uint64_t doubtful; /* sectors there that were valid on both and are on one now */
	uint64_t used;	   /* bytes; what follows is a torn tail, or nothing */
	bool torn;	   /* there was a tail */
	bool live;	   /* live changes were there and have been applied */
	bool owed;	   /* ... and the next flush of the guest's is to fail */
	uint64_t bad;	   /* on failure: the offset of what is wrong */
};

/*
 * Reads a file of size bytes, and what is left of its live changes (or NULL), and
 * makes the map of it, with the regions in doubt resolved. head alone is looked at
 * if map is NULL. 0, and the caller owns *map; or, with a sentence in why:
 * -EINVAL: that is no journal; -EPROTONOSUPPORT: of a newer version; -EUCLEAN:
 * something that had been synced is damaged; -ENOMEM.
 */
int journal_read(const void *bytes, size_t size, const struct journal_live *live,
		 struct journal_contents *c, struct validity **map, char *why, size_t why_size);

/*
 * Calls region() for each region in doubt of a file that can be read: its first
 * sector, and the trusted side.
 */
void
journal_read_intents(const void *bytes, size_t size,
		     void (*region)(void *ctx, uint64_t sector, enum side side), void *ctx);

/*
 * A file of a new migration: every sector valid on SRC. The bytes are malloc'ed
 * and the caller's; NULL if out of memory.
 */
void *journal_new(const uint8_t uuid[16], uint64_t sectors, const char *head, size_t head_len,
		  const char *note, size_t note_len, size_t *size);

#endif
