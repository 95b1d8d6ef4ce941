/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image-identity.h"
#include "image-mark.h"
#include "migrate/error-class.h"
#include "state-dir.h"

#define MARK_VERSION "1"
#define ENTRY_NAME   (IMAGE_IDENTITY_SIZE + sizeof("mark-"))

static const char *const role_names[] = { "source", "destination", "superseded", "abandoned" };

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
	if (!uuid || strcmp(version, MARK_VERSION))
		return -EBADMSG;
	while (strcmp(role, role_names[i]))
		if (++i == IMAGE_MARK_ROLES)
			return -EBADMSG;
	return image_mark_make(mark, (enum image_mark_role)i, uuid, rest) ? -EBADMSG : 0;
}

static void
text_of(const struct image_mark *mark, char text[IMAGE_MARK_TEXT])
{
	snprintf(text, IMAGE_MARK_TEXT, "%s %s %s %s", MARK_VERSION, role_names[mark->role],
		 mark->uuid, mark->name);
}

/* --- the attribute -------------------------------------------------------------------- */

/* A block device has no attributes: they would be those of its node in /dev. */
static bool
is_device(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISBLK(st.st_mode);
}

/* As image_mark_get(). */
static int
attribute_get(int fd, struct image_mark *mark)
{
	char text[IMAGE_MARK_TEXT];
	ssize_t n = is_device(fd) ? -1 : fgetxattr(fd, IMAGE_MARK_XATTR, text, sizeof(text));

	if (n >= 0)
		return image_mark_parse(text, (size_t)n, mark);
	if (is_device(fd) || errno == EOPNOTSUPP)
		return -ENODATA;
	return errno == ERANGE ? -EBADMSG : -errno;
}

static int
attribute_set(int fd, const char *text)
{
	if (is_device(fd))
		return -EOPNOTSUPP;
	return fsetxattr(fd, IMAGE_MARK_XATTR, text, strlen(text), 0) || fsync(fd) ? -errno : 0;
}

static int
attribute_clear(int fd)
{
	struct image_mark mark;

	if (attribute_get(fd, &mark) == -ENODATA)
		return 0;
	return fremovexattr(fd, IMAGE_MARK_XATTR) || fsync(fd) ? -errno : 0;
}

/* Whether the state directory can stand in for an attribute that cannot be written. */
static bool
can_stand_in(int err)
{
	static const bool can[ERROR_CLASSES] = {
		[ERROR_NO_SPACE] = true,
		[ERROR_GONE] = true,
		[ERROR_DENIED] = true,
		[ERROR_UNABLE] = true,
	};

	return can[error_class(err)] || err == -EIO;
}

/* --- the entry of the state directory --------------------------------------------------- */

/* -ENODATA: nothing tells the image from others, so it has none. */
static int
entry_name(int fd, char name[ENTRY_NAME])
{
	char identity[IMAGE_IDENTITY_SIZE];
	int err = image_identity(fd, identity, sizeof(identity));

	if (!err)
		snprintf(name, ENTRY_NAME, "mark-%s", identity);
	return err;
}

static int
entry_get(int fd, struct image_mark *mark)
{
	char name[ENTRY_NAME], text[IMAGE_MARK_TEXT];
	ssize_t n = entry_name(fd, name);

	if (!n)
		n = state_file_get(name, text, sizeof(text));
	return n < 0 ? (int)n : image_mark_parse(text, (size_t)n, mark);
}

static int
entry_set(int fd, const char *text)
{
	char name[ENTRY_NAME];
	int err = entry_name(fd, name);

	return err ? err : state_file_put(name, text);
}

static int
entry_clear(int fd)
{
	char name[ENTRY_NAME];
	int err = entry_name(fd, name);

	if (err)
		return err == -ENODATA ? 0 : err;
	return state_file_remove(name);
}

/* --- marks --------------------------------------------------------------------------- */

/*
 * Where both are there, of one migration, the attribute could not be written when the entry
 * was. An entry of another migration is older: since then the attribute has been written
 * by another host.
 */
int
image_mark_get(int fd, struct image_mark *mark)
{
	struct image_mark entry;
	int err = attribute_get(fd, mark), entry_err;

	if (err == -EBADMSG)
		return err;
	entry_err = entry_get(fd, &entry);
	if (err == -ENODATA && entry_err)
		return entry_err;
	if (!entry_err && (err || !strcmp(mark->uuid, entry.uuid))) {
		*mark = entry;
		return 0;
	}
	return err;
}

static bool
is_marked(int fd, const struct image_mark *mark)
{
	struct image_mark now;

	return !image_mark_get(fd, &now) && now.role == mark->role &&
	       !strcmp(now.uuid, mark->uuid) && !strcmp(now.name, mark->name);
}

int
image_mark_set(int fd, const struct image_mark *mark)
{
	char text[IMAGE_MARK_TEXT];
	int err, instead;

	text_of(mark, text);
	err = attribute_set(fd, text);
	if (!err)
		return entry_clear(fd);
	if (!can_stand_in(err))
		return err;
	instead = entry_set(fd, text);
	if (err == -EOPNOTSUPP)
		return instead;
	/* What the attribute says of another migration still counts. */
	return !instead && is_marked(fd, mark) ? 0 : err;
}

int
image_mark_clear(int fd)
{
	int err = attribute_clear(fd);

	return err ? err : entry_clear(fd);
}

bool
image_mark_travels(int fd)
{
	char unused[IMAGE_MARK_TEXT];

	return !is_device(fd) &&
	       (fgetxattr(fd, IMAGE_MARK_XATTR, unused, sizeof(unused)) >= 0 ||
		errno == ENODATA || errno == ERANGE);
}

int
image_mark_forget(int fd)
{
	return entry_clear(fd);
}

/* What was given up may be the destination again: all of it will be overwritten. */
static bool
may_open(const struct image_mark *mark, const struct image_mark *ours)
{
	if (!ours)
		return false;
	if (mark->role == IMAGE_MARK_ABANDONED)
		return ours->role == IMAGE_MARK_DESTINATION && strcmp(mark->uuid, ours->uuid);
	return mark->role == ours->role && !strcmp(mark->uuid, ours->uuid);
}

int
image_mark_check(int fd, const char *image, const struct image_mark *ours, char *why,
		 size_t size)
{
	struct image_mark mark;
	int err = image_mark_get(fd, &mark);

	if (err == -ENODATA || (!err && may_open(&mark, ours)))
		return 0;
	if (!err && mark.role == IMAGE_MARK_SUPERSEDED) {
		snprintf(why, size,
			 "%s is out of date: the disk has moved to %s (to use it all the same: "
			 "tap-ctl migrate unmark)",
			 image, mark.name);
		return -ESTALE;
	}
	if (!err && mark.role == IMAGE_MARK_ABANDONED) {
		snprintf(why, size,
			 "%s is not a whole disk: its migration was cancelled, the disk is %s "
			 "(a new migration may overwrite it; to use it all the same: tap-ctl "
			 "migrate unmark)",
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
