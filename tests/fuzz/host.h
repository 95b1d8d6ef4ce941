/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * host.h - a tapdisk for fuzz targets: its own loop, VBDs and servers
 *
 * Only three things are not tapdisk's: nobody waits for the clock, a guest that is
 * connected has a ring in this process and does nothing, and aio: is a disk
 * in memory. Its name is its size in sectors, at most RAM_SECTORS, with a "k" behind
 * it for sectors of 4096 bytes and an "r" for one that is read only. It answers one
 * request in each turn of the loop.
 */
#ifndef TESTS_FUZZ_HOST_H
#define TESTS_FUZZ_HOST_H

#include <sys/types.h>

#include "fuzz.h"
#include "tapdisk-server.h"

#define RAM_SECTORS 4096

struct ram_behaviour {
	bool newest_first;
	unsigned int fail; /* so many requests fail next */
	int err;	   /* and this is how */
};
extern struct ram_behaviour ram_behaviour;

/* Makes tapdisk ready, once; $BLKTAP_RUN_DIR must be set. Also forgets ram_behaviour. */
void host_begin(void);
/* Turns of the loop. */
void host_turns(unsigned int n);

/* A VBD that is open; and its end, when its front ends have gone. */
td_vbd_t *host_open(td_uuid_t minor, const char *name);
void host_close(td_vbd_t *vbd);

/* A client's end of a connection to a socket in the run directory, or -1. */
int host_connect(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
