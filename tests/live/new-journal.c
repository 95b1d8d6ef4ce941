/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/migrate-journal.o drivers/migrate-unnamed.o drivers/migrate-file.o */
/* links: drivers/image-lock.o */
/*
 * new-journal PATH UUID SECTORS HEAD NOTE - a journal of a new migration, by hand
 *
 * HEAD and NOTE are its two texts (docs/migrate-protocol.md).
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "migrate-journal.h"

/* 32 hexadecimal digits, with dashes anywhere. */
static void
parse_uuid(const char *text, uint8_t uuid[16])
{
	unsigned int digits = 0, value;
	char pair[3] = "";

	for (; *text; text++) {
		if (*text == '-')
			continue;
		pair[digits++ % 2] = *text;
		if (digits > 32 || (digits % 2 == 0 && sscanf(pair, "%2x", &value) != 1))
			errx(2, "that is no UUID");
		if (digits % 2 == 0)
			uuid[digits / 2 - 1] = (uint8_t)value;
	}
	if (digits != 32)
		errx(2, "that is no UUID");
}

int
main(int argc, char **argv)
{
	json_t *head, *note;
	uint8_t uuid[16];
	char why[512];

	if (argc != 6)
		errx(2, "usage: new-journal PATH UUID SECTORS HEAD NOTE");
	parse_uuid(argv[2], uuid);
	head = json_loads(argv[4], 0, NULL);
	note = json_loads(argv[5], 0, NULL);
	if (!head || !note)
		errx(2, "HEAD or NOTE is no JSON object");
	if (migrate_journal_create(argv[1], uuid, strtoull(argv[3], NULL, 0), head, note, why,
				   sizeof(why)))
		errx(1, "%s", why);
	json_decref(head);
	json_decref(note);
	return 0;
}
