/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * private-socket.h - a Unix socket that only its owner can connect to
 *
 * Clients are taken one in a turn of the loop, so that a crowd of them keeps nothing else
 * waiting. Where one cannot be taken (no descriptor or no memory is left), nothing is
 * tried for a second; clients wait in the backlog.
 */
#ifndef PRIVATE_SOCKET_H
#define PRIVATE_SOCKET_H

#include <stdbool.h>
#include <sys/un.h>

#include "scheduler.h"

/* The caller's memory; what is in it is this file's. */
struct private_socket {
	struct sockaddr_un addr;
	bool named; /* the socket is at that path */
	int fd;	    /* -1: closed */
	int spare;  /* a descriptor that is given up for a client when there is no other; or -1
		     */
	bool keeps_spare;
	bool full;    /* its owner has no room for another client */
	bool resting; /* until the retry: a client could not be taken */
	event_id_t event;
	event_id_t retry;
	void (*take)(void *ctx, int fd);
	void *ctx;
};

/*
 * Listens on path, mode 0600. A socket that is there already is taken for one that a dead
 * process has left, and replaced. take() gets each client's descriptor, non-blocking,
 * which is its own from then on. It is called by the loop while the owner is not full,
 * and by private_socket_take().
 *
 * keep_spare: one client can be taken though the process has no descriptor left.
 *
 * 0; or -errno, -ENAMETOOLONG among others, and s is closed.
 */
int private_socket_open(struct private_socket *s, const char *path, int backlog,
			bool keep_spare, void (*take)(void *ctx, int fd), void *ctx);

/*
 * Whether the owner's room for clients is full. To be called also whenever a client has
 * gone: its descriptor may be the one that was missing.
 */
void private_socket_full(struct private_socket *s, bool full);

/* Takes one that waits. False if there is none left, or it cannot be taken now. */
bool private_socket_take(struct private_socket *s);

/*
 * Whether a client has closed both directions of its connection, or died, so that nobody
 * would hear an answer. One that has only said all that it has to say is still there.
 */
bool private_socket_peer_gone(int fd);

/* Removes its name, so that nobody comes any more. */
void private_socket_unlink(struct private_socket *s);

/* Hangs up on all that wait, and removes its name. One that is closed stays so. */
void private_socket_close(struct private_socket *s);

#endif
