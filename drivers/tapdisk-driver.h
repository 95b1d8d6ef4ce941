/* SPDX-License-Identifier: BSD-3-Clause */
/* tapdisk-driver.h - an open driver: a struct tap_disk and its private data */
#ifndef TAPDISK_DRIVER_H
#define TAPDISK_DRIVER_H

#include "compiler.h"
#include "io-backend.h"
#include "scheduler.h"
#include "tapdisk.h"
#include "tapdisk-log.h"
#include "tapdisk-server.h"
#include "tapdisk-stats.h"
#include "tapdisk-utils.h"

#define TD_DRIVER_OPEN	 0x0001
#define TD_DRIVER_RDONLY 0x0002

#define TAPDISK_DATA_REQUESTS 352 /* what a driver should be able to hold at least */

#define td_flag_set(word, flag)	  ((word) |= (flag))
#define td_flag_clear(word, flag) ((word) &= ~(flag))
#define td_flag_test(word, flag)  ((word) & (flag))

struct td_driver_handle {
	int type;   /* DISK_TYPE_ */
	char *name; /* after the colon */
	int refcnt;
	td_flag_t state;     /* TD_DRIVER_ */
	td_disk_info_t info; /* filled in by td_open */
	void *data;	     /* ops->private_data_size bytes */
	const struct tap_disk *ops;
	const void *given; /* td_open's: see tapdisk_image_open_given() */

	/* tlog_drv_error()'s */
	int64_t log_since; /* ns */
	int log_count;
};

/* A driver that is not open yet, or NULL: no memory, or no such driver. */
td_driver_t *tapdisk_driver_allocate(int type, const char *name, td_flag_t flags);
/* One that is not open any more. NULL is allowed. */
void tapdisk_driver_free(td_driver_t *driver);

void tapdisk_driver_debug(td_driver_t *driver);
/* The members "type", "name" and "status" of an object that is open in st. */
void tapdisk_driver_stats(td_driver_t *driver, td_stats_t *st);
/* Whether one more message of this driver is within its limit. */
int tapdisk_driver_log_pass(td_driver_t *driver, const char *caller);

#endif
