/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate-follow.h"

#define POLL_MS	    200
#define LINE_MS	    5000 /* between lines that say the same percentage */
#define BAR_WIDTH   30
#define PATIENCE_MS 60000  /* with a rollback that ends in spite of what its status says */
#define NUMBER_MAX  0x1p53 /* larger ones are not counted exactly, and may not fit a long */
#define GO_ON	    MIGRATE_GO_ON

/*
 * What a state means to somebody with a goal, GO_ON, 0 or -errno; and if it is the
 * end, which of the disks serves the guest now, and which is to be forgotten.
 */
static const struct meaning {
	const char *state;
	int result[GOALS]; /* in the order of enum goal */
	const char *serves, *left;
} meanings[] = {
	{ .state = "copying", .result = { GO_ON, GO_ON, GO_ON, GO_ON, GO_ON } },
	{ .state = "synchronised", .result = { GO_ON, GO_ON, 0, GO_ON, GO_ON } },
	{ .state = "completing", .result = { GO_ON, GO_ON, 0, GO_ON, GO_ON } },
	{ .state = "completed",
	  .result = { -ENOENT, 0, 0, 0, -EALREADY },
	  .serves = "destination",
	  .left = "source" },
	{ .state = "paused", .result = { GO_ON, GO_ON, GO_ON, GO_ON, GO_ON } },
	{ .state = "rolling-back", .result = { GO_ON, GO_ON, GO_ON, GO_ON, GO_ON } },
	{ .state = "cancelled",
	  .result = { -ENOENT, 0, -ECANCELED, -ECANCELED, 0 },
	  .serves = "source",
	  .left = "destination" },
};

/* Reasons for a pause, or for a rollback that does not go on, and what the operator can do. */
static const struct obstacle {
	const char *reason;
	int err;
	bool cancel; /* ends it too */
	bool beside; /* a rollback that needs nothing of the destination goes on without */
	const char *advice;
} obstacles[] = {
	{ "no-space", -ENOSPC, true, true, "make room, then tap-ctl migrate resume" },
	{ "destination-errors", -EIO, true, true,
	  "mend the destination, then tap-ctl migrate resume" },
	{ "source-errors", -EIO, true, false, "mend the source, then tap-ctl migrate resume" },
	{ "bad-sectors", -EIO, true, false,
	  "tap-ctl migrate resume reads them again; it also goes on once the guest has written "
	  "them" },
	{ "stalled", -ETIMEDOUT, true, true, "it goes on when the disk answers" },
	{ "marks", -EIO, false, false,
	  "the disk runs on; it ends by itself once that can be done, or at the next opening; "
	  "or end it so, and keep the journal: tap-ctl migrate complete (or cancel) --force" },
	{ "journal-full", -ENOSPC, false, true,
	  "it goes on by itself once there is room for the journal" },
	{ "journal-failed", -EIO, false, true,
	  "it goes on by itself once what the journal is on has been mended" },
};

static const char *
text_of(const json_t *status, const char *key)
{
	const char *text = json_string_value(json_object_get(status, key));

	return text ? text : "";
}

/* Bounded, whatever the tapdisk says: a negative number is 0. */
static double
number_of(const json_t *status, const char *key)
{
	double n = json_number_value(json_object_get(status, key));

	return n < 0 ? 0 : n > NUMBER_MAX ? NUMBER_MAX : n;
}

/* The value at status.outer.key, a count of bytes, for people. */
static const char *
bytes_of(const json_t *status, const char *outer, const char *key, char text[16])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double n = number_of(outer ? json_object_get(status, outer) : status, key);
	size_t unit = 0;

	while (n >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		n /= 1024;
		unit++;
	}
	snprintf(text, 16, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
	return text;
}

/* Seconds as h:mm:ss, and what they are; "" if they are not known. */
static const char *
time_of(const json_t *status, const char *key, const char *what, char text[48])
{
	long s = (long)number_of(status, key);

	if (!json_is_number(json_object_get(status, key)))
		return "";
	if (s >= 3600)
		snprintf(text, 48, "%ld:%02ld:%02ld%s", s / 3600, s / 60 % 60, s % 60, what);
	else
		snprintf(text, 48, "%ld:%02ld%s", s / 60, s % 60, what);
	return text;
}

/* How much is valid where it is to be, in percent. 100 only when all is. */
static double
percent_of(const json_t *status)
{
	const json_t *bytes = json_object_get(status, "bytes");
	double total = number_of(bytes, "total"), valid = number_of(bytes, "valid");

	if (total <= 0 || valid >= total)
		return 100;
	return (double)(long)(1000 * valid / total) / 10;
}

