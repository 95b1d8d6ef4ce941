/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtapctl-list.c - what there is on this host
 *
 * The run directory names the tapdisks (ctl<pid>) and the minors
 * (tapdisk/tapdisk-<minor>). All tapdisks are asked at once, and those that do
 * not answer in time are listed with what the directory knows of them: each VBD
 * that is open has a socket nbd<pid>.<minor>.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libtapctl.h"

#define PEERS_AT_ONCE 256  /* each needs a file descriptor */
#define ANSWER_MS     2000 /* for all of them */
#define BUSY_MS	      50   /* until one that has too many clients is asked again */

struct peer {
	pid_t pid;
	int fd; /* -1 once it is done */
	int err;
	int answers;
	size_t have; /* bytes of message */
	tapdisk_message_t message;
	struct list_head vbds;
};

static tap_list_t *
new_entry(pid_t pid, int minor, struct list_head *list)
{
	tap_list_t *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	*entry = (tap_list_t){ .pid = pid, .minor = minor, .state = -1 };
	list_add_tail(&entry->entry, list);
	return entry;
}

static void
free_entry(tap_list_t *entry)
{
	list_del(&entry->entry);
	free(entry->type);
	free(entry->path);
	free(entry);
}

void
tap_ctl_list_free(struct list_head *list)
{
	tap_list_t *entry, *next;

	list_for_each_entry_safe(entry, next, list, entry)
		free_entry(entry);
}

/* Moves the entries of one list to the end of another. */
static void
append(struct list_head *from, struct list_head *to)
{
	tap_list_t *entry, *next;

	list_for_each_entry_safe(entry, next, from, entry)
		list_move_tail(&entry->entry, to);
}

/*
 * Calls found for each name in dir that is prefix, a number and suffix.
 * A directory that is not there is empty. 0 or found's first error.
 */
static int
scan(const char *dir, const char *prefix, const char *suffix, int (*found)(int n, void *arg),
     void *arg)
{
	size_t skip = strlen(prefix);
	struct dirent *name;
	DIR *stream;
	int err = 0;
	char *end;
	long n;

	stream = opendir(dir);
	if (!stream)
		return errno == ENOENT ? 0 : tap_ctl_fail(-errno, "cannot read %s", dir);
	while (!err && (name = readdir(stream))) {
		if (strncmp(name->d_name, prefix, skip))
			continue;
		n = strtol(name->d_name + skip, &end, 10);
		if (end > name->d_name + skip && !strcmp(end, suffix) && n >= 0 &&
		    n <= INT32_MAX)
			err = found((int)n, arg);
	}
	closedir(stream);
	return err;
}

struct numbers {
	int *n;
	size_t count;
};

