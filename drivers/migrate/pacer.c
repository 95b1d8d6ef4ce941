/* SPDX-License-Identifier: BSD-3-Clause */
#include "pacer.h"

#define NS_PER_S 1000000000ull
#define MS	 1000000ull

#define LIMIT_BURST_NS	 (100 * MS)
#define ALLOWED_BURST_NS (2 * MS)
#define FIRST_RATE	 ((uint64_t)64 << 20)
#define HIGHEST_RATE	 ((uint64_t)16 << 30)

#define STEP_NS	     (10 * MS)
#define STEP_MAX_NS  (100 * MS)
#define GAIN	     0.5
#define REST_EVERY   (500 * MS)
#define REST_NS	     (5 * MS)
#define REST_MAX_NS  (50 * MS)
#define REST_SAMPLES 64
#define FEW_REQUESTS 32u
#define IDLE_MAX_NS  NS_PER_S
#define DEEP_SAMPLES 64
#define READS	     8	 /* before the unit is judged */
#define FAR	     0.7 /* from the target: twice as much at once will not reach it */

/* --- a bucket ---------------------------------------------------------------------- */

static int64_t
capacity(const struct bucket *b)
{
	return (int64_t)(b->rate / (NS_PER_S / b->burst_ns) + 1);
}

static void
bucket_set(struct bucket *b, uint64_t rate, uint64_t now_ns)
{
	b->rate = rate;
	b->filled_ns = now_ns;
	b->level = capacity(b);
}

static uint64_t
bucket_ready_ns(struct bucket *b, uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns - b->filled_ns;

	if (!b->rate)
		return now_ns;
	/* A second more than fills any debt of one copy's size; it also keeps
	 * the product below within 64 bits at 16 GiB/s. */
	if (elapsed_ns > NS_PER_S) {
		b->level += (int64_t)(b->rate * (elapsed_ns / NS_PER_S));
		b->filled_ns += elapsed_ns / NS_PER_S * NS_PER_S;
		elapsed_ns %= NS_PER_S;
	}
	/* Only whole bytes are credited, and only the time they stand for. */
	uint64_t bytes = elapsed_ns * b->rate / NS_PER_S;
	b->level += (int64_t)bytes;
	b->filled_ns += bytes * NS_PER_S / b->rate;
	if (b->level > capacity(b))
		b->level = capacity(b);
	if (b->level > 0)
		return now_ns;
	return now_ns + ((uint64_t)(1 - b->level) * NS_PER_S + b->rate - 1) / b->rate;
}

/* --- what the guest feels ------------------------------------------------------------ */

/* The mean of all, or of about the last memory. */
static void
latency_add(struct latency *l, uint64_t ns, uint64_t memory)
{
	l->samples++;
	l->mean_ns +=
		((double)ns - l->mean_ns) / (double)(l->samples < memory ? l->samples : memory);
}

static double
target(const struct pacer *p)
{
	return p->target / 100.0;
}

/*
 * Of the latency, or of the time between two answers: that of a guest with a queue grows
 * too by what the copy takes of this process, before its requests are seen here.
 */
static double
growth(const struct pacer *p)
{
	double latency = p->with.mean_ns / p->base.mean_ns - 1;
	double interval = p->with_interval_ns / p->base_interval_ns - 1;

	return latency > interval ? latency : interval;
}

static void
begin_step(struct pacer *p, uint64_t now_ns)
{
	p->step = (struct latency){ 0 };
	p->step_ns = now_ns;
	p->held = false;
	p->taken = p->ended = 0;
}

/* The requests without which a step says too little. */
static double
samples_wanted(const struct pacer *p)
{
	double n = PACER_SAMPLES / (target(p) * target(p));

	return n < 16 ? 16 : n;
}

static bool
step_is_over(const struct pacer *p, uint64_t now_ns)
{
	uint64_t ns = now_ns - p->step_ns;

	return p->step.samples && ns >= STEP_NS &&
	       (ns >= STEP_MAX_NS || (double)p->step.samples >= samples_wanted(p));
}

static void
set_unit(struct pacer *p, uint32_t bytes)
{
	p->unit = bytes;
	p->reads = 0;
}

static void
set_allowed(struct pacer *p, double rate)
{
	if (rate < (double)PACER_FLOOR)
		rate = (double)PACER_FLOOR;
	if (rate > (double)HIGHEST_RATE)
		rate = (double)HIGHEST_RATE;
	p->allowed.rate = (uint64_t)rate;
}

