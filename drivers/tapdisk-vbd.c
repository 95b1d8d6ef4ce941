/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-vbd.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "migrate/error-class.h"
#include "tapdisk-disktype.h"
#include "tapdisk-driver.h"
#include "tapdisk-image.h"
#include "tapdisk-interface.h"
#include "tapdisk-lost.h"
#include "tapdisk-loop.h"
#include "tapdisk-server.h"
#include "timeout-math.h"

#define VBD_REQ_TIMEOUT 120 /* seconds */

/* A part of a request that the driver was too busy for. */
struct vbd_retry {
	td_request_t treq;
	struct list_head link;
};

static const char *const vbd_op_names[TD_OPS_END] = {
	[TD_OP_READ] = "read",	 [TD_OP_WRITE] = "write", [TD_OP_BLOCK_STATUS] = "block status",
	[TD_OP_FLUSH] = "flush", [TD_OP_ZERO] = "zero",
};

td_vbd_t *
tapdisk_vbd_create(td_uuid_t minor)
{
	td_vbd_t *vbd = calloc(1, sizeof(*vbd));

	if (!vbd)
		return NULL;

	vbd->minor = minor;
	vbd->lock_fd = -1;
	INIT_LIST_HEAD(&vbd->new_requests);
	INIT_LIST_HEAD(&vbd->pending_requests);
	INIT_LIST_HEAD(&vbd->completed_requests);
	INIT_LIST_HEAD(&vbd->retries);
	INIT_LIST_HEAD(&vbd->next);
	return vbd;
}

void
tapdisk_vbd_free(td_vbd_t *vbd)
{
	free(vbd);
}

int
tapdisk_vbd_check_busy(const td_vbd_t *vbd)
{
	if (!vbd->busy)
		return 0;
	EPRINTF("VBD %u: %s; try again when that is done", vbd->minor,
		vbd->starting ? "a migration of it is being started"
			      : "it is being opened, resumed or closed");
	return -EBUSY;
}

/* --- opening ------------------------------------------------------------------ */

/* No chains here: an image that needs a parent cannot be served. */
static int
vbd_check_parent(td_image_t *image)
{
	td_disk_id_t id;
	int err = td_get_parent_id(image, &id);

	if (err == TD_NO_PARENT)
		return 0;
	if (!err) {
		EPRINTF("%s: has a parent image, which this tapdisk cannot open", image->name);
		free(id.name);
		err = -EOPNOTSUPP;
	}
	return err;
}

static int
vbd_open_image(td_vbd_t *vbd, const char *name, td_flag_t flags, td_image_t **out)
{
	const char *path;
	td_image_t *image;
	int err, type = tapdisk_disktype_parse_params(name, &path);

	if (type < 0) {
		EPRINTF("VBD %u: %s: %s", vbd->minor, name,
			type == -EINVAL	  ? "not of the form type:path"
			: type == -ENOSYS ? "this tapdisk has no driver for that type"
					  : "no such type");
		return type;
	}

	err = tapdisk_image_open(type, path, (int)flags, NULL, &image);
	if (err)
		return err;

	err = vbd_check_parent(image);
	if (err) {
		tapdisk_image_close(image);
		return err;
	}

	*out = image;
	return 0;
}

int
tapdisk_vbd_open(td_vbd_t *vbd, const char *name, td_flag_t flags)
{
	td_image_t *image;
	char *copy;
	int err;

	if (tapdisk_vbd_check_busy(vbd))
		return -EBUSY;
	if (vbd->name)
		return -EALREADY;

	copy = strdup(name);
	if (!copy)
		return -ENOMEM;

	vbd->busy++;
	err = vbd_open_image(vbd, name, flags, &image);
	vbd->busy--;
	if (err) {
		free(copy);
		return err;
	}

	vbd->name = copy;
	vbd->flags = flags;
	vbd->req_timeout = VBD_REQ_TIMEOUT;
	vbd->image = image;
	vbd->disk_info = image->info;
	vbd->state = 0;
	DPRINTF("VBD %u: opened %s, %llu sectors", vbd->minor, name,
		(unsigned long long)image->info.size);
	return 0;
}

