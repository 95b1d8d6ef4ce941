/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-text.h - what people read, as JSON
 *
 * Names of files may be any bytes, and texts that quote them may be cut in the middle of
 * a character; JSON's strings are UTF-8. Bytes that are none are shown as question marks,
 * so that a name never costs the whole text, or the object that it is in.
 */
#ifndef MIGRATE_TEXT_H
#define MIGRATE_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* How many bytes the UTF-8 character at text has, 1 to 4; 0: it is none. */
size_t migrate_utf8_bytes(const char *text);

/* Strings, the caller's to free; NULL if out of memory. */
json_t *migrate_text_json(const char *text);
json_t *migrate_text_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
