/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "private-socket.h"
#include "tapdisk-blkif.h"
#include "tapdisk-control-ring.h"
#include "tapdisk-log.h"
#include "tapdisk-loop.h"
#include "tapdisk-message.h"
#include "tapdisk-nbdserver.h"
#include "tapdisk-server.h"
#include "tapdisk-stats.h"
#include "tapdisk-vbd.h"
#include "timeout-math.h"

/* Each may wait for the end of a disk that hangs: there are more than of such disks. */
#define CONTROL_CONNECTIONS  32
#define CONTROL_BACKLOG	     32
#define CONTROL_RECV_TIMEOUT 2	/* seconds, for all of a request */
#define CONTROL_SEND_TIMEOUT 10 /* seconds, for all of an answer */

/* Flags of OPEN that are carried out; a request with any other is refused. */
#define CONTROL_OPEN_FLAGS                                           \
	(TAPDISK_MESSAGE_FLAG_SHARED | TAPDISK_MESSAGE_FLAG_RDONLY | \
	 TAPDISK_MESSAGE_FLAG_NO_O_DIRECT)

/*
 * A connection's life. It waits for one thing at a time, so it has one event:
 * for input, a hang-up, or room for output.
 */
enum conn_state {
	CONN_FREE,
	CONN_RECEIVING,
	CONN_READY,   /* has a request for tapdisk_control_run() */
	CONN_HANDLED, /* a handler has it, which may lend the loop: nobody else touches it */
	CONN_WORKING, /* a pause or close is under way */
	CONN_SENDING,
};

struct control_conn {
	enum conn_state state;
	int fd;
	event_id_t event;
	tapdisk_message_t request;
	char *extra;	  /* what follows the request, or NULL */
	size_t received;  /* bytes of both */
	int64_t deadline; /* by which all of it must be here, or of the reply be gone, ns */
	tapdisk_message_t response;
	char *reply; /* what is sent: responses and what belongs to them */
	size_t reply_size;
	size_t sent;
	td_vbd_t *vbd; /* CONN_WORKING */
};

static struct {
	struct private_socket socket;
	struct control_conn conns[CONTROL_CONNECTIONS];
	unsigned int n_conns;
	control_start_t start; /* or NULL */
	bool shutdown;	       /* every VBD is to be detached when closed */
} control = { .socket.fd = -1 };

static void conn_event(event_id_t id, char mode, void *private);

/* --- connections --------------------------------------------------------------- */

static void
conn_close(struct control_conn *conn)
{
	char rest[4096];

	tapdisk_server_unregister_event(conn->event);

	/* Unread input would make the client see a reset before its answer. */
	while (recv(conn->fd, rest, sizeof(rest), MSG_DONTWAIT) == sizeof(rest))
		;
	close(conn->fd);
	free(conn->reply);
	free(conn->extra);
	memset(conn, 0, sizeof(*conn));

	control.n_conns--;
	private_socket_full(&control.socket, false);
}

static void
conn_set_deadline(struct control_conn *conn, int seconds)
{
	conn->deadline = scheduler_now() + seconds * INT64_C(1000000000);
}

/* What is left of its time: who sends or takes byte by byte does not get more. */
static struct timeval
conn_time_left(const struct control_conn *conn)
{
	const int64_t left = (conn->deadline - scheduler_now()) / 1000;

	return left > 0 ? TV_USECS(left) : TV_ZERO;
}

/* Makes the connection wait for something else. */
static void
conn_wait(struct control_conn *conn, enum conn_state state, char mode, struct timeval timeout)
{
	tapdisk_server_unregister_event(conn->event);
	conn->state = state;
	conn->event = tapdisk_server_register_event(mode | SCHEDULER_POLL_TIMEOUT, conn->fd,
						    timeout, conn_event, conn);
	if (conn->event < 0) {
		EPRINTF("control: cannot wait for a client: %s", strerror(-conn->event));
		conn_close(conn);
	}
}

