/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-end.c - how a migration ends, once its outcome is on stable storage
 *
 * The side that is left serves the guest from the engine meanwhile. The steps, each
 * done before the next:
 *
 *	1. the mark of the image that is left, then the other one's (migrate-mark.c)
 *	2. the state directory forgets the migration (migrate-registry.h)
 *	3. the other image is closed
 *	4. the VBD goes on with the image that is left, without the migration
 *	5. "completed" or "cancelled" is said, and the journal removed if that is wanted
 *
 * A thread does what waits for storage. A mark that cannot be changed is tried again
 * until it can be, and the state stays "completing" or "rolling-back" with the reason
 * "marks"; closing the VBD ends that, and opening the journal takes it up again. Two
 * marks are not waited for: those of a migration that the operator ends all the same
 * (--force), and of the destination of a cancelled one, whose storage may be gone for
 * good: not for longer than a side may be silent. The journal then stays, whatever was
 * wanted, for the mark names it.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tapdisk.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "timeout-math.h"

#include "tapdisk-worker.h"

#include "migrate-plugin.h"
#include "migrate-registry.h"

#define RETRY_NS   (2 * NS_PER_S)
#define POLL_USECS 10000 /* for the last answers of the image that is to be closed */

/* A step that a thread does; it has all that it needs, and may outlive the migration. */
struct end_task {
	struct td_work work;
	struct migrate *m;	    /* NULL: nobody waits for it any more */
	struct mark_change *change; /* or NULL: */
	char uuid[MIGRATE_UUID_SIZE];
	int64_t bytes; /* of the image whose mark it is */
	int err;
};

static enum side
side_of_step(const struct migrate *m)
{
	return m->end.step == END_MARK_LEFT ? m->served : side_other(m->served);
}

bool
migrate_end_is_marked(const struct migrate *m)
{
	return m->end.step > END_MARK_OTHER && !m->end.given_up;
}

/* --- what keeps it ---------------------------------------------------------------------- */

/* The step under way has failed, or does not end: -errno, or 0. */
static int
trouble(const struct migrate *m)
{
	const struct migrate_end *e = &m->end;

	if (e->given_up)
		return e->given_up;
	if (!m->ended || e->step > END_MARK_OTHER)
		return 0;
	if (e->err)
		return e->err;
	return migrate_now_ns(NULL) - e->since_ns >= STALL_NS ? -ETIMEDOUT : 0;
}

/* The mark of an abandoned image, which is not waited for much longer. */
static bool
is_optional(const struct migrate *m)
{
	return m->end.step == END_MARK_OTHER && m->served == SRC;
}

const char *
migrate_end_reason(const struct migrate *m)
{
	const struct migrate_end *e = &m->end;

	/* One that is forced waits for no mark. */
	return e->told || e->forced || is_optional(m) || !trouble(m) ? "" : "marks";
}

json_t *
migrate_end_error(const struct migrate *m)
{
	int err = trouble(m);
	const char *side =
		migrate_side_name(m->end.given_up ? m->end.given_up_side : side_of_step(m));

	if (!err)
		return json_null();
	return migrate_text_printf("the mark of the %s %s cannot be changed: %s", side,
				   migrate_setting(m, side),
				   err == -ETIMEDOUT ? "it does not answer" : strerror(-err));
}

/* --- images ------------------------------------------------------------------------------ */

#ifdef TAPDISK_EXTENDED
/*
 * The VBD goes on with the disk that is left, without us. False: it cannot, because it is
 * being closed, and requests pass through until it is.
 */
static bool
hand_over(struct migrate *m)
{
	const char *name = migrate_side_name(m->served);
	int err = tapdisk_vbd_replace_image(m->driver, m->disk[m->served].image,
					    migrate_setting(m, name));

	if (!err)
		image_disk_hand_over(&m->disk[m->served]);
	else
		DPRINTF("%s: requests pass through to the %s: %s", m->path, name,
			strerror(-err));
	return !err;
}
#else
static bool
hand_over(struct migrate *m)
{
	return false;
}
#endif

/* Of the side that is left behind. */
static bool
is_busy(const struct migrate *m, enum side side)
{
	return m->migration.engine.side[side].inflight || m->migration.copier.active;
}

/* False: it has answers to give yet. One that does not answer lingers. */
static bool
close_other(struct migrate *m)
{
	enum side other = side_other(m->served);

	if (m->over)
		return true;
	if (is_busy(m, other) && !m->migration.engine.side[other].stalled)
		return false;
	if (!is_busy(m, other))
		image_disk_close(&m->disk[other]);
	return true;
}

static void
settle(struct migrate *m)
{
	struct migrate_end *e = &m->end;

	if (e->settled || e->settling || e->step != END_STEPS || !m->driver)
		return;
	/* Closing lends the loop. */
	e->settling = true;
	e->settled = close_other(m);
	e->settling = false;
	if (e->settled)
		e->told = !hand_over(m);
	else
		tapdisk_server_event_set_timeout(m->wake, TV_USECS(POLL_USECS));
}

