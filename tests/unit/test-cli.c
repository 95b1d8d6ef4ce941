/* SPDX-License-Identifier: BSD-3-Clause */
/* links: control/cli.o control/libtapctl-ipc.o */
/* Options are taken as their table says, and nothing else is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../control/cli.h"

static struct values {
	int number;
	const char *string;
	uint64_t bytes;
	unsigned int flags;
	const char *operand;
} got;

static int
parse(const char *const *words)
{
	const struct cli_option options[] = {
		{ .letter = 'n',
		  .name = "number",
		  .kind = CLI_NUMBER,
		  .value = &got.number,
		  .min = 1,
		  .max = 100,
		  .required = true,
		  .argument = "N",
		  .help = "n" },
		{ .letter = 's',
		  .kind = CLI_STRING,
		  .value = &got.string,
		  .flags = &got.flags,
		  .bit = 2,
		  .argument = "S",
		  .help = "s" },
		{ .name = "bytes",
		  .kind = CLI_BYTES,
		  .value = &got.bytes,
		  .argument = "B",
		  .help = "b" },
		{ .name = "flag", .flags = &got.flags, .bit = 1, .help = "f" },
		{ .kind = CLI_STRING, .value = &got.operand, .argument = "WORD", .help = "w" },
		CLI_END,
	};
	char *argv[16] = { (char *)"test" };
	int argc = 1;

	got = (struct values){ 0 };
	while (*words)
		argv[argc++] = (char *)*words++;
	return cli_parse(argc, argv, options, "A test.");
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void
test_options_are_taken_by_letter_and_name(void **state)
{
	assert_int_equal(PARSE("-n", "7"), 0);
	assert_int_equal(got.number, 7);
	assert_int_equal(got.flags, 0);
	assert_int_equal(PARSE("--number=8", "-s", "text", "--bytes", "64K", "--flag"), 0);
	assert_int_equal(got.number, 8);
	assert_string_equal(got.string, "text");
	assert_int_equal(got.bytes, 65536);
	assert_int_equal(got.flags, 3);
	assert_int_equal(PARSE("--debug", "-n", "1"), 0);
	assert_null(got.operand);
	assert_int_equal(PARSE("word", "-n", "1"), 0);
	assert_string_equal(got.operand, "word");
	assert_int_equal(PARSE("-n", "1", "--", "-s"), 0);
	assert_string_equal(got.operand, "-s");
}

static void
test_wrong_options_are_refused(void **state)
{
	assert_int_equal(PARSE("-s", "x"), -EINVAL);   /* -n is missing */
	assert_int_equal(PARSE("-n", "0"), -EINVAL);   /* too small */
	assert_int_equal(PARSE("-n", "101"), -EINVAL); /* too large */
	assert_int_equal(PARSE("-n", "99999999999999999999"), -EINVAL);
	assert_int_equal(PARSE("-n", "1x"), -EINVAL);
	assert_int_equal(PARSE("-n", ""), -EINVAL);
	assert_int_equal(PARSE("-n"), -EINVAL);
	assert_int_equal(PARSE("-n", "1", "-z"), -EINVAL);
	assert_int_equal(PARSE("-n", "1", "--unknown"), -EINVAL);
	assert_int_equal(PARSE("-n", "1", "operand", "more"), -EINVAL);
	assert_int_equal(PARSE("-n", "1", "--bytes", "x"), -EINVAL);
}

static void
test_sizes_have_suffixes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{ "1", 1 },
		{ "64k", 65536 },
		{ "64K", 65536 },
		{ "1M", 1 << 20 },
		{ "2G", UINT64_C(2) << 30 },
		{ "17179869183G", UINT64_C(17179869183) << 30 },
	};
	static const char *const wrong[] = {
		"",
		"K",
		"0",
		"0M",
		"-1",
		" 1",
		"1KB",
		"1T1",
		"1.5M",
		"17179869184G",
		"18446744073709551616",
	};
	uint64_t bytes;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(cli_bytes(sizes[i].text, &bytes), 0);
		assert_int_equal(bytes, sizes[i].bytes);
	}
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(cli_bytes(wrong[i], &bytes), -EINVAL);
}

static int ran;

static int
run_it(int argc, char **argv)
{
	ran++;
	return -EBUSY;
}

static void
test_commands_are_run_by_name(void **state)
{
	static const struct cli_command commands[] = {
		{ "it", run_it, "runs" },
		{ NULL, NULL, NULL },
	};
	char *it[] = { (char *)"test", (char *)"it", NULL };
	char *unknown[] = { (char *)"test", (char *)"other", NULL };

	assert_int_equal(cli_run("test", commands, 2, unknown), -EINVAL);
	assert_int_equal(ran, 0);
	assert_int_equal(cli_run("test", commands, 2, it), -EBUSY);
	assert_int_equal(ran, 1);
}

static void
cleans(const char *said, const char *shown)
{
	char text[64];

	snprintf(text, sizeof(text), "%s", said);
	cli_clean(text);
	assert_string_equal(text, shown);
}

static void
test_what_controls_a_terminal_is_not_shown(void **state)
{
	cleans("", "");
	cleans("aio:/srv/disk 1.img", "aio:/srv/disk 1.img");
	cleans("\033[2Jgone\a", "?[2Jgone?");
	cleans("two\nlines\r\tand\177more", "two?lines??and?more");
	/* Of UTF-8 everything else is left: letters, of two to four bytes. */
	cleans("gr\303\274n \342\202\254 \360\237\230\200",
	       "gr\303\274n \342\202\254 \360\237\230\200");
	/* U+009B, which begins a sequence like ESC [, and the same as one byte. */
	cleans("\302\2332J", "??2J");
	cleans("\2332J", "?2J");
	/* The same byte within a letter; and a letter that is cut. */
	cleans("\303\2332J", "\303\2332J");
	cleans("\303\033", "\303?");
	/* What is no UTF-8, but harmless: a name of another time. */
	cleans("gr\374n", "gr\374n");
	cleans("\303", "\303");
	cleans("\302", "\302");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_are_taken_by_letter_and_name),
		cmocka_unit_test(test_wrong_options_are_refused),
		cmocka_unit_test(test_sizes_have_suffixes),
		cmocka_unit_test(test_commands_are_run_by_name),
		cmocka_unit_test(test_what_controls_a_terminal_is_not_shown),
	};

	/* Usages and help are not what is tested, and no TAP. */
	if (!freopen("/dev/null", "w", stderr))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
