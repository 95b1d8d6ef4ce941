#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A VBD whose disk does not answer any more can be closed by force, also where it is being
# closed already, and destroyed. Its image stays locked until the disk has answered.
. "$(dirname "$0")/lib.sh"
needs qemu-io
TAPDISK=$BUILD/tests/tapdisk

image=fault:$T/faults:$T/src

closed() {
	[ -z "$(disk_args)" ]
}

opens() { # TYPE:NAME in another tapdisk
	local marker
	marker=$(tap create -a "$1") || return 1
	marker=${marker##*/tapdisk-}
	tap destroy -p "$(tap list -m "$marker" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')" -m "$marker"
}

stuck() { # a guest's write is with a disk that does not answer
	faults
	start_disk "$image"
	faults "stall write"
	qemu-io -f raw "$uri" -c 'write 0 4k' >/dev/null 2>&1 &
	started+=("$!")
	guest=$!
	wait_for waits
}

waits() {
	[[ $(tap stats -p "$pid" -m "$minor") = *'"reqs_outstanding": 1'* ]]
}

truncate -s 16M src other
stuck
refuses "a close that waits a second" "not answered" tap close -p "$pid" -m "$minor" -t 1
ok "it is forced all the same" tap close -f -p "$pid" -m "$minor"
ok "once more" tap close -f -p "$pid" -m "$minor"
ok "and ends" wait_for closed
ok "the guest was hung up on" wait_for gone "$guest"
ok "the minor can be used" tap open -p "$pid" -m "$minor" -a "aio:$T/other"
like "$(disk_args)" "aio:$T/other" "for another image"
refuses "the image" "in use by tapdisk $pid" tap create -a "aio:$T/src"
faults
ok "once its disk has answered it can be opened" wait_for opens "aio:$T/src"
ok "the tapdisk goes on" qemu-io -f raw "nbd+unix:///?socket=$BLKTAP_RUN_DIR/nbd$pid.$minor" -c 'read 0 4k'
stop_disk

stuck
ok "another is closed by force" tap close -f -p "$pid" -m "$minor"
ok "and destroyed meanwhile" tap destroy -p "$pid" -m "$minor"
ok "its tapdisk ends" wait_for gone "$pid"
ok "the image can be opened" wait_for opens "aio:$T/src"

stuck
kill -TERM "$pid"
ok "a tapdisk that is to end does so" wait_for gone "$pid"
done_testing
