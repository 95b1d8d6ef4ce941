/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/tapdisk-blkif.o drivers/tapdisk-ring.o drivers/tapdisk-inflight.o */
/* links: drivers/scheduler.o drivers/tapdisk-log.o */
/*
 * The block ring with a guest in this process, on a VBD made for the test: it keeps
 * every request until the test says how it is answered. Each known attack of a guest
 * is here by name.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cmocka.h>

#define FAKE_PAGES 1024
#include "../fake-guest.h"
#include "tapdisk-server.h"

#define DISK_SECTORS 8192
#define DISK_SIZE    ((size_t)DISK_SECTORS * SECTOR_SIZE)
#define SEGS	     40 /* page of the segments of indirect requests */
#define DATA	     64 /* the first page of data */

#define OK(op_, id_)  answers((struct fake_answer){ id_, op_, BLKIF_RSP_OKAY })
#define ERR(op_, id_) answers((struct fake_answer){ id_, op_, BLKIF_RSP_ERROR })

/* --- what the ring stands on ---------------------------------------------------- */

static scheduler_t scheduler;

event_id_t
tapdisk_server_register_event(char mode, int fd, struct timeval timeout, event_cb_t cb,
			      void *private)
{
	return scheduler_register_event(&scheduler, mode, fd, timeout, cb, private);
}

void
tapdisk_server_unregister_event(event_id_t id)
{
	scheduler_unregister_event(&scheduler, id);
}

int
tapdisk_server_event_set_timeout(event_id_t id, struct timeval timeout)
{
	return scheduler_event_set_timeout(&scheduler, id, timeout);
}

static struct list_head held; /* by the VBD, in the order of arrival */
static unsigned int n_held;
static int refuse; /* what queueing a request returns */
static td_vbd_t vbd;
static uint8_t *disk;

int
tapdisk_vbd_get_disk_info(td_vbd_t *v, td_disk_info_t *info)
{
	*info = v->disk_info;
	return 0;
}

int
tapdisk_vbd_queue_request(td_vbd_t *v, td_vbd_request_t *vreq)
{
	td_sector_t secs = vreq->secs;

	if (refuse)
		return refuse;
	for (int i = 0; i < vreq->iovcnt; i++)
		secs += vreq->iov[i].secs;
	/* Whatever the guest said, this is what the VBD is promised. */
	assert_true(vreq->sec + secs <= vbd.disk_info.size && secs <= INT_MAX);
	assert_true((vreq->op == TD_OP_FLUSH) == !secs);
	list_add_tail(&vreq->next, &held);
	n_held++;
	return 0;
}

static unsigned int n_abandoned;

void
tapdisk_vbd_abandon_request(td_vbd_t *v, td_vbd_request_t *vreq)
{
	td_vbd_request_t *at;

	list_for_each_entry(at, &held, next)
		if (at == vreq) {
			n_abandoned++;
			vreq->unwanted = true;
			return;
		}
	fail_msg("abandoned, but never queued");
}

static td_vbd_request_t *
oldest(void)
{
	assert_false(list_empty(&held));
	return list_entry(held.next, td_vbd_request_t, next);
}

static td_vbd_request_t *
newest(void)
{
	assert_false(list_empty(&held));
	return list_entry(held.prev, td_vbd_request_t, next);
}

/* Answers a request; without error, after doing what it asks. */
static void
answer(td_vbd_request_t *vreq, int error, bool final)
{
	uint8_t *at = disk + (vreq->sec << SECTOR_SHIFT);

	list_del(&vreq->next);
	n_held--;
	if (!error && vreq->op == TD_OP_READ)
		memcpy(vreq->iov[0].base, at, (size_t)vreq->iov[0].secs << SECTOR_SHIFT);
	if (!error && vreq->op == TD_OP_WRITE)
		memcpy(at, vreq->iov[0].base, (size_t)vreq->iov[0].secs << SECTOR_SHIFT);
	if (!error && vreq->op == TD_OP_ZERO && vbd.disk_info.size == DISK_SECTORS)
		memset(at, 0, vreq->secs << SECTOR_SHIFT);
	vreq->cb(vreq, error, vreq->token, final);
}

static void
answer_all(void)
{
	while (n_held)
		answer(oldest(), 0, n_held == 1);
}

static void
turn(void)
{
	scheduler_set_max_timeout(&scheduler, (struct timeval){ 0 });
	assert_int_equal(scheduler_wait_for_events(&scheduler), 0);
}

/* --- the guest ------------------------------------------------------------------ */

static struct fake_guest g;

static void
connect_as(enum ring_protocol protocol, unsigned int order)
{
	const struct blkif_config config = {
		.ring = { .domid = 1, .devid = 51712, .protocol = protocol }
	};

	fake_open(&g, protocol, order);
	assert_int_equal(tapdisk_blkif_connect(&vbd, &config, &g.guest), 0);
	assert_true(tapdisk_blkif_is(vbd.blkif, 1, 51712));
}

static void
disconnect(void)
{
	answer_all();
	tapdisk_blkif_disconnect(vbd.blkif);
	assert_null(vbd.blkif);
	assert_true(g.closed);
	fake_free(&g);
}

static void
send_all(void)
{
	fake_send(&g);
	turn();
}

static void
answers(struct fake_answer expected)
{
	struct fake_answer got;

	assert_true(fake_receive(&g, &got));
	assert_int_equal(got.id, expected.id);
	assert_int_equal(got.op, expected.op);
	assert_int_equal(got.status, expected.status);
}

static void
no_answer(void)
{
	struct fake_answer got;

	assert_false(fake_receive(&g, &got));
}

static int
setup(void **state)
{
	memset(&vbd, 0, sizeof(vbd));
	vbd.disk_info = (td_disk_info_t){ .size = DISK_SECTORS, .sector_size = 512 };
	INIT_LIST_HEAD(&held);
	n_held = 0;
	refuse = 0;
	disk = calloc(1, DISK_SIZE);
	return scheduler_initialize(&scheduler) || !disk;
}

