/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-nbd-proto.o */
/* The NBD wire format: every option, every command, and bytes that are neither. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tapdisk-nbd-proto.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

#define ACK	    UINT32_C(1)
#define SERVER	    UINT32_C(2)
#define INFO	    UINT32_C(3)
#define CONTEXT	    UINT32_C(4)
#define ERR_UNSUP   UINT32_C(0x80000001)
#define ERR_INVALID UINT32_C(0x80000003)
#define ERR_TOO_BIG UINT32_C(0x80000009)

#define MIB (UINT64_C(1) << 20)

enum {
	EXPORT_NAME = 1,
	ABORT,
	LIST,
	STARTTLS = 5,
	OPT_INFO,
	GO,
	STRUCTURED,
	LIST_META,
	SET_META
};

/* Bytes under construction; big-endian. */
struct bytes {
	size_t len;
	uint8_t at[NBD_OPTION_HEADER + NBD_MAX_OPTION + 64];
};

static void
add_int(struct bytes *b, uint64_t value, size_t size)
{
	for (size_t i = size; i--;)
		b->at[b->len++] = value >> (8 * i);
}

static void
add_text(struct bytes *b, const char *text)
{
	memcpy(b->at + b->len, text, strlen(text));
	b->len += strlen(text);
}

static void
add_string(struct bytes *b, const char *text)
{
	add_int(b, strlen(text), 4);
	add_text(b, text);
}

static uint64_t
int_at(const uint8_t *at, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value = value << 8 | at[i];
	return value;
}

/* An option whose header claims claimed bytes of data. */
static struct bytes
option_claiming(uint32_t option, const struct bytes *data, uint32_t claimed)
{
	struct bytes b = { 0 };

	add_text(&b, "IHAVEOPT");
	add_int(&b, option, 4);
	add_int(&b, claimed, 4);
	memcpy(b.at + b.len, data->at, data->len);
	b.len += data->len;
	return b;
}

/* The server's answer to an option: what types its replies had, and their data. */
struct answer {
	ssize_t taken;
	size_t len;
	uint8_t bytes[NBD_HANDSHAKE_REPLY];
	size_t n;
	uint32_t types[8];
	const uint8_t *data[8];
	uint32_t data_len[8];
};

static struct nbd_handshake
handshake(void)
{
	const struct nbd_export export = { .size = 64 * MIB, .block = 512 };
	struct nbd_handshake hs = { .export = export };
	uint8_t out[NBD_HANDSHAKE_REPLY];
	size_t len;

	assert_int_equal(nbd_handshake_step(&hs, (const uint8_t *)"\0\0\0\3", 4, out, &len), 4);
	assert_int_equal(len, 0);
	assert_int_equal(hs.phase, NBD_PHASE_OPTIONS);
	return hs;
}

static void
send_bytes(struct nbd_handshake *hs, const struct bytes *b, struct answer *a)
{
	memset(a, 0, sizeof(*a));
	a->taken = nbd_handshake_step(hs, b->at, b->len, a->bytes, &a->len);
}

/* Sends an option and splits the answer into replies. */
static void
send_option(struct nbd_handshake *hs, uint32_t option, const struct bytes *data,
	    struct answer *a)
{
	const struct bytes b = option_claiming(option, data, data->len);

	send_bytes(hs, &b, a);
	assert_int_equal(a->taken, b.len);
	for (size_t at = 0; at < a->len; a->n++) {
		assert_true(a->n < N(a->types));
		assert_true(a->len - at >= 20);
		assert_true(int_at(a->bytes + at, 8) == UINT64_C(0x3e889045565a9));
		assert_int_equal(int_at(a->bytes + at + 8, 4), option);
		a->types[a->n] = int_at(a->bytes + at + 12, 4);
		a->data_len[a->n] = int_at(a->bytes + at + 16, 4);
		a->data[a->n] = a->bytes + at + 20;
		at += 20 + a->data_len[a->n];
		assert_true(at <= a->len);
	}
}

static uint32_t
answer_to(struct nbd_handshake *hs, uint32_t option, const struct bytes *data)
{
	struct answer a;

	send_option(hs, option, data, &a);
	assert_true(a.n > 0);
	return a.types[a.n - 1];
}

static const struct bytes nothing;

