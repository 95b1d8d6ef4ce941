/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-ring.h - Xen's block protocol on a ring in shared memory
 *
 * Pure: it is given the ring's memory, and knows no grants, events or disks. The
 * other side can write to that memory at any time and is not trusted. A request is
 * therefore copied once, word by word, and only the copy is looked at; what this side
 * must remember (how far it has read and answered) is never read back.
 *
 * Padding is not looked at: guests leave there what an answer had in its place. Nor
 * is the device's number, since a ring has one device.
 */
#ifndef TAPDISK_RING_H
#define TAPDISK_RING_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_PAGE_SIZE	     4096
#define RING_PAGE_SECTORS    8
#define RING_MAX_ORDER	     3
#define RING_MAX_ENTRIES     256 /* of a ring of that order */
#define RING_DIRECT_SEGMENTS 11
/* Of an indirect request: what a guest is told as feature-max-indirect-segments. */
#define RING_MAX_SEGMENTS 32

/* Operations and answers, as in Xen's blkif.h. */
#define BLKIF_OP_READ		 0
#define BLKIF_OP_WRITE		 1
#define BLKIF_OP_WRITE_BARRIER	 2
#define BLKIF_OP_FLUSH_DISKCACHE 3
#define BLKIF_OP_DISCARD	 5
#define BLKIF_OP_INDIRECT	 6

#define BLKIF_DISCARD_SECURE (1 << 0)

#define BLKIF_RSP_OKAY	     0
#define BLKIF_RSP_ERROR	     -1
#define BLKIF_RSP_EOPNOTSUPP -2

/* The layouts of a request; the numbers are XENBLKIF_CONNECT's. */
enum ring_protocol {
	RING_NATIVE = 1, /* x86_64's, and that of every other 64-bit machine */
	RING_X86_32,
	RING_X86_64,
};

/* The start of the shared memory; entries follow. */
struct ring_shared {
	uint32_t req_prod, req_event;
	uint32_t rsp_prod, rsp_event;
	uint8_t pad[48];
};

struct ring_segment {
	uint32_t gref;
	uint8_t first_sect, last_sect; /* in the page, both included */
	uint16_t pad;
};

/* In x86_32's layout pad is not there, and all else is the same. */
struct ring_entry {
	uint8_t operation;
	union {
		uint8_t nr_segments;
		uint8_t discard_flag;
		uint8_t indirect_op;
	};
	uint16_t indirect_nr_segments; /* otherwise the device's number */
	uint32_t pad;
	uint64_t id;
	uint64_t sector;
	union {
		struct ring_segment segments[RING_DIRECT_SEGMENTS];
		uint64_t discard_sectors;
		struct {
			uint16_t handle, pad;
			uint32_t grefs[8];
		} indirect;
	};
};

/* In x86_32's layout pad2 is not there; an entry has room for it. */
struct ring_answer {
	uint64_t id;
	uint8_t operation;
	uint8_t pad1;
	int16_t status;
	uint32_t pad2;
};

_Static_assert(sizeof(struct ring_shared) == 64, "entries start at 64");
_Static_assert(sizeof(struct ring_segment) == 8, "a segment has 8 bytes");
_Static_assert(sizeof(struct ring_entry) == 112, "an entry has 112 bytes");
_Static_assert(sizeof(struct ring_answer) == 16, "an answer has 16 bytes");

struct ring {
	struct ring_shared *shared;
	bool x86_32;
	uint32_t entries;  /* a power of two */
	uint32_t req_cons; /* requests taken */
	uint32_t rsp_prod; /* answers put on the ring */
	uint32_t pushed;   /* answers that the guest can see */
};

/* A request as it was when it was taken. */
struct ring_request {
	uint8_t op; /* BLKIF_OP_; of an indirect one that which it stands for */
	bool indirect;
	uint8_t flag; /* BLKIF_DISCARD_ */
	uint64_t id;
	uint64_t sector;
	uint64_t sectors;	/* of a discard at once, otherwise after ring_request_check() */
	uint32_t indirect_gref; /* the page with its segments */
	unsigned int n_segments;
	struct ring_segment segments[RING_MAX_SEGMENTS];
};

/* What a guest may ask of. */
struct ring_disk {
	uint64_t sectors;
	uint32_t block; /* sectors: what requests are aligned to */
	bool readonly;
};

/*
 * A ring of so many pages (a power of two), which are contiguous here. Starts where
 * its answers end, so a ring whose requests were all answered can be taken up again.
 */
void
ring_init(struct ring *ring, void *shared, unsigned int pages, enum ring_protocol protocol);

/* The first n requests have been taken by somebody else, but not answered. */
void ring_skip(struct ring *ring, unsigned int n);

/*
 * Takes the next request. 1, 0 if there is none, or -EPROTO if the guest claims more
 * than the ring holds, after which nothing on it means anything.
 * There are never more than ring->entries requests taken whose answers are not pushed.
 */
int ring_get(struct ring *ring, struct ring_request *req);

/* Has the guest send an event with its next request. False if that is there already. */
bool ring_wait(struct ring *ring);

/*
 * Looks at what was on the ring: 0, -EINVAL, -EROFS or -EOPNOTSUPP. An indirect one's
 * n_segments segments may then be copied from its page, and be checked.
 */
int ring_request_check_head(const struct ring_request *req, const struct ring_disk *disk);

/* Looks at the segments, the range and the alignment, and adds up sectors. 0 or -EINVAL. */
int ring_request_check(struct ring_request *req, const struct ring_disk *disk);

/* Answers a request that was taken; the guest sees it after ring_push(). */
void ring_put(struct ring *ring, const struct ring_request *req, int status);

/* Shows all answers to the guest. Whether it wants an event for them. */
bool ring_push(struct ring *ring);

#endif