static void
conn_send(struct control_conn *conn)
{
	while (conn->sent < conn->reply_size) {
		ssize_t n = send(conn->fd, conn->reply + conn->sent,
				 conn->reply_size - conn->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (conn->state != CONN_SENDING)
				conn_set_deadline(conn, CONTROL_SEND_TIMEOUT);
			conn_wait(conn, CONN_SENDING, SCHEDULER_POLL_WRITE_FD,
				  conn_time_left(conn));
			return;
		}
		if (n < 0)
			break;
		conn->sent += (size_t)n;
	}

	conn_close(conn);
}

/* Adds to the answer. 0 or -ENOMEM. */
static int
conn_reply(struct control_conn *conn, const void *data, size_t size)
{
	char *reply = realloc(conn->reply, conn->reply_size + size);

	if (!reply)
		return -ENOMEM;

	memcpy(reply + conn->reply_size, data, size);
	conn->reply = reply;
	conn->reply_size += size;
	return 0;
}

/* As much of text as a response has room for, and no half of a character. Bytes. */
static size_t
conn_fits(const char *text)
{
	const size_t most = sizeof(((tapdisk_message_response_t *)NULL)->message) - 1;
	size_t len = strnlen(text, most + 1);

	if (len <= most)
		return len;
	for (len = most; len && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
		;
	return len;
}

/*
 * Answers with the response, or if err is not 0 with that and the reason in words. Of
 * those, what does not fit follows the response, until the connection ends.
 */
static void
conn_answer(struct control_conn *conn, int err)
{
	tapdisk_message_t *response = &conn->response;
	const char *text = "";
	size_t fits = 0;

	if (err) {
		text = *tapdisk_log_first_error() ? tapdisk_log_first_error() : strerror(-err);
		fits = conn_fits(text);
		memset(&response->u, 0, sizeof(response->u));
		response->type = TAPDISK_MESSAGE_ERROR;
		response->u.response.error = -err;
		memcpy(response->u.response.message, text, fits);
	}

	if (conn_reply(conn, response, sizeof(*response)) ||
	    conn_reply(conn, text + fits, strlen(text + fits)))
		conn_close(conn);
	else
		conn_send(conn);
}

/* --- what clients can ask for --------------------------------------------------- */

/*
 * A handler fills in the response's union, which is zero, and returns 0 or -errno; or
 * CONTROL_LATER, when control_finished() will answer.
 */
#define CONTROL_LATER 1

static int
control_get_pid(struct control_conn *conn)
{
	conn->response.u.tapdisk_pid = getpid();
	return 0;
}

static int
control_list(struct control_conn *conn)
{
	struct list_head *vbds = tapdisk_server_get_all_vbds();
	tapdisk_message_list_t *list = &conn->response.u.list;
	td_vbd_t *vbd;

	list_for_each_entry(vbd, vbds, next)
		list->count++;

	list_for_each_entry(vbd, vbds, next) {
		list->minor = vbd->minor;
		list->state = (int32_t)vbd->state;
		memset(list->path, 0, sizeof(list->path));
		if (vbd->name)
			snprintf(list->path, sizeof(list->path), "%s", vbd->name);
		if (conn_reply(conn, &conn->response, sizeof(conn->response)))
			return -ENOMEM;
		list->count--;
	}

	memset(list, 0, sizeof(*list));
	list->minor = -1;
	return 0;
}

/* The response, with JSON behind it: CONTROL_LATER, or -errno. */
static int
conn_answer_json(struct control_conn *conn, const char *json, size_t len)
{
	int err;

	conn->response.u.info.length = len;
	err = conn_reply(conn, &conn->response, sizeof(conn->response));
	if (!err)
		err = conn_reply(conn, json, len);
	if (err)
		return err;

	conn_send(conn);
	return CONTROL_LATER;
}

static int
control_stats(struct control_conn *conn)
{
	uint16_t minor = conn->request.cookie;
	td_vbd_t *vbd = tapdisk_server_get_vbd(minor);
	td_stats_t st;
	char *json;
	size_t len;
	int err;

	tapdisk_stats_init(&st);
	if (minor == TAPDISK_MESSAGE_COOKIE_ALL) {
		tapdisk_stats_enter(&st, '[');
		list_for_each_entry(vbd, tapdisk_server_get_all_vbds(), next)
			tapdisk_vbd_stats(vbd, &st);
		tapdisk_stats_leave(&st, ']');
	} else if (vbd) {
		tapdisk_vbd_stats(vbd, &st);
	} else {
		EPRINTF("minor %u is not attached to this tapdisk", minor);
		return -ENODEV;
	}

	err = tapdisk_stats_finish(&st, &json, &len);
	if (err)
		return err;

	err = conn_answer_json(conn, json, len);
	free(json);
	return err;
}

/* Takes the lock on the minor's marker file. The descriptor, or -errno. */
static int
control_lock_minor(td_uuid_t minor)
{
	char path[PATH_MAX];
	int fd, err;

	snprintf(path, sizeof(path), "%s/" TAPDISK_MINOR_PREFIX "%u", tapdisk_server_run_dir(),
		 minor);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		err = -errno;
		EPRINTF("minor %u: %s: %s; allocate the minor first", minor, path,
			strerror(-err));
		return err;
	}

	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		EPRINTF("minor %u: %s: %s", minor, path,
			err == -EBUSY ? "another tapdisk has it" : strerror(-err));
		close(fd);
		return err;
	}

	return fd;
}

