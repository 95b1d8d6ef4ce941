/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * faulty-aio.c - a host whose limit of kernel AIO is reached, for the tests' tapdisk
 *
 *	TAPDISK_AIO_LEFT=N	of fs.aio-max-nr
 */
#include <errno.h>
#include <libaio.h>
#include <stdlib.h>

int __real_io_setup(int depth, io_context_t *ctx);
int __wrap_io_setup(int depth, io_context_t *ctx);

int
__wrap_io_setup(int depth, io_context_t *ctx)
{
	const char *left = getenv("TAPDISK_AIO_LEFT");

	return left && depth > atoi(left) ? -EAGAIN : __real_io_setup(depth, ctx);
}
