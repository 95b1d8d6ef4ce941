/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * validity.c - see validity.h
 *
 * Everything here is an array of two-bit lanes, one lane a set of sides:
 *
 *   uniform   a lane for each chunk; 0, which is no set of sides, says that the
 *             chunk has a leaf
 *   leaf      coarse, a lane for each 4 KiB block of its chunk, or fine, a lane
 *             for each sector; never uniform
 *
 * The handles of the leaves are kept in pages of GROUP_CHUNKS, which exist
 * while one of their chunks has a leaf.
 *
 * Inside, the disk ends with a whole chunk. Invariant: the sectors past its end
 * have the value of its last sector. So they never hinder uniformity, and only
 * the public functions need to know where the disk ends.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "validity.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define CHUNK_SHIFT   11u /* 1 MiB */
#define CHUNK_SECTORS (UINT64_C(1) << CHUNK_SHIFT)
#define BLOCK_SHIFT   3u /* 4 KiB */
#define BLOCK_SECTORS (1u << BLOCK_SHIFT)
#define GROUP_CHUNKS  128u

/* A leaf's handle has 31 bits for its number. */
#define MAX_CHUNKS (UINT64_C(1) << 31)

/* --- lanes ------------------------------------------------------------------- */

#define LANES	   32u				/* in a word */
#define EVERY_LANE UINT64_C(0x5555555555555555) /* its low bit */

static inline side_mask
lane_get(const uint64_t *words, uint64_t lane)
{
	return words[lane / LANES] >> lane % LANES * 2 & 3;
}

static inline void
lane_put(uint64_t *words, uint64_t lane, side_mask value)
{
	words[lane / LANES] ^= (uint64_t)(lane_get(words, lane) ^ value) << lane % LANES * 2;
}

/* The first lane of [from, to) with other than want in the bits of care; or to. */
static uint64_t
lanes_miss(const uint64_t *words, uint64_t from, uint64_t to, side_mask care, side_mask want)
{
	uint64_t eligible = EVERY_LANE << from % LANES * 2;

	for (uint64_t i = from / LANES; i * LANES < to; i++) {
		uint64_t miss = (words[i] ^ EVERY_LANE * want) & EVERY_LANE * care;

		miss = (miss | miss >> 1) & eligible;
		if (miss)
			return MIN(i * LANES + (unsigned int)__builtin_ctzll(miss) / 2, to);
		eligible = EVERY_LANE;
	}
	return to;
}

/*
 * Replaces each value of the lanes [from, to) by becomes[value], and books the
 * sectors, 1 << shift a lane, in count.
 */
static void
lanes_change(uint64_t *words, uint64_t from, uint64_t to, const side_mask *becomes,
	     unsigned int shift, uint64_t *count)
{
	uint64_t eligible = EVERY_LANE << from % LANES * 2;

	for (uint64_t i = from / LANES; i * LANES < to; i++) {
		uint64_t word = words[i];

		if (to - i * LANES < LANES)
			eligible &= ~(EVERY_LANE << to % LANES * 2);
		for (side_mask old = SRC_BIT; old <= BOTH; old++) {
			uint64_t differs = word ^ EVERY_LANE * old;
			uint64_t hits = eligible & ~(differs | differs >> 1);
			uint64_t sectors = (uint64_t)__builtin_popcountll(hits) << shift;

			words[i] ^= hits * (old ^ becomes[old]);
			count[old] -= sectors;
			count[becomes[old]] += sectors;
		}
		eligible = EVERY_LANE;
	}
}

/* --- slabs: objects of one size, numbered, 64 KiB at a time ---------------- */

#define SLAB_BYTES 65536u
#define SLAB_END   UINT32_MAX

struct slab {
	struct list_head roomy; /* linked while an object is free */
	uint32_t slot;		/* in the table of slabs */
	uint32_t used;
	uint32_t first_free; /* whose first bytes name the next; SLAB_END ends it */
	_Alignas(64) unsigned char objects[];
};

struct slabs {
	unsigned int object_shift;
	unsigned int promise; /* objects that one reservation promises */
	uint64_t promised;    /* to all of them */
	uint64_t free;
	uint64_t count;
	struct slab **table;	  /* NULL: an empty slot */
	uint32_t slots, low_slot; /* no slot below low_slot is empty */
	struct list_head roomy;
};

