/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/tapdisk-nbdserver.o drivers/tapdisk-nbd-proto.o */
/* links: drivers/tapdisk-nbd-connection.o drivers/tapdisk-nbd-memory.o */
/* links: drivers/tapdisk-nbd-request.o drivers/private-socket.o */
/* links: drivers/scheduler.o drivers/tapdisk-log.o */
/* The NBD server: requests and replies, clients that are rude, and ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "nbd-rig.h"

/* --- tests ---------------------------------------------------------------------- */

static void
the_socket_is_its_owners_only(void **state)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/nbd%d.%d", run_dir, getpid(), MINOR);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void
replies_come_in_the_order_of_the_answers(void **state)
{
	const int fd = client(false);
	uint8_t data[512];

	for (int i = 0; i < 3; i++)
		ask(fd, NBD_CMD_READ, 0, i, i * 512, 512);
	settle();
	assert_int_equal(n_held, 3);
	for (int i = 2; i >= 0; i--) {
		answer(list_entry(held.prev, td_vbd_request_t, next), 0, true);
		assert_int_equal(hear_simple(fd, i), 0);
		hear(fd, data, 512);
		assert_memory_equal(data, disk + i * 512, 512);
	}
	close(fd);
}

static void
a_batch_is_sent_with_its_last_answer(void **state)
{
	const int fd = client(false);

	for (int i = 0; i < 3; i++)
		ask(fd, NBD_CMD_FLUSH, 0, i, 0, 0);
	settle();
	answer(oldest(), 0, false);
	answer(oldest(), 0, false);
	hears_nothing(fd);
	answer(oldest(), 0, true);
	for (int i = 0; i < 3; i++)
		assert_int_equal(hear_simple(fd, i), 0);
	close(fd);
}

static void
a_structured_read_is_one_chunk(void **state)
{
	const int fd = client(true);
	uint8_t reply[28 + 1024];

	ask(fd, NBD_CMD_READ, NBD_CMD_FLAG_DF, 9, 4096, 1024);
	settle();
	answer_all();
	hear(fd, reply, sizeof(reply));
	assert_memory_equal(reply, "\x66\x8e\x33\xef\0\1\0\1\0\0\0\0\0\0\0\x09\0\0\x04\x08",
			    20);
	assert_memory_equal(reply + 28, disk + 4096, 1024);

	ask(fd, NBD_CMD_READ, 0, 9, 4096, 1024);
	settle();
	answer(oldest(), -EIO, true);
	hear(fd, reply, 26);
	assert_memory_equal(reply + 4, "\0\1\x80\1\0\0\0\0\0\0\0\x09\0\0\0\6\0\0\0\5\0\0", 22);
	close(fd);
}

static void
a_failed_simple_read_has_no_data(void **state)
{
	const int fd = client(false);

	ask(fd, NBD_CMD_READ, 0, 1, 0, 4096);
	settle();
	answer(oldest(), -EIO, true);
	assert_int_equal(hear_simple(fd, 1), NBD_EIO);
	is_in_step(fd);
	close(fd);
}

/* Cut at every place where the server could trip. */
static void
a_write_may_arrive_in_any_two_pieces(void **state)
{
	const struct wire_command cmd = command(NBD_CMD_WRITE, 0, 5, 1024, 1024);
	const int fd = client(false);
	uint8_t message[sizeof(cmd) + 1024];

	memcpy(message, &cmd, sizeof(cmd));
	for (size_t cut = 1; cut < sizeof(message); cut++) {
		uint8_t *data = pattern(1024, cut);

		memcpy(message + sizeof(cmd), data, 1024);
		say(fd, message, cut);
		settle();
		assert_int_equal(n_held, 0);
		say(fd, message + cut, sizeof(message) - cut);
		settle();
		answer_all();
		assert_int_equal(hear_simple(fd, 5), 0);
		assert_memory_equal(disk + 1024, data, 1024);
		free(data);
	}
	close(fd);
}

static void
writes_of_all_sizes_back_to_back_arrive_whole(void **state)
{
	static const uint32_t sizes[] = { 512,	 65536 - 28, 65536, 4096,    1 << 20, 512,
					  12800, 3 << 20,    512,   8 << 20, 65024 };
	const int fd = client(false);
	uint64_t offset = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const uint32_t size = sizes[i] & ~511u;
		uint8_t *data = pattern(size, 100 + i);

		ask(fd, NBD_CMD_WRITE, 0, i, offset, size);
		say(fd, data, size);
		settle();
		answer_all();
		assert_int_equal(hear_simple(fd, i), 0);
		assert_memory_equal(disk + offset, data, size);
		offset += size;
		free(data);
	}
	close(fd);
}

