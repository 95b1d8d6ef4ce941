/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-nbd-request.h"

#include <errno.h>
#include <stdlib.h>

/* Requests for the next who needs one: as many as there ever were at once. */
static struct list_head idle = { &idle, &idle };

static void vbd_answered(td_vbd_request_t *vreq, int error, void *token, int final);

size_t
nbd_request_buffer(const struct nbd_command *cmd)
{
	switch (cmd->type) {
	case NBD_CMD_READ:
	case NBD_CMD_WRITE:
		return cmd->length;
	case NBD_CMD_BLOCK_STATUS:
		return NBD_MAX_EXTENTS * NBD_EXTENT_SIZE;
	default:
		return 0;
	}
}

struct nbd_request *
nbd_request_get(struct nbd_account *account, size_t size)
{
	struct nbd_request *req;

	if (list_empty(&idle)) {
		req = calloc(1, sizeof(*req));
		if (!req)
			return NULL;
	} else {
		req = list_entry(idle.next, struct nbd_request, next);
		list_del(&req->next);
	}
	INIT_LIST_HEAD(&req->next);
	req->account = account;
	req->head_len = 0;
	req->reply_len = 0;
	req->buffer = size ? nbd_memory_get(account, size) : NULL;
	req->buffer_size = req->buffer ? size : 0;
	return req;
}

void
nbd_request_put(struct nbd_request *req)
{
	if (req->buffer)
		nbd_memory_put(req->account, req->buffer, req->buffer_size);
	list_add(&req->next, &idle);
}

void
nbd_request_trim(void)
{
	struct nbd_request *req, *tmp;

	list_for_each_entry_safe(req, tmp, &idle, next)
		free(req);
	INIT_LIST_HEAD(&idle);
	nbd_memory_trim();
}

void
nbd_request_finish(struct nbd_request *req, uint32_t error)
{
	req->reply_len = 0;
	if (!error && req->cmd.type == NBD_CMD_READ)
		req->reply_len = req->cmd.length;
	if (!error && req->cmd.type == NBD_CMD_BLOCK_STATUS)
		req->reply_len = req->extents.count * NBD_EXTENT_SIZE;
	req->head_len = nbd_reply_head(req->head, req->hs, &req->cmd, error, req->reply_len);
}

static void
vbd_tells_extent(td_vbd_request_t *vreq, td_sector_t sec, td_sector_t secs, int status)
{
	struct nbd_request *req = list_entry(vreq, struct nbd_request, vreq);
	const uint32_t state = (status & TD_BLOCK_STATE_HOLE ? NBD_STATE_HOLE : 0) |
			       (status & TD_BLOCK_STATE_ZERO ? NBD_STATE_ZERO : 0);

	nbd_extents_add(&req->extents, (sec << SECTOR_SHIFT) - req->cmd.offset,
			secs << SECTOR_SHIFT, state);
	vreq->unwanted |= req->extents.full || ++req->runs >= NBD_MAX_RUNS;
}

/* What the VBD is to do otherwise than usually: TD_REQ_. */
static int
request_flags(const struct nbd_command *cmd)
{
	return (cmd->flags & NBD_CMD_FLAG_NO_HOLE ? TD_REQ_NO_HOLE : 0) |
	       (cmd->flags & NBD_CMD_FLAG_REQ_ONE ? TD_REQ_ONE : 0) |
	       (cmd->type == NBD_CMD_TRIM ? TD_REQ_DISCARD : 0);
}

/* Hands the request to the VBD as an op, TD_OP_FLUSH being about all of the disk. 0 or -errno.
 */
static int
queue(struct nbd_request *req, td_vbd_t *vbd, int op, void *token)
{
	const struct nbd_command *cmd = &req->cmd;
	const td_sector_t secs = cmd->length >> SECTOR_SHIFT;
	const bool has_data = op == TD_OP_READ || op == TD_OP_WRITE;

	req->iov = (struct td_iovec){ .base = req->buffer, .secs = secs };
	req->vreq = (td_vbd_request_t){
		.op = op,
		.flags = request_flags(cmd),
		.sec = op == TD_OP_FLUSH ? 0 : cmd->offset >> SECTOR_SHIFT,
		.secs = op == TD_OP_FLUSH || has_data ? 0 : secs,
		.iov = has_data ? &req->iov : NULL,
		.iovcnt = has_data,
		.cb = vbd_answered,
		.status_cb = vbd_tells_extent,
		.token = token,
		.data = vbd,
		.name = "nbd",
	};
	return tapdisk_vbd_queue_request(vbd, &req->vreq);
}

bool
nbd_request_submit(struct nbd_request *req, td_vbd_t *vbd, void *token)
{
	static const int ops[] = {
		[NBD_CMD_READ] = TD_OP_READ,
		[NBD_CMD_WRITE] = TD_OP_WRITE,
		[NBD_CMD_FLUSH] = TD_OP_FLUSH,
		[NBD_CMD_TRIM] = TD_OP_ZERO,
		[NBD_CMD_WRITE_ZEROES] = TD_OP_ZERO,
		[NBD_CMD_BLOCK_STATUS] = TD_OP_BLOCK_STATUS,
	};
	int err;

	req->runs = 0;
	req->extents = (struct nbd_extents){
		.wire = req->buffer,
		.max = req->cmd.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : NBD_MAX_EXTENTS,
	};
	err = queue(req, vbd, ops[req->cmd.type], token);
	if (err)
		nbd_request_finish(req, nbd_error(err));
	return !err;
}

/* Whether, of FUA, only the write has been done. */
static bool
lacks_flush(const struct nbd_request *req)
{
	const bool wrote = req->vreq.op == TD_OP_WRITE || req->vreq.op == TD_OP_ZERO;

	return wrote && (req->cmd.flags & NBD_CMD_FLAG_FUA) && !req->vreq.unwanted;
}

static void
vbd_answered(td_vbd_request_t *vreq, int error, void *token, int final)
{
	struct nbd_request *req = list_entry(vreq, struct nbd_request, vreq);
	bool more = false;

	/* A trim promises nothing. */
	if (error == -EOPNOTSUPP && req->cmd.type == NBD_CMD_TRIM)
		error = 0;
	if (!error && lacks_flush(req)) {
		error = queue(req, vreq->data, TD_OP_FLUSH, token);
		more = !error;
	}
	if (!more)
		nbd_request_finish(req, nbd_error(error));
	req->answered(req, !more, final);
}

void
nbd_request_abandon(struct nbd_request *req, bool promised)
{
	const bool changes = req->cmd.type != NBD_CMD_READ &&
			     req->cmd.type != NBD_CMD_BLOCK_STATUS &&
			     req->cmd.type != NBD_CMD_TRIM;

	if (!promised || !changes)
		tapdisk_vbd_abandon_request(req->vreq.data, &req->vreq);
}