static void
greeting_offers_fixed_newstyle_without_zeroes(void **state)
{
	uint8_t out[NBD_HANDSHAKE_REPLY];

	assert_int_equal(nbd_greeting(out), 18);
	assert_memory_equal(out, "NBDMAGICIHAVEOPT\0\3", 18);
}

static void
unknown_client_flags_close_the_connection(void **state)
{
	uint8_t out[NBD_HANDSHAKE_REPLY];
	size_t len;

	for (unsigned int bit = 2; bit < 32; bit++) {
		struct nbd_handshake hs = { 0 };
		struct bytes b = { 0 };

		add_int(&b, UINT64_C(1) << bit | 3, 4);
		assert_int_equal(nbd_handshake_step(&hs, b.at, 4, out, &len), -EPROTO);
	}
}

static void
bad_option_magic_closes_the_connection(void **state)
{
	struct nbd_handshake hs = handshake();
	struct bytes b = option_claiming(LIST, &nothing, 0);
	struct answer a;

	b.at[7] ^= 1;
	send_bytes(&hs, &b, &a);
	assert_int_equal(a.taken, -EPROTO);
}

static void
half_an_option_waits_for_the_rest(void **state)
{
	struct bytes data = { 0 }, b;

	add_string(&data, "disk");
	add_int(&data, 0, 2);
	b = option_claiming(GO, &data, data.len);
	for (size_t len = 0; len < b.len; len++) {
		struct nbd_handshake hs = handshake();
		const struct nbd_handshake before = hs;
		uint8_t out[NBD_HANDSHAKE_REPLY];
		size_t out_len;

		assert_int_equal(nbd_handshake_step(&hs, b.at, len, out, &out_len), 0);
		assert_int_equal(out_len, 0);
		assert_memory_equal(&hs, &before, sizeof(hs));
	}
}

static void
list_names_the_one_export(void **state)
{
	struct nbd_handshake hs = handshake();
	struct bytes junk = { 0 };
	struct answer a;

	send_option(&hs, LIST, &nothing, &a);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.types[0], SERVER);
	assert_int_equal(int_at(a.data[0], 4), 14);
	assert_int_equal(a.data_len[0], 18);
	assert_memory_equal(a.data[0] + 4, "tapdisk_client", 14);
	assert_int_equal(a.types[1], ACK);

	add_int(&junk, 0, 4);
	assert_int_equal(answer_to(&hs, LIST, &junk), ERR_INVALID);
}

static void
go_tells_size_flags_and_block_sizes_and_enters_transmission(void **state)
{
	struct nbd_handshake hs = handshake();
	struct bytes data = { 0 };
	struct answer a;

	hs.export.size = 3 * MIB;
	hs.export.block = 4096;
	add_string(&data, "any name");
	add_int(&data, 4, 2);
	add_int(&data, 1, 2);	   /* NAME */
	add_int(&data, 2, 2);	   /* DESCRIPTION */
	add_int(&data, 3, 2);	   /* BLOCK_SIZE */
	add_int(&data, 0x8001, 2); /* what nobody knows */
	send_option(&hs, GO, &data, &a);
	assert_int_equal(a.n, 5);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(a.types[i], INFO);
	assert_int_equal(int_at(a.data[0], 2), 0);
	assert_int_equal(int_at(a.data[0] + 2, 8), 3 * MIB);
	assert_int_equal(int_at(a.data[0] + 10, 2), 0x16d);
	assert_int_equal(int_at(a.data[1], 2), 3);
	assert_int_equal(int_at(a.data[1] + 2, 4), 4096);
	assert_int_equal(int_at(a.data[1] + 6, 4), 4096);
	assert_int_equal(int_at(a.data[1] + 10, 4), 32 * MIB);
	assert_int_equal(int_at(a.data[2], 2), 1);
	assert_memory_equal(a.data[2] + 2, "tapdisk_client", a.data_len[2] - 2);
	assert_int_equal(int_at(a.data[3], 2), 2);
	assert_int_equal(a.types[4], ACK);
	assert_int_equal(hs.phase, NBD_PHASE_TRANSMISSION);
}

static void
info_tells_the_same_and_stays(void **state)
{
	struct nbd_handshake hs = handshake();
	struct bytes data = { 0 };
	struct answer a;

	add_string(&data, "");
	add_int(&data, 0, 2);
	send_option(&hs, OPT_INFO, &data, &a);
	assert_int_equal(a.n, 3);
	assert_int_equal(a.types[2], ACK);
	assert_int_equal(hs.phase, NBD_PHASE_OPTIONS);
}

