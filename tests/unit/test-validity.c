/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The validity map against a plain array of one byte a sector, and its promises
 * about memory. The map's source is included, so that the tests see its insides
 * and can make the system run out of memory.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static long allocations_left = -1; /* then NULL; negative: no end */

static bool
may_allocate(void)
{
	if (!allocations_left)
		return false;
	if (allocations_left > 0)
		allocations_left--;
	return true;
}

#define malloc(n)	    (may_allocate() ? malloc(n) : NULL)
#define calloc(n, size)	    (may_allocate() ? calloc(n, size) : NULL)
#define realloc(p, n)	    (may_allocate() ? realloc(p, n) : NULL)
#define aligned_alloc(a, n) (may_allocate() ? aligned_alloc(a, n) : NULL)
#include "../../drivers/migrate/validity.c"
#undef malloc
#undef calloc
#undef realloc
#undef aligned_alloc

#define MIB	      ((size_t)1 << 20)
#define TIB	      ((uint64_t)1 << 31) /* in sectors */
#define BLOCK	      8u		  /* sectors */
#define CHUNK	      2048u
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* --- random numbers: splitmix64, so that a printed seed is all there is to know - */

static uint64_t random_state;

static void
seed(uint64_t value)
{
	print_message("# seed %" PRIu64 "\n", value);
	random_state = value;
}

static uint64_t
random_below(uint64_t n)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % n;
}

static side_mask
random_sides(void)
{
	return (side_mask)(1 + random_below(3));
}

/* --- the oracle: a byte a sector for the window [base, base + length) of a map, - */
/* --- which is {SRC} everywhere else ------------------------------------------- */

struct oracle {
	struct validity *v;
	uint64_t base, length;
	side_mask *sides;
};

static struct oracle
oracle_create(uint64_t sectors, uint64_t base, uint64_t length)
{
	struct oracle o = { validity_create(sectors, SRC_BIT), base, length, malloc(length) };

	assert_non_null(o.v);
	assert_non_null(o.sides);
	memset(o.sides, SRC_BIT, length);
	return o;
}

static void
oracle_destroy(struct oracle *o)
{
	validity_destroy(o->v);
	free(o->sides);
}

static void
set(struct validity *v, uint64_t sector, uint64_t count, side_mask sides)
{
	assert_int_equal(validity_reserve(v), 0);
	allocations_left = 0; /* a reservation is enough */
	validity_set(v, sector, count, sides);
	allocations_left = -1;
	validity_unreserve(v);
}

static void
oracle_set(struct oracle *o, uint64_t sector, uint64_t count, side_mask sides)
{
	memset(o->sides + (sector - o->base), sides, count);
	set(o->v, sector, count, sides);
}

/* A random range of the window; ends on 4 KiB, or on the window's end, if aligned. */
static void
random_range(const struct oracle *o, bool aligned, uint64_t *sector, uint64_t *count)
{
	uint64_t longest = 1 + random_below(random_below(4) ? MIN(o->length, 64) : o->length);
	uint64_t from = random_below(o->length), to = MIN(from + longest, o->length);

	if (aligned) {
		from &= ~(uint64_t)(BLOCK - 1);
		to = MIN((to + BLOCK - 1) & ~(uint64_t)(BLOCK - 1), o->length);
	}
	*sector = o->base + from;
	*count = to - from;
}

static bool
has(side_mask sides, enum side side)
{
	return sides & side_bit(side);
}

static void
check_counts(const struct oracle *o)
{
	uint64_t count[BOTH + 1] = { 0 };

	count[SRC_BIT] = validity_sectors(o->v) - o->length;
	for (uint64_t i = 0; i < o->length; i++)
		count[o->sides[i]]++;
	for (side_mask sides = NO_SIDE; sides <= BOTH; sides++)
		assert_int_equal(validity_count(o->v, sides), count[sides]);
	assert_int_equal(validity_lacking(o->v, DST), count[SRC_BIT]);
	assert_int_equal(validity_lacking(o->v, SRC), count[DST_BIT]);
}

/* What the map says of [from, from + max), which may reach past the window. */
static void
check_get(const struct oracle *o, uint64_t from, uint64_t max)
{
	uint64_t i = from - o->base, run, expected = 0;
	side_mask sides = validity_get(o->v, from, max, &run);

	assert_int_equal(sides, o->sides[i]);
	while (expected < max && i + expected < o->length && o->sides[i + expected] == sides)
		expected++;
	if (i + expected == o->length && sides == SRC_BIT)
		expected = MIN(max, validity_sectors(o->v) - from);
	assert_int_equal(run, expected);
}

