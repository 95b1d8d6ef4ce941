/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake-tapdisk NUMBER MODE [ARGS] - a tapdisk that misbehaves in one way
 *
 * Listens on ctl<NUMBER> in $BLKTAP_RUN_DIR (own: its process id), says on stdout where,
 * and treats every connection as MODE says until it is killed. Where it lists a VBD, that
 * is minor 1 with ARGS as its image, a disk of 1 MiB; which it has open, if that is there.
 * It has the name of the plugin in it: tapdisk_migrate.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tapdisk-message.h"

static const char *args = "aio:/fake";
extern const char fake_plugin[];
const char fake_plugin[] = "tapdisk_migrate";

static void
say(int fd, const void *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0)
			return;
		data = (const char *)data + n;
		size -= (size_t)n;
	}
}

static tapdisk_message_t
vbd(int minor)
{
	tapdisk_message_t m = { .type = TAPDISK_MESSAGE_LIST_RSP };

	m.u.list = (tapdisk_message_list_t){ .count = 1, .minor = minor };
	strncpy(m.u.list.path, args, sizeof(m.u.list.path) - 1);
	return m;
}

static tapdisk_message_t request;

static void
serve_silent(int fd)
{
	pause();
}

static void
serve_half(int fd)
{
	tapdisk_message_t m = vbd(1);

	say(fd, &m, sizeof(m) / 2);
}

static void
serve_half_held(int fd)
{
	serve_half(fd);
	pause();
}

/* A right answer to LIST, a byte at a time; slowly at first only, for clients do not wait long.
 */
static void
serve_bytes(int fd)
{
	tapdisk_message_t m[2] = { vbd(1), { .type = TAPDISK_MESSAGE_LIST_RSP } };
	size_t i;

	for (i = 0; i < sizeof(m); i++) {
		say(fd, (char *)m + i, 1);
		if (i < 100)
			usleep(100);
	}
}

static void
serve_wrong_type(int fd)
{
	tapdisk_message_t m = { .type = TAPDISK_MESSAGE_PID_RSP };

	say(fd, &m, sizeof(m));
}

/* Strings without an end. */
static void
serve_unterminated(int fd)
{
	tapdisk_message_t m = vbd(1), last = { .type = TAPDISK_MESSAGE_LIST_RSP };

	memset(m.u.list.path + 4, 'x', sizeof(m.u.list.path) - 4);
	say(fd, &m, sizeof(m));
	say(fd, &last, sizeof(last));
}

static void
serve_error(int fd)
{
	tapdisk_message_t m = { .type = TAPDISK_MESSAGE_ERROR };

	m.u.response.error = 28;
	strcpy(m.u.response.message, "the fake disk is full");
	say(fd, &m, sizeof(m));
}

static void
serve_error_of(int fd, size_t len)
{
	tapdisk_message_t m = { .type = TAPDISK_MESSAGE_ERROR };

	m.u.response.error = 5;
	memset(m.u.response.message, 'x', len);
	say(fd, &m, sizeof(m));
}

static void
serve_error_unterminated(int fd)
{
	serve_error_of(fd, sizeof(request.u.response.message));
}

/* The error of our tapdisk whose text is longer than its place: 300 bytes of it behind. */
static void
serve_error_long(int fd)
{
	char rest[300];

	serve_error_of(fd, 255);
	memset(rest, 'y', sizeof(rest));
	say(fd, rest, sizeof(rest));
}

/* One that fills its place, as any tapdisk may send it, and hangs up. */
static void
serve_error_full(int fd)
{
	serve_error_of(fd, 255);
}

/* And never does. */
static void
serve_error_full_held(int fd)
{
	serve_error_full(fd);
	pause();
}

/* And goes on for ever. */
static void
serve_error_endless(int fd)
{
	static const char noise[4096] = "\033[2J\nno end\n";

	serve_error_full(fd);
	while (send(fd, noise, sizeof(noise), MSG_NOSIGNAL) > 0)
		;
}

static void
serve_error_zero(int fd)
{
	tapdisk_message_t m = { .type = TAPDISK_MESSAGE_ERROR };

	say(fd, &m, sizeof(m));
}

