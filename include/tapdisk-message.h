/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapdisk-message.h - what tap-ctl and tapdisk say to each other
 *
 * blktap3's wire protocol, byte for byte: one request and its answer on a
 * connection to <run directory>/ctl<pid>, each a struct tapdisk_message of 544
 * bytes in the host's byte order. Every answer has the number after its
 * request's, or is TAPDISK_MESSAGE_ERROR. Exceptions: LIST is answered by one
 * LIST_RSP for each VBD and a last one with count 0; STATS_RSP is followed by
 * info.length bytes of JSON; FORCE_SHUTDOWN is answered by CLOSE_RSP.
 *
 * The cookie is the minor that is meant, and comes back in the answer. What a
 * peer sent is untrusted: the strings may lack their terminating zero.
 */
#ifndef TAPDISK_MESSAGE_H
#define TAPDISK_MESSAGE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the sockets and minors are, unless $BLKTAP_RUN_DIR says otherwise. */
#define TAPDISK_RUN_DIR	    "/run/blktap-control"
#define TAPDISK_RUN_DIR_ENV "BLKTAP_RUN_DIR"
#define TAPDISK_CTL_PREFIX  "ctl" /* <run directory>/ctl<pid>: a control socket */
#define TAPDISK_MINOR_PREFIX \
	"tapdisk/tapdisk-"	   /* .../tapdisk-<minor>: marks a minor as taken */
#define TAPDISK_RING_PREFIX "ring" /* .../ring<domid>.<devid>: what a guest waits for */
#define TAPDISK_MAX_MINORS  16384

#define TAPDISK_MESSAGE_MAX_PATH_LENGTH 256 /* with the terminating zero */
#define TAPDISK_MESSAGE_STRING_LENGTH	256
#define TAPDISK_MESSAGE_MAX_MINORS	63

#define TAPDISK_MESSAGE_COOKIE_ALL 0xffff     /* STATS: every VBD of the process */
#define TAPDISK_MESSAGE_NO_PARENT  UINT32_MAX /* params.prt_devnum */

/* tapdisk_message_params.flags */
#define TAPDISK_MESSAGE_FLAG_SHARED	    0x001
#define TAPDISK_MESSAGE_FLAG_RDONLY	    0x002
#define TAPDISK_MESSAGE_FLAG_ADD_CACHE	    0x004
#define TAPDISK_MESSAGE_FLAG_VHD_INDEX	    0x008
#define TAPDISK_MESSAGE_FLAG_ADD_LOG	    0x010 /* followed by 256 bytes: a log's path */
#define TAPDISK_MESSAGE_FLAG_ADD_LCACHE	    0x020
#define TAPDISK_MESSAGE_FLAG_REUSE_PRT	    0x040
#define TAPDISK_MESSAGE_FLAG_SECONDARY	    0x080
#define TAPDISK_MESSAGE_FLAG_STANDBY	    0x100
#define TAPDISK_MESSAGE_FLAG_NO_O_DIRECT    0x200
#define TAPDISK_MESSAGE_FLAG_OPEN_ENCRYPTED 0x400 /* followed by a length byte and a key */

/* PAUSE: u.params.flags. Ours: the image is closed though its name does not lead to it. */
#define TAPDISK_MESSAGE_FLAG_ANY_NAME 0x10000

enum tapdisk_message_id {
	TAPDISK_MESSAGE_ERROR = 1,
	TAPDISK_MESSAGE_RUNTIME_ERROR = 2,
	TAPDISK_MESSAGE_PID = 3,
	TAPDISK_MESSAGE_PID_RSP = 4,
	TAPDISK_MESSAGE_ATTACH = 5,
	TAPDISK_MESSAGE_ATTACH_RSP = 6,
	TAPDISK_MESSAGE_OPEN = 7,
	TAPDISK_MESSAGE_OPEN_RSP = 8,
	TAPDISK_MESSAGE_PAUSE = 9,
	TAPDISK_MESSAGE_PAUSE_RSP = 10,
	TAPDISK_MESSAGE_RESUME = 11,
	TAPDISK_MESSAGE_RESUME_RSP = 12,
	TAPDISK_MESSAGE_CLOSE = 13,
	TAPDISK_MESSAGE_CLOSE_RSP = 14,
	TAPDISK_MESSAGE_DETACH = 15,
	TAPDISK_MESSAGE_DETACH_RSP = 16,
	TAPDISK_MESSAGE_LIST_MINORS = 17,
	TAPDISK_MESSAGE_LIST_MINORS_RSP = 18,
	TAPDISK_MESSAGE_LIST = 19,
	TAPDISK_MESSAGE_LIST_RSP = 20,
	TAPDISK_MESSAGE_STATS = 21,
	TAPDISK_MESSAGE_STATS_RSP = 22,
	TAPDISK_MESSAGE_FORCE_SHUTDOWN = 23,
	TAPDISK_MESSAGE_XENBLKIF_CONNECT = 24,
	TAPDISK_MESSAGE_XENBLKIF_CONNECT_RSP = 25,
	TAPDISK_MESSAGE_XENBLKIF_DISCONNECT = 26,
	TAPDISK_MESSAGE_XENBLKIF_DISCONNECT_RSP = 27,
	TAPDISK_MESSAGE_DISK_INFO = 28,
	TAPDISK_MESSAGE_DISK_INFO_RSP = 29,
	TAPDISK_MESSAGE_EXIT = 30,
};
#define TAPDISK_MESSAGE_MAX TAPDISK_MESSAGE_EXIT

