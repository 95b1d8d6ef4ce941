/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection reads commands ahead, up to a bound; each becomes a request that
 * is its VBD's until answered, then waits among the connection's replies until
 * the client has taken it. Nothing ever waits for a client: who does not read
 * fills its own bound, and is not read from until that empties.
 *
 * Work is done where it costs least: one read brings many commands, and replies
 * are sent when a batch of them is complete. Whatever happened to a connection,
 * the last word is server_settle()'s: only there is something sent, a
 * connection closed, or memory given back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "tapdisk-nbdserver.h"
#include "migrate/buffers.h"
#include "tapdisk-log.h"
#include "tapdisk-nbd-proto.h"
#include "tapdisk-server.h"

/* Connections of a VBD; more of them wait in the backlog. */
#define NBD_MAX_CONNECTIONS 64
/* A connection's requests, from the command's arrival to the reply's departure. */
#define NBD_MAX_REQUESTS 128
/* Buffers kept for the next requests. */
#define NBD_IDLE_BYTES ((size_t)32 << 20)
/* And the buffers they hold. The largest request fits when it is alone. */
#define NBD_MAX_BYTES ((size_t)NBD_MAX_PAYLOAD)
/* Commands and small payloads arrive here; what is left of large ones does not. */
#define NBD_INPUT_SIZE ((size_t)64 << 10)
/* Asked of the system for a connection's replies. */
#define NBD_SEND_BUFFER (1 << 20)
/* Reads before other connections have their turn. */
#define NBD_READ_ROUNDS 4
/* What a client has for its handshake, and accept() to recover; seconds. */
#define NBD_HANDSHAKE_TIMEOUT 30
#define NBD_ACCEPT_RETRY      1
/* Of a block status' answer; clients ask again for what is left out. */
#define NBD_MAX_EXTENTS 512
/* And of what it may cost: runs of the disk that are looked at for one answer. */
#define NBD_MAX_RUNS (2 * NBD_MAX_EXTENTS)

enum conn_state {
	CONN_OPEN,
	CONN_DRAINING, /* nothing more is read; closed when all is answered */
	CONN_DEAD,     /* has no socket; freed when the VBD has answered all */
};

struct nbd_conn {
	struct tapdisk_nbdserver *server;
	struct list_head next;	/* server->conns */
	struct list_head dirty; /* server->dirty, or empty */

	enum conn_state state;
	int fd;
	event_id_t read_event;	   /* always, while not dead */
	event_id_t write_event;	   /* while the socket is full, else 0 */
	event_id_t deadline_event; /* during the handshake, else 0 */
	bool masked;		   /* read_event is */

	struct nbd_handshake hs;

	/* [in_start, in_end) of input has arrived and is not yet understood. */
	uint8_t *input;
	size_t in_start, in_end;
	/* The write whose payload is arriving, and how much of it has. */
	struct nbd_request *incoming;
	size_t received;

	unsigned int n_requests;
	size_t bytes; /* of their buffers */

	struct list_head replies; /* nbd_request.next, in the order of departure */
	size_t sent;		  /* bytes of the first one */
};

struct nbd_request {
	struct list_head next; /* conn->replies, or server->idle */
	struct nbd_conn *conn;
	struct nbd_command cmd;
	uint32_t error; /* of a write that is refused when its payload has arrived */

	/* The reply is head, then reply_len bytes of buffer. */
	uint8_t head[NBD_REPLY_HEAD_MAX];
	size_t head_len;
	uint8_t *buffer;
	size_t buffer_size;
	size_t reply_len;

	struct nbd_extents extents;
	unsigned int runs; /* that the extents were made of */
	struct td_iovec iov;
	td_vbd_request_t vreq;
};

struct tapdisk_nbdserver {
	td_vbd_t *vbd;
	bool readonly;
	bool stopped; /* freed with the last connection */

	int fd;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	event_id_t listen_event; /* 0 while there is no room for a connection */

	struct list_head conns;
	unsigned int n_conns;
	struct list_head dirty; /* connections to settle when the batch is complete */

