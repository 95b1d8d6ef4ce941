/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool.h - objects of one size, reused
 *
 * Objects are allocated a block at a time and kept until the pool is released,
 * so that the steady state allocates nothing. A pool is as large as the most
 * that was ever in use at once; its user bounds that.
 */
#ifndef MIGRATE_POOL_H
#define MIGRATE_POOL_H

#include <stddef.h>

struct pool {
	size_t size; /* of an object, bytes; at least a pointer's */
	size_t used; /* objects */
	void *free;
	void *blocks;
};

void pool_init(struct pool *p, size_t size);
void pool_release(struct pool *p); /* none in use */
void *pool_get(struct pool *p);	   /* zeroed; NULL if out of memory */
void pool_put(struct pool *p, void *object);

#endif