static void
flags_follow_the_export_and_the_handshake(void **state)
{
	static const struct {
		bool readonly, structured;
		uint16_t flags;
	} cases[] = {
		{ false, false, 0x16d },
		{ false, true, 0x1ed },
		{ true, false, 0x10f },
		{ true, true, 0x18f },
	};

	for (size_t i = 0; i < N(cases); i++) {
		struct nbd_handshake hs = handshake();
		struct bytes data = { 0 };
		struct answer a;

		hs.export.readonly = cases[i].readonly;
		if (cases[i].structured)
			assert_int_equal(answer_to(&hs, STRUCTURED, &nothing), ACK);
		add_int(&data, 0, 6);
		send_option(&hs, GO, &data, &a);
		assert_int_equal(int_at(a.data[0] + 10, 2), cases[i].flags);
	}
}

static void
malformed_info_and_go_are_invalid_and_change_nothing(void **state)
{
	static const struct {
		uint32_t name, infos; /* as claimed */
		size_t tail;	      /* bytes after the name's length */
	} cases[] = {
		{ 0, 0, 0 },	      /* no count of infos */
		{ 0, 1, 2 },	      /* an info is missing */
		{ 0, 0, 3 },	      /* a byte too many */
		{ 5, 0, 6 },	      /* the name eats the count */
		{ UINT32_MAX, 0, 2 }, /* lengths that wrap */
		{ UINT32_MAX - 3, 0, 2 },
		{ 4097, 0, 4099 }, /* a name that is too long */
	};

	for (size_t i = 0; i < N(cases); i++) {
		for (uint32_t option = OPT_INFO; option <= GO; option++) {
			struct nbd_handshake hs = handshake();
			struct bytes data = { 0 };
			struct answer a;

			add_int(&data, cases[i].name, 4);
			data.len += cases[i].tail;
			if (cases[i].tail >= 2)
				data.at[5] = cases[i].infos;
			send_option(&hs, option, &data, &a);
			assert_int_equal(a.n, 1);
			assert_int_equal(a.types[0], ERR_INVALID);
			assert_int_equal(hs.phase, NBD_PHASE_OPTIONS);
		}
	}
}

static void
abort_is_acknowledged(void **state)
{
	struct nbd_handshake hs = handshake();

	assert_int_equal(answer_to(&hs, ABORT, &nothing), ACK);
	assert_int_equal(hs.phase, NBD_PHASE_ABORTED);
}

static void
unknown_options_and_tls_are_unsupported_whatever_they_carry(void **state)
{
	static const uint32_t options[] = { 0, 4, STARTTLS, 11, 12, 1000, UINT32_MAX };
	struct bytes data = { .len = 100 };

	for (size_t i = 0; i < N(options); i++) {
		struct nbd_handshake hs = handshake();

		assert_int_equal(answer_to(&hs, options[i], &nothing), ERR_UNSUP);
		assert_int_equal(answer_to(&hs, options[i], &data), ERR_UNSUP);
		assert_int_equal(answer_to(&hs, LIST, &nothing), ACK);
	}
}

static void
too_long_options_are_refused_and_skipped(void **state)
{
	struct nbd_handshake hs = handshake();
	struct bytes b = option_claiming(GO, &nothing, 3 * NBD_MAX_OPTION);
	struct bytes junk = { .len = NBD_MAX_OPTION };
	struct answer a;

	send_bytes(&hs, &b, &a);
	assert_int_equal(a.taken, NBD_OPTION_HEADER);
	assert_int_equal(a.len, 20);
	assert_int_equal(int_at(a.bytes + 12, 4), ERR_TOO_BIG);
	for (int i = 0; i < 3; i++) {
		send_bytes(&hs, &junk, &a);
		assert_int_equal(a.taken, NBD_MAX_OPTION);
		assert_int_equal(a.len, 0);
	}
	assert_int_equal(answer_to(&hs, LIST, &nothing), ACK);
}

static void
the_longest_option_is_taken(void **state)
{
	struct nbd_handshake hs = handshake();
	struct bytes data = { .len = NBD_MAX_OPTION };

	assert_int_equal(answer_to(&hs, 999, &data), ERR_UNSUP);
}

