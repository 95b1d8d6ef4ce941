/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtapctl-vbd.c - what one asks a tapdisk to do with a VBD, a message each
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libtapctl.h"

#define STATS_MAX  (16u << 20) /* bytes of JSON; more is no statistics */
#define ANSWER_MAX 65536       /* ... of another answer */

static int
simple_request(pid_t pid, int minor, enum tapdisk_message_id type, int timeout)
{
	tapdisk_message_t message = { .type = type, .cookie = (uint16_t)minor };

	return tap_ctl_exchange(pid, &message, NULL, 0, timeout);
}

/*
 * For all that a tapdisk has against attaching, and against opening a minor that is
 * not attached, blktap's tap-ctl reports EINVAL, and scripts know that.
 */
static int
as_blktap(int err, const tapdisk_message_t *answer, enum tapdisk_message_id request)
{
	if (answer->type == TAPDISK_MESSAGE_ERROR &&
	    (request == TAPDISK_MESSAGE_ATTACH || err == -ENODEV))
		return -EINVAL;
	return err;
}

static int
copy_name(char to[TAPDISK_MESSAGE_MAX_PATH_LENGTH], const char *name)
{
	if (!name)
		return 0;
	if (strlen(name) >= TAPDISK_MESSAGE_MAX_PATH_LENGTH)
		return tap_ctl_fail(-ENAMETOOLONG, "longer than %d characters: %s",
				    TAPDISK_MESSAGE_MAX_PATH_LENGTH - 1, name);
	strcpy(to, name);
	return 0;
}

/* OPEN and RESUME: the names go into the message, log and key follow it. */
static int
image_request(pid_t pid, int minor, enum tapdisk_message_id type,
	      const struct tap_ctl_image *image)
{
	tapdisk_message_t message = {
		.type = type,
		.cookie = (uint16_t)minor,
		.u.params = { .flags = image->flags,
			      .devnum = (uint32_t)minor,
			      .prt_devnum = TAPDISK_MESSAGE_NO_PARENT,
			      .req_timeout = (uint16_t)image->request_timeout },
	};
	char log[TAPDISK_MESSAGE_MAX_PATH_LENGTH] = "";
	uint8_t key_size = image->key_size;
	struct iovec extra[3];
	int err, n = 0;

	err = copy_name(message.u.params.path, image->params);
	if (!err)
		err = copy_name(message.u.params.secondary, image->secondary);
	if (!err)
		err = copy_name(log, image->log);
	if (err)
		return err;
	if (image->flags & TAPDISK_MESSAGE_FLAG_REUSE_PRT)
		message.u.params.prt_devnum = (uint32_t)image->parent;
	if (image->flags & TAPDISK_MESSAGE_FLAG_ADD_LOG)
		extra[n++] = (struct iovec){ log, sizeof(log) };
	if (image->flags & TAPDISK_MESSAGE_FLAG_OPEN_ENCRYPTED) {
		extra[n++] = (struct iovec){ &key_size, 1 };
		extra[n++] = (struct iovec){ (void *)image->key, key_size };
	}
	err = tap_ctl_exchange(pid, &message, extra, n, TAP_CTL_TIMEOUT);
	return as_blktap(err, &message, type);
}

int
tap_ctl_attach(pid_t pid, int minor)
{
	tapdisk_message_t message = { .type = TAPDISK_MESSAGE_ATTACH,
				      .cookie = (uint16_t)minor };
	int err = tap_ctl_exchange(pid, &message, NULL, 0, TAP_CTL_TIMEOUT);

	return as_blktap(err, &message, TAPDISK_MESSAGE_ATTACH);
}

int
tap_ctl_detach(pid_t pid, int minor)
{
	return simple_request(pid, minor, TAPDISK_MESSAGE_DETACH, TAP_CTL_TIMEOUT);
}

int
tap_ctl_open(pid_t pid, int minor, const struct tap_ctl_image *image)
{
	return image_request(pid, minor, TAPDISK_MESSAGE_OPEN, image);
}

int
tap_ctl_close(pid_t pid, int minor, bool force, int timeout)
{
	return simple_request(pid, minor,
			      force ? TAPDISK_MESSAGE_FORCE_SHUTDOWN : TAPDISK_MESSAGE_CLOSE,
			      timeout);
}