static void
check_all(const struct oracle *o, uint64_t from, uint64_t count)
{
	for (enum side side = SRC; side <= DST; side++) {
		bool expected = true;

		for (uint64_t i = from - o->base; i < from - o->base + count; i++)
			expected = expected && has(o->sides[i], side);
		assert_int_equal(validity_all(o->v, from, count, side), expected);
	}
}

static void
check_next_lacking(const struct oracle *o, uint64_t from)
{
	for (enum side side = SRC; side <= DST; side++) {
		uint64_t at = from;

		while (at < o->base + o->length && has(o->sides[at - o->base], side))
			at++;
		if (at == o->base + o->length && side == SRC)
			at = validity_sectors(o->v);
		assert_int_equal(validity_next_lacking(o->v, from, side), at);
	}
}

static void
check_every_sector(const struct oracle *o)
{
	for (uint64_t at = o->base, run; at < o->base + o->length; at += run) {
		check_get(o, at, UINT64_MAX);
		check_next_lacking(o, at);
		validity_get(o->v, at, o->base + o->length - at, &run);
		for (uint64_t i = 0; i < run; i++)
			assert_int_equal(o->sides[at - o->base + i], o->sides[at - o->base]);
	}
	check_all(o, o->base, o->length);
	check_counts(o);
}

/* No leaf is uniform, each is counted where it should be, and nothing has leaked. */
static void
check_insides(const struct validity *v)
{
	uint64_t small = 0, large = 0;

	for (size_t g = 0; g < group_count(v); g++) {
		uint64_t first = g * GROUP_CHUNKS, leaves = 0;

		for (uint64_t c = first; c < MIN(first + GROUP_CHUNKS, v->chunks); c++) {
			struct leaf leaf;

			if (lane_get(v->uniform, c) != NO_SIDE)
				continue;
			leaf = leaf_of(v, c);
			leaves++;
			*(leaf.shift ? &small : &large) += 1;
			assert_true(lanes_miss(leaf.words, 0, leaf_lanes(leaf), BOTH,
					       lane_get(leaf.words, 0)) < leaf_lanes(leaf));
		}
		assert_int_equal(v->groups[g].leaves, leaves);
		large += leaves > 0;
	}
	assert_int_equal(v->small.count * slabs_capacity(&v->small) - v->small.free, small);
	assert_int_equal(v->large.count * slabs_capacity(&v->large) - v->large.free, large);
}

/* --- against the array ---------------------------------------------------------- */

static void
random_steps(struct oracle *o, int steps, int aligned_in_4)
{
	for (int step = 0; step < steps; step++) {
		bool aligned = random_below(4) < (uint64_t)aligned_in_4;
		uint64_t sector, count;

		random_range(o, aligned, &sector, &count);
		oracle_set(o, sector, count, random_sides());
		random_range(o, false, &sector, &count);
		check_get(o, sector, count);
		check_all(o, sector, count);
		check_next_lacking(o, sector);
		if (step % 16 == 0)
			check_counts(o);
	}
	check_every_sector(o);
	check_insides(o->v);
}

static const uint64_t odd_sizes[] = {
	1, 7, 8, 100, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 13, 33 * CHUNK, 130 * CHUNK + 77
};

static void
test_any_change_of_any_size_of_disk(void **state)
{
	for (uint64_t s = 1; s <= 3; s++)
		for (size_t i = 0; i < LENGTH(odd_sizes); i++) {
			struct oracle o = oracle_create(odd_sizes[i], 0, odd_sizes[i]);

			seed(s * 1000 + i);
			random_steps(&o, 300, 2);
			oracle_destroy(&o);
		}
}

static void
test_changes_of_whole_blocks(void **state)
{
	for (uint64_t s = 1; s <= 3; s++) {
		struct oracle o = oracle_create(20 * CHUNK + 5, 0, 20 * CHUNK + 5);

		seed(s);
		random_steps(&o, 1000, 4);
		assert_int_equal(o.v->large.count * 128 - o.v->large.free, 1);
		oracle_destroy(&o);
	}
}

static void
test_changes_of_single_sectors(void **state)
{
	struct oracle o = oracle_create(2 * CHUNK + 3, 0, 2 * CHUNK + 3);

	seed(1);
	for (int step = 0; step < 5000; step++) {
		oracle_set(&o, random_below(o.length), 1, random_sides());
		if (step % 100 == 0)
			check_every_sector(&o);
	}
	check_insides(o.v);
	oracle_destroy(&o);
}

