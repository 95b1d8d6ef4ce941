/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/libaio-backend.o drivers/tapdisk-loop.o drivers/tapdisk-log.o */
/* Kernel AIO, with a real file. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "libaio-backend.h"

#define BLOCK  4096
#define BLOCKS 64
#define DEPTH  20 /* not a whole number of batches */

static struct libaio aio;
static int fd;
static char data[BLOCKS][BLOCK], back[BLOCKS][BLOCK];

static struct job {
	struct tiocb tiocb;
	int calls;
	int err;
} jobs[BLOCKS];

static void
job_done(void *arg, struct tiocb *tiocb, int err)
{
	struct job *job = arg;

	assert_ptr_equal(tiocb, &job->tiocb);
	job->calls++;
	job->err = err;
}

static int
setup(void **state)
{
	char path[] = "/tmp/test-libaio-XXXXXX";

	memset(jobs, 0, sizeof(jobs));
	memset(back, 0, sizeof(back));
	for (int i = 0; i < BLOCKS; i++)
		memset(data[i], i + 1, BLOCK);

	fd = mkstemp(path);
	return fd < 0 || unlink(path) || libaio_open(&aio, DEPTH);
}

static int
teardown(void **state)
{
	libaio_close(&aio);
	return close(fd);
}

static void
queue(int i, int file, bool write, char *buf, size_t size, long long offset)
{
	libaio_prep(&aio, &jobs[i].tiocb, file, write, buf, size, offset, job_done, &jobs[i]);
	libaio_queue(&aio, &jobs[i].tiocb);
}

/* Until nothing is queued or in flight. */
static void
drain(void)
{
	for (;;) {
		struct pollfd pollfd = { .fd = aio.event_fd, .events = POLLIN };

		assert_true(libaio_submit(&aio));
		assert_true(aio.in_flight <= DEPTH);
		if (!aio.in_flight)
			break;
		assert_int_equal(poll(&pollfd, 1, -1), 1);
		libaio_complete(&aio);
	}
	assert_int_equal(aio.n_ready, 0);
}

static void
assert_done(int i, int err)
{
	assert_int_equal(jobs[i].calls, 1);
	assert_int_equal(jobs[i].err, err);
}

static void
what_does_not_fit_waits_and_is_done(void **state)
{
	for (int i = 0; i < BLOCKS; i++)
		queue(i, fd, true, data[i], BLOCK, (long long)i * BLOCK);
	drain();
	for (int i = 0; i < BLOCKS; i++)
		assert_done(i, 0);

	memset(jobs, 0, sizeof(jobs));
	for (int i = 0; i < BLOCKS; i++)
		queue(i, fd, false, back[i], BLOCK, (long long)i * BLOCK);
	drain();
	for (int i = 0; i < BLOCKS; i++)
		assert_done(i, 0);
	assert_memory_equal(data, back, sizeof(data));
}

/* As much as it leaves for others, and of what they leave they leave as much again. */
static void
a_file_leaves_room_for_others(void **state)
{
	const int files[] = { fd, dup(fd), dup(fd) };
	const unsigned int has[] = { DEPTH / 2, DEPTH / 2 + DEPTH / 4,
				     DEPTH / 2 + DEPTH / 4 + 3 };

	for (int f = 0; f < 3; f++) {
		for (int i = 0; i < BLOCKS / 4; i++)
			queue(f * BLOCKS / 4 + i, files[f], true, data[i], BLOCK,
			      (long long)i * BLOCK);
		assert_true(libaio_submit(&aio));
		assert_int_equal(aio.in_flight, has[f]);
	}
	drain();
	for (int i = 0; i < 3 * BLOCKS / 4; i++)
		assert_done(i, 0);
	close(files[1]);
	close(files[2]);
}

/* --- a submission that waits in the file system ------------------------------- */

static int slow_fd;
static long (*kernel_submit)(struct libaio *aio, long n, struct iocb **iocbs);

/*
 * While the slow file's submission is under way, another thread runs the loop: here its
 * part of it is played.
 */
static long
slow_submit(struct libaio *a, long n, struct iocb **iocbs)
{
	long res;

	for (long i = 1; i < n; i++)
		assert_int_equal(iocbs[i]->aio_fildes, iocbs[0]->aio_fildes);
	if (iocbs[0]->aio_fildes != slow_fd)
		return kernel_submit(a, n, iocbs);

	a->submit = kernel_submit;
	res = kernel_submit(a, n, iocbs);
	queue(2, slow_fd, true, data[2], BLOCK, 2 * BLOCK);
	queue(3, fd, true, data[3], BLOCK, 3 * BLOCK);
	while (!jobs[1].calls || !jobs[3].calls) {
		assert_true(libaio_submit(a));
		libaio_complete(a);
	}
	/* What the kernel has taken may be over; what came later has not been asked for. */
	assert_int_equal(jobs[2].calls, 0);
	assert_int_equal(a->submitting, n);
	return res;
}

static void
others_go_on_while_a_submission_waits(void **state)
{
	slow_fd = dup(fd);
	kernel_submit = aio.submit;
	aio.submit = slow_submit;
	queue(0, slow_fd, true, data[0], BLOCK, 0);
	queue(1, fd, true, data[1], BLOCK, BLOCK);
	drain();
	for (int i = 0; i < 4; i++)
		assert_done(i, 0);
	close(slow_fd);
}