static void
endless_haggling_closes_the_connection(void **state)
{
	struct nbd_handshake hs = handshake();
	const struct bytes b = option_claiming(LIST, &nothing, 0);
	struct answer a;

	for (int i = 0; i < 64; i++)
		assert_int_equal(answer_to(&hs, LIST, &nothing), ACK);
	send_bytes(&hs, &b, &a);
	assert_int_equal(a.taken, -EPROTO);
}

static void
export_name_is_answered_in_the_old_form(void **state)
{
	for (int no_zeroes = 0; no_zeroes < 2; no_zeroes++) {
		struct nbd_handshake hs = handshake();
		struct bytes data = { 0 }, b;
		struct answer a;

		hs.no_zeroes = no_zeroes;
		hs.fixed_newstyle = no_zeroes; /* the oldest clients do not say it */
		add_text(&data, "whatever");
		b = option_claiming(EXPORT_NAME, &data, data.len);
		send_bytes(&hs, &b, &a);
		assert_int_equal(a.taken, b.len);
		assert_int_equal(a.len, no_zeroes ? 10 : 134);
		assert_int_equal(int_at(a.bytes, 8), 64 * MIB);
		assert_int_equal(int_at(a.bytes + 8, 2), 0x16d);
		assert_int_equal(hs.phase, NBD_PHASE_TRANSMISSION);
	}
}

static void
what_cannot_be_answered_closes_the_connection(void **state)
{
	struct bytes name = { .len = 4097 };
	struct bytes b = option_claiming(EXPORT_NAME, &name, name.len);
	struct nbd_handshake hs = handshake();
	struct answer a;

	send_bytes(&hs, &b, &a);
	assert_int_equal(a.taken, -EPROTO);

	hs = handshake();
	hs.fixed_newstyle = false;
	b = option_claiming(LIST, &nothing, 0);
	send_bytes(&hs, &b, &a);
	assert_int_equal(a.taken, -EPROTO);
}

/* --- metadata contexts --- */

static struct bytes
queries(const char *first, const char *second)
{
	struct bytes b = { 0 };

	add_string(&b, "name");
	add_int(&b, !!first + !!second, 4);
	if (first)
		add_string(&b, first);
	if (second)
		add_string(&b, second);
	return b;
}

static void
contexts_are_listed_and_set(void **state)
{
	static const struct {
		const char *first, *second;
		bool listed, set;
	} cases[] = {
		{ NULL, NULL, true, false },
		{ "base:allocation", NULL, true, true },
		{ "base:", NULL, true, false },
		{ "x:y", "base:allocation", true, true },
		{ "base:allocation", "base:allocation", true, true },
		{ "base:allocatio", NULL, false, false },
		{ "base:allocations", NULL, false, false },
		{ "qemu:", "", false, false },
	};

	for (size_t i = 0; i < N(cases); i++) {
		const struct bytes data = queries(cases[i].first, cases[i].second);
		struct nbd_handshake hs = handshake();
		struct answer a;

		assert_int_equal(answer_to(&hs, STRUCTURED, &nothing), ACK);
		send_option(&hs, LIST_META, &data, &a);
		assert_int_equal(a.n, 1 + cases[i].listed);
		assert_int_equal(a.types[a.n - 1], ACK);
		assert_false(hs.base_allocation);

		send_option(&hs, SET_META, &data, &a);
		assert_int_equal(a.n, 1 + cases[i].set);
		assert_int_equal(a.types[a.n - 1], ACK);
		assert_int_equal(hs.base_allocation, cases[i].set);
		if (cases[i].set) {
			assert_int_equal(a.types[0], CONTEXT);
			assert_int_equal(int_at(a.data[0], 4), 1);
			assert_memory_equal(a.data[0] + 4, "base:allocation", 15);
		}
	}
}

static void
contexts_need_structured_replies(void **state)
{
	const struct bytes data = queries("base:allocation", NULL);
	struct nbd_handshake hs = handshake();

	assert_int_equal(answer_to(&hs, LIST_META, &data), ERR_INVALID);
	assert_int_equal(answer_to(&hs, SET_META, &data), ERR_INVALID);
	assert_false(hs.base_allocation);
}

