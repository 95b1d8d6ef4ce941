#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tapdisk is killed at each call that makes something of a migration's end stable: of the
# journal, of the marks, of what is removed. Whenever that is, one image or the journal says
# which is the disk, and no other one can be opened by mistake.
. "$(dirname "$0")/lib.sh"
needs jq strace
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs the right to trace a tapdisk"; exit; }

size=$((2 << 20))
calls="fsetxattr fremovexattr fsync fdatasync unlinkat unlink renameat"

opens() { # TYPE:NAME
	local marker
	marker=$(tap create -a "$1" 2>/dev/null) || return 1
	marker=${marker##*/tapdisk-}
	tap destroy -p "$(tap list -m "$marker" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')" -m "$marker" 2>/dev/null
}

runs_on_one() {
	runs_on "aio:$T/src" || runs_on "aio:$T/dst"
}

traced() {
	grep -qs "^TracerPid:[[:space:]]*[1-9]" "/proc/$pid/status"
}

# The disk, as it is found after the kill: the journal, or the one image that opens. Sets disk.
find_disk() {
	disk=
	if [ -e dst.migrate ]; then
		start_disk "migrate:$T/dst.migrate"
		mig set --complete auto --rate 0 >/dev/null 2>&1
		wait_for runs_on_one || return 1
		disk=$(disk_args)
		disk=${disk##*/}
		stop_disk
	elif opens "aio:$T/dst"; then
		disk=dst
	elif opens "aio:$T/src"; then
		disk=src
	fi
	[ -n "$disk" ]
}

only_disk() { # the other image is not there, or is refused
	local other=src
	[ "$disk" = src ] && other=dst
	[ ! -e "$other" ] || ! opens "aio:$T/$other"
}

# Ends a migration in a tapdisk that dies when one of its threads makes CALL for the Nth time.
# False: it does not so often.
killed_at() { # COMMAND CALL N start-option...
	local command=$1 call=$2 n=$3
	shift 3
	rm -f src dst dst.migrate
	head -c $size /dev/urandom >src
	cp src pristine
	start_disk "aio:$T/src"
	mig start --to "aio:$T/dst" --create --complete manual --wait "$@" >/dev/null || die "cannot start"
	strace -f -qq -o trace -e trace="$call" -e inject="$call:signal=KILL:when=$n" -p "$pid" &
	started+=($!)
	wait_for traced || die "cannot trace tapdisk"
	if mig "$command" --wait >/dev/null 2>&1 && ! gone "$pid"; then
		stop_disk
		return 1
	fi
	wait_for gone "$pid"
	tap free -m "$minor" 2>/dev/null
}

kills() { # COMMAND start-option...
	local n call command=$1
	shift
	for call in $calls; do
		for n in 1 2; do
			killed_at "$command" "$call" $n "$@" || break
			ok "$command: killed at $call $n: the disk is found" find_disk
			ok "it is the disk" cmp pristine "${disk:-none}"
			ok "no other image is taken for it" only_disk
		done
	done
}

kills complete --strategy mirror --journal-after remove
kills cancel --strategy lr --journal-after remove
done_testing
