#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The destination answers nothing any more. After ten seconds it counts as
# absent; a cancel or a close ends at once; and if it comes back, the migration
# goes on.
. "$(dirname "$0")/lib.sh"
needs fio jq qemu-io

size=$((16 << 20))

begin() { # STRATEGY MIB/S
	fresh_disk $size
	truncate -s $size dst
	faults
	ok "$1 starts" start_by_hand "fault:$T/faults:$T/dst" "$1" "$2"
	guest_start $size
	guest_goes_on 1
}

stalled() {
	wait_for holds '.reason == "stalled"'
}

flush() { # says its exit status
	qemu-io -f raw -c flush "$uri" >&2
	echo -n "$? "
}

begin aio 4
faults "stall any"
ok "aio: the stall is noticed" stalled
ok "aio: the guest goes on" guest_goes_on 2
faults
ok "aio: the migration goes on when the destination does" wait_for state_is copying synchronised
ok "aio synchronises" wait_for state_is synchronised
ok "aio completes" mig complete --wait
ok "aio: the guest saw no error and no wrong data" guest_stop
stop_disk
ok "aio: the destination holds exactly what the guest wrote" disk_is dst

begin mirror 4
faults "stall any"
ok "mirror: cancels while the destination is stalled" mig cancel --wait
ok "mirror: the disk runs on the source" runs_on "aio:$T/src"
guest_goes_on 1
ok "mirror: the guest saw no error and no wrong data" guest_stop
stop_disk
ok "mirror: the source holds exactly what the guest wrote" disk_is src

begin slr 1
mig pause
guest_stop
faults "stall any"
mig resume
ok "slr: the stall is noticed" stalled
ok "slr: the disk pauses while the destination is stalled" tap pause -p "$pid" -m "$minor"
faults
ok "slr: and goes on when the destination does" wait_for tap unpause -p "$pid" -m "$minor"
mig set --rate 0
ok "slr synchronises" wait_for state_is synchronised
ok "slr completes" mig complete --wait
stop_disk
ok "slr: the destination holds exactly what the guest wrote" disk_is dst

# Both disks have what is not flushed; the destination hangs, and then fails its flush.
begin slr 1
mig pause
faults "stall flush"
guest_goes_on 1
guest_stop
faults "stall any"
mig resume
ok "slr, unflushed: the stall is noticed" stalled
ok "slr, unflushed: the disk pauses while the destination is stalled" tap pause -p "$pid" -m "$minor"
faults "fail flush EIO"
ok "slr, unflushed: and goes on when the destination does" wait_for tap unpause -p "$pid" -m "$minor"
faults
is "$(flush)$(flush)" "1 0 " "slr, unflushed: the guest is told of the flush that failed, once"
mig set --rate 0
ok "slr, unflushed: synchronises" wait_for state_is synchronised
ok "slr, unflushed: completes" mig complete --wait
stop_disk
ok "slr, unflushed: the destination holds exactly what the guest wrote" disk_is dst

begin dbt 1
mig pause
guest_stop
faults "stall any"
mig resume
ok "dbt: the stall is noticed" stalled
ok "dbt: the disk closes while the destination is stalled" stop_disk
ok "dbt: the source holds exactly what the guest wrote" disk_is src

done_testing
