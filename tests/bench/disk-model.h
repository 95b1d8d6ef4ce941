/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk-model.h - how long a disk would take: flash or spindle, as a queue
 *
 * A disk is a number of channels. A request is cut into units, which are served by
 * any channel that is free: each for the time that its bytes take at the channel's
 * share of the bandwidth, and the first one also for the time that it takes to get
 * at the request.
 *
 *  - flash: several channels, small units, a constant time for each request. Units
 *    of different requests take turns, so a small request is not stuck behind a
 *    large one.
 *  - spindle: one channel, a request is one unit. The time for a request is none
 *    where it goes on from the last one; else that of the seek, which grows with the
 *    square root of the distance, and half a revolution. Of the first QUEUE_DEPTH
 *    requests the nearest is served next, unless the first has waited for
 *    PATIENCE_NS. No write cache: a write is answered when it is on the disk.
 *
 * The model has no clock and no chance in it. It is told what time it is; the same
 * requests at the same times are always answered at the same times.
 */
#ifndef BENCH_DISK_MODEL_H
#define BENCH_DISK_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"

#define DISK_MODEL_CHANNELS    8u
#define DISK_MODEL_QUEUE_DEPTH 32u	    /* that a spindle's choice looks at */
#define DISK_MODEL_PATIENCE_NS 500000000ull /* of a request that is not the nearest */
#define DISK_MODEL_NEVER       UINT64_MAX

enum disk_model_op { MODEL_READ = 0, MODEL_WRITE = 1, MODEL_OPS };

struct disk_model_kind {
	const char *name;
	uint32_t channels;
	uint32_t unit_bytes;		   /* 0: requests are not cut */
	uint64_t access_ns[MODEL_OPS];	   /* of each request */
	uint64_t bytes_per_s[MODEL_OPS];   /* all channels together */
	uint64_t seek_min_ns, seek_max_ns; /* to the next track, across the disk; 0: none */
	uint64_t rotation_ns;
};

/* A request belongs to the caller, and to the model from submit to done. */
struct disk_model_request {
	enum disk_model_op op;
	uint64_t start, bytes; /* on the disk */
	uint64_t done_ns;      /* when it was answered, once it is */
	/* the model's */
	uint64_t arrived_ns;
	uint64_t bytes_left; /* not given to a channel yet */
	uint32_t units;	     /* that channels are at */
	struct list_head link;
};

struct disk_model {
	struct disk_model_kind kind;
	uint64_t bytes; /* of the disk */
	uint64_t head;	/* a spindle's: where the last request ended */
	struct list_head waiting;
	struct list_head done; /* in the order of their answers */
	struct {
		struct disk_model_request *request; /* NULL: free */
		uint64_t free_ns;
	} channel[DISK_MODEL_CHANNELS];
};

/*
 * "ssd", "hdd", or "ssd/10": the same, with every time ten times as long. False if
 * there is no such disk.
 */
bool disk_model_kind(const char *name, struct disk_model_kind *kind);

void disk_model_init(struct disk_model *m, const struct disk_model_kind *kind, uint64_t bytes);

/* A request arrives. Time must not go back from one call to the next. */
void disk_model_submit(struct disk_model *m, struct disk_model_request *req, uint64_t now_ns);

/* When disk_model_next() has something to say, or has to be told the time: or NEVER. */
uint64_t disk_model_due_ns(const struct disk_model *m);

/* The next request that is answered by now, or NULL. */
struct disk_model_request *disk_model_next(struct disk_model *m, uint64_t now_ns);

#endif