static uint32_t
slabs_capacity(const struct slabs *s)
{
	return SLAB_BYTES >> s->object_shift;
}

static void *
slab_object(const struct slabs *s, struct slab *slab, uint32_t index)
{
	return slab->objects + ((size_t)index << s->object_shift);
}

static void *
slabs_object(const struct slabs *s, uint32_t number)
{
	uint32_t capacity = slabs_capacity(s);

	return slab_object(s, s->table[number / capacity], number % capacity);
}

static void
slabs_init(struct slabs *s, size_t object_bytes, unsigned int promise)
{
	*s = (struct slabs){ .object_shift = (unsigned int)__builtin_ctzl(object_bytes),
			     .promise = promise };
	INIT_LIST_HEAD(&s->roomy);
}

static void
slabs_destroy(struct slabs *s)
{
	for (uint32_t i = 0; i < s->slots; i++)
		free(s->table[i]);
	free(s->table);
}

/* An empty slot, its number in s->low_slot. 0 or -ENOMEM. */
static int
slabs_find_slot(struct slabs *s)
{
	uint32_t slots = MAX(16, 2 * s->slots);
	struct slab **table;

	while (s->low_slot < s->slots && s->table[s->low_slot])
		s->low_slot++;
	if (s->low_slot < s->slots)
		return 0;
	table = realloc(s->table, slots * sizeof(*table));
	if (!table)
		return -ENOMEM;
	memset(table + s->slots, 0, (slots - s->slots) * sizeof(*table));
	s->table = table;
	s->slots = slots;
	return 0;
}

static int
slabs_grow(struct slabs *s)
{
	uint32_t capacity = slabs_capacity(s);
	struct slab *slab;

	if (slabs_find_slot(s))
		return -ENOMEM;
	slab = aligned_alloc(_Alignof(struct slab), sizeof(*slab) + SLAB_BYTES);
	if (!slab)
		return -ENOMEM;
	slab->slot = s->low_slot;
	slab->used = 0;
	slab->first_free = SLAB_END;
	for (uint32_t i = capacity; i-- > 0; slab->first_free = i)
		*(uint32_t *)slab_object(s, slab, i) = slab->first_free;
	s->table[slab->slot] = slab;
	list_add_tail(&slab->roomy, &s->roomy);
	s->free += capacity;
	s->count++;
	return 0;
}

static void
slabs_release(struct slabs *s, struct slab *slab)
{
	list_del(&slab->roomy);
	s->table[slab->slot] = NULL;
	s->low_slot = MIN(s->low_slot, slab->slot);
	s->free -= slabs_capacity(s);
	s->count--;
	free(slab);
}

/* The number of an object, its contents undefined. */
static uint32_t
slabs_take(struct slabs *s)
{
	struct slab *slab = list_entry(s->roomy.next, struct slab, roomy);
	uint32_t index;

	assert(s->free); /* else a change was made without a reservation */
	index = slab->first_free;
	slab->first_free = *(uint32_t *)slab_object(s, slab, index);
	if (slab->first_free == SLAB_END)
		list_del(&slab->roomy);
	slab->used++;
	s->free--;
	return slab->slot * slabs_capacity(s) + index;
}

/* An empty slab goes too, unless promised or the only one that is to spare. */
static void
slabs_give(struct slabs *s, uint32_t number)
{
	uint32_t capacity = slabs_capacity(s), index = number % capacity;
	struct slab *slab = s->table[number / capacity];

	if (slab->first_free == SLAB_END)
		list_add(&slab->roomy, &s->roomy);
	*(uint32_t *)slab_object(s, slab, index) = slab->first_free;
	slab->first_free = index;
	slab->used--;
	s->free++;
	if (!slab->used && s->free >= s->promised + 2 * (uint64_t)capacity)
		slabs_release(s, slab);
}

static size_t
slabs_memory(const struct slabs *s)
{
	return s->slots * sizeof(*s->table) + s->count * (sizeof(struct slab) + SLAB_BYTES);
}

/* --- leaves ------------------------------------------------------------------ */

struct group {
	uint32_t page; /* of leaf handles, if there is a leaf */
	uint32_t leaves;
};

struct validity {
	uint64_t sectors;
	uint64_t chunks;
	uint64_t count[BOTH + 1]; /* of whole chunks: see past_end() */
	uint64_t *uniform;
	struct group *groups;
	struct slabs small; /* coarse leaves */
	struct slabs large; /* fine leaves, and the groups' pages */
};

