/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image-same.h - whether two images are the same storage, under whatever names
 *
 * As far as the kernel tells: two names of a file or device; loop devices over the same file,
 * or over parts of it that overlap; a file and a loop device over it; a device and a partition
 * of it; a device and one that is made of it (dm, md), or that a file's file system is on; two
 * paths to a disk, known by its WWN or serial number; a file of an overlay and the same in the
 * upper layer.
 *
 * It does not tell: two mounts of a network file system; a file and a btrfs device under it;
 * two devices that dm maps to the same sectors of a third; a disk that another machine, or a
 * guest, has too.
 */
#ifndef IMAGE_SAME_H
#define IMAGE_SAME_H

#include <stdbool.h>
#include <sys/types.h>

/* Two open files or block devices. May wait for their storage. */
bool image_same(int a, int b);

/* Two block devices, of which sys (/sys/dev/block) and udev (/run/udev/data) tell. */
bool image_same_devices(const char *sys, const char *udev, dev_t a, dev_t b);

#endif
