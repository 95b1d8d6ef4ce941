#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What can be learnt of a migration from its journal alone: while it runs, when
# its tapdisk has been killed, and when something is wrong with it. Looking at it
# changes nothing.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$((32 << 20))

inspect() { # JQ-FILTER
	tap migrate inspect --json "$T/dst.migrate" | jq -r "$1"
}

untouched() {
	sha256sum "$T/src" "$T/dst" "$T/dst.migrate" | sha256sum
}

fresh_disk $size
truncate -s $size dst
ok "a migration starts" mig start --to "aio:$T/dst" --strategy lr --chunk 64K --rate 4 --complete manual
wait_for holds '.bytes.valid > (4 * 1024 * 1024)'
ok "it is paused" mig pause
ok "a guest writes" guest_pass $size
is "$(inspect .migration.strategy)" lr "the strategy is told"
is "$(inspect .migration.source)" "aio:$T/src" "the source is told"
is "$(inspect .migration.destination)" "aio:$T/dst" "the destination is told"
is "$(inspect '.bytes.source + .bytes.destination + .bytes.both')" $size "every byte is somewhere"
like "$(inspect .open_by)" "tapdisk $pid" "who has it open is told"
refuses "what is being written is not compared" "in use by tapdisk $pid" tap migrate check --compare "$T/dst.migrate"

kill -KILL "$pid"
wait_for gone "$pid"
before=$(untouched)
is "$(inspect .open_by)" null "killed, nobody has it open"
is "$(inspect .live_changes)" found "what its tapdisk has left in memory is seen"
above "$(inspect .bytes.destination)" 0 "the guest's writes are on the destination"
above "$(inspect .in_doubt.regions)" 0 "what was being written is in doubt"
like "$(tap migrate inspect "$T/dst.migrate")" "in doubt: [0-9]+ region" "and people are told"
ok "the journal is all right" tap migrate check "$T/dst.migrate"
ok "what is valid on both is the same" tap migrate check --compare "$T/dst.migrate"
is "$(untouched)" "$before" "nothing was changed by looking"

# Something that the journal does not know of changes one image, where both are valid.
fresh_disk $size
truncate -s $size dst
mig start --to "aio:$T/dst" --strategy mirror --chunk 64K --rate 4 --complete manual
wait_for holds '.bytes.valid > (8 * 1024 * 1024)'
kill -KILL "$pid"
wait_for gone "$pid"
above "$(inspect .bytes.both)" $((4 << 20)) "what was copied is valid on both"
ok "and the same" tap migrate check --compare "$T/dst.migrate"
printf '\377x' | dd of=dst bs=1 seek=$((1 << 20)) conv=notrunc status=none
refuses "what differs is found" "sectors 2048 to 2048 differ" tap migrate check --compare "$T/dst.migrate"
cp dst dst.other
mv dst.other dst
refuses "another file in the destination's place is noticed" "something is wrong" tap migrate check "$T/dst.migrate"
like "$(tap migrate check "$T/dst.migrate" 2>&1)" "another disk than the one that was recorded" "and named"
rm dst
like "$(tap migrate check "$T/dst.migrate" 2>&1)" "the destination .* cannot be opened" "one that is not there is named"

printf X | dd of=dst.migrate bs=1 seek=600 conv=notrunc status=none
refuses "damage is told, with what to do" "damaged" tap migrate inspect "$T/dst.migrate"
refuses "what is no journal is refused" "not a journal" tap migrate inspect "$T/src"
refuses "what is not there is refused" "No such file" tap migrate inspect "$T/nothing"
done_testing
