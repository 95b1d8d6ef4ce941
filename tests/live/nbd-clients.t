#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The clients that people use work on a disk as they do on any NBD server.
. "$(dirname "$0")/lib.sh"
needs fio jq nbdinfo nbdcopy qemu-img qemu-io

size=$((64 << 20))
truncate -s $size disk
start_disk "aio:$T/disk"
socket=$BLKTAP_RUN_DIR/nbd$pid.$minor

io() { # COMMAND...: one qemu-io, failing as its commands do
	local args=() command
	for command; do
		args+=(-c "$command")
	done
	qemu-io -f raw -t none "$uri" "${args[@]}"
}

extents() { # the disk's map, as TYPE LENGTH
	nbdinfo --map --json "$uri" | jq -r '.[] | "\(.type) \(.length)"'
}

is "$(stat -c %a "$socket")" 600 "the socket is its owner's only"

# --- nbdinfo
info=$(nbdinfo --json "$uri" | jq -c '.exports[0]')
is "$(jq -r '."export-size"' <<<"$info")" $size "nbdinfo tells the size"
for can in can_flush can_fua can_trim can_zero can_df can_multi_conn; do
	is "$(jq -r ".$can" <<<"$info")" true "nbdinfo tells $can"
done
is "$(jq -r .is_read_only <<<"$info")" false "nbdinfo tells that the disk can be written"
is "$(jq -r '"\(.block_size_minimum) \(.block_size_preferred) \(.block_size_maximum)"' <<<"$info")" \
	"512 4096 33554432" "nbdinfo tells the block sizes"
like "$(nbdinfo --list --json "$uri" | jq -r '.exports[]."export-name"')" '^tapdisk_client$' \
	"nbdinfo --list names the export"
is "$(nbdinfo --size "nbd+unix:///any%20name?socket=$socket")" $size "any export name is accepted"
is "$(extents | awk '{ n += $2 } END { print n }')" $size "nbdinfo --map covers the disk"

# --- nbdcopy
head -c $size /dev/urandom >random
ok "nbdcopy writes the disk" nbdcopy --flush random "$uri"
ok "nbdcopy reads the disk" nbdcopy "$uri" copy
ok "and both are what was written" cmp random copy
ok "the image holds it" cmp random disk
ok "nbdcopy over many connections" nbdcopy --connections=8 --requests=64 "$uri" copy2
ok "reads the same" cmp random copy2

# --- qemu-img
like "$(qemu-img info "$uri")" "virtual size: 64 MiB" "qemu-img info tells the size"
ok "qemu-img converts from the disk" qemu-img convert -f raw -O qcow2 "$uri" copy.qcow2
ok "qemu-img compares them equal" qemu-img compare -f raw -F qcow2 "$uri" copy.qcow2
qemu-img create -q -f qcow2 sparse.qcow2 $size
qemu-io -f qcow2 -c 'write -P 7 4M 1M' -c 'write -P 9 63M 1M' sparse.qcow2 >/dev/null
ok "qemu-img converts to the disk" qemu-img convert -n -f qcow2 -O raw sparse.qcow2 "$uri"
ok "and it reads as the source does" qemu-img compare -f qcow2 -F raw sparse.qcow2 "$uri"
is "$(extents | awk '$1 == 0 { n += $2 } END { print n }')" $((2 << 20)) \
	"what it zeroed are holes: two MiB are data"

# A client that asks for one extent gets one, and who asks for all of them no more than
# an answer has room for: 4096 of them here, of 4 KiB each, of which every other is a hole.
perl -e 'open(my $disk, "+<", "disk") or die; truncate($disk, 0); truncate($disk, 64 << 20);
	for (my $at = 0; $at < 16 << 20; $at += 8192) { seek($disk, $at, 0); print $disk "x" x 4096; }'
is "$(qemu-img map --output=json -f raw "$uri" | jq '[.[] | select(.data)] | length')" 2048 \
	"qemu-img map sees each extent of a disk of many"
is "$(extents | awk '$1 == 0 { n += $2 } END { print n }')" $((8 << 20)) "and so does nbdinfo --map"
ok "qemu-img convert copies it" qemu-img convert -f raw -O qcow2 "$uri" holes.qcow2
ok "as it is" qemu-img compare -f raw -F qcow2 "$uri" holes.qcow2

# --- qemu-io
ok "qemu-io reads what it writes" io 'write -P 0xa1 0 1M' 'read -P 0xa1 0 1M'
ok "qemu-io flushes" io 'write -P 0xa2 8M 64k' flush
ok "qemu-io writes through (FUA)" io 'write -f -P 0xa3 512 1024' 'read -P 0xa3 512 1024'
ok "qemu-io writes zeroes" io 'write -z 256k 256k' 'read -P 0 256k 256k' 'read -P 0xa1 512k 512k'
ok "and lets them be unmapped" io 'write -z -u 512k 256k' 'read -P 0 512k 256k'
ok "and writes them through" io 'write -z -f 512 512' 'read -P 0 512 512' 'read -P 0xa3 1024 512'
ok "qemu-io discards" io 'discard 8M 64k' 'read -P 0 8M 64k'
ok "qemu-io reads a single sector" io 'read -P 0xa1 2048 512'
ok "qemu-io has requests in flight" io 'aio_write -P 1 0 1M' 'aio_write -P 2 1M 1M' \
	'aio_write -z 2M 1M' aio_flush 'read -P 1 0 1M' 'read -P 2 1M 1M' 'read -P 0 2M 1M'

# --- fio
ok "fio verifies at depth 64" fio --ioengine=nbd --uri="$uri" --rw=randwrite --bsrange=512-128k \
	--blockalign=512 --size=$size --iodepth=64 --verify=crc32c --verify_fatal=1 \
	--randseed="$SEED" --verify_state_save=0 --name=guest
ok "fio verifies over two connections" fio --ioengine=nbd --uri="$uri" --rw=randwrite \
	--bs=4k --iodepth=64 --verify=crc32c --verify_fatal=1 --randseed="$SEED" \
	--verify_state_save=0 --name=low --size=$((size / 2)) --name=high --size=$((size / 2)) \
	--offset=$((size / 2))
stop_disk
refuses "the socket is gone with the disk" "" test -e "$socket"

# --- a read-only disk
ok "a disk can be created read-only" start_disk "aio:$T/disk" -R
is "$(nbdinfo --json "$uri" | jq -r '.exports[0].is_read_only')" true "which nbdinfo tells"
ok "it is read" nbdcopy "$uri" copy
ok "and is what was left" cmp disk copy
refuses "it is not written" "read.only|not permitted" nbdcopy random "$uri"
stop_disk
done_testing
