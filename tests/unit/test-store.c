/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-lost.o */
/* links: drivers/tapdisk-vbd-image.o */
/* links: drivers/tapdisk-loop.o drivers/thread-io.o */
/* links: drivers/migrate-store.o drivers/migrate-live.o drivers/migrate-file.o */
/* links: drivers/migrate-journal.o drivers/migrate-unnamed.o drivers/image-lock.o */
/* links: drivers/tapdisk-worker.o drivers/tapdisk-log.o */
/* links: drivers/tapdisk-server.o drivers/tapdisk-vbd.o drivers/tapdisk-image.o */
/* links: drivers/tapdisk-interface.o drivers/tapdisk-driver.o drivers/tapdisk-disktype.o */
/* links: drivers/migrate-text.o */
/* links: drivers/tapdisk-stats.o drivers/scheduler.o drivers/libaio-backend.o */
/* The journal's files: the store, the live changes, and what is made and loaded. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "migrate-journal.h"
#include "migrate-live.h"
#include "migrate-store.h"
#include "tapdisk-control.h"
#include "tapdisk-server.h"

/* The loop asks for control clients; there are none here. */
void
tapdisk_control_run(void)
{
}

void
tapdisk_control_shutdown(void)
{
}

void
tapdisk_control_close(void)
{
}

bool
tapdisk_control_idle(void)
{
	return true;
}

#define UUID "01234567-89ab-cdef-0123-456789abcdef"
static const uint8_t uuid[16] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
				  0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };

static char dir[] = "/var/tmp/tm.XXXXXX";
static char why[256];

