#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The disk is paused and unpaused, and the copier is too, in the middle of a
# migration: it goes on where it was, and nothing is lost on either side.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$((32 << 20))

copier_rests() {
	local before
	before=$(status .bytes.copied)
	sleep 0.3
	[ "$(status .bytes.copied)" = "$before" ]
}

for strategy in lr slr aio mirror dbt; do
	fresh_disk $size
	truncate -s $size dst
	ok "$strategy starts" mig start --to "aio:$T/dst" --strategy $strategy --chunk 64K --rate 4 --complete manual
	guest_start $size
	wait_for holds '.bytes.valid > (4 * 1024 * 1024)'

	ok "$strategy: the copier pauses" mig pause
	ok "$strategy: and says so" state_is paused
	wait_for copier_rests # what it had begun is done
	copied=$(status .bytes.copied)
	guest_goes_on 1
	is "$(status .bytes.copied)" "$copied" "$strategy: nothing is copied meanwhile"

	ok "$strategy: the disk pauses" tap pause -p "$pid" -m "$minor"
	like "$(tap list -p "$pid")" "state=0x2a" "$strategy: and says so"
	ok "$strategy: the disk goes on" tap unpause -p "$pid" -m "$minor"
	ok "$strategy: the copier is still paused" wait_for state_is paused
	guest_goes_on 1
	ok "$strategy: the copier resumes" mig resume
	mig set --rate 8

	guest_goes_on 1
	ok "$strategy: the disk pauses while the copier runs" tap pause -p "$pid" -m "$minor"
	ok "$strategy: the disk goes on" tap unpause -p "$pid" -m "$minor"

	ok "$strategy synchronises" wait_for all_copied
	ok "$strategy completes" mig complete --wait
	ok "$strategy: the guest saw no error and no wrong data" guest_stop
	stop_disk
	ok "$strategy: the destination holds exactly what the guest wrote" disk_is dst
done
done_testing