static int
teardown(void **state)
{
	scheduler_destroy(&scheduler);
	free(disk);
	return 0;
}

/* --- ordinary requests ---------------------------------------------------------- */

static uint32_t seed;

static unsigned int
pick(unsigned int n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* A plain array, which does each request when the guest sends it. */
static uint8_t *model;

struct sent {
	uint8_t op;
	unsigned int n_segments;
	struct fake_segment segs[RING_MAX_SEGMENTS];
	uint8_t *expected; /* a read's data */
};

static size_t
sent_size(const struct sent *s)
{
	size_t size = 0;

	for (unsigned int i = 0; i < s->n_segments; i++)
		size += (size_t)(s->segs[i].last - s->segs[i].first + 1) << SECTOR_SHIFT;
	return size;
}

/* Each page of data is a request's alone, so that many can be under way. */
static void
send_random(struct sent *s, unsigned int id, uint32_t first_page)
{
	static const uint8_t ops[] = { BLKIF_OP_READ,	      BLKIF_OP_READ,
				       BLKIF_OP_WRITE,	      BLKIF_OP_WRITE,
				       BLKIF_OP_DISCARD,      BLKIF_OP_FLUSH_DISKCACHE,
				       BLKIF_OP_WRITE_BARRIER };
	const bool indirect = pick(2);
	uint64_t sector = pick(DISK_SECTORS - RING_MAX_SEGMENTS * 8);
	uint8_t *at = model + (sector << SECTOR_SHIFT);

	s->op = ops[pick(indirect ? 4 : sizeof(ops))];
	s->n_segments = 0;
	if (s->op == BLKIF_OP_FLUSH_DISKCACHE) {
		fake_request(&g, s->op, id, pick(2) ? UINT64_MAX : 0, 0, NULL);
		return;
	}
	if (s->op == BLKIF_OP_DISCARD) {
		const unsigned int n = 1 + pick(100);

		fake_discard(&g, (uint8_t)pick(2), id, sector, n);
		memset(at, 0, (size_t)n << SECTOR_SHIFT);
		return;
	}

	s->n_segments = 1 + pick(indirect ? RING_MAX_SEGMENTS : RING_DIRECT_SEGMENTS);
	for (unsigned int i = 0; i < s->n_segments; i++) {
		const uint8_t first = (uint8_t)pick(8);

		s->segs[i] = (struct fake_segment){ first_page + i, first,
						    (uint8_t)(first + pick(8u - first)) };
	}
	s->expected = malloc(sent_size(s));
	assert_non_null(s->expected);
	for (unsigned int i = 0; i < s->n_segments; i++) {
		const struct fake_segment *seg = &s->segs[i];
		const size_t len = (size_t)(seg->last - seg->first + 1) << SECTOR_SHIFT;
		uint8_t *page = FAKE_PAGE(&g, seg->gref);

		for (size_t byte = 0; byte < RING_PAGE_SIZE; byte++)
			page[byte] = (uint8_t)pick(256);
		if (s->op != BLKIF_OP_READ)
			memcpy(at, page + (seg->first << SECTOR_SHIFT), len);
		at += len;
	}
	memcpy(s->expected, model + (sector << SECTOR_SHIFT), sent_size(s));
	if (indirect)
		fake_indirect(&g, s->op, id, sector, (uint16_t)s->n_segments, s->segs,
			      SEGS + id);
	else
		fake_request(&g, s->op, id, sector, (uint8_t)s->n_segments, s->segs);
}

static void
check_sent(struct sent *s)
{
	const uint8_t *at = s->expected;

	for (unsigned int i = 0; s->op == BLKIF_OP_READ && i < s->n_segments; i++) {
		const struct fake_segment *seg = &s->segs[i];
		const size_t len = (size_t)(seg->last - seg->first + 1) << SECTOR_SHIFT;

		assert_memory_equal(FAKE_PAGE(&g, seg->gref) + (seg->first << SECTOR_SHIFT), at,
				    len);
		at += len;
	}
	if (s->n_segments)
		free(s->expected);
}

static void
use_like_an_array(enum ring_protocol protocol, unsigned int order)
{
	struct sent sent[16];
	struct fake_answer got;

	seed = protocol * 4 + order;
	model = calloc(1, DISK_SIZE);
	assert_non_null(model);
	memset(disk, 0, DISK_SIZE);
	connect_as(protocol, order);
	for (int round = 0; round < 60; round++) {
		const unsigned int n = 1 + pick(16);
		unsigned int n_answers = 0;

		for (unsigned int i = 0; i < n; i++)
			send_random(&sent[i], i, DATA + i * RING_MAX_SEGMENTS);
		send_all();
		answer_all();
		while (fake_receive(&g, &got)) {
			assert_true(got.id < n);
			assert_int_equal(got.op, sent[got.id].op);
			assert_int_equal(got.status, BLKIF_RSP_OKAY);
			n_answers++;
		}
		assert_int_equal(n_answers, n);
		for (unsigned int i = 0; i < n; i++)
			check_sent(&sent[i]);
	}
	assert_memory_equal(disk, model, DISK_SIZE);
	disconnect();
	free(model);
}

static void
test_every_layout_and_size_of_ring_is_like_an_array(void **state)
{
	for (unsigned int order = 0; order <= RING_MAX_ORDER; order++) {
		use_like_an_array(RING_NATIVE, order);
		use_like_an_array(RING_X86_32, order);
		use_like_an_array(RING_X86_64, order);
	}
}

static void
test_a_ring_holds_all_its_entries(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	for (unsigned int order = 0; order <= RING_MAX_ORDER; order++) {
		connect_as(order % 2 ? RING_X86_32 : RING_X86_64, order);
		for (unsigned int i = 0; i < g.entries; i++)
			fake_request(&g, BLKIF_OP_WRITE, i, i, 1, &seg);
		send_all();
		assert_int_equal(n_held, g.entries);
		answer_all();
		for (unsigned int i = 0; i < g.entries; i++)
			OK(BLKIF_OP_WRITE, i);
		no_answer();
		disconnect();
	}
}

static void
test_a_batch_is_one_event(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	connect_as(RING_NATIVE, 0);
	for (unsigned int i = 0; i < 8; i++)
		fake_request(&g, i % 2 ? BLKIF_OP_READ : BLKIF_OP_WRITE, i, i * 8, 1, &seg);
	send_all();
	while (n_held > 1)
		answer(oldest(), 0, false);
	assert_int_equal(fake_get_index(&g, 8), 0);
	assert_int_equal(g.notified, 0);
	answer_all();
	assert_int_equal(g.notified, 1);
	for (unsigned int i = 0; i < 8; i++)
		OK(i % 2 ? BLKIF_OP_READ : BLKIF_OP_WRITE, i);
	no_answer();

	/* One that it has not looked after is not repeated. */
	fake_request(&g, BLKIF_OP_READ, 8, 0, 1, &seg);
	send_all();
	answer_all();
	assert_int_equal(g.notified, 2);
	fake_request(&g, BLKIF_OP_READ, 9, 0, 1, &seg);
	send_all();
	answer_all();
	assert_int_equal(g.notified, 2);
	OK(BLKIF_OP_READ, 8);
	OK(BLKIF_OP_READ, 9);

	/* A guest that has not asked for one gets none. */
	fake_put_index(&g, 12, g.rsp_cons + 100);
	fake_request(&g, BLKIF_OP_READ, 10, 0, 1, &seg);
	send_all();
	answer_all();
	assert_int_equal(g.notified, 2);
	OK(BLKIF_OP_READ, 10);
	disconnect();
}

static void
test_an_event_is_asked_for_with_the_next_request(void **state)
{
	connect_as(RING_NATIVE, 0);
	turn();
	assert_int_equal(fake_get_index(&g, 4), 1);
	fake_request(&g, BLKIF_OP_FLUSH_DISKCACHE, 1, 0, 0, NULL);
	send_all();
	assert_int_equal(fake_get_index(&g, 4), 2);
	disconnect();
}

static void
test_a_ring_is_taken_up_where_its_answers_end(void **state)
{
	const struct blkif_config config = {
		.ring = { .domid = 1, .devid = 1, .protocol = RING_NATIVE }
	};

	fake_open(&g, RING_NATIVE, 0);
	/* Close to where the indices start again at 0. */
	g.req_prod = g.rsp_cons = UINT32_MAX - 2;
	fake_put_index(&g, 0, g.req_prod);
	fake_put_index(&g, 8, g.rsp_cons);
	assert_int_equal(tapdisk_blkif_connect(&vbd, &config, &g.guest), 0);
	for (unsigned int i = 0; i < 6; i++)
		fake_request(&g, BLKIF_OP_FLUSH_DISKCACHE, i, 0, 0, NULL);
	send_all();
	assert_int_equal(n_held, 6);
	answer_all();
	for (unsigned int i = 0; i < 6; i++)
		OK(BLKIF_OP_FLUSH_DISKCACHE, i);
	disconnect();
}

static void
test_errors_are_told(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	connect_as(RING_NATIVE, 0);
	FAKE_PAGE(&g, DATA)[0] = 0x55;
	fake_request(&g, BLKIF_OP_READ, 1, 0, 1, &seg);
	fake_request(&g, BLKIF_OP_FLUSH_DISKCACHE, 2, 0, 0, NULL);
	send_all();
	answer(oldest(), -EIO, false);
	answer(oldest(), -EOPNOTSUPP, true);
	ERR(BLKIF_OP_READ, 1);
	answers((struct fake_answer){ 2, BLKIF_OP_FLUSH_DISKCACHE, BLKIF_RSP_EOPNOTSUPP });
	/* A read that failed leaves the guest's memory as it was. */
	assert_int_equal(FAKE_PAGE(&g, DATA)[0], 0x55);

	refuse = -ESHUTDOWN;
	fake_request(&g, BLKIF_OP_READ, 3, 0, 1, &seg);
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 4, 0, 1, &seg);
	send_all();
	ERR(BLKIF_OP_READ, 3);
	ERR(BLKIF_OP_WRITE_BARRIER, 4);
	disconnect();
}

