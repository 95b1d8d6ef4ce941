#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What a journal is on does not answer for a while, or for good: the guest does not wait for it
# where the source has everything, a cancel ends, and so does closing the VBD.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io

export TAPDISK_HELD_CALLS=$T/held

at_exit() {
	rm -f "$T/held"
}

write_to() { # BYTE OFFSET: in the part that has been copied, which needs the journal's word
	timeout "$HANG" qemu-io -f raw -t none -c "write -P $1 $2 64k" "$uri" >&2
}

start() {
	rm -f src dst held ./*.migrate
	head -c 8M /dev/urandom >src
	start_disk "aio:$T/src"
	mig start --to "aio:$T/dst" --create --strategy mirror --complete manual && wait_for all_copied
}

ok "starts" start
touch held
ok "a write is done all the same" write_to 7 1M
is "$(mig status --json | jq -r '.reason, .without_journal, .journal.error' | xargs)" \
	"journal-failed true it does not answer" "without the journal, and the status says so"
ok "so is the next one" write_to 8 3M
is "$(mig pause 2>&1 | grep -o 'the journal does not have it yet')" "the journal does not have it yet" \
	"what the operator wishes is not said to be kept"
mig resume 2>/dev/null
rm held
ok "the journal takes over again when it answers" wait_for holds '.without_journal | not'
ok "and everything is copied once more" wait_for all_copied
ok "both disks are the same" cmp src dst

touch held
ok "a write is done without it once more" write_to 9 1M
ok "it can be cancelled" mig cancel --wait
is "$(tap list -m "$minor" | sed 's/.*args=//')" "aio:$T/src" "the disk runs on its source"
ok "with what was written" qemu-io -f raw -c "read -P 9 1M 64k" "$uri"
rm held
stop_disk

ok "starts again" start
touch held
ok "the VBD is closed while the journal does not answer" tap close -p "$pid" -m "$minor"
rm held
done_testing
