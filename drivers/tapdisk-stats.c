/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-stats.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate-text.h"

static void
stats_fail(td_stats_t *st, int err)
{
	if (!st->err)
		st->err = err;
}

static void
stats_append(td_stats_t *st, const char *text, size_t len)
{
	if (st->err)
		return;

	if (st->len + len + 1 > st->size) {
		size_t size = 2 * (st->len + len) + 512;
		char *buf = realloc(st->buf, size);

		if (!buf) {
			stats_fail(st, -ENOMEM);
			return;
		}
		st->buf = buf;
		st->size = size;
	}

	memcpy(st->buf + st->len, text, len);
	st->len += len;
	st->buf[st->len] = '\0';
}

static void __attribute__((format(printf, 2, 3)))
stats_printf(td_stats_t *st, const char *fmt, ...)
{
	char text[64]; /* a number, or an escape */
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);

	if (len < 0 || (size_t)len >= sizeof(text))
		stats_fail(st, -EOVERFLOW);
	else
		stats_append(st, text, (size_t)len);
}

static void
stats_string(td_stats_t *st, const char *text)
{
	stats_append(st, "\"", 1);
	for (const char *c = text; *c; c++) {
		size_t bytes = migrate_utf8_bytes(c);

		if (*c == '"' || *c == '\\') {
			stats_printf(st, "\\%c", *c);
		} else if ((unsigned char)*c < 0x20) {
			stats_printf(st, "\\u%04x", (unsigned char)*c);
		} else if (bytes) {
			stats_append(st, c, bytes);
			c += bytes - 1;
		} else {
			stats_append(st, "?", 1);
		}
	}
	stats_append(st, "\"", 1);
}

/* What separates a value from the one before it. */
static void
stats_next(td_stats_t *st)
{
	if (st->depth > TD_STATS_MAX_DEPTH)
		return;

	if (st->level[st->depth].filled)
		stats_append(st, ", ", 2);
	else if (st->depth)
		stats_append(st, " ", 1);
	st->level[st->depth].filled = true;
}

static void
stats_open(td_stats_t *st, char kind)
{
	if (++st->depth > TD_STATS_MAX_DEPTH) {
		stats_fail(st, -EOVERFLOW);
		return;
	}

	stats_append(st, &kind, 1);
	st->level[st->depth].close = kind == '{' ? '}' : ']';
	st->level[st->depth].filled = false;
}

void
tapdisk_stats_leave(td_stats_t *st, char kind)
{
	if (!st->depth) {
		stats_fail(st, -EINVAL);
		return;
	}

	if (st->depth <= TD_STATS_MAX_DEPTH) {
		if (st->level[st->depth].close != kind)
			stats_fail(st, -EINVAL);
		stats_append(st, " ", 1);
		stats_append(st, &kind, 1);
	}
	st->depth--;
}

void
tapdisk_stats_enter(td_stats_t *st, char kind)
{
	stats_next(st);
	stats_open(st, kind);
}

static void
stats_value(td_stats_t *st, const char *conv, va_list args)
{
	if (!conv)
		stats_append(st, "null", 4);
	else if (*conv == '{' || *conv == '[')
		stats_open(st, *conv);
	else if (!strcmp(conv, "s"))
		stats_string(st, va_arg(args, const char *));
	else if (!strcmp(conv, "d"))
		stats_printf(st, "%d", va_arg(args, int));
	else if (!strcmp(conv, "u"))
		stats_printf(st, "%u", va_arg(args, unsigned int));
	else if (!strcmp(conv, "ld"))
		stats_printf(st, "%ld", va_arg(args, long));
	else if (!strcmp(conv, "lu"))
		stats_printf(st, "%lu", va_arg(args, unsigned long));
	else if (!strcmp(conv, "lld"))
		stats_printf(st, "%lld", va_arg(args, long long));
	else if (!strcmp(conv, "llu"))
		stats_printf(st, "%llu", va_arg(args, unsigned long long));
	else if (!strcmp(conv, "f"))
		stats_printf(st, "%f", va_arg(args, double));
	else
		stats_fail(st, -EINVAL);
}

void
tapdisk_stats_field(td_stats_t *st, const char *key, const char *conv, ...)
{
	va_list args;

	stats_next(st);
	stats_string(st, key);
	stats_append(st, ": ", 2);
	va_start(args, conv);
	stats_value(st, conv, args);
	va_end(args);
}

void
tapdisk_stats_val(td_stats_t *st, const char *conv, ...)
{
	va_list args;

	stats_next(st);
	va_start(args, conv);
	stats_value(st, conv, args);
	va_end(args);
}

void
tapdisk_stats_init(td_stats_t *st)
{
	memset(st, 0, sizeof(*st));
}

int
tapdisk_stats_finish(td_stats_t *st, char **json, size_t *len)
{
	if (st->depth)
		stats_fail(st, -EINVAL);

	if (st->err) {
		free(st->buf);
		st->buf = NULL;
		return st->err;
	}

	*json = st->buf;
	*len = st->len;
	return 0;
}
