/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-server.h - the process: its loop, and its VBDs
 *
 * One turn of the loop lets each VBD issue and answer requests, submits the
 * kernel I/O that came of it, then waits and runs callbacks, and at last does what
 * control clients have asked for. A callback or a handler that waits lends the loop
 * (tapdisk-loop.h), so that turns go on: VBDs may come and go meanwhile.
 */
#ifndef TAPDISK_SERVER_H
#define TAPDISK_SERVER_H

#include "io-backend.h"
#include "list.h"
#include "scheduler.h"
#include "tapdisk-vbd.h"

event_id_t tapdisk_server_register_event(char mode, int fd, struct timeval timeout,
					 event_cb_t cb, void *private);
void tapdisk_server_unregister_event(event_id_t id);
void tapdisk_server_mask_event(event_id_t id, int masked);
int tapdisk_server_event_set_timeout(event_id_t id, struct timeval timeout);
/* The next wait is no longer than that many seconds. */
void tapdisk_server_set_max_timeout(int seconds);

/*
 * For code that waits for what turns do, as td_close does: lets another thread run at
 * least a part of a turn. Where none can, and in programs that do not call
 * tapdisk_server_run(), it runs a turn here, without control clients.
 */
void tapdisk_server_iterate(void);

void tapdisk_server_prep_tiocb(struct tiocb *tiocb, int fd, bool write, char *buf, size_t size,
			       long long offset, td_queue_callback_t cb, void *arg);
void tapdisk_server_queue_tiocb(struct tiocb *tiocb);

/* $BLKTAP_RUN_DIR or /run/blktap-control. */
const char *tapdisk_server_run_dir(void);

/* The process's VBDs (td_vbd_t.next). */
struct list_head *tapdisk_server_get_all_vbds(void);
/* NULL if there is none. */
td_vbd_t *tapdisk_server_get_vbd(td_uuid_t minor);
void tapdisk_server_add_vbd(td_vbd_t *vbd);
/* When the last one is removed, tapdisk_server_run() ends. */
void tapdisk_server_remove_vbd(td_vbd_t *vbd);

/* Makes the loop, kernel I/O and worker threads ready. 0 or -errno. */
int tapdisk_server_init(void);
void tapdisk_server_exit(void);
/*
 * Turns until the last VBD has gone: each was detached, or SIGTERM, SIGINT, SIGHUP,
 * SIGQUIT or SIGPWR came and all could be closed.
 */
void tapdisk_server_run(void);

#endif
