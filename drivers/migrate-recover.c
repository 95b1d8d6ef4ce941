/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "migrate-recover.h"

const char *
recovery_live_name(enum recovery_live live)
{
	static const char *const names[] = {
		[RECOVERY_LIVE_NONE] = "none",
		[RECOVERY_LIVE_FOUND] = "found",
		[RECOVERY_LIVE_MISSING] = "missing",
		[RECOVERY_LIVE_GONE] = "gone",
	};

	return names[live];
}

json_t *
recovery_note(const struct migrate_live *live)
{
	return json_pack("{s:s, s:s}", "path", migrate_live_path(live), "boot",
			 migrate_live_boot(live));
}

void
recovery_missing(const struct recovery *r, char *why, size_t size)
{
	/* The advice first: a message to tap-ctl may be cut. */
	snprintf(why, size,
		 "writes that the guest was told are done would be lost (tap-ctl migrate "
		 "accept-loss): its tapdisk died, and the newest changes are not in %s",
		 r->live_path);
}

static void
forget(struct recovery *r)
{
	if (r->map)
		validity_destroy(r->map);
	json_decref(r->settings);
	r->map = NULL;
	r->settings = NULL;
	r->live = RECOVERY_LIVE_NONE;
	r->live_path = NULL;
}

/* The live changes are not where was looked for them: are there any, then, and where? */
static int
read_claim(struct recovery *r, char *why, size_t size)
{
	json_t *live = json_object_get(r->settings, "live");
	const char *boot;

	if (!live || json_is_null(live))
		return 0;
	if (json_unpack(live, "{s:s, s:s}", "path", &r->live_path, "boot", &boot) ||
	    *r->live_path != '/') {
		snprintf(why, size, "what it says about its live changes is not understood");
		return -EINVAL;
	}
	r->live = strcmp(boot, migrate_live_boot(r->live_file)) ? RECOVERY_LIVE_GONE
								: RECOVERY_LIVE_MISSING;
	return 0;
}

static int
read_all(struct recovery *r, const void *bytes, size_t len, char *why, size_t size)
{
	int err = journal_read(bytes, len, migrate_live_old(r->live_file), &r->contents,
			       &r->map, why, size);

	if (!err)
		err = migrate_journal_settings(&r->contents, &r->settings, why, size);
	if (err)
		return err;
	if (!r->contents.live)
		return read_claim(r, why, size);
	r->live = RECOVERY_LIVE_FOUND;
	return 0;
}

int
recovery_read(struct recovery *r, const void *bytes, size_t len, const char *dir, char *why,
	      size_t size)
{
	const struct journal_contents *c = &r->contents;
	int err;

	*r = (struct recovery){ 0 };
	err = journal_read(bytes, len, NULL, &r->contents, NULL, why, size);
	if (!err)
		err = migrate_live_open(&r->live_file, dir, c->uuid, c->epoch, why, size);
	if (!err)
		err = read_all(r, bytes, len, why, size);
	if (!err && r->live == RECOVERY_LIVE_MISSING) {
		err = migrate_live_look_at(r->live_file, r->live_path, c->uuid, c->epoch, why,
					   size);
		if (!err && migrate_live_old(r->live_file)) {
			forget(r);
			err = read_all(r, bytes, len, why, size);
		}
	}
	if (err)
		recovery_free(r);
	return err;
}

void
recovery_free(struct recovery *r)
{
	forget(r);
	if (r->live_file)
		migrate_live_close(r->live_file, false);
	*r = (struct recovery){ 0 };
}
