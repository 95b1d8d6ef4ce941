#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A guest goes on with the sectors that it knows, also at its disk's next start; where they could
# not be kept, or there is no room for its data, or the destination is the disk itself under
# another name, a start is refused, and the disk goes on.
. "$(dirname "$0")/lib.sh"
needs jq nbdinfo losetup

loops=()
loop() { # FILE [losetup option...]: sets device
	device=$(losetup -f --show "${@:2}" "$1" 2>/dev/null) || return 1
	loops+=("$device")
}
at_exit() {
	local name
	[ "$failures" = 0 ] || say "to repeat: SEED=$SEED $0"
	for name in "${mounted[@]}"; do umount -l "$name"; done 2>/dev/null
	for name in "${loops[@]}"; do losetup -d "$name"; done 2>/dev/null
}
mounted=()

size=$((8 << 20))
truncate -s $size large
if ! loop large --sector-size 4096 || [ ! -b "$device" ]; then
	echo "1..0 # SKIP no loop devices here"
	exit 0
fi
large=$device

sectors() { # what the guest is shown
	nbdinfo --json "$uri" | jq -r '.exports[0].block_size_minimum'
}
start() { # TO [option...]
	mig start --to "$@"
}
goes_on() { # on what it was
	runs_on "$1" && [ "$(tap list -p "$pid" -m "$minor" | grep -c state=0)" = 1 ]
}

# --- sectors -----------------------------------------------------------------------------

start_disk "aio:$large"
is "$(sectors)" 4096 "a device of 4096-byte sectors"
truncate -s $((size + 512)) odd
refuses "a destination that is no multiple of them" "no multiple" start "aio:$T/odd"
is "$(tap migrate mark odd)" "odd: no mark" "leaves no word there"
ok "moves to a file" start "aio:$T/dst" --create --wait
is "$(sectors)" 4096 "the guest is shown 4096"
stop_disk
start_disk "aio:$T/dst"
is "$(sectors)" 4096 "and at its next start"
like "$(tap migrate mark dst)" "sectors of 4096 bytes" "which its file says"
is "$(tap migrate mark --json dst | jq .sector_size)" 4096 "to programs too"
cp --sparse=always dst copy
ok "it moves on" start "aio:$T/copy" --wait
stop_disk
start_disk "aio:$T/copy"
is "$(sectors)" 4096 "and goes on with 4096"
truncate -s $size small
loop small
refuses "a device of smaller sectors" "nothing can be recorded there" start "aio:$device"
ok "the disk goes on" goes_on "aio:$T/copy"
stop_disk
start_disk "migrate:$T/copy.migrate"
is "$(sectors)" 4096 "by its journal too"
stop_disk

# What another disk had does not stay.
head -c $size /dev/urandom >plain
start_disk "aio:$T/plain"
refuses "larger sectors" "sectors of 4096" start "aio:$large"
unmark dst && rm dst.migrate
ok "a disk of 512 moves to where one of 4096 was" start "aio:$T/dst" --wait
stop_disk
start_disk "aio:$T/dst"
is "$(sectors)" 512 "and is shown with 512"
stop_disk

# --- space ---------------------------------------------------------------------------------

mkdir full
if truncate -s 8M full.fs && mkfs.ext4 -q -F full.fs 2>/dev/null && mount -o loop full.fs full 2>/dev/null; then
	mounted+=("$T/full")
	head -c $((16 << 20)) /dev/urandom >much
	start_disk "aio:$T/much"
	refuses "too little space" "16 MiB of data, but .* room for [0-9]+ MiB" start "aio:$T/full/dst" --create
	ok "the disk goes on" goes_on "aio:$T/much"
	is "$(find full -name 'dst*')" "" "nothing is left"
	ok "but if one wants it" start "aio:$T/full/dst" --create --no-space-check --dry-run
	truncate -s 0 much
	truncate -s $((16 << 20)) much
	stop_disk
	start_disk "aio:$T/much"
	ok "holes need no space" start "aio:$T/full/dst" --create --dry-run
	stop_disk
fi

# --- the same disk ---------------------------------------------------------------------------

same() { # NAME FROM TO
	start_disk "aio:$2"
	refuses "$1: is not moved onto itself" "the same disk" start "aio:$3"
	ok "$1: goes on" goes_on "aio:$2"
	stop_disk
}

truncate -s $((2 * size)) one
loop one; first=$device
loop one; second=$device
same "two loop devices of a file" "$first" "$second"
same "a file and its loop device" "$T/one" "$second"
same "a loop device and its file" "$first" "$T/one"
loop one --sizelimit $size; first=$device
loop one --offset $((size / 2)) --sizelimit $size; second=$device
same "two parts that overlap" "$first" "$second"
loop "$first"; second=$device
same "a loop device of a loop device" "$second" "$T/one"
loop one --offset $size; second=$device
start_disk "aio:$first"
ok "two parts that do not overlap are two disks" start "aio:$second" --wait
stop_disk

mkdir lower upper work merged
if mount -t overlay o -o "lowerdir=$T/lower,upperdir=$T/upper,workdir=$T/work" merged 2>/dev/null; then
	mounted+=("$T/merged")
	mkdir "upper/a b"
	truncate -s $size "upper/a b/disk"
	same "a file of an overlay and its upper one" "$T/merged/a b/disk" "$T/upper/a b/disk"
	same "the other way round" "$T/upper/a b/disk" "$T/merged/a b/disk"
fi

done_testing
