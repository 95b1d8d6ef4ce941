/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapback-vbd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../control/libtapctl.h"
#include "list.h"
#include "log-limit.h"
#include "tapback-device.h"
#include "tapback-exchange.h"
#include "tapback-keys.h"
#include "tapback-store.h"
#include "tapdisk-log.h"
#include "tapdisk-ring.h"
#include "tapdisk.h"
#include "timeout-math.h"

/* What is watched; a frontend's token is FRONT_TOKEN/<domid>/<devid>. */
#define ROOT_TOKEN    "vbd3"
#define TWIN_TOKEN    "vbd"
#define RELEASE_TOKEN "released"
#define FRONT_TOKEN   "front"

#define PATH_KEY "physical-device-path"

#define MAX_STEPS 16 /* in one look, which settles after a few */
#define RETRY	  TV_SECS(1)

/* There if Linux has xen-blkback. */
#define BLKBACK "/sys/bus/xen-backend/drivers/vbd"

/* Smaller ones cost a write of zeroes and give no space back. */
#define DISCARD_GRANULARITY 4096

struct vbd {
	struct list_head next;
	uint32_t domid, devid;
	char dir[64];  /* in xenstore */
	char twin[64]; /* where xl looks; the same if xl's is what is served */
	char *front;   /* the guest's directory, watched */
	bool changed;

	pid_t pid; /* of its tapdisk; 0: none known */
	int minor;
	bool ready;
	int pidfd; /* -1: not watched */
	event_id_t death;

	enum tapback_ring ring;
	tapdisk_message_blkif_t how; /* it is, or is being, connected */
	bool resuming;		     /* being connected: the guest has been served before */
	tapdisk_message_image_t image;
	struct tapback_exchange *exchange; /* what is being asked */

	event_id_t retry;
	char complaint[256];  /* the last one: it is not repeated each second */
	struct log_limit log; /* of what the guest can have us log */
};

static struct list_head vbds = { &vbds, &vbds };
static scheduler_t *scheduler;
static event_id_t look_again; /* at devices that are not in vbds */

/* A line in the log about the device, unless there are too many. level: TLOG_. */
static void
say(struct vbd *vbd, int level, const char *text)
{
	struct log_limit *before = tapdisk_log_limit(&vbd->log);

	tlog_syslog(level, "domain %u, device %u: %s", vbd->domid, vbd->devid, text);
	tapdisk_log_limit(before);
}

