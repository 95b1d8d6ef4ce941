/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-lost.o */
/* links: drivers/tapdisk-vbd-image.o */
/* links: drivers/tapdisk-loop.o drivers/thread-io.o */
/* links: drivers/tapdisk-vbd.o drivers/tapdisk-image.o drivers/tapdisk-interface.o */
/* links: drivers/tapdisk-driver.o drivers/tapdisk-disktype.o drivers/tapdisk-server.o */
/* links: drivers/migrate-text.o */
/* links: drivers/tapdisk-stats.o drivers/tapdisk-log.o drivers/tapdisk-worker.o */
/* links: drivers/scheduler.o drivers/libaio-backend.o */
/*
 * A VBD over a driver whose answers the test gives by hand. An image's name is
 * its size in sectors.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tapdisk-control.h"
#include "tapdisk-driver.h"
#include "tapdisk-image.h"
#include "tapdisk-interface.h"
#include "tapdisk-server.h"
#include "tapdisk-vbd.h"
#include "timeout-math.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

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

/* --- the driver ----------------------------------------------------------------- */

static td_request_t held[64]; /* what it has, in order of arrival */
static int n_held;
static int busy;      /* answers the next so many with -EBUSY */
static int close_err; /* what td_close answers */
static int n_open;
static void (*in_close)(void); /* what happens meanwhile */
static int name_err;	       /* what td_check_name answers */
static int file;	       /* what td_get_fd answers */

static int
hand_open(td_driver_t *driver, const char *name, struct td_vbd_encryption *encryption,
	  td_flag_t flags)
{
	driver->info.size = strtoull(name, NULL, 10);
	driver->info.sector_size = strchr(name, 'k') ? 4096 : 512;
	if (!driver->info.size) {
		EPRINTF("%s: nothing there", name);
		return -ENOENT;
	}
	n_open++;
	return 0;
}

static int
hand_close(td_driver_t *driver)
{
	if (in_close)
		in_close();
	if (!close_err)
		n_open--;
	return close_err;
}

static int
hand_get_parent_id(td_driver_t *driver, td_disk_id_t *id)
{
	return TD_NO_PARENT;
}

static void
hand_queue(td_driver_t *driver, td_request_t treq)
{
	if (busy) {
		busy--;
		td_complete_request(treq, -EBUSY);
		return;
	}
	assert_true(n_held < (int)N(held));
	held[n_held++] = treq;
}

static int
hand_check_name(td_driver_t *driver)
{
	return name_err;
}

static int
hand_get_fd(td_driver_t *driver)
{
	return file;
}

struct tap_disk tapdisk_aio = {
	.disk_type = "by hand",
	.td_check_name = hand_check_name,
	.td_get_fd = hand_get_fd,
	.private_data_size = 1,
	.td_open = hand_open,
	.td_close = hand_close,
	.td_get_parent_id = hand_get_parent_id,
	.td_queue_read = hand_queue,
	.td_queue_write = hand_queue,
	.td_queue_flush = hand_queue,
};

/* Answers the first secs sectors of what the driver has held longest. */
static void
answer(int secs, int err)
{
	td_request_t treq = held[0];

	assert_true(n_held > 0);
	treq.secs = secs;
	if (secs == held[0].secs) {
		memmove(held, held + 1, sizeof(held[0]) * (size_t)--n_held);
	} else {
		held[0].secs -= secs;
		held[0].sec += (td_sector_t)secs;
		held[0].buf = (char *)held[0].buf + (secs << SECTOR_SHIFT);
	}
	td_complete_request(treq, err);
}

/* --- the front end --------------------------------------------------------------- */

static td_vbd_t *vbd;
static char buffer[64 << SECTOR_SHIFT];

struct guest {
	td_vbd_request_t vreq;
	struct td_iovec iov[2];
	int answers;
	int err;
	int final;
	int extents;
};

static void
guest_answer(td_vbd_request_t *vreq, int err, void *token, int final)
{
	struct guest *guest = list_entry(vreq, struct guest, vreq);

	guest->answers++;
	guest->err = err;
	guest->final = final;
}

