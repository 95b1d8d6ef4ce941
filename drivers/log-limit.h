/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log-limit.h - how often somebody else may have us log something
 *
 * LOG_LIMIT_BURST lines at once, then one every LOG_LIMIT_SECONDS. What is left out is
 * counted, and said with the next line. Zeroed, a limit has not been used.
 */
#ifndef LOG_LIMIT_H
#define LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define LOG_LIMIT_BURST	  10
#define LOG_LIMIT_SECONDS 10
#define LOG_LIMIT_LINE	  (LOG_LIMIT_SECONDS * INT64_C(1000000000)) /* ns */

struct log_limit {
	int64_t paid_until; /* by the lines so far, each of which costs LOG_LIMIT_LINE; ns */
	unsigned int left_out;
};

/* Whether one more line may be logged; now: ns of a clock that does not go back. */
static inline bool
log_limit_pass(struct log_limit *limit, int64_t now)
{
	if (limit->paid_until < now)
		limit->paid_until = now;
	if (limit->paid_until - now > (LOG_LIMIT_BURST - 1) * LOG_LIMIT_LINE) {
		limit->left_out++;
		return false;
	}
	limit->paid_until += LOG_LIMIT_LINE;
	return true;
}

#endif
