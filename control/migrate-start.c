/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli.h"
#include "migrate-holder.h"
#include "migrate-start.h"

/* What the tapdisk wants people to know. */
static void
print_warnings(const json_t *answer)
{
	const json_t *warnings = json_object_get(answer, "warnings");
	const char *text;

	for (size_t i = 0; i < json_array_size(warnings); i++) {
		text = json_string_value(json_array_get(warnings, i));
		if (text)
			fprintf(stderr, "%s\n", text);
	}
}

static int
take_answer(struct migrate_start *s, const json_t *answer)
{
	const char *journal = NULL, *message = "it does not say why";
	int number = EPROTO;

	print_warnings(answer);
	if (json_is_true(json_object_get(answer, "ok"))) {
		journal = json_string_value(json_object_get(answer, "journal"));
		if (!journal || strlen(journal) + sizeof("migrate:") > sizeof(s->params))
			return tap_ctl_fail(-EPROTO,
					    "tapdisk %d does not say where the "
					    "migration's journal is",
					    s->vbd.pid);
		snprintf(s->params, sizeof(s->params), "migrate:%s", journal);
		s->journal = s->params + strlen("migrate:");
		return 0;
	}
	json_unpack((json_t *)answer, "{s:{s:i, s:s}}", "error", "errno", &number, "message",
		    &message);
	if (number <= 0 || number > 4095)
		number = EPROTO;
	/* Somebody has paused or closed it: it is theirs. */
	if (number == ECANCELED)
		return tap_ctl_fail(-number, "%s; the migration was not begun", message);
	/* Which disk of that tapdisk has it, we may find out. */
	if (number == EBUSY && migrate_check_free(migrate_new_path(&s->new), &s->vbd) == -EBUSY)
		message = tap_ctl_error();
	return tap_ctl_fail(-number, "%s. The disk runs on %s as before", message,
			    s->new.source);
}

static int
parse_answer(struct migrate_start *s, char *text)
{
	json_t *answer;
	int err;

	cli_clean(text);
	answer = json_loads(text, 0, NULL);
	err = json_is_object(answer) ? take_answer(s, answer)
				     : tap_ctl_fail(-EPROTO, "tapdisk %d answered \"%.80s\"",
						    s->vbd.pid, text);
	json_decref(answer);
	return err;
}

int
migrate_start_here(struct migrate_start *s, bool *known)
{
	json_t *request = migrate_new_request(&s->new);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL, *answer;
	int err;

	json_decref(request);
	*known = true;
	if (!text)
		return tap_ctl_fail(-EINVAL, "a name that is not UTF-8: %s, %s", s->new.source,
				    s->new.destination);
	err = tap_ctl_migrate_start(s->vbd.pid, s->vbd.minor, text, &answer);
	free(text);
	*known = err != -EOPNOTSUPP;
	if (err)
		return err;
	err = parse_answer(s, answer);
	free(answer);
	return err;
}
