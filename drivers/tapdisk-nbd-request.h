/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-nbd-request.h - an NBD command, from its arrival to its reply
 *
 * A command becomes a request of the VBD, and the VBD's answer a reply.
 */
#ifndef TAPDISK_NBD_REQUEST_H
#define TAPDISK_NBD_REQUEST_H

#include "tapdisk-nbd-memory.h"
#include "tapdisk-nbd-proto.h"
#include "tapdisk-vbd.h"

/* Of a block status' answer; clients ask again for what is left out. */
#define NBD_MAX_EXTENTS 512
/* And of what it may cost: runs of the disk that are looked at for one answer. */
#define NBD_MAX_RUNS (2 * NBD_MAX_EXTENTS)

struct nbd_request {
	struct list_head next; /* its owner's, and not on any list at first */
	void *owner;	       /* the same */
	struct nbd_account *account;
	const struct nbd_handshake *hs;
	struct nbd_command cmd;
	uint32_t error; /* of a write that is refused when its payload has arrived */

	/* The reply is head, then reply_len bytes of buffer. */
	uint8_t head[NBD_REPLY_HEAD_MAX];
	size_t head_len;
	uint8_t *buffer;
	size_t buffer_size;
	size_t reply_len;

	/*
	 * The VBD has answered. ready: the reply is; otherwise the VBD has more to do.
	 * final: no other answer with the same token follows at once.
	 */
	void (*answered)(struct nbd_request *req, bool ready, bool final);
	struct nbd_extents extents;
	unsigned int runs; /* that the extents were made of */
	struct td_iovec iov;
	td_vbd_request_t vreq;
};

/* Bytes of buffer that a command needs which nbd_command_check() has passed. */
size_t nbd_request_buffer(const struct nbd_command *cmd);

/*
 * A request with a buffer of size bytes, which have been admitted; the buffer is NULL where
 * size is 0 or too much for the system. NULL if not even the request can be had.
 */
struct nbd_request *nbd_request_get(struct nbd_account *account, size_t size);
void nbd_request_put(struct nbd_request *req);

/* Makes the reply to req->cmd. error: an NBD_E, or 0. */
void nbd_request_finish(struct nbd_request *req, uint32_t error);

/*
 * Has the VBD do req->cmd; token is what all requests have in common that are answered
 * together. True, and answered() will be called; or false, and the reply is ready at once.
 */
bool nbd_request_submit(struct nbd_request *req, td_vbd_t *vbd, void *token);

/*
 * Nobody waits for the answer to req, which has been submitted and not answered. It is
 * answered nevertheless. promised: what changes the disk is done.
 */
void nbd_request_abandon(struct nbd_request *req, bool promised);

/* Frees what is kept for the next requests. */
void nbd_request_trim(void);

#endif
