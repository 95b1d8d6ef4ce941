/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-nbd-memory.h - what NBD clients' requests may take of this process's memory
 *
 * It is locked, so it must be bounded whatever clients do; and no client may have so much
 * of it that the others have none. A connection has some of its own, which nobody takes
 * from it; what it needs beyond is shared, by the connections of its VBD and by all VBDs.
 * Where no more is to be had, the connections of a VBD wait for it in their order. So that
 * nothing waits for ever, a VBD that has nothing of what is shared may have any one request.
 *
 *	the connection's own		NBD_OWN_BYTES	     1 MiB
 *	the connection's in all		NBD_CONN_BYTES	    32 MiB, the largest request
 *	shared by a VBD's		NBD_VBD_BYTES	   128 MiB
 *	shared by all of the process	NBD_PROCESS_BYTES  256 MiB, and a request for each VBD
 *	kept for the next requests	NBD_IDLE_BYTES	    32 MiB
 */
#ifndef TAPDISK_NBD_MEMORY_H
#define TAPDISK_NBD_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "list.h"

#define NBD_OWN_BYTES	  ((size_t)1 << 20)
#define NBD_CONN_BYTES	  ((size_t)32 << 20)
#define NBD_VBD_BYTES	  ((size_t)128 << 20)
#define NBD_PROCESS_BYTES ((size_t)256 << 20)
#define NBD_IDLE_BYTES	  ((size_t)32 << 20)

/* What a VBD's connections share. */
struct nbd_budget {
	size_t shared;		  /* bytes in use beyond the connections' own */
	struct list_head waiting; /* nbd_account.waiting, in order of arrival */
	struct list_head link;	  /* among the budgets that somebody waits for */
};

/* A connection's. */
struct nbd_account {
	struct nbd_budget *budget;
	size_t bytes; /* in use */
	struct list_head waiting;
	/* Some memory has come free: nbd_memory_admits() may say yes now. */
	void (*wake)(struct nbd_account *account);
};

void nbd_budget_init(struct nbd_budget *budget);
void nbd_account_init(struct nbd_account *account, struct nbd_budget *budget,
		      void (*wake)(struct nbd_account *account));

/* Waits for nothing any more. Its buffers are to be given back nevertheless. */
void nbd_account_leave(struct nbd_account *account);

/*
 * Whether a buffer of size bytes (0 to NBD_CONN_BYTES) may be had now. If not, and others
 * are the reason, wake() is called when that may have changed; otherwise the account's own
 * use has to shrink first.
 */
bool nbd_memory_admits(struct nbd_account *account, size_t size);

/* A buffer that has been admitted; NULL if the system has no memory. */
void *nbd_memory_get(struct nbd_account *account, size_t size);
/* Takes it back; size as it was asked for. */
void nbd_memory_put(struct nbd_account *account, void *buffer, size_t size);

/* Frees what is kept for the next requests. */
void nbd_memory_trim(void);

#endif
