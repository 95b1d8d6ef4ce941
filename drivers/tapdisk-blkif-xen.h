/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-blkif-xen.h - a guest of the Xen machine that this is dom0 of
 *
 * Its ring is mapped, its data copied by the hypervisor, which checks each grant.
 */
#ifndef TAPDISK_BLKIF_XEN_H
#define TAPDISK_BLKIF_XEN_H

#include "tapdisk-blkif.h"

/*
 * Maps the ring's pages and binds the event channel whose end in the domain is port.
 * 0 and *out; or -errno: -EOPNOTSUPP if tapdisk was built without Xen's libraries.
 */
int blkif_xen_open(uint32_t domid, const uint32_t *grefs, unsigned int pages, uint32_t port,
		   struct blkif_guest **out);

#endif