static void
test_counts_are_right_after_every_change(void **state)
{
	struct oracle o = oracle_create(3 * CHUNK + 13, 0, 3 * CHUNK + 13);

	seed(1);
	for (int step = 0; step < 2000; step++) {
		uint64_t sector, count;

		random_range(&o, step % 2, &sector, &count);
		oracle_set(&o, sector, count, random_sides());
		check_counts(&o);
	}
	oracle_destroy(&o);
}

/* Windows of a 16 TiB disk: about the places where narrower numbers end. */
static void
test_offsets_beyond_2_tib(void **state)
{
	const uint64_t sectors = 16 * TIB + 12345, length = 5 * CHUNK + 9;
	const uint64_t bases[] = { 0,
				   TIB - CHUNK - 3,
				   2 * TIB - CHUNK - 3,
				   4 * TIB - 77,
				   16 * TIB - CHUNK,
				   sectors - length };

	for (size_t i = 0; i < LENGTH(bases); i++) {
		struct oracle o = oracle_create(sectors, bases[i], length);

		seed(i);
		random_steps(&o, 200, 2);
		oracle_destroy(&o);
	}
}

static void
test_a_run_crosses_chunks_and_leaves(void **state)
{
	struct validity *v = validity_create(4 * TIB, SRC_BIT);
	uint64_t run;

	set(v, 5 * CHUNK + 7, 2 * TIB, DST_BIT);
	assert_int_equal(validity_get(v, 0, UINT64_MAX, &run), SRC_BIT);
	assert_int_equal(run, 5 * CHUNK + 7);
	assert_int_equal(validity_get(v, 5 * CHUNK + 7, UINT64_MAX, &run), DST_BIT);
	assert_int_equal(run, 2 * TIB);
	assert_int_equal(validity_get(v, 6 * CHUNK, 10 * CHUNK, &run), DST_BIT);
	assert_int_equal(run, 10 * CHUNK);
	assert_int_equal(validity_next_lacking(v, 0, SRC), 5 * CHUNK + 7);
	assert_int_equal(validity_next_lacking(v, 5 * CHUNK + 7, DST), 5 * CHUNK + 7 + 2 * TIB);
	validity_destroy(v);
}

static void
test_nothing_lacks_at_or_after_the_end(void **state)
{
	struct validity *v = validity_create(CHUNK + 1, SRC_BIT);

	assert_int_equal(validity_next_lacking(v, CHUNK, DST), CHUNK);
	assert_int_equal(validity_next_lacking(v, CHUNK + 1, DST), CHUNK + 1);
	assert_int_equal(validity_next_lacking(v, UINT64_MAX, DST), CHUNK + 1);
	assert_int_equal(validity_next_lacking(v, 0, SRC), CHUNK + 1);
	validity_destroy(v);
}

static void
test_a_new_map_is_valid_where_it_is_told(void **state)
{
	for (side_mask sides = SRC_BIT; sides <= BOTH; sides++) {
		struct validity *v = validity_create(3 * CHUNK + 5, sides);
		uint64_t run;

		assert_int_equal(validity_count(v, sides), 3 * CHUNK + 5);
		assert_int_equal(validity_get(v, 0, UINT64_MAX, &run), sides);
		assert_int_equal(run, 3 * CHUNK + 5);
		validity_destroy(v);
	}
}

static void
test_distrust_leaves_the_other_side_of_what_both_had(void **state)
{
	for (enum side side = SRC; side <= DST; side++) {
		struct oracle o = oracle_create(133 * CHUNK + 9, 0, 133 * CHUNK + 9);

		seed(side);
		random_steps(&o, 400, 2);
		oracle_set(&o, 3 * CHUNK, 100 * CHUNK, BOTH);
		oracle_set(&o, 5 * CHUNK + 1, 1, side_bit(side_other(side)));
		allocations_left = 0;
		validity_distrust(o.v, side);
		allocations_left = -1;
		for (uint64_t i = 0; i < o.length; i++)
			if (o.sides[i] == BOTH)
				o.sides[i] = side_bit(side_other(side));
		check_every_sector(&o);
		check_insides(o.v);
		oracle_destroy(&o);
	}
}

/* --- saving ------------------------------------------------------------------------ */

struct saved {
	struct validity *v;
	uint64_t end;
	side_mask last;
	int runs, stop_after;
};

