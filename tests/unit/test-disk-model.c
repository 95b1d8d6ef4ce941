/* SPDX-License-Identifier: BSD-3-Clause */
/* links: tests/bench/disk-model.o */
/*
 * The benchmark's disks do what their parameters say. All time here is the model's:
 * nothing is waited for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../bench/disk-model.h"

#define KIB	  (1ull << 10)
#define MIB	  (1ull << 20)
#define GIB	  (1ull << 30)
#define NS_PER_S  1000000000ull
#define MAX_DEPTH 64

static struct disk_model m;
static struct disk_model_request request[MAX_DEPTH];
static uint64_t random_state;

static void
use(const char *name)
{
	struct disk_model_kind kind;

	assert_true(disk_model_kind(name, &kind));
	disk_model_init(&m, &kind, 1 * GIB);
	random_state = 1;
}

static uint64_t
random_start(uint64_t bytes)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (random_state >> 33) % (GIB / bytes) * bytes;
}

static void
submit(unsigned int i, enum disk_model_op op, uint64_t start, uint64_t bytes, uint64_t now)
{
	request[i] = (struct disk_model_request){ .op = op, .start = start, .bytes = bytes };
	disk_model_submit(&m, &request[i], now);
}

/* The next answer, whenever that is; the model's time goes on to it. */
static struct disk_model_request *
answer(uint64_t *now)
{
	struct disk_model_request *req;

	while (!(req = disk_model_next(&m, *now))) {
		assert_true(disk_model_due_ns(&m) != DISK_MODEL_NEVER);
		*now = disk_model_due_ns(&m);
	}
	return req;
}

/* Requests a second of a client that always has depth of them at random places. */
static double
random_iops(enum disk_model_op op, uint64_t bytes, unsigned int depth)
{
	const unsigned int requests = 4000;
	uint64_t now = 0;

	for (unsigned int i = 0; i < depth; i++)
		submit(i, op, random_start(bytes), bytes, now);
	for (unsigned int n = 0; n < requests; n++) {
		struct disk_model_request *req = answer(&now);

		submit((unsigned int)(req - request), op, random_start(bytes), bytes, now);
	}
	return requests / ((double)now / NS_PER_S);
}

/* MiB a second of one that goes through the disk, depth requests at a time. */
static double
sequential_mib_s(enum disk_model_op op, uint64_t bytes, unsigned int depth)
{
	const unsigned int requests = 400;
	uint64_t now = 0, at = 0;

	for (unsigned int i = 0; i < depth; i++, at += bytes)
		submit(i, op, at, bytes, now);
	for (unsigned int n = 0; n < requests; n++, at += bytes) {
		struct disk_model_request *req = answer(&now);

		submit((unsigned int)(req - request), op, at, bytes, now);
	}
	return (double)(requests * bytes) / MIB / ((double)now / NS_PER_S);
}

static void
assert_near(double value, double expected, double part)
{
	if (value < expected * (1 - part) || value > expected * (1 + part))
		fail_msg("%f is not within %.0f %% of %f", value, part * 100, expected);
}

/* --- flash ------------------------------------------------------------------------ */

/* 4 KiB take 52 us at a quarter of 300 MiB/s, and 200 us or 250 us to get at. */
static void
test_flash_random(void **state)
{
	use("ssd");
	assert_near(random_iops(MODEL_READ, 4 * KIB, 1), 1e6 / 252, 0.01);
	use("ssd");
	assert_near(random_iops(MODEL_READ, 4 * KIB, 16), 4 * 1e6 / 252, 0.01);
	use("ssd");
	assert_near(random_iops(MODEL_WRITE, 4 * KIB, 16), 4 * 1e6 / 302, 0.01);
}

static void
test_flash_sequential(void **state)
{
	use("ssd");
	assert_near(sequential_mib_s(MODEL_READ, 1 * MIB, 4), 300, 0.10);
	use("ssd");
	assert_near(sequential_mib_s(MODEL_WRITE, 1 * MIB, 4), 300, 0.10);
}

/* Behind four large requests a small one waits for one unit of each, not for all. */
static void
test_flash_small_request_passes_large_ones(void **state)
{
	uint64_t now = 0;

	use("ssd");
	for (unsigned int i = 0; i < 4; i++)
		submit(i, MODEL_READ, i * MIB, 1 * MIB, now);
	submit(4, MODEL_READ, 100 * MIB, 4 * KIB, now);
	assert_ptr_equal(answer(&now), &request[4]);
	assert_true(now < 3000000);
}

