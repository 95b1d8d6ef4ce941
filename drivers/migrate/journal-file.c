/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal-record.h"

static const char preamble_magic[8] = { 'T', 'A', 'P', 'M', 'I', 'G', 'R', 'J' };

#define RECORD_MAGIC   0x524a4d54u /* "TMJR" */
#define PREAMBLE_BYTES 16u
#define HEAD_BYTES     32u /* without the text */
#define RECORD_MAX     (16u << 20)

/* The fields of a record's header, little-endian. */
enum {
	AT_MAGIC = 0,
	AT_BYTES = 4, /* of the whole record, without padding */
	AT_TYPE = 8,
	AT_CHECK = 12, /* of the whole record, with this field zero */
	AT_PREVIOUS = 16,
	AT_EPOCH = 24,
	AT_SEQ = 32,
	AT_SYNCED = 40,
};

/* --- bytes ------------------------------------------------------------------- */

static uint32_t
get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t
get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static void
set32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

/* CRC-32C (Castagnoli), a byte at a time by table. */
static uint32_t
crc32c(uint32_t crc, const uint8_t *bytes, size_t len)
{
	static uint32_t table[256];

	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;

			for (int bit = 0; bit < 8; bit++)
				value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
			table[i] = value;
		}
	crc = ~crc;
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *bytes++) & 0xff];
	return ~crc;
}

static uint32_t
record_check(const uint8_t *record, size_t bytes)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, record, AT_CHECK);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, record + AT_PREVIOUS, bytes - AT_PREVIOUS);
}

/* --- making records ------------------------------------------------------------ */

void
record_put(struct record_buf *b, const void *bytes, size_t len)
{
	assert(b->len + len <= b->size);
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

void
record_put32(struct record_buf *b, uint32_t value)
{
	value = htole32(value);
	record_put(b, &value, sizeof(value));
}

void
record_put64(struct record_buf *b, uint64_t value)
{
	value = htole64(value);
	record_put(b, &value, sizeof(value));
}

static void
pad(struct record_buf *b, size_t align)
{
	size_t len = (b->len + align - 1) / align * align;

	assert(len <= b->size);
	memset(b->bytes + b->len, 0, len - b->len);
	b->len = len;
}

void
record_start(struct record_buf *b, const struct record_chain *chain)
{
	b->chain = *chain;
	b->len = 0;
	if (chain->offset)
		return;
	record_put(b, preamble_magic, sizeof(preamble_magic));
	record_put32(b, JOURNAL_VERSION);
	record_put32(b, crc32c(0, b->bytes, b->len));
	pad(b, JOURNAL_ALIGN);
}

void
record_begin(struct record_buf *b, enum record_type type)
{
	b->record = b->len;
	record_put32(b, RECORD_MAGIC);
	record_put32(b, 0);
	record_put32(b, type);
	record_put32(b, 0);
	record_put32(b, b->chain.check);
	record_put32(b, 0);
	record_put64(b, b->chain.epoch);
	record_put64(b, ++b->chain.seq);
	record_put64(b, b->chain.synced);
}

void
record_end(struct record_buf *b)
{
	uint8_t *record = b->bytes + b->record;
	size_t bytes = b->len - b->record;

	set32(record + AT_BYTES, (uint32_t)bytes);
	b->chain.check = record_check(record, bytes);
	set32(record + AT_CHECK, b->chain.check);
	pad(b, 8);
}

void
record_finish(struct record_buf *b)
{
	pad(b, JOURNAL_ALIGN);
	b->chain.offset += b->len;
	b->chain.synced = b->chain.seq;
}

void
record_head(struct record_buf *b, const uint8_t uuid[16], uint64_t sectors, const char *head,
	    size_t len)
{
	record_begin(b, RECORD_HEAD);
	record_put(b, uuid, 16);
	record_put64(b, sectors);
	record_put32(b, JOURNAL_REGION_SECTORS);
	record_put32(b, 0);
	record_put(b, head, len);
	record_end(b);
}

void
record_change(struct record_buf *b, const struct journal_change *c)
{
	record_put64(b, c->sector);
	record_put32(b, c->count);
	record_put32(b, (uint32_t)c->kind << 8 | c->sides);
}

void *
journal_new(const uint8_t uuid[16], uint64_t sectors, const char *head, size_t head_len,
	    const char *note, size_t note_len, size_t *size)
{
	const struct record_chain chain = { .epoch = 1 };
	struct record_buf b = { .size = 4096 + head_len + note_len };

	b.size = (b.size + JOURNAL_ALIGN - 1) / JOURNAL_ALIGN * JOURNAL_ALIGN;
	b.bytes = malloc(b.size);
	if (!b.bytes)
		return NULL;
	record_start(&b, &chain);
	record_head(&b, uuid, sectors, head, head_len);
	record_begin(&b, RECORD_NOTE);
	record_put(&b, note, note_len);
	record_end(&b);
	record_begin(&b, RECORD_MAP_END);
	record_put64(&b, 0);
	record_end(&b);
	record_finish(&b);
	*size = b.len;
	return b.bytes;
}

/* --- reading ----------------------------------------------------------------------- */

struct reader {
	const uint8_t *bytes;
	size_t size;
	struct journal_contents *c;
	struct validity *map; /* NULL: only the head and the note are wanted */
	uint8_t *intent;      /* of each region, the trusted side's bit */
	side_mask distrust;   /* ... once what is in doubt has been resolved */
	char *why;
	size_t why_size;
	bool whole; /* the map is */
};

__attribute__((format(printf, 3, 4))) static int
fail(struct reader *r, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->why, r->why_size, format, args);
	va_end(args);
	return err;
}

