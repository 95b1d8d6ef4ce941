/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "timeout-math.h"

#include "migrate-control.h"

#define LINE_MAX_BYTES (64 * 1024)
#define OUT_MAX_BYTES  (256 * 1024)

struct client {
	struct list_head link;
	struct migrate_control *control;
	int fd;
	event_id_t read_event;
	event_id_t write_event;
	size_t in_len;
	size_t out_len;
	char in[LINE_MAX_BYTES];
	char *out;
};

struct migrate_control {
	int fd;
	event_id_t event;
	unsigned clients;
	struct list_head list;
	json_t *(*handle)(void *ctx, json_t *request);
	void *ctx;
	struct sockaddr_un addr;
};

json_t *
migrate_control_error(int err, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return json_pack("{s:b, s:{s:i, s:s}}", "ok", 0, "error", "errno", -err, "message",
			 text);
}

static void
client_close(struct client *c)
{
	tapdisk_server_unregister_event(c->read_event);
	tapdisk_server_unregister_event(c->write_event);
	close(c->fd);
	list_del(&c->link);
	if (c->control->clients-- == MIGRATE_CONTROL_CLIENTS)
		tapdisk_server_mask_event(c->control->event, 0);
	free(c->out);
	free(c);
}

/* Sends what is queued, as far as the client takes it. False: it is gone. */
static bool
client_flush(struct client *c)
{
	ssize_t n = 0;

	while (c->out_len) {
		n = send(c->fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			break;
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
	tapdisk_server_mask_event(c->write_event, !c->out_len);
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

/* Queues a line. False: the client does not read, or there is no memory. */
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

/* Handles the whole lines that have come in. False: the client is to be dropped. */
static bool
client_lines(struct client *c)
{
	char *start = c->in, *end;

	while ((end = memchr(start, '\n', c->in_len - (size_t)(start - c->in)))) {
		if (!client_line(c, start, (size_t)(end - start)))
			return false;
		start = end + 1;
	}
	c->in_len -= (size_t)(start - c->in);
	memmove(c->in, start, c->in_len);
	if (c->in_len < sizeof(c->in))
		return true;
	json_t *reply = migrate_control_error(-EMSGSIZE, "a line is at most %d bytes long",
					      LINE_MAX_BYTES);
	if (client_put(c, reply))
		client_flush(c);
	json_decref(reply);
	return false;
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
	if (n <= 0 || !client_lines(c) || !client_flush(c))
		client_close(c);
}

static void
client_writable(event_id_t id, char mode, void *private)
{
	struct client *c = private;

	if (!client_flush(c))
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

/* False: nobody is waiting. */
static bool
control_take(struct migrate_control *control)
{
	int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0)
		return false;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return true;
	}
	c->control = control;
	c->fd = fd;
	if (client_register(c)) {
		close(fd);
		free(c);
		return true;
	}
	list_add_tail(&c->link, &control->list);
	/* Who comes while we have all we want waits in the backlog. */
	if (++control->clients == MIGRATE_CONTROL_CLIENTS)
		tapdisk_server_mask_event(control->event, 1);
	return true;
}

static void
control_accept(event_id_t id, char mode, void *private)
{
	control_take(private);
}

static int
control_listen(struct migrate_control *control)
{
	mode_t mask = umask(0177);
	int err = 0;

	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0) {
		err = -errno;
	} else {
		unlink(control->addr.sun_path);
		if (bind(control->fd, (struct sockaddr *)&control->addr,
			 sizeof(control->addr)) ||
		    listen(control->fd, MIGRATE_CONTROL_CLIENTS))
			err = -errno;
	}
	umask(mask);
	if (!err) {
		control->event = tapdisk_server_register_event(
			SCHEDULER_POLL_READ_FD, control->fd, TV_INF, control_accept, control);
		err = control->event < 0 ? control->event : 0;
	}
	if (err && control->fd >= 0)
		close(control->fd);
	return err;
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
	control->addr.sun_family = AF_UNIX;
	INIT_LIST_HEAD(&control->list);
	if (snprintf(control->addr.sun_path, sizeof(control->addr.sun_path), "%s", path) >=
	    (int)sizeof(control->addr.sun_path))
		err = -ENAMETOOLONG;
	else
		err = control_listen(control);
	if (err) {
		EPRINTF("cannot listen on %s: %s", path, strerror(-err));
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
	unlink(control->addr.sun_path);
	while (control_take(control))
		;
	list_for_each_entry_safe(c, next, &control->list, link) {
		if (client_put(c, last))
			client_flush(c);
		client_close(c);
	}
	tapdisk_server_unregister_event(control->event);
	close(control->fd);
	free(control);
}