	struct list_head idle; /* requests, at most conns * NBD_MAX_REQUESTS */
	struct buffers buffers;
};

static const struct timeval no_timeout;

static void server_settle(struct tapdisk_nbdserver *server);
static void request_answered(td_vbd_request_t *vreq, int error, void *token, int final);

static void
conn_mark(struct nbd_conn *conn)
{
	if (list_empty(&conn->dirty))
		list_add_tail(&conn->dirty, &conn->server->dirty);
}

static void
event_remove(event_id_t *id)
{
	if (*id > 0)
		tapdisk_server_unregister_event(*id);
	*id = 0;
}

/* --- requests ------------------------------------------------------------------ */

static bool
conn_has_room(const struct nbd_conn *conn, size_t size)
{
	const size_t bytes = size ? buffers_size(size) : 0;

	return conn->n_requests < NBD_MAX_REQUESTS && conn->bytes + bytes <= NBD_MAX_BYTES;
}

/* A request with a buffer of size bytes, which is NULL where size is 0 or too much. */
static struct nbd_request *
request_get(struct nbd_conn *conn, size_t size)
{
	struct tapdisk_nbdserver *server = conn->server;
	struct nbd_request *req;

	if (list_empty(&server->idle)) {
		req = calloc(1, sizeof(*req));
		if (!req)
			return NULL;
	} else {
		req = list_entry(server->idle.next, struct nbd_request, next);
		list_del(&req->next);
	}
	req->conn = conn;
	req->head_len = 0;
	req->reply_len = 0;
	req->buffer = size ? buffers_get(&server->buffers, size) : NULL;
	req->buffer_size = req->buffer ? size : 0;
	conn->n_requests++;
	if (req->buffer)
		conn->bytes += buffers_size(size);
	return req;
}

static void
request_put(struct nbd_request *req)
{
	struct nbd_conn *conn = req->conn;
	struct tapdisk_nbdserver *server = conn->server;

	if (req->buffer) {
		buffers_put(&server->buffers, req->buffer, req->buffer_size);
		conn->bytes -= buffers_size(req->buffer_size);
	}
	conn->n_requests--;
	list_add(&req->next, &server->idle);
}

/* The reply is ready, to be sent when the connection is settled. */
static void
request_reply(struct nbd_request *req)
{
	struct nbd_conn *conn = req->conn;

	conn_mark(conn);
	if (conn->state == CONN_DEAD)
		request_put(req);
	else
		list_add_tail(&req->next, &conn->replies);
}

/* Answers a command. error: an NBD_E, or 0. */
static void
request_finish(struct nbd_request *req, uint32_t error)
{
	req->reply_len = 0;
	if (!error && req->cmd.type == NBD_CMD_READ)
		req->reply_len = req->cmd.length;
	if (!error && req->cmd.type == NBD_CMD_BLOCK_STATUS)
		req->reply_len = req->extents.count * NBD_EXTENT_SIZE;
	req->head_len =
		nbd_reply_head(req->head, &req->conn->hs, &req->cmd, error, req->reply_len);
	request_reply(req);
}

static void
request_extent(td_vbd_request_t *vreq, td_sector_t sec, td_sector_t secs, int status)
{
	struct nbd_request *req = list_entry(vreq, struct nbd_request, vreq);
	const uint32_t state = (status & TD_BLOCK_STATE_HOLE ? NBD_STATE_HOLE : 0) |
			       (status & TD_BLOCK_STATE_ZERO ? NBD_STATE_ZERO : 0);

	nbd_extents_add(&req->extents, (sec << SECTOR_SHIFT) - req->cmd.offset,
			secs << SECTOR_SHIFT, state);
	vreq->unwanted = req->extents.full || ++req->runs >= NBD_MAX_RUNS ||
			 req->conn->state == CONN_DEAD;
}