/* Whether the guest can go on with image and not notice. */
int
tapdisk_vbd_check_fits(td_vbd_t *vbd, const td_image_t *image)
{
	const td_disk_info_t *shown = &vbd->disk_info;

	if (image->info.size >= shown->size && image->info.sector_size <= shown->sector_size)
		return 0;

	EPRINTF("VBD %u: %s has %llu sectors (logical %ld bytes), but the guest was shown %llu "
		"(%ld bytes)",
		vbd->minor, image->name, (unsigned long long)image->info.size,
		image->info.sector_size, (unsigned long long)shown->size, shown->sector_size);
	return -EMEDIUMTYPE;
}

int
tapdisk_vbd_resume(td_vbd_t *vbd, const char *name)
{
	td_image_t *image;
	char *copy;
	int err;

	if (tapdisk_vbd_check_busy(vbd))
		return -EBUSY;
	if (!(vbd->state & TD_VBD_PAUSED) || vbd->state & TD_VBD_SHUTDOWN_REQUESTED) {
		EPRINTF("VBD %u is not paused", vbd->minor);
		return -EINVAL;
	}

	copy = strdup(name ? name : vbd->name);
	if (!copy)
		return -ENOMEM;

	vbd->busy++;
	err = vbd_open_image(vbd, copy, vbd->flags | TD_OPEN_STRICT, &image);
	if (!err) {
		err = tapdisk_vbd_check_fits(vbd, image);
		if (!err && !name)
			err = tapdisk_vbd_check_same(vbd, image);
		if (err)
			tapdisk_image_close(image);
	}
	vbd->busy--;
	if (err) {
		free(copy);
		return err;
	}

	free(vbd->name);
	vbd->name = copy;
	vbd->image = image;
	vbd->state = 0;
	DPRINTF("VBD %u: resumed with %s", vbd->minor, copy);
	return 0;
}

int
tapdisk_vbd_get_disk_info(td_vbd_t *vbd, td_disk_info_t *info)
{
	if (!vbd->name)
		return -ENODEV;

	*info = vbd->disk_info;
	return 0;
}

/* --- requests ----------------------------------------------------------------- */

int
tapdisk_vbd_queue_request(td_vbd_t *vbd, td_vbd_request_t *vreq)
{
	if (!vbd->name || vbd->state & TD_VBD_SHUTDOWN_REQUESTED)
		return -ESHUTDOWN;

	vreq->vbd = vbd;
	vreq->issued = false;
	vreq->error = 0;
	vreq->secs_pending = 0;
	vreq->busy_since = 0;
	list_add_tail(&vreq->next, &vbd->new_requests);
	return 0;
}

void
tapdisk_vbd_abandon_request(td_vbd_t *vbd, td_vbd_request_t *vreq)
{
	vreq->unwanted = true;
	if (vreq->issued)
		return;
	vreq->issued = true;
	vreq->error = -ECANCELED;
	list_move_tail(&vreq->next, &vbd->completed_requests);
}

/* What a request's progress is counted in: sectors, and a flush is one. */
static td_sector_t
treq_units(const td_request_t *treq)
{
	return treq->op == TD_OP_FLUSH ? 1 : (td_sector_t)treq->secs;
}

