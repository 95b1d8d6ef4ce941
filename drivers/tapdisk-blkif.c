/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests are taken from the ring as they come, and are the VBD's until answered. A
 * write's data is copied from the guest when it is taken, a read's to the guest when
 * it is answered. Answers are shown to the guest, with one event, when the VBD has
 * given all it has, or when nothing more can be taken.
 */
#include "tapdisk-blkif.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tapdisk-inflight.h"
#include "tapdisk-log.h"
#include "tapdisk-loop.h"
#include "tapdisk-server.h"
#include "timeout-math.h"

#define BLKIF_BUFFER_SIZE ((size_t)RING_MAX_SEGMENTS * RING_PAGE_SIZE)
/* A guest's discard may be of all its disk. It is done in pieces of 1 GiB, in sectors. */
#define BLKIF_DISCARD_PIECE ((uint64_t)1 << 21)

enum blkif_state {
	BLKIF_CONNECTED,
	BLKIF_BROKEN,	    /* the guest broke the protocol: it has no ring any more */
	BLKIF_DISCONNECTED, /* freed when the VBD has answered all */
};

/* What a barrier waits for. */
enum barrier_step {
	BARRIER_DRAIN, /* requests before it */
	BARRIER_FLUSH_BEFORE,
	BARRIER_WRITE,
	BARRIER_FLUSH_AFTER,
};

struct blkif_request {
	struct list_head next; /* blkif->idle or answered */
	struct inflight_slot *slot;
	struct ring_request *ring; /* in the slot */
	void *buffer;		   /* BLKIF_BUFFER_SIZE */
	uint64_t discarded;	   /* sectors, of a discard */
	struct td_iovec iov;
	td_vbd_request_t vreq;
};

struct tapdisk_blkif {
	td_vbd_t *vbd;
	enum blkif_state state;
	struct blkif_config config;
	struct ring_disk disk;

	struct ring ring;
	struct blkif_guest *guest; /* NULL unless connected */
	event_id_t event;
	bool again; /* there is more on the ring, for the next turn */

	struct blkif_request *requests; /* one for each entry */
	struct inflight inflight;	/* their slots */
	void *buffers;
	struct list_head idle;
	struct list_head answered; /* and not yet shown to the guest */
	unsigned int in_flight;

	struct blkif_request *barrier; /* nothing is taken while there is one */
	enum barrier_step barrier_step;

	/* What the guest has asked for and could have, for the log. */
	unsigned long long asked[BLKIF_OP_DISCARD + 1]; /* by BLKIF_OP_ */
	unsigned int most_segments;
};

static void blkif_run(struct tapdisk_blkif *blkif);
static void request_answered(td_vbd_request_t *vreq, int error, void *token, int final);

/* --- its life -------------------------------------------------------------------- */

static void
blkif_free(struct tapdisk_blkif *blkif)
{
	if (blkif->buffers)
		munmap(blkif->buffers, blkif->ring.entries * BLKIF_BUFFER_SIZE);
	free(blkif->requests);
	inflight_close(&blkif->inflight);
	free(blkif);
}

/* Nothing is done any more that only the guest would have had something of. */
static void
blkif_abandon(struct tapdisk_blkif *blkif)
{
	for (unsigned int i = 0; i < blkif->ring.entries; i++) {
		struct blkif_request *req = &blkif->requests[i];

		if (req->slot->state == INFLIGHT_TAKEN &&
		    (req->ring->op == BLKIF_OP_READ || req->ring->op == BLKIF_OP_DISCARD))
			tapdisk_vbd_abandon_request(blkif->vbd, &req->vreq);
	}
}

/* The guest's memory is not touched any more. */
static void
blkif_leave_guest(struct tapdisk_blkif *blkif, enum blkif_state state)
{
	blkif->state = state;
	if (!blkif->guest)
		return;
	blkif_abandon(blkif);
	tapdisk_server_unregister_event(blkif->event);
	blkif->guest->ops->close(blkif->guest);
	blkif->guest = NULL;
}

