/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-left.h - telling whoever closes a VBD in the middle of a migration how to go on
 */
#ifndef MIGRATE_LEFT_H
#define MIGRATE_LEFT_H

#include "migrate-client.h"

struct migrate_left {
	char *journal; /* NULL: it is under no migration */
	struct migrate_client client;
};

/* Before the VBD is closed: listens to its migration, if it is under one. */
void migrate_left_listen(struct migrate_left *left, int pid, int minor);
/* After it has been closed, or closed is false: says on stderr if the migration is not over. */
void migrate_left_say(struct migrate_left *left, bool closed);

#endif