static void
guest_status(td_vbd_request_t *vreq, td_sector_t sec, td_sector_t secs, int status)
{
	struct guest *guest = list_entry(vreq, struct guest, vreq);

	guest->extents++;
	assert_int_equal(status, TD_BLOCK_STATE_NONE);
	assert_int_equal(sec, vreq->sec);
	assert_int_equal(secs, vreq->secs);
}

/* Queues a request of one or two iovecs. */
static void
ask(struct guest *guest, int op, td_sector_t sec, unsigned int first, unsigned int second)
{
	*guest = (struct guest){
		.iov = { { buffer, first }, { buffer + (first << SECTOR_SHIFT), second } },
		.vreq = { .op = op,
			  .sec = sec,
			  .secs = first,
			  .iovcnt = second ? 2 : 1,
			  .cb = guest_answer,
			  .status_cb = guest_status,
			  .token = guest,
			  .name = "test" },
	};
	guest->vreq.iov = guest->iov;
	assert_int_equal(tapdisk_vbd_queue_request(vbd, &guest->vreq), 0);
}

static void
turn(void)
{
	tapdisk_server_set_max_timeout(0);
	tapdisk_server_iterate();
}

static void
assert_answered(const struct guest *guest, int err)
{
	assert_int_equal(guest->answers, 1);
	assert_int_equal(guest->err, err);
}

static int dones, done_err;

static void
done(td_vbd_t *of, int err, void *token)
{
	assert_ptr_equal(of, vbd);
	dones++;
	done_err = err;
}

static void
assert_done(int err)
{
	assert_int_equal(dones, 1);
	assert_int_equal(done_err, err);
	dones = 0;
}

static void
pause_now(void)
{
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	turn();
	assert_done(0);
}

static int
setup(void **state)
{
	n_held = busy = close_err = n_open = dones = name_err = 0;
	file = -1;
	in_close = NULL;
	if (tapdisk_server_init())
		return -1;
	vbd = tapdisk_vbd_create(7);
	tapdisk_server_add_vbd(vbd);
	return tapdisk_vbd_open(vbd, "aio:1000", 0);
}

static int
teardown(void **state)
{
	if (vbd->name) {
		tapdisk_vbd_close(vbd, false, done, NULL);
		turn();
		turn();
	}
	assert_null(vbd->name);
	assert_int_equal(n_open, 0);
	tapdisk_server_remove_vbd(vbd);
	tapdisk_vbd_free(vbd);
	tapdisk_server_exit();
	return 0;
}

/* --- requests -------------------------------------------------------------------- */

static void
a_request_is_answered_once_and_from_the_loop(void **state)
{
	struct guest a;

	ask(&a, TD_OP_WRITE, 8, 8, 8);
	assert_int_equal(n_held, 0);
	turn();
	assert_int_equal(n_held, 2);
	assert_int_equal(held[1].sec, 16);
	assert_ptr_equal(held[1].buf, buffer + (8 << SECTOR_SHIFT));

	answer(8, 0);
	answer(8, 0);
	assert_int_equal(a.answers, 0);
	turn();
	turn();
	assert_answered(&a, 0);
	assert_int_equal(vbd->secs.wr, 16);
}

static void
the_first_error_survives_later_successes(void **state)
{
	const int errors[3][3] = { { -EIO, 0, 0 }, { 0, -ENOSPC, -EIO }, { 0, 0, -EIO } };
	const int expected[3] = { -EIO, -ENOSPC, -EIO };

	for (int i = 0; i < 3; i++) {
		struct guest a;

		ask(&a, TD_OP_READ, 0, 6, 0);
		turn();
		for (int part = 0; part < 3; part++)
			answer(2, errors[i][part]);
		turn();
		assert_answered(&a, expected[i]);
	}
}

static void
positive_errors_of_a_driver_are_errors(void **state)
{
	struct guest a;

	ask(&a, TD_OP_READ, 0, 1, 0);
	turn();
	answer(1, EIO);
	turn();
	assert_answered(&a, -EIO);
}

static void
a_part_that_the_driver_is_too_busy_for_comes_again(void **state)
{
	struct guest a;

	busy = 3;
	ask(&a, TD_OP_WRITE, 0, 8, 8);
	for (int i = 0; n_held < 2; i++) {
		assert_true(i < 10);
		turn();
	}
	assert_int_equal(a.answers, 0);
	answer(8, 0);
	answer(8, 0);
	turn();
	assert_answered(&a, 0);
}

