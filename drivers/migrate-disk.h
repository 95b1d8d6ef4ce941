/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-disk.h - an image of tapdisk's, as the engine's disk
 *
 * Turns a disk_io into a td_request and collects the pieces in which the driver
 * completes it: the first error sticks. A driver that is too busy is asked
 * again a little later. Where the host has no flush or zero operation (blktap),
 * a flush is an fdatasync of the image's file by a descriptor of our own, and
 * zeroes are written.
 */
#ifndef MIGRATE_DISK_ADAPTER_H
#define MIGRATE_DISK_ADAPTER_H

#include "migrate/disk.h"
#include "migrate/pool.h"

#include "tapdisk.h"
#include "tapdisk-image.h"

struct image_disk {
	struct disk disk;
	td_image_t *image;
	struct pool requests;
	struct pool retries;
	struct list_head busy; /* pieces to be submitted again */
	int32_t retry_event;   /* its timeout is set while there are any */
	bool handed_over;      /* closing the image is somebody else's business */
	bool closed;
	bool sparse; /* made for this migration: the copy's zeroes need not be kept allocated */
	int fd;	     /* the file or device, a descriptor of our own; -1: there is none */
};

/*
 * Opens the image "type:name", in blktap's host a raw one only, whatever its mark says
 * (migrate-mark.c looks at that); 0 or -errno, with the reason in the log. The disk is the
 * caller's memory and stays where it is until it is closed.
 */
int image_disk_open(struct image_disk *d, const char *name, td_flag_t flags,
		    struct td_vbd_encryption *encryption);

#ifdef TAPDISK_EXTENDED
/*
 * The same of an image that is open. It stays the caller's, as after image_disk_hand_over(),
 * until image_disk_keep().
 */
int image_disk_adopt(struct image_disk *d, td_image_t *image);
void image_disk_keep(struct image_disk *d);
#endif

/*
 * Closes it, unless it is closed; nothing is in flight. The image too, unless it
 * was handed over.
 */
void image_disk_close(struct image_disk *d);

/*
 * The image is somebody else's, who keeps it open until the disk is closed: what
 * is in flight elsewhere may yet be sent here.
 */
void image_disk_hand_over(struct image_disk *d);

#endif
