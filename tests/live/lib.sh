# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# lib.sh - what the live tests share: TAP, a private directory, disks, a guest
#
# A test sources this, says what it expects with ok/is/like/refuses, and ends
# with done_testing. Everything it makes is under $T; every process it starts is
# in $started, and both are gone when it ends. Nothing is asserted about time:
# wait_for polls a condition, with a bound that only a hang reaches.

set -u
BUILD=$(realpath "${BUILD:-build}")
# Unix socket paths are short, so $T must be; tmpfs knows no O_DIRECT.
T=$(mktemp -d /var/tmp/tm.XXXXXX)
export BLKTAP_RUN_DIR=$T/run TAPMIGRATE_STATE_DIR=$T/state
export TAPDISK=$BUILD/tests/tapdisk
mkdir -p "$BLKTAP_RUN_DIR" "$TAPMIGRATE_STATE_DIR"
cd "$T" || exit 1

SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
PATIENCE=60 # seconds until a condition that never comes is called a failure

# --- TAP ----------------------------------------------------------------------

tests=0
failures=0
started=()

say() {
	printf '# %s\n' "$@"
}

verdict() { # 0|1 NAME
	tests=$((tests + 1))
	if [ "$1" = 0 ]; then
		echo "ok $tests - $2"
	else
		failures=$((failures + 1))
		echo "not ok $tests - $2"
	fi
	return "$1"
}

ok() { # NAME COMMAND...: the command succeeds
	local name=$1 status
	shift
	"$@" >"$T/said" 2>&1 # not in a subshell: it may set variables
	status=$?
	verdict $status "$name" || say "exit $status: $*" "$(head -40 "$T/said" | quote)"
}

quote() {
	sed '2,$s/^/# /'
}

is() { # GOT EXPECTED NAME
	if [ "$1" = "$2" ]; then
		verdict 0 "$3"
	else
		verdict 1 "$3" || say "got:      $1" "expected: $2"
	fi
}

like() { # GOT REGEX NAME
	if [[ $1 =~ $2 ]]; then
		verdict 0 "$3"
	else
		verdict 1 "$3" || say "got:    ${1//$'\n'/$'\n# '}" "wanted: $2"
	fi
}

above() { # GOT BOUND NAME: both numbers
	if [ "$1" -gt "$2" ] 2>/dev/null; then
		verdict 0 "$3"
	else
		verdict 1 "$3" || say "got $1, wanted more than $2"
	fi
}

refuses() { # NAME REGEX COMMAND...: it fails, and its words match
	local name=$1 wanted=$2 output status
	shift 2
	output=$("$@" 2>&1 </dev/null)
	status=$?
	if [ $status != 0 ] && [ $status -lt 128 ] && [[ $output =~ $wanted ]]; then
		verdict 0 "$name"
	else
		verdict 1 "$name" || say "exit $status: $*" "said:   ${output//$'\n'/$'\n# '}" "wanted: $wanted"
	fi
}

done_testing() {
	echo "1..$tests"
	[ $failures = 0 ]
	exit
}

bail_out() {
	echo "Bail out! $*"
	exit 1
}

needs() { # TOOL...: skips the whole test where one is missing
	local tool
	for tool; do
		command -v "$tool" >/dev/null || {
			echo "1..0 # SKIP no $tool on this machine"
			exit 0
		}
	done
}

wait_for() { # COMMAND...: polls until it succeeds
	local tries=$((PATIENCE * 20))
	until "$@" >/dev/null 2>&1; do
		[ $((tries -= 1)) -gt 0 ] || { echo "gave up waiting for: $*"; return 1; }
		sleep 0.05
	done
}

