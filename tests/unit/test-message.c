/* SPDX-License-Identifier: BSD-3-Clause */
/* The control protocol's layout and numbers, as a recording of blktap's shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "tapdisk-message.h"

static void
test_a_message_has_544_bytes(void **state)
{
	assert_int_equal(sizeof(tapdisk_message_t), 544);
}

static void
test_an_open_request_lies_as_blktap_sends_it(void **state)
{
	uint8_t bytes[544] = { 0 };
	tapdisk_message_t m;

	bytes[0] = 7; /* OPEN */
	bytes[2] = 3; /* minor */
	bytes[8] = 2; /* RDONLY */
	bytes[12] = 3;
	memcpy(bytes + 20, "aio:/x", 6);
	memset(bytes + 276, 0xff, 4);
	bytes[280] = 60;
	memcpy(bytes + 282, "null", 4);
	memcpy(&m, bytes, sizeof(m));

	assert_int_equal(m.type, TAPDISK_MESSAGE_OPEN);
	assert_int_equal(m.cookie, 3);
	assert_int_equal(m.u.params.flags, TAPDISK_MESSAGE_FLAG_RDONLY);
	assert_int_equal(m.u.params.devnum, 3);
	assert_string_equal(m.u.params.path, "aio:/x");
	assert_int_equal(m.u.params.prt_devnum, TAPDISK_MESSAGE_NO_PARENT);
	assert_int_equal(m.u.params.req_timeout, 60);
	assert_string_equal(m.u.params.secondary, "null");
}

static void
test_answers_lie_as_blktap_sends_them(void **state)
{
	union {
		uint8_t bytes[544];
		tapdisk_message_t m;
	} list = { .bytes = { 20, 0, 5, 0, [8] = 1, [12] = 5, [16] = 0x2a, [20] = 'a' } },
	  error = { .bytes = { 1, 0, [8] = 114, [12] = 'x' } },
	  image = { .bytes = { 29, 0, [9] = 8, [17] = 2, [20] = 4 } },
	  stats = { .bytes = { 22, 0, [8] = 1, [10] = 5, [17] = 1 } };

	assert_int_equal(list.m.type, TAPDISK_MESSAGE_LIST_RSP);
	assert_int_equal(list.m.u.list.count, 1);
	assert_int_equal(list.m.u.list.minor, 5);
	assert_int_equal(list.m.u.list.state, 0x2a);
	assert_string_equal(list.m.u.list.path, "a");

	assert_int_equal(error.m.type, TAPDISK_MESSAGE_ERROR);
	assert_int_equal(error.m.u.response.error, 114);
	assert_string_equal(error.m.u.response.message, "x");

	assert_int_equal(image.m.type, TAPDISK_MESSAGE_DISK_INFO_RSP);
	assert_int_equal(image.m.u.image.sectors, 2048);
	assert_int_equal(image.m.u.image.sector_size, 512);
	assert_int_equal(image.m.u.image.info, 4);

	assert_int_equal(stats.m.type, TAPDISK_MESSAGE_STATS_RSP);
	assert_int_equal(stats.m.u.info.cookie, 5);
	assert_int_equal(stats.m.u.info.length, 256);
}

static void
test_a_ring_lies_as_blktap_sends_it(void **state)
{
	union {
		uint8_t bytes[544];
		tapdisk_message_t m;
	} u = { .bytes = { 24, 0, [8] = 1, [12] = 2, [16] = 3, [44] = 4, [48] = 5, [52] = 6,
			   [56] = 'p', [312] = 7, [316] = 8, [320] = 9 } };
	const tapdisk_message_blkif_t *b = &u.m.u.blkif;

	assert_int_equal(u.m.type, TAPDISK_MESSAGE_XENBLKIF_CONNECT);
	assert_int_equal(b->domid, 1);
	assert_int_equal(b->devid, 2);
	assert_int_equal(b->gref[0], 3);
	assert_int_equal(b->gref[7], 4);
	assert_int_equal(b->order, 5);
	assert_int_equal(b->proto, 6);
	assert_string_equal(b->pool, "p");
	assert_int_equal(b->port, 7);
	assert_int_equal(b->poll_duration, 8);
	assert_int_equal(b->poll_idle_threshold, 9);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message_has_544_bytes),
		cmocka_unit_test(test_an_open_request_lies_as_blktap_sends_it),
		cmocka_unit_test(test_answers_lie_as_blktap_sends_them),
		cmocka_unit_test(test_a_ring_lies_as_blktap_sends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
