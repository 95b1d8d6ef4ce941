/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd-rig.h - the NBD server over real sockets, on a VBD made for the test
 *
 * The VBD keeps every request until the test says how it is answered. With each test come
 * a server of an empty run directory and a disk of DISK_SIZE; all must be gone after it.
 */
#ifndef NBD_RIG_H
#define NBD_RIG_H

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop.h"
#include "tapdisk-nbd-proto.h"
#include "tapdisk-nbdserver.h"

#define DISK_SIZE (64u << 20)
#define MINOR	  7

/* --- what the server stands on -------------------------------------------------- */

static char run_dir[64];

const char *
tapdisk_server_run_dir(void)
{
	return run_dir;
}

/* The VBD's requests that are not answered, in the order of their arrival. */
static struct list_head held;
static unsigned int n_held;
static int refuse; /* what queueing a request returns */
static td_disk_info_t disk_info;
static uint8_t *disk;

int
tapdisk_vbd_get_disk_info(td_vbd_t *vbd, td_disk_info_t *info)
{
	*info = disk_info;
	return 0;
}

int
tapdisk_vbd_queue_request(td_vbd_t *vbd, td_vbd_request_t *vreq)
{
	if (refuse)
		return refuse;
	if (vreq->iovcnt)
		assert_int_equal((uintptr_t)vreq->iov[0].base % 4096, 0);
	list_add_tail(&vreq->next, &held);
	n_held++;
	return 0;
}

/* As the VBD does with what its driver has not yet. */
static unsigned int n_abandoned;

void
tapdisk_vbd_abandon_request(td_vbd_t *vbd, td_vbd_request_t *vreq)
{
	td_vbd_request_t *at;

	list_for_each_entry(at, &held, next)
		if (at == vreq)
			break;
	assert_ptr_equal(at, vreq); /* it was queued, and is not answered */
	vreq->unwanted = true;
	n_abandoned++;
}

static inline td_vbd_request_t *
oldest(void)
{
	assert_false(list_empty(&held));
	return list_entry(held.next, td_vbd_request_t, next);
}

/* Answers a request; without error, after doing what it asks. */
static inline void
answer(td_vbd_request_t *vreq, int error, bool final)
{
	const td_sector_t secs = vreq->iovcnt ? vreq->iov[0].secs : vreq->secs;
	uint8_t *at = disk + (vreq->sec << SECTOR_SHIFT);

	list_del(&vreq->next);
	n_held--;
	if (!error && vreq->op == TD_OP_READ)
		memcpy(vreq->iov[0].base, at, secs << SECTOR_SHIFT);
	if (!error && vreq->op == TD_OP_WRITE)
		memcpy(at, vreq->iov[0].base, secs << SECTOR_SHIFT);
	if (!error && vreq->op == TD_OP_ZERO)
		memset(at, 0, secs << SECTOR_SHIFT);
	/* Every other MiB is a hole, told in pieces. */
	for (td_sector_t sec = 0;
	     !error && vreq->op == TD_OP_BLOCK_STATUS && sec < secs && !vreq->unwanted;
	     sec += 8)
		vreq->status_cb(vreq, vreq->sec + sec, secs - sec < 8 ? secs - sec : 8,
				(vreq->sec + sec) / 2048 % 2
					? TD_BLOCK_STATE_HOLE | TD_BLOCK_STATE_ZERO
					: 0);
	vreq->cb(vreq, error, vreq->token, final);
}

/* Lets the server do all that it can without the clients or the VBD. */
static inline void
settle(void)
{
	loop_turns(20);
}

static inline void
answer_all(void)
{
	while (n_held)
		answer(oldest(), 0, n_held == 1);
}

/* --- a client ------------------------------------------------------------------- */

static struct tapdisk_nbdserver *server;

static inline int
dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/nbd%d.%d", run_dir, getpid(), MINOR);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Sends as fast as the server reads. */
static inline void
say(int fd, const void *bytes, size_t n)
{
	for (int idle = 0; n; idle++) {
		const ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

		if (sent > 0) {
			bytes = (const char *)bytes + sent;
			n -= sent;
			idle = 0;
		}
		assert_true(idle < 100);
		loop_turns(1);
	}
}