static void
malformed_queries_are_invalid_and_unset_what_was_set(void **state)
{
	const struct bytes good = queries("base:allocation", NULL);

	for (size_t len = 0; len <= good.len + 1; len++) {
		struct nbd_handshake hs = handshake();
		struct bytes data = good;

		if (len == good.len)
			continue;
		answer_to(&hs, STRUCTURED, &nothing);
		assert_int_equal(answer_to(&hs, SET_META, &good), ACK);
		assert_true(hs.base_allocation);
		data.len = len;
		assert_int_equal(answer_to(&hs, SET_META, &data), ERR_INVALID);
		assert_false(hs.base_allocation);
	}
}

/* --- commands --- */

static void
command_fields_are_where_the_protocol_says(void **state)
{
	struct nbd_command cmd;
	struct bytes b = { 0 };

	add_int(&b, 0x25609513, 4);
	add_int(&b, 0x0102, 2);
	add_int(&b, 0x0304, 2);
	add_int(&b, UINT64_C(0x1122334455667788), 8);
	add_int(&b, UINT64_C(0x99aabbccddeeff00), 8);
	add_int(&b, 0xf1f2f3f4, 4);
	assert_int_equal(b.len, NBD_COMMAND_SIZE);
	assert_int_equal(nbd_command_parse(b.at, &cmd), 0);
	assert_int_equal(cmd.flags, 0x0102);
	assert_int_equal(cmd.type, 0x0304);
	assert_true(cmd.cookie == UINT64_C(0x1122334455667788));
	assert_true(cmd.offset == UINT64_C(0x99aabbccddeeff00));
	assert_int_equal(cmd.length, 0xf1f2f3f4);
	b.at[0] = 0;
	assert_int_equal(nbd_command_parse(b.at, &cmd), -EPROTO);
}

/* Everything on, so that only the command itself can be wrong. */
static struct nbd_handshake
agreed(void)
{
	return (struct nbd_handshake){
		.export = { .size = 64 * MIB, .block = 512 },
		.phase = NBD_PHASE_TRANSMISSION,
		.structured = true,
		.base_allocation = true,
	};
}

static const uint16_t ranged[] = { NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_TRIM,
				   NBD_CMD_WRITE_ZEROES, NBD_CMD_BLOCK_STATUS };

static void
every_flag_is_taken_where_it_belongs_only(void **state)
{
	static const struct {
		uint16_t type, flags;
	} allowed[] = {
		{ NBD_CMD_READ, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF },
		{ NBD_CMD_WRITE, NBD_CMD_FLAG_FUA },
		{ NBD_CMD_FLUSH, NBD_CMD_FLAG_FUA },
		{ NBD_CMD_TRIM, NBD_CMD_FLAG_FUA },
		{ NBD_CMD_CACHE, 0 },
		{ NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE },
		{ NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE },
	};
	const struct nbd_handshake hs = agreed();

	for (size_t i = 0; i < N(allowed); i++) {
		for (unsigned int bit = 0; bit < 16; bit++) {
			const struct nbd_command cmd = {
				.type = allowed[i].type,
				.flags = 1 << bit,
				.length = allowed[i].type == NBD_CMD_FLUSH ? 0 : 512,
			};

			assert_int_equal(nbd_command_check(&hs, &cmd),
					 allowed[i].flags & (1 << bit) ? 0 : NBD_EINVAL);
		}
	}
}

static void
unknown_commands_are_invalid(void **state)
{
	static const uint16_t types[] = { NBD_CMD_CACHE, 8, 9, 255, 0x8000, 0xffff };
	const struct nbd_handshake hs = agreed();

	for (size_t i = 0; i < N(types); i++) {
		const struct nbd_command cmd = { .type = types[i], .length = 512 };

		assert_int_equal(nbd_command_check(&hs, &cmd), NBD_EINVAL);
	}
}

