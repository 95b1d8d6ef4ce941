#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tap-ctl migrate start, with a tapdisk that does as it is told, and with ones
# that do not, and know no more than blktap's: nothing is left behind, and no disk is left paused.
. "$(dirname "$0")/lib.sh"
needs jq

fake() { # NUMBER MODE ARGS
	"$BUILD/tests/live/fake-tapdisk" "$@" >"$T/fake$1" &
	started+=($!)
	fake=$!
	wait_for [ -s "$T/fake$1" ]
}

files() {
	find "$T" -name 'dst*' | sort | xargs -n1 basename 2>/dev/null | xargs
}

size=$((4 << 20))
head -c $size /dev/urandom >src
start_disk "aio:$T/src"

tap pause -p "$pid" -m "$minor"
refuses "a paused disk" "is it paused" mig start --to "aio:$T/dst" --create
tap unpause -p "$pid" -m "$minor"
refuses "a journal in no directory" "$T/none/x" mig start --to "aio:$T/dst" --create --journal "$T/none/x"
is "$(files)" "" "the destination that was created is removed again"
echo mine >dst.migrate
refuses "a journal that is there" "from an earlier migration" mig start --to "aio:$T/dst" --create
is "$(files):$(cat dst.migrate)" "dst.migrate:mine" "is not touched"
rm dst.migrate
refuses "a journal whose path is too long" "choose one with --journal" mig start \
	--to "aio:$T/$(printf 'dst%.0s' {1..75})" --create
is "$(files)" "" "leaves nothing"

ok "start --wait sees it through" mig start --to "aio:$T/dst" --create --wait
ok "the destination holds the disk" cmp src dst
is "$(stat -c %a dst dst.migrate | xargs)" "600 600" "what is made is its owner's only"
ok "the disk runs on it" runs_on "aio:$T/dst"
is "$(tap migrate status --journal "$T/dst.migrate" --json | jq -r '.state, .bytes.valid' | xargs)" \
	"completed $size" "the journal has the result"

rm src
ok "start with settings" mig start --to "aio:$T/src" --create --strategy slr --threshold 3 \
	--rate 1 --chunk 64K --depth 2 --journal "$T/other" --complete manual
is "$(status '.strategy, .threshold, .rate_limit_mib_s, .chunk, .depth, .complete, .journal.path' | xargs)" \
	"slr 3 1 65536 2 manual $T/other" "gives them to the migration"
mig status --watch >watched &
watcher=$!
wait_for test -s watched
mig set --rate 0 --complete auto
wait $watcher
is $? 0 "watch ends with the migration"
like "$(tail -1 watched)" "completed: the disk runs on aio:$T/src" "and says what came of it"
stop_disk

# --- a tapdisk of blktap's ---------------------------------------------------------------

in_fake() { # TO [option...]
	tap migrate start -p "$fake" -m 1 --to "$@"
}
new_fake() { # MODE [ARGS]
	rm -f dst* fakeown
	truncate -s 1M source dst
	fake own "$1" "${2:-aio:$T/source}"
}

new_fake stopping
"$BUILD/tap-ctl" migrate start -p "$fake" -m 1 --to "aio:$T/dst" >said 2>&1 &
starter=$!
wait_for grep -q "^State:.*stopped" "/proc/$fake/status"
kill -TERM $starter
kill -CONT "$fake"
wait $starter
above $? 127 "start that is told to end meanwhile"
is "$(sed 1d fakeown)" "19
29696
28
9
11migrate:$T/dst.migrate" "does so only when it has resumed the disk"

new_fake stubborn
in_fake "aio:$T/dst" >said 2>&1
is $? 28 "start where the tapdisk cannot even resume the disk"
like "$(cat said)" "the fake disk is full.*could not be resumed .No space left on device: the fake disk is full.*tap-ctl unpause -p $fake -m 1 -a aio:$T/source" \
	"says so, and what to do"
is "$(files)" "dst dst.migrate" "and leaves the files"

refused() { # NAME REGEX [option...]: before the disk is paused
	refuses "there: $1" "$2" in_fake "aio:$T/dst" "${@:3}"
	is "$(sed 1d fakeown | grep -c '^9$')" 0 "is not paused for it"
	is "$(files)" "dst" "and nothing is left"
}

new_fake stopping
truncate -s 2M dst
refused "a larger destination" "must be equal"
truncate -s 1M dst
rm dst && ln source dst
refused "the same disk" "the same disk"
rm dst && truncate -s 1M dst
cp source other && mv other source
refused "a source that was replaced" "does not lead to what tapdisk $fake has open"
rm source
refused "a source that was removed" "cannot be opened again"
new_fake stopping "vhd:$T/source"
refused "a source that is not raw" "only raw images"

done_testing
