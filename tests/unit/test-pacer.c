/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pacer with two modelled disks and a guest, in simulated time: what it promises of
 * the guest's latency, of the copy, and of how soon either has what the other leaves.
 *
 * A disk does one thing after the other: it seeks, unless it goes on where it was, and
 * then moves bytes. The copier reads the source and writes the destination, a few
 * copies at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pacer.h"

#define US	   1000ull
#define MS	   1000000ull
#define SECOND	   1000000000ull
#define MIB	   (1u << 20)
#define DEPTH	   8
#define QUEUE_MAX  128
#define GUEST_SIZE 4096

enum kind { GUEST, COPY_READ, COPY_WRITE };

struct job {
	enum kind kind;
	uint64_t bytes;
	uint64_t began_ns;
	uint64_t at; /* a place on the disk; a guest's is its own */
};

struct model {
	uint64_t seek_ns;
	uint64_t bytes_per_s;
	struct job queue[QUEUE_MAX];
	unsigned first, count;
	uint64_t done_ns; /* of the first one; UINT64_MAX: none */
	uint64_t at;
};

struct world {
	struct pacer pacer;
	struct model disk[2];
	uint64_t now_ns;
	uint64_t wake_ns;
	unsigned copies;
	uint64_t place;
	unsigned unpaced;

	unsigned guest;		 /* requests that it keeps under way */
	unsigned under_way;	 /* ... that are */
	uint64_t guest_bytes;	 /* of each */
	uint64_t think_ns;	 /* one at a time, so long after the one before */
	uint64_t think_until_ns; /* UINT64_MAX: not thinking */

	uint64_t copied; /* bytes */
	uint64_t requests;
	uint64_t latency_ns; /* their sum */
};

static const struct model ssd = { .seek_ns = 15 * US, .bytes_per_s = 1600ull * MIB };
static const struct model hdd = { .seek_ns = 8 * MS, .bytes_per_s = 150ull * MIB };

static void
begin_next(struct world *w, struct model *d)
{
	const struct job *j = &d->queue[d->first];

	d->done_ns = UINT64_MAX;
	if (!d->count)
		return;
	d->done_ns = w->now_ns + j->bytes * SECOND / d->bytes_per_s;
	if (j->kind == GUEST || j->at != d->at)
		d->done_ns += d->seek_ns;
	d->at = j->kind == GUEST ? UINT64_MAX : j->at + j->bytes;
}

static void
submit(struct world *w, struct model *d, struct job job)
{
	assert_in_range(d->count, 0, QUEUE_MAX - 1);
	d->queue[(d->first + d->count++) % QUEUE_MAX] = job;
	if (d->count == 1)
		begin_next(w, d);
}

static void
guest_issues(struct world *w)
{
	while (w->under_way < w->guest && w->think_until_ns == UINT64_MAX) {
		pacer_guest_begins(&w->pacer, w->now_ns);
		w->under_way++;
		submit(w, &w->disk[0], (struct job){ GUEST, w->guest_bytes, w->now_ns, 0 });
	}
}

/* As the copier does it: see copier_pump(). */
static void
copier_starts(struct world *w)
{
	w->wake_ns = UINT64_MAX;
	while (w->copies < DEPTH) {
		uint64_t ready_ns = pacer_ready_ns(&w->pacer, w->now_ns);
		uint64_t bytes = pacer_unit(&w->pacer);

		if (ready_ns > w->now_ns) {
			w->wake_ns = ready_ns;
			return;
		}
		w->copies++;
		pacer_copy_begins(&w->pacer);
		pacer_take(&w->pacer, bytes);
		submit(w, &w->disk[0], (struct job){ COPY_READ, bytes, w->now_ns, w->place });
		w->place += bytes;
	}
}