static void
serve_endless(int fd)
{
	tapdisk_message_t m = vbd(1);

	while (send(fd, &m, sizeof(m), MSG_NOSIGNAL) > 0)
		;
}

/* Statistics that are announced, but do not come; then that are too many. */
static void
serve_stats_cut(int fd)
{
	tapdisk_message_t m = { .type = TAPDISK_MESSAGE_STATS_RSP };

	m.u.info.length = 100;
	say(fd, &m, sizeof(m));
	say(fd, "{", 1);
}

static void
serve_stats_huge(int fd)
{
	tapdisk_message_t m = { .type = TAPDISK_MESSAGE_STATS_RSP };

	m.u.info.length = SIZE_MAX;
	say(fd, &m, sizeof(m));
}

/* As blktap's, which knows nothing that is not its own. */
static void
answer(int fd)
{
	tapdisk_message_t m = { .type = (uint16_t)(request.type + 1),
				.cookie = request.cookie };

	if (request.type > TAPDISK_MESSAGE_MAX) {
		m.type = TAPDISK_MESSAGE_ERROR;
		m.u.response.error = EINVAL;
	}
	if (request.type == TAPDISK_MESSAGE_DISK_INFO)
		m.u.image = (tapdisk_message_image_t){ .sectors = 2048, .sector_size = 512 };
	if (request.type == TAPDISK_MESSAGE_LIST)
		serve_bytes(fd);
	else
		say(fd, &m, sizeof(m));
}

/* Does and tells all that it is asked. It stops before it answers PAUSE. */
static void
serve_stopping(int fd)
{
	if (request.type == TAPDISK_MESSAGE_PID) { /* that only keeps us awake */
		answer(fd);
		return;
	}
	printf("%d%.*s\n", request.type, (int)sizeof(request.u.params.path),
	       request.type == TAPDISK_MESSAGE_RESUME ? request.u.params.path : "");
	fflush(stdout);
	if (request.type == TAPDISK_MESSAGE_PAUSE)
		raise(SIGSTOP);
	answer(fd);
}

/* Can pause, but never resume. */
static void
serve_stubborn(int fd)
{
	if (request.type == TAPDISK_MESSAGE_RESUME)
		serve_error(fd);
	else
		answer(fd);
}

static const struct {
	const char *name;
	void (*serve)(int fd);
} modes[] = {
	{ "silent", serve_silent },
	{ "half", serve_half },
	{ "half-held", serve_half_held },
	{ "bytes", serve_bytes },
	{ "wrong-type", serve_wrong_type },
	{ "unterminated", serve_unterminated },
	{ "error", serve_error },
	{ "error-unterminated", serve_error_unterminated },
	{ "error-long", serve_error_long },
	{ "error-full", serve_error_full },
	{ "error-full-held", serve_error_full_held },
	{ "error-endless", serve_error_endless },
	{ "error-zero", serve_error_zero },
	{ "endless", serve_endless },
	{ "stats-cut", serve_stats_cut },
	{ "stats-huge", serve_stats_huge },
	{ "stopping", serve_stopping },
	{ "stubborn", serve_stubborn },
};

int
main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *dir = getenv(TAPDISK_RUN_DIR_ENV);
	size_t mode = 0;
	int fd, peer;

	if (argc < 3 || argc > 4 || !dir)
		errx(2, "usage: BLKTAP_RUN_DIR=... fake-tapdisk NUMBER MODE [ARGS]");
	if (argc == 4)
		args = argv[3];
	while (strcmp(modes[mode].name, argv[2]))
		if (++mode == sizeof(modes) / sizeof(modes[0]))
			errx(2, "no mode %s", argv[2]);
	if (strcmp(argv[1], "own"))
		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/ctl%s", dir, argv[1]);
	else
		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/ctl%d", dir, getpid());
	if (strchr(args, ':'))
		open(strchr(args, ':') + 1, O_RDONLY);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 8))
		err(1, "%s", addr.sun_path);
	puts(addr.sun_path);
	fflush(stdout);

	while ((peer = accept(fd, NULL, NULL)) >= 0) {
		if (recv(peer, &request, sizeof(request), MSG_WAITALL) == sizeof(request))
			modes[mode].serve(peer);
		close(peer);
	}
	return 1;
}
