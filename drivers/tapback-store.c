/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapback-store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#define PATH_SIZE 3072 /* xenstore's own limit */

/* Attempts at a transaction before others have their turn. */
#define ATTEMPTS 8
/* Changes taken in a turn: a guest may make them faster than they are taken. */
#define CHANGES_IN_TURN 256

static struct xs_handle *xs;
static int broken; /* errno of what should not have failed */
static bool in_doubt;

/* What an error of a request says. */
enum trouble {
	NOT_FOR_US, /* it is not there, or not for us to see */
	FOR_NOW,    /* there is no telling what is there */
	FOR_GOOD,   /* xenstore is gone */
};

static enum trouble
trouble_of(int err)
{
	switch (err) {
	case ENOENT:
	case ENOTDIR:
	case EACCES:
	case EPERM:
	case EINVAL:
	case EISDIR:
	case E2BIG:
	case ENAMETOOLONG:
		return NOT_FOR_US;
	case EAGAIN:
	case EINTR:
	case EBUSY:
	case ENOMEM:
	case ENOSPC:
	case EDQUOT:
		return FOR_NOW;
	default:
		return FOR_GOOD;
	}
}

static void
note(int err)
{
	const enum trouble trouble = trouble_of(err);

	if (trouble == FOR_GOOD)
		broken = err;
	in_doubt |= trouble != NOT_FOR_US;
}

int
tapback_store_open(void)
{
	xs = xs_open(0);
	return xs ? 0 : -errno;
}

void
tapback_store_close(void)
{
	xs_close(xs);
	xs = NULL;
}

int
tapback_store_fd(void)
{
	return xs_fileno(xs);
}

static char *
read_in(xs_transaction_t t, const char *dir, const char *key)
{
	char path[PATH_SIZE];
	unsigned int len;
	char *value;

	snprintf(path, sizeof(path), "%s%s%s", dir ? dir : "", dir ? "/" : "", key);
	value = xs_read(xs, t, path, &len);
	if (!value)
		note(errno);
	return value;
}

char *
tapback_store_read(const char *dir, const char *key)
{
	return read_in(XBT_NULL, dir, key);
}

char **
tapback_store_list(const char *dir, unsigned int *n)
{
	char **names = xs_directory(xs, XBT_NULL, dir, n);

	if (!names) {
		note(errno);
		*n = 0;
	}
	return names;
}

/* Runs act in a transaction, again if others change the same; -EAGAIN if they go on. */
static int
in_transaction(int (*act)(xs_transaction_t t, void *arg), void *arg)
{
	xs_transaction_t t;
	int err = -EAGAIN;

	for (int i = 0; i < ATTEMPTS && err == -EAGAIN; i++) {
		t = xs_transaction_start(xs);
		if (t == XBT_NULL)
			return -errno;
		err = act(t, arg);
		if (!xs_transaction_end(xs, t, err != 0) && !err)
			err = -errno;
	}
	return err;
}

struct writing {
	const char *dir, *must;
	const struct tapback_pair *pairs;
	unsigned int n;
	unsigned int reader;
};

static int
write_pairs(xs_transaction_t t, const struct writing *w)
{
	char path[PATH_SIZE];

	for (unsigned int i = 0; i < w->n; i++) {
		const char *value = w->pairs[i].value;

		snprintf(path, sizeof(path), "%s/%s", w->dir, w->pairs[i].key);
		if (!xs_write(xs, t, path, value, (unsigned int)strlen(value)))
			return -errno;
	}
	return 0;
}

static int
write_existing(xs_transaction_t t, void *arg)
{
	const struct writing *w = arg;
	char *must = read_in(t, w->dir, w->must);

	if (!must)
		return -errno;
	free(must);
	return write_pairs(t, w);
}

int
tapback_store_write(const char *dir, const char *must, const struct tapback_pair *pairs,
		    unsigned int n)
{
	struct writing w = { .dir = dir, .must = must, .pairs = pairs, .n = n };

	return in_transaction(write_existing, &w);
}

static int
write_new(xs_transaction_t t, void *arg)
{
	const struct writing *w = arg;
	struct xs_permissions readable[] = {
		{ .id = 0, .perms = XS_PERM_NONE }, /* the owner may all */
		{ .id = w->reader, .perms = XS_PERM_READ },
	};
	char path[PATH_SIZE];
	int err = write_pairs(t, w);

	if (!err && !xs_set_permissions(xs, t, w->dir, readable, 2))
		err = -errno;
	for (unsigned int i = 0; !err && i < w->n; i++) {
		snprintf(path, sizeof(path), "%s/%s", w->dir, w->pairs[i].key);
		if (!xs_set_permissions(xs, t, path, readable, 2))
			err = -errno;
	}
	return err;
}

int
tapback_store_make(const char *dir, unsigned int reader, const struct tapback_pair *pairs,
		   unsigned int n)
{
	struct writing w = { .dir = dir, .pairs = pairs, .n = n, .reader = reader };

	return in_transaction(write_new, &w);
}

int
tapback_store_remove(const char *dir)
{
	return xs_rm(xs, XBT_NULL, dir) || errno == ENOENT ? 0 : -errno;
}

static int
tidy(xs_transaction_t t, void *arg)
{
	char parent[PATH_SIZE];
	unsigned int n;
	char **names;

	snprintf(parent, sizeof(parent), "%s", (const char *)arg);
	*strrchr(parent, '/') = '\0';
	names = xs_directory(xs, t, parent, &n);
	free(names);
	return !names || n || xs_rm(xs, t, parent) ? 0 : -errno;
}

int
tapback_store_tidy(const char *dir)
{
	return in_transaction(tidy, (void *)dir);
}

bool
tapback_store_has_domain(unsigned int domid)
{
	return xs_is_domain_introduced(xs, domid);
}

int
tapback_store_watch(const char *path, const char *token)
{
	return xs_watch(xs, path, token) || errno == EEXIST ? 0 : -errno;
}

void
tapback_store_unwatch(const char *path, const char *token)
{
	xs_unwatch(xs, path, token);
}

int
tapback_store_changed(void (*changed)(const char *path, const char *token))
{
	for (int i = 0; i < CHANGES_IN_TURN; i++) {
		char **event = xs_check_watch(xs);

		if (!event)
			return errno == EAGAIN ? 0 : -errno;
		changed(event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
		free(event);
	}
	return 0;
}

void
tapback_store_trust(void)
{
	in_doubt = false;
}

bool
tapback_store_in_doubt(void)
{
	return in_doubt;
}

int
tapback_store_broken(void)
{
	return -broken;
}
