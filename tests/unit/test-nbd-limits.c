/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/tapdisk-nbdserver.o drivers/tapdisk-nbd-proto.o */
/* links: drivers/tapdisk-nbd-connection.o drivers/tapdisk-nbd-memory.o */
/* links: drivers/tapdisk-nbd-request.o drivers/private-socket.o */
/* links: drivers/scheduler.o drivers/tapdisk-log.o */
/*
 * What NBD clients can have of a tapdisk that serves others too: memory, patience and work.
 * Memory is counted by the requests that the VBD has, time by a clock that the test moves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nbd-rig.h"
#include "tapdisk-nbd-memory.h"

#define MIB (1u << 20)

/* --- patience ---------------------------------------------------------------------- */

/* The seconds until the connection is closed, while the client does something in each. */
static unsigned int
lasts(int fd, void (*does)(int fd))
{
	unsigned int seconds = 0;
	char byte;

	for (; seconds < 200; seconds++) {
		if (does)
			does(fd);
		loop_seconds(1);
		if (recv(fd, &byte, 1, MSG_PEEK) == 0 || errno == ECONNRESET)
			break;
	}
	return seconds;
}

static void
sends_a_byte(int fd)
{
	(void)send(fd, "", 1, MSG_NOSIGNAL);
}

static void
a_client_that_owes_nothing_may_be_silent(void **state)
{
	const int fd = client(false);

	assert_int_equal(lasts(fd, NULL), 200);
	loop_seconds(3600);
	is_in_step(fd);
	close(fd);
}

static void
so_may_one_that_waits_for_the_disk(void **state)
{
	const int fd = client(false);

	ask(fd, NBD_CMD_FLUSH, 0, 1, 0, 0);
	loop_seconds(3600);
	answer_all();
	assert_int_equal(hear_simple(fd, 1), 0);
	close(fd);
}

static void
a_handshake_has_to_come_to_its_end(void **state)
{
	static const char option[] = "IHAVEOPT\0\0\0\3\0\0\0\0";
	const int silent = dial();
	char bytes[18];
	int talks;

	hear(silent, bytes, sizeof(bytes));
	assert_in_range(lasts(silent, NULL), 24, 36);
	close(silent);

	/* Nor does it help to go on and on. */
	talks = dial();
	say(talks, "\0\0\0\3", 4);
	for (int i = 0; i < 20; i++) {
		(void)send(talks, option, 16, MSG_NOSIGNAL);
		loop_seconds(2);
	}
	assert_int_equal(send(talks, option, 16, MSG_NOSIGNAL), -1);
	close(talks);
}

static void
a_command_has_to_come_to_its_end(void **state)
{
	const int half = client(false), drips = client(false), good = client(false);

	say(half, "\x25\x60\x95", 3);
	assert_in_range(lasts(half, NULL), 24, 36);
	is_in_step(good);
	say(drips, "\x25\x60\x95\x13\0\0\0\0", 8);
	/* Of a header there is less than that to come. */
	say(drips, "\0\0\0\0\0\0\0\1\0\0\0\0", 12);
	assert_in_range(lasts(drips, NULL), 24, 36);
	is_in_step(good);
	close(half);
	close(drips);
	close(good);
}

static void
a_payload_has_to_get_on(void **state)
{
	const int halts = client(false), drips = client(false);

	ask(halts, NBD_CMD_WRITE, 0, 1, 0, 32 * MIB);
	assert_in_range(lasts(halts, NULL), 24, 36);
	ask(drips, NBD_CMD_WRITE, 0, 1, 0, 32 * MIB);
	assert_in_range(lasts(drips, sends_a_byte), 24, 36);
	close(halts);
	close(drips);
	assert_int_equal(n_held, 0);
}

static void
one_that_gets_on_slowly_is_waited_for(void **state)
{
	const int fd = client(false);
	uint8_t *data = pattern(4 * MIB, 3);

	/* Some 10 KiB a second. */
	ask(fd, NBD_CMD_WRITE, 0, 1, 0, 4 * MIB);
	for (size_t at = 0; at < 4 * MIB; at += 10 << 10) {
		say(fd, data + at, 4 * MIB - at < 10 << 10 ? 4 * MIB - at : 10 << 10);
		loop_seconds(1);
	}
	answer_all();
	assert_int_equal(hear_simple(fd, 1), 0);
	ask(fd, NBD_CMD_READ, 0, 2, 0, 4 * MIB);
	settle();
	answer_all();
	assert_int_equal(hear_simple(fd, 2), 0);
	for (size_t at = 0; at < 4 * MIB; at += 16 << 10) {
		hear(fd, data, 16 << 10);
		loop_seconds(1);
	}
	is_in_step(fd);
	free(data);
	close(fd);
}

