/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copier, on disks too large for a test's memory: what it asks of a source of
 * which parts are holes. How it deals with the guest, and with failures, is in
 * test-engine.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "migration.h"

#define KIB (1024u / SECTOR_BYTES)
#define MIB (1024u * KIB)
#define GIB ((uint64_t)1024 * MIB)
#define TIB (1024 * GIB)

/* Each period of it begins with data, and the rest is a hole. It answers at once. */
struct shape {
	struct disk disk;
	uint64_t period;
	uint64_t data;
	int status_err; /* of each question about holes */
	unsigned submitted[DISK_STATUS + 1];
	uint64_t sectors_read;
};

static uint64_t
now_ns(void *ctx)
{
	return 1000000000;
}

static void
wake_at(void *ctx, uint64_t ns)
{
}

static void
ended(void *ctx)
{
}

static void
shape_submit(struct disk *disk, struct disk_io *io)
{
	struct shape *d = list_entry(disk, struct shape, disk);
	int err = io->op == DISK_STATUS ? d->status_err : 0;

	d->submitted[io->op]++;
	if (io->op == DISK_READ) {
		memset(io->buf, 1, (size_t)io->count * SECTOR_BYTES);
		d->sectors_read += io->count;
	}
	if (io->op == DISK_STATUS) {
		uint64_t at = io->sector % d->period, run;

		io->zero = at >= d->data;
		run = (io->zero ? d->period : d->data) - at;
		if (io->count > run)
			io->count = (uint32_t)run;
	}
	io->done(io, err);
}

/* Copies all of src to dst. */
static void
copy_all(struct shape *src, struct shape *dst, bool pristine)
{
	struct migration_config config = {
		.disk = { &src->disk, &dst->disk },
		.map = validity_create(src->disk.sectors, SRC_BIT),
		.strategy = STRATEGY_SLR,
		.state = MIGRATION_COPYING,
		.chunk = MIB,
		.unit = MIB,
		.threshold = 32,
		.depth = 8,
		.align = 1,
		.pristine = pristine,
		.now_ns = now_ns,
		.wake_at = wake_at,
		.ended = ended,
	};
	struct migration m;

	assert_int_equal(migration_init(&m, &config), 0);
	migration_start(&m);
	assert_int_equal(m.state, MIGRATION_SYNCHRONISED);
	migration_stop(&m);
	migration_release(&m);
}

/* Copies it all. How often the source was asked about holes. */
static unsigned
questions(uint64_t sectors, uint64_t period, uint64_t data, bool pristine)
{
	struct shape src = {
		.disk = { shape_submit, sectors },
		.period = period,
		.data = data,
	};
	struct shape dst = { .disk = { shape_submit, sectors } };

	copy_all(&src, &dst, pristine);
	assert_int_equal(src.sectors_read, sectors / period * data);
	assert_int_equal(dst.submitted[DISK_ZERO] == 0, pristine);
	return src.submitted[DISK_STATUS];
}

/* One for the data, one for the hole behind it, and one when that has been closed. */
static void
a_hole_costs_the_same_whatever_its_size(void **state)
{
	assert_in_range(questions(16 * TIB, 16 * GIB, MIB, true), 1, 3 * 1024);
	assert_in_range(questions(16 * TIB, 128 * GIB, MIB, true), 1, 3 * 128);
	/* Twice for as much as is closed at once. */
	assert_in_range(questions(16 * TIB, 16 * TIB, MIB, true), 1, 1 + 2 * 64);
}

/* There a hole is made on the destination too, and closed a GiB at a time. */
static void
a_hole_that_must_be_made_is_asked_about_as_often_as_it_is_closed(void **state)
{
	assert_in_range(questions(TIB, 16 * GIB, MIB, false), 1, (16 + 3) * 64);
}

static void
a_fragmented_source_is_asked_once_for_each_run(void **state)
{
	assert_in_range(questions(64 * MIB, 128 * KIB, 64 * KIB, true), 1, 2 * 512);
	assert_in_range(questions(64 * MIB, 8 * KIB, 4 * KIB, true), 1, 2 * 8192);
}

/* A question that fails says nothing of holes: what it was about is read. */
static void
what_cannot_be_asked_is_read(void **state)
{
	const int errs[] = { -EIO, -ENXIO, -ESTALE, -EACCES, -EOPNOTSUPP, -ENOSYS };

	for (size_t i = 0; i < sizeof(errs) / sizeof(*errs); i++) {
		struct shape src = {
			.disk = { shape_submit, 64 * MIB },
			.period = 8 * MIB,
			.data = MIB,
			.status_err = errs[i],
		};
		struct shape dst = { .disk = { shape_submit, 64 * MIB } };
		bool unable = errs[i] == -EOPNOTSUPP || errs[i] == -ENOSYS;

		copy_all(&src, &dst, true);
		assert_int_equal(src.sectors_read, 64 * MIB);
		/* A disk that cannot tell is asked no more. */
		assert_int_equal(src.submitted[DISK_STATUS] == 1, unable);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hole_costs_the_same_whatever_its_size),
		cmocka_unit_test(
			a_hole_that_must_be_made_is_asked_about_as_often_as_it_is_closed),
		cmocka_unit_test(a_fragmented_source_is_asked_once_for_each_run),
		cmocka_unit_test(what_cannot_be_asked_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