static void
fua_flushes_between_the_write_and_its_reply(void **state)
{
	static const uint16_t types[] = { NBD_CMD_WRITE, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES };
	const int fd = client(false);
	uint8_t data[512] = { 0 };

	for (int i = 0; i < 3; i++) {
		ask(fd, types[i], NBD_CMD_FLAG_FUA, i, 0, 512);
		if (types[i] == NBD_CMD_WRITE)
			say(fd, data, sizeof(data));
		settle();
		assert_int_not_equal(oldest()->op, TD_OP_FLUSH);
		answer(oldest(), 0, true);
		hears_nothing(fd);
		assert_int_equal(oldest()->op, TD_OP_FLUSH);
		answer(oldest(), i == 2 ? -EIO : 0, true);
		assert_int_equal(hear_simple(fd, i), i == 2 ? NBD_EIO : 0);
	}
	/* A failed write is not flushed, nor is a read. */
	ask(fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA, 4, 0, 512);
	settle();
	answer(oldest(), -ENOSPC, true);
	assert_int_equal(hear_simple(fd, 4), NBD_ENOSPC);
	ask(fd, NBD_CMD_READ, NBD_CMD_FLAG_FUA, 5, 0, 512);
	settle();
	answer(oldest(), 0, true);
	assert_int_equal(hear_simple(fd, 5), 0);
	assert_int_equal(n_held, 0);
	close(fd);
}

static void
zeroes_may_be_forbidden_to_unmap(void **state)
{
	const int fd = client(false);

	ask(fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 1, 0, DISK_SIZE);
	ask(fd, NBD_CMD_TRIM, 0, 2, 512, 1024);
	settle();
	assert_int_equal(oldest()->op, TD_OP_ZERO);
	assert_int_equal(oldest()->flags, TD_REQ_NO_HOLE);
	assert_int_equal(oldest()->secs, DISK_SIZE / 512);
	answer(oldest(), 0, true);
	assert_int_equal(oldest()->flags, TD_REQ_DISCARD);
	assert_int_equal(oldest()->sec, 1);
	assert_int_equal(oldest()->secs, 2);
	answer(oldest(), -EOPNOTSUPP, true);
	assert_int_equal(hear_simple(fd, 1), 0);
	/* It promised nothing. */
	assert_int_equal(hear_simple(fd, 2), 0);
	close(fd);
}

static void
four_gib_less_a_sector_are_zeroed_at_once(void **state)
{
	int fd;

	disk_info.size = UINT64_C(1) << 31;
	fd = client(false);
	ask(fd, NBD_CMD_WRITE_ZEROES, 0, 1, 1 << 30, UINT32_MAX - 511);
	settle();
	assert_int_equal(oldest()->secs, (UINT32_MAX - 511) / 512);
	answer(oldest(), -EOPNOTSUPP, true);
	assert_int_equal(hear_simple(fd, 1), NBD_ENOTSUP);
	close(fd);
}

static void
block_status_tells_merged_extents(void **state)
{
	const int fd = client(true);
	uint8_t reply[24 + 24];

	ask(fd, NBD_CMD_BLOCK_STATUS, 0, 1, 4096, 3 << 20);
	settle();
	answer_all();
	hear(fd, reply, 24 + 24);
	assert_memory_equal(reply + 16, "\0\0\0\x24\0\0\0\1", 8);
	assert_memory_equal(reply + 24,
			    "\0\x0f\xf0\0\0\0\0\0\0\x10\0\0\0\0\0\3\0\x10\0\0\0\0\0\0", 24);
	hear(fd, reply, 8);
	assert_memory_equal(reply, "\0\0\x10\0\0\0\0\3", 8);

	ask(fd, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 1, 1 << 20, 3 << 20);
	settle();
	answer_all();
	hear(fd, reply, 32);
	assert_memory_equal(reply + 16, "\0\0\0\x0c\0\0\0\1\0\x10\0\0\0\0\0\3", 16);
	close(fd);
}