static void
test_a_guest_without_event_channel_is_disconnected(void **state)
{
	for (int i = 0; i < 2; i++) {
		connect_as(RING_NATIVE, 0);
		fake_request(&g, BLKIF_OP_FLUSH_DISKCACHE, 1, 0, 0, NULL);
		send_all();
		g.err = -EBADF;
		if (i)
			answer_all();
		else
			send_all();
		assert_true(g.closed);
		disconnect();
	}
}

static void
test_a_read_only_disk_is_not_written(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	vbd.disk_info.info = TD_INFO_READONLY;
	connect_as(RING_NATIVE, 0);
	fake_request(&g, BLKIF_OP_WRITE, 1, 0, 1, &seg);
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 2, 0, 1, &seg);
	fake_discard(&g, 0, 3, 0, 8);
	fake_indirect(&g, BLKIF_OP_WRITE, 4, 0, 1, &seg, SEGS);
	fake_request(&g, BLKIF_OP_READ, 5, 0, 1, &seg);
	send_all();
	assert_int_equal(n_held, 1);
	ERR(BLKIF_OP_WRITE, 1);
	ERR(BLKIF_OP_WRITE_BARRIER, 2);
	ERR(BLKIF_OP_DISCARD, 3);
	ERR(BLKIF_OP_WRITE, 4);
	answer_all();
	OK(BLKIF_OP_READ, 5);
	disconnect();
}

/* --- discards ------------------------------------------------------------------- */

