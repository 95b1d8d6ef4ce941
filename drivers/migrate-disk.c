/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "tapdisk-disktype.h"
#include "tapdisk-loop.h"
#include "timeout-math.h"

#include "migrate-disk.h"
#include "migrate/error-class.h"

#define RETRY_USECS 10000

/* A disk_io that the driver has, wholly or in part. */
struct request {
	struct image_disk *d;
	struct disk_io *io;
	uint64_t left; /* sectors not answered yet */
	uint32_t run;  /* status: sectors from the start with the same answer */
	int err;
};

struct retry {
	struct list_head link;
	td_request_t treq;
};

static void image_request_done(td_request_t treq, int res);

static void
request_end(struct request *r)
{
	struct image_disk *d = r->d;
	struct disk_io *io = r->io;
	int err = r->err;

	if (!err && io->op == DISK_STATUS)
		io->count = r->run;
	pool_put(&d->requests, r);
	io->done(io, err);
}

/*
 * A piece of a status: only what adjoins the answer so far extends it. That is enough:
 * who asks wants to know how far it goes, and drivers need not look at all the rest.
 */
static void
request_status(struct request *r, const td_request_t *treq)
{
	bool zero = treq->status & TD_BLOCK_STATE_ZERO;

	if (treq->sec != r->io->sector + r->run || (r->run && zero != r->io->zero))
		return;
	r->io->zero = zero;
	r->run += (uint32_t)treq->secs;
}

static void
send(struct image_disk *d, td_request_t treq)
{
	treq.image = d->image;
	treq.cb = image_request_done;
	switch (treq.op) {
	case TD_OP_READ:
		td_queue_read(d->image, treq);
		break;
	case TD_OP_WRITE:
		td_queue_write(d->image, treq);
		break;
	case TD_OP_BLOCK_STATUS:
		td_queue_block_status(d->image, &treq);
		break;
#ifdef TAPDISK_EXTENDED
	case TD_OP_FLUSH:
		td_queue_flush(d->image, treq);
		break;
	case TD_OP_ZERO:
		td_queue_zero(d->image, treq);
		break;
#endif
	}
}

static void
image_disk_retry(event_id_t id, char mode, void *private)
{
	struct image_disk *d = private;
	struct list_head busy;
	struct retry *again, *next;

	tapdisk_server_event_set_timeout(id, TV_INF);
	INIT_LIST_HEAD(&busy);
	list_for_each_entry_safe(again, next, &d->busy, link)
		list_move_tail(&again->link, &busy);
	list_for_each_entry_safe(again, next, &busy, link) {
		td_request_t treq = again->treq;

		list_del(&again->link);
		pool_put(&d->retries, again);
		send(d, treq);
	}
}

/* The driver cannot take this piece now. False: nor can we remember it. */
static bool
retry_later(struct image_disk *d, const td_request_t *treq)
{
	struct retry *again = pool_get(&d->retries);

	if (!again)
		return false;
	again->treq = *treq;
	if (list_empty(&d->busy))
		tapdisk_server_event_set_timeout(d->retry_event, TV_USECS(RETRY_USECS));
	list_add_tail(&again->link, &d->busy);
	return true;
}

static void
image_request_done(td_request_t treq, int res)
{
	struct request *r = treq.cb_data;

	if (error_class(res) == ERROR_BUSY && retry_later(r->d, &treq))
		return;
	if (r->io->op == DISK_STATUS && !res)
		request_status(r, &treq);
	if (res && !r->err && !r->run)
		r->err = res < 0 ? res : -res;
	r->left -= (uint64_t)treq.secs;
	if (!r->left)
		request_end(r);
}

#ifdef TAPDISK_EXTENDED

/* For its mark. What is no file (a disk that is not on this machine) needs none. */
static int
open_file(struct image_disk *d)
{
	int fd = td_get_fd(d->image);

	d->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd >= 0 && d->fd < 0 ? -errno : 0;
}

static void
send_flush(struct image_disk *d, td_request_t treq)
{
	send(d, treq);
}

static void
send_zero(struct image_disk *d, td_request_t treq)
{
	send(d, treq);
}

#else /* blktap */

#define TD_OP_FLUSH    (-1)
#define TD_OP_ZERO     (-2)
#define TD_REQ_NO_HOLE 0
#define ZERO_SECTORS   2048

static char zeroes[ZERO_SECTORS * SECTOR_BYTES] __attribute__((aligned(4096)));

/* For its mark, and flushes. */
static int
open_file(struct image_disk *d)
{
	int err = 0;

	d->fd = open(d->image->name, O_RDONLY | O_CLOEXEC);
	if (d->fd < 0) {
		err = -errno;
		EPRINTF("%s: cannot open it: %s", d->image->name, strerror(-err));
	}
	return err;
}

/* Seldom: only the migration's own flushes come here. It blocks the host. */
static void
send_flush(struct image_disk *d, td_request_t treq)
{
	const struct request *r = treq.cb_data;
	off_t bytes = (off_t)d->disk.sectors * SECTOR_BYTES;
	int err = fdatasync(d->fd) ? -errno : 0;

	if (!err && r->io->whole && lseek(d->fd, 0, SEEK_END) < bytes)
		err = -EMEDIUMTYPE;
	image_request_done(treq, err);
}

