/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aio-open.h - opening a file or a block device as an image
 *
 * An image is locked while it is open: no two writers, no writer beside readers.
 * One that a migration has marked is not opened at all, not even to be read: it
 * is half of a disk, or an old one (image-mark.h).
 */
#ifndef AIO_OPEN_H
#define AIO_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "tapdisk.h"

#define AIO_DIRECT 4096 /* the most that O_DIRECT may want aligned, bytes */

struct aio_file {
	int fd; /* locked; the caller's to close */
	bool block_device;
	uint64_t size;	  /* bytes */
	long sector_size; /* the least that is read or written, or more: image-sector.h; bytes
			   */
};

/*
 * Opens what path leads to, which messages call name. flags: TD_OPEN_ RDONLY, MIGRATION (a
 * mark is not looked at), OWN_SECTORS, NO_O_DIRECT. 0, or -errno with the reason in the log.
 * May wait for the storage in each of its calls, and touches nothing but the file.
 */
int aio_open(struct aio_file *file, const char *path, const char *name, td_flag_t flags);

#endif