static int
saved_run(void *ctx, uint64_t sector, uint64_t count, side_mask sides)
{
	struct saved *saved = ctx;

	assert_true(sides == DST_BIT || sides == BOTH);
	assert_true(count > 0 && sector >= saved->end);
	if (sector == saved->end && saved->runs)
		assert_int_not_equal(sides, saved->last); /* else the run was not maximal */
	saved->end = sector + count;
	saved->last = sides;
	set(saved->v, sector, count, sides);
	return ++saved->runs == saved->stop_after ? -EIO : 0;
}

static void
test_a_saved_map_is_the_map(void **state)
{
	struct oracle o = oracle_create(133 * CHUNK + 9, 0, 133 * CHUNK + 9);
	struct saved saved = { .v = validity_create(o.length, SRC_BIT) };

	seed(1);
	random_steps(&o, 300, 2);
	assert_int_equal(validity_save(o.v, saved_run, &saved), 0);
	validity_destroy(o.v);
	o.v = saved.v;
	check_every_sector(&o);
	oracle_destroy(&o);
}

static void
test_saving_stops_at_the_first_error(void **state)
{
	struct validity *v = validity_create(CHUNK, SRC_BIT);
	struct saved saved = { .v = validity_create(CHUNK, SRC_BIT), .stop_after = 2 };

	for (uint64_t sector = 0; sector < CHUNK; sector += 100)
		set(v, sector, 3, DST_BIT);
	assert_int_equal(validity_save(v, saved_run, &saved), -EIO);
	assert_int_equal(saved.runs, 2);
	assert_int_equal(saved.end, 103);
	validity_destroy(saved.v);
	validity_destroy(v);
}

/* --- memory ------------------------------------------------------------------------ */

static void
test_a_leaf_that_becomes_uniform_is_returned(void **state)
{
	struct validity *v = validity_create(CHUNK, SRC_BIT);

	for (uint64_t sector = 0; sector < CHUNK; sector++)
		set(v, sector, 1, DST_BIT);
	check_insides(v);
	assert_int_equal(lane_get(v->uniform, 0), DST_BIT);
	validity_destroy(v);
}

static void
test_sectors_past_the_end_do_not_hinder_uniformity(void **state)
{
	struct validity *v = validity_create(CHUNK + 3, SRC_BIT);

	set(v, CHUNK, 1, DST_BIT);
	assert_int_equal(lane_get(v->uniform, 1), NO_SIDE);
	set(v, CHUNK + 1, 2, DST_BIT);
	assert_int_equal(lane_get(v->uniform, 1), DST_BIT);
	assert_int_equal(validity_count(v, DST_BIT), 3);
	check_insides(v);
	validity_destroy(v);
}

/* A leaf is refined only where the change of an unaligned range changes something. */
static void
test_an_unaligned_range_without_change_at_its_ends_stays_coarse(void **state)
{
	struct validity *v = validity_create(CHUNK, SRC_BIT);

	set(v, 8, 24, DST_BIT);
	set(v, 3, 2, SRC_BIT);
	set(v, 9, 21, DST_BIT);
	assert_int_equal(leaf_of(v, 0).shift, BLOCK_SHIFT);
	set(v, 9, 21, BOTH);
	assert_int_equal(leaf_of(v, 0).shift, 0);
	validity_destroy(v);
}

static void
test_memory_returns_when_leaves_do(void **state)
{
	struct validity *v = validity_create(TIB / 16, SRC_BIT);
	size_t rest = validity_memory(v);

	for (uint64_t sector = 3; sector < TIB / 16; sector += CHUNK)
		set(v, sector, 1, DST_BIT);
	assert_true(validity_memory(v) > 32 * MIB);
	for (uint64_t sector = 0; sector < TIB / 16; sector += CHUNK)
		set(v, sector, CHUNK, BOTH);
	check_insides(v);
	/* A slab of each size in reserve, and the tables of slabs. */
	assert_true(validity_memory(v) < rest + 4 * 65536);
	validity_destroy(v);
}

static void
test_coming_and_going_leaves_do_not_pile_up_memory(void **state)
{
	struct validity *v = validity_create(TIB / 64, SRC_BIT);
	size_t after_first = 0;

	for (int round = 0; round < 3; round++) {
		for (uint64_t sector = 3; sector < TIB / 64; sector += CHUNK)
			set(v, sector, 1, DST_BIT);
		for (uint64_t sector = 0; sector < TIB / 64; sector += CHUNK)
			set(v, sector, CHUNK, SRC_BIT);
		if (!round)
			after_first = validity_memory(v);
		assert_int_equal(validity_memory(v), after_first);
	}
	validity_destroy(v);
}

