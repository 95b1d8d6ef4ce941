/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * state-dir.h - the small files of the state directory
 *
 * What a host must not forget, and cannot write where it belongs: marks of images
 * that can have no attribute (image-mark.h), and which migrations have not ended
 * (migrate-registry.h). A file has one line of text. At any moment, also after a
 * power failure, the old text or the new one is there.
 *
 * All of it may wait for the storage. What is read may have been written by anybody
 * who may write there: root alone, unless the directory is another one.
 */
#ifndef STATE_DIR_H
#define STATE_DIR_H

#include <sys/types.h>

/* $TAPMIGRATE_STATE_DIR or /var/lib/tapmigrate. */
const char *state_dir(void);
/* Makes it. 0 or -errno. */
int state_dir_make(void);

/* The text's length without its newline; -ENODATA: there is no such file; or -errno. */
ssize_t state_file_get(const char *name, char *text, size_t size);
/* Makes the directory too. 0, and it is on stable storage; or -errno. */
int state_file_put(const char *name, const char *text);
/* 0, also if there was none, and that is on stable storage; or -errno. */
int state_file_remove(const char *name);

#endif
