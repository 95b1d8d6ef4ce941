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
 * Memory, per TiB of disk: at rest 320 KiB; after 4 KiB-aligned changes in every
 * chunk about 69 MiB; after unaligned changes in every chunk about 517 MiB; and
 * 2.2 KiB for each reservation. Leaves come from slabs, never from malloc each;
 * a slab that empties goes back to the system, but for one in reserve.
 */
#ifndef MIGRATE_VALIDITY_H
#define MIGRATE_VALIDITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"

struct validity;

/*
 * A map of that many sectors (> 0), all valid on sides; NULL if out of memory, or
 * for a disk of more than 2 PiB.
 */
struct validity *validity_create(uint64_t sectors, side_mask sides);
void validity_destroy(struct validity *v);

/*
 * Sets aside the memory that one later change of one contiguous range can need,
 * so that validity_set() cannot fail once a write is under way. 0 or -ENOMEM.
 * Each reservation is handed back with validity_unreserve(), once the change has
 * been made or will not be.
 *
 * One reservation also covers changing parts of that range one by one, where the
 * new value depends on the old one alone, as for the outcome of a failed write:
 * provided the parts' inner ends lie where the map's value already changes, and
 * that a value which some part becomes is one that no part is changed from.
 */
int validity_reserve(struct validity *v);
void validity_unreserve(struct validity *v);

/*
 * The sectors [sector, sector + count), within the disk, are from now on valid
 * on exactly sides (not none). Needs a reservation, and then never fails; ranges
 * whose ends are at a chunk's or the disk's end need none.
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

/*
 * A write of the range to sides has failed: old data, new data or neither is on
 * each of them. A side that was not touched stays as valid as it was; where there
 * is none, exactly one of the touched sides stays valid, for two are never called
 * equal after a failure. Needs a reservation, as validity_set() does.
 */
void validity_failed(struct validity *v, uint64_t sector, uint64_t count, side_mask sides);

/*
 * Calls emit for every longest run of sectors of one value other than {SRC}, in
 * order. Stops at its first answer that is not 0, and returns that; else 0.
 */
int validity_save(const struct validity *v,
		  int (*emit)(void *ctx, uint64_t sector, uint64_t count, side_mask sides),
		  void *ctx);

/* Bytes asked of the system, whether in use or in reserve. */
size_t validity_memory(const struct validity *v);

#endif
