#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Disks of all shapes: a larger destination, odd chunks, sparse and enormous
# sources.
. "$(dirname "$0")/lib.sh"
needs fio jq nbdinfo qemu-img

move() { # NAME [start option...]
	ok "$1 moves" mig start --to "aio:$T/dst" --complete auto --wait "${@:2}"
	ok "$1: the disk runs on the destination" wait_for runs_on "aio:$T/dst"
}

kib_of() { # FILE: what it occupies
	du -k "$1" | cut -f 1
}

# A larger destination: the guest's disk keeps its size.
fresh_disk $((8 << 20))
truncate -s 12M dst
ok "onto a larger destination" mig start --to "aio:$T/dst" --complete manual
wait_for state_is synchronised
is "$(status .destination_larger_by)" $((4 << 20)) "status says by how much the destination is larger"
truncate -s 9M src # the source grows under a disk that was opened before
like "$(mig complete --wait)" "completed: .*destination is 4.0 MiB larger .*source has 1.0 MiB that .* not moved" \
	"it completes, and says what is not of one size"
is "$(nbdinfo --size "$uri")" $((8 << 20)) "the guest's disk is as large as before"
stop_disk
ok "the contents are the same" cmp -n $((8 << 20)) pristine dst

for chunk in 64K 1M 16M; do
	fresh_disk $(((21 << 20) + 512 * 3))
	move "with chunks of $chunk" --create --chunk $chunk
	stop_disk
	ok "the contents are the same" cmp pristine dst
done

# Sparse, onto an image that we make: stays sparse.
fresh_disk 4096
stop_disk
truncate -s 256M src
for at in 1 100 200 255; do
	dd if=/dev/urandom of=src bs=64k seek=$((at * 16)) count=10 conv=notrunc status=none
done
for strategy in lr slr aio mirror dbt; do
	rm -f dst dst.migrate
	unmark src
	start_disk "aio:$T/src"
	move "a sparse disk by $strategy" --create --strategy $strategy
	stop_disk
	ok "the contents are the same" qemu-img compare -q -f raw -F raw src dst
	above 16384 "$(kib_of dst)" "$strategy: the destination is as sparse ($(kib_of dst) KiB, source $(kib_of src))"
done

# Sparse, onto an image full of garbage: the holes are zeroes there too.
head -c 256M /dev/urandom >dst
rm -f dst.migrate
unmark src
start_disk "aio:$T/src"
move "a sparse disk onto garbage"
stop_disk
ok "the contents are the same" cmp src dst
rm -f src dst dst.migrate

# More than 2 TiB, and where 32 bits of sectors end.
if truncate -s 3T src 2>/dev/null; then
	for at in 0 $((2 << 20)) $(((2 << 20) - 1)) $(((3 << 20) - 1)); do # MiB
		dd if=/dev/urandom of=src bs=1M seek=$at count=1 conv=notrunc status=none
	done
	start_disk "aio:$T/src"
	move "a disk of 3 TiB" --create
	stop_disk
	is "$(stat -c %s dst)" $((3 << 40)) "3 TiB arrive"
	for at in 0 $((2 << 20)) $(((2 << 20) - 1)) $(((3 << 20) - 1)); do
		ok "with the data at $at MiB" cmp -i $((at << 20)) -n $((1 << 20)) src dst
	done
	above 16384 "$(kib_of dst)" "and without the holes"
else
	say "no files of 3 TiB here: not tried"
fi
done_testing
