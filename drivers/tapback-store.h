/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tapback-store.h - xenstore, as tapback and the hotplug program use it
 *
 * Functions return 0 or -errno. That something is not there is normal, and what is not
 * for us to see is treated as if it were not there: only its owner has the harm. Where
 * something could not be read for another reason, tapback_store_in_doubt() says so, and
 * what has been read since tapback_store_trust() means nothing. If xenstore is gone,
 * tapback_store_broken() says so for good.
 */
#ifndef TAPBACK_STORE_H
#define TAPBACK_STORE_H

#include <stdbool.h>

int tapback_store_open(void);
void tapback_store_close(void);

/* Readable when tapback_store_changed() has something. */
int tapback_store_fd(void);

/* The value of dir/key, the caller's to free; NULL if there is none. dir NULL: of key. */
char *tapback_store_read(const char *dir, const char *key);

/* What is in dir, to be freed by the caller in one; NULL, and *n is 0, if it is not there. */
char **tapback_store_list(const char *dir, unsigned int *n);

struct tapback_pair {
	const char *key;
	const char *value;
};

/*
 * Writes all of n pairs into dir, or none: -ENOENT unless dir has the key must, so that
 * nothing comes to life again that somebody else has just removed. -EAGAIN if others
 * change the same again and again: to be tried later.
 */
int tapback_store_write(const char *dir, const char *must, const struct tapback_pair *pairs,
			unsigned int n);

/* Writes all of n pairs into the new directory dir, or none. Domain reader may read them. */
int tapback_store_make(const char *dir, unsigned int reader, const struct tapback_pair *pairs,
		       unsigned int n);

int tapback_store_remove(const char *dir);

/* Removes dir's parent if that is empty, which it is not while there is dir. */
int tapback_store_tidy(const char *dir);

bool tapback_store_has_domain(unsigned int domid);

/* token comes back with each change at path or below it. */
int tapback_store_watch(const char *path, const char *token);
void tapback_store_unwatch(const char *path, const char *token);

/* Calls changed for changes there are; the rest are for another turn. 0, or -errno if xenstore
 * is gone. */
int tapback_store_changed(void (*changed)(const char *path, const char *token));

void tapback_store_trust(void);
bool tapback_store_in_doubt(void);

/* 0, or -errno of what failed. */
int tapback_store_broken(void);

#endif
