/* SPDX-License-Identifier: BSD-3-Clause */
/* tapdisk-image.h - an image: a name, and the driver that serves it */
#ifndef TAPDISK_IMAGE_H
#define TAPDISK_IMAGE_H

#include "tapdisk.h"
#include "tapdisk-stats.h"

struct td_image_handle {
	int type;	 /* DISK_TYPE_ */
	char *name;	 /* after the colon */
	td_flag_t flags; /* TD_OPEN_ */
	td_driver_t *driver;
	td_disk_info_t info;
	struct list_head next;
	const void *given; /* while it is being opened */

	/* Sectors completed by this image, well and badly. */
	struct {
		td_sector_count_t hits;
		td_sector_count_t fail;
	} stats;
};

/*
 * Opens one image. 0 and *image, or -errno with the reason in
 * tapdisk_log_first_error(). May run turns of the event loop.
 */
int tapdisk_image_open(int type, const char *name, int flags,
		       struct td_vbd_encryption *encryption, td_image_t **image);

/*
 * The same of an image that is open in some form already. name is what it is called; what
 * is opened is given, which stays the caller's:
 *
 *	aio	const int *: a descriptor of the file or device
 *	migrate	struct migrate_given (block-migrate.h)
 */
int tapdisk_image_open_given(int type, const char *name, int flags, const void *given,
			     td_image_t **image);

/*
 * Closes and frees it; NULL is allowed. For images whose driver cannot refuse
 * (td_close() in tapdisk-interface.h is for those that can): one that refuses
 * stays in memory, with a message. May run turns of the event loop.
 */
void tapdisk_image_close(td_image_t *image);

/* Frees one that is not open. */
void tapdisk_image_free(td_image_t *image);

/* Whether the request is one that the image can serve: 0, -EINVAL, -EROFS. */
int tapdisk_image_check_td_request(td_image_t *image, const td_request_t *treq);

/* The image as an object in st. */
void tapdisk_image_stats(td_image_t *image, td_stats_t *st);

#endif