static void
print_traffic(const json_t *status, const char *side)
{
	const json_t *written = json_object_get(status, "written");
	const json_t *reads = json_object_get(status, "guest_reads");
	char copy[16], guest[16], read[16];

	printf("  %-12s written: %s by the copy, %s by the guest; read by the guest: %s\n",
	       side, bytes_of(written, side, "copy", copy),
	       bytes_of(written, side, "guest", guest), bytes_of(reads, NULL, side, read));
}

static void
print_journal(const json_t *journal)
{
	const char *error = text_of(journal, "error");
	char bytes[16];

	printf("  journal      %s: %s%s%s, %s, %.0f regions in doubt if power fails\n",
	       text_of(journal, "path"), text_of(journal, "state"), *error ? ": " : "", error,
	       bytes_of(journal, NULL, "bytes", bytes), number_of(journal, "intents"));
}

static void
print_guest(const json_t *us)
{
	if (json_is_number(json_object_get(us, "alone")))
		printf("  guest        %.0f us a request, %.0f without the copy\n",
		       number_of(us, "copying"), number_of(us, "alone"));
}

void
migrate_print(const json_t *status)
{
	const char *reason = text_of(status, "reason"), *error = text_of(status, "error");
	char a[16], b[16], c[16], d[16], t[48], u[48];

	printf("%s -> %s\n", text_of(status, "source"), text_of(status, "destination"));
	printf("  state        %s%s%s, %.1f %% of %s\n", text_of(status, "state"),
	       *reason ? ": " : "", reason, percent_of(status),
	       bytes_of(status, "bytes", "total", a));
	if (*error)
		printf("  error        %s\n", error);
	printf("  strategy     %s, completes %s, threshold %.0f, chunk %s\n",
	       text_of(status, "strategy"),
	       strcmp(text_of(status, "complete"), "auto") ? "when told to" : "by itself",
	       number_of(status, "threshold"), bytes_of(status, NULL, "chunk", a));
	printf("  time         %s%s\n", time_of(status, "elapsed_s", " gone  ", t),
	       time_of(status, "eta_s", " left", u));
	printf("  rate         %.0f MiB/s", number_of(status, "rate_mib_s"));
	if (number_of(status, "rate_limit_mib_s") > 0)
		printf(", limited to %.0f", number_of(status, "rate_limit_mib_s"));
	if (number_of(status, "guest_latency_pct") > 0)
		printf(", the guest's latency at most %.0f %% more",
		       number_of(status, "guest_latency_pct"));
	printf("\n");
	print_guest(json_object_get(status, "guest_latency_us"));
	printf("  bytes        %s valid, %s copied, %s skipped, %s zero\n",
	       bytes_of(status, "bytes", "valid", a), bytes_of(status, "bytes", "copied", b),
	       bytes_of(status, "bytes", "skipped", c), bytes_of(status, "bytes", "zero", d));
	print_traffic(status, "source");
	print_traffic(status, "destination");
	printf("  writes       %.0f pending, %.0f delayed\n",
	       number_of(status, "pending_writes"), number_of(status, "delayed_writes"));
	if (json_is_number(json_object_get(status, "hold_ms")))
		printf("  hold         guest writes were held for %.0f ms to complete\n",
		       number_of(status, "hold_ms"));
	if (number_of(status, "destination_larger_by") > 0)
		printf("  note         the destination is %s larger than the disk\n",
		       bytes_of(status, NULL, "destination_larger_by", a));
	print_journal(json_object_get(status, "journal"));
}

/* What was shown last, so that only news is. */
struct shown {
	double percent;
	int64_t at;
	char state[32];
};

static void
show(const json_t *status, struct shown *last)
{
	const double percent = percent_of(status);
	const char *state = text_of(status, "state");
	const bool tty = isatty(STDOUT_FILENO);
	char bar[BAR_WIDTH + 1], left[48];
	int64_t now = tap_ctl_now();

	if (!tty && !strcmp(state, last->state) && now - last->at < LINE_MS &&
	    (int)percent == (int)last->percent)
		return;
	*last = (struct shown){ .percent = percent, .at = now };
	snprintf(last->state, sizeof(last->state), "%s", state);

	if (tty) {
		memset(bar, ' ', BAR_WIDTH);
		memset(bar, '=', (size_t)(percent * BAR_WIDTH / 100));
		bar[BAR_WIDTH] = '\0';
		printf("\r[%s] ", bar);
	}
	printf("%5.1f %%  %.0f MiB/s  %s%s%s", percent, number_of(status, "rate_mib_s"),
	       time_of(status, "eta_s", " left  ", left), state, tty ? "\033[K" : "\n");
	fflush(stdout);
}

