/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../fake-guest.h"
#include "host.h"
#include "tapdisk-blkif-xen.h"
#include "tapdisk-driver.h"
#include "tapdisk-interface.h"
#include "timeout-math.h"

/* --- a disk in memory ------------------------------------------------------------ */

struct ram_request {
	td_request_t treq;
	struct list_head next;
};

struct ram {
	char *bytes;
};

struct ram_behaviour ram_behaviour;

static struct list_head ram_held = { &ram_held,
				     &ram_held }; /* of all disks, in the order of arrival */
static event_id_t ram_event;

static int
ram_open(td_driver_t *driver, const char *name, struct td_vbd_encryption *encryption,
	 td_flag_t flags)
{
	struct ram *ram = driver->data;
	char *end;
	const unsigned long sectors = strtoul(name, &end, 10);

	driver->info.size = sectors;
	driver->info.sector_size = strchr(end, 'k') ? 4096 : 512;
	if (strchr(end, 'r') || (flags & TD_OPEN_RDONLY))
		driver->info.info |= TD_INFO_READONLY;
	if (!sectors || sectors > RAM_SECTORS || sectors % 8)
		return -ENOENT;
	ram->bytes = calloc(sectors, SECTOR_SIZE);
	return ram->bytes ? 0 : -ENOMEM;
}

static int
ram_close(td_driver_t *driver)
{
	struct ram *ram = driver->data;

	free(ram->bytes);
	return 0;
}

static int
ram_get_parent_id(td_driver_t *driver, td_disk_id_t *id)
{
	return TD_NO_PARENT;
}

static void
ram_queue(td_driver_t *driver, td_request_t treq)
{
	struct ram_request *req = malloc(sizeof(*req));

	check(req);
	check(treq.sec + (td_sector_t)treq.secs <= driver->info.size);
	check(!driver->info.info || (treq.op != TD_OP_WRITE && treq.op != TD_OP_ZERO));
	req->treq = treq;
	if (list_empty(&ram_held))
		tapdisk_server_event_set_timeout(ram_event, TV_ZERO);
	list_add_tail(&req->next, &ram_held);
}

static void
ram_serve(td_request_t *treq)
{
	const struct ram *ram = treq->image->driver->data;
	char *at = ram->bytes + (treq->sec << SECTOR_SHIFT);
	const size_t size = (size_t)treq->secs << SECTOR_SHIFT;

	if (treq->op == TD_OP_READ)
		memcpy(treq->buf, at, size);
	if (treq->op == TD_OP_WRITE)
		memcpy(at, treq->buf, size);
	if (treq->op == TD_OP_ZERO)
		memset(at, 0, size);
	if (treq->op == TD_OP_BLOCK_STATUS)
		treq->status = treq->sec % 16 ? TD_BLOCK_STATE_HOLE | TD_BLOCK_STATE_ZERO
					      : TD_BLOCK_STATE_NONE;
}

static void
ram_turn(event_id_t id, char mode, void *private)
{
	struct list_head *at = ram_behaviour.newest_first ? ram_held.prev : ram_held.next;
	struct ram_request *req = list_entry(at, struct ram_request, next);
	td_request_t treq = req->treq;
	int err = 0;

	list_del(&req->next);
	free(req);
	if (list_empty(&ram_held))
		tapdisk_server_event_set_timeout(ram_event, TV_INF);
	if (ram_behaviour.fail) {
		ram_behaviour.fail--;
		err = ram_behaviour.err;
	} else {
		ram_serve(&treq);
	}
	td_complete_request(treq, err);
}

/* In the place of the driver of that name. */
struct tap_disk tapdisk_aio = {
	.disk_type = "ram",
	.private_data_size = sizeof(struct ram),
	.td_open = ram_open,
	.td_close = ram_close,
	.td_get_parent_id = ram_get_parent_id,
	.td_queue_read = ram_queue,
	.td_queue_write = ram_queue,
	.td_queue_block_status = ram_queue,
	.td_queue_flush = ram_queue,
	.td_queue_zero = ram_queue,
};

/* --- a guest in memory ----------------------------------------------------------- */

static void
ring_close(struct blkif_guest *guest)
{
	fake_free(to_fake(guest));
	free(to_fake(guest));
}

/* In the place of Xen's. */
int
blkif_xen_open(uint32_t domid, const uint32_t *grefs, unsigned int pages, uint32_t port,
	       struct blkif_guest **out)
{
	static struct blkif_guest_ops ops;
	struct fake_guest *g = malloc(sizeof(*g));

	check(g);
	fake_open(g, RING_X86_64, (unsigned int)__builtin_ctz(pages));
	ops = *g->guest.ops;
	ops.close = ring_close;
	g->guest.ops = &ops;
	*out = &g->guest;
	return 0;
}

/* --- the process ----------------------------------------------------------------- */

void
host_begin(void)
{
	static bool ready;
	sigset_t none;

	ram_behaviour = (struct ram_behaviour){ .err = -EIO };
	if (ready)
		return;
	ready = true;
	check(getenv("BLKTAP_RUN_DIR"));
	setlogmask(LOG_MASK(LOG_EMERG));
	check(!tapdisk_server_init());
	/* The fuzzer is to be stopped as ever. */
	sigemptyset(&none);
	check(!sigprocmask(SIG_SETMASK, &none, NULL));
	ram_event = tapdisk_server_register_event(SCHEDULER_POLL_TIMEOUT, -1, TV_INF, ram_turn,
						  NULL);
	check(ram_event > 0);
}

void
host_turns(unsigned int n)
{
	while (n--) {
		tapdisk_server_set_max_timeout(0);
		tapdisk_server_iterate();
	}
}

td_vbd_t *
host_open(td_uuid_t minor, const char *name)
{
	td_vbd_t *vbd = tapdisk_vbd_create(minor);

	check(vbd);
	check(!tapdisk_vbd_open(vbd, name, 0));
	tapdisk_server_add_vbd(vbd);
	return vbd;
}

static void
closed(td_vbd_t *vbd, int err, void *token)
{
	check(!err);
}

void
host_close(td_vbd_t *vbd)
{
	check(!tapdisk_vbd_close(vbd, true, closed, NULL));
	while (vbd->name)
		host_turns(1);
	tapdisk_server_remove_vbd(vbd);
	tapdisk_vbd_free(vbd);
	check(list_empty(&ram_held));
}

int
host_connect(const char *format, ...)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	va_list args;
	size_t len;

	len = (size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/",
			       tapdisk_server_run_dir());
	check(len < sizeof(addr.sun_path));
	va_start(args, format);
	vsnprintf(addr.sun_path + len, sizeof(addr.sun_path) - len, format, args);
	va_end(args);
	check(fd >= 0);
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	close(fd);
	return -1;
}
