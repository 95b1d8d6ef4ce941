#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A running disk whose image cannot be reached by its name, or not be opened again, any more:
# its migration moves what is open.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io mkfs.ext4 chattr
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root, to mount a file system"; exit; }

at_exit() {
	chattr -i "$T"/*/src 2>/dev/null
	for mounted in "$T"/fs?; do
		while umount -l "$mounted" 2>/dev/null; do :; done
	done
	[ "$failures" = 0 ] || say "to repeat: SEED=$SEED $0"
}

io() { # COMMAND...
	local commands=() command
	for command; do commands+=(-c "$command"); done
	timeout "$HANG" qemu-io -f raw -t none "$uri" "${commands[@]}" >"$T/io" 2>&1 && ! grep -q 'failed\|error' "$T/io"
}

new_fs() { # sets fs, where it is mounted
	fs=$T/fs$((count += 1))
	mkdir "$fs"
	truncate -s 32M "$fs.image"
	mkfs.ext4 -q -F "$fs.image"
	mount -o loop "$fs.image" "$fs" || die "cannot mount a file system"
}
count=0

unmounted() { umount -l "$fs"; }
covered() { mount -t tmpfs none "$fs" && truncate -s 4M "$fs/src"; }
immutable() { chattr +i "$fs/src"; }
moved_with_its_directory() { mv "$fs/in" "$fs/away"; }
waited_for() { # whoever asks for a lock gets it as soon as it is let go
	perl -e 'use Fcntl; open F, "+<", $ARGV[0]; my $l = pack("s s l! l! i", F_WRLCK, 0, 0, 0, 0); fcntl F, F_SETLKW, $l; sleep 1000' \
		"$fs/src" &
	started+=($!)
}

for change in unmounted covered immutable moved_with_its_directory waited_for; do
	new_fs
	image=$fs/src
	[ $change != moved_with_its_directory ] || { mkdir "$fs/in" && image=$fs/in/src; }
	truncate -s 4M "$image"
	start_disk "aio:$image"
	io 'write -P 0x11 0 64k' flush
	ok "$change: happens" $change
	ok "$change: a migration starts, and ends" mig start --to "aio:$T/dst" --create --wait
	is "$(disk_args)" "aio:$T/dst" "$change: the disk runs on its destination"
	ok "$change: with all that it held" io 'read -P 0x11 0 64k' 'read -P 0 64k 1M'
	chattr -i "$fs/src" 2>/dev/null
	stop_disk
	rm -f dst*
done

truncate -s 4M image
device=$(losetup -f --show image) || die "no loop device"
start_disk "aio:$device"
io 'write -P 0x11 0 64k' flush
ok "a loop device is detached, as far as it can be" losetup -d "$device"
ok "a migration starts, and ends" mig start --to "aio:$T/dst" --create --wait
ok "the destination has all that it held" io 'read -P 0x11 0 64k' 'read -P 0 64k 1M'
stop_disk
done_testing
