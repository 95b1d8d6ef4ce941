/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-lost.o */
/* links: drivers/tapdisk-vbd-image.o */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/private-socket.o drivers/tapdisk-nbd-connection.o */
/* links: drivers/tapdisk-nbd-request.o drivers/tapdisk-nbd-memory.o */
/* links: drivers/tapdisk-control-ring.o */
/* links: tests/fuzz/host.o drivers/tapdisk-nbdserver.o drivers/tapdisk-nbd-proto.o */
/* links: drivers/tapdisk-vbd.o drivers/tapdisk-image.o drivers/tapdisk-interface.o */
/* links: drivers/tapdisk-driver.o drivers/tapdisk-disktype.o drivers/tapdisk-server.o */
/* links: drivers/migrate-text.o */
/* links: drivers/tapdisk-control.o drivers/tapdisk-stats.o drivers/tapdisk-log.o */
/* links: drivers/tapdisk-worker.o drivers/scheduler.o drivers/libaio-backend.o */
/* links: drivers/thread-io.o */
/* links: drivers/tapdisk-inflight.o drivers/tapdisk-blkif.o drivers/tapdisk-ring.o */
/*
 * The control socket against any clients. The input is a list of steps, each a
 * letter with what belongs to it:
 *
 *	m TYPE MINOR N BYTES	a message, with those N bytes at the union's beginning
 *	p N BYTES		N bytes as they are, the rest of a message perhaps
 *	0 1 2 3			the next steps are that client's
 *	x			it hangs up
 *	g MINOR			the guest reads a sector there
 *	.			a turn of the loop
 *
 * Others do nothing. There are markers for the minors 0 to 3.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "tapdisk-control.h"
#include "tapdisk-message.h"
#include "timeout-math.h"

#define MINORS	4
#define CLIENTS 4
#define GUESTS	16
#define STEPS	64

static struct client {
	int fd;	    /* -1: not connected */
	bool asked; /* by one whole message, at once */
	tapdisk_message_t request;
	size_t got;		  /* bytes of the answer */
	tapdisk_message_t answer; /* its last whole message */
} clients[CLIENTS];

static struct guest {
	td_vbd_request_t vreq;
	struct td_iovec iov;
	char sector[4096] __attribute__((aligned(4096)));
} guests[GUESTS];
static unsigned int n_guests, n_answered;

/* --- the guest ------------------------------------------------------------------- */

static void
guest_answered(td_vbd_request_t *vreq, int error, void *token, int final)
{
	n_answered++;
}

static void
guest_reads(td_uuid_t minor)
{
	td_vbd_t *vbd = tapdisk_server_get_vbd(minor);
	struct guest *g = &guests[n_guests];

	if (!vbd || n_guests == GUESTS)
		return;
	g->iov = (struct td_iovec){ g->sector, sizeof(g->sector) >> SECTOR_SHIFT };
	g->vreq = (td_vbd_request_t){ .op = TD_OP_READ,
				      .iov = &g->iov,
				      .iovcnt = 1,
				      .cb = guest_answered,
				      .name = "guest" };
	n_guests += !tapdisk_vbd_queue_request(vbd, &g->vreq);
}

/* --- clients --------------------------------------------------------------------- */

static void
turns(unsigned int n)
{
	while (n--) {
		host_turns(1);
		tapdisk_control_run();
	}
}

static void
client_hang_up(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	*c = (struct client){ .fd = -1 };
}

static void
client_connect(struct client *c)
{
	if (c->fd >= 0)
		return;
	c->fd = host_connect("ctl%d", getpid());
	check(c->fd >= 0);
	turns(1);
}

/* What went wrong is the server's to notice. */
static void
client_sends(struct client *c, const void *bytes, size_t n)
{
	client_connect(c);
	(void)!send(c->fd, bytes, n, MSG_NOSIGNAL);
}

static void
client_asks(struct client *c, const tapdisk_message_t *message)
{
	client_hang_up(c);
	client_sends(c, message, sizeof(*message));
	c->asked = true;
	c->request = *message;
}

static bool
ends(const char *text, size_t size)
{
	return memchr(text, '\0', size);
}