/* Counts the sectors; 0, or -EINVAL for a request that no driver should see. */
static int
vreq_check(const td_vbd_t *vbd, const td_vbd_request_t *vreq, td_sector_t *secs)
{
	const td_disk_info_t *shown = &vbd->disk_info;
	td_sector_t logical = (td_sector_t)shown->sector_size >> SECTOR_SHIFT;

	*secs = 0;
	switch (vreq->op) {
	case TD_OP_FLUSH:
		*secs = 1;
		return 0;
	case TD_OP_READ:
	case TD_OP_WRITE:
		for (int i = 0; i < vreq->iovcnt; i++) {
			if (!vreq->iov[i].secs || vreq->iov[i].secs % logical)
				return -EINVAL;
			*secs += vreq->iov[i].secs;
		}
		break;
	case TD_OP_ZERO:
	case TD_OP_BLOCK_STATUS:
		*secs = vreq->secs;
		break;
	default:
		return -EINVAL;
	}

	if (!*secs || *secs > INT_MAX || *secs % logical || vreq->sec % logical ||
	    vreq->sec > shown->size || *secs > shown->size - vreq->sec)
		return -EINVAL;
	return 0;
}

/* Moves a request that has all its parts to those that are to be answered. */
static void
vreq_finish(td_vbd_request_t *vreq)
{
	if (!vreq->secs_pending)
		list_move_tail(&vreq->next, &vreq->vbd->completed_requests);
}

/* Keeps a part to issue it again; false if it has been kept too long. */
static bool
vbd_retry_later(td_vbd_t *vbd, const td_request_t *treq)
{
	int64_t now = scheduler_now();
	td_vbd_request_t *vreq = treq->vreq;
	struct vbd_retry *retry;

	if (!vreq->busy_since)
		vreq->busy_since = now;
	if (now - vreq->busy_since > vbd->req_timeout * INT64_C(1000000000))
		return false;

	retry = malloc(sizeof(*retry));
	if (!retry)
		return false;

	retry->treq = *treq;
	list_add_tail(&retry->link, &vbd->retries);
	return true;
}

/* An answer to a block status: extents come in order, without gaps. */
static int
vreq_status(td_vbd_request_t *vreq, const td_request_t *treq, int res)
{
	const bool enough = vreq->unwanted || vreq->flags & TD_REQ_ONE;
	int status = treq->status;

	/* What there is of an answer is one. */
	if (res == -ECANCELED && enough && vreq->secs_pending < vreq->secs)
		return 0;

	if (error_class(res) == ERROR_UNABLE) {
		/* Who does not know says that it is data. */
		status = TD_BLOCK_STATE_NONE;
		res = 0;
	}
	if (!res && treq->sec != vreq->sec + vreq->secs - vreq->secs_pending)
		res = -EIO;
	if (!res && !vreq->error && vreq->status_cb)
		vreq->status_cb(vreq, treq->sec, (td_sector_t)treq->secs, status);
	return res;
}

/* Whether the error is one that its front end has asked for. */
static bool
vreq_expects(const td_request_t *treq, int err)
{
	return (err == -ECANCELED && treq->vreq->unwanted) ||
	       (error_class(err) == ERROR_UNABLE && treq->flags & TD_REQ_DISCARD);
}

static void
vbd_complete_part(td_request_t treq, int res)
{
	td_vbd_request_t *vreq = treq.vreq;
	td_vbd_t *vbd = vreq->vbd;
	td_sector_t units = treq_units(&treq);

	if (error_class(res) == ERROR_BUSY && vbd_retry_later(vbd, &treq))
		return;

	/* More answers than questions: whose memory was it that was written? */
	if (units > vreq->secs_pending) {
		EPRINTF("%s: driver answered the same part of a request twice",
			treq.image->name);
		td_panic();
	}

	if (treq.op == TD_OP_BLOCK_STATUS)
		res = vreq_status(vreq, &treq, res);

	if (res) {
		if (!vreq_expects(&treq, res))
			tlog_drv_error(treq.image->driver, res,
				       "%s: %s of %d sectors at %llu: %s", treq.image->name,
				       vbd_op_names[treq.op], treq.secs,
				       (unsigned long long)treq.sec, strerror(-res));
		if (!vreq->error)
			vreq->error = res;
	} else if (treq.op == TD_OP_READ) {
		vbd->secs.rd += units;
	} else if (treq.op == TD_OP_WRITE || treq.op == TD_OP_ZERO) {
		vbd->secs.wr += units;
	}

	vreq->secs_pending -= units;
	vreq_finish(vreq);
}

