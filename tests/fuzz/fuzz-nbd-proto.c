/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-nbd-proto.o */
/*
 * The NBD parser by itself. It is given each message in memory of exactly its size,
 * so that AddressSanitizer sees a byte too far, which it cannot in the server's large
 * buffers. The input: a letter ("r" for a disk that is read only), then a client's
 * bytes without payloads.
 */
#include "fuzz.h"
#include "tapdisk-nbd-proto.h"

#define DISK  (UINT64_C(1) << 40)
#define BLOCK 4096

static uint8_t *
copy(const uint8_t *at, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1);

	check(bytes);
	memcpy(bytes, at, size);
	return bytes;
}

/* What is left of the input after the handshake's next message; false at its end. */
static bool
handshake(struct nbd_handshake *hs, struct input *in)
{
	const size_t enough = NBD_OPTION_HEADER + NBD_MAX_OPTION;
	/* As a server would have it that has read that much. */
	const size_t len = in->left < enough ? in->left : enough;
	uint8_t *bytes = copy(in->at, len), *out = malloc(NBD_HANDSHAKE_REPLY);
	size_t out_len, taken;
	ssize_t n;

	check(out);
	n = nbd_handshake_step(hs, bytes, len, out, &out_len);
	check(n < 0 || ((size_t)n <= len && out_len <= NBD_HANDSHAKE_REPLY));
	check(n || (len < enough && !out_len));
	free(out);
	free(bytes);
	if (n <= 0)
		return false;
	input_bytes(in, (size_t)n, &taken);
	return true;
}

static void
check_passed(const struct nbd_handshake *hs, const struct nbd_command *cmd)
{
	if (cmd->type == NBD_CMD_FLUSH)
		return;
	check(cmd->length && cmd->length % BLOCK == 0 && cmd->offset % BLOCK == 0);
	check(cmd->offset < DISK && cmd->length <= DISK - cmd->offset);
	check(!hs->export.readonly || cmd->type == NBD_CMD_READ ||
	      cmd->type == NBD_CMD_BLOCK_STATUS);
	if (cmd->type == NBD_CMD_READ || cmd->type == NBD_CMD_WRITE)
		check(cmd->length <= NBD_MAX_PAYLOAD);
}

static bool
command(const struct nbd_handshake *hs, struct input *in)
{
	uint8_t head[NBD_REPLY_HEAD_MAX], *bytes;
	struct nbd_command cmd;
	uint32_t error;
	size_t len;
	int err;

	if (in->left < NBD_COMMAND_SIZE)
		return false;
	bytes = copy(input_bytes(in, NBD_COMMAND_SIZE, &len), NBD_COMMAND_SIZE);
	err = nbd_command_parse(bytes, &cmd);
	free(bytes);
	if (err)
		return false;
	error = nbd_command_check(hs, &cmd);
	if (!error)
		check_passed(hs, &cmd);
	check(nbd_reply_head(head, hs, &cmd, error, error ? 0 : cmd.length) <= sizeof(head));
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct nbd_handshake hs = { .export = { .size = DISK, .block = BLOCK } };

	hs.export.readonly = input_byte(&in) == 'r';
	while (in.left && hs.phase < NBD_PHASE_TRANSMISSION)
		if (!handshake(&hs, &in))
			return 0;
	while (hs.phase == NBD_PHASE_TRANSMISSION && command(&hs, &in))
		;
	return 0;
}
