/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-blkif-xen.h"

#include <errno.h>

#include "tapdisk-log.h"

#ifdef TAPDISK_XEN

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xen/io/blkif.h>

/* Our layout is what a guest on this machine has. */
#define SAME_PLACE(theirs, member, ours)                                                     \
	_Static_assert(offsetof(struct theirs, member) == offsetof(struct ring_entry, ours), \
		       #member " is elsewhere")
_Static_assert(sizeof(struct blkif_request) == sizeof(struct ring_entry), "a request's size");
_Static_assert(sizeof(struct blkif_response) == sizeof(struct ring_answer), "an answer's size");
_Static_assert(sizeof(struct blkif_request_segment) == sizeof(struct ring_segment),
	       "a segment's size");
_Static_assert(offsetof(struct blkif_sring, ring) == sizeof(struct ring_shared),
	       "where the entries start");
_Static_assert(BLKIF_MAX_SEGMENTS_PER_REQUEST == RING_DIRECT_SEGMENTS, "segments");
SAME_PLACE(blkif_request, nr_segments, nr_segments);
SAME_PLACE(blkif_request, id, id);
SAME_PLACE(blkif_request, sector_number, sector);
SAME_PLACE(blkif_request, seg, segments);
SAME_PLACE(blkif_request_discard, flag, discard_flag);
SAME_PLACE(blkif_request_discard, nr_sectors, discard_sectors);
SAME_PLACE(blkif_request_indirect, indirect_op, indirect_op);
SAME_PLACE(blkif_request_indirect, nr_segments, indirect_nr_segments);
SAME_PLACE(blkif_request_indirect, indirect_grefs, indirect.grefs);

struct xen_guest {
	struct blkif_guest guest;
	uint16_t domid;
	xengnttab_handle *grants;
	xenevtchn_handle *events;
	evtchn_port_t port; /* our end */
};

static struct xen_guest *
to_xen(struct blkif_guest *guest)
{
	return list_entry(guest, struct xen_guest, guest);
}

static int
xen_copy(struct blkif_guest *guest, const struct blkif_copy *copies, unsigned int n,
	 bool to_guest)
{
	struct xen_guest *xen = to_xen(guest);
	xengnttab_grant_copy_segment_t segs[RING_MAX_SEGMENTS];

	for (unsigned int i = 0; i < n; i++) {
		xengnttab_grant_copy_segment_t *seg = &segs[i];
		union xengnttab_copy_ptr *there = to_guest ? &seg->dest : &seg->source;
		union xengnttab_copy_ptr *here = to_guest ? &seg->source : &seg->dest;

		memset(seg, 0, sizeof(*seg));
		there->foreign.ref = copies[i].gref;
		there->foreign.offset = copies[i].offset;
		there->foreign.domid = xen->domid;
		here->virt = copies[i].local;
		seg->len = copies[i].len;
		seg->flags = to_guest ? GNTCOPY_dest_gref : GNTCOPY_source_gref;
	}
	if (xengnttab_grant_copy(xen->grants, n, segs))
		return -errno;
	for (unsigned int i = 0; i < n; i++)
		if (segs[i].status != GNTST_okay)
			return -EFAULT;
	return 0;
}

static int
xen_acknowledge(struct blkif_guest *guest)
{
	struct xen_guest *xen = to_xen(guest);
	const xenevtchn_port_or_error_t port = xenevtchn_pending(xen->events);

	if (port < 0)
		return errno == EAGAIN ? 0 : -errno;
	return xenevtchn_unmask(xen->events, (evtchn_port_t)port) ? -errno : 0;
}

static int
xen_notify(struct blkif_guest *guest)
{
	struct xen_guest *xen = to_xen(guest);

	return xenevtchn_notify(xen->events, xen->port) ? -errno : 0;
}

static void
xen_close(struct blkif_guest *guest)
{
	struct xen_guest *xen = to_xen(guest);

	/* Closing a handle unbinds its port. */
	if (xen->events)
		xenevtchn_close(xen->events);
	if (guest->ring && xengnttab_unmap(xen->grants, guest->ring, guest->pages))
		PERROR("domain %u: cannot unmap its ring", xen->domid);
	if (xen->grants)
		xengnttab_close(xen->grants);
	free(xen);
}

static const struct blkif_guest_ops xen_ops = {
	.copy = xen_copy,
	.acknowledge = xen_acknowledge,
	.notify = xen_notify,
	.close = xen_close,
};

static int
xen_map(struct xen_guest *xen, const uint32_t *grefs)
{
	uint32_t refs[1 << RING_MAX_ORDER];

	memcpy(refs, grefs, xen->guest.pages * sizeof(refs[0]));
	xen->grants = xengnttab_open(NULL, 0);
	if (!xen->grants)
		return -errno;
	xen->guest.ring = xengnttab_map_domain_grant_refs(
		xen->grants, xen->guest.pages, xen->domid, refs, PROT_READ | PROT_WRITE);
	return xen->guest.ring ? 0 : -errno;
}

static int
xen_bind(struct xen_guest *xen, uint32_t remote)
{
	xenevtchn_port_or_error_t port;

	xen->events = xenevtchn_open(NULL, 0);
	if (!xen->events)
		return -errno;
	port = xenevtchn_bind_interdomain(xen->events, xen->domid, remote);
	if (port < 0)
		return -errno;
	xen->port = (evtchn_port_t)port;
	xen->guest.fd = xenevtchn_fd(xen->events);
	/* An event that has been taken by another turn is not waited for. */
	return fcntl(xen->guest.fd, F_SETFL, O_NONBLOCK) ? -errno : 0;
}

int
blkif_xen_open(uint32_t domid, const uint32_t *grefs, unsigned int pages, uint32_t port,
	       struct blkif_guest **out)
{
	struct xen_guest *xen;
	int err;

	if (domid >= DOMID_FIRST_RESERVED) {
		EPRINTF("there is no Xen domain %u", domid);
		return -EINVAL;
	}
	xen = calloc(1, sizeof(*xen));
	if (!xen)
		return -ENOMEM;
	xen->domid = (uint16_t)domid;
	xen->guest.ops = &xen_ops;
	xen->guest.pages = pages;

	err = xen_map(xen, grefs);
	if (err)
		EPRINTF("Xen domain %u: cannot map its ring: %s", domid, strerror(-err));
	if (!err) {
		err = xen_bind(xen, port);
		if (err)
			EPRINTF("Xen domain %u: cannot bind event channel %u: %s", domid, port,
				strerror(-err));
	}
	if (err) {
		xen_close(&xen->guest);
		return err;
	}
	*out = &xen->guest;
	return 0;
}

#else

int
blkif_xen_open(uint32_t domid, const uint32_t *grefs, unsigned int pages, uint32_t port,
	       struct blkif_guest **out)
{
	EPRINTF("this tapdisk was built without Xen's libraries, and serves no ring");
	return -EOPNOTSUPP;
}

#endif
