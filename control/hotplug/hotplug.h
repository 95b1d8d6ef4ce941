/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hotplug.h - what the files of tapmigrate-hotplug share
 *
 * libxl gives a hotplug script 40 seconds and then kills it, so all of this waits with
 * limits, and runs as few other programs as it can. Functions return 0 or -errno unless
 * they say otherwise; after a failure tap_ctl_error() says why, in words for the operator.
 */
#ifndef HOTPLUG_H
#define HOTPLUG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../libtapctl.h"
#include "tapback-store.h"

#define TAPBACK_MS 15000 /* for tapback to answer; one that runs on a busy host may be slow */
#define KERNEL_MS  10000 /* for what the kernel does by itself */
#define PROGRAM_MS 20000 /* for another program */
#define CLOSE_S	   15	 /* for requests under way, before a VBD is closed without them */
#define FORCED_S   5	 /* then */

/* The device that libxl has called about, and what is known of it. */
struct device {
	const char *name; /* that we were called by: block-tapmigrate or block-tapmigrate-nbd */
	const char *xenbus_path;
	unsigned int domid, devid;
	char vbd[64];  /* in xenstore: backend/vbd/DOM/DEV, where libxl and blkback look */
	char vbd3[64]; /* backend/vbd3/DOM/DEV, where tapback looks */

	/* The tapdisk. pid 0: there is none. */
	pid_t pid;
	int minor;
	char socket[TAP_CTL_PATH];
};

/* --- what is common (util.c) --------------------------------------------------------- */

/* Says in tap_ctl_error() what failed, with what it says already. Returns err. */
int fail_with_reason(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A file below $SYSFS, which is /sys but in tests. Empty path: it is too long. */
void sysfs_path(char path[256], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first line of a file below it, without its end; "" if there is none. */
void sysfs_read(const char *path, char *line, size_t size);

/*
 * Whether done(arg) becomes true within ms. SIGINT, SIGTERM and SIGHUP end the wait.
 */
bool wait_until(int64_t ms, bool (*done)(void *arg), void *arg);

/* A signal that asks us to end, once one has come; else 0. */
int ended_by(void);
void catch_signals(void);

/*
 * Runs a program, found in $PATH, and waits for it for at most PROGRAM_MS. What it says
 * on stdout and stderr is in said. started, if not NULL, is called with its pid before it
 * begins; it does not begin if that fails. -ENOENT: there is no such program; other
 * -errno: it has failed.
 */
int run_program(char *const argv[], int (*started)(pid_t pid, void *arg), void *arg, char *said,
		size_t size);

/* --- xenstore (util.c) --------------------------------------------------------------- */

/* Writes dir/key, in a directory that must have the key must. */
int write_key(const char *dir, const char *must, const char *key, const char *value);

/* The same in the device's own directory. */
int write_vbd(const struct device *device, const char *key, const char *value);

/* Whether dir/key has this value. */
bool key_is(const char *dir, const char *key, const char *value);

/* Whether the guest may write to its disk. */
bool is_writable(const struct device *device);

/* --- the log (log.c) ------------------------------------------------------------------- */

/*
 * A line in the system's log and in Xen's ($XEN_HOTPLUG_LOG, or
 * /var/log/xen/xen-hotplug.log): libxl shows nothing of what a script prints.
 */
void log_start(const char *name, const char *command, const char *xenbus_path);
void log_line(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends a step of the work, which had begun when the last one ended. name stays ours. */
void log_step(const char *name);

/* " in 0.8 s (tapdisk 0.3, image 0.1)": how long it took, and each step of it. */
const char *log_times(void);

/* --- its tapdisk (tapdisk.c) ----------------------------------------------------------- */

/*
 * Fills in pid, minor and socket. False if no tapdisk is on record in xenstore; one that
 * is may have died.
 */
bool find_tapdisk(struct device *device);

/* Whether the VBD on record is there. */
bool tapdisk_lives(const struct device *device);

/* Starts one and puts it on record before it has a VBD. */
int start_tapdisk(struct device *device);

/* Opens TYPE:NAME there, or what has become of it, and says so in xenstore's params. */
int open_disk(struct device *device, const char *target);

/*
 * Ends the device's tapdisk, however far it had come, also where an add was killed before
 * it was on record, and gives the minor back. Not 0: something is left.
 */
int end_tapdisk(struct device *device);

/* --- the kernel's nbd (nbd.c) ------------------------------------------------------------ */

/*
 * Connects a free /dev/nbdX to the tapdisk's socket: its name, as "nbd0", and its number as
 * blkback wants it. why comes before what is said of a host that cannot do this.
 */
int nbd_connect(const struct device *device, const char *why, char name[16], char number[32]);

/* Disconnects the one on record, if it is still ours. */
int nbd_disconnect(const struct device *device);

/* --- the routes from the guest to the tapdisk (route.c) -------------------------------------
 */

/* Leads the guest to the tapdisk; what it went by is in *route. */
int connect_guest(struct device *device, const char **route);

/* Removes backend/vbd3/DOM/DEV, and what is empty without it. */
void remove_vbd3(const struct device *device);

#endif
