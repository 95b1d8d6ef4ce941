/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-lost.o */
/* links: drivers/migrate-disks.o */
/* links: drivers/tapdisk-vbd-image.o */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/private-socket.o drivers/tapdisk-nbd-connection.o */
/* links: drivers/tapdisk-nbd-request.o drivers/tapdisk-nbd-memory.o */
/* links: drivers/tapdisk-control-ring.o */
/* links: tests/fuzz/host.o drivers/block-migrate.o drivers/migrate-commands.o */
/* links: drivers/migrate-control.o drivers/migrate-disk.o drivers/migrate-record.o */
/* links: drivers/state-dir.o drivers/migrate-end.o drivers/migrate-registry.o */
/* links: drivers/migrate-alone.o */
/* links: drivers/migrate-mark.o drivers/image-mark.o drivers/image-identity.o */
/* links: drivers/image-same.o drivers/image-name.o drivers/migrate-reopen.o */
/* links: drivers/image-lock.o */
/* links: drivers/migrate-journal.o drivers/migrate-unnamed.o drivers/migrate-file.o */
/* links: drivers/migrate-store.o */
/* links: drivers/migrate-live.o drivers/tapdisk-nbdserver.o drivers/tapdisk-nbd-proto.o */
/* links: drivers/migrate-recover.o */
/* links: drivers/tapdisk-vbd.o drivers/tapdisk-image.o drivers/tapdisk-interface.o */
/* links: drivers/tapdisk-driver.o drivers/tapdisk-disktype.o drivers/tapdisk-server.o */
/* links: drivers/migrate-text.o */
/* links: drivers/tapdisk-control.o drivers/tapdisk-stats.o drivers/tapdisk-log.o */
/* links: drivers/tapdisk-worker.o drivers/scheduler.o drivers/libaio-backend.o */
/* links: drivers/thread-io.o */
/* links: drivers/tapdisk-inflight.o drivers/tapdisk-blkif.o drivers/tapdisk-ring.o */
/*
 * The socket of a migration that is under way, against any clients. The input is
 * what they send, but for
 *
 *	|  all that was said is sent, and the loop turns once
 *	^  the same, and what follows is from the other client
 *	~  the same, and the client hangs up, for another in its place
 *	!  the next request to a disk fails
 *	@  the guest writes
 */
#include <errno.h>
#include <jansson.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"
#include "migrate-journal.h"

#define UUID	"00000000-0000-4000-8000-000000000000"
#define CLIENTS 2
#define GUESTS	16

static struct client {
	int fd;
	size_t lines, answers;
	bool final; /* its last line has come */
	size_t have;
	char line[1 << 16];
} clients[CLIENTS];

static struct guest {
	td_vbd_request_t vreq;
	struct td_iovec iov;
	char sector[512] __attribute__((aligned(512)));
} guests[GUESTS];
static unsigned int n_guests, n_answered;

static char journal[256];

/* --- the guest ------------------------------------------------------------------- */

static void
guest_answered(td_vbd_request_t *vreq, int error, void *token, int final)
{
	n_answered++;
}

static void
guest_writes(td_vbd_t *vbd)
{
	struct guest *g = &guests[n_guests];

	if (n_guests == GUESTS)
		return;
	g->iov = (struct td_iovec){ g->sector, 1 };
	g->vreq = (td_vbd_request_t){ .op = TD_OP_WRITE,
				      .sec = 100 * n_guests,
				      .iov = &g->iov,
				      .iovcnt = 1,
				      .cb = guest_answered,
				      .name = "guest" };
	n_guests += !tapdisk_vbd_queue_request(vbd, &g->vreq);
}

/* --- clients --------------------------------------------------------------------- */

static void
client_connect(struct client *c)
{
	c->lines = c->answers = c->have = 0;
	c->final = false;
	c->fd = host_connect("migrate-" UUID);
	host_turns(1);
}

