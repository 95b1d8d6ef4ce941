/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-nbd-memory.h"

#include "migrate/buffers.h"

static struct {
	size_t shared;		   /* of all budgets */
	struct list_head short_of; /* nbd_budget.link: those that somebody waits for */
	struct buffers buffers;
} process = {
	.short_of = { &process.short_of, &process.short_of },
	.buffers.idle_max = NBD_IDLE_BYTES,
};

void
nbd_budget_init(struct nbd_budget *budget)
{
	budget->shared = 0;
	INIT_LIST_HEAD(&budget->waiting);
	INIT_LIST_HEAD(&budget->link);
}

void
nbd_account_init(struct nbd_account *account, struct nbd_budget *budget,
		 void (*wake)(struct nbd_account *account))
{
	account->budget = budget;
	account->bytes = 0;
	account->wake = wake;
	INIT_LIST_HEAD(&account->waiting);
}

/* What of an account's bytes is more than its own. */
static size_t
beyond(size_t bytes)
{
	return bytes > NBD_OWN_BYTES ? bytes - NBD_OWN_BYTES : 0;
}

/* The first that waits for a budget, or NULL. */
static struct nbd_account *
first_of(const struct nbd_budget *budget)
{
	return list_empty(&budget->waiting)
		       ? NULL
		       : list_entry(budget->waiting.next, struct nbd_account, waiting);
}

static void
wait_for_memory(struct nbd_account *account)
{
	struct nbd_budget *budget = account->budget;

	if (!list_empty(&account->waiting))
		return;
	if (list_empty(&budget->waiting))
		list_add_tail(&budget->link, &process.short_of);
	list_add_tail(&account->waiting, &budget->waiting);
}

/* Those behind it in its VBD may have what it does not need. */
static void
wait_no_more(struct nbd_account *account)
{
	struct nbd_budget *budget = account->budget;

	if (list_empty(&account->waiting))
		return;
	list_del_init(&account->waiting);
	if (list_empty(&budget->waiting))
		list_del_init(&budget->link);
	else
		first_of(budget)->wake(first_of(budget));
}

void
nbd_account_leave(struct nbd_account *account)
{
	wait_no_more(account);
}

bool
nbd_memory_admits(struct nbd_account *account, size_t size)
{
	const struct nbd_budget *budget = account->budget;
	const struct nbd_account *first = first_of(budget);
	const size_t bytes = account->bytes + (size ? buffers_size(size) : 0);
	const size_t more = beyond(bytes) - beyond(account->bytes);
	bool fits;

	if (bytes > NBD_CONN_BYTES) {
		wait_no_more(account);
		return false;
	}
	if (first && first != account)
		fits = !more;
	else
		fits = !more || !budget->shared ||
		       (budget->shared + more <= NBD_VBD_BYTES &&
			process.shared + more <= NBD_PROCESS_BYTES);
	if (fits)
		wait_no_more(account);
	else
		wait_for_memory(account);
	return fits;
}

static void
account_set(struct nbd_account *account, size_t bytes)
{
	const size_t before = beyond(account->bytes), after = beyond(bytes);

	account->bytes = bytes;
	account->budget->shared += after - before;
	process.shared += after - before;
}

void *
nbd_memory_get(struct nbd_account *account, size_t size)
{
	void *buffer = buffers_get(&process.buffers, size);

	if (buffer)
		account_set(account, account->bytes + buffers_size(size));
	return buffer;
}

void
nbd_memory_put(struct nbd_account *account, void *buffer, size_t size)
{
	const size_t before = process.shared;
	struct nbd_budget *budget;

	buffers_put(&process.buffers, buffer, size);
	account_set(account, account->bytes - buffers_size(size));
	if (process.shared == before)
		return;
	list_for_each_entry(budget, &process.short_of, link)
		first_of(budget)->wake(first_of(budget));
}

void
nbd_memory_trim(void)
{
	buffers_release(&process.buffers);
}
