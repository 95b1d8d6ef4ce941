/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-lost.o */
/* links: drivers/tapdisk-vbd-image.o */
/* links: drivers/tapdisk-loop.o drivers/thread-io.o drivers/aio-open.o */
/* links: drivers/block-aio.o drivers/image-name.o drivers/image-sector.o */
/* links: drivers/tapdisk-vbd.o */
/* links: drivers/tapdisk-image.o */
/* links: drivers/zero-as-is.o drivers/state-dir.o */
/* links: drivers/image-identity.o drivers/image-mark.o drivers/image-lock.o */
/* links: drivers/tapdisk-interface.o drivers/tapdisk-driver.o drivers/tapdisk-disktype.o */
/* links: drivers/tapdisk-server.o drivers/tapdisk-stats.o drivers/migrate-text.o */
/* links: drivers/tapdisk-log.o */
/* links: drivers/tapdisk-worker.o drivers/scheduler.o drivers/libaio-backend.o */
/* links: drivers/migrate-disk.o */
/* The aio driver, on real files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "migrate-disk.h"
#include "tapdisk-control.h"
#include "tapdisk-disktype.h"
#include "tapdisk-image.h"
#include "tapdisk-interface.h"
#include "tapdisk-server.h"

#define MIB	    (1 << 20)
#define MIB_SECTORS (MIB >> SECTOR_SHIFT)

/* The loop asks for control clients; there are none here. */
void
tapdisk_control_run(void)
{
}

void
tapdisk_control_shutdown(void)
{
}

void
tapdisk_control_close(void)
{
}

bool
tapdisk_control_idle(void)
{
	return true;
}

static char path[64];
static char *data, *back; /* 4 MiB each */

/* The answers to requests. */
static int answers, last_err;
static td_sector_t answered; /* sectors */

static void
answer(td_request_t treq, int err)
{
	answers++;
	answered += (td_sector_t)treq.secs;
	if (err)
		last_err = err;
}

static void
expect(void)
{
	answers = last_err = 0;
	answered = 0;
}

/* Turns until that many sectors were answered. */
static int
wait_for(td_sector_t secs)
{
	while (answered < secs)
		tapdisk_server_iterate();
	assert_int_equal(answered, secs);
	return last_err;
}

static td_image_t *
opened(int flags)
{
	td_image_t *image;

	assert_int_equal(tapdisk_image_open(DISK_TYPE_AIO, path, flags, NULL, &image), 0);
	return image;
}

static td_request_t
request(int op, void *buf, td_sector_t sec, int secs)
{
	return (td_request_t){ .op = op, .buf = buf, .sec = sec, .secs = secs, .cb = answer };
}

static int
write_all(td_image_t *image, void *buf, td_sector_t sec, int secs)
{
	expect();
	td_queue_write(image, request(TD_OP_WRITE, buf, sec, secs));
	return wait_for((td_sector_t)secs);
}

static int
read_all(td_image_t *image, void *buf, td_sector_t sec, int secs)
{
	expect();
	td_queue_read(image, request(TD_OP_READ, buf, sec, secs));
	return wait_for((td_sector_t)secs);
}

static int
zero_all(td_image_t *image, td_sector_t sec, int secs, int flags)
{
	td_request_t treq = request(TD_OP_ZERO, NULL, sec, secs);

	treq.flags = flags;
	expect();
	td_queue_zero(image, treq);
	return wait_for((td_sector_t)secs);
}

static int
flush_as(td_image_t *image, int flags)
{
	td_request_t treq = request(TD_OP_FLUSH, NULL, 0, 0);

	treq.flags = flags;
	expect();
	td_queue_flush(image, treq);
	while (!answers)
		tapdisk_server_iterate();
	return last_err;
}

static int
flush(td_image_t *image)
{
	return flush_as(image, 0);
}

static off_t
allocated(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_blocks * 512;
}