/* 5 TiB, which is more sectors than a request has. */
static void
test_a_discard_of_any_length_is_done_in_pieces(void **state)
{
	const uint64_t all = UINT64_C(10) << 30;
	uint64_t next = 8;
	unsigned int pieces = 0;

	vbd.disk_info.size = all;
	connect_as(RING_NATIVE, 0);
	fake_discard(&g, 0, 1, 8, all - 8);
	send_all();
	while (n_held) {
		assert_int_equal(n_held, 1);
		assert_int_equal(oldest()->sec, next);
		assert_int_equal(oldest()->op, TD_OP_ZERO);
		assert_int_equal(oldest()->flags, TD_REQ_DISCARD);
		next += oldest()->secs;
		pieces++;
		answer(oldest(), 0, true);
	}
	assert_int_equal(next, all);
	assert_in_range(pieces, 5, 10000);
	OK(BLKIF_OP_DISCARD, 1);
	disconnect();
}

static void
test_a_discard_ends_with_its_first_error(void **state)
{
	vbd.disk_info.size = UINT64_C(10) << 30;
	connect_as(RING_NATIVE, 0);
	fake_discard(&g, 0, 1, 0, vbd.disk_info.size);
	send_all();
	answer(oldest(), 0, true);
	answer(oldest(), -EIO, true);
	assert_int_equal(n_held, 0);
	ERR(BLKIF_OP_DISCARD, 1);

	/* The guest asks no more of a disk that cannot do it. */
	fake_discard(&g, 0, 2, 0, vbd.disk_info.size);
	send_all();
	answer(oldest(), -EOPNOTSUPP, true);
	assert_int_equal(n_held, 0);
	answers((struct fake_answer){ 2, BLKIF_OP_DISCARD, BLKIF_RSP_EOPNOTSUPP });

	/* The VBD closes between two pieces, and a barrier waits for them. */
	fake_discard(&g, 0, 3, 0, vbd.disk_info.size);
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 4, 0, 0, NULL);
	send_all();
	assert_int_equal(n_held, 1);
	refuse = -ESHUTDOWN;
	answer(oldest(), 0, true);
	refuse = 0;
	ERR(BLKIF_OP_DISCARD, 3);
	ERR(BLKIF_OP_WRITE_BARRIER, 4);
	disconnect();
}

static void
test_a_guest_that_has_gone_is_not_worked_for(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	vbd.disk_info.size = UINT64_C(10) << 30;
	connect_as(RING_NATIVE, 0);
	fake_request(&g, BLKIF_OP_WRITE, 1, 0, 1, &seg);
	fake_request(&g, BLKIF_OP_READ, 2, 8, 1, &seg);
	fake_discard(&g, 0, 3, 0, vbd.disk_info.size);
	send_all();
	n_abandoned = 0;
	tapdisk_blkif_disconnect(vbd.blkif);
	assert_int_equal(n_abandoned, 2);
	assert_int_equal(n_held, 3);
	answer(newest(), 0, true);
	assert_int_equal(n_held, 2);
	answer_all();
	assert_null(vbd.blkif);
	assert_true(g.closed);
}

/* --- barriers ------------------------------------------------------------------- */

static void
test_a_barrier_is_ordered_and_durable(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	connect_as(RING_NATIVE, 0);
	fake_request(&g, BLKIF_OP_WRITE, 1, 0, 1, &seg);
	fake_request(&g, BLKIF_OP_WRITE, 2, 8, 1, &seg);
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 3, 16, 1, &seg);
	fake_request(&g, BLKIF_OP_WRITE, 4, 24, 1, &seg);
	send_all();

	/* All before it first, the last of which may be the first. */
	assert_int_equal(n_held, 2);
	answer(newest(), 0, true);
	turn();
	assert_int_equal(n_held, 1);
	assert_int_equal(oldest()->sec, 0);
	answer(oldest(), 0, true);

	assert_int_equal(n_held, 1);
	assert_int_equal(oldest()->op, TD_OP_FLUSH);
	answer(oldest(), 0, true);
	assert_int_equal(n_held, 1);
	assert_int_equal(oldest()->op, TD_OP_WRITE);
	assert_int_equal(oldest()->sec, 16);
	answer(oldest(), 0, true);
	assert_int_equal(n_held, 1);
	assert_int_equal(oldest()->op, TD_OP_FLUSH);
	OK(BLKIF_OP_WRITE, 2);
	OK(BLKIF_OP_WRITE, 1);
	no_answer();
	answer(oldest(), 0, true);
	OK(BLKIF_OP_WRITE_BARRIER, 3);

	/* Only now what comes behind it. */
	assert_int_equal(n_held, 1);
	assert_int_equal(oldest()->sec, 24);
	answer_all();
	OK(BLKIF_OP_WRITE, 4);
	disconnect();
}

/* Takes a barrier with data; the step'th thing that it asks of the VBD fails. */
static void
fail_barrier(int step)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	connect_as(RING_NATIVE, 0);
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 1, 0, 1, &seg);
	fake_request(&g, BLKIF_OP_READ, 2, 0, 1, &seg);
	send_all();
	for (int i = 0; i < step; i++)
		answer(oldest(), 0, true);
	answer(oldest(), -EIO, true);
	ERR(BLKIF_OP_WRITE_BARRIER, 1);
	assert_int_equal(n_held, 1);
	assert_int_equal(oldest()->op, TD_OP_READ);
	disconnect();
}

static void
test_a_barrier_of_which_anything_fails_has_failed(void **state)
{
	for (int step = 0; step < 3; step++)
		fail_barrier(step);
}

static void
test_a_barrier_without_data_is_a_flush_in_order(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	connect_as(RING_NATIVE, 0);
	fake_request(&g, BLKIF_OP_WRITE, 1, 0, 1, &seg);
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 2, UINT64_MAX, 0, NULL);
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 3, 0, 0, NULL);
	send_all();
	assert_int_equal(n_held, 1);
	answer(oldest(), 0, true);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(n_held, 1);
		assert_int_equal(oldest()->op, TD_OP_FLUSH);
		answer(oldest(), 0, true);
	}
	assert_int_equal(n_held, 0);
	OK(BLKIF_OP_WRITE, 1);
	OK(BLKIF_OP_WRITE_BARRIER, 2);
	OK(BLKIF_OP_WRITE_BARRIER, 3);
	disconnect();
}