/* The first message of the answer must be one that the protocol has for it. */
static void
check_answer(const struct client *c)
{
	const tapdisk_message_t *a = &c->answer;
	const int type = c->request.type;

	check(a->cookie == c->request.cookie);
	if (a->type == TAPDISK_MESSAGE_ERROR) {
		check(a->u.response.error > 0);
		check(ends(a->u.response.message, sizeof(a->u.response.message)));
		return;
	}
	check(a->type ==
	      (type == TAPDISK_MESSAGE_FORCE_SHUTDOWN ? TAPDISK_MESSAGE_CLOSE_RSP : type + 1));
	if (type == TAPDISK_MESSAGE_LIST)
		check(ends(a->u.list.path, sizeof(a->u.list.path)));
}

/* Takes what has come. True at the answer's end. */
static bool
client_hears(struct client *c)
{
	char more[1 << 16];
	ssize_t n;

	while (c->got < sizeof(c->answer)) {
		n = recv(c->fd, (char *)&c->answer + c->got, sizeof(c->answer) - c->got, 0);
		if (n <= 0)
			return n == 0;
		c->got += (size_t)n;
	}
	do {
		n = recv(c->fd, more, sizeof(more), 0);
	} while (n > 0);
	return n == 0;
}

/* Whoever asked properly and waits is answered. */
static void
client_must_be_answered(struct client *c)
{
	if (c->asked) {
		for (int i = 0; !client_hears(c); i++) {
			check(i < 1000);
			turns(1);
		}
		check(c->got == sizeof(c->answer));
		check_answer(c);
	}
	client_hang_up(c);
}

/* --- steps ----------------------------------------------------------------------- */

static void
step_message(struct client *c, struct input *in)
{
	tapdisk_message_t message = { 0 };
	const uint8_t *bytes;
	size_t n;

	message.type = input_byte(in);
	message.cookie = input_byte(in);
	if (message.cookie == 0xff)
		message.cookie = TAPDISK_MESSAGE_COOKIE_ALL;
	bytes = input_bytes(in, input_byte(in) * (size_t)2, &n);
	memcpy(&message.u, bytes, n);
	client_asks(c, &message);
}

static struct client *
step(struct client *c, struct input *in)
{
	const uint8_t letter = input_byte(in);
	const uint8_t *bytes;
	size_t n;

	switch (letter) {
	case 'm':
		step_message(c, in);
		break;
	case 'p':
		bytes = input_bytes(in, input_byte(in), &n);
		if (c->asked)
			client_hang_up(c);
		client_sends(c, bytes, n);
		break;
	case 'x':
		client_hang_up(c);
		break;
	case 'g':
		guest_reads(input_byte(in));
		break;
	case '.':
		turns(1);
		break;
	default:
		if (letter >= '0' && letter < '0' + CLIENTS)
			return &clients[letter - '0'];
	}
	return c;
}

static void
make_markers(void)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/tapdisk", tapdisk_server_run_dir());
	(void)!mkdir(path, 0700);
	for (int minor = 0; minor < MINORS; minor++) {
		snprintf(path, sizeof(path), "%s/" TAPDISK_MINOR_PREFIX "%d",
			 tapdisk_server_run_dir(), minor);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		check(fd >= 0);
		close(fd);
	}
}

static void
begin(void)
{
	static bool ready;
	const char *path;

	host_begin();
	n_guests = n_answered = 0;
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = (struct client){ .fd = -1 };
	if (ready)
		return;
	ready = true;
	make_markers();
	check(!tapdisk_control_open(&path));
}

static void
ask(enum tapdisk_message_id type, td_uuid_t minor)
{
	client_asks(&clients[0], &(tapdisk_message_t){ .type = type, .cookie = minor });
	client_must_be_answered(&clients[0]);
}

/* Everything is as it was in the beginning. */
static void
end(void)
{
	struct list_head *vbds = tapdisk_server_get_all_vbds();

	for (int i = 0; i < CLIENTS; i++)
		client_must_be_answered(&clients[i]);
	turns(2);
	while (!list_empty(vbds)) {
		td_vbd_t *vbd = list_entry(vbds->next, td_vbd_t, next);

		ask(TAPDISK_MESSAGE_FORCE_SHUTDOWN, vbd->minor);
		for (int i = 0; vbd->name; i++) {
			check(i < 1000);
			turns(1);
		}
		ask(TAPDISK_MESSAGE_DETACH, vbd->minor);
	}
	turns(2);
	check(tapdisk_control_idle());
	check(n_answered == n_guests);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct client *c = &clients[0];

	begin();
	for (int i = 0; in.left && i < STEPS; i++)
		c = step(c, &in);
	end();
	return 0;
}