/*
 * Ours; blktap's tapdisk answers ERROR, with EINVAL. The cookie is the minor; u.info.length
 * bytes of JSON follow the request, and the answer (docs/migrate-protocol.md).
 */
#define TAPDISK_MESSAGE_MIGRATE_START	  0x7400
#define TAPDISK_MESSAGE_MIGRATE_START_RSP 0x7401
#define TAPDISK_MESSAGE_MIGRATE_START_MAX 16384 /* bytes of JSON */

typedef uint32_t tapdisk_message_flag_t;
typedef struct tapdisk_message tapdisk_message_t;
typedef struct tapdisk_message_image tapdisk_message_image_t;
typedef struct tapdisk_message_params tapdisk_message_params_t;
typedef struct tapdisk_message_string tapdisk_message_string_t;
typedef struct tapdisk_message_response tapdisk_message_response_t;
typedef struct tapdisk_message_minors tapdisk_message_minors_t;
typedef struct tapdisk_message_list tapdisk_message_list_t;
typedef struct tapdisk_message_stat tapdisk_message_stat_t;
typedef struct tapdisk_message_blkif tapdisk_message_blkif_t;
typedef struct tapdisk_message_resume tapdisk_message_resume_t;

/* OPEN_RSP, DISK_INFO_RSP */
struct tapdisk_message_image {
	uint64_t sectors;     /* of 512 bytes */
	uint32_t sector_size; /* bytes: what the guest is shown */
	uint32_t info;	      /* VDISK_ bits */
};

/* OPEN, RESUME. An empty path in RESUME means the one that was paused. */
struct tapdisk_message_params {
	tapdisk_message_flag_t flags;
	uint32_t devnum;
	uint32_t domid;
	char path[TAPDISK_MESSAGE_MAX_PATH_LENGTH]; /* type:name */
	uint32_t prt_devnum;
	uint16_t req_timeout; /* seconds; 0: tapdisk's default */
	char secondary[TAPDISK_MESSAGE_MAX_PATH_LENGTH];
};

struct tapdisk_message_string {
	char text[TAPDISK_MESSAGE_STRING_LENGTH];
};

/*
 * ERROR, and the answers that carry nothing else. If an ERROR's message is longer than its
 * place, our tapdisk sends the rest behind the whole message and then hangs up; what is in
 * the place ends with a whole character, so up to three bytes of it may be free.
 */
struct tapdisk_message_response {
	int32_t error;				     /* 0, or a positive errno value */
	char message[TAPDISK_MESSAGE_STRING_LENGTH]; /* what went wrong, for people; may be ""
						      */
};

struct tapdisk_message_minors {
	int32_t count;
	int32_t list[TAPDISK_MESSAGE_MAX_MINORS];
};

/* LIST_RSP */
struct tapdisk_message_list {
	int32_t count; /* VBDs, from this one on; 0 ends the list */
	int32_t minor;
	int32_t state;				    /* TD_VBD_ bits */
	char path[TAPDISK_MESSAGE_MAX_PATH_LENGTH]; /* "" while closed */
};

/* STATS_RSP */
struct tapdisk_message_stat {
	uint16_t type;
	uint16_t cookie;
	size_t length; /* of the JSON that follows, bytes */
};

