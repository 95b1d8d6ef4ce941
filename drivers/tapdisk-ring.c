/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-ring.h"

#include <errno.h>
#include <string.h>

/* An entry's bytes before the pad that x86_32 does not have, and that pad's. */
#define ENTRY_HEAD offsetof(struct ring_entry, pad)
#define ENTRY_PAD  sizeof(((struct ring_entry *)NULL)->pad)

static size_t
entry_size(const struct ring *ring)
{
	return sizeof(struct ring_entry) - (ring->x86_32 ? ENTRY_PAD : 0);
}

/* Words may be read and written behind the compiler's back, each just once. */
static volatile uint32_t *
entry_words(const struct ring *ring, uint32_t index)
{
	char *entries = (char *)(ring->shared + 1);

	return (volatile uint32_t *)(entries +
				     (index & (ring->entries - 1)) * entry_size(ring));
}

static uint32_t
read_index(const uint32_t *shared)
{
	return __atomic_load_n(shared, __ATOMIC_ACQUIRE);
}

void
ring_init(struct ring *ring, void *shared, unsigned int pages, enum ring_protocol protocol)
{
	size_t room = (size_t)pages * RING_PAGE_SIZE - sizeof(struct ring_shared);

	ring->shared = shared;
	ring->x86_32 = protocol == RING_X86_32;
	ring->entries = 1;
	while (ring->entries * 2 * entry_size(ring) <= room)
		ring->entries *= 2;
	ring->rsp_prod = read_index(&ring->shared->rsp_prod);
	ring->req_cons = ring->rsp_prod;
	ring->pushed = ring->rsp_prod;
}

void
ring_skip(struct ring *ring, unsigned int n)
{
	ring->req_cons += n;
}

static void
copy_entry(const struct ring *ring, uint32_t index, struct ring_entry *entry)
{
	const volatile uint32_t *from = entry_words(ring, index);
	uint32_t words[sizeof(*entry) / sizeof(uint32_t)] = { 0 };
	const size_t n = entry_size(ring) / sizeof(uint32_t);
	const size_t head = ENTRY_HEAD / sizeof(uint32_t);
	const size_t gap = sizeof(words) / sizeof(uint32_t) - n;

	for (size_t i = 0; i < n; i++)
		words[i < head ? i : i + gap] = from[i];
	memcpy(entry, words, sizeof(*entry));
}

static void
parse_entry(const struct ring_entry *entry, struct ring_request *req)
{
	req->op = entry->operation;
	req->indirect = false;
	req->flag = 0;
	req->id = entry->id;
	req->sector = entry->sector;
	req->sectors = 0;
	req->n_segments = 0;

	switch (entry->operation) {
	case BLKIF_OP_INDIRECT:
		req->op = entry->indirect_op;
		req->indirect = true;
		req->n_segments = entry->indirect_nr_segments;
		req->indirect_gref = entry->indirect.grefs[0];
		break;
	case BLKIF_OP_DISCARD:
		req->flag = entry->discard_flag;
		req->sectors = entry->discard_sectors;
		break;
	default:
		req->n_segments = entry->nr_segments;
		memcpy(req->segments, entry->segments, sizeof(entry->segments));
	}
}

int
ring_get(struct ring *ring, struct ring_request *req)
{
	const uint32_t req_prod = read_index(&ring->shared->req_prod);
	struct ring_entry entry;

	if (req_prod - ring->pushed > ring->entries ||
	    req_prod - ring->pushed < ring->req_cons - ring->pushed)
		return -EPROTO;
	if (req_prod == ring->req_cons)
		return 0;
	copy_entry(ring, ring->req_cons++, &entry);
	parse_entry(&entry, req);
	return 1;
}

bool
ring_wait(struct ring *ring)
{
	__atomic_store_n(&ring->shared->req_event, ring->req_cons + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return read_index(&ring->shared->req_prod) == ring->req_cons;
}

int
ring_request_check_head(const struct ring_request *req, const struct ring_disk *disk)
{
	const unsigned int max = req->indirect ? RING_MAX_SEGMENTS : RING_DIRECT_SEGMENTS;
	unsigned int min = 0;

	switch (req->op) {
	case BLKIF_OP_READ:
	case BLKIF_OP_WRITE:
		min = 1;
		break;
	case BLKIF_OP_WRITE_BARRIER: /* without data it orders what is around it */
		break;
	case BLKIF_OP_FLUSH_DISKCACHE:
		if (req->n_segments)
			return -EINVAL;
		break;
	case BLKIF_OP_DISCARD:
		if (req->flag & ~BLKIF_DISCARD_SECURE)
			return -EINVAL;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (req->indirect && req->op != BLKIF_OP_READ && req->op != BLKIF_OP_WRITE)
		return -EINVAL;
	if (req->n_segments < min || req->n_segments > max)
		return -EINVAL;
	/* What is without data changes nothing. */
	if (disk->readonly && (req->op == BLKIF_OP_WRITE || req->op == BLKIF_OP_DISCARD ||
			       (req->op == BLKIF_OP_WRITE_BARRIER && req->n_segments)))
		return -EROFS;
	return 0;
}

int
ring_request_check(struct ring_request *req, const struct ring_disk *disk)
{
	for (unsigned int i = 0; i < req->n_segments; i++) {
		const struct ring_segment *seg = &req->segments[i];

		if (seg->first_sect > seg->last_sect || seg->last_sect >= RING_PAGE_SECTORS)
			return -EINVAL;
		req->sectors += seg->last_sect - seg->first_sect + 1;
	}
	/* A flush, or a barrier without data: its sector means nothing. */
	if (!req->n_segments && req->op != BLKIF_OP_DISCARD)
		return 0;
	if (!req->sectors || req->sectors % disk->block || req->sector % disk->block)
		return -EINVAL;
	if (req->sector > disk->sectors || req->sectors > disk->sectors - req->sector)
		return -EINVAL;
	return 0;
}

void
ring_put(struct ring *ring, const struct ring_request *req, int status)
{
	const struct ring_answer answer = {
		.id = req->id,
		.operation = req->op,
		.status = (int16_t)status,
	};
	volatile uint32_t *to = entry_words(ring, ring->rsp_prod++);
	uint32_t words[sizeof(answer) / sizeof(uint32_t)];

	memcpy(words, &answer, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		to[i] = words[i];
}

bool
ring_push(struct ring *ring)
{
	const uint32_t fresh = ring->rsp_prod - ring->pushed;

	if (!fresh)
		return false;
	ring->pushed = ring->rsp_prod;
	__atomic_store_n(&ring->shared->rsp_prod, ring->rsp_prod, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return ring->rsp_prod - read_index(&ring->shared->rsp_event) < fresh;
}
