/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-inflight.h - the requests that a guest has no answer to, where they survive us
 *
 * A tapdisk that dies has taken requests from the ring and not answered them. The guest
 * does not ask again, and the ring may not have them any more: answers take the places
 * of requests, in another order. So they are kept here, in a file in the run directory
 * that is mapped shared, and the next tapdisk that gets the same ring takes them up.
 *
 * Of each entry of the ring that is taken and not seen as answered by the guest there
 * is a slot that is not free, at whatever instruction the process ends:
 *
 *	TAKEN		from when the request is whole in the slot
 *	ANSWERED	from before its answer is on the ring; free as soon as the guest can
 *			see that, which the ring's rsp_prod tells
 *
 * So the ring goes on at rsp_prod + the number of slots that are not free.
 */
#ifndef TAPDISK_INFLIGHT_H
#define TAPDISK_INFLIGHT_H

#include <sys/types.h>

#include "tapdisk-ring.h"

enum inflight_state {
	INFLIGHT_FREE,
	INFLIGHT_TAKEN,
	INFLIGHT_ANSWERED,
};

struct inflight_slot {
	uint32_t state;	 /* enum inflight_state */
	uint32_t answer; /* which one of the ring's it is, of ANSWERED */
	int32_t status;	 /* BLKIF_RSP_ */
	struct ring_request request;
};

/* What makes a ring the same one. */
struct inflight_ring {
	uint32_t domid, devid;
	uint32_t protocol, pages;
	uint32_t grefs[1 << RING_MAX_ORDER];
	uint32_t port;
};

struct inflight {
	char *path; /* NULL: memory that ends with the process */
	size_t size;
	struct inflight_file *file;
	struct inflight_slot *slots; /* one for each entry of the ring */
	unsigned int entries;
};

/*
 * What is kept of that ring, in the file path: nothing at first. NULL: it need not
 * survive. 0 or -errno.
 */
int inflight_open(struct inflight *inflight, const char *path, const struct inflight_ring *ring,
		  unsigned int entries);

/* Frees what the guest has seen answered up to rsp_prod, and returns how many are left. */
unsigned int inflight_settle(struct inflight *inflight, uint32_t rsp_prod);

/* The request is in the slot. */
void inflight_take(struct inflight_slot *slot);

/* Its answer, the ring's answer-th, is about to be put on the ring. */
void inflight_answer(struct inflight_slot *slot, uint32_t answer, int status);

/* The guest can see the answer. */
void inflight_free(struct inflight_slot *slot);

/* Nobody has the ring any more: removes the file. The slots stay until inflight_close(). */
void inflight_remove(struct inflight *inflight);

void inflight_close(struct inflight *inflight);

#endif
