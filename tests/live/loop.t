#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Nothing waits in the loop. No call that may wait for storage is made by the thread that
# has the loop; each of them in turn is kept from returning, and the other disk of the process
# is served, and the tapdisk answers, before it returns.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io

size=$((4 << 20))
io() { # URI COMMAND... of qemu-io
	local disk=$1 command commands=()
	shift
	for command; do
		commands+=(-c "$command")
	done
	timeout 60 qemu-io -f raw -t none "${commands[@]}" "$disk"
}

open_other() { # the process gets a second disk
	head -c 1M /dev/urandom >other
	other=$(tap allocate | sed 's/.*tapdisk-//') || die "no minor"
	if ! tap attach -p "$pid" -m "$other" || ! tap open -p "$pid" -m "$other" -a "aio:$T/other"; then
		die "no second disk"
	fi
	other_uri="nbd+unix:///?socket=$BLKTAP_RUN_DIR/nbd$pid.$other"
}

# --- no such call is made with the loop ---------------------------------------------------

export TAPDISK_WAITS=$T/waits
none() { # NAME: by now
	local found
	found=$(sed 's/ .*//' waits 2>/dev/null | sort | uniq -c)
	is "$found" "" "$1"
	rm -f waits
}

for strategy in lr slr aio mirror dbt; do
	fresh_disk $size
	ok "$strategy: starts" mig start --to "aio:$T/dst" --create --strategy $strategy --complete manual --rate 2
	ok "$strategy: the guest writes" io "$uri" "write 0 1M" "discard 1M 1M" flush
	timeout 60 qemu-img map -f raw "$uri" >/dev/null
	tap stats -p "$pid" -m "$minor" >/dev/null
	kill -USR1 "$pid"
	none "$strategy: nothing waits in the loop of a migration"
	ok "$strategy: pauses" tap pause -p "$pid" -m "$minor"
	ok "$strategy: goes on" tap unpause -p "$pid" -m "$minor"
	none "$strategy: nor of a pause"
	ok "$strategy: is cancelled" mig cancel --wait
	wait_for runs_on "aio:$T/src"
	none "$strategy: nor of its cancelling"
	rm -f dst ./*.migrate
	ok "$strategy: starts again" mig start --to "aio:$T/dst" --create --strategy $strategy --complete manual --journal-after remove
	wait_for all_copied
	ok "$strategy: is completed" mig complete --wait
	wait_for runs_on "aio:$T/dst"
	none "$strategy: nor of its completing"
	ok "$strategy: ends" stop_disk
	none "$strategy: nor of its end"
done

fresh_disk $size
truncate -s $size dst
truncate -s $((size / 2)) small
tap migrate start -m "$minor" --to "aio:$T/small" >/dev/null 2>&1
tap migrate start -m "$minor" --to "aio:$T/src" >/dev/null 2>&1
tap migrate start -m "$minor" --to "aio:$T/dst" --journal "$T/no/such/directory" >/dev/null 2>&1
tap migrate start -m "$minor" --to "aio:$T/dst" --dry-run >/dev/null 2>&1
none "nothing waits of a start that is refused"
open_other
for name in src no-such-file "" run; do
	taken=$(tap allocate | sed 's/.*tapdisk-//')
	tap attach -p "$pid" -m "$taken"
	tap open -p "$pid" -m "$taken" -a "aio:$T/$name" >/dev/null 2>&1
	tap detach -p "$pid" -m "$taken"
	tap free -m "$taken"
done
none "nor of an opening that is"
ok "it starts" mig start --to "aio:$T/dst" --strategy slr --complete manual --rate 1
ok "its tapdisk is killed" kill -KILL "$pid"
wait_for gone "$pid"
tap free -m "$minor"
tap free -m "$other"
ok "the journal is opened" start_disk "migrate:$T/dst.migrate"
none "nor of an opening again"
kill -TERM "$pid"
ok "it is closed by a signal" wait_for gone "$pid"
none "nor of that"
tap free -m "$minor"
unset TAPDISK_WAITS

# --- each of them in turn does not return ---------------------------------------------------

# What is done to a disk while one call, somewhere in it, is slow.
life() { # what tap-ctl says is in the file life
	{
		mig start --to "aio:$T/dst" --create --strategy mirror --complete manual &&
			wait_for all_copied && io "$uri" "write 0 64k" flush &&
			mig complete --wait && wait_for runs_on "aio:$T/dst"
	} >life 2>&1
}

begin() {
	fresh_disk $size
	open_other
}

finish() {
	kill -KILL "$pid"
	wait_for gone "$pid"
	tap free -m "$minor"
	tap free -m "$other"
	rm -f slow slow.go
}

export TAPDISK_COUNTED_CALLS=$T/calls
begin
first=$(stat -c %s calls)
ok "a life without a slow call" life
last=$(stat -c %s calls)
finish
unset TAPDISK_COUNTED_CALLS
above "$last" $((first + 20)) "many calls may be slow"

# Some are the worker's that writes the journal, and are not made in the same order: a number
# that is not reached proves nothing, and does not count.
asked=0
for i in $(seq 12); do
	number=$((first + 1 + (i * (last - first) / 12 + RANDOM % 7) % (last - first)))
	TAPDISK_SLOW_CALL="$number $T/slow" begin
	if [ -e slow ]; then # in the opening of the other
		touch slow.go
		finish
		continue
	fi
	life &
	lives=$!
	wait_for test -e slow -o ! -d "/proc/$lives"
	if [ -e slow ]; then
		call=$(sed "s|$T/||" slow)
		ok "call $number, $call: the other disk is read" io "$other_uri" "read 0 64k"
		ok "call $number: and written, and flushed" io "$other_uri" "write 64k 64k" flush
		ok "call $number: the tapdisk answers" tap list -p "$pid"
		asked=$((asked + 1))
	fi
	touch slow.go
	wait $lives
	is $? 0 "call $number: the migration goes on" || say "$(cat life)"
	finish
done
above $asked 5 "most numbers were reached"
done_testing