static void
a_driver_that_stays_busy_fails_the_request_in_the_end(void **state)
{
	struct guest a;

	vbd->req_timeout = 0;
	busy = 1000000;
	ask(&a, TD_OP_WRITE, 0, 8, 0);
	while (!a.answers)
		turn();
	assert_answered(&a, -EBUSY);
}

static void
what_is_not_on_the_disk_never_reaches_the_driver(void **state)
{
	const struct {
		int op;
		td_sector_t sec;
		unsigned int secs;
	} bad[] = {
		{ TD_OP_READ, 1000, 1 }, { TD_OP_READ, 999, 2 },
		{ TD_OP_WRITE, 0, 0 },	 { TD_OP_READ, UINT64_MAX, 1 },
		{ TD_OP_ZERO, 1, 1000 }, { TD_OP_BLOCK_STATUS, 1001, 1 },
		{ TD_OP_ZERO, 0, 0 },	 { TD_OPS_END, 0, 1 },
		{ TD_OP_WRITE, 2, ~0u },
	};

	for (size_t i = 0; i < N(bad); i++) {
		struct guest a;

		ask(&a, bad[i].op, bad[i].sec, bad[i].secs, 0);
		turn();
		assert_answered(&a, -EINVAL);
	}
	assert_int_equal(n_held, 0);
}

static void
requests_are_whole_logical_sectors(void **state)
{
	struct guest a;

	pause_now();
	vbd->disk_info.sector_size = 4096;
	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), 0);

	ask(&a, TD_OP_READ, 4, 8, 0);
	turn();
	assert_answered(&a, -EINVAL);
	ask(&a, TD_OP_READ, 8, 4, 4);
	turn();
	assert_answered(&a, -EINVAL);
	ask(&a, TD_OP_READ, 8, 8, 0);
	turn();
	answer(8, 0);
	turn();
	assert_answered(&a, 0);
}

static void
a_flush_is_one_part(void **state)
{
	struct guest a;

	ask(&a, TD_OP_FLUSH, 0, 0, 0);
	turn();
	assert_int_equal(n_held, 1);
	answer(0, -EIO);
	turn();
	assert_answered(&a, -EIO);
}

static void
block_status_of_a_driver_that_does_not_know_is_data(void **state)
{
	struct guest a;

	ask(&a, TD_OP_BLOCK_STATUS, 10, 500, 0);
	turn();
	assert_answered(&a, 0);
	assert_int_equal(a.extents, 1);
}

static td_sector_t status_covered;

/* Has enough after two extents. */
static void
two_extents(td_vbd_request_t *vreq, td_sector_t sec, td_sector_t secs, int status)
{
	struct guest *guest = list_entry(vreq, struct guest, vreq);

	assert_int_equal(sec, vreq->sec + status_covered);
	status_covered += secs;
	vreq->unwanted = ++guest->extents == 2;
}

static void
block_status_ends_where_its_front_end_has_enough(void **state)
{
	struct guest a;

	tapdisk_aio.td_queue_block_status = hand_queue;
	ask(&a, TD_OP_BLOCK_STATUS, 10, 500, 0);
	a.vreq.status_cb = two_extents;
	status_covered = 0;
	turn();
	answer(100, 0);
	assert_true(td_request_wanted(&held[0]));
	answer(100, 0);
	assert_false(td_request_wanted(&held[0]));
	answer(300, -ECANCELED);
	turn();
	assert_answered(&a, 0);
	assert_int_equal(status_covered, 200);

	/* An answer of nothing is none, and what nobody has given up is not given up. */
	ask(&a, TD_OP_BLOCK_STATUS, 10, 500, 0);
	a.vreq.flags = TD_REQ_ONE;
	turn();
	answer(500, -ECANCELED);
	turn();
	assert_answered(&a, -ECANCELED);
	ask(&a, TD_OP_BLOCK_STATUS, 10, 500, 0);
	a.vreq.status_cb = NULL;
	turn();
	answer(100, 0);
	answer(400, -ECANCELED);
	turn();
	assert_answered(&a, -ECANCELED);
	tapdisk_aio.td_queue_block_status = NULL;
}

