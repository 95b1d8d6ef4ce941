#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A disk leaves its file system because that is full, to the last block: its mark has no
# room there, and is kept in the state directory. Nobody opens it by mistake all the same.
. "$(dirname "$0")/lib.sh"
needs jq mkfs.ext4 setfattr
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root, to mount a file system"; exit; }

at_exit() {
	umount -l "$T/one"
}

mark() { # IMAGE
	tap migrate mark "$1" --json | jq -r '.mark | if . then "\(.role) \(.name)" else "none" end'
}

fill() { # FILE: nothing more fits beside it
	dd if=/dev/zero of="$1" bs=64k status=none 2>/dev/null
	dd if=/dev/zero of="$1" bs=512 oflag=append conv=notrunc status=none 2>/dev/null
	sync "$1"
}

mended() { # as by its next mount
	umount one
	e2fsck -fy fs >/dev/null
	mount -o loop fs one
}

entries() { # how many marks the state directory has
	find "$TAPMIGRATE_STATE_DIR" -name 'mark-*' | wc -l
}

truncate -s 64M fs
mkdir one
mkfs.ext4 -q -F -m 0 fs
mount -o loop,errors=remount-ro fs one || die "cannot mount a file system"
head -c 16M /dev/urandom >one/src
cp one/src pristine
fill one/others
refuses "an attribute of the size of a mark" "No space" setfattr -n user.x -v "$(head -c 120 fs | tr '\0' x)" one/src

start_disk "aio:$T/one/src"
ok "starts" mig start --to "aio:$T/dst" --create --strategy slr --rate 1 --complete manual
is "$(mark one/src), $(entries)" "source $T/dst.migrate, 1" "the source's mark is in the state directory"
is "$(mark dst)" "destination $T/dst.migrate" "the destination's is where it belongs"
ok "the VBD is paused" tap pause -p "$pid" -m "$minor"
refuses "the source" "is the source of a migration.*open migrate:$T/dst.migrate" tap create -a "aio:$T/one/src"
ok "and goes on" tap unpause -p "$pid" -m "$minor"
mig set --rate 0
wait_for state_is synchronised
ok "completes" mig complete --wait
is "$(mark one/src), $(entries)" "superseded aio:$T/dst, 1" "the source is superseded"
stop_disk
ok "the destination is the disk" cmp pristine dst
refuses "the source" "out of date: the disk has moved to aio:$T/dst" tap create -a "aio:$T/one/src"
rm one/others
refuses "the source also once there is room" "out of date: the disk has moved to aio:$T/dst" tap create -a "aio:$T/one/src"
ok "unmark" tap migrate unmark one/src
is "$(mark one/src), $(entries)" "none, 0" "leaves nothing"

# A mark that could not be changed where it is: what the state directory has of the same
# migration is later.
rm dst dst.migrate
start_disk "aio:$T/one/src"
ok "starts again" mig start --to "aio:$T/dst" --create --strategy mirror --wait
is "$(mark one/src), $(entries)" "source $T/dst.migrate, 0" "the source's mark is its attribute"
device=$(findmnt -no SOURCE one)
echo 1 >"/sys/fs/ext4/${device##*/}/trigger_fs_error" # errors=remount-ro
refuses "to write there: it is read-only" "Read-only" touch one/src
ok "completes" mig complete --wait
is "$(mark one/src), $(entries)" "superseded aio:$T/dst, 1" "the source is superseded"
stop_disk
ok "the file system is mended" mended
refuses "the source" "out of date: the disk has moved to aio:$T/dst" tap create -a "aio:$T/one/src"
ok "unmark" tap migrate unmark one/src
is "$(mark one/src), $(entries)" "none, 0" "removes both"
done_testing
