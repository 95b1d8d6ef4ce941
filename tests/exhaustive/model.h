/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * model.h - a world small enough to try every order of its events
 *
 * Two disks of two sectors, which are one chunk; a guest with a few requests, that
 * it may send at any time; an operator who may give each command once; and the
 * real engine. All of it lies in one struct without randomness or a clock of its
 * own: what happens is what the moves say, one after another.
 */
#ifndef TESTS_EXHAUSTIVE_MODEL_H
#define TESTS_EXHAUSTIVE_MODEL_H

#include "migration.h"

#define SECTORS	      2u
#define REQUESTS_MAX  4u
#define IOS_MAX	      16u
#define MOVES_MAX     64u
#define CELLS	      32u
#define CELL_BYTES    (SECTORS * SECTOR_BYTES)
#define SECTOR_STAMPS (SECTOR_BYTES / sizeof(uint64_t))

/* What may happen in a scenario besides the guest's requests and good answers. */
enum may {
	MAY_FAIL = 1,	  /* one request of the engine's to a disk */
	MAY_SWITCH = 2,	  /* once, to any other strategy */
	MAY_CANCEL = 4,	  /* at any time */
	MAY_COMPLETE = 8, /* at any time; else when nothing else is left to happen */
	MAY_ALL = 15,
};

struct wish {
	enum disk_op op;
	uint32_t sector;
	uint32_t count; /* 0: no request */
};

struct scenario {
	const char *name;
	unsigned may;
	uint32_t threshold; /* pending mirrored writes */
	struct wish guest[REQUESTS_MAX];
};

struct request {
	struct guest_io g;
	bool sent;
	bool answered;
	int err;
	unsigned before; /* the requests answered before this one was sent, a bit each */
	uint64_t buf[SECTORS][SECTOR_STAMPS];
};

struct world {
	struct migration m;
	struct disk disk[SIDES];
	uint64_t held[SIDES][SECTORS]; /* the stamp that fills a sector of a side */
	struct disk_io *io[IOS_MAX];   /* outstanding, by address */
	unsigned taken;		       /* the writes that have reached the medium, a bit each */
	unsigned ios;
	struct request request[REQUESTS_MAX];
	unsigned requests;
	unsigned answered; /* a bit each */
	uint64_t now_ns;
	unsigned ended;
	enum disk_op failed; /* what was made to fail, if something was */
	bool faulty;
	bool switched;
	const struct scenario *scenario;
	bool cell_used[CELLS];
	_Alignas(32) char cells[CELLS][CELL_BYTES];
};

extern struct world world;

/* What a sector holds: whose data, and where it belongs. */
enum { INITIAL = 1, STALE, JUNK, OF_REQUEST };
#define STAMP(whose, sector) ((uint64_t)(whose) << 8 | (sector))

enum kind { SEND, TAKE, ANSWER, SWITCH, CANCEL, COMPLETE, RESUME, WAIT };

/* How a disk answers. A write that fails leaves the old data, the new or neither. */
enum outcome { WELL, FAIL_OLD, FAIL_NEW, FAIL_JUNK, FAIL_SPACE };

struct move {
	enum kind kind;
	unsigned which; /* request, outstanding request of the engine's, or strategy */
	enum outcome outcome;
};

void world_begin(const struct scenario *scenario, enum strategy strategy);
/* All that can happen now; how many. None: the migration has ended. */
unsigned world_moves(struct move *moves);
void world_do(const struct move *move);
void world_print(const struct move *move); /* before it is done */
/* A number for the state; states of the same number are taken to be the same. */
uint64_t world_key(void);
void world_end(void);	  /* after the last move */
void world_abandon(void); /* before */

/* What must hold after every move, when a request was answered, and at the end. */
void check_sides(void);
void check_answer(const struct request *r);
void check_end(void);

/* Tells what is wrong and how it came about, and exits. */
void fail(const char *what) __attribute__((noreturn));

#endif
