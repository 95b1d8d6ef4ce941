/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd-client.c - an NBD client without manners, for tests
 *
 *	nbd-client errors SOCKET     asks what is wrong; prints a line "what: error" for each
 *	nbd-client half SOCKET       connects, sends half a command, waits to be killed
 *	nbd-client flood SOCKET      asks for more and more, reads no answer, waits to be killed
 *	nbd-client garbage SOCKET SEED  sends what no client sends; succeeds when cut off
 *
 * "half" and "flood" print a line when they have done what they do.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <libnbd.h>

#define MIB (UINT64_C(1) << 20)

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* --- wrong requests, by a library that is told not to check ---------------------- */

static struct nbd_handle *
open_handle(const char *path)
{
	struct nbd_handle *nbd = nbd_create();

	if (!nbd || nbd_add_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) ||
	    nbd_connect_unix(nbd, path) || nbd_set_strict_mode(nbd, 0))
		die("%s: %s", path, nbd_get_error());
	return nbd;
}

static void
report(struct nbd_handle *nbd, const char *what, int result)
{
	static char sector[512];
	const int err = nbd_get_errno();

	printf("%s: %s\n", what, result < 0 ? strerrorname_np(err) : "fine");
	if (nbd_pread(nbd, sector, sizeof(sector), 0, 0))
		die("out of step after %s: %s", what, nbd_get_error());
}

static int
ignore_extent(void *data, const char *context, uint64_t offset, uint32_t *entries, size_t n,
	      int *error)
{
	return 0;
}

static int
ask_errors(const char *path)
{
	static char data[40 << 20];
	struct nbd_handle *nbd = open_handle(path);
	const uint64_t size = nbd_get_size(nbd);
	const nbd_extent_callback extent = { .callback = ignore_extent };
	const uint32_t fast = LIBNBD_CMD_FLAG_FAST_ZERO;

	report(nbd, "aligned read", nbd_pread(nbd, data, 4096, 4096, 0));
	report(nbd, "unaligned read", nbd_pread(nbd, data, 512, 100, 0));
	report(nbd, "short read", nbd_pread(nbd, data, 100, 0, 0));
	report(nbd, "empty read", nbd_pread(nbd, data, 0, 0, 0));
	report(nbd, "read past the end", nbd_pread(nbd, data, 1024, size - 512, 0));
	report(nbd, "oversized read", nbd_pread(nbd, data, 40 * MIB, 0, 0));
	report(nbd, "aligned write", nbd_pwrite(nbd, data, 4096, 4096, 0));
	report(nbd, "unaligned write", nbd_pwrite(nbd, data, 600, 100, 0));
	report(nbd, "write past the end", nbd_pwrite(nbd, data, 1024, size - 512, 0));
	report(nbd, "write far past the end", nbd_pwrite(nbd, data, 512, UINT64_MAX - 511, 0));
	report(nbd, "oversized write", nbd_pwrite(nbd, data, 40 * MIB, 0, 0));
	report(nbd, "write with an unknown flag", nbd_pwrite(nbd, data, 512, 0, 1 << 9));
	report(nbd, "aligned zero", nbd_zero(nbd, 4096, 4096, 0));
	report(nbd, "unaligned zero", nbd_zero(nbd, 4096, 100, 0));
	report(nbd, "fast zero", nbd_zero(nbd, 4096, 0, fast));
	report(nbd, "zero past the end", nbd_zero(nbd, 4096, size, 0));
	report(nbd, "unaligned trim", nbd_trim(nbd, 100, 0, 0));
	report(nbd, "trim past the end", nbd_trim(nbd, 4096, size, 0));
	report(nbd, "flush", nbd_flush(nbd, 0));
	report(nbd, "cache", nbd_cache(nbd, 4096, 0, 0));
	report(nbd, "block status", nbd_block_status(nbd, 4096, 0, extent, 0));
	report(nbd, "unaligned block status", nbd_block_status(nbd, 100, 0, extent, 0));
	if (nbd_shutdown(nbd, 0))
		die("shutdown: %s", nbd_get_error());
	nbd_close(nbd);
	return 0;
}

/* --- wrong bytes ------------------------------------------------------------------ */

static int
dial(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		die("%s: no socket for that", path);
	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("%s: %s", path, strerror(errno));
	return fd;
}

static void
hear(int fd, size_t n)
{
	char bytes[256];

	for (ssize_t got; n; n -= got) {
		got = recv(fd, bytes, n < sizeof(bytes) ? n : sizeof(bytes), 0);
		if (got <= 0)
			die("the server hung up");
	}
}

/* A connection in transmission, with simple replies. */
static int
enter(const char *path)
{
	static const char option[] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0";
	const int fd = dial(path);

	if (send(fd, option, sizeof(option) - 1, 0) != sizeof(option) - 1)
		die("send: %s", strerror(errno));
	hear(fd, 18 + 10);
	return fd;
}

struct __attribute__((packed)) command {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie, offset;
	uint32_t length;
};

static const struct command read_mib = {
	.magic = 0x13956025, /* 0x25609513, big-endian */
	.length = 0x1000,    /* 1 MiB */
};

/* Says that it is done; fails if the server hangs up before. */
static void __attribute__((noreturn)) wait_to_be_killed(int fd, const char *done)
{
	struct pollfd hung_up = { .fd = fd };

	puts(done);
	fflush(stdout);
	poll(&hung_up, 1, -1);
	die("the server hung up");
}

static int
half(const char *path)
{
	const int fd = enter(path);

	if (send(fd, &read_mib, 13, 0) != 13)
		die("send: %s", strerror(errno));
	wait_to_be_killed(fd, "half a command is sent");
}

/* Until the server takes no more: it must not take without end. */
static int
flood(const char *path)
{
	const int fd = enter(path);

	for (int i = 0; i < 100000; i++) {
		if (send(fd, &read_mib, sizeof(read_mib), MSG_DONTWAIT) < 0) {
			if (errno != EAGAIN)
				die("send: %s", strerror(errno));
			wait_to_be_killed(fd, "the server takes no more");
		}
	}
	die("the server takes commands without end");
}

/* What follows is random; it ends with the server hanging up. */
static int
garbage(const char *path, unsigned int seed)
{
	srandom(seed);
	for (int round = 0; round < 50; round++) {
		const int fd = round % 2 ? dial(path) : enter(path);
		uint8_t bytes[4096];

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = random();
		/* Half of them with a beginning that looks right. */
		if (round % 4 == 1)
			memcpy(bytes, "\0\0\0\3IHAVEOPT\0\0\0\7\0\0\1\0", 20);
		if (round % 4 == 2)
			memcpy(bytes, &read_mib, sizeof(read_mib));
		while (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0)
			;
		close(fd);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (!strcmp(what, "errors"))
		return ask_errors(argv[2]);
	if (!strcmp(what, "half"))
		return half(argv[2]);
	if (!strcmp(what, "flood"))
		return flood(argv[2]);
	if (!strcmp(what, "garbage") && argc == 4)
		return garbage(argv[2], strtoul(argv[3], NULL, 0));
	die("usage: nbd-client errors|half|flood|garbage SOCKET [SEED]");
}
