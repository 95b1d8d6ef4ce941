/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapback-vbd.o drivers/tapback-device.o drivers/tapback-keys.o */
/* links: drivers/tapback-exchange.o drivers/tapback-store.o drivers/scheduler.o */
/* links: drivers/tapdisk-log.o control/libtapctl-ipc.o */
/*
 * tapback with a xenstore and tapdisks that are in this process: what script, guest and
 * toolstack write, what is asked of which tapdisk, and what they find written then.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>

#include <cmocka.h>

#include "tapback-store.h"
#include "tapback-vbd.h"
#include "tapdisk-message.h"
#include "timeout-math.h"

#define FRONT "/local/domain/7/device/vbd/51712"
#define BACK  "/local/domain/0/backend/vbd3/7/51712"
#define TWIN  "/local/domain/0/backend/vbd/7/51712"

/* --- xenstore -------------------------------------------------------------------- */

struct node {
	char path[128], value[128];
};

static struct node nodes[256];
static struct node watches[32]; /* their values are tokens */
static struct node events[512];
static unsigned int n_nodes, n_watches, n_events;
static bool domain_lives;

static void
absolute(char to[128], const char *path)
{
	snprintf(to, 128, "%s%s", *path == '/' || *path == '@' ? "" : "/local/domain/0/", path);
}

static bool
is_below(const char *path, const char *dir)
{
	const size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (!path[len] || path[len] == '/');
}

static void
fire(const char *path, bool removed)
{
	for (unsigned int i = 0; i < n_watches; i++) {
		char at[128];
		const char *said = path;

		absolute(at, watches[i].path);
		if (!is_below(path, at) && !(removed && is_below(at, path)))
			continue;
		if (!is_below(path, at))
			said = at;
		/* A watch by a relative path has relative events. */
		said += *watches[i].path == '/' ? 0 : strlen("/local/domain/0/");
		assert_true(n_events < 512);
		strcpy(events[n_events].path, said);
		strcpy(events[n_events++].value, watches[i].value);
	}
}

static struct node *
find(const char *path)
{
	char at[128];

	absolute(at, path);
	for (unsigned int i = 0; i < n_nodes; i++)
		if (!strcmp(nodes[i].path, at))
			return &nodes[i];
	return NULL;
}

static void
put(const char *path, const char *value)
{
	struct node *node = find(path);

	if (!node) {
		assert_true(n_nodes < 256);
		node = &nodes[n_nodes++];
		absolute(node->path, path);
	}
	snprintf(node->value, sizeof(node->value), "%s", value);
	fire(node->path, false);
}

static bool
removed(const char *path)
{
	unsigned int kept = 0;
	char at[128];

	absolute(at, path);
	for (unsigned int i = 0; i < n_nodes; i++)
		if (!is_below(nodes[i].path, at))
			nodes[kept++] = nodes[i];
	if (kept == n_nodes)
		return false;
	n_nodes = kept;
	fire(at, true);
	return true;
}

static const char *
value_of(const char *path)
{
	struct node *node = find(path);

	return node ? node->value : "";
}

static struct xs_handle *const fake_xs = (struct xs_handle *)&n_nodes;

struct xs_handle *
xs_open(unsigned long flags)
{
	return fake_xs;
}

void
xs_close(struct xs_handle *xs)
{
}

int
xs_fileno(struct xs_handle *xs)
{
	return -1;
}

static int front_errno; /* of reads of what the guest has written */

void *
xs_read(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *len)
{
	struct node *node = find(path);

	if (front_errno && is_below(path, FRONT))
		node = NULL;
	errno = front_errno && is_below(path, FRONT) ? front_errno : ENOENT;
	return node ? strdup(node->value) : NULL;
}

bool
xs_write(struct xs_handle *xs, xs_transaction_t t, const char *path, const void *data,
	 unsigned int len)
{
	put(path, data);
	return true;
}

bool
xs_set_permissions(struct xs_handle *xs, xs_transaction_t t, const char *path,
		   struct xs_permissions *permissions, unsigned int n)
{
	return find(path);
}

bool
xs_rm(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
	errno = ENOENT;
	return removed(path);
}