#define COARSE_BYTES (CHUNK_SECTORS / BLOCK_SECTORS / 4)
#define FINE_BYTES   (CHUNK_SECTORS / 4)
#define FINE	     1u /* in a handle, beside the leaf's number */

_Static_assert(GROUP_CHUNKS * sizeof(uint32_t) == FINE_BYTES, "a page is as large as a leaf");

struct leaf {
	uint64_t *words;
	unsigned int shift; /* 1 << shift sectors a lane */
};

static struct group *
group_of(const struct validity *v, uint64_t chunk)
{
	return &v->groups[chunk / GROUP_CHUNKS];
}

static uint32_t *
leaf_handle(const struct validity *v, uint64_t chunk)
{
	uint32_t *page = slabs_object(&v->large, group_of(v, chunk)->page);

	return &page[chunk % GROUP_CHUNKS];
}

static struct leaf
leaf_of(const struct validity *v, uint64_t chunk)
{
	uint32_t handle = *leaf_handle(v, chunk);

	if (handle & FINE)
		return (struct leaf){ slabs_object(&v->large, handle >> 1), 0 };
	return (struct leaf){ slabs_object(&v->small, handle >> 1), BLOCK_SHIFT };
}

static uint64_t
leaf_lanes(struct leaf leaf)
{
	return CHUNK_SECTORS >> leaf.shift;
}

/* Gives a uniform chunk a coarse leaf. */
static void
leaf_create(struct validity *v, uint64_t chunk)
{
	struct group *group = group_of(v, chunk);

	if (!group->leaves++)
		group->page = slabs_take(&v->large);
	*leaf_handle(v, chunk) = slabs_take(&v->small) << 1;
	memset(leaf_of(v, chunk).words, lane_get(v->uniform, chunk) * 0x55, COARSE_BYTES);
	lane_put(v->uniform, chunk, NO_SIDE);
}

/* Replaces a coarse leaf by a fine one. */
static void
leaf_refine(struct validity *v, uint64_t chunk)
{
	struct leaf coarse = leaf_of(v, chunk), fine;
	uint32_t coarse_number = *leaf_handle(v, chunk) >> 1;

	*leaf_handle(v, chunk) = slabs_take(&v->large) << 1 | FINE;
	fine = leaf_of(v, chunk);
	memset(fine.words, 0, FINE_BYTES);
	for (unsigned int i = 0; i < leaf_lanes(coarse); i++) {
		uint64_t sectors = lane_get(coarse.words, i) * 0x5555u;

		fine.words[i * BLOCK_SECTORS / LANES] |= sectors
							 << i * BLOCK_SECTORS % LANES * 2;
	}
	slabs_give(&v->small, coarse_number);
}

/* Returns the leaf of a chunk whose sectors all have that value. */
static void
leaf_drop(struct validity *v, uint64_t chunk, side_mask value)
{
	struct group *group = group_of(v, chunk);
	uint32_t handle = *leaf_handle(v, chunk);

	slabs_give(handle & FINE ? &v->large : &v->small, handle >> 1);
	if (!--group->leaves)
		slabs_give(&v->large, group->page);
	lane_put(v->uniform, chunk, value);
}

/* --- changing ------------------------------------------------------------------ */

/* Whether a change that ends at that sector of the chunk parts a block of its leaf. */
static bool
leaf_parted(struct leaf leaf, uint64_t sector, const side_mask *becomes)
{
	side_mask value;

	if (!(sector & ((1u << leaf.shift) - 1)))
		return false;
	value = lane_get(leaf.words, sector >> leaf.shift);
	return becomes[value] != value;
}

/* A part of one chunk, or all of one that has a leaf. */
static void
change_chunk(struct validity *v, uint64_t chunk, uint64_t from, uint64_t to,
	     const side_mask *becomes)
{
	side_mask value = lane_get(v->uniform, chunk);
	struct leaf leaf;

	if (value != NO_SIDE) {
		if (becomes[value] == value)
			return;
		leaf_create(v, chunk);
	}
	leaf = leaf_of(v, chunk);
	if (leaf_parted(leaf, from, becomes) || leaf_parted(leaf, to, becomes)) {
		leaf_refine(v, chunk);
		leaf = leaf_of(v, chunk);
	}
	/* A block that is still in part outside of the range keeps its value. */
	lanes_change(leaf.words, from >> leaf.shift,
		     (to + (1u << leaf.shift) - 1) >> leaf.shift, becomes, leaf.shift,
		     v->count);
	value = lane_get(leaf.words, 0);
	if (lanes_miss(leaf.words, 0, leaf_lanes(leaf), BOTH, value) == leaf_lanes(leaf))
		leaf_drop(v, chunk, value);
}

