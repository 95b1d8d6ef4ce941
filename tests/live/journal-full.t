#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What a journal is on has no room for another one beside it, or none at all, when the journal
# is opened again after a kill: what is wished for is kept all the same, and a cancel ends.
. "$(dirname "$0")/lib.sh"
needs jq
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root, to mount a file system"; exit; }

at_exit() {
	umount -l "$T/small"
}

start() { # STRATEGY: a migration whose journal is on a small file system
	rm -f src dst small/*
	head -c 8M /dev/urandom >src
	cp src pristine
	start_disk "aio:$T/src"
	mig start --to "aio:$T/dst" --create --strategy "$1" --rate 1 --complete manual --journal "$T/small/j"
}

again() { # as after a crash of its tapdisk
	kill -KILL "$pid"
	wait_for is_dead "$pid"
	tap free -m "$minor"
	start_disk "migrate:$T/small/j"
}

reason_is() {
	[ "$(mig status --json | jq -r .reason)" = "$1" ]
}

mkdir small
mount -t tmpfs -o size=6m none small || die "cannot mount a file system"

ok "starts" start slr
again
wait_for state_is copying
is "$(mig status --json | jq -r .journal.state)" good "a journal needs no room for another one beside it"
ok "it is cancelled" mig cancel --wait
is "$(tap list -m "$minor" | sed 's/.*args=//')" "aio:$T/src" "the disk runs on its source"
stop_disk

ok "starts once more" start mirror
dd if=/dev/zero of=small/others bs=4k status=none 2>/dev/null
again
wait_for reason_is journal-full
ok "with no room at all the guest can write" timeout 60 qemu-io -f raw -c "write -P 7 1M 64k" "$uri"
is "$(mig status --json | jq -r '.reason, .without_journal' | xargs)" "journal-failed true" "without the journal"
ok "and it can be cancelled" mig cancel --wait
is "$(tap list -m "$minor" | sed 's/.*args=//')" "aio:$T/src" "the disk runs on its source"
ok "with what was written" qemu-io -f raw -c "read -P 7 1M 64k" "$uri"
done_testing