char **
xs_directory(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *n)
{
	char at[128], **names = calloc(1, 64 * (sizeof(char *) + 64));
	char *text = (char *)(names + 64);

	absolute(at, path);
	*n = 0;
	for (unsigned int i = 0; i < n_nodes; i++) {
		const size_t len = strlen(at);
		char name[64];
		bool known = false;

		if (!is_below(nodes[i].path, at) || !nodes[i].path[len])
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(nodes[i].path + len + 1, "/"),
			 nodes[i].path + len + 1);
		for (unsigned int j = 0; j < *n; j++)
			known |= !strcmp(names[j], name);
		if (known)
			continue;
		names[(*n)++] = strcpy(text, name);
		text += 64;
	}
	return names;
}

bool
xs_watch(struct xs_handle *xs, const char *path, const char *token)
{
	assert_true(n_watches < 32);
	strcpy(watches[n_watches].path, path);
	strcpy(watches[n_watches++].value, token);
	return true;
}

bool
xs_unwatch(struct xs_handle *xs, const char *path, const char *token)
{
	for (unsigned int i = 0; i < n_watches; i++)
		if (!strcmp(watches[i].path, path) && !strcmp(watches[i].value, token)) {
			watches[i] = watches[--n_watches];
			return true;
		}
	return false;
}

char **
xs_check_watch(struct xs_handle *xs)
{
	char **event;

	errno = EAGAIN;
	if (!n_events)
		return NULL;
	event = malloc(2 * sizeof(char *) + sizeof(struct node));
	event[XS_WATCH_PATH] = strcpy((char *)(event + 2), events[0].path);
	event[XS_WATCH_TOKEN] = strcpy((char *)(event + 2) + 128, events[0].value);
	memmove(&events[0], &events[1], --n_events * sizeof(events[0]));
	return event;
}

xs_transaction_t
xs_transaction_start(struct xs_handle *xs)
{
	return 1;
}

bool
xs_transaction_end(struct xs_handle *xs, xs_transaction_t t, bool abort)
{
	return true;
}

bool
xs_is_domain_introduced(struct xs_handle *xs, unsigned int domid)
{
	return domain_lives;
}

/* --- tapdisks ----------------------------------------------------------------------- */

struct fake_tapdisk {
	pid_t pid;
	int fd;
	bool hangs;
	int connect_error;
	uint64_t sectors;
	char asked[64]; /* i, c, d: for the size, to connect, to disconnect */
	tapdisk_message_blkif_t ring;
};

static char dir[] = "/tmp/test-tapback.XXXXXX";
static struct fake_tapdisk one, two;

static void
path_of(char path[108], const char *what, long n)
{
	snprintf(path, 108, "%s/%s%ld", dir, what, n);
}

