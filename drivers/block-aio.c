/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block-aio.c - "aio:/path": raw files and block devices
 *
 * Reads and writes are kernel AIO with O_DIRECT. What has no kernel AIO runs on
 * worker threads, at most two at a time for an image, so that a stalled one
 * leaves threads to others: a flush (one fdatasync serves all flushes that wait
 * for it), and one of zeroes or block status.
 *
 * The size of an image is fixed when it is opened. What a file has lost since by
 * being cut off is an error, never a hole: see "the end of the image".
 */
#include "aio-open.h"
#include "migrate/error-class.h"
#include "image-name.h"
#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "tapdisk-loop.h"
#include "tapdisk-worker.h"
#include "zero-as-is.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define AIO_SLAB       TAPDISK_DATA_REQUESTS /* requests allocated at a time */
#define AIO_ZERO_BYTES (1 << 20)	     /* written at a time where zeroes are written */

/*
 * Zeroes by fallocate: while it goes on a file system keeps every write of that file
 * waiting. So it is asked for steps, longer ones where it is quick.
 */
#define AIO_ZERO_MOST  (64 << 20)	       /* of a step, bytes; AIO_ZERO_BYTES at least */
#define AIO_ZERO_QUICK (2 * INT64_C(1000000))  /* ns: the next step is twice as long */
#define AIO_ZERO_SLOW  (10 * INT64_C(1000000)) /* half as long */

struct tdaio;

struct tdaio_request {
	struct tiocb tiocb;
	struct td_work work;
	struct tdaio *aio;
	td_request_t treq; /* what has not been answered yet */
	int secs;	   /* of the step that is under way */
	int status;	   /* block status of those */
	off_t size;	   /* bytes of the image just after its work, or -errno */
	int64_t took;	   /* its work; ns */
	int err;
	struct list_head link;
};

/* Requests are never given back before the image closes. */
struct tdaio_slab {
	struct tdaio_slab *next;
	struct tdaio_request requests[AIO_SLAB];
};

struct tdaio {
	td_driver_t *driver;
	int fd;
	bool readonly;
	bool block_device;
	bool no_punch;	    /* the file system cannot: FALLOC_FL_PUNCH_HOLE */
	bool no_zero_range; /* FALLOC_FL_ZERO_RANGE */

	struct tdaio_slab *slabs;
	struct list_head free;
	unsigned int n_requests;
	unsigned int in_flight;

	uint64_t size;	/* bytes, when it was opened */
	uint64_t end;	/* bytes: as much is there, as far as has been seen */
	uint64_t wrote; /* bytes: nothing behind that was written */
	struct td_work look;
	off_t look_size; /* bytes, or -errno */
	bool looking;

	struct list_head works; /* zeroes and status; the first one is running */
	off_t zero_bytes;	/* of the next step of zeroes */

	struct list_head flushes;  /* wait for the next fdatasync */
	struct list_head flushing; /* wait for the one that is running */
	struct td_work flush;
	off_t flush_size; /* bytes of the image just after it, or -errno */
	int flush_err;
};

static char tdaio_zeroes[AIO_ZERO_BYTES] __attribute__((aligned(AIO_DIRECT)));

/* --- requests ----------------------------------------------------------------- */

static bool
tdaio_grow(struct tdaio *aio)
{
	struct tdaio_slab *slab = calloc(1, sizeof(*slab));

	if (!slab)
		return false;

	slab->next = aio->slabs;
	aio->slabs = slab;
	for (int i = 0; i < AIO_SLAB; i++) {
		slab->requests[i].aio = aio;
		list_add_tail(&slab->requests[i].link, &aio->free);
	}
	aio->n_requests += AIO_SLAB;
	return true;
}

/* NULL if there is no memory, and then the request has been answered. */
static struct tdaio_request *
tdaio_get(struct tdaio *aio, td_request_t treq)
{
	struct tdaio_request *req;

	if (list_empty(&aio->free) && !tdaio_grow(aio)) {
		td_complete_request(treq, -ENOMEM);
		return NULL;
	}

	req = list_entry(aio->free.next, struct tdaio_request, link);
	list_del(&req->link);
	req->treq = treq;
	req->err = 0;
	aio->in_flight++;
	return req;
}

