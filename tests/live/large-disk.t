#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The largest disk that there can be, all of it holes: its migration starts and is written down
# in steps, between which the guest is served.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io

large=$(mktemp -d /dev/shm/tm.XXXXXX) || { echo "1..0 # SKIP no /dev/shm"; exit; }

at_exit() {
	rm -rf "$large"
	[ "$failures" = 0 ] || say "to repeat: SEED=$SEED $0"
}

truncate -s 2P "$large/src" || { echo "1..0 # SKIP no file of 2 PiB on /dev/shm"; exit; }

io() { # COMMAND
	timeout "$HANG" qemu-io -f raw -t none "$uri" -c "$1" >"$T/io" 2>&1 && ! grep -q 'failed\|error' "$T/io"
}

reads_while() { # PROCESS: how many
	local n=0
	while ! gone "$1"; do
		io 'read 4k 4k' || return 1
		n=$((n + 1))
	done
	echo $n
}

start_disk "aio:$large/src"
ok "the guest writes at the end" io 'write -P 7 2251799813619712 64k'
mig start --to "aio:$large/dst" --create --strategy mirror --complete manual >said 2>&1 &
starter=$!
started+=("$starter")
above "$(reads_while $starter)" 0 "the guest reads while a migration starts"
ok "which it does" wait $starter
ok "it is under way" wait_for state_is copying synchronised
ok "the guest writes at its end" io 'write -P 9 2251799813619712 64k'
ok "and at its beginning" io 'write -P 9 0 64k'
ok "it is paused" tap pause -p "$pid" -m "$minor"
ok "and goes on by its journal" tap unpause -p "$pid" -m "$minor"
ok "it is cancelled" mig cancel --wait
is "$(disk_args)" "aio:$large/src" "the disk runs on its source"
ok "which has what was written" io 'read -P 9 2251799813619712 64k'
stop_disk
done_testing
