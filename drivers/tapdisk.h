/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk.h - the interface between tapdisk and its block drivers
 *
 * Names follow blktap3's header of the same name, so that a driver written for
 * one compiles in the other. What blktap lacks is under TAPDISK_EXTENDED, which
 * only this header defines:
 *
 *  - TD_OP_FLUSH: everything written and answered before is stable afterwards;
 *  - TD_OP_ZERO: the range reads as zeroes afterwards, and may be deallocated
 *    unless the request says TD_REQ_NO_HOLE. A guest's discard is this too, with
 *    TD_REQ_DISCARD: one whose read-back is undefined does not exist here;
 *  - TD_REQ_AS_IS: the same, and neither is anything deallocated nor allocated;
 *  - TD_REQ_ONE: a block status of which only the first extent is wanted;
 *  - TD_REQ_WHOLE: a flush that is -EMEDIUMTYPE if the image has become smaller;
 *  - td_request_wanted(): whether somebody still waits for the answer;
 *  - TD_OPEN_MIGRATION: an image is opened in spite of a migration's mark;
 *  - an image handed over in a running VBD (tapdisk-vbd.h);
 *  - td_get_fd: whoever looks at an image looks at what is served, not at a name.
 *
 * A driver is a table (struct tap_disk). tapdisk calls td_open once, then the
 * queue functions, each with a request by value. The driver completes exactly
 * req.secs sectors in total, in any number of pieces and in any order: for a
 * piece it shrinks secs and advances sec and buf, then calls
 * td_complete_request(). The vbd remembers the first error of a request; no
 * later piece's success hides it. td_close returns with no I/O in flight.
 */
#ifndef TAPDISK_H
#define TAPDISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/time.h>

#include "list.h"

#define TAPDISK_EXTENDED 1

#define SECTOR_SHIFT	    9
#define SECTOR_SIZE	    512
#define DEFAULT_SECTOR_SIZE 512

#define TD_NO_PARENT 1

enum TD_OPS {
	TD_OP_READ = 0,
	TD_OP_WRITE,
	TD_OP_BLOCK_STATUS,
	TD_OP_FLUSH,
	TD_OP_ZERO,
	TD_OPS_END,
};

/* Flags of td_open; the values are blktap's. */
#define TD_OPEN_QUIET	    0x00001
#define TD_OPEN_QUERY	    0x00002
#define TD_OPEN_RDONLY	    0x00004
#define TD_OPEN_STRICT	    0x00008
#define TD_OPEN_SHAREABLE   0x00010
#define TD_OPEN_NO_O_DIRECT 0x02000
/* TAPDISK_EXTENDED. By a migration, which looks at the mark itself (image-mark.h). */
#define TD_OPEN_MIGRATION 0x10000000
/* With that: sectors are the storage's, whatever a disk had that was there (image-sector.h). */
#define TD_OPEN_OWN_SECTORS 0x20000000

/* Answers of a block status request. */
#define TD_BLOCK_STATE_NONE 0
#define TD_BLOCK_STATE_HOLE (1 << 0)
#define TD_BLOCK_STATE_ZERO (1 << 1)

/* td_request.flags */
#define TD_REQ_NO_HOLE (1 << 0) /* TD_OP_ZERO: keep the range allocated */
/* TD_OP_ZERO: what is allocated stays so, and what is not stays not. */
#define TD_REQ_AS_IS (1 << 2)
/* TD_OP_BLOCK_STATUS: what is behind the first extent may be answered with -ECANCELED. */
#define TD_REQ_ONE (1 << 1)
/* TD_OP_ZERO: a hint. A driver that would have to write the zeroes answers -EOPNOTSUPP. */
#define TD_REQ_DISCARD (1 << 3)
/* TD_OP_FLUSH: the image must be as large as when it was opened. */
#define TD_REQ_WHOLE (1 << 4)

/* td_disk_info.info: VDISK_ bits as in Xen's block protocol, then ours */
#define TD_INFO_CDROM	 0x0001
#define TD_INFO_READONLY 0x0004

typedef uint16_t td_uuid_t; /* a minor */
typedef uint32_t td_flag_t;
typedef uint64_t td_sector_t;

typedef struct td_disk_id td_disk_id_t;
typedef struct td_disk_info td_disk_info_t;
typedef struct td_request td_request_t;
typedef struct td_driver_handle td_driver_t;
typedef struct td_image_handle td_image_t;
typedef struct td_sector_count td_sector_count_t;
typedef struct td_vbd_request td_vbd_request_t;
typedef struct td_vbd_handle td_vbd_t;
typedef struct td_stats td_stats_t;

typedef void (*td_callback_t)(td_request_t, int);

struct td_disk_id {
	char *name; /* malloc'd, the caller's to free */
	int type;
	int flags;
};

struct td_disk_info {
	td_sector_t size; /* 512-byte sectors */
	long sector_size; /* bytes: what the guest is shown and must align to */
	uint32_t info;	  /* TD_INFO_ */
};

struct td_request {
	int op;
	void *buf; /* NULL for flush, zero and block status */

	int status; /* block status: the answer */
	td_sector_t sec;
	int secs; /* 0 for a flush */

	td_image_t *image; /* the image it is addressed to */

	td_callback_t cb;
	void *cb_data;

	int sidx;
	td_vbd_request_t *vreq; /* NULL where the I/O is not a guest's */

	int flags; /* TD_REQ_ */
};

struct td_vbd_encryption {
	uint8_t key_size;
	uint8_t *encryption_key;
};

struct tap_disk {
	const char *disk_type;
	td_flag_t flags;
	int private_data_size; /* bytes, zeroed, at driver->data */
	int (*td_open)(td_driver_t *, const char *name, struct td_vbd_encryption *, td_flag_t);
	int (*td_close)(td_driver_t *);
	int (*td_get_parent_id)(td_driver_t *, td_disk_id_t *);
	int (*td_validate_parent)(td_driver_t *, td_driver_t *parent, td_flag_t);
	void (*td_queue_read)(td_driver_t *, td_request_t);
	void (*td_queue_block_status)(td_driver_t *, td_request_t);
	void (*td_queue_write)(td_driver_t *, td_request_t);
	void (*td_debug)(td_driver_t *);
	void (*td_stats)(td_driver_t *, td_stats_t *);
	/* TAPDISK_EXTENDED. A driver without one answers -EOPNOTSUPP. */
	void (*td_queue_flush)(td_driver_t *, td_request_t);
	void (*td_queue_zero)(td_driver_t *, td_request_t);
	/* The file or device that it serves, open, the driver's own. May be NULL: there is
	 * none.
	 */
	int (*td_get_fd)(td_driver_t *);
	/*
	 * Whether td_open() by the same name would find what is open now: 0, or -errno with the
	 * reason in the log. May lend the loop. May be NULL: nobody knows.
	 */
	int (*td_check_name)(td_driver_t *);
};

struct td_sector_count {
	td_sector_t rd;
	td_sector_t wr;
};

#endif
