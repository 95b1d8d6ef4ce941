/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * faulty-waits.c - calls that may wait for storage, in the tests' tapdisk
 *
 * The linker puts these in front of the C library's (Makefile, WAITING). They note what must
 * not be: a call that the thread makes while it has the loop, so that every disk waits for
 * one. And one of them can be made slow:
 *
 *	TAPDISK_WAITS=FILE		gets a line for each call that was made with the loop
 *	TAPDISK_SLOW_CALL="N FILE"	the Nth call of all begins when FILE.go is there; FILE
 *					is made, and says which it is, when it has come so far
 *	TAPDISK_COUNTED_CALLS=FILE	grows by a byte with each call
 */
#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "tapdisk-loop.h"

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
int __real_fstat(int fd, struct stat *st);
ssize_t __real_write(int fd, const void *buf, size_t size);

static void
append(const char *path, const char *text)
{
	int fd = __real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || __real_write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	__real_close(fd);
}

/* What it is about, and where it comes from: `addr2line` knows, tapdisk_loop_is_held() is 0. */
static void
note(const char *path, const char *what)
{
	char text[1024];
	void *stack[6];
	int n = backtrace(stack, 6), len;

	len = snprintf(text, sizeof(text), "%s", what);
	for (int i = 2; i < n; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, " %p",
				(void *)((char *)stack[i] - (char *)tapdisk_loop_is_held));
	snprintf(text + len, sizeof(text) - (size_t)len, "\n");
	append(path, text);
}

static void
be_slow(const char *file, const char *what)
{
	const struct timespec tick = { .tv_nsec = 10000000 };
	char go[512];
	int fd;

	append(file, what);
	snprintf(go, sizeof(go), "%s.go", file);
	while ((fd = __real_open(go, O_RDONLY | O_CLOEXEC)) < 0)
		nanosleep(&tick, NULL);
	__real_close(fd);
}

/* Before each call; target: what of, for people. */
static void
about_to(const char *call, const char *target)
{
	static unsigned int calls;
	const char *waits = getenv("TAPDISK_WAITS"), *slow = getenv("TAPDISK_SLOW_CALL");
	const char *counted = getenv("TAPDISK_COUNTED_CALLS");
	unsigned int n, number = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
	char what[600], file[400];
	int err = errno;

	snprintf(what, sizeof(what), "%s(%s)", call, target);
	if (waits && tapdisk_loop_is_held())
		note(waits, what);
	if (counted)
		append(counted, ".");
	if (slow && sscanf(slow, "%u %399s", &n, file) == 2 && n == number)
		be_slow(file, what);
	errno = err;
}

/* Sockets, pipes and the like do not wait for storage. */
static bool
is_stored(int fd)
{
	struct stat st;

	return !__real_fstat(fd, &st) &&
	       (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode));
}

static void
about_to_fd(const char *call, int fd)
{
	char link[64], target[400];
	ssize_t n;

	if (!is_stored(fd))
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = '\0';
	about_to(call, target);
}

#define WRAP_PATH(type, name, path, params, ...)   \
	type __real_##name params;                 \
	type __wrap_##name params;                 \
	type __wrap_##name params                  \
	{                                          \
		about_to(#name, path);             \
		return __real_##name(__VA_ARGS__); \
	}

#define WRAP_FD(type, name, fd, params, ...)       \
	type __real_##name params;                 \
	type __wrap_##name params;                 \
	type __wrap_##name params                  \
	{                                          \
		about_to_fd(#name, fd);            \
		return __real_##name(__VA_ARGS__); \
	}

int __wrap_open(const char *path, int flags, ...);
int
__wrap_open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? va_arg(args, mode_t) : 0;
	va_end(args);
	about_to("open", path);
	return __real_open(path, flags, mode);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int
__wrap_openat(int dir, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? va_arg(args, mode_t) : 0;
	va_end(args);
	about_to("openat", path);
	return __real_openat(dir, path, flags, mode);
}

int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...);
int
__wrap_fcntl(int fd, int what, ...)
{
	va_list args;
	void *arg;

	va_start(args, what);
	arg = va_arg(args, void *);
	va_end(args);
	if (what == F_OFD_SETLK || what == F_OFD_GETLK)
		about_to_fd("fcntl", fd);
	return __real_fcntl(fd, what, arg);
}

WRAP_PATH(int, __open_2, path, (const char *path, int flags), path, flags)
WRAP_PATH(int, __openat_2, path, (int dir, const char *path, int flags), dir, path, flags)
WRAP_PATH(int, linkat, from, (int fd, const char *from, int td, const char *to, int how), fd,
	  from, td, to, how)
WRAP_FD(int, fstatfs, fd, (int fd, struct statfs *st), fd, st)
WRAP_FD(int, statx, fd,
	(int fd, const char *path, int how, unsigned int what, struct statx *st), fd, path, how,
	what, st)
WRAP_FD(int, close, fd, (int fd), fd)
WRAP_FD(int, fstat, fd, (int fd, struct stat *st), fd, st)
WRAP_FD(int, flock, fd, (int fd, int what), fd, what)
WRAP_FD(int, fsync, fd, (int fd), fd)
WRAP_FD(int, fdatasync, fd, (int fd), fd)
WRAP_FD(int, fallocate, fd, (int fd, int mode, off_t at, off_t len), fd, mode, at, len)
WRAP_FD(int, posix_fallocate, fd, (int fd, off_t at, off_t len), fd, at, len)
WRAP_FD(int, ftruncate, fd, (int fd, off_t len), fd, len)
WRAP_FD(off_t, lseek, fd, (int fd, off_t at, int whence), fd, at, whence)
WRAP_FD(ssize_t, read, fd, (int fd, void *buf, size_t n), fd, buf, n)
WRAP_FD(ssize_t, write, fd, (int fd, const void *buf, size_t n), fd, buf, n)
WRAP_FD(ssize_t, pread, fd, (int fd, void *buf, size_t n, off_t at), fd, buf, n, at)
WRAP_FD(ssize_t, pwrite, fd, (int fd, const void *buf, size_t n, off_t at), fd, buf, n, at)
WRAP_FD(ssize_t, fgetxattr, fd, (int fd, const char *name, void *buf, size_t n), fd, name, buf,
	n)
WRAP_FD(int, fsetxattr, fd, (int fd, const char *name, const void *buf, size_t n, int how), fd,
	name, buf, n, how)
WRAP_FD(int, fremovexattr, fd, (int fd, const char *name), fd, name)
WRAP_PATH(int, stat, path, (const char *path, struct stat *st), path, st)
WRAP_PATH(int, lstat, path, (const char *path, struct stat *st), path, st)
WRAP_PATH(int, fstatat, path, (int dir, const char *path, struct stat *st, int how), dir, path,
	  st, how)
WRAP_PATH(int, mkdir, path, (const char *path, mode_t mode), path, mode)
WRAP_PATH(int, access, path, (const char *path, int how), path, how)
WRAP_PATH(int, unlink, path, (const char *path), path)
WRAP_PATH(int, unlinkat, path, (int dir, const char *path, int how), dir, path, how)
WRAP_PATH(int, rename, from, (const char *from, const char *to), from, to)
WRAP_PATH(int, renameat, from, (int fd, const char *from, int td, const char *to), fd, from, td,
	  to)
WRAP_PATH(char *, realpath, path, (const char *path, char *to), path, to)
WRAP_PATH(DIR *, opendir, path, (const char *path), path)
