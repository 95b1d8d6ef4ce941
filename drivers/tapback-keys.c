/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapback-keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DOMID 0x7fef /* above are Xen's own */
#define MAX_ORDER 3
#define MAX_REFS  (1 << MAX_ORDER)

_Static_assert(sizeof(((tapdisk_message_blkif_t *)NULL)->gref) == MAX_REFS * sizeof(uint32_t),
	       "a message has room for as many pages as a ring may have");

/* As tapback_number(), but what follows the digits is the caller's to judge. */
static bool
digits(const char **text, uint32_t max, uint32_t *number)
{
	const char *at = *text;
	uint64_t n = 0;

	if (*at < '0' || *at > '9')
		return false;
	for (; *at >= '0' && *at <= '9'; at++) {
		n = n * 10 + (uint64_t)(*at - '0');
		if (n > max)
			return false;
	}
	*text = at;
	*number = (uint32_t)n;
	return true;
}

bool
tapback_number(const char *text, uint32_t max, uint32_t *number)
{
	return text && digits(&text, max, number) && !*text;
}

enum xenbus_state
tapback_state(const char *text)
{
	uint32_t state;

	if (!text)
		return XENBUS_GONE;
	return tapback_number(text, XENBUS_RECONFIGURED, &state) ? (enum xenbus_state)state
								 : XENBUS_UNKNOWN;
}

/* Reads a key that is a number. -ENOENT if it is not there, -EINVAL if it is none. */
static int
read_number(char *(*read)(void *front, const char *key), void *front, const char *key,
	    uint32_t max, uint32_t *number)
{
	char *text = read(front, key);
	int err;

	if (!text)
		return -ENOENT;
	err = tapback_number(text, max, number) ? 0 : -EINVAL;
	free(text);
	return err;
}

/* A guest that does not name its protocol is one of 32 bits, from before there were others. */
static int
read_protocol(char *(*read)(void *front, const char *key), void *front, uint32_t *proto)
{
	static const struct {
		const char *name;
		uint32_t proto;
	} protocols[] = {
		{ "x86_32-abi", 2 },
		{ "x86_64-abi", 3 },
		{ "arm-abi", 1 },
	};
	char *text = read(front, "protocol");
	int err = text ? -EINVAL : 0;

	*proto = 2;
	for (size_t i = 0; text && i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (!strcmp(text, protocols[i].name)) {
			*proto = protocols[i].proto;
			err = 0;
		}
	}
	free(text);
	return err;
}

int
tapback_front_ring(char *(*read)(void *front, const char *key), void *front,
		   tapdisk_message_blkif_t *ring, const char **why)
{
	static const char *const refs[MAX_REFS] = { "ring-ref0", "ring-ref1", "ring-ref2",
						    "ring-ref3", "ring-ref4", "ring-ref5",
						    "ring-ref6", "ring-ref7" };
	int err;

	memset(ring, 0, sizeof(*ring));
	*why = "ring-page-order";
	err = read_number(read, front, *why, MAX_ORDER, &ring->order);
	if (err == -EINVAL)
		return err;
	if (err) { /* a ring of one page may be named in the way of old */
		*why = "ring-ref";
		err = read_number(read, front, *why, UINT32_MAX, &ring->gref[0]);
	} else {
		for (unsigned int i = 0; !err && i < 1u << ring->order; i++) {
			*why = refs[i];
			err = read_number(read, front, *why, UINT32_MAX, &ring->gref[i]);
		}
		if (err == -ENOENT && !ring->order) {
			*why = "ring-ref";
			err = read_number(read, front, *why, UINT32_MAX, &ring->gref[0]);
		}
	}
	if (!err) {
		*why = "event-channel";
		err = read_number(read, front, *why, UINT32_MAX, &ring->port);
	}
	if (!err) {
		*why = "protocol";
		err = read_protocol(read, front, &ring->proto);
	}
	return err ? -EINVAL : 0;
}

bool
tapback_device_path(const char *text, const char *run_dir, pid_t *pid, int *minor)
{
	const size_t dir = strlen(run_dir);
	uint32_t n, m;

	if (!text || strncmp(text, run_dir, dir) || strncmp(text + dir, "/nbd", 4))
		return false;
	text += dir + 4;
	if (!digits(&text, INT32_MAX, &n) || *text++ != '.' ||
	    !tapback_number(text, TAPDISK_MAX_MINORS - 1, &m))
		return false;
	*pid = (pid_t)n;
	*minor = (int)m;
	return n > 0;
}

bool
tapback_node(const char *path, const char *root, uint32_t *domid, uint32_t *devid)
{
	const size_t len = strlen(root);

	if (strncmp(path, root, len) || path[len] != '/')
		return false;
	path += len + 1;
	if (!digits(&path, MAX_DOMID, domid) || *path++ != '/' ||
	    !digits(&path, UINT32_MAX, devid))
		return false;
	return !*path || *path == '/';
}
