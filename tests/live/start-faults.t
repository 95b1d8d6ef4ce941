#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Of all calls that a tapdisk makes to start a migration, and to keep its journal, one fails,
# or is its last: each in turn, until the start does not get that far. The migration has begun,
# or nothing is left of it; and the same start again is not in its own way. FAULTS=1 tries
# every call, otherwise every so many.
. "$(dirname "$0")/lib.sh"
needs jq

size=$((1 << 20))
step=${FAULTS:-4}

left() { # of the start, but for what it started from
	find . -name '*dst*' -o -name 'live-*' -o -name 'migrate-*' | sort | xargs
}

new_disk() {
	rm -rf src pristine ./*dst* happened state/*
	head -c $size /dev/urandom >src
	cp src pristine
}

begin() {
	mig start --to "aio:$T/dst" --create --strategy mirror --journal-after remove
}

completes() { # it may be told of a journal that has failed just now
	is_dead "$pid" || runs_on "aio:$T/dst" || mig complete --wait
}

ends() { # the migration that has begun, well
	wait_for completes && runs_on "aio:$T/dst" && stop_disk && cmp pristine dst
}

# A migration, or the disk as it was, of which nothing is left; then it can be started.
goes_on() {
	case $(disk_args) in
	migrate:*) ends ;;
	"aio:$T/src") [ -z "$(left)" ] && begin && ends ;;
	"aio:$T/dst") stop_disk && cmp pristine dst ;;
	*) return 1 ;;
	esac
}

open_disk() { # TYPE:NAME [...]: the first of them that can be
	local name marker
	for name; do
		marker=$(tap create -a "$name" 2>>said) || continue
		minor=${marker##*/tapdisk-}
		pid=$(tap list -m "$minor" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
		started+=("$pid")
		return
	done
	return 1
}

# After a kill: what the disk is, its marks say; what a start has left is not in the way.
reopen() {
	tap free -m "$minor"
	open_disk "aio:$T/src" || open_disk "migrate:$T/dst.migrate" "aio:$T/dst" || return 1
	case $(disk_args) in
	"aio:$T/src") begin && ends ;;
	*) goes_on ;;
	esac
}

try() { # ACTION N ERRNO
	new_disk
	export TAPDISK_FAULTY_CALL="$1 $2 $3 $T/happened"
	open_disk "aio:$T/src" || return 1
	unset TAPDISK_FAULTY_CALL
	begin >said 2>&1
	if ! is_dead "$pid" && goes_on; then
		return
	fi
	is_dead "$pid" && reopen
}

for action in "fail 5" "kill 0"; do
	read -r what errno <<<"$action"
	n=$((1 + (SEED + errno) % step))
	while :; do
		try "$what" $n "$errno" >tried 2>&1
		err=$?
		[ -e happened ] || break
		is $err 0 "call $n: $what $errno" || say "$(quote "$(tail -5 tried said)")"
		n=$((n + step))
	done
	above $n 20 "$what $errno: so many calls"
done
done_testing