static void
blkif_break(struct tapdisk_blkif *blkif, const char *why)
{
	struct log_limit *limit = tapdisk_log_limit(&blkif->vbd->guest_log);

	EPRINTF("domain %u, device %u: disconnected: %s", blkif->config.ring.domid,
		blkif->config.ring.devid, why);
	tapdisk_log_limit(limit);
	blkif_leave_guest(blkif, BLKIF_BROKEN);
}

static void
blkif_free_if_over(struct tapdisk_blkif *blkif)
{
	if (blkif->state != BLKIF_DISCONNECTED || blkif->in_flight)
		return;
	blkif->vbd->blkif = NULL;
	blkif_free(blkif);
}

/* --- requests -------------------------------------------------------------------- */

static int
blkif_status(int err)
{
	return !err		    ? BLKIF_RSP_OKAY
	       : err == -EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP
				    : BLKIF_RSP_ERROR;
}

/* Between the guest's segments and the request's buffer. 0 or -errno. */
static int
request_copy(struct tapdisk_blkif *blkif, struct blkif_request *req, bool to_guest)
{
	struct blkif_copy copies[RING_MAX_SEGMENTS];
	char *at = req->buffer;

	for (unsigned int i = 0; i < req->ring->n_segments; i++) {
		const struct ring_segment *seg = &req->ring->segments[i];
		const unsigned int secs = seg->last_sect - seg->first_sect + 1;

		copies[i] = (struct blkif_copy){
			.gref = seg->gref,
			.offset = (uint16_t)(seg->first_sect << SECTOR_SHIFT),
			.len = (uint16_t)(secs << SECTOR_SHIFT),
			.local = at,
		};
		at += copies[i].len;
	}
	return blkif->guest->ops->copy(blkif->guest, copies, req->ring->n_segments, to_guest);
}

static void
request_answer(struct tapdisk_blkif *blkif, struct blkif_request *req, int status)
{
	inflight_answer(req->slot, blkif->ring.rsp_prod, status);
	ring_put(&blkif->ring, req->ring, status);
	list_add(&req->next, &blkif->answered);
}

static void
request_finish(struct tapdisk_blkif *blkif, struct blkif_request *req, int err)
{
	if (blkif->barrier == req)
		blkif->barrier = NULL;
	blkif->in_flight--;
	if (!blkif->guest) /* it is never taken again */
		return;
	if (!err && req->ring->op == BLKIF_OP_READ)
		err = request_copy(blkif, req, true);
	request_answer(blkif, req, blkif_status(err));
}

/* 0; or -errno, and the request is the caller's to finish. */
static int
request_queue(struct tapdisk_blkif *blkif, struct blkif_request *req, int op)
{
	const bool has_data = op == TD_OP_READ || op == TD_OP_WRITE;
	const uint64_t rest = req->ring->sectors - req->discarded;

	req->iov = (struct td_iovec){ req->buffer, (unsigned int)req->ring->sectors };
	req->vreq = (td_vbd_request_t){
		.op = op,
		.flags = op == TD_OP_ZERO ? TD_REQ_DISCARD : 0,
		.sec = op == TD_OP_FLUSH ? 0 : req->ring->sector + req->discarded,
		.secs = op != TD_OP_ZERO	     ? 0
			: rest < BLKIF_DISCARD_PIECE ? rest
						     : BLKIF_DISCARD_PIECE,
		.iov = has_data ? &req->iov : NULL,
		.iovcnt = has_data,
		.cb = request_answered,
		.token = blkif,
		.name = "ring",
	};
	return tapdisk_vbd_queue_request(blkif->vbd, &req->vreq);
}

/* A piece of the request is done. Whether there is another, and the guest still there. */
static bool
request_goes_on(struct tapdisk_blkif *blkif, struct blkif_request *req)
{
	if (req->ring->op != BLKIF_OP_DISCARD || !blkif->guest)
		return false;
	req->discarded += req->vreq.secs;
	return req->discarded < req->ring->sectors;
}

