/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-control-ring.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tapdisk-blkif-xen.h"
#include "tapdisk-blkif.h"
#include "tapdisk-log.h"
#include "tapdisk-server.h"

/* Polling of the ring, and the name of a pool of memory, are accepted and not used. */
static int
connect_ring(td_vbd_t *vbd, const tapdisk_message_blkif_t *blkif)
{
	char inflight[PATH_MAX];
	struct blkif_config config = {
		.ring = { .domid = blkif->domid,
			  .devid = blkif->devid,
			  .protocol = blkif->proto,
			  .pages = 1u << (blkif->order & RING_MAX_ORDER),
			  .port = blkif->port },
		.inflight = inflight,
	};
	struct blkif_guest *guest;
	int err = tapdisk_vbd_check_busy(vbd);

	if (err)
		return err;
	memcpy(config.ring.grefs, blkif->gref, config.ring.pages * sizeof(blkif->gref[0]));
	if (tapdisk_blkif_is(vbd->blkif, blkif->domid, blkif->devid)) {
		const bool same = !memcmp(tapdisk_blkif_ring(vbd->blkif), &config.ring,
					  sizeof(config.ring));

		EPRINTF("minor %u is connected to this device already%s", vbd->minor,
			same ? "" : ", by another ring");
		return same ? -EALREADY : -ESTALE;
	}
	if (vbd->blkif) {
		EPRINTF("minor %u has another ring, or has not yet answered its last requests",
			vbd->minor);
		return -EBUSY;
	}
	if (!vbd->name) {
		EPRINTF("minor %u is not open", vbd->minor);
		return -EINVAL;
	}
	if (blkif->order > RING_MAX_ORDER || blkif->proto < RING_NATIVE ||
	    blkif->proto > RING_X86_64) {
		EPRINTF("there is no ring of order %u and protocol %u", blkif->order,
			blkif->proto);
		return -EINVAL;
	}

	snprintf(inflight, sizeof(inflight), "%s/" TAPDISK_RING_PREFIX "%u.%u",
		 tapdisk_server_run_dir(), blkif->domid, blkif->devid);
	err = blkif_xen_open(blkif->domid, blkif->gref, config.ring.pages, blkif->port, &guest);
	if (err)
		return err;
	config.readonly = vbd->flags & TD_OPEN_RDONLY;
	vbd->busy++;
	err = tapdisk_blkif_connect(vbd, &config, guest);
	vbd->busy--;
	if (err)
		guest->ops->close(guest);
	return err;
}

static int
disconnect_ring(td_vbd_t *vbd, const tapdisk_message_blkif_t *blkif)
{
	if (!tapdisk_blkif_is(vbd->blkif, blkif->domid, blkif->devid)) {
		EPRINTF("minor %u has no ring of domain %u, device %u", vbd->minor,
			blkif->domid, blkif->devid);
		return -ENODEV;
	}
	tapdisk_blkif_disconnect(vbd->blkif);
	return 0;
}

/* A guest can have its ring connected and disconnected as often as it likes. */
static int
for_guest(const tapdisk_message_t *request,
	  int (*act)(td_vbd_t *vbd, const tapdisk_message_blkif_t *blkif))
{
	static struct log_limit no_vbd;
	td_vbd_t *vbd = tapdisk_server_get_vbd(request->cookie);
	struct log_limit *before = tapdisk_log_limit(vbd ? &vbd->guest_log : &no_vbd);
	int err = -ENODEV;

	if (vbd)
		err = act(vbd, &request->u.blkif);
	else
		EPRINTF("minor %u is not attached to this tapdisk", request->cookie);
	tapdisk_log_limit(before);
	return err;
}

int
tapdisk_control_ring_connect(const tapdisk_message_t *request)
{
	return for_guest(request, connect_ring);
}

int
tapdisk_control_ring_disconnect(const tapdisk_message_t *request)
{
	return for_guest(request, disconnect_ring);
}