/* Answers what is left of the request. */
static void
tdaio_finish(struct tdaio_request *req, int err)
{
	td_request_t treq = req->treq;

	list_add(&req->link, &req->aio->free);
	req->aio->in_flight--;
	td_complete_request(treq, err);
}

/* Answers the step that is done. False if no other is wanted, and req is free. */
static bool
tdaio_answer_step(struct tdaio_request *req)
{
	td_request_t step = req->treq;

	step.secs = req->secs;
	step.status = req->status;
	if (req->secs == req->treq.secs) {
		req->treq = step;
		tdaio_finish(req, 0);
		return false;
	}

	req->treq.sec += (td_sector_t)req->secs;
	req->treq.secs -= req->secs;
	td_complete_request(step, 0);
	if (td_request_wanted(&req->treq))
		return true;
	tdaio_finish(req, -ECANCELED);
	return false;
}

/* --- the end of the image ----------------------------------------------------- */

/*
 * A file that somebody cuts off has lost what lay behind, though its holes and its
 * writes look as if it had not: no data is found there, and a write there makes the
 * file longer again, with zeroes in the place of what is lost. So the smallest size
 * that was ever seen counts. What reaches behind it fails, until the image is opened
 * again, and with it the first flush after a write there was lost.
 *
 * The size is looked at by the worker threads, after each of their calls and when
 * something has failed, and before writes are submitted, for as many as are at once;
 * for all else a read or a write costs a comparison. A device does not grow by being
 * written, and its kernel knows its end.
 */

/* Bytes, or -errno. May wait. */
static off_t
tdaio_size_now(const struct tdaio *aio)
{
	struct stat st = { 0 };
	off_t size;

	/* A search for data holds the descriptor's offset for as long as it takes. */
	if (!aio->block_device)
		return fstat(aio->fd, &st) ? -errno : st.st_size;
	size = lseek(aio->fd, 0, SEEK_END);
	return size < 0 ? -errno : size;
}

static void
tdaio_learn_size(struct tdaio *aio, off_t size)
{
	uint64_t end = (uint64_t)size & ~(uint64_t)(SECTOR_SIZE - 1);

	if (size < 0 || end >= aio->end || aio->block_device)
		return;
	tlog_syslog(
		TLOG_WARN,
		"%s: cut off at %llu of %llu bytes; what lay behind is lost, and gives errors "
		"until the image is opened again",
		aio->driver->name, (unsigned long long)size, (unsigned long long)aio->size);
	aio->end = end;
}

static uint64_t
tdaio_end_of(const td_request_t *treq)
{
	return (treq->sec + (td_sector_t)treq->secs) << SECTOR_SHIFT;
}

/* False if the request reaches behind the end, and has been answered. */
static bool
tdaio_reaches(const struct tdaio *aio, td_request_t treq)
{
	if (tdaio_end_of(&treq) <= aio->end)
		return true;
	td_complete_request(treq, -EIO);
	return false;
}

/* The same of one that writes. */
static bool
tdaio_may_write(struct tdaio *aio, td_request_t treq)
{
	if (!tdaio_reaches(aio, treq))
		return false;
	if (tdaio_end_of(&treq) > aio->wrote)
		aio->wrote = tdaio_end_of(&treq);
	return true;
}

/* --- reading and writing ------------------------------------------------------ */

static void
tdaio_look_run(struct td_work *work)
{
	struct tdaio *aio = list_entry(work, struct tdaio, look);

	aio->look_size = tdaio_size_now(aio);
}

static void
tdaio_look_done(struct td_work *work)
{
	struct tdaio *aio = list_entry(work, struct tdaio, look);

	aio->looking = false;
	tdaio_learn_size(aio, aio->look_size);
}

/* Something has failed: because the file was cut off? */
static void
tdaio_look(struct tdaio *aio)
{
	if (aio->looking || aio->block_device)
		return;
	aio->looking = true;
	aio->look.run = tdaio_look_run;
	aio->look.done = tdaio_look_done;
	tapdisk_worker_submit(&aio->look);
}

static void
tdaio_io_done(void *arg, struct tiocb *tiocb, int err)
{
	struct tdaio_request *req = arg;

	if (err)
		tdaio_look(req->aio);
	tdaio_finish(req, err);
}

