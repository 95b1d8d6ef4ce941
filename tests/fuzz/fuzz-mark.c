/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/image-identity.o drivers/image-mark.o drivers/state-dir.o */
/* An image's mark, which anybody may have written. The input is its text. */
#include <ctype.h>

#include "fuzz.h"
#include "image-mark.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_mark mark, again;
	char text[IMAGE_MARK_TEXT];
	size_t len;

	if (image_mark_parse((const char *)data, size, &mark))
		return 0;

	/* What is taken is what stands there, and can be shown to people. */
	for (const char *c = mark.name; *c; c++)
		check(!iscntrl((unsigned char)*c));
	check(!image_mark_make(&again, mark.role, mark.uuid, mark.name));
	len = (size_t)snprintf(text, sizeof(text), "1 %s %s %s",
			       image_mark_role_name(mark.role), mark.uuid, mark.name);
	check(len == size && !memcmp(text, data, size));
	return 0;
}