static int
control_attach(struct control_conn *conn)
{
	td_uuid_t minor = conn->request.cookie;
	td_vbd_t *vbd;
	int fd;

	if (tapdisk_server_get_vbd(minor)) {
		EPRINTF("minor %u is attached already", minor);
		return -EEXIST;
	}

	tapdisk_loop_lend();
	fd = control_lock_minor(minor);
	tapdisk_loop_take_back();
	if (fd < 0)
		return fd;
	/* The lock keeps other requests from attaching it meanwhile. */
	if (control.socket.fd < 0) {
		EPRINTF("minor %u: this tapdisk ends, its last disk has gone", minor);
		close(fd);
		return -ESHUTDOWN;
	}

	vbd = tapdisk_vbd_create(minor);
	if (!vbd) {
		close(fd);
		return -ENOMEM;
	}
	vbd->lock_fd = fd;
	tapdisk_server_add_vbd(vbd);
	return 0;
}

/* For requests that need a VBD: *vbd, or -ENODEV. */
static int
control_find(const struct control_conn *conn, td_vbd_t **vbd)
{
	*vbd = tapdisk_server_get_vbd(conn->request.cookie);
	if (*vbd)
		return 0;

	EPRINTF("minor %u is not attached to this tapdisk", conn->request.cookie);
	return -ENODEV;
}

static void
control_drop_vbd(td_vbd_t *vbd)
{
	const int lock = vbd->lock_fd;

	tapdisk_server_remove_vbd(vbd);
	tapdisk_vbd_free(vbd);
	tapdisk_loop_lend();
	close(lock);
	tapdisk_loop_take_back();
}

static int
control_detach(struct control_conn *conn)
{
	td_vbd_t *vbd;
	int err = control_find(conn, &vbd);

	if (!err)
		err = tapdisk_vbd_check_busy(vbd);
	if (err)
		return err;
	if (vbd->name) {
		EPRINTF("minor %u is open (%s); close it first", vbd->minor, vbd->name);
		return -EBUSY;
	}

	control_drop_vbd(vbd);
	return 0;
}

