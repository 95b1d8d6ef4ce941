/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image-identity.h"
#include "image-mark.h"

#define VERSION	      "1"
#define STATE_DIR     "/var/lib/tapmigrate"
#define STATE_DIR_ENV "TAPMIGRATE_STATE_DIR"

static const char *const role_names[] = { "source", "destination", "superseded" };

const char *
image_mark_role_name(enum image_mark_role role)
{
	return role_names[role];
}

/* --- the text ---------------------------------------------------------------------- */

int
image_mark_make(struct image_mark *mark, enum image_mark_role role, const char *uuid,
		const char *name)
{
	size_t len = strlen(name);

	if (strlen(uuid) != IMAGE_MARK_UUID - 1 ||
	    strspn(uuid, "0123456789abcdefABCDEF-") != IMAGE_MARK_UUID - 1 || !len ||
	    len >= sizeof(mark->name))
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)name[i]))
			return -EINVAL;
	mark->role = role;
	memcpy(mark->uuid, uuid, IMAGE_MARK_UUID);
	memcpy(mark->name, name, len + 1);
	return 0;
}

/* The next word of *text, which is ended there; NULL if there is none. */
static char *
word(char **text)
{
	char *start = strsep(text, " ");

	return *text ? start : NULL;
}

int
image_mark_parse(const char *text, size_t len, struct image_mark *mark)
{
	char line[IMAGE_MARK_TEXT], *rest = line;
	const char *version, *role, *uuid;
	int i = 0;

	if (len >= sizeof(line) || memchr(text, '\0', len))
		return -EBADMSG;
	memcpy(line, text, len);
	line[len] = '\0';
	version = word(&rest);
	role = word(&rest);
	uuid = word(&rest);
	if (!uuid || strcmp(version, VERSION))
		return -EBADMSG;
	while (strcmp(role, role_names[i]))
		if (++i == IMAGE_MARK_ROLES)
			return -EBADMSG;
	return image_mark_make(mark, (enum image_mark_role)i, uuid, rest) ? -EBADMSG : 0;
}

static size_t
text_of(const struct image_mark *mark, char text[IMAGE_MARK_TEXT])
{
	return (size_t)snprintf(text, IMAGE_MARK_TEXT, "%s %s %s %s", VERSION,
				role_names[mark->role], mark->uuid, mark->name);
}

/* --- entries of the state directory ------------------------------------------------- */

const char *
image_mark_state_dir(void)
{
	const char *dir = getenv(STATE_DIR_ENV);

	return dir && *dir ? dir : STATE_DIR;
}

static int
sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

int
image_mark_make_state_dir(void)
{
	/* Whoever may open an image may know what it is marked with. */
	return mkdir(image_mark_state_dir(), 0755) && errno != EEXIST ? -errno : 0;
}

static int
entry_path(int fd, const char *suffix, char path[PATH_MAX])
{
	char identity[IMAGE_IDENTITY_SIZE];
	int err = image_identity(fd, identity, sizeof(identity));

	if (!err && snprintf(path, PATH_MAX, "%s/mark-%s%s", image_mark_state_dir(), identity,
			     suffix) >= PATH_MAX)
		err = -ENAMETOOLONG;
	return err;
}

/* The length of the text, or -errno; -ENODATA if there is none. */
static ssize_t
entry_get(int fd, char *text, size_t size)
{
	char path[PATH_MAX];
	ssize_t n = entry_path(fd, "", path);
	struct stat st;

	if (n)
		return n;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENODATA : -errno;
	if (fstat(fd, &st))
		n = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size > (off_t)size)
		n = -EBADMSG;
	else if ((n = read(fd, text, size)) < 0)
		n = -errno;
	close(fd);
	return n > 0 && text[n - 1] == '\n' ? n - 1 : n;
}

static int
write_new(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (dprintf(fd, "%s\n", text) != (int)strlen(text) + 1)
		err = errno ? -errno : -EIO;
	else if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

static int
entry_set(int fd, const char *text)
{
	char path[PATH_MAX], next[PATH_MAX];
	int err;

	err = entry_path(fd, "", path);
	if (!err)
		err = entry_path(fd, ".new", next);
	if (!err)
		err = image_mark_make_state_dir();
	if (!err)
		err = write_new(next, text);
	if (!err && rename(next, path))
		err = -errno;
	return err ? err : sync_directory(image_mark_state_dir());
}

static int
entry_clear(int fd)
{
	char path[PATH_MAX];
	int err = entry_path(fd, "", path);

	if (err)
		return err == -ENODATA ? 0 : err;
	if (unlink(path))
		return errno == ENOENT ? 0 : -errno;
	return sync_directory(image_mark_state_dir());
}

/* --- marks --------------------------------------------------------------------------- */

/* A block device has no attributes: they would be those of its node in /dev. */
static bool
is_device(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISBLK(st.st_mode);
}

int
image_mark_get(int fd, struct image_mark *mark)
{
	char text[IMAGE_MARK_TEXT];
	bool entry = is_device(fd);
	ssize_t n = 0;

	if (!entry) {
		n = fgetxattr(fd, IMAGE_MARK_XATTR, text, sizeof(text));
		if (n < 0)
			n = errno == ERANGE ? -EBADMSG : -errno;
		entry = n == -EOPNOTSUPP;
	}
	if (entry)
		n = entry_get(fd, text, sizeof(text));
	return n < 0 ? (int)n : image_mark_parse(text, (size_t)n, mark);
}

int
image_mark_set(int fd, const struct image_mark *mark)
{
	char text[IMAGE_MARK_TEXT];
	size_t len = text_of(mark, text);

	if (!is_device(fd)) {
		if (!fsetxattr(fd, IMAGE_MARK_XATTR, text, len, 0))
			return fsync(fd) ? -errno : 0;
		if (errno != EOPNOTSUPP)
			return -errno;
	}
	return entry_set(fd, text);
}

int
image_mark_clear(int fd)
{
	if (!is_device(fd)) {
		if (!fremovexattr(fd, IMAGE_MARK_XATTR))
			return fsync(fd) ? -errno : 0;
		if (errno == ENODATA)
			return 0;
		if (errno != EOPNOTSUPP)
			return -errno;
	}
	return entry_clear(fd);
}

static bool
is_ours(const struct image_mark *mark, const struct image_mark *ours)
{
	return ours && mark->role == ours->role && !strcmp(mark->uuid, ours->uuid);
}

int
image_mark_check(int fd, const char *image, const struct image_mark *ours, char *why,
		 size_t size)
{
	struct image_mark mark;
	int err = image_mark_get(fd, &mark);

	if (err == -ENODATA || (!err && is_ours(&mark, ours)))
		return 0;
	if (!err && mark.role == IMAGE_MARK_SUPERSEDED) {
		snprintf(why, size,
			 "%s is out of date: the disk has moved to %s (to use it all the same: "
			 "tap-ctl migrate unmark)",
			 image, mark.name);
		return -ESTALE;
	}
	if (!err) {
		snprintf(why, size,
			 "%s is the %s of a migration and not a whole disk: open migrate:%s "
			 "(tap-ctl migrate mark tells more)",
			 image, role_names[mark.role], mark.name);
		return -EBUSY;
	}
	snprintf(why, size, "%s: the mark that a migration has left there %s%s", image,
		 err == -EBADMSG
			 ? "is not understood (tap-ctl migrate unmark --force removes it)"
			 : "cannot be read: ",
		 err == -EBADMSG ? "" : strerror(-err));
	return err;
}