/* A write that would make the file longer would do so because it was cut off. */
static void
tdaio_prep_write(struct tdaio_request *req, void *buf, int secs, td_queue_callback_t done)
{
	td_prep_write(req->aio->driver, &req->tiocb, req->aio->fd, buf,
		      (size_t)secs << SECTOR_SHIFT, (long long)(req->treq.sec << SECTOR_SHIFT),
		      done, req);
	req->tiocb.within = !req->aio->block_device;
}

static void
tdaio_queue_read(td_driver_t *driver, td_request_t treq)
{
	struct tdaio *aio = driver->data;
	struct tdaio_request *req;

	if (!tdaio_reaches(aio, treq))
		return;
	req = tdaio_get(aio, treq);
	if (!req)
		return;
	td_prep_read(driver, &req->tiocb, aio->fd, treq.buf, (size_t)treq.secs << SECTOR_SHIFT,
		     (long long)(treq.sec << SECTOR_SHIFT), tdaio_io_done, req);
	td_queue_tiocb(driver, &req->tiocb);
}

static void
tdaio_queue_write(td_driver_t *driver, td_request_t treq)
{
	struct tdaio *aio = driver->data;
	struct tdaio_request *req;

	if (!tdaio_may_write(aio, treq))
		return;
	req = tdaio_get(aio, treq);
	if (!req)
		return;
	tdaio_prep_write(req, treq.buf, treq.secs, tdaio_io_done);
	td_queue_tiocb(driver, &req->tiocb);
}

/* --- flush -------------------------------------------------------------------- */

static void
tdaio_flush_run(struct td_work *work)
{
	struct tdaio *aio = list_entry(work, struct tdaio, flush);

	aio->flush_err = fdatasync(aio->fd) ? -errno : 0;
	aio->flush_size = tdaio_size_now(aio);
}

/* What the flush that has run says of the image, and of all that was written to it. */
static int
tdaio_flush_result(struct tdaio *aio)
{
	int err = aio->flush_err;

	tdaio_learn_size(aio, aio->flush_size);
	if (!err && aio->flush_size < 0)
		err = (int)aio->flush_size;
	if (aio->wrote > aio->end) {
		aio->wrote = aio->end;
		err = -EIO;
	}
	return err;
}

static bool
tdaio_is_whole(const struct tdaio *aio)
{
	return aio->end == aio->size && aio->flush_size >= (off_t)aio->size;
}

static void tdaio_flush_done(struct td_work *work);

/* Starts one for all that wait, unless one is running that came too early. */
static void
tdaio_flush_start(struct tdaio *aio)
{
	if (list_empty(&aio->flushes) || !list_empty(&aio->flushing))
		return;

	while (!list_empty(&aio->flushes))
		list_move_tail(aio->flushes.next, &aio->flushing);
	aio->flush.run = tdaio_flush_run;
	aio->flush.done = tdaio_flush_done;
	tapdisk_worker_submit(&aio->flush);
}

static void
tdaio_flush_done(struct td_work *work)
{
	struct tdaio *aio = list_entry(work, struct tdaio, flush);
	struct tdaio_request *req, *next;
	struct list_head done;
	int err = tdaio_flush_result(aio);
	bool whole = tdaio_is_whole(aio);

	INIT_LIST_HEAD(&done);
	while (!list_empty(&aio->flushing))
		list_move_tail(aio->flushing.next, &done);
	tdaio_flush_start(aio);

	list_for_each_entry_safe(req, next, &done, link) {
		bool wants_whole = req->treq.flags & TD_REQ_WHOLE;

		list_del(&req->link);
		tdaio_finish(req, !err && wants_whole && !whole ? -EMEDIUMTYPE : err);
	}
}

static void
tdaio_queue_flush(td_driver_t *driver, td_request_t treq)
{
	struct tdaio *aio = driver->data;
	struct tdaio_request *req = tdaio_get(aio, treq);

	if (!req)
		return;
	list_add_tail(&req->link, &aio->flushes);
	tdaio_flush_start(aio);
}

/* --- works: one after the other ------------------------------------------------ */

static void
tdaio_work_start(struct tdaio *aio)
{
	if (!list_empty(&aio->works))
		tapdisk_worker_submit(
			&list_entry(aio->works.next, struct tdaio_request, link)->work);
}

