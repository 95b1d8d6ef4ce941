/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal over a store in memory: what is written down is read back, what is
 * damaged is told from what was torn, and what fails is never believed. Crashes in
 * every order are the simulator's matter.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "journal-record.h"
#include "journal.h"
#include "memory-store.h"

#define SECTORS	  (4ull * JOURNAL_REGION_SECTORS + 100)
#define ENTRIES	  256u
#define FAR_AWAY  (3ull * JOURNAL_REGION_SECTORS)
#define WHY_BYTES 200

static const uint8_t uuid[16] = "a migration's id";

struct running {
	struct memory memory;
	struct journal *journal;
	struct journal_live *live;
	struct validity *map;
	struct journal_marks marks;
	struct journal_live *old; /* as the journal's config has it */
	const char *note;
	unsigned changed;
};

struct waiting {
	struct journal_wait wait;
	bool done;
};

static size_t
put_note(void *ctx, char *buf, size_t size)
{
	const struct running *r = ctx;

	assert_true(strlen(r->note) <= size);
	memcpy(buf, r->note, strlen(r->note));
	return strlen(r->note);
}

static void
on_changed(void *ctx)
{
	((struct running *)ctx)->changed++;
}

static void
on_done(struct journal_wait *w)
{
	((struct waiting *)((char *)w - offsetof(struct waiting, wait)))->done = true;
}

/* A flush of these sides goes well. */
static void
flush_disks(struct running *r, side_mask sides)
{
	for (enum side s = SRC; s < SIDES; s++)
		if (sides & side_bit(s))
			r->marks.stable[s] = r->marks.wrote[s];
}

/* What the engine does to M. */
static void
narrow_map(void *ctx, uint64_t sector, uint64_t count, side_mask kept)
{
	struct running *r = ctx;
	uint64_t end = sector + count, run;

	for (; sector < end; sector += run)
		if (validity_get(r->map, sector, end - sector, &run) == BOTH) {
			assert_int_equal(validity_reserve(r->map), 0);
			validity_set(r->map, sector, run, kept);
			validity_unreserve(r->map);
		}
}

/* A sync of everything, for which these disks could be flushed. */
static void
sync_all(struct running *r, side_mask flushed)
{
	struct waiting w = { .wait.done = on_done };

	journal_take_all(r->journal);
	flush_disks(r, flushed);
	journal_sync_all(r->journal, &w.wait, flushed, narrow_map, r);
	assert_true(w.done);
}

static void
start_with(struct running *r, uint64_t epoch, struct validity *map)
{
	const struct journal_config config = {
		.store = &r->memory.store,
		.live = r->live,
		.old = r->old,
		.epoch = epoch,
		.head = "head",
		.head_len = 4,
		.log_bytes = 8192,
		.note = put_note,
		.ctx = r,
	};

	r->map = map;
	r->journal = journal_create(&config, SECTORS);
	assert_non_null(r->journal);
	journal_attach(r->journal, map, &r->marks, on_changed, r);
}

static void
start(struct running *r)
{
	*r = (struct running){ .note = "a note" };
	memory_init(&r->memory);
	r->live = calloc(1, journal_live_bytes(ENTRIES));
	r->live->entries = ENTRIES;
	start_with(r, 1, validity_create(SECTORS, SRC_BIT));
	sync_all(r, BOTH);
}

static void
stop(struct running *r)
{
	journal_destroy(r->journal);
	validity_destroy(r->map);
	memory_release(&r->memory);
	free(r->live);
}

/* M and the journal change together, once the disks have answered, as in the engine. */
static void
change(struct running *r, uint64_t sector, uint64_t count, side_mask sides)
{
	for (enum side s = SRC; s < SIDES; s++)
		r->marks.wrote[s] += (sides & side_bit(s)) != 0;
	assert_int_equal(validity_reserve(r->map), 0);
	validity_set(r->map, sector, count, sides);
	validity_unreserve(r->map);
	journal_change(r->journal, CHANGE_SET, sector, count, sides);
}

/* The guest flushes, and these disks could be. */
static void
flush_of(struct running *r, side_mask sides)
{
	struct waiting w = { .wait.done = on_done };

	flush_disks(r, sides);
	journal_sync(r->journal, &w.wait);
	assert_true(w.done);
}