static void
vbd_issue_part(td_vbd_t *vbd, td_request_t treq)
{
	switch (treq.op) {
	case TD_OP_READ:
		td_queue_read(vbd->image, treq);
		break;
	case TD_OP_WRITE:
		td_queue_write(vbd->image, treq);
		break;
	case TD_OP_BLOCK_STATUS:
		td_queue_block_status(vbd->image, &treq);
		break;
	case TD_OP_FLUSH:
		td_queue_flush(vbd->image, treq);
		break;
	case TD_OP_ZERO:
		td_queue_zero(vbd->image, treq);
		break;
	}
}

/* After its last part was issued, vreq may be the front end's again. */
static void
vbd_issue(td_vbd_t *vbd, td_vbd_request_t *vreq)
{
	td_request_t treq = {
		.op = vreq->op,
		.sec = vreq->sec,
		.cb = vbd_complete_part,
		.vreq = vreq,
		.flags = vreq->flags,
	};
	int parts = vreq->iovcnt;
	td_sector_t secs;

	vreq->issued = true;
	vreq->error = vreq_check(vbd, vreq, &secs);
	if (vreq->error) {
		list_move_tail(&vreq->next, &vbd->completed_requests);
		return;
	}

	list_move_tail(&vreq->next, &vbd->pending_requests);
	vreq->secs_pending = secs;

	if (vreq->op != TD_OP_READ && vreq->op != TD_OP_WRITE) {
		treq.secs = vreq->op == TD_OP_FLUSH ? 0 : (int)secs;
		vbd_issue_part(vbd, treq);
		return;
	}

	for (int i = 0; i < parts; i++) {
		treq.sidx = i;
		treq.buf = vreq->iov[i].base;
		treq.secs = (int)vreq->iov[i].secs;
		vbd_issue_part(vbd, treq);
		treq.sec += (td_sector_t)treq.secs;
	}
}

/* Whether new requests must wait. */
static bool
vbd_holds(const td_vbd_t *vbd)
{
	return !vbd->image || vbd->successor || vbd->closing || vbd->held ||
	       vbd->state & (TD_VBD_QUIESCE_REQUESTED | TD_VBD_QUIESCED);
}

static void
vbd_issue_retries(td_vbd_t *vbd)
{
	struct list_head retries;

	/* Those that fail again are for a later turn. */
	INIT_LIST_HEAD(&retries);
	while (!list_empty(&vbd->retries))
		list_move_tail(vbd->retries.next, &retries);

	while (!list_empty(&retries)) {
		struct vbd_retry *retry = list_entry(retries.next, struct vbd_retry, link);
		td_request_t treq = retry->treq;

		list_del(&retry->link);
		free(retry);
		if (td_request_wanted(&treq))
			vbd_issue_part(vbd, treq);
		else
			vbd_complete_part(treq, -ECANCELED);
	}
}

static void
vbd_issue_new(td_vbd_t *vbd)
{
	while (!list_empty(&vbd->new_requests) && !vbd_holds(vbd))
		vbd_issue(vbd, list_entry(vbd->new_requests.next, td_vbd_request_t, next));
}

/* Whether no other of the requests to be answered has that token. */
static int
vbd_is_final(td_vbd_t *vbd, const void *token)
{
	td_vbd_request_t *vreq;

	list_for_each_entry(vreq, &vbd->completed_requests, next)
		if (vreq->token == token)
			return 0;
	return 1;
}

static void
vbd_answer(td_vbd_t *vbd)
{
	while (!list_empty(&vbd->completed_requests)) {
		td_vbd_request_t *vreq =
			list_entry(vbd->completed_requests.next, td_vbd_request_t, next);

		list_del_init(&vreq->next);
		vreq->cb(vreq, vreq->error, vreq->token, vbd_is_final(vbd, vreq->token));
	}
}

