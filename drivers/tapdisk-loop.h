/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-loop.h - which thread runs the loop
 *
 * One thread at a time runs the loop: it alone touches what the loop's turns
 * touch. It lends the loop before a call that may wait (open, fsync, flock,
 * close ...): a spare thread then runs the turns, and every other disk is served
 * as before. After the call the thread takes the loop back, at the end of the turn
 * that is under way, and goes on where it was:
 *
 *	tapdisk_loop_lend();
 *	fd = open(name, O_RDWR | O_CLOEXEC);
 *	tapdisk_loop_take_back();
 *
 * Between the two it may touch only what is its own: arguments, locals, objects
 * that nobody else knows yet or that are marked as busy. It may log. Afterwards
 * everything may have happened that a turn can do: clients have gone, requests of
 * others were served, VBDs came and went; objects must be looked up again, unless
 * they are marked as busy. Each lent call has a stack of its own, so none waits for
 * another to end. Both functions leave errno alone. A thread that does not run the
 * loop, a worker's, may call them as well: they do nothing.
 *
 * At most LOOP_THREADS calls are lent at a time; one more waits in the loop. In
 * blktap's tapdisk there is nothing like it, and every call waits in the loop.
 */
#ifndef TAPDISK_LOOP_H
#define TAPDISK_LOOP_H

#include <stdbool.h>

#include "tapdisk.h"

#ifdef TAPDISK_EXTENDED

#define LOOP_THREADS 64

/* Not between the two already. */
void tapdisk_loop_lend(void);
/*
 * The same for a call that hardly ever waits, such as io_submit(): the loop goes to
 * another thread only if the call lasts longer than LOOP_SLOW_MS. Costs nothing
 * otherwise.
 */
void tapdisk_loop_lend_if_slow(void);
void tapdisk_loop_take_back(void);

#define LOOP_SLOW_MS 10 /* and twice that at most */

/*
 * Whether this thread has the loop, so that a call that waits would stop every disk. False
 * between the functions above, and in threads that do not run the loop.
 */
bool tapdisk_loop_is_held(void);

/* --- for the server --------------------------------------------------------------- */

/* The descriptor that is readable when the loop is wanted, or -errno. */
int tapdisk_loop_open(void);
/* To be called when it is: it is not readable any more. */
void tapdisk_loop_heard(void);
void tapdisk_loop_close(void);

/*
 * Runs turns, here or in other threads, until one returns false while no call is lent.
 * A turn that returned false is followed by others until then.
 */
void tapdisk_loop_run(bool (*turn)(void));

/*
 * For code that waits, inside of a turn, for what turns do: another thread runs at
 * least a part of a turn. False: none can (or nothing runs turns here); the caller runs
 * a turn inside of its own.
 */
bool tapdisk_loop_pass(void);

#else

static inline void
tapdisk_loop_lend(void)
{
}

static inline void
tapdisk_loop_take_back(void)
{
}

#endif
#endif