static int
senseless(struct reader *r)
{
	return fail(r, -EUCLEAN, "the record at %" PRIu64 " makes no sense", r->c->bad);
}

/* The bytes of the record at that offset, or 0 if there is no whole one. */
static size_t
record_at(const struct reader *r, uint64_t offset)
{
	const uint8_t *record = r->bytes + offset;
	size_t bytes;

	if (offset + RECORD_HEADER_BYTES > r->size || get32(record + AT_MAGIC) != RECORD_MAGIC)
		return 0;
	bytes = get32(record + AT_BYTES);
	if (bytes < RECORD_HEADER_BYTES || bytes > RECORD_MAX || bytes > r->size - offset ||
	    get32(record + AT_CHECK) != record_check(record, bytes))
		return 0;
	return bytes;
}

static uint64_t
regions_of(uint64_t sectors)
{
	return (sectors + JOURNAL_REGION_SECTORS - 1) / JOURNAL_REGION_SECTORS;
}

static int
read_head(struct reader *r, const uint8_t *at, size_t len)
{
	struct journal_contents *c = r->c;

	if (c->sectors || len < HEAD_BYTES || !get64(at + 16) ||
	    get32(at + 24) != JOURNAL_REGION_SECTORS)
		return senseless(r);
	memcpy(c->uuid, at, 16);
	c->sectors = get64(at + 16);
	c->head = (const char *)at + HEAD_BYTES;
	c->head_len = len - HEAD_BYTES;
	return 0;
}

static int
change_map(struct reader *r, uint64_t sector, uint64_t count, side_mask sides,
	   void (*change)(struct validity *, uint64_t, uint64_t, side_mask))
{
	if (!count || sector >= r->c->sectors || count > r->c->sectors - sector || !sides ||
	    sides > BOTH)
		return senseless(r);
	if (!r->map)
		return 0;
	if (validity_reserve(r->map))
		return fail(r, -ENOMEM, "out of memory");
	change(r->map, sector, count, sides);
	validity_unreserve(r->map);
	return 0;
}

static int
set_run(struct reader *r, uint64_t sector, uint64_t count, side_mask sides)
{
	return change_map(r, sector, count, sides, validity_set);
}

