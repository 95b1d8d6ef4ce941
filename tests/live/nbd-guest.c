/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd-guest SOCKET PRISTINE SEED DEPTH PAUSE - a guest whose disk's server may be killed
 *
 * Writes, zeroes, reads and flushes SOCKET at random, DEPTH requests at a time, with
 * PAUSE microseconds between,
 * and knows what each sector must hold. When the connection dies it connects
 * again, for as long as that takes. What it was told is written must be there
 * then, flushed or not; where it was not told, the old or the new contents of
 * each sector, and from then on only that. PRISTINE has the disk's contents at
 * the beginning.
 *
 * Says "up" on stdout whenever it is connected and all is as it must be. SIGTERM
 * ends it: it reads the whole disk, writes to PRISTINE what that must hold, and
 * succeeds. On a wrong sector or a failed request it fails at once.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libnbd.h>

#define SECTOR	    512u
#define DEPTH_MAX   24
#define MAX_SECTORS 128u
#define ZEROED	    UINT32_MAX /* a version */

enum op { READ, WRITE, ZERO, FLUSH };

struct request {
	bool used, done, doubtful;
	int error;
	enum op op;
	uint64_t sector;
	uint32_t count, version;
	char buf[MAX_SECTORS * SECTOR];
};

static struct nbd_handle *nbd;
static const char *path;
static char *pristine; /* mapped: version 0 of all sectors */
static uint64_t sectors;
static uint32_t *versions, last_version;
static struct request requests[DEPTH_MAX];
static int depth;
static useconds_t pause_us;
static volatile sig_atomic_t stop;

static void
on_signal(int number)
{
	stop = true;
}

static uint64_t
pick(uint64_t n)
{
	static uint64_t seed;

	if (!seed)
		seed = (uint64_t)random() << 31 ^ (uint64_t)random() ^ 0x9e3779b97f4a7c15;
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* --- what a sector holds ------------------------------------------------------------ */

static void
fill(char *buf, uint64_t sector, uint32_t version)
{
	uint64_t words[2] = { sector, version };

	if (!version)
		memcpy(buf, pristine + sector * SECTOR, SECTOR);
	else if (version == ZEROED)
		memset(buf, 0, SECTOR);
	else
		for (unsigned i = 0; i < SECTOR; i += sizeof(words))
			memcpy(buf + i, words, sizeof(words));
}

static bool
holds(const char *buf, uint64_t sector, uint32_t version)
{
	char wanted[SECTOR];

	fill(wanted, sector, version);
	return !memcmp(buf, wanted, SECTOR);
}

static void
check(const char *buf, uint64_t sector, uint64_t count, const char *when)
{
	uint64_t words[2];

	for (uint64_t s = sector; s < sector + count; s++, buf += SECTOR)
		if (!holds(buf, s, versions[s])) {
			memcpy(words, buf, sizeof(words));
			errx(1, "%s: sector %lu must have version %u, and begins with %lu %lu",
			     when, s, versions[s], words[0], words[1]);
		}
}

/* --- the connection ------------------------------------------------------------------- */

static void
connect_to(void)
{
	for (;;) {
		if (nbd)
			nbd_close(nbd);
		nbd = nbd_create();
		if (!nbd)
			errx(1, "libnbd: %s", nbd_get_error());
		if (!nbd_connect_unix(nbd, path))
			return;
		usleep(2000);
	}
}

/* Of a write that was not answered: what it left. False: the server has died again. */
static bool
resolve(struct request *r)
{
	uint32_t count = r->count;

	if (nbd_pread(nbd, r->buf, (size_t)count * SECTOR, r->sector * SECTOR, 0))
		return false;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t s = r->sector + i;

		if (holds(r->buf + i * SECTOR, s, r->version))
			versions[s] = r->version;
	}
	check(r->buf, r->sector, count, "a write that was not answered");
	return true;
}

static void
reconnect(void)
{
	bool up;

	for (int i = 0; i < depth; i++) {
		struct request *r = &requests[i];

		r->doubtful |= r->used && (r->op == WRITE || r->op == ZERO);
		r->used = false;
	}
	do {
		connect_to();
		up = true;
		for (int i = 0; up && i < depth; i++)
			if (requests[i].doubtful) {
				up = resolve(&requests[i]);
				requests[i].doubtful = !up;
			}
	} while (!up);
	puts("up");
	fflush(stdout);
}

/* --- requests --------------------------------------------------------------------------- */

static int
answered(void *data, int *error)
{
	struct request *r = data;

	r->done = true;
	r->error = *error;
	return 1;
}

static bool
is_free(uint64_t sector, uint32_t count, bool for_write)
{
	for (int i = 0; i < depth; i++) {
		const struct request *r = &requests[i];

		if (r->used && r->op != FLUSH && sector < r->sector + r->count &&
		    r->sector < sector + count && (for_write || r->op != READ))
			return false;
	}
	return true;
}

