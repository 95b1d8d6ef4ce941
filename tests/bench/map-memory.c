/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * map-memory: how much memory the validity map of a 1 TiB disk takes, at rest
 * and after random 4 KiB writes that leave no chunk of it untouched, as JSON.
 * "bytes" is what the map says it asked for, "rss" how much the process grew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "validity.h"

#define DISK_SECTORS  (UINT64_C(1) << 31)
#define CHUNK_SECTORS 2048u
#define BLOCK_SECTORS 8u
#define EXTRA_WRITES  (UINT64_C(1) << 22)

static uint64_t
random_number(void)
{
	static uint64_t state = 1;

	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static size_t
resident_bytes(void)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	size_t pages;

	if (!statm || fscanf(statm, "%*s %zu", &pages) != 1) {
		perror("map-memory: /proc/self/statm");
		exit(1);
	}
	fclose(statm);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void
write_4k(struct validity *v, uint64_t sector)
{
	if (validity_reserve(v)) {
		fputs("map-memory: out of memory\n", stderr);
		exit(1);
	}
	validity_set(v, sector & ~(uint64_t)(BLOCK_SECTORS - 1), BLOCK_SECTORS, DST_BIT);
	validity_unreserve(v);
}

int
main(void)
{
	size_t before = resident_bytes(), rest_bytes, rest_rss;
	struct validity *v = validity_create(DISK_SECTORS, SRC_BIT);

	if (!v) {
		fputs("map-memory: out of memory\n", stderr);
		return 1;
	}
	rest_bytes = validity_memory(v);
	rest_rss = resident_bytes() - before;
	for (uint64_t chunk = 0; chunk < DISK_SECTORS / CHUNK_SECTORS; chunk++)
		write_4k(v, chunk * CHUNK_SECTORS + random_number() % CHUNK_SECTORS);
	for (uint64_t i = 0; i < EXTRA_WRITES; i++)
		write_4k(v, random_number() % DISK_SECTORS);
	printf("{\"disk_bytes\": %" PRIu64 ", \"rest\": {\"bytes\": %zu, \"rss\": %zu}, "
	       "\"random_4k\": {\"bytes\": %zu, \"rss\": %zu}}\n",
	       DISK_SECTORS * SECTOR_BYTES, rest_bytes, rest_rss, validity_memory(v),
	       resident_bytes() - before);
	validity_destroy(v);
	return 0;
}