static int
setup(void **state)
{
	int fd;

	snprintf(path, sizeof(path), "/tmp/test-block-aio-XXXXXX");
	fd = mkstemp(path);
	if (fd < 0 || ftruncate(fd, 4 * MIB) || close(fd))
		return -1;

	data = aligned_alloc(4096, 4 * MIB);
	back = aligned_alloc(4096, 4 * MIB);
	for (int i = 0; i < 4 * MIB; i++)
		data[i] = (char)(i * 7 + (i >> 9) + 1);
	memset(back, 0x55, 4 * MIB);
	return tapdisk_server_init();
}

static int
teardown(void **state)
{
	tapdisk_server_exit();
	free(data);
	free(back);
	return unlink(path);
}

static void
what_is_written_is_read_back(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(image->info.size, 4 * MIB_SECTORS);
	assert_int_equal(write_all(image, data, 0, 4 * MIB_SECTORS), 0);
	assert_int_equal(flush(image), 0);
	assert_int_equal(read_all(image, back, 0, 4 * MIB_SECTORS), 0);
	assert_memory_equal(data, back, 4 * MIB);

	assert_int_equal(read_all(image, back, 4 * MIB_SECTORS - 8, 8), 0);
	assert_memory_equal(data + 4 * MIB - 4096, back, 4096);
	tapdisk_image_close(image);
}

static void
more_requests_than_are_allocated_at_once_are_all_done(void **state)
{
	td_image_t *image = opened(0);
	const int n = 3 * TAPDISK_DATA_REQUESTS;

	expect();
	for (int i = 0; i < n; i++)
		td_queue_write(image, request(TD_OP_WRITE, data + 4096 * (i % 1024),
					      8 * (td_sector_t)(i % 1024), 8));
	assert_int_equal(wait_for(8 * (td_sector_t)n), 0);
	assert_int_equal(read_all(image, back, 0, 4 * MIB_SECTORS), 0);
	assert_memory_equal(data, back, 4 * MIB);
	tapdisk_image_close(image);
}

static void
closing_waits_for_everything_in_flight(void **state)
{
	td_image_t *image = opened(0);

	expect();
	for (int i = 0; i < 64; i++)
		td_queue_write(image, request(TD_OP_WRITE, data, 0, MIB_SECTORS));
	td_queue_flush(image, request(TD_OP_FLUSH, NULL, 0, 0));
	td_queue_flush(image, request(TD_OP_FLUSH, NULL, 0, 0));
	td_queue_zero(image, request(TD_OP_ZERO, NULL, 0, 8));
	td_queue_zero(image, request(TD_OP_ZERO, NULL, 8, 8));
	tapdisk_image_close(image);
	assert_int_equal(answers, 64 + 2 + 2);
	assert_int_equal(last_err, 0);
}

static void
zeroes_make_holes_unless_they_must_not(void **state)
{
	td_image_t *image = opened(0);
	off_t full;

	assert_int_equal(write_all(image, data, 0, 4 * MIB_SECTORS), 0);
	assert_int_equal(flush(image), 0);
	full = allocated();
	assert_true(full >= 4 * MIB);

	assert_int_equal(zero_all(image, MIB_SECTORS, MIB_SECTORS, 0), 0);
	assert_true(allocated() <= full - MIB);
	assert_int_equal(zero_all(image, 2 * MIB_SECTORS, MIB_SECTORS, TD_REQ_NO_HOLE), 0);
	assert_true(allocated() >= full - MIB);

	memset(data + MIB, 0, 2 * MIB);
	assert_int_equal(read_all(image, back, 0, 4 * MIB_SECTORS), 0);
	assert_memory_equal(data, back, 4 * MIB);
	tapdisk_image_close(image);
}

static int first_of_the_second; /* how many answers came before it */

static void
answer_second(td_request_t treq, int err)
{
	if (first_of_the_second < 0)
		first_of_the_second = answers;
	answer(treq, err);
}