/* What the VBD is to do otherwise than usually: TD_REQ_. */
static int
request_flags(const struct nbd_command *cmd)
{
	return (cmd->flags & NBD_CMD_FLAG_NO_HOLE ? TD_REQ_NO_HOLE : 0) |
	       (cmd->flags & NBD_CMD_FLAG_REQ_ONE ? TD_REQ_ONE : 0) |
	       (cmd->type == NBD_CMD_TRIM ? TD_REQ_DISCARD : 0);
}

/* Hands the request to the VBD as an op, TD_OP_FLUSH being about all of the disk. */
static void
request_queue(struct nbd_request *req, int op)
{
	struct tapdisk_nbdserver *server = req->conn->server;
	const struct nbd_command *cmd = &req->cmd;
	const td_sector_t secs = cmd->length >> SECTOR_SHIFT;
	const bool has_data = op == TD_OP_READ || op == TD_OP_WRITE;
	int err;

	req->iov = (struct td_iovec){ .base = req->buffer, .secs = secs };
	req->vreq = (td_vbd_request_t){
		.op = op,
		.flags = request_flags(cmd),
		.sec = op == TD_OP_FLUSH ? 0 : cmd->offset >> SECTOR_SHIFT,
		.secs = op == TD_OP_FLUSH || has_data ? 0 : secs,
		.iov = has_data ? &req->iov : NULL,
		.iovcnt = has_data,
		.cb = request_answered,
		.status_cb = request_extent,
		.token = server,
		.name = "nbd",
	};
	err = tapdisk_vbd_queue_request(server->vbd, &req->vreq);
	if (err)
		request_finish(req, nbd_error(err));
}

static void
request_submit(struct nbd_request *req)
{
	static const int ops[] = {
		[NBD_CMD_READ] = TD_OP_READ,
		[NBD_CMD_WRITE] = TD_OP_WRITE,
		[NBD_CMD_FLUSH] = TD_OP_FLUSH,
		[NBD_CMD_TRIM] = TD_OP_ZERO,
		[NBD_CMD_WRITE_ZEROES] = TD_OP_ZERO,
		[NBD_CMD_BLOCK_STATUS] = TD_OP_BLOCK_STATUS,
	};

	req->runs = 0;
	req->extents = (struct nbd_extents){
		.wire = req->buffer,
		.max = req->cmd.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : NBD_MAX_EXTENTS,
	};
	request_queue(req, ops[req->cmd.type]);
}

/* Called by the VBD. The last answer of a batch has all that it brought sent. */
static void
request_answered(td_vbd_request_t *vreq, int error, void *token, int final)
{
	struct nbd_request *req = list_entry(vreq, struct nbd_request, vreq);
	const bool wrote = vreq->op == TD_OP_WRITE || vreq->op == TD_OP_ZERO;

	/* A trim promises nothing. */
	if (error == -EOPNOTSUPP && req->cmd.type == NBD_CMD_TRIM)
		error = 0;
	if (!error && wrote && (req->cmd.flags & NBD_CMD_FLAG_FUA) &&
	    req->conn->state != CONN_DEAD)
		request_queue(req, TD_OP_FLUSH);
	else
		request_finish(req, nbd_error(error));
	if (final)
		server_settle(token);
}

/* --- sending ------------------------------------------------------------------- */

/* Reads no more; a half-received write is forgotten. */
static void
conn_drain(struct nbd_conn *conn)
{
	conn->state = CONN_DRAINING;
	if (conn->incoming)
		request_put(conn->incoming);
	conn->incoming = NULL;
}

/* Closes the socket. What the VBD still has of the connection's stays until answered. */
static void
conn_kill(struct nbd_conn *conn)
{
	struct nbd_request *req, *tmp;

	if (conn->state == CONN_DEAD)
		return;
	conn_drain(conn);
	conn->state = CONN_DEAD;
	conn_mark(conn);
	event_remove(&conn->read_event);
	event_remove(&conn->write_event);
	event_remove(&conn->deadline_event);
	close(conn->fd);

	list_for_each_entry_safe(req, tmp, &conn->replies, next) {
		list_del(&req->next);
		request_put(req);
	}
}

static void
conn_writable(event_id_t id, char mode, void *private)
{
	struct nbd_conn *conn = private;

	event_remove(&conn->write_event);
	conn_mark(conn);
	server_settle(conn->server);
}

