#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The destination is slow, fails reads, writes or flushes, or fills up. Where
# the guest's data is on the source too, the guest notices nothing; when the
# fault is mended the migration goes on, and can be cancelled before that.
. "$(dirname "$0")/lib.sh"
needs fio jq nbdcopy qemu-io

size=$((16 << 20))

begin() { # STRATEGY RATE
	fresh_disk $size
	truncate -s $size dst
	faults
	ok "$1 starts" start_by_hand "fault:$T/faults:$T/dst" "$1" "$2"
}

finish() { # WHAT
	ok "$1: synchronises" wait_for all_copied
	ok "$1: completes" mig complete --wait
	guest_goes_on 1
	ok "$1: the guest saw no error and no wrong data" guest_stop
	stop_disk
	ok "$1: the destination holds exactly what the guest wrote" disk_is dst
}

says_why() { # REASON
	wait_for holds ".state == \"paused\" and .reason == \"$1\" and (.error | length) > 0"
}

for strategy in slr aio mirror; do
	begin $strategy 0
	faults "delay write 10" "delay flush 50"
	guest_start $size
	finish "$strategy onto a slow disk"
done

for strategy in aio mirror dbt; do
	begin $strategy 4
	guest_start $size
	guest_goes_on 1
	faults "fail write EIO" "fail zero EIO"
	ok "$strategy: failing writes stop the copier, and it says so" says_why destination-errors
	guest_goes_on 2
	faults
	ok "$strategy: the operator says go on" mig resume
	finish "$strategy after failed writes"
done

begin mirror 4
guest_start $size
guest_goes_on 1
faults "fail write EIO from 8192 count 1024 times 3"
guest_goes_on 2
faults
mig resume 2>/dev/null # if it has stopped at all
finish "mirror after a few failed writes"

begin lr 0
wait_for all_copied
faults "fail read EIO"
ok "lr: reads fail over to the source" nbdcopy "$uri" seen
ok "lr: and are right" cmp pristine seen
faults
ok "lr: completes" mig complete --wait
stop_disk
ok "lr: the destination is the same" cmp pristine dst

begin mirror 0
guest_start $size
wait_for all_copied
faults "fail flush EIO"
ok "mirror: a flush is as good as the source's" qemu-io -f raw -c flush "$uri"
mig complete >/dev/null 2>&1
guest_goes_on 1
ok "mirror: nothing completes while the destination does not flush" runs_on "migrate:$T/$minor.migrate"
faults
mig resume 2>/dev/null # if it has stopped at all
finish "mirror after failed flushes"

flush() { # says its exit status
	qemu-io -f raw -c flush "$uri" >&2
	echo -n "$? "
}

begin slr 0
wait_for all_copied
ok "slr: the guest writes" nbdcopy pristine "$uri"
ok "slr: and flushes" qemu-io -f raw -c flush "$uri"
faults "fail flush EIO"
ok "slr: and writes the same once more" nbdcopy pristine "$uri"
ok "slr: the disk pauses, and cannot be flushed" tap pause -p "$pid" -m "$minor"
faults
ok "slr: the disk goes on" tap unpause -p "$pid" -m "$minor"
is "$(flush)$(flush)" "1 0 " "slr: the guest is told of it, once"
stop_disk

begin mirror 8
guest_start $size
faults "fail write ENOSPC after $((4 << 20))"
ok "mirror: a full destination stops the copier, and it says so" says_why no-space
guest_goes_on 2
faults
ok "mirror: the operator says go on" mig resume
finish "mirror after lack of space"

begin lr 8
guest_start $size
faults "fail write ENOSPC after $((4 << 20))"
ok "lr: a full destination holds the guest's writes, and it says so" says_why no-space
ok "lr: cancel leads back" mig cancel --wait
guest_goes_on 1
ok "lr: the guest saw no error and no wrong data" guest_stop
stop_disk
ok "lr: the source holds exactly what the guest wrote" disk_is src

done_testing