/* A file system keeps all writes of a file waiting while it makes holes in it. */
static void
zeroes_are_made_in_steps(void **state)
{
	td_request_t second = request(TD_OP_ZERO, NULL, 0, 1024 * MIB_SECTORS);
	td_image_t *image;

	assert_int_equal(truncate(path, 1024 * (off_t)MIB), 0);
	image = opened(0);
	expect();
	first_of_the_second = -1;
	second.cb = answer_second;
	td_queue_zero(image, request(TD_OP_ZERO, NULL, 0, 1024 * MIB_SECTORS));
	td_queue_zero(image, second);
	assert_int_equal(wait_for(2 * 1024 * (td_sector_t)MIB_SECTORS), 0);
	/* At most 64 MiB each, and the two by turns. */
	assert_true(answers >= 2 * 1024 / 64);
	assert_int_equal(first_of_the_second, 1);
	tapdisk_image_close(image);
}

static void
zeroes_are_exact_to_the_sector(void **state)
{
	td_image_t *image = opened(0);
	int unit = (int)image->info.sector_size >> SECTOR_SHIFT;

	assert_int_equal(write_all(image, data, 0, MIB_SECTORS), 0);
	assert_int_equal(zero_all(image, 3 * (td_sector_t)unit, 21 * unit, 0), 0);
	assert_int_equal(zero_all(image, 65 * (td_sector_t)unit, unit, TD_REQ_NO_HOLE), 0);
	memset(data + image->info.sector_size * 3, 0, (size_t)image->info.sector_size * 21);
	memset(data + image->info.sector_size * 65, 0, (size_t)image->info.sector_size);
	assert_int_equal(read_all(image, back, 0, MIB_SECTORS), 0);
	assert_memory_equal(data, back, MIB);
	tapdisk_image_close(image);
}

static td_sector_t status_next, status_data, status_holes;

static void
status_answer(td_request_t treq, int err)
{
	assert_int_equal(treq.sec, status_next);
	status_next += (td_sector_t)treq.secs;
	if (!err && treq.status == TD_BLOCK_STATE_NONE)
		status_data += (td_sector_t)treq.secs;
	else if (!err)
		status_holes += (td_sector_t)treq.secs;
	answer(treq, err);
}

static void
block_status_tells_data_from_holes_in_order(void **state)
{
	td_image_t *image = opened(0);
	td_request_t treq = request(TD_OP_BLOCK_STATUS, NULL, 8, 4 * MIB_SECTORS - 16);

	assert_int_equal(write_all(image, data, MIB_SECTORS, MIB_SECTORS), 0);
	treq.cb = status_answer;
	status_next = 8;
	status_data = status_holes = 0;
	expect();
	td_queue_block_status(image, &treq);
	assert_int_equal(wait_for(4 * MIB_SECTORS - 16), 0);
	assert_int_equal(answers, 3);
	assert_int_equal(status_data, MIB_SECTORS);
	assert_int_equal(status_holes, 3 * MIB_SECTORS - 16);
	tapdisk_image_close(image);
}

/* Asks about the range; what it has of data and holes is in status_. */
static int
status_all(td_image_t *image, td_sector_t sec, int secs)
{
	td_request_t treq = request(TD_OP_BLOCK_STATUS, NULL, sec, secs);

	treq.cb = status_answer;
	status_next = sec;
	status_data = status_holes = 0;
	expect();
	td_queue_block_status(image, &treq);
	return wait_for((td_sector_t)secs);
}

/* Data and holes in turn, 64 KiB each: a hole first. */
#define STRIPE_SECTORS (MIB_SECTORS / 16)

static void
write_stripes(td_image_t *image)
{
	for (td_sector_t sec = STRIPE_SECTORS; sec < 4 * MIB_SECTORS; sec += 2 * STRIPE_SECTORS)
		assert_int_equal(write_all(image, data, sec, STRIPE_SECTORS), 0);
}

