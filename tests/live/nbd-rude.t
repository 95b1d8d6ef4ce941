#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Clients that ask for what cannot be, talk garbage, stop in the middle of a
# word, or die: they are told so or cut off, and nobody else notices.
. "$(dirname "$0")/lib.sh"
needs fio nbdcopy

size=$((64 << 20))
head -c $size /dev/urandom >disk
cp disk pristine
start_disk "aio:$T/disk"
socket=$BLKTAP_RUN_DIR/nbd$pid.$minor
client=$BUILD/tests/live/nbd-client

disk_is_whole() { # another client sees all of it
	nbdcopy "$uri" copy && cmp pristine copy
}

rude() { # what it does and waits: half or flood. Sets rude
	rm -f "$T/said.$1"
	"$client" "$1" "$socket" >"$T/said.$1" &
	rude=$!
	started+=("$rude")
	wait_for test -s "$T/said.$1"
}

leave() { # PID: it is killed; fails if it was gone already
	kill -KILL "$1" || return 1
	wait "$1" 2>/dev/null
	return 0
}

# A disk of zeroes at its second block: what the wrong requests next to it and
# the right ones on it write.
truncate -s 4096 zeroes
dd if=zeroes of=pristine bs=4096 seek=1 conv=notrunc status=none
is "$("$client" errors "$socket" 2>&1)" "aligned read: fine
unaligned read: EINVAL
short read: EINVAL
empty read: EINVAL
read past the end: EINVAL
oversized read: EOVERFLOW
aligned write: fine
unaligned write: EINVAL
write past the end: ENOSPC
write far past the end: ENOSPC
oversized write: EOVERFLOW
write with an unknown flag: EINVAL
aligned zero: fine
unaligned zero: EINVAL
fast zero: EINVAL
zero past the end: ENOSPC
unaligned trim: EINVAL
trim past the end: EINVAL
flush: fine
cache: EINVAL
block status: fine
unaligned block status: EINVAL" "what is wrong is answered with its error, and the stream stays in step"
ok "nothing that was refused has been written" disk_is_whole

ok "a client sends half a command and stops" rude half
ok "others work meanwhile" disk_is_whole
leave "$rude"
ok "and after it was killed" disk_is_whole

ok "a client asks and asks and never listens; the server stops listening to it" rude flood
ok "others work meanwhile" disk_is_whole
leave "$rude"
ok "and after it was killed with requests in flight" disk_is_whole

ok "who talks garbage is cut off" "$client" garbage "$socket" "$SEED"
ok "others work after it" disk_is_whole

# A paused disk holds what it is asked; the client may be gone when it goes on.
ok "another client stops in half a command" rude half
halted=$rude
ok "the disk pauses with clients connected" tap pause -p "$pid" -m "$minor"
fio --ioengine=nbd --uri="$uri" --rw=randread --bs=4k --iodepth=32 --size=$size \
	--name=waits --output=waits.log &
waiting=$!
started+=("$waiting")
ok "a client asks for all that is held for it" rude flood
leave "$rude"
ok "the disk goes on" tap unpause -p "$pid" -m "$minor"
ok "a client that waited is served" wait "$waiting"
ok "one that had stopped is still connected" leave "$halted"
ok "and so are others" disk_is_whole

ok "a client has requests in flight" rude flood
ok "and the disk closes nevertheless" stop_disk
done_testing
