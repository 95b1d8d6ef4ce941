/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * validity.h - which copies of every sector are valid
 *
 * The whole state of a migration: for each 512-byte sector the set of sides
 * whose copy is valid, {SRC}, {DST} or {SRC,DST}. Invariant: never none.
 *
 * The disk is seen as map chunks of 1 MiB (the unit of this file's memory, not
 * the copier's). A uniform chunk costs two bits. A chunk written in part has a
 * leaf of 4 KiB blocks (64 bytes), refined to sectors (512 bytes) where an
 * unaligned write demands it; a leaf that becomes uniform is given back.
 *
 * Memory, per TiB of disk: at rest 256 KiB and a few KiB of index; after
 * 4 KiB-aligned changes in every chunk about 69 MiB; after unaligned changes in
 * every chunk about 517 MiB. Leaves come from slabs, never from malloc each.
 */
#ifndef MIGRATE_VALIDITY_H
#define MIGRATE_VALIDITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"

struct validity;

/* A map of that many sectors (> 0), all valid on sides; NULL if out of memory. */
struct validity *validity_create(uint64_t sectors, side_mask sides);
void validity_destroy(struct validity *v);

/*
 * Sets aside the memory that one later change of one contiguous range can need,
 * so that validity_set() cannot fail once a write is under way. 0 or -ENOMEM.
 * Each reservation is handed back with validity_unreserve().
 *
 * One reservation also covers changing parts of that range one by one, provided
 * the parts' inner ends lie where the map's value already changes (that is how
 * the outcome of a failed write is applied).
 */
int validity_reserve(struct validity *v);
void validity_unreserve(struct validity *v);

/*
 * The sectors [sector, sector + count), within the disk, are from now on valid
 * on exactly sides (not none). Never fails if a reservation is held.
 */
void validity_set(struct validity *v, uint64_t sector, uint64_t count, side_mask sides);

/*
 * The sides on which sector is valid; *run is how many sectors from there, at
 * most max (> 0) and within the disk, share the value.
 */
side_mask validity_get(const struct validity *v, uint64_t sector, uint64_t max, uint64_t *run);

/* Whether every sector of [sector, sector + count) is valid on side. */
bool validity_all(const struct validity *v, uint64_t sector, uint64_t count, enum side side);

/*
 * The first sector at or after from that is not valid on side, or the disk's
 * size if there is none. Fast: a uniform chunk costs two bits' look.
 */
uint64_t validity_next_lacking(const struct validity *v, uint64_t from, enum side side);

/* How many sectors are valid on exactly these sides; kept, not computed. */
uint64_t validity_count(const struct validity *v, side_mask sides);

/* How many sectors side lacks. 0 for DST: the migration is synchronised. */
uint64_t validity_lacking(const struct validity *v, enum side side);

uint64_t validity_sectors(const struct validity *v);

/*
 * Side is no longer trusted where the other is as good: every {SRC,DST} sector
 * becomes valid on the other side alone. For a flush that failed on side, after
 * which none of its later contents are known to be stable. Needs no memory.
 */
void validity_distrust(struct validity *v, enum side side);

/* Bytes of memory in use, and asked of the system. */
size_t validity_memory(const struct validity *v);

#endif