static void
block_status_of_one_extent_looks_no_further(void **state)
{
	td_image_t *image = opened(0);
	td_request_t treq = request(TD_OP_BLOCK_STATUS, NULL, STRIPE_SECTORS, 3 * MIB_SECTORS);

	write_stripes(image);
	treq.cb = status_answer;
	treq.flags = TD_REQ_ONE;
	status_next = STRIPE_SECTORS;
	status_data = status_holes = 0;
	expect();
	td_queue_block_status(image, &treq);
	assert_int_equal(wait_for(3 * MIB_SECTORS), -ECANCELED);
	assert_int_equal(answers, 2);
	assert_int_equal(status_data, STRIPE_SECTORS);
	assert_int_equal(status_holes, 0);
	tapdisk_image_close(image);
}

static td_vbd_request_t asker;

static void
status_answer_and_leave(td_request_t treq, int err)
{
	asker.unwanted = true;
	status_answer(treq, err);
}

static void
block_status_that_nobody_waits_for_looks_no_further(void **state)
{
	td_image_t *image = opened(0);
	td_request_t treq = request(TD_OP_BLOCK_STATUS, NULL, 0, 3 * MIB_SECTORS);

	write_stripes(image);
	asker.unwanted = false;
	treq.cb = status_answer_and_leave;
	treq.vreq = &asker;
	status_next = status_data = status_holes = 0;
	expect();
	td_queue_block_status(image, &treq);
	assert_int_equal(wait_for(3 * MIB_SECTORS), -ECANCELED);
	assert_int_equal(answers, 2);
	assert_int_equal(status_holes, STRIPE_SECTORS);
	tapdisk_image_close(image);
}

static void
answer_and_leave(td_request_t treq, int err)
{
	asker.unwanted = true;
	answer(treq, err);
}

static void
zeroes_that_nobody_waits_for_are_not_gone_on_with(void **state)
{
	td_image_t *image = opened(0);
	td_request_t treq = request(TD_OP_ZERO, NULL, 0, 4 * MIB_SECTORS);

	asker.unwanted = false;
	treq.cb = answer_and_leave;
	treq.vreq = &asker;
	expect();
	td_queue_zero(image, treq);
	assert_int_equal(wait_for(4 * MIB_SECTORS), -ECANCELED);
	assert_int_equal(answers, 2);
	tapdisk_image_close(image);
}

static bool migration_answered;
static int migration_err;

static void
migration_answer(struct disk_io *io, int err)
{
	migration_answered = true;
	migration_err = err;
}

static const struct tap_disk *aio;
static int asked_flags;

static void
watch_block_status(td_driver_t *driver, td_request_t treq)
{
	asked_flags = treq.flags;
	aio->td_queue_block_status(driver, treq);
}

/* The first extent is the answer, and it is all that the driver is asked for. */
static void
a_migration_asks_for_one_extent(void **state)
{
	td_image_t *image = opened(0);
	struct tap_disk watched;
	struct image_disk disk;
	char name[80];

	write_stripes(image);
	tapdisk_image_close(image);
	snprintf(name, sizeof(name), "aio:%s", path);
	assert_int_equal(image_disk_open(&disk, name, 0, NULL), 0);
	aio = disk.image->driver->ops;
	watched = *aio;
	watched.td_queue_block_status = watch_block_status;
	disk.image->driver->ops = &watched;
	for (uint64_t sec = 0; sec < 4 * STRIPE_SECTORS; sec += STRIPE_SECTORS) {
		struct disk_io io = {
			.op = DISK_STATUS,
			.sector = sec + 8,
			.count = (uint32_t)(4 * MIB_SECTORS - sec - 8),
			.disk = &disk.disk,
			.done = migration_answer,
		};

		migration_answered = false;
		disk.disk.submit(&disk.disk, &io);
		while (!migration_answered)
			tapdisk_server_iterate();
		assert_int_equal(asked_flags, TD_REQ_ONE);
		assert_int_equal(migration_err, 0);
		assert_int_equal(io.zero, sec / STRIPE_SECTORS % 2 == 0);
		assert_int_equal(io.count, STRIPE_SECTORS - 8);
	}
	image_disk_close(&disk);
}