static int
read_map(struct reader *r, const uint8_t *at, size_t len)
{
	uint64_t sector = len < 8 ? 0 : get64(at);
	int err = 0;

	if (len < 8 || len % 4 || r->whole)
		return senseless(r);
	for (size_t i = 8; !err && i < len; i += 4) {
		uint32_t run = get32(at + i);

		err = set_run(r, sector, run >> 2, run & BOTH);
		sector += run >> 2;
	}
	return err;
}

static void
narrow(struct validity *map, uint64_t sector, uint64_t count, side_mask sides)
{
	uint64_t end = sector + count, run;

	for (; sector < end; sector += run)
		if (validity_get(map, sector, end - sector, &run) == BOTH)
			validity_set(map, sector, run, sides);
}

static int
apply_change(struct reader *r, const struct journal_change *c)
{
	switch (c->kind) {
	case CHANGE_DISTRUST:
		if (c->sides != SRC_BIT && c->sides != DST_BIT)
			return senseless(r);
		if (r->map)
			validity_distrust(r->map, c->sides == SRC_BIT ? SRC : DST);
		return 0;
	case CHANGE_DISTRUST_READ:
		r->distrust |= c->sides & BOTH;
		return 0;
	case CHANGE_FAILED:
		return change_map(r, c->sector, c->count, (side_mask)c->sides, validity_failed);
	case CHANGE_NARROW:
		return change_map(r, c->sector, c->count, (side_mask)c->sides, narrow);
	case CHANGE_SET:
	case CHANGE_AHEAD:
	case CHANGE_SETTLED:
		return set_run(r, c->sector, c->count, (side_mask)c->sides);
	default:
		return senseless(r);
	}
}

static int
read_changes(struct reader *r, const uint8_t *at, size_t len)
{
	int err = 0;

	if (len < 8 || (len - 8) % RECORD_CHANGE_BYTES)
		return senseless(r);
	for (size_t i = 8; !err && i < len; i += RECORD_CHANGE_BYTES) {
		const struct journal_change change = {
			.sector = get64(at + i),
			.count = get32(at + i + 8),
			.sides = get32(at + i + 12) & 0xff,
			.kind = (uint16_t)(get32(at + i + 12) >> 8),
		};

		err = change.sides > BOTH ? senseless(r) : apply_change(r, &change);
	}
	r->c->position = get64(at);
	return err;
}

static int
read_intents(struct reader *r, const uint8_t *at, size_t len, bool dropped)
{
	if (len % 8)
		return senseless(r);
	for (size_t i = 0; i < len; i += 8) {
		uint64_t region = get64(at + i) >> 8;
		uint8_t sides = at[i];

		if (region >= regions_of(r->c->sectors) ||
		    (sides != SRC_BIT && sides != DST_BIT))
			return senseless(r);
		if (r->intent)
			r->intent[region] = dropped ? 0 : sides;
	}
	return 0;
}

static int
read_record(struct reader *r, uint32_t type, const uint8_t *at, size_t len)
{
	if ((type == RECORD_HEAD) != !r->c->sectors)
		return senseless(r);
	switch (type) {
	case RECORD_HEAD:
		return read_head(r, at, len);
	case RECORD_NOTE:
		r->c->note = (const char *)at;
		r->c->note_len = len;
		return 0;
	case RECORD_MAP:
		return read_map(r, at, len);
	case RECORD_MAP_END:
		if (len != 8 || r->whole)
			return senseless(r);
		r->c->position = get64(at);
		r->whole = true;
		return 0;
	case RECORD_CHANGES:
		return read_changes(r, at, len);
	case RECORD_INTENTS:
	case RECORD_DROPS:
		return read_intents(r, at, len, type == RECORD_DROPS);
	default:
		return senseless(r);
	}
}

static bool
is_zero(const uint8_t *bytes, size_t len)
{
	return !len || (!bytes[0] && !memcmp(bytes, bytes + 1, len - 1));
}

/*
 * No record follows at offset. Whatever is there was never synced, unless a later
 * record of this file says that more had been.
 */
