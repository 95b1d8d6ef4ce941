/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "timeout-math.h"

#include "private-socket.h"
#include "tapdisk-loop.h"

#define RETRY TV_SECS(1)

/* A masked socket costs nothing, where one that is readable and not read would spin. */
static void
update(struct private_socket *s)
{
	tapdisk_server_mask_event(s->event, s->full || s->resting);
}

static void
take_spare(struct private_socket *s)
{
	if (s->keeps_spare && s->spare < 0)
		s->spare = eventfd(0, EFD_CLOEXEC);
}

/* A descriptor, or -errno. */
static int
try_accept(struct private_socket *s)
{
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static void
rest(struct private_socket *s, int err)
{
	EPRINTF("%s: cannot take a client, and tries again every second: %s", s->addr.sun_path,
		strerror(-err));
	s->resting = true;
	tapdisk_server_event_set_timeout(s->retry, RETRY);
	update(s);
}

bool
private_socket_take(struct private_socket *s)
{
	int fd;

	take_spare(s);
	fd = try_accept(s);
	if ((fd == -EMFILE || fd == -ENFILE) && s->spare >= 0) {
		close(s->spare);
		s->spare = -1;
		fd = try_accept(s);
	}
	if (fd == -EINTR || fd == -ECONNABORTED)
		return true;
	if (fd < 0 && fd != -EAGAIN) {
		if (!s->resting)
			rest(s, fd);
		return false;
	}
	s->resting = false;
	update(s);
	if (fd >= 0)
		s->take(s->ctx, fd);
	return fd >= 0;
}

static void
readable(event_id_t id, char mode, void *private)
{
	private_socket_take(private);
}

/* It rests on, quietly, if it still cannot. */
static void
retry(event_id_t id, char mode, void *private)
{
	struct private_socket *s = private;

	tapdisk_server_event_set_timeout(id, TV_INF);
	if (!s->resting || s->full)
		return;
	if (!private_socket_take(s) && s->resting)
		tapdisk_server_event_set_timeout(id, RETRY);
}

void
private_socket_full(struct private_socket *s, bool full)
{
	if (s->fd < 0)
		return;
	s->full = full;
	s->resting = false;
	take_spare(s);
	update(s);
}

/* 0 or -errno. */
static int
bind_and_listen(struct private_socket *s, int backlog)
{
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	unlink(s->addr.sun_path);
	/* Before bind(): the socket is never there with another mode. */
	if (fchmod(s->fd, S_IRUSR | S_IWUSR) ||
	    bind(s->fd, (struct sockaddr *)&s->addr, sizeof(s->addr)))
		return -errno;
	s->named = true;
	return listen(s->fd, backlog) ? -errno : 0;
}

/* 0 or -errno. */
static int
register_events(struct private_socket *s)
{
	s->event = tapdisk_server_register_event(SCHEDULER_POLL_READ_FD, s->fd, TV_INF,
						 readable, s);
	if (s->event < 0)
		return s->event;
	s->retry = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_INF, retry, s);
	return s->retry < 0 ? s->retry : 0;
}

int
private_socket_open(struct private_socket *s, const char *path, int backlog, bool keep_spare,
		    void (*take)(void *ctx, int fd), void *ctx)
{
	int err;

	*s = (struct private_socket){
		.addr.sun_family = AF_UNIX,
		.fd = -1,
		.spare = -1,
		.keeps_spare = keep_spare,
		.take = take,
		.ctx = ctx,
	};
	if (strlen(path) >= sizeof(s->addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(s->addr.sun_path, path, strlen(path));
	tapdisk_loop_lend();
	err = bind_and_listen(s, backlog);
	tapdisk_loop_take_back();
	if (!err)
		err = register_events(s);
	if (!err)
		take_spare(s);
	else
		private_socket_close(s);
	return err;
}

bool
private_socket_peer_gone(int fd)
{
	struct pollfd peer = { .fd = fd };

	return poll(&peer, 1, 0) > 0 && peer.revents & (POLLHUP | POLLERR);
}

void
private_socket_unlink(struct private_socket *s)
{
	char path[sizeof(s->addr.sun_path)];

	if (!s->named)
		return;
	s->named = false; /* another's may be there next */
	memcpy(path, s->addr.sun_path, sizeof(path));
	tapdisk_loop_lend();
	unlink(path);
	tapdisk_loop_take_back();
}

void
private_socket_close(struct private_socket *s)
{
	if (s->fd < 0)
		return;
	if (s->event > 0)
		tapdisk_server_unregister_event(s->event);
	if (s->retry > 0)
		tapdisk_server_unregister_event(s->retry);
	close(s->fd);
	if (s->spare >= 0)
		close(s->spare);
	s->fd = s->spare = -1;
	private_socket_unlink(s);
}