static void
client_hang_up(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Each line is an object: an answer, well or badly, or the last word. */
static void
client_takes(struct client *c, const char *line, size_t len)
{
	json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

	check(json_is_object(object));
	check(!c->final);
	c->final = json_is_true(json_object_get(object, "final"));
	c->answers += !c->final;
	if (c->final || json_is_true(json_object_get(object, "ok")))
		check(json_is_object(json_object_get(object, "status")));
	else
		check(json_is_string(
			json_object_get(json_object_get(object, "error"), "message")));
	json_decref(object);
}

static void
client_hears(struct client *c)
{
	ssize_t n;
	char *end;

	while ((n = recv(c->fd, c->line + c->have, sizeof(c->line) - c->have, 0)) > 0) {
		c->have += (size_t)n;
		while ((end = memchr(c->line, '\n', c->have))) {
			client_takes(c, c->line, (size_t)(end - c->line));
			c->have -= (size_t)(end + 1 - c->line);
			memmove(c->line, end + 1, c->have);
		}
		check(c->have < sizeof(c->line));
	}
	if (!n || errno != EAGAIN)
		client_hang_up(c);
}

static void
client_sends(struct client *c, const uint8_t *bytes, size_t n)
{
	if (c->fd >= 0 && send(c->fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n)
		while (n--)
			c->lines += *bytes++ == '\n';
}

/* Who was not hung up on has had an answer to each line. */
static void
client_must_be_answered(struct client *c)
{
	for (int i = 0; i < 3 && c->fd >= 0; i++) {
		host_turns(1);
		client_hears(c);
	}
	check(c->fd < 0 || c->answers == c->lines);
}

static struct client *
step(struct client *c, td_vbd_t *vbd, char what)
{
	switch (what) {
	case '^':
		c = c == clients ? clients + 1 : clients;
		break;
	case '~':
		client_hang_up(c);
		client_connect(c);
		break;
	case '!':
		ram_behaviour.fail++;
		return c;
	case '@':
		guest_writes(vbd);
		return c;
	}
	host_turns(1);
	if (c->fd >= 0)
		client_hears(c);
	return c;
}

static void
all_say(td_vbd_t *vbd, const uint8_t *data, size_t size)
{
	struct client *c = &clients[0];

	while (size) {
		size_t n = 0;

		while (n < size && !(data[n] && strchr("|^~!@", data[n])))
			n++;
		client_sends(c, data, n);
		if (n < size)
			c = step(c, vbd, (char)data[n++]);
		data += n;
		size -= n;
	}
}

static void
make_journal(void)
{
	static const uint8_t uuid[16] = { [6] = 0x40, [8] = 0x80 };
	json_t *head = json_pack("{s:s, s:s, s:i}", "source", "aio:2048", "destination",
				 "aio:4096", "chunk", 1 << 16);
	json_t *note = json_pack("{s:s, s:s, s:i, s:i, s:i, s:s}", "state", MIGRATE_STATE_NEW,
				 "strategy", "mirror", "threshold", 2, "rate_mib_s", 0, "depth",
				 1, "complete", "manual");
	char why[512];

	snprintf(journal, sizeof(journal), "%s/journal", tapdisk_server_run_dir());
	/* What a crash has left. */
	unlink(journal);
	check(!migrate_journal_create(journal, uuid, 2048, head, note, why, sizeof(why)));
	json_decref(head);
	json_decref(note);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[300];
	td_vbd_t *vbd;

	host_begin();
	n_guests = n_answered = 0;
	make_journal();
	snprintf(name, sizeof(name), "migrate:%s", journal);
	vbd = host_open(0, name);
	for (int i = 0; i < CLIENTS; i++)
		client_connect(&clients[i]);

	all_say(vbd, data, size);
	ram_behaviour.fail = 0;
	for (int i = 0; i < CLIENTS; i++)
		client_must_be_answered(&clients[i]);
	host_close(vbd);
	check(n_answered == n_guests);
	for (int i = 0; i < CLIENTS; i++) {
		if (clients[i].fd >= 0)
			client_hears(&clients[i]);
		client_hang_up(&clients[i]);
	}
	unlink(journal);
	return 0;
}
