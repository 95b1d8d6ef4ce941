#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Each strategy moves a disk under a guest that notices nothing, and leaves on
# the destination exactly what the guest wrote; what is written and read where
# meanwhile is what tells the strategies apart.
. "$(dirname "$0")/lib.sh"
needs fio jq nbdcopy

size=$((48 << 20))

move() { # STRATEGY
	fresh_disk "$size"
	head -c $size /dev/urandom >dst # trusted by nobody
	guest_start $size
	guest_goes_on 1
	ok "$1 starts" mig start --to "aio:$T/dst" --strategy "$1" --chunk 64K --rate 16 --complete manual
	nbdcopy "$uri" null: # the guest also reads what it has not written
	guest_goes_on 1
	ok "$1 synchronises while the guest writes" wait_for all_copied
	guest_goes_on 1
	mig status --json >"$1.json"
	ok "$1 completes" mig complete --wait
	ok "$1: the disk runs on the destination" runs_on "aio:$T/dst"
	guest_goes_on 1
	ok "$1: the guest saw no error and no wrong data" guest_stop
	stop_disk
	ok "$1: the destination holds exactly what the guest wrote" disk_is dst
}

# What must be true of each strategy's counters.
declare -A tells=(
	[lr]='.written.source.guest == 0 and .written.destination.guest > 0
		and .guest_reads.source > 0 and .guest_reads.destination > 0 and .bytes.skipped > 0'
	[slr]='.written.source.guest > 0 and .written.destination.guest > 0
		and .guest_reads.source > 0 and .guest_reads.destination > 0'
	[aio]='.written.source.guest > .written.destination.guest and .written.destination.guest > 0
		and .guest_reads.source > 0 and .guest_reads.destination == 0'
	[mirror]='.written.source.guest > .written.destination.guest and .written.destination.guest > 0
		and .guest_reads.source > 0 and .guest_reads.destination == 0'
	[dbt]='.written.source.guest > 0 and .written.destination.guest == 0
		and .guest_reads.source > 0 and .guest_reads.destination == 0 and .bytes.copied > .bytes.total'
)
for strategy in lr slr aio mirror dbt; do
	move $strategy
	like "$(jq "${tells[$strategy]} and .written.source.copy == 0 and .written.destination.copy > 0" $strategy.json)" \
		true "$strategy reads and writes where it should: $(jq -c '[.written, .guest_reads, .bytes]' $strategy.json)"
done
done_testing