static void
what_nobody_waits_for_is_not_begun(void **state)
{
	struct guest issued, held_back, busy_part;

	/* What the driver has is its own to give up. */
	ask(&issued, TD_OP_READ, 0, 8, 0);
	turn();
	tapdisk_vbd_abandon_request(vbd, &issued.vreq);
	turn();
	assert_int_equal(issued.answers, 0);
	answer(8, 0);
	turn();
	assert_answered(&issued, 0);

	busy = 1;
	ask(&busy_part, TD_OP_READ, 0, 8, 0);
	turn();
	tapdisk_vbd_abandon_request(vbd, &busy_part.vreq);
	turn();
	assert_answered(&busy_part, -ECANCELED);

	pause_now();
	ask(&held_back, TD_OP_WRITE, 0, 8, 0);
	turn();
	assert_int_equal(held_back.answers, 0);
	tapdisk_vbd_abandon_request(vbd, &held_back.vreq);
	assert_int_equal(held_back.answers, 0);
	turn();
	assert_answered(&held_back, -ECANCELED);
	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), 0);
	turn();
	assert_int_equal(n_held, 0);
}

static void
operations_that_a_driver_lacks_are_refused(void **state)
{
	struct guest a;

	ask(&a, TD_OP_ZERO, 0, 8, 0);
	turn();
	assert_answered(&a, -EOPNOTSUPP);
}

static void
the_last_answer_of_a_batch_is_final(void **state)
{
	struct guest a, b;

	ask(&a, TD_OP_READ, 0, 1, 0);
	ask(&b, TD_OP_READ, 1, 1, 0);
	a.vreq.token = b.vreq.token = buffer;
	turn();
	answer(1, 0);
	answer(1, 0);
	turn();
	assert_int_equal(a.final, 0);
	assert_int_equal(b.final, 1);
}

/* --- pause, resume, close --------------------------------------------------------- */

static void
a_pause_waits_for_what_is_in_flight_and_holds_what_comes(void **state)
{
	struct guest a, b;

	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	ask(&b, TD_OP_WRITE, 8, 8, 0);
	turn();
	assert_int_equal(dones, 0);
	assert_int_equal(n_held, 1);

	answer(8, 0);
	turn();
	assert_done(0);
	assert_answered(&a, 0);
	assert_int_equal(vbd->state, 0x2a);
	assert_int_equal(n_open, 0);
	assert_string_equal(vbd->name, "aio:1000");

	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), 0);
	assert_int_equal(vbd->state, 0);
	turn();
	assert_int_equal(n_held, 1);
	answer(8, 0);
	turn();
	assert_answered(&b, 0);
}

static void
a_paused_vbd_is_paused_at_once_and_a_running_one_not_resumed(void **state)
{
	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), -EINVAL);
	pause_now();
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	assert_done(0);
}

static void
a_cancelled_pause_leaves_nothing_behind(void **state)
{
	struct guest a, b;

	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	ask(&b, TD_OP_WRITE, 8, 8, 0);
	turn();
	assert_int_equal(n_held, 1);
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), -EBUSY);

	tapdisk_vbd_cancel_pause(vbd);
	turn();
	assert_int_equal(n_held, 2);
	answer(8, 0);
	answer(8, 0);
	turn();
	assert_answered(&b, 0);
	assert_int_equal(dones, 0);
	assert_int_equal(vbd->state, 0);
	assert_int_equal(n_open, 1);
}

static void
cancel_pause(void)
{
	tapdisk_vbd_cancel_pause(vbd);
}

static void
a_pause_cancelled_while_the_image_closes_is_undone(void **state)
{
	in_close = cancel_pause;
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	turn();
	in_close = NULL;
	assert_int_equal(dones, 0);
	assert_int_equal(vbd->state, 0);
	assert_int_equal(n_open, 1);
}

static struct guest late;

static void
nested_turns(void)
{
	ask(&late, TD_OP_READ, 0, 1, 0);
	turn();
	turn();
	assert_int_equal(n_held, 0);
	/* The outer turn's limit was for the first turn that waits. */
	tapdisk_server_set_max_timeout(0);
}

