/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * background.h - how a daemon starts
 *
 * It goes to the background first, and whoever started it waits until it has said
 * how its start ended: an exit status of 0 means that it serves.
 */
#ifndef BACKGROUND_H
#define BACKGROUND_H

#include <stdbool.h>

/*
 * Forks. The parent exits with the status that the child gives to background_started(),
 * or with EIO if the child dies before. 0 in the child, or -errno.
 */
int background(int *report);

/* What the parent exits with. report -1: there is none. 0 or -errno. */
int background_started(int report, int status);

/* Lets go of the terminal; stderr stays where the log goes there. 0 or -errno. */
int background_detach(bool keep_stderr);

#endif
