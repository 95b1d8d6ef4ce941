/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-blkif.h - serves a VBD to a guest on a block ring
 *
 * The guest is not trusted. Whatever it puts on the ring, it gets an error for that
 * request, or is disconnected; only its own disk can come to harm.
 *
 * All memory is taken when the ring is connected: for each entry a request and a
 * buffer of RING_MAX_SEGMENTS pages, which is 4 MiB for a ring of one page and 32 MiB
 * for one of eight, and resident only as far as it was ever used.
 *
 * A write barrier waits for all requests before it, and those behind it stay on the
 * ring until it is done; before its data and after it the disk is flushed.
 */
#ifndef TAPDISK_BLKIF_H
#define TAPDISK_BLKIF_H

#include "tapdisk-inflight.h"
#include "tapdisk-ring.h"
#include "tapdisk-vbd.h"

/* A range in a page that a guest grants, and where its bytes are or shall be here. */
struct blkif_copy {
	uint32_t gref;
	uint16_t offset;
	uint16_t len;
	void *local;
};

/*
 * A guest's side: its memory and its event channel. fd is readable when it has sent
 * an event. Xen's are made by blkif_xen_open(); tests have one of their own.
 */
struct blkif_guest {
	const struct blkif_guest_ops *ops;
	void *ring; /* mapped, pages of them contiguous */
	unsigned int pages;
	int fd;
};

struct blkif_guest_ops {
	/* At most RING_MAX_SEGMENTS ranges. 0, or -errno if one of them cannot be copied. */
	int (*copy)(struct blkif_guest *guest, const struct blkif_copy *copies, unsigned int n,
		    bool to_guest);
	/* Takes the event that made fd readable. 0 or -errno. */
	int (*acknowledge)(struct blkif_guest *guest);
	/* 0 or -errno. */
	int (*notify)(struct blkif_guest *guest);
	/* Unmaps the ring, and frees guest. */
	void (*close)(struct blkif_guest *guest);
};

struct tapdisk_blkif;

/* Who it is, and how it wants to be served. */
struct blkif_config {
	struct inflight_ring ring;
	const char *inflight; /* the file that tapdisk-inflight.h is about */
	bool readonly;
};

/*
 * Starts serving vbd, which must be open and outlive the ring, and sets vbd->blkif.
 * Where a tapdisk that died has left requests of the same ring, they are served first.
 * 0, and the guest is closed by the ring; or -errno, and it stays the caller's.
 */
int tapdisk_blkif_connect(td_vbd_t *vbd, const struct blkif_config *config,
			  struct blkif_guest *guest);

/* Whether it is that one's ring, and has not been disconnected. */
bool tapdisk_blkif_is(const struct tapdisk_blkif *blkif, uint32_t domid, uint32_t devid);

/* The ring that it is. */
const struct inflight_ring *tapdisk_blkif_ring(const struct tapdisk_blkif *blkif);

/*
 * Unmaps the ring. Requests that the VBD has not answered yet stay valid until it does;
 * their answers go nowhere, and vbd->blkif is NULL only then. NULL is allowed.
 */
void tapdisk_blkif_disconnect(struct tapdisk_blkif *blkif);

#endif
