/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapback-vbd.h - the guests' disks: between xenstore and the tapdisks
 *
 * Each is looked at when something about it has changed, and then does what
 * tapback-device.h says until there is nothing more to do. What asks a tapdisk goes on
 * when that has answered; what has failed is tried again after a second.
 */
#ifndef TAPBACK_VBD_H
#define TAPBACK_VBD_H

#include "scheduler.h"

#define TAPBACK_ROOT "backend/vbd3"
#define TAPBACK_TWIN "backend/vbd"
/*
 * xl's script for our disks: what names it in backend/vbd has us answer for it there. If
 * the script puts the tapdisk there, and not into TAPBACK_ROOT, that is what we serve.
 */
#define TAPBACK_SCRIPT "block-tapmigrate"

/* Watches xenstore; events of s do the rest. 0 or -errno. */
int tapback_vbds_start(scheduler_t *s);

/* For tapback_store_changed(). */
void tapback_vbds_changed(const char *path, const char *token);

/* Looks at all that has changed. */
void tapback_vbds_look(void);

/* The rings stay with their tapdisks, for the next tapback. */
void tapback_vbds_stop(void);

#endif