/* --- spindles --------------------------------------------------------------------- */

/* On average: 0.1 ms, a seek of 1 + 15 x 8/15 = 9 ms, 4.2 ms until it comes round. */
static void
test_spindle_random(void **state)
{
	use("hdd");
	assert_near(random_iops(MODEL_READ, 4 * KIB, 1), 1000 / 13.3, 0.03);
	use("hdd");
	assert_near(random_iops(MODEL_WRITE, 4 * KIB, 1), 1000 / 13.3, 0.03);
}

/* With a queue the nearest is served first: seeks get short, revolutions do not. */
static void
test_spindle_queue(void **state)
{
	double iops;

	use("hdd");
	iops = random_iops(MODEL_READ, 4 * KIB, 32);
	assert_true(iops > 110 && iops < 1000 / 5.3);
}

static void
test_spindle_sequential(void **state)
{
	use("hdd");
	assert_near(sequential_mib_s(MODEL_READ, 1 * MIB, 4), 150, 0.03);
}

/* Two that go through it at different places cost a seek each time. */
static void
test_spindle_two_streams(void **state)
{
	uint64_t now = 0;
	const unsigned int each = 100;

	use("hdd");
	for (unsigned int n = 0; n < each; n++) {
		submit(0, MODEL_READ, n * MIB, MIB, now);
		answer(&now);
		submit(0, MODEL_READ, (512 + n) * MIB, MIB, now);
		answer(&now);
	}
	/* 6.7 ms of reading, 4.2 ms, 11.6 ms for half the disk, 0.1 ms */
	assert_near((double)now / (2 * each), 22.6e6, 0.03);
}

/* A request far away is served although nearer ones never end. */
static void
test_spindle_does_not_starve(void **state)
{
	uint64_t now = 0, at = 0;

	use("hdd");
	submit(1, MODEL_READ, at++ * 64 * KIB, 64 * KIB, now);
	submit(0, MODEL_READ, GIB - MIB, 64 * KIB, now);
	for (;;) {
		submit(2, MODEL_READ, at++ * 64 * KIB, 64 * KIB, now);
		if (answer(&now) == &request[0])
			break;
		assert_true(now < 2 * DISK_MODEL_PATIENCE_NS);
		submit(1, MODEL_READ, at++ * 64 * KIB, 64 * KIB, now);
		if (answer(&now) == &request[0])
			break;
	}
	assert_true(now >= DISK_MODEL_PATIENCE_NS);
}

/* --- both ------------------------------------------------------------------------- */

static void
test_ten_times_slower(void **state)
{
	use("ssd/10");
	assert_near(random_iops(MODEL_READ, 4 * KIB, 16), 4 * 1e5 / 252, 0.01);
	use("hdd/10");
	assert_near(sequential_mib_s(MODEL_WRITE, 1 * MIB, 4), 15, 0.03);
}

/* An idle disk owes nothing, and time that nobody looked at has passed all the same. */
static void
test_answers_are_dated_when_they_were_due(void **state)
{
	uint64_t late = NS_PER_S;

	use("ssd");
	assert_int_equal(disk_model_due_ns(&m), DISK_MODEL_NEVER);
	submit(0, MODEL_WRITE, 0, 0, 1000);
	assert_int_equal(disk_model_due_ns(&m), 1000 + 250000);
	assert_null(disk_model_next(&m, 1000 + 249999));
	assert_ptr_equal(answer(&late), &request[0]);
	assert_int_equal(request[0].done_ns, 1000 + 250000);
	assert_int_equal(disk_model_due_ns(&m), DISK_MODEL_NEVER);
}

static void
test_names(void **state)
{
	struct disk_model_kind kind;

	assert_true(disk_model_kind("ssd/1", &kind));
	for (size_t i = 0; i < 7; i++) {
		static const char *const wrong[] = { "",      "ss",    "ssdx",	 "ssd/",
						     "ssd/0", "ssd/x", "ssd/10x" };

		assert_false(disk_model_kind(wrong[i], &kind));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flash_random),
		cmocka_unit_test(test_flash_sequential),
		cmocka_unit_test(test_flash_small_request_passes_large_ones),
		cmocka_unit_test(test_spindle_random),
		cmocka_unit_test(test_spindle_queue),
		cmocka_unit_test(test_spindle_sequential),
		cmocka_unit_test(test_spindle_two_streams),
		cmocka_unit_test(test_spindle_does_not_starve),
		cmocka_unit_test(test_ten_times_slower),
		cmocka_unit_test(test_answers_are_dated_when_they_were_due),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