static void
test_at_rest_a_tib_takes_less_than_a_mib(void **state)
{
	for (uint64_t tib = 1; tib <= 16; tib *= 4) {
		struct validity *v = validity_create(tib * TIB, SRC_BIT);

		print_message("# %" PRIu64 " TiB at rest: %zu bytes\n", tib,
			      validity_memory(v));
		assert_true(validity_memory(v) < tib * MIB);
		set(v, TIB / 2 + 1, TIB / 4, BOTH);
		assert_true(validity_memory(v) < tib * MIB);
		validity_destroy(v);
	}
}

static void
test_4_kib_changes_all_over_a_tib_take_at_most_80_mib(void **state)
{
	struct validity *v = validity_create(TIB, SRC_BIT);

	seed(1);
	for (uint64_t chunk = 0; chunk < TIB / CHUNK; chunk++)
		set(v, chunk * CHUNK + random_below(CHUNK / BLOCK) * BLOCK, BLOCK, DST_BIT);
	print_message("# %zu bytes\n", validity_memory(v));
	assert_true(validity_memory(v) <= 80 * MIB);
	assert_int_equal(validity_count(v, DST_BIT), TIB / CHUNK * BLOCK);
	validity_destroy(v);
}

static void
test_sector_changes_all_over_a_tib_would_take_at_most_550_mib(void **state)
{
	struct validity *v = validity_create(TIB / 16, SRC_BIT);

	seed(1);
	for (uint64_t chunk = 0; chunk < TIB / 16 / CHUNK; chunk++)
		set(v, chunk * CHUNK + random_below(CHUNK), 1, DST_BIT);
	print_message("# %zu bytes\n", validity_memory(v));
	assert_true(validity_memory(v) <= 550 * MIB / 16);
	validity_destroy(v);
}

/* --- reservations ------------------------------------------------------------------- */

/* Each range ends in two chunks of two groups, at sectors no block begins at. */
static void
test_every_reservation_is_good_for_the_worst_change(void **state)
{
	const uint64_t stride = 2 * GROUP_CHUNKS * CHUNK;
	const unsigned int n = 500;
	struct validity *v = validity_create(n * stride, SRC_BIT);

	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(validity_reserve(v), 0);
	allocations_left = 0;
	for (unsigned int i = 0; i < n; i++)
		validity_set(v, i * stride + GROUP_CHUNKS * CHUNK - 3, 6, DST_BIT);
	for (unsigned int i = 0; i < n; i++)
		validity_unreserve(v);
	allocations_left = -1;
	check_insides(v);
	assert_int_equal(validity_count(v, DST_BIT), n * 6);
	validity_destroy(v);
}

/*
 * Four slabs with one leaf in each, the rest promised: when those leaves go too,
 * the slabs must stay.
 */
static void
test_reservations_outlive_the_leaves_beside_them(void **state)
{
	const unsigned int capacity = 1024, n = 4 * capacity, promises = n / 2 - 4;
	struct validity *v = validity_create(2 * n * CHUNK, SRC_BIT);

	for (unsigned int i = 0; i < n; i++)
		set(v, i * CHUNK + 8, 8, DST_BIT);
	for (unsigned int i = 0; i < n; i++)
		if (i % capacity)
			set(v, i * CHUNK, CHUNK, DST_BIT);
	for (unsigned int i = 0; i < promises; i++)
		assert_int_equal(validity_reserve(v), 0);
	for (unsigned int i = 0; i < n; i += capacity)
		validity_set(v, i * CHUNK, CHUNK, DST_BIT);
	allocations_left = 0;
	for (unsigned int i = 0; i < promises; i++)
		validity_set(v, 2 * i * CHUNK + CHUNK - 8, 16, BOTH);
	allocations_left = -1;
	for (unsigned int i = 0; i < promises; i++)
		validity_unreserve(v);
	check_insides(v);
	validity_destroy(v);
}

static void
test_a_reservation_is_no_larger_than_the_worst_change(void **state)
{
	struct validity *v = validity_create(2 * GROUP_CHUNKS * CHUNK, SRC_BIT);
	uint64_t small, large;

	assert_int_equal(validity_reserve(v), 0);
	small = v->small.free;
	large = v->large.free;
	validity_set(v, GROUP_CHUNKS * CHUNK - 3, 6, DST_BIT);
	assert_int_equal(v->large.promised, large - v->large.free);
	validity_set(v, 0, v->sectors, SRC_BIT);
	validity_set(v, GROUP_CHUNKS * CHUNK - 8, 16, DST_BIT);
	assert_int_equal(v->small.promised, small - v->small.free);
	validity_unreserve(v);
	assert_int_equal(v->small.promised + v->large.promised, 0);
	validity_destroy(v);
}

