/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * map-memory - what the validity map of 1 TiB takes: bytes at rest, and bytes
 * after random 4 KiB writes that touch every chunk, as the kernel counts them
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "validity.h"

#define TIB_SECTORS ((uint64_t)1 << 31)
#define WRITES	    (1u << 24) /* 16 for each MiB */

static uint64_t
resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	if (!file || fscanf(file, "%*u %llu", &pages) != 1) {
		perror("/proc/self/statm");
		exit(1);
	}
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Numerical Recipes' 64-bit linear congruence; the high bits are good. */
static uint64_t
random_block(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (*state >> 33) % (TIB_SECTORS / 8);
}

static void
write_blocks(struct validity *map, uint64_t state)
{
	for (unsigned int i = 0; i < WRITES; i++) {
		if (validity_reserve(map)) {
			fprintf(stderr, "no memory for the map\n");
			exit(1);
		}
		validity_set(map, random_block(&state) * 8, 8, DST_BIT);
		validity_unreserve(map);
	}
}

int
main(void)
{
	uint64_t before = resident_bytes(), rest;
	struct validity *map = validity_create(TIB_SECTORS, SRC_BIT);

	if (!map) {
		fprintf(stderr, "no memory for the map\n");
		return 1;
	}
	rest = resident_bytes() - before;
	write_blocks(map, 1);
	printf("%llu %llu\n", (unsigned long long)rest,
	       (unsigned long long)(resident_bytes() - before));
	validity_destroy(map);
	return 0;
}
