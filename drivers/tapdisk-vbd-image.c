/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-vbd-image.c - which image a VBD has, and a migration in its place
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "tapdisk-driver.h"
#include "tapdisk-image.h"
#include "tapdisk-interface.h"
#include "tapdisk-loop.h"
#include "tapdisk-server.h"
#include "tapdisk-vbd.h"
#include "timeout-math.h"

/* --- what a pause has closed ---------------------------------------------------- */

/* Lends the loop. */
struct td_file_id
tapdisk_vbd_identify(td_image_t *image)
{
	int fd = td_get_fd(image);
	struct stat st = { 0 };
	bool known;

	tapdisk_loop_lend();
	known = fd >= 0 && !fstat(fd, &st);
	tapdisk_loop_take_back();
	return (struct td_file_id){
		.known = known,
		.dev = S_ISBLK(st.st_mode) ? 0 : st.st_dev,
		.ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino,
		.rdev = S_ISBLK(st.st_mode) ? st.st_rdev : 0,
	};
}

/* Whether that is the image that was closed by the pause. */
int
tapdisk_vbd_check_same(td_vbd_t *vbd, td_image_t *image)
{
	const struct td_file_id *was = &vbd->paused, is = tapdisk_vbd_identify(image);

	if (!was->known || !is.known ||
	    (was->dev == is.dev && was->ino == is.ino && was->rdev == is.rdev))
		return 0;
	EPRINTF("VBD %u: %s is not the image that was paused, but another one that has got its "
		"name; if that is wanted, name it: -a %s",
		vbd->minor, vbd->name, vbd->name);
	return -ESTALE;
}

/* --- a migration begins ------------------------------------------------------- */

void
tapdisk_vbd_lose_claim(td_vbd_t *vbd)
{
	if (vbd->claim)
		vbd->claim->vbd = NULL;
	vbd->claim = NULL;
}

int
tapdisk_vbd_claim(td_vbd_t *vbd, struct td_vbd_claim *claim)
{
	if (vbd->claim) {
		EPRINTF("VBD %u: a migration of it is being started by somebody else",
			vbd->minor);
		return -EALREADY;
	}
	if (!vbd->name) {
		EPRINTF("VBD %u is not open", vbd->minor);
		return -EINVAL;
	}
	if (tapdisk_vbd_check_busy(vbd))
		return -EBUSY;
	if (vbd->state || vbd->successor) {
		EPRINTF("VBD %u does not run (state %#x): is it paused, or being paused or "
			"closed?",
			vbd->minor, vbd->state);
		return -EBUSY;
	}
	claim->vbd = vbd;
	vbd->claim = claim;
	return 0;
}

void
tapdisk_vbd_unclaim(struct td_vbd_claim *claim)
{
	if (claim->vbd)
		tapdisk_vbd_lose_claim(claim->vbd);
}

bool
tapdisk_vbd_may_close(const td_vbd_t *vbd)
{
	return vbd->busy == vbd->starting;
}

static bool
vbd_is_drained(const td_vbd_t *vbd)
{
	return list_empty(&vbd->pending_requests) && list_empty(&vbd->completed_requests);
}

/* Only ends the loop's wait: the time is up. */
static void
vbd_time_is_up(event_id_t id, char mode, void *private)
{
	tapdisk_server_event_set_timeout(id, TV_INF);
}

/* New requests are held. 0, or -errno. */
static int
vbd_drain(td_vbd_t *vbd, unsigned int ms)
{
	const int64_t deadline = scheduler_now() + ms * INT64_C(1000000);
	event_id_t timer = tapdisk_server_register_event(
		SCHEDULER_POLL_TIMEOUT, -1, TV_USECS(ms * 1000L), vbd_time_is_up, NULL);

	if (timer < 0)
		return timer;
	while (!vbd_is_drained(vbd) && scheduler_now() < deadline)
		tapdisk_server_iterate();
	tapdisk_server_unregister_event(timer);
	return vbd_is_drained(vbd) ? 0 : -ETIMEDOUT;
}

int
tapdisk_vbd_switch(td_vbd_t *vbd, td_image_t *successor, const char *name, unsigned int hold_ms,
		   void (*switched)(td_image_t *))
{
	const int64_t began = scheduler_now();
	char *copy = strdup(name);
	int err;

	if (!copy)
		return -ENOMEM;
	if (tapdisk_vbd_check_fits(vbd, successor)) {
		free(copy);
		return -EINVAL;
	}
	vbd->held = true;
	err = vbd_drain(vbd, hold_ms);
	if (!err && !vbd->claim) {
		EPRINTF("VBD %u: is being closed", vbd->minor);
		err = -ECANCELED;
	}
	if (!err) {
		DPRINTF("VBD %u: goes on with %s in place of %s; requests were held for %lld "
			"us",
			vbd->minor, name, vbd->name,
			(long long)(scheduler_now() - began) / 1000);
		free(vbd->name);
		vbd->name = copy;
		vbd->image = successor;
		switched(successor);
	} else {
		free(copy);
	}
	vbd->held = false;
	return err;
}
