/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-nbdserver.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "patience.h"
#include "private-socket.h"
#include "tapdisk-log.h"
#include "tapdisk-nbd-connection.h"
#include "tapdisk-nbd-request.h"
#include "tapdisk-server.h"
#include "timeout-math.h"

/* Connections of a VBD; more of them wait in the backlog. */
#define NBD_MAX_CONNECTIONS 64

struct tapdisk_nbdserver {
	struct private_socket socket;
	struct nbd_host host;
	event_id_t look; /* at the clients' patience, while there are any */
	bool stopped;	 /* freed with the last connection */
};

static unsigned int n_servers;

static void
server_free(struct tapdisk_nbdserver *server)
{
	if (server->look > 0)
		tapdisk_server_unregister_event(server->look);
	free(server);
	if (!--n_servers)
		nbd_request_trim();
}

static void
server_look(event_id_t id, char mode, void *private)
{
	struct tapdisk_nbdserver *server = private;

	nbd_host_look(&server->host);
}

static void
server_take(void *private, int fd)
{
	struct tapdisk_nbdserver *server = private;

	if (!server->host.n_conns)
		tapdisk_server_event_set_timeout(server->look, TV_SECS(PATIENCE_LOOK));
	nbd_conn_open(&server->host, fd);
	private_socket_full(&server->socket, server->host.n_conns >= NBD_MAX_CONNECTIONS);
}

static void
server_conn_freed(struct nbd_host *host)
{
	struct tapdisk_nbdserver *server = list_entry(host, struct tapdisk_nbdserver, host);

	private_socket_full(&server->socket, false);
	if (host->n_conns)
		return;
	if (server->stopped)
		server_free(server);
	else
		tapdisk_server_event_set_timeout(server->look, TV_INF);
}

/* 0 or -errno. */
static int
server_start(struct tapdisk_nbdserver *server, td_uuid_t minor)
{
	struct nbd_export export;
	char path[PATH_MAX];
	int err = nbd_host_export(&server->host, &export);

	if (err)
		return err;
	server->look = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_INF,
						     server_look, server);
	if (server->look < 0)
		return server->look;
	snprintf(path, sizeof(path), "%s/nbd%d.%u", tapdisk_server_run_dir(), getpid(), minor);
	return private_socket_open(&server->socket, path, NBD_MAX_CONNECTIONS, false,
				   server_take, server);
}

int
tapdisk_nbdserver_start(td_vbd_t *vbd, td_uuid_t minor, bool readonly,
			struct tapdisk_nbdserver **out)
{
	struct tapdisk_nbdserver *server = calloc(1, sizeof(*server));
	int err;

	if (!server)
		return -ENOMEM;
	n_servers++;
	server->host.vbd = vbd;
	server->host.minor = minor;
	server->host.readonly = readonly;
	server->host.freed = server_conn_freed;
	INIT_LIST_HEAD(&server->host.conns);
	nbd_budget_init(&server->host.budget);

	err = server_start(server, minor);
	if (err) {
		EPRINTF("nbd: cannot serve minor %u in %s: %s", minor, tapdisk_server_run_dir(),
			strerror(-err));
		server_free(server);
		return err;
	}
	*out = server;
	return 0;
}

void
tapdisk_nbdserver_stop(struct tapdisk_nbdserver *server)
{
	if (!server)
		return;
	private_socket_close(&server->socket);
	if (server->host.n_conns) {
		server->stopped = true;
		nbd_host_end(&server->host);
	} else {
		server_free(server);
	}
}
