/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-interface.h - how requests enter and leave drivers
 *
 * td_queue_*() hand a request to an image's driver after checking its range and
 * that a read-only image is not written; a request that fails the check, or
 * that the driver has no operation for, is completed with -EINVAL, -EROFS or
 * -EOPNOTSUPP, possibly before td_queue_*() returns.
 */
#ifndef TAPDISK_INTERFACE_H
#define TAPDISK_INTERFACE_H

#include "io-backend.h"
#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-image.h"

/* Opens the driver of an image that has none yet. 0 or -errno. */
int td_open(td_image_t *image, struct td_vbd_encryption *encryption);

/*
 * Closes the driver. 0; or -errno if the driver refuses, and then the image is
 * open and serves as before. May run turns of the event loop.
 */
int td_close(td_image_t *image);

/* As struct tap_disk's members: 0, TD_NO_PARENT or -errno. */
int td_get_parent_id(td_image_t *image, td_disk_id_t *id);
int td_validate_parent(td_image_t *image, td_image_t *parent);

void td_queue_read(td_image_t *image, td_request_t treq);
void td_queue_write(td_image_t *image, td_request_t treq);
/* The request is copied, in spite of the pointer. */
void td_queue_block_status(td_image_t *image, td_request_t *treq);
/* TAPDISK_EXTENDED */
void td_queue_flush(td_image_t *image, td_request_t treq);
void td_queue_zero(td_image_t *image, td_request_t treq);

/* Answers a request, or a part of it: calls its cb. res: 0 or -errno. */
void td_complete_request(td_request_t treq, int res);

/*
 * TAPDISK_EXTENDED. False if nobody needs what is left of the request: the front end
 * has got enough, or its client has gone. A driver that works on a request in steps asks
 * before each step, and may answer what is left with -ECANCELED.
 */
bool td_request_wanted(const td_request_t *treq);

/*
 * To the parent of the request's image. There are no parents here, so the
 * request fails with -EOPNOTSUPP; nothing is acknowledged that went nowhere.
 */
void td_forward_request(td_request_t treq);

void td_debug(td_image_t *image);

/* TAPDISK_EXTENDED. The file or device behind it, the driver's own; -1: there is none. */
int td_get_fd(td_image_t *image);

/* TAPDISK_EXTENDED. As struct tap_disk says. The image stays open meanwhile. */
int td_check_name(td_image_t *image);

/* Kernel I/O: see io-backend.h. size and offset are in bytes. */
void td_prep_read(td_driver_t *driver, struct tiocb *tiocb, int fd, char *buf, size_t size,
		  long long offset, td_queue_callback_t cb, void *arg);
void td_prep_write(td_driver_t *driver, struct tiocb *tiocb, int fd, char *buf, size_t size,
		   long long offset, td_queue_callback_t cb, void *arg);
void td_queue_tiocb(td_driver_t *driver, struct tiocb *tiocb);

/* Ends the process at once: its state cannot be trusted. */
void td_panic(void) __attribute__((noreturn));

#endif
