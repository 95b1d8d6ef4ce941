/* SPDX-License-Identifier: BSD-3-Clause */
#include "tapdisk-driver.h"

#include <stdlib.h>

#include "tapdisk-disktype.h"

#define DRIVER_LOG_BURST    16
#define DRIVER_LOG_INTERVAL (90 * INT64_C(1000000000)) /* ns */

td_driver_t *
tapdisk_driver_allocate(int type, const char *name, td_flag_t flags)
{
	const struct tap_disk *ops;
	td_driver_t *driver;

	if (type < 0 || type >= DISK_TYPES || !tapdisk_disk_drivers[type])
		return NULL;
	ops = tapdisk_disk_drivers[type];

	driver = calloc(1, sizeof(*driver));
	if (!driver)
		return NULL;

	driver->type = type;
	driver->ops = ops;
	driver->name = strdup(name);
	driver->data = calloc(1, (size_t)ops->private_data_size);
	if (flags & TD_OPEN_RDONLY)
		driver->state |= TD_DRIVER_RDONLY;

	if (!driver->name || !driver->data) {
		tapdisk_driver_free(driver);
		return NULL;
	}
	return driver;
}

void
tapdisk_driver_free(td_driver_t *driver)
{
	if (!driver)
		return;

	free(driver->name);
	free(driver->data);
	free(driver);
}

void
tapdisk_driver_debug(td_driver_t *driver)
{
	if (driver->ops->td_debug)
		driver->ops->td_debug(driver);
}

void
tapdisk_driver_stats(td_driver_t *driver, td_stats_t *st)
{
	tapdisk_stats_field(st, "type", "d", driver->type);
	tapdisk_stats_field(st, "name", "s", tapdisk_disk_types[driver->type]->name);
	if (driver->ops->td_stats) {
		tapdisk_stats_field(st, "status", "{");
		driver->ops->td_stats(driver, st);
		tapdisk_stats_leave(st, '}');
	} else {
		tapdisk_stats_field(st, "status", NULL);
	}
}

int
tapdisk_driver_log_pass(td_driver_t *driver, const char *caller)
{
	int64_t now = scheduler_now();

	if (!driver->log_since || now - driver->log_since >= DRIVER_LOG_INTERVAL) {
		driver->log_since = now;
		driver->log_count = 0;
	}
	if (driver->log_count == DRIVER_LOG_BURST)
		tlog_syslog(TLOG_WARN, "%s: %s: too many messages, dropped for a while",
			    driver->name, caller);

	return driver->log_count++ < DRIVER_LOG_BURST;
}
