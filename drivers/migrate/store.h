/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store.h - what the journal asks of whoever keeps its bytes
 *
 * A store is a file and the one that is to take its place. Whoever embeds the
 * engine supplies it (files in tapdisk, an array in the simulator). The journal
 * has one request with it at a time.
 */
#ifndef MIGRATE_STORE_H
#define MIGRATE_STORE_H

#include <stddef.h>
#include <stdint.h>

enum store_op {
	/*
	 * The bytes are on stable storage at offset, and all before them. At offset 0
	 * of the next file that is begun anew, whatever was there.
	 */
	STORE_WRITE,
	/* The file has room for len bytes in all; buf is not looked at. */
	STORE_GROW,
	/* The next file takes the current one's place, at once and durably. */
	STORE_PUBLISH,
};

enum store_file { STORE_CURRENT, STORE_NEXT, STORE_FILES };

/*
 * Done with 0 or -errno. One of lack of space (error-class.h) promises that what was
 * stable before is so still; after any other error of a write, or of a publication, that
 * is not known.
 */
struct store_io {
	enum store_op op;
	enum store_file file;
	uint64_t offset;
	const void *buf;
	size_t len;
	void (*done)(struct store_io *io, int err);
};

struct store {
	/* io is the journal's, with its buffer, until done(): perhaps from in here. */
	void (*submit)(struct store *s, struct store_io *io);
};

#endif
