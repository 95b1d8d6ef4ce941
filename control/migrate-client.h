/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-client.h - talking to migrations (docs/migrate-protocol.md)
 *
 * Functions return 0 or -errno, with tap_ctl_error() saying more.
 */
#ifndef MIGRATE_CLIENT_H
#define MIGRATE_CLIENT_H

#include <jansson.h>

#include "libtapctl.h"

#define MIGRATE_TYPE	   "migrate"
#define MIGRATE_LINE_MAX   65536
#define MIGRATE_TIMEOUT_MS 10000 /* for an answer: requests are only accepted, not done */

struct migrate_client {
	int fd;		   /* -1: not connected */
	bool ended;	   /* the final line has come */
	size_t have, used; /* bytes in line, and how many of them have been handed out */
	char line[MIGRATE_LINE_MAX];
};

/*
 * The one open VBD of that minor, of tapdisk pid if that is not -1, into *vbd, whose
 * type and path are the caller's to free. -ENOENT; -EINVAL if there are several.
 */
int migrate_find_vbd(int pid, int minor, tap_list_t *vbd);

/* Connects to the migration that the VBD of minor is under; -ENOENT if it is under none. */
int migrate_connect(struct migrate_client *client, int pid, int minor);
/* To that of this VBD, which is open as a migration. */
int migrate_connect_vbd(struct migrate_client *client, const tap_list_t *vbd);
/* To that of a journal, which is read for it. */
int migrate_connect_journal(struct migrate_client *client, const char *journal);
void migrate_close(struct migrate_client *client);

/*
 * Sends request, whose reference it takes. The answer's status goes to *status (a
 * new reference). If the migration ends instead, its final line is the answer.
 */
int migrate_call(struct migrate_client *client, json_t *request, json_t **status);
json_t *migrate_request(const char *command);

#endif
