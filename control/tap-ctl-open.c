/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libtapctl.h"
#include "cli.h"
#include "commands.h"

#define KEY_MAX 64

/* AES-XTS takes 256 or 512 bits. */
static int
read_key(uint8_t key[KEY_MAX + 1], uint8_t *size)
{
	ssize_t n, have = 0;

	do {
		n = read(STDIN_FILENO, key + have, KEY_MAX + 1 - have);
		if (n < 0 && errno != EINTR)
			return tap_ctl_fail(-errno, "reading the key");
		have += n > 0 ? n : 0;
	} while (n && have <= KEY_MAX);
	if (have != 32 && have != 64)
		return tap_ctl_fail(-EINVAL, "a key has 32 or 64 bytes");
	*size = (uint8_t)have;
	return 0;
}

int
tap_cli_open(int argc, char **argv)
{
	struct tap_ctl_image image = { 0 };
	uint8_t key[KEY_MAX + 1];
	int pid = -1, minor = -1;
	const struct cli_option options[] = {
		CLI_PID(&pid),
		CLI_MINOR(&minor),
		CLI_IMAGE(&image),
		CLI_SET('E', &image.flags, TAPDISK_MESSAGE_FLAG_OPEN_ENCRYPTED,
			"read an encryption key from stdin"),
		CLI_END,
	};
	int err;

	err = cli_parse(argc, argv, options,
			"Opens an image in an attached VBD and serves it.");
	if (!err && image.flags & TAPDISK_MESSAGE_FLAG_OPEN_ENCRYPTED) {
		image.key = key;
		err = read_key(key, &image.key_size);
	}
	if (!err)
		err = tap_ctl_open(pid, minor, &image);
	explicit_bzero(key, sizeof(key));
	return err;
}
