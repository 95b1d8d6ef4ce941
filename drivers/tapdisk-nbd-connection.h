/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-nbd-connection.h - one client's connection to a VBD, over NBD
 *
 * What a client can have of this process is bounded: requests, memory
 * (tapdisk-nbd-memory.h), and patience (patience.h): with all of its handshake, later with
 * a command that it has begun and with replies that it has not taken. A client that owes
 * nothing may be silent for ever. What is not yet begun for a client that has gone is not
 * begun at all, unless it took its leave as the protocol says.
 */
#ifndef TAPDISK_NBD_CONNECTION_H
#define TAPDISK_NBD_CONNECTION_H

#include "tapdisk-nbd-memory.h"
#include "tapdisk-nbd-proto.h"
#include "tapdisk-vbd.h"

/* A connection's requests, from the command's arrival to the reply's departure. */
#define NBD_MAX_REQUESTS 128

struct nbd_conn;

/* What all connections of a VBD have in common. */
struct nbd_host {
	td_vbd_t *vbd;
	bool readonly;
	td_uuid_t minor;
	struct nbd_budget budget;
	struct log_limit log;	/* of what clients can have us log */
	struct list_head conns; /* nbd_conn.next */
	unsigned int n_conns;
	/* A connection has been freed. May free the host. */
	void (*freed)(struct nbd_host *host);
};

/* What clients are told of the disk. 0 or -errno. */
int nbd_host_export(const struct nbd_host *host, struct nbd_export *export);

/* Serves the client at fd, which is taken over in any case. */
void nbd_conn_open(struct nbd_host *host, int fd);

/*
 * To be called for each host every PATIENCE_LOOK seconds: ends connections of clients that
 * have gone, or owe something for too long.
 */
void nbd_host_look(struct nbd_host *host);

/*
 * Ends all connections; replies that are ready are sent as far as the clients take them.
 * Connections are freed when the VBD has answered their requests.
 */
void nbd_host_end(struct nbd_host *host);

#endif
