/* SPDX-License-Identifier: BSD-3-Clause */
/* gaps.h, with disks whose times are those of a formula. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gaps.h"

#define KIB 1024u
#define MIB (1024u * KIB)

struct formula {
	uint64_t ns, request_ns, mib_ns;
};

static const struct formula spindle = { 0, 5000000, 7000000 };
static const struct formula flash = { 400000, 0, 800000 };

static void
learn(struct gaps *g, const struct formula *f, unsigned requests, uint64_t bytes)
{
	gaps_learn(g, requests, bytes,
		   f->ns + requests * f->request_ns + bytes * f->mib_ns / MIB);
}

static void
first_pass(struct gaps *g, const struct formula *f)
{
	for (unsigned i = 0; i < 500; i++)
		learn(g, f, 1 + i % 4, (1 + i % 4) * MIB);
}

/* 4 KiB here and there. */
static void
next_pass(struct gaps *g, const struct formula *f)
{
	for (unsigned i = 0; i < 100; i++)
		learn(g, f, 8 + i * 7 % 32, (8 + i * 7 % 32) * 4 * KIB);
}

static struct gaps
after_two_passes(const struct formula *f)
{
	struct gaps g = { 0 };

	first_pass(&g, f);
	next_pass(&g, f);
	return g;
}

static void
test_at_first_no_gap_is_worth_writing(void **state)
{
	struct gaps g = { 0 };

	assert_int_equal(gaps_worth(&g), 0);
}

static void
test_what_is_all_alike_teaches_nothing(void **state)
{
	struct gaps g = { 0 };

	first_pass(&g, &spindle);
	assert_int_equal(gaps_worth(&g), 0);
}

static void
test_where_requests_cost_much_a_long_gap_is(void **state)
{
	struct gaps g = after_two_passes(&spindle);

	/* A request takes as long as 427 KiB of the quickest; a quarter of that. */
	assert_in_range(gaps_worth(&g), 95 * KIB, 110 * KIB);
}

static void
test_where_they_cost_nothing_none_is(void **state)
{
	struct gaps g = after_two_passes(&flash);

	assert_in_range(gaps_worth(&g), 0, 4 * KIB - 1);
}

/* Once gaps are written there is one request for each copy; then some are left out again. */
static void
test_what_is_known_fades_while_nothing_can_be_learnt(void **state)
{
	struct gaps g = after_two_passes(&spindle);

	for (unsigned i = 0; i < 1000; i++)
		learn(&g, &spindle, 1, MIB);
	assert_in_range(gaps_worth(&g), 30 * KIB, 70 * KIB);
	for (unsigned i = 0; i < 10000; i++)
		learn(&g, &spindle, 1, MIB);
	assert_in_range(gaps_worth(&g), 0, 4 * KIB - 1);
	next_pass(&g, &spindle);
	assert_in_range(gaps_worth(&g), 95 * KIB, 110 * KIB);
}

static void
test_another_disk_is_learnt_anew(void **state)
{
	struct gaps g = after_two_passes(&spindle);

	for (unsigned i = 0; i < 20; i++) {
		first_pass(&g, &flash);
		next_pass(&g, &flash);
	}
	assert_in_range(gaps_worth(&g), 0, 4 * KIB - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_first_no_gap_is_worth_writing),
		cmocka_unit_test(test_what_is_all_alike_teaches_nothing),
		cmocka_unit_test(test_where_requests_cost_much_a_long_gap_is),
		cmocka_unit_test(test_where_they_cost_nothing_none_is),
		cmocka_unit_test(test_what_is_known_fades_while_nothing_can_be_learnt),
		cmocka_unit_test(test_another_disk_is_learnt_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
