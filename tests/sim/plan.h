/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan.h - what a seed decides before anything runs
 *
 * The migration's settings, the two disks, every request of the guest, every
 * fault and every command of the operator. What happens then is decided by the
 * engine and by the disks' latencies. Requests, faults and commands are items
 * that can be dropped one by one: that is how a failing plan is shrunk. So are
 * crashes, in the plans that have a journal: those of the seeds from
 * PLAN_JOURNAL_SEEDS on.
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "migration.h"
#include "random.h"

#define PLAN_SECTORS  2048
#define PLAN_REQUESTS 320
#define PLAN_FAULTS   6
#define PLAN_COMMANDS 12
#define PLAN_CRASHES  6
#define PLAN_ITEMS    (PLAN_REQUESTS + PLAN_FAULTS + PLAN_COMMANDS + PLAN_CRASHES)
#define REQUEST_MAX   192 /* sectors */
#define PLAN_QUEUE    16
#define ENDLESS_COUNT 16u /* sectors of a request of an endless guest, at most */

#define PLAN_JOURNAL_SEEDS 1000000000ull
/* From here on flushes of the disks fail too, with a journal. */
#define PLAN_FLUSH_SEEDS 2000000000ull
/* From here on the strategy is switched, and the process killed soon after. */
#define PLAN_SWITCH_SEEDS 3000000000ull
/* From here on the journal fails for seconds, or its store hangs, and the host has its record.
 */
#define PLAN_ALONE_SEEDS 4000000000ull

#define MS	1000000ull
#define SECOND	1000000000ull
#define FOREVER UINT64_MAX

struct plan_disk {
	uint64_t latency_ns;
	uint64_t spread_ns; /* at random, on top: what is in flight is reordered */
	uint64_t sector_ns;
	unsigned at_once; /* percent of requests answered from inside submit() */
	unsigned tears;	  /* a request's sectors move at up to so many moments */
	bool knows_holes; /* answers DISK_STATUS */
	uint32_t extra;	  /* sectors beyond the guest's */
	struct rng rng;	  /* what is decided while it runs */
};

struct plan_request {
	enum disk_op op;
	uint32_t sector;
	uint32_t count;
	uint64_t think_ns; /* since the request before was issued */
	bool dropped;
};

enum fault_kind { FAULT_ERROR, FAULT_STALL, FAULT_STORE, FAULT_STORE_TIME };

/* Errors: the requests first, first + 1, ... of those that match, times of them. */
struct plan_fault {
	enum fault_kind kind;
	enum side side;
	unsigned ops; /* mask of 1 << enum disk_op, or store_op */
	uint32_t sector;
	uint32_t count;
	uint32_t first;
	uint32_t times;
	int err;
	uint64_t from_ns; /* stall: answers nothing until to_ns, perhaps FOREVER */
	uint64_t to_ns;
	uint64_t drain_ns; /* ... and what it owes is answered within that time */
	/* FAULT_STORE_TIME: from from_ns to to_ns what the store is asked fails, or, if err is
	 * 0, is answered only then. */
	bool dropped;
};

enum command {
	COMMAND_PAUSE,
	COMMAND_RESUME,
	COMMAND_RATE,
	COMMAND_THRESHOLD,
	COMMAND_DEPTH,
	COMMAND_STRATEGY,
	COMMAND_AUTO,
	COMMAND_COMPLETE,
	COMMAND_CANCEL,
	COMMANDS
};

struct plan_command {
	enum command command;
	uint64_t argument;
	uint64_t at_event;
	bool dropped;
};

/* The process alone is killed, or the machine loses power. */
enum crash_kind { CRASH_KILL, CRASH_POWER };

struct plan_crash {
	enum crash_kind kind;
	uint64_t at_event;
	bool inside; /* as soon as the engine calls anybody, from then on */
	bool dropped;
};

/* The journal's files. */
struct plan_store {
	uint64_t latency_ns;
	uint64_t spread_ns;
	unsigned at_once;
	struct rng rng;
};

/* How the simulation brings it to an end, if nothing else did. */
enum ending { END_COMPLETE, END_CANCEL, END_CLOSE, ENDINGS };

struct plan {
	uint64_t seed;
	enum strategy strategy;
	enum migration_state state; /* copying, or rolling-back: resumed from a map */
	bool resumed;
	uint32_t chunk;
	uint32_t unit; /* sectors that the copier reads at once, at most */
	uint32_t sectors;
	uint32_t align;
	uint32_t threshold;
	unsigned depth;
	uint64_t rate;
	uint32_t guest_latency; /* percent that the copy may add, 0: any */
	uint32_t gap; /* sectors: the copier thinks that such are quicker written; 0: what it
			 learns */
	bool auto_complete;
	bool paused;
	bool pristine;
	enum ending ending;
	unsigned queue;	     /* the guest's requests in flight, at most */
	bool endless;	     /* it begins again with its first when it has issued all */
	bool issues_in_done; /* the guest issues from inside its callback */
	bool drops_cache;    /* a failed flush loses what it was to make stable */
	struct plan_disk disk[SIDES];
	struct plan_request request[PLAN_REQUESTS];
	unsigned requests;
	struct plan_fault fault[PLAN_FAULTS];
	unsigned faults;
	struct plan_command command[PLAN_COMMANDS];
	unsigned commands;
	bool journal;
	bool durable; /* the host has no flush */
	uint32_t live_entries;
	uint32_t log_bytes;
	struct plan_store store;
	bool records; /* the host can record that one side is alone */
	struct plan_crash crash[PLAN_CRASHES];
	unsigned crashes;
	struct rng rng; /* of initial contents */
};

void plan_make(struct plan *p, uint64_t seed);

/* The items, in one row: requests, faults, commands, crashes. */
unsigned plan_items(const struct plan *p);
bool *plan_dropped(struct plan *p, unsigned item);

/* Nothing that is left in the plan fails or stalls. */
bool plan_faultless(const struct plan *p);
bool plan_stalls(const struct plan *p);
bool plan_fills_up(const struct plan *p);
bool plan_crashes(const struct plan *p);
bool plan_has(const struct plan *p, enum command command);

/* The most that the copier closes at once, but for holes. */
static inline uint32_t
plan_closure(const struct plan *p)
{
	return p->unit > p->chunk ? p->unit : p->chunk;
}

void plan_print(const struct plan *p);
const char *command_name(enum command command);
const char *op_name(enum disk_op op);

#endif
