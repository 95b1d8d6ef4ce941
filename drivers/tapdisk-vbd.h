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

#include <sys/types.h>

#include "log-limit.h"
#include "tapdisk.h"
#include "tapdisk-stats.h"

/* VBD states, as tap-ctl list shows them; a paused VBD is exactly 0x2a. */
#define TD_VBD_DEAD		  0x0001
#define TD_VBD_CLOSED		  0x0002
#define TD_VBD_QUIESCE_REQUESTED  0x0004
#define TD_VBD_QUIESCED		  0x0008
#define TD_VBD_PAUSE_REQUESTED	  0x0010
#define TD_VBD_PAUSED		  0x0020
#define TD_VBD_SHUTDOWN_REQUESTED 0x0040
#define TD_VBD_RESUME_FAILED	  0x0200

struct td_iovec {
	void *base; /* aligned to 512 bytes at least */
	unsigned int secs;
};

typedef void (*td_vreq_callback_t)(td_vbd_request_t *, int error, void *token, int final);

/*
 * A front end's request; the front end owns it, its iov and its data until cb.
 * error is 0 or -errno; final says that no other answer follows in this batch.
 * For block status, cb's request has extents filled in by the driver's answers
 * through status_cb, in ascending order, without gaps. They cover the range, or as
 * much of it as was looked at before the rest became unwanted (TD_REQ_ONE does that
 * after the first extent): never nothing, where cb says that there was no error.
 */
struct td_vbd_request {
	int op;	   /* TD_OP_ */
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
	/* What is left may be answered with -ECANCELED; status_cb may set it. */
	bool unwanted;

	/* The VBD's. */
	bool issued; /* to the driver */
	int error;   /* the first one of any part: 0 or -errno */
	td_sector_t secs_pending;
	int64_t busy_since; /* when a driver first said -EBUSY, ns; 0: never */
	td_vbd_t *vbd;
	struct list_head next;
};

struct tapdisk_nbdserver;
struct tapdisk_blkif;

/* By which a file or a device is known while it has another open. */
struct td_file_id {
	bool known;
	dev_t dev;
	ino_t ino;
	dev_t rdev; /* of a device */
};

/* How a pause or a close ended: 0 or -errno. Called once, from the event loop. */
typedef void (*td_vbd_done_t)(td_vbd_t *vbd, int err, void *token);

/*
 * A migration of the VBD is being prepared. Nothing is held meanwhile; a pause or a close is
 * done as ever, and then the claim is no more: vbd is NULL.
 */
struct td_vbd_claim {
	td_vbd_t *vbd;
};

/*
 * A VBD is closed (no name), open (name and image) or paused (name, no image).
 * Requests wait in new_requests while it is paused, being paused or switched.
 */
struct td_vbd_handle {
	td_uuid_t minor;
	char *name;		  /* "type:rest", NULL while closed */
	td_flag_t flags;	  /* TD_OPEN_ */
	td_flag_t state;	  /* TD_VBD_ */
	td_disk_info_t disk_info; /* what the guest is shown, until closed */
	td_image_t *image;

	struct td_vbd_claim *claim; /* or NULL */
	bool held;		    /* tapdisk_vbd_switch() waits for what is in flight */
	td_image_t *successor;	    /* takes over when nothing is in flight */
	char *successor_name;

	struct list_head new_requests;	     /* not issued yet */
	struct list_head pending_requests;   /* with the driver */
	struct list_head completed_requests; /* to be answered */
	struct list_head retries;	     /* parts that the driver was too busy for */
	unsigned int req_timeout;	     /* how long such parts are retried, seconds */

	bool any_name;		  /* the pause closes what could not be opened again */
	struct td_file_id paused; /* what it has closed */
	td_vbd_done_t done;	  /* of the pause or close that is under way */
	void *token;
	bool closing; /* the driver's td_close runs */
	/*
	 * Calls that use the VBD and may lend the loop (tapdisk-loop.h). Meanwhile it is not
	 * freed, and nothing else begins: no opening, pause, switch or detaching. A close
	 * does if a migration is being started alone, and is done when that has ended.
	 */
	unsigned int busy;
	unsigned int starting; /* 1: one of them is the start of a migration */
	int lost_event;	       /* tapdisk-lost.c's; 0: none */

	td_sector_count_t secs; /* served to the guest */
	int lock_fd;		/* the minor's marker file, or -1: who attached it */
	struct tapdisk_nbdserver *nbdserver; /* who opened it */
	struct tapdisk_blkif *blkif;	     /* a guest's ring, or NULL */
	struct log_limit guest_log;	     /* of what a guest can have us log */
	struct list_head next;		     /* tapdisk_server_get_all_vbds() */
};

/* A closed VBD, or NULL. */
td_vbd_t *tapdisk_vbd_create(td_uuid_t minor);
/* It is on no list of the server's any more (tapdisk-lost.c): who closes it is told so. */
void tapdisk_vbd_lost(td_vbd_t *vbd);
/* Frees a closed one that is not on any list. */
void tapdisk_vbd_free(td_vbd_t *vbd);

/*
 * 0, or -EBUSY with a message in the log: the VBD is being opened, resumed or closed, or a
 * migration of it started, and while it is nothing else can be done with it.
 */
int tapdisk_vbd_check_busy(const td_vbd_t *vbd);
/* Whether it is busy with nothing but the start of a migration, which a close ends. */
bool tapdisk_vbd_may_close(const td_vbd_t *vbd);

/* Opens "type:rest". 0, -EALREADY, -EBUSY or another -errno. May lend the loop. */
int tapdisk_vbd_open(td_vbd_t *vbd, const char *name, td_flag_t flags);

