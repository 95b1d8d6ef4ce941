/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-nbdserver.h - serves a VBD to NBD clients on a Unix socket
 *
 * The socket is <rundir>/nbd<pid>.<minor>, mode 0600, where rundir is
 * $BLKTAP_RUN_DIR or /run/blktap-control. Connections outlive a pause of the
 * VBD: their requests are held by it.
 */
#ifndef TAPDISK_NBDSERVER_H
#define TAPDISK_NBDSERVER_H

#include <stdbool.h>

#include "tapdisk-vbd.h"

struct tapdisk_nbdserver;

/*
 * Starts serving vbd, which must be open and outlive the server. 0 and *out,
 * which is the caller's until tapdisk_nbdserver_stop(); or -errno, with nothing
 * left behind.
 */
int tapdisk_nbdserver_start(td_vbd_t *vbd, td_uuid_t minor, bool readonly,
			    struct tapdisk_nbdserver **out);

/*
 * Removes the socket and closes every connection. Requests that the VBD has not
 * answered yet stay valid until it does; their answers go nowhere.
 * NULL is allowed.
 */
void tapdisk_nbdserver_stop(struct tapdisk_nbdserver *server);

#endif