/* --- pausing, closing, switching ---------------------------------------------- */

#define VBD_UNDER_WAY (TD_VBD_PAUSE_REQUESTED | TD_VBD_SHUTDOWN_REQUESTED)

/* Ends the pause or close that is under way. */
static void
vbd_done(td_vbd_t *vbd, int err)
{
	td_vbd_done_t done = vbd->done;

	vbd->done = NULL;
	if (done)
		done(vbd, err, vbd->token);
}

/* Lends the loop; requests are held, nothing is in flight. */
static int
vbd_close_image(td_vbd_t *vbd)
{
	int err;

	tapdisk_log_clear_error();
	vbd->closing = true;
	vbd->busy++;
	err = td_close(vbd->image);
	vbd->busy--;
	vbd->closing = false;

	if (!err) {
		tapdisk_image_free(vbd->image);
		vbd->image = NULL;
	} else if (!*tapdisk_log_first_error()) {
		EPRINTF("VBD %u: %s does not close: %s", vbd->minor, vbd->name, strerror(-err));
	}
	return err;
}

/* Whether the image can come back by its name. Lends the loop. */
static int
vbd_check_name(td_vbd_t *vbd)
{
	int err;

	vbd->busy++;
	err = vbd->any_name ? 0 : td_check_name(vbd->image);
	if (!err)
		vbd->paused = tapdisk_vbd_identify(vbd->image);
	vbd->busy--;
	return err;
}

static void
vbd_finish_pause(td_vbd_t *vbd)
{
	bool wanted;
	int err;

	vbd->state &= ~TD_VBD_QUIESCE_REQUESTED;
	vbd->state |= TD_VBD_QUIESCED;
	err = vbd_check_name(vbd);
	if (!err)
		err = vbd_close_image(vbd);
	wanted = vbd->state & TD_VBD_PAUSE_REQUESTED;
	vbd->state = err ? 0 : TD_VBD_CLOSED | TD_VBD_QUIESCED | TD_VBD_PAUSED;

	/* If it was cancelled meanwhile, nobody would ever resume it. */
	if (wanted)
		vbd_done(vbd, err);
	else if (!err && tapdisk_vbd_resume(vbd, NULL))
		EPRINTF("VBD %u: stays paused: the pause was cancelled, but %s cannot be "
			"opened "
			"again",
			vbd->minor, vbd->name);
}

static void
vbd_finish_close(td_vbd_t *vbd)
{
	int err;

	vbd->busy++;
	err = vbd->image ? vbd_close_image(vbd) : 0;
	if (err) {
		vbd->state &= ~TD_VBD_SHUTDOWN_REQUESTED;
		vbd->req_timeout = VBD_REQ_TIMEOUT;
	} else {
		DPRINTF("VBD %u: closed %s", vbd->minor, vbd->name);
		free(vbd->name);
		vbd->name = NULL;
		vbd->state = TD_VBD_CLOSED;
	}
	tapdisk_lost_unwatch(vbd);
	/* This may lend the loop as well. */
	vbd_done(vbd, err);
	vbd->busy--;
}

void
tapdisk_vbd_lost(td_vbd_t *vbd)
{
	vbd->busy++;
	vbd_done(vbd, 0);
	vbd->busy--;
}

/*
 * The successor serves from here on, also while the old image closes, which lends the
 * loop: the VBD may be gone afterwards.
 */
static void
vbd_switch(td_vbd_t *vbd)
{
	td_image_t *old = vbd->image;

	DPRINTF("VBD %u: goes on with %s in place of %s", vbd->minor, vbd->successor_name,
		vbd->name);
	vbd->image = vbd->successor;
	vbd->successor = NULL;
	free(vbd->name);
	vbd->name = vbd->successor_name;
	vbd->successor_name = NULL;

	tapdisk_image_close(old);
}

