/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * list.h - a doubly linked list whose links live in its members
 *
 * Only names that blktap's header of the same name has too, with the same
 * meaning, so that files that use them compile in both trees.
 */
#ifndef LIST_H
#define LIST_H

#include <stddef.h>

struct list_head {
	struct list_head *next, *prev;
};

static inline void
INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

static inline int
list_empty(const struct list_head *list)
{
	return list->next == list;
}

static inline void
list_insert_between(struct list_head *node, struct list_head *prev, struct list_head *next)
{
	node->prev = prev;
	node->next = next;
	prev->next = next->prev = node;
}

static inline void
list_add(struct list_head *node, struct list_head *list)
{
	list_insert_between(node, list, list->next);
}

static inline void
list_add_tail(struct list_head *node, struct list_head *list)
{
	list_insert_between(node, list->prev, list);
}

static inline void
list_del(struct list_head *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
}

static inline void
list_del_init(struct list_head *node)
{
	list_del(node);
	INIT_LIST_HEAD(node);
}

static inline void
list_move_tail(struct list_head *node, struct list_head *list)
{
	list_del(node);
	list_add_tail(node, list);
}

#define list_entry(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define list_for_each_entry(pos, list, member)                                                 \
	for (pos = list_entry((list)->next, __typeof__(*pos), member); &pos->member != (list); \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))

/* As above; the body may remove pos, and nothing else. */
#define list_for_each_entry_safe(pos, tmp, list, member)                  \
	for (pos = list_entry((list)->next, __typeof__(*pos), member),    \
	    tmp = list_entry(pos->member.next, __typeof__(*pos), member); \
	     &pos->member != (list);                                      \
	     pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*tmp), member))

#endif
