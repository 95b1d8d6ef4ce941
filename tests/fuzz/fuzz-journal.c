/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A journal, and what a killed process has left of its live changes. The first
 * byte says how the rest is read: as a file; or as records, which get the sums and
 * numbers that make them follow each other: no fuzzer guesses those.
 */
#include "fuzz.h"
#include "journal-record.h"

#define ENTRIES 64u

static struct journal_live *live;

static void
count_intent(void *ctx, uint64_t sector, enum side side)
{
	check(sector % JOURNAL_REGION_SECTORS == 0 && side < SIDES);
	++*(uint64_t *)ctx;
}

/* What is read is one map, whole, and reads the same again. */
static void
read_file(const uint8_t *bytes, size_t size, const struct journal_live *with)
{
	struct journal_contents c, again;
	struct validity *map = NULL;
	char why[200] = "";
	uint64_t intents = 0;
	int err = journal_read(bytes, size, with, &c, &map, why, sizeof(why));

	check(!err == !*why);
	if (err)
		return;
	check(validity_sectors(map) == c.sectors);
	check(c.used <= size && c.head_len <= size && c.note_len <= size);
	check(validity_count(map, SRC_BIT) + validity_count(map, DST_BIT) +
		      validity_count(map, BOTH) ==
	      c.sectors);
	check(!journal_read(bytes, c.used, NULL, &again, NULL, why, sizeof(why)));
	check(again.sectors == c.sectors);
	journal_read_intents(bytes, size, count_intent, &intents);
	check(intents == c.intents);
	validity_destroy(map);
}

static void
fill_live(struct input *in)
{
	const size_t bytes = journal_live_bytes(ENTRIES);
	size_t taken;
	const uint8_t *at;

	if (!live)
		live = malloc(bytes);
	memset(live, 0, bytes);
	memcpy(live->magic, JOURNAL_LIVE_MAGIC, sizeof(live->magic));
	live->version = JOURNAL_VERSION;
	live->epoch = 1;
	live->entries = ENTRIES;
	live->head = input_byte(in) % (ENTRIES + 1);
	at = input_bytes(in, live->head * sizeof(*live->change), &taken);
	memcpy(live->change, at, taken);
}

static void
put_record(struct record_buf *b, struct input *in)
{
	unsigned type = input_byte(in) % 16;
	size_t len = input_byte(in), taken;
	const uint8_t *payload = input_bytes(in, len, &taken);

	record_begin(b, (enum record_type)type);
	record_put(b, payload, taken);
	record_end(b);
	if (type & 8)
		record_finish(b); /* what follows was written later */
}

static void
frame(struct input *in)
{
	static const uint8_t uuid[16];
	static uint8_t bytes[256 << 10] __attribute__((aligned(8)));
	struct record_buf b = { .bytes = bytes, .size = sizeof(bytes) };
	uint64_t sectors = 1 + (uint64_t)input_byte(in) * JOURNAL_REGION_SECTORS / 4;

	fill_live(in);
	record_start(&b, &(struct record_chain){ .epoch = 1 });
	record_head(&b, uuid, sectors, "", 0);
	while (in->left && b.len + 2048 < b.size)
		put_record(&b, in);
	record_finish(&b);
	read_file(bytes, b.len, live);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (input_byte(&in) & 1)
		frame(&in);
	else
		read_file(in.at, in.left, NULL);
	return 0;
}
