/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "migrate-left.h"

void
migrate_left_listen(struct migrate_left *left, int pid, int minor)
{
	tap_list_t vbd;

	left->journal = NULL;
	left->client.fd = -1;
	if (migrate_find_vbd(pid, minor, &vbd))
		return;
	if (!strcmp(vbd.type, MIGRATE_TYPE)) {
		/* Whether it answers or not: its journal is known. */
		(void)migrate_connect_vbd(&left->client, &vbd);
		left->journal = vbd.path;
		vbd.path = NULL;
	}
	free(vbd.type);
	free(vbd.path);
}

/* Its last words; NULL if it has not said any. */
static json_t *
last_status(struct migrate_left *left)
{
	json_t *status = NULL;

	if (left->client.fd < 0 ||
	    migrate_call(&left->client, migrate_request("status"), &status))
		return NULL;
	return status;
}

static const char *
text_of(const json_t *status, const char *key)
{
	const char *text = json_string_value(json_object_get(status, key));

	return text ? text : "";
}

void
migrate_left_say(struct migrate_left *left, bool closed)
{
	json_t *status = left->journal && closed ? last_status(left) : NULL;
	const char *state = text_of(status, "state");

	if (left->journal && closed && strcmp(state, "completed") &&
	    strcmp(state, "cancelled")) {
		cli_clean(left->journal);
		fprintf(stderr,
			"tap-ctl: its migration is not over (%s): neither image need be the "
			"whole disk. It goes on with\n    tap-ctl create -a migrate:%s\n",
			*state ? state : "it has not said how it stands", left->journal);
	}
	json_decref(status);
	migrate_close(&left->client);
	free(left->journal);
}
