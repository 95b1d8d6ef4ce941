/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk-model.h"

#include <stdlib.h>
#include <string.h>

#define MIB	  (1ull << 20)
#define US	  1000ull
#define MS	  1000000ull
#define NS_PER_S  1000000000ull
#define SCALE_MAX 1000ul

/*
 * A SATA flash disk and a spindle of 7200 revolutions a minute, as they stood side
 * by side in the machines of the paper's time. By these numbers the first does
 * 15,900 reads and 13,200 writes of 4 KiB a second at depth 4 and more, the second
 * about 75 at depth 1.
 */
static const struct disk_model_kind kinds[] = {
	{
		.name = "ssd",
		.channels = 4,
		.unit_bytes = 32 << 10,
		.access_ns = { 200 * US, 250 * US },
		.bytes_per_s = { 300 * MIB, 300 * MIB },
	},
	{
		.name = "hdd",
		.channels = 1,
		.access_ns = { 100 * US, 100 * US },
		.bytes_per_s = { 150 * MIB, 150 * MIB },
		.seek_min_ns = 1 * MS,
		.seek_max_ns = 16 * MS,
		.rotation_ns = 60 * NS_PER_S / 7200,
	},
};

static void
slow_down(struct disk_model_kind *kind, unsigned long factor)
{
	for (int op = 0; op < MODEL_OPS; op++) {
		kind->access_ns[op] *= factor;
		kind->bytes_per_s[op] /= factor;
	}
	kind->seek_min_ns *= factor;
	kind->seek_max_ns *= factor;
	kind->rotation_ns *= factor;
}

bool
disk_model_kind(const char *name, struct disk_model_kind *kind)
{
	size_t len = strcspn(name, "/");
	unsigned long factor = 1;
	char *end;

	if (name[len] == '/') {
		if (name[len + 1] < '0' || name[len + 1] > '9')
			return false;
		factor = strtoul(name + len + 1, &end, 10);
		if (*end || factor < 1 || factor > SCALE_MAX)
			return false;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strlen(kinds[i].name) == len && !strncmp(kinds[i].name, name, len)) {
			*kind = kinds[i];
			slow_down(kind, factor);
			return true;
		}
	}
	return false;
}

void
disk_model_init(struct disk_model *m, const struct disk_model_kind *kind, uint64_t bytes)
{
	memset(m, 0, sizeof(*m));
	m->kind = *kind;
	m->bytes = bytes;
	INIT_LIST_HEAD(&m->waiting);
	INIT_LIST_HEAD(&m->done);
}

/* --- times ---------------------------------------------------------------------- */

/* The largest whole number whose square is not above n. */
static uint64_t
square_root(uint64_t n)
{
	uint64_t root = 0;

	for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
		if ((root + bit) * (root + bit) <= n)
			root += bit;
	return root;
}

static uint64_t
distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static uint64_t
seek_ns(const struct disk_model *m, uint64_t to)
{
	const struct disk_model_kind *kind = &m->kind;
	uint64_t way = distance(m->head, to);
	/* In 1/1024 of the root of the way across the disk. */
	uint64_t part = square_root((uint64_t)((unsigned __int128)way * MIB / m->bytes));

	if (!kind->seek_max_ns || way == 0)
		return 0;
	return kind->seek_min_ns + (kind->seek_max_ns - kind->seek_min_ns) * part / 1024 +
	       kind->rotation_ns / 2;
}

static uint64_t
transfer_ns(const struct disk_model *m, enum disk_model_op op, uint64_t bytes)
{
	return bytes * m->kind.channels * NS_PER_S / m->kind.bytes_per_s[op];
}

/* --- the queue ------------------------------------------------------------------ */

static struct disk_model_request *
first_waiting(const struct disk_model *m)
{
	return list_entry(m->waiting.next, struct disk_model_request, link);
}

/* Whom a channel that is free serves next; somebody waits. */
static struct disk_model_request *
choose(const struct disk_model *m, uint64_t now_ns)
{
	struct disk_model_request *req, *best = first_waiting(m);
	unsigned int seen = 0;

	if (!m->kind.seek_max_ns || now_ns - best->arrived_ns >= DISK_MODEL_PATIENCE_NS)
		return best;
	list_for_each_entry(req, &m->waiting, link) {
		if (seen++ == DISK_MODEL_QUEUE_DEPTH)
			break;
		if (distance(m->head, req->start) < distance(m->head, best->start))
			best = req;
	}
	return best;
}

static void
serve(struct disk_model *m, unsigned int channel, uint64_t now_ns)
{
	struct disk_model_request *req = choose(m, now_ns);
	bool first = req->bytes_left == req->bytes;
	uint64_t bytes = req->bytes_left, takes;

	if (m->kind.unit_bytes && bytes > m->kind.unit_bytes)
		bytes = m->kind.unit_bytes;
	takes = transfer_ns(m, req->op, bytes);
	if (first)
		takes += m->kind.access_ns[req->op] + seek_ns(m, req->start);

	m->channel[channel].request = req;
	m->channel[channel].free_ns = now_ns + takes;
	m->head = req->start + req->bytes;
	req->bytes_left -= bytes;
	req->units++;
	list_del(&req->link);
	if (req->bytes_left)
		list_add_tail(&req->link, &m->waiting);
}

static void
serve_all(struct disk_model *m, uint64_t now_ns)
{
	for (unsigned int i = 0; i < m->kind.channels && !list_empty(&m->waiting); i++)
		if (!m->channel[i].request)
			serve(m, i, now_ns);
}

/* The channel that is free next, or one past the last if none works. */
static unsigned int
next_free(const struct disk_model *m)
{
	unsigned int best = m->kind.channels;

	for (unsigned int i = 0; i < m->kind.channels; i++)
		if (m->channel[i].request && (best == m->kind.channels ||
					      m->channel[i].free_ns < m->channel[best].free_ns))
			best = i;
	return best;
}

/* Lets happen what has happened by now, one unit after the other. */
static void
advance(struct disk_model *m, uint64_t now_ns)
{
	unsigned int i;

	while ((i = next_free(m)) < m->kind.channels && m->channel[i].free_ns <= now_ns) {
		struct disk_model_request *req = m->channel[i].request;
		uint64_t then_ns = m->channel[i].free_ns;

		m->channel[i].request = NULL;
		if (--req->units == 0 && req->bytes_left == 0) {
			req->done_ns = then_ns;
			list_add_tail(&req->link, &m->done);
		}
		serve_all(m, then_ns);
	}
}

void
disk_model_submit(struct disk_model *m, struct disk_model_request *req, uint64_t now_ns)
{
	advance(m, now_ns);
	req->arrived_ns = now_ns;
	req->bytes_left = req->bytes;
	req->units = 0;
	list_add_tail(&req->link, &m->waiting);
	serve_all(m, now_ns);
}

uint64_t
disk_model_due_ns(const struct disk_model *m)
{
	unsigned int i = next_free(m);

	if (!list_empty(&m->done))
		return 0;
	return i < m->kind.channels ? m->channel[i].free_ns : DISK_MODEL_NEVER;
}

struct disk_model_request *
disk_model_next(struct disk_model *m, uint64_t now_ns)
{
	struct disk_model_request *req;

	advance(m, now_ns);
	if (list_empty(&m->done))
		return NULL;
	req = list_entry(m->done.next, struct disk_model_request, link);
	list_del(&req->link);
	return req;
}