static void
conn_wait_writable(struct nbd_conn *conn)
{
	conn->write_event = tapdisk_server_register_event(SCHEDULER_POLL_WRITE_FD, conn->fd,
							  no_timeout, conn_writable, conn);
	if (conn->write_event < 0) {
		EPRINTF("nbd: connection closed: cannot wait for the client: %s",
			strerror(-conn->write_event));
		conn_kill(conn);
	}
}

/* What remains of the replies, as far as sent says. */
static int
replies_to_iov(const struct nbd_conn *conn, struct iovec *iov)
{
	size_t skip = conn->sent;
	struct nbd_request *req;
	int n = 0;

	list_for_each_entry(req, &conn->replies, next) {
		const struct iovec parts[] = { { req->head, req->head_len },
					       { req->buffer, req->reply_len } };

		for (size_t i = 0; i < 2; i++) {
			const size_t gone = skip < parts[i].iov_len ? skip : parts[i].iov_len;

			skip -= gone;
			if (gone == parts[i].iov_len)
				continue;
			iov[n].iov_base = (char *)parts[i].iov_base + gone;
			iov[n++].iov_len = parts[i].iov_len - gone;
		}
	}
	return n;
}

/* Releases the replies that have been sent whole. */
static void
replies_sent(struct nbd_conn *conn, size_t bytes)
{
	struct nbd_request *req, *tmp;

	conn->sent += bytes;
	list_for_each_entry_safe(req, tmp, &conn->replies, next) {
		const size_t size = req->head_len + req->reply_len;

		if (conn->sent < size)
			return;
		conn->sent -= size;
		list_del(&req->next);
		request_put(req);
	}
}

/* Sends what the socket takes. True if that made room for requests. */
static bool
conn_send(struct nbd_conn *conn)
{
	const unsigned int before = conn->n_requests;
	struct iovec iov[2 * NBD_MAX_REQUESTS];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n;

	if (conn->state == CONN_DEAD || conn->write_event || list_empty(&conn->replies))
		return false;
	msg.msg_iovlen = replies_to_iov(conn, iov);
	n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		conn_kill(conn);
		return false;
	}
	replies_sent(conn, n < 0 ? 0 : n);
	if (!list_empty(&conn->replies))
		conn_wait_writable(conn);
	return conn->n_requests < before;
}

/* --- receiving ----------------------------------------------------------------- */

/*
 * Each of these takes something from the front of the input. They return how
 * much, or 0 if more must arrive first, -EAGAIN if replies must leave first,
 * another -errno if the connection cannot go on.
 */

/* Also for what was read into the buffer without passing through the input. */
static void
payload_arrived(struct nbd_conn *conn, size_t n)
{
	struct nbd_request *req = conn->incoming;

	conn->received += n;
	if (conn->received < req->cmd.length)
		return;
	conn->incoming = NULL;
	if (req->error)
		request_finish(req, req->error);
	else
		request_submit(req);
}

static ssize_t
take_payload(struct nbd_conn *conn, const uint8_t *in, size_t len)
{
	const struct nbd_request *req = conn->incoming;
	const size_t rest = req->cmd.length - conn->received;
	const size_t n = len < rest ? len : rest;

	if (!req->error)
		memcpy(req->buffer + conn->received, in, n);
	payload_arrived(conn, n);
	return n;
}

static ssize_t
take_handshake(struct nbd_conn *conn, const uint8_t *in, size_t len)
{
	struct nbd_request *req;
	ssize_t n;

	if (!conn_has_room(conn, NBD_HANDSHAKE_REPLY))
		return -EAGAIN;
	req = request_get(conn, NBD_HANDSHAKE_REPLY);
	if (!req)
		return -ENOMEM;
	n = req->buffer ? nbd_handshake_step(&conn->hs, in, len, req->buffer, &req->reply_len)
			: -ENOMEM;
	if (n < 0 || !req->reply_len)
		request_put(req);
	else
		request_reply(req);

	if (conn->hs.phase == NBD_PHASE_TRANSMISSION)
		event_remove(&conn->deadline_event);
	if (conn->hs.phase == NBD_PHASE_ABORTED)
		conn_drain(conn);
	return n;
}