/* What the barrier waited for is there, well or badly. */
static void
barrier_advance(struct tapdisk_blkif *blkif, int err)
{
	struct blkif_request *req = blkif->barrier;

	if (blkif->barrier_step == BARRIER_DRAIN && blkif->in_flight > 1)
		return;
	if (!err && blkif->barrier_step != BARRIER_FLUSH_AFTER &&
	    (blkif->barrier_step != BARRIER_FLUSH_BEFORE || req->ring->n_segments)) {
		const bool write = ++blkif->barrier_step == BARRIER_WRITE;

		err = request_queue(blkif, req, write ? TD_OP_WRITE : TD_OP_FLUSH);
		if (!err)
			return;
	}
	request_finish(blkif, req, err);
}

/* Called by the VBD. The last answer of a batch has the guest told. */
static void
request_answered(td_vbd_request_t *vreq, int error, void *token, int final)
{
	struct blkif_request *req = list_entry(vreq, struct blkif_request, vreq);
	struct tapdisk_blkif *blkif = token;
	const bool more = !error && request_goes_on(blkif, req);

	if (more)
		error = request_queue(blkif, req, TD_OP_ZERO);
	if (req == blkif->barrier) {
		barrier_advance(blkif, error);
	} else if (error || !more) {
		request_finish(blkif, req, error);
		if (blkif->barrier)
			barrier_advance(blkif, 0);
	}
	if (final && blkif->guest)
		blkif_run(blkif);
	blkif_free_if_over(blkif);
}

/* Checks the request, and gets what else it has in the guest's memory. 0 or -errno. */
static int
request_fetch(struct tapdisk_blkif *blkif, struct blkif_request *req)
{
	struct ring_request *ring = req->ring;
	int err = ring_request_check_head(ring, &blkif->disk);

	if (!err && ring->indirect) {
		const struct blkif_copy segments = {
			.gref = ring->indirect_gref,
			.len = (uint16_t)(ring->n_segments * sizeof(ring->segments[0])),
			.local = ring->segments,
		};

		err = blkif->guest->ops->copy(blkif->guest, &segments, 1, false);
	}
	if (!err)
		err = ring_request_check(ring, &blkif->disk);
	if (!err && ring->n_segments && ring->op != BLKIF_OP_READ)
		err = request_copy(blkif, req, false);
	return err;
}

static void
request_start(struct tapdisk_blkif *blkif, struct blkif_request *req)
{
	/* A guest's discard is a write of zeroes that may unmap. */
	static const int ops[] = {
		[BLKIF_OP_READ] = TD_OP_READ,
		[BLKIF_OP_WRITE] = TD_OP_WRITE,
		[BLKIF_OP_FLUSH_DISKCACHE] = TD_OP_FLUSH,
		[BLKIF_OP_DISCARD] = TD_OP_ZERO,
	};
	int err = request_fetch(blkif, req);

	if (err) {
		request_finish(blkif, req, err);
		return;
	}
	req->discarded = 0;
	blkif->asked[req->ring->op]++;
	if (blkif->most_segments < req->ring->n_segments)
		blkif->most_segments = req->ring->n_segments;
	if (req->ring->op == BLKIF_OP_WRITE_BARRIER) {
		blkif->barrier = req;
		blkif->barrier_step = BARRIER_DRAIN;
		barrier_advance(blkif, 0);
	} else {
		err = request_queue(blkif, req, ops[req->ring->op]);
		if (err)
			request_finish(blkif, req, err);
	}
}

/* --- the ring -------------------------------------------------------------------- */

/* Takes a request from the ring. As ring_get(). */
static int
blkif_take(struct tapdisk_blkif *blkif)
{
	/* There is one if there is a request: the ring holds all whose answers are not seen. */
	struct blkif_request *req = list_entry(blkif->idle.next, struct blkif_request, next);
	const int got = ring_get(&blkif->ring, req->ring);

	if (got > 0) {
		inflight_take(req->slot);
		list_del(&req->next);
		blkif->in_flight++;
		request_start(blkif, req);
	}
	return got;
}

