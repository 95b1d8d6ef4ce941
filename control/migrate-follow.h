/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-follow.h - showing a migration, and waiting for it
 */
#ifndef MIGRATE_FOLLOW_H
#define MIGRATE_FOLLOW_H

#include "migrate-client.h"

/* What somebody wants of a migration. */
enum goal {
	GOAL_RUNNING,	   /* that it has not ended */
	GOAL_END,	   /* that it has, however */
	GOAL_SYNCHRONISED, /* or completed */
	GOAL_COMPLETED,
	GOAL_CANCELLED,
	GOALS
};

/* The status for people, several lines on stdout. */
void migrate_print(const json_t *status);

/* If the status is that of the end: a line on stdout that says which disk is used now. */
void migrate_print_end(const json_t *status);

/*
 * Whether that status means MIGRATE_GO_ON (not yet), 0 (the goal is reached), or
 * -errno (it cannot be, or the migration waits for its operator).
 */
#define MIGRATE_GO_ON 1
int migrate_judge(const struct migrate_client *client, const json_t *status, enum goal goal);

/*
 * Waits for the goal. 0: it is reached. -errno: it cannot be, or the migration
 * waits for the operator; tap_ctl_error() says why. show: draws the progress on
 * stdout, as a bar on a terminal, otherwise a line a percent or five seconds.
 */
int migrate_follow(struct migrate_client *client, enum goal goal, bool show);

#endif
