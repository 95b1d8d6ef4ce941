#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A tapdisk is not what its starter was: limits, descriptors, ignored signals and niceness of
# a script that attaches a disk do not live on in it, and no stray signal ends it.
. "$(dirname "$0")/lib.sh"
needs qemu-io

io() { # COMMAND of qemu-io
	timeout "$HANG" qemu-io -f raw -t none -c "$1" "$uri"
}

limit() { # NAME: the soft one
	sed -n "s/^$1  *\([^ ]*\).*/\1/p" "/proc/$pid/limits"
}

open_file() { # FILE: the tapdisk has it open
	find "/proc/$pid/fd" -lname "$1" | grep -q .
}

# --- limits, priority, umask -----------------------------------------------------------

truncate -s 64M disk
start_limited() {
	ulimit -S -f 16384 # KiB
	ulimit -S -t 3600
	ulimit -S -n 256
	umask 0
	renice -n 5 $BASHPID
	echo 300 >/proc/self/oom_score_adj
	trap '' HUP TERM CHLD USR1
	exec "$BUILD/tap-ctl" create -a "aio:$T/disk"
}
(start_limited) >said 2>&1
minor=$(sed -n 's/.*tapdisk-//p' said)
pid=$(tap list -m "$minor" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
started+=("$pid")
uri="nbd+unix:///?socket=$BLKTAP_RUN_DIR/nbd$pid.$minor"
hard() {
	sed -n "s/^$1  *[^ ]*  *\([^ ]*\).*/\1/p" "/proc/$pid/limits"
}
for name in "Max file size" "Max cpu time"; do
	is "$(limit "$name")" "$(hard "$name")" "$name is as high as is allowed"
done
above "$(limit "Max open files")" 256 "more files may be open"
is "$(sed -n 's/^Umask:[[:space:]]*//p' "/proc/$pid/status")" 0077 "what it makes is its own"
is "$(readlink "/proc/$pid/cwd")" / "it keeps no directory in use"
if [ "$(id -u)" = 0 ]; then
	is "$(cut -d' ' -f19 <"/proc/$pid/stat")" 0 "it is not nice"
	is "$(cat "/proc/$pid/oom_score_adj")" 0 "it is not the first to be killed where memory is short"
fi
ok "it writes behind the starter's limit" io "write 40M 64k"

# --- signals -------------------------------------------------------------------------------

for signal in USR2 ALRM VTALRM PROF IO XCPU XFSZ STKFLT PIPE USR1 RTMIN RTMAX; do
	kill -s $signal "$pid"
done
ok "no stray signal ends it" io "read 0 64k"
ok "TERM does, also where the starter ignored it" kill -TERM "$pid"
ok "in order" wait_for gone "$pid"
is "$(find "$BLKTAP_RUN_DIR" -type s)" "" "and no socket is left"
for signal in QUIT PWR HUP; do
	start_disk "aio:$T/disk"
	kill -s $signal "$pid"
	ok "$signal ends it" wait_for gone "$pid"
	is "$(find "$BLKTAP_RUN_DIR" -type s)" "" "$signal: in order, no socket is left"
done

# --- descriptors ---------------------------------------------------------------------------

exec 7>lock
flock 7
start_disk "aio:$T/disk"
exec 7>&-
ok "a lock of the starter's is free when that gives it up" flock -n lock true
stop_disk
made=$(timeout "$HANG" "$BUILD/tap-ctl" create -a "aio:$T/disk" 3>&1)
like "$made" 'tapdisk-[0-9]+$' "a pipe of the starter's ends with that"
minor=${made##*tapdisk-}
pid=$(tap list -m "$minor" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
started+=("$pid")
stop_disk

# By hand, in the foreground, with files open and none of the first three.
(exec 6>>other; exec "$TAPDISK" -f <&- >&- 2>&-) &
pid=$!
started+=("$pid")
ok "it starts without stdin, stdout and stderr" wait_for test -S "$BLKTAP_RUN_DIR/ctl$pid"
refuses "with no file of the starter's" "" open_file "$T/other"
like "$(readlink "/proc/$pid/fd/2")" "^/dev/null$" "in the place of stderr is nothing"
kill "$pid"
wait "$pid"

# --- tap-ctl itself ---------------------------------------------------------------------------

said=$( (
	ulimit -f 0
	tap create -a "aio:$T/disk"
) 2>&1 )
is $(($? < 128)) 1 "no signal ends a tap-ctl that may write no file"
mapfile -t left < <(tap list --field pid) # if it could start one all the same
started+=("${left[@]}")
done_testing
