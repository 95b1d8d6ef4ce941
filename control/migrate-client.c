/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli.h"
#include "migrate-client.h"
#include "migrate-journal.h"
#include "migrate-registry.h"

/* Whether vbd answers the description, and is worth being asked about. */
static bool
matches(const tap_list_t *vbd, int pid, int minor)
{
	return vbd->minor == minor && vbd->pid >= 0 && (pid < 0 || vbd->pid == pid);
}

static int
check_vbd(const tap_list_t *vbd, int minor)
{
	if (vbd->error)
		return tap_ctl_fail(vbd->error,
				    "tapdisk %d, which has minor %d, does not answer", vbd->pid,
				    minor);
	if (!vbd->type)
		return tap_ctl_fail(-ENOENT, "minor %d has no image open", minor);
	return 0;
}

int
migrate_find_vbd(int pid, int minor, tap_list_t *vbd)
{
	tap_list_t *entry, *found = NULL;
	struct list_head list;
	int err;

	INIT_LIST_HEAD(&list);
	err = pid >= 0 ? tap_ctl_list_pid(pid, &list) : tap_ctl_list(&list);
	if (err)
		return err;
	list_for_each_entry(entry, &list, entry) {
		if (!matches(entry, pid, minor))
			continue;
		if (found) {
			err = tap_ctl_fail(
				-EINVAL,
				"tapdisks %d and %d both have minor %d: say which with -p",
				found->pid, entry->pid, minor);
			goto out;
		}
		found = entry;
	}
	if (!found)
		err = tap_ctl_fail(-ENOENT,
				   "no tapdisk has minor %d; tap-ctl list shows what there is",
				   minor);
	else
		err = check_vbd(found, minor);
	if (err)
		goto out;
	*vbd = *found;
	found->type = found->path = NULL;
out:
	tap_ctl_list_free(&list);
	return err;
}

static int
connect_uuid(struct migrate_client *client, const char *uuid)
{
	char path[TAP_CTL_PATH];
	int err = tap_ctl_path(path, "migrate-%s", uuid);

	client->ended = false;
	client->have = client->used = 0;
	client->fd = err ? err : tap_ctl_connect(path);
	return client->fd < 0 ? client->fd : 0;
}

int
migrate_connect_journal(struct migrate_client *client, const char *journal)
{
	json_t *settings = NULL;
	char why[TAP_CTL_TEXT];
	int err;

	client->fd = -1;
	err = migrate_journal_load(journal, false, &settings, why, sizeof(why));
	if (err)
		return tap_ctl_fail(err, "%s", why);
	err = connect_uuid(client, json_string_value(json_object_get(settings, "uuid")));
	json_decref(settings);
	return err;
}

/* What the tapdisk says of it; NULL if it says nothing, as an older one. */
static json_t *
uuid_of(const tap_list_t *vbd)
{
	char *text = NULL;
	json_t *stats, *images, *uuid;

	if (tap_ctl_stats(vbd->pid, vbd->minor, TAP_CTL_TIMEOUT, &text))
		return NULL;
	stats = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
	free(text);
	images = json_object_get(stats, "images");
	uuid = json_object_get(json_object_get(json_array_get(images, 0), "driver"), "uuid");
	uuid = json_is_string(uuid) ? json_incref(uuid) : NULL;
	json_decref(stats);
	return uuid;
}

/* The journal's file is the last that is looked at: what it is on may hang. */
int
migrate_connect_vbd(struct migrate_client *client, const tap_list_t *vbd)
{
	json_t *uuid = uuid_of(vbd), *known = uuid ? NULL : registry_find(vbd->path);
	int err;

	client->fd = -1;
	if (known)
		uuid = json_incref(json_object_get(known, "uuid"));
	err = uuid ? connect_uuid(client, json_string_value(uuid))
		   : migrate_connect_journal(client, vbd->path);
	json_decref(uuid);
	json_decref(known);
	return err;
}