/*
 * Holds new requests, waits for those in flight, closes the image, so that it
 * may be replaced by another. One that could not be opened again, for its name does not
 * lead to it, goes on being served (-ESTALE, or what td_check_name() says), unless any_name. 0:
 * done() will be called, perhaps at once. Else -errno, and it will not: -EINVAL if closed,
 * -EBUSY if a pause or close is under way. An image that refuses to close goes on being served.
 */
int tapdisk_vbd_pause(td_vbd_t *vbd, bool any_name, td_vbd_done_t done, void *token);

/* Undoes a pause whose done() has not been called, and will not be. */
void tapdisk_vbd_cancel_pause(td_vbd_t *vbd);

/*
 * Opens the image again, which must be the one that was closed; or the image name if that is
 * not NULL, whatever that is. It may be
 * larger than what the guest was shown, not smaller, and its sectors no larger.
 * 0; or -errno, and the VBD stays paused under its old name. -EINVAL if it is
 * not paused, -EBUSY as above. May lend the loop.
 */
int tapdisk_vbd_resume(td_vbd_t *vbd, const char *name);

/*
 * Refuses new requests, waits for those in flight, closes the image. Held ones
 * fail with -ESHUTDOWN if the VBD is paused. As tapdisk_vbd_pause() otherwise,
 * but cannot be undone. force: takes over from a pause, whose done() gets
 * -ECANCELED, gives up parts that the driver is too busy for, and does not wait for ever
 * for those that are with it (tapdisk-lost.h). Of a VBD that is being closed already it is
 * 0, and the first one's done() will be called; force has its effect all the same.
 */
int tapdisk_vbd_close(td_vbd_t *vbd, bool force, td_vbd_done_t done, void *token);

/* For the server's loop: issues, answers, pauses, closes. */
void tapdisk_vbd_run(td_vbd_t *vbd);
/* Whether tapdisk_vbd_run() would do something without waiting. */
bool tapdisk_vbd_has_work(const td_vbd_t *vbd);

void tapdisk_vbd_stats(td_vbd_t *vbd, td_stats_t *st);
/* Tells the log about it and its driver. */
void tapdisk_vbd_debug(td_vbd_t *vbd);

/*
 * TAPDISK_EXTENDED. The VBD whose image old drives goes on with successor, which
 * is open (tapdisk_image_open()) and becomes the VBD's, under the name
 * "type:rest". This happens at a later turn of the loop, as soon as nothing is in
 * flight; requests are held until then. Then old is closed. A pause or close
 * that is under way first lets it happen. The guest goes on seeing the size that
 * it saw.
 *
 * 0: it will happen. Else -errno, and successor stays the caller's: -ENOENT if
 * no VBD has old, -EBUSY if it is being closed or switched already, -EINVAL if
 * successor is smaller or its sectors larger than what the guest was shown,
 * -ENOMEM.
 */
int tapdisk_vbd_replace_image(td_driver_t *old, td_image_t *successor, const char *name);

/*
 * TAPDISK_EXTENDED. Claims a VBD that runs. 0; or -errno with a message in the log:
 * -EALREADY if another claim is there, -EBUSY if it is paused, or being paused or closed,
 * -EINVAL if it is not open.
 */
int tapdisk_vbd_claim(td_vbd_t *vbd, struct td_vbd_claim *claim);
void tapdisk_vbd_unclaim(struct td_vbd_claim *claim);

/*
 * TAPDISK_EXTENDED. Puts successor, which fits (tapdisk_vbd_replace_image()), in the place
 * of the image of a VBD that is busy with nothing else, at a moment when nothing is in flight.
 * switched() is called at that moment: it may do what must be done before the first request
 * comes. The old image stays open, and is the caller's. Requests are held for at most so many
 * milliseconds: -ETIMEDOUT, and nothing has changed. 0, -EINVAL, -ENOMEM, or -ECANCELED if the
 * claim has been lost meanwhile. Runs turns of the loop.
 */
int tapdisk_vbd_switch(td_vbd_t *vbd, td_image_t *successor, const char *name,
		       unsigned int hold_ms, void (*switched)(td_image_t *successor));

/*
 * Queues vreq. 0, or -errno if it will never be answered (the VBD is closed).
 * Ranges and alignment must have been checked by the front end against
 * tapdisk_vbd_get_disk_info(); the VBD checks again and answers -EINVAL.
 */
int tapdisk_vbd_queue_request(td_vbd_t *vbd, td_vbd_request_t *vreq);

/*
 * Nobody waits for the answer of vreq, which has been queued and not answered. It is
 * answered as ever, but soon: with -ECANCELED if no driver has it yet, also while the VBD
 * is paused.
 */
void tapdisk_vbd_abandon_request(td_vbd_t *vbd, td_vbd_request_t *vreq);

/* --- of tapdisk-vbd.c and tapdisk-vbd-image.c alone --- */

/* Whether the guest can go on with image and not notice. */
int tapdisk_vbd_check_fits(td_vbd_t *vbd, const td_image_t *image);
/* What the image has open. Lends the loop. */
struct td_file_id tapdisk_vbd_identify(td_image_t *image);
/* Whether that is the image that was closed by the pause: 0, or -ESTALE. Lends the loop. */
int tapdisk_vbd_check_same(td_vbd_t *vbd, td_image_t *image);
/* The VBD is paused or closed. */
void tapdisk_vbd_lose_claim(td_vbd_t *vbd);

/* What the guest is shown. Valid also while paused. 0 or -errno. */
int tapdisk_vbd_get_disk_info(td_vbd_t *vbd, td_disk_info_t *info);

#endif
