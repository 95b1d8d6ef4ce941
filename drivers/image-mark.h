/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image-mark.h - whom an image belongs to while it migrates, and after
 *
 * While a migration exists both its images carry a mark that names its journal.
 * After it has completed the source carries one that names its successor, and
 * after it was cancelled the destination, which was never a whole disk, one that
 * names the source. An image so marked is opened by that migration only; one that
 * was abandoned by another one too, as the destination that it overwrites.
 *
 * A mark is one line of text,
 *
 *	<version> <role> <UUID of the migration> <name>
 *
 * where name is the journal's path, or for superseded and abandoned the
 * "type:path" that the disk is now. A file has it in the extended attribute
 * user.tapmigrate. A block device, or a file whose attribute cannot be written
 * (its file system has none, or is full, read-only or out of order), has it in
 * the state directory, in a file named after its identity (image-identity.h);
 * of one migration that counts, for it is the later word. Setting the attribute
 * removes the entry, and clearing a mark removes both.
 *
 * What is read may have been written by anybody. All that takes an open file
 * may wait for its storage.
 */
#ifndef IMAGE_MARK_H
#define IMAGE_MARK_H

#include <stdbool.h>
#include <stddef.h>

#define IMAGE_MARK_XATTR "user.tapmigrate"
#define IMAGE_MARK_NAME	 1024 /* with the terminating zero, as all sizes here */
#define IMAGE_MARK_UUID	 37
#define IMAGE_MARK_TEXT	 (IMAGE_MARK_NAME + IMAGE_MARK_UUID + 32)

enum image_mark_role {
	IMAGE_MARK_SOURCE,
	IMAGE_MARK_DESTINATION,
	IMAGE_MARK_SUPERSEDED, /* a source that the disk has left */
	IMAGE_MARK_ABANDONED,  /* a destination that never became the disk */
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
/* Whether the mark is the image's own attribute, which other hosts see too. */
bool image_mark_travels(int fd);
/* Of an image that has been removed: it has no entry in the state directory any more. */
int image_mark_forget(int fd);

/*
 * Whether the image may be opened by the migration whose mark is ours (NULL: by none): 0,
 * and then it has no mark or that one, wherever its journal was, or was abandoned and may be
 * overwritten; -EBUSY (of a migration), -ESTALE (superseded, abandoned), or another -errno,
 * with a sentence about the image of that name in why.
 */
int image_mark_check(int fd, const char *image, const struct image_mark *ours, char *why,
		     size_t size);

#endif
