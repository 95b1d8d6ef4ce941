#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A file system that is frozen, as for a snapshot, keeps every write from even being submitted.
# It stops the disk that needs it, and only what of that needs it: the source is read, another
# disk of the same tapdisk is read and written, the tapdisk and the migration answer.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io fsfreeze mkfs.ext4

size=$((16 << 20))
truncate -s 96M far.fs
mkfs.ext4 -q -F far.fs
mkdir far
if [ "$(id -u)" != 0 ] || ! mount -o loop far.fs far 2>/dev/null; then
	echo "1..0 # SKIP no file system can be mounted here"
	exit 0
fi
at_exit() {
	fsfreeze -u far 2>/dev/null
	umount -l far
}

io() { # URI COMMAND... of qemu-io
	local disk=$1 command commands=()
	shift
	for command; do
		commands+=(-c "$command")
	done
	timeout 200 qemu-io -f raw -t none "${commands[@]}" "$disk"
}

stuck() { # a call of the tapdisk's waits in the file system
	grep -q '^State:.D' "/proc/$pid/task/"*/status
}

open_other() {
	head -c 1M /dev/urandom >other
	other=$(tap allocate | sed 's/.*tapdisk-//')
	tap attach -p "$pid" -m "$other"
	tap open -p "$pid" -m "$other" -a "aio:$T/other"
	other_uri="nbd+unix:///?socket=$BLKTAP_RUN_DIR/nbd$pid.$other"
}

goes_on_meanwhile() { # NAME
	ok "$1: another disk is read and written" io "$other_uri" "write 64k 64k" flush "read 0 64k"
	ok "$1: the tapdisk answers" tap list -p "$pid"
	ok "$1: and tells of its disks" tap stats -p "$pid" -m "$minor"
}

# --- the destination ------------------------------------------------------

for strategy in mirror slr; do
	rm -f far/dst*
	fresh_disk $size
	open_other
	ok "$strategy: starts" mig start --to "aio:$T/far/dst" --create --strategy $strategy --rate 1 --complete manual
	wait_for holds '.bytes.copied > 0'
	fsfreeze -f far
	ok "$strategy: a call waits for the file system" wait_for stuck
	goes_on_meanwhile "$strategy"
	ok "$strategy: what only the source has is read" io "$uri" "read 15M 64k"
	ok "$strategy: the migration answers" mig status
	fsfreeze -u far
	ok "$strategy: thawed, it takes commands" mig set --rate 0
	ok "$strategy: goes on" wait_for all_copied
	ok "$strategy: completes" mig complete --wait
	wait_for runs_on "aio:$T/far/dst"
	ok "$strategy: with all data" cmp src far/dst
	tap destroy -p "$pid" -m "$other"
	stop_disk
done

# --- a disk of its own ------------------------------------------------------------------------

rm -f far/dst*
head -c 1M /dev/urandom >far/disk
start_disk "aio:$T/far/disk"
open_other
fsfreeze -f far
io "$uri" "write -P 7 0 64k" &
writes=$!
io "$uri" "discard 512k 64k" &
discards=$!
ok "calls wait for the file system" wait_for stuck
goes_on_meanwhile "a disk"
tap migrate start -m "$other" --to "aio:$T/far/new" --create >/dev/null 2>&1 &
starts=$!
tap close -p "$pid" -m "$minor" >/dev/null 2>&1 &
closes=$!
goes_on_meanwhile "while one is to be closed"
fsfreeze -u far
wait $writes
is $? 0 "then it is written"
wait $discards
wait $starts $closes
done_testing
