/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-stats.h - writes JSON, for tap-ctl stats
 *
 * A value is given by a printf conversion without its percent sign: "d", "u",
 * "ld", "lu", "lld", "llu", "f", or "s" for a string (escaped as JSON demands);
 * "{" or "[" opens an object or an array, which tapdisk_stats_leave() closes;
 * NULL is null. Misuse, too deep a nesting and lack of memory are remembered
 * and reported by tapdisk_stats_finish(); they never end the process.
 */
#ifndef TAPDISK_STATS_H
#define TAPDISK_STATS_H

#include <stdbool.h>
#include <stddef.h>

#include "tapdisk.h"

#define TD_STATS_MAX_DEPTH 32

struct td_stats {
	char *buf; /* malloc'd */
	size_t len;
	size_t size;
	int err; /* the first error, -errno */
	unsigned int depth;
	struct {
		char close; /* what ends this level */
		bool filled;
	} level[TD_STATS_MAX_DEPTH + 1];
};

void tapdisk_stats_init(td_stats_t *st);

/* The text, which the caller frees, and its length; or -errno, and nothing. */
int tapdisk_stats_finish(td_stats_t *st, char **json, size_t *len);

/* Opens a value in an array or at the top. kind: '{' or '['. */
void tapdisk_stats_enter(td_stats_t *st, char kind);
/* Closes the innermost one. kind: '}' or ']'. */
void tapdisk_stats_leave(td_stats_t *st, char kind);
/* "key": value, in an object. */
void tapdisk_stats_field(td_stats_t *st, const char *key, const char *conv, ...);
/* A value in an array. */
void tapdisk_stats_val(td_stats_t *st, const char *conv, ...);

#endif
