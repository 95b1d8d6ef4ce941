/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap-ctl.h - libtapctl: asking tapdisks to do things
 *
 * Functions return 0 or -errno unless they say otherwise. After a failure
 * tap_ctl_error() says more than errno can: the tapdisk's own message, or which
 * file or process it was about.
 *
 * A timeout is in seconds from the call; TAP_CTL_FOREVER is none. After
 * -ETIMEDOUT the tapdisk may still do what it was asked to.
 */
#ifndef TAP_CTL_H
#define TAP_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "list.h"
#include "tapdisk-message.h"

/* The longest message, with the terminating zero: three names of files, and words. */
#define TAP_CTL_TEXT 12800

#define TAP_CTL_FOREVER (-1)
#define TAP_CTL_TIMEOUT 120 /* what requests that need not wait for the guest's I/O get */

/* What to open; all but params may be 0 or NULL. */
struct tap_ctl_image {
	const char *params;    /* "type:name" */
	unsigned int flags;    /* TAPDISK_MESSAGE_FLAG_ */
	int parent;	       /* minor, with FLAG_REUSE_PRT */
	const char *secondary; /* with FLAG_SECONDARY */
	const char *log;       /* with FLAG_ADD_LOG */
	int request_timeout;   /* seconds; 0: tapdisk's default */
	const uint8_t *key;    /* with FLAG_OPEN_ENCRYPTED */
	uint8_t key_size;      /* bytes */
};

/*
 * A VBD, a tapdisk without one, or a minor without a tapdisk: what is not known
 * is -1 or NULL. error is 0, or why the tapdisk could not be asked (-errno);
 * then only pid and perhaps minor are known, from the file system.
 */
typedef struct tap_list {
	pid_t pid;
	int minor;
	int state; /* TD_VBD_ bits */
	char *type;
	char *path;
	int error;
	struct list_head entry;
} tap_list_t;

/* More about the calling thread's last failure; "" if there is nothing to add. */
const char *tap_ctl_error(void);

/* Where sockets and minors are: $BLKTAP_RUN_DIR or /run/blktap-control. */
const char *tap_ctl_run_dir(void);

/* Requests and answers are traced on this stream. NULL, the default, is not at all. */
extern FILE *tap_ctl_debug;

/*
 * All there is on this host, or that of one tapdisk. Bounded in time: 2 seconds
 * for every 256 tapdisks, whatever they do. The list (an initialised, empty
 * head) is the caller's, to be given back with tap_ctl_list_free().
 */
int tap_ctl_list(struct list_head *list);
int tap_ctl_list_pid(pid_t pid, struct list_head *list);
void tap_ctl_list_free(struct list_head *list);

/* Takes the lowest free minor. *devname is the path that marks it, the caller's to free. */
int tap_ctl_allocate(int *minor, char **devname);
/*
 * The same; what marks the minor is another name of the file owner, which is in the run
 * directory. So whoever has that file finds the minor, however the process has ended.
 */
int tap_ctl_allocate_for(const char *owner, int *minor, char **devname);
/* Gives a minor back. -EAGAIN while a tapdisk has it attached. */
int tap_ctl_free(int minor);

/*
 * Starts a tapdisk: $TAPDISK, or the tapdisk beside this program, or in
 * ../libexec from there, or in $PATH. Its process id once it answers, or -errno;
 * what it had to say is on stderr.
 */
pid_t tap_ctl_spawn(void);

int tap_ctl_attach(pid_t pid, int minor);
int tap_ctl_detach(pid_t pid, int minor);
int tap_ctl_open(pid_t pid, int minor, const struct tap_ctl_image *image);
/* force: does not wait for the guest to let go. */
int tap_ctl_close(pid_t pid, int minor, bool force, int timeout);
/* any_name: an image too that could not be opened again by its name. */
int tap_ctl_pause(pid_t pid, int minor, bool any_name, int timeout);
/* image NULL: as before the pause. Of image only params, flags, secondary and log count. */
int tap_ctl_unpause(pid_t pid, int minor, const struct tap_ctl_image *image);
int tap_ctl_info(pid_t pid, int minor, tapdisk_message_image_t *info);
/* *json is the caller's to free. */
int tap_ctl_stats(pid_t pid, int minor, int timeout, char **json);
/*
 * json is what is wanted, *answer what has come of it (docs/migrate-protocol.md), the caller's
 * to free. -EOPNOTSUPP: that tapdisk does not know the request. Waits as long as it takes.
 */
int tap_ctl_migrate_start(pid_t pid, int minor, const char *json, char **answer);

/* allocate, spawn, attach and open; undone if one fails. *devname as tap_ctl_allocate(). */
int tap_ctl_create(const struct tap_ctl_image *image, char **devname);
/* close, detach and free. */
int tap_ctl_destroy(pid_t pid, int minor, int timeout);

#endif