/* Whether a switch, a pause or a close can be done now. */
static bool
vbd_is_ready(const td_vbd_t *vbd)
{
	if (vbd->busy || !list_empty(&vbd->pending_requests) ||
	    !list_empty(&vbd->completed_requests))
		return false;

	return vbd->successor || vbd->state & TD_VBD_PAUSE_REQUESTED ||
	       (vbd->state & TD_VBD_SHUTDOWN_REQUESTED && list_empty(&vbd->new_requests));
}

int
tapdisk_vbd_pause(td_vbd_t *vbd, bool any_name, td_vbd_done_t done, void *token)
{
	int err;

	if (tapdisk_vbd_check_busy(vbd))
		return -EBUSY;
	if (!vbd->name) {
		EPRINTF("VBD %u is not open", vbd->minor);
		return -EINVAL;
	}
	if (vbd->state & VBD_UNDER_WAY) {
		EPRINTF("VBD %u is being paused or closed", vbd->minor);
		return -EBUSY;
	}

	if (vbd->state & TD_VBD_PAUSED) {
		done(vbd, 0, token);
		return 0;
	}

	/* Before anything is held; and again before it is closed. */
	vbd->any_name = any_name;
	err = vbd_check_name(vbd);
	if (err)
		return err;
	tapdisk_vbd_lose_claim(vbd);
	vbd->state |= TD_VBD_PAUSE_REQUESTED | TD_VBD_QUIESCE_REQUESTED;
	vbd->done = done;
	vbd->token = token;
	return 0;
}

void
tapdisk_vbd_cancel_pause(td_vbd_t *vbd)
{
	if (!(vbd->state & TD_VBD_PAUSE_REQUESTED))
		return;

	DPRINTF("VBD %u: pause cancelled", vbd->minor);
	vbd->state &= ~(TD_VBD_PAUSE_REQUESTED | TD_VBD_QUIESCE_REQUESTED);
	vbd->done = NULL;
}

/* Fails all requests that are held. */
static void
vbd_refuse_new(td_vbd_t *vbd)
{
	while (!list_empty(&vbd->new_requests)) {
		td_vbd_request_t *vreq =
			list_entry(vbd->new_requests.next, td_vbd_request_t, next);

		vreq->issued = true;
		vreq->error = -ESHUTDOWN;
		list_move_tail(&vreq->next, &vbd->completed_requests);
	}
}

/* The close is under way: from now on it waits for nothing but requests with the driver. */
static int
vbd_force(td_vbd_t *vbd)
{
	int err = vbd->image ? tapdisk_lost_watch(vbd) : 0;

	if (err)
		EPRINTF("VBD %u: is closed once its disk answers, however long that takes: %s",
			vbd->minor, strerror(-err));
	vbd->req_timeout = 0;
	vbd_refuse_new(vbd);
	return 0;
}

int
tapdisk_vbd_close(td_vbd_t *vbd, bool force, td_vbd_done_t done, void *token)
{
	/* A start ends without its claim, and the close goes on then. */
	if (!tapdisk_vbd_may_close(vbd) && tapdisk_vbd_check_busy(vbd))
		return -EBUSY;
	if (!vbd->name) {
		EPRINTF("VBD %u is not open", vbd->minor);
		return -EINVAL;
	}
	if (vbd->state & TD_VBD_SHUTDOWN_REQUESTED)
		return force ? vbd_force(vbd) : 0;
	if (vbd->state & VBD_UNDER_WAY && !force) {
		EPRINTF("VBD %u is being paused or closed", vbd->minor);
		return -EBUSY;
	}

	if (vbd->state & TD_VBD_PAUSE_REQUESTED) {
		vbd->state &= ~(TD_VBD_PAUSE_REQUESTED | TD_VBD_QUIESCE_REQUESTED);
		vbd_done(vbd, -ECANCELED);
	}

	tapdisk_vbd_lose_claim(vbd);
	vbd->state |= TD_VBD_SHUTDOWN_REQUESTED;
	vbd->done = done;
	vbd->token = token;
	if (force)
		return vbd_force(vbd);
	if (!vbd->image)
		vbd_refuse_new(vbd);
	return 0;
}