static void
tdaio_work_queue(struct tdaio_request *req)
{
	bool first = list_empty(&req->aio->works);

	list_add_tail(&req->link, &req->aio->works);
	if (first)
		tdaio_work_start(req->aio);
}

/* The request whose work is done; the next one starts. */
static struct tdaio_request *
tdaio_work_ended(struct td_work *work)
{
	struct tdaio_request *req = list_entry(work, struct tdaio_request, work);

	list_del(&req->link);
	tdaio_work_start(req->aio);
	return req;
}

/* --- zeroes ------------------------------------------------------------------- */

/*
 * Of a device nobody can tell what it has reserved: there the zeroes may be unmapped, so
 * that a thin one stays thin.
 */
static bool
zeroes_as_is(const struct tdaio_request *req)
{
	return req->treq.flags & TD_REQ_AS_IS && !req->aio->block_device;
}

static void
tdaio_zero_run(struct td_work *work)
{
	struct tdaio_request *req = list_entry(work, struct tdaio_request, work);
	off_t start = (off_t)(req->treq.sec << SECTOR_SHIFT);
	off_t bytes = (off_t)req->secs << SECTOR_SHIFT;
	int mode =
		req->treq.flags & TD_REQ_NO_HOLE ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;

	req->took = scheduler_now();
	if (zeroes_as_is(req))
		req->err = zero_as_is(req->aio->fd, start, start + bytes);
	else if (fallocate(req->aio->fd, mode | FALLOC_FL_KEEP_SIZE, start, bytes))
		req->err = -errno;
	req->took = scheduler_now() - req->took;
	/* The calls ignore what is behind the end. */
	req->size = tdaio_size_now(req->aio);
	if (req->size < start + bytes)
		req->err = req->size < 0 ? (int)req->size : -EIO;
}

/*
 * Has a worker do the next step. All but the last end at multiples of AIO_ZERO_BYTES: a file
 * system keeps a block that it was told of in two halves.
 */
static void
tdaio_zero_step(struct tdaio_request *req)
{
	off_t start = (off_t)(req->treq.sec << SECTOR_SHIFT);
	off_t end = (start + req->aio->zero_bytes) / AIO_ZERO_BYTES * AIO_ZERO_BYTES;
	off_t bytes = (off_t)req->treq.secs << SECTOR_SHIFT;

	if (end - start < bytes)
		bytes = end - start;
	req->secs = (int)(bytes >> SECTOR_SHIFT);
	tdaio_work_queue(req);
}

/* How long the next step is: zeroes of one image take about as long everywhere. */
static void
tdaio_zero_adapt(struct tdaio *aio, int64_t took)
{
	if (took < AIO_ZERO_QUICK && aio->zero_bytes < AIO_ZERO_MOST)
		aio->zero_bytes *= 2;
	if (took > AIO_ZERO_SLOW && aio->zero_bytes > AIO_ZERO_BYTES)
		aio->zero_bytes /= 2;
}

static void tdaio_zero_write(struct tdaio_request *req);

static void
tdaio_zero_written(void *arg, struct tiocb *tiocb, int err)
{
	struct tdaio_request *req = arg;

	if (err)
		tdaio_finish(req, err);
	else if (tdaio_answer_step(req))
		tdaio_zero_write(req);
}

/* Where no call makes zeroes, they are written, step by step. */
static void
tdaio_zero_write(struct tdaio_request *req)
{
	const int most = AIO_ZERO_BYTES >> SECTOR_SHIFT;

	req->secs = req->treq.secs < most ? req->treq.secs : most;
	tdaio_prep_write(req, tdaio_zeroes, req->secs, tdaio_zero_written);
	td_queue_tiocb(req->aio->driver, &req->tiocb);
}

/* Whether this image cannot do what the request needs. */
static bool *
tdaio_zero_lacks(struct tdaio_request *req)
{
	return req->treq.flags & TD_REQ_NO_HOLE ? &req->aio->no_zero_range
						: &req->aio->no_punch;
}

/* Without a call that makes zeroes. A hint is not worth writing them. */
static void
tdaio_zero_by_hand(struct tdaio_request *req)
{
	if (req->treq.flags & TD_REQ_DISCARD)
		tdaio_finish(req, -EOPNOTSUPP);
	else
		tdaio_zero_write(req);
}