int
migrate_connect(struct migrate_client *client, int pid, int minor)
{
	tap_list_t vbd;
	int err;

	client->fd = -1;
	err = migrate_find_vbd(pid, minor, &vbd);
	if (err)
		return err;
	if (strcmp(vbd.type, MIGRATE_TYPE))
		err = tap_ctl_fail(-ENOENT, "no migration under way: minor %d is %s:%s", minor,
				   vbd.type, vbd.path);
	else
		err = migrate_connect_vbd(client, &vbd);
	free(vbd.type);
	free(vbd.path);
	return err;
}

void
migrate_close(struct migrate_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

/* All that it says is for people, or programs that show it to people. */
static void
clean_strings(json_t *value)
{
	if (json_is_string(value)) {
		char *text = strdup(json_string_value(value));

		if (text)
			cli_clean(text);
		json_string_set(value, text ? text : "");
		free(text);
	}
	for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at))
		clean_strings(json_object_iter_value(at));
	for (size_t i = 0; i < json_array_size(value); i++)
		clean_strings(json_array_get(value, i));
}

/* The next line as an object, a new reference. */
static int
read_line(struct migrate_client *client, int64_t deadline, json_t **object)
{
	char *newline;
	ssize_t n;
	int err;

	memmove(client->line, client->line + client->used, client->have - client->used);
	client->have -= client->used;
	client->used = 0;
	while (!(newline = memchr(client->line, '\n', client->have))) {
		if (client->have == sizeof(client->line))
			return tap_ctl_fail(-EPROTO, "the migration's answer is too long");
		err = tap_ctl_wait(client->fd, POLLIN, deadline);
		if (err)
			return tap_ctl_fail(err, "the migration does not answer");
		n = recv(client->fd, client->line + client->have,
			 sizeof(client->line) - client->have, 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return tap_ctl_fail(-ECONNRESET, "the tapdisk hung up: has it died?");
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return tap_ctl_fail(-errno, "reading the migration's answer");
		client->have += n > 0 ? n : 0;
	}
	*newline = '\0';
	client->used = newline + 1 - client->line;
	*object = json_loads(client->line, 0, NULL);
	if (!json_is_object(*object)) {
		json_decref(*object);
		return tap_ctl_fail(-EPROTO, "the migration answered \"%.80s\"", client->line);
	}
	clean_strings(*object);
	return 0;
}

static int
take_status(struct migrate_client *client, json_t *answer, json_t **status)
{
	json_t *object = json_object_get(answer, "status");
	const char *message = "it does not say why";
	int number = EPROTO;

	client->ended = json_is_true(json_object_get(answer, "final"));
	if (json_is_object(object)) {
		*status = json_incref(object);
		return 0;
	}
	json_unpack(answer, "{s:{s:i, s:s}}", "error", "errno", &number, "message", &message);
	if (number <= 0 || number > 4095)
		number = EPROTO;
	return tap_ctl_fail(-number, "%s", message);
}

json_t *
migrate_request(const char *command)
{
	return json_pack("{s:s}", "command", command);
}

static int
send_line(struct migrate_client *client, const json_t *request, int64_t deadline)
{
	char text[1024];
	size_t size, sent = 0;
	ssize_t n;
	int err;

	size = json_dumpb(request, text, sizeof(text) - 1, JSON_COMPACT);
	if (!size || size > sizeof(text) - 1)
		return -ENOMEM;
	text[size++] = '\n';
	while (sent < size) {
		n = send(client->fd, text + sent, size - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			err = tap_ctl_wait(client->fd, POLLOUT, deadline);
			if (err)
				return tap_ctl_fail(err, "the migration takes no requests");
		} else if (n < 0 && errno != EINTR) {
			return tap_ctl_fail(-errno, "the tapdisk hung up: has it died?");
		}
		sent += n > 0 ? n : 0;
	}
	return 0;
}

int
migrate_call(struct migrate_client *client, json_t *request, json_t **status)
{
	const int64_t deadline = tap_ctl_now() + MIGRATE_TIMEOUT_MS;
	json_t *answer = NULL;
	int err, sent;

	sent = send_line(client, request, deadline);
	json_decref(request);
	/* It may have ended before it took the request: then its last words are there. */
	err = read_line(client, deadline, &answer);
	if (err)
		return sent ? sent : err;
	err = take_status(client, answer, status);
	json_decref(answer);
	return err;
}
