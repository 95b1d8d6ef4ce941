/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>

#include "image-mark.h"
#include "migrate-journal.h"
#include "migrate-new.h"
#include "state-dir.h"

#define TYPE   "migrate:"
#define SUFFIX ".migrate"

__attribute__((format(printf, 4, 5))) static int
fail(char *why, size_t size, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, size, fmt, args);
	va_end(args);
	return err;
}

/* --- the request ------------------------------------------------------------------- */

json_t *
migrate_new_request(const struct migrate_new *n)
{
	return json_pack(
		"{s:s, s:s, s:s?, s:b, s:b, s:b, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I}",
		"source", n->source, "destination", n->destination, "journal", n->journal,
		"create", n->create, "dry_run", n->dry_run, "any_space", n->any_space,
		"strategy", n->strategy, "complete", n->complete, "journal_after",
		n->journal_after, "threshold", n->threshold, "rate_mib_s", n->rate,
		"guest_latency_pct", n->latency, "depth", n->depth, "chunk", n->chunk);
}

int
migrate_new_parse(json_t *request, struct migrate_new *n, char *why, size_t size)
{
	json_t *journal = NULL;
	json_error_t error;

	*n = (struct migrate_new){ 0 };
	if (json_unpack_ex(
		    request, &error, JSON_STRICT,
		    "{s:s, s:s, s:o, s:b, s:b, s:b, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I}",
		    "source", &n->source, "destination", &n->destination, "journal", &journal,
		    "create", &n->create, "dry_run", &n->dry_run, "any_space", &n->any_space,
		    "strategy", &n->strategy, "complete", &n->complete, "journal_after",
		    &n->journal_after, "threshold", &n->threshold, "rate_mib_s", &n->rate,
		    "guest_latency_pct", &n->latency, "depth", &n->depth, "chunk", &n->chunk))
		return fail(why, size, -EINVAL, "the request is not understood: %s",
			    error.text);
	n->journal = json_string_value(journal);
	if (!n->journal && !json_is_null(journal))
		return fail(why, size, -EINVAL, "the request is not understood: its journal");
	return 0;
}

/* --- names ------------------------------------------------------------------------- */

const char *
migrate_new_path(const struct migrate_new *n)
{
	return n->destination + strlen("aio:");
}

static int
check_characters(const char *name, char *why, size_t size)
{
	for (const char *c = name; *c; c++)
		if (iscntrl((unsigned char)*c))
			return fail(why, size, -EINVAL,
				    "the name %s has control characters: an image cannot be "
				    "marked, nor shown, with such a name",
				    name);
	if (strlen(name) >= IMAGE_MARK_NAME)
		return fail(why, size, -ENAMETOOLONG, "the name is too long: %s", name);
	return 0;
}

int
migrate_new_check(const struct migrate_new *n, const char *run_dir, char *why, size_t size)
{
	const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	int err;

	if (strncmp(n->destination, "aio:/", 5))
		return fail(why, size, -EINVAL,
			    "the destination must be aio: and an absolute path, not \"%s\"",
			    n->destination);
	if (n->journal && *n->journal != '/')
		return fail(why, size, -EINVAL,
			    "the journal must be an absolute path, not \"%s\"", n->journal);
	err = check_characters(n->source, why, size);
	if (!err)
		err = check_characters(n->destination, why, size);
	if (!err && n->journal)
		err = check_characters(n->journal, why, size);
	if (!err && strlen(run_dir) + strlen("/migrate-") + MIGRATE_UUID_SIZE > most)
		err = fail(why, size, -ENAMETOOLONG,
			   "the run directory %s is too long for the migration's socket in it: "
			   "at most %zu characters",
			   run_dir, most - strlen("/migrate-") - MIGRATE_UUID_SIZE);
	return err;
}

int
migrate_new_journal(const struct migrate_new *n, bool device, char params[MIGRATE_NEW_PARAMS],
		    char *why, size_t size)
{
	const char *path = migrate_new_path(n);
	int err, len;

	if (n->journal) {
		len = snprintf(params, MIGRATE_NEW_PARAMS, TYPE "%s", n->journal);
	} else if (!device) {
		len = snprintf(params, MIGRATE_NEW_PARAMS, TYPE "%s" SUFFIX, path);
	} else {
		err = state_dir_make();
		if (err)
			return fail(why, size, err, "cannot make %s: %s", state_dir(),
				    strerror(-err));
		len = snprintf(params, MIGRATE_NEW_PARAMS, TYPE "%s%s" SUFFIX, state_dir(),
			       strrchr(path, '/'));
	}
	if (len < MIGRATE_NEW_PARAMS)
		return 0;
	return fail(why, size, -ENAMETOOLONG,
		    "the journal's path is too long; choose one with --journal: %s...",
		    params + strlen(TYPE));
}

/* --- the journal ------------------------------------------------------------------- */

/* What never changes (docs/migrate-protocol.md). */
static json_t *
new_head(const struct migrate_new *n, const struct migrate_new_disks *d)
{
	json_t *head = json_pack(
		"{s:s, s:s, s:s*, s:s*, s:I, s:b}", "source", d->source, "destination",
		n->destination, "source_identity", d->source_identity, "destination_identity",
		d->destination_identity, "chunk", n->chunk, "destination_is_zero", n->create);

	if (head && d->nameless)
		json_object_set_new(head, "source_has_no_name", json_true());
	return head;
}

static json_t *
new_note(const struct migrate_new *n)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:b, s:s, s:s, s:n}", "state",
			 MIGRATE_STATE_NEW, "strategy", n->strategy, "threshold", n->threshold,
			 "rate_mib_s", n->rate, "guest_latency_pct", n->latency, "depth",
			 n->depth, "paused", 0, "complete", n->complete, "journal_after",
			 n->journal_after, "result");
}

int
migrate_new_write(const struct migrate_new *n, const struct migrate_new_disks *disks,
		  const char *path, char *why, size_t size)
{
	json_t *head = new_head(n, disks), *note = new_note(n);
	uint8_t uuid[16];
	int fd;

	if (!head || !note)
		fd = fail(why, size, -EINVAL, "a name that is not UTF-8: %s, %s", disks->source,
			  n->destination);
	else if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		fd = fail(why, size, -EIO, "no random numbers from the kernel");
	else
		fd = migrate_journal_create_locked(path, uuid, disks->sectors, head, note, why,
						   size);
	json_decref(head);
	json_decref(note);
	if (fd == -EEXIST)
		return fail(why, size, fd,
			    "%s is there from an earlier migration; tap-ctl migrate status "
			    "--journal shows it; remove it if that is over",
			    path);
	return fd;
}