static void
ranges_must_be_aligned_and_on_the_disk(void **state)
{
	static const struct {
		uint64_t offset;
		uint32_t length;
		bool past_end;
		bool right;
	} cases[] = {
		{ 0, 512, false, true },
		{ 64 * MIB - 512, 512, false, true },
		{ 0, 0, false, false },
		{ 64 * MIB, 0, false, false },
		{ 0, 511, false, false },
		{ 0, 513, false, false },
		{ 1, 512, false, false },
		{ 511, 1, false, false },
		{ 64 * MIB - 512, 1024, true, false },
		{ 64 * MIB, 512, true, false },
		{ 65 * MIB, 512, true, false },
		{ UINT64_MAX - 511, 512, true, false },
		{ UINT64_MAX, 512, true, false },
	};
	const struct nbd_handshake hs = agreed();

	for (size_t i = 0; i < N(cases); i++) {
		for (size_t j = 0; j < N(ranged); j++) {
			const struct nbd_command cmd = { .type = ranged[j],
							 .offset = cases[i].offset,
							 .length = cases[i].length };
			uint32_t expected = NBD_EINVAL;

			if (cases[i].past_end &&
			    (cmd.type == NBD_CMD_WRITE || cmd.type == NBD_CMD_WRITE_ZEROES))
				expected = NBD_ENOSPC;
			if (cases[i].right)
				expected = 0;
			assert_int_equal(nbd_command_check(&hs, &cmd), expected);
		}
	}
}

static void
alignment_is_to_the_sector_of_the_disk(void **state)
{
	struct nbd_handshake hs = agreed();
	const struct nbd_command small = { .type = NBD_CMD_WRITE, .length = 512 };
	const struct nbd_command large = { .type = NBD_CMD_WRITE, .length = 4096 };

	hs.export.block = 4096;
	assert_int_equal(nbd_command_check(&hs, &small), NBD_EINVAL);
	assert_int_equal(nbd_command_check(&hs, &large), 0);
}

static void
data_is_bounded_and_other_ranges_are_not(void **state)
{
	struct nbd_handshake hs = agreed();

	hs.export.size = UINT64_C(1) << 40;
	for (size_t i = 0; i < N(ranged); i++) {
		struct nbd_command cmd = { .type = ranged[i], .length = NBD_MAX_PAYLOAD };
		const bool data = ranged[i] == NBD_CMD_READ || ranged[i] == NBD_CMD_WRITE;

		assert_int_equal(nbd_command_check(&hs, &cmd), 0);
		cmd.length += 512;
		assert_int_equal(nbd_command_check(&hs, &cmd), data ? NBD_EOVERFLOW : 0);
		cmd.length = UINT32_MAX - 511;
		assert_int_equal(nbd_command_check(&hs, &cmd), data ? NBD_EOVERFLOW : 0);
	}
}

static void
read_only_exports_refuse_what_writes(void **state)
{
	struct nbd_handshake hs = agreed();

	hs.export.readonly = true;
	for (size_t i = 0; i < N(ranged); i++) {
		const struct nbd_command cmd = { .type = ranged[i], .length = 512 };
		const bool reads =
			ranged[i] == NBD_CMD_READ || ranged[i] == NBD_CMD_BLOCK_STATUS;

		assert_int_equal(nbd_command_check(&hs, &cmd), reads ? 0 : NBD_EPERM);
	}
}

static void
flush_has_no_range(void **state)
{
	const struct nbd_handshake hs = agreed();
	struct nbd_command cmd = { .type = NBD_CMD_FLUSH };

	assert_int_equal(nbd_command_check(&hs, &cmd), 0);
	cmd.length = 512;
	assert_int_equal(nbd_command_check(&hs, &cmd), NBD_EINVAL);
	cmd.length = 0;
	cmd.offset = 512;
	assert_int_equal(nbd_command_check(&hs, &cmd), NBD_EINVAL);
}

static void
what_was_not_agreed_on_is_invalid(void **state)
{
	const struct nbd_command status = { .type = NBD_CMD_BLOCK_STATUS, .length = 512 };
	const struct nbd_command df = { .type = NBD_CMD_READ,
					.flags = NBD_CMD_FLAG_DF,
					.length = 512 };
	struct nbd_handshake hs = agreed();

	hs.base_allocation = false;
	assert_int_equal(nbd_command_check(&hs, &status), NBD_EINVAL);
	hs.structured = false;
	assert_int_equal(nbd_command_check(&hs, &df), NBD_EINVAL);
}

/* --- replies --- */

