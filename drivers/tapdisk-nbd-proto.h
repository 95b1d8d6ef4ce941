/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-nbd-proto.h - the NBD wire format, as a server sees it
 *
 * Parsing, checking and encoding of messages in memory; no sockets, no
 * allocation, no state but the handshake's. Everything that a client sends is
 * judged here, once: a command that nbd_command_check() passes is aligned and
 * within the disk.
 *
 * Spoken: fixed newstyle with LIST, INFO, GO, EXPORT_NAME, ABORT,
 * STRUCTURED_REPLY and the metadata context base:allocation. There is one
 * export; it goes by every name and is listed as NBD_EXPORT_NAME.
 */
#ifndef TAPDISK_NBD_PROTO_H
#define TAPDISK_NBD_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NBD_EXPORT_NAME "tapdisk_client"

/* What a command may carry or ask for as data; larger ones are refused. */
#define NBD_MAX_PAYLOAD (32u << 20)

/* Longer option data is refused and skipped: 4096 bytes of name, and queries. */
#define NBD_MAX_OPTION 8192u

#define NBD_OPTION_HEADER   16
#define NBD_COMMAND_SIZE    28
#define NBD_REPLY_HEAD_MAX  28
#define NBD_EXTENT_SIZE	    8
#define NBD_HANDSHAKE_REPLY 512 /* bytes that the answer to one option stays under */

enum nbd_command_type {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

#define NBD_CMD_FLAG_FUA       (1 << 0)
#define NBD_CMD_FLAG_NO_HOLE   (1 << 1)
#define NBD_CMD_FLAG_DF	       (1 << 2)
#define NBD_CMD_FLAG_REQ_ONE   (1 << 3)
#define NBD_CMD_FLAG_FAST_ZERO (1 << 4)

/* Errors on the wire. */
#define NBD_EPERM     1
#define NBD_EIO	      5
#define NBD_ENOMEM    12
#define NBD_EINVAL    22
#define NBD_ENOSPC    28
#define NBD_EOVERFLOW 75
#define NBD_ENOTSUP   95
#define NBD_ESHUTDOWN 108

/* base:allocation */
#define NBD_STATE_HOLE (1 << 0)
#define NBD_STATE_ZERO (1 << 1)

struct nbd_export {
	uint64_t size;	/* bytes, a multiple of block */
	uint32_t block; /* bytes: what offsets and lengths must be multiples of */
	bool readonly;
};

enum nbd_phase {
	NBD_PHASE_CLIENT_FLAGS = 0,
	NBD_PHASE_OPTIONS,
	NBD_PHASE_TRANSMISSION,
	NBD_PHASE_ABORTED, /* the client has said goodbye */
};

/* A connection's handshake and what it agreed on. Zeroed but for export. */
struct nbd_handshake {
	struct nbd_export export;
	enum nbd_phase phase;
	bool fixed_newstyle;
	bool no_zeroes;
	bool structured;      /* READ and BLOCK_STATUS are answered by chunks */
	bool base_allocation; /* the context that BLOCK_STATUS reports */
	unsigned int options; /* seen so far */
	uint32_t skip;	      /* bytes of a refused option still to come */
};

struct nbd_command {
	uint16_t type;
	uint16_t flags;
	uint64_t cookie; /* the client's, returned as it is */
	uint64_t offset; /* bytes */
	uint32_t length; /* bytes */
};

/* Writes what the server says first to out, and returns its length. */
size_t nbd_greeting(uint8_t out[NBD_HANDSHAKE_REPLY]);

/*
 * Takes the handshake's next message from in, and writes what is to be sent to
 * out; *out_len is 0 if that is nothing. Returns how much of in it took, which
 * is 0 if there must be more of it (NBD_OPTION_HEADER + NBD_MAX_OPTION always
 * suffice), or -EPROTO if the connection must be closed unanswered.
 */
ssize_t nbd_handshake_step(struct nbd_handshake *hs, const uint8_t *in, size_t len,
			   uint8_t out[NBD_HANDSHAKE_REPLY], size_t *out_len);

/* 0, or -EPROTO where no command begins: the stream is out of step for good. */
int nbd_command_parse(const uint8_t in[NBD_COMMAND_SIZE], struct nbd_command *cmd);

/* 0 if cmd may be executed, otherwise the NBD_E error to answer. */
uint32_t nbd_command_check(const struct nbd_handshake *hs, const struct nbd_command *cmd);

/* The NBD_E for a negative errno; 0 for 0. */
uint32_t nbd_error(int err);

/*
 * Writes what comes before the data_len bytes of data in the one reply to cmd,
 * and returns its length. error is 0 or an NBD_E; with one there is no data.
 */
size_t nbd_reply_head(uint8_t out[NBD_REPLY_HEAD_MAX], const struct nbd_handshake *hs,
		      const struct nbd_command *cmd, uint32_t error, uint32_t data_len);

/*
 * The answer to a BLOCK_STATUS as it grows. Neighbours alike are one extent;
 * what follows the max-th extent is left out, as the protocol allows.
 */
struct nbd_extents {
	uint8_t *wire; /* the caller's: max * NBD_EXTENT_SIZE bytes */
	unsigned int max;
	unsigned int count;
	bool full;	  /* an extent has been left out */
	uint64_t covered; /* bytes of the request reported so far */
	uint32_t last;	  /* bytes of the last extent */
	uint32_t state;	  /* and its NBD_STATE_ */
};

/* Adds length bytes from at (relative to the request) in the given NBD_STATE_. */
void nbd_extents_add(struct nbd_extents *x, uint64_t at, uint64_t length, uint32_t state);

#endif
