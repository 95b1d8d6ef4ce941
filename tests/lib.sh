# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# lib.sh - what tests and demo share: a private directory, disks, migrations
#
# Everything made is under $T, every process started is in $started, and both
# are gone when the script ends. Several can run at once.

set -u
BUILD=$(realpath "${BUILD:-build}")
# Unix socket paths are short, so $T must be; tmpfs knows no O_DIRECT.
T=$(mktemp -d /var/tmp/tm.XXXXXX)
export BLKTAP_RUN_DIR=$T/run TAPMIGRATE_STATE_DIR=$T/state
export TAPDISK=${TAPDISK:-$BUILD/tapdisk}
mkdir -p "$BLKTAP_RUN_DIR" "$TAPMIGRATE_STATE_DIR"
cd "$T" || exit 1

# Seconds until a condition that never comes is called a failure. Only a hang reaches them,
# so the suite, which may run on a slow machine, has ten times as many.
PATIENCE=${PATIENCE:-30}
# shellcheck disable=SC2034 # for the tests
HANG=$((4 * PATIENCE)) # the same, for a command that does not come back
started=()

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

wait_for() { # COMMAND...: polls until it succeeds
	local tries=$((PATIENCE * 5))
	until "$@" >/dev/null 2>&1; do
		[ $((tries -= 1)) -gt 0 ] || { echo "gave up waiting for: $*"; return 1; }
		sleep 0.2
	done
}

at_exit() { # for the script to replace
	:
}

# Not one that has got the number of a process of ours that is long gone.
is_ours() { # PID
	grep -qsF "$T" "/proc/$1/environ" || grep -qs "^PPid:[[:space:]]*$$\$" "/proc/$1/status"
}

clean_up() {
	local status=$? process
	at_exit
	for process in "${started[@]}"; do
		is_ours "$process" || continue
		kill -CONT "$process" 2>/dev/null
		kill -KILL "$process" 2>/dev/null
		wait "$process" 2>/dev/null
	done
	cd / && rm -rf "$T"
	return $status
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# --- disks --------------------------------------------------------------------

tap() {
	"$BUILD/tap-ctl" "$@"
}

# start_disk TYPE:NAME [create options]: a tapdisk with one VBD, open.
# Sets pid, minor, and uri, where it is served over NBD.
start_disk() {
	local marker
	marker=$(tap create -a "$@") || die "tap-ctl create -a $* failed"
	minor=${marker##*/tapdisk-}
	pid=$(tap list -m "$minor" --field pid)
	[ -n "$pid" ] || die "tap-ctl list does not show minor $minor"
	started+=("$pid")
	# shellcheck disable=SC2034 # for the test
	uri="nbd+unix:///?socket=$BLKTAP_RUN_DIR/nbd$pid.$minor"
}

stop_disk() {
	tap destroy -p "$pid" -m "$minor" && wait_for gone "$pid"
}

gone() { # PID
	! kill -0 "$1" 2>/dev/null
}

# After a migration the source may be used again only if somebody says so.
unmark() { # FILE
	tap migrate unmark "$1"
}

disk_args() { # TYPE:NAME that the running VBD is made of
	tap list -p "$pid" -m "$minor" --field args
}

runs_on() { # TYPE:NAME
	[ "$(disk_args)" = "$1" ]
}

# --- migrations of the disk that pid and minor name ---------------------------

mig() { # COMMAND [option...]
	local command=$1
	shift
	tap migrate "$command" -p "$pid" -m "$minor" "$@"
}

status() { # JQ-FILTER
	mig status --json | jq -r "$1"
}

state_is() { # STATE...: one of these
	local state
	state=$(status .state) && [[ " $* " == *" $state "* ]]
}

holds() { # JQ-FILTER: true of the status
	[ "$(status "$1")" = true ]
}
