#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What real file systems and devices say when they are full, over a quota, shut down or
# cut off: the guest waits or is told as it should, and nothing is taken for zeroes.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io qemu-img losetup mkfs.ext4 mkfs.xfs mkfs.btrfs btrfs xfs_io
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root, to mount file systems"; exit; }

size=$((24 << 20))
devices=() mounts=()

at_exit() {
	local x
	for x in "${mounts[@]}"; do
		umount -l "$x" 2>/dev/null
	done
	for x in "${devices[@]}"; do
		losetup --detach "$x"
	done
}

file_system() { # KIND SIZE NAME: mounted on it
	truncate -s "$2" "$3.fs"
	mkdir "$3"
	"mkfs.$1" -q "$3.fs" >&2 || die "no $1 here"
	mount -o loop "$3.fs" "$3" || die "$1 cannot be mounted"
	mounts+=("$T/$3")
}

loop() { # FILE: a device on it, in $device
	device=$(losetup --find --show "$1") && devices+=("$device")
}

disk() { # PATH: a disk of random contents there
	head -c $size /dev/urandom >"$1"
	sync "$1"
	cp "$1" pristine
	start_disk "aio:$1"
}

begin() { # DESTINATION STRATEGY [NOTE]: paused before it has begun
	rm -f "$T/$minor.migrate"
	ok "$2 to ${1##*/} starts" start_by_hand "aio:$1" "$2" 0 . '.paused = true'
}

guest() { # QEMU-IO COMMAND
	timeout 60 qemu-io -f raw "$uri" -c "$1"
}

paused_by() { # REASON CLASS
	wait_for holds ".reason == \"$1\" and .error_class == \"$2\""
}

# --- no room ---------------------------------------------------------------------------
#
# The writes of the guest that only the destination can take wait, and are done.

room() { # KIND: room is made where there was none
	if [ "$1" = quota ]; then
		btrfs qgroup limit none b/volume
	else
		rm e/ballast
	fi
}

file_system ext4 48M e
file_system btrfs 256M b
btrfs -q quota enable b
btrfs -q subvolume create b/volume
btrfs qgroup limit 8M b/volume
fallocate -l 20M e/ballast || die "no room for the ballast"
for kind in full quota; do
	[ $kind = full ] && to=$T/e/dst || to=$T/b/volume/dst
	rm -f src
	disk "$T/src"
	truncate -s $size "$to"
	begin "$to" lr
	mig resume
	ok "$kind: the copy waits, and says for what" paused_by no-space no-space
	guest "write -P 5 23M 64k" >/dev/null &
	guest=$!
	started+=("$guest")
	ok "$kind: so does a write of the guest" wait_for holds '.delayed_writes == 1'
	ok "$kind: its reads go on" guest "read 1M 64k"
	room $kind
	ok "$kind: there is room" mig resume
	ok "$kind: the write is done" wait "$guest"
	ok "$kind: synchronises" wait_for state_is synchronised
	ok "$kind: completes" mig complete --wait
	ok "$kind: and reads back" guest "read -P 5 23M 64k"
	stop_disk
	ok "$kind: the rest is as it was" cmp -n $((23 << 20)) pristine "$to"
done

# --- the source is gone --------------------------------------------------------------------

file_system xfs 320M x
rm -f src
disk "$T/x/src"
truncate -s $size dst
begin "$T/dst" slr
xfs_io -x -c shutdown x
mig resume
ok "shut down: the copy stops" wait_for holds '.reason == "source-errors"'
is "$(status .bytes.zero)" 0 "shut down: nothing of it counts as zeroes"
refuses "shut down: it does not complete" "source-errors" mig complete
refuses "shut down: the guest is told" "Input/output error" guest "read 12M 1M"
kill -KILL "$pid"
wait_for gone "$pid"

# --- devices ---------------------------------------------------------------------------------

rm -f dst
head -c $size /dev/urandom >back
loop "$T/back"
start_disk "aio:$device"
truncate -s 8M back
ok "cut off under a device: starts" mig start --to "aio:$T/dst" --create --strategy slr --complete manual
ok "cut off under a device: the copy stops" wait_for holds '.reason == "source-errors"'
is "$(status .bytes.zero)" 0 "cut off under a device: nothing counts as zeroes"
ok "cut off under a device: cancel leads back" mig cancel --wait
stop_disk

rm -f dst src
disk "$T/src"
truncate -s $size back
loop "$T/back"
begin "$device" mirror
mig resume
ok "a device: synchronises" wait_for state_is synchronised
truncate -s 8M back
losetup --set-capacity "$device"
mig complete >/dev/null 2>&1
ok "a device that has become smaller does not complete" paused_by destination-errors smaller
ok "a device that has become smaller: cancel leads back" mig cancel --wait
ok "a device that has become smaller: the disk is as it was" qemu-img compare -f raw -F raw pristine "$uri"
stop_disk
done_testing
