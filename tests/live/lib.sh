# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# lib.sh - what the live tests share: a guest, and faults

TAPDISK=$(realpath "${BUILD:-build}")/tests/tapdisk # has the drivers made for tests
# shellcheck source-path=SCRIPTDIR/.. source=../tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tap.sh"
# shellcheck source-path=SCRIPTDIR/.. source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
echo "# SEED=$SEED"

tap() { # a tap-ctl that hangs is a failure, not a hung test
	timeout "$HANG" "$BUILD/tap-ctl" "$@"
}

at_exit() {
	[ $failures = 0 ] || say "to repeat: SEED=$SEED $0"
}

# Synchronised; dirty block tracking, which under load is so for moments only, has
# at least been through the disk once.
all_copied() {
	holds '.state == "synchronised" or (.strategy == "dbt" and .bytes.copied >= .bytes.total)'
}

# --- a disk and its guest ----------------------------------------------------------------
#
# Faults of an image that is opened as fault:$T/faults:PATH; block-fault.c has
# the words. Without any, it is an ordinary image.
faults() { # [RULE...]
	printf '%s\n' "$@" >faults.new && mv faults.new faults
}

# A journal by hand, of a disk onto any kind of image.
new_journal() { # FILE SOURCE DESTINATION STRATEGY RATE [JQ-FILTER of the head, of the note]
	local bytes
	bytes=$(stat -L -c %s "${2##*:}") || return 1
	"$BUILD/tests/live/new-journal" "$1" "$(</proc/sys/kernel/random/uuid)" $((bytes / 512)) \
		"$(jq -nc --arg from "$2" --arg to "$3" '{source: $from, destination: $to, chunk: 65536} | '"${6:-.}")" \
		"$(jq -nc --arg strategy "$4" --argjson rate "$5" '{state: "new", strategy: $strategy, threshold: 32,
			rate_mib_s: $rate, depth: 4, complete: "manual"} | '"${7:-.}")"
}

# As mig start, onto any kind of image: the disk is paused and resumed from a journal
# that was made by hand.
start_by_hand() { # DESTINATION STRATEGY RATE [...]: as new_journal
	new_journal "$T/$minor.migrate" "$(disk_args)" "$@" && tap pause -p "$pid" -m "$minor" &&
		tap unpause -p "$pid" -m "$minor" -a "migrate:$T/$minor.migrate"
}

# fio over NBD, in passes. A pass writes an eighth of the disk's blocks, at random
# and over two connections, and reads them back. What it writes depends on the
# pass's number and the offset only, and the passes are on record, so replay()
# can write the same to a plain file: exactly that is what the disk must hold,
# whatever happened under it.

passes=$T/passes
: >"$passes"
guest_bs=(--bs=4k) # a test of odd sizes sets something else

# A disk of random contents on src, whose guest has not written anything yet,
# and no destination.
fresh_disk() { # BYTES
	rm -f src dst ./*.migrate # new files: a source that was left is marked
	head -c "$1" /dev/urandom >src
	cp src pristine
	: >"$passes"
	start_disk "aio:$T/src"
}

disk_is() { # FILE: it holds what the guest wrote over the fresh disk
	replay pristine && cmp pristine "$1"
}

pass_jobs() { # NUMBER BYTES: what the pass does
	local half=$(($2 / 2 & ~4095))
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

# --- a guest that outlives its tapdisk (nbd-guest.c) ----------------------------------------
#
# It keeps to itself what it wrote: the passes above are not for it.

serve() { # where the disk is now
	ln -sfn "$BLKTAP_RUN_DIR/nbd$pid.$minor" nbd
}

survivor_start() { # DEPTH PAUSE: on a fresh disk
	serve
	"$BUILD/tests/live/nbd-guest" nbd pristine "$SEED" "$@" >survivor.out 2>survivor.err &
	guest=$!
	started+=("$guest")
}

# Nothing of it is left but its number, which init may take its time to give back.
is_dead() { # PID
	local tasks=("/proc/$1/task"/*)
	gone "$1" || { [ ${#tasks[@]} = 1 ] && grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }
}

killed() { # the tapdisk is
	kill -KILL "$pid" 2>/dev/null
	until is_dead "$pid"; do sleep 0.005; done
}

journal= # of the migration, for the test to set

reopen() { # the killed migration
	start_disk "migrate:$journal" && serve
}

ups() { # how often the guest has found its disk, with all that it must hold
	wc -l <survivor.out
}

is_up_again() { # UPS: more often than that; or it is dead
	[ "$(ups)" -gt "$1" ] || gone "$guest"
}

goes_on() { # UPS: before
	local tries=$((PATIENCE * 50))
	until is_up_again "$1"; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		sleep 0.02
	done
	! gone "$guest"
}

survivor_end() { # FILE: that holds the disk now
	goes_on 0 || return 1 # it may not even have begun
	kill -TERM "$guest"
	wait "$guest" || { cat survivor.err; return 1; }
	tap destroy -p "$pid" -m "$minor" && cmp pristine "$1"
}
