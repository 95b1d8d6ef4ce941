#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The destination's storage goes for good, and the journal with it. The source has
# everything, so the guest goes on, and a cancel ends; what comes back of the journal later
# is not believed. What only the destination has is given up by --force alone.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io python3 mkfs.ext4
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root, to mount file systems"; exit; }
export TAPDISK=$BUILD/tests/tapdisk

at_exit() {
	umount -l "$T/far" 2>/dev/null
}

mark() { # IMAGE
	tap migrate mark "$1" --json | jq -r '.mark | if . then "\(.role) \(.name)" else "none" end'
}

far() { # a file system for the destination and its journal
	umount far 2>/dev/null
	truncate -s 256M fs
	mkfs.ext4 -q -F fs
	mkdir -p far
	mount -o loop fs far
}

goes() { # it answers everything with EIO from now on
	python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))' far # EXT4_IOC_SHUTDOWN
}

returns() {
	umount far && mount -o loop fs far
}

guest_writes() { # BYTE OFFSET
	qemu-io -f raw -c "write -P $1 $2 64k" "$uri"
}

guest_reads() { # BYTE OFFSET
	qemu-io -f raw -c "read -P $1 $2 64k" "$uri" | sed -n '/verification failed/q1'
}

begin() { # start-option...
	far || die "cannot mount a file system"
	rm -f src
	head -c 16M /dev/urandom >src
	start_disk "aio:$T/src"
	ok "$1 starts" mig start --to "aio:$T/far/dst" --create --complete manual --strategy "$@"
}

ends_by_cancel() { # STRATEGY
	ok "$1: cancels" mig cancel --wait
	ok "$1: the disk runs on the source" runs_on "aio:$T/src"
	ok "$1: the guest reads what it wrote" guest_reads 9 1M
	guest_writes 8 1M >/dev/null
	is "$(mark src)" none "$1: the source has no mark"
	stop_disk
	ok "$1: and can be opened" start_disk "aio:$T/src"
	ok "$1: and is the disk" guest_reads 8 1M
	stop_disk
}

# --- what is left is the source ---------------------------------------------------------

for strategy in mirror aio dbt; do
	begin $strategy --rate 4
	wait_for holds '.bytes.valid > 2097152'
	goes
	ok "$strategy: the guest writes what has been copied" guest_writes 9 1M
	ok "$strategy: and what has not" guest_writes 9 12M
	ok "$strategy: its migration can be asked" holds '.state != "unknown"'
	ends_by_cancel $strategy

	# The journal comes back, and knows nothing of the end.
	ok "$strategy: the storage is mended" returns
	ok "$strategy: the journal is there" [ -e far/dst.migrate ]
	refuses "$strategy: the destination" "" tap create -a "aio:$T/far/dst"
	ok "$strategy: the journal opens" start_disk "migrate:$T/far/dst.migrate"
	ok "$strategy: and serves the source" wait_for runs_on "aio:$T/src"
	ok "$strategy: as the guest left it" guest_reads 8 1M
	stop_disk
done

begin lr --rate 4
wait_for holds '.bytes.valid > 2097152'
mig pause
goes
ok "lr: the guest has written nothing: cancels" mig cancel --wait
ok "lr: the disk runs on the source" runs_on "aio:$T/src"
stop_disk

# A tapdisk that is killed while one disk alone serves, and a pause.
begin mirror --wait
goes
ok "the guest writes" guest_writes 9 1M
kill -KILL "$pid"
wait_for gone "$pid"
tap free -m "$minor"
ok "killed: the source can be opened, though its journal cannot" start_disk "aio:$T/src"
ok "and is the disk" guest_reads 9 1M
guest_writes 8 1M >/dev/null
stop_disk
returns
ok "the journal that came back opens" start_disk "migrate:$T/far/dst.migrate"
ok "and serves the source" wait_for runs_on "aio:$T/src"
ok "as the guest left it" guest_reads 8 1M
stop_disk

# A destination that does not answer, rather than fail: nothing of it is needed.
for strategy in mirror aio dbt slr; do
	rm -f src dst
	head -c 16M /dev/urandom >src
	truncate -s 16M dst
	faults
	start_disk "aio:$T/src"
	ok "$strategy starts" start_by_hand "fault:$T/faults:$T/dst" $strategy 1
	faults "stall any"
	ok "$strategy: the destination has stalled" wait_for holds '.reason == "stalled"'
	like "$(mig cancel --wait)" "cancelled: the disk runs on aio:$T/src" "$strategy: cancels all the same"
	ok "$strategy: the disk runs on the source" runs_on "aio:$T/src"
	ok "$strategy: the guest goes on" guest_writes 5 12M
	faults
	stop_disk
	rm -f ./*.migrate
done

# --- what only the destination has -----------------------------------------------------------

rm -f src dst
head -c 16M /dev/urandom >src
start_disk "aio:$T/src"
truncate -s 16M dst
faults
ok "lr starts" start_by_hand "fault:$T/faults:$T/dst" lr 1
ok "lr: the guest writes to the destination" guest_writes 9 12M
mig pause
faults "fail any EIO"
refuses "cancel cannot take back what the destination has" \
	"rolling-back: destination-errors .*give up the 64.0 KiB that the destination alone has.*cancel --force" \
	mig cancel --wait
refuses "again" "that is so already" mig cancel
ok "the disk is under migration still" holds '.state == "rolling-back"'
like "$(mig cancel --force --wait 2>&1)" "cancelled: the disk runs on aio:$T/src" "--force gives it up"
ok "the disk runs on the source" runs_on "aio:$T/src"
ok "which goes on" guest_writes 5 12M
ok "the destination's file is left" [ -s dst ]
stop_disk
done_testing