static inline void
hear(int fd, void *bytes, size_t n)
{
	for (int idle = 0; n; idle++) {
		const ssize_t got = recv(fd, bytes, n, 0);

		assert_int_not_equal(got, 0);
		if (got > 0) {
			bytes = (char *)bytes + got;
			n -= got;
			idle = 0;
		}
		assert_true(idle < 100);
		loop_turns(1);
	}
}

static inline void
hears_nothing(int fd)
{
	char byte;

	settle();
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static inline void
is_closed(int fd)
{
	char byte;

	settle();
	assert_true(recv(fd, &byte, 1, 0) == 0 || errno == ECONNRESET);
	close(fd);
}

/* A client in transmission: structured replies and block status, or neither. */
static inline int
client(bool structured)
{
	static const char set_up[] = "\0\0\0\3"
				     "IHAVEOPT\0\0\0\x08\0\0\0\0"
				     "IHAVEOPT\0\0\0\x0a\0\0\0\x1b\0\0\0\0\0\0\0\1"
				     "\0\0\0\x0f"
				     "base:allocation";
	static const char enter[] = "IHAVEOPT\0\0\0\1\0\0\0\0";
	const int fd = dial();
	char bytes[18 + 20 + 20 + 39 + 10];

	say(fd, set_up, structured ? sizeof(set_up) - 1 : 4);
	say(fd, enter, sizeof(enter) - 1);
	hear(fd, bytes, structured ? sizeof(bytes) : 28);
	return fd;
}

struct __attribute__((packed)) wire_command {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie, offset;
	uint32_t length;
};

static inline struct wire_command
command(uint16_t type, uint16_t flags, uint64_t cookie, uint64_t offset, uint32_t length)
{
	return (struct wire_command){ htobe32(0x25609513), htobe16(flags),  htobe16(type),
				      htobe64(cookie),	   htobe64(offset), htobe32(length) };
}

static inline void
ask(int fd, uint16_t type, uint16_t flags, uint64_t cookie, uint64_t offset, uint32_t length)
{
	const struct wire_command cmd = command(type, flags, cookie, offset, length);

	say(fd, &cmd, sizeof(cmd));
}

/* Hears a simple reply and returns its error. */
static inline uint32_t
hear_simple(int fd, uint64_t cookie)
{
	uint8_t head[16];
	uint32_t error;
	uint64_t got;

	hear(fd, head, sizeof(head));
	assert_memory_equal(head, "\x67\x44\x66\x98", 4);
	memcpy(&error, head + 4, 4);
	memcpy(&got, head + 8, 8);
	assert_true(be64toh(got) == cookie);
	return be32toh(error);
}

static inline uint8_t *
pattern(size_t n, uint8_t first)
{
	uint8_t *bytes = malloc(n);

	assert_non_null(bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = first + i / 512 + i;
	return bytes;
}

/* Whether the connection is in step: a read of the first sector is answered. */
static inline void
is_in_step(int fd)
{
	uint8_t sector[512];

	ask(fd, NBD_CMD_READ, 0, 4711, 0, 512);
	settle();
	answer_all();
	assert_int_equal(hear_simple(fd, 4711), 0);
	hear(fd, sector, 512);
	assert_memory_equal(sector, disk, 512);
}

static inline int
set_up(void **state)
{
	snprintf(run_dir, sizeof(run_dir), "/tmp/test-nbd-server.XXXXXX");
	assert_non_null(mkdtemp(run_dir));
	INIT_LIST_HEAD(&held);
	n_held = n_abandoned = 0;
	refuse = 0;
	disk_info = (td_disk_info_t){ .size = DISK_SIZE / 512, .sector_size = 512 };
	disk = pattern(DISK_SIZE, 1);
	assert_int_equal(scheduler_initialize(&loop_scheduler), 0);
	assert_int_equal(tapdisk_nbdserver_start(NULL, MINOR, false, &server), 0);
	return 0;
}

static inline int
tear_down(void **state)
{
	tapdisk_nbdserver_stop(server);
	while (n_held)
		answer(oldest(), -ESHUTDOWN, true);
	scheduler_destroy(&loop_scheduler);
	free(disk);
	/* Fails if a socket is left. */
	return rmdir(run_dir);
}

#endif
