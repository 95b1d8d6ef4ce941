/* SPDX-License-Identifier: BSD-3-Clause */
/* tapdisk-disktype.h - the types of images, by blktap's numbers and names */
#ifndef TAPDISK_DISKTYPE_H
#define TAPDISK_DISKTYPE_H

#include "tapdisk.h"

#define DISK_TYPE_AIO	      0
#define DISK_TYPE_SYNC	      1
#define DISK_TYPE_VMDK	      2
#define DISK_TYPE_VHDSYNC     3
#define DISK_TYPE_VHD	      4
#define DISK_TYPE_RAM	      5
#define DISK_TYPE_QCOW	      6
#define DISK_TYPE_BLOCK_CACHE 7
#define DISK_TYPE_VINDEX      8
#define DISK_TYPE_LOG	      9
#define DISK_TYPE_REMUS	      10
#define DISK_TYPE_LCACHE      11
#define DISK_TYPE_LLECACHE    12
#define DISK_TYPE_LLPCACHE    13
#define DISK_TYPE_VALVE	      14
#define DISK_TYPE_NBD	      15
#define DISK_TYPE_MIGRATE     17
#define DISK_TYPE_FAULT	      18 /* for tests only */
#define DISK_TYPE_MODEL	      19 /* for benchmarks only */
#define DISK_TYPES	      20

#define DISK_TYPE_NAME_MAX 32 /* bytes, with the terminating zero */

/* Types that are one controller for all their images; filters without data. */
#define DISK_TYPE_SINGLE_CONTROLLER (1 << 0)
#define DISK_TYPE_FILTER	    (1 << 1)

typedef struct disk_info {
	const char *name; /* before the colon: "aio" */
	const char *desc;
	unsigned int flags; /* DISK_TYPE_SINGLE_CONTROLLER, DISK_TYPE_FILTER */
} disk_info_t;

extern const disk_info_t *const tapdisk_disk_types[DISK_TYPES];
/* NULL where this tapdisk has no driver for the type. */
extern const struct tap_disk *const tapdisk_disk_drivers[DISK_TYPES];

/* The type's number; -ENOENT if unknown, -ENOSYS if known but without driver. */
int tapdisk_disktype_find(const char *name);

/*
 * Splits "type:rest" at its first colon; *path points to the rest, within
 * params. The type's number; -EINVAL without a colon, -ENAMETOOLONG, or as
 * tapdisk_disktype_find().
 */
int tapdisk_disktype_parse_params(const char *params, const char **path);

#endif
