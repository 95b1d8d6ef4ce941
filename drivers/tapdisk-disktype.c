/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-disktype.h"

#include <errno.h>
#include <string.h>

/* Drivers that were not linked into this program are absent, not an error. */
#define DRIVER(symbol) extern struct tap_disk symbol __attribute__((weak))
DRIVER(tapdisk_aio);
DRIVER(tapdisk_migrate);
#ifdef TAPDISK_TEST_DRIVERS
DRIVER(tapdisk_fault);
DRIVER(tapdisk_model);
#endif

#define TYPE(type_name, description) \
	(&(const disk_info_t){ .name = (type_name), .desc = (description) })

const disk_info_t *const tapdisk_disk_types[DISK_TYPES] = {
	[DISK_TYPE_AIO] = TYPE("aio", "raw image"),
	[DISK_TYPE_SYNC] = TYPE("sync", "raw image, synchronous"),
	[DISK_TYPE_VMDK] = TYPE("vmdk", "VMware image"),
	[DISK_TYPE_VHDSYNC] = TYPE("vhdsync", "virtual hard disk, synchronous"),
	[DISK_TYPE_VHD] = TYPE("vhd", "virtual hard disk"),
	[DISK_TYPE_RAM] = TYPE("ram", "RAM disk"),
	[DISK_TYPE_QCOW] = TYPE("qcow", "QEMU image"),
	[DISK_TYPE_BLOCK_CACHE] = TYPE("bc", "block cache"),
	[DISK_TYPE_VINDEX] = TYPE("vhdi", "index of virtual hard disks"),
	[DISK_TYPE_LOG] = TYPE("log", "log of writes"),
	[DISK_TYPE_REMUS] = TYPE("remus", "replicated disk"),
	[DISK_TYPE_LCACHE] = TYPE("lc", "local cache of a parent"),
	[DISK_TYPE_LLECACHE] = TYPE("lle", "local cache of a leaf, ephemeral"),
	[DISK_TYPE_LLPCACHE] = TYPE("llp", "local cache of a leaf, persistent"),
	[DISK_TYPE_VALVE] = TYPE("valve", "rate limit"),
	[DISK_TYPE_NBD] = TYPE("nbd", "network block device"),
	[DISK_TYPE_MIGRATE] = TYPE("migrate", "disk that moves from one image to another"),
#ifdef TAPDISK_TEST_DRIVERS
	[DISK_TYPE_FAULT] = TYPE("fault", "image that fails as a test says"),
	[DISK_TYPE_MODEL] = TYPE("model", "image as slow as another disk"),
#endif
};

const struct tap_disk *const tapdisk_disk_drivers[DISK_TYPES] = {
	[DISK_TYPE_AIO] = &tapdisk_aio,
	[DISK_TYPE_MIGRATE] = &tapdisk_migrate,
#ifdef TAPDISK_TEST_DRIVERS
	[DISK_TYPE_FAULT] = &tapdisk_fault,
	[DISK_TYPE_MODEL] = &tapdisk_model,
#endif
};

int
tapdisk_disktype_find(const char *name)
{
	for (int type = 0; type < DISK_TYPES; type++) {
		const disk_info_t *info = tapdisk_disk_types[type];

		if (info && !strcmp(info->name, name))
			return tapdisk_disk_drivers[type] ? type : -ENOSYS;
	}

	return -ENOENT;
}

int
tapdisk_disktype_parse_params(const char *params, const char **path)
{
	char name[DISK_TYPE_NAME_MAX];
	const char *colon = strchr(params, ':');
	size_t len;

	if (!colon)
		return -EINVAL;

	len = (size_t)(colon - params);
	if (len >= sizeof(name))
		return -ENAMETOOLONG;

	memcpy(name, params, len);
	name[len] = '\0';
	*path = colon + 1;

	return tapdisk_disktype_find(name);
}