static void __attribute__((format(printf, 2, 3)))
complain(struct vbd *vbd, const char *format, ...)
{
	char text[sizeof(vbd->complaint)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (strcmp(text, vbd->complaint))
		say(vbd, TLOG_WARN, text);
	memcpy(vbd->complaint, text, sizeof(text));
}

static void
again(struct vbd *vbd)
{
	scheduler_event_set_timeout(scheduler, vbd->retry, RETRY);
}

/* --- what there is ---------------------------------------------------------------- */

static void
retry(event_id_t id, char mode, void *private)
{
	struct vbd *vbd = private;

	scheduler_event_set_timeout(scheduler, id, TV_INF);
	vbd->changed = true;
}

static struct vbd *
find_vbd(uint32_t domid, uint32_t devid)
{
	struct vbd *vbd;

	list_for_each_entry(vbd, &vbds, next)
		if (vbd->domid == domid && vbd->devid == devid)
			return vbd;
	return NULL;
}

static void
add_vbd(uint32_t domid, uint32_t devid, const char *root)
{
	struct vbd *vbd = calloc(1, sizeof(*vbd));

	if (vbd)
		vbd->retry = scheduler_register_event(scheduler, SCHEDULER_POLL_TIMEOUT, -1,
						      TV_INF, retry, vbd);
	if (!vbd || vbd->retry < 0) {
		EPRINTF("domain %u, device %u: no memory to serve it", domid, devid);
		free(vbd);
		return;
	}
	vbd->domid = domid;
	vbd->devid = devid;
	vbd->changed = true;
	vbd->pidfd = -1;
	snprintf(vbd->dir, sizeof(vbd->dir), "%s/%u/%u", root, domid, devid);
	snprintf(vbd->twin, sizeof(vbd->twin), TAPBACK_TWIN "/%u/%u", domid, devid);
	list_add_tail(&vbd->next, &vbds);
}

/* xl has made its directory, looks at its state there, and removes it. */
static bool
is_xls(const struct vbd *vbd)
{
	return !strcmp(vbd->dir, vbd->twin);
}

static void
watch_front(struct vbd *vbd, char *front)
{
	char token[64], path[3072];

	snprintf(token, sizeof(token), FRONT_TOKEN "/%u/%u", vbd->domid, vbd->devid);
	if (vbd->front) {
		snprintf(path, sizeof(path), "%s/state", vbd->front);
		tapback_store_unwatch(path, token);
	}
	free(vbd->front);
	vbd->front = front;
	if (front) {
		snprintf(path, sizeof(path), "%s/state", front);
		tapback_store_watch(path, token);
	}
}

static void
unwatch_tapdisk(struct vbd *vbd)
{
	if (vbd->pidfd < 0)
		return;
	scheduler_unregister_event(scheduler, vbd->death);
	close(vbd->pidfd);
	vbd->pidfd = -1;
}

static void
free_vbd(struct vbd *vbd)
{
	unwatch_tapdisk(vbd);
	tapback_cancel(vbd->exchange);
	scheduler_unregister_event(scheduler, vbd->retry);
	list_del(&vbd->next);
	free(vbd->front);
	free(vbd);
}

/*
 * Its ring is disconnected, and its directory has been removed; or is not whole yet: when
 * the script goes on, it is found anew.
 */
static void
forget(struct vbd *vbd)
{
	watch_front(vbd, NULL);
	tapback_store_tidy(vbd->dir);
	free_vbd(vbd);
}

/* --- reading ---------------------------------------------------------------------- */

static bool
is_at(const char *dir, const char *key, const char *value)
{
	char *text = tapback_store_read(dir, key);
	bool same = text && !strcmp(text, value);

	free(text);
	return same;
}

static enum xenbus_state
state_of(const char *dir)
{
	char *text = tapback_store_read(dir, "state");
	enum xenbus_state state = tapback_state(text);

	free(text);
	return state;
}

/* Whether it is our script that xl calls for that device in backend/vbd. */
static bool
is_ours(const char *twin)
{
	char *script = tapback_store_read(twin, "script");
	const char *name = script ? strrchr(script, '/') : NULL;
	bool ours = script && !strcmp(name ? name + 1 : script, TAPBACK_SCRIPT);

	free(script);
	return ours;
}

/* Another tapdisk takes the place of one that has died, and of no other. */
static void
take_tapdisk(struct vbd *vbd, pid_t pid, int minor)
{
	char *asked;

	if (vbd->pid == pid && vbd->minor == minor)
		return;
	if (vbd->ring == TAPBACK_RING_CONNECTED && vbd->pidfd >= 0) {
		complain(vbd, "tapdisk %d lives and has the guest's ring: %d cannot have it",
			 vbd->pid, pid);
		return;
	}
	/* The key is there if one was ever asked to connect. */
	asked = tapback_store_read(vbd->dir, "kthread-pid");
	if (tapback_store_in_doubt())
		return;
	vbd->pid = pid;
	vbd->minor = minor;
	vbd->ring = asked ? TAPBACK_RING_UNKNOWN : TAPBACK_RING_NONE;
	free(asked);
}

/* Which tapdisk the script says it is. */
static void
read_tapdisk(struct vbd *vbd)
{
	char *path = tapback_store_read(vbd->dir, PATH_KEY);
	pid_t pid;
	int minor;

	vbd->ready = path && is_at(vbd->dir, "hotplug-status", "connected");
	if (path && tapback_device_path(path, tap_ctl_run_dir(), &pid, &minor)) {
		take_tapdisk(vbd, pid, minor);
	} else if (path) {
		complain(vbd, PATH_KEY " is %s and no %s/nbd<pid>.<minor>", path,
			 tap_ctl_run_dir());
		vbd->ready = false;
	}
	free(path);
}

static char *
read_front(void *front, const char *key)
{
	return tapback_store_read(front, key);
}

/* 0 or -EINVAL. */
static int
read_ring(struct vbd *vbd, tapdisk_message_blkif_t *ring)
{
	const char *why;
	int err = tapback_front_ring(read_front, vbd->front, ring, &why);

	if (err)
		complain(vbd, "what the guest says as %s is not valid", why);
	ring->domid = vbd->domid;
	ring->devid = vbd->devid;
	return err;
}

static struct tapback_view
view(struct vbd *vbd)
{
	tapdisk_message_blkif_t ring;
	struct tapback_view v = { .front = XENBUS_GONE, .back = XENBUS_GONE };

	if (vbd->front) {
		v.front = state_of(vbd->front);
		v.back = state_of(vbd->dir);
		if (v.back == XENBUS_GONE) /* the script need not write one */
			v.back = XENBUS_INITIALISING;
	}
	read_tapdisk(vbd);
	if (vbd->ring == TAPBACK_RING_CONNECTED && v.front == XENBUS_INITIALISED &&
	    !read_ring(vbd, &ring) && memcmp(&ring, &vbd->how, sizeof(ring)))
		vbd->ring = TAPBACK_RING_STALE;
	v.ring = vbd->ring;
	v.ready = vbd->ready;
	v.closing = is_at(vbd->dir, "online", "0") ||
		    (is_ours(vbd->twin) && is_at(vbd->twin, "online", "0"));
	return v;
}

/* --- the tapdisk -------------------------------------------------------------------- */

static void
died(event_id_t id, char mode, void *private)
{
	struct vbd *vbd = private;

	complain(vbd, "tapdisk %d has died; open the disk again, and write its socket to %s/%s",
		 vbd->pid, vbd->dir, PATH_KEY);
	unwatch_tapdisk(vbd);
	vbd->ring = TAPBACK_RING_UNKNOWN;
	vbd->changed = true;
}

/* So that its death is noticed; where the kernel cannot tell, xenstore must. */
static void
watch_tapdisk(struct vbd *vbd)
{
	unwatch_tapdisk(vbd);
	vbd->pidfd = (int)syscall(SYS_pidfd_open, vbd->pid, 0);
	if (vbd->pidfd < 0)
		return;
	vbd->death = scheduler_register_event(scheduler, SCHEDULER_POLL_READ_FD, vbd->pidfd,
					      TV_INF, died, vbd);
}

/* The exchange could not be had, or its answer was an error. */
static void
failed(struct vbd *vbd, const char *what, int err, const char *why)
{
	complain(vbd, "tapdisk %d, minor %d: cannot %s: %s", vbd->pid, vbd->minor, what,
		 err == -ECONNREFUSED ? "it is not there" : why);
	again(vbd);
}

static void
ask(struct vbd *vbd, uint16_t type, tapback_answer_t answered)
{
	tapdisk_message_t message = { .type = type, .cookie = (uint16_t)vbd->minor };
	int err;

	if (type != TAPDISK_MESSAGE_DISK_INFO)
		message.u.blkif = vbd->how;
	err = tapback_ask(scheduler, vbd->pid, &message, answered, vbd, &vbd->exchange);
	if (err)
		answered(vbd, err, strerror(-err), NULL);
}

/* What a dead tapdisk still owed the guest on its last ring is of no use with another. */
static void
forget_ring(const struct vbd *vbd)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/" TAPDISK_RING_PREFIX "%u.%u", tap_ctl_run_dir(),
		 vbd->domid, vbd->devid);
	if (unlink(path) && errno != ENOENT)
		PERROR("%s", path);
}

