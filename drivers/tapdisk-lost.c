/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-lost.h"

#include "tapdisk-log.h"
#include "tapdisk-server.h"
#include "timeout-math.h"

static struct list_head lost = { &lost, &lost };

/* The minor goes on, closed, with another VBD; this one has what does not answer. */
static void
lose(td_vbd_t *vbd)
{
	td_vbd_t *next = tapdisk_vbd_create(vbd->minor);

	if (!next) {
		EPRINTF("VBD %u: cannot be given up: out of memory", vbd->minor);
		return;
	}
	EPRINTF("VBD %u: closed by force, though %s does not answer: it stays open, and "
		"locked, until it does, or this process ends",
		vbd->minor, vbd->name);
	next->lock_fd = vbd->lock_fd;
	vbd->lock_fd = -1;
	/* There is always one, or the process would end. */
	tapdisk_server_add_vbd(next);
	tapdisk_server_remove_vbd(vbd);
	list_add_tail(&vbd->next, &lost);
	tapdisk_vbd_lost(vbd);
}

static void
lost_time_out(event_id_t id, char mode, void *private)
{
	td_vbd_t *vbd = private;

	tapdisk_lost_unwatch(vbd);
	if (tapdisk_vbd_may_close(vbd))
		lose(vbd);
}

int
tapdisk_lost_watch(td_vbd_t *vbd)
{
	int event;

	if (vbd->lost_event)
		return 0;
	event = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_SECS(LOST_SECONDS),
					      lost_time_out, vbd);
	if (event < 0)
		return event;
	vbd->lost_event = event;
	return 0;
}

void
tapdisk_lost_unwatch(td_vbd_t *vbd)
{
	if (vbd->lost_event)
		tapdisk_server_unregister_event(vbd->lost_event);
	vbd->lost_event = 0;
}

bool
tapdisk_lost_run(void)
{
	td_vbd_t *vbd;

	list_for_each_entry(vbd, &lost, next) {
		if (vbd->busy || !tapdisk_vbd_has_work(vbd))
			continue;
		/* It may lend the loop, and others of the list go meanwhile. */
		tapdisk_vbd_run(vbd);
		if (!vbd->name) {
			list_del(&vbd->next);
			tapdisk_vbd_free(vbd);
		}
		return true;
	}
	return false;
}
