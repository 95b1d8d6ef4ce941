/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection reads commands ahead, up to a bound; each becomes a request that
 * is its VBD's until answered, then waits among the connection's replies until
 * the client has taken it. Nothing ever waits for a client: one that does not read
 * fills its own bound, and is not read from until that empties.
 *
 * Work is done where it costs least: one read brings many commands, and replies
 * are sent when a batch of them is complete. Whatever happened to a connection,
 * settle() is the last to be called: only there is something sent, a connection
 * closed, or memory given back.
 */
#include "tapdisk-nbd-connection.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "patience.h"
#include "private-socket.h"
#include "tapdisk-log.h"
#include "tapdisk-nbd-request.h"
#include "tapdisk-server.h"
#include "timeout-math.h"

/* Commands and small payloads arrive here; what is left of large ones does not. */
#define NBD_INPUT_SIZE ((size_t)64 << 10)
/* Asked of the system for a connection's replies. */
#define NBD_SEND_BUFFER (1 << 20)
/* Reads before other connections have their turn. */
#define NBD_READ_ROUNDS 4

enum conn_state {
	CONN_OPEN,
	CONN_DRAINING, /* nothing more is read; closed when all is answered */
	CONN_DEAD,     /* has no socket; freed when the VBD has answered all */
};

struct nbd_conn {
	struct nbd_host *host;
	struct list_head next;	/* host->conns */
	struct list_head dirty; /* to be settled, or empty */

	enum conn_state state;
	bool goodbye; /* the client said so: what it has sent is still done */
	int fd;
	event_id_t read_event;		 /* always, while not dead */
	event_id_t write_event;		 /* while the socket is full, else 0 */
	bool masked;			 /* read_event is */
	struct patience sending, taking; /* of the client */

	struct nbd_handshake hs;

	/* [in_start, in_end) of input has arrived and is not yet understood. */
	uint8_t *input;
	size_t in_start, in_end;
	/* The write whose payload is arriving, and how much of it has. */
	struct nbd_request *incoming;
	size_t received;

	unsigned int n_requests;
	struct nbd_account account; /* of their buffers */

	struct list_head with_vbd; /* nbd_request.next */
	struct list_head replies;  /* nbd_request.next, in the order of departure */
	size_t sent;		   /* bytes of the first one */
	int queued;		   /* bytes that the client had not taken, at the last look */
};

/* Connections to settle when the batch is complete. */
static struct list_head dirty = { &dirty, &dirty };
static void settle(void);

static void
conn_mark(struct nbd_conn *conn)
{
	if (list_empty(&conn->dirty))
		list_add_tail(&conn->dirty, &dirty);
}

static void
conn_wake(struct nbd_account *account)
{
	conn_mark(list_entry(account, struct nbd_conn, account));
}

static void
event_remove(event_id_t *id)
{
	if (*id > 0)
		tapdisk_server_unregister_event(*id);
	*id = 0;
}

/* --- requests ------------------------------------------------------------------ */

/* Whether there is room for a request with a buffer of that size. */
static bool
conn_has_room(struct nbd_conn *conn, size_t size)
{
	return conn->n_requests < NBD_MAX_REQUESTS && nbd_memory_admits(&conn->account, size);
}

/* As nbd_request_get(). */
static struct nbd_request *
request_get(struct nbd_conn *conn, size_t size)
{
	struct nbd_request *req = nbd_request_get(&conn->account, size);

	if (req) {
		req->owner = conn;
		req->hs = &conn->hs;
		conn->n_requests++;
	}
	return req;
}

static void
request_put(struct nbd_request *req)
{
	struct nbd_conn *conn = req->owner;

	list_del(&req->next);
	nbd_request_put(req);
	conn->n_requests--;
}

/* The reply is ready, to be sent when the connection is settled. */
static void
request_reply(struct nbd_request *req)
{
	struct nbd_conn *conn = req->owner;

	conn_mark(conn);
	if (conn->state == CONN_DEAD)
		request_put(req);
	else
		list_move_tail(&req->next, &conn->replies);
}

/* The last answer of a batch has all that it brought sent. */
static void
request_answered(struct nbd_request *req, bool ready, bool final)
{
	if (ready)
		request_reply(req);
	if (final)
		settle();
}

static void
request_submit(struct nbd_request *req)
{
	struct nbd_conn *conn = req->owner;

	req->answered = request_answered;
	if (nbd_request_submit(req, conn->host->vbd, conn->host))
		list_add_tail(&req->next, &conn->with_vbd);
	else
		request_reply(req);
}

/* The reply is that the command is refused. */
static void
request_refuse(struct nbd_request *req)
{
	nbd_request_finish(req, req->error);
	request_reply(req);
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
	nbd_account_leave(&conn->account);
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
	close(conn->fd);

	list_for_each_entry_safe(req, tmp, &conn->replies, next)
		request_put(req);
	list_for_each_entry(req, &conn->with_vbd, next)
		nbd_request_abandon(req, conn->goodbye);
}

/* As conn_kill(), and says why. */
static void
conn_hang_up(struct nbd_conn *conn, const char *why)
{
	struct log_limit *before = tapdisk_log_limit(&conn->host->log);

	tlog_syslog(TLOG_WARN, "nbd: minor %u: hung up on a client: %s", conn->host->minor,
		    why);
	tapdisk_log_limit(before);
	conn_kill(conn);
}

static void
conn_writable(event_id_t id, char mode, void *private)
{
	struct nbd_conn *conn = private;

	event_remove(&conn->write_event);
	conn_mark(conn);
	settle();
}

