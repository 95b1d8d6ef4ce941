/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * watch.h - for how long something has made no progress
 */
#ifndef MIGRATE_WATCH_H
#define MIGRATE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct watch {
	uint64_t count; /* of steps, when it was looked at last */
	uint64_t since_ns;
};

/*
 * Looks at it. count is how many steps it has done ever; it has no reason to do another
 * while it is at rest. Returns for how many ns it has done none though it has a reason.
 * The time for which we did not look (absent_ns) does not count.
 */
static inline uint64_t
watch_look(struct watch *w, uint64_t count, bool rests, uint64_t now_ns, uint64_t absent_ns)
{
	w->since_ns += absent_ns;
	if (rests || count != w->count || w->since_ns > now_ns)
		*w = (struct watch){ count, now_ns };
	return now_ns - w->since_ns;
}

#endif