/* --- attacks -------------------------------------------------------------------- */

/* The VBD has seen nothing, the guest is told, and goes on. */
static void
is_refused(uint8_t op, int status)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	send_all();
	assert_int_equal(n_held, 0);
	answers((struct fake_answer){ 7, op, status });
	no_answer();
	assert_false(g.closed);

	fake_request(&g, BLKIF_OP_READ, 8, 0, 1, &seg);
	send_all();
	answer_all();
	OK(BLKIF_OP_READ, 8);
}

static void
test_segments_stay_in_their_page(void **state)
{
	static const struct fake_segment bad[] = {
		{ DATA, 0, 8 },	    { DATA, 0, 255 }, { DATA, 8, 8 },
		{ DATA, 255, 255 }, { DATA, 5, 4 },   { DATA, 7, 0 },
	};

	connect_as(RING_X86_64, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct fake_segment segs[RING_MAX_SEGMENTS];

		for (unsigned int k = 0; k < RING_MAX_SEGMENTS; k++)
			segs[k] = (struct fake_segment){ DATA, 0, 7 };
		segs[10] = bad[i];
		fake_request(&g, BLKIF_OP_READ, 7, 0, 11, segs);
		is_refused(BLKIF_OP_READ, BLKIF_RSP_ERROR);
		fake_request(&g, BLKIF_OP_WRITE, 7, 0, 11, segs);
		is_refused(BLKIF_OP_WRITE, BLKIF_RSP_ERROR);
		segs[10] = segs[0];
		segs[31] = bad[i];
		fake_indirect(&g, BLKIF_OP_READ, 7, 0, 32, segs, SEGS);
		is_refused(BLKIF_OP_READ, BLKIF_RSP_ERROR);
	}
	disconnect();
}

static void
test_no_more_segments_than_there_are(void **state)
{
	static const uint8_t counts[] = { 0, 12, 32, 33, 255 };
	static const uint16_t indirect[] = { 0, 33, 512, 513, 4096, UINT16_MAX };
	struct fake_segment segs[512];

	for (unsigned int i = 0; i < 512; i++)
		segs[i] = (struct fake_segment){ DATA, 0, 0 };
	connect_as(RING_X86_32, 0);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		fake_request(&g, BLKIF_OP_WRITE, 7, 0, counts[i], segs);
		is_refused(BLKIF_OP_WRITE, BLKIF_RSP_ERROR);
	}
	for (size_t i = 0; i < sizeof(indirect) / sizeof(*indirect); i++) {
		fake_indirect(&g, BLKIF_OP_WRITE, 7, 0, indirect[i], segs, SEGS);
		is_refused(BLKIF_OP_WRITE, BLKIF_RSP_ERROR);
	}
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 7, 0, 12, segs);
	is_refused(BLKIF_OP_WRITE_BARRIER, BLKIF_RSP_ERROR);
	fake_request(&g, BLKIF_OP_FLUSH_DISKCACHE, 7, 0, 1, segs);
	is_refused(BLKIF_OP_FLUSH_DISKCACHE, BLKIF_RSP_ERROR);
	disconnect();
}

static void
test_an_indirect_request_is_a_read_or_a_write(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };
	static const struct {
		uint8_t op;
		int status;
	} bad[] = {
		{ BLKIF_OP_WRITE_BARRIER, BLKIF_RSP_ERROR },
		{ BLKIF_OP_FLUSH_DISKCACHE, BLKIF_RSP_ERROR },
		{ BLKIF_OP_DISCARD, BLKIF_RSP_ERROR },
		{ BLKIF_OP_INDIRECT, BLKIF_RSP_EOPNOTSUPP },
		{ 255, BLKIF_RSP_EOPNOTSUPP },
	};

	connect_as(RING_X86_64, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		fake_indirect(&g, bad[i].op, 7, 0, 1, &seg, SEGS);
		is_refused(bad[i].op, bad[i].status);
	}
	fake_request(&g, 4, 7, 0, 1, &seg);
	is_refused(4, BLKIF_RSP_EOPNOTSUPP);
	fake_request(&g, 255, 7, 0, 1, &seg);
	is_refused(255, BLKIF_RSP_EOPNOTSUPP);
	disconnect();
}

static void
test_a_grant_that_is_none_is_an_error(void **state)
{
	static const struct fake_segment segs[] = { { DATA, 0, 7 }, { FAKE_PAGES, 0, 7 } };

	connect_as(RING_X86_64, 0);
	fake_request(&g, BLKIF_OP_WRITE, 7, 0, 2, segs);
	is_refused(BLKIF_OP_WRITE, BLKIF_RSP_ERROR);
	fake_indirect(&g, BLKIF_OP_READ, 7, 0, 1, segs, UINT32_MAX);
	is_refused(BLKIF_OP_READ, BLKIF_RSP_ERROR);

	/* A read finds out when it has the data. */
	fake_request(&g, BLKIF_OP_READ, 7, 0, 2, segs);
	send_all();
	answer_all();
	ERR(BLKIF_OP_READ, 7);
	disconnect();
}

