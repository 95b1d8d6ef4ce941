/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faulty-calls.h"

#define HELD_USECS 20000
#undef fdatasync

int
counted_sync(int fd)
{
	const char *path = getenv("TAPDISK_COUNTED_SYNCS");
	FILE *file = path ? fopen(path, "ae") : NULL;

	if (file) {
		fputc('.', file);
		fclose(file);
	}
	return fdatasync(fd);
}

static void
wait_while_held(void)
{
	const char *path = getenv("TAPDISK_HELD_CALLS");

	while (path && !access(path, F_OK))
		usleep(HELD_USECS);
}

bool
faulty_call(void)
{
	static unsigned int calls;
	const char *spec = getenv("TAPDISK_FAULTY_CALL");
	unsigned int n, call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
	char what[8], path[256];
	FILE *file;
	int error;

	wait_while_held();
	if (!spec || sscanf(spec, "%7s %u %d %255s", what, &n, &error, path) != 4 || call != n)
		return false;
	file = fopen(path, "we");
	if (file)
		fclose(file);
	if (!strcmp(what, "kill"))
		raise(SIGKILL);
	errno = error;
	return true;
}
