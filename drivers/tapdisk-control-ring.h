/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-control-ring.h - requests of the control socket about a guest's ring
 *
 * Both return 0, or -errno with the reason remembered by the log.
 */
#ifndef TAPDISK_CONTROL_RING_H
#define TAPDISK_CONTROL_RING_H

#include "tapdisk-message.h"

/* XENBLKIF_CONNECT: -EALREADY if it is connected, -ESTALE if another ring of the device is. */
int tapdisk_control_ring_connect(const tapdisk_message_t *request);

/* XENBLKIF_DISCONNECT: -ENODEV if it is not connected. */
int tapdisk_control_ring_disconnect(const tapdisk_message_t *request);

#endif