/* --- the steps ---------------------------------------------------------------------------- */

static void begin_step(struct migrate *m);

static void
next_step(struct migrate *m)
{
	struct migrate_end *e = &m->end;

	e->err = 0;
	e->since_ns = migrate_now_ns(NULL);
	if (++e->step < END_STEPS)
		begin_step(m);
	else
		settle(m);
}

/* Whether what cannot be done is left as it is. */
static bool
may_give_up(const struct migrate *m)
{
	const struct migrate_end *e = &m->end;

	return e->forced || e->step == END_FORGET ||
	       (is_optional(m) && migrate_now_ns(NULL) - e->since_ns >= STALL_NS);
}

/* What is under way goes on by itself, and nobody waits for it. */
static void
give_up(struct migrate *m)
{
	struct migrate_end *e = &m->end;
	int err = trouble(m);

	if (e->step != END_FORGET && !e->given_up) {
		e->given_up_side = side_of_step(m);
		e->given_up = err ? err : -ETIMEDOUT;
		EPRINTF("%s: ends, though the mark of the %s %s could not be changed: %s. The "
			"journal stays",
			m->path, migrate_side_name(e->given_up_side),
			migrate_setting(m, migrate_side_name(e->given_up_side)),
			strerror(-e->given_up));
	}
	if (e->task)
		e->task->m = NULL;
	e->task = NULL;
	next_step(m);
}

/* By a thread; so is what a file's close may wait for. */
static void
task_run(struct td_work *work)
{
	struct end_task *task = list_entry(work, struct end_task, work);

	task->err =
		task->change ? migrate_mark_change(task->change) : registry_remove(task->uuid);
	if (task->change)
		task->bytes = migrate_mark_change_bytes(task->change);
	migrate_mark_change_free(task->change);
}

static void
step_failed(struct migrate *m, int err)
{
	struct migrate_end *e = &m->end;

	if (err != e->err && e->step != END_FORGET)
		EPRINTF("%s: it has ended, but the mark of the %s %s cannot be changed: %s",
			m->path, migrate_side_name(side_of_step(m)),
			migrate_setting(m, migrate_side_name(side_of_step(m))), strerror(-err));
	e->err = err;
	e->retry_ns = migrate_now_ns(NULL) + RETRY_NS;
	if (may_give_up(m))
		give_up(m);
}

static void
task_done(struct td_work *work)
{
	struct end_task *task = list_entry(work, struct end_task, work);
	struct migrate *m = task->m;
	int64_t bytes = task->bytes;
	int err = task->err;

	free(task);
	if (!m)
		return;
	if (m->end.step == END_MARK_OTHER && bytes > 0)
		m->end.left_bytes = (uint64_t)bytes;
	m->end.task = NULL;
	if (err)
		step_failed(m, err);
	else
		next_step(m);
}

static struct end_task *
task_new(struct migrate *m)
{
	struct end_task *task = calloc(1, sizeof(*task));

	if (!task)
		return NULL;
	*task = (struct end_task){ .work = { .run = task_run, .done = task_done }, .m = m };
	memcpy(task->uuid, m->uuid, sizeof(task->uuid));
	if (m->end.step == END_FORGET)
		return task;
	task->change = migrate_mark_change_new(m, side_of_step(m));
	if (task->change)
		return task;
	free(task);
	return NULL;
}

static void
begin_step(struct migrate *m)
{
	m->end.task = task_new(m);
	if (m->end.task)
		tapdisk_worker_submit(&m->end.task->work);
	else
		step_failed(m, -ENOMEM);
}

/* --- from outside --------------------------------------------------------------------------
 */

void
migrate_end_begin(struct migrate *m)
{
	m->ended = true;
	m->end.since_ns = migrate_now_ns(NULL);
	begin_step(m);
}

void
migrate_end_go_on(struct migrate *m)
{
	struct migrate_end *e = &m->end;

	if (e->stopped)
		return;
	if (e->step == END_STEPS)
		settle(m);
	else if (may_give_up(m) && trouble(m))
		give_up(m);
	else if (!e->task && migrate_now_ns(NULL) >= e->retry_ns)
		begin_step(m);
}

int
migrate_end_force(struct migrate *m)
{
	if (m->end.step > END_MARK_OTHER)
		return -EALREADY;
	m->end.forced = true;
	if (trouble(m))
		give_up(m);
	return 0;
}

/* Not for a try that has failed: whoever opens the journal next makes another one. */
void
migrate_end_stop(struct migrate *m)
{
	struct migrate_end *e = &m->end;

	while (e->settling || (e->task && migrate_now_ns(NULL) - e->since_ns < STALL_NS))
		tapdisk_server_iterate();
	if (e->task)
		e->task->m = NULL;
	e->task = NULL;
	e->stopped = true;
	e->told |= e->step == END_STEPS;
}