static void
disconnected(void *arg, int err, const char *why, const tapdisk_message_t *answer)
{
	struct vbd *vbd = arg;

	vbd->exchange = NULL;
	vbd->changed = true;
	/* What a dead one had is gone with it, and so is a disk that was closed. */
	if (!err || err == -ENODEV || err == -ECONNREFUSED) {
		vbd->ring = TAPBACK_RING_NONE;
		unwatch_tapdisk(vbd);
		forget_ring(vbd);
	} else {
		vbd->changed = false;
		failed(vbd, "disconnect", err, why);
	}
}

static void
disconnect(struct vbd *vbd)
{
	vbd->how.domid = vbd->domid;
	vbd->how.devid = vbd->devid;
	if (vbd->pid)
		ask(vbd, TAPDISK_MESSAGE_XENBLKIF_DISCONNECT, disconnected);
	else
		vbd->ring = TAPBACK_RING_NONE;
}

static void
connected(void *arg, int err, const char *why, const tapdisk_message_t *answer)
{
	struct vbd *vbd = arg;
	char text[80];

	vbd->exchange = NULL;
	if (err && !(err == -EALREADY && vbd->resuming)) {
		/* Whatever it has said, it may do so yet. */
		vbd->ring = err == -ESTALE ? TAPBACK_RING_STALE : TAPBACK_RING_UNKNOWN;
		failed(vbd, "connect", err, why);
		return;
	}
	snprintf(text, sizeof(text), "%s tapdisk %d, minor %d",
		 err		 ? "is with"
		 : vbd->resuming ? "goes on with"
				 : "connected to",
		 vbd->pid, vbd->minor);
	say(vbd, TLOG_INFO, text);
	vbd->ring = TAPBACK_RING_CONNECTED;
	vbd->changed = true;
	*vbd->complaint = '\0';
	watch_tapdisk(vbd);
}