static void
wrong_commands_are_answered_and_the_stream_stays_in_step(void **state)
{
	static const struct {
		uint16_t type, flags;
		uint64_t offset;
		uint32_t length, error;
	} cases[] = {
		{ NBD_CMD_READ, 0, 1, 512, NBD_EINVAL },
		{ NBD_CMD_READ, 0, 0, 100, NBD_EINVAL },
		{ NBD_CMD_READ, 0, DISK_SIZE, 512, NBD_EINVAL },
		{ NBD_CMD_READ, 0, 0, 40 << 20, NBD_EOVERFLOW },
		{ NBD_CMD_WRITE, 0, 100, 600, NBD_EINVAL },
		{ NBD_CMD_WRITE, 0, DISK_SIZE, 4096, NBD_ENOSPC },
		{ NBD_CMD_WRITE, 1 << 5, 0, 4096, NBD_EINVAL },
		{ NBD_CMD_WRITE, 0, 0, 40 << 20, NBD_EOVERFLOW },
		{ NBD_CMD_TRIM, 0, 0, 0, NBD_EINVAL },
		{ NBD_CMD_CACHE, 0, 0, 512, NBD_EINVAL },
		{ NBD_CMD_BLOCK_STATUS, 0, 0, 512, NBD_EINVAL },
		{ 77, 0, 0, 512, NBD_EINVAL },
	};
	uint8_t *payload = pattern(40 << 20, 3);
	const int fd = client(false);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ask(fd, cases[i].type, cases[i].flags, i, cases[i].offset, cases[i].length);
		if (cases[i].type == NBD_CMD_WRITE)
			say(fd, payload, cases[i].length);
		assert_int_equal(hear_simple(fd, i), cases[i].error);
		assert_int_equal(n_held, 0);
		is_in_step(fd);
	}
	free(payload);
	close(fd);
}

/* Clients take a reply to what they are still sending for nonsense. */
static void
a_refused_write_is_answered_when_its_payload_has_arrived(void **state)
{
	const int fd = client(false);
	uint8_t payload[1000] = { 0 };

	ask(fd, NBD_CMD_WRITE, 0, 1, 100, sizeof(payload));
	hears_nothing(fd);
	say(fd, payload, sizeof(payload) - 1);
	hears_nothing(fd);
	say(fd, payload, 1);
	assert_int_equal(hear_simple(fd, 1), NBD_EINVAL);
	is_in_step(fd);
	close(fd);
}

static void
a_client_that_only_listens_on_is_answered(void **state)
{
	const int fd = client(false);

	ask(fd, NBD_CMD_FLUSH, 0, 1, 0, 0);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	hears_nothing(fd);
	answer_all();
	assert_int_equal(hear_simple(fd, 1), 0);
	is_closed(fd);
}

static void
a_closed_vbd_is_answered_eshutdown(void **state)
{
	const int fd = client(false);

	refuse = -ESHUTDOWN;
	ask(fd, NBD_CMD_READ, 0, 1, 0, 512);
	assert_int_equal(hear_simple(fd, 1), NBD_ESHUTDOWN);
	close(fd);
}

static void
garbage_closes_its_connection_only(void **state)
{
	const int good = client(false), bad = client(false), worse = dial();
	char noise[4096];

	memset(noise, 0xa5, sizeof(noise));
	ask(bad, NBD_CMD_READ, 0, 1, 0, 512);
	say(bad, noise, 28);
	settle();
	is_closed(bad);
	(void)send(worse, noise, sizeof(noise), MSG_NOSIGNAL);
	settle();
	close(worse);
	answer_all(); /* the dead one's too */
	is_in_step(good);
	close(good);
}

static void
half_a_header_costs_only_its_connection(void **state)
{
	const struct wire_command cmd = command(NBD_CMD_READ, 0, 1, 0, 512);
	const int half = client(false), good = client(false);

	say(half, &cmd, 13);
	is_in_step(good);
	is_in_step(good);
	say(half, (const char *)&cmd + 13, sizeof(cmd) - 13);
	settle();
	answer_all();
	assert_int_equal(hear_simple(half, 1), 0);
	close(half);
	close(good);
}

static void
requests_of_a_connection_are_bounded_in_number(void **state)
{
	const int greedy = client(false), other = client(false);
	unsigned int bound;

	for (int i = 0; i < 300; i++)
		ask(greedy, NBD_CMD_FLUSH, 0, i, 0, 0);
	settle();
	bound = n_held;
	assert_in_range(bound, 64, 256);

	ask(other, NBD_CMD_FLUSH, 0, 1, 0, 0);
	settle();
	assert_int_equal(n_held, bound + 1);
	for (int i = 0; i < 300; i++) {
		assert_true(n_held <= bound + 1);
		answer(oldest(), 0, true);
		if (i == (int)bound)
			answer(oldest(), 0, true); /* the other's came before it */
		assert_int_equal(hear_simple(greedy, i), 0);
	}
	assert_int_equal(hear_simple(other, 1), 0);
	close(greedy);
	close(other);
}

