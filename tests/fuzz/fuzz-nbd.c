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
 * The NBD server against any client. The input is a line of letters that says how
 * things are, then what the client sends:
 *
 *	k  the disk has sectors of 4096 bytes		r  it is read only
 *	g  the handshake is a good one, and what follows are commands
 *	b  its first 100 bytes come one by one		d  it does not read until all is sent
 *	n  the disk answers the newest request first	f  a request fails now and then
 *	s  the server is stopped before the client has its answers
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"
#include "tapdisk-nbdserver.h"

#define MINOR 0

static char letters[16];

static bool
is(char letter)
{
	return strchr(letters, letter);
}

/* True if there was something. */
static bool
client_reads(int fd)
{
	static char replies[1 << 16];

	return recv(fd, replies, sizeof(replies), 0) > 0;
}

/* As fast as the server takes it; gives up when that takes no more. */
static void
client_sends(int fd, const void *bytes, size_t size)
{
	unsigned int idle = 0;

	for (size_t done = 0; done < size && idle < 8;) {
		const size_t n = is('b') && done < 100 ? 1 : size - done;
		const ssize_t sent = send(fd, (const char *)bytes + done, n, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			return;
		done += sent > 0 ? (size_t)sent : 0;
		idle = sent > 0 ? 0 : idle + 1;
		if (is('f'))
			ram_behaviour.fail = 1;
		host_turns(1);
		if (!is('d'))
			client_reads(fd);
	}
}

static void
client_handshake(int fd)
{
	static const char good[] = "\0\0\0\3"
				   "IHAVEOPT\0\0\0\x8\0\0\0\0"
				   "IHAVEOPT\0\0\0\xa\0\0\0\x1b\0\0\0\0\0\0\0\1"
				   "\0\0\0\xf"
				   "base:allocation"
				   "IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0";

	client_sends(fd, good, sizeof(good) - 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line =
		memchr(data, '\n', size < sizeof(letters) ? size : sizeof(letters));
	struct tapdisk_nbdserver *server;
	td_vbd_t *vbd;
	char name[16];
	int fd;

	if (!line)
		return 0;
	memset(letters, 0, sizeof(letters));
	memcpy(letters, data, (size_t)(line - data));
	size -= (size_t)(line + 1 - data);

	host_begin();
	ram_behaviour.newest_first = is('n');
	snprintf(name, sizeof(name), "aio:256%s%s", is('k') ? "k" : "", is('r') ? "r" : "");
	vbd = host_open(MINOR, name);
	check(!tapdisk_nbdserver_start(vbd, MINOR, false, &server));

	fd = host_connect("nbd%d.%d", getpid(), MINOR);
	check(fd >= 0);
	host_turns(2);
	if (is('g'))
		client_handshake(fd);
	client_sends(fd, line + 1, size);
	while (!is('s') && client_reads(fd))
		host_turns(2);
	if (is('s')) {
		tapdisk_nbdserver_stop(server);
		close(fd);
	} else {
		close(fd);
		host_turns(2);
		tapdisk_nbdserver_stop(server);
	}
	/* A server that is stopped lives as long as the VBD owes it an answer. */
	host_close(vbd);
	return 0;
}