static int
remember(int n, void *arg)
{
	struct numbers *all = arg;
	int *more = reallocarray(all->n, all->count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	all->n = more;
	all->n[all->count++] = n;
	return 0;
}

static int
ascending(const void *a, const void *b)
{
	const int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* The numbers in names as of scan(), in order; the caller frees all->n. */
static int
scan_sorted(const char *dir, const char *prefix, const char *suffix, struct numbers *all)
{
	int err;

	*all = (struct numbers){ 0 };
	err = scan(dir, prefix, suffix, remember, all);
	if (!err && all->count)
		qsort(all->n, all->count, sizeof(*all->n), ascending);
	return err;
}

static void
finish(struct peer *peer, int err)
{
	close(peer->fd);
	peer->fd = -1;
	peer->err = err;
}

/* A whole LIST_RSP is there. Its last one, or a wrong one, finishes the peer. */
static void
take_answer(struct peer *peer)
{
	tapdisk_message_list_t *vbd = &peer->message.u.list;
	tap_list_t *entry;
	char *colon;

	peer->have = 0;
	if (peer->message.type != TAPDISK_MESSAGE_LIST_RSP ||
	    ++peer->answers > TAPDISK_MAX_MINORS + 1)
		return finish(peer, -EPROTO);
	if (!vbd->count)
		return finish(peer, 0);

	entry = new_entry(peer->pid, vbd->minor, &peer->vbds);
	if (!entry)
		return finish(peer, -ENOMEM);
	entry->state = vbd->state;
	vbd->path[sizeof(vbd->path) - 1] = '\0';
	colon = strchr(vbd->path, ':');
	if (colon) {
		entry->type = strndup(vbd->path, colon - vbd->path);
		entry->path = strdup(colon + 1);
		if (!entry->type || !entry->path)
			finish(peer, -ENOMEM);
	}
}

static void
ask(struct peer *peer)
{
	const tapdisk_message_t list = { .type = TAPDISK_MESSAGE_LIST,
					 .cookie = TAPDISK_MESSAGE_COOKIE_ALL };
	char path[TAP_CTL_PATH];

	INIT_LIST_HEAD(&peer->vbds);
	peer->fd = -1;
	peer->err = tap_ctl_path(path, TAPDISK_CTL_PREFIX "%d", peer->pid);
	if (peer->err)
		return;
	peer->fd = tap_ctl_connect(path);
	if (peer->fd < 0)
		peer->err = peer->fd;
	else if (send(peer->fd, &list, sizeof(list), MSG_NOSIGNAL) != sizeof(list))
		finish(peer, -EPROTO); /* a new connection has room for one message */
}

static void
hear(struct peer *peer)
{
	ssize_t n;

	while (peer->fd >= 0) {
		n = recv(peer->fd, (char *)&peer->message + peer->have,
			 sizeof(peer->message) - peer->have, 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			return finish(peer, n ? -errno : -EPROTO);
		peer->have += n;
		if (peer->have == sizeof(peer->message))
			take_answer(peer);
	}
}

/* Others wait for a connection as well. */
static bool
is_busy(const struct peer *peer)
{
	return peer->fd < 0 && peer->err == -EAGAIN;
}

/* Asks count (<= PEERS_AT_ONCE) tapdisks; each ends up with vbds, or with err. */
static void
ask_all(struct peer *peers, size_t count)
{
	const int64_t deadline = tap_ctl_now() + ANSWER_MS;
	struct pollfd pollers[PEERS_AT_ONCE];
	int64_t left = ANSWER_MS;
	size_t i, waiting;
	bool busy;

	for (i = 0; i < count; i++)
		ask(&peers[i]);
	do {
		busy = false;
		for (i = waiting = 0; i < count; i++) {
			if (is_busy(&peers[i]))
				ask(&peers[i]);
			busy |= is_busy(&peers[i]);
			pollers[i] = (struct pollfd){ .fd = peers[i].fd, .events = POLLIN };
			waiting += peers[i].fd >= 0;
		}
		if (!waiting && !busy)
			break;
		if (poll(pollers, count, (int)(busy && left > BUSY_MS ? BUSY_MS : left)) < 0)
			break;
		for (i = 0; i < count; i++)
			if (pollers[i].revents)
				hear(&peers[i]);
		left = deadline - tap_ctl_now();
	} while (left > 0);

	for (i = 0; i < count; i++)
		if (peers[i].fd >= 0)
			finish(&peers[i], -ETIMEDOUT);
}

/* The VBDs that the run directory says a silent tapdisk has open. */
static int
list_silent(struct peer *peer, struct list_head *list)
{
	struct numbers minors;
	char prefix[32];
	tap_list_t *entry;
	size_t i;
	int err;

	snprintf(prefix, sizeof(prefix), "nbd%d.", peer->pid);
	err = scan_sorted(tap_ctl_run_dir(), prefix, "", &minors);
	if (!err && !minors.count)
		err = remember(-1, &minors);
	for (i = 0; !err && i < minors.count; i++) {
		entry = new_entry(peer->pid, minors.n[i], list);
		if (entry)
			entry->error = peer->err;
		else
			err = -ENOMEM;
	}
	free(minors.n);
	return err;
}

static int
list_peer(struct peer *peer, struct list_head *list)
{
	/* A socket left behind by a tapdisk that has died. */
	if (peer->err == -ECONNREFUSED || peer->err == -ENOENT)
		return 0;
	if (peer->err) {
		tap_ctl_list_free(&peer->vbds);
		return list_silent(peer, list);
	}
	if (list_empty(&peer->vbds))
		return new_entry(peer->pid, -1, list) ? 0 : -ENOMEM;
	append(&peer->vbds, list);
	return 0;
}

static int
list_tapdisks(const struct numbers *pids, struct list_head *list)
{
	struct peer *peers = calloc(PEERS_AT_ONCE, sizeof(*peers));
	size_t done, count, i;
	int err = 0;

	if (!peers)
		return -ENOMEM;
	for (done = 0; done < pids->count; done += count) {
		count = pids->count - done;
		if (count > PEERS_AT_ONCE)
			count = PEERS_AT_ONCE;
		for (i = 0; i < count; i++)
			peers[i] = (struct peer){ .pid = pids->n[done + i] };
		ask_all(peers, count);
		for (i = 0; i < count; i++) {
			if (!err)
				err = list_peer(&peers[i], list);
			tap_ctl_list_free(&peers[i].vbds);
		}
	}
	free(peers);
	return err;
}

/* Minors that no tapdisk has said to have. */
static int
list_orphans(struct list_head *list)
{
	char dir[TAP_CTL_PATH], *prefix;
	struct list_head orphans;
	struct numbers minors = { 0 };
	tap_list_t *entry;
	size_t i;
	int err;

	INIT_LIST_HEAD(&orphans);
	err = tap_ctl_path(dir, "%s", TAPDISK_MINOR_PREFIX);
	if (err)
		return err;
	prefix = strrchr(dir, '/');
	*prefix++ = '\0';
	err = scan_sorted(dir, prefix, "", &minors);
	for (i = 0; !err && i < minors.count; i++) {
		bool taken = false;

		list_for_each_entry(entry, list, entry)
			taken |= entry->minor == minors.n[i];
		if (!taken && !new_entry(-1, minors.n[i], &orphans))
			err = -ENOMEM;
	}
	append(&orphans, list);
	free(minors.n);
	return err;
}

int
tap_ctl_list(struct list_head *list)
{
	struct numbers pids;
	int err;

	tap_ctl_clear();
	err = scan_sorted(tap_ctl_run_dir(), TAPDISK_CTL_PREFIX, "", &pids);
	if (!err)
		err = list_tapdisks(&pids, list);
	if (!err)
		err = list_orphans(list);
	free(pids.n);
	if (err)
		tap_ctl_list_free(list);
	return err;
}

int
tap_ctl_list_pid(pid_t pid, struct list_head *list)
{
	const struct numbers one = { .n = &pid, .count = 1 };
	int err;

	tap_ctl_clear();
	err = list_tapdisks(&one, list);
	if (err)
		tap_ctl_list_free(list);
	return err;
}