static void
tapdisk_starts(struct fake_tapdisk *tapdisk)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	*tapdisk = (struct fake_tapdisk){ .pid = fork(), .sectors = 2048 };
	assert_true(tapdisk->pid >= 0);
	if (!tapdisk->pid) { /* it answers from this process, but dies by itself */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	path_of(addr.sun_path, "ctl", tapdisk->pid);
	tapdisk->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(tapdisk->fd >= 0);
	assert_int_equal(bind(tapdisk->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(tapdisk->fd, 8), 0);
}

static void
tapdisk_ends(struct fake_tapdisk *tapdisk)
{
	char path[108];

	if (tapdisk->fd < 0)
		return;
	close(tapdisk->fd);
	tapdisk->fd = -1;
	path_of(path, "ctl", tapdisk->pid);
	unlink(path);
	kill(tapdisk->pid, SIGKILL);
	assert_int_equal(waitpid(tapdisk->pid, NULL, 0), tapdisk->pid);
}

static bool
tapdisk_answers(struct fake_tapdisk *tapdisk)
{
	tapdisk_message_t message;
	int fd, err = 0;
	const char *letter = "i";

	if (tapdisk->fd < 0 || tapdisk->hangs)
		return false;
	fd = accept(tapdisk->fd, NULL, NULL);
	if (fd < 0)
		return false;
	assert_int_equal(recv(fd, &message, sizeof(message), MSG_WAITALL), sizeof(message));
	if (message.type == TAPDISK_MESSAGE_XENBLKIF_CONNECT) {
		letter = "c";
		err = tapdisk->connect_error;
		tapdisk->ring = message.u.blkif;
	} else if (message.type == TAPDISK_MESSAGE_XENBLKIF_DISCONNECT) {
		letter = "d";
		err = strchr(tapdisk->asked, 'c') ? 0 : ENODEV;
	} else {
		assert_int_equal(message.type, TAPDISK_MESSAGE_DISK_INFO);
		message.u.image = (tapdisk_message_image_t){ tapdisk->sectors, 512, 0 };
	}
	assert_int_equal(message.cookie, 3);
	assert_true(strlen(tapdisk->asked) <
		    sizeof(tapdisk->asked) - 1); /* not again and again */
	strcat(tapdisk->asked, letter);
	message.type = err ? TAPDISK_MESSAGE_ERROR : (uint16_t)(message.type + 1);
	if (err)
		message.u.response = (tapdisk_message_response_t){ .error = err };
	assert_int_equal(send(fd, &message, sizeof(message), 0), sizeof(message));
	close(fd);
	return true;
}

/* --- Linux -------------------------------------------------------------------------- */

static bool has_blkback;

int
access(const char *path, int mode)
{
	if (strcmp(path, "/sys/bus/xen-backend/drivers/vbd"))
		return faccessat(AT_FDCWD, path, mode, 0);
	return has_blkback ? 0 : -1;
}

/* --- the world ------------------------------------------------------------------------ */

static scheduler_t scheduler;

/* Until nobody has anything to do. */
static void
settle(void)
{
	int quiet = 0;

	while (quiet < 3) {
		assert_int_equal(tapback_store_changed(tapback_vbds_changed), 0);
		tapback_vbds_look();
		scheduler_set_max_timeout(&scheduler, TV_ZERO);
		assert_int_equal(scheduler_wait_for_events(&scheduler), 0);
		quiet = n_events || tapdisk_answers(&one) || tapdisk_answers(&two) ? 0
										   : quiet + 1;
	}
}

static void
tapback_starts(void)
{
	assert_int_equal(tapback_store_open(), 0);
	assert_int_equal(tapback_vbds_start(&scheduler), 0);
	settle();
}

static void
tapback_ends(void)
{
	tapback_vbds_stop();
	n_watches = n_events = 0;
}

static int
setup(void **state)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	setenv(TAPDISK_RUN_DIR_ENV, dir, 1);
	n_nodes = n_watches = n_events = 0;
	domain_lives = true;
	has_blkback = false;
	front_errno = 0;
	assert_int_equal(scheduler_initialize(&scheduler), 0);
	tapdisk_starts(&one);
	tapdisk_starts(&two);
	tapback_starts();
	return 0;
}

static int
teardown(void **state)
{
	char path[108];

	tapback_ends();
	scheduler_destroy(&scheduler);
	tapdisk_ends(&one);
	tapdisk_ends(&two);
	path_of(path, "ring7.", 51712);
	unlink(path);
	return rmdir(dir);
}

/* As xl and its script do. */
static void
xl_creates(void)
{
	put(FRONT "/state", "1");
	put(TWIN "/script", "/etc/xen/scripts/block-tapmigrate");
	put(TWIN "/frontend", FRONT);
	put(TWIN "/online", "1");
	put(TWIN "/state", "1");
	settle();
	assert_string_equal(value_of(TWIN "/state"), "2");
}

static void
tapdisk_is(const struct fake_tapdisk *tapdisk)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/nbd%d.3", dir, tapdisk->pid);
	put(BACK "/physical-device-path", path);
}

static void
script_adds(const struct fake_tapdisk *tapdisk)
{
	tapdisk_is(tapdisk);
	settle();
	put(BACK "/frontend", FRONT);
	settle();
	put(BACK "/mode", "w");
	put(BACK "/hotplug-status", "connected");
	settle();
	assert_string_equal(value_of(BACK "/state"), "2");
	assert_string_equal(value_of(BACK "/max-ring-page-order"), "3");
}

static void
guest_connects(void)
{
	put(FRONT "/ring-ref", "8");
	put(FRONT "/event-channel", "15");
	put(FRONT "/protocol", "x86_64-abi");
	put(FRONT "/state", "3");
	settle();
}

static void
connected_disk(void)
{
	xl_creates();
	script_adds(&one);
	guest_connects();
	put(FRONT "/state", "4");
	settle();
	assert_string_equal(value_of(BACK "/state"), "4");
	*one.asked = '\0';
}

static void
destroyed(void)
{
	removed(FRONT);
	put(TWIN "/online", "0");
	put(TWIN "/state", "5");
	settle();
}

