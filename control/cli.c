/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tap-ctl.h"
#include "cli.h"

#define OPTIONS_MAX 32
#define FIRST_NAME  256 /* getopt's value for options[i]: FIRST_NAME + i */
#define HELP	    (FIRST_NAME + OPTIONS_MAX)
#define DEBUG	    (HELP + 1)

/* U+0080 to U+009F, in UTF-8 or as single bytes, control some terminals too. */
static bool
is_c1(unsigned char c)
{
	return c >= 0x80 && c < 0xa0;
}

void
cli_clean(char *text)
{
	unsigned int follow = 0; /* bytes that belong to the character before */

	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (follow && (*c & 0xc0) == 0x80) {
			follow--;
		} else if (*c == 0xc2 && is_c1(c[1])) {
			*c = '?';
			follow = 0;
		} else if (*c < ' ' || *c == 0x7f || is_c1(*c)) {
			*c = '?';
			follow = 0;
		} else {
			follow = *c >= 0xf0 ? 3 : *c >= 0xe0 ? 2 : *c >= 0xc0;
		}
	}
}

static bool
is_operand(const struct cli_option *o)
{
	return !o->letter && !o->name;
}

static size_t
count_options(const struct cli_option *options)
{
	size_t n = 0;

	while (options[n].help)
		n++;
	return n;
}

static void
print_option(FILE *to, const struct cli_option *o)
{
	char text[64];
	int n = 0;

	if (o->letter)
		n += snprintf(text + n, sizeof(text) - n, "-%c", o->letter);
	if (o->name)
		n += snprintf(text + n, sizeof(text) - n, "%s--%s", n ? ", " : "    ", o->name);
	if (o->argument)
		n += snprintf(text + n, sizeof(text) - n, "%s%s", n ? " " : "", o->argument);
	fprintf(to, "  %-24s %s%s\n", text, o->help, o->required ? " (required)" : "");
}

static void
usage(FILE *to, const char *command, const struct cli_option *options, const char *about)
{
	fprintf(to, "usage: %s [OPTIONS]", command);
	for (const struct cli_option *o = options; o->help; o++)
		if (is_operand(o))
			fprintf(to, " %s", o->argument);
	fprintf(to, "\n\n%s\n\n", about);
	for (; options->help; options++)
		print_option(to, options);
	fprintf(to, "  %-24s %s\n", "-h, --help", "this text");
	fprintf(to, "  %-24s %s\n", "    --debug", "show what is said to tapdisks");
}

static void
name_option(const struct cli_option *o, char text[32])
{
	if (o->name)
		snprintf(text, 32, "--%s", o->name);
	else if (o->letter)
		snprintf(text, 32, "-%c", o->letter);
	else
		*text = '\0';
}

static int
parse_number(const struct cli_option *o, const char *text)
{
	char name[32], *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < o->min || n > o->max) {
		name_option(o, name);
		fprintf(stderr, "%s: \"%s\" is not a number from %d to %d\n", name, text,
			o->min, o->max);
		return -EINVAL;
	}
	*(int *)o->value = (int)n;
	return 0;
}

int
cli_bytes(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMG";
	const char *suffix;
	unsigned int shift = 0;
	uint64_t n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text))
		return -EINVAL;
	if (*end) {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix || end[1])
			return -EINVAL;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
	}
	if (!n || n > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = n << shift;
	return 0;
}

static int
take(const struct cli_option *o, const char *text)
{
	char name[32];

	if (o->flags)
		*o->flags |= o->bit;
	switch (o->kind) {
	case CLI_FLAG:
		return 0;
	case CLI_NUMBER:
		return parse_number(o, text);
	case CLI_STRING:
		*(const char **)o->value = text;
		return 0;
	case CLI_BYTES:
		if (!cli_bytes(text, o->value))
			return 0;
		name_option(o, name);
		fprintf(stderr, "%s: \"%s\" is not a size like 64K or 1M\n", name, text);
	}
	return -EINVAL;
}

