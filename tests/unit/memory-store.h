/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory-store.h - a journal's two files in memory, which answers at once
 *
 * Or, when told to hold, once the test does what is held. Every operation is counted,
 * and the next one of a kind can be told to fail. Include it after cmocka.h.
 */
#ifndef TESTS_MEMORY_STORE_H
#define TESTS_MEMORY_STORE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"

#define MEMORY_FILE_MAX (32u << 20)

struct memory {
	struct store store;
	uint8_t *bytes[STORE_FILES];
	size_t len[STORE_FILES];
	int fail[STORE_PUBLISH + 1]; /* -errno for the next one of that op */
	int fail_all;		     /* -errno for all that is asked */
	unsigned count[STORE_PUBLISH + 1];
	struct store_io *held; /* when told to hold, what is under way */
	bool hold;
};

static inline void
memory_do(struct memory *m, struct store_io *io)
{
	int err = m->fail_all ? m->fail_all : m->fail[io->op];

	m->count[io->op]++;
	m->fail[io->op] = 0;
	if (!err && io->op == STORE_WRITE) {
		assert_true(io->offset + io->len <= MEMORY_FILE_MAX);
		memcpy(m->bytes[io->file] + io->offset, io->buf, io->len);
		m->len[io->file] = io->offset + io->len;
	} else if (!err && io->op == STORE_PUBLISH) {
		memcpy(m->bytes[STORE_CURRENT], m->bytes[STORE_NEXT], m->len[STORE_NEXT]);
		m->len[STORE_CURRENT] = m->len[STORE_NEXT];
	}
	io->done(io, err);
}

static inline void
memory_submit(struct store *s, struct store_io *io)
{
	struct memory *m = (struct memory *)((char *)s - offsetof(struct memory, store));

	if (m->hold)
		m->held = io;
	else
		memory_do(m, io);
}

static inline void
memory_init(struct memory *m)
{
	*m = (struct memory){ .store.submit = memory_submit };
	for (int f = 0; f < STORE_FILES; f++)
		m->bytes[f] = calloc(1, MEMORY_FILE_MAX);
}

static inline void
memory_release(struct memory *m)
{
	for (int f = 0; f < STORE_FILES; f++)
		free(m->bytes[f]);
}

#endif
