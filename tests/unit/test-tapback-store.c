/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapback-store.o */
/* xenstore when it refuses, fails for now, is fought over, or is gone. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#include <cmocka.h>

#include "tapback-store.h"

/* --- a xenstore of one key --------------------------------------------------------- */

static int read_errno;	   /* of each read; 0: it has a value */
static unsigned int loses; /* so many transactions, against others */
static unsigned int begun, written, kept;

struct xs_handle *
xs_open(unsigned long flags)
{
	return (struct xs_handle *)&begun;
}

void
xs_close(struct xs_handle *xs)
{
}

int
xs_fileno(struct xs_handle *xs)
{
	return -1;
}

void *
xs_read(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *len)
{
	errno = read_errno;
	return read_errno ? NULL : strdup("value");
}

bool
xs_write(struct xs_handle *xs, xs_transaction_t t, const char *path, const void *data,
	 unsigned int len)
{
	written++;
	return true;
}

bool
xs_set_permissions(struct xs_handle *xs, xs_transaction_t t, const char *path,
		   struct xs_permissions *permissions, unsigned int n)
{
	return true;
}

bool
xs_rm(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
	return true;
}

char **
xs_directory(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *n)
{
	errno = read_errno;
	return NULL;
}

bool
xs_watch(struct xs_handle *xs, const char *path, const char *token)
{
	return true;
}

bool
xs_unwatch(struct xs_handle *xs, const char *path, const char *token)
{
	return true;
}

/* There is always another change. */
char **
xs_check_watch(struct xs_handle *xs)
{
	static char path[] = "path", token[] = "token";
	char **event = malloc(2 * sizeof(char *));

	event[XS_WATCH_PATH] = path;
	event[XS_WATCH_TOKEN] = token;
	return event;
}

xs_transaction_t
xs_transaction_start(struct xs_handle *xs)
{
	return ++begun;
}

bool
xs_transaction_end(struct xs_handle *xs, xs_transaction_t t, bool abort)
{
	if (abort)
		return true;
	if (loses) {
		loses--;
		errno = EAGAIN;
		return false;
	}
	kept++;
	return true;
}

bool
xs_is_domain_introduced(struct xs_handle *xs, unsigned int domid)
{
	return true;
}

/* --- tests -------------------------------------------------------------------------- */

static const struct tapback_pair pair = { "key", "value" };

static int
setup(void **state)
{
	read_errno = 0;
	loses = begun = written = kept = 0;
	tapback_store_trust();
	return tapback_store_open();
}

static void
what_is_not_for_us_is_as_if_it_were_not_there(void **state)
{
	static const int errors[] = { ENOENT, EACCES, EPERM, EINVAL, EISDIR, E2BIG };

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		unsigned int n;

		read_errno = errors[i];
		assert_null(tapback_store_read("dir", "key"));
		assert_null(tapback_store_list("dir", &n));
		assert_false(tapback_store_in_doubt());
		assert_int_equal(tapback_store_broken(), 0);
	}
}

static void
what_cannot_be_read_just_now_is_in_doubt(void **state)
{
	static const int errors[] = { EAGAIN, ENOMEM, EBUSY, ENOSPC };

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		char *value;

		read_errno = errors[i];
		assert_null(tapback_store_read("dir", "key"));
		assert_true(tapback_store_in_doubt());
		read_errno = 0;
		value = tapback_store_read("dir", "other");
		assert_non_null(value);
		free(value);
		assert_true(tapback_store_in_doubt()); /* what was read before still is */
		tapback_store_trust();
		assert_false(tapback_store_in_doubt());
		assert_int_equal(tapback_store_broken(), 0);
	}
}

static void
a_transaction_that_is_lost_is_tried_again(void **state)
{
	loses = 3;
	assert_int_equal(tapback_store_write("dir", "must", &pair, 1), 0);
	assert_int_equal(begun, 4);
	assert_int_equal(kept, 1);
}

static void
but_not_for_ever(void **state)
{
	loses = UINT32_MAX;
	assert_int_equal(tapback_store_write("dir", "must", &pair, 1), -EAGAIN);
	assert_in_range(begun, 2, 20);
	assert_int_equal(kept, 0);
	begun = 0;
	assert_int_not_equal(tapback_store_tidy("dir/sub"), 1);
	assert_in_range(begun, 1, 20);
}

static void
nothing_is_written_where_the_device_has_gone(void **state)
{
	read_errno = ENOENT;
	assert_int_equal(tapback_store_write("dir", "must", &pair, 1), -ENOENT);
	assert_int_equal(written, 0);
	read_errno = EACCES;
	assert_int_equal(tapback_store_write("dir", "must", &pair, 1), -EACCES);
	assert_int_equal(tapback_store_broken(), 0);
}

static unsigned int changes;

static void
changed(const char *path, const char *token)
{
	changes++;
}

static void
a_flood_of_changes_ends_with_the_turn(void **state)
{
	assert_int_equal(tapback_store_changed(changed), 0);
	assert_in_range(changes, 16, 4096);
}

/* The last one, for it stays so. */
static void
a_xenstore_that_is_gone_is_gone(void **state)
{
	read_errno = EBADF;
	assert_null(tapback_store_read("dir", "key"));
	assert_true(tapback_store_in_doubt());
	read_errno = 0;
	tapback_store_trust();
	assert_int_equal(tapback_store_broken(), -EBADF);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_for_us_is_as_if_it_were_not_there),
		TEST(what_cannot_be_read_just_now_is_in_doubt),
		TEST(a_transaction_that_is_lost_is_tried_again),
		TEST(but_not_for_ever),
		TEST(nothing_is_written_where_the_device_has_gone),
		TEST(a_flood_of_changes_ends_with_the_turn),
		TEST(a_xenstore_that_is_gone_is_gone),
	};

	return cmocka_run_group_tests_name("tapback's xenstore", tests, NULL, NULL);
}