static void
what_is_not_on_the_disk_is_refused(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(write_all(image, data, 4 * MIB_SECTORS, 1), -EINVAL);
	assert_int_equal(read_all(image, back, 4 * MIB_SECTORS - 1, 2), -EINVAL);
	assert_int_equal(zero_all(image, UINT64_MAX, 1, 0), -EINVAL);
	tapdisk_image_close(image);
}

static void
a_read_only_image_is_not_written(void **state)
{
	td_image_t *image = opened(TD_OPEN_RDONLY);

	assert_int_equal(write_all(image, data, 0, 8), -EROFS);
	assert_int_equal(zero_all(image, 0, 8, 0), -EROFS);
	assert_int_equal(read_all(image, back, 0, 8), 0);
	assert_int_equal(flush(image), 0);
	tapdisk_image_close(image);
	assert_int_equal(allocated(), 0);
}

static void
assert_refused(int flags, int err)
{
	td_image_t *image;

	tapdisk_log_clear_error();
	assert_int_equal(tapdisk_image_open(DISK_TYPE_AIO, path, flags, NULL, &image), err);
	assert_non_null(strstr(tapdisk_log_first_error(), path));
}

static void
a_second_opener_is_refused_unless_both_read(void **state)
{
	td_image_t *image = opened(0), *other;

	assert_refused(0, -EBUSY);
	assert_refused(TD_OPEN_RDONLY, -EBUSY);
	tapdisk_image_close(image);

	image = opened(TD_OPEN_RDONLY);
	other = opened(TD_OPEN_RDONLY);
	assert_refused(0, -EBUSY);
	tapdisk_image_close(image);
	tapdisk_image_close(other);

	tapdisk_image_close(opened(0));
}

static void
sizes_that_are_not_whole_sectors_are_refused(void **state)
{
	const off_t sizes[] = { 0, 1, 511, 513, 4 * MIB + 100 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		assert_int_equal(truncate(path, sizes[i]), 0);
		assert_refused(0, -EINVAL);
	}
}

static void
what_is_no_disk_is_refused(void **state)
{
	char name[sizeof(path)];

	memcpy(name, path, sizeof(path));
	snprintf(path, sizeof(path), "/tmp/test-block-aio-missing");
	assert_refused(0, -ENOENT);
	snprintf(path, sizeof(path), "/tmp");
	assert_refused(0, -EISDIR);
	snprintf(path, sizeof(path), "/dev/null");
	assert_refused(0, -EINVAL);
	memcpy(path, name, sizeof(path));

	/* A pipe must not even be opened: that would block. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(TD_OPEN_RDONLY, -EINVAL);
}

static void
a_file_that_shrinks_gives_errors_not_old_data(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(write_all(image, data, 0, 4 * MIB_SECTORS), 0);
	assert_int_equal(truncate(path, MIB), 0);
	assert_int_equal(read_all(image, back, MIB_SECTORS, 8), -EIO);
	assert_int_equal(read_all(image, back, 0, 8), 0);
	tapdisk_image_close(image);
}

static off_t
file_size(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void
behind_the_end_of_a_file_is_an_error_not_a_hole(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(write_all(image, data, MIB_SECTORS, 2 * MIB_SECTORS), 0);
	assert_int_equal(truncate(path, 2 * MIB + 4096), 0);
	assert_int_equal(status_all(image, 3 * MIB_SECTORS, MIB_SECTORS), -EIO);
	assert_int_equal(status_data + status_holes, 0);
	assert_int_equal(status_all(image, 0, 4 * MIB_SECTORS), -EIO);
	assert_int_equal(status_holes, MIB_SECTORS);
	assert_int_equal(status_data, MIB_SECTORS + 8);
	tapdisk_image_close(image);
}

static void
a_hole_that_was_there_is_told_up_to_where_the_file_is_cut_off(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(truncate(path, 2 * MIB + 700), 0);
	assert_int_equal(status_all(image, 0, 4 * MIB_SECTORS), -EIO);
	assert_int_equal(status_holes, 2 * MIB_SECTORS + 1); /* a sector in part is lost */
	assert_int_equal(status_data, 0);
	tapdisk_image_close(image);
}

