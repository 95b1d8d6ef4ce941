/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapback-exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../control/libtapctl.h"
#include "timeout-math.h"

#define ANSWER_TIME TV_SECS(30)
#define ERRNO_MAX   4095

struct tapback_exchange {
	scheduler_t *s;
	event_id_t event;
	int fd;
	tapback_answer_t cb;
	void *arg;
	size_t have; /* bytes of answer */
	tapdisk_message_t answer;
};

void
tapback_cancel(struct tapback_exchange *exchange)
{
	if (!exchange)
		return;
	scheduler_unregister_event(exchange->s, exchange->event);
	close(exchange->fd);
	free(exchange);
}

static void
finish(struct tapback_exchange *exchange, int err, const char *why)
{
	const tapback_answer_t cb = exchange->cb;
	void *arg = exchange->arg;
	tapdisk_message_t answer = exchange->answer;

	tapback_cancel(exchange);
	cb(arg, err, why, &answer);
}

static void
take_answer(struct tapback_exchange *exchange)
{
	tapdisk_message_response_t *response = &exchange->answer.u.response;
	char why[sizeof(response->message)];
	int err;

	if (exchange->answer.type != TAPDISK_MESSAGE_ERROR) {
		finish(exchange, 0, "");
		return;
	}
	err = response->error > 0 && response->error <= ERRNO_MAX ? -response->error : -EPROTO;
	response->message[sizeof(response->message) - 1] = '\0';
	memcpy(why, response->message, sizeof(why));
	finish(exchange, err, *why ? why : strerror(-err));
}

static void
answered(event_id_t id, char mode, void *private)
{
	struct tapback_exchange *exchange = private;
	ssize_t n;

	if (!(mode & SCHEDULER_POLL_READ_FD)) {
		finish(exchange, -ETIMEDOUT, "it does not answer");
		return;
	}
	n = recv(exchange->fd, (char *)&exchange->answer + exchange->have,
		 sizeof(exchange->answer) - exchange->have, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		finish(exchange, -EPROTO, "it hung up");
		return;
	}
	exchange->have += (size_t)n;
	if (exchange->have == sizeof(exchange->answer))
		take_answer(exchange);
}

int
tapback_ask(scheduler_t *s, pid_t pid, const tapdisk_message_t *message, tapback_answer_t cb,
	    void *arg, struct tapback_exchange **exchange)
{
	struct tapback_exchange *new;
	char path[TAP_CTL_PATH];
	int fd, err;

	err = tap_ctl_path(path, TAPDISK_CTL_PREFIX "%d", pid);
	if (err)
		return err;
	fd = tap_ctl_connect(path);
	if (fd == -ENOENT) /* its socket is gone with it */
		return -ECONNREFUSED;
	if (fd < 0)
		return fd;
	new = calloc(1, sizeof(*new));
	if (!new) {
		close(fd);
		return -ENOMEM;
	}
	*new = (struct tapback_exchange){ .s = s, .fd = fd, .cb = cb, .arg = arg };
	/* A new connection has room for a message. */
	err = send(fd, message, sizeof(*message), MSG_NOSIGNAL) == sizeof(*message) ? 0
										    : -EPROTO;
	if (!err) {
		new->event = scheduler_register_event(
			s, SCHEDULER_POLL_READ_FD | SCHEDULER_POLL_TIMEOUT, fd, ANSWER_TIME,
			answered, new);
		err = new->event < 0 ? new->event : 0;
	}
	if (err) {
		close(fd);
		free(new);
		return err;
	}
	*exchange = new;
	return 0;
}
