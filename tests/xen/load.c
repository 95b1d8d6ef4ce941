/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * load.c - what a guest does to its disk while that is migrated
 *
 *	load FILE MIB SEED
 *
 * Four processes write to a file of that size and read back, past the page cache, each
 * in its own quarter: up to 128 KiB at a time, so that requests need indirect segments,
 * with a flush now and then. What a block holds depends on the seed, its number and how
 * often it was written. They go on until SIGTERM, then read all once more. Every whole
 * round of each adds a byte to FILE.rounds. Exits with 1, and says why, after any error
 * or wrong block.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK	   4096u
#define MAX_BLOCKS 32u /* at a time */
#define WORKERS	   4u
#define ROUND	   16 /* writes, each read back */

static volatile sig_atomic_t stopped;

struct worker {
	int fd, rounds_fd;
	uint64_t seed, random;
	uint32_t first, blocks; /* of the file */
	uint32_t *written;	/* how often, for each of blocks */
	char *buffer;		/* MAX_BLOCKS */
};

static void
stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* splitmix64 */
static uint64_t
next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t
seed_of(const struct worker *w, uint32_t block)
{
	return w->seed ^ (uint64_t)(w->first + block) << 32 ^ w->written[block];
}

static void
fill(const struct worker *w, uint32_t block, uint64_t *words)
{
	uint64_t state = seed_of(w, block);

	for (unsigned int i = 0; i < BLOCK / sizeof(*words); i++)
		words[i] = next(&state);
}

static void
check(const struct worker *w, uint32_t block, const uint64_t *words)
{
	uint64_t state = seed_of(w, block);

	for (unsigned int i = 0; i < BLOCK / sizeof(*words); i++)
		if (words[i] != next(&state))
			die("block %u, written %u times, is wrong from byte %zu on",
			    w->first + block, w->written[block], i * sizeof(*words));
}

static void
transfer(const struct worker *w, uint32_t block, uint32_t n, int writing)
{
	const off_t at = (off_t)(w->first + block) * BLOCK;
	const size_t size = (size_t)n * BLOCK;
	ssize_t done = writing ? pwrite(w->fd, w->buffer, size, at)
			       : pread(w->fd, w->buffer, size, at);

	if (done != (ssize_t)size)
		die("%s %u blocks at %u: %s", writing ? "writing" : "reading", n,
		    w->first + block, done < 0 ? strerror(errno) : "not all");
}

static void
write_blocks(struct worker *w, uint32_t block, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		w->written[block + i]++;
		fill(w, block + i, (uint64_t *)(w->buffer + i * BLOCK));
	}
	transfer(w, block, n, 1);
}

static void
check_blocks(struct worker *w, uint32_t block, uint32_t n)
{
	transfer(w, block, n, 0);
	for (uint32_t i = 0; i < n; i++)
		check(w, block + i, (uint64_t *)(w->buffer + i * BLOCK));
}

static void
all_blocks(struct worker *w, void (*act)(struct worker *w, uint32_t block, uint32_t n))
{
	for (uint32_t block = 0; block < w->blocks; block += MAX_BLOCKS)
		act(w, block, w->blocks - block < MAX_BLOCKS ? w->blocks - block : MAX_BLOCKS);
}

static void
round_of(struct worker *w)
{
	for (int i = 0; i < ROUND && !stopped; i++) {
		const uint32_t block = next(&w->random) % w->blocks;
		uint32_t n = 1 + next(&w->random) % MAX_BLOCKS;

		if (n > w->blocks - block)
			n = w->blocks - block;
		write_blocks(w, block, n);
		check_blocks(w, next(&w->random) % (block + 1), 1);
		check_blocks(w, block, n);
	}
	if (fdatasync(w->fd))
		die("flushing: %s", strerror(errno));
	if (write(w->rounds_fd, ".", 1) != 1)
		die("counting: %s", strerror(errno));
}

static void __attribute__((noreturn)) work(struct worker *w)
{
	w->written = calloc(w->blocks, sizeof(*w->written));
	w->buffer = aligned_alloc(BLOCK, (size_t)MAX_BLOCKS * BLOCK);
	if (!w->written || !w->buffer)
		die("no memory");
	w->random = w->seed ^ w->first;
	all_blocks(w, write_blocks);
	while (!stopped)
		round_of(w);
	all_blocks(w, check_blocks);
	exit(0);
}

int
main(int argc, char **argv)
{
	struct worker w = { 0 };
	pid_t workers[WORKERS];
	char rounds[256];
	int status, failed = 0;

	if (argc != 4 || snprintf(rounds, sizeof(rounds), "%s.rounds", argv[1]) >= 256)
		die("usage: load FILE MIB SEED");
	w.blocks = (uint32_t)strtoul(argv[2], NULL, 10) * ((1u << 20) / BLOCK) / WORKERS;
	w.seed = strtoull(argv[3], NULL, 10);
	w.fd = open(argv[1], O_RDWR | O_CREAT | O_DIRECT, 0600);
	w.rounds_fd = open(rounds, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	if (!w.blocks || w.fd < 0 || w.rounds_fd < 0)
		die("%s of %s MiB: %s", argv[1], argv[2], strerror(errno));

	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = stop }, NULL);
	for (unsigned int i = 0; i < WORKERS; i++) {
		w.first = i * w.blocks;
		workers[i] = fork();
		if (workers[i] < 0)
			die("fork: %s", strerror(errno));
		if (!workers[i])
			work(&w);
	}
	for (unsigned int i = 0; i < WORKERS; i++) {
		while (waitpid(workers[i], &status, 0) < 0)
			for (unsigned int j = 0; stopped && j < WORKERS; j++)
				kill(workers[j], SIGTERM);
		failed |= status;
	}
	return !!failed;
}