/* What the kernel does not take is first, and in order, in the next attempt. */
static long
half_submit(struct libaio *a, long n, struct iocb **iocbs)
{
	static int turn;

	for (long i = 1; i < n; i++)
		assert_true(iocbs[i]->u.c.offset > iocbs[i - 1]->u.c.offset);
	switch (turn++ % 3) {
	case 0:
		return -EINTR;
	case 1:
		return kernel_submit(a, (n + 1) / 2, iocbs);
	default:
		return kernel_submit(a, n, iocbs);
	}
}

static void
what_is_not_taken_keeps_its_place(void **state)
{
	kernel_submit = aio.submit;
	aio.submit = half_submit;
	for (int i = 0; i < BLOCKS; i++)
		queue(i, fd, true, data[i], BLOCK, (long long)i * BLOCK);
	drain();
	for (int i = 0; i < BLOCKS; i++)
		assert_done(i, 0);
}

static long
none_submit(struct libaio *a, long n, struct iocb **iocbs)
{
	return -EAGAIN;
}

static void
a_kernel_without_memory_is_asked_again(void **state)
{
	kernel_submit = aio.submit;
	aio.submit = none_submit;
	queue(0, fd, true, data[0], BLOCK, 0);
	assert_false(libaio_submit(&aio));
	assert_false(libaio_submit(&aio));
	assert_int_equal(aio.in_flight, 0);
	aio.submit = kernel_submit;
	drain();
	assert_done(0, 0);
}

static void
what_the_kernel_refuses_fails_alone(void **state)
{
	const int refused[] = { 0, 5, 6, 11 };

	for (int i = 0; i < 12; i++)
		queue(i, fd, true, data[i], BLOCK, (long long)i * BLOCK);
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		jobs[refused[i]].tiocb.iocb.aio_fildes = -1;
	drain();

	for (int i = 0; i < 12; i++)
		assert_done(i, i == 0 || i == 5 || i == 6 || i == 11 ? -EBADF : 0);
}

static void
a_transfer_that_cannot_be_whole_is_an_error(void **state)
{
	assert_int_equal(pwrite(fd, data, BLOCK, 0), BLOCK);
	queue(0, fd, false, back[0], 2 * BLOCK, 0);
	queue(1, fd, false, back[2], BLOCK, 0);
	drain();
	assert_done(0, -EIO);
	assert_done(1, 0);
}

/* What it was before. */
static rlim_t
limit_file_size(rlim_t bytes)
{
	struct rlimit limit;
	rlim_t old;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	old = limit.rlim_cur;
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	return old;
}

/* A write that the limit cuts is short first; what comes then says why. */
static void
a_short_transfer_ends_with_its_own_error(void **state)
{
	rlim_t old = limit_file_size(BLOCK);

	queue(0, fd, true, data[0], 2 * BLOCK, 0);
	drain();
	limit_file_size(old);

	assert_done(0, -EFBIG);
	assert_int_equal(pread(fd, back, 2 * BLOCK, 0), BLOCK);
	assert_memory_equal(back, data, BLOCK);
}

/* One turn, in which something must complete. */
static void
complete_some(void)
{
	struct pollfd pollfd = { .fd = aio.event_fd, .events = POLLIN };

	assert_true(libaio_submit(&aio));
	assert_int_equal(poll(&pollfd, 1, -1), 1);
	libaio_complete(&aio);
}

static void
the_rest_of_a_short_write_is_written(void **state)
{
	rlim_t old = limit_file_size(BLOCK);

	queue(0, fd, true, data[0], 3 * BLOCK, 0);
	complete_some();
	limit_file_size(old);
	assert_int_equal(jobs[0].calls, 0);

	drain();
	assert_done(0, 0);
	assert_int_equal(pread(fd, back, 3 * BLOCK, 0), 3 * BLOCK);
	assert_memory_equal(back, data, 3 * BLOCK);
}

static void
the_rest_of_a_short_read_is_read(void **state)
{
	assert_int_equal(pwrite(fd, data, BLOCK, 0), BLOCK);
	queue(0, fd, false, back[0], 3 * BLOCK, 0);
	complete_some();
	assert_int_equal(jobs[0].calls, 0);

	assert_int_equal(pwrite(fd, data, 3 * BLOCK, 0), 3 * BLOCK);
	drain();
	assert_done(0, 0);
	assert_memory_equal(back, data, 3 * BLOCK);
}

static void
wait_for_second(void *arg, struct tiocb *tiocb, int err)
{
	job_done(arg, tiocb, err);
	while (!jobs[1].calls)
		libaio_complete(&aio);
}

static void
a_callback_can_have_the_others_delivered(void **state)
{
	for (int i = 0; i < 2; i++)
		queue(i, fd, true, data[i], BLOCK, (long long)i * BLOCK);
	jobs[0].tiocb.cb = wait_for_second;
	assert_true(libaio_submit(&aio));
	drain();
	assert_done(0, 0);
	assert_done(1, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_does_not_fit_waits_and_is_done),
		TEST(a_file_leaves_room_for_others),
		TEST(others_go_on_while_a_submission_waits),
		TEST(what_is_not_taken_keeps_its_place),
		TEST(a_kernel_without_memory_is_asked_again),
		TEST(what_the_kernel_refuses_fails_alone),
		TEST(a_transfer_that_cannot_be_whole_is_an_error),
		TEST(a_short_transfer_ends_with_its_own_error),
		TEST(the_rest_of_a_short_write_is_written),
		TEST(the_rest_of_a_short_read_is_read),
		TEST(a_callback_can_have_the_others_delivered),
	};

	return cmocka_run_group_tests_name("libaio", tests, NULL, NULL);
}
