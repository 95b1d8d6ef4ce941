/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake-disk.h - a disk in memory that answers when the test says so
 *
 * What is submitted stays outstanding, in order, until the test completes it,
 * well or badly, in whatever order it likes. Only then is a write's buffer read:
 * one that was given back too early has been scribbled over by then.
 *
 * A sector holds one number, its stamp, 64 times over; 0 for zeroes. A write that
 * fails leaves neither the old nor the new data, but junk; one that finds no space
 * changes nothing. A flush makes stable what the disk held when it was submitted.
 * What a failed flush should have made stable never will be, until written again.
 */
#ifndef TESTS_FAKE_DISK_H
#define TESTS_FAKE_DISK_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"

/* Version v of what a sector holds. */
#define STAMP(v, sector) ((uint64_t)(v) << 32 | (sector))
#define JUNK		 0xbad

#define SECTOR_WORDS (SECTOR_BYTES / sizeof(uint64_t))

struct fake_disk {
	struct disk disk;
	uint64_t *stamps;
	uint64_t *stable;	      /* what a power failure would leave */
	uint64_t last_flush;	      /* the number of the flush that made it so */
	bool *doomed;		      /* sectors that no flush makes stable any more */
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

/* How many sectors from there, at most max, share whether they are zero. */
static inline uint32_t
fake_status_run(const struct fake_disk *d, uint64_t sector, uint32_t max)
{
	uint32_t run = 1;

	while (run < max && !d->stamps[sector + run] == !d->stamps[sector])
		run++;
	return run;
}

static inline void
fake_changed(struct fake_disk *d, const struct disk_io *io, int err)
{
	const uint64_t *buf = io->buf;

	if (err == -ENOSPC)
		return;
	for (uint32_t i = 0; i < io->count; i++) {
		uint64_t sector = io->sector + i;

		d->doomed[sector] = false;
		if (err)
			d->stamps[sector] = STAMP(JUNK, sector);
		else
			d->stamps[sector] = io->op == DISK_ZERO ? 0 : buf[i * SECTOR_WORDS];
	}
}

/* What a flush has in place of a buffer: the disk as it was submitted. */
struct fake_flush {
	uint64_t number;
	uint64_t held[];
};

static inline void
fake_flushed(struct fake_disk *d, struct disk_io *io, int err)
{
	struct fake_flush *f = io->buf;

	for (uint64_t i = 0; i < d->disk.sectors; i++)
		if (err)
			d->doomed[i] |= d->stable[i] != f->held[i];
		else if (!d->doomed[i] && f->number > d->last_flush)
			d->stable[i] = f->held[i];
	if (!err && f->number > d->last_flush)
		d->last_flush = f->number;
	free(f);
	io->buf = NULL;
}

static inline void *
fake_flush(const struct fake_disk *d)
{
	size_t bytes = d->disk.sectors * sizeof(*d->stamps);
	struct fake_flush *f = malloc(sizeof(*f) + bytes);

	f->number = d->submitted[DISK_FLUSH];
	memcpy(f->held, d->stamps, bytes);
	return f;
}

/* Answers an outstanding request. */
static inline void
fake_complete(struct disk_io *io, int err)
{
	struct fake_disk *d = fake_of(io->disk);

	list_del(&io->link);
	if (io->op == DISK_FLUSH)
		fake_flushed(d, io, err);
	else if (io->op != DISK_READ)
		fake_changed(d, io, err);
	else if (!err)
		stamps_to_buf(io->buf, d->stamps + io->sector, io->count);
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
	if (io->op == DISK_FLUSH)
		io->buf = fake_flush(d);
	list_add_tail(&io->link, &d->outstanding);
}

static inline void
fake_init(struct fake_disk *d, uint64_t sectors)
{
	*d = (struct fake_disk){ .disk = { .submit = fake_submit, .sectors = sectors },
				 .stamps = calloc(sectors, sizeof(*d->stamps)),
				 .stable = calloc(sectors, sizeof(*d->stable)),
				 .doomed = calloc(sectors, sizeof(*d->doomed)) };
	INIT_LIST_HEAD(&d->outstanding);
}

/* What the disk holds from the beginning, stable. */
static inline void
fake_place(struct fake_disk *d, unsigned v, uint64_t sector, uint64_t count)
{
	for (uint64_t i = sector; i < sector + count; i++)
		d->stamps[i] = d->stable[i] = v ? STAMP(v, i) : 0;
}

static inline void
fake_release(struct fake_disk *d)
{
	free(d->stamps);
	free(d->stable);
	free(d->doomed);
}

#endif
