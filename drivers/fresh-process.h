/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fresh-process.h - a daemon is not what its starter was
 *
 * A process inherits its starter's descriptors (a lock, the end of a pipe), limits,
 * ignored and blocked signals, umask, niceness. A disk that a guest uses must not
 * depend on them, and what is held by them must not be held for as long as the disk
 * lives.
 */
#ifndef FRESH_PROCESS_H
#define FRESH_PROCESS_H

/*
 * To be called first. Closes all descriptors above 2 (0, 1 and 2 are open afterwards);
 * raises the limits that would keep a disk from working, as far as that is allowed;
 * umask 077; no signal is blocked, and those that would end the process without closing
 * anything are ignored, but the ones that it is to wait for itself: TERM, INT, HUP,
 * QUIT, PWR. What makes it less than other processes is not kept either: niceness, idle or
 * batch scheduling, an I/O priority, and an oom_score_adj above 0. Processors, control group
 * and environment are.
 */
void fresh_process(void);

#endif
