#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A killed tapdisk's newest changes are in its run directory. Whoever opens the journal
# next finds them, with another run directory too; where they are gone, the journal is
# not opened as if nothing had been.
. "$(dirname "$0")/lib.sh"
needs jq setfattr

size=$((16 << 20))
mkdir run2 run3

begin() { # STRATEGY
	fresh_disk $size
	truncate -s $size dst
	survivor_start 24 500
	ok "$1 starts" start_by_hand "aio:$T/dst" "$1" 4
	journal=$T/$minor.migrate
	wait_for holds '.bytes.valid > (2 * 1024 * 1024)'
}

inspect() { # JQ-FILTER
	tap migrate inspect --json "$journal" | jq -r "$1"
}

live_files() {
	find run run2 run3 -name 'live-*' | sort
}

# Until an opening has written the journal anew, it is the opening before that goes with it.
live_only_in() { # RUN-DIRECTORY
	[[ $(live_files) =~ ^$1/live-[-0-9a-f]*$ ]]
}

sums() {
	sha256sum src dst "$journal"
}

missing() { # NAME: what is so where the newest changes are gone
	local before
	before=$(sums)
	refuses "$1: it is not opened" "would be lost \(tap-ctl migrate accept-loss\).* not in $T/run/live-" tap create -a "migrate:$journal"
	is "$(inspect .live_changes)" missing "$1: inspect says so"
	like "$(tap migrate inspect "$journal")" "cannot be opened: .*accept-loss" "$1: and to people, with what to do"
	refuses "$1: check complains" "something is wrong" tap migrate check "$journal"
	is "$(sums)" "$before" "$1: nothing has been written"
}

# --- found where they are ------------------------------------------------------------

for strategy in slr lr mirror; do
	begin $strategy
	wait_for live_only_in run
	wait_for holds '.journal.unwritten > 0'
	before=$(ups)
	killed
	first=$BLKTAP_RUN_DIR
	export BLKTAP_RUN_DIR=$T/run2
	is "$(inspect .live_changes)" found "$strategy: inspect finds them from another run directory"
	reopen
	ok "$strategy: opened from there the guest goes on" goes_on "$before"
	wait_for state_is copying synchronised
	ok "$strategy: they are there now, and nowhere else" wait_for live_only_in run2
	before=$(ups)
	killed
	export BLKTAP_RUN_DIR=$first
	reopen
	ok "$strategy: and back" goes_on "$before"
	mig set --rate 0
	ok "$strategy: synchronises" wait_for all_copied
	ok "$strategy: completes" mig complete --wait
	wait_for runs_on "aio:$T/dst"
	ok "$strategy: the guest missed nothing" survivor_end dst
	is "$(live_files)" "" "$strategy: nothing is left"
done

# --- its tapdisk died between two renames: another opening's still have the name -----------

begin slr
wait_for live_only_in run
killed
live=$(live_files)
mv "$live" "$live.next"
head -c 4096 /dev/zero >"$live"
is "$(inspect .live_changes)" found "without their name they are found"
export BLKTAP_RUN_DIR=$T/run2
before=$(ups)
reopen
ok "opened from another run directory the guest goes on" goes_on "$before"
ok "both files are gone" wait_for live_only_in run2
mig set --rate 0
ok "it synchronises" wait_for all_copied
ok "and completes" mig complete --wait
wait_for runs_on "aio:$T/dst"
ok "the guest missed nothing" survivor_end dst
export BLKTAP_RUN_DIR=$first

# --- closed in order there is nothing to find -------------------------------------------

begin slr
ok "the VBD is paused" tap pause -p "$pid" -m "$minor"
is "$(live_files)" "" "paused, nothing is left in the run directory"
is "$(inspect .live_changes)" none "and the journal says that there is nothing"
refuses "no loss is to be accepted" "nothing is missing" tap migrate accept-loss "$journal"
ok "it goes on" tap unpause -p "$pid" -m "$minor"
refuses "nor of a journal that is in use" "in use by tapdisk $pid" tap migrate accept-loss "$journal"

# --- gone -----------------------------------------------------------------------------------

wait_for live_only_in run
killed
kill -KILL "$guest"
wait "$guest" 2>/dev/null
mkdir kept
mv run/live-* kept/
missing "removed"
BLKTAP_RUN_DIR=$T/run3 missing "with another run directory"
truncate -s 4096 kept/live-*
cp kept/live-* run/
missing "cut off"
rm run/live-*
ok "the loss is accepted" tap migrate accept-loss "$journal"
ok "then it opens" start_disk "migrate:$journal"
mig set --rate 0
ok "synchronises" wait_for state_is synchronised
ok "and completes" mig complete --wait
wait_for runs_on "aio:$T/dst"
stop_disk
is "$(live_files)" "" "nothing is left"

# --- of another start of the machine: as after a power failure -----------------------------

fresh_disk $size
stop_disk
truncate -s $size dst
journal=$T/other.migrate
new_journal "$journal" "aio:$T/src" "aio:$T/dst" slr 0 . \
	'.state = "copying" | .live = {path: "/nonexistent/live", boot: "another"}'
for side in source:src destination:dst; do # as its opening has left them
	setfattr -n user.tapmigrate -v "1 ${side%:*} $(inspect .migration.uuid) $journal" "${side#*:}"
done
is "$(inspect .live_changes)" gone "after another start of the machine nothing is looked for"
ok "it opens" start_disk "migrate:$journal"
ok "synchronises" wait_for state_is synchronised
ok "closes" tap destroy -p "$pid" -m "$minor"
for wrong in '"text"' '{"path": "relative", "boot": "x"}' '{"path": "/x"}'; do
	rm "$journal"
	new_journal "$journal" "aio:$T/src" "aio:$T/dst" slr 0 . ".state = \"copying\" | .live = $wrong"
	refuses "what cannot be where they are: $wrong" "not understood" tap create -a "migrate:$journal"
done
done_testing