/* As a write that failed on side: what both had, only the other still has. */
static void
test_one_reservation_covers_the_parts_of_a_failed_write(void **state)
{
	struct oracle o = oracle_create(140 * CHUNK + 5, 0, 140 * CHUNK + 5);

	seed(1);
	for (int step = 0; step < 300; step++) {
		enum side side = random_below(2) ? DST : SRC;
		uint64_t sector, count, run;

		random_steps(&o, 5, 2);
		random_range(&o, false, &sector, &count);
		assert_int_equal(validity_reserve(o.v), 0);
		allocations_left = 0;
		for (uint64_t at = sector; at < sector + count; at += run)
			if (validity_get(o.v, at, sector + count - at, &run) == BOTH)
				validity_set(o.v, at, run, side_bit(side_other(side)));
		allocations_left = -1;
		validity_unreserve(o.v);
		for (uint64_t i = sector; i < sector + count; i++)
			if (o.sides[i] == BOTH)
				o.sides[i] = side_bit(side_other(side));
	}
	check_every_sector(&o);
	oracle_destroy(&o);
}

/* A reservation's first time takes a table and a slab for each size. */
static void
test_no_memory_to_reserve_is_said_and_changes_nothing(void **state)
{
	for (long n = 0; n <= 4; n++) {
		struct validity *v = validity_create(10 * CHUNK, SRC_BIT);

		allocations_left = n;
		assert_int_equal(validity_reserve(v), n < 4 ? -ENOMEM : 0);
		allocations_left = -1;
		if (n < 4) {
			assert_int_equal(v->small.promised + v->large.promised, 0);
			assert_int_equal(validity_reserve(v), 0);
		}
		validity_set(v, 1, 1, DST_BIT);
		validity_unreserve(v);
		check_insides(v);
		validity_destroy(v);
	}
}

static void
test_no_memory_to_create_is_said(void **state)
{
	for (long n = 0; n < 3; n++) {
		allocations_left = n;
		assert_null(validity_create(CHUNK, SRC_BIT));
	}
	allocations_left = -1;
	assert_null(validity_create(UINT64_MAX, SRC_BIT));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_change_of_any_size_of_disk),
		cmocka_unit_test(test_changes_of_whole_blocks),
		cmocka_unit_test(test_changes_of_single_sectors),
		cmocka_unit_test(test_counts_are_right_after_every_change),
		cmocka_unit_test(test_offsets_beyond_2_tib),
		cmocka_unit_test(test_a_run_crosses_chunks_and_leaves),
		cmocka_unit_test(test_nothing_lacks_at_or_after_the_end),
		cmocka_unit_test(test_a_new_map_is_valid_where_it_is_told),
		cmocka_unit_test(test_distrust_leaves_the_other_side_of_what_both_had),
		cmocka_unit_test(test_a_saved_map_is_the_map),
		cmocka_unit_test(test_saving_stops_at_the_first_error),
		cmocka_unit_test(test_a_leaf_that_becomes_uniform_is_returned),
		cmocka_unit_test(test_sectors_past_the_end_do_not_hinder_uniformity),
		cmocka_unit_test(
			test_an_unaligned_range_without_change_at_its_ends_stays_coarse),
		cmocka_unit_test(test_memory_returns_when_leaves_do),
		cmocka_unit_test(test_coming_and_going_leaves_do_not_pile_up_memory),
		cmocka_unit_test(test_at_rest_a_tib_takes_less_than_a_mib),
		cmocka_unit_test(test_4_kib_changes_all_over_a_tib_take_at_most_80_mib),
		cmocka_unit_test(test_sector_changes_all_over_a_tib_would_take_at_most_550_mib),
		cmocka_unit_test(test_every_reservation_is_good_for_the_worst_change),
		cmocka_unit_test(test_reservations_outlive_the_leaves_beside_them),
		cmocka_unit_test(test_a_reservation_is_no_larger_than_the_worst_change),
		cmocka_unit_test(test_one_reservation_covers_the_parts_of_a_failed_write),
		cmocka_unit_test(test_no_memory_to_reserve_is_said_and_changes_nothing),
		cmocka_unit_test(test_no_memory_to_create_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
