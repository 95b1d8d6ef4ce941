/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block-fault.c - a disk that fails on command, for tests
 *
 * fault:CONTROL:/path/to/image is aio:/path/to/image with the faults that the
 * text file CONTROL asks for, at the moment. A line of it is one rule; the first
 * that matches a request decides. OP is read, write, zero, flush, status or any of
 * these; of block also open or close.
 *
 *	delay OP MS                 the request is handed on MS milliseconds later
 *	again OP                    it is served twice, one after the other
 *	stall OP                    ... once the rule is gone; td_close fails it (EIO)
 *	block OP                    the call itself does not return before the rule is
 *	                            gone: the thread that makes it waits, as in the kernel
 *	fail OP ERRNO [LIMIT N]...  fails with that (EIO, ENOSPC ...), where the LIMITs allow:
 *	    from N, count N             only what touches these sectors
 *	    times N                     only so often, counted since the file changed
 *	    after N                     only once that many bytes were written
 *
 * An empty file changes nothing. A line that is not understood fails the open,
 * and later every request, so that a test cannot pass by a typing error.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-disktype.h"
#include "tapdisk-interface.h"
#include "tapdisk-image.h"
#include "tapdisk-server.h"
#include "timeout-math.h"

#define RULES	 16
#define ANY	 TD_OPS_END
#define OPEN	 (TD_OPS_END + 1)
#define CLOSE	 (TD_OPS_END + 2)
#define TICK_US	 1000 /* how often the held requests are looked at */
#define BLOCK_US 5000 /* how often a thread that is blocked looks at the rules */
#define FOR_EVER UINT64_MAX

struct rule {
	enum { FAIL, DELAY, STALL, AGAIN, BLOCK } kind;
	int op; /* TD_OP_, ANY, OPEN or CLOSE */
	int err;
	uint64_t delay_ms;
	uint64_t from, count; /* sectors */
	uint64_t times;
	uint64_t after; /* bytes */
};

struct fault {
	td_image_t *image;
	char *control;
	struct timespec changed; /* the control file's, when last read */
	int bad_rules;		 /* -errno: why it was not understood */
	struct rule rule[RULES];
	int rules;
	uint64_t written; /* bytes handed on */
	int timer;
	struct list_head held;
};

/* A request that is not the image's yet, or is being served by it. */
struct fault_request {
	td_request_t treq; /* as it came */
	struct fault *fault;
	int secs_left;
	bool again;
	uint64_t due; /* held: milliseconds, or FOR_EVER */
	struct list_head next;
};

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- rules ------------------------------------------------------------------ */

static int
fault_parse_op(const char *word)
{
	static const char *const names[] = {
		[TD_OP_READ] = "read",
		[TD_OP_WRITE] = "write",
		[TD_OP_BLOCK_STATUS] = "status",
		[TD_OP_FLUSH] = "flush",
		[TD_OP_ZERO] = "zero",
		[ANY] = "any",
		[OPEN] = "open",
		[CLOSE] = "close",
	};

	for (int op = 0; word && op <= CLOSE; op++)
		if (!strcmp(names[op], word))
			return op;
	return -EINVAL;
}

static int
fault_parse_number(const char *word, uint64_t *value)
{
	char *end;

	if (!word || *word < '0' || *word > '9')
		return -EINVAL;
	*value = strtoull(word, &end, 10);
	return *end ? -EINVAL : 0;
}

/* -errno, or 0. */
static int
fault_parse_errno(const char *word)
{
	static const int known[] = { EIO,    ENOSPC, EDQUOT, EFBIG,  ENXIO,
				     ENODEV, ESTALE, EROFS,  EACCES, EBUSY };

	for (size_t i = 0; word && i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(word, strerrorname_np(known[i])))
			return -known[i];
	return 0;
}

static int
fault_parse_limits(struct rule *rule, char **save)
{
	const char *word;

	while ((word = strtok_r(NULL, " \t\n", save))) {
		uint64_t *value = !strcmp(word, "from")	   ? &rule->from
				  : !strcmp(word, "count") ? &rule->count
				  : !strcmp(word, "times") ? &rule->times
				  : !strcmp(word, "after") ? &rule->after
							   : NULL;

		if (!value || fault_parse_number(strtok_r(NULL, " \t\n", save), value))
			return -EINVAL;
	}
	return 0;
}

