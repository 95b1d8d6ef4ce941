#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # what is for the guest is expanded there
#
# A guest reads and writes its disk on a tapdisk's ring of eight pages, with indirect
# requests, flushes and discards, and what it wrote is in the image. Nothing stays behind
# when it crashes.
. "$(dirname "$0")/lib.sh"

ok 'tapback goes to the background when it serves' tapback
ok 'an image with a file system' new_image disk 96
guest_extra=xen-blkfront.ko:max_ring_page_order=3
ok 'a guest with that disk comes up' create_guest g "$(xvda "aio:$T/disk")"
ok 'its tapdisk is known' find_tapdisk
is "$(guest 'cat /sys/block/xvda/size')" $((96 * 2048)) 'the disk has its size'
ok 'it mounts it' guest 'mount -t ext4 /dev/xvda /mnt'
like "$(guest 'dmesg | grep blkfront')" 'flush diskcache: enabled.*indirect descriptors: enabled' \
	'flush and indirect descriptors are in use'
is "$(guest 'cat /sys/block/xvda/queue/max_segments')" 32 'of 32 pages'
ok 'it has a load' load_start 24 7
ok 'which goes on' load_goes_on 12
ok 'and verifies' load_stop
ok 'what it wrote is deleted' guest 'rm /mnt/load && sync'
before=$(stat -c %b "$T/disk")
ok 'and trimmed' guest 'fstrim -v /mnt'
above $((before - $(stat -c %b "$T/disk"))) $((16 * 2048)) 'the image gives the space back'
ok 'no I/O error is seen' no_io_errors
ok 'it unmounts' guest 'umount /mnt'
guest 'sleep 1 && echo c >/proc/sysrq-trigger &' >/dev/null
ok 'it crashes, and is gone' wait_for eval '! xl domid g'
ok 'and its tapdisk' wait_for eval '[ -z "$(tap list)" ]'
like "$(cat /var/log/messages)" 'a ring of 256 entries' 'its ring had eight pages'
served=$(grep -o 'device 51712: disconnected; .*' /var/log/messages)
like "$served" 'served [1-9][0-9]* reads, [1-9][0-9]* writes, 0 barriers, [1-9][0-9]* flushes, [1-9][0-9]* discards, of up to 32 pages' \
	'tapdisk has had them all, and requests of 32 pages'
ok 'the file system is clean' e2fsck -fn "$T/disk"
ok 'nothing is left in xenstore' wait_for eval '[ -z "$(xenstore-ls backend/vbd3)" ]'
refuses 'nor of its ring' 'No such' ls "/run/blktap-control/ring$domid.51712"
done_testing