/* Whether the strings of OPEN and RESUME end, and nothing unknown is wanted. */
static int
control_check_params(const tapdisk_message_params_t *params, uint32_t flags)
{
	if (!memchr(params->path, '\0', sizeof(params->path))) {
		EPRINTF("the image's name is longer than %zu bytes", sizeof(params->path) - 1);
		return -ENAMETOOLONG;
	}
	if (params->flags & ~flags) {
		EPRINTF("this tapdisk has no mirrors, caches, logs, chains or encryption "
			"(flags %#x)",
			params->flags & ~flags);
		return -EOPNOTSUPP;
	}

	return 0;
}

static int
control_disk_info(struct control_conn *conn)
{
	tapdisk_message_image_t *image = &conn->response.u.image;
	td_disk_info_t info;
	td_vbd_t *vbd;
	int err = control_find(conn, &vbd);

	if (!err)
		err = tapdisk_vbd_get_disk_info(vbd, &info);
	if (err)
		return err;

	image->sectors = info.size;
	image->sector_size = (uint32_t)info.sector_size;
	image->info = info.info;
	return 0;
}

/*
 * A pause or close has ended. The VBD allows one such operation at a time; a close may have
 * been asked for by several clients, some of whom do not wait any more.
 */
static void
control_finished(td_vbd_t *vbd, int err, void *token)
{
	for (int i = 0; i < CONTROL_CONNECTIONS; i++) {
		struct control_conn *conn = &control.conns[i];

		if (conn->state == CONN_WORKING && conn->vbd == vbd)
			conn_answer(conn, err);
	}
}

static void
control_closed(td_vbd_t *vbd, int err, void *token)
{
	if (!err) {
		tapdisk_nbdserver_stop(vbd->nbdserver);
		vbd->nbdserver = NULL;
		tapdisk_blkif_disconnect(vbd->blkif);
		/* It is dropped by tapdisk_control_run(): the loop is not to sleep before. */
		if (control.shutdown)
			tapdisk_server_set_max_timeout(0);
	} else if (control.shutdown) {
		EPRINTF("minor %u cannot be closed, this tapdisk goes on", vbd->minor);
		control.shutdown = false;
	}
	control_finished(vbd, err, token);
}

static int
control_open(struct control_conn *conn)
{
	const tapdisk_message_params_t *params = &conn->request.u.params;
	bool readonly = params->flags & TAPDISK_MESSAGE_FLAG_RDONLY;
	td_flag_t flags = 0;
	td_vbd_t *vbd;
	int err = control_find(conn, &vbd) ? -EINVAL : 0; /* blktap's answer to OPEN */

	if (!err)
		err = control_check_params(params, CONTROL_OPEN_FLAGS);
	if (!err && params->prt_devnum != TAPDISK_MESSAGE_NO_PARENT) {
		EPRINTF("this tapdisk cannot use another minor as a parent");
		err = -EOPNOTSUPP;
	}
	if (err)
		return err;

	if (readonly)
		flags |= TD_OPEN_RDONLY;
	if (params->flags & TAPDISK_MESSAGE_FLAG_NO_O_DIRECT)
		flags |= TD_OPEN_NO_O_DIRECT;
	if (params->flags & TAPDISK_MESSAGE_FLAG_SHARED)
		flags |= TD_OPEN_SHAREABLE;

	err = tapdisk_vbd_open(vbd, params->path, flags);
	if (err)
		return err;
	if (params->req_timeout)
		vbd->req_timeout = params->req_timeout;

	vbd->busy++;
	err = tapdisk_nbdserver_start(vbd, vbd->minor, readonly, &vbd->nbdserver);
	vbd->busy--;
	if (err) {
		/* Nothing is in flight: the next turn closes it. */
		tapdisk_vbd_close(vbd, true, control_closed, NULL);
		return err;
	}

	return control_disk_info(conn);
}

static int
control_pause(struct control_conn *conn)
{
	int err = control_find(conn, &conn->vbd);

	conn->state = CONN_WORKING;
	if (!err)
		err = tapdisk_vbd_pause(
			conn->vbd, conn->request.u.params.flags & TAPDISK_MESSAGE_FLAG_ANY_NAME,
			control_finished, NULL);
	return err ? err : CONTROL_LATER;
}

