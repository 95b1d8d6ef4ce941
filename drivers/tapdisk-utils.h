/* SPDX-License-Identifier: BSD-3-Clause */
/* tapdisk-utils.h - small things that drivers written for blktap expect */
#ifndef TAPDISK_UTILS_H
#define TAPDISK_UTILS_H

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t
ntohll(uint64_t value)
{
	return be64toh(value);
}

static inline uint64_t
htonll(uint64_t value)
{
	return htobe64(value);
}

/* A copy of name that the caller frees. 0 or -ENOMEM. */
static inline int
tapdisk_namedup(char **copy, const char *name)
{
	*copy = strdup(name);
	return *copy ? 0 : -ENOMEM;
}

#endif
