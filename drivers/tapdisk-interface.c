/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-interface.h"

#include <stdlib.h>

int
td_open(td_image_t *image, struct td_vbd_encryption *encryption)
{
	td_driver_t *driver = tapdisk_driver_allocate(image->type, image->name, image->flags);
	int err;

	if (!driver)
		return -ENOMEM;

	driver->given = image->given;
	err = driver->ops->td_open(driver, image->name, encryption, image->flags);
	driver->given = NULL;
	if (err) {
		tapdisk_driver_free(driver);
		return err;
	}

	driver->state |= TD_DRIVER_OPEN;
	driver->refcnt = 1;
	image->driver = driver;
	image->info = driver->info;
	return 0;
}

int
td_close(td_image_t *image)
{
	td_driver_t *driver = image->driver;
	int err = driver->ops->td_close(driver);

	if (err)
		return err;

	tapdisk_driver_free(driver);
	image->driver = NULL;
	return 0;
}

int
td_get_parent_id(td_image_t *image, td_disk_id_t *id)
{
	id->name = NULL;
	id->type = -1;
	id->flags = (int)image->flags;
	return image->driver->ops->td_get_parent_id(image->driver, id);
}

int
td_validate_parent(td_image_t *image, td_image_t *parent)
{
	return image->driver->ops->td_validate_parent(image->driver, parent->driver, 0);
}

static void
td_queue(td_image_t *image, td_request_t treq, void (*queue)(td_driver_t *, td_request_t))
{
	int err;

	treq.image = image;
	err = tapdisk_image_check_td_request(image, &treq);
	if (!err && !queue)
		err = -EOPNOTSUPP;

	if (err)
		td_complete_request(treq, err);
	else
		queue(image->driver, treq);
}

void
td_queue_read(td_image_t *image, td_request_t treq)
{
	td_queue(image, treq, image->driver->ops->td_queue_read);
}

void
td_queue_write(td_image_t *image, td_request_t treq)
{
	td_queue(image, treq, image->driver->ops->td_queue_write);
}

void
td_queue_block_status(td_image_t *image, td_request_t *treq)
{
	td_queue(image, *treq, image->driver->ops->td_queue_block_status);
}

void
td_queue_flush(td_image_t *image, td_request_t treq)
{
	td_queue(image, treq, image->driver->ops->td_queue_flush);
}

void
td_queue_zero(td_image_t *image, td_request_t treq)
{
	td_queue(image, treq, image->driver->ops->td_queue_zero);
}

/* What is answered with -EBUSY comes again, so it counts neither way. */
static void
td_count(td_request_t *treq, int res)
{
	td_sector_count_t *count = res ? &treq->image->stats.fail : &treq->image->stats.hits;

	if (res == -EBUSY)
		return;
	if (treq->op == TD_OP_READ)
		count->rd += (td_sector_t)treq->secs;
	else if (treq->op == TD_OP_WRITE || treq->op == TD_OP_ZERO)
		count->wr += (td_sector_t)treq->secs;
}

void
td_complete_request(td_request_t treq, int res)
{
	if (res > 0)
		res = -res;
	td_count(&treq, res);
	treq.cb(treq, res);
}

bool
td_request_wanted(const td_request_t *treq)
{
	return !treq->vreq || !treq->vreq->unwanted;
}

void
td_forward_request(td_request_t treq)
{
	td_complete_request(treq, -EOPNOTSUPP);
}

void
td_debug(td_image_t *image)
{
	tapdisk_driver_debug(image->driver);
}

int
td_get_fd(td_image_t *image)
{
	const struct tap_disk *ops = image->driver->ops;

	return ops->td_get_fd ? ops->td_get_fd(image->driver) : -1;
}

int
td_check_name(td_image_t *image)
{
	const struct tap_disk *ops = image->driver->ops;

	return ops->td_check_name ? ops->td_check_name(image->driver) : 0;
}

void
td_prep_read(td_driver_t *driver, struct tiocb *tiocb, int fd, char *buf, size_t size,
	     long long offset, td_queue_callback_t cb, void *arg)
{
	tapdisk_server_prep_tiocb(tiocb, fd, false, buf, size, offset, cb, arg);
}

void
td_prep_write(td_driver_t *driver, struct tiocb *tiocb, int fd, char *buf, size_t size,
	      long long offset, td_queue_callback_t cb, void *arg)
{
	tapdisk_server_prep_tiocb(tiocb, fd, true, buf, size, offset, cb, arg);
}

void
td_queue_tiocb(td_driver_t *driver, struct tiocb *tiocb)
{
	tapdisk_server_queue_tiocb(tiocb);
}

void
td_panic(void)
{
	abort();
}
