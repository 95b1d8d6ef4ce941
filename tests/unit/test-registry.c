/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/migrate-registry.o drivers/state-dir.o drivers/migrate-text.o */
/* What a host remembers of migrations beside their journals. */
#include <errno.h>
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

#include "migrate-registry.h"
#include "state-dir.h"

#define UUID  "01234567-89ab-cdef-0123-456789abcdef"
#define OTHER "11234567-89ab-cdef-0123-456789abcdef"

static char dir[] = "/var/tmp/tm.XXXXXX";

static void
is_known(const char *journal, const char *uuid)
{
	json_t *known = registry_find(journal);

	if (!uuid) {
		assert_null(known);
		return;
	}
	assert_non_null(known);
	assert_string_equal(json_string_value(json_object_get(known, "uuid")), uuid);
	json_decref(known);
}

static void
a_migration_is_remembered_until_it_has_ended(void **state)
{
	is_known("/j", NULL);
	assert_int_equal(registry_remove(UUID), 0);
	assert_int_equal(registry_put(UUID, "/j", "aio:/a", "aio:/b"), 0);
	assert_int_equal(registry_put(OTHER, "/k", "aio:/c", "aio:/d"), 0);
	is_known("/j", UUID);
	is_known("/k", OTHER);
	is_known("/l", NULL);

	/* A journal that has another one's place: that one was removed. */
	assert_int_equal(registry_put(OTHER, "/j", "aio:/c", "aio:/d"), 0);
	is_known("/j", OTHER);
	is_known("/k", NULL);
	assert_int_equal(registry_remove(OTHER), 0);
	is_known("/j", NULL);
}

static void
what_is_no_entry_is_not_taken_for_one(void **state)
{
	static const char *const texts[] = { "", "{}", "[]", "?",
					     "{\"uuid\":1,\"journal\":\"/j\"}" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(state_file_put("migration-" UUID, texts[i]), 0);
		is_known("/j", NULL);
	}
	assert_int_equal(registry_remove(UUID), 0);
}

static void
a_record_says_which_side_is_the_disk(void **state)
{
	side_mask side;

	assert_int_equal(registry_recorded(UUID, &side), 0);
	assert_int_equal(side, NO_SIDE);
	for (side_mask s = SRC_BIT; s <= DST_BIT; s++) {
		assert_int_equal(registry_record(UUID, s), 0);
		assert_int_equal(registry_recorded(UUID, &side), 0);
		assert_int_equal(side, s);
	}
	assert_int_equal(registry_recorded(OTHER, &side), 0);
	assert_int_equal(side, NO_SIDE);
	assert_int_equal(registry_record(UUID, NO_SIDE), 0);
	assert_int_equal(registry_record(UUID, NO_SIDE), 0);
	assert_int_equal(registry_recorded(UUID, &side), 0);
	assert_int_equal(side, NO_SIDE);

	/* One that is not understood is not the same as none. */
	assert_int_equal(state_file_put("alone-" UUID, "both"), 0);
	assert_int_equal(registry_recorded(UUID, &side), -EBADMSG);
	assert_int_equal(state_file_remove("alone-" UUID), 0);
}

static int
setup(void **state)
{
	return mkdtemp(dir) ? setenv("TAPMIGRATE_STATE_DIR", dir, 1) : -1;
}

static int
teardown(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void
what_cannot_be_written_leaves_nothing(void **state)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/migration-" UUID, dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(registry_put(UUID, "/j", "aio:/a", "aio:/b"), -EISDIR);
	assert_int_equal(rmdir(path), 0);
	snprintf(path, sizeof(path), "%s/migration-" UUID ".new", dir);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(errno, ENOENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_migration_is_remembered_until_it_has_ended),
		cmocka_unit_test(what_is_no_entry_is_not_taken_for_one),
		cmocka_unit_test(a_record_says_which_side_is_the_disk),
		cmocka_unit_test(what_cannot_be_written_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