/*
 * Replaces each value in the range by becomes[value]. Takes memory only for the
 * chunks that the range covers in part, two at most, and for each at most a
 * page, a coarse leaf and a fine one: that is what a reservation promises.
 */
static void
change(struct validity *v, uint64_t sector, uint64_t count, const side_mask *becomes)
{
	uint64_t end = sector + count;

	assert(end >= sector && end <= v->sectors);
	if (end == v->sectors)
		end = v->chunks * CHUNK_SECTORS;
	while (sector < end) {
		uint64_t chunk = sector / CHUNK_SECTORS, from = sector % CHUNK_SECTORS, next;
		side_mask value = lane_get(v->uniform, chunk);

		if (value != NO_SIDE && !from && end - sector >= CHUNK_SECTORS) {
			next = lanes_miss(v->uniform, chunk, end / CHUNK_SECTORS, BOTH, value);
			lanes_change(v->uniform, chunk, next, becomes, CHUNK_SHIFT, v->count);
			sector = next * CHUNK_SECTORS;
		} else {
			next = MIN(end, (chunk + 1) * CHUNK_SECTORS);
			change_chunk(v, chunk, from, next - chunk * CHUNK_SECTORS, becomes);
			sector = next;
		}
	}
}

void
validity_set(struct validity *v, uint64_t sector, uint64_t count, side_mask sides)
{
	assert(sides != NO_SIDE && sides <= BOTH);
	change(v, sector, count, (side_mask[]){ NO_SIDE, sides, sides, sides });
}

void
validity_distrust(struct validity *v, enum side side)
{
	side_mask becomes[] = { NO_SIDE, SRC_BIT, DST_BIT, side_bit(side_other(side)) };

	change(v, 0, v->sectors, becomes);
}

/* --- looking ------------------------------------------------------------------- */

/* The first sector of [from, to) with other than want in the bits of care; or to. */
static uint64_t
first_miss(const struct validity *v, uint64_t from, uint64_t to, side_mask care, side_mask want)
{
	while (from < to) {
		uint64_t chunk = from / CHUNK_SECTORS, start = chunk * CHUNK_SECTORS, lane;
		struct leaf leaf;

		if (lane_get(v->uniform, chunk) != NO_SIDE) {
			lane = lanes_miss(v->uniform, chunk, (to - 1) / CHUNK_SECTORS + 1, care,
					  want);
			if (lane == chunk)
				return from;
			from = lane * CHUNK_SECTORS;
			continue;
		}
		leaf = leaf_of(v, chunk);
		lane = lanes_miss(leaf.words, (from - start) >> leaf.shift, leaf_lanes(leaf),
				  care, want);
		from = MAX(from, start + (lane << leaf.shift));
		if (lane < leaf_lanes(leaf))
			break;
	}
	return MIN(from, to);
}

static side_mask
value_at(const struct validity *v, uint64_t sector)
{
	side_mask value = lane_get(v->uniform, sector / CHUNK_SECTORS);
	struct leaf leaf;

	if (value != NO_SIDE)
		return value;
	leaf = leaf_of(v, sector / CHUNK_SECTORS);
	return lane_get(leaf.words, sector % CHUNK_SECTORS >> leaf.shift);
}

side_mask
validity_get(const struct validity *v, uint64_t sector, uint64_t max, uint64_t *run)
{
	side_mask value;

	assert(sector < v->sectors && max);
	value = value_at(v, sector);
	max = MIN(max, v->sectors - sector);
	*run = first_miss(v, sector, sector + max, BOTH, value) - sector;
	return value;
}

bool
validity_all(const struct validity *v, uint64_t sector, uint64_t count, enum side side)
{
	uint64_t end = sector + count;

	assert(end >= sector && end <= v->sectors);
	return first_miss(v, sector, end, side_bit(side), side_bit(side)) == end;
}

