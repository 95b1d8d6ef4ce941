#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tapdisk is killed at random moments of a migration and opened again, KILLS times
# a strategy. Its guest goes on, misses nothing that it was told is written, and
# the migration ends as if nothing had been.
. "$(dirname "$0")/lib.sh"
needs jq

KILLS=${KILLS:-10}
size=$((16 << 20))
RANDOM=$((SEED & 32767))

pause_for() { # MILLISECONDS: at most so long
	local ms=$((RANDOM % $1))
	sleep "$(printf '0.%03d' $ms)"
}

begin() { # STRATEGY RATE [HEAD-FILTER]
	fresh_disk $size
	truncate -s "$size" dst
	survivor_start 24 500
	ok "$1 starts" start_by_hand "aio:$T/dst" "$1" "$2" "${3:-.}"
	journal=$T/$minor.migrate
}

kill_often() { # TIMES: at any time; now and then before it was all there again
	local i before
	for ((i = 0; i < $1; i++)); do
		before=$(ups)
		killed
		reopen
		[ $((RANDOM % 4)) = 0 ] || goes_on "$before" || return 1
		pause_for 250
	done
	! gone "$guest"
}

ended() {
	[[ $(disk_args) != migrate:* ]]
}

for strategy in lr slr aio mirror dbt; do
	begin $strategy 16
	ok "$strategy: is killed $KILLS times" kill_often "$KILLS"
	wait_for state_is copying synchronised
	mig set --rate 0
	ok "$strategy synchronises" wait_for all_copied
	ok "$strategy completes" mig complete --wait
	ok "$strategy: the disk runs on the destination" wait_for runs_on "aio:$T/dst"
	ok "$strategy: the guest missed nothing, and the destination holds the disk" survivor_end dst
done

# Killed while it is cancelled, again and again, until it is.
for strategy in lr slr aio; do
	begin $strategy 16
	pause_for 999
	cancels=0
	for ((i = 0; i < KILLS / 2; i++)); do
		mig cancel >/dev/null 2>&1 && cancels=$((cancels + 1))
		mig set --rate 16 >/dev/null 2>&1
		pause_for 200
		before=$(ups)
		killed
		reopen
		goes_on "$before" || break
		ended && break
	done
	ok "$strategy: was cancelled" [ $cancels -gt 0 ]
	ended || mig cancel >/dev/null 2>&1
	ended || mig set --rate 0 >/dev/null 2>&1
	ok "$strategy: goes back to the source" wait_for runs_on "aio:$T/src"
	ok "$strategy: the guest missed nothing, and the source holds the disk" survivor_end src
done

# Killed while it completes; the journal tells whether it has.
for strategy in lr mirror; do
	begin $strategy 0
	ok "$strategy synchronises" wait_for all_copied
	for ((i = 0; i < KILLS / 2; i++)); do
		mig complete >/dev/null 2>&1
		pause_for 40
		before=$(ups)
		killed
		reopen
		goes_on "$before" || break
		wait_for ended && [ "$(disk_args)" = "aio:$T/dst" ] && break
	done
	ended || mig complete --wait
	ok "$strategy: the disk runs on the destination" wait_for runs_on "aio:$T/dst"
	before=$(ups)
	killed
	reopen
	ok "$strategy: a completed journal serves the destination" wait_for runs_on "aio:$T/dst"
	ok "$strategy: and the guest goes on" goes_on "$before"
	ok "$strategy: the guest missed nothing, and the destination holds the disk" survivor_end dst
done

# A journal that is written anew all the time.
begin slr 4 '.log_bytes = 4096'
ok "with checkpoints: is killed $KILLS times" kill_often "$KILLS"
wait_for state_is copying synchronised
mig set --rate 0
ok "with checkpoints: synchronises" wait_for all_copied
ok "with checkpoints: completes" mig complete --wait
ok "with checkpoints: the guest missed nothing" survivor_end dst

done_testing
