/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "timeout-math.h"

#include "migrate-control.h"
#include "migrate-text.h"
#include "patience.h"
#include "private-socket.h"

#define LINE_MAX_BYTES (64 * 1024)
#define OUT_MAX_BYTES  (256 * 1024)
#define ERROR_TEXT     12800 /* three names of files, and words */
/* Requests of a client before others have their turn. */
#define LINES_IN_TURN 4

struct client {
	struct list_head link;
	struct migrate_control *control;
	int fd;
	event_id_t read_event;
	event_id_t write_event; /* masked unless it has something to take, or to be told */
	struct patience patience;
	unsigned int silent; /* looks since its last request */
	size_t in_len;
	size_t out_len; /* of out, and what of that the client has taken */
	size_t out_sent;
	char in[LINE_MAX_BYTES];
	char *out;
};

struct migrate_control {
	struct private_socket socket;
	event_id_t look; /* at the clients' patience, while there are any */
	unsigned clients;
	struct list_head list;
	json_t *(*handle)(void *ctx, json_t *request);
	void *ctx;
};

json_t *
migrate_control_error(int err, const char *fmt, ...)
{
	char text[ERROR_TEXT];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return json_pack("{s:b, s:{s:i, s:o}}", "ok", 0, "error", "errno", -err, "message",
			 migrate_text_json(text));
}

static void
client_close(struct client *c)
{
	struct migrate_control *control = c->control;

	tapdisk_server_unregister_event(c->read_event);
	tapdisk_server_unregister_event(c->write_event);
	close(c->fd);
	list_del(&c->link);
	free(c->out);
	free(c);
	if (!--control->clients)
		tapdisk_server_event_set_timeout(control->look, TV_INF);
	private_socket_full(&control->socket, false);
}

/* Sends what is queued, as far as the client takes it. False: it is gone. */
static bool
client_flush(struct client *c)
{
	while (c->out_sent < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		c->out_sent += (size_t)n;
	}
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_sent = 0;
	patience_got_on(&c->patience);
	return true;
}

/* Queues a line. False: it is too long, or there is no memory. */
static bool
client_put(struct client *c, json_t *reply)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	bool fits = text && c->out_len + len + 1 <= OUT_MAX_BYTES;
	char *out = fits ? realloc(c->out, c->out_len + len + 1) : NULL;

	if (out) {
		memcpy(out + c->out_len, text, len);
		out[c->out_len + len] = '\n';
		c->out = out;
		c->out_len += len + 1;
	}
	free(text);
	return out;
}

static bool
client_line(struct client *c, const char *line, size_t len)
{
	json_error_t why;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	json_t *reply;
	bool ok;

	if (json_is_object(request))
		reply = c->control->handle(c->control->ctx, request);
	else
		reply = migrate_control_error(-EINVAL, "that is not a JSON object%s%s",
					      request ? "" : ": ", request ? "" : why.text);
	ok = client_put(c, reply);
	json_decref(reply);
	json_decref(request);
	return ok;
}

/* A line that does not fit is the client's last. */
static bool
client_too_long(struct client *c)
{
	json_t *reply = migrate_control_error(-EMSGSIZE, "a line is at most %d bytes long",
					      LINE_MAX_BYTES);

	if (client_put(c, reply))
		client_flush(c);
	json_decref(reply);
	return false;
}

/*
 * Handles the whole lines that have come in, one when the answer to the one before has
 * been taken. False: the client is to be dropped.
 */
static bool
client_lines(struct client *c)
{
	char *end;

	for (int i = 0; i < LINES_IN_TURN && !c->out_len; i++) {
		end = memchr(c->in, '\n', c->in_len);
		if (!end)
			break;
		c->silent = 0;
		if (!client_line(c, c->in, (size_t)(end - c->in)) || !client_flush(c))
			return false;
		c->in_len -= (size_t)(end + 1 - c->in);
		memmove(c->in, end + 1, c->in_len);
	}
	end = memchr(c->in, '\n', c->in_len);
	if (!end && c->in_len == sizeof(c->in))
		return client_too_long(c);
	/* What is left to do is done when the client takes something, at once if it can. */
	tapdisk_server_mask_event(c->read_event, end || c->out_len);
	tapdisk_server_mask_event(c->write_event, !end && !c->out_len);
	return true;
}

static void
client_readable(event_id_t id, char mode, void *private)
{
	struct client *c = private;
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->in_len += (size_t)n;
	if (n <= 0 || !client_lines(c))
		client_close(c);
}

static void
client_writable(event_id_t id, char mode, void *private)
{
	struct client *c = private;

	if (!client_flush(c) || !client_lines(c))
		client_close(c);
}

static int
client_register(struct client *c)
{
	c->read_event = tapdisk_server_register_event(SCHEDULER_POLL_READ_FD, c->fd, TV_INF,
						      client_readable, c);
	if (c->read_event < 0)
		return c->read_event;
	c->write_event = tapdisk_server_register_event(SCHEDULER_POLL_WRITE_FD, c->fd, TV_INF,
						       client_writable, c);
	if (c->write_event < 0) {
		tapdisk_server_unregister_event(c->read_event);
		return c->write_event;
	}
	tapdisk_server_mask_event(c->write_event, 1);
	return 0;
}

static void
control_take(void *ctx, int fd)
{
	struct migrate_control *control = ctx;
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return;
	}
	c->control = control;
	c->fd = fd;
	if (client_register(c)) {
		close(fd);
		free(c);
		return;
	}
	list_add_tail(&c->link, &control->list);
	if (!control->clients++)
		tapdisk_server_event_set_timeout(control->look, TV_SECS(PATIENCE_LOOK));
	private_socket_full(&control->socket, control->clients >= MIGRATE_CONTROL_CLIENTS);
}

/* Ends who owes something for too long, or keeps others out and has nothing to say. */
static void
control_look(event_id_t id, char mode, void *private)
{
	struct migrate_control *control = private;
	const bool full = control->clients >= MIGRATE_CONTROL_CLIENTS;
	struct client *c, *next;

	list_for_each_entry_safe(c, next, &control->list, link) {
		const bool owes = c->in_len || c->out_len;

		c->silent++;
		if (patience_look(&c->patience, owes) || (full && c->silent > PATIENCE_LOOKS))
			client_close(c);
	}
}

int
migrate_control_open(struct migrate_control **out, const char *path,
		     json_t *(*handle)(void *, json_t *), void *ctx)
{
	struct migrate_control *control = calloc(1, sizeof(*control));
	int err;

	if (!control)
		return -ENOMEM;
	control->handle = handle;
	control->ctx = ctx;
	INIT_LIST_HEAD(&control->list);
	control->look = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_INF,
						      control_look, control);
	err = control->look < 0 ? control->look : 0;
	if (!err)
		err = private_socket_open(&control->socket, path, MIGRATE_CONTROL_CLIENTS,
					  false, control_take, control);
	if (err) {
		EPRINTF("cannot listen on %s: %s", path, strerror(-err));
		if (control->look > 0)
			tapdisk_server_unregister_event(control->look);
		free(control);
		return err;
	}
	*out = control;
	return 0;
}

void
migrate_control_close(struct migrate_control *control, json_t *last)
{
	struct client *c, *next;

	/* Nobody comes any more; who waits in the backlog is told too. */
	private_socket_unlink(&control->socket);
	while (private_socket_take(&control->socket))
		;
	list_for_each_entry_safe(c, next, &control->list, link) {
		if (client_put(c, last))
			client_flush(c);
		client_close(c);
	}
	private_socket_close(&control->socket);
	tapdisk_server_unregister_event(control->look);
	free(control);
}
