/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image-mark.h - whom an image belongs to while it migrates, and after
 *
 * While a migration exists both its images carry a mark that names its state
 * file; after it has completed the source carries one that names its successor.
 * An image so marked is opened by that migration only.
 *
 * A mark is one line of text,
 *
 *	<version> source|destination|superseded <UUID of the migration> <name>
 *
 * where name is the journal's path, or for superseded the "type:path" that
 * the disk is now. A file has it in the extended attribute user.tapmigrate. A
 * block device, or a file whose file system has no such attributes, has it in
 * the state directory, in a file named after its identity (image-identity.h).
 *
 * What is read may have been written by anybody.
 */
#ifndef IMAGE_MARK_H
#define IMAGE_MARK_H

#include <stddef.h>

#define IMAGE_MARK_XATTR "user.tapmigrate"
#define IMAGE_MARK_NAME	 1024 /* with the terminating zero, as all sizes here */
#define IMAGE_MARK_UUID	 37
#define IMAGE_MARK_TEXT	 (IMAGE_MARK_NAME + IMAGE_MARK_UUID + 32)

enum image_mark_role {
	IMAGE_MARK_SOURCE,
	IMAGE_MARK_DESTINATION,
	IMAGE_MARK_SUPERSEDED,
	IMAGE_MARK_ROLES
};

struct image_mark {
	enum image_mark_role role;
	char uuid[IMAGE_MARK_UUID];
	char name[IMAGE_MARK_NAME];
};

const char *image_mark_role_name(enum image_mark_role role);

/* 0; -EINVAL: the UUID is none, or the name has control characters or is too long. */
int image_mark_make(struct image_mark *mark, enum image_mark_role role, const char *uuid,
		    const char *name);

/* len bytes of text: 0, or -EBADMSG if that is not a mark of a version we know. */
int image_mark_parse(const char *text, size_t len, struct image_mark *mark);

/*
 * The mark of an open file or block device. All is on stable storage when set
 * and clear return; set replaces what was there, and at any moment the old one
 * or the new one is there. -ENODATA: there is none (clear: 0); or, from set, it
 * cannot have one, for nothing tells it from others. -EBADMSG: there is
 * something else. Or another -errno.
 */
int image_mark_get(int fd, struct image_mark *mark);
int image_mark_set(int fd, const struct image_mark *mark);
int image_mark_clear(int fd);

/*
 * Whether who has the mark ours (NULL: is no migration) may open the image: 0,
 * and then it has no mark or that one, wherever its journal was; -EBUSY (of
 * a migration), -ESTALE (superseded), or another -errno, with a sentence about
 * the image of that name in why.
 */
int image_mark_check(int fd, const char *image, const struct image_mark *ours, char *why,
		     size_t size);

/* The state directory: $TAPMIGRATE_STATE_DIR or /var/lib/tapmigrate. */
const char *image_mark_state_dir(void);
/* Makes it. 0 or -errno. */
int image_mark_make_state_dir(void);

#endif
