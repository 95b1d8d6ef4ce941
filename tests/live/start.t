#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A start is done as a whole, or not at all: whoever else wants the disk meanwhile, whoever has
# asked for it and is gone, and whatever an earlier one has left.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io python3

size=$((4 << 20))

left() { # what a start has made
	find . -name 'dst*' -o -name 'live-*' -o -name 'migrate-*' | sort | xargs -n1 basename 2>/dev/null | xargs
}
state() {
	tap list -p "$pid" -m "$minor" | sed -n 's/.*state=\([^ ]*\).*/\1/p'
}
busy() { # a request is under way
	[ "$(tap stats -p "$pid" -m "$minor" | jq .reqs_outstanding)" -gt 0 ]
}
runs() { # on its source, as if nothing had been
	[ "$(state)" = 0 ] && runs_on "$source" && [ -z "$(left)" ] &&
		timeout 60 qemu-io -f raw "$uri" -c 'read -P 0x5a 0 4k' | grep -q '^read'
}

# Its flushes, or the guest's requests, can be kept from ending.
new_disk() {
	rm -rf src dst* state/*
	head -c $size /dev/zero | tr '\0' '\132' >src
	faults
	source=fault:$T/faults:$T/src
	start_disk "$source"
}
slow_start() { # RULE [option...]: in the background, which does not get on
	faults "$1"
	"$BUILD/tap-ctl" migrate start -p "$pid" -m "$minor" --to "aio:$T/dst" --create \
		--strategy mirror "${@:2}" >started 2>&1 &
	starter=$!
	started+=("$starter")
}
marked() { # the source's journal is there: the start waits for the rest
	[ -e dst.migrate ] && [ -e dst ]
}

# --- others want the disk -----------------------------------------------------------------

new_disk
slow_start "stall flush"
ok "a start waits for a flush" wait_for marked
is "$(state)" 0 "the disk runs"
refuses "another start is refused at once" "being started by somebody else|already|being opened" \
	mig start --to "aio:$T/other" --create
is "$(find . -name 'other*')" "" "and has touched nothing"
refuses "a pause is refused" "try again" tap pause -p "$pid" -m "$minor"
is "$(state)" 0 "the disk runs"
faults
wait $starter
is $? 0 "then the start goes on"
ok "and has begun" state_is synchronised copying
mig cancel --wait >/dev/null
stop_disk

for i in 1 2 3; do
	new_disk
	mig start --to "aio:$T/dst1" --create --strategy mirror >first 2>&1 &
	first=$!
	mig start --to "aio:$T/dst2" --create --strategy mirror >second 2>&1
	second=$?
	wait $first
	first=$?
	ok "two at once, $i: one is begun" [ $((first == 0)) != $((second == 0)) ]
	is "$(find . -name 'dst?' | wc -l)" 1 "two at once, $i: nothing is left of the other"
	[ $first = 0 ] && winner=dst1 || winner=dst2
	ok "two at once, $i: and the disk runs under it" runs_on "migrate:$T/$winner.migrate"
	is "$(state)" 0 "two at once, $i: which is not paused"
	mig cancel --wait >/dev/null
	stop_disk
done

# A paused disk stays its owner's.
new_disk
tap pause -p "$pid" -m "$minor"
refuses "a paused disk" "is it paused" mig start --to "aio:$T/dst" --create
is "$(state) $(left)" "0x2a " "stays paused, and nothing is left"
tap unpause -p "$pid" -m "$minor"
stop_disk

# --- a destination that does not answer -----------------------------------------------------
#
# A lease on it keeps tapdisk from opening it until the lease's holder is gone.

leased() { # by the process that is started here
	python3 -c 'import fcntl, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], "r+")
fcntl.fcntl(file, 1024, fcntl.F_WRLCK)
print("leased", flush=True)
time.sleep(100)' "$1" >lease 2>&1 &
	holder=$!
	started+=("$holder")
	wait_for test -s lease
	grep -q '^leased' lease
}
is_opening() { # the lease is being broken, for the one who waits
	grep -q 'LEASE *BREAKING' /proc/locks
}

new_disk
truncate -s $size dst
if leased dst; then
	mig start --to "aio:$T/dst" --strategy mirror >said 2>&1 &
	starter=$!
	started+=("$starter")
	ok "a start waits for its destination" wait_for is_opening
	is "$(state)" 0 "the disk runs"
	refuses "another start is refused at once" "being started" mig start --to "aio:$T/other" --create
	ok "a pause is done at once" tap pause -p "$pid" -m "$minor"
	ok "and undone" tap unpause -p "$pid" -m "$minor"
	is "$(state)" 0 "the disk runs"
	kill "$holder"
	wait "$starter"
	is $? 125 "the start is not made any more"
	like "$(cat said)" "paused or closed meanwhile; the migration was not begun" "and says why"
	ok "it can be" mig start --to "aio:$T/dst" --strategy mirror
	mig cancel --wait >/dev/null
else
	say "no leases here: $(cat lease)"
fi
kill "$holder" 2>/dev/null
stop_disk

# --- the one who asked is gone --------------------------------------------------------------

for signal in KILL TERM HUP; do
	new_disk
	slow_start "stall flush"
	wait_for marked
	kill -$signal $starter
	wait $starter 2>/dev/null
	faults
	ok "after SIG$signal nothing is left, and the disk runs" wait_for runs
	ok "it can be started again" mig start --to "aio:$T/dst" --create --strategy mirror
	mig cancel --wait >/dev/null
	stop_disk
done

# Stopped is not gone: the disk runs all the same.
new_disk
slow_start "stall flush"
wait_for marked
kill -STOP $starter
faults
ok "a starter that is stopped holds nothing up" wait_for runs_on "migrate:$T/dst.migrate"
is "$(state)" 0 "the disk runs"
kill -CONT $starter
wait $starter
is $? 0 "and it hears of it in the end"
mig cancel --wait >/dev/null
stop_disk

# --- a request that does not end -------------------------------------------------------------

new_disk
faults "stall write from 8 count 8"
timeout 100 qemu-io -f raw "$uri" -c 'write 4k 4k' >/dev/null 2>&1 &
writer=$!
started+=("$writer")
wait_for busy
refuses "a request that does not end" "not answered.*The disk runs on $source as before" \
	mig start --to "aio:$T/dst" --create
is "$(left)" "" "nothing is left"
is "$(state)" 0 "the disk runs"
faults
wait $writer
ok "when it has ended" mig start --to "aio:$T/dst" --create --strategy mirror
mig cancel --wait >/dev/null
stop_disk

# --- a trial ---------------------------------------------------------------------------------

new_disk
like "$(mig start --to "aio:$T/dst" --create --dry-run)" "can be started; nothing was" "a trial says that it can be"
ok "and leaves nothing" runs
for case in "aio:$T/src:the same" "aio:$T/none/dst:No such file" "aio:$T/none:--create makes it"; do
	said=$(mig start --to "${case%:*}" --dry-run 2>&1)
	status=$?
	really=$(mig start --to "${case%:*}" 2>&1)
	is "$? $really" "$status $said" "a trial says the same as the start: ${case##*:}"
	above $status 0 "which is refused"
done
ok "the disk runs" runs
stop_disk

# --- what a start has left whose tapdisk was killed --------------------------------------------

leave() { # by hand: a journal that has not begun, and the destination that was made with it
	local from to
	truncate -s $size dst
	from=$(tap migrate mark --json src | jq .identity) to=$(tap migrate mark --json dst | jq .identity)
	new_journal "$T/dst.migrate" "aio:$T/src" "aio:$T/dst" lr 0 \
		".source_identity = $from | .destination_identity = $to | .destination_is_zero = true"
}

rm -rf src dst* state/*
head -c $size /dev/urandom >src
start_disk "aio:$T/src"
leave
ok "what is left of a start is not in the way" mig start --to "aio:$T/dst" --create --wait
ok "and the disk is moved" cmp src dst
stop_disk
rm -f dst*
unmark src
start_disk "aio:$T/src"
leave
rm dst
echo mine >dst
refuses "another file of that name is" "File exists" mig start --to "aio:$T/dst" --create
is "$(cat dst)" mine "and stays"
truncate -s $size dst
leave 2>/dev/null
ok "a destination that was there: neither" mig start --to "aio:$T/dst" --wait
stop_disk
rm -f dst*
unmark src
start_disk "aio:$T/src"
leave
exec 9<>dst.migrate # the lock is the open file's, as tapdisk's are
ok "a journal is locked" python3 -c 'import fcntl, struct
fcntl.fcntl(9, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))'
refuses "one that somebody has open is" "in use by" mig start --to "aio:$T/dst" --create
exec 9>&-
stop_disk
done_testing
