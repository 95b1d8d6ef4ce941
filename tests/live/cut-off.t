#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# An image is cut off while it is in use. What lay behind is lost, and neither a
# migration, forward or back, nor an NBD client is told that it had been zeroes.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io qemu-img nbdinfo

mib=$((1 << 20))
size=$((16 * mib))

# A disk with data at 0, 6 and 12 MiB, and holes between.
sparse_disk() {
	rm -f src dst ./*.migrate
	truncate -s $size src
	for at in 0 6 12; do
		dd if=/dev/urandom of=src bs=1M count=2 seek=$at conv=notrunc status=none
	done
	cp --sparse=always src pristine
	start_disk "aio:$T/src"
}

# A migration that has not copied anything, and does not until it is resumed.
begin() { # STRATEGY created|existing
	sparse_disk
	if [ "$2" = created ]; then
		truncate -s $size dst
		ok "$1: starts" start_by_hand "aio:$T/dst" "$1" 0 '.destination_is_zero = true' '.paused = true'
	else
		head -c $size /dev/urandom >dst
		ok "$1: starts" start_by_hand "aio:$T/dst" "$1" 0 . '.paused = true'
	fi
}

guest() { # QEMU-IO COMMAND
	timeout "$HANG" qemu-io -f raw "$uri" -c "$1"
}

tells_of_holes() {
	nbdinfo --map "$uri" | grep -q hole,zero
}

paused_by() { # REASON
	wait_for holds ".state == \"paused\" and .reason == \"$1\" and (.error | length) > 0"
}

# Neither data nor zeroes: the guest gets an error for what is lost.
is_lost() { # WHERE
	refuses "$1: the guest reads an error behind the end" "read failed: Input/output error" guest "read 12M 1M"
}

for case in "lr, created" "lr, existing" "slr, created" "aio, existing" "mirror, created" "dbt, existing"; do
	begin "${case%,*}" "${case#* }"
	truncate -s 8M src
	mig resume >/dev/null
	ok "$case: a source that is cut off stops the copy" paused_by source-errors
	refuses "$case: it does not complete" "source-errors" mig complete --wait
	is_lost "$case"
	ok "$case: the guest reads what is left" guest "read 6M 2M"
	ok "$case: what is left can be written" guest "write -P 9 1M 64k"
	ok "$case: cancel leads back, for nothing is only on the destination" mig cancel --wait
	is_lost "$case, cancelled"
	ok "$case: the guest reads what it wrote" guest "read -P 9 1M 64k"
	stop_disk
	is "$(stat -c %s src)" $((8 * mib)) "$case: nobody has made the source look whole again"
done

# The destination of a rollback is what the source lacks.
begin lr existing
mig resume >/dev/null
wait_for state_is synchronised
ok "rollback: the guest writes to the destination alone" guest "write -P 7 0 16M"
truncate -s 8M dst
mig cancel >/dev/null
ok "rollback: a destination that is cut off stops it" wait_for holds \
	'.state == "rolling-back" and .reason == "destination-errors"'
is_lost "rollback"
ok "rollback: what is left is read" guest "read -P 7 0 8M"
kill -KILL "$pid"

# A side that nobody reads is found to be short before anything is said to be over.
for strategy in lr mirror; do
	begin $strategy created
	mig resume >/dev/null
	wait_for state_is synchronised
	truncate -s $((size - mib)) dst
	mig complete >/dev/null
	ok "$strategy: a destination that has lost a hole at its end does not complete" paused_by destination-errors
	ok "$strategy: the operator says go on" mig resume
	ok "$strategy: what both had is copied again, and the end is not there" paused_by destination-errors
	ok "$strategy: the guest goes on" guest "write 1M 64k"
	ok "$strategy: cancel leads back" mig cancel --wait
	ok "$strategy: the disk runs on the source" runs_on "aio:$T/src"
	stop_disk
done

# The source has lost what the mirrored destination has.
begin mirror created
mig resume >/dev/null
wait_for state_is synchronised
truncate -s 8M src
mig cancel >/dev/null
ok "mirror: a source that has lost what the destination has is no way back" wait_for holds \
	'.state == "rolling-back" and .reason == "source-errors"'
ok "mirror: the guest has all of its data" qemu-img compare -f raw -F raw pristine "$uri"
kill -KILL "$pid"

# The guest writes behind the end before anybody has looked, and so does the copier. Both
# would make the file longer, with zeroes in the place of what is lost.
sparse_disk
truncate -s 8M src
refuses "a write behind the end fails" "Input/output error" guest "write 15M 1M"
is_lost "after a write"
is "$(stat -c %s src)" $((8 * mib)) "and the file is as long as it was left"
stop_disk
begin slr created
truncate -s 2M dst
mig resume >/dev/null
ok "a destination that is cut off first of all stops the copy" paused_by destination-errors
is "$(stat -c %s dst)" $((2 * mib)) "and is not made longer by it"
ok "cancel leads back" mig cancel --wait
ok "the disk is as it was" qemu-img compare -f raw -F raw pristine "$uri"
stop_disk

# A pause closes images, and one that is smaller than its disk could not be opened again.
begin slr created
truncate -s 8M dst
refuses "a migration whose image was cut off is not paused" "has become smaller" tap pause -p "$pid" -m "$minor"
ok "the guest goes on" guest "read 12M 1M"
kill -KILL "$pid"

# Without any migration.
sparse_disk
ok "an NBD client is told of holes" tells_of_holes
truncate -s 8M src
refuses "a pause that could not come back is refused" "has become smaller" tap pause -p "$pid" -m "$minor"
refuses "an NBD client is not told of holes behind the end" "Input/output error" nbdinfo --map "$uri"
refuses "and makes no copy with zeroes in their place" "Input/output error" \
	qemu-img convert -f raw -O raw "$uri" backup
refuses "a write there fails" "Input/output error" guest "write 12M 1M"
is "$(stat -c %s src)" $((8 * mib)) "and does not make the file longer"
ok "the rest is served" guest "read 6M 2M"
done_testing