static void
requests_of_a_connection_are_bounded_in_bytes(void **state)
{
	const int fd = client(false);
	uint8_t *data = malloc(12 << 20);

	assert_non_null(data);
	for (int i = 0; i < 10; i++)
		ask(fd, NBD_CMD_READ, 0, i, 0, 12 << 20); /* a buffer of 16 MiB */
	settle();
	for (int i = 0; i < 10; i++) {
		assert_true(n_held <= 2);
		answer(oldest(), 0, true);
		assert_int_equal(hear_simple(fd, i), 0);
		hear(fd, data, 12 << 20);
		assert_memory_equal(data, disk, 12 << 20);
	}
	free(data);
	close(fd);
}

static void
the_largest_request_fits_alone(void **state)
{
	const int fd = client(false);
	uint8_t *data = pattern(32 << 20, 9);

	ask(fd, NBD_CMD_READ, 0, 1, 0, 512);
	ask(fd, NBD_CMD_WRITE, 0, 2, 0, 32 << 20);
	settle();
	answer_all();
	say(fd, data, 32 << 20);
	settle();
	answer_all();
	assert_memory_equal(disk, data, 32 << 20);
	free(data);
	close(fd);
}

static void
a_client_that_does_not_read_costs_only_itself(void **state)
{
	const int slow = client(false), good = client(false);
	uint8_t *data = malloc(1 << 20);

	assert_non_null(data);
	for (int i = 0; i < 64; i++)
		ask(slow, NBD_CMD_READ, 0, i, 0, 1 << 20);
	for (int i = 0; i < 20; i++) {
		settle();
		answer_all();
	}
	is_in_step(good);
	/* Nothing was lost when it reads at last. */
	for (int i = 0; i < 64; i++) {
		assert_int_equal(hear_simple(slow, i), 0);
		hear(slow, data, 1 << 20);
		assert_memory_equal(data, disk, 1 << 20);
		answer_all();
	}
	free(data);
	close(slow);
	close(good);
}

/* What has arrived, in whole simple replies whose cookies count on from *got. */
static void
take_replies(int fd, unsigned int *got)
{
	uint8_t head[16];

	while (recv(fd, head, sizeof(head), MSG_PEEK) == sizeof(head)) {
		assert_int_equal(hear_simple(fd, *got), 0);
		++*got;
	}
}

/*
 * All of them ask for more than their bound at once. Nobody is ever further ahead of
 * another than by one bound, whoever came first.
 */
static void
greedy_connections_are_served_by_turns(void **state)
{
	enum { CLIENTS = 64, EACH = 400 };
	unsigned int got[CLIENTS] = { 0 }, bound, answered = 0;
	struct wire_command flushes[EACH];
	int fds[CLIENTS];

	for (int i = 0; i < EACH; i++)
		flushes[i] = command(NBD_CMD_FLUSH, 0, i, 0, 0);
	for (int c = 0; c < CLIENTS; c++)
		fds[c] = client(false);
	for (int c = 0; c < CLIENTS; c++)
		say(fds[c], flushes, sizeof(flushes));
	settle();
	assert_int_equal(n_held % CLIENTS, 0);
	bound = n_held / CLIENTS;
	assert_true(bound < EACH / 2);

	while (n_held) {
		unsigned int least = EACH, most = 0;

		/* Not a divisor of the bound, so that batches end anywhere. */
		for (unsigned int n = n_held < 101 ? n_held : 101; n; n--, answered++)
			answer(oldest(), 0, n == 1);
		settle();
		for (int c = 0; c < CLIENTS; c++) {
			take_replies(fds[c], &got[c]);
			least = got[c] < least ? got[c] : least;
			most = got[c] > most ? got[c] : most;
		}
		assert_true(most - least <= bound);
		assert_true(n_held <= CLIENTS * bound);
	}
	assert_int_equal(answered, CLIENTS * EACH);
	for (int c = 0; c < CLIENTS; c++) {
		assert_int_equal(got[c], EACH);
		close(fds[c]);
	}
}

static void
disc_closes_when_all_is_answered(void **state)
{
	const int fd = client(false);

	ask(fd, NBD_CMD_FLUSH, 0, 1, 0, 0);
	ask(fd, NBD_CMD_DISC, 0, 2, 0, 0);
	hears_nothing(fd);
	answer_all();
	assert_int_equal(hear_simple(fd, 1), 0);
	is_closed(fd);
}