/* False: they could not be, and are tried again unless the device has gone. */
static bool
write_keys(struct vbd *vbd, const struct tapback_pair *pairs, unsigned int n)
{
	const int err = tapback_store_write(vbd->dir, "frontend", pairs, n);

	if (err && err != -ENOENT) {
		complain(vbd, "%s cannot be written in xenstore: %s", vbd->dir, strerror(-err));
		again(vbd);
	}
	return !err;
}

static void
told_size(void *arg, int err, const char *why, const tapdisk_message_t *answer)
{
	struct vbd *vbd = arg;
	char sectors[24], pid[16];
	const struct tapback_pair pair = { "kthread-pid", pid };

	vbd->exchange = NULL;
	if (err) {
		failed(vbd, "ask for the disk's size", err, why);
		return;
	}
	vbd->image = answer->u.image;
	tapback_store_trust();
	snprintf(sectors, sizeof(sectors), "%" PRIu64, vbd->image.sectors);
	if (!vbd->resuming) {
		forget_ring(vbd);
	} else if (!is_at(vbd->dir, "sectors", sectors)) {
		failed(vbd, "go on", -EINVAL,
		       tapback_store_in_doubt() ? "xenstore does not say what size it has"
						: "it has a disk of another size");
		return;
	}
	/* Only what changes is written: each write has us look again, at once. */
	snprintf(pid, sizeof(pid), "%d", vbd->pid);
	if (!is_at(vbd->dir, pair.key, pid) && !write_keys(vbd, &pair, 1))
		return; /* whoever comes after us must know that it was asked */
	ask(vbd, TAPDISK_MESSAGE_XENBLKIF_CONNECT, connected);
}

static void
connect_ring(struct vbd *vbd, bool resuming)
{
	vbd->resuming = resuming;
	if (!read_ring(vbd, &vbd->how))
		ask(vbd, TAPDISK_MESSAGE_DISK_INFO, told_size);
	else if (tapback_store_in_doubt())
		again(vbd);
}

/* --- states ------------------------------------------------------------------------- */

struct keys {
	struct tapback_pair pairs[12];
	char values[12][24];
	unsigned int n;
};

static void
add_key(struct keys *keys, const char *key, uint64_t value)
{
	char *text = keys->values[keys->n];

	snprintf(text, sizeof(keys->values[0]), "%" PRIu64, value);
	keys->pairs[keys->n++] = (struct tapback_pair){ key, text };
}