static int
control_resume(struct control_conn *conn)
{
	const tapdisk_message_params_t *params = &conn->request.u.params;
	td_vbd_t *vbd;
	int err = control_find(conn, &vbd);

	if (!err)
		err = control_check_params(params, 0);
	if (err)
		return err;

	return tapdisk_vbd_resume(vbd, *params->path ? params->path : NULL);
}

static int
control_close(struct control_conn *conn)
{
	int err = control_find(conn, &conn->vbd);

	conn->state = CONN_WORKING;
	if (!err)
		err = tapdisk_vbd_close(conn->vbd, false, control_closed, NULL);
	return err ? err : CONTROL_LATER;
}

static int
control_force_shutdown(struct control_conn *conn)
{
	td_vbd_t *vbd;
	int err = control_find(conn, &vbd);

	return err ? err : tapdisk_vbd_close(vbd, true, control_closed, NULL);
}

static int
control_xenblkif_connect(struct control_conn *conn)
{
	return tapdisk_control_ring_connect(&conn->request);
}

static int
control_xenblkif_disconnect(struct control_conn *conn)
{
	return tapdisk_control_ring_disconnect(&conn->request);
}

static bool
control_is_wanted(void *client)
{
	const struct control_conn *conn = client;

	return !private_socket_peer_gone(conn->fd);
}

static int
control_migrate_start(struct control_conn *conn)
{
	td_vbd_t *vbd;
	int err = control_find(conn, &vbd);
	char *answer;

	if (err)
		return err;
	answer = control.start(vbd, conn->extra, conn->request.u.info.length, control_is_wanted,
			       conn);
	err = answer ? conn_answer_json(conn, answer, strlen(answer)) : -ENOMEM;
	free(answer);
	return err;
}

static const struct control_request {
	int (*handle)(struct control_conn *conn);
	uint16_t response;
	bool at_once; /* changes nothing, so that any turn may do it */
} control_requests[TAPDISK_MESSAGE_MAX + 1] = {
	[TAPDISK_MESSAGE_PID] = { control_get_pid, TAPDISK_MESSAGE_PID_RSP, true },
	[TAPDISK_MESSAGE_LIST] = { control_list, TAPDISK_MESSAGE_LIST_RSP, true },
	[TAPDISK_MESSAGE_STATS] = { control_stats, TAPDISK_MESSAGE_STATS_RSP, true },
	[TAPDISK_MESSAGE_ATTACH] = { control_attach, TAPDISK_MESSAGE_ATTACH_RSP, false },
	[TAPDISK_MESSAGE_OPEN] = { control_open, TAPDISK_MESSAGE_OPEN_RSP, false },
	[TAPDISK_MESSAGE_PAUSE] = { control_pause, TAPDISK_MESSAGE_PAUSE_RSP, false },
	[TAPDISK_MESSAGE_RESUME] = { control_resume, TAPDISK_MESSAGE_RESUME_RSP, false },
	[TAPDISK_MESSAGE_CLOSE] = { control_close, TAPDISK_MESSAGE_CLOSE_RSP, false },
	[TAPDISK_MESSAGE_FORCE_SHUTDOWN] = { control_force_shutdown, TAPDISK_MESSAGE_CLOSE_RSP,
					     false },
	[TAPDISK_MESSAGE_DETACH] = { control_detach, TAPDISK_MESSAGE_DETACH_RSP, false },
	[TAPDISK_MESSAGE_DISK_INFO] = { control_disk_info, TAPDISK_MESSAGE_DISK_INFO_RSP,
					false },
	[TAPDISK_MESSAGE_XENBLKIF_CONNECT] = { control_xenblkif_connect,
					       TAPDISK_MESSAGE_XENBLKIF_CONNECT_RSP, false },
	[TAPDISK_MESSAGE_XENBLKIF_DISCONNECT] = { control_xenblkif_disconnect,
						  TAPDISK_MESSAGE_XENBLKIF_DISCONNECT_RSP,
						  false },
};

