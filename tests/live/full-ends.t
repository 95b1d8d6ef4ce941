#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Something is full when a migration ends: the source that is to take back what the
# destination has; the run directory. Each ends in a state that is said.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io mkfs.ext4
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root, to mount file systems"; exit; }

at_exit() {
	umount -l "$T/one" "$T/run" 2>/dev/null
}

fill() { # FILE: nothing more fits beside it
	dd if=/dev/zero of="$1" bs=64k status=none 2>/dev/null
	dd if=/dev/zero of="$1" bs=512 oflag=append conv=notrunc status=none 2>/dev/null
	sync "$1"
}

guest() { # qemu-io COMMAND...
	local commands=() c
	for c; do commands+=(-c "$c"); done
	qemu-io -f raw "${commands[@]}" "$uri" | sed -n '/verification failed/q1'
}

# --- a source without room for what comes back -----------------------------------------

truncate -s 64M fs
mkdir one
mkfs.ext4 -q -F -m 0 fs
mount -o loop fs one || die "cannot mount a file system"
truncate -s 32M one/src
for strategy in lr slr; do
	rm -f dst dst.migrate one/others
	fallocate -p -l 32M one/src
	start_disk "aio:$T/one/src"
	ok "$strategy starts" mig start --to "aio:$T/dst" --create --strategy $strategy --complete manual --wait
	ok "$strategy: the guest writes to the destination" guest "write -P 7 4M 8M" flush
	fill one/others
	refuses "$strategy: cancel has no room" "rolling-back: .*(No space|no-space)" mig cancel --wait
	ok "$strategy: the state says so" holds '.state == "rolling-back" and .error_class == "no-space"'
	ok "$strategy: the guest reads what it wrote" guest "read -P 7 4M 8M"
	refuses "$strategy: a second cancel" "so already: the migration is rolling-back" mig cancel
	rm one/others
	ok "$strategy: with room it goes on" mig resume
	ok "$strategy: and ends" wait_for runs_on "aio:$T/one/src"
	ok "$strategy: with everything" guest "read -P 7 4M 8M"
	stop_disk
done

# --- a run directory without room ----------------------------------------------------------

umount one
rm -f dst dst.migrate
head -c 4M /dev/urandom >src
mount -t tmpfs -o size=2m none run || die "cannot mount a tmpfs"
start_disk "aio:$T/src"
fill run/others
refuses "a start for whose live changes there is no room" "No space" \
	mig start --to "aio:$T/dst" --create --strategy lr --complete manual
ok "the disk runs as before" guest "read 0 64k"
ok "nothing is left" [ ! -e dst.migrate ]
rm -f run/others dst
ok "starts with room" mig start --to "aio:$T/dst" --create --strategy lr --complete manual --rate 1
fill run/others
ok "the guest goes on in a full one" guest "write -P 7 0 64k" flush "read -P 7 0 64k"
ok "cancels in a full one" mig cancel --wait
ok "the disk runs on the source" runs_on "aio:$T/src"
ok "with everything" guest "read -P 7 0 64k"
rm -f run/others
stop_disk
done_testing
