#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# To and from a file system that is frozen: a migration is taken back while its destination
# is, one that starts there does not keep its disk from being served, and one that starts from
# there does not keep its disk from being closed (loop-frozen.t has what goes on beside it).
. "$(dirname "$0")/lib.sh"
needs jq qemu-io mkfs.ext4 fsfreeze
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root, to mount a file system"; exit; }

size=$((16 << 20))

at_exit() {
	fsfreeze -u "$T/far" 2>/dev/null
	umount -l "$T/far"
	[ "$failures" = 0 ] || say "to repeat: SEED=$SEED $0"
}

io() { # URI COMMAND...
	local commands=() command to=$1
	shift
	for command; do commands+=(-c "$command"); done
	timeout "$HANG" qemu-io -f raw -t none "$to" "${commands[@]}" >"$T/io" 2>&1 && ! grep -q 'failed\|error' "$T/io"
}

write_in_background() { # COMMAND
	io "$uri" "$1" &
	writer=$!
	started+=("$writer")
}

# In the same tapdisk; sets other, where it is.
second_disk() { # FILE
	local marker
	marker=$(tap allocate)
	tap attach -p "$pid" -m "${marker##*-}" && tap open -p "$pid" -m "${marker##*-}" -a "aio:$1"
	other="nbd+unix:///?socket=$BLKTAP_RUN_DIR/nbd$pid.${marker##*-}"
}

new_disks() {
	rm -rf src far/* ./*.migrate
	head -c $size /dev/urandom >src
	cp src pristine
	start_disk "aio:$T/src"
	head -c 1M /dev/urandom >second
	second_disk "$T/second"
}

sleeps_in_the_kernel() { # a thread of the tapdisk does
	grep -qs '^State:[[:space:]]*D' /proc/"$pid"/task/*/status
}

ended() { # all disks with their tapdisk
	kill -TERM "$pid" && wait_for gone "$pid"
}

mkdir far
truncate -s 128M fs
mkfs.ext4 -q -F fs
mount -o loop fs far || die "cannot mount a file system"

new_disks
ok "a mirrored migration starts" mig start --to "aio:$T/far/dst" --create --strategy mirror --rate 1 --complete manual
wait_for holds '.bytes.copied > 2097152'
ok "the destination's file system is frozen" fsfreeze -f far
write_in_background 'write -P 7 0 1M'
ok "the status says that the destination does not answer" wait_for holds '.reason == "stalled"'
ok "the guest's write goes on" wait $writer
ok "what only the source has is read" io "$uri" 'read 14M 64k'
ok "and the second disk" io "$other" 'read 0 1M'
ok "the way back is free" mig cancel --wait
is "$(disk_args)" "aio:$T/src" "the disk runs on its source"
ok "which has all" io "$uri" 'read -P 7 0 1M'
ok "thawed" fsfreeze -u far
ended

new_disks
truncate -s $size far/dst
ok "the file system of what is to be the destination is frozen" fsfreeze -f far
timeout "$HANG" "$BUILD/tap-ctl" migrate start -p "$pid" -m "$minor" --to "aio:$T/far/dst" --strategy mirror \
	--journal "$T/journal" >said 2>&1 &
starter=$!
started+=("$starter")
ok "a start waits for it" wait_for sleeps_in_the_kernel
ok "the disk is served" io "$uri" 'write -P 3 0 64k' 'read -P 3 0 64k'
ok "and the second one" io "$other" 'read 0 1M'
ok "thawed" fsfreeze -u far
ok "the start goes on" wait $starter
ok "and synchronises" wait_for state_is synchronised
ok "and completes" mig complete --wait
ok "with all of the disk" io "$uri" 'read -P 3 0 64k'
ended

# The marks are the first that is written to the source's file system.
start_from_frozen() {
	rm -rf src dst far/* ./*.migrate
	head -c "$size" /dev/urandom >far/src
	sync far/src
	start_disk "aio:$T/far/src"
	fsfreeze -f far
	timeout "$HANG" "$BUILD/tap-ctl" migrate start -p "$pid" -m "$minor" --to "aio:$T/dst" --create >said 2>&1 &
	starter=$!
	started+=("$starter")
	wait_for sleeps_in_the_kernel
}

is_being_closed() {
	tap list -m "$minor" | grep -q 'state=0x40'
}

starts_again() {
	start_disk "aio:$T/far/src" && tap destroy -p "$pid" -m "$minor"
}

ok "the file system of a source is frozen, and a start waits for it" start_from_frozen
refuses "a pause meanwhile" "a migration of it is being started" tap pause -p "$pid" -m "$minor"
tap close -p "$pid" -m "$minor" >closed 2>&1 &
closer=$!
started+=("$closer")
ok "a close is heard" wait_for is_being_closed
ok "thawed" fsfreeze -u far
ok "the close ends" wait $closer
wait $starter
is $? 125 "the start is cancelled"
like "$(<said)" "paused or closed meanwhile; the migration was not begun" "and says so"
is "$(ls dst* 2>/dev/null)" "" "nothing of it is left"
ended
ok "the source is a whole disk" starts_again

ok "the file system is frozen once more" start_from_frozen
ok "a forced close is heard" tap close -f -p "$pid" -m "$minor"
ok "the minor is free, though nothing was thawed" wait_for tap destroy -p "$pid" -m "$minor"
ok "thawed" fsfreeze -u far
ok "the tapdisk ends" wait_for gone "$pid"
is "$(ls dst* 2>/dev/null)" "" "nothing of the start is left"
ok "the source is a whole disk" starts_again

done_testing
