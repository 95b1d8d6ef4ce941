/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pacer.h - how fast the copier may go
 *
 * Two bounds, and the lower one holds: a rate that the operator set, and what the
 * guest may feel of the copy: its mean latency (and for a guest that always has a queue
 * the time between two answers) may grow by so many percent.
 *
 * The guest's latency without the copy (base) is measured while the copier rests, 5 to
 * 50 milliseconds twice a second; with it, all the time in between, in steps of ten
 * milliseconds or more. A request belongs to the time at which it began. After each
 * step the rate that is allowed is multiplied by 1 + g * e, or divided by 1 - g * e
 * where e < 0:
 *
 *	e = 1 - growth / target		growth: with the copy / base - 1
 *
 * Why that is stable: as long as the disk is not full, growth is in proportion to
 * the copy's rate, so e is 1 without a copy, 0 at the target, and changes there by -1
 * for each e-fold change of the rate: whatever disk, guest and target, the loop's
 * gain is g, a half. Where queues build up it is steeper, by 1 / (1 - load); a gain of
 * up to 2 would still settle. Less than PACER_SAMPLES / target^2 requests say too
 * little about a small target: g is smaller in proportion, and a rest waits for so many.
 * The rate grows only if it was what held the copier back, and never falls below
 * PACER_FLOOR, so that no guest can starve the copy.
 *
 * A guest that has asked for nothing for PACER_IDLE_NS leaves the copy the whole disk,
 * until its next request; one that comes back too soon, again and again, for a few
 * requests each time, is waited for longer.
 *
 * How much is copied at once while the guest is there follows from what the disk takes
 * for one of its requests: a copy that takes a few times as long is hardly felt more
 * than one that is shorter, and moves more. A disk that seeks gets long copies that way,
 * a quick one short ones. They grow too where as many as there may be at once do not
 * amount to what is allowed, and the guest feels little of them.
 *
 * Times are handed in; nothing here has a clock.
 */
#ifndef MIGRATE_PACER_H
#define MIGRATE_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define PACER_FLOOR    ((uint64_t)4 << 20) /* bytes a second */
#define PACER_IDLE_NS  20000000ull
#define PACER_SAMPLES  4
#define PACER_UNIT_MIN (128u << 10) /* bytes */

/* --priority, as percent of --guest-latency. */
#define PACER_GUEST    8u
#define PACER_BALANCED 200u
#define PACER_COPY     0u /* whatever the guest feels */

#define PACER_TARGET_MAX 10000

/*
 * Fills at a rate and holds as much as it is given in burst_ns. A copy may start while
 * it is not empty and takes its bytes at once, so it may go into debt by one copy: the
 * mean rate is exact however large the copies are, and waking early buys nothing.
 */
struct bucket {
	uint64_t rate; /* bytes a second; 0: no limit */
	uint64_t burst_ns;
	int64_t level; /* bytes */
	uint64_t filled_ns;
};

/* The mean of the guest's latencies in one kind of time. */
struct latency {
	double mean_ns;
	uint64_t samples;
};

struct pacer {
	struct bucket limit;	 /* the operator's */
	struct bucket allowed;	 /* ... and what the guest leaves */
	uint32_t target;	 /* percent; 0: whatever the guest feels */
	uint32_t unit_max;	 /* bytes */
	uint32_t unit;		 /* ... to be copied at once while the guest is there */
	struct latency base;	 /* without the copy: of the last requests in rests */
	struct latency with;	 /* with it, in the last step */
	struct latency step;	 /* ... in this one */
	double base_interval_ns; /* between two answers, likewise */
	double with_interval_ns;
	uint64_t ended; /* answers, in this rest or this step */

	unsigned requests; /* of the guest's, under way */
	double deep;	   /* so many are, in the mean */
	uint64_t guest_ns; /* when the last one began or ended */
	uint64_t idle_ns;  /* so long without any, and the guest rests */
	unsigned spell;	   /* requests since it last rested */
	bool idle;
	bool held;	/* in this step the copier waited for the bucket */
	uint64_t taken; /* bytes, in this step */
	bool resting;
	unsigned copies;   /* under way */
	uint64_t clean_ns; /* since then no copy was under way, until ... */
	uint64_t run_ns;   /* ... the rest ended; never, while the copier rests */
	uint64_t step_ns;  /* when this step began */
	unsigned clean;	   /* requests that have begun in this rest */
	double read_ns;	   /* a read of a unit takes about that */
	unsigned reads;	   /* since the unit changed */
};

void pacer_init(struct pacer *p, uint32_t unit_max_bytes, uint64_t now_ns);

/* A new limit takes effect from now; what was saved or owed is forgotten. */
void pacer_set_rate(struct pacer *p, uint64_t bytes_per_s, uint64_t now_ns);
void pacer_set_target(struct pacer *p, uint32_t percent, uint64_t now_ns);

/* A request of the guest's begins; and the one that began then has been answered. */
void pacer_guest_begins(struct pacer *p, uint64_t now_ns);
void pacer_guest_ends(struct pacer *p, uint64_t began_ns, uint64_t now_ns);

/* Whether what a copy costs must be known before the next one may start. */
bool pacer_counts(const struct pacer *p);

/* When a copy may start: now_ns, or a later time at which to ask again. */
uint64_t pacer_ready_ns(struct pacer *p, uint64_t now_ns);

/* How much is to be copied at once now, bytes: a power of two. */
uint32_t pacer_unit(const struct pacer *p);

/* A copy begins; has read so many bytes, which took so long; ends. */
void pacer_copy_begins(struct pacer *p);
void pacer_take(struct pacer *p, uint64_t bytes);
void pacer_read(struct pacer *p, uint64_t bytes, uint64_t ns);
void pacer_copy_ends(struct pacer *p, uint64_t now_ns);

#endif