static ssize_t
take_command(struct nbd_conn *conn, const uint8_t *in, size_t len)
{
	struct nbd_request *req;
	struct nbd_command cmd;
	size_t size = 0;
	uint32_t error;

	if (len < NBD_COMMAND_SIZE)
		return 0;
	if (nbd_command_parse(in, &cmd))
		return -EPROTO;
	if (cmd.type == NBD_CMD_DISC) {
		conn_drain(conn);
		return NBD_COMMAND_SIZE;
	}

	error = nbd_command_check(&conn->hs, &cmd);
	if (!error && (cmd.type == NBD_CMD_READ || cmd.type == NBD_CMD_WRITE))
		size = cmd.length;
	if (!error && cmd.type == NBD_CMD_BLOCK_STATUS)
		size = NBD_MAX_EXTENTS * NBD_EXTENT_SIZE;
	if (!conn_has_room(conn, size))
		return -EAGAIN;
	req = request_get(conn, size);
	if (!req)
		return -ENOMEM;
	req->cmd = cmd;
	req->error = size && !req->buffer ? NBD_ENOMEM : error;

	if (cmd.type == NBD_CMD_WRITE && cmd.length) {
		/* Clients know no reply to what they are still sending. */
		conn->incoming = req;
		conn->received = 0;
	} else if (req->error) {
		request_finish(req, req->error);
	} else {
		request_submit(req);
	}
	return NBD_COMMAND_SIZE;
}

static ssize_t
take_next(struct nbd_conn *conn, const uint8_t *in, size_t len)
{
	if (!len)
		return 0;
	if (conn->incoming)
		return take_payload(conn, in, len);
	if (conn->hs.phase == NBD_PHASE_TRANSMISSION)
		return take_command(conn, in, len);
	return take_handshake(conn, in, len);
}

/* Takes what it can from the input. False if it had to stop for want of room. */
static bool
conn_parse(struct nbd_conn *conn)
{
	ssize_t n = 0;

	while (conn->state == CONN_OPEN) {
		n = take_next(conn, conn->input + conn->in_start,
			      conn->in_end - conn->in_start);
		if (n <= 0)
			break;
		conn->in_start += n;
	}
	if (n < 0 && n != -EAGAIN)
		conn_kill(conn);
	return n != -EAGAIN;
}

/*
 * Reads the rest of a payload into its buffer and what follows into the input.
 * True if it got all it asked for, so that there may be more.
 */
static bool
conn_receive(struct nbd_conn *conn)
{
	struct iovec iov[2];
	size_t direct = 0;
	ssize_t n;

	memmove(conn->input, conn->input + conn->in_start, conn->in_end - conn->in_start);
	conn->in_end -= conn->in_start;
	conn->in_start = 0;

	if (conn->incoming && !conn->incoming->error)
		direct = conn->incoming->cmd.length - conn->received;
	iov[0].iov_base = direct ? conn->incoming->buffer + conn->received : NULL;
	iov[0].iov_len = direct;
	iov[1].iov_base = conn->input + conn->in_end;
	iov[1].iov_len = NBD_INPUT_SIZE - conn->in_end;

	n = readv(conn->fd, iov, 2);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_kill(conn);
		return false;
	}
	if (!n) {
		conn_drain(conn);
		return false;
	}
	if ((size_t)n < direct)
		direct = n;
	if (direct)
		payload_arrived(conn, direct);
	conn->in_end += n - direct;
	return (size_t)n == iov[0].iov_len + iov[1].iov_len;
}

static void
conn_readable(event_id_t id, char mode, void *private)
{
	struct nbd_conn *conn = private;

	for (int i = 0; i < NBD_READ_ROUNDS; i++) {
		if (!conn_receive(conn) || !conn_parse(conn) || conn->state != CONN_OPEN)
			break;
	}
	conn_mark(conn);
	server_settle(conn->server);
}

