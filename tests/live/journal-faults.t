#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Of all calls that a tapdisk makes to keep a journal one fails, or is its last:
# each in turn, until there is none left. What comes of it is an error that is
# shown or nothing at all, never a wrong disk.
#
# A migration of a small disk is opened, copies while its guest writes, begins its
# journal anew several times, and completes by itself. FAULTS=1 tries every call,
# otherwise every so many are skipped beyond the first ones.
. "$(dirname "$0")/lib.sh"
needs jq

size=$((1 << 20))
exact=40 # calls: those of opening are among them
step=${FAULTS:-7}
pid='' guest=''

# A call has failed: nothing, or an opening that is refused, or a pause with a reason.
migrates() { # ACTION N ERRNO
	local said
	export TAPDISK_FAULTY_CALL="$1 $2 $3 $T/happened"
	said=$(tap create -a "migrate:$journal" 2>&1)
	unset TAPDISK_FAULTY_CALL
	if [[ $said =~ tapdisk-[0-9]+$ ]]; then
		minor=${said##*/tapdisk-}
		pid=$(tap list -m "$minor" 2>/dev/null | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
		if [ -n "$pid" ]; then
			started+=("$pid")
		else # it died before it could be asked
			reopen
		fi
	elif [ "$1" = kill ] || [[ $said == *journal* || $said == *migrate* ]]; then
		[ -e happened ] && reopen
	else
		echo "$said"
		return 1
	fi
	serve
}

has_ended() {
	if is_dead "$pid"; then
		reopen
	fi
	runs_on "aio:$T/dst"
}

try() { # ACTION N ERRNO
	# What a try that failed has left must not meddle with this one.
	[ -z "$pid$guest" ] || kill -KILL "$pid" "$guest" 2>/dev/null
	rm -f src dst ./*.migrate* happened
	head -c "$size" /dev/urandom >src
	cp src pristine
	truncate -s "$size" dst
	journal=$T/$1$2.migrate
	new_journal "$journal" "aio:$T/src" "aio:$T/dst" slr 4 '.log_bytes = 2048' '.complete = "auto"' || return 1
	pid='' minor=''
	migrates "$@" || return 1
	survivor_start 2 2000
	wait_for has_ended || { mig status --json; return 1; }
	survivor_end dst
}

for action in "fail EIO 5" "fail ENOSPC 28" "kill it 0"; do
	read -r what name errno <<<"$action"
	n=1
	while ok "$what $name: call $n" try "$what" $n "$errno" && [ -e happened ]; do
		n=$((n < exact ? n + 1 : n + step))
	done
	above $n 15 "$what $name: at $n there was none left"
done
done_testing