static int
check_tail(struct reader *r, uint64_t offset, const struct record_chain *chain)
{
	r->c->used = r->c->bad = offset;
	for (uint64_t at = offset; at + RECORD_HEADER_BYTES <= r->size; at += JOURNAL_ALIGN) {
		const uint8_t *record = r->bytes + at;

		if (record_at(r, at) && get64(record + AT_EPOCH) == chain->epoch &&
		    get64(record + AT_SYNCED) > chain->seq)
			return fail(r, -EUCLEAN,
				    "what had been synced at %" PRIu64
				    " is damaged: record %" PRIu64 " at %" PRIu64
				    " comes after it",
				    offset, get64(record + AT_SEQ), at);
	}
	if (!r->whole)
		return fail(r, -EUCLEAN, "its map ends at %" PRIu64 " and is not whole",
			    offset);
	r->c->torn = !is_zero(r->bytes + offset, r->size - offset);
	return 0;
}

static uint64_t
align_up(uint64_t offset)
{
	return (offset + JOURNAL_ALIGN - 1) / JOURNAL_ALIGN * JOURNAL_ALIGN;
}

/* The record that follows in the chain at offset or behind padding; its bytes, or 0. */
static size_t
next_record(const struct reader *r, uint64_t *offset, const struct record_chain *chain)
{
	for (int i = 0; i < 2; i++, *offset = align_up(*offset)) {
		const uint8_t *record = r->bytes + *offset;
		size_t bytes = record_at(r, *offset);

		if (bytes && get64(record + AT_SEQ) == chain->seq + 1 &&
		    get32(record + AT_PREVIOUS) == chain->check &&
		    (!chain->seq || get64(record + AT_EPOCH) == chain->epoch))
			return bytes;
	}
	return 0;
}

static int
read_records(struct reader *r)
{
	struct record_chain chain = { .offset = JOURNAL_ALIGN };
	uint64_t offset = JOURNAL_ALIGN;
	size_t bytes;
	int err;

	while ((bytes = next_record(r, &offset, &chain))) {
		const uint8_t *record = r->bytes + offset;

		r->c->bad = offset;
		err = read_record(r, get32(record + AT_TYPE), record + RECORD_HEADER_BYTES,
				  bytes - RECORD_HEADER_BYTES);
		if (err)
			return err;
		chain.seq = get64(record + AT_SEQ);
		chain.check = get32(record + AT_CHECK);
		chain.epoch = r->c->epoch = get64(record + AT_EPOCH);
		offset = (offset + bytes + 7) / 8 * 8;
		if (chain.seq == 1 && !r->map && !r->intent)
			break; /* the rest needs to know the size */
	}
	if (!chain.seq)
		return fail(r, -EUCLEAN, "its head is damaged or cut off");
	return r->map || r->intent ? check_tail(r, offset, &chain) : 0;
}

static int
read_preamble(struct reader *r)
{
	if (r->size < PREAMBLE_BYTES ||
	    memcmp(r->bytes, preamble_magic, sizeof(preamble_magic)) ||
	    get32(r->bytes + 12) != crc32c(0, r->bytes, 12))
		return fail(r, -EINVAL,
			    "that is not a journal, or its first bytes are damaged");
	r->c->version = get32(r->bytes + 8);
	if (r->c->version != JOURNAL_VERSION)
		return fail(r, -EPROTONOSUPPORT,
			    "its format is version %u, and this program reads version %d only",
			    r->c->version, JOURNAL_VERSION);
	return 0;
}

/* --- recovery ------------------------------------------------------------------------- */

/* What a write had reached when a flush failed there: the other side may have more. */
static bool
is_distrusted(const struct journal_change *c, const uint64_t distrust[SIDES], uint64_t position)
{
	return c->kind == CHANGE_AHEAD && ((c->sides == SRC_BIT && position < distrust[SRC]) ||
					   (c->sides == DST_BIT && position < distrust[DST]));
}