static const char *
in_dir(const char *name)
{
	static char path[4][96];
	static int i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static void
make(const char *name, const char *text)
{
	FILE *file = fopen(in_dir(name), "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void
assert_holds(const char *name, const char *text)
{
	char bytes[4096];
	FILE *file = fopen(in_dir(name), "r");
	size_t n;

	assert_non_null(file);
	n = fread(bytes, 1, sizeof(bytes) - 1, file);
	bytes[n] = '\0';
	fclose(file);
	assert_string_equal(bytes, text);
}

static bool
exists(const char *name)
{
	return !access(in_dir(name), F_OK);
}

/* --- the store ------------------------------------------------------------------ */

static struct migrate_store *
opened(void)
{
	struct migrate_store *s = NULL;

	assert_int_equal(migrate_store_open(&s, in_dir("j"), why, sizeof(why)), 0);
	return s;
}

struct waited {
	struct store_io io;
	bool done;
	int err;
};

static void
answer(struct store_io *io, int err)
{
	struct waited *w = (struct waited *)io;

	w->done = true;
	w->err = err;
}

static int
request(struct migrate_store *s, enum store_op op, enum store_file file, uint64_t offset,
	const char *text, size_t len)
{
	struct waited w = { .io = { .op = op,
				    .file = file,
				    .offset = offset,
				    .buf = text,
				    .len = len,
				    .done = answer } };

	migrate_store(s)->submit(migrate_store(s), &w.io);
	while (!w.done)
		tapdisk_server_iterate();
	return w.err;
}

static int
put(struct migrate_store *s, enum store_file file, uint64_t offset, const char *text)
{
	return request(s, STORE_WRITE, file, offset, text, strlen(text));
}

static int
publish(struct migrate_store *s)
{
	return request(s, STORE_PUBLISH, STORE_NEXT, 0, NULL, 0);
}

static void
test_current(void **state)
{
	struct migrate_store *s;
	void *bytes;
	size_t len;

	make("j", "abc");
	s = opened();
	assert_int_equal(migrate_store_read(s, &bytes, &len, why, sizeof(why)), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(bytes, "abc", 3);
	free(bytes);
	assert_int_equal(put(s, STORE_CURRENT, 2, "xy"), 0);
	migrate_store_close(s);
	assert_holds("j", "abxy");
}

static void
test_next_is_begun_anew(void **state)
{
	struct migrate_store *s;
	struct stat st;

	make("j", "old");
	make("j.next", "left by a process that was killed");
	s = opened();
	assert_holds("j.next", "left by a process that was killed");
	assert_int_equal(put(s, STORE_NEXT, 0, "first try"), 0);
	assert_int_equal(put(s, STORE_NEXT, 0, "new"), 0);
	assert_int_equal(put(s, STORE_NEXT, 3, "er"), 0);
	assert_holds("j.next", "newer");
	assert_holds("j", "old");
	assert_int_equal(stat(in_dir("j.next"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	migrate_store_close(s);
	assert_false(exists("j.next"));
	assert_holds("j", "old");
}

static void
test_publish(void **state)
{
	struct migrate_store *s;

	make("j", "old");
	s = opened();
	assert_int_equal(put(s, STORE_NEXT, 0, "new"), 0);
	assert_int_equal(publish(s), 0);
	assert_false(exists("j.next"));
	assert_int_equal(put(s, STORE_CURRENT, 3, "er"), 0);
	assert_int_equal(put(s, STORE_NEXT, 0, "newest"), 0);
	assert_int_equal(publish(s), 0);
	migrate_store_close(s);
	assert_holds("j", "newest");
}

/* A next file in a place where none can be: an error, and the current one serves. */
static void
test_next_fails(void **state)
{
	struct migrate_store *s;

	make("j", "old");
	s = opened();
	assert_int_equal(mkdir(in_dir("j.next"), 0700), 0);
	assert_int_not_equal(put(s, STORE_NEXT, 0, "new"), 0);
	assert_int_equal(put(s, STORE_CURRENT, 3, "er"), 0);
	assert_int_equal(rmdir(in_dir("j.next")), 0);
	assert_int_equal(put(s, STORE_NEXT, 0, "new"), 0);
	migrate_store_close(s);
	assert_holds("j", "older");
}

static int calls, call_err;

static int
count_call(void *ctx)
{
	assert_holds("j", ctx);
	calls++;
	return call_err;
}

static void
test_on_publish(void **state)
{
	struct migrate_store *s;

	make("j", "old");
	s = opened();
	migrate_store_on_publish(s, count_call, "new");
	calls = 0;
	call_err = -ENOSPC;
	assert_int_equal(put(s, STORE_NEXT, 0, "new"), 0);
	assert_int_equal(calls, 0);
	/* No space is for what changes nothing; this has. */
	assert_int_equal(publish(s), -EIO);
	assert_int_equal(calls, 1);
	call_err = 0;
	assert_int_equal(put(s, STORE_NEXT, 0, "new"), 0);
	assert_int_equal(publish(s), 0);
	assert_int_equal(calls, 2);
	assert_int_equal(put(s, STORE_NEXT, 0, "newer"), 0);
	assert_int_equal(publish(s), 0);
	assert_int_equal(calls, 2);
	migrate_store_close(s);
}

static void
test_grow(void **state)
{
	struct migrate_store *s;
	struct stat st;

	make("j", "abc");
	s = opened();
	assert_int_equal(request(s, STORE_GROW, STORE_CURRENT, 0, NULL, 1 << 20), 0);
	assert_int_equal(stat(in_dir("j"), &st), 0);
	assert_true(st.st_blocks * 512 >= 1 << 20);
	migrate_store_close(s);
}

/* Of two openers one has it, whoever else publishes meanwhile. */
static void
test_lock(void **state)
{
	struct migrate_store *s, *other;

	make("j", "old");
	s = opened();
	assert_int_equal(migrate_store_open(&other, in_dir("j"), why, sizeof(why)), -EBUSY);
	assert_non_null(strstr(why, "in use"));
	assert_int_equal(put(s, STORE_NEXT, 0, "new"), 0);
	assert_int_equal(publish(s), 0);
	assert_int_equal(migrate_store_open(&other, in_dir("j"), why, sizeof(why)), -EBUSY);
	migrate_store_close(s);
	other = opened();
	migrate_store_close(other);
}

static void
test_no_journal(void **state)
{
	struct migrate_store *s;

	assert_int_equal(migrate_store_open(&s, in_dir("none"), why, sizeof(why)), -ENOENT);
	assert_int_equal(migrate_store_open(&s, dir, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "not a regular file"));
	make("j", "");
	assert_int_equal(symlink("j", in_dir("link")), 0);
	assert_int_equal(migrate_store_open(&s, in_dir("link"), why, sizeof(why)), -ELOOP);
	assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
	assert_int_equal(migrate_store_open(&s, in_dir("pipe"), why, sizeof(why)), -EINVAL);
}

static void
test_remove(void **state)
{
	struct migrate_store *s;

	make("j", "old");
	s = opened();
	assert_int_equal(migrate_store_remove(s), 0);
	migrate_store_close(s);
	assert_false(exists("j"));
}

/* --- the live changes ------------------------------------------------------------- */

/* Of an opening whose journal has the next epoch. */
static struct migrate_live *
live_in(const char *where, uint64_t epoch)
{
	struct migrate_live *l = NULL;

	assert_int_equal(migrate_live_open(&l, where, uuid, epoch, why, sizeof(why)), 0);
	assert_int_equal(migrate_live_begin(l, why, sizeof(why)), 0);
	assert_int_equal(migrate_live_new(l)->entries, MIGRATE_LIVE_ENTRIES);
	assert_int_equal(migrate_live_new(l)->head, 0);
	memcpy(migrate_live_new(l)->uuid, uuid, sizeof(uuid));
	migrate_live_new(l)->epoch = epoch + 1;
	return l;
}

static struct migrate_live *
live(uint64_t epoch)
{
	return live_in(dir, epoch);
}

/* As if the process had been killed: nothing is removed. */
static void
killed(struct migrate_live *l)
{
	/* A close removes what has not got the name yet; only a kill leaves that. */
	if (!rename(in_dir("live-" UUID ".next"), in_dir("kept"))) {
		migrate_live_close(l, false);
		rename(in_dir("kept"), in_dir("live-" UUID ".next"));
	} else {
		migrate_live_close(l, false);
	}
}

static void
test_live(void **state)
{
	struct migrate_live *l = live(1);
	struct stat st;

	assert_null(migrate_live_old(l));
	migrate_live_new(l)->head = 7;
	/* Killed before its journal was there: the next one has the same epoch. */
	killed(l);
	l = live(1);
	assert_null(migrate_live_old(l));
	migrate_live_new(l)->head = 8;
	assert_int_equal(migrate_live_publish(l), 0);
	assert_int_equal(migrate_live_publish(l), 0);
	assert_int_equal(stat(in_dir("live-" UUID), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_string_equal(migrate_live_path(l), in_dir("live-" UUID));
	migrate_live_new(l)->head = 9;

	/* It is what the next opening finds, until that has a journal of its own. */
	killed(l);
	l = live(2);
	assert_non_null(migrate_live_old(l));
	assert_int_equal(migrate_live_old(l)->head, 9);
	migrate_live_new(l)->head = 10;
	killed(l);
	l = live(2);
	assert_int_equal(migrate_live_old(l)->head, 9);
	migrate_live_new(l)->head = 11;
	assert_int_equal(migrate_live_publish(l), 0);
	killed(l);
	l = live(3);
	assert_int_equal(migrate_live_old(l)->head, 11);

	/* Closed in order before it was published, and after. */
	migrate_live_close(l, false);
	assert_false(exists("live-" UUID ".next"));
	l = live(3);
	assert_int_equal(migrate_live_old(l)->head, 11);
	assert_int_equal(migrate_live_publish(l), 0);
	migrate_live_close(l, true);
	assert_false(exists("live-" UUID));
	assert_false(exists("live-" UUID ".next"));
}

/* Its journal has taken the old one's place, and it was killed before it had the name. */
static void
test_live_between_two_renames(void **state)
{
	struct migrate_live *l = live(1);

	assert_int_equal(migrate_live_publish(l), 0);
	migrate_live_new(l)->head = 3;
	killed(l);
	l = live(2);
	migrate_live_new(l)->head = 5;
	killed(l);
	l = live(3);
	assert_int_equal(migrate_live_old(l)->head, 5);
	/* Nor is it lost when whoever has found it is killed in its turn. */
	killed(l);
	l = live(3);
	assert_int_equal(migrate_live_old(l)->head, 5);
	assert_int_equal(migrate_live_publish(l), 0);
	migrate_live_close(l, true);
}

static void
test_live_in_another_run_directory(void **state)
{
	struct migrate_live *l = live(1);
	char other[64];

	assert_int_equal(migrate_live_publish(l), 0);
	migrate_live_new(l)->head = 3;
	migrate_live_close(l, false);
	snprintf(other, sizeof(other), "%s", in_dir("other"));
	assert_int_equal(mkdir(other, 0700), 0);
	l = live_in(other, 2);
	assert_null(migrate_live_old(l));
	assert_int_equal(migrate_live_look_at(l, in_dir("nothing"), uuid, 2, why, sizeof(why)),
			 0);
	assert_null(migrate_live_old(l));
	assert_int_equal(
		migrate_live_look_at(l, in_dir("live-" UUID), uuid, 7, why, sizeof(why)), 0);
	assert_null(migrate_live_old(l));
	assert_int_equal(
		migrate_live_look_at(l, in_dir("live-" UUID), uuid, 2, why, sizeof(why)), 0);
	assert_int_equal(migrate_live_old(l)->head, 3);
	/* It stays until there is a journal that knows all that it says. */
	assert_true(exists("live-" UUID));
	assert_int_equal(migrate_live_publish(l), 0);
	assert_false(exists("live-" UUID));
	assert_true(exists("other/live-" UUID));
	migrate_live_close(l, true);
	assert_int_equal(rmdir(other), 0);
}

static void
test_a_loss_that_is_accepted(void **state)
{
	struct migrate_live *l;

	assert_int_equal(migrate_live_open(&l, dir, uuid, 4, why, sizeof(why)), 0);
	assert_int_equal(migrate_live_accept_loss(l, uuid, 4, 77, why, sizeof(why)), 0);
	migrate_live_close(l, false);
	l = live(4);
	assert_int_equal(migrate_live_old(l)->head, 77);
	assert_int_equal(migrate_live_publish(l), 0);
	migrate_live_close(l, true);
}

static void
test_live_of_another_boot(void **state)
{
	struct migrate_live *l = live(1);

	migrate_live_new(l)->boot[3] ^= 1;
	assert_int_equal(migrate_live_publish(l), 0);
	killed(l);
	l = live(2);
	assert_null(migrate_live_old(l));
	migrate_live_close(l, true);

	/* And one that is cut off. */
	l = live(1);
	assert_int_equal(migrate_live_publish(l), 0);
	migrate_live_close(l, false);
	assert_int_equal(truncate(in_dir("live-" UUID), sizeof(struct journal_live) + 5), 0);
	l = live(2);
	assert_null(migrate_live_old(l));
	assert_int_equal(migrate_live_publish(l), 0);
	migrate_live_close(l, true);
}

static void
test_live_nowhere(void **state)
{
	struct migrate_live *l;

	assert_int_equal(migrate_live_open(&l, "/nonexistent", uuid, 1, why, sizeof(why)), 0);
	assert_null(migrate_live_old(l));
	assert_int_equal(migrate_live_begin(l, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent"));
	migrate_live_close(l, false);
}

/* --- made, and loaded --------------------------------------------------------------- */

static void
test_create_and_load(void **state)
{
	json_t *head = json_pack("{s:s, s:i}", "source", "aio:/a", "chunk", 4);
	json_t *note = json_pack("{s:s}", "state", "new");
	json_t *settings;

	assert_int_equal(
		migrate_journal_create(in_dir("m"), uuid, 4096, head, note, why, sizeof(why)),
		0);
	assert_int_equal(
		migrate_journal_create(in_dir("m"), uuid, 4096, head, note, why, sizeof(why)),
		-EEXIST);
	for (int whole = 0; whole < 2; whole++) {
		assert_int_equal(
			migrate_journal_load(in_dir("m"), whole, &settings, why, sizeof(why)),
			0);
		assert_string_equal(json_string_value(json_object_get(settings, "uuid")), UUID);
		assert_string_equal(json_string_value(json_object_get(settings, "source")),
				    "aio:/a");
		assert_int_equal(json_integer_value(json_object_get(settings, "sectors")),
				 4096);
		assert_int_equal(!!json_object_get(settings, "state"), whole);
		json_decref(settings);
	}
	json_decref(head);
	json_decref(note);
}

static void
test_load_nonsense(void **state)
{
	json_t *head = json_pack("[s]", "no object"), *settings;

	assert_int_equal(
		migrate_journal_load(in_dir("none"), true, &settings, why, sizeof(why)),
		-ENOENT);
	make("n", "this is no journal at all");
	assert_int_equal(migrate_journal_load(in_dir("n"), true, &settings, why, sizeof(why)),
			 -EINVAL);
	assert_non_null(strstr(why, in_dir("n")));
	assert_int_equal(unlink(in_dir("n")), 0);
	assert_int_equal(
		migrate_journal_create(in_dir("n"), uuid, 8, head, head, why, sizeof(why)), 0);
	assert_int_equal(migrate_journal_load(in_dir("n"), true, &settings, why, sizeof(why)),
			 -EINVAL);
	json_decref(head);
}

static int
set_up(void **state)
{
	return mkdtemp(dir) ? tapdisk_server_init() : -1;
}

static int
tear_down(void **state)
{
	char command[64];

	tapdisk_server_exit();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_current),
		cmocka_unit_test(test_next_is_begun_anew),
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_next_fails),
		cmocka_unit_test(test_on_publish),
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_no_journal),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_live_between_two_renames),
		cmocka_unit_test(test_live_in_another_run_directory),
		cmocka_unit_test(test_a_loss_that_is_accepted),
		cmocka_unit_test(test_live_of_another_boot),
		cmocka_unit_test(test_live_nowhere),
		cmocka_unit_test(test_create_and_load),
		cmocka_unit_test(test_load_nonsense),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
