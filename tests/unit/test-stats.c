/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-stats.o drivers/migrate-text.o */
/* The writer of JSON: what it writes, a JSON library reads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "migrate-text.h"
#include "tapdisk-stats.h"

static td_stats_t st;

static int
setup(void **state)
{
	tapdisk_stats_init(&st);
	return 0;
}

static json_t *
parsed(void)
{
	char *text;
	size_t len;
	json_t *json;

	assert_int_equal(tapdisk_stats_finish(&st, &text, &len), 0);
	json = json_loadb(text, len, 0, NULL);
	assert_non_null(json);
	free(text);
	return json;
}

static void
every_kind_of_value_is_read_back(void **state)
{
	json_t *json;
	const char *name;
	int d, first, second;
	json_int_t lld, llu;
	double f;
	json_t *none;

	tapdisk_stats_enter(&st, '{');
	tapdisk_stats_field(&st, "name", "s", "aio:/x");
	tapdisk_stats_field(&st, "d", "d", -1);
	tapdisk_stats_field(&st, "lld", "lld", -5000000000LL);
	tapdisk_stats_field(&st, "llu", "llu", 1ULL << 62);
	tapdisk_stats_field(&st, "f", "f", 0.5);
	tapdisk_stats_field(&st, "none", NULL);
	tapdisk_stats_field(&st, "list", "[");
	tapdisk_stats_val(&st, "d", 1);
	tapdisk_stats_val(&st, "d", 2);
	tapdisk_stats_leave(&st, ']');
	tapdisk_stats_leave(&st, '}');

	json = parsed();
	assert_int_equal(json_unpack(json, "{s:s s:i s:I s:I s:f s:o s:[i,i]!}", "name", &name,
				     "d", &d, "lld", &lld, "llu", &llu, "f", &f, "none", &none,
				     "list", &first, &second),
			 0);
	assert_string_equal(name, "aio:/x");
	assert_int_equal(d, -1);
	assert_true(lld == -5000000000LL && llu == INT64_C(1) << 62 && f == 0.5);
	assert_true(json_is_null(none));
	assert_true(first == 1 && second == 2);
	json_decref(json);
}

static void
strings_are_escaped(void **state)
{
	const char nasty[] = "a \"quoted\" \\ path\n\twith \x01 and \xc3\xa4";
	json_t *json;

	tapdisk_stats_enter(&st, '{');
	tapdisk_stats_field(&st, "\"", "s", nasty);
	tapdisk_stats_leave(&st, '}');

	json = parsed();
	assert_string_equal(json_string_value(json_object_get(json, "\"")), nasty);
	json_decref(json);
}

static void
the_text_is_spaced_as_blktap_spaces_it(void **state)
{
	char *text;
	size_t len;

	tapdisk_stats_enter(&st, '{');
	tapdisk_stats_field(&st, "name", "s", "x");
	tapdisk_stats_field(&st, "secs", "[");
	tapdisk_stats_val(&st, "llu", 1ULL);
	tapdisk_stats_val(&st, "llu", 2ULL);
	tapdisk_stats_leave(&st, ']');
	tapdisk_stats_leave(&st, '}');
	assert_int_equal(tapdisk_stats_finish(&st, &text, &len), 0);
	assert_string_equal(text, "{ \"name\": \"x\", \"secs\": [ 1, 2 ] }");
	assert_int_equal(len, strlen(text));
	free(text);
}

static void
nesting_too_deep_is_an_error_and_nothing_else(void **state)
{
	char *text;
	size_t len;

	for (int i = 0; i < 10 * TD_STATS_MAX_DEPTH; i++)
		tapdisk_stats_enter(&st, '[');
	tapdisk_stats_val(&st, "d", 1);
	for (int i = 0; i < 10 * TD_STATS_MAX_DEPTH; i++)
		tapdisk_stats_leave(&st, ']');
	assert_int_equal(tapdisk_stats_finish(&st, &text, &len), -EOVERFLOW);
}

static void
nesting_as_deep_as_allowed_is_written(void **state)
{
	json_t *json;

	for (int i = 0; i < TD_STATS_MAX_DEPTH; i++)
		tapdisk_stats_enter(&st, '[');
	for (int i = 0; i < TD_STATS_MAX_DEPTH; i++)
		tapdisk_stats_leave(&st, ']');
	json = parsed();
	assert_true(json_is_array(json));
	json_decref(json);
}

static void
misuse_is_an_error(void **state)
{
	char *text;
	size_t len;

	tapdisk_stats_enter(&st, '[');
	tapdisk_stats_leave(&st, '}');
	assert_int_equal(tapdisk_stats_finish(&st, &text, &len), -EINVAL);

	tapdisk_stats_init(&st);
	tapdisk_stats_enter(&st, '[');
	assert_int_equal(tapdisk_stats_finish(&st, &text, &len), -EINVAL);

	tapdisk_stats_init(&st);
	tapdisk_stats_leave(&st, ']');
	assert_int_equal(tapdisk_stats_finish(&st, &text, &len), -EINVAL);

	tapdisk_stats_init(&st);
	tapdisk_stats_val(&st, "hhx", 1);
	assert_int_equal(tapdisk_stats_finish(&st, &text, &len), -EINVAL);
}

static void
a_long_text_grows(void **state)
{
	json_t *json;

	tapdisk_stats_enter(&st, '[');
	for (int i = 0; i < 10000; i++)
		tapdisk_stats_val(&st, "d", i);
	tapdisk_stats_leave(&st, ']');
	json = parsed();
	assert_int_equal(json_array_size(json), 10000);
	json_decref(json);
}

/* Names of files may be any bytes. */
static void
what_is_no_utf8_is_shown_by_question_marks(void **state)
{
	static const struct {
		const char *bytes, *shown;
	} names[] = {
		{ "gr\xfcn", "gr?n" }, /* Latin 1 */
		{ "\xc3\xa4\xff\xe2\x82\xac", "\xc3\xa4?\xe2\x82\xac" },
		{ "cut \xe2\x82", "cut ??" },
		{ "\xc0\xaf", "??" },			    /* a slash, the long way */
		{ "\xed\xa0\x80", "???" },		    /* half of a pair of UTF-16 */
		{ "\xf4\x90\x80\x80", "????" },		    /* more than there is */
		{ "\xf0\x9f\x92\xbe", "\xf0\x9f\x92\xbe" }, /* a floppy disk */
		{ "\x80\x9b\"\\\t", "??\"\\\t" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		json_t *json, *text = migrate_text_json(names[i].bytes);

		tapdisk_stats_init(&st);
		tapdisk_stats_enter(&st, '{');
		tapdisk_stats_field(&st, "name", "s", names[i].bytes);
		tapdisk_stats_leave(&st, '}');
		json = parsed();
		assert_string_equal(json_string_value(json_object_get(json, "name")),
				    names[i].shown);
		assert_string_equal(json_string_value(text), names[i].shown);
		json_decref(text);
		json_decref(json);
	}
}

static void
every_byte_is_text_of_some_kind(void **state)
{
	for (int c = 1; c < 256; c++) {
		char name[3] = { 'x', (char)c, '\0' };
		json_t *json;

		tapdisk_stats_init(&st);
		tapdisk_stats_enter(&st, '[');
		tapdisk_stats_val(&st, "s", name);
		tapdisk_stats_leave(&st, ']');
		json = parsed();
		if (c >= 0x80)
			name[1] = '?';
		assert_string_equal(json_string_value(json_array_get(json, 0)), name);
		json_decref(json);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_kind_of_value_is_read_back, setup),
		cmocka_unit_test_setup(strings_are_escaped, setup),
		cmocka_unit_test_setup(what_is_no_utf8_is_shown_by_question_marks, setup),
		cmocka_unit_test_setup(every_byte_is_text_of_some_kind, setup),
		cmocka_unit_test_setup(the_text_is_spaced_as_blktap_spaces_it, setup),
		cmocka_unit_test_setup(nesting_too_deep_is_an_error_and_nothing_else, setup),
		cmocka_unit_test_setup(nesting_as_deep_as_allowed_is_written, setup),
		cmocka_unit_test_setup(misuse_is_an_error, setup),
		cmocka_unit_test_setup(a_long_text_grows, setup),
	};

	return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