static const struct meaning *
meaning_of(const json_t *status)
{
	size_t i;

	for (i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (!strcmp(text_of(status, "state"), meanings[i].state))
			return &meanings[i];
	return NULL;
}

/* A disk that moves keeps its size. */
static void
print_sizes(const json_t *status)
{
	char bytes[16];

	if (number_of(status, "destination_larger_by") > 0)
		printf("the destination is %s larger than the disk: it has that size when it "
		       "is "
		       "next opened, and does not fit onto the old source then\n",
		       bytes_of(status, NULL, "destination_larger_by", bytes));
	if (number_of(status, "source_larger_by") > 0)
		printf("the source has %s that the disk did not have when it was opened: they "
		       "were not moved\n",
		       bytes_of(status, NULL, "source_larger_by", bytes));
}

void
migrate_print_end(const json_t *status)
{
	const struct meaning *m = meaning_of(status);

	if (m && m->serves)
		printf("%s: the disk runs on %s, %s is no longer used\n", m->state,
		       text_of(status, m->serves), text_of(status, m->left));
	if (m && !strcmp(m->state, "completed"))
		print_sizes(status);
	if (m && m->serves && *text_of(status, "error"))
		printf("%s; the journal %s is kept\n", text_of(status, "error"),
		       text_of(json_object_get(status, "journal"), "path"));
}

/* NULL: nothing keeps it. */
static const struct obstacle *
obstacle_of(const json_t *status)
{
	size_t i;

	for (i = 0; i < sizeof(obstacles) / sizeof(obstacles[0]); i++)
		if (!strcmp(text_of(status, "reason"), obstacles[i].reason))
			return &obstacles[i];
	return NULL;
}

static bool
rolls_back(const json_t *status)
{
	return !strcmp(text_of(status, "state"), "rolling-back");
}

/* Bytes that the destination alone has; -1: an older tapdisk does not tell. */
static double
only_there(const json_t *status)
{
	const json_t *bytes = json_object_get(status, "bytes");

	return json_is_number(json_object_get(bytes, "only_destination"))
		       ? number_of(bytes, "only_destination")
		       : -1;
}

/* A rollback that ends in spite of it, within the time that a disk may be silent. */
static bool
passes(const json_t *status)
{
	const struct obstacle *o = obstacle_of(status);

	return o && o->beside && rolls_back(status) && only_there(status) == 0;
}

/* What the operator is told to do about it. */
static int
fail_by(const struct obstacle *o, const json_t *status)
{
	const char *state = text_of(status, "state");
	char also[160] = "", bytes[16];

	if (rolls_back(status) && o->beside && only_there(status) > 0)
		snprintf(also, sizeof(also),
			 "; or give up the %s that the destination alone has, which are lost "
			 "to the guest then: tap-ctl migrate cancel --force",
			 bytes_of(status, "bytes", "only_destination", bytes));
	return tap_ctl_fail(o->err, "the migration is %s: %s (%s): %s%s%s", state, o->reason,
			    text_of(status, "error"), o->advice,
			    !strcmp(state, "paused") && o->cancel ? "; or cancel" : "", also);
}

int
migrate_judge(const struct migrate_client *client, const json_t *status, enum goal goal)
{
	const struct obstacle *o = obstacle_of(status);
	const struct meaning *m = meaning_of(status);

	/* Where it completes for somebody who only wants it synchronised it is that. */
	if (o && goal >= GOAL_SYNCHRONISED && (!m || m->result[goal] == MIGRATE_GO_ON))
		return fail_by(o, status);
	if (m && m->result[goal] <= 0)
		return tap_ctl_fail(m->result[goal], "the migration is %s",
				    text_of(status, "state"));
	if (client->ended)
		return tap_ctl_fail(
			-ECONNABORTED,
			"the disk was closed or paused meanwhile; the migration goes on "
			"when it is opened again from %s",
			text_of(json_object_get(status, "journal"), "path"));
	return MIGRATE_GO_ON;
}

int
migrate_follow(struct migrate_client *client, enum goal goal, bool shown)
{
	struct shown last = { 0 };
	int64_t well = tap_ctl_now(); /* when it went on last */
	json_t *status;
	int result;

	for (;;) {
		status = NULL;
		result = migrate_call(client, migrate_request("status"), &status);
		if (result)
			break;
		if (shown)
			show(status, &last);
		if (!passes(status))
			well = tap_ctl_now();
		result = migrate_judge(client, status, goal);
		if (result != MIGRATE_GO_ON &&
		    (client->ended || !passes(status) || tap_ctl_now() - well > PATIENCE_MS))
			break;
		json_decref(status);
		/* The final line, or the connection's end, wakes us. */
		tap_ctl_wait(client->fd, POLLIN, tap_ctl_now() + POLL_MS);
	}
	if (shown && isatty(STDOUT_FILENO))
		putchar('\n');
	if (!result)
		migrate_print_end(status);
	json_decref(status);
	return result;
}