static void
conn_wait_writable(struct nbd_conn *conn)
{
	conn->write_event = tapdisk_server_register_event(SCHEDULER_POLL_WRITE_FD, conn->fd,
							  TV_INF, conn_writable, conn);
	if (conn->write_event < 0)
		conn_hang_up(conn, strerror(-conn->write_event));
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
	patience_moved(&conn->taking, bytes);
	list_for_each_entry_safe(req, tmp, &conn->replies, next) {
		const size_t size = req->head_len + req->reply_len;

		if (conn->sent < size)
			return;
		conn->sent -= size;
		request_put(req);
		patience_got_on(&conn->taking);
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
	patience_moved(&conn->sending, n);
	if (conn->received < req->cmd.length)
		return;
	patience_got_on(&conn->sending);
	conn->incoming = NULL;
	if (req->error)
		request_refuse(req);
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
		patience_got_on(&conn->sending);
	if (conn->hs.phase == NBD_PHASE_ABORTED)
		conn_drain(conn);
	return n;
}

static ssize_t
take_command(struct nbd_conn *conn, const uint8_t *in, size_t len)
{
	struct nbd_request *req;
	struct nbd_command cmd;
	uint32_t error;
	size_t size;

	if (len < NBD_COMMAND_SIZE)
		return 0;
	if (nbd_command_parse(in, &cmd))
		return -EPROTO;
	patience_got_on(&conn->sending);
	if (cmd.type == NBD_CMD_DISC) {
		conn->goodbye = true;
		conn_drain(conn);
		return NBD_COMMAND_SIZE;
	}

	error = nbd_command_check(&conn->hs, &cmd);
	size = error ? 0 : nbd_request_buffer(&cmd);
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
		request_refuse(req);
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
		if (private_socket_peer_gone(conn->fd))
			conn_kill(conn);
		else
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
	settle();
}

/* --- connections --------------------------------------------------------------- */

static void
conn_free(struct nbd_conn *conn)
{
	struct nbd_host *host = conn->host;

	list_del(&conn->next);
	host->n_conns--;
	free(conn->input);
	free(conn);
	host->freed(host);
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
settle(void)
{
	while (!list_empty(&dirty))
		conn_settle(list_entry(dirty.next, struct nbd_conn, dirty));
}

int
nbd_host_export(const struct nbd_host *host, struct nbd_export *export)
{
	td_disk_info_t info;
	int err = tapdisk_vbd_get_disk_info(host->vbd, &info);

	if (err)
		return err;
	export->size = info.size << SECTOR_SHIFT;
	export->block = info.sector_size;
	export->readonly = host->readonly || (info.info & TD_INFO_READONLY);
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

/* 0 or -errno. */
static int
conn_start(struct nbd_conn *conn)
{
	const int send_buffer = NBD_SEND_BUFFER;
	int err;

	/* As much as the system allows; less is slower, not wrong. */
	(void)setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));

	conn->input = malloc(NBD_INPUT_SIZE);
	err = conn->input ? nbd_host_export(conn->host, &conn->hs.export) : -ENOMEM;
	if (err)
		return err;
	conn->read_event = tapdisk_server_register_event(SCHEDULER_POLL_READ_FD, conn->fd,
							 TV_INF, conn_readable, conn);
	return conn->read_event < 0 ? conn->read_event : conn_greet(conn);
}

void
nbd_conn_open(struct nbd_host *host, int fd)
{
	struct nbd_conn *conn = calloc(1, sizeof(*conn));
	int err;

	if (!conn) {
		close(fd);
		return;
	}
	conn->host = host;
	conn->fd = fd;
	INIT_LIST_HEAD(&conn->dirty);
	INIT_LIST_HEAD(&conn->with_vbd);
	INIT_LIST_HEAD(&conn->replies);
	nbd_account_init(&conn->account, &host->budget, conn_wake);
	list_add_tail(&conn->next, &host->conns);
	host->n_conns++;

	err = conn_start(conn);
	if (err)
		conn_hang_up(conn, strerror(-err));
	settle();
}

/* --- patience ------------------------------------------------------------------- */

/* Whether the client has begun something that it has to go on with. */
static bool
conn_is_owed_input(const struct nbd_conn *conn)
{
	if (conn->state != CONN_OPEN || conn->masked)
		return false;
	return conn->hs.phase != NBD_PHASE_TRANSMISSION || conn->incoming ||
	       conn->in_end > conn->in_start;
}

/* What the client takes of what the system holds is seen nowhere else. */
static void
conn_look_at_queue(struct nbd_conn *conn)
{
	int queued = 0;

	if (ioctl(conn->fd, SIOCOUTQ, &queued))
		return;
	if (queued < conn->queued)
		patience_moved(&conn->taking, (size_t)(conn->queued - queued));
	conn->queued = queued;
}

static void
conn_look(struct nbd_conn *conn)
{
	conn_look_at_queue(conn);
	const bool mute = patience_look(&conn->sending, conn_is_owed_input(conn));
	const bool deaf = patience_look(&conn->taking, conn->write_event > 0);

	/* A client that is not listened to is not heard to leave, either. */
	if (conn->masked && private_socket_peer_gone(conn->fd))
		conn_kill(conn);
	else if (mute)
		conn_hang_up(conn, "it does not go on with what it has begun");
	else if (deaf)
		conn_hang_up(conn, "it does not take its replies");
}

void
nbd_host_look(struct nbd_host *host)
{
	struct nbd_conn *conn;

	list_for_each_entry(conn, &host->conns, next)
		if (conn->state != CONN_DEAD)
			conn_look(conn);
	settle();
}

void
nbd_host_end(struct nbd_host *host)
{
	struct nbd_conn *conn;

	list_for_each_entry(conn, &host->conns, next) {
		conn_send(conn);
		conn_kill(conn);
	}
	settle();
}
