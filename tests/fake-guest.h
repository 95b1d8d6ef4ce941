/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake-guest.h - a guest with a block ring in this process' memory, without Xen
 *
 * A grant reference is a page's number; the ring has the first ones. What it writes
 * to the ring is laid out by the offsets of Xen's blkif.h, independently of
 * drivers/tapdisk-ring.c.
 */
#ifndef TESTS_FAKE_GUEST_H
#define TESTS_FAKE_GUEST_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tapdisk-blkif.h"

#ifndef FAKE_PAGES
#define FAKE_PAGES 32
#endif
#define FAKE_PAGE(g, n) ((g)->memory + (size_t)(n)*RING_PAGE_SIZE)

struct fake_guest {
	struct blkif_guest guest;
	uint8_t *memory;
	bool x86_32;
	unsigned int entries;
	uint32_t req_prod, rsp_cons;
	unsigned int notified;
	int err;     /* what its event channel answers */
	bool closed; /* its ring is not mapped any more */
	/* Called before each copy, as if on another processor. */
	void (*meanwhile)(struct fake_guest *g);
};

struct fake_segment {
	uint32_t gref;
	uint8_t first, last;
};

struct fake_answer {
	uint64_t id;
	uint8_t op;
	int status;
};

static struct fake_guest *
to_fake(struct blkif_guest *guest)
{
	return list_entry(guest, struct fake_guest, guest);
}

static int
fake_copy(struct blkif_guest *guest, const struct blkif_copy *copies, unsigned int n,
	  bool to_guest)
{
	struct fake_guest *g = to_fake(guest);

	if (g->meanwhile)
		g->meanwhile(g);
	for (unsigned int i = 0; i < n; i++) {
		uint8_t *there;

		/* As the hypervisor would. */
		if (copies[i].gref >= FAKE_PAGES ||
		    copies[i].offset + copies[i].len > RING_PAGE_SIZE)
			return -EFAULT;
		there = FAKE_PAGE(g, copies[i].gref) + copies[i].offset;
		memcpy(to_guest ? there : copies[i].local, to_guest ? copies[i].local : there,
		       copies[i].len);
	}
	return 0;
}

static int
fake_acknowledge(struct blkif_guest *guest)
{
	eventfd_t count;

	if (to_fake(guest)->err)
		return to_fake(guest)->err;
	return eventfd_read(guest->fd, &count) && errno != EAGAIN ? -errno : 0;
}

static int
fake_notify(struct blkif_guest *guest)
{
	to_fake(guest)->notified++;
	return to_fake(guest)->err;
}

static void
fake_close(struct blkif_guest *guest)
{
	to_fake(guest)->closed = true;
}

static void
fake_open(struct fake_guest *g, enum ring_protocol protocol, unsigned int order)
{
	static const struct blkif_guest_ops ops = {
		.copy = fake_copy,
		.acknowledge = fake_acknowledge,
		.notify = fake_notify,
		.close = fake_close,
	};
	/* Entries of a ring of one page to eight, in both layouts. */
	static const unsigned int entries[] = { 32, 64, 128, 256 };

	memset(g, 0, sizeof(*g));
	/* Shared with children, as a guest's memory is with every tapdisk. */
	g->memory = mmap(NULL, (size_t)FAKE_PAGES * RING_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (g->memory == MAP_FAILED)
		abort();
	g->x86_32 = protocol == RING_X86_32;
	g->entries = entries[order];
	g->guest.ops = &ops;
	g->guest.ring = g->memory;
	g->guest.pages = 1u << order;
	g->guest.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	/* An event with the first answer. */
	g->memory[12] = 1;
}

static inline void
fake_free(struct fake_guest *g)
{
	close(g->guest.fd);
	munmap(g->memory, (size_t)FAKE_PAGES * RING_PAGE_SIZE);
}

/* --- what it writes and reads ---------------------------------------------------- */

static inline uint32_t
fake_get_index(const struct fake_guest *g, size_t offset)
{
	uint32_t index;

	memcpy(&index, g->memory + offset, sizeof(index));
	return index;
}

static inline void
fake_put_index(struct fake_guest *g, size_t offset, uint32_t index)
{
	memcpy(g->memory + offset, &index, sizeof(index));
}

static inline uint8_t *
fake_entry(struct fake_guest *g, uint32_t index)
{
	return g->memory + 64 + (size_t)(index % g->entries) * (g->x86_32 ? 108 : 112);
}

/* The next request's head; what comes behind it starts where this returns. */
static inline uint8_t *
fake_head(struct fake_guest *g, uint8_t op, uint8_t count, uint64_t id, uint64_t sector)
{
	uint8_t *entry = fake_entry(g, g->req_prod++);

	memset(entry, 0xee, g->x86_32 ? 108 : 112);
	entry[0] = op;
	entry[1] = count;
	entry += g->x86_32 ? 4 : 8;
	memcpy(entry, &id, 8);
	memcpy(entry + 8, &sector, 8);
	return entry + 16;
}

static inline void
fake_segments(uint8_t *at, unsigned int n, const struct fake_segment *segs)
{
	for (unsigned int i = 0; i < n; i++, at += 8) {
		memcpy(at, &segs[i].gref, 4);
		at[4] = segs[i].first;
		at[5] = segs[i].last;
	}
}

/* nr_segments is what it claims; the entry has room for 11. */
static inline void
fake_request(struct fake_guest *g, uint8_t op, uint64_t id, uint64_t sector,
	     uint8_t nr_segments, const struct fake_segment *segs)
{
	uint8_t *tail = fake_head(g, op, nr_segments, id, sector);

	if (segs)
		fake_segments(tail, nr_segments > 11 ? 11 : nr_segments, segs);
}

static inline void
fake_indirect(struct fake_guest *g, uint8_t op, uint64_t id, uint64_t sector,
	      uint16_t nr_segments, const struct fake_segment *segs, uint32_t gref)
{
	uint8_t *tail = fake_head(g, 6, op, id, sector);

	memcpy(fake_entry(g, g->req_prod - 1) + 2, &nr_segments, 2);
	memcpy(tail + 4, &gref, 4);
	if (gref < FAKE_PAGES)
		fake_segments(FAKE_PAGE(g, gref), nr_segments > 512 ? 512 : nr_segments, segs);
}

static inline void
fake_discard(struct fake_guest *g, uint8_t flag, uint64_t id, uint64_t sector, uint64_t n)
{
	memcpy(fake_head(g, 5, flag, id, sector), &n, 8);
}

/* Shows its requests, and sends an event. */
static inline void
fake_send(struct fake_guest *g)
{
	fake_put_index(g, 0, g->req_prod);
	if (eventfd_write(g->guest.fd, 1))
		abort();
}

/* False if there is no answer. The next one is announced by an event. */
static inline bool
fake_receive(struct fake_guest *g, struct fake_answer *answer)
{
	const uint8_t *entry = g->memory + 64;
	int16_t status;

	if (fake_get_index(g, 8) == g->rsp_cons) {
		fake_put_index(g, 12, g->rsp_cons + 1);
		return false;
	}
	entry = fake_entry(g, g->rsp_cons++);
	memcpy(&answer->id, entry, 8);
	answer->op = entry[8];
	memcpy(&status, entry + 10, 2);
	answer->status = status;
	return true;
}

#endif
