#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A migration is cancelled, early, half-way, when all is copied, and after a
# change of strategy. Each time the source ends with everything that the guest
# wrote, also what only the destination had.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$((32 << 20))

begin() { # STRATEGY
	fresh_disk $size
	truncate -s $size dst
	guest_start $size
	ok "$1 starts" mig start --to "aio:$T/dst" --strategy "$1" --chunk 64K --rate 8 --complete manual
}

cancel() { # WHEN
	ok "$1: cancels" mig cancel --wait
	ok "$1: the disk runs on the source" runs_on "aio:$T/src"
	guest_goes_on 1
	ok "$1: the guest saw no error and no wrong data" guest_stop
	stop_disk
	ok "$1: the source holds exactly what the guest wrote" disk_is src
}

half_way() {
	holds '.bytes.valid * 2 > .bytes.total'
}

for strategy in lr slr aio mirror dbt; do
	begin $strategy
	cancel "$strategy at once"
done

for strategy in lr slr dbt; do
	begin $strategy
	wait_for half_way
	guest_goes_on 1
	cancel "$strategy half-way"
done

for strategy in lr slr mirror; do
	begin $strategy
	mig set --rate 0
	wait_for all_copied
	guest_goes_on 1
	cancel "$strategy when all is copied"
done

begin lr
wait_for half_way
guest_goes_on 1
mig set --strategy aio
guest_goes_on 1
cancel "after a switch from lr to aio"

done_testing
