/* SPDX-License-Identifier: BSD-3-Clause */
#include "aio-open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-lock.h"
#include "image-mark.h"
#include "image-sector.h"
#include "tapdisk-log.h"

static void
say_holder(const char *name)
{
	char text[IMAGE_HOLDER_SIZE];

	image_lock_holder(name, text, sizeof(text));
	EPRINTF("%s: in use by %s", name, text);
}

/* What path leads to, without opening it: a pipe would block, a tape would rewind. */
static int
find_file(struct aio_file *file, const char *path, const char *name)
{
	struct stat st;
	int fd = open(path, O_PATH | O_CLOEXEC), err;

	if (fd < 0 || fstat(fd, &st)) {
		err = -errno;
		EPRINTF("%s: %s", name, strerror(-err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		EPRINTF("%s: neither a file nor a block device", name);
		close(fd);
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	file->block_device = S_ISBLK(st.st_mode);
	return fd;
}

/* Opens what was found, whatever path leads to by now. The descriptor, or -errno. */
static int
open_found(struct aio_file *file, int found, const char *name, td_flag_t flags)
{
	int direct = flags & TD_OPEN_NO_O_DIRECT ? 0 : O_DIRECT, fd, err;
	int mode = flags & TD_OPEN_RDONLY ? O_RDONLY : O_RDWR;
	char path[32];

	if (file->block_device && mode == O_RDWR)
		mode |= O_EXCL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
	fd = open(path, mode | direct | O_CLOEXEC);
	if (fd < 0 && errno == EINVAL && direct) {
		fd = open(path, mode | O_CLOEXEC);
		if (fd >= 0)
			tlog_syslog(TLOG_WARN, "%s: no O_DIRECT there, using the page cache",
				    name);
	}
	if (fd >= 0)
		return fd;

	err = -errno;
	if (err == -EBUSY)
		say_holder(name);
	else
		EPRINTF("%s: cannot open it: %s", name, strerror(-err));
	return err;
}

/*
 * Only whole images are locked, by open file descriptions: another open in this
 * process counts as well. File systems without locks do without, with a warning.
 */
static int
lock_file(struct aio_file *file, const char *name, td_flag_t flags)
{
	int err = image_lock(file->fd, !(flags & TD_OPEN_RDONLY));

	if (err == -EBUSY)
		say_holder(name);
	else if (err)
		tlog_syslog(TLOG_WARN,
			    "%s: cannot be locked (%s); nothing keeps others from it", name,
			    strerror(-err));
	return err == -EBUSY ? err : 0;
}

static int
check_mark(struct aio_file *file, const char *name)
{
	char why[TAPDISK_LOG_TEXT];
	int err = image_mark_check(file->fd, name, NULL, why, sizeof(why));

	if (err)
		EPRINTF("%s", why);
	return err;
}

/* Whether O_DIRECT takes a read of that size at offset into buf. */
static bool
direct_takes(struct aio_file *file, char *buf, size_t size, off_t offset)
{
	return pread(file->fd, buf, size, offset) >= 0 || errno != EINVAL;
}

/*
 * The alignment that O_DIRECT wants, found by reading where there is data: in a
 * hole any alignment is taken. Bytes, 0 for the page cache, or -ENOMEM.
 */
static long
probe_alignment(struct aio_file *file)
{
	off_t data = lseek(file->fd, 0, SEEK_DATA);
	char *buf = aligned_alloc(AIO_DIRECT, 2 * AIO_DIRECT);
	long align;

	if (!buf)
		return -ENOMEM;
	if (data < 0)
		data = 0;

	align = direct_takes(file, buf, SECTOR_SIZE, data) ? SECTOR_SIZE : AIO_DIRECT;
	if (!direct_takes(file, buf + SECTOR_SIZE, (size_t)align, data))
		align = 0;
	free(buf);
	return align;
}

/*
 * The same, asked of the kernel if it is new enough (Linux 6.1) to know. What
 * wants memory aligned to more than the 512 bytes that requests have goes through
 * the page cache.
 */
static long
direct_alignment(struct aio_file *file)
{
	if (!(fcntl(file->fd, F_GETFL) & O_DIRECT))
		return 0;

#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    stx.stx_mask & STATX_DIOALIGN)
		return stx.stx_dio_mem_align > SECTOR_SIZE ? 0 : stx.stx_dio_offset_align;
#endif
	return probe_alignment(file);
}

/* What the guest of a file knows may be larger than what the storage needs. */
static int
recorded_sectors(const struct aio_file *file, const char *name, int logical, uint64_t bytes)
{
	long recorded = file->block_device ? 0 : image_sector_get(file->fd);

	if (recorded <= logical)
		return logical;
	if (!(bytes % (uint64_t)recorded))
		return (int)recorded;
	tlog_syslog(TLOG_WARN,
		    "%s: is said to have sectors of %ld bytes, but its size is no multiple of "
		    "them",
		    name, recorded);
	return logical;
}

static int
get_info(struct aio_file *file, const char *name, td_flag_t flags)
{
	uint64_t bytes;
	int logical = SECTOR_SIZE;
	long align = direct_alignment(file);
	struct stat st;

	if (align < 0)
		return (int)align;
	if (!align && fcntl(file->fd, F_GETFL) & O_DIRECT) {
		tlog_syslog(TLOG_WARN,
			    "%s: O_DIRECT wants more than requests have, using the "
			    "page cache",
			    name);
		if (fcntl(file->fd, F_SETFL, 0))
			return -errno;
	}

	if (file->block_device) {
		if (ioctl(file->fd, BLKGETSIZE64, &bytes) ||
		    ioctl(file->fd, BLKSSZGET, &logical))
			return -errno;
	} else {
		if (fstat(file->fd, &st))
			return -errno;
		bytes = (uint64_t)st.st_size;
	}
	if (align > logical)
		logical = (int)align;
	if (!(flags & TD_OPEN_OWN_SECTORS))
		logical = recorded_sectors(file, name, logical, bytes);

	if (!bytes || bytes % (uint64_t)logical) {
		EPRINTF("%s: its size, %llu bytes, is not a positive multiple of its sectors' "
			"%d bytes",
			name, (unsigned long long)bytes, logical);
		return -EINVAL;
	}

	file->size = bytes;
	file->sector_size = logical;
	return 0;
}

int
aio_open(struct aio_file *file, const char *path, const char *name, td_flag_t flags)
{
	int err, found = find_file(file, path, name);

	if (found < 0)
		return found;
	file->fd = open_found(file, found, name, flags);
	close(found);
	if (file->fd < 0)
		return file->fd;

	err = lock_file(file, name, flags);
	if (!err && !(flags & TD_OPEN_MIGRATION))
		err = check_mark(file, name);
	if (!err)
		err = get_info(file, name, flags);
	if (err)
		close(file->fd);
	return err;
}
