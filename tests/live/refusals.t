#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What must be refused is refused before anything is written, with a message
# that says why and an exit status that is not 0; and the disk goes on.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$((8 << 20))

goes_on() { # the disk does, as it was
	runs_on "aio:$T/src" && [ "$(tap list -p "$pid" -m "$minor" | grep -c state=0)" = 1 ] && guest_pass "$size"
}

# The destinations are files that nobody may change.
head -c $((size - 512)) /dev/urandom >smaller
head -c $size /dev/urandom >locked
mkdir directory
start_disk "aio:$T/locked"
other=("$pid" "$minor")
fresh_disk $size
ln -s src symbolic
ln src hard
md5sum smaller locked >sums

start() { # TO [option...]
	mig start --to "$@"
}
no() { # NAME REGEX TO [option...]
	refuses "refused: $1" "$2" start "${@:3}"
	ok "and the disk goes on" goes_on
}

no "a smaller destination" "smaller" "aio:$T/smaller"
no "the source itself" "same" "aio:$T/src"
no "the source by a symbolic link" "same" "aio:$T/symbolic"
no "the source by a hard link" "same" "aio:$T/hard"
no "what another tapdisk has open" "in use|locked|open" "aio:$T/locked"
no "what is not there" "--create" "aio:$T/missing"
no "to create what is there" "exists" "aio:$T/smaller" --create
no "a directory" "neither|directory" "aio:$T/directory"
no "a name without a type" "aio:" "$T/smaller"
no "a name without a path" "aio:" "aio:"
no "a type that does not exist" "aio:" "bogus:$T/smaller"
no "an unknown strategy" "strategy" "aio:$T/smaller" --strategy fast
no "a chunk of 1000 bytes" "chunk" "aio:$T/smaller" --chunk 1000
no "a chunk that is no power of two" "chunk" "aio:$T/locked" --chunk 100K
no "a threshold of nothing" "threshold" "aio:$T/smaller" --threshold 0
no "a name that is too long" "too long|long" "aio:/$(printf 'x%.0s' {1..300})"

refuses "no destination" "--to" mig start
refuses "a minor that is not there" "." tap migrate start -m 999 --to "aio:$T/smaller"
refuses "a tapdisk that is not there" "." tap migrate start -p 999999 -m "$minor" --to "aio:$T/smaller"
for command in status pause resume complete cancel; do
	refuses "$command without a migration" "migrat" mig $command
done
is "$(find . -name '*.migrate')" "" "no journal is left behind"
ok "no destination was changed" md5sum --status -c sums

# Files that are no journals.
head -c 4096 /dev/urandom >garbage
: >empty
head -c 1M /dev/zero >zeroes
mkfifo pipe
for file in garbage empty zeroes directory missing pipe; do
	chmod -f 600 $file
	ok "pauses" tap pause -p "$pid" -m "$minor"
	refuses "refused as a journal: $file" "journal" tap unpause -p "$pid" -m "$minor" -a "migrate:$T/$file"
	ok "and the disk can be resumed" tap unpause -p "$pid" -m "$minor" -a "aio:$T/src"
	ok "and goes on" goes_on
done

# One at a time.
truncate -s $size dst
ok "starts" start "aio:$T/dst" --rate 1
refuses "a second migration of the same disk" "already" start "aio:$T/locked"
refuses "an unknown strategy under way" "strategy" mig set --strategy fast
refuses "to set nothing" "set" mig set
ok "it cancels" mig cancel --wait
ok "and the disk goes on" goes_on
stop_disk
ok "the source holds exactly what the guest wrote" disk_is src
pid=${other[0]} minor=${other[1]}
stop_disk
ok "no destination was changed" md5sum --status -c sums
done_testing
