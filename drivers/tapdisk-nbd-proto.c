/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "migrate/error-class.h"
#include "tapdisk-nbd-proto.h"

#define NBD_MAGIC	  UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC  UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_REPLY_MAGIC	  UINT64_C(0x0003e889045565a9) /* to an option */
#define NBD_COMMAND_MAGIC 0x25609513
#define NBD_SIMPLE_MAGIC  0x67446698
#define NBD_CHUNK_MAGIC	  0x668e33ef

/* The server's and the client's handshake flags; the bits are the same. */
#define NBD_FLAG_FIXED_NEWSTYLE (1 << 0)
#define NBD_FLAG_NO_ZEROES	(1 << 1)

#define NBD_FLAG_HAS_FLAGS	   (1 << 0)
#define NBD_FLAG_READ_ONLY	   (1 << 1)
#define NBD_FLAG_SEND_FLUSH	   (1 << 2)
#define NBD_FLAG_SEND_FUA	   (1 << 3)
#define NBD_FLAG_SEND_TRIM	   (1 << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES (1 << 6)
#define NBD_FLAG_SEND_DF	   (1 << 7)
#define NBD_FLAG_CAN_MULTI_CONN	   (1 << 8)

enum nbd_option {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ERROR	     (UINT32_C(1) << 31)
#define NBD_REP_ACK	     1
#define NBD_REP_SERVER	     2
#define NBD_REP_INFO	     3
#define NBD_REP_META_CONTEXT 4
#define NBD_REP_ERR_UNSUP    (NBD_REP_ERROR | 1)
#define NBD_REP_ERR_INVALID  (NBD_REP_ERROR | 3)
#define NBD_REP_ERR_TOO_BIG  (NBD_REP_ERROR | 9)

#define NBD_INFO_EXPORT	     0
#define NBD_INFO_NAME	     1
#define NBD_INFO_DESCRIPTION 2
#define NBD_INFO_BLOCK_SIZE  3

#define NBD_CHUNK_DONE	       (1 << 0) /* flag: the request's last */
#define NBD_CHUNK_OFFSET_DATA  1
#define NBD_CHUNK_BLOCK_STATUS 5
#define NBD_CHUNK_ERROR	       (1 << 15 | 1)

#define NBD_DESCRIPTION	    "a disk served by tapdisk"
#define NBD_CONTEXT	    "base:allocation"
#define NBD_CONTEXT_ID	    1
#define NBD_PREFERRED_BLOCK 4096
#define NBD_MAX_STRING	    4096

/* A client that haggles longer than this is not one. */
#define NBD_MAX_OPTIONS 64

/* --- big-endian fields --------------------------------------------------------- */

struct reader {
	const uint8_t *at;
	size_t left;
	bool failed; /* something was asked for that is not there; sticks */
};

struct writer {
	uint8_t *at;
};

static const uint8_t *
get_bytes(struct reader *in, size_t n)
{
	const uint8_t *at = in->at;

	if (in->failed || n > in->left) {
		in->failed = true;
		return NULL;
	}
	in->at += n;
	in->left -= n;
	return at;
}

static uint64_t
get_int(struct reader *in, size_t n)
{
	const uint8_t *at = get_bytes(in, n);
	uint64_t value = 0;

	for (size_t i = 0; at && i < n; i++)
		value = value << 8 | at[i];
	return value;
}

/* Returns a string's bytes and their number; NULL where there is no fit one. */
static const uint8_t *
get_string(struct reader *in, uint32_t *len)
{
	*len = get_int(in, 4);
	if (*len > NBD_MAX_STRING)
		in->failed = true;
	return get_bytes(in, *len);
}

/* Nothing is missing and nothing is left over. */
static bool
reader_done(const struct reader *in)
{
	return !in->failed && !in->left;
}

static void
put_bytes(struct writer *out, const void *bytes, size_t n)
{
	memcpy(out->at, bytes, n);
	out->at += n;
}

static void
put_16(struct writer *out, uint16_t value)
{
	value = htobe16(value);
	put_bytes(out, &value, sizeof(value));
}

static void
put_32(struct writer *out, uint32_t value)
{
	value = htobe32(value);
	put_bytes(out, &value, sizeof(value));
}

static void
put_64(struct writer *out, uint64_t value)
{
	value = htobe64(value);
	put_bytes(out, &value, sizeof(value));
}

/* --- handshake ----------------------------------------------------------------- */

size_t
nbd_greeting(uint8_t bytes[NBD_HANDSHAKE_REPLY])
{
	struct writer out = { bytes };

	put_64(&out, NBD_MAGIC);
	put_64(&out, NBD_OPTION_MAGIC);
	put_16(&out, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	return out.at - bytes;
}

static uint16_t
transmission_flags(const struct nbd_handshake *hs)
{
	uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
			 NBD_FLAG_CAN_MULTI_CONN;

	if (hs->export.readonly)
		flags |= NBD_FLAG_READ_ONLY;
	else
		flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES;
	if (hs->structured)
		flags |= NBD_FLAG_SEND_DF;
	return flags;
}

static void
put_option_reply(struct writer *out, uint32_t option, uint32_t type, uint32_t length)
{
	put_64(out, NBD_REPLY_MAGIC);
	put_32(out, option);
	put_32(out, type);
	put_32(out, length);
}

static void
put_info_string(struct writer *out, uint32_t option, uint16_t info, const char *text)
{
	put_option_reply(out, option, NBD_REP_INFO, 2 + strlen(text));
	put_16(out, info);
	put_bytes(out, text, strlen(text));
}

/*
 * An option's handler reads its data from in, writes the replies that come
 * before the last one, and returns the last one's type. It writes nothing if
 * that is an error.
 */
typedef uint32_t (*option_handler)(struct nbd_handshake *hs, uint32_t option, struct reader *in,
				   struct writer *out);

static uint32_t
option_abort(struct nbd_handshake *hs, uint32_t option, struct reader *in, struct writer *out)
{
	hs->phase = NBD_PHASE_ABORTED;
	return NBD_REP_ACK;
}

static uint32_t
option_list(struct nbd_handshake *hs, uint32_t option, struct reader *in, struct writer *out)
{
	const uint32_t len = strlen(NBD_EXPORT_NAME);

	if (!reader_done(in))
		return NBD_REP_ERR_INVALID;
	put_option_reply(out, option, NBD_REP_SERVER, 4 + len);
	put_32(out, len);
	put_bytes(out, NBD_EXPORT_NAME, len);
	return NBD_REP_ACK;
}

static uint32_t
option_structured(struct nbd_handshake *hs, uint32_t option, struct reader *in,
		  struct writer *out)
{
	if (!reader_done(in))
		return NBD_REP_ERR_INVALID;
	hs->structured = true;
	return NBD_REP_ACK;
}

/* INFO and GO. The block sizes are told unasked: who ignores them gets EINVAL. */
static uint32_t
option_info(struct nbd_handshake *hs, uint32_t option, struct reader *in, struct writer *out)
{
	const struct nbd_export *export = &hs->export;
	bool name = false, description = false;
	uint32_t name_len;

	get_string(in, &name_len);
	for (unsigned int left = get_int(in, 2); left && !in->failed; left--) {
		const uint16_t info = get_int(in, 2);

		name |= info == NBD_INFO_NAME;
		description |= info == NBD_INFO_DESCRIPTION;
	}
	if (!reader_done(in))
		return NBD_REP_ERR_INVALID;

	put_option_reply(out, option, NBD_REP_INFO, 12);
	put_16(out, NBD_INFO_EXPORT);
	put_64(out, export->size);
	put_16(out, transmission_flags(hs));

	put_option_reply(out, option, NBD_REP_INFO, 14);
	put_16(out, NBD_INFO_BLOCK_SIZE);
	put_32(out, export->block);
	put_32(out, export->block > NBD_PREFERRED_BLOCK ? export->block : NBD_PREFERRED_BLOCK);
	put_32(out, NBD_MAX_PAYLOAD);

	if (name)
		put_info_string(out, option, NBD_INFO_NAME, NBD_EXPORT_NAME);
	if (description)
		put_info_string(out, option, NBD_INFO_DESCRIPTION, NBD_DESCRIPTION);
	if (option == NBD_OPT_GO)
		hs->phase = NBD_PHASE_TRANSMISSION;
	return NBD_REP_ACK;
}

/* LIST and SET. A query for all of "base:" is for listing only. */
static uint32_t
option_meta_context(struct nbd_handshake *hs, uint32_t option, struct reader *in,
		    struct writer *out)
{
	const bool set = option == NBD_OPT_SET_META_CONTEXT;
	uint32_t queries, len;
	bool wanted;

	if (set)
		hs->base_allocation = false;
	if (!hs->structured)
		return NBD_REP_ERR_INVALID;

	get_string(in, &len);
	queries = get_int(in, 4);
	wanted = !set && !queries;
	for (; queries && !in->failed; queries--) {
		const uint8_t *query = get_string(in, &len);

		if (query && len == strlen(NBD_CONTEXT))
			wanted |= !memcmp(query, NBD_CONTEXT, len);
		if (query && len == strlen("base:"))
			wanted |= !set && !memcmp(query, "base:", len);
	}
	if (!reader_done(in))
		return NBD_REP_ERR_INVALID;

	if (wanted) {
		put_option_reply(out, option, NBD_REP_META_CONTEXT, 4 + strlen(NBD_CONTEXT));
		put_32(out, set ? NBD_CONTEXT_ID : 0);
		put_bytes(out, NBD_CONTEXT, strlen(NBD_CONTEXT));
	}
	if (set)
		hs->base_allocation = wanted;
	return NBD_REP_ACK;
}

static const option_handler option_handlers[] = {
	[NBD_OPT_ABORT] = option_abort,
	[NBD_OPT_LIST] = option_list,
	[NBD_OPT_INFO] = option_info,
	[NBD_OPT_GO] = option_info,
	[NBD_OPT_STRUCTURED_REPLY] = option_structured,
	[NBD_OPT_LIST_META_CONTEXT] = option_meta_context,
	[NBD_OPT_SET_META_CONTEXT] = option_meta_context,
};

/* The one option of old, whose answer has a form of its own. */
static void
enter_by_export_name(struct nbd_handshake *hs, struct writer *out)
{
	static const uint8_t zeroes[124];

	put_64(out, hs->export.size);
	put_16(out, transmission_flags(hs));
	if (!hs->no_zeroes)
		put_bytes(out, zeroes, sizeof(zeroes));
	hs->phase = NBD_PHASE_TRANSMISSION;
}

static ssize_t
take_option(struct nbd_handshake *hs, struct reader in, struct writer *out)
{
	const uint64_t magic = get_int(&in, 8);
	const uint32_t option = get_int(&in, 4);
	const uint32_t length = get_int(&in, 4);
	option_handler handler = NULL;
	struct reader data;
	uint32_t type;

	if (in.failed)
		return 0;
	if (magic != NBD_OPTION_MAGIC)
		return -EPROTO;
	if (length <= NBD_MAX_OPTION && length > in.left)
		return 0;
	if (++hs->options > NBD_MAX_OPTIONS)
		return -EPROTO;

	if (option == NBD_OPT_EXPORT_NAME || !hs->fixed_newstyle) {
		/* Neither can be told of an error. */
		if (option != NBD_OPT_EXPORT_NAME || length > NBD_MAX_STRING)
			return -EPROTO;
		enter_by_export_name(hs, out);
		return NBD_OPTION_HEADER + length;
	}
	if (length > NBD_MAX_OPTION) {
		put_option_reply(out, option, NBD_REP_ERR_TOO_BIG, 0);
		hs->skip = length;
		return NBD_OPTION_HEADER;
	}

	if (option < sizeof(option_handlers) / sizeof(option_handlers[0]))
		handler = option_handlers[option];
	data = (struct reader){ in.at, length, false };
	type = handler ? handler(hs, option, &data, out) : NBD_REP_ERR_UNSUP;
	put_option_reply(out, option, type, 0);
	return NBD_OPTION_HEADER + length;
}

static ssize_t
take_client_flags(struct nbd_handshake *hs, struct reader in)
{
	const uint32_t flags = get_int(&in, 4);

	if (in.failed)
		return 0;
	if (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
		return -EPROTO;
	hs->fixed_newstyle = flags & NBD_FLAG_FIXED_NEWSTYLE;
	hs->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	hs->phase = NBD_PHASE_OPTIONS;
	return 4;
}

ssize_t
nbd_handshake_step(struct nbd_handshake *hs, const uint8_t *in, size_t len,
		   uint8_t out[NBD_HANDSHAKE_REPLY], size_t *out_len)
{
	const struct reader reader = { in, len, false };
	struct writer writer = { out };
	ssize_t taken;

	if (hs->skip) {
		taken = len < hs->skip ? len : hs->skip;
		hs->skip -= taken;
	} else if (hs->phase == NBD_PHASE_CLIENT_FLAGS) {
		taken = take_client_flags(hs, reader);
	} else {
		taken = take_option(hs, reader, &writer);
	}
	*out_len = writer.at - out;
	return taken;
}

/* --- transmission -------------------------------------------------------------- */

enum command_trait {
	KNOWN = 1 << 0,
	WRITES = 1 << 1,  /* refused where the export is read-only */
	DATA = 1 << 2,	  /* length is of data in memory */
	CONTEXT = 1 << 3, /* is about a metadata context */
};

static const struct command_rule {
	unsigned int traits;
	uint16_t flags;	   /* allowed beside FUA, which means nothing to some */
	uint32_t past_end; /* the error for a range beyond the disk; 0: has no range */
} command_rules[] = {
	[NBD_CMD_READ] = { KNOWN | DATA, NBD_CMD_FLAG_DF, NBD_EINVAL },
	[NBD_CMD_WRITE] = { KNOWN | DATA | WRITES, 0, NBD_ENOSPC },
	[NBD_CMD_FLUSH] = { KNOWN, 0, 0 },
	[NBD_CMD_TRIM] = { KNOWN | WRITES, 0, NBD_EINVAL },
	[NBD_CMD_WRITE_ZEROES] = { KNOWN | WRITES, NBD_CMD_FLAG_NO_HOLE, NBD_ENOSPC },
	[NBD_CMD_BLOCK_STATUS] = { KNOWN | CONTEXT, NBD_CMD_FLAG_REQ_ONE, NBD_EINVAL },
};

int
nbd_command_parse(const uint8_t bytes[NBD_COMMAND_SIZE], struct nbd_command *cmd)
{
	struct reader in = { bytes, NBD_COMMAND_SIZE, false };

	if (get_int(&in, 4) != NBD_COMMAND_MAGIC)
		return -EPROTO;
	cmd->flags = get_int(&in, 2);
	cmd->type = get_int(&in, 2);
	cmd->cookie = get_int(&in, 8);
	cmd->offset = get_int(&in, 8);
	cmd->length = get_int(&in, 4);
	return 0;
}

static uint32_t
check_range(const struct nbd_export *export, const struct nbd_command *cmd, uint32_t past_end)
{
	if (!cmd->length)
		return NBD_EINVAL;
	if (cmd->offset > export->size || cmd->length > export->size - cmd->offset)
		return past_end;
	if (cmd->offset % export->block || cmd->length % export->block)
		return NBD_EINVAL;
	return 0;
}

uint32_t
nbd_command_check(const struct nbd_handshake *hs, const struct nbd_command *cmd)
{
	static const struct command_rule unknown;
	const struct command_rule *rule = &unknown;

	if (cmd->type < sizeof(command_rules) / sizeof(command_rules[0]))
		rule = &command_rules[cmd->type];
	if (!(rule->traits & KNOWN) || (cmd->flags & ~(rule->flags | NBD_CMD_FLAG_FUA)))
		return NBD_EINVAL;
	if ((rule->traits & WRITES) && hs->export.readonly)
		return NBD_EPERM;
	if ((rule->traits & CONTEXT) && !hs->base_allocation)
		return NBD_EINVAL;
	if ((cmd->flags & NBD_CMD_FLAG_DF) && !hs->structured)
		return NBD_EINVAL;
	if (!rule->past_end)
		return cmd->offset || cmd->length ? NBD_EINVAL : 0;
	if ((rule->traits & DATA) && cmd->length > NBD_MAX_PAYLOAD)
		return NBD_EOVERFLOW;
	return check_range(&hs->export, cmd, rule->past_end);
}

uint32_t
nbd_error(int err)
{
	if (error_class(err) == ERROR_NO_SPACE)
		return NBD_ENOSPC;
	switch (-err) {
	case 0:
		return 0;
	case EPERM:
	case EACCES:
	case EROFS:
		return NBD_EPERM;
	case ENOMEM:
		return NBD_ENOMEM;
	case EINVAL:
		return NBD_EINVAL;
	case EOVERFLOW:
		return NBD_EOVERFLOW;
	case EOPNOTSUPP:
		return NBD_ENOTSUP;
	case ESHUTDOWN:
		return NBD_ESHUTDOWN;
	default:
		return NBD_EIO;
	}
}

static void
put_chunk(struct writer *out, const struct nbd_command *cmd, uint16_t type, uint32_t length)
{
	put_32(out, NBD_CHUNK_MAGIC);
	put_16(out, NBD_CHUNK_DONE);
	put_16(out, type);
	put_64(out, cmd->cookie);
	put_32(out, length);
}

size_t
nbd_reply_head(uint8_t bytes[NBD_REPLY_HEAD_MAX], const struct nbd_handshake *hs,
	       const struct nbd_command *cmd, uint32_t error, uint32_t data_len)
{
	const bool answers = cmd->type == NBD_CMD_READ || cmd->type == NBD_CMD_BLOCK_STATUS;
	struct writer out = { bytes };

	if (!hs->structured || !answers) {
		put_32(&out, NBD_SIMPLE_MAGIC);
		put_32(&out, error);
		put_64(&out, cmd->cookie);
	} else if (error) {
		put_chunk(&out, cmd, NBD_CHUNK_ERROR, 6);
		put_32(&out, error);
		put_16(&out, 0);
	} else if (cmd->type == NBD_CMD_READ) {
		put_chunk(&out, cmd, NBD_CHUNK_OFFSET_DATA, 8 + data_len);
		put_64(&out, cmd->offset);
	} else {
		put_chunk(&out, cmd, NBD_CHUNK_BLOCK_STATUS, 4 + data_len);
		put_32(&out, NBD_CONTEXT_ID);
	}
	return out.at - bytes;
}

void
nbd_extents_add(struct nbd_extents *x, uint64_t at, uint64_t length, uint32_t state)
{
	struct writer out;

	/* A gap: the extent before this one was left out. */
	if (at != x->covered || !length)
		return;
	if (!x->count || state != x->state) {
		x->full = x->count == x->max;
		if (x->full)
			return;
		x->count++;
		x->state = state;
		x->last = 0;
	}
	x->last += length;
	x->covered += length;
	out.at = x->wire + (x->count - 1) * NBD_EXTENT_SIZE;
	put_32(&out, x->last);
	put_32(&out, x->state);
}
