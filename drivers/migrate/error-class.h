/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * error-class.h - what an error of a disk, or of the journal's file, means
 *
 * A disk says what went wrong by an errno, and file systems differ in which. What matters
 * is what can be done about it; all that does something by an error asks for its class.
 *
 *	class     a read of the copier's   a write           the journal      status
 *	no-space  -                        waits for room    is full          no-space
 *	gone      tried again, then stops  fails             has failed       ...-errors
 *	denied    as gone                  fails             has failed       ...-errors
 *	smaller   (a flush: the disk has lost its end, and is not what a migration ends with)
 *	busy      the disk is asked again, by what hands requests to it
 *	unable    (block status: it is data; zeroes: they are written; a discard: left out)
 *	memory    tried again, then stops  fails             has failed       ...-errors
 *	failed    narrowed to the sectors  fails             has failed       ...-errors,
 *	                                                                      bad-sectors
 *
 * A write waits for room if only the destination can take it, as does the copier; so
 * a guest is told of lack of space only by the disk that it would have without a migration.
 */
#ifndef MIGRATE_ERROR_CLASS_H
#define MIGRATE_ERROR_CLASS_H

enum error_class {
	ERROR_NONE,
	ERROR_NO_SPACE, /* there may be room later: a file system, a quota, a limit is full */
	ERROR_GONE,	/* the disk, its file system or its server: no sector of it works */
	ERROR_DENIED,	/* somebody has decided against it */
	ERROR_SMALLER,	/* it ends before it did */
	ERROR_BUSY,	/* nothing was done: ask again */
	ERROR_UNABLE,	/* it has no such operation */
	ERROR_MEMORY,	/* this process or machine lacks something, not the disk */
	ERROR_FAILED,	/* it tried and failed: all others */
	ERROR_CLASSES
};

/* Of an errno or -errno; 0 is ERROR_NONE. */
enum error_class error_class(int err);

/* "no-space", "gone", ...; "" for ERROR_NONE. */
const char *error_class_name(enum error_class class);

/* The error in words. Valid until the thread's next strerror(). */
const char *error_text(int err);

#endif