static void
test_a_guest_gets_its_disk(void **state)
{
	char pid[16];

	xl_creates();
	script_adds(&one);
	assert_string_equal(one.asked, "");
	guest_connects();
	assert_string_equal(one.asked, "ic");
	assert_int_equal(one.ring.domid, 7);
	assert_int_equal(one.ring.devid, 51712);
	assert_int_equal(one.ring.gref[0], 8);
	assert_int_equal(one.ring.port, 15);
	assert_int_equal(one.ring.proto, 3);
	assert_string_equal(value_of(BACK "/state"), "4");
	assert_string_equal(value_of(BACK "/sectors"), "2048");
	assert_string_equal(value_of(BACK "/sector-size"), "512");
	assert_string_equal(value_of(BACK "/info"), "0");
	assert_string_equal(value_of(BACK "/feature-flush-cache"), "1");
	assert_string_equal(value_of(BACK "/feature-barrier"), "1");
	assert_string_equal(value_of(BACK "/feature-discard"), "1");
	assert_string_equal(value_of(BACK "/feature-max-indirect-segments"), "32");
	snprintf(pid, sizeof(pid), "%d", one.pid);
	assert_string_equal(value_of(BACK "/kthread-pid"), pid);
}

static void
test_a_read_only_disk_is_said_to_be_one(void **state)
{
	xl_creates();
	put(BACK "/mode", "r");
	put(BACK "/frontend", FRONT);
	tapdisk_is(&one);
	put(BACK "/hotplug-status", "connected");
	guest_connects();
	assert_string_equal(value_of(BACK "/info"), "4");
	assert_string_equal(value_of(BACK "/feature-discard"), "0");
}

static void
test_xl_destroy_is_answered_and_nothing_stays(void **state)
{
	connected_disk();
	destroyed();
	assert_string_equal(one.asked, "d");
	assert_string_equal(value_of(BACK "/state"), "6");
	assert_string_equal(value_of(TWIN "/state"), "6");
	removed(BACK); /* the script */
	settle();
	assert_null(find(BACK "/state"));
	assert_int_equal(n_watches, 3); /* none on the guest */
}

static void
test_a_guest_that_crashed_is_cleared_away_where_nobody_else_does(void **state)
{
	connected_disk();
	removed(TWIN);
	removed(FRONT);
	domain_lives = false;
	settle();
	assert_string_equal(one.asked, "d");
	assert_null(find(BACK "/state"));
	assert_null(find(BACK "/frontend"));
}

static void
test_the_toolstack_is_not_answered_for_others(void **state)
{
	put(FRONT "/state", "1");
	put(TWIN "/script", "/etc/xen/scripts/block");
	put(TWIN "/frontend", FRONT);
	put(TWIN "/state", "1");
	settle();
	assert_string_equal(value_of(TWIN "/state"), "1");
	put(TWIN "/script", "/etc/xen/scripts/block-tapmigrate-nbd");
	put(TWIN "/state", "5");
	settle();
	assert_string_equal(value_of(TWIN "/state"), "5");
}

static void
test_a_new_device_is_blkbacks_to_answer_for(void **state)
{
	has_blkback = true;
	put(FRONT "/state", "1");
	put(TWIN "/script", "/etc/xen/scripts/block-tapmigrate");
	put(TWIN "/frontend", FRONT);
	put(TWIN "/online", "1");
	put(TWIN "/state", "1");
	settle();
	assert_string_equal(value_of(TWIN "/state"), "1");
	put(TWIN "/state", "2");
	script_adds(&one);
	guest_connects();
	assert_string_equal(value_of(BACK "/state"), "4");
	destroyed();
	assert_string_equal(value_of(TWIN "/state"), "6");
}