static void
a_driver_that_refuses_to_close_goes_on_serving(void **state)
{
	close_err = -EAGAIN;
	in_close = nested_turns;
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	turn();
	assert_done(-EAGAIN);
	assert_int_equal(vbd->state, 0);
	in_close = NULL;

	turn();
	answer(1, 0);
	turn();
	assert_answered(&late, 0);

	assert_int_equal(tapdisk_vbd_close(vbd, false, done, NULL), 0);
	turn();
	assert_done(-EAGAIN);
	ask(&late, TD_OP_READ, 0, 1, 0);
	turn();
	answer(1, 0);
	turn();
	assert_answered(&late, 0);
	close_err = 0;
}

static void
a_failed_resume_stays_paused_under_the_old_name(void **state)
{
	struct guest a;

	pause_now();
	ask(&a, TD_OP_WRITE, 0, 8, 0);

	tapdisk_log_clear_error();
	assert_int_equal(tapdisk_vbd_resume(vbd, "aio:0"), -ENOENT);
	assert_string_equal(tapdisk_log_first_error(), "0: nothing there");
	assert_int_equal(tapdisk_vbd_resume(vbd, "aio:999"), -EMEDIUMTYPE);
	assert_int_equal(tapdisk_vbd_resume(vbd, "aio:1000k"), -EMEDIUMTYPE);
	assert_int_equal(tapdisk_vbd_resume(vbd, "nonsense"), -EINVAL);
	assert_int_equal(tapdisk_vbd_resume(vbd, "qcow:1000"), -ENOSYS);
	assert_int_equal(vbd->state, 0x2a);
	assert_string_equal(vbd->name, "aio:1000");
	assert_int_equal(n_open, 0);

	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), 0);
	turn();
	answer(8, 0);
	turn();
	assert_answered(&a, 0);
}

static void
a_larger_image_is_not_shown_as_larger(void **state)
{
	td_disk_info_t info;
	struct guest a;

	pause_now();
	assert_int_equal(tapdisk_vbd_resume(vbd, "aio:2000"), 0);
	assert_int_equal(tapdisk_vbd_get_disk_info(vbd, &info), 0);
	assert_int_equal(info.size, 1000);
	ask(&a, TD_OP_READ, 1000, 1, 0);
	turn();
	assert_answered(&a, -EINVAL);
}

static void
a_close_waits_for_what_is_in_flight_and_refuses_what_comes(void **state)
{
	struct guest a, b = { .vreq.op = TD_OP_FLUSH };

	ask(&a, TD_OP_WRITE, 0, 8, 0);
	assert_int_equal(tapdisk_vbd_close(vbd, false, done, NULL), 0);
	assert_int_equal(tapdisk_vbd_queue_request(vbd, &b.vreq), -ESHUTDOWN);
	turn();
	assert_int_equal(dones, 0);
	answer(8, 0);
	turn();
	assert_done(0);
	assert_answered(&a, 0);
	assert_null(vbd->name);
	assert_int_equal(vbd->state, TD_VBD_CLOSED);
}

static void
closing_a_paused_vbd_fails_what_it_holds(void **state)
{
	struct guest a;

	pause_now();
	ask(&a, TD_OP_WRITE, 0, 8, 0);
	assert_int_equal(tapdisk_vbd_close(vbd, false, done, NULL), 0);
	turn();
	assert_answered(&a, -ESHUTDOWN);
	assert_done(0);
}

static void
a_forced_close_takes_over_from_a_pause(void **state)
{
	struct guest a;

	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	assert_int_equal(tapdisk_vbd_close(vbd, false, done, NULL), -EBUSY);
	assert_int_equal(tapdisk_vbd_close(vbd, true, done, NULL), 0);
	assert_done(-ECANCELED);
	answer(8, 0);
	turn();
	assert_done(0);
	assert_answered(&a, 0);
}

/* --- a successor -------------------------------------------------------------------- */

static td_image_t *
successor(const char *name)
{
	td_image_t *image;

	assert_int_equal(tapdisk_image_open(0, name, 0, NULL, &image), 0);
	return image;
}

