/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal-apart.h - a journal that is read by a process of its own
 *
 * A call into storage that hangs cannot be ended, and no process that has made one can end
 * either. So a child makes it, and whoever wants the answer waits for ten seconds.
 */
#ifndef JOURNAL_APART_H
#define JOURNAL_APART_H

#include <jansson.h>
#include <stddef.h>

/*
 * As migrate_journal_load() of the whole journal: 0, and *settings is the caller's; or -errno,
 * with a sentence in why. -ETIMEDOUT: what it is on does not answer.
 */
int journal_load_apart(const char *path, json_t **settings, char *why, size_t size);

#endif