static void
errors_are_positive_and_known_to_the_protocol(void **state)
{
	static const struct {
		int err;
		uint32_t wire;
	} cases[] = {
		{ 0, 0 },
		{ -EPERM, 1 },
		{ -EROFS, 1 },
		{ -EACCES, 1 },
		{ -EIO, 5 },
		{ -ENOMEM, 12 },
		{ -EINVAL, 22 },
		{ -ENOSPC, 28 },
		{ -EDQUOT, 28 },
		{ -EFBIG, 28 },
		{ -EOVERFLOW, 75 },
		{ -EOPNOTSUPP, 95 },
		{ -ESHUTDOWN, 108 },
		{ -ETIMEDOUT, 5 },
		{ -EBADF, 5 },
		{ -4095, 5 },
	};

	for (size_t i = 0; i < N(cases); i++)
		assert_int_equal(nbd_error(cases[i].err), cases[i].wire);
}

static void
simple_replies_are_sixteen_bytes(void **state)
{
	const struct nbd_command cmd = { .type = NBD_CMD_READ, .cookie = 7, .length = 512 };
	struct nbd_handshake hs = agreed();
	uint8_t out[NBD_REPLY_HEAD_MAX];

	hs.structured = false;
	assert_int_equal(nbd_reply_head(out, &hs, &cmd, NBD_EIO, 0), 16);
	assert_memory_equal(out, "\x67\x44\x66\x98\0\0\0\5\0\0\0\0\0\0\0\7", 16);
	assert_int_equal(nbd_reply_head(out, &hs, &cmd, 0, 512), 16);
	assert_int_equal(int_at(out + 4, 4), 0);
}

static void
structured_replies_are_one_chunk(void **state)
{
	const struct nbd_handshake hs = agreed();
	struct nbd_command cmd = {
		.type = NBD_CMD_READ, .cookie = 7, .offset = 0x1122334400, .length = 512
	};
	uint8_t out[NBD_REPLY_HEAD_MAX];

	assert_int_equal(nbd_reply_head(out, &hs, &cmd, 0, 512), 28);
	assert_memory_equal(out, "\x66\x8e\x33\xef\0\1\0\1\0\0\0\0\0\0\0\7\0\0\2\x08", 20);
	assert_true(int_at(out + 20, 8) == 0x1122334400);

	assert_int_equal(nbd_reply_head(out, &hs, &cmd, NBD_EIO, 0), 26);
	assert_memory_equal(out, "\x66\x8e\x33\xef\0\1\x80\1\0\0\0\0\0\0\0\7\0\0\0\6", 20);
	assert_int_equal(int_at(out + 20, 4), NBD_EIO);
	assert_int_equal(int_at(out + 24, 2), 0);

	cmd.type = NBD_CMD_BLOCK_STATUS;
	assert_int_equal(nbd_reply_head(out, &hs, &cmd, 0, 16), 24);
	assert_memory_equal(out, "\x66\x8e\x33\xef\0\1\0\5\0\0\0\0\0\0\0\7\0\0\0\x14\0\0\0\1",
			    24);

	cmd.type = NBD_CMD_WRITE;
	assert_int_equal(nbd_reply_head(out, &hs, &cmd, NBD_ENOSPC, 0), 16);
	assert_int_equal(int_at(out, 4), 0x67446698);
}

static void
extents_are_merged_and_bounded(void **state)
{
	uint8_t wire[2 * NBD_EXTENT_SIZE];
	struct nbd_extents x = { .wire = wire, .max = 2 };

	nbd_extents_add(&x, 0, 512, 0);
	nbd_extents_add(&x, 512, 512, 0);
	nbd_extents_add(&x, 1024, 4096, NBD_STATE_HOLE | NBD_STATE_ZERO);
	assert_false(x.full);
	nbd_extents_add(&x, 5120, 512, 0); /* the third: left out */
	assert_true(x.full);
	nbd_extents_add(&x, 5632, 512,
			NBD_STATE_HOLE | NBD_STATE_ZERO); /* and all that follow */
	assert_int_equal(x.count, 2);
	assert_int_equal(int_at(wire, 4), 1024);
	assert_int_equal(int_at(wire + 4, 4), 0);
	assert_int_equal(int_at(wire + 8, 4), 4096);
	assert_int_equal(int_at(wire + 12, 4), 3);
	assert_int_equal(x.covered, 5120);
}

static void
four_gib_less_a_sector_is_one_extent(void **state)
{
	uint8_t wire[NBD_EXTENT_SIZE];
	struct nbd_extents x = { .wire = wire, .max = 1 };
	const uint64_t all = UINT32_MAX - 511;

	for (uint64_t at = 0; at < all; at += 512 * MIB)
		nbd_extents_add(&x, at, all - at < 512 * MIB ? all - at : 512 * MIB, 0);
	assert_int_equal(int_at(wire, 4), all);
}