static void
a_successor_takes_over_when_nothing_is_in_flight(void **state)
{
	td_image_t *image = successor("2000");
	struct guest a, b;
	td_disk_info_t info;

	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	assert_int_equal(tapdisk_vbd_replace_image(vbd->image->driver, image, "aio:2000"), 0);
	ask(&b, TD_OP_WRITE, 8, 8, 0);
	turn();
	assert_int_equal(n_held, 1);
	assert_string_equal(vbd->name, "aio:1000");

	answer(8, 0);
	turn();
	assert_answered(&a, 0);
	assert_string_equal(vbd->name, "aio:2000");
	assert_ptr_equal(vbd->image, image);
	assert_int_equal(n_open, 1);
	assert_int_equal(n_held, 1);
	assert_ptr_equal(held[0].image, image);
	answer(8, 0);
	turn();
	assert_answered(&b, 0);

	assert_int_equal(tapdisk_vbd_get_disk_info(vbd, &info), 0);
	assert_int_equal(info.size, 1000);
	pause_now();
	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), 0);
	assert_int_equal(vbd->disk_info.size, 1000);
}

static void
a_pause_first_lets_the_successor_take_over(void **state)
{
	struct guest a;

	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	assert_int_equal(
		tapdisk_vbd_replace_image(vbd->image->driver, successor("2000"), "aio:2000"),
		0);
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	answer(8, 0);
	turn();
	assert_done(0);
	assert_string_equal(vbd->name, "aio:2000");
	assert_int_equal(vbd->state, 0x2a);
	assert_int_equal(n_open, 0);
}

static void
a_close_first_lets_the_successor_take_over(void **state)
{
	assert_int_equal(
		tapdisk_vbd_replace_image(vbd->image->driver, successor("2000"), "aio:2000"),
		0);
	assert_int_equal(tapdisk_vbd_close(vbd, false, done, NULL), 0);
	turn();
	assert_done(0);
	assert_int_equal(n_open, 0);
}

static td_image_t *refused;

static void
replace_while_closing(void)
{
	assert_int_equal(tapdisk_vbd_replace_image(vbd->image->driver, refused, "aio:2000"),
			 -EBUSY);
}

static void
a_successor_that_does_not_fit_stays_the_callers(void **state)
{
	td_driver_t *driver = vbd->image->driver;
	td_image_t *small = successor("999"), *coarse = successor("2000k");

	refused = successor("2000");
	assert_int_equal(tapdisk_vbd_replace_image(driver, small, "aio:999"), -EINVAL);
	assert_int_equal(tapdisk_vbd_replace_image(driver, coarse, "aio:2000k"), -EINVAL);
	assert_int_equal(tapdisk_vbd_replace_image(small->driver, refused, "aio:2000"),
			 -ENOENT);

	in_close = replace_while_closing;
	pause_now();
	in_close = NULL;

	tapdisk_image_close(small);
	tapdisk_image_close(coarse);
	tapdisk_image_close(refused);
	assert_int_equal(n_open, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- names ----------------------------------------------------------------------- */

static void
an_image_that_could_not_come_back_is_not_paused(void **state)
{
	struct guest a;

	name_err = -ESTALE;
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), -ESTALE);
	assert_int_equal(vbd->state, 0);

	/* Its name is lost while the pause waits. */
	name_err = 0;
	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), 0);
	name_err = -ESTALE;
	answer(8, 0);
	turn();
	assert_done(-ESTALE);
	assert_int_equal(vbd->state, 0);
	assert_int_equal(n_open, 1);

	assert_int_equal(tapdisk_vbd_pause(vbd, true, done, NULL), 0);
	turn();
	assert_done(0);
	assert_int_equal(vbd->state, 0x2a);
}

static void
what_was_paused_is_what_is_resumed(void **state)
{
	FILE *first = tmpfile(), *second = tmpfile();

	assert_true(first && second);
	file = fileno(first);
	pause_now();
	file = fileno(second);
	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), -ESTALE);
	assert_int_equal(vbd->state, 0x2a);
	assert_int_equal(n_open, 0);
	assert_int_equal(tapdisk_vbd_resume(vbd, "aio:1000"), 0);

	pause_now();
	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), 0);
	file = -1;
	fclose(first);
	fclose(second);
}