static size_t
held_bytes(void)
{
	td_vbd_request_t *vreq;
	size_t bytes = 0;

	list_for_each_entry(vreq, &held, next)
		for (int i = 0; i < vreq->iovcnt; i++)
			bytes += (size_t)vreq->iov[i].secs << SECTOR_SHIFT;
	return bytes;
}

static void
replies_have_to_be_taken(void **state)
{
	const int fd = client(false), half_closed = client(false);
	uint8_t byte;

	ask(fd, NBD_CMD_READ, 0, 1, 0, 32 * MIB);
	ask(half_closed, NBD_CMD_READ, 0, 1, 0, 32 * MIB);
	assert_int_equal(shutdown(half_closed, SHUT_WR), 0);
	settle();
	answer_all();
	loop_seconds(24);
	assert_int_equal(recv(fd, &byte, 1, 0), 1);
	loop_seconds(40);
	/* What the system had taken is there, and no more. */
	for (int i = 0; i < 2; i++) {
		const int which = i ? half_closed : fd;
		uint8_t bytes[65536];
		size_t all = 0;
		ssize_t n;

		while ((n = recv(which, bytes, sizeof(bytes), 0)) > 0)
			all += n;
		assert_true(n == 0 || errno == ECONNRESET);
		assert_in_range(all, 1, 31 * MIB);
		close(which);
	}
}

/* --- memory ------------------------------------------------------------------------ */

enum { FLOOD = 40 };

static int flood[FLOOD];

/* Each asks for all that a connection can have. */
static void
let_the_flood_come(void)
{
	for (int c = 0; c < FLOOD; c++) {
		flood[c] = client(false);
		for (int i = 0; i < 4; i++)
			ask(flood[c], NBD_CMD_READ, 0, i, 0, 16 * MIB);
	}
	settle();
}

static void
let_the_flood_go(void)
{
	for (int c = 0; c < FLOOD; c++)
		close(flood[c]);
	settle();
	answer_all();
}

static void
a_flood_has_no_more_than_its_vbd(void **state)
{
	let_the_flood_come();
	assert_in_range(held_bytes(), 64 * MIB, NBD_VBD_BYTES + FLOOD * NBD_OWN_BYTES);
	answer_all();
	settle();
	/* Nobody takes replies, so nothing more is read. */
	assert_int_equal(n_held, 0);
	let_the_flood_go();
}

static void
small_requests_are_served_beside_a_flood(void **state)
{
	int fd;

	let_the_flood_come();
	answer_all();
	settle();
	fd = client(false);
	for (int i = 0; i < 10; i++)
		is_in_step(fd);
	let_the_flood_go();
	close(fd);
}

static void
memory_is_had_in_the_order_of_asking(void **state)
{
	unsigned int got[FLOOD] = { 0 };
	uint8_t *data = malloc(16 * MIB);
	unsigned int least, most;

	assert_non_null(data);
	let_the_flood_come();
	for (int round = 0; round < 4 * FLOOD; round++) {
		least = UINT32_MAX;
		most = 0;
		assert_true(n_held > 0); /* something always goes on */
		assert_true(held_bytes() <= NBD_VBD_BYTES + FLOOD * NBD_OWN_BYTES);
		answer(oldest(), 0, true);
		settle();
		for (int c = 0; c < FLOOD; c++) {
			char byte;

			if (recv(flood[c], &byte, 1, MSG_PEEK) == 1) {
				assert_int_equal(hear_simple(flood[c], got[c]), 0);
				hear(flood[c], data, 16 * MIB);
				got[c]++;
			}
			least = got[c] < least ? got[c] : least;
			most = got[c] > most ? got[c] : most;
		}
		settle();
		/* Two of them fit into a connection's bound. */
		assert_true(most - least <= 2);
	}
	for (int c = 0; c < FLOOD; c++)
		assert_int_equal(got[c], 4);
	assert_int_equal(n_held, 0);
	free(data);
	let_the_flood_go();
}