/* --- bytes that are nothing --- */

/* Mutated conversations: each step stays in its bounds and takes what it says. */
static void
no_bytes_lead_out_of_bounds(void **state)
{
	const unsigned int seed = getenv("SEED") ? strtol(getenv("SEED"), NULL, 0) : time(NULL);
	const struct bytes go = queries(NULL, NULL), set = queries("base:allocation", "base:");

	printf("# SEED=%u\n", seed);
	srandom(seed);
	for (int round = 0; round < 20000; round++) {
		struct nbd_handshake hs = handshake();

		while (hs.phase == NBD_PHASE_OPTIONS) {
			const struct bytes *data = random() % 2 ? &go : &set;
			const uint32_t claimed =
				data->len + (random() % 8 ? 0 : random() % 9000);
			struct bytes b = option_claiming(random() % 13, data, claimed);
			struct answer a;
			uint8_t *copy;

			if (random() % 2)
				b.at[16 + random() % (b.len - 16)] = random();
			b.len -= random() % 4 ? 0 : random() % b.len;
			/* On the heap and of its length: sanitizers see a step too far. */
			copy = malloc(b.len);
			assert_non_null(copy);
			memcpy(copy, b.at, b.len);
			a.taken = nbd_handshake_step(&hs, copy, b.len, a.bytes, &a.len);
			free(copy);
			assert_true(a.taken <= (ssize_t)b.len);
			assert_true(a.taken < 0 || a.len <= NBD_HANDSHAKE_REPLY);
			if (a.taken <= 0 || random() % 8 == 0)
				break;
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greeting_offers_fixed_newstyle_without_zeroes),
		cmocka_unit_test(unknown_client_flags_close_the_connection),
		cmocka_unit_test(bad_option_magic_closes_the_connection),
		cmocka_unit_test(half_an_option_waits_for_the_rest),
		cmocka_unit_test(list_names_the_one_export),
		cmocka_unit_test(go_tells_size_flags_and_block_sizes_and_enters_transmission),
		cmocka_unit_test(info_tells_the_same_and_stays),
		cmocka_unit_test(flags_follow_the_export_and_the_handshake),
		cmocka_unit_test(malformed_info_and_go_are_invalid_and_change_nothing),
		cmocka_unit_test(abort_is_acknowledged),
		cmocka_unit_test(unknown_options_and_tls_are_unsupported_whatever_they_carry),
		cmocka_unit_test(too_long_options_are_refused_and_skipped),
		cmocka_unit_test(the_longest_option_is_taken),
		cmocka_unit_test(endless_haggling_closes_the_connection),
		cmocka_unit_test(export_name_is_answered_in_the_old_form),
		cmocka_unit_test(what_cannot_be_answered_closes_the_connection),
		cmocka_unit_test(contexts_are_listed_and_set),
		cmocka_unit_test(contexts_need_structured_replies),
		cmocka_unit_test(malformed_queries_are_invalid_and_unset_what_was_set),
		cmocka_unit_test(command_fields_are_where_the_protocol_says),
		cmocka_unit_test(every_flag_is_taken_where_it_belongs_only),
		cmocka_unit_test(unknown_commands_are_invalid),
		cmocka_unit_test(ranges_must_be_aligned_and_on_the_disk),
		cmocka_unit_test(alignment_is_to_the_sector_of_the_disk),
		cmocka_unit_test(data_is_bounded_and_other_ranges_are_not),
		cmocka_unit_test(read_only_exports_refuse_what_writes),
		cmocka_unit_test(flush_has_no_range),
		cmocka_unit_test(what_was_not_agreed_on_is_invalid),
		cmocka_unit_test(errors_are_positive_and_known_to_the_protocol),
		cmocka_unit_test(simple_replies_are_sixteen_bytes),
		cmocka_unit_test(structured_replies_are_one_chunk),
		cmocka_unit_test(extents_are_merged_and_bounded),
		cmocka_unit_test(four_gib_less_a_sector_is_one_extent),
		cmocka_unit_test(no_bytes_lead_out_of_bounds),
	};

	return cmocka_run_group_tests_name("NBD wire format", tests, NULL, NULL);
}
