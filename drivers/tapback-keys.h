/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapback-keys.h - what values in xenstore mean
 *
 * Those of a frontend are the guest's and not trusted; a value that is not exactly
 * what it should be is none.
 */
#ifndef TAPBACK_KEYS_H
#define TAPBACK_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tapback-device.h"
#include "tapdisk-message.h"

/* Decimal digits and nothing else, at most max. */
bool tapback_number(const char *text, uint32_t max, uint32_t *number);

/* NULL: XENBUS_GONE. What is no state is XENBUS_UNKNOWN. */
enum xenbus_state tapback_state(const char *text);

/*
 * The ring that a frontend describes. read gives the value of one of its keys, which
 * the caller frees, or NULL. 0; or -EINVAL, and *why says in which key.
 */
int tapback_front_ring(char *(*read)(void *front, const char *key), void *front,
		       tapdisk_message_blkif_t *ring, const char **why);

/* <run_dir>/nbd<pid>.<minor>, as the script writes it. */
bool tapback_device_path(const char *text, const char *run_dir, pid_t *pid, int *minor);

/* The device that a node below root ("backend/vbd3") belongs to: root/<domid>/<devid>... */
bool tapback_node(const char *path, const char *root, uint32_t *domid, uint32_t *devid);

#endif