static void
blkif_push(struct tapdisk_blkif *blkif)
{
	int err = ring_push(&blkif->ring) ? blkif->guest->ops->notify(blkif->guest) : 0;

	while (!list_empty(&blkif->answered)) {
		struct blkif_request *req =
			list_entry(blkif->answered.next, struct blkif_request, next);

		inflight_free(req->slot);
		list_del(&req->next);
		list_add(&req->next, &blkif->idle);
	}
	if (err)
		blkif_break(blkif, strerror(-err));
}

/*
 * Takes what is on the ring, but no more than fits on it at once, whatever the guest
 * adds meanwhile: others want their turn. Then shows the answers.
 */
static void
blkif_run(struct tapdisk_blkif *blkif)
{
	unsigned int n = 0;
	bool again;
	int got;

	do {
		got = blkif->barrier ? 0 : blkif_take(blkif);
	} while (got > 0 && ++n < blkif->ring.entries);
	if (got < 0) {
		blkif_break(blkif, "more requests than its ring holds");
		return;
	}

	/* What stays behind a barrier is taken when that is done. */
	again = !blkif->barrier && !ring_wait(&blkif->ring);
	if (again != blkif->again)
		tapdisk_server_event_set_timeout(blkif->event, again ? TV_ZERO : TV_INF);
	blkif->again = again;
	blkif_push(blkif);
}

static void
blkif_event(event_id_t id, char mode, void *private)
{
	struct tapdisk_blkif *blkif = private;
	int err = 0;

	if (mode & SCHEDULER_POLL_READ_FD)
		err = blkif->guest->ops->acknowledge(blkif->guest);
	if (err)
		blkif_break(blkif, strerror(-err));
	else
		blkif_run(blkif);
}

/* --- connecting ------------------------------------------------------------------ */

/* 0 or -ENOMEM. */
static int
blkif_allocate(struct tapdisk_blkif *blkif)
{
	const unsigned int entries = blkif->ring.entries;
	void *buffers;

	blkif->requests = calloc(entries, sizeof(*blkif->requests));
	if (!blkif->requests)
		return -ENOMEM;
	buffers = mmap(NULL, entries * BLKIF_BUFFER_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffers == MAP_FAILED)
		return -ENOMEM;
	blkif->buffers = buffers;
	for (unsigned int i = 0; i < entries; i++) {
		struct blkif_request *req = &blkif->requests[i];

		req->buffer = (char *)buffers + i * BLKIF_BUFFER_SIZE;
		req->slot = &blkif->inflight.slots[i];
		req->ring = &req->slot->request;
		if (req->slot->state == INFLIGHT_FREE)
			list_add_tail(&req->next, &blkif->idle);
	}
	return 0;
}

static void
request_restart(struct tapdisk_blkif *blkif, struct blkif_request *req)
{
	if (req->ring->op != BLKIF_OP_DISCARD)
		req->ring->sectors = 0; /* added up again */
	request_start(blkif, req);
}

/*
 * Takes up what a tapdisk before us has left. The guest has seen no answer to any of it,
 * so doing again what may have been done is right, in any order; but a barrier, of which
 * there is one at most since nothing is taken behind it, comes last.
 */
static void
blkif_resume(struct tapdisk_blkif *blkif)
{
	struct blkif_request *barrier = NULL;

	for (unsigned int i = 0; i < blkif->ring.entries; i++)
		blkif->in_flight += blkif->requests[i].slot->state == INFLIGHT_TAKEN;
	for (unsigned int i = 0; i < blkif->ring.entries; i++) {
		struct blkif_request *req = &blkif->requests[i];

		if (req->slot->state == INFLIGHT_ANSWERED)
			request_answer(blkif, req, req->slot->status);
		else if (req->slot->state == INFLIGHT_TAKEN &&
			 req->ring->op == BLKIF_OP_WRITE_BARRIER)
			barrier = req;
		else if (req->slot->state == INFLIGHT_TAKEN)
			request_restart(blkif, req);
	}
	if (barrier)
		request_restart(blkif, barrier);
}

int
tapdisk_blkif_connect(td_vbd_t *vbd, const struct blkif_config *config,
		      struct blkif_guest *guest)
{
	struct tapdisk_blkif *blkif;
	unsigned int unanswered;
	td_disk_info_t info;
	int err = tapdisk_vbd_get_disk_info(vbd, &info);

