/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/tapdisk-lost.o */
/* links: drivers/migrate-disks.o */
/* links: drivers/tapdisk-vbd-image.o */
/* links: drivers/tapdisk-loop.o */
/* links: drivers/private-socket.o drivers/tapdisk-nbd-connection.o */
/* links: drivers/tapdisk-nbd-request.o drivers/tapdisk-nbd-memory.o */
/* links: drivers/tapdisk-control-ring.o */
/* links: tests/fuzz/host.o drivers/block-migrate.o drivers/migrate-commands.o */
/* links: drivers/migrate-control.o drivers/migrate-disk.o drivers/migrate-record.o */
/* links: drivers/state-dir.o drivers/migrate-end.o drivers/migrate-registry.o */
/* links: drivers/migrate-alone.o */
/* links: drivers/migrate-mark.o drivers/image-mark.o drivers/image-identity.o */
/* links: drivers/image-same.o drivers/image-name.o drivers/migrate-reopen.o */
/* links: drivers/image-lock.o */
/* links: drivers/migrate-journal.o drivers/migrate-unnamed.o drivers/migrate-file.o */
/* links: drivers/migrate-store.o */
/* links: drivers/migrate-live.o drivers/tapdisk-nbdserver.o drivers/tapdisk-nbd-proto.o */
/* links: drivers/migrate-recover.o */
/* links: drivers/tapdisk-vbd.o drivers/tapdisk-image.o drivers/tapdisk-interface.o */
/* links: drivers/tapdisk-driver.o drivers/tapdisk-disktype.o drivers/tapdisk-server.o */
/* links: drivers/migrate-text.o */
/* links: drivers/tapdisk-control.o drivers/tapdisk-stats.o drivers/tapdisk-log.o */
/* links: drivers/tapdisk-worker.o drivers/scheduler.o drivers/libaio-backend.o */
/* links: drivers/thread-io.o */
/* links: drivers/tapdisk-inflight.o drivers/tapdisk-blkif.o drivers/tapdisk-ring.o */
/*
 * What a journal says about its migration, opened by the plugin. The input is its
 * head and its note; "@" in it stands for the journal's own path.
 */
#include <stdlib.h>
#include <unistd.h>

#include "host.h"
#include "migrate-journal.h"

static char path[256];

static void
write_journal(const uint8_t *data, size_t size)
{
	static const uint8_t uuid[16];
	char *text;
	size_t len;
	FILE *file;
	void *bytes;

	snprintf(path, sizeof(path), "%s/journal", tapdisk_server_run_dir());
	file = open_memstream(&text, &len);
	check(file);
	for (; size; size--, data++)
		if (*data == '@')
			fputs(path, file);
		else
			fputc(*data, file);
	check(!fclose(file));
	bytes = journal_new(uuid, 2048, text, len, text, len, &size);
	file = fopen(path, "we");
	check(bytes && file && fwrite(bytes, size, 1, file) == 1 && !fclose(file));
	free(bytes);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[300];
	td_vbd_t *vbd;

	host_begin();
	write_journal(data, size);
	snprintf(name, sizeof(name), "migrate:%s", path);
	vbd = tapdisk_vbd_create(0);
	check(vbd);
	if (tapdisk_vbd_open(vbd, name, 0)) {
		tapdisk_vbd_free(vbd);
	} else {
		tapdisk_server_add_vbd(vbd);
		host_turns(4);
		host_close(vbd);
	}
	unlink(path);
	return 0;
}