clean_up() {
	local status=$? process
	[ $failures = 0 ] || say "to repeat: SEED=$SEED $0"
	for process in "${started[@]}"; do
		kill -CONT "$process" 2>/dev/null
		kill -KILL "$process" 2>/dev/null
		wait "$process" 2>/dev/null
	done
	cd / && rm -rf "$T"
	return $status
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
echo "# SEED=$SEED"

# --- disks --------------------------------------------------------------------

tap() {
	"$BUILD/tap-ctl" "$@"
}

new_image() { # FILE SIZE: random contents, and a copy of them that nobody touches
	head -c "$(numfmt --from=iec "$2")" /dev/urandom >"$1" && cp --sparse=always "$1" "$1.pristine"
}

# start_disk TYPE:NAME [create options]: a tapdisk with one VBD, open.
# Sets pid, minor, and uri, where it is served over NBD.
start_disk() {
	local marker
	marker=$(tap create -a "$@") || bail_out "tap-ctl create -a $* failed"
	minor=${marker##*/tapdisk-}
	pid=$(tap list -m "$minor" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
	[ -n "$pid" ] || bail_out "tap-ctl list does not show minor $minor"
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

runs_on() { # TYPE:NAME: what the running VBD is made of
	[[ "$(tap list -p "$pid" -m "$minor")" == *" args=$1" ]]
}

same_bytes() { # FILE FILE [from-byte length]
	if [ $# = 4 ]; then
		cmp -i "$3" -n "$4" "$1" "$2"
	else
		cmp "$1" "$2"
	fi
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

# --- the guest ----------------------------------------------------------------
#
# fio over NBD, in passes. A pass writes an eighth of the disk's blocks, at random
# and over two connections, and reads them back. What it writes depends on the
# pass's number and the offset only, and the passes are on record, so replay()
# can write the same to a plain file: exactly that is what the disk must hold,
# whatever happened under it.

passes=$T/passes
: >"$passes"
guest_bs=(--bs=4k) # a test of odd sizes sets something else

pass_jobs() { # NUMBER BYTES: what the pass does
	local half=$(($2 / 8192 * 4096))
	printf '%s\n' --randseed=$((SEED + $1)) --verify=pattern \
		--verify_pattern="$(printf '0x%08x%%o' $((0x10000000 + $1)))" \
		--rw=randwrite "${guest_bs[@]}" --io_size=$((half / 8)) --verify_state_save=0 \
		--thread --output="$T/fio.log" --name=low --size=$half --name=high --offset=$half --size=$half
}

guest_pass() { # BYTES [fio option...]: one pass over a disk of that size, at $uri
	local n jobs
	n=$(($(wc -l <"$passes") + 1))
	mapfile -t jobs < <(pass_jobs $n "$1")
	echo "$n $1" >>"$passes"
	fio --ioengine=nbd --uri="$uri" --iodepth=16 --do_verify=1 --verify_fatal=1 "${@:2}" \
		"${jobs[@]}" >>"$T/fio.err" 2>&1 || { cat "$T/fio.log" "$T/fio.err"; return 1; }
}

replay() { # FILE
	local n bytes jobs
	while read -r n bytes; do
		mapfile -t jobs < <(pass_jobs "$n" "$bytes")
		fio --ioengine=psync --filename="$1" --allow_file_create=0 --do_verify=0 \
			"${jobs[@]}" >/dev/null || return 1
	done <"$passes"
}

guest_loop() {
	while [ ! -e "$T/guest.stop" ]; do
		guest_pass "$@" || exit 1
	done
}

# Passes without end in the background; guest_stop ends them after a whole pass
# and succeeds if none of them saw an error or wrong data.
guest_start() { # BYTES [fio option...]
	rm -f "$T/guest.stop"
	guest_loop "$@" >"$T/guest.log" 2>&1 &
	guest=$!
	started+=("$guest")
}

guest_stop() {
	touch "$T/guest.stop"
	wait "$guest" || { cat "$T/guest.log"; return 1; }
}

guest_reached() { # PASS: it has begun, or the guest is dead
	[ "$(wc -l <"$passes")" -ge "$1" ] || gone "$guest"
}

guest_goes_on() { # COUNT: waits for that many more whole passes
	wait_for guest_reached $(($(wc -l <"$passes") + $1 + 1))
}