static void
flush(struct running *r)
{
	flush_of(r, BOTH);
}

static int
read_back(const struct running *r, const struct journal_live *live, struct journal_contents *c,
	  struct validity **map)
{
	char why[WHY_BYTES] = "";
	int err = journal_read(r->memory.bytes[STORE_CURRENT], r->memory.len[STORE_CURRENT],
			       live, c, map, why, sizeof(why));

	assert_int_equal(!*why, !err);
	return err;
}

static void
assert_same(const struct validity *a, const struct validity *b)
{
	uint64_t run_a, run_b;

	for (uint64_t s = 0; s < SECTORS; s += run_a < run_b ? run_a : run_b)
		assert_int_equal(validity_get(a, s, SECTORS - s, &run_a),
				 validity_get(b, s, SECTORS - s, &run_b));
}

static void
assert_reads_as(const struct running *r, const struct journal_live *live)
{
	struct journal_contents c;
	struct validity *map;

	assert_int_equal(read_back(r, live, &c, &map), 0);
	assert_int_equal(c.live, live != NULL);
	assert_same(map, r->map);
	validity_destroy(map);
}

/* --- files ------------------------------------------------------------------- */

static void
test_a_new_file_says_what_it_was_made_of(void **state)
{
	struct journal_contents c;
	struct validity *map;
	char why[WHY_BYTES];
	size_t size;
	void *bytes = journal_new(uuid, SECTORS, "{1}", 3, "{22}", 4, &size);

	assert_int_equal(journal_read(bytes, size, NULL, &c, &map, why, sizeof(why)), 0);
	assert_int_equal(c.sectors, SECTORS);
	assert_int_equal(c.epoch, 1);
	assert_memory_equal(c.uuid, uuid, 16);
	assert_int_equal(c.head_len, 3);
	assert_memory_equal(c.head, "{1}", 3);
	assert_int_equal(c.note_len, 4);
	assert_memory_equal(c.note, "{22}", 4);
	assert_int_equal(validity_lacking(map, SRC), 0);
	assert_int_equal(validity_lacking(map, DST), SECTORS);
	assert_int_equal(c.used, size);
	assert_false(c.torn);
	validity_destroy(map);
	free(bytes);
}