/* --- connections --------------------------------------------------------------- */

static void
conn_free(struct nbd_conn *conn)
{
	list_del(&conn->next);
	conn->server->n_conns--;
	free(conn->input);
	free(conn);
}

static void
conn_settle(struct nbd_conn *conn)
{
	bool stalled;

	do {
		stalled = !conn_parse(conn);
	} while (conn_send(conn) && stalled);
	if (conn->state == CONN_DRAINING && !conn->n_requests)
		conn_kill(conn);
	list_del_init(&conn->dirty);

	if (conn->state == CONN_DEAD) {
		if (!conn->n_requests)
			conn_free(conn);
		return;
	}
	stalled |= conn->state == CONN_DRAINING;
	if (conn->masked != stalled)
		tapdisk_server_mask_event(conn->read_event, stalled);
	conn->masked = stalled;
}

static void
conn_too_slow(event_id_t id, char mode, void *private)
{
	struct nbd_conn *conn = private;

	conn_kill(conn);
	server_settle(conn->server);
}

/* What a connection is told of the disk. 0 or -errno. */
static int
server_export(struct tapdisk_nbdserver *server, struct nbd_export *export)
{
	td_disk_info_t info;
	int err = tapdisk_vbd_get_disk_info(server->vbd, &info);

	if (err)
		return err;
	export->size = info.size << SECTOR_SHIFT;
	export->block = info.sector_size;
	export->readonly = server->readonly || (info.info & TD_INFO_READONLY);
	return export->block && export->size % export->block == 0 ? 0 : -EINVAL;
}

static int
conn_greet(struct nbd_conn *conn)
{
	struct nbd_request *req = request_get(conn, NBD_HANDSHAKE_REPLY);

	if (!req)
		return -ENOMEM;
	if (req->buffer)
		req->reply_len = nbd_greeting(req->buffer);
	request_reply(req);
	return req->buffer ? 0 : -ENOMEM;
}

static int
conn_register_events(struct nbd_conn *conn)
{
	const struct timeval deadline = { .tv_sec = NBD_HANDSHAKE_TIMEOUT };

	conn->read_event = tapdisk_server_register_event(SCHEDULER_POLL_READ_FD, conn->fd,
							 no_timeout, conn_readable, conn);
	if (conn->read_event < 0)
		return conn->read_event;
	conn->deadline_event = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1,
							     deadline, conn_too_slow, conn);
	return conn->deadline_event < 0 ? conn->deadline_event : 0;
}

