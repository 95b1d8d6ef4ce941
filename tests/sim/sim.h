/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim.h - the simulated world: one clock, two disks, a guest, an operator
 *
 * The engine in it is the very code that tapdisk runs. Everything else is
 * deterministic: the same plan gives the same run, event by event. Whatever is
 * found wrong ends the process (world_fail); whoever runs many plans forks.
 *
 * Every sector holds a tag that says who wrote it and where it belongs; in a
 * buffer the tag is in the sector's first eight bytes and inverted in the last.
 */
#ifndef SIM_H
#define SIM_H

#include <setjmp.h>

#include "plan.h"

#define RECENT	       4
#define EXIT_VIOLATION 3

/* --- tags -------------------------------------------------------------------- */

#define TAG_ZERO      0u /* the sector reads as zeroes */
#define WRITER_DISK   1u /* was there when the migration began */
#define WRITER_STALE  2u /* was there too, on a side that is not valid */
#define WRITER_POISON 3u /* never on a disk: a buffer's contents before it is read into */
#define WRITER_GUEST  4u /* and up: the guest's requests */

static inline uint64_t
tag_make(uint64_t writer, uint64_t sector)
{
	return writer << 24 | sector;
}

static inline uint64_t
tag_writer(uint64_t tag)
{
	return tag >> 24;
}

void sector_put(char *buf, uint64_t tag);
/* The tag, or UINT64_MAX for half a sector of one and half of another. */
uint64_t sector_get(const char *buf);

/* --- disks ------------------------------------------------------------------- */

struct op;

/* Whose request it is. */
enum who { WHO_GUEST, WHO_COPIER, WHO_ENGINE };

struct sim_disk {
	struct disk disk;
	enum side side;
	struct plan_disk *plan;
	uint64_t busy_until_ns;
	uint64_t flushes; /* submitted */
	uint64_t flushed; /* the last of them that went well */
	uint64_t tag[PLAN_SECTORS + 64];
	uint64_t answered[PLAN_SECTORS + 64]; /* as of the last answer to a write */
	uint64_t stable[PLAN_SECTORS + 64];   /* survives a power failure */
	/* Some of the values since that, in turn; which a power failure may leave. */
	uint64_t recent[PLAN_SECTORS + 64][RECENT];
	uint32_t recents[PLAN_SECTORS + 64]; /* so many have there been */
	uint32_t matched[PLAN_FAULTS];	     /* requests that matched each fault */
	uint64_t bytes[3][2];		     /* by who; read, written */
	bool failed_op[5];		     /* ever, by op */
	struct list_head inflight;	     /* of struct op */
	unsigned inflight_by[3];
};

/* One request that a disk has. */
struct op {
	struct disk_io *io;
	struct sim_disk *disk;
	enum who who;
	int err;
	uint64_t flush; /* its number, and what it makes stable */
	uint64_t *snapshot;
	uint64_t salt; /* which sectors move at which moment */
	unsigned moments;
	unsigned skip; /* moments that a failed write never reaches */
	bool answered;
	bool stuck;	 /* on a side that is silent for ever */
	unsigned events; /* in the queue that name it */
	uint64_t event;	 /* submitted in */
	bool mirrored;
	struct op *twin; /* the other half of a mirrored write, until answered */
	int twin_failed;
	uint64_t twin_answered; /* event */
	struct list_head link;
};

void disk_init(enum side side);
/* From now on nothing fails; requests that were stuck are answered with an error. */
void disk_heal(void);
/* What it had been asked has happened now, or in part, or never will. */
void disk_crash(enum side side, enum crash_kind kind);

/* --- the guest (guest.c) ----------------------------------------------------- */

struct request {
	struct guest_io g;
	uint64_t writer; /* of its tags */
	char *buf;
	uint64_t issued; /* history's time */
	uint64_t issued_ns;
	bool busy;
	side_mask valid[PLAN_SECTORS]; /* a flush: sides, so far */
};

void guest_init(void);
/* Issues the first part of what was planned, or the rest of it. */
void guest_start(bool rest);
/* An endless guest comes to an end. */
void guest_stop(void);
bool guest_is_endless(void);
/* The requests that it has issued. */
uint64_t guest_issued(void);
/* Then reads the whole disk. */
void guest_read_all(void);
/* What it had asked is not answered any more. */
void guest_crash(enum crash_kind kind);
/* All that it was told to issue has been answered. */
bool guest_done(void);
bool guest_owns(const void *buf);
/* Shows the map as it is now to the flushes that are not yet answered. */
void guest_flushes_see(void);

/* --- what the guest may see (history.c) -------------------------------------- */

