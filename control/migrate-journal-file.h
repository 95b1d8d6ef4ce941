/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-journal-file.h - a journal at rest, for those who only look
 *
 * Nothing is written, and no disk is opened. A tapdisk may have the journal open:
 * what is seen is then what it had written by now.
 */
#ifndef MIGRATE_JOURNAL_FILE_H_
#define MIGRATE_JOURNAL_FILE_H_

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "migrate-recover.h"

struct migrate_journal_file {
	void *bytes;
	size_t len;
	/* The map is as it will be when it is opened: nothing is in doubt. */
	struct recovery recovery;
	uint64_t trusted[SIDES]; /* regions in doubt, by the side that is trusted */
};

/* 0; or -errno, reported: what is wrong with it, and what to do. */
int migrate_journal_file_read(struct migrate_journal_file *f, const char *path);
void migrate_journal_file_free(struct migrate_journal_file *f);

/* Whether somebody has the journal open, and who, in text. */
bool migrate_journal_is_open(const char *path, char *text, size_t size);

/* A setting as text, or "". */
const char *migrate_journal_text(const struct migrate_journal_file *f, const char *key);

#endif
