/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "libaio-backend.h"
#include "tapdisk-control.h"
#include "tapdisk-log.h"
#include "tapdisk-lost.h"
#include "tapdisk-loop.h"
#include "tapdisk-message.h"
#include "tapdisk-worker.h"
#include "thread-io.h"
#include "timeout-math.h"

/* Rounds of issuing and answering in one turn, before others get theirs. */
#define SERVER_ROUNDS 4
/* Before the kernel is asked again that took no I/O, or a driver that was busy. */
#define SERVER_RETRY_DELAY TV_USECS(5000)

static struct {
	scheduler_t scheduler;
	struct libaio aio;
	struct list_head vbds;
	unsigned int vbds_changed; /* so often has one come or gone */
	int signal_fd;
	int loop_fd;
	bool shutdown; /* a signal asked for it */
	bool done;     /* the last VBD has gone */
} server;

event_id_t
tapdisk_server_register_event(char mode, int fd, struct timeval timeout, event_cb_t cb,
			      void *private)
{
	return scheduler_register_event(&server.scheduler, mode, fd, timeout, cb, private);
}

void
tapdisk_server_unregister_event(event_id_t id)
{
	scheduler_unregister_event(&server.scheduler, id);
}

void
tapdisk_server_mask_event(event_id_t id, int masked)
{
	scheduler_mask_event(&server.scheduler, id, masked);
}

int
tapdisk_server_event_set_timeout(event_id_t id, struct timeval timeout)
{
	return scheduler_event_set_timeout(&server.scheduler, id, timeout);
}

void
tapdisk_server_set_max_timeout(int seconds)
{
	scheduler_set_max_timeout(&server.scheduler, TV_SECS(seconds));
}

void
tapdisk_server_prep_tiocb(struct tiocb *tiocb, int fd, bool write, char *buf, size_t size,
			  long long offset, td_queue_callback_t cb, void *arg)
{
	libaio_prep(&server.aio, tiocb, fd, write, buf, size, offset, cb, arg);
}

void
tapdisk_server_queue_tiocb(struct tiocb *tiocb)
{
	libaio_queue(&server.aio, tiocb);
}

const char *
tapdisk_server_run_dir(void)
{
	const char *dir = getenv(TAPDISK_RUN_DIR_ENV);

	return dir && *dir ? dir : TAPDISK_RUN_DIR;
}

struct list_head *
tapdisk_server_get_all_vbds(void)
{
	return &server.vbds;
}

td_vbd_t *
tapdisk_server_get_vbd(td_uuid_t minor)
{
	td_vbd_t *vbd;

	list_for_each_entry(vbd, &server.vbds, next)
		if (vbd->minor == minor)
			return vbd;
	return NULL;
}

void
tapdisk_server_add_vbd(td_vbd_t *vbd)
{
	list_add_tail(&vbd->next, &server.vbds);
	server.vbds_changed++;
	server.done = false; /* until the end of the turn it can be */
}

void
tapdisk_server_remove_vbd(td_vbd_t *vbd)
{
	list_del_init(&vbd->next);
	server.vbds_changed++;
	if (list_empty(&server.vbds))
		server.done = true;
}

/* Lets the VBDs work. False if they have changed meanwhile: not all have worked. */
static bool
server_run_vbds(void)
{
	const unsigned int before = server.vbds_changed;
	td_vbd_t *vbd;

	if (tapdisk_lost_run())
		return false;
	list_for_each_entry(vbd, &server.vbds, next) {
		tapdisk_vbd_run(vbd);
		/* It may have lent the loop, and be gone. */
		if (server.vbds_changed != before)
			return false;
	}
	return true;
}

/*
 * Lets the VBDs work and submits their I/O. How long the loop may wait then: not
 * at all if there is more to do, a little if something is to be tried again.
 */
static struct timeval
server_round(void)
{
	bool retry, more = !server_run_vbds();
	td_vbd_t *vbd;

	retry = !libaio_submit(&server.aio);
	list_for_each_entry(vbd, &server.vbds, next) {
		more |= tapdisk_vbd_has_work(vbd);
		retry |= !list_empty(&vbd->retries);
	}

	return more ? TV_ZERO : retry ? SERVER_RETRY_DELAY : TV_INF;
}

