/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image-identity.h - which image this is, whatever its path
 *
 * A text that stays the same when the image is renamed, when the machine is
 * booted again and when devices are numbered anew, and that a copy does not
 * have. It is made of letters, digits, '.', '_' and '-':
 *
 *	file-<UUID of the file system, or none>-<inode>-<time of birth>
 *	dm-<UUID>, part-<UUID>, wwid-<WWN>, wwn-<WWN>, serial-<serial number>
 *	loop-<offset>-<identity of the file>
 *
 * What the kernel knows comes before what udev has found out.
 */
#ifndef IMAGE_IDENTITY_H
#define IMAGE_IDENTITY_H

#include <stddef.h>

#define IMAGE_IDENTITY_SIZE 200 /* with the terminating zero */

/*
 * Of an open file or block device. 0; -ENODATA, and "unknown", if there is
 * nothing about it that is its own and stays; or another -errno.
 */
int image_identity(int fd, char *text, size_t size);

/*
 * The same of the block device that this directory of sysfs and this file of
 * udev's database describe.
 */
int image_identity_of_device(const char *sys, const char *udev, char *text, size_t size);

#endif