static void
test_nothing_outside_the_disk(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };
	static const uint64_t sectors[] = { DISK_SECTORS - 7, DISK_SECTORS, DISK_SECTORS + 1,
					    UINT64_MAX - 7,   UINT64_MAX,   UINT64_C(1) << 55 };

	connect_as(RING_X86_32, 0);
	for (size_t i = 0; i < sizeof(sectors) / sizeof(*sectors); i++) {
		fake_request(&g, BLKIF_OP_WRITE, 7, sectors[i], 1, &seg);
		is_refused(BLKIF_OP_WRITE, BLKIF_RSP_ERROR);
		fake_indirect(&g, BLKIF_OP_READ, 7, sectors[i], 1, &seg, SEGS);
		is_refused(BLKIF_OP_READ, BLKIF_RSP_ERROR);
		fake_discard(&g, 0, 7, sectors[i], 8);
		is_refused(BLKIF_OP_DISCARD, BLKIF_RSP_ERROR);
		fake_discard(&g, 0, 7, 8, sectors[i]);
		is_refused(BLKIF_OP_DISCARD, BLKIF_RSP_ERROR);
	}
	fake_discard(&g, 0, 7, 0, 0);
	is_refused(BLKIF_OP_DISCARD, BLKIF_RSP_ERROR);
	fake_discard(&g, 2, 7, 0, 8);
	is_refused(BLKIF_OP_DISCARD, BLKIF_RSP_ERROR);
	disconnect();
}

static void
test_unaligned_ends_are_refused(void **state)
{
	static const struct fake_segment whole = { DATA, 0, 7 }, part = { DATA, 0, 6 };
	static const struct fake_segment halves[] = { { DATA, 4, 7 }, { DATA, 0, 3 } };

	vbd.disk_info.sector_size = 4096;
	connect_as(RING_X86_64, 0);
	fake_request(&g, BLKIF_OP_WRITE, 7, 4, 1, &whole);
	is_refused(BLKIF_OP_WRITE, BLKIF_RSP_ERROR);
	fake_request(&g, BLKIF_OP_READ, 7, 0, 1, &part);
	is_refused(BLKIF_OP_READ, BLKIF_RSP_ERROR);
	fake_discard(&g, 0, 7, 8, 7);
	is_refused(BLKIF_OP_DISCARD, BLKIF_RSP_ERROR);

	/* It is the disk that has large sectors, not the guest's memory. */
	fake_request(&g, BLKIF_OP_WRITE, 7, 8, 2, halves);
	send_all();
	answer_all();
	OK(BLKIF_OP_WRITE, 7);
	disconnect();
}

static void
test_a_producer_that_runs_away_is_disconnected(void **state)
{
	static const uint32_t indices[] = { 33, 1000, UINT32_MAX, 0x80000000 };

	for (size_t i = 0; i < sizeof(indices) / sizeof(*indices); i++) {
		connect_as(RING_X86_64, 0);
		g.req_prod = indices[i];
		send_all();
		assert_true(g.closed);
		assert_int_equal(n_held, 0);
		/* It is still the device's ring, until that is disconnected. */
		assert_true(tapdisk_blkif_is(vbd.blkif, 1, 51712));
		disconnect();
	}
}

static void
test_a_producer_must_not_run_away_or_back_later(void **state)
{
	static const int steps[] = { 31, -1, -3 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		connect_as(RING_X86_32, 0);
		/* What it does not show would be good requests. */
		for (unsigned int k = 0; k < g.entries; k++)
			fake_request(&g, BLKIF_OP_FLUSH_DISKCACHE, k, 0, 0, NULL);
		g.req_prod = 2;
		send_all();
		assert_int_equal(n_held, 2);
		assert_false(g.closed);
		g.req_prod += (uint32_t)steps[i];
		send_all();
		assert_true(g.closed);
		assert_int_equal(n_held, 2);
		/* Its requests are the VBD's, but their answers go nowhere. */
		answer_all();
		assert_int_equal(fake_get_index(&g, 8), 0);
		assert_int_equal(g.notified, 0);
		disconnect();
	}
}

static void
test_the_shared_answer_index_is_never_read_back(void **state)
{
	connect_as(RING_X86_64, 0);
	turn();
	fake_put_index(&g, 8, 0xdeadbeef);
	fake_request(&g, BLKIF_OP_FLUSH_DISKCACHE, 1, 0, 0, NULL);
	send_all();
	answer_all();
	assert_int_equal(fake_get_index(&g, 8), 1);
	OK(BLKIF_OP_FLUSH_DISKCACHE, 1);
	disconnect();
}

/* While a copy is made, everything that the request was read from is changed. */
static void
spoil_everything(struct fake_guest *guest)
{
	memset(guest->memory + 64, 0xff, guest->guest.pages * RING_PAGE_SIZE - 64u);
}

static void
test_a_request_is_read_once(void **state)
{
	static const struct fake_segment segs[] = { { DATA, 0, 7 }, { DATA + 1, 2, 3 } };

	connect_as(RING_X86_64, 0);
	memset(FAKE_PAGE(&g, DATA), 0x11, 2 * RING_PAGE_SIZE);
	g.meanwhile = spoil_everything;
	fake_request(&g, BLKIF_OP_WRITE, 1, 16, 2, segs);
	send_all();
	assert_int_equal(n_held, 1);
	assert_int_equal(oldest()->sec, 16);
	assert_int_equal(oldest()->iov[0].secs, 10);
	answer_all();
	g.meanwhile = NULL;
	OK(BLKIF_OP_WRITE, 1);
	assert_int_equal(disk[16 * 512], 0x11);
	assert_int_equal(disk[26 * 512 - 1], 0x11);
	assert_int_equal(disk[26 * 512], 0);
	disconnect();
}

static int n_copies;

/* The first copy takes the page of segments, the second the data. */
static void
spoil_segments(struct fake_guest *guest)
{
	spoil_everything(guest);
	if (n_copies++)
		memset(FAKE_PAGE(guest, SEGS), 0xff, RING_PAGE_SIZE);
}

static void
test_indirect_segments_are_read_once(void **state)
{
	struct fake_segment segs[RING_MAX_SEGMENTS];
	static const uint8_t ops[] = { BLKIF_OP_WRITE, BLKIF_OP_READ };

	for (unsigned int i = 0; i < RING_MAX_SEGMENTS; i++)
		segs[i] = (struct fake_segment){ DATA + i, 0, 7 };
	for (size_t i = 0; i < sizeof(ops); i++) {
		connect_as(RING_X86_64, 0);
		n_copies = 0;
		g.meanwhile = spoil_segments;
		fake_indirect(&g, ops[i], 1, 8, RING_MAX_SEGMENTS, segs, SEGS);
		send_all();
		assert_int_equal(n_held, 1);
		assert_int_equal(oldest()->iov[0].secs, RING_MAX_SEGMENTS * 8);
		answer_all();
		g.meanwhile = NULL;
		assert_int_equal(n_copies, 2);
		OK(ops[i], 1);
		disconnect();
	}
}

