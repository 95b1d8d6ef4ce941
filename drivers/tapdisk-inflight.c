/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Changes with the layout: a file of another tapdisk's is not understood. */
#define INFLIGHT_MAGIC 0x31464e49u /* "INF1" */

struct inflight_file {
	uint32_t magic; /* set last */
	uint32_t entries;
	struct inflight_ring ring;
	struct inflight_slot slots[];
};

/* The file with all its room, so that no store can fail later. A descriptor, or -errno. */
static int
open_file(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || ((size_t)st.st_size != size && ftruncate(fd, 0)))
		err = -errno;
	if (!err)
		err = -posix_fallocate(fd, 0, (off_t)size);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int
inflight_open(struct inflight *inflight, const char *path, const struct inflight_ring *ring,
	      unsigned int entries)
{
	struct inflight_file *file;
	int fd = -1, err;

	*inflight = (struct inflight){
		.size = sizeof(*file) + entries * sizeof(file->slots[0]),
		.entries = entries,
	};
	if (path) {
		inflight->path = strdup(path);
		if (!inflight->path)
			return -ENOMEM;
		fd = open_file(path, inflight->size);
		if (fd < 0) {
			inflight_close(inflight);
			return fd;
		}
	}
	file = mmap(NULL, inflight->size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | (path ? 0 : MAP_ANONYMOUS), fd, 0);
	err = file == MAP_FAILED ? -errno : 0;
	if (path)
		close(fd);
	if (err) {
		inflight_close(inflight);
		return err;
	}
	inflight->file = file;
	inflight->slots = file->slots;
	if (file->magic == INFLIGHT_MAGIC && file->entries == entries &&
	    !memcmp(&file->ring, ring, sizeof(*ring)))
		return 0;
	__atomic_store_n(&file->magic, 0, __ATOMIC_RELEASE);
	memset(file, 0, inflight->size);
	file->entries = entries;
	file->ring = *ring;
	__atomic_store_n(&file->magic, INFLIGHT_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

static void
enter(struct inflight_slot *slot, enum inflight_state state)
{
	__atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
}

unsigned int
inflight_settle(struct inflight *inflight, uint32_t rsp_prod)
{
	unsigned int left = 0;

	for (unsigned int i = 0; i < inflight->entries; i++) {
		struct inflight_slot *slot = &inflight->slots[i];

		if (slot->state == INFLIGHT_ANSWERED && (int32_t)(rsp_prod - slot->answer) > 0)
			enter(slot, INFLIGHT_FREE);
		left += slot->state != INFLIGHT_FREE;
	}
	return left;
}

void
inflight_take(struct inflight_slot *slot)
{
	enter(slot, INFLIGHT_TAKEN);
}

void
inflight_answer(struct inflight_slot *slot, uint32_t answer, int status)
{
	slot->answer = answer;
	slot->status = status;
	enter(slot, INFLIGHT_ANSWERED);
}

void
inflight_free(struct inflight_slot *slot)
{
	enter(slot, INFLIGHT_FREE);
}

void
inflight_remove(struct inflight *inflight)
{
	if (inflight->path)
		unlink(inflight->path);
	free(inflight->path);
	inflight->path = NULL;
}

void
inflight_close(struct inflight *inflight)
{
	if (inflight->file)
		munmap(inflight->file, inflight->size);
	free(inflight->path);
	*inflight = (struct inflight){ .file = NULL };
}
