/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk.h - what the engine asks of a disk
 *
 * The engine is handed two disks, the source and the destination. It knows
 * nothing of them but this: a size, and a way to submit one request. Whoever
 * embeds the engine (tapdisk, blktap's tapdisk, the simulator) supplies it.
 */
#ifndef MIGRATE_DISK_H
#define MIGRATE_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"

#define SECTOR_BYTES 512u

/* The two copies of a sector. A set of sides is a mask of these bits. */
enum side { SRC = 0, DST = 1 };
#define SIDES 2

typedef uint8_t side_mask;
#define SRC_BIT ((side_mask)(1u << SRC))
#define DST_BIT ((side_mask)(1u << DST))
#define BOTH	((side_mask)(SRC_BIT | DST_BIT))
#define NO_SIDE ((side_mask)0)

static inline side_mask
side_bit(enum side side)
{
	return (side_mask)(1u << side);
}

static inline enum side
side_other(enum side side)
{
	return side == SRC ? DST : SRC;
}

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_ZERO,   /* the range reads as zeroes afterwards; see no_hole, as_is */
	DISK_FLUSH,  /* every write answered before it was submitted is stable; see whole */
	DISK_STATUS, /* is the start of the range known to be zero, and how far? */
};

struct disk;

/*
 * One request to a disk. It belongs to whoever submitted it and must live,
 * with its buffer, until done() is called: exactly once, possibly from inside
 * submit().
 *
 * DISK_STATUS answers by setting zero and reducing count to the length of the
 * run, from the start of the range, that shares that answer; what is behind it
 * should cost nothing. A disk that does not know completes it with -EOPNOTSUPP,
 * which means "all of it is data".
 */
struct disk_io {
	enum disk_op op;
	bool no_hole; /* DISK_ZERO: the range must stay allocated */
	bool as_is;   /* DISK_ZERO: what was reserved stays so, and what was not stays not */
	bool whole;   /* DISK_FLUSH: -EMEDIUMTYPE if the disk is smaller than it was at first */
	bool zero;    /* DISK_STATUS: answer */
	uint64_t sector;
	uint32_t count; /* sectors; 0 for a flush */
	void *buf;	/* count sectors, aligned to 4096 bytes where the host's is */
	struct disk *disk;
	void (*done)(struct disk_io *io, int err); /* 0 or -errno */
	int err;
	struct list_head link; /* the engine's, once done */
};

struct disk {
	void (*submit)(struct disk *disk, struct disk_io *io);
	uint64_t sectors;
};

#endif
