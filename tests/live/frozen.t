#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A file system that is frozen keeps calls from returning, also those that only submit a
# request: that stops the disks that need it, and nothing else of their tapdisk.
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

for strategy in mirror slr; do
	new_disks
	ok "$strategy: starts" mig start --to "aio:$T/far/dst" --create --strategy $strategy --rate 1 --complete manual
	wait_for holds '.bytes.copied > 2097152'
	ok "$strategy: the destination's file system is frozen" fsfreeze -f far
	write_in_background 'write -P 7 0 1M'
	ok "$strategy: a second disk is read" io "$other" 'read 0 1M'
	ok "$strategy: what only the source has is read" io "$uri" 'read 15M 64k'
	ok "$strategy: the status says that the destination does not answer" wait_for holds '.reason == "stalled"'
	ok "$strategy: what only the source has is read then" io "$uri" 'read 14M 64k'
	ok "$strategy: and the second disk" io "$other" 'read 0 1M'
	if [ $strategy = mirror ]; then
		ok "$strategy: the guest's write goes on" wait $writer
		ok "$strategy: the way back is free" mig cancel --wait
		is "$(disk_args)" "aio:$T/src" "$strategy: the disk runs on its source"
		ok "$strategy: which has all" io "$uri" 'read -P 7 0 1M'
		ok "$strategy: thawed" fsfreeze -u far
	else
		ok "$strategy: thawed" fsfreeze -u far
		ok "$strategy: the guest's write goes on then" wait $writer
		mig set --rate 0
		ok "$strategy: and so does the migration" wait_for state_is synchronised
		ok "$strategy: which completes" mig complete --wait
		ok "$strategy: the destination has all" io "$uri" 'read -P 7 0 1M'
	fi
	ended
done

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

rm -f far/*
cp second far/disk
start_disk "aio:$T/far/disk"
second_disk "$T/second"
ok "a disk whose file system is frozen" fsfreeze -f far
write_in_background 'write -P 5 0 64k'
ok "does not keep another from being read" io "$other" 'read 0 1M'
ok "nor its tapdisk from answering" tap stats -p "$pid" -m "$minor"
ok "thawed" fsfreeze -u far
ok "it goes on" wait $writer
ok "and has what was written" io "$uri" 'read -P 5 0 64k'
ended
done_testing