static void
memory_that_is_kept_from_others_comes_free(void **state)
{
	uint8_t *data = malloc(32 * MIB);
	int fd;

	assert_non_null(data);
	let_the_flood_come();
	fd = client(false);
	ask(fd, NBD_CMD_READ, 0, 7, 0, 32 * MIB);
	for (int i = 0; i < 10; i++) {
		answer_all();
		settle();
	}
	assert_int_equal(n_held, 0);
	/* The first of the flood are waited for in vain, then those that came behind them. */
	for (int i = 0; i < 10 * 40 && recv(fd, data, 1, MSG_PEEK) != 1; i++) {
		loop_seconds(1);
		answer_all();
	}
	assert_int_equal(hear_simple(fd, 7), 0);
	hear(fd, data, 32 * MIB);
	assert_memory_equal(data, disk, 32 * MIB);
	is_in_step(fd);
	free(data);
	close(fd);
	let_the_flood_go();
}

static int
client_of(int minor)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char bytes[28];

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/nbd%d.%d", run_dir, getpid(), minor);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	say(fd, "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0", 20);
	hear(fd, bytes, sizeof(bytes));
	return fd;
}

static void
no_vbd_starves_another(void **state)
{
	enum { VBDS = 6, EACH = 8 };
	struct tapdisk_nbdserver *servers[VBDS];
	int fds[VBDS][EACH], last;
	const int of_server = MINOR + 1;

	for (int v = 0; v < VBDS; v++) {
		assert_int_equal(
			tapdisk_nbdserver_start(NULL, of_server + v, false, &servers[v]), 0);
		for (int c = 0; c < EACH; c++) {
			fds[v][c] = client_of(of_server + v);
			ask(fds[v][c], NBD_CMD_READ, 0, 1, 0, 32 * MIB);
		}
	}
	settle();
	assert_in_range(held_bytes(), 200 * MIB,
			NBD_PROCESS_BYTES + VBDS * (32 * MIB + EACH * NBD_OWN_BYTES));
	/* None of them gets on, but who comes to a disk of its own has one request at least. */
	last = client(false);
	ask(last, NBD_CMD_READ, 0, 4, 0, 32 * MIB);
	settle();
	assert_int_equal(list_entry(held.prev, td_vbd_request_t, next)->iov[0].secs,
			 32 * MIB / SECTOR_SIZE);
	answer(list_entry(held.prev, td_vbd_request_t, next), 0, true);
	assert_int_equal(hear_simple(last, 4), 0);
	close(last);
	for (int v = 0; v < VBDS; v++) {
		for (int c = 0; c < EACH; c++)
			close(fds[v][c]);
		tapdisk_nbdserver_stop(servers[v]);
	}
	while (n_held)
		answer(oldest(), -ESHUTDOWN, n_held == 1);
}

/* --- work -------------------------------------------------------------------------- */

static void
what_a_client_that_has_gone_asked_for_is_given_up(void **state)
{
	const int fd = client(false);
	uint8_t data[512] = { 0 };

	ask(fd, NBD_CMD_READ, 0, 1, 0, 4096);
	ask(fd, NBD_CMD_WRITE_ZEROES, 0, 2, 0, MIB);
	ask(fd, NBD_CMD_WRITE, 0, 3, 0, 512);
	say(fd, data, sizeof(data));
	settle();
	assert_int_equal(n_held, 3);
	close(fd);
	settle();
	assert_int_equal(n_abandoned, 3);
	answer(oldest(), -ECANCELED, false);
	answer_all();
}

static void
what_a_client_has_left_behind_in_order_is_done(void **state)
{
	const int fd = client(false);
	uint8_t data[512] = { 0 };

	ask(fd, NBD_CMD_READ, 0, 1, 0, 4096);
	ask(fd, NBD_CMD_TRIM, 0, 2, 0, MIB);
	ask(fd, NBD_CMD_WRITE, 0, 3, 0, 512);
	say(fd, data, sizeof(data));
	ask(fd, NBD_CMD_DISC, 0, 4, 0, 0);
	settle();
	close(fd);
	loop_seconds(10);
	assert_int_equal(n_held, 3);
	assert_int_equal(n_abandoned, 2);
	assert_true(oldest()->unwanted);
	answer(oldest(), -ECANCELED, true);
	assert_true(oldest()->unwanted);
	answer(oldest(), -ECANCELED, true);
	assert_false(oldest()->unwanted);
	answer_all();
	assert_memory_equal(disk, data, 512);
}