/* The tables that getopt_long() wants. */
static void
getopt_tables(const struct cli_option *options, size_t n, char *letters, struct option *names)
{
	size_t i;

	*letters++ = 'h';
	for (i = 0; i < n; i++) {
		if (options[i].letter) {
			*letters++ = options[i].letter;
			if (options[i].kind != CLI_FLAG)
				*letters++ = ':';
		}
		if (options[i].name)
			*names++ =
				(struct option){ options[i].name, options[i].kind != CLI_FLAG,
						 NULL, FIRST_NAME + (int)i };
	}
	*letters = '\0';
	*names++ = (struct option){ "help", 0, NULL, HELP };
	*names++ = (struct option){ "debug", 0, NULL, DEBUG };
	*names = (struct option){ 0 };
}

static size_t
find_option(const struct cli_option *options, int c)
{
	size_t i = 0;

	if (c >= FIRST_NAME)
		return (size_t)c - FIRST_NAME;
	while (options[i].letter != c)
		i++;
	return i;
}

int
cli_parse(int argc, char **argv, const struct cli_option *options, const char *about)
{
	const size_t n = count_options(options);
	char letters[2 * OPTIONS_MAX + 2], name[32];
	struct option names[OPTIONS_MAX + 3];
	bool given[OPTIONS_MAX] = { false };
	size_t i;
	int c, err = 0;

	getopt_tables(options, n, letters, names);
	optind = 0;
	while (!err && (c = getopt_long(argc, argv, letters, names, NULL)) != -1) {
		if (c == 'h' || c == HELP) {
			usage(stdout, argv[0], options, about);
			exit(0);
		}
		if (c == DEBUG) {
			tap_ctl_debug = stderr;
		} else if (c == '?') {
			err = -EINVAL;
		} else {
			i = find_option(options, c);
			given[i] = true;
			err = take(&options[i], optarg);
		}
	}
	for (i = 0; !err && i < n && optind < argc; i++) {
		if (!is_operand(&options[i]))
			continue;
		given[i] = true;
		err = take(&options[i], argv[optind++]);
	}
	if (!err && optind < argc) {
		fprintf(stderr, "%s: \"%s\" is more than it takes\n", argv[0], argv[optind]);
		err = -EINVAL;
	}
	for (i = 0; !err && i < n; i++) {
		if (!options[i].required || given[i])
			continue;
		name_option(&options[i], name);
		fprintf(stderr, "%s: %s%s%s is missing\n", argv[0], name, *name ? " " : "",
			options[i].argument);
		err = -EINVAL;
	}
	if (err)
		usage(stderr, argv[0], options, about);
	return err;
}

static void
list_commands(FILE *to, const char *program, const struct cli_command *commands)
{
	fprintf(to, "usage: %s COMMAND [OPTIONS]\n\n", program);
	for (; commands->name; commands++)
		fprintf(to, "  %-11s %s\n", commands->name, commands->help);
	fprintf(to, "\n%s COMMAND --help tells more.\n", program);
}

int
cli_run(const char *program, const struct cli_command *commands, int argc, char **argv)
{
	const struct cli_command *c;
	char name[64];
	int err;

	if (argc > 1 && !strcmp(argv[1], "--debug")) {
		tap_ctl_debug = stderr;
		argc--;
		argv++;
	}
	if (argc < 2 || !strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
		list_commands(stdout, program, commands);
		return 0;
	}
	for (c = commands; c->name && strcmp(c->name, argv[1]);)
		c++;
	if (!c->name) {
		fprintf(stderr, "%s: there is no command \"%s\"\n", program, argv[1]);
		list_commands(stderr, program, commands);
		return -EINVAL;
	}
	snprintf(name, sizeof(name), "%s %s", program, c->name);
	argv[1] = name;
	err = c->run(argc - 1, argv + 1);
	return err;
}
