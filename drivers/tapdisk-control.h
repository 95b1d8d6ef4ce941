/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-control.h - the control socket, <run directory>/ctl<pid>
 *
 * Serves include/tapdisk-message.h. Nothing a client does blocks the loop: its
 * request is collected as it comes, for two seconds at most; PID, LIST and STATS
 * are answered at once; what changes VBDs is done at the end of a turn, and the client
 * waits for its end. A handler that waits for a file lends the loop (tapdisk-loop.h):
 * other requests are served meanwhile, but not those that change the same VBD, which
 * are refused with EBUSY.
 */
#ifndef TAPDISK_CONTROL_H
#define TAPDISK_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "tapdisk.h"

/*
 * Carries out TAPDISK_MESSAGE_MIGRATE_START. json has size bytes, which stay the caller's.
 * The answer, also of what has failed, is a text, malloc'ed and the caller's, or NULL if there
 * is no memory. wanted() says whether the client still waits. May lend the loop, and run turns.
 */
typedef char *(*control_start_t)(td_vbd_t *vbd, const char *json, size_t size,
				 bool (*wanted)(void *client), void *client);

/* Until it is called there is no such request. */
void tapdisk_control_set_start(control_start_t start);

/* Starts listening; *path is valid until tapdisk_control_close(). 0 or -errno. */
int tapdisk_control_open(const char **path);
/* Removes the socket, and forgets all clients but those that are being answered. */
void tapdisk_control_close(void);

/* Does what clients have asked for. Only at the end of a turn. */
void tapdisk_control_run(void);

/*
 * Starts to close every VBD, and detaches those that are closed. One that refuses
 * ends the attempt, the others are then closed but stay attached.
 */
void tapdisk_control_shutdown(void);

/* Whether no client is connected. */
bool tapdisk_control_idle(void);

#endif
