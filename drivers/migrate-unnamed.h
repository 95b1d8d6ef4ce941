/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-unnamed.h - a new file that gets its name when it is whole
 *
 * Whoever is killed before that leaves nothing. Its owner's alone. Where the file system cannot
 * do that it has its name from the beginning. The name is used once: from then on the file is
 * known by its descriptor. All these may wait.
 */
#ifndef MIGRATE_UNNAMED_H
#define MIGRATE_UNNAMED_H

#include <stdbool.h>

struct migrate_unnamed {
	int fd;	 /* open for reading and writing; -1: there is no file */
	int dir; /* its directory, or -1 */
	char *path;
	const char *name; /* in dir; of path */
	bool named;
};

#define MIGRATE_UNNAMED_NONE        \
	{                           \
		.fd = -1, .dir = -1 \
	}

/* An empty file; path is absolute, and nothing may be there. 0 or -errno. */
int migrate_unnamed_open(struct migrate_unnamed *u, const char *path);
/* Gives it its name, where nothing may be, on stable storage. The file is synced before. 0 or
 * -errno.
 */
int migrate_unnamed_name(struct migrate_unnamed *u);
/* Closes it; remove: and it is not wanted any more. What is not open is ignored. */
void migrate_unnamed_close(struct migrate_unnamed *u, bool remove);

#endif
