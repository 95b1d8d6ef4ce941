/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cli.h - commands and their options, as tables
 *
 * A command is a function of (argc, argv) in a table with its name and a line
 * of help. It describes its options in a table too: that is what is parsed, and
 * what --help and a usage error print.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_command {
	const char *name;
	int (*run)(int argc, char **argv); /* 0 or -errno */
	const char *help;
};

enum cli_kind {
	CLI_FLAG,   /* no argument */
	CLI_NUMBER, /* int: min..max */
	CLI_STRING, /* const char * */
	CLI_BYTES,  /* uint64_t, > 0, with an optional suffix K, M or G */
};

/*
 * An option; or with neither letter nor name an operand: operands are taken in the
 * table's order. What is not given leaves *value as it was.
 */
struct cli_option {
	char letter;	  /* 0: only a name */
	const char *name; /* NULL: only a letter */
	enum cli_kind kind;
	void *value;
	int min, max;
	unsigned int *flags, bit; /* if not NULL: bit is set in *flags if the option is given */
	bool required;
	const char *argument; /* what the argument is, in capitals */
	const char *help;
};

/* The options that many commands have; the tables end with CLI_END. */
#define CLI_PID(pid)                                                                           \
	{                                                                                      \
		.letter = 'p', .kind = CLI_NUMBER, .value = (pid), .min = 1, .max = INT32_MAX, \
		.required = true, .argument = "PID", .help = "the tapdisk's process id"        \
	}
#define CLI_MINOR(minor)                                                              \
	{                                                                             \
		.letter = 'm', .kind = CLI_NUMBER, .value = (minor),                  \
		.max = TAPDISK_MAX_MINORS - 1, .required = true, .argument = "MINOR", \
		.help = "the VBD's number"                                            \
	}
#define CLI_TIMEOUT(timeout)                                                             \
	{                                                                                \
		.letter = 't', .kind = CLI_NUMBER, .value = (timeout), .max = INT32_MAX, \
		.argument = "SECONDS", .help = "give up after so long"                   \
	}
#define CLI_SET(l, flagp, b, text)                                          \
	{                                                                   \
		.letter = (l), .flags = (flagp), .bit = (b), .help = (text) \
	}
#define CLI_END              \
	{                    \
		.help = NULL \
	}

/* What open and create take alike. */
#define CLI_IMAGE(image)                                                                 \
	{ .letter = 'a',                                                                 \
	  .kind = CLI_STRING,                                                            \
	  .value = &(image)->params,                                                     \
	  .required = true,                                                              \
	  .argument = "TYPE:NAME",                                                       \
	  .help = "the image, for example aio:/path/to/file" },                          \
		CLI_SET('R', &(image)->flags, TAPDISK_MESSAGE_FLAG_RDONLY, "read-only"), \
		CLI_SET('D', &(image)->flags, TAPDISK_MESSAGE_FLAG_NO_O_DIRECT,          \
			"without O_DIRECT"),                                             \
		{ .letter = 'e',                                                         \
		  .kind = CLI_NUMBER,                                                    \
		  .value = &(image)->parent,                                             \
		  .max = TAPDISK_MAX_MINORS - 1,                                         \
		  .flags = &(image)->flags,                                              \
		  .bit = TAPDISK_MESSAGE_FLAG_REUSE_PRT,                                 \
		  .argument = "MINOR",                                                   \
		  .help = "the parent is another tapdisk's VBD" },                       \
		CLI_SET('r', &(image)->flags, TAPDISK_MESSAGE_FLAG_ADD_LCACHE,           \
			"cache reads in the leaf"),                                      \
		{ .letter = '2',                                                         \
		  .kind = CLI_STRING,                                                    \
		  .value = &(image)->secondary,                                          \
		  .flags = &(image)->flags,                                              \
		  .bit = TAPDISK_MESSAGE_FLAG_SECONDARY,                                 \
		  .argument = "TYPE:NAME",                                               \
		  .help = "a secondary image, mirrored unless -s" },                     \
		CLI_SET('s', &(image)->flags, TAPDISK_MESSAGE_FLAG_STANDBY,              \
			"the secondary only takes over when the first is full"),         \
		{ .letter = 't',                                                         \
		  .kind = CLI_NUMBER,                                                    \
		  .value = &(image)->request_timeout,                                    \
		  .max = UINT16_MAX,                                                     \
		  .argument = "SECONDS",                                                 \
		  .help = "fail requests that take longer" },                            \
	{                                                                                \
		.letter = 'C', .kind = CLI_STRING, .value = &(image)->log,               \
		.flags = &(image)->flags, .bit = TAPDISK_MESSAGE_FLAG_ADD_LOG,           \
		.argument = "PATH", .help = "log changed blocks there"                   \
	}

/*
 * Parses argv (argv[0] is the command) by the table; what the command does is in
 * about. All commands have --help, which exits, and --debug. Returns 0, or
 * -EINVAL with the reason and the usage on stderr.
 */
int cli_parse(int argc, char **argv, const struct cli_option *options, const char *about);

/*
 * Runs the command of the table that argv[1] names. Without one the usage is
 * printed, and that is no error (as in blktap); an unknown one is -EINVAL. An
 * error is reported on stderr. program is what the commands belong to.
 */
int cli_run(const char *program, const struct cli_command *commands, int argc, char **argv);

/*
 * Makes what a tapdisk says fit for a terminal, which it must not control: each control
 * character becomes a question mark.
 */
void cli_clean(char *text);

/* Reads "64K" and the like. 0 or -EINVAL. */
int cli_bytes(const char *text, uint64_t *bytes);

#endif
