/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-lost.o */
/* links: drivers/tapdisk-vbd-image.o */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/private-socket.o drivers/tapdisk-nbd-connection.o */
/* links: drivers/tapdisk-nbd-request.o drivers/tapdisk-nbd-memory.o */
/* links: drivers/tapdisk-control-ring.o */
/* links: tests/fuzz/host.o drivers/tapdisk-nbdserver.o drivers/tapdisk-nbd-proto.o */
/* links: drivers/tapdisk-vbd.o drivers/tapdisk-image.o drivers/tapdisk-interface.o */
/* links: drivers/tapdisk-driver.o drivers/tapdisk-disktype.o drivers/tapdisk-server.o */
/* links: drivers/migrate-text.o */
/* links: drivers/tapdisk-control.o drivers/tapdisk-stats.o drivers/tapdisk-log.o */
/* links: drivers/tapdisk-worker.o drivers/scheduler.o drivers/libaio-backend.o */
/* links: drivers/thread-io.o */
/* links: drivers/tapdisk-blkif.o drivers/tapdisk-ring.o drivers/tapdisk-inflight.o */
/*
 * The block ring against any guest. The input is a line of letters that says how
 * things are, then what the guest does:
 *
 *	3  as the first: it is an x86_32 one		0 to 3	as the second: the ring's order
 *	k  the disk has sectors of 4096 bytes		r  it is read only
 *	n  the disk answers the newest request first	f  a request fails now and then
 *	d  the ring is disconnected before all is answered
 *
 * Behind it, a byte and what belongs to it:
 *
 *	e  an entry's bytes, for the next place on the ring; it is shown to tapdisk
 *	m  page, offset / 16, length, bytes: writes to its memory
 *	p  a signed byte: moves its producer index
 *	s  a byte: from now on, spoils the ring by that while data is copied (0: no more)
 *	other: so many turns of tapdisk's loop, at most 15
 */
#include "../fake-guest.h"
#include "host.h"

#define MINOR 0

static char letters[16];
static uint8_t spoil;

static bool
is(char letter)
{
	return strchr(letters, letter);
}

static void
spoil_ring(struct fake_guest *g)
{
	const size_t size = (size_t)g->guest.pages * RING_PAGE_SIZE;

	for (size_t i = 64; i < size; i++)
		g->memory[i] ^= spoil;
}

static void
guest_writes(struct fake_guest *g, struct input *in)
{
	const size_t page = input_byte(in) % FAKE_PAGES;
	const size_t at = page * RING_PAGE_SIZE + input_byte(in) * 16u;
	const size_t size = (size_t)FAKE_PAGES * RING_PAGE_SIZE;
	size_t n = input_byte(in), taken;
	const uint8_t *bytes;

	n = n < size - at ? n : size - at;
	bytes = input_bytes(in, n, &taken);
	memcpy(g->memory + at, bytes, taken);
	/* What it says of its own index is what the memory says. */
	g->req_prod = fake_get_index(g, 0);
}

static void
guest_acts(struct fake_guest *g, struct input *in)
{
	const uint8_t act = input_byte(in);
	const uint8_t *bytes;
	size_t taken;

	switch (act) {
	case 'e':
		bytes = input_bytes(in, g->x86_32 ? 108 : 112, &taken);
		memcpy(fake_entry(g, g->req_prod++), bytes, taken);
		fake_send(g);
		break;
	case 'm':
		guest_writes(g, in);
		break;
	case 'p':
		g->req_prod += (uint32_t)(int8_t)input_byte(in);
		fake_send(g);
		break;
	case 's':
		spoil = input_byte(in);
		g->meanwhile = spoil ? spoil_ring : NULL;
		break;
	default:
		if (is('f'))
			ram_behaviour.fail = 1;
		host_turns(act & 15);
	}
}

/* Whatever it did: who has a ring is answered. */
static void
check_answered(struct fake_guest *g)
{
	/* Each entry is one request for the disk, or the three of a barrier. */
	g->meanwhile = NULL;
	ram_behaviour.fail = 0;
	fake_send(g);
	host_turns(3 * g->entries + 2);
	/* It has seen all of them if it asks to be told of the next. */
	check(g->closed || fake_get_index(g, 4) == g->req_prod + 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line =
		memchr(data, '\n', size < sizeof(letters) ? size : sizeof(letters));
	struct blkif_config config = { .ring = { .domid = 1, .protocol = RING_X86_64 } };
	unsigned int order = 0;
	struct fake_guest g;
	struct input in;
	td_vbd_t *vbd;
	char name[16];

	if (!line)
		return 0;
	memset(letters, 0, sizeof(letters));
	memcpy(letters, data, (size_t)(line - data));
	in = (struct input){ line + 1, size - (size_t)(line + 1 - data) };

	host_begin();
	spoil = 0;
	ram_behaviour.newest_first = is('n');
	snprintf(name, sizeof(name), "aio:256%s%s", is('k') ? "k" : "", is('r') ? "r" : "");
	vbd = host_open(MINOR, name);
	if (letters[0] == '3')
		config.ring.protocol = RING_X86_32;
	if (letters[0] && letters[1] >= '0' && letters[1] <= '3')
		order = (unsigned int)(letters[1] - '0');
	fake_open(&g, config.ring.protocol, order);
	check(!tapdisk_blkif_connect(vbd, &config, &g.guest));

	while (in.left)
		guest_acts(&g, &in);
	if (!is('d'))
		check_answered(&g);
	tapdisk_blkif_disconnect(vbd->blkif);
	check(g.closed);
	check(is('d') || !vbd->blkif);
	while (vbd->blkif)
		host_turns(1);
	host_close(vbd);
	fake_free(&g);
	return 0;
}
