# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# kills.sh - what the tests that kill a tapdisk share: KILLS times a strategy, while a
# guest goes on that knows all that it was told is written

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

KILLS=${KILLS:-10}
size=$((16 << 20))
RANDOM=$((SEED & 32767))

pause_for() { # MILLISECONDS: at most so long
	local ms=$((RANDOM % $1))
	sleep "$(printf '0.%03d' $ms)"
}

begin() { # STRATEGY RATE [HEAD-FILTER]
	fresh_disk $size
	truncate -s "$size" dst
	survivor_start 24 500
	ok "$1 starts" start_by_hand "aio:$T/dst" "$1" "$2" "${3:-.}"
	# shellcheck disable=SC2034 # for reopen
	journal=$T/$minor.migrate
}

kill_often() { # TIMES: at any time; now and then before it was all there again
	local i before
	for ((i = 0; i < $1; i++)); do
		before=$(ups)
		killed
		reopen
		[ $((RANDOM % 4)) = 0 ] || goes_on "$before" || return 1
		pause_for 250
	done
	! gone "$guest"
}

ended() {
	[[ $(disk_args) != migrate:* ]]
}

# Goes on to the end, from wherever it is.
completes() { # STRATEGY
	wait_for state_is copying synchronised
	mig set --rate 0
	ok "$1 synchronises" wait_for all_copied
	ok "$1 completes" mig complete --wait
	ok "$1: the disk runs on the destination" wait_for runs_on "aio:$T/dst"
	ok "$1: the guest missed nothing, and the destination holds the disk" survivor_end dst
}