int
tapdisk_vbd_replace_image(td_driver_t *old, td_image_t *successor, const char *name)
{
	td_vbd_t *vbd;
	char *copy;

	list_for_each_entry(vbd, tapdisk_server_get_all_vbds(), next)
		if (vbd->image && vbd->image->driver == old)
			break;
	if (&vbd->next == tapdisk_server_get_all_vbds())
		return -ENOENT;

	if (vbd->closing || vbd->successor)
		return -EBUSY;
	if (tapdisk_vbd_check_fits(vbd, successor))
		return -EINVAL;

	copy = strdup(name);
	if (!copy)
		return -ENOMEM;

	vbd->successor = successor;
	vbd->successor_name = copy;
	return 0;
}

/* --- the loop, and what it tells ---------------------------------------------- */

void
tapdisk_vbd_run(td_vbd_t *vbd)
{
	vbd_issue_retries(vbd);
	vbd_issue_new(vbd);
	vbd_answer(vbd);

	if (!vbd_is_ready(vbd))
		return;
	if (vbd->successor)
		vbd_switch(vbd);
	else if (vbd->state & TD_VBD_SHUTDOWN_REQUESTED)
		vbd_finish_close(vbd);
	else
		vbd_finish_pause(vbd);
}

bool
tapdisk_vbd_has_work(const td_vbd_t *vbd)
{
	return !list_empty(&vbd->completed_requests) || vbd_is_ready(vbd) ||
	       (!list_empty(&vbd->new_requests) && !vbd_holds(vbd));
}

static unsigned int
vbd_outstanding(const td_vbd_t *vbd)
{
	const struct list_head *const queues[] = { &vbd->new_requests, &vbd->pending_requests,
						   &vbd->completed_requests };
	unsigned int n = 0;

	for (size_t i = 0; i < sizeof(queues) / sizeof(*queues); i++)
		for (const struct list_head *at = queues[i]->next; at != queues[i];
		     at = at->next)
			n++;
	return n;
}

/* The names and types of these are what xapi parses. */
void
tapdisk_vbd_stats(td_vbd_t *vbd, td_stats_t *st)
{
	tapdisk_stats_enter(st, '{');
	tapdisk_stats_field(st, "name", "s", vbd->name ? vbd->name : "");

	tapdisk_stats_field(st, "secs", "[");
	tapdisk_stats_val(st, "llu", (unsigned long long)vbd->secs.rd);
	tapdisk_stats_val(st, "llu", (unsigned long long)vbd->secs.wr);
	tapdisk_stats_leave(st, ']');

	tapdisk_stats_field(st, "images", "[");
	if (vbd->image && !vbd->closing)
		tapdisk_image_stats(vbd->image, st);
	tapdisk_stats_leave(st, ']');

	tapdisk_stats_field(st, "FIXME_enospc_redirect_count", "d", 0);
	tapdisk_stats_field(st, "nbd_mirror_failed", "d", 0);
	tapdisk_stats_field(st, "reqs_outstanding", "u", vbd_outstanding(vbd));
	tapdisk_stats_field(st, "read_caching", "s", "false");
	tapdisk_stats_leave(st, '}');
}

void
tapdisk_vbd_debug(td_vbd_t *vbd)
{
	DPRINTF("VBD %u: %s, state %#x, %u requests outstanding, %llu sectors read, %llu "
		"written",
		vbd->minor, vbd->name ? vbd->name : "closed", vbd->state, vbd_outstanding(vbd),
		(unsigned long long)vbd->secs.rd, (unsigned long long)vbd->secs.wr);
	if (vbd->image && !vbd->closing)
		td_debug(vbd->image);
}
