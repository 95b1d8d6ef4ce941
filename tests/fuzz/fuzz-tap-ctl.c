/* SPDX-License-Identifier: BSD-3-Clause */
/* links: control/cli.o control/libtapctl-ipc.o control/libtapctl-list.o */
/* links: control/libtapctl-vbd.o control/libtapctl-minor.o control/libtapctl-spawn.o */
/* links: control/migrate-client.o control/migrate-follow.o control/tap-ctl-list.o */
/* links: control/tap-ctl-stats.o drivers/migrate-journal.o drivers/migrate-unnamed.o */
/* links: drivers/migrate-file.o */
/* links: drivers/migrate-text.o */
/* links: drivers/image-lock.o drivers/migrate-registry.o drivers/state-dir.o */
/*
 * tap-ctl against a tapdisk that answers anything. The input: a byte for what is
 * asked, a byte for whether stdout is a terminal, then all that the tapdisk says,
 * to whatever is asked of it, before it hangs up.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../control/commands.h"
#include "fuzz.h"
#include "../../control/migrate-follow.h"

static struct input answer;
static bool terminal;
static int tapdisk = -1; /* its end of the connection */

/* A tapdisk that has said everything before it is asked: no second process is needed. */
static int
tapdisk_connects(int fd)
{
	int pair[2], size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -1;
	check(dup2(pair[0], fd) == fd);
	close(pair[0]);
	if (tapdisk >= 0)
		close(tapdisk);
	tapdisk = pair[1];
	check(!setsockopt(tapdisk, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	/* What has no room is not said. */
	(void)!write(tapdisk, answer.at, answer.left);
	return shutdown(tapdisk, SHUT_WR);
}

/* In place of the C library's. */
int
connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return tapdisk_connects(fd);
}

int
isatty(int fd)
{
	return terminal;
}

static void
ask_info(void)
{
	tapdisk_message_image_t info;

	tap_ctl_info(1, 0, &info);
}

static void
ask_open(void)
{
	tap_ctl_open(1, 0, &(struct tap_ctl_image){ .params = "aio:/disk" });
}

static void
ask_force(void)
{
	tap_ctl_close(1, 0, true, TAP_CTL_TIMEOUT);
}

static void
ask_list(void)
{
	char *argv[] = { "list", "-p", "1", NULL };

	tap_cli_list(3, argv);
}

static void
ask_stats(void)
{
	char *argv[] = { "stats", "-p", "1", "-m", "0", NULL };

	tap_cli_stats(5, argv);
}

static void
ask_find(void)
{
	tap_list_t vbd;

	if (migrate_find_vbd(1, 0, &vbd))
		return;
	free(vbd.type);
	free(vbd.path);
}

static void
follow(enum goal goal)
{
	static struct migrate_client client;

	client = (struct migrate_client){ .fd = tap_ctl_connect("migration") };
	check(client.fd >= 0);
	migrate_follow(&client, goal, true);
	migrate_close(&client);
}

static void
ask_end(void)
{
	follow(GOAL_END);
}

static void
ask_cancelled(void)
{
	follow(GOAL_CANCELLED);
}

static void
ask_status(void)
{
	static struct migrate_client client;
	json_t *status;

	client = (struct migrate_client){ .fd = tap_ctl_connect("migration") };
	check(client.fd >= 0);
	if (!migrate_call(&client, migrate_request("status"), &status)) {
		migrate_print(status);
		json_decref(status);
	}
	migrate_close(&client);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const asks[])(void) = {
		ask_info, ask_open, ask_force,	   ask_list,   ask_stats,
		ask_find, ask_end,  ask_cancelled, ask_status,
	};
	struct input in = { data, size };
	const size_t ask = input_byte(&in) - (size_t)'0';

	terminal = input_byte(&in) == 't';
	answer = in;
	if (ask < sizeof(asks) / sizeof(asks[0]))
		asks[ask]();
	/* Whatever failed has said why, in one line of bounded length. */
	check(strlen(tap_ctl_error()) < 512);
	return 0;
}
