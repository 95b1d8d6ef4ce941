/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.c - what the hotplug program did, and how long each step of it took
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hotplug.h"
#include "tapdisk-log.h"

#define LOG_ENV	   "XEN_HOTPLUG_LOG"
#define XEN_LOG	   "/var/log/xen/xen-hotplug.log"
#define STEPS_MAX  16
#define TIMES_SIZE 512

static struct {
	const char *name, *command, *xenbus_path;
	FILE *xen;
	int64_t began, last; /* ms */
	struct {
		const char *name;
		int64_t ms;
	} steps[STEPS_MAX];
	unsigned int n;
} hotplug_log;

void
log_start(const char *name, const char *command, const char *xenbus_path)
{
	const char *file = getenv(LOG_ENV);

	hotplug_log.name = name;
	hotplug_log.command = command;
	hotplug_log.xenbus_path = xenbus_path;
	hotplug_log.xen = fopen(file && *file ? file : XEN_LOG, "ae");
	hotplug_log.began = hotplug_log.last = tap_ctl_now();
	tapdisk_log_open(name, false);
}

void
log_line(int priority, const char *format, ...)
{
	char text[TAP_CTL_TEXT + 256], when[32];
	time_t now = time(NULL);
	struct tm local;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (priority == LOG_ERR)
		EPRINTF("%s %s: %s", hotplug_log.command, hotplug_log.xenbus_path, text);
	else
		DPRINTF("%s %s: %s", hotplug_log.command, hotplug_log.xenbus_path, text);
	if (!hotplug_log.xen || !localtime_r(&now, &local))
		return;
	strftime(when, sizeof(when), "%F %T", &local);
	fprintf(hotplug_log.xen, "%s %s %s %s: %s\n", when, hotplug_log.name,
		hotplug_log.command, hotplug_log.xenbus_path, text);
	fflush(hotplug_log.xen);
}

void
log_step(const char *name)
{
	const int64_t now = tap_ctl_now();

	if (hotplug_log.n < STEPS_MAX) {
		hotplug_log.steps[hotplug_log.n].name = name;
		hotplug_log.steps[hotplug_log.n++].ms = now - hotplug_log.last;
	}
	hotplug_log.last = now;
}

const char *
log_times(void)
{
	static char text[TIMES_SIZE];
	int len = snprintf(text, sizeof(text), " in %.2f s",
			   (double)(tap_ctl_now() - hotplug_log.began) / 1000);

	for (unsigned int i = 0; i < hotplug_log.n && len < TIMES_SIZE; i++)
		len += snprintf(text + len, (size_t)(TIMES_SIZE - len), "%s%s %.2f",
				i ? ", " : " (", hotplug_log.steps[i].name,
				(double)hotplug_log.steps[i].ms / 1000);
	if (hotplug_log.n && len < TIMES_SIZE)
		snprintf(text + len, (size_t)(TIMES_SIZE - len), ")");
	return text;
}