/* For every request that is refused, the guest adds another. */
static unsigned int n_added;

static void
add_another(struct fake_guest *guest)
{
	static const struct fake_segment seg = { FAKE_PAGES, 0, 7 };

	n_added++;
	fake_request(guest, BLKIF_OP_WRITE, n_added, 0, 1, &seg);
	fake_put_index(guest, 0, guest->req_prod);
}

static void
test_a_guest_that_never_stops_does_not_keep_others_waiting(void **state)
{
	connect_as(RING_X86_64, 0);
	turn();
	g.meanwhile = add_another;
	n_added = 0;
	add_another(&g);
	send_all();
	assert_int_equal(n_added, 1 + g.entries);
	/* The rest is taken without an event, in turns to come. */
	turn();
	assert_int_equal(n_added, 1 + 2 * g.entries);
	g.meanwhile = NULL;
	turn();
	assert_false(g.closed);
	disconnect();
}

static void
test_a_ring_may_go_while_requests_are_in_flight(void **state)
{
	static const struct fake_segment seg = { DATA, 0, 7 };

	connect_as(RING_X86_64, 0);
	memset(FAKE_PAGE(&g, DATA), 0x77, RING_PAGE_SIZE);
	fake_request(&g, BLKIF_OP_READ, 1, 0, 1, &seg);
	fake_request(&g, BLKIF_OP_WRITE, 2, 8, 1, &seg);
	fake_request(&g, BLKIF_OP_WRITE_BARRIER, 3, 16, 1, &seg);
	send_all();
	assert_int_equal(n_held, 2);
	tapdisk_blkif_disconnect(vbd.blkif);
	assert_true(g.closed);
	assert_non_null(vbd.blkif);
	assert_false(tapdisk_blkif_is(vbd.blkif, 1, 51712));

	answer_all();
	assert_null(vbd.blkif);
	assert_int_equal(FAKE_PAGE(&g, DATA)[0], 0x77);
	assert_int_equal(fake_get_index(&g, 8), 0);
	assert_int_equal(disk[8 * 512], 0x77);
	fake_free(&g);
}

/* --- a tapdisk that dies ----------------------------------------------------------- */

#define ENDURING 12 /* requests of the guest that outlives it */

static char inflight_path[64];

static int
connect_enduring(void)
{
	const struct blkif_config config = {
		.ring = { .domid = 1, .devid = 51712, .protocol = RING_X86_64, .pages = 1 },
		.inflight = inflight_path,
	};

	return tapdisk_blkif_connect(&vbd, &config, &g.guest);
}

/* Writes, reads, a flush, and a barrier at the end; half of them are shown at first. */
static void
send_enduring(void)
{
	for (unsigned int i = 0; i < ENDURING; i++) {
		const struct fake_segment seg = { DATA + i, 0, 7 };

		memset(FAKE_PAGE(&g, DATA + i), (int)(0x40 + i), RING_PAGE_SIZE);
		memset(disk + (size_t)i * RING_PAGE_SIZE, (int)(0x80 + i), RING_PAGE_SIZE);
		if (i == 5)
			fake_request(&g, BLKIF_OP_FLUSH_DISKCACHE, i, 0, 0, NULL);
		else if (i == ENDURING - 1)
			fake_request(&g, BLKIF_OP_WRITE_BARRIER, i, i * 8, 1, &seg);
		else if (i % 3 == 1)
			fake_indirect(&g, BLKIF_OP_READ, i, i * 8, 1, &seg, SEGS + i);
		else
			fake_request(&g, i % 2 ? BLKIF_OP_READ : BLKIF_OP_WRITE, i, i * 8, 1,
				     &seg);
	}
	fake_send(&g);
	fake_put_index(&g, 0, ENDURING / 2);
}

/* What a tapdisk does before it dies: answers from both ends, shown now and then. */
static void
serve_enduring(void)
{
	turn();
	for (unsigned int i = 0; n_held; i++) {
		answer(i % 2 ? oldest() : newest(), 0, i % 3 == 2 || n_held == 1);
		if (i == 1) { /* taken before these two answers are shown */
			fake_put_index(&g, 0, ENDURING);
			eventfd_write(g.guest.fd, 1);
			turn();
		}
	}
}

/* The next tapdisk: every request is answered just once, and well. */
static void
finish_enduring(void)
{
	unsigned int seen = 0;
	struct fake_answer got;

	assert_int_equal(connect_enduring(), 0);
	send_all();
	answer_all();
	turn();
	answer_all();
	while (fake_receive(&g, &got)) {
		assert_true(got.id < ENDURING);
		assert_int_equal(got.status, BLKIF_RSP_OKAY);
		assert_false(seen & 1u << got.id);
		seen |= 1u << got.id;
	}
	assert_int_equal(seen, (1u << ENDURING) - 1);
	for (unsigned int i = 0; i < ENDURING; i++)
		if (i != 5)
			assert_memory_equal(disk + (size_t)i * RING_PAGE_SIZE,
					    FAKE_PAGE(&g, DATA + i), RING_PAGE_SIZE);
	assert_int_equal(access(inflight_path, F_OK), 0);
	disconnect();
	assert_int_not_equal(access(inflight_path, F_OK), 0);
}

