/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake-disk.h - a disk in memory that answers when the test says so
 *
 * What is submitted stays outstanding, in order, until the test completes it,
 * well or badly, in whatever order it likes. Only then is a write's buffer read:
 * one that was given back too early has been scribbled over by then.
 *
 * A sector holds one number, its stamp, 64 times over; 0 for zeroes. A write that
 * fails leaves neither the old nor the new data, but junk.
 */
#ifndef TESTS_FAKE_DISK_H
#define TESTS_FAKE_DISK_H

#include <errno.h>
#include <stdlib.h>

#include "disk.h"

/* Version v of what a sector holds. */
#define STAMP(v, sector) ((uint64_t)(v) << 32 | (sector))
#define JUNK		 0xbad

#define SECTOR_WORDS (SECTOR_BYTES / sizeof(uint64_t))

struct fake_disk {
	struct disk disk;
	uint64_t *stamps;
	struct list_head outstanding; /* disk_io by link */
	bool tells_zeroes;	      /* answers DISK_STATUS; else it cannot say */
	unsigned submitted[DISK_STATUS + 1];
};

static inline struct fake_disk *
fake_of(struct disk *disk)
{
	return list_entry(disk, struct fake_disk, disk);
}

static inline void
stamps_to_buf(uint64_t *buf, const uint64_t *stamps, uint64_t count)
{
	for (uint64_t i = 0; i < count * SECTOR_WORDS; i++)
		buf[i] = stamps[i / SECTOR_WORDS];
}

static inline void
stamps_fill(uint64_t *stamps, unsigned v, uint64_t sector, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		stamps[i] = v ? STAMP(v, sector + i) : 0;
}

/* How many sectors from there, at most max, share whether they are zero. */
static inline uint32_t
fake_status_run(const struct fake_disk *d, uint64_t sector, uint32_t max)
{
	uint32_t run = 1;

	while (run < max && !d->stamps[sector + run] == !d->stamps[sector])
		run++;
	return run;
}

/* Answers an outstanding request. */
static inline void
fake_complete(struct disk_io *io, int err)
{
	struct fake_disk *d = fake_of(io->disk);
	uint64_t *stamps = d->stamps + io->sector;
	uint64_t *buf = io->buf;

	list_del(&io->link);
	if (io->op == DISK_READ && !err)
		stamps_to_buf(buf, stamps, io->count);
	else if (io->op == DISK_WRITE && !err)
		for (uint32_t i = 0; i < io->count; i++)
			stamps[i] = buf[i * SECTOR_WORDS];
	else if (io->op == DISK_ZERO && !err)
		stamps_fill(stamps, 0, io->sector, io->count);
	else if (io->op == DISK_WRITE || io->op == DISK_ZERO)
		stamps_fill(stamps, JUNK, io->sector, io->count);
	io->done(io, err);
}

static inline void
fake_submit(struct disk *disk, struct disk_io *io)
{
	struct fake_disk *d = fake_of(disk);

	d->submitted[io->op]++;
	if (io->op == DISK_STATUS) {
		if (d->tells_zeroes) {
			io->zero = !d->stamps[io->sector];
			io->count = fake_status_run(d, io->sector, io->count);
		}
		io->done(io, d->tells_zeroes ? 0 : -EOPNOTSUPP);
		return;
	}
	list_add_tail(&io->link, &d->outstanding);
}

static inline void
fake_init(struct fake_disk *d, uint64_t sectors, unsigned v)
{
	*d = (struct fake_disk){ .disk = { .submit = fake_submit, .sectors = sectors },
				 .stamps = malloc(sectors * sizeof(*d->stamps)) };
	INIT_LIST_HEAD(&d->outstanding);
	stamps_fill(d->stamps, v, 0, sectors);
}

static inline void
fake_release(struct fake_disk *d)
{
	free(d->stamps);
}

#endif
