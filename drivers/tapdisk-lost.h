/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-lost.h - VBDs that are closed by force while their disk does not answer
 *
 * A request that is with the driver has its buffer in memory that the kernel may write
 * to, so neither can be freed before the disk answers, which may be never. Whoever
 * closes such a VBD by force need not wait for that: after LOST_SECONDS its minor is
 * closed, and free for another use. The VBD itself is lost from then on: it has no
 * minor, nobody can name it, and it keeps its image open, and locked, until the disk
 * has answered the last request, or the process ends. Its guest has been hung up on.
 */
#ifndef TAPDISK_LOST_H
#define TAPDISK_LOST_H

#include "tapdisk-vbd.h"

#define LOST_SECONDS 15 /* longer than a side of a migration may be silent */

/* Once LOST_SECONDS have passed, if it is not closed by then. 0 or -errno. */
int tapdisk_lost_watch(td_vbd_t *vbd);
/* It is closed. */
void tapdisk_lost_unwatch(td_vbd_t *vbd);

/* Lets one of those that are lost go on, each turn. False: there is none. May lend the loop. */
bool tapdisk_lost_run(void);

#endif