/* --- a migration begins ----------------------------------------------------------- */

static void
a_claim_is_the_only_one_of_a_vbd_that_runs(void **state)
{
	struct td_vbd_claim claim = { 0 }, other = { 0 };

	assert_int_equal(tapdisk_vbd_claim(vbd, &claim), 0);
	assert_ptr_equal(claim.vbd, vbd);
	assert_int_equal(tapdisk_vbd_claim(vbd, &other), -EALREADY);
	assert_null(other.vbd);
	tapdisk_vbd_unclaim(&claim);
	assert_null(claim.vbd);

	assert_int_equal(tapdisk_vbd_claim(vbd, &other), 0);
	tapdisk_vbd_unclaim(&other);
	pause_now();
	assert_int_equal(tapdisk_vbd_claim(vbd, &claim), -EBUSY);
	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), 0);
	vbd->busy++;
	assert_int_equal(tapdisk_vbd_claim(vbd, &claim), -EBUSY);
	vbd->busy--;
}

static void
a_pause_and_a_close_take_the_claim_away(void **state)
{
	struct td_vbd_claim claim;

	assert_int_equal(tapdisk_vbd_claim(vbd, &claim), 0);
	pause_now();
	assert_null(claim.vbd);
	tapdisk_vbd_unclaim(&claim);
	assert_int_equal(tapdisk_vbd_resume(vbd, NULL), 0);

	assert_int_equal(tapdisk_vbd_claim(vbd, &claim), 0);
	assert_int_equal(tapdisk_vbd_close(vbd, false, done, NULL), 0);
	assert_null(claim.vbd);
	turn();
	assert_done(0);
}

static struct guest late;
static td_image_t *switched_to;

static void
switched(td_image_t *image)
{
	assert_int_equal(n_held, 0);
	switched_to = image;
}

/* While a switch waits: another request comes, then the one under way is answered. */
static void
meanwhile(event_id_t id, char mode, void *private)
{
	ask(&late, TD_OP_WRITE, 8, 8, 0);
	assert_int_equal(n_held, 1);
	answer(8, 0);
	tapdisk_server_event_set_timeout(id, TV_INF);
}

static void
a_switch_waits_for_what_is_in_flight_and_keeps_the_old_image(void **state)
{
	td_image_t *image = successor("1000"), *old = vbd->image;
	event_id_t id = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1,
						      TV_USECS(2000), meanwhile, NULL);
	struct td_vbd_claim claim = { 0 };
	struct guest a;

	assert_int_equal(tapdisk_vbd_claim(vbd, &claim), 0);
	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	vbd->busy++;
	assert_int_equal(tapdisk_vbd_switch(vbd, image, "aio:next", 60000, switched), 0);
	vbd->busy--;
	assert_ptr_equal(switched_to, image);
	assert_ptr_equal(vbd->image, image);
	assert_string_equal(vbd->name, "aio:next");
	assert_answered(&a, 0);
	assert_int_equal(late.answers, 0);
	assert_int_equal(n_open, 2);

	turn();
	assert_int_equal(n_held, 1);
	assert_ptr_equal(held[0].image, image);
	answer(8, 0);
	turn();
	assert_answered(&late, 0);
	tapdisk_image_close(old);
	tapdisk_server_unregister_event(id);
}

static void
a_switch_that_takes_too_long_changes_nothing(void **state)
{
	td_image_t *image = successor("1000"), *old = vbd->image;
	struct guest a, b;

	switched_to = NULL;
	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	assert_int_equal(tapdisk_vbd_switch(vbd, image, "aio:next", 5, switched), -ETIMEDOUT);
	assert_null(switched_to);
	assert_ptr_equal(vbd->image, old);
	assert_string_equal(vbd->name, "aio:1000");

	ask(&b, TD_OP_WRITE, 8, 8, 0);
	turn();
	assert_int_equal(n_held, 2);
	answer(8, 0);
	answer(8, 0);
	turn();
	assert_answered(&a, 0);
	assert_answered(&b, 0);
	tapdisk_image_close(image);

	image = successor("900");
	assert_int_equal(tapdisk_vbd_switch(vbd, image, "aio:next", 5, switched), -EINVAL);
	tapdisk_image_close(image);
}

