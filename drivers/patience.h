/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * patience.h - how long a peer may leave us waiting
 *
 * A peer that has begun to say something owes the rest of it; one that is being answered
 * owes to take the answer. One that owes nothing may be silent for ever. What is looked at,
 * every PATIENCE_LOOK seconds, is whether a peer owes something, and whether it has got on
 * since: with something whole, or by PATIENCE_BYTES. A peer that has not got on in more
 * than PATIENCE_LOOKS looks, in 25 to 35 seconds, is not waited for any longer.
 */
#ifndef PATIENCE_H
#define PATIENCE_H

#include <stdbool.h>
#include <stddef.h>

#define PATIENCE_LOOK  5 /* seconds */
#define PATIENCE_LOOKS 5
#define PATIENCE_BYTES ((size_t)256 << 10)

struct patience {
	size_t moved; /* bytes that the peer has sent or taken since it last got on */
	unsigned int vain;
};

/* The peer has sent or taken part of something. */
static inline void
patience_moved(struct patience *p, size_t bytes)
{
	p->moved += bytes;
}

/* The peer has sent or taken something whole. */
static inline void
patience_got_on(struct patience *p)
{
	p->moved = PATIENCE_BYTES;
}

/* One look. Whether patience is at an end. */
static inline bool
patience_look(struct patience *p, bool owes)
{
	if (!owes || p->moved >= PATIENCE_BYTES)
		*p = (struct patience){ 0 };
	else
		p->vain++;
	return p->vain > PATIENCE_LOOKS;
}

#endif
