/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate-commands.h - the commands of tap-ctl migrate (tap-ctl-migrate-*.c)
 */
#ifndef MIGRATE_COMMANDS_H
#define MIGRATE_COMMANDS_H

int migrate_cli_start(int argc, char **argv);
int migrate_cli_status(int argc, char **argv);
int migrate_cli_pause(int argc, char **argv);
int migrate_cli_resume(int argc, char **argv);
int migrate_cli_set(int argc, char **argv);
int migrate_cli_complete(int argc, char **argv);
int migrate_cli_cancel(int argc, char **argv);
int migrate_cli_list(int argc, char **argv);
int migrate_cli_inspect(int argc, char **argv);
int migrate_cli_check(int argc, char **argv);
int migrate_cli_accept_loss(int argc, char **argv);
int migrate_cli_mark(int argc, char **argv);
int migrate_cli_unmark(int argc, char **argv);
int migrate_cli_where(int argc, char **argv);

/* mark and unmark */
#define CLI_MARKED(image)                                                                    \
	{                                                                                    \
		.kind = CLI_STRING, .value = (image), .required = true, .argument = "IMAGE", \
		.help = "a file or block device, with or without aio:"                       \
	}

#define CLI_JOURNAL(path)                                                                     \
	{                                                                                     \
		.kind = CLI_STRING, .value = (path), .required = true, .argument = "JOURNAL", \
		.help = "the migration's file"                                                \
	}

/* Most of the others: whose migration it is. -p may be left out. */
#define CLI_OF_PID(pid)                                                                        \
	{                                                                                      \
		.letter = 'p', .kind = CLI_NUMBER, .value = (pid), .min = 1, .max = INT32_MAX, \
		.argument = "PID", .help = "the tapdisk, if others have that minor too"        \
	}

/* start and set */
#define CLI_STRATEGY(strategy)                                                \
	{                                                                     \
		.name = "strategy", .kind = CLI_STRING, .value = (strategy),  \
		.argument = "STRATEGY", .help = "lr, slr, aio, mirror or dbt" \
	}
#define CLI_THRESHOLD(threshold)                                                         \
	{                                                                                \
		.name = "threshold", .kind = CLI_NUMBER, .value = (threshold), .min = 1, \
		.max = 65536, .argument = "N",                                           \
		.help = "delay mirrored writes while more are pending"                   \
	}
#define CLI_RATE(rate)                                                                    \
	{                                                                                 \
		.name = "rate", .kind = CLI_NUMBER, .value = (rate), .max = 16384,        \
		.argument = "MIB_S", .help = "copy no faster than that; 0: without limit" \
	}
#define CLI_DEPTH(depth)                                                                    \
	{                                                                                   \
		.name = "depth", .kind = CLI_NUMBER, .value = (depth), .min = 1, .max = 32, \
		.argument = "N", .help = "copy so many pieces at once"                      \
	}
#define CLI_PRIORITY(priority)                                                        \
	{                                                                             \
		.name = "priority", .kind = CLI_STRING, .value = (priority),          \
		.argument = "WHOSE", .help = "guest, balanced or copy: who gives way" \
	}
#define CLI_GUEST_LATENCY(percent)                                                             \
	{                                                                                      \
		.name = "guest-latency", .kind = CLI_NUMBER, .value = (percent), .max = 10000, \
		.argument = "PCT",                                                             \
		.help = "the copy may make the guest's requests so much slower; 0: any"        \
	}
#define CLI_COMPLETE(complete)                                                              \
	{                                                                                   \
		.name = "complete", .kind = CLI_STRING, .value = (complete),                \
		.argument = "WHEN", .help = "auto: when synchronised; manual: when told to" \
	}

#define CLI_JOURNAL_AFTER(after)                                                         \
	{                                                                                \
		.name = "journal-after", .kind = CLI_STRING, .value = (after),           \
		.argument = "WHAT", .help = "keep or remove the journal when it is over" \
	}

#endif