/* XENBLKIF_CONNECT, XENBLKIF_DISCONNECT */
struct tapdisk_message_blkif {
	uint32_t domid;
	uint32_t devid;
	uint32_t gref[8]; /* the ring's pages, 1 << order of them */
	uint32_t order;
	uint32_t proto; /* 1 native, 2 x86_32, 3 x86_64 */
	char pool[TAPDISK_MESSAGE_STRING_LENGTH];
	uint32_t port;		      /* event channel */
	uint32_t poll_duration;	      /* microseconds; 0: no polling */
	uint32_t poll_idle_threshold; /* percent */
};

/* Declared by blktap but not what it sends: RESUME carries params. */
struct tapdisk_message_resume {
	tapdisk_message_flag_t flags;
	char new_params[TAPDISK_MESSAGE_MAX_PATH_LENGTH];
	char secondary[TAPDISK_MESSAGE_MAX_PATH_LENGTH];
};

struct tapdisk_message {
	uint16_t type; /* enum tapdisk_message_id */
	uint16_t cookie;
	union {
		pid_t tapdisk_pid;
		tapdisk_message_image_t image;
		tapdisk_message_params_t params;
		tapdisk_message_string_t string;
		tapdisk_message_minors_t minors;
		tapdisk_message_response_t response;
		tapdisk_message_list_t list;
		tapdisk_message_stat_t info;
		tapdisk_message_blkif_t blkif;
		tapdisk_message_resume_t resume;
	} u;
};

/* The layout is the protocol (of 64-bit hosts, blktap's only ones). */
#define TAPDISK_MESSAGE_AT(member, offset)                                 \
	_Static_assert(offsetof(struct tapdisk_message, member) == offset, \
		       #member " is not where the protocol has it")

_Static_assert(sizeof(struct tapdisk_message) == 544, "a message is 544 bytes");
_Static_assert(_Alignof(struct tapdisk_message) == 8, "a message is aligned to 8");
TAPDISK_MESSAGE_AT(type, 0);
TAPDISK_MESSAGE_AT(cookie, 2);
TAPDISK_MESSAGE_AT(u, 8);
TAPDISK_MESSAGE_AT(u.tapdisk_pid, 8);
TAPDISK_MESSAGE_AT(u.image.sectors, 8);
TAPDISK_MESSAGE_AT(u.image.sector_size, 16);
TAPDISK_MESSAGE_AT(u.image.info, 20);
TAPDISK_MESSAGE_AT(u.params.flags, 8);
TAPDISK_MESSAGE_AT(u.params.devnum, 12);
TAPDISK_MESSAGE_AT(u.params.domid, 16);
TAPDISK_MESSAGE_AT(u.params.path, 20);
TAPDISK_MESSAGE_AT(u.params.prt_devnum, 276);
TAPDISK_MESSAGE_AT(u.params.req_timeout, 280);
TAPDISK_MESSAGE_AT(u.params.secondary, 282);
TAPDISK_MESSAGE_AT(u.string.text, 8);
TAPDISK_MESSAGE_AT(u.response.error, 8);
TAPDISK_MESSAGE_AT(u.response.message, 12);
TAPDISK_MESSAGE_AT(u.minors.count, 8);
TAPDISK_MESSAGE_AT(u.minors.list, 12);
TAPDISK_MESSAGE_AT(u.list.count, 8);
TAPDISK_MESSAGE_AT(u.list.minor, 12);
TAPDISK_MESSAGE_AT(u.list.state, 16);
TAPDISK_MESSAGE_AT(u.list.path, 20);
TAPDISK_MESSAGE_AT(u.info.type, 8);
TAPDISK_MESSAGE_AT(u.info.cookie, 10);
TAPDISK_MESSAGE_AT(u.info.length, 16);
TAPDISK_MESSAGE_AT(u.blkif.domid, 8);
TAPDISK_MESSAGE_AT(u.blkif.devid, 12);
TAPDISK_MESSAGE_AT(u.blkif.gref, 16);
TAPDISK_MESSAGE_AT(u.blkif.order, 48);
TAPDISK_MESSAGE_AT(u.blkif.proto, 52);
TAPDISK_MESSAGE_AT(u.blkif.pool, 56);
TAPDISK_MESSAGE_AT(u.blkif.port, 312);
TAPDISK_MESSAGE_AT(u.blkif.poll_duration, 316);
TAPDISK_MESSAGE_AT(u.blkif.poll_idle_threshold, 320);
TAPDISK_MESSAGE_AT(u.resume.flags, 8);
TAPDISK_MESSAGE_AT(u.resume.new_params, 12);
TAPDISK_MESSAGE_AT(u.resume.secondary, 268);

#undef TAPDISK_MESSAGE_AT

#endif