void history_init(void);
/* A time between everything before this call and everything after it. */
uint64_t history_now(void);
void history_initial(uint64_t sector, uint64_t tag);
void history_write_begins(uint64_t sector, uint32_t count, uint64_t writer, bool zero);
void
history_write_ends(uint64_t sector, uint32_t count, uint64_t writer, uint64_t issued, bool ok);
/* A read that was issued then returns tag. */
void history_read(uint64_t sector, uint64_t tag, uint64_t issued);
/* Whether tag is the sector's last value acknowledged before that time, or newer. */
bool history_allows(uint64_t sector, uint64_t tag, uint64_t since);
bool history_writing(uint64_t sector);
/* The write of tag has its answer. */
bool history_ended(uint64_t sector, uint64_t tag);
/* The sector may have its old value again: a disk lost the only copy, and said so. */
void history_revive(uint64_t sector, uint64_t tag);
/*
 * What was acknowledged since flushed may be lost; but not what a sector was read as
 * before seen, or since the last failure, and has not been written since.
 */
void history_power(uint64_t flushed, uint64_t seen);
/* The whole history is that of an atomic register. */
void history_check_linear(void);

/* --- what the engine and its strategies promise (promise.c) ------------------ */

void promise_init(void);
void promise_submit(const struct op *op);
void promise_done(const struct op *op);
void promise_command(enum command command, uint64_t argument);
void promise_lost(enum side side, uint64_t sector, uint64_t old_tag);
void promise_flush_sees(struct request *q);
void promise_answer(struct request *q, int err);
void promise_event(void); /* after every event */
void promise_end(enum migration_state state);
void promise_close(void);
/* The host's record says, from now on, that this side is alone, or that none is. */
void promise_record(side_mask side);
/* Mirrored writes that not both sides have answered. */
unsigned promise_pending(void);
/* The operator has paused it, set a rate, or the guest comes first. */
bool promise_copier_is_held(void);

/* --- who waits, and for what (wait.c) ------------------------------------------ */

void wait_init(void);
void wait_begins(const struct request *q);
void wait_submit(const struct op *op);
void wait_done(const struct op *op);
void wait_ends(const struct request *q, int err);
void wait_event(void); /* after every event */

/* The journal's file has changed, or somebody relies upon it. */
void promise_written(void);
void promise_crash(enum crash_kind kind);
/* With the live changes the map is what it was, or less where that said both. */
void promise_survives(const struct validity *was, const struct validity *is);
/* The map of what the crash has left; and the next life begins, with that. */
void promise_recovered(const struct validity *map);
void promise_reopen(const struct migration_config *config);

/* --- the journal (journal.c) -------------------------------------------------- */

void journal_begin(const struct validity *map);
void journal_free(void);
struct journal *journal_make(void);
/* The journal that was read says that the guest's next flush is to fail. */
bool journal_owed(void);
/* This life has published a file: what its migration knows survives a kill. */
bool journal_began(void);
void journal_crash(enum crash_kind kind);
/*
 * What the file and the live changes say: the map, and the state of the migration.
 * True if the live changes were there.
 */
bool journal_reopen(struct migration_config *config);
/* What the file alone says. */
struct validity *journal_stable_map(void);
void journal_check_damage(void);
/* What the store has not answered is answered now. */
void journal_heal(void);

/* --- the world --------------------------------------------------------------- */

typedef void event_fn(void *arg, uint64_t n);

enum phase {
	PHASE_LOAD,
	PHASE_HEAL,
	PHASE_READ,
	PHASE_END,
	PHASE_CHECK,
	PHASE_CLOSE,
	PHASE_OVER
};

struct world {
	struct plan plan;
	struct migration m;
	struct validity *map;
	struct sim_disk disk[SIDES];
	uint64_t now_ns;
	uint64_t events; /* that have happened */
	enum phase phase;
	bool healed;
	bool ended;
	bool gone; /* after a crash one side alone is left */
	bool may_crash;
	bool crashing;		/* as soon as the engine calls anybody */
	side_mask record;	/* the host's: the side that is alone, or none */
	side_mask record_asked; /* ... and what it is to be, while it is being made so */
	bool record_pending;
	unsigned lives;
	unsigned crash; /* the plan's next one */
	jmp_buf crashed;
	uint64_t store_writes;
	bool trace;
};

extern struct world world;
/* Where world_fail() leaves its format, which tells one kind of failure from another. */
extern const char *volatile *world_verdict;

/* Runs the world's plan to its end. Returns only if nothing was wrong. */
void world_run(void);

/* The engine has called somebody: that may have been its last deed. */
void world_may_crash(void);
void world_at(uint64_t ns, event_fn *fn, void *arg, uint64_t n);
__attribute__((noreturn, format(printf, 1, 2))) void world_fail(const char *format, ...);
__attribute__((format(printf, 1, 2))) void world_log(const char *format, ...);

#define trace(...)                              \
	do {                                    \
		if (world.trace)                \
			world_log(__VA_ARGS__); \
	} while (0)

#endif
