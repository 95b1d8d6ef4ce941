/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal-open - reading the journal of a disk of 16 TiB with a million scattered
 * extents: the seconds it takes, and the bytes of memory that it has then, as the
 * kernel counts them
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "journal-record.h"

#define SECTORS	   ((uint64_t)1 << 35)
#define EXTENTS	   (1u << 20)
#define STEP	   (SECTORS / EXTENTS)
#define RUNS	   4096u /* in a record */
#define FILE_BYTES (64u << 20)

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

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
must(bool so, const char *what)
{
	if (so)
		return;
	fprintf(stderr, "journal-open: %s\n", what);
	exit(1);
}

/* In each sixteen MiB one extent of 4 KiB, somewhere, that only the destination has. */
static size_t
make_file(uint8_t *bytes)
{
	static const uint8_t uuid[16];
	struct record_buf b = { .bytes = bytes, .size = FILE_BYTES };
	uint64_t random = 1;

	record_start(&b, &(struct record_chain){ .epoch = 1 });
	record_head(&b, uuid, SECTORS, "", 0);
	for (uint64_t i = 0; i < EXTENTS; i++) {
		uint32_t at;

		random = random * 6364136223846793005u + 1442695040888963407u;
		at = (uint32_t)((random >> 33) % (STEP / 8 - 2) + 2) * 8;
		if (i % RUNS == 0) {
			record_begin(&b, RECORD_MAP);
			record_put64(&b, i * STEP);
		}
		record_put32(&b, (at - 8) << 2 | SRC_BIT);
		record_put32(&b, 8u << 2 | DST_BIT);
		record_put32(&b, ((uint32_t)STEP - at) << 2 | SRC_BIT);
		if (i % RUNS == RUNS - 1)
			record_end(&b);
	}
	record_begin(&b, RECORD_MAP_END);
	record_put64(&b, 0);
	record_end(&b);
	record_finish(&b);
	return b.len;
}

int
main(void)
{
	struct journal_contents contents;
	struct validity *map;
	char why[200];
	FILE *file = tmpfile();
	uint8_t *bytes = malloc(FILE_BYTES);
	uint64_t before;
	double began;
	size_t len;

	must(file && bytes, "no memory, or no file");
	len = make_file(bytes);
	must(fwrite(bytes, 1, len, file) == len && !fflush(file), "cannot write");
	free(bytes);
	rewind(file);

	before = resident_bytes();
	began = now();
	bytes = malloc(len);
	must(bytes && fread(bytes, 1, len, file) == len, "cannot read");
	must(!journal_read(bytes, len, NULL, &contents, &map, why, sizeof(why)),
	     "that is no journal");
	printf("%.3f %llu\n", now() - began, (unsigned long long)(resident_bytes() - before));
	must(validity_count(map, DST_BIT) == (uint64_t)EXTENTS * 8, "extents are missing");
	validity_destroy(map);
	free(bytes);
	fclose(file);
	return 0;
}
