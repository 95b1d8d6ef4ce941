/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapback-exchange.h - asks a tapdisk, and goes on meanwhile
 *
 * A tapdisk that does not answer must not keep other domains waiting, so nothing here
 * blocks.
 */
#ifndef TAPBACK_EXCHANGE_H
#define TAPBACK_EXCHANGE_H

#include "scheduler.h"
#include "tapdisk-message.h"

struct tapback_exchange;

/*
 * err is the tapdisk's (-errno), or why it has not answered: -ETIMEDOUT, -EPROTO, or
 * -ECONNREFUSED if it has died. why says it in words. The exchange is over.
 */
typedef void (*tapback_answer_t)(void *arg, int err, const char *why,
				 const tapdisk_message_t *answer);

/*
 * Sends message to tapdisk pid. 0, and cb will be called once, by the scheduler, unless
 * the exchange is cancelled; or -errno: -ECONNREFUSED if there is no such tapdisk.
 */
int tapback_ask(scheduler_t *s, pid_t pid, const tapdisk_message_t *message,
		tapback_answer_t cb, void *arg, struct tapback_exchange **exchange);

/* NULL is allowed. Whether the tapdisk does what it was asked is not known then. */
void tapback_cancel(struct tapback_exchange *exchange);

#endif