static void
test_a_guest_that_runs_is_served_where_it_looks(void **state)
{
	char path[160];

	xl_creates();
	guest_connects();
	assert_string_equal(value_of(TWIN "/state"), "2");
	put(TWIN "/mode", "w");
	snprintf(path, sizeof(path), "%s/nbd%d.3", dir, one.pid);
	put(TWIN "/physical-device-path", path);
	settle();
	assert_string_equal(one.asked, "");
	put(TWIN "/hotplug-status", "connected");
	settle();
	assert_string_equal(one.asked, "ic");
	assert_string_equal(value_of(TWIN "/state"), "4");
	assert_string_equal(value_of(TWIN "/sectors"), "2048");
	put(FRONT "/state", "4");
	settle();
	tapback_ends();
	tapback_starts();
	assert_string_equal(value_of(TWIN "/state"), "4");
	*one.asked = '\0';
	put(TWIN "/online", "0"); /* xl block-detach */
	put(TWIN "/state", "5");
	settle();
	assert_string_equal(value_of(TWIN "/state"), "5");
	assert_string_equal(one.asked, "");
	put(FRONT "/state", "6");
	settle();
	assert_string_equal(one.asked, "d");
	assert_string_equal(value_of(TWIN "/state"), "6");
	removed(FRONT);
	removed(TWIN);
	settle();
	assert_null(find(TWIN "/state"));
	assert_int_equal(n_watches, 3);
}

static void
test_a_disk_that_the_script_failed_for_is_closed(void **state)
{
	xl_creates();
	destroyed(); /* there is no backend/vbd3 */
	assert_string_equal(value_of(TWIN "/state"), "6");
}

static void
test_a_tapdisk_that_hangs_holds_up_nobody_else(void **state)
{
	one.hangs = true;
	xl_creates();
	script_adds(&one);
	guest_connects();
	assert_string_equal(value_of(BACK "/state"), "2");

	put("/local/domain/8/device/vbd/51712/state", "1");
	put("/local/domain/0/backend/vbd3/8/51712/mode", "w");
	put("/local/domain/0/backend/vbd3/8/51712/physical-device-path",
	    value_of(BACK "/physical-device-path"));
	put("/local/domain/0/backend/vbd3/8/51712/frontend",
	    "/local/domain/8/device/vbd/51712");
	snprintf(find("/local/domain/0/backend/vbd3/8/51712/physical-device-path")->value, 128,
		 "%s/nbd%d.3", dir, two.pid);
	settle();
	assert_string_equal(value_of("/local/domain/0/backend/vbd3/8/51712/state"), "2");
	one.hangs = false;
	settle();
	assert_string_equal(value_of(BACK "/state"), "4");
}

static void
test_a_frontend_that_is_not_for_us_to_see_ends_alone(void **state)
{
	connected_disk();
	front_errno = EACCES;
	fire(FRONT "/state", false);
	settle();
	assert_int_equal(tapback_store_broken(), 0);
	assert_string_equal(one.asked, "d");
	assert_string_equal(value_of(BACK "/state"), "6");

	/* It may come back. */
	front_errno = 0;
	put(FRONT "/state", "1");
	settle();
	guest_connects();
	assert_string_equal(one.asked, "dic");
	assert_string_equal(value_of(BACK "/state"), "4");
}

static void
test_nothing_is_done_while_xenstore_is_in_doubt(void **state)
{
	connected_disk();
	front_errno = ENOMEM;
	fire(FRONT "/state", false);
	settle();
	assert_int_equal(tapback_store_broken(), 0);
	assert_string_equal(one.asked, "");
	assert_string_equal(value_of(BACK "/state"), "4");
	front_errno = 0;
	put(FRONT "/state", "5");
	settle();
	assert_string_equal(value_of(BACK "/state"), "5");
}

static void
test_another_tapback_takes_over(void **state)
{
	connected_disk();
	tapback_ends();
	one.connect_error = EALREADY;
	tapback_starts();
	assert_string_equal(one.asked, "ic");
	assert_string_equal(value_of(BACK "/state"), "4");
	destroyed();
	assert_string_equal(one.asked, "icd");
	assert_string_equal(value_of(TWIN "/state"), "6");
}

static void
test_another_tapback_finds_a_guest_with_another_ring(void **state)
{
	connected_disk();
	tapback_ends();
	put(FRONT "/ring-ref", "9");
	put(FRONT "/state", "3");
	one.connect_error = ESTALE;
	tapback_starts();
	assert_string_equal(one.asked, "ic");
	one.connect_error = 0;
	sleep(1); /* it tries again then */
	settle();
	assert_string_equal(one.asked, "icdic");
	assert_int_equal(one.ring.gref[0], 9);
}

static void
test_a_ring_is_never_with_two_tapdisks(void **state)
{
	connected_disk();
	tapdisk_is(&two);
	settle();
	assert_string_equal(one.asked, "");
	assert_string_equal(two.asked, "");
	assert_string_equal(value_of(BACK "/state"), "4");
}