static void
a_client_that_dies_is_forgotten_when_the_vbd_has_answered(void **state)
{
	const int dying = client(false), good = client(false);
	uint8_t data[512] = { 0 };

	for (int i = 0; i < 8; i++)
		ask(dying, NBD_CMD_READ, 0, i, 0, 4096);
	ask(dying, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 9, 0, 1024);
	say(dying, data, sizeof(data));
	close(dying);
	settle();
	assert_int_equal(n_held, 8);
	answer_all();
	settle();
	is_in_step(good);
	close(good);
}

static void
stopping_with_requests_in_flight_is_safe(void **state)
{
	const int fd = client(false);

	ask(fd, NBD_CMD_READ, 0, 1, 0, 4096);
	ask(fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA, 2, 0, 4096);
	settle();
	tapdisk_nbdserver_stop(server);
	server = NULL;
	is_closed(fd);
	assert_int_equal(n_held, 2);
	answer(oldest(), 0, false);
	answer(oldest(), 0, true);
	assert_int_equal(n_held, 0);
}

static void
connections_beyond_the_bound_wait_for_a_place(void **state)
{
	int fds[64], late;

	for (int i = 0; i < 64; i++)
		fds[i] = client(false);
	late = dial();
	hears_nothing(late);
	is_in_step(fds[63]);
	close(fds[0]);
	settle();
	hear(late, (char[18]){ 0 }, 18);
	close(late);
	for (int i = 1; i < 64; i++)
		close(fds[i]);
}

static void
a_read_only_server_says_so_and_refuses(void **state)
{
	const char enter[] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0";
	uint8_t bytes[28], payload[512] = { 0 };
	int fd;

	disk_info.info = TD_INFO_READONLY;
	fd = dial();
	say(fd, enter, sizeof(enter) - 1);
	hear(fd, bytes, sizeof(bytes));
	assert_int_equal(bytes[27] & 2, 2);
	ask(fd, NBD_CMD_WRITE, 0, 1, 0, 512);
	say(fd, payload, sizeof(payload));
	assert_int_equal(hear_simple(fd, 1), NBD_EPERM);
	is_in_step(fd);
	close(fd);
}

static void
a_disk_that_cannot_be_described_is_not_served(void **state)
{
	struct tapdisk_nbdserver *none = NULL;

	disk_info.sector_size = 4096;
	disk_info.size = 9;
	assert_int_equal(tapdisk_nbdserver_start(NULL, MINOR + 1, false, &none), -EINVAL);
	assert_null(none);
}

#define server_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		server_test(the_socket_is_its_owners_only),
		server_test(replies_come_in_the_order_of_the_answers),
		server_test(a_batch_is_sent_with_its_last_answer),
		server_test(a_structured_read_is_one_chunk),
		server_test(a_failed_simple_read_has_no_data),
		server_test(a_write_may_arrive_in_any_two_pieces),
		server_test(writes_of_all_sizes_back_to_back_arrive_whole),
		server_test(fua_flushes_between_the_write_and_its_reply),
		server_test(zeroes_may_be_forbidden_to_unmap),
		server_test(four_gib_less_a_sector_are_zeroed_at_once),
		server_test(block_status_tells_merged_extents),
		server_test(wrong_commands_are_answered_and_the_stream_stays_in_step),
		server_test(a_refused_write_is_answered_when_its_payload_has_arrived),
		server_test(a_client_that_only_listens_on_is_answered),
		server_test(a_closed_vbd_is_answered_eshutdown),
		server_test(garbage_closes_its_connection_only),
		server_test(half_a_header_costs_only_its_connection),
		server_test(requests_of_a_connection_are_bounded_in_number),
		server_test(requests_of_a_connection_are_bounded_in_bytes),
		server_test(the_largest_request_fits_alone),
		server_test(a_client_that_does_not_read_costs_only_itself),
		server_test(greedy_connections_are_served_by_turns),
		server_test(disc_closes_when_all_is_answered),
		server_test(a_client_that_dies_is_forgotten_when_the_vbd_has_answered),
		server_test(stopping_with_requests_in_flight_is_safe),
		server_test(connections_beyond_the_bound_wait_for_a_place),
		server_test(a_read_only_server_says_so_and_refuses),
		server_test(a_disk_that_cannot_be_described_is_not_served),
	};

	return cmocka_run_group_tests_name("NBD server", tests, NULL, NULL);
}
