/* SPDX-License-Identifier: BSD-3-Clause */
#include "error-class.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	int err;
	enum error_class class;
} classes[] = {
	{ ENOSPC, ERROR_NO_SPACE },	{ EDQUOT, ERROR_NO_SPACE },
	{ EFBIG, ERROR_NO_SPACE },	{ ENXIO, ERROR_GONE },
	{ ENODEV, ERROR_GONE },		{ ENOENT, ERROR_GONE },
	{ ESTALE, ERROR_GONE },		{ EROFS, ERROR_GONE },
	{ ENOMEDIUM, ERROR_GONE },	{ ENOTCONN, ERROR_GONE },
	{ ESHUTDOWN, ERROR_GONE },	{ EHOSTDOWN, ERROR_GONE },
	{ EHOSTUNREACH, ERROR_GONE },	{ ENETDOWN, ERROR_GONE },
	{ ENETUNREACH, ERROR_GONE },	{ ECONNREFUSED, ERROR_GONE },
	{ ECONNRESET, ERROR_GONE },	{ ECONNABORTED, ERROR_GONE },
	{ EACCES, ERROR_DENIED },	{ EPERM, ERROR_DENIED },
	{ EKEYEXPIRED, ERROR_DENIED },	{ EKEYREVOKED, ERROR_DENIED },
	{ EKEYREJECTED, ERROR_DENIED }, { ENOKEY, ERROR_DENIED },
	{ EMEDIUMTYPE, ERROR_SMALLER }, { EBUSY, ERROR_BUSY },
	{ EAGAIN, ERROR_BUSY },		{ EINTR, ERROR_BUSY },
	{ EOPNOTSUPP, ERROR_UNABLE },	{ ENOSYS, ERROR_UNABLE },
	{ ENOMEM, ERROR_MEMORY },	{ ENOBUFS, ERROR_MEMORY },
	{ EMFILE, ERROR_MEMORY },	{ ENFILE, ERROR_MEMORY },
};

enum error_class
error_class(int err)
{
	if (!err)
		return ERROR_NONE;
	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
		if (classes[i].err == abs(err))
			return classes[i].class;
	return ERROR_FAILED;
}

const char *error_class_name(enum error_class class)
{
	static const char *const names[ERROR_CLASSES] = {
		[ERROR_NONE] = "",	     [ERROR_NO_SPACE] = "no-space",
		[ERROR_GONE] = "gone",	     [ERROR_DENIED] = "denied",
		[ERROR_SMALLER] = "smaller", [ERROR_BUSY] = "busy",
		[ERROR_UNABLE] = "unable",   [ERROR_MEMORY] = "memory",
		[ERROR_FAILED] = "failed",
	};

	return names[class];
}

const char *
error_text(int err)
{
	return error_class(err) == ERROR_SMALLER ? "it has become smaller" : strerror(abs(err));
}