uint64_t
validity_next_lacking(const struct validity *v, uint64_t from, enum side side)
{
	if (from >= v->sectors || !validity_lacking(v, side))
		return v->sectors;
	return first_miss(v, from, v->sectors, side_bit(side), side_bit(side));
}

void
validity_failed(struct validity *v, uint64_t sector, uint64_t count, side_mask sides)
{
	uint64_t end = sector + count, run;

	for (; sector < end; sector += run) {
		side_mask was = validity_get(v, sector, end - sector, &run);
		side_mask left = was & (side_mask)~sides;

		if (!left)
			left = was == BOTH ? SRC_BIT : was;
		validity_set(v, sector, run, left);
	}
}

int
validity_save(const struct validity *v,
	      int (*emit)(void *ctx, uint64_t sector, uint64_t count, side_mask sides),
	      void *ctx)
{
	uint64_t sector = 0, run;
	int err = 0;

	while (!err) {
		side_mask sides;

		sector = first_miss(v, sector, v->sectors, BOTH, SRC_BIT);
		if (sector == v->sectors)
			break;
		sides = validity_get(v, sector, v->sectors - sector, &run);
		err = emit(ctx, sector, run, sides);
		sector += run;
	}
	return err;
}

/* How many of the counted sectors of that value lie past the disk's end. */
static uint64_t
past_end(const struct validity *v, side_mask sides)
{
	if (value_at(v, v->sectors - 1) != sides)
		return 0;
	return v->chunks * CHUNK_SECTORS - v->sectors;
}

uint64_t
validity_count(const struct validity *v, side_mask sides)
{
	assert(sides <= BOTH);
	return v->count[sides] - past_end(v, sides);
}

uint64_t
validity_lacking(const struct validity *v, enum side side)
{
	return validity_count(v, side_bit(side_other(side)));
}

uint64_t
validity_sectors(const struct validity *v)
{
	return v->sectors;
}

/* --- memory -------------------------------------------------------------------- */

static size_t
uniform_words(const struct validity *v)
{
	return (v->chunks + LANES - 1) / LANES;
}

static size_t
group_count(const struct validity *v)
{
	return (v->chunks + GROUP_CHUNKS - 1) / GROUP_CHUNKS;
}

struct validity *
validity_create(uint64_t sectors, side_mask sides)
{
	struct validity *v;

	assert(sectors && sides != NO_SIDE && sides <= BOTH);
	v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->sectors = sectors;
	v->chunks = (sectors - 1) / CHUNK_SECTORS + 1;
	v->count[sides] = v->chunks * CHUNK_SECTORS;
	slabs_init(&v->small, COARSE_BYTES, 2);
	slabs_init(&v->large, FINE_BYTES, 4);
	if (v->chunks > MAX_CHUNKS)
		goto fail;
	v->uniform = malloc(uniform_words(v) * sizeof(*v->uniform));
	v->groups = calloc(group_count(v), sizeof(*v->groups));
	if (!v->uniform || !v->groups)
		goto fail;
	memset(v->uniform, sides * 0x55, uniform_words(v) * sizeof(*v->uniform));
	return v;

fail:
	validity_destroy(v);
	return NULL;
}

void
validity_destroy(struct validity *v)
{
	if (!v)
		return;
	slabs_destroy(&v->small);
	slabs_destroy(&v->large);
	free(v->groups);
	free(v->uniform);
	free(v);
}

int
validity_reserve(struct validity *v)
{
	struct slabs *slabs[] = { &v->small, &v->large };

	for (int i = 0; i < 2; i++)
		if (slabs[i]->free < slabs[i]->promised + slabs[i]->promise &&
		    slabs_grow(slabs[i]))
			return -ENOMEM;
	for (int i = 0; i < 2; i++)
		slabs[i]->promised += slabs[i]->promise;
	return 0;
}

void
validity_unreserve(struct validity *v)
{
	assert(v->small.promised);
	v->small.promised -= v->small.promise;
	v->large.promised -= v->large.promise;
}

size_t
validity_memory(const struct validity *v)
{
	return sizeof(*v) + uniform_words(v) * sizeof(*v->uniform) +
	       group_count(v) * sizeof(*v->groups) + slabs_memory(&v->small) +
	       slabs_memory(&v->large);
}
