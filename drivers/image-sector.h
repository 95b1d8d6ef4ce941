/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image-sector.h - the sector size that an image's guest knows
 *
 * A disk of 4096-byte sectors that has moved to where 512 would do is shown with 4096 all the
 * same: its partition table counts in them. A file says so in the extended attribute
 * user.tapmigrate.sector, a number of bytes. Nothing else can say it.
 */
#ifndef IMAGE_SECTOR_H
#define IMAGE_SECTOR_H

/* What an open file says; 0: nothing, or nothing that makes sense. May wait. */
long image_sector_get(int fd);

/*
 * Says it, or nothing any more (0), on stable storage. 0; -EOPNOTSUPP if it is no file, or has
 * no such attributes; or another -errno. May wait.
 */
int image_sector_set(int fd, long bytes);

#endif
