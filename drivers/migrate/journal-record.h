/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal-record.h - the records of which a journal is made (docs/journal.md)
 */
#ifndef MIGRATE_JOURNAL_RECORD_H
#define MIGRATE_JOURNAL_RECORD_H

#include "journal-file.h"

#define JOURNAL_ALIGN 512u /* what is written at once begins at a multiple of this */

enum record_type {
	RECORD_HEAD = 1,
	RECORD_NOTE,
	RECORD_MAP,	/* runs of the map, from a sector on */
	RECORD_MAP_END, /* the map is whole; what follows are changes of it */
	RECORD_CHANGES,
	RECORD_INTENTS,
	RECORD_DROPS, /* of intents */
};

/* Where the next record goes. */
struct record_chain {
	uint64_t offset; /* bytes, in the file */
	uint64_t seq;	 /* of the last record */
	uint64_t synced; /* ... that is known to be on stable storage */
	uint64_t epoch;
	uint32_t check; /* of the last record */
};

/*
 * Bytes that are to be written at chain.offset at once. Records are put one after
 * the other; there must be room for them.
 */
struct record_buf {
	struct record_chain chain;
	uint8_t *bytes;
	size_t len, size;
	size_t record; /* where the open one begins */
};

/* RECORD_BYTES(payload) is what a record takes at most. */
#define RECORD_HEADER_BYTES 48u
#define RECORD_BYTES(n)	    (RECORD_HEADER_BYTES + ((size_t)(n) + 7) / 8 * 8)

/* Begins what goes to chain's place; a new file (offset 0) with its preamble. */
void record_start(struct record_buf *b, const struct record_chain *chain);
void record_begin(struct record_buf *b, enum record_type type);
void record_put32(struct record_buf *b, uint32_t value);
void record_put64(struct record_buf *b, uint64_t value);
void record_put(struct record_buf *b, const void *bytes, size_t len);
void record_end(struct record_buf *b);
/* Pads; chain is then what follows once these bytes have been synced. */
void record_finish(struct record_buf *b);

/* The records of which a file's beginning and a change are made. */
void record_head(struct record_buf *b, const uint8_t uuid[16], uint64_t sectors,
		 const char *head, size_t len);
void record_change(struct record_buf *b, const struct journal_change *c);
#define RECORD_CHANGE_BYTES 16u

#endif