static void
issue(struct request *r)
{
	static const enum op ops[] = { WRITE, WRITE, WRITE, WRITE, WRITE,
				       READ,  READ,  READ,  ZERO,  FLUSH };
	static const uint32_t counts[] = { 8, 8, 8, 8, 1, 3, 16, MAX_SECTORS };
	const nbd_completion_callback when_done = { .callback = answered, .user_data = r };
	uint64_t sector;
	size_t bytes;
	int64_t sent = -1;

	r->op = ops[pick(sizeof(ops) / sizeof(*ops))];
	r->count = r->op == FLUSH ? 0 : counts[pick(sizeof(counts) / sizeof(*counts))];
	/* Half of it in an eighth of the disk, so that the same is written again. */
	sector = pick(pick(2) ? sectors : sectors / 8);
	if (r->count >= 8)
		sector &= ~UINT64_C(7);
	if (sector + r->count > sectors || !is_free(sector, r->count, r->op != READ))
		return;
	r->sector = sector;
	r->used = true;
	r->done = false;
	r->version = r->op == ZERO ? ZEROED : ++last_version;
	bytes = (size_t)r->count * SECTOR;
	switch (r->op) {
	case READ:
		sent = nbd_aio_pread(nbd, r->buf, bytes, sector * SECTOR, when_done, 0);
		break;
	case WRITE:
		for (uint32_t i = 0; i < r->count; i++)
			fill(r->buf + i * SECTOR, sector + i, r->version);
		sent = nbd_aio_pwrite(nbd, r->buf, bytes, sector * SECTOR, when_done, 0);
		break;
	case ZERO:
		sent = nbd_aio_zero(nbd, bytes, sector * SECTOR, when_done, 0);
		break;
	case FLUSH:
		sent = nbd_aio_flush(nbd, when_done, 0);
		break;
	}
	if (sent < 0 && !nbd_aio_is_dead(nbd))
		errx(1, "cannot send: %s", nbd_get_error());
}

static void
take_answer(struct request *r)
{
	if (r->error)
		errx(1, "request %d of %u sectors at %lu: %s", r->op, r->count, r->sector,
		     strerror(r->error));
	r->used = false;
	if (r->op == READ)
		check(r->buf, r->sector, r->count, "a read");
	else
		for (uint32_t i = 0; i < r->count; i++)
			versions[r->sector + i] = r->version;
}

static bool
is_dead(void)
{
	return nbd_aio_is_dead(nbd) || nbd_aio_is_closed(nbd);
}

/* Answers that came before the death count. */
static void
take_answers(void)
{
	bool dead = is_dead();

	for (int i = 0; i < depth; i++)
		if (requests[i].used && requests[i].done && !(dead && requests[i].error))
			take_answer(&requests[i]);
}

static bool
any_used(void)
{
	for (int i = 0; i < depth; i++)
		if (requests[i].used)
			return true;
	return false;
}

static void
run(void)
{
	while (!stop || any_used()) {
		for (int i = 0; !stop && i < depth; i++)
			if (!requests[i].used && !is_dead())
				issue(&requests[i]);
		if (!is_dead() && any_used() && nbd_poll(nbd, 1000) < 0 && !is_dead() &&
		    nbd_get_errno() != EINTR)
			errx(1, "poll: %s", nbd_get_error());
		take_answers();
		if (is_dead())
			reconnect();
		usleep(pause_us);
	}
}

static void
check_all(void)
{
	for (uint64_t s = 0; s < sectors; s += MAX_SECTORS) {
		uint64_t count = sectors - s < MAX_SECTORS ? sectors - s : MAX_SECTORS;

		if (nbd_pread(nbd, requests[0].buf, count * SECTOR, s * SECTOR, 0))
			errx(1, "reading it all: %s", nbd_get_error());
		check(requests[0].buf, s, count, "in the end");
	}
}

int
main(int argc, char **argv)
{
	struct stat st;
	int fd;

	if (argc != 6 || atoi(argv[4]) < 1 || atoi(argv[4]) > DEPTH_MAX)
		errx(2, "usage: nbd-guest SOCKET PRISTINE SEED DEPTH PAUSE");
	path = argv[1];
	depth = atoi(argv[4]);
	pause_us = (useconds_t)atoi(argv[5]);
	fd = open(argv[2], O_RDWR);
	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", argv[2]);
	sectors = (uint64_t)st.st_size / SECTOR;
	pristine = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	versions = calloc(sectors, sizeof(*versions));
	if (pristine == MAP_FAILED || !versions)
		err(1, "memory");
	srandom((unsigned int)strtoul(argv[3], NULL, 0));
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);

	reconnect();
	run();
	if (nbd_flush(nbd, 0))
		errx(1, "flush: %s", nbd_get_error());
	check_all();
	for (uint64_t s = 0; s < sectors; s++)
		fill(pristine + s * SECTOR, s, versions[s]);
	return 0;
}
