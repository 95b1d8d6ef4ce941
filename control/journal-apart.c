/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal-apart.h"
#include "libtapctl.h"
#include "migrate-journal.h"
#include "migrate-text.h"

#define PATIENCE_MS  10000
#define ANSWER_BYTES (1u << 20) /* its texts are smaller */

/* The child's part: an object with "settings", or "errno" and "why". */
static void
answer(const char *path, int fd)
{
	json_t *settings = NULL, *object;
	char why[512] = "";
	int err = migrate_journal_load(path, true, &settings, why, sizeof(why));

	object = err ? json_pack("{s:i, s:o}", "errno", err, "why", migrate_text_json(why))
		     : json_pack("{s:o}", "settings", settings);
	_exit(!object || json_dumpfd(object, fd, JSON_COMPACT));
}

/* All that comes until the end, or -errno. */
static ssize_t
read_all(int fd, char *text, size_t size)
{
	const int64_t deadline = tap_ctl_now() + PATIENCE_MS;
	size_t have = 0;
	ssize_t n = 1;
	int err;

	while (n) {
		err = tap_ctl_wait(fd, POLLIN, deadline);
		if (err)
			return err;
		n = read(fd, text + have, size - have);
		if (n < 0 && errno != EINTR)
			return -errno;
		have += n > 0 ? (size_t)n : 0;
		if (have == size)
			return -EMSGSIZE;
	}
	return (ssize_t)have;
}

static int
take(const char *text, size_t len, json_t **settings, char *why, size_t size)
{
	json_t *object = json_loadb(text, len, 0, NULL);
	const char *said = "";
	int err = -EPROTO;

	*settings = json_incref(json_object_get(object, "settings"));
	if (*settings)
		err = 0;
	else if (!json_unpack(object, "{s:i, s:s}", "errno", &err, "why", &said))
		snprintf(why, size, "%s", said);
	json_decref(object);
	return err;
}

int
journal_load_apart(const char *path, json_t **settings, char *why, size_t size)
{
	char *text = malloc(ANSWER_BYTES);
	int fds[2], err = -ENOMEM;
	ssize_t n;
	pid_t child;

	snprintf(why, size, "the journal %s cannot be read", path);
	if (!text || pipe(fds)) {
		free(text);
		return err;
	}
	fflush(NULL);
	child = fork();
	if (!child) {
		close(fds[0]);
		answer(path, fds[1]);
	}
	close(fds[1]);
	n = child < 0 ? -errno : read_all(fds[0], text, ANSWER_BYTES);
	close(fds[0]);
	if (n == -ETIMEDOUT)
		snprintf(why, size, "what the journal %s is on does not answer", path);
	err = n < 0 ? (int)n : take(text, (size_t)n, settings, why, size);
	if (child > 0) {
		kill(child, SIGKILL);
		/* Or it is nobody's any more. */
		waitpid(child, NULL, n < 0 ? WNOHANG : 0);
	}
	free(text);
	return err;
}