static void
job_done(struct world *w, struct model *d)
{
	struct job j = d->queue[d->first];

	d->first = (d->first + 1) % QUEUE_MAX;
	d->count--;
	begin_next(w, d);
	switch (j.kind) {
	case GUEST:
		w->under_way--;
		w->requests++;
		w->latency_ns += w->now_ns - j.began_ns;
		pacer_guest_ends(&w->pacer, j.began_ns, w->now_ns);
		if (w->think_ns)
			w->think_until_ns = w->now_ns + w->think_ns;
		break;
	case COPY_READ:
		pacer_read(&w->pacer, j.bytes, w->now_ns - j.began_ns);
		j.kind = COPY_WRITE;
		submit(w, &w->disk[1], j);
		break;
	case COPY_WRITE:
		w->copies--;
		w->copied += j.bytes;
		pacer_copy_ends(&w->pacer, w->now_ns);
		break;
	}
}

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What has been copied and answered meanwhile is counted from 0. */
static void
run(struct world *w, uint64_t ns)
{
	uint64_t until_ns = w->now_ns + ns;

	w->copied = w->requests = w->latency_ns = 0;
	for (;;) {
		guest_issues(w);
		copier_starts(w);
		uint64_t next = least(least(w->disk[0].done_ns, w->disk[1].done_ns),
				      least(w->wake_ns, w->think_until_ns));

		if (next > until_ns)
			break;
		w->now_ns = next;
		for (int i = 0; i < 2; i++)
			if (w->disk[i].done_ns == next)
				job_done(w, &w->disk[i]);
		if (w->think_until_ns == next)
			w->think_until_ns = UINT64_MAX;
	}
	w->now_ns = until_ns;
}

static struct world *
begin(const struct model *source, const struct model *destination, uint32_t target)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->disk[0] = *source;
	w->disk[1] = *destination;
	w->disk[0].done_ns = w->disk[1].done_ns = UINT64_MAX;
	w->now_ns = 1000 * SECOND;
	w->think_until_ns = UINT64_MAX;
	w->guest_bytes = GUEST_SIZE;
	pacer_init(&w->pacer, MIB, w->now_ns);
	pacer_set_target(&w->pacer, target, w->now_ns);
	return w;
}

static double
mean_ns(const struct world *w)
{
	return (double)w->latency_ns / (double)w->requests;
}

/* Of a guest that has the disk to itself. */
static double
alone_ns(const struct model *d, unsigned queue, uint64_t bytes)
{
	return (double)queue *
	       ((double)d->seek_ns + (double)bytes * SECOND / (double)d->bytes_per_s);
}

static double
growth(const struct world *w)
{
	return mean_ns(w) / alone_ns(&w->disk[0], w->guest, w->guest_bytes) - 1;
}

/* The copy's rate, over such times: the highest is not so many times the lowest. */
static void
check_steady(struct world *w, uint64_t ns, double most)
{
	uint64_t lowest = UINT64_MAX, highest = 0;

	for (unsigned i = 0; i < 50; i++) {
		run(w, ns);
		lowest = least(lowest, w->copied);
		highest = w->copied > highest ? w->copied : highest;
	}
	if ((double)highest > most * (double)lowest)
		print_error("copied in equal times: %lu to %lu KiB\n", lowest >> 10,
			    highest >> 10);
	assert_true((double)highest <= most * (double)lowest);
}

static void
check_between(double value, double low, double high)
{
	if (value < low || value > high)
		print_error("%g is not between %g and %g\n", value, low, high);
	assert_true(value >= low && value <= high);
}

static const struct {
	const struct model *disk;
	unsigned queue;
	uint64_t bytes;
	uint32_t target;
} loads[] = {
	{ &ssd, 1, 4096, 100 },	 { &ssd, 16, 4096, 100 }, { &ssd, 16, 65536, 100 },
	{ &ssd, 16, 4096, 25 },	 { &ssd, 1, 4096, 25 },	  { &ssd, 16, 4096, PACER_GUEST },
	{ &ssd, 64, 4096, 300 }, { &hdd, 4, 4096, 100 },  { &hdd, 1, 4096, 100 },
	{ &hdd, 4, 65536, 300 },
};

static void
test_the_guests_latency_grows_by_what_was_asked_for(void **state)
{
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++) {
		struct world *w = begin(loads[i].disk, &ssd, loads[i].target);
		double target = loads[i].target / 100.0;

		w->guest = loads[i].queue;
		w->guest_bytes = loads[i].bytes;
		run(w, 5 * SECOND);
		run(w, 10 * SECOND);
		print_message("queue %u, %lu bytes, target %u %%: %.1f %%, copy %lu MiB/s, "
			      "unit %u KiB\n",
			      w->guest, w->guest_bytes, loads[i].target, 100 * growth(w),
			      w->copied / 10 / MIB, w->pacer.unit >> 10);
		/* Less only where as much as there may be at once is too little. */
		check_between(growth(w), w->pacer.held ? 0.5 * target : 0.25 * target,
			      1.3 * target);
		free(w);
	}
}