static void
test_every_cut_and_every_bit_of_a_new_file_is_noticed(void **state)
{
	struct journal_contents c;
	struct validity *map;
	char why[WHY_BYTES];
	size_t size;
	uint8_t *bytes = journal_new(uuid, SECTORS, "{1}", 3, "{22}", 4, &size);

	/* The last record is the map's end: without it nothing is whole. */
	for (size_t cut = 0; cut < size - JOURNAL_ALIGN; cut++)
		assert_true(journal_read(bytes, cut, NULL, &c, &map, why, sizeof(why)) < 0);
	for (size_t bit = 0; bit < size * 8; bit++) {
		int err;

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		err = journal_read(bytes, size, NULL, &c, &map, why, sizeof(why));
		if (!err) { /* padding */
			assert_int_equal(validity_lacking(map, SRC), 0);
			validity_destroy(map);
		}
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	free(bytes);
}

static void
test_a_newer_version_is_refused_by_its_number(void **state)
{
	struct running r;
	struct journal_contents c;
	struct validity *map;

	start(&r);
	/* What a program of that version would have written in the first 16 bytes. */
	memcpy(r.memory.bytes[STORE_CURRENT] + 8, "\x02\x00\x00\x00\x75\xc6\xae\xda", 8);
	assert_int_equal(read_back(&r, NULL, &c, &map), -EPROTONOSUPPORT);
	assert_int_equal(c.version, 2);
	stop(&r);
}

/* --- running ------------------------------------------------------------------- */

static void
test_what_is_synced_is_read_back(void **state)
{
	struct running r;
	struct journal_contents c;
	struct validity *map;

	start(&r);
	change(&r, 0, 2048, BOTH);
	change(&r, 7, 3, DST_BIT);
	change(&r, FAR_AWAY, 1, DST_BIT);
	flush(&r);
	assert_reads_as(&r, NULL);
	r.note = "another";
	journal_note(r.journal, NULL);
	assert_int_equal(read_back(&r, NULL, &c, &map), 0);
	assert_int_equal(c.note_len, 7);
	assert_memory_equal(c.note, "another", 7);
	assert_int_equal(c.epoch, 2);
	validity_destroy(map);
	stop(&r);
}

static void
test_what_is_not_synced_is_in_the_live_changes(void **state)
{
	struct running r;
	struct journal_contents c;
	struct validity *map;

	start(&r);
	change(&r, 10, 20, DST_BIT);
	flush(&r);
	change(&r, 100, 50, DST_BIT);
	assert_reads_as(&r, r.live);
	/* After a power failure there are none: that write was not flushed. */
	assert_int_equal(read_back(&r, NULL, &c, &map), 0);
	assert_int_equal(validity_count(map, DST_BIT), 20);
	validity_destroy(map);
	/* Those of another epoch are not believed. */
	r.live->epoch++;
	assert_int_equal(read_back(&r, r.live, &c, &map), 0);
	assert_false(c.live);
	assert_int_equal(validity_count(map, DST_BIT), 20);
	validity_destroy(map);
	stop(&r);
}

static void
test_nothing_is_written_if_there_is_nothing_to_write(void **state)
{
	struct running r;
	unsigned writes;

	start(&r);
	change(&r, 1, 1, DST_BIT);
	flush(&r);
	writes = r.memory.count[STORE_WRITE];
	flush(&r);
	journal_change(r.journal, CHANGE_AHEAD, 1, 1, DST_BIT);
	flush(&r);
	assert_int_equal(r.memory.count[STORE_WRITE], writes);
	stop(&r);
}

static void
test_a_torn_tail_is_cut_and_damage_is_not(void **state)
{
	struct running r;
	struct journal_contents c;
	struct validity *map;
	size_t first, second;

	start(&r);
	first = r.memory.len[STORE_CURRENT];
	change(&r, 1, 1, DST_BIT);
	flush(&r);
	second = r.memory.len[STORE_CURRENT];
	r.memory.bytes[STORE_CURRENT][first + 60] ^= 1;
	/* Nothing says that it had been synced. */
	assert_int_equal(read_back(&r, NULL, &c, &map), 0);
	assert_true(c.torn);
	assert_int_equal(c.used, first);
	assert_int_equal(validity_count(map, DST_BIT), 0);
	validity_destroy(map);
	/* Now something does. */
	change(&r, 2, 1, DST_BIT);
	flush(&r);
	assert_true(r.memory.len[STORE_CURRENT] > second);
	assert_int_equal(read_back(&r, NULL, &c, &map), -EUCLEAN);
	assert_int_equal(c.bad, first);
	stop(&r);
}

static void
test_an_intent_is_stable_before_the_write_and_resolves_what_is_in_doubt(void **state)
{
	struct running r;
	struct journal_contents c;
	struct validity *map;
	struct intent *intent;

	start(&r);
	change(&r, 0, SECTORS, BOTH);
	flush(&r);
	r.memory.hold = true;
	assert_false(journal_intent(r.journal, 5, DST));
	assert_false(journal_intent(r.journal, 6, DST));
	r.memory.hold = false;
	memory_do(&r.memory, r.memory.held);
	assert_true(journal_intent(r.journal, 5, DST));
	intent = journal_write_begins(r.journal, 5);

	assert_int_equal(read_back(&r, NULL, &c, &map), 0);
	assert_int_equal(c.intents, 1);
	assert_int_equal(c.doubtful, JOURNAL_REGION_SECTORS);
	assert_int_equal(validity_count(map, DST_BIT), JOURNAL_REGION_SECTORS);
	assert_int_equal(validity_count(map, BOTH), SECTORS - JOURNAL_REGION_SECTORS);
	validity_destroy(map);

	/* It goes once nothing is in flight and all has been flushed since, not sooner. */
	sync_all(&r, BOTH);
	sync_all(&r, BOTH);
	assert_true(journal_trusts(r.journal, DST));
	journal_write_ends(intent);
	sync_all(&r, SRC_BIT);
	assert_true(journal_trusts(r.journal, DST));
	sync_all(&r, BOTH);
	sync_all(&r, BOTH); /* one that was in use stays a while */
	assert_false(journal_trusts(r.journal, DST));
	flush(&r);
	change(&r, 0, 1, DST_BIT);
	flush(&r);
	assert_reads_as(&r, NULL);
	stop(&r);
}

static void
test_a_file_that_has_grown_is_replaced(void **state)
{
	struct running r;

	start(&r);
	for (unsigned i = 0; i < 2000; i++) {
		change(&r, i * 64, 8, i % 2 ? DST_BIT : BOTH);
		if (i % 16 == 0)
			flush(&r);
		if (journal_wants_sync(r.journal))
			sync_all(&r, BOTH);
	}
	flush(&r);
	assert_true(r.memory.count[STORE_PUBLISH] > 2);
	assert_true(r.memory.len[STORE_CURRENT] < 64 << 10);
	assert_reads_as(&r, NULL);
	stop(&r);
}

static void
test_after_a_failed_write_only_a_new_file_is_believed(void **state)
{
	struct running r;
	struct journal_status status;
	struct waiting w = { .wait.done = on_done };

	start(&r);
	change(&r, 1, 1, DST_BIT);
	r.memory.fail[STORE_WRITE] = -EIO;
	flush_disks(&r, BOTH);
	journal_sync(r.journal, &w.wait);
	assert_false(w.done);
	assert_false(journal_open_to_writes(r.journal));
	journal_get_status(r.journal, &status);
	assert_int_equal(status.state, JOURNAL_FAILED);
	assert_int_equal(status.error, -EIO);
	assert_true(journal_wants_sync(r.journal));
	sync_all(&r, BOTH);
	assert_true(w.done);
	assert_true(journal_open_to_writes(r.journal));
	journal_get_status(r.journal, &status);
	assert_int_equal(status.state, JOURNAL_GOOD);
	assert_reads_as(&r, NULL);
	stop(&r);
}

static void
test_a_full_file_system_stops_the_copier_first_and_is_waited_for(void **state)
{
	struct running r;
	struct journal_status status;
	struct waiting w;
	unsigned flushed = 0;

	start(&r);
	for (uint64_t s = 0;; s += 16) {
		w = (struct waiting){ .wait.done = on_done };
		change(&r, s % SECTORS, 8, s / SECTORS % 2 ? BOTH : DST_BIT);
		r.memory.fail[STORE_GROW] = -ENOSPC;
		flush_disks(&r, BOTH);
		journal_sync(r.journal, &w.wait);
		if (!w.done)
			break;
		flushed++;
		journal_get_status(r.journal, &status);
		if (status.state == JOURNAL_FULL) {
			assert_false(journal_open_to_copies(r.journal));
			assert_true(journal_open_to_writes(r.journal));
		}
	}
	assert_true(flushed > 0);
	journal_get_status(r.journal, &status);
	assert_int_equal(status.state, JOURNAL_FULL);
	assert_int_equal(status.error, -ENOSPC);
	r.memory.fail[STORE_GROW] = 0;
	journal_retry(r.journal);
	assert_true(w.done);
	journal_get_status(r.journal, &status);
	assert_int_equal(status.state, JOURNAL_GOOD);
	assert_reads_as(&r, NULL);
	stop(&r);
}

/* The sides that the file names for a sector, after a power failure. */
static side_mask
file_says(const struct running *r, uint64_t sector)
{
	struct journal_contents c;
	struct validity *map;
	side_mask sides;
	uint64_t run;

	assert_int_equal(read_back(r, NULL, &c, &map), 0);
	sides = validity_get(map, sector, 1, &run);
	validity_destroy(map);
	return sides;
}

static void
test_the_file_names_a_side_only_once_that_has_been_flushed(void **state)
{
	struct running r;

	start(&r);
	change(&r, 0, 10, BOTH);
	change(&r, 100, 10, DST_BIT);
	flush_of(&r, NO_SIDE);
	assert_int_equal(file_says(&r, 0), SRC_BIT); /* as it was before */
	assert_int_equal(file_says(&r, 100), SRC_BIT);
	flush_of(&r, SRC_BIT);
	assert_int_equal(file_says(&r, 0), SRC_BIT);
	assert_int_equal(file_says(&r, 100), SRC_BIT);
	/* Who is killed meanwhile loses nothing. */
	assert_reads_as(&r, r.live);
	flush_of(&r, DST_BIT);
	assert_int_equal(file_says(&r, 0), BOTH);
	assert_int_equal(file_says(&r, 100), DST_BIT);
	assert_reads_as(&r, NULL);
	stop(&r);
}

static void
test_what_is_said_late_does_not_undo_what_came_after_it(void **state)
{
	struct running r;

	start(&r);
	change(&r, 0, 10, DST_BIT);
	change(&r, 5, 10, SRC_BIT);
	flush_of(&r, SRC_BIT); /* the later one alone */
	assert_int_equal(file_says(&r, 7), SRC_BIT);
	flush_of(&r, DST_BIT);
	assert_int_equal(file_says(&r, 0), DST_BIT);
	assert_int_equal(file_says(&r, 7), SRC_BIT);
	assert_reads_as(&r, NULL);
	stop(&r);
}

static void
test_a_flush_that_failed_takes_away_what_both_had(void **state)
{
	struct running r;

	start(&r);
	change(&r, 0, 100, BOTH);
	flush(&r);
	change(&r, 200, 100, BOTH);
	validity_distrust(r.map, DST);
	journal_flush_failed(r.journal, DST, true);
	/* The source has what has come since, but not stably. */
	assert_int_equal(file_says(&r, 0), BOTH);
	/* The guest's writes need no intent any more, so they wait until the file says so. */
	assert_false(journal_open_to_writes(r.journal));
	flush_of(&r, SRC_BIT);
	assert_true(journal_open_to_writes(r.journal));
	assert_int_equal(file_says(&r, 0), SRC_BIT);
	/* A flush that goes well afterwards does not bring it back. */
	flush(&r);
	assert_int_equal(file_says(&r, 0), SRC_BIT);
	assert_int_equal(file_says(&r, 200), SRC_BIT);
	assert_reads_as(&r, NULL);
	stop(&r);
}

static void
fill_live_changes(struct running *r, unsigned but)
{
	while (r->live->head < ENTRIES - 1 - but)
		change(r, 1000 + r->live->head * 64, 8, DST_BIT);
}

/* It goes on with a file that is made of the map, and until then nothing is said. */
static void
test_without_room_to_say_what_is_left_of_a_lost_write_the_file_is_made_anew(void **state)
{
	struct waiting w = { .wait.done = on_done };
	struct journal_status status;
	struct running r;

	start(&r);
	change(&r, 0, 100, BOTH);
	fill_live_changes(&r, 2);
	validity_failed(r.map, 0, 10, DST_BIT);
	journal_failed(r.journal, 0, 10, DST_BIT);
	journal_get_status(r.journal, &status);
	assert_int_equal(status.state, JOURNAL_FAILED);
	assert_int_equal(status.error, 0); /* nobody need do anything */
	assert_false(journal_open_to_writes(r.journal));
	assert_true(journal_wants_sync(r.journal));
	flush_disks(&r, DST_BIT);
	journal_sync(r.journal, &w.wait);
	assert_false(w.done);
	assert_int_equal(file_says(&r, 0), SRC_BIT);
	sync_all(&r, BOTH);
	assert_true(w.done);
	assert_true(journal_open_to_writes(r.journal));
	assert_int_equal(file_says(&r, 0), SRC_BIT);
	assert_int_equal(file_says(&r, 50), BOTH);
	assert_reads_as(&r, NULL);
	stop(&r);
}

/* So that a dead disk does not hold the guest for ever; the status tells. */
static void
test_a_disk_that_is_never_flushed_does_not_fill_the_live_changes(void **state)
{
	struct running r;
	struct journal_status status;

	start(&r);
	for (uint64_t i = 0; i < 8 * ENTRIES; i++) {
		assert_true(journal_reserve(r.journal, 1));
		journal_unreserve(r.journal, 1);
		change(&r, i * 64, 8, i % 2 ? DST_BIT : BOTH);
		if (journal_wants_sync(r.journal))
			sync_all(&r, SRC_BIT);
	}
	journal_get_status(r.journal, &status);
	assert_true(status.forced > 0);
	assert_reads_as(&r, r.live);
	/* What was on both, and is not, is the source's, in M too. */
	assert_true(validity_count(r.map, BOTH) < ENTRIES * 8);
	sync_all(&r, BOTH);
	assert_reads_as(&r, NULL);
	stop(&r);
}

static void
test_an_opening_that_is_killed_early_leaves_word_of_a_failed_flush(void **state)
{
	struct running r;
	struct journal_live *old;
	struct journal_contents c;
	struct validity *map;

	start(&r);
	change(&r, 0, 100, BOTH);
	old = r.live;
	journal_destroy(r.journal);
	validity_destroy(r.map);
	assert_int_equal(read_back(&r, old, &c, &map), 0);
	r.live = calloc(1, journal_live_bytes(ENTRIES));
	r.live->entries = ENTRIES;
	r.old = old;
	start_with(&r, c.epoch, map);
	journal_flush_failed(r.journal, DST, true);
	/* It has no file yet: the next opening reads the old one. */
	assert_int_equal(read_back(&r, old, &c, &map), 0);
	assert_int_equal(validity_count(map, SRC_BIT), SECTORS);
	validity_destroy(map);
	free(old);
	stop(&r);
}

/* The other one has the new data or the old, but nothing older. */
static void
test_a_side_that_failed_a_flush_is_not_believed_to_have_half_a_mirrored_write(void **state)
{
	struct running r;
	struct journal_contents c;
	struct validity *map;
	struct journal_ahead ahead;

	start(&r);
	change(&r, 0, 100, BOTH);
	flush(&r);
	journal_ahead(r.journal, &ahead, 10, 1, SRC_BIT);
	assert_int_equal(read_back(&r, r.live, &c, &map), 0);
	assert_int_equal(validity_count(map, SRC_BIT), SECTORS - 99);
	validity_destroy(map);
	validity_distrust(r.map, SRC);
	journal_flush_failed(r.journal, SRC, true);
	assert_int_equal(read_back(&r, r.live, &c, &map), 0);
	assert_int_equal(validity_count(map, DST_BIT), 100);
	validity_destroy(map);
	journal_ahead_ends(&ahead);
	stop(&r);
}

static void
test_what_the_guest_is_to_be_told_survives_a_kill(void **state)
{
	struct running r;
	struct journal_contents c;
	struct validity *map;

	start(&r);
	assert_int_equal(read_back(&r, r.live, &c, &map), 0);
	assert_false(c.owed);
	validity_destroy(map);
	journal_owe(r.journal, true);
	assert_int_equal(read_back(&r, r.live, &c, &map), 0);
	assert_true(c.owed);
	validity_destroy(map);
	journal_owe(r.journal, false);
	assert_int_equal(read_back(&r, r.live, &c, &map), 0);
	assert_false(c.owed);
	validity_destroy(map);
	stop(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_file_says_what_it_was_made_of),
		cmocka_unit_test(test_every_cut_and_every_bit_of_a_new_file_is_noticed),
		cmocka_unit_test(test_a_newer_version_is_refused_by_its_number),
		cmocka_unit_test(test_what_is_synced_is_read_back),
		cmocka_unit_test(test_what_is_not_synced_is_in_the_live_changes),
		cmocka_unit_test(test_nothing_is_written_if_there_is_nothing_to_write),
		cmocka_unit_test(test_a_torn_tail_is_cut_and_damage_is_not),
		cmocka_unit_test(
			test_an_intent_is_stable_before_the_write_and_resolves_what_is_in_doubt),
		cmocka_unit_test(test_a_file_that_has_grown_is_replaced),
		cmocka_unit_test(test_after_a_failed_write_only_a_new_file_is_believed),
		cmocka_unit_test(
			test_a_full_file_system_stops_the_copier_first_and_is_waited_for),
		cmocka_unit_test(test_the_file_names_a_side_only_once_that_has_been_flushed),
		cmocka_unit_test(test_what_is_said_late_does_not_undo_what_came_after_it),
		cmocka_unit_test(test_a_flush_that_failed_takes_away_what_both_had),
		cmocka_unit_test(
			test_without_room_to_say_what_is_left_of_a_lost_write_the_file_is_made_anew),
		cmocka_unit_test(
			test_a_disk_that_is_never_flushed_does_not_fill_the_live_changes),
		cmocka_unit_test(
			test_an_opening_that_is_killed_early_leaves_word_of_a_failed_flush),
		cmocka_unit_test(
			test_a_side_that_failed_a_flush_is_not_believed_to_have_half_a_mirrored_write),
		cmocka_unit_test(test_what_the_guest_is_to_be_told_survives_a_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
