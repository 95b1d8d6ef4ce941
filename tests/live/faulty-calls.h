/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * faulty-calls.h - a call that fails, or never returns
 *
 * The tests' tapdisk has this in front of the files that keep a journal
 * (drivers/migrate-store.c, -file.c, -live.c, -unnamed.c). Of all their calls of the functions
 * below, one fails, or the process is killed instead of making it:
 *
 *	TAPDISK_FAULTY_CALL="fail N ERRNO FILE"     the Nth, with that error (a number)
 *	TAPDISK_FAULTY_CALL="kill N 0 FILE"
 *
 * FILE is made when it has happened, so that a test sees when N is beyond the last.
 *
 *	TAPDISK_HELD_CALLS=FILE        while that file exists none of them returns
 *	TAPDISK_COUNTED_SYNCS=FILE     grows by a byte with each sync of a journal's data
 */
#ifndef FAULTY_CALLS_H
#define FAULTY_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether this call is to fail, as errno says. */
bool faulty_call(void);
int counted_sync(int fd);

#define openat(...)	     (faulty_call() ? -1 : openat(__VA_ARGS__))
#define open(...)	     (faulty_call() ? -1 : open(__VA_ARGS__))
#define pread(...)	     (faulty_call() ? -1 : pread(__VA_ARGS__))
#define pwrite(...)	     (faulty_call() ? -1 : pwrite(__VA_ARGS__))
#define fsync(...)	     (faulty_call() ? -1 : fsync(__VA_ARGS__))
#define fdatasync(...)	     (faulty_call() ? -1 : counted_sync(__VA_ARGS__))
#define rename(...)	     (faulty_call() ? -1 : rename(__VA_ARGS__))
#define renameat(...)	     (faulty_call() ? -1 : renameat(__VA_ARGS__))
#define linkat(...)	     (faulty_call() ? -1 : linkat(__VA_ARGS__))
#define unlinkat(...)	     (faulty_call() ? -1 : unlinkat(__VA_ARGS__))
#define posix_fallocate(...) (faulty_call() ? errno : posix_fallocate(__VA_ARGS__))
#define mmap(...)	     (faulty_call() ? MAP_FAILED : mmap(__VA_ARGS__))

#endif