/* What a frontend must know when it finds us in the state. Whether it can. */
static bool
enter(struct vbd *vbd, enum xenbus_state state)
{
	const tapdisk_message_image_t *image = &vbd->image;
	const bool readonly = !is_at(vbd->dir, "mode", "w") || image->info & TD_INFO_READONLY;
	struct keys keys = { .n = 0 };

	if (tapback_store_in_doubt())
		return false;
	if (state == XENBUS_INIT_WAIT)
		add_key(&keys, "max-ring-page-order", RING_MAX_ORDER);
	if (state == XENBUS_CONNECTED) {
		add_key(&keys, "sectors", image->sectors);
		add_key(&keys, "sector-size", image->sector_size);
		add_key(&keys, "info", image->info | (readonly ? TD_INFO_READONLY : 0));
		add_key(&keys, "feature-barrier", 1);
		add_key(&keys, "feature-flush-cache", 1);
		add_key(&keys, "feature-max-indirect-segments", RING_MAX_SEGMENTS);
		add_key(&keys, "feature-discard", !readonly);
		add_key(&keys, "discard-granularity", DISCARD_GRANULARITY);
		add_key(&keys, "discard-alignment", 0);
		add_key(&keys, "discard-secure", 0);
	}
	add_key(&keys, "state", state);
	return write_keys(vbd, keys.pairs, keys.n);
}

/*
 * The state of a device in backend/vbd, of which ours is back. A new one is xen-blkback's
 * to answer for, if that is there: Linux leaves alone what has another state already.
 * False: it is to be tried again.
 */
static bool
answer_twin(const char *twin, enum xenbus_state back)
{
	const enum xenbus_state state = tapback_twin_next(state_of(twin), back);
	struct keys keys = { .n = 0 };

	if (state == XENBUS_UNKNOWN || (state == XENBUS_INIT_WAIT && !access(BLKBACK, F_OK)))
		return true;
	add_key(&keys, "state", state);
	return tapback_store_write(twin, "frontend", keys.pairs, keys.n) != -EAGAIN;
}

/* --- looking ------------------------------------------------------------------------ */

/* Takes one step. Whether there may be another at once. */
static bool
step(struct vbd *vbd)
{
	const struct tapback_view v = view(vbd);
	const struct tapback_step next = tapback_next(&v);

	/* The next look may see more. */
	if (tapback_store_in_doubt()) {
		again(vbd);
		return false;
	}
	switch (next.action) {
	case TAPBACK_DISCONNECT:
		disconnect(vbd);
		break;
	case TAPBACK_CONNECT:
	case TAPBACK_RESUME:
		connect_ring(vbd, next.action == TAPBACK_RESUME);
		return false;
	case TAPBACK_ENTER:
		if (!enter(vbd, next.state)) {
			again(vbd);
			return false;
		}
		break;
	case TAPBACK_REST:
		if (is_xls(vbd))
			return false;
		if (is_ours(vbd->twin)) {
			if (!answer_twin(vbd->twin, v.back))
				again(vbd);
		} else if (v.front == XENBUS_GONE && v.back == XENBUS_CLOSED &&
			   !tapback_store_has_domain(vbd->domid))
			tapback_store_remove(vbd->dir); /* nobody else will */
		return false;
	}
	return !vbd->exchange;
}

static void
look(struct vbd *vbd)
{
	char *front;

	vbd->changed = false;
	tapback_store_trust();
	front = tapback_store_read(vbd->dir, "frontend");
	if (tapback_store_in_doubt()) {
		again(vbd);
		return;
	}
	if (!front || !vbd->front || strcmp(front, vbd->front))
		watch_front(vbd, front);
	else
		free(front);
	for (int i = 0; i < MAX_STEPS && step(vbd); i++)
		;
	if (!vbd->front && vbd->ring == TAPBACK_RING_NONE && !vbd->exchange)
		forget(vbd);
}

void
tapback_vbds_look(void)
{
	struct vbd *vbd, *next;

	list_for_each_entry_safe(vbd, next, &vbds, next)
		if (vbd->changed && !vbd->exchange)
			look(vbd);
}

/* --- changes ------------------------------------------------------------------------ */