/* Nothing but the disk's queues holds the copier, and they nearly starve it. */
static bool
slower_than_floor(const struct pacer *p, uint64_t now_ns)
{
	return p->taken * NS_PER_S < PACER_FLOOR * (now_ns - p->step_ns);
}

/* The law of pacer.h. */
static void
adjust(struct pacer *p, uint64_t now_ns)
{
	double gain = GAIN, e;

	p->with = p->step;
	p->with_interval_ns = (double)(now_ns - p->step_ns) / (double)p->ended;
	if (!p->base.samples || !p->base_interval_ns)
		return;
	if ((double)p->with.samples < samples_wanted(p))
		gain *= (double)p->with.samples / samples_wanted(p);
	e = 1 - growth(p) / target(p);
	if (e > 1)
		e = 1;
	else if (e < -4)
		e = -4;
	if (e < 0)
		set_allowed(p, (double)p->allowed.rate / (1 - gain * e));
	else if (p->held)
		set_allowed(p, (double)p->allowed.rate * (1 + gain * e));
	else if ((e > FAR || slower_than_floor(p, now_ns)) && p->reads >= READS &&
		 p->unit < p->unit_max)
		set_unit(p, p->unit * 2);
}

/* What the growth is reckoned from is to be known as well as what has grown. */
static double
rest_samples(const struct pacer *p)
{
	double n = samples_wanted(p);

	return n < REST_SAMPLES ? REST_SAMPLES : n;
}

/* Whether the guest's latency without the copy is to be looked at. */
static bool
rest_is_due(const struct pacer *p, uint64_t now_ns)
{
	uint64_t ns = now_ns - p->run_ns;

	/* Its requests must have the time to begin and to end in between. */
	if ((double)ns < 8 * p->base.mean_ns)
		return false;
	/* A guest that does something else now is not to be judged by what it did. */
	return ns >= REST_EVERY ||
	       (ns >= REST_EVERY / 5 &&
		(!p->base.samples || (p->with.samples && growth(p) > 3 * target(p))));
}

static bool
rest_is_over(const struct pacer *p, uint64_t now_ns)
{
	uint64_t ns = now_ns - p->clean_ns;

	return !p->copies && ns >= REST_NS &&
	       (ns >= REST_MAX_NS || p->clean >= rest_samples(p));
}

static void
rest(struct pacer *p, uint64_t now_ns)
{
	p->resting = true;
	p->run_ns = UINT64_MAX;
	p->clean_ns = p->copies ? UINT64_MAX : now_ns;
	p->clean = p->ended = 0;
}

/* The copier goes on. */
static void
run(struct pacer *p, uint64_t now_ns)
{
	if (p->resting && !p->copies && p->ended) {
		double ns = (double)(now_ns - p->clean_ns) / (double)p->ended;

		p->base_interval_ns = p->base_interval_ns ? (p->base_interval_ns + ns) / 2 : ns;
	}
	p->resting = false;
	p->run_ns = now_ns;
	p->with.samples = 0;
	bucket_set(&p->allowed, p->allowed.rate, now_ns);
	begin_step(p, now_ns);
}

static void
guest_rests(struct pacer *p)
{
	p->idle = true;
	p->resting = false;
	p->idle_ns = p->spell < FEW_REQUESTS ? p->idle_ns * 2 : PACER_IDLE_NS;
	if (p->idle_ns > IDLE_MAX_NS)
		p->idle_ns = IDLE_MAX_NS;
}

void
pacer_guest_begins(struct pacer *p, uint64_t now_ns)
{
	p->requests++;
	if (!p->target)
		return;
	if (p->idle) {
		p->idle = false;
		p->spell = 0;
		p->clean_ns = UINT64_MAX;
		run(p, now_ns);
	}
	p->deep += (p->requests - p->deep) / DEEP_SAMPLES;
	p->spell += p->spell < FEW_REQUESTS;
	p->clean += p->resting && !p->copies;
	p->guest_ns = now_ns;
}

void
pacer_guest_ends(struct pacer *p, uint64_t began_ns, uint64_t now_ns)
{
	p->requests--;
	if (!p->target)
		return;
	p->ended++;
	p->guest_ns = now_ns;
	if (began_ns >= p->run_ns)
		latency_add(&p->step, now_ns - began_ns, UINT64_MAX);
	else if (began_ns >= p->clean_ns)
		latency_add(&p->base, now_ns - began_ns, (uint64_t)(2 * rest_samples(p)));
	if (!p->resting && step_is_over(p, now_ns)) {
		adjust(p, now_ns);
		begin_step(p, now_ns);
	}
}