static void
a_file_that_was_cut_off_does_not_become_whole_by_growing(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(write_all(image, data, 0, 4 * MIB_SECTORS), 0);
	assert_int_equal(truncate(path, MIB), 0);
	assert_int_equal(status_all(image, MIB_SECTORS, 8), -EIO);
	assert_int_equal(write_all(image, data, 3 * MIB_SECTORS, 8), -EIO);
	assert_int_equal(zero_all(image, MIB_SECTORS - 8, 16, 0), -EIO);
	assert_int_equal(file_size(), MIB);

	assert_int_equal(truncate(path, 4 * MIB), 0);
	assert_int_equal(read_all(image, back, MIB_SECTORS, 8), -EIO);
	assert_int_equal(status_all(image, MIB_SECTORS, 8), -EIO);
	assert_int_equal(write_all(image, data, MIB_SECTORS - 8, 8), 0);
	tapdisk_image_close(image);

	image = opened(0);
	assert_int_equal(read_all(image, back, MIB_SECTORS, 8), 0);
	tapdisk_image_close(image);
}

/* Before anything has looked at its size: a write, and what it cannot be part of. */
static void
a_write_does_not_make_a_file_longer_that_was_cut_off(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(write_all(image, data, 0, 4 * MIB_SECTORS), 0);
	assert_int_equal(truncate(path, MIB), 0);
	expect();
	for (td_sector_t sec = 0; sec < 4 * MIB_SECTORS; sec += MIB_SECTORS / 4)
		td_queue_write(image, request(TD_OP_WRITE, data, sec, MIB_SECTORS / 4));
	assert_int_equal(wait_for(4 * MIB_SECTORS), -EIO);
	assert_int_equal(answers, 16);
	assert_int_equal(file_size(), MIB);
	assert_int_equal(read_all(image, back, 0, MIB_SECTORS), 0);
	assert_memory_equal(back + MIB / 4 * 3, data, MIB / 4);
	assert_int_equal(write_all(image, data, MIB_SECTORS - 8, 16), -EIO);
	assert_int_equal(write_all(image, data, 4 * MIB_SECTORS - 8, 8), -EIO);
	assert_int_equal(file_size(), MIB);
	tapdisk_image_close(image);
}

static void
what_was_lost_does_not_come_back_as_zeroes(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(write_all(image, data, 0, 4 * MIB_SECTORS), 0);
	assert_int_equal(truncate(path, MIB), 0);
	assert_int_equal(read_all(image, back, 2 * MIB_SECTORS, 8), -EIO);
	assert_int_equal(flush(image), -EIO);
	assert_int_equal(truncate(path, 4 * MIB), 0);
	assert_int_equal(read_all(image, back, 2 * MIB_SECTORS, 8), -EIO);
	tapdisk_image_close(image);
}

static void
zeroes_are_not_made_behind_the_end(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(truncate(path, MIB), 0);
	assert_int_equal(zero_all(image, MIB_SECTORS - 8, 16, 0), -EIO);
	assert_int_equal(zero_all(image, 2 * MIB_SECTORS, 8, TD_REQ_NO_HOLE), -EIO);
	assert_int_equal(file_size(), MIB);
	assert_int_equal(zero_all(image, MIB_SECTORS - 8, 8, 0), 0);
	tapdisk_image_close(image);
}

static void
a_flush_tells_once_of_writes_that_were_cut_off(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(write_all(image, data, 0, 4 * MIB_SECTORS), 0);
	assert_int_equal(truncate(path, MIB), 0);
	assert_int_equal(flush(image), -EIO);
	assert_int_equal(flush(image), 0);
	assert_int_equal(write_all(image, data, 0, MIB_SECTORS), 0);
	assert_int_equal(flush(image), 0);
	assert_int_equal(write_all(image, data, MIB_SECTORS, 8), -EIO);
	assert_int_equal(flush(image), 0);

	/* Somebody who knows of the cut already is no reason not to tell. */
	assert_int_equal(truncate(path, MIB / 2), 0);
	assert_int_equal(status_all(image, MIB_SECTORS / 2, 8), -EIO);
	assert_int_equal(flush(image), -EIO);
	assert_int_equal(flush(image), 0);
	tapdisk_image_close(image);
}