int
tap_ctl_pause(pid_t pid, int minor, bool any_name, int timeout)
{
	tapdisk_message_t message = { .type = TAPDISK_MESSAGE_PAUSE,
				      .cookie = (uint16_t)minor };

	if (any_name)
		message.u.params.flags = TAPDISK_MESSAGE_FLAG_ANY_NAME;
	return tap_ctl_exchange(pid, &message, NULL, 0, timeout);
}

int
tap_ctl_unpause(pid_t pid, int minor, const struct tap_ctl_image *image)
{
	static const struct tap_ctl_image as_before;

	return image_request(pid, minor, TAPDISK_MESSAGE_RESUME, image ? image : &as_before);
}

int
tap_ctl_info(pid_t pid, int minor, tapdisk_message_image_t *info)
{
	tapdisk_message_t message = { .type = TAPDISK_MESSAGE_DISK_INFO,
				      .cookie = (uint16_t)minor };
	int err;

	err = tap_ctl_exchange(pid, &message, NULL, 0, TAP_CTL_TIMEOUT);
	if (!err)
		*info = message.u.image;
	return err;
}

/* What follows the answer, as a string. Closes fd. */
static int
read_json(pid_t pid, int fd, size_t length, size_t most, int64_t deadline, char **json)
{
	char *text;
	int err;

	if (length > most) {
		close(fd);
		return tap_ctl_fail(-EPROTO, "tapdisk %d announced %zu bytes of JSON", pid,
				    length);
	}
	text = calloc(1, length + 1);
	err = text ? tap_ctl_read(fd, text, length, deadline) : -ENOMEM;
	if (err)
		free(text);
	else
		*json = text;
	close(fd);
	return err;
}

int
tap_ctl_stats(pid_t pid, int minor, int timeout, char **json)
{
	tapdisk_message_t message = { .type = TAPDISK_MESSAGE_STATS,
				      .cookie = (uint16_t)minor };
	int64_t deadline = tap_ctl_now() + (int64_t)timeout * 1000;
	int fd = tap_ctl_request(pid, &message, NULL, 0, deadline);

	if (fd < 0)
		return fd;
	return read_json(pid, fd, message.u.info.length, STATS_MAX, deadline, json);
}

int
tap_ctl_migrate_start(pid_t pid, int minor, const char *json, char **answer)
{
	tapdisk_message_t message = { .type = TAPDISK_MESSAGE_MIGRATE_START,
				      .cookie = (uint16_t)minor,
				      .u.info.length = strlen(json) };
	const struct iovec extra = { (void *)json, strlen(json) };
	int fd = tap_ctl_request(pid, &message, &extra, 1, -1);

	if (fd == -EINVAL && message.type == TAPDISK_MESSAGE_ERROR)
		return tap_ctl_fail(-EOPNOTSUPP, "tapdisk %d knows no migrations", pid);
	if (fd < 0)
		return fd;
	return read_json(pid, fd, message.u.info.length, ANSWER_MAX, -1, answer);
}

/* What create has done so far is undone; the error stays the first one's. */
static int
undo_create(int err, pid_t pid, bool attached, int minor, char *devname)
{
	char *why = strdup(tap_ctl_error());

	/* A tapdisk that nothing is attached to has no reason to live. */
	if (pid > 0 && (!attached || tap_ctl_detach(pid, minor)))
		kill(pid, SIGTERM);
	tap_ctl_free(minor);
	free(devname);
	tap_ctl_fail(err, "%s", why ? why : "");
	free(why);
	return err;
}

int
tap_ctl_create(const struct tap_ctl_image *image, char **devname)
{
	bool attached = false;
	int minor, err;
	pid_t pid;

	err = tap_ctl_allocate(&minor, devname);
	if (err)
		return err;
	pid = tap_ctl_spawn();
	err = pid < 0 ? pid : tap_ctl_attach(pid, minor);
	if (!err) {
		attached = true;
		err = tap_ctl_open(pid, minor, image);
	}
	return err ? undo_create(err, pid, attached, minor, *devname) : 0;
}

int
tap_ctl_destroy(pid_t pid, int minor, int timeout)
{
	int err;

	/* One that has failed half-way is done again from there: what is closed can be
	 * detached. */
	err = tap_ctl_close(pid, minor, false, timeout);
	if (!err || err == -EINVAL)
		err = tap_ctl_detach(pid, minor);
	return err ? err : tap_ctl_free(minor);
}
