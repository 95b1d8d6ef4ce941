#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# File systems differ in what they say when they are full, and when they are gone. Each
# kind is treated as one: for want of space the guest's write waits, and what a source
# that is gone does not say is never zeroes.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io

size=$((8 << 20))

begin() { # SOURCE DESTINATION STRATEGY
	rm -f src dst ./*.migrate
	head -c $size /dev/urandom >src
	cp src pristine
	truncate -s $size dst
	faults
	start_disk "$1"
	ok "$3 starts" start_by_hand "$2" "$3" 0 '.destination_is_zero = true' '.paused = true'
}

guest() { # QEMU-IO COMMAND
	timeout "$HANG" qemu-io -f raw "$uri" -c "$1"
}

finish() { # WHAT
	ok "$1: synchronises" wait_for state_is synchronised
	ok "$1: completes" mig complete --wait
	stop_disk
}

for errno in ENOSPC EDQUOT EFBIG; do
	begin "aio:$T/src" "fault:$T/faults:$T/dst" lr
	mig resume
	wait_for state_is synchronised
	faults "fail write $errno"
	guest "write -P 7 1M 64k" >/dev/null &
	guest=$!
	started+=("$guest")
	ok "$errno: the guest's write waits, and status says for what" wait_for holds \
		'.reason == "no-space" and .error_class == "no-space" and .delayed_writes == 1'
	ok "$errno: reads go on" guest "read 2M 64k"
	faults
	ok "$errno: there is room again" mig resume
	ok "$errno: the guest's write is done" wait "$guest"
	ok "$errno: and reads back" guest "read -P 7 1M 64k"
	finish "$errno"

	begin "aio:$T/src" "fault:$T/faults:$T/dst" slr
	faults "fail write $errno"
	mig resume
	ok "$errno: the copy waits" wait_for holds '.reason == "no-space" and .bytes.copied == 0'
	faults
	ok "$errno: there is room again" mig resume
	finish "$errno, copy"
	ok "$errno: all is there" cmp pristine dst
done

for errno in ENXIO ENODEV ESTALE EROFS EACCES; do
	class=gone
	[ $errno = EACCES ] && class=denied
	begin "fault:$T/faults:$T/src" "aio:$T/dst" slr
	faults "fail read $errno" "fail status $errno"
	mig resume
	ok "$errno: a source that is gone stops the copy" wait_for holds \
		".reason == \"source-errors\" and .error_class == \"$class\""
	is "$(status '"\(.bytes.zero) \(.bytes.copied)"')" "0 0" "$errno: and what it holds is not taken for zeroes"
	faults
	ok "$errno: it is back" mig resume
	finish "$errno"
	ok "$errno: all is there" cmp pristine dst
done
done_testing
