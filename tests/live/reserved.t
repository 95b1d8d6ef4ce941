#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What somebody has reserved for a disk stays reserved, and what is sparse stays
# sparse: the copy's zeroes change the allocation of no image that was there
# before the migration, neither on the way to the destination nor back.
. "$(dirname "$0")/lib.sh"
needs jq fallocate

size=$((32 << 20))

kib() { # FILE: what it has allocated
	sync "$1"
	du -k "$1" | cut -f1
}

data_here() { # FILE: data at its beginning and in its middle, holes elsewhere
	rm -f "$1"
	truncate -s $size "$1"
	head -c 1M /dev/urandom | dd of="$1" conv=notrunc status=none
	head -c 1M /dev/urandom | dd of="$1" conv=notrunc bs=1M seek=15 status=none
}

begin() { # start option...
	data_here src
	cp src pristine
	start_disk "aio:$T/src"
	ok "starts: $*" mig start --to "aio:$T/dst" "$@"
}

at_least() { # KIB FILE
	[ "$(kib "$2")" -ge "$1" ]
}

at_most() { # KIB FILE
	[ "$(kib "$2")" -le "$1" ]
}

for strategy in lr slr aio mirror dbt; do
	fallocate -l $size dst
	begin --strategy $strategy --complete auto --wait
	stop_disk
	ok "$strategy: what was reserved stays" at_least $((size >> 10)) dst
	ok "$strategy: and is the disk" cmp pristine dst
	rm -f dst dst.migrate
done

head -c $size /dev/urandom >dst # reserved, and full of something else
begin --complete auto --wait
stop_disk
ok "a destination that was full keeps its space" at_least $((size >> 10)) dst
ok "and is the disk" cmp pristine dst
rm -f dst dst.migrate

truncate -s $size dst
begin --complete auto --wait
stop_disk
ok "one that was sparse is sparse" at_most 3072 dst
ok "and is the disk" cmp pristine dst
rm -f dst dst.migrate

data_here dst # data where the disk has some, and where it has none
dd if=/dev/urandom of=dst conv=notrunc bs=1M seek=20 count=2 status=none
before=$(kib dst)
begin --complete auto --wait
stop_disk
ok "one with some data has no more than before" at_most $((before + 256)) dst
ok "and is the disk" cmp pristine dst
rm -f dst dst.migrate

begin --create --complete auto --wait
stop_disk
ok "what --create makes is sparse" at_most 3072 dst
ok "and is the disk" cmp pristine dst
rm -f dst dst.migrate

# The way back: what the guest has zeroed meanwhile is written to a source whose space is reserved.
rm -f src
fallocate -l $size src
start_disk "aio:$T/src"
ok "starts from a source that is reserved" mig start --to "aio:$T/dst" --create --strategy lr --complete manual
wait_for state_is synchronised
qemu-io -f raw -c "write -P 7 8M 4M" -c "write -P 0 20M 4M" -c flush "$uri" >/dev/null
ok "cancels" mig cancel --wait
stop_disk
ok "what was reserved stays" at_least $((size >> 10)) src
done_testing