static void
tdaio_zero_done(struct td_work *work)
{
	struct tdaio_request *req = tdaio_work_ended(work);

	tdaio_learn_size(req->aio, req->size);
	if (!zeroes_as_is(req) && error_class(req->err) == ERROR_UNABLE) {
		*tdaio_zero_lacks(req) = true;
		tdaio_zero_by_hand(req);
		return;
	}
	tdaio_zero_adapt(req->aio, req->took);
	if (req->err)
		tdaio_finish(req, req->err);
	else if (tdaio_answer_step(req))
		tdaio_zero_step(req);
}

static void
tdaio_queue_zero(td_driver_t *driver, td_request_t treq)
{
	struct tdaio *aio = driver->data;
	struct tdaio_request *req;

	if (!tdaio_may_write(aio, treq))
		return;
	req = tdaio_get(aio, treq);
	if (!req)
		return;
	if (!zeroes_as_is(req) && *tdaio_zero_lacks(req)) {
		tdaio_zero_by_hand(req);
		return;
	}
	req->work.run = tdaio_zero_run;
	req->work.done = tdaio_zero_done;
	tdaio_zero_step(req);
}

/* --- block status ------------------------------------------------------------- */

/*
 * Finds what the rest of the request starts with, and how far that goes. A file
 * system's answer need not fall on sectors: a sector that is data in part is data.
 */
static void
tdaio_status_run(struct td_work *work)
{
	struct tdaio_request *req = list_entry(work, struct tdaio_request, work);
	off_t start = (off_t)(req->treq.sec << SECTOR_SHIFT);
	off_t left = (off_t)req->treq.secs << SECTOR_SHIFT;
	off_t data = lseek(req->aio->fd, start, SEEK_DATA), run = left;

	req->err = 0;
	req->status = TD_BLOCK_STATE_HOLE | TD_BLOCK_STATE_ZERO;
	if (data < 0) {
		/* ENXIO: no data up to the end of the file; that is looked at below. */
		req->err = errno == ENXIO ? 0 : -errno;
	} else if (data - start >= SECTOR_SIZE) {
		run = data - start;
	} else {
		off_t hole = lseek(req->aio->fd, data, SEEK_HOLE);

		req->status = TD_BLOCK_STATE_NONE;
		if (hole < 0)
			req->err = -errno;
		else
			run = (hole - start + SECTOR_SIZE - 1) & ~(off_t)(SECTOR_SIZE - 1);
	}

	req->size = tdaio_size_now(req->aio);
	if (req->size < 0)
		req->err = (int)req->size;
	req->secs = (int)((run < left ? run : left) >> SECTOR_SHIFT);
}

/* There is an answer for as much of the step as the image has. */
static void
tdaio_status_cut(struct tdaio_request *req)
{
	uint64_t start = req->treq.sec << SECTOR_SHIFT, end = req->aio->end;

	if (start >= end)
		req->err = -EIO;
	else if ((uint64_t)req->secs > (end - start) >> SECTOR_SHIFT)
		req->secs = (int)((end - start) >> SECTOR_SHIFT);
}

static void
tdaio_status_done(struct td_work *work)
{
	struct tdaio_request *req = tdaio_work_ended(work);

	tdaio_learn_size(req->aio, req->size);
	if (!req->err)
		tdaio_status_cut(req);
	if (req->err)
		tdaio_finish(req, req->err == -EINVAL ? -EOPNOTSUPP : req->err);
	else if (!tdaio_answer_step(req))
		return;
	else if (req->treq.flags & TD_REQ_ONE)
		tdaio_finish(req, -ECANCELED);
	else
		tdaio_work_queue(req);
}

static void
tdaio_queue_block_status(td_driver_t *driver, td_request_t treq)
{
	struct tdaio *aio = driver->data;
	struct tdaio_request *req;

	if (aio->block_device) {
		td_complete_request(treq, -EOPNOTSUPP);
		return;
	}

	req = tdaio_get(aio, treq);
	if (!req)
		return;
	req->work.run = tdaio_status_run;
	req->work.done = tdaio_status_done;
	tdaio_work_queue(req);
}

/* --- opening and closing ------------------------------------------------------- */