static void
server_iterate(void)
{
	struct timeval wait;
	int rounds = 0, err;

	libaio_complete(&server.aio);
	do {
		wait = server_round();
	} while (!timerisset(&wait) && ++rounds < SERVER_ROUNDS);

	scheduler_set_max_timeout(&server.scheduler, wait);
	err = scheduler_wait_for_events(&server.scheduler);
	if (err)
		EPRINTF("cannot wait for events: %s", strerror(-err));
}

void
tapdisk_server_iterate(void)
{
	if (!tapdisk_loop_pass())
		server_iterate();
}

/* The eventfd is never read: each completion is an edge, and all are taken. */
static void
server_aio_event(event_id_t id, char mode, void *private)
{
	libaio_complete(&server.aio);
}

static void
server_signal_event(event_id_t id, char mode, void *private)
{
	struct signalfd_siginfo info;
	td_vbd_t *vbd;

	while (read(server.signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGUSR1) {
			list_for_each_entry(vbd, &server.vbds, next)
				tapdisk_vbd_debug(vbd);
		} else {
			DPRINTF("signal %u: closing all VBDs", info.ssi_signo);
			server.shutdown = true;
		}
	}
}

/* Signals become events; threads inherit the mask and never get them. */
static int
server_init_signals(void)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPWR, SIGUSR1 };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		sigaddset(&set, wanted[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;

	server.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return server.signal_fd < 0 ? -errno : 0;
}

/* With less in flight, or by threads, where the host's limit does not allow more. */
static int
server_init_aio(void)
{
	unsigned int depth = LIBAIO_DEPTH;
	int err;

	do {
		err = libaio_open(&server.aio, depth);
		if (!err && depth < LIBAIO_DEPTH)
			tlog_syslog(TLOG_WARN,
				    "kernel AIO: at most %u I/Os at once instead of %u: the "
				    "host's limit is reached; raise the sysctl fs.aio-max-nr",
				    depth, LIBAIO_DEPTH);
		depth /= 2;
	} while (err == -EAGAIN && depth >= LIBAIO_DEPTH_MIN);
	if (!err)
		return 0;

	tlog_syslog(TLOG_WARN,
		    "no kernel AIO (%s), which is slower; its limit for the host is the sysctl "
		    "fs.aio-max-nr",
		    strerror(-err));
	err = thread_io_open(&server.aio);
	if (err)
		EPRINTF("no I/O: %s", strerror(-err));
	return err;
}

static void
server_loop_event(event_id_t id, char mode, void *private)
{
	tapdisk_loop_heard();
}

/* 0 or -errno. */
static int
server_init_events(void)
{
	const struct {
		char mode;
		int fd;
		event_cb_t cb;
	} events[] = {
		{ SCHEDULER_POLL_READ_FD | SCHEDULER_POLL_EDGE, server.aio.event_fd,
		  server_aio_event },
		{ SCHEDULER_POLL_READ_FD, server.signal_fd, server_signal_event },
		{ SCHEDULER_POLL_READ_FD, server.loop_fd, server_loop_event },
	};
	event_id_t id = 0;

	for (size_t i = 0; i < sizeof(events) / sizeof(*events) && id >= 0; i++)
		id = tapdisk_server_register_event(events[i].mode, events[i].fd, TV_INF,
						   events[i].cb, NULL);
	return id < 0 ? id : 0;
}

int
tapdisk_server_init(void)
{
	int err;

	INIT_LIST_HEAD(&server.vbds);
	server.shutdown = server.done = false;

	err = scheduler_initialize(&server.scheduler);
	if (!err)
		err = server_init_signals();
	if (!err)
		err = server_init_aio();
	if (!err) {
		server.loop_fd = tapdisk_loop_open();
		err = server.loop_fd < 0 ? server.loop_fd : tapdisk_worker_init();
	}
	return err ? err : server_init_events();
}

void
tapdisk_server_exit(void)
{
	tapdisk_worker_exit();
	libaio_close(&server.aio);
	close(server.signal_fd);
	tapdisk_loop_close();
	scheduler_destroy(&server.scheduler);
}

/* False: nothing is left to do. */
static bool
server_turn(void)
{
	server_iterate();
	if (!server.done)
		tapdisk_control_run();
	if (server.shutdown && !server.done) {
		server.shutdown = false;
		tapdisk_control_shutdown();
		server.done |= list_empty(&server.vbds);
	}
	/* Clients get their last answers, new ones are not taken. */
	if (server.done)
		tapdisk_control_close();
	return !server.done || !tapdisk_control_idle();
}

void
tapdisk_server_run(void)
{
	tapdisk_loop_run(server_turn);
}