static int
fault_parse_rule(char *line, struct rule *rule)
{
	char *save, *kind = strtok_r(line, " \t\n", &save);

	*rule = (struct rule){ .count = FOR_EVER, .times = FOR_EVER };
	rule->op = fault_parse_op(strtok_r(NULL, " \t\n", &save));
	if (rule->op < 0)
		return -EINVAL;

	if (!strcmp(kind, "stall")) {
		rule->kind = STALL;
	} else if (!strcmp(kind, "again")) {
		rule->kind = AGAIN;
	} else if (!strcmp(kind, "block")) {
		rule->kind = BLOCK;
	} else if (!strcmp(kind, "delay")) {
		rule->kind = DELAY;
		if (fault_parse_number(strtok_r(NULL, " \t\n", &save), &rule->delay_ms))
			return -EINVAL;
	} else if (!strcmp(kind, "fail")) {
		rule->kind = FAIL;
		rule->err = fault_parse_errno(strtok_r(NULL, " \t\n", &save));
		if (!rule->err)
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	if (rule->op > ANY && rule->kind != BLOCK)
		return -EINVAL;
	return fault_parse_limits(rule, &save);
}

static int
fault_parse(struct fault *fault, FILE *file)
{
	char line[256];

	fault->rules = 0;
	while (fgets(line, sizeof(line), file)) {
		if (line[strspn(line, " \t\n")] == '\0')
			continue;
		if (fault->rules == RULES ||
		    fault_parse_rule(line, &fault->rule[fault->rules]) != 0)
			return -EINVAL;
		fault->rules++;
	}
	return 0;
}

/* Reads the rules again if the file has changed. Tests replace it by rename. */
static void
fault_refresh(struct fault *fault)
{
	struct stat st;
	FILE *file;

	if (stat(fault->control, &st) < 0) {
		fault->bad_rules = -errno;
		return;
	}
	if (st.st_ctim.tv_sec == fault->changed.tv_sec &&
	    st.st_ctim.tv_nsec == fault->changed.tv_nsec)
		return;

	file = fopen(fault->control, "re");
	if (!file) {
		fault->bad_rules = -errno;
		return;
	}
	fault->changed = st.st_ctim;
	fault->bad_rules = fault_parse(fault, file);
	fclose(file);
}

static bool
rule_applies(const struct rule *rule, const struct fault *fault, const td_request_t *treq)
{
	uint64_t end = treq->sec + (uint64_t)treq->secs;

	if (rule->op != treq->op && (rule->op != ANY || treq->op > ANY))
		return false;
	if (rule->from >= end && treq->secs)
		return false;
	if (rule->count != FOR_EVER && treq->sec >= rule->from + rule->count)
		return false;
	if (rule->after && fault->written + (uint64_t)treq->secs * SECTOR_SIZE <= rule->after)
		return false;
	return rule->times > 0;
}

static struct rule *
fault_rule(struct fault *fault, const td_request_t *treq)
{
	fault_refresh(fault);
	for (int i = 0; i < fault->rules; i++)
		if (rule_applies(&fault->rule[i], fault, treq))
			return &fault->rule[i];
	return NULL;
}

/* As a call into a kernel whose storage hangs: only this thread knows of it. */
static struct rule *
fault_block(struct fault *fault, const td_request_t *treq)
{
	struct rule *rule = fault_rule(fault, treq);

	while (rule && rule->kind == BLOCK) {
		usleep(BLOCK_US);
		rule = fault_rule(fault, treq);
	}
	return rule;
}

/* --- requests --------------------------------------------------------------- */

static void fault_hand_on(struct fault_request *req);

/* The image has served a piece, or all, of a request. */
static void
fault_served(td_request_t piece, int res)
{
	struct fault_request *req = piece.cb_data;
	td_request_t treq = req->treq;

	treq.buf = piece.buf;
	treq.sec = piece.sec;
	treq.secs = piece.secs;
	treq.status = piece.status;

	if (req->again && !res) {
		req->again = false;
		fault_hand_on(req);
		return;
	}
	req->secs_left -= piece.secs;
	if (req->secs_left == 0)
		free(req);
	td_complete_request(treq, res);
}

static void
fault_hand_on(struct fault_request *req)
{
	td_request_t treq = req->treq;
	td_image_t *image = req->fault->image;

	treq.image = image;
	treq.cb = fault_served;
	treq.cb_data = req;

	switch (treq.op) {
	case TD_OP_READ:
		td_queue_read(image, treq);
		break;
	case TD_OP_WRITE:
		req->fault->written += (uint64_t)treq.secs * SECTOR_SIZE;
		td_queue_write(image, treq);
		break;
	case TD_OP_FLUSH:
		td_queue_flush(image, treq);
		break;
	case TD_OP_ZERO:
		td_queue_zero(image, treq);
		break;
	case TD_OP_BLOCK_STATUS:
		td_queue_block_status(image, &treq);
		break;
	}
}

static void
fault_cancel(struct fault_request *req, int err)
{
	td_request_t treq = req->treq;

	free(req);
	td_complete_request(treq, err);
}

static void
fault_hold(struct fault_request *req, uint64_t due)
{
	struct fault *fault = req->fault;

	req->due = due;
	if (list_empty(&fault->held))
		tapdisk_server_event_set_timeout(fault->timer, TV_USECS(TICK_US));
	list_add_tail(&req->next, &fault->held);
}

static void
fault_decide(struct fault_request *req)
{
	struct rule *rule = fault_block(req->fault, &req->treq);

	if (req->fault->bad_rules) {
		fault_cancel(req, req->fault->bad_rules);
	} else if (!rule) {
		fault_hand_on(req);
	} else if (rule->kind == FAIL) {
		rule->times -= rule->times != FOR_EVER;
		fault_cancel(req, rule->err);
	} else if (rule->kind == AGAIN) {
		req->again = true;
		fault_hand_on(req);
	} else {
		fault_hold(req, rule->kind == STALL ? FOR_EVER : now_ms() + rule->delay_ms);
	}
}

static void
fault_queue(td_driver_t *driver, td_request_t treq)
{
	struct fault_request *req = malloc(sizeof(*req));

	if (!req) {
		td_complete_request(treq, -ENOMEM);
		return;
	}
	*req = (struct fault_request){
		.treq = treq,
		.fault = driver->data,
		.secs_left = treq.secs,
	};
	fault_decide(req);
}

/* Hands on what is due; asks again about what is stalled. */
static void
fault_tick(event_id_t id, char mode, void *private)
{
	struct fault *fault = private;
	struct list_head held;
	uint64_t now = now_ms();

	/* Take the list: a request that goes may bring others in. */
	INIT_LIST_HEAD(&held);
	while (!list_empty(&fault->held))
		list_move_tail(fault->held.next, &held);

	while (!list_empty(&held)) {
		struct fault_request *req = list_entry(held.next, struct fault_request, next);

		list_del(&req->next);
		if (req->due == FOR_EVER)
			fault_decide(req);
		else if (req->due <= now)
			fault_hand_on(req);
		else
			list_add_tail(&req->next, &fault->held);
	}

	tapdisk_server_event_set_timeout(fault->timer,
					 list_empty(&fault->held) ? TV_INF : TV_USECS(TICK_US));
}

/* --- the driver ------------------------------------------------------------- */

static int
fault_close(td_driver_t *driver)
{
	struct fault *fault = driver->data;

	fault_block(fault, &(td_request_t){ .op = CLOSE });
	while (!list_empty(&fault->held)) {
		struct fault_request *req =
			list_entry(fault->held.next, struct fault_request, next);

		list_del(&req->next);
		fault_cancel(req, -EIO);
	}
	if (fault->timer > 0)
		tapdisk_server_unregister_event(fault->timer);
	if (fault->image)
		tapdisk_image_close(fault->image);
	free(fault->control);
	return 0;
}

static int
fault_open(td_driver_t *driver, const char *name, struct td_vbd_encryption *encryption,
	   td_flag_t flags)
{
	struct fault *fault = driver->data;
	const char *path = strchr(name, ':');
	int err;

	INIT_LIST_HEAD(&fault->held);
	if (!path)
		return -EINVAL;
	fault->control = strndup(name, (size_t)(path - name));
	if (!fault->control)
		return -ENOMEM;

	fault_block(fault, &(td_request_t){ .op = OPEN });
	err = fault->bad_rules;
	if (err)
		goto fail;

	fault->timer = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_INF,
						     fault_tick, fault);
	if (fault->timer < 0) {
		err = fault->timer;
		goto fail;
	}

	err = tapdisk_image_open(DISK_TYPE_AIO, path + 1, (int)flags, encryption,
				 &fault->image);
	if (err)
		goto fail;
	driver->info = fault->image->info;
	return 0;

fail:
	fault_close(driver);
	return err;
}

static int
fault_get_parent_id(td_driver_t *driver, td_disk_id_t *id)
{
	return TD_NO_PARENT;
}

static int
fault_validate_parent(td_driver_t *driver, td_driver_t *parent, td_flag_t flags)
{
	return -EINVAL;
}

struct tap_disk tapdisk_fault = {
	.disk_type = "tapdisk_fault",
	.private_data_size = sizeof(struct fault),
	.td_open = fault_open,
	.td_close = fault_close,
	.td_get_parent_id = fault_get_parent_id,
	.td_validate_parent = fault_validate_parent,
	.td_queue_read = fault_queue,
	.td_queue_write = fault_queue,
	.td_queue_block_status = fault_queue,
	.td_queue_flush = fault_queue,
	.td_queue_zero = fault_queue,
};