/* Takes over fd in any case. 0 or -errno. */
static int
conn_open(struct tapdisk_nbdserver *server, int fd)
{
	const int send_buffer = NBD_SEND_BUFFER;
	struct nbd_conn *conn = calloc(1, sizeof(*conn));
	int err;

	if (!conn) {
		close(fd);
		return -ENOMEM;
	}
	conn->server = server;
	conn->fd = fd;
	INIT_LIST_HEAD(&conn->dirty);
	INIT_LIST_HEAD(&conn->replies);
	list_add_tail(&conn->next, &server->conns);
	server->n_conns++;

	/* As much as the system allows; less is slower, not wrong. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));

	conn->input = malloc(NBD_INPUT_SIZE);
	err = conn->input ? server_export(server, &conn->hs.export) : -ENOMEM;
	if (!err)
		err = conn_register_events(conn);
	if (!err)
		err = conn_greet(conn);
	if (err)
		conn_kill(conn);
	return err;
}

/* --- the server ---------------------------------------------------------------- */

static void
server_accept(event_id_t id, char mode, void *private)
{
	const struct timeval retry = { .tv_sec = NBD_ACCEPT_RETRY };
	struct tapdisk_nbdserver *server = private;
	int err = 0;

	while (server->n_conns < NBD_MAX_CONNECTIONS && !err) {
		const int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		err = fd < 0 ? -errno : conn_open(server, fd);
		if (err == -ECONNABORTED || err == -EINTR)
			err = 0;
	}
	/* Only if there was nothing more is it the socket to wait for, as before. */
	if (err != -EAGAIN || (mode & SCHEDULER_POLL_TIMEOUT))
		event_remove(&server->listen_event);
	if (err && err != -EAGAIN) {
		EPRINTF("%s: cannot accept a connection, retrying in %d s: %s", server->path,
			NBD_ACCEPT_RETRY, strerror(-err));
		server->listen_event = tapdisk_server_register_event(
			SCHEDULER_POLL_TIMEOUT, -1, retry, server_accept, server);
	}
	server_settle(server);
}

/* 0 or -errno. */
static int
server_wait_for_client(struct tapdisk_nbdserver *server)
{
	server->listen_event = tapdisk_server_register_event(SCHEDULER_POLL_READ_FD, server->fd,
							     no_timeout, server_accept, server);
	return server->listen_event < 0 ? server->listen_event : 0;
}

static void
server_free(struct tapdisk_nbdserver *server)
{
	struct nbd_request *req, *tmp;

	list_for_each_entry_safe(req, tmp, &server->idle, next)
		free(req);
	buffers_release(&server->buffers);
	free(server);
}

static void
server_settle(struct tapdisk_nbdserver *server)
{
	int err = 0;

	while (!list_empty(&server->dirty))
		conn_settle(list_entry(server->dirty.next, struct nbd_conn, dirty));

	if (server->stopped) {
		if (list_empty(&server->conns))
			server_free(server);
		return;
	}
	if (server->listen_event <= 0 && server->n_conns < NBD_MAX_CONNECTIONS)
		err = server_wait_for_client(server);
	if (err)
		EPRINTF("%s: takes no new connections: %s", server->path, strerror(-err));
}

/* Binds the socket, which only its owner can open, at server->path. 0 or -errno. */
static int
server_bind(struct tapdisk_nbdserver *server)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (server->fd < 0)
		return -errno;
	memcpy(addr.sun_path, server->path, sizeof(addr.sun_path));
	/* The pid is ours, so what is there is left from another of the same number. */
	unlink(server->path);
	/* Before bind(): the socket is never there with another mode. */
	if (fchmod(server->fd, S_IRUSR | S_IWUSR) ||
	    bind(server->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	return listen(server->fd, NBD_MAX_CONNECTIONS) ? -errno : 0;
}

int
tapdisk_nbdserver_start(td_vbd_t *vbd, td_uuid_t minor, bool readonly,
			struct tapdisk_nbdserver **out)
{
	struct tapdisk_nbdserver *server = calloc(1, sizeof(*server));
	struct nbd_export export;
	int n, err;

	if (!server)
		return -ENOMEM;
	server->vbd = vbd;
	server->readonly = readonly;
	server->fd = -1;
	INIT_LIST_HEAD(&server->conns);
	INIT_LIST_HEAD(&server->dirty);
	INIT_LIST_HEAD(&server->idle);
	buffers_init(&server->buffers, NBD_IDLE_BYTES);

	n = snprintf(server->path, sizeof(server->path), "%s/nbd%d.%u",
		     tapdisk_server_run_dir(), getpid(), minor);
	err = (size_t)n < sizeof(server->path) ? server_export(server, &export) : -ENAMETOOLONG;
	if (!err)
		err = server_bind(server);
	if (!err)
		err = server_wait_for_client(server);
	if (err) {
		EPRINTF("nbd: cannot serve minor %u on %s: %s", minor, server->path,
			strerror(-err));
		goto fail;
	}
	*out = server;
	return 0;
fail:
	if (server->fd >= 0) {
		unlink(server->path);
		close(server->fd);
	}
	server_free(server);
	return err;
}

void
tapdisk_nbdserver_stop(struct tapdisk_nbdserver *server)
{
	struct nbd_conn *conn;

	if (!server)
		return;
	server->stopped = true;
	event_remove(&server->listen_event);
	unlink(server->path);
	close(server->fd);

	list_for_each_entry(conn, &server->conns, next) {
		conn_send(conn);
		conn_kill(conn);
	}
	server_settle(server);
}
