/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block-model.c - a disk as slow as another one, for benchmarks
 *
 * model:KIND:/path/to/image is aio:/path/to/image with the times of KIND
 * (disk-model.h): "ssd", "hdd", "hdd/2". Each request goes to the image at once, and
 * is answered when the image has answered it and the model's time for it has passed.
 * So the image should be on something faster, such as tmpfs. Flushes and block
 * status are the image's own, for the model has no cache.
 *
 * When it is closed it adds a line to /path/to/image.traffic: the bytes that have
 * been read from it, and written to it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "disk-model.h"
#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-disktype.h"
#include "tapdisk-interface.h"
#include "tapdisk-image.h"
#include "tapdisk-server.h"
#include "timeout-math.h"

#define KIND_NAME_MAX 16

struct model {
	td_image_t *image;
	char *path; /* the image's */
	struct disk_model disk;
	int timer; /* a timerfd: epoll counts in milliseconds */
	event_id_t event;
	unsigned int in_flight;
	uint64_t traffic[MODEL_OPS]; /* bytes */
};

struct model_request {
	struct disk_model_request modelled; /* first: the model's is ours */
	td_request_t treq;		    /* as it came */
	struct model *model;
	int secs_left; /* that the image has not answered */
	int err;
	bool passed; /* the model's time has */
};

static uint64_t
now_ns(void)
{
	return (uint64_t)scheduler_now();
}

static void
model_answer_if_done(struct model_request *req)
{
	td_request_t treq = req->treq;
	int err = req->err;

	if (req->secs_left || !req->passed)
		return;
	req->model->in_flight--;
	free(req);
	td_complete_request(treq, err);
}

/* The image has served a piece, or all. */
static void
model_served(td_request_t piece, int err)
{
	struct model_request *req = piece.cb_data;

	if (err && !req->err)
		req->err = err;
	req->secs_left -= piece.secs;
	model_answer_if_done(req);
}

static void
model_set_timer(struct model *model)
{
	uint64_t due = disk_model_due_ns(&model->disk);
	struct itimerspec when = { 0 };

	if (due != DISK_MODEL_NEVER) {
		when.it_value.tv_sec = (time_t)(due / 1000000000);
		when.it_value.tv_nsec = (long)(due % 1000000000) + (due == 0);
	}
	timerfd_settime(model->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void
model_tick(event_id_t id, char mode, void *private)
{
	struct model *model = private;
	struct disk_model_request *modelled;
	uint64_t ticks;

	if (read(model->timer, &ticks, sizeof(ticks)) < 0 && errno == EAGAIN)
		return;
	while ((modelled = disk_model_next(&model->disk, now_ns()))) {
		struct model_request *req = (struct model_request *)modelled;

		req->passed = true;
		model_answer_if_done(req);
	}
	model_set_timer(model);
}

static void
model_queue(td_driver_t *driver, td_request_t treq)
{
	struct model *model = driver->data;
	struct model_request *req = calloc(1, sizeof(*req));
	enum disk_model_op op = treq.op == TD_OP_READ ? MODEL_READ : MODEL_WRITE;
	uint64_t bytes = treq.op == TD_OP_ZERO ? 0 : (uint64_t)treq.secs << SECTOR_SHIFT;

	if (!req) {
		td_complete_request(treq, -ENOMEM);
		return;
	}
	req->treq = treq;
	req->model = model;
	req->secs_left = treq.secs;
	req->modelled = (struct disk_model_request){
		.op = op,
		.start = treq.sec << SECTOR_SHIFT,
		.bytes = bytes,
	};
	model->in_flight++;
	model->traffic[op] += bytes;
	disk_model_submit(&model->disk, &req->modelled, now_ns());
	model_set_timer(model);

	treq.image = model->image;
	treq.cb = model_served;
	treq.cb_data = req;
	if (treq.op == TD_OP_READ)
		td_queue_read(model->image, treq);
	else if (treq.op == TD_OP_WRITE)
		td_queue_write(model->image, treq);
	else
		td_queue_zero(model->image, treq);
}

/* What the image answers by itself is answered to whoever asked. */
static void
model_pass_on(td_driver_t *driver, td_request_t treq)
{
	struct model *model = driver->data;

	treq.image = model->image;
	if (treq.op == TD_OP_FLUSH)
		td_queue_flush(model->image, treq);
	else
		td_queue_block_status(model->image, &treq);
}

/* --- the driver ------------------------------------------------------------------- */

static void
model_record_traffic(struct model *model)
{
	char name[4096];
	FILE *file;

	snprintf(name, sizeof(name), "%s.traffic", model->path);
	file = fopen(name, "ae");
	if (!file ||
	    fprintf(file, "%llu %llu\n", (unsigned long long)model->traffic[MODEL_READ],
		    (unsigned long long)model->traffic[MODEL_WRITE]) < 0 ||
	    fclose(file))
		EPRINTF("%s: %s", name, strerror(errno));
}

static int
model_close(td_driver_t *driver)
{
	struct model *model = driver->data;

	while (model->in_flight)
		tapdisk_server_iterate();
	if (model->image) {
		tapdisk_image_close(model->image);
		model_record_traffic(model);
	}
	if (model->event > 0)
		tapdisk_server_unregister_event(model->event);
	if (model->timer >= 0)
		close(model->timer);
	free(model->path);
	return 0;
}

/* KIND:/path */
static int
model_parse(struct model *model, const char *name, struct disk_model_kind *kind)
{
	const char *colon = strchr(name, ':');
	char word[KIND_NAME_MAX];

	if (!colon || (size_t)(colon - name) >= sizeof(word))
		return -EINVAL;
	memcpy(word, name, (size_t)(colon - name));
	word[colon - name] = '\0';
	if (!disk_model_kind(word, kind)) {
		EPRINTF("there is no model of a disk \"%s\"", word);
		return -EINVAL;
	}
	model->path = strdup(colon + 1);
	return model->path ? 0 : -ENOMEM;
}

static int
model_open(td_driver_t *driver, const char *name, struct td_vbd_encryption *encryption,
	   td_flag_t flags)
{
	struct model *model = driver->data;
	struct disk_model_kind kind;
	int err;

	model->timer = -1;
	err = model_parse(model, name, &kind);
	if (!err) {
		model->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		err = model->timer < 0 ? -errno : 0;
	}
	if (!err) {
		model->event = tapdisk_server_register_event(
			SCHEDULER_POLL_READ_FD, model->timer, TV_INF, model_tick, model);
		err = model->event < 0 ? model->event : 0;
	}
	if (!err)
		err = tapdisk_image_open(DISK_TYPE_AIO, model->path, (int)flags, encryption,
					 &model->image);
	if (err) {
		model_close(driver);
		return err;
	}
	driver->info = model->image->info;
	disk_model_init(&model->disk, &kind, (uint64_t)driver->info.size << SECTOR_SHIFT);
	return 0;
}

static int
model_get_parent_id(td_driver_t *driver, td_disk_id_t *id)
{
	return TD_NO_PARENT;
}

static int
model_validate_parent(td_driver_t *driver, td_driver_t *parent, td_flag_t flags)
{
	return -EINVAL;
}

struct tap_disk tapdisk_model = {
	.disk_type = "tapdisk_model",
	.private_data_size = sizeof(struct model),
	.td_open = model_open,
	.td_close = model_close,
	.td_get_parent_id = model_get_parent_id,
	.td_validate_parent = model_validate_parent,
	.td_queue_read = model_queue,
	.td_queue_block_status = model_pass_on,
	.td_queue_write = model_queue,
	.td_queue_flush = model_pass_on,
	.td_queue_zero = model_queue,
};
