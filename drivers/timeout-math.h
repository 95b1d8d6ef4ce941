/* SPDX-License-Identifier: BSD-3-Clause */
/* timeout-math.h - struct timeval as a timeout; blktap's names */
#ifndef TIMEOUT_MATH_H
#define TIMEOUT_MATH_H

#include <sys/time.h>

#define TV_INF	      ((struct timeval){ .tv_sec = -1 }) /* never */
#define TV_ZERO	      ((struct timeval){ .tv_sec = 0 })	 /* at every turn of the loop */
#define TV_SECS(secs) ((struct timeval){ .tv_sec = (secs) })
#define TV_USECS(usecs) \
	((struct timeval){ .tv_sec = (usecs) / 1000000, .tv_usec = (usecs) % 1000000 })

#define TV_IS_INF(tv)	   ((tv).tv_sec < 0)
#define TV_BEFORE(a, b)	   timercmp(&(a), &(b), <)
#define TV_AFTER(a, b)	   timercmp(&(a), &(b), >)
#define TV_MIN(a, b)	   (TV_BEFORE(a, b) ? (a) : (b))
#define TV_ADD(a, b, sum)  timeradd(&(a), &(b), &(sum))
#define TV_SUB(a, b, diff) timersub(&(a), &(b), &(diff))

#endif