static bool
ring_is_on_record(void)
{
	char path[108];

	path_of(path, "ring7.", 51712);
	return !access(path, F_OK);
}

static void
put_ring_on_record(void)
{
	char path[108];
	FILE *file;

	path_of(path, "ring7.", 51712);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
}

static void
test_another_tapdisk_takes_over(void **state)
{
	char pid[16];

	connected_disk();
	put_ring_on_record();
	tapdisk_ends(&one);
	tapdisk_is(&two);
	settle();
	assert_string_equal(two.asked, "ic");
	assert_int_equal(two.ring.gref[0], 8);
	assert_true(ring_is_on_record()); /* it is the new one's now */
	assert_string_equal(value_of(BACK "/state"), "4");
	snprintf(pid, sizeof(pid), "%d", two.pid);
	assert_string_equal(value_of(BACK "/kthread-pid"), pid);
}

static void
test_a_disk_of_another_size_is_not_put_under_a_guest(void **state)
{
	connected_disk();
	tapdisk_ends(&one);
	two.sectors = 4096;
	tapdisk_is(&two);
	settle();
	assert_string_equal(two.asked, "i");
	assert_string_equal(value_of(BACK "/state"), "4");
	assert_string_equal(value_of(BACK "/sectors"), "2048");
}

static void
test_a_guest_that_goes_while_its_tapdisk_is_dead_leaves_nothing(void **state)
{
	connected_disk();
	put_ring_on_record();
	tapdisk_ends(&one);
	destroyed();
	assert_string_equal(value_of(BACK "/state"), "6");
	assert_string_equal(value_of(TWIN "/state"), "6");
	assert_false(ring_is_on_record());
}

static void
test_a_new_ring_has_nothing_of_an_old_one(void **state)
{
	put_ring_on_record();
	xl_creates();
	script_adds(&one);
	put_ring_on_record();
	guest_connects();
	assert_string_equal(value_of(BACK "/state"), "4");
	assert_false(ring_is_on_record());
}

static void
test_what_a_guest_writes_is_looked_at(void **state)
{
	xl_creates();
	script_adds(&one);
	*one.asked = '\0';
	put(FRONT "/ring-ref", "-1");
	put(FRONT "/event-channel", "15");
	put(FRONT "/state", "3");
	settle();
	assert_string_equal(one.asked, "");
	assert_string_equal(value_of(BACK "/state"), "2");
	put(FRONT "/state", "12345678901234567890");
	settle();
	assert_string_equal(value_of(BACK "/state"), "2");
	guest_connects(); /* and if it thinks better of it */
	assert_string_equal(value_of(BACK "/state"), "4");
}

static void
test_a_guest_with_a_new_ring_is_connected_anew(void **state)
{
	connected_disk();
	put(FRONT "/ring-ref", "9");
	put(FRONT "/state", "3");
	settle();
	assert_string_equal(one.asked, "dic");
	assert_int_equal(one.ring.gref[0], 9);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_guest_gets_its_disk),
		TEST(test_a_read_only_disk_is_said_to_be_one),
		TEST(test_xl_destroy_is_answered_and_nothing_stays),
		TEST(test_a_guest_that_crashed_is_cleared_away_where_nobody_else_does),
		TEST(test_the_toolstack_is_not_answered_for_others),
		TEST(test_a_new_device_is_blkbacks_to_answer_for),
		TEST(test_a_guest_that_runs_is_served_where_it_looks),
		TEST(test_a_disk_that_the_script_failed_for_is_closed),
		TEST(test_a_tapdisk_that_hangs_holds_up_nobody_else),
		TEST(test_a_frontend_that_is_not_for_us_to_see_ends_alone),
		TEST(test_nothing_is_done_while_xenstore_is_in_doubt),
		TEST(test_another_tapback_takes_over),
		TEST(test_another_tapback_finds_a_guest_with_another_ring),
		TEST(test_a_ring_is_never_with_two_tapdisks),
		TEST(test_another_tapdisk_takes_over),
		TEST(test_a_disk_of_another_size_is_not_put_under_a_guest),
		TEST(test_a_guest_that_goes_while_its_tapdisk_is_dead_leaves_nothing),
		TEST(test_a_new_ring_has_nothing_of_an_old_one),
		TEST(test_what_a_guest_writes_is_looked_at),
		TEST(test_a_guest_with_a_new_ring_is_connected_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
