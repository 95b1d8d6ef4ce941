/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-control.h - the socket on which a migration is controlled
 *
 * JSON objects, one a line, each way (docs/migrate-protocol.md). All of it is
 * non-blocking, and what a client may make us keep or do at once is bounded: it is
 * answered one request after the other, the next when it has taken the last answer; a
 * line that does not come to its end, or an answer that is not taken, ends the connection
 * (patience.h). Who says nothing may stay, unless all places are taken.
 *
 * Memory: MIGRATE_CONTROL_CLIENTS times 64 KiB in and 256 KiB out.
 */
#ifndef MIGRATE_CONTROL_H
#define MIGRATE_CONTROL_H

#include <jansson.h>

#define MIGRATE_CONTROL_CLIENTS 16

struct migrate_control;

/*
 * Listens on path (0600; one that a dead process left is replaced). handle()
 * answers a request, which it borrows, with a reply that becomes ours. 0 or
 * -errno, with the reason in the log.
 */
int migrate_control_open(struct migrate_control **control, const char *path,
			 json_t *(*handle)(void *ctx, json_t *request), void *ctx);

/* Sends last (borrowed) to all clients, as far as they take it, and closes. */
void migrate_control_close(struct migrate_control *control, json_t *last);

/* {"ok": false, "error": {...}} for a -errno; NULL if out of memory. */
json_t *
migrate_control_error(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