	if (err)
		return err;
	blkif = calloc(1, sizeof(*blkif));
	if (!blkif)
		return -ENOMEM;
	INIT_LIST_HEAD(&blkif->idle);
	INIT_LIST_HEAD(&blkif->answered);
	blkif->vbd = vbd;
	blkif->config = *config;
	blkif->guest = guest;
	blkif->disk = (struct ring_disk){
		.sectors = info.size,
		.block = (uint32_t)(info.sector_size >> SECTOR_SHIFT),
		.readonly = config->readonly || (info.info & TD_INFO_READONLY),
	};
	ring_init(&blkif->ring, guest->ring, guest->pages, config->ring.protocol);
	tapdisk_loop_lend();
	err = inflight_open(&blkif->inflight, config->inflight, &config->ring,
			    blkif->ring.entries);
	tapdisk_loop_take_back();
	if (err) {
		EPRINTF("%s: %s", config->inflight, strerror(-err));
		goto fail;
	}
	unanswered = inflight_settle(&blkif->inflight, blkif->ring.rsp_prod);
	ring_skip(&blkif->ring, unanswered);

	err = blkif_allocate(blkif);
	if (err)
		goto fail;
	/* The first turn looks at the ring: an event may have been sent before. */
	blkif->again = true;
	blkif->event =
		tapdisk_server_register_event(SCHEDULER_POLL_READ_FD | SCHEDULER_POLL_TIMEOUT,
					      guest->fd, TV_ZERO, blkif_event, blkif);
	if (blkif->event < 0) {
		err = blkif->event;
		goto fail;
	}
	vbd->blkif = blkif;
	DPRINTF("domain %u, device %u: connected to minor %u, a ring of %u entries, %u of "
		"them unanswered",
		config->ring.domid, config->ring.devid, vbd->minor, blkif->ring.entries,
		unanswered);
	blkif_resume(blkif);
	/* Whoever served the ring before may have died between an answer and its event. */
	if (blkif->ring.pushed)
		guest->ops->notify(guest);
	return 0;
fail:
	blkif_free(blkif);
	return err;
}

bool
tapdisk_blkif_is(const struct tapdisk_blkif *blkif, uint32_t domid, uint32_t devid)
{
	return blkif && blkif->state != BLKIF_DISCONNECTED &&
	       blkif->config.ring.domid == domid && blkif->config.ring.devid == devid;
}

const struct inflight_ring *
tapdisk_blkif_ring(const struct tapdisk_blkif *blkif)
{
	return &blkif->config.ring;
}

/* Removes the file; until it is gone the VBD gets no other ring, which would have the same. */
static void
blkif_forget(struct tapdisk_blkif *blkif)
{
	struct inflight removed = { .path = blkif->inflight.path };
	td_vbd_t *vbd = blkif->vbd;

	blkif->inflight.path = NULL;
	blkif->in_flight++;
	vbd->busy++;
	tapdisk_loop_lend();
	inflight_remove(&removed);
	tapdisk_loop_take_back();
	vbd->busy--;
	blkif->in_flight--;
}

void
tapdisk_blkif_disconnect(struct tapdisk_blkif *blkif)
{
	if (!blkif)
		return;
	DPRINTF("domain %u, device %u: disconnected; served %llu reads, %llu writes, %llu "
		"barriers, "
		"%llu flushes, %llu discards, of up to %u pages",
		blkif->config.ring.domid, blkif->config.ring.devid, blkif->asked[BLKIF_OP_READ],
		blkif->asked[BLKIF_OP_WRITE], blkif->asked[BLKIF_OP_WRITE_BARRIER],
		blkif->asked[BLKIF_OP_FLUSH_DISKCACHE], blkif->asked[BLKIF_OP_DISCARD],
		blkif->most_segments);
	blkif_leave_guest(blkif, BLKIF_DISCONNECTED);
	blkif_forget(blkif);
	blkif_free_if_over(blkif);
}