static void
close_meanwhile(event_id_t id, char mode, void *private)
{
	assert_int_equal(tapdisk_vbd_pause(vbd, false, done, NULL), -EBUSY);
	assert_int_equal(tapdisk_vbd_close(vbd, false, done, NULL), 0);
	answer(8, 0);
	tapdisk_server_event_set_timeout(id, TV_INF);
}

static void
a_close_ends_a_start_and_waits_for_it(void **state)
{
	td_image_t *image = successor("1000"), *old = vbd->image;
	event_id_t id = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1,
						      TV_USECS(2000), close_meanwhile, NULL);
	struct td_vbd_claim claim = { 0 };
	struct guest a;

	switched_to = NULL;
	assert_int_equal(tapdisk_vbd_claim(vbd, &claim), 0);
	ask(&a, TD_OP_WRITE, 0, 8, 0);
	turn();
	vbd->busy++;
	assert_false(tapdisk_vbd_may_close(vbd));
	vbd->starting = 1;
	assert_true(tapdisk_vbd_may_close(vbd));
	assert_int_equal(tapdisk_vbd_switch(vbd, image, "aio:next", 60000, switched),
			 -ECANCELED);
	assert_null(switched_to);
	assert_null(claim.vbd);
	assert_ptr_equal(vbd->image, old);
	assert_answered(&a, 0);
	turn();
	assert_string_equal(vbd->name, "aio:1000");

	tapdisk_image_close(image);
	vbd->starting = 0;
	vbd->busy--;
	turn();
	assert_done(0);
	assert_null(vbd->name);
	tapdisk_server_unregister_event(id);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_answered_once_and_from_the_loop),
		TEST(the_first_error_survives_later_successes),
		TEST(positive_errors_of_a_driver_are_errors),
		TEST(a_part_that_the_driver_is_too_busy_for_comes_again),
		TEST(a_driver_that_stays_busy_fails_the_request_in_the_end),
		TEST(what_is_not_on_the_disk_never_reaches_the_driver),
		TEST(requests_are_whole_logical_sectors),
		TEST(a_flush_is_one_part),
		TEST(block_status_of_a_driver_that_does_not_know_is_data),
		TEST(block_status_ends_where_its_front_end_has_enough),
		TEST(what_nobody_waits_for_is_not_begun),
		TEST(operations_that_a_driver_lacks_are_refused),
		TEST(the_last_answer_of_a_batch_is_final),
		TEST(a_pause_waits_for_what_is_in_flight_and_holds_what_comes),
		TEST(a_paused_vbd_is_paused_at_once_and_a_running_one_not_resumed),
		TEST(a_cancelled_pause_leaves_nothing_behind),
		TEST(a_pause_cancelled_while_the_image_closes_is_undone),
		TEST(a_driver_that_refuses_to_close_goes_on_serving),
		TEST(a_failed_resume_stays_paused_under_the_old_name),
		TEST(a_larger_image_is_not_shown_as_larger),
		TEST(a_close_waits_for_what_is_in_flight_and_refuses_what_comes),
		TEST(closing_a_paused_vbd_fails_what_it_holds),
		TEST(a_forced_close_takes_over_from_a_pause),
		TEST(a_successor_takes_over_when_nothing_is_in_flight),
		TEST(a_pause_first_lets_the_successor_take_over),
		TEST(a_close_first_lets_the_successor_take_over),
		TEST(a_successor_that_does_not_fit_stays_the_callers),
		TEST(an_image_that_could_not_come_back_is_not_paused),
		TEST(what_was_paused_is_what_is_resumed),
		TEST(a_claim_is_the_only_one_of_a_vbd_that_runs),
		TEST(a_pause_and_a_close_take_the_claim_away),
		TEST(a_switch_waits_for_what_is_in_flight_and_keeps_the_old_image),
		TEST(a_switch_that_takes_too_long_changes_nothing),
		TEST(a_close_ends_a_start_and_waits_for_it),
	};

	return cmocka_run_group_tests_name("VBD", tests, NULL, NULL);
}
