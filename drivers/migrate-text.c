/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate-text.h"

/* The first code point that needs as many bytes: a shorter way to write it is the only one. */
static const uint32_t first_of[] = { [1] = 0, [2] = 0x80, [3] = 0x800, [4] = 0x10000 };

static size_t
bytes_by_lead(unsigned char lead)
{
	return lead < 0x80	     ? 1
	       : (lead >> 5) == 0x06 ? 2
	       : (lead >> 4) == 0x0e ? 3
	       : (lead >> 3) == 0x1e ? 4
				     : 0;
}

size_t
migrate_utf8_bytes(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	size_t bytes = bytes_by_lead(*c);
	uint32_t point;

	if (bytes < 2)
		return bytes;
	point = *c & (0xffu >> (bytes + 1));
	for (size_t i = 1; i < bytes; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (c[i] & 0x3f);
	}
	if (point < first_of[bytes] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	return bytes;
}

/* Makes UTF-8 of it. */
static void
mend(char *text)
{
	while (*text) {
		size_t bytes = migrate_utf8_bytes(text);

		if (!bytes)
			*text = '?';
		text += bytes ? bytes : 1;
	}
}

json_t *
migrate_text_json(const char *text)
{
	char *copy = strdup(text);
	json_t *string;

	if (!copy)
		return NULL;
	mend(copy);
	string = json_string(copy);
	free(copy);
	return string;
}

json_t *
migrate_text_printf(const char *fmt, ...)
{
	json_t *string;
	va_list args;
	char *text;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		return NULL;
	string = migrate_text_json(text);
	free(text);
	return string;
}