static int
apply_live(struct reader *r, const struct journal_live *live)
{
	uint64_t distrust[SIDES] = { 0 }; /* the last one of each side */
	int err = 0;

	for (uint64_t i = r->c->position; i < live->head; i++) {
		const struct journal_change *c = &live->change[i % live->entries];

		if (c->kind == CHANGE_DISTRUST)
			distrust[c->sides == SRC_BIT ? SRC : DST] = i;
	}
	for (uint64_t i = r->c->position; !err && i < live->head; i++) {
		const struct journal_change *c = &live->change[i % live->entries];

		if (!is_distrusted(c, distrust, i))
			err = apply_change(r, c);
	}
	return err;
}

static bool
live_belongs(const struct journal_contents *c, const struct journal_live *live)
{
	return live && !memcmp(live->magic, JOURNAL_LIVE_MAGIC, sizeof(live->magic)) &&
	       live->version == JOURNAL_VERSION && live->epoch == c->epoch &&
	       !memcmp(live->uuid, c->uuid, sizeof(c->uuid)) && live->head >= c->position &&
	       live->head - c->position <= live->entries;
}

/* What is in doubt was last written to the side that its intent names. */
static int
resolve_intents(struct reader *r)
{
	uint64_t sectors = r->c->sectors, run;
	int err = 0;

	for (uint64_t i = 0; i < regions_of(sectors); i++) {
		uint64_t end = (i + 1) * JOURNAL_REGION_SECTORS;

		if (!r->intent[i])
			continue;
		r->c->intents++;
		end = end < sectors ? end : sectors;
		for (uint64_t s = i * JOURNAL_REGION_SECTORS; !err && s < end; s += run) {
			if (validity_get(r->map, s, end - s, &run) != BOTH)
				continue;
			r->c->doubtful += run;
			err = set_run(r, s, run, r->intent[i]);
		}
	}
	return err;
}

static int
read_file(struct reader *r)
{
	struct journal_contents *c = r->c;
	int err;

	*c = (struct journal_contents){ 0 };
	err = read_preamble(r);
	if (!err)
		err = read_records(r);
	return err;
}

int
journal_read(const void *bytes, size_t size, const struct journal_live *live,
	     struct journal_contents *c, struct validity **map, char *why, size_t why_size)
{
	struct reader r = {
		.bytes = bytes, .size = size, .c = c, .why = why, .why_size = why_size
	};
	uint64_t sectors;
	int err = read_file(&r);

	if (err || !map)
		return err;
	sectors = c->sectors;
	r.map = validity_create(sectors, SRC_BIT);
	r.intent = calloc(regions_of(sectors), 1);
	if (!r.map || !r.intent)
		err = fail(&r, -ENOMEM, "out of memory for a map of %" PRIu64 " sectors",
			   sectors);
	if (!err)
		err = read_file(&r);
	if (!err && live_belongs(c, live)) {
		c->live = true;
		c->owed = live->owed;
		err = apply_live(&r, live);
	}
	if (!err)
		err = resolve_intents(&r);
	for (enum side s = SRC; !err && s < SIDES; s++)
		if (r.distrust & side_bit(s))
			validity_distrust(r.map, s);
	free(r.intent);
	if (err && r.map)
		validity_destroy(r.map);
	else if (!err)
		*map = r.map;
	return err;
}

void
journal_read_intents(const void *bytes, size_t size,
		     void (*region)(void *ctx, uint64_t sector, enum side side), void *ctx)
{
	struct journal_contents c = { 0 };
	char why[1];
	struct reader r = {
		.bytes = bytes, .size = size, .c = &c, .why = why, .why_size = sizeof(why)
	};

	if (read_file(&r))
		return;
	r.intent = calloc(regions_of(c.sectors), 1);
	if (r.intent && !read_file(&r))
		for (uint64_t i = 0; i < regions_of(c.sectors); i++)
			if (r.intent[i])
				region(ctx, i * JOURNAL_REGION_SECTORS,
				       r.intent[i] == SRC_BIT ? SRC : DST);
	free(r.intent);
}