static void
one_that_only_listens_is_noticed_to_leave(void **state)
{
	const int fd = client(false);

	ask(fd, NBD_CMD_READ, 0, 1, 0, 4096);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	loop_seconds(100);
	assert_int_equal(n_abandoned, 0);
	close(fd);
	loop_seconds(10);
	assert_int_equal(n_abandoned, 1);
	answer_all();
}

/* Tells a block status in runs of a sector, hole and data in turn. How many were asked for. */
static unsigned int
tell_runs(bool alike)
{
	td_vbd_request_t *vreq = oldest();
	unsigned int runs = 0;

	list_del(&vreq->next);
	n_held--;
	for (td_sector_t sec = 0; sec < vreq->secs && !vreq->unwanted; sec++, runs++)
		vreq->status_cb(vreq, vreq->sec + sec, 1,
				alike || sec % 2 ? TD_BLOCK_STATE_NONE
						 : TD_BLOCK_STATE_HOLE | TD_BLOCK_STATE_ZERO);
	vreq->cb(vreq, 0, vreq->token, true);
	return runs;
}

static void
block_status_costs_what_it_answers(void **state)
{
	const int fd = client(true);
	uint8_t reply[24 + 512 * 8];

	ask(fd, NBD_CMD_BLOCK_STATUS, 0, 1, 0, 32 * MIB);
	settle();
	assert_int_equal(oldest()->flags, 0);
	assert_int_equal(tell_runs(false), 513); /* one too many, to see that it is another */
	hear(fd, reply, 24 + 512 * 8);

	ask(fd, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 1, 0, 32 * MIB);
	settle();
	assert_int_equal(oldest()->flags, TD_REQ_ONE);
	assert_int_equal(tell_runs(false), 2);
	hear(fd, reply, 24 + 8);

	/* Many runs that are one extent cost no more than many that are not. */
	for (int i = 0; i < 2; i++) {
		ask(fd, NBD_CMD_BLOCK_STATUS, i ? NBD_CMD_FLAG_REQ_ONE : 0, 1, 0, 32 * MIB);
		settle();
		assert_in_range(tell_runs(true), 512, 2048);
		hear(fd, reply, 24 + 8);
	}
	close(fd);
}

static void
block_status_for_nobody_costs_nothing(void **state)
{
	const int fd = client(true);

	ask(fd, NBD_CMD_BLOCK_STATUS, 0, 1, 0, 32 * MIB);
	settle();
	close(fd);
	settle();
	assert_int_equal(tell_runs(false), 0);
}

static void
connections_come_and_go_and_leave_nothing(void **state)
{
	const int good = client(false);

	for (int i = 0; i < 10000; i++) {
		const int fd = dial();

		if (i % 3 == 0)
			say(fd, "\0\0\0\3", 4);
		else if (i % 3 == 1)
			loop_turns(1);
		close(fd);
		loop_turns(1);
	}
	settle();
	is_in_step(good);
	close(good);
}

#define limits_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		limits_test(a_client_that_owes_nothing_may_be_silent),
		limits_test(so_may_one_that_waits_for_the_disk),
		limits_test(a_handshake_has_to_come_to_its_end),
		limits_test(a_command_has_to_come_to_its_end),
		limits_test(a_payload_has_to_get_on),
		limits_test(one_that_gets_on_slowly_is_waited_for),
		limits_test(replies_have_to_be_taken),
		limits_test(a_flood_has_no_more_than_its_vbd),
		limits_test(small_requests_are_served_beside_a_flood),
		limits_test(memory_is_had_in_the_order_of_asking),
		limits_test(memory_that_is_kept_from_others_comes_free),
		limits_test(no_vbd_starves_another),
		limits_test(what_a_client_that_has_gone_asked_for_is_given_up),
		limits_test(what_a_client_has_left_behind_in_order_is_done),
		limits_test(one_that_only_listens_is_noticed_to_leave),
		limits_test(block_status_costs_what_it_answers),
		limits_test(block_status_for_nobody_costs_nothing),
		limits_test(connections_come_and_go_and_leave_nothing),
	};

	return cmocka_run_group_tests_name("what NBD clients can have", tests, NULL, NULL);
}