static void
tdaio_free(struct tdaio *aio)
{
	while (aio->slabs) {
		struct tdaio_slab *slab = aio->slabs;

		aio->slabs = slab->next;
		free(slab);
	}
	if (aio->fd >= 0)
		close(aio->fd);
}

/* All that may wait for the file's storage. */
static int
tdaio_open_image(struct tdaio *aio, const char *name, td_flag_t flags)
{
	const int *given = aio->driver->given;
	struct aio_file file;
	char path[32];
	int err;

	if (given)
		snprintf(path, sizeof(path), "/proc/self/fd/%d", *given);
	err = aio_open(&file, given ? path : name, name, flags);
	if (err)
		return err;
	aio->fd = file.fd;
	aio->block_device = file.block_device;
	aio->size = aio->end = file.size;
	aio->driver->info.size = file.size >> SECTOR_SHIFT;
	aio->driver->info.sector_size = file.sector_size;
	return 0;
}

static int
tdaio_open(td_driver_t *driver, const char *name, struct td_vbd_encryption *encryption,
	   td_flag_t flags)
{
	struct tdaio *aio = driver->data;
	int err;

	aio->driver = driver;
	aio->fd = -1;
	aio->readonly = flags & TD_OPEN_RDONLY;
	aio->zero_bytes = AIO_ZERO_BYTES;
	INIT_LIST_HEAD(&aio->free);
	INIT_LIST_HEAD(&aio->works);
	INIT_LIST_HEAD(&aio->flushes);
	INIT_LIST_HEAD(&aio->flushing);

	tapdisk_loop_lend();
	err = tdaio_open_image(aio, name, flags);
	if (!err && !tdaio_grow(aio))
		err = -ENOMEM;
	if (err)
		tdaio_free(aio);
	tapdisk_loop_take_back();
	return err;
}

static int
tdaio_close(td_driver_t *driver)
{
	struct tdaio *aio = driver->data;

	while (aio->in_flight || aio->looking)
		tapdisk_server_iterate();
	tapdisk_loop_lend();
	tdaio_free(aio);
	tapdisk_loop_take_back();
	return 0;
}

static int
tdaio_get_fd(td_driver_t *driver)
{
	return ((struct tdaio *)driver->data)->fd;
}

static int
tdaio_check_name(td_driver_t *driver)
{
	struct tdaio *aio = driver->data;
	char why[TAPDISK_LOG_TEXT];
	int err;

	tapdisk_loop_lend();
	err = image_check_name(driver->name, aio->fd, aio->readonly, (off_t)aio->size, why,
			       sizeof(why));
	tapdisk_loop_take_back();
	if (err)
		EPRINTF("%s", why);
	return err;
}

static int
tdaio_get_parent_id(td_driver_t *driver, td_disk_id_t *id)
{
	return TD_NO_PARENT;
}

static int
tdaio_validate_parent(td_driver_t *driver, td_driver_t *parent, td_flag_t flags)
{
	return -EINVAL;
}

static void
tdaio_stats(td_driver_t *driver, td_stats_t *st)
{
	struct tdaio *aio = driver->data;

	tapdisk_stats_field(st, "reqs", "{");
	tapdisk_stats_field(st, "max", "u", aio->n_requests);
	tapdisk_stats_field(st, "pending", "u", aio->in_flight);
	tapdisk_stats_leave(st, '}');
}

static void
tdaio_debug(td_driver_t *driver)
{
	struct tdaio *aio = driver->data;

	DPRINTF("%s: %u of %u requests in flight", driver->name, aio->in_flight,
		aio->n_requests);
}

struct tap_disk tapdisk_aio = {
	.disk_type = "tapdisk_aio",
	.private_data_size = sizeof(struct tdaio),
	.td_open = tdaio_open,
	.td_close = tdaio_close,
	.td_get_parent_id = tdaio_get_parent_id,
	.td_validate_parent = tdaio_validate_parent,
	.td_queue_read = tdaio_queue_read,
	.td_queue_write = tdaio_queue_write,
	.td_queue_block_status = tdaio_queue_block_status,
	.td_queue_flush = tdaio_queue_flush,
	.td_queue_zero = tdaio_queue_zero,
	.td_get_fd = tdaio_get_fd,
	.td_check_name = tdaio_check_name,
	.td_debug = tdaio_debug,
	.td_stats = tdaio_stats,
};