/* --- the copier ---------------------------------------------------------------------- */

bool
pacer_counts(const struct pacer *p)
{
	return p->limit.rate || (p->target && !p->idle);
}

/* The same for what the guest leaves. */
static uint64_t
allowed_ns(struct pacer *p, uint64_t now_ns)
{
	uint64_t idle_at_ns = p->requests ? UINT64_MAX : p->guest_ns + p->idle_ns;
	uint64_t ready_ns;

	if (!p->target || p->idle)
		return now_ns;
	if (now_ns >= idle_at_ns) {
		guest_rests(p);
		return now_ns;
	}
	if (!p->resting && rest_is_due(p, now_ns))
		rest(p, now_ns);
	if (p->resting && rest_is_over(p, now_ns))
		run(p, now_ns);
	if (p->resting) {
		ready_ns = p->copies ? UINT64_MAX : p->clean_ns + REST_MAX_NS;
	} else {
		ready_ns = bucket_ready_ns(&p->allowed, now_ns);
		p->held |= ready_ns > now_ns;
	}
	return ready_ns < idle_at_ns ? ready_ns : idle_at_ns;
}

uint64_t
pacer_ready_ns(struct pacer *p, uint64_t now_ns)
{
	uint64_t limit_ns = bucket_ready_ns(&p->limit, now_ns);
	uint64_t guest_ns = allowed_ns(p, now_ns);

	return limit_ns > guest_ns ? limit_ns : guest_ns;
}

uint32_t
pacer_unit(const struct pacer *p)
{
	return p->target && !p->idle ? p->unit : p->unit_max;
}

void
pacer_copy_begins(struct pacer *p)
{
	p->copies++;
}

void
pacer_take(struct pacer *p, uint64_t bytes)
{
	if (p->limit.rate)
		p->limit.level -= (int64_t)bytes;
	if (p->target && !p->idle) {
		p->allowed.level -= (int64_t)bytes;
		p->taken += bytes;
	}
}

/*
 * A read waits for about as long as a request of the guest's does, and the rest is its
 * own. That is to be between 1.5 and 4 times what the disk takes for one of the guest's:
 * the unit settles.
 */
void
pacer_read(struct pacer *p, uint64_t bytes, uint64_t ns)
{
	double own_ns, one_ns;

	if (bytes != p->unit || !p->target || p->idle || !p->base.samples)
		return;
	p->reads++;
	p->read_ns += ((double)ns - p->read_ns) / (p->reads < READS ? p->reads : READS);
	if (p->reads < READS)
		return;
	own_ns = p->read_ns - p->base.mean_ns;
	one_ns = p->base.mean_ns / p->deep;
	if (own_ns > 4 * one_ns && p->held && p->unit > PACER_UNIT_MIN)
		set_unit(p, p->unit / 2);
	else if (own_ns < 1.5 * one_ns && p->unit < p->unit_max)
		set_unit(p, p->unit * 2);
}

void
pacer_copy_ends(struct pacer *p, uint64_t now_ns)
{
	p->copies--;
	if (!p->copies && p->resting) {
		p->clean_ns = now_ns;
		p->ended = 0;
	}
}

/* --- the operator -------------------------------------------------------------------- */

void
pacer_set_rate(struct pacer *p, uint64_t bytes_per_s, uint64_t now_ns)
{
	bucket_set(&p->limit, bytes_per_s, now_ns);
}

void
pacer_set_target(struct pacer *p, uint32_t percent, uint64_t now_ns)
{
	p->target = percent;
	run(p, now_ns);
}

void
pacer_init(struct pacer *p, uint32_t unit_max_bytes, uint64_t now_ns)
{
	*p = (struct pacer){
		.limit.burst_ns = LIMIT_BURST_NS,
		.allowed.burst_ns = ALLOWED_BURST_NS,
		.unit_max = unit_max_bytes,
		.unit = unit_max_bytes < PACER_UNIT_MIN ? unit_max_bytes : PACER_UNIT_MIN,
		.deep = 1,
		.idle_ns = PACER_IDLE_NS,
		.idle = true,
	};
	bucket_set(&p->allowed, FIRST_RATE, now_ns);
}
