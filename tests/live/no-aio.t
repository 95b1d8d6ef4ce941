#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Where other programs have used up the host's kernel AIO, a tapdisk does with less of it, or
# with threads: its disks are served, and moved, all the same, and the log says why it is slow.
. "$(dirname "$0")/lib.sh"
needs jq fio

size=$((16 << 20))
export TAPDISK_LOG_STDERR=1
for left in 100 8 7 0; do
	export TAPDISK_AIO_LEFT=$left
	fresh_disk $size 2>log
	if [ $left -ge 8 ]; then
		like "$(cat log)" "at most [0-9]+ I/Os at once instead of 512.*fs.aio-max-nr" "$left left: the log says so"
	else
		like "$(cat log)" "no kernel AIO.*slower.*fs.aio-max-nr" "$left left: the log says that there is none"
	fi
	ok "$left left: a migration starts" mig start --to "aio:$T/dst" --create --strategy mirror --complete manual
	ok "$left left: a guest writes and reads, by 32 at once" fio --name=guest --ioengine=nbd --uri="$uri" \
		--rw=randwrite --bs=4k --size=$size --iodepth=32 --verify=crc32c --verify_fatal=1 --randseed="$SEED"
	wait_for all_copied
	ok "$left left: it completes" mig complete --wait
	wait_for runs_on "aio:$T/dst"
	ok "$left left: with all data" cmp src dst
	ok "$left left: the disk ends" stop_disk
done
done_testing