/* NULL if there is no such request. */
static const struct control_request *
control_request(const struct control_conn *conn)
{
	static const struct control_request start = { control_migrate_start,
						      TAPDISK_MESSAGE_MIGRATE_START_RSP,
						      false };
	uint16_t type = conn->request.type;

	if (type == TAPDISK_MESSAGE_MIGRATE_START)
		return control.start ? &start : NULL;
	return type <= TAPDISK_MESSAGE_MAX && control_requests[type].handle
		       ? &control_requests[type]
		       : NULL;
}

static void
conn_serve(struct control_conn *conn)
{
	const struct control_request *request = control_request(conn);
	int err;

	conn->response.cookie = conn->request.cookie;
	tapdisk_log_clear_error();
	if (!request) {
		EPRINTF("no such request: %u", conn->request.type);
		conn_answer(conn, -EINVAL);
		return;
	}

	conn->response.type = request->response;
	if (!request->at_once) {
		/* A hang-up is noticed afterwards. */
		tapdisk_server_unregister_event(conn->event);
		conn->event = 0;
		conn->state = CONN_HANDLED;
	}
	err = request->handle(conn);
	if (err != CONTROL_LATER)
		conn_answer(conn, err);
	else if (conn->state == CONN_WORKING)
		conn_wait(conn, CONN_WORKING, SCHEDULER_POLL_EXCEPT_FD, TV_INF);
}

/* It may come in a turn of the loop that another request waits in, and has failed in. */
static void
conn_handle(struct control_conn *conn)
{
	char outer[TAPDISK_LOG_TEXT];

	snprintf(outer, sizeof(outer), "%s", tapdisk_log_first_error());
	conn_serve(conn);
	tapdisk_log_set_error(outer);
}

/* --- events --------------------------------------------------------------------- */

/* How much follows the request, as far as that is known; -EMSGSIZE: too much. */
static ssize_t
conn_extra(const struct control_conn *conn)
{
	size_t length = conn->request.u.info.length;

	if (conn->received < sizeof(conn->request) || !control_request(conn) ||
	    conn->request.type != TAPDISK_MESSAGE_MIGRATE_START)
		return 0;
	return length > TAPDISK_MESSAGE_MIGRATE_START_MAX ? -EMSGSIZE : (ssize_t)length;
}

/* As recv(), of what is missing. */
static ssize_t
conn_read(struct control_conn *conn)
{
	size_t have = conn->received;

	if (have < sizeof(conn->request))
		return recv(conn->fd, (char *)&conn->request + have,
			    sizeof(conn->request) - have, MSG_DONTWAIT);
	have -= sizeof(conn->request);
	return recv(conn->fd, conn->extra + have, (size_t)conn_extra(conn) - have,
		    MSG_DONTWAIT);
}

/* Whether all of the request is here; the client may be gone. */
static bool
conn_is_whole(struct control_conn *conn)
{
	ssize_t extra = conn_extra(conn);

	if (extra < 0 || (extra && !conn->extra && !(conn->extra = malloc((size_t)extra)))) {
		conn_close(conn);
		return false;
	}
	if (conn->received == sizeof(conn->request) + (size_t)extra)
		return true;
	tapdisk_server_event_set_timeout(conn->event, conn_time_left(conn));
	return false;
}

static void
conn_receive(struct control_conn *conn)
{
	const struct control_request *request;
	ssize_t n = conn_read(conn);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(conn);
		return;
	}

	conn->received += (size_t)n;
	if (!conn_is_whole(conn))
		return;

	request = control_request(conn);
	if (!request || request->at_once)
		conn_handle(conn);
	else
		conn_wait(conn, CONN_READY, SCHEDULER_POLL_EXCEPT_FD, TV_INF);
}

/* A client that has gone away leaves no paused VBD behind. */
static void
conn_hang_up(struct control_conn *conn)
{
	if (conn->state == CONN_WORKING)
		tapdisk_vbd_cancel_pause(conn->vbd);
	conn_close(conn);
}