static void
test_the_copys_rate_does_not_oscillate(void **state)
{
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++) {
		struct world *w = begin(loads[i].disk, &ssd, loads[i].target);

		w->guest = loads[i].queue;
		w->guest_bytes = loads[i].bytes;
		run(w, 5 * SECOND);
		/* What one request takes is a tenth of a second's tenth, with seeks. */
		check_steady(w, loads[i].disk == &ssd ? 100 * MS : SECOND, 2);
		free(w);
	}
}

static void
test_a_guest_that_rests_leaves_the_copy_the_whole_disk_at_once(void **state)
{
	struct world *w = begin(&ssd, &ssd, PACER_GUEST);

	w->guest = 16;
	run(w, 5 * SECOND);
	w->guest = 0;
	run(w, 30 * MS);
	run(w, 100 * MS);
	check_between((double)w->copied, 0.95 * 160 * MIB, 160 * MIB);
	free(w);
}

static void
test_a_guest_that_comes_back_has_its_share_within_tens_of_milliseconds(void **state)
{
	struct world *w = begin(&ssd, &ssd, 25);

	w->guest = 16;
	run(w, 5 * SECOND);
	for (unsigned i = 0; i < 10; i++) {
		w->guest = 0;
		run(w, SECOND);
		w->guest = 16;
		run(w, 50 * MS);
		run(w, 100 * MS);
		check_between(growth(w), 0, 2 * 0.25);
		run(w, SECOND);
	}
	free(w);
}

static void
test_a_load_that_changes_is_followed(void **state)
{
	struct world *w = begin(&ssd, &ssd, 50);

	w->guest = 16;
	run(w, 5 * SECOND);
	for (unsigned i = 0; i < 10; i++) {
		w->guest = i % 2 ? 16 : 2;
		w->guest_bytes = i % 3 ? 4096 : 65536;
		run(w, SECOND);
		run(w, SECOND);
		check_between(growth(w), 0, 1.6 * 0.5);
		assert_true(w->copied > PACER_FLOOR);
	}
	free(w);
}

/* Its latency grows beyond the target by the least copy there is. */
static void
test_no_guest_can_starve_the_copy(void **state)
{
	struct world *w = begin(&hdd, &hdd, PACER_GUEST);

	w->guest = 64;
	w->guest_bytes = 65536;
	run(w, 10 * SECOND);
	run(w, 10 * SECOND);
	assert_true(w->copied > 10 * PACER_FLOOR / 2);
	free(w);
}

static void
test_a_guest_of_single_requests_is_not_taken_for_one_that_rests(void **state)
{
	struct world *w = begin(&hdd, &hdd, 100);

	w->guest = 1;
	w->think_ns = 50 * MS;
	run(w, 10 * SECOND);
	run(w, 10 * SECOND);
	check_between(growth(w), 0, 1.5);
	free(w);
}

static void
test_without_a_target_the_copy_is_never_held_back(void **state)
{
	struct world *w = begin(&ssd, &ssd, PACER_COPY);

	w->guest = 16;
	run(w, SECOND);
	assert_int_equal(w->copies, DEPTH);
	assert_int_equal(w->wake_ns, UINT64_MAX);
	free(w);
}

static void
test_the_operators_limit_holds_whoever_is_there(void **state)
{
	struct world *w = begin(&ssd, &ssd, 100);

	pacer_set_rate(&w->pacer, 100 * MIB, w->now_ns);
	run(w, SECOND);
	run(w, 10 * SECOND);
	check_between((double)w->copied, 990.0 * MIB, 1010.0 * MIB);
	w->guest = 4;
	run(w, 10 * SECOND);
	check_between((double)w->copied, 900.0 * MIB, 1010.0 * MIB);
	free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_guests_latency_grows_by_what_was_asked_for),
		cmocka_unit_test(test_the_copys_rate_does_not_oscillate),
		cmocka_unit_test(
			test_a_guest_that_rests_leaves_the_copy_the_whole_disk_at_once),
		cmocka_unit_test(
			test_a_guest_that_comes_back_has_its_share_within_tens_of_milliseconds),
		cmocka_unit_test(test_a_load_that_changes_is_followed),
		cmocka_unit_test(test_no_guest_can_starve_the_copy),
		cmocka_unit_test(
			test_a_guest_of_single_requests_is_not_taken_for_one_that_rests),
		cmocka_unit_test(test_without_a_target_the_copy_is_never_held_back),
		cmocka_unit_test(test_the_operators_limit_holds_whoever_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
