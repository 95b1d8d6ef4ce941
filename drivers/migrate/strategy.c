/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "strategy.h"

/* clang-format off */
static const struct strategy_row rows[STRATEGIES] = {
	/*                                                      write of the region               for a chunk's copy   mirrored   recovery
	 *                                               read   to be     copied                    a read   a write   writes are  trusts
	 *                 name      title             prefers  copied             acknowledged      waits    waits    throttled             */
	[STRATEGY_LR]     = { "lr",     "low redundancy", DST, { DST_BIT, DST_BIT }, ACK_ALL,        true,    true,    false,    DST },
	[STRATEGY_SLR]    = { "slr",    "source-based low redundancy",
	                                                  SRC, { SRC_BIT, DST_BIT }, ACK_ALL,        false,   true,    false,    DST },
	[STRATEGY_AIO]    = { "aio",    "asynchronous I/O mirroring",
	                                                  SRC, { SRC_BIT, BOTH },    ACK_FIRST,      false,   true,    true,     SRC },
	[STRATEGY_MIRROR] = { "mirror", "synchronous I/O mirroring",
	                                                  SRC, { SRC_BIT, BOTH },    ACK_ALL,        false,   true,    false,    SRC },
	[STRATEGY_DBT]    = { "dbt",    "dirty block tracking",
	                                                  SRC, { SRC_BIT, SRC_BIT }, ACK_ALL,        false,   false,   false,    SRC },
};

static const struct strategy_row rollback =
	            { "rollback", "rollback",             SRC, { SRC_BIT, SRC_BIT }, ACK_ALL,        false,   true,    false,    SRC };
/* clang-format on */

const struct strategy_row *
strategy_row(enum strategy strategy)
{
	return &rows[strategy];
}

const struct strategy_row *
strategy_rollback(void)
{
	return &rollback;
}

int
strategy_find(const char *name)
{
	for (int s = 0; s < STRATEGIES; s++)
		if (!strcmp(rows[s].name, name))
			return s;
	return -1;
}