static void
send_zero(struct image_disk *d, td_request_t treq)
{
	int left = treq.secs;

	treq.op = TD_OP_WRITE;
	treq.buf = zeroes;
	for (; left; left -= treq.secs, treq.sec += treq.secs) {
		treq.secs = left < ZERO_SECTORS ? left : ZERO_SECTORS;
		send(d, treq);
	}
}

#endif

static void
image_disk_submit(struct disk *disk, struct disk_io *io)
{
	static const int ops[] = {
		[DISK_READ] = TD_OP_READ,	    [DISK_WRITE] = TD_OP_WRITE,
		[DISK_ZERO] = TD_OP_ZERO,	    [DISK_FLUSH] = TD_OP_FLUSH,
		[DISK_STATUS] = TD_OP_BLOCK_STATUS,
	};
	struct image_disk *d = list_entry(disk, struct image_disk, disk);
	struct request *r = pool_get(&d->requests);
	td_request_t treq = {
		.op = ops[io->op],
		.buf = io->buf,
		.sec = io->sector,
		.secs = (int)io->count,
		.image = d->image,
		.cb = image_request_done,
		.cb_data = r,
	};

	if (!r) {
		io->done(io, -ENOMEM);
		return;
	}
	*r = (struct request){ .d = d, .io = io, .left = io->count };
#ifdef TAPDISK_EXTENDED
	if (io->no_hole)
		treq.flags = TD_REQ_NO_HOLE;
	else if (io->as_is && !d->sparse)
		treq.flags = TD_REQ_AS_IS;
	if (io->op == DISK_STATUS)
		treq.flags = TD_REQ_ONE;
	if (io->op == DISK_FLUSH && io->whole)
		treq.flags = TD_REQ_WHOLE;
#endif
	if (io->op == DISK_FLUSH) {
		treq.secs = 0;
		send_flush(d, treq);
	} else if (io->op == DISK_ZERO) {
		send_zero(d, treq);
	} else {
		send(d, treq);
	}
}

static void
close_file(struct image_disk *d)
{
	tapdisk_loop_lend();
	if (d->fd >= 0)
		close(d->fd);
	tapdisk_loop_take_back();
}

/* Of an image that is open. 0, or -errno, and then nothing is left of it but the image. */
static int
init(struct image_disk *d, td_image_t *image)
{
	int err;

	*d = (struct image_disk){ .disk.submit = image_disk_submit, .image = image };
	err = open_file(d);
	if (err)
		return err;
	INIT_LIST_HEAD(&d->busy);
	pool_init(&d->requests, sizeof(struct request));
	pool_init(&d->retries, sizeof(struct retry));
	d->disk.sectors = d->image->info.size;
	d->retry_event = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_INF,
						       image_disk_retry, d);
	if (d->retry_event >= 0)
		return 0;
	close_file(d);
	return d->retry_event;
}

int
image_disk_open(struct image_disk *d, const char *name, td_flag_t flags,
		struct td_vbd_encryption *encryption)
{
	td_image_t *image;
	const char *path;
	int type = tapdisk_disktype_parse_params(name, &path);
	int err;

	if (type < 0) {
		EPRINTF("%s: no such type of image, or its driver cannot be used here", name);
		return type;
	}
	/* It might be the one that is being opened: there would be no end to that. */
	if (type == DISK_TYPE_MIGRATE) {
		EPRINTF("%s: a disk of a migration cannot be a migration itself", name);
		return -EINVAL;
	}
#ifdef TAPDISK_EXTENDED
	flags |= TD_OPEN_MIGRATION;
#else
	/* Others send requests on to parents, which an image of ours does not have. */
	if (type != DISK_TYPE_AIO) {
		EPRINTF("%s: only raw images (aio:) can be migrated here", name);
		return -EOPNOTSUPP;
	}
#endif
	err = tapdisk_image_open(type, path, (int)flags, encryption, &image);
	if (err)
		return err;
	err = init(d, image);
	if (err) {
		tapdisk_image_close(image);
		d->closed = true;
	}
	return err;
}

#ifdef TAPDISK_EXTENDED
int
image_disk_adopt(struct image_disk *d, td_image_t *image)
{
	int err = init(d, image);

	d->handed_over = true;
	d->closed = err;
	return err;
}

void
image_disk_keep(struct image_disk *d)
{
	d->handed_over = false;
}
#endif

void
image_disk_close(struct image_disk *d)
{
	if (d->closed)
		return;
	d->closed = true;
	tapdisk_server_unregister_event(d->retry_event);
	close_file(d);
	pool_release(&d->requests);
	pool_release(&d->retries);
	if (!d->handed_over)
		tapdisk_image_close(d->image);
	d->image = NULL;
}

void
image_disk_hand_over(struct image_disk *d)
{
	d->handed_over = true;
}
