/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-vbd.h - a virtual block device: a queue of requests over an image
 *
 * Front ends (the NBD server, the Xen ring) queue requests; the VBD holds them
 * while it is paused or being switched, issues them to its image otherwise, and
 * answers each exactly once, from the event loop, never from inside
 * tapdisk_vbd_queue_request().
 */
#ifndef TAPDISK_VBD_H
#define TAPDISK_VBD_H

#include "tapdisk.h"

/* VBD states, as tap-ctl list shows them; a paused VBD is exactly 0x2a. */
#define TD_VBD_DEAD               0x0001
#define TD_VBD_CLOSED             0x0002
#define TD_VBD_QUIESCE_REQUESTED  0x0004
#define TD_VBD_QUIESCED           0x0008
#define TD_VBD_PAUSE_REQUESTED    0x0010
#define TD_VBD_PAUSED             0x0020
#define TD_VBD_SHUTDOWN_REQUESTED 0x0040
#define TD_VBD_RESUME_FAILED      0x0200

struct td_iovec {
	void *base; /* aligned to 512 bytes at least */
	unsigned int secs;
};

typedef void (*td_vreq_callback_t)(td_vbd_request_t *, int error, void *token, int final);

/*
 * A front end's request; the front end owns it, its iov and its data until cb.
 * error is 0 or -errno; final says that no other answer follows in this batch.
 * For block status, cb's request has extents filled in by the driver's answers
 * through status_cb, in ascending order, covering the range without gaps.
 */
struct td_vbd_request {
	int op; /* TD_OP_ */
	int flags; /* TD_REQ_ */
	td_sector_t sec;
	td_sector_t secs; /* zero and block status, which have no iov */
	struct td_iovec *iov;
	int iovcnt;

	td_vreq_callback_t cb;
	/* Block status: one call for each extent, before cb. status: TD_BLOCK_STATE_ */
	void (*status_cb)(td_vbd_request_t *, td_sector_t sec, td_sector_t secs, int status);
	void *token;
	void *data;
	const char *name;

	/* The VBD's. */
	int error;
	td_sector_t secs_pending;
	int submitting;
	td_vbd_t *vbd;
	struct list_head next;
};

/*
 * Queues vreq. 0, or -errno if it will never be answered (the VBD is closed).
 * Ranges and alignment must have been checked by the front end against
 * tapdisk_vbd_get_disk_info(); the VBD checks again and answers -EINVAL.
 */
int tapdisk_vbd_queue_request(td_vbd_t *vbd, td_vbd_request_t *vreq);

/* What the guest is shown. Valid also while paused. 0 or -errno. */
int tapdisk_vbd_get_disk_info(td_vbd_t *vbd, td_disk_info_t *info);

#endif