static void
conn_event(event_id_t id, char mode, void *private)
{
	struct control_conn *conn = private;

	if (mode & SCHEDULER_POLL_READ_FD)
		conn_receive(conn);
	else if (mode & SCHEDULER_POLL_WRITE_FD)
		conn_send(conn);
	else
		conn_hang_up(conn);
}

static struct control_conn *
control_free_conn(void)
{
	for (int i = 0; i < CONTROL_CONNECTIONS; i++)
		if (control.conns[i].state == CONN_FREE)
			return &control.conns[i];
	return NULL;
}

static void
control_take(void *ctx, int fd)
{
	struct control_conn *conn = control_free_conn();

	conn->fd = fd;
	conn_set_deadline(conn, CONTROL_RECV_TIMEOUT);
	private_socket_full(&control.socket, ++control.n_conns == CONTROL_CONNECTIONS);
	conn_wait(conn, CONN_RECEIVING, SCHEDULER_POLL_READ_FD, conn_time_left(conn));
}

int
tapdisk_control_open(const char **path)
{
	const char *dir = tapdisk_server_run_dir();
	char name[PATH_MAX];
	int err;

	if (*dir != '/') {
		EPRINTF("%s: " TAPDISK_RUN_DIR_ENV " must be an absolute path", dir);
		return -EINVAL;
	}
	if (mkdir(dir, 0700) && errno != EEXIST) {
		err = -errno;
		EPRINTF("%s: cannot create it: %s", dir, strerror(-err));
		return err;
	}

	/* A socket that is there is of a dead process that had our id. */
	snprintf(name, sizeof(name), "%s/" TAPDISK_CTL_PREFIX "%d", dir, getpid());
	err = private_socket_open(&control.socket, name, CONTROL_BACKLOG, true, control_take,
				  NULL);
	if (err == -ENAMETOOLONG)
		EPRINTF("%s: too long a path for a socket in it", dir);
	else if (err)
		EPRINTF("%s: cannot listen: %s", name, strerror(-err));
	else
		*path = control.socket.addr.sun_path;
	return err;
}

void
tapdisk_control_set_start(control_start_t start)
{
	control.start = start;
}

void
tapdisk_control_close(void)
{
	private_socket_close(&control.socket);

	for (int i = 0; i < CONTROL_CONNECTIONS; i++) {
		struct control_conn *conn = &control.conns[i];

		if (conn->state != CONN_FREE && conn->state != CONN_SENDING &&
		    conn->state != CONN_HANDLED)
			conn_close(conn);
	}
}

/*
 * Closes all VBDs and drops one that is closed; false: none is. One that is busy is left to
 * the turn in which it is not any more.
 */
static bool
control_shut_down(void)
{
	td_vbd_t *vbd;

	list_for_each_entry(vbd, tapdisk_server_get_all_vbds(), next) {
		if (!tapdisk_vbd_may_close(vbd))
			continue;
		if (!vbd->name) {
			control_drop_vbd(vbd);
			return true;
		}
		if (!(vbd->state & TD_VBD_SHUTDOWN_REQUESTED))
			tapdisk_vbd_close(vbd, true, control_closed, NULL);
	}
	return false;
}

void
tapdisk_control_run(void)
{
	for (int i = 0; i < CONTROL_CONNECTIONS; i++) {
		struct control_conn *conn = &control.conns[i];

		if (conn->state != CONN_READY)
			continue;
		/* A pause that nobody knows of would stay for ever. */
		if (private_socket_peer_gone(conn->fd))
			conn_close(conn);
		else
			conn_handle(conn);
	}

	while (control.shutdown && control_shut_down())
		;
}

void
tapdisk_control_shutdown(void)
{
	control.shutdown = true;
	tapdisk_control_run();
}

bool
tapdisk_control_idle(void)
{
	return !control.n_conns;
}