/* What is there if the tapdisk dies now: checked on a copy, so that it may go on. */
static void
die_here(void)
{
	const struct fake_guest live = g;
	uint8_t *live_disk = disk;
	char live_path[sizeof(inflight_path)], slots[64 << 10];
	FILE *file;
	size_t n;

	memcpy(live_path, inflight_path, sizeof(live_path));
	fake_open(&g, RING_X86_64, 0);
	g.req_prod = live.req_prod;
	memcpy(g.memory, live.memory, (size_t)(DATA + ENDURING) * RING_PAGE_SIZE);
	disk = malloc(DISK_SIZE);
	assert_non_null(disk);
	memcpy(disk, live_disk, (size_t)ENDURING * RING_PAGE_SIZE);

	file = fopen(live_path, "r");
	assert_non_null(file);
	n = fread(slots, 1, sizeof(slots), file);
	fclose(file);
	snprintf(inflight_path, sizeof(inflight_path), "/tmp/test-blkif.%d.copy", getpid());
	file = fopen(inflight_path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(slots, 1, n, file), n);
	fclose(file);

	finish_enduring();
	free(disk);
	g = live;
	disk = live_disk;
	memcpy(inflight_path, live_path, sizeof(live_path));
}

/* A child that has the guest's ring, and stops before it serves it; -1: it may not be traced.
 */
static pid_t
spawn_enduring(void)
{
	const pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) || connect_enduring())
			_exit(1);
		raise(SIGSTOP);
		serve_enduring();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSTOPPED(status) ? child : -1;
}

static void
test_a_tapdisk_may_die_between_any_two_instructions(void **state)
{
	unsigned long instructions = 0, deaths = 0, next = 0;
	int status;
	pid_t child;

	/* The disk outlives it, too. */
	free(disk);
	disk = mmap(NULL, DISK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(disk != MAP_FAILED);
	snprintf(inflight_path, sizeof(inflight_path), "/tmp/test-blkif.%d", getpid());
	fake_open(&g, RING_X86_64, 0);
	send_enduring();
	child = spawn_enduring();
	if (child < 0) {
		munmap(disk, DISK_SIZE);
		disk = NULL;
		fake_free(&g);
		skip(); /* this system lets nobody be traced */
	}
	seed = 1;
	for (;; instructions++) {
		if (instructions == next) {
			die_here();
			deaths++;
			next += 1 + pick(60);
		}
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (!WIFSTOPPED(status))
			break;
	}
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	print_message("# %lu deaths in %lu instructions\n", deaths, instructions);
	assert_true(deaths > 100);
	finish_enduring(); /* with nothing left to do */
	munmap(disk, DISK_SIZE);
	disk = NULL;
}

static void
test_another_ring_has_nothing_of_the_last_one(void **state)
{
	struct blkif_config config = {
		.ring = { .domid = 1, .devid = 51712, .protocol = RING_X86_64, .pages = 1 },
		.inflight = inflight_path,
	};
	int status;
	pid_t child;

	snprintf(inflight_path, sizeof(inflight_path), "/tmp/test-blkif.%d", getpid());
	fake_open(&g, RING_X86_64, 0);
	send_enduring();
	child = fork();
	assert_true(child >= 0);
	if (!child) { /* dies with all it has taken */
		if (connect_enduring())
			_exit(1);
		turn();
		_exit(!n_held);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	fake_free(&g);

	fake_open(&g, RING_X86_64, 0);
	config.ring.port = 7;
	assert_int_equal(tapdisk_blkif_connect(&vbd, &config, &g.guest), 0);
	assert_int_equal(n_held, 0);
	turn();
	assert_int_equal(n_held, 0);
	no_answer();
	disconnect();
}

/* The run directory may be full, or gone: that ring is refused, and nothing else happens. */
static void
test_a_ring_that_nothing_can_be_kept_of_is_refused(void **state)
{
	fake_open(&g, RING_X86_64, 0);
	snprintf(inflight_path, sizeof(inflight_path), "/tmp/test-blkif.%d/none", getpid());
	assert_int_equal(connect_enduring(), -ENOENT);
	assert_null(vbd.blkif);
	snprintf(inflight_path, sizeof(inflight_path), "/tmp/test-blkif.%d", getpid());
	assert_int_equal(connect_enduring(), 0);
	disconnect();
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_every_layout_and_size_of_ring_is_like_an_array),
		TEST(test_a_ring_holds_all_its_entries),
		TEST(test_a_batch_is_one_event),
		TEST(test_an_event_is_asked_for_with_the_next_request),
		TEST(test_a_ring_is_taken_up_where_its_answers_end),
		TEST(test_errors_are_told),
		TEST(test_a_guest_without_event_channel_is_disconnected),
		TEST(test_a_read_only_disk_is_not_written),
		TEST(test_a_discard_of_any_length_is_done_in_pieces),
		TEST(test_a_discard_ends_with_its_first_error),
		TEST(test_a_guest_that_has_gone_is_not_worked_for),
		TEST(test_a_barrier_is_ordered_and_durable),
		TEST(test_a_barrier_of_which_anything_fails_has_failed),
		TEST(test_a_barrier_without_data_is_a_flush_in_order),
		TEST(test_segments_stay_in_their_page),
		TEST(test_no_more_segments_than_there_are),
		TEST(test_an_indirect_request_is_a_read_or_a_write),
		TEST(test_a_grant_that_is_none_is_an_error),
		TEST(test_nothing_outside_the_disk),
		TEST(test_unaligned_ends_are_refused),
		TEST(test_a_producer_that_runs_away_is_disconnected),
		TEST(test_a_producer_must_not_run_away_or_back_later),
		TEST(test_the_shared_answer_index_is_never_read_back),
		TEST(test_a_request_is_read_once),
		TEST(test_indirect_segments_are_read_once),
		TEST(test_a_guest_that_never_stops_does_not_keep_others_waiting),
		TEST(test_a_ring_may_go_while_requests_are_in_flight),
		TEST(test_a_tapdisk_may_die_between_any_two_instructions),
		TEST(test_another_ring_has_nothing_of_the_last_one),
		TEST(test_a_ring_that_nothing_can_be_kept_of_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