static void
what_was_never_written_can_be_flushed_without_the_end(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(write_all(image, data, 0, MIB_SECTORS), 0);
	assert_int_equal(flush_as(image, TD_REQ_WHOLE), 0);
	assert_int_equal(truncate(path, 2 * MIB), 0);
	assert_int_equal(flush(image), 0);
	assert_int_equal(flush_as(image, TD_REQ_WHOLE), -EMEDIUMTYPE);
	assert_int_equal(truncate(path, 4 * MIB), 0);
	assert_int_equal(flush(image), 0);
	assert_int_equal(flush_as(image, TD_REQ_WHOLE), -EMEDIUMTYPE);
	tapdisk_image_close(image);
}

static void
a_file_may_grow(void **state)
{
	td_image_t *image = opened(0);

	assert_int_equal(truncate(path, 8 * MIB), 0);
	assert_int_equal(flush_as(image, TD_REQ_WHOLE), 0);
	assert_int_equal(write_all(image, data, 4 * MIB_SECTORS - 8, 8), 0);
	assert_int_equal(truncate(path, 4 * MIB), 0);
	assert_int_equal(flush_as(image, TD_REQ_WHOLE), 0);
	tapdisk_image_close(image);
}

static void
the_page_cache_is_used_where_it_is_asked_for(void **state)
{
	td_image_t *image = opened(TD_OPEN_NO_O_DIRECT);

	/* Memory that O_DIRECT would not take. */
	assert_int_equal(write_all(image, data + 1, 1, 9), 0);
	assert_int_equal(read_all(image, back + 3, 1, 9), 0);
	assert_memory_equal(data + 1, back + 3, 9 * 512);
	tapdisk_image_close(image);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read_back),
		TEST(more_requests_than_are_allocated_at_once_are_all_done),
		TEST(closing_waits_for_everything_in_flight),
		TEST(zeroes_make_holes_unless_they_must_not),
		TEST(zeroes_are_exact_to_the_sector),
		TEST(zeroes_are_made_in_steps),
		TEST(block_status_tells_data_from_holes_in_order),
		TEST(block_status_of_one_extent_looks_no_further),
		TEST(block_status_that_nobody_waits_for_looks_no_further),
		TEST(zeroes_that_nobody_waits_for_are_not_gone_on_with),
		TEST(a_migration_asks_for_one_extent),
		TEST(what_is_not_on_the_disk_is_refused),
		TEST(a_read_only_image_is_not_written),
		TEST(a_second_opener_is_refused_unless_both_read),
		TEST(sizes_that_are_not_whole_sectors_are_refused),
		TEST(what_is_no_disk_is_refused),
		TEST(a_file_that_shrinks_gives_errors_not_old_data),
		TEST(behind_the_end_of_a_file_is_an_error_not_a_hole),
		TEST(a_hole_that_was_there_is_told_up_to_where_the_file_is_cut_off),
		TEST(a_file_that_was_cut_off_does_not_become_whole_by_growing),
		TEST(a_write_does_not_make_a_file_longer_that_was_cut_off),
		TEST(what_was_lost_does_not_come_back_as_zeroes),
		TEST(zeroes_are_not_made_behind_the_end),
		TEST(a_flush_tells_once_of_writes_that_were_cut_off),
		TEST(what_was_never_written_can_be_flushed_without_the_end),
		TEST(a_file_may_grow),
		TEST(the_page_cache_is_used_where_it_is_asked_for),
	};

	return cmocka_run_group_tests_name("aio", tests, NULL, NULL);
}