static void
twin_changed(uint32_t domid, uint32_t devid)
{
	char twin[64], *path;

	snprintf(twin, sizeof(twin), TAPBACK_TWIN "/%u/%u", domid, devid);
	tapback_store_trust();
	if (!is_ours(twin)) {
		if (tapback_store_in_doubt())
			scheduler_event_set_timeout(scheduler, look_again, RETRY);
		return;
	}
	path = tapback_store_read(twin, "physical-device-path");
	if (path)
		add_vbd(domid, devid, TAPBACK_TWIN);
	else if (tapback_store_in_doubt() || !answer_twin(twin, XENBUS_GONE))
		scheduler_event_set_timeout(scheduler, look_again, RETRY);
	free(path);
}

void
tapback_vbds_changed(const char *path, const char *token)
{
	uint32_t domid, devid;
	struct vbd *vbd;

	if (!strcmp(token, RELEASE_TOKEN)) {
		list_for_each_entry(vbd, &vbds, next)
			vbd->changed = true;
		return;
	}
	if (strcmp(token, ROOT_TOKEN) && strcmp(token, TWIN_TOKEN)) { /* a frontend's */
		if (!tapback_node(token, FRONT_TOKEN, &domid, &devid))
			return;
	} else if (!tapback_node(path, strcmp(token, TWIN_TOKEN) ? TAPBACK_ROOT : TAPBACK_TWIN,
				 &domid, &devid)) {
		return;
	}
	vbd = find_vbd(domid, devid);
	if (vbd)
		vbd->changed = true;
	else if (!strcmp(token, ROOT_TOKEN))
		add_vbd(domid, devid, TAPBACK_ROOT);
	else if (!strcmp(token, TWIN_TOKEN))
		twin_changed(domid, devid);
}

/* Each device that is there below root, as if it had just come. */
static void
scan(const char *root, const char *token)
{
	unsigned int n_domains, n_devices;
	char **domains;
	bool whole;

	tapback_store_trust();
	domains = tapback_store_list(root, &n_domains);
	whole = !tapback_store_in_doubt();
	for (unsigned int i = 0; i < n_domains; i++) {
		char dir[3072], path[3072];
		char **devices;

		snprintf(dir, sizeof(dir), "%s/%s", root, domains[i]);
		tapback_store_trust();
		devices = tapback_store_list(dir, &n_devices);
		whole &= !tapback_store_in_doubt();
		for (unsigned int j = 0; j < n_devices; j++)
			if (snprintf(path, sizeof(path), "%s/%s", dir, devices[j]) <
			    (int)sizeof(path))
				tapback_vbds_changed(path, token);
		free(devices);
	}
	free(domains);
	if (!whole)
		scheduler_event_set_timeout(scheduler, look_again, RETRY);
}

/* For devices that could not be read or answered: nothing is kept of them here. */
static void
look_at_all(event_id_t id, char mode, void *private)
{
	scheduler_event_set_timeout(scheduler, id, TV_INF);
	scan(TAPBACK_ROOT, ROOT_TOKEN);
	scan(TAPBACK_TWIN, TWIN_TOKEN);
}

int
tapback_vbds_start(scheduler_t *s)
{
	int err;

	scheduler = s;
	look_again = scheduler_register_event(s, SCHEDULER_POLL_TIMEOUT, -1, TV_INF,
					      look_at_all, NULL);
	if (look_again < 0)
		return look_again;
	err = tapback_store_watch(TAPBACK_ROOT, ROOT_TOKEN);
	if (!err)
		err = tapback_store_watch(TAPBACK_TWIN, TWIN_TOKEN);
	if (!err)
		err = tapback_store_watch("@releaseDomain", RELEASE_TOKEN);
	if (err)
		return err;
	scan(TAPBACK_ROOT, ROOT_TOKEN);
	scan(TAPBACK_TWIN, TWIN_TOKEN);
	return 0;
}

void
tapback_vbds_stop(void)
{
	struct vbd *vbd, *next;

	list_for_each_entry_safe(vbd, next, &vbds, next)
		free_vbd(vbd);
	scheduler_unregister_event(scheduler, look_again);
}
