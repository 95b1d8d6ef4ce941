#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A migration that runs can be asked and told everything, wherever its journal's file is:
# renamed, removed, on storage that does not answer.
. "$(dirname "$0")/lib.sh"
needs jq strace

fresh_disk $((8 << 20))
ok "starts" mig start --to "aio:$T/dst" --create --strategy mirror --complete manual --rate 1
mv dst.migrate elsewhere
is "$(status .state)" copying "status"
is "$(tap migrate list --json | jq -r '.[].state')" copying "list"
ok "set" mig set --rate 0
ok "pause" mig pause
is "$(status '"\(.state) \(.reason)"')" "paused operator" "is done"
ok "resume" mig resume
ok "and it synchronises" wait_for state_is synchronised
refuses "its journal cannot be shown" "cannot read the journal $T/dst.migrate: No such file" \
	tap migrate status --journal "$T/dst.migrate"
is "$(tap migrate status --journal "$T/dst.migrate" --json 2>/dev/null | jq -r '"\(.state) \(.source) \(.destination)"')" \
	"unknown aio:$T/src aio:$T/dst" "but what is remembered of it"

# One whose storage hangs: the read takes an hour.
mv elsewhere dst.migrate
if [ "$(id -u)" = 0 ]; then
	strace -f -qq -o /dev/null -e trace=pread64,read -P "$T/dst.migrate" \
		-e inject=pread64,read:delay_enter=3600000000 \
		"$BUILD/tap-ctl" migrate status --journal "$T/dst.migrate" >said 2>&1 &
	started+=("$!")
	ok "a journal that hangs is given up" wait_for grep -q "does not answer" said
	like "$(cat said)" "aio:$T/src -> aio:$T/dst.*unknown" "with what is remembered of it"
fi

ok "cancel" mig cancel --wait
is "$(find "$TAPMIGRATE_STATE_DIR" -name 'migration-*')" "" "nothing is remembered of what has ended"
stop_disk
done_testing
