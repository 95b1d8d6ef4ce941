/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-image.h"

#include <limits.h>
#include <stdlib.h>

#include "tapdisk-driver.h"
#include "tapdisk-interface.h"

static td_image_t *
image_allocate(int type, const char *name, int flags)
{
	td_image_t *image = calloc(1, sizeof(*image));

	if (!image)
		return NULL;

	INIT_LIST_HEAD(&image->next);
	image->type = type;
	image->flags = (td_flag_t)flags;
	image->name = strdup(name);
	if (!image->name) {
		free(image);
		return NULL;
	}
	return image;
}

void
tapdisk_image_free(td_image_t *image)
{
	free(image->name);
	free(image);
}

/* Whether the driver has told of a disk that can be served. */
static int
image_check_info(const td_image_t *image)
{
	long sector = image->info.sector_size;

	if (sector >= SECTOR_SIZE && !(sector & (sector - 1)) && image->info.size &&
	    image->info.size <= LLONG_MAX >> SECTOR_SHIFT &&
	    !(image->info.size % (td_sector_t)(sector >> SECTOR_SHIFT)))
		return 0;

	EPRINTF("%s: cannot serve %llu sectors of 512 bytes as logical sectors of %ld bytes",
		image->name, (unsigned long long)image->info.size, sector);
	return -EINVAL;
}

static int
image_open(int type, const char *name, int flags, struct td_vbd_encryption *encryption,
	   const void *given, td_image_t **out)
{
	struct td_vbd_encryption none = { 0 };
	td_image_t *image = image_allocate(type, name, flags);
	int err;

	if (!image)
		return -ENOMEM;

	image->given = given;
	err = td_open(image, encryption ? encryption : &none);
	image->given = NULL;
	if (err) {
		tapdisk_image_free(image);
		return err;
	}

	err = image_check_info(image);
	if (err) {
		tapdisk_image_close(image);
		return err;
	}

	*out = image;
	return 0;
}

int
tapdisk_image_open(int type, const char *name, int flags, struct td_vbd_encryption *encryption,
		   td_image_t **out)
{
	return image_open(type, name, flags, encryption, NULL, out);
}

int
tapdisk_image_open_given(int type, const char *name, int flags, const void *given,
			 td_image_t **out)
{
	return image_open(type, name, flags, NULL, given, out);
}

void
tapdisk_image_close(td_image_t *image)
{
	int err;

	if (!image)
		return;

	err = td_close(image);
	if (err)
		EPRINTF("%s: does not close (%s); it stays open until this process ends",
			image->name, strerror(-err));
	else
		tapdisk_image_free(image);
}

int
tapdisk_image_check_td_request(td_image_t *image, const td_request_t *treq)
{
	td_sector_t size = image->info.size;

	if ((treq->op == TD_OP_WRITE || treq->op == TD_OP_ZERO) &&
	    image->flags & TD_OPEN_RDONLY)
		return -EROFS;
	if (treq->op == TD_OP_FLUSH)
		return 0;
	if (treq->secs <= 0 || treq->sec > size || (td_sector_t)treq->secs > size - treq->sec)
		return -EINVAL;

	return 0;
}

void
tapdisk_image_stats(td_image_t *image, td_stats_t *st)
{
	tapdisk_stats_enter(st, '{');
	tapdisk_stats_field(st, "name", "s", image->name);

	tapdisk_stats_field(st, "hits", "[");
	tapdisk_stats_val(st, "llu", (unsigned long long)image->stats.hits.rd);
	tapdisk_stats_val(st, "llu", (unsigned long long)image->stats.hits.wr);
	tapdisk_stats_leave(st, ']');

	tapdisk_stats_field(st, "fail", "[");
	tapdisk_stats_val(st, "llu", (unsigned long long)image->stats.fail.rd);
	tapdisk_stats_val(st, "llu", (unsigned long long)image->stats.fail.wr);
	tapdisk_stats_leave(st, ']');

	tapdisk_stats_field(st, "driver", "{");
	tapdisk_driver_stats(image->driver, st);
	tapdisk_stats_leave(st, '}');
	tapdisk_stats_leave(st, '}');
}
