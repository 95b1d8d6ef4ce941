#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bench.sh - speed and memory, against what is required of them
#
# Every figure is a ratio of two things measured one after the other, several
# times over, and of these ratios the median: so it says something about the
# program even on a machine whose speed comes and goes. The numbers under the
# ratios are in the JSON.
. "$(dirname "$0")/../lib.sh"

ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-1}
SIZE=$((1 << 30))
OUT=$BUILD/bench
mkdir -p "$OUT"
results=()
missed=0

median() { # NUMBER...
	printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

ratio() { # A B
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f\n", a / b }'
}

# One line of the table: is the median of the measurements what it must be?
report() { # NAME UNIT at-least|at-most BOUND MEASUREMENT...
	local value verdict=ok
	value=$(median "${@:5}")
	awk -v v="$value" -v b="$4" -v at="$3" 'BEGIN { exit !(at == "at-least" ? v >= b : v <= b) }' ||
		{ verdict=MISSED; missed=1; }
	printf '  %-58s %8.2f %-6s %-8s %-6s %s\n' "$1" "$value" "$2" "${3/-/ }" "$4" "$verdict"
	results+=("$(jq -nc --arg name "$1" --arg unit "$2" --argjson median "$value" --arg rule "$3" --argjson bound "$4" \
		--argjson measured "[$(IFS=,; echo "${*:5}")]" --arg verdict $verdict '$ARGS.named')")
}

# Preallocated and full of data, so that no run pays for the file system.
full_image() { # FILE
	head -c $SIZE /dev/urandom >"$1"
	sync "$1"
}

# --- requests over NBD --------------------------------------------------------------

iops() { # randread|randwrite FIO-OPTION...
	fio --name=bench --rw="$1" --bs=4k --iodepth=32 --size=$SIZE --time_based --runtime="$SECONDS_EACH" \
		--ramp_time=0.5 --randrepeat=0 --output-format=json "${@:2}" | sed -n '/^{/,$p' |
		jq '.jobs[0] | .read.iops + .write.iops'
}

# The same disk, as its raw file, through tapdisk, and through a migration that is
# paused; there and back again, so that a machine that gets slower or faster
# meanwhile does so for all. Never two files: one may lie on a slower part of the
# storage.
idle_migration() {
	mig start --to "aio:$T/target" --create --strategy dbt --rate 1 --complete manual >/dev/null || die "no migration"
	mig pause || die "the migration does not pause"
}

no_migration() {
	mig cancel --wait >/dev/null || die "the migration is not cancelled"
	rm -f target target.migrate
}

measure_requests() {
	local op at value
	declare -A host_ratio migrate_ratio sum
	full_image source
	start_disk "aio:$T/source"
	for ((round = 0; round < ROUNDS; round++)); do
		for op in randread randwrite; do
			sum=([raw]=0 [aio]=0 [migrate]=0)
			for at in raw aio migrate migrate aio raw; do
				[ $at != migrate ] || idle_migration
				if [ $at = raw ]; then
					value=$(iops $op --ioengine=libaio --direct=1 --filename=source)
				else
					value=$(iops $op --ioengine=nbd --uri="$uri")
				fi
				[ $at != migrate ] || no_migration
				sum[$at]=$(awk -v a="${sum[$at]}" -v b="$value" 'BEGIN { print a + b / 2 }')
			done
			host_ratio[$op]+=" $(ratio "${sum[aio]}" "${sum[raw]}")"
			migrate_ratio[$op]+=" $(ratio "${sum[migrate]}" "${sum[aio]}")"
			printf '    %-9s raw %7.0f   aio: %7.0f   migrate: %7.0f IOPS\n' \
				$op "${sum[raw]}" "${sum[aio]}" "${sum[migrate]}" >&2
		done
	done
	for op in randread randwrite; do
		# shellcheck disable=SC2086 # lists of numbers
		report "4 KiB $op, depth 32: aio: over NBD / raw file" x at-least 0.6 ${host_ratio[$op]}
	done
	for op in randread randwrite; do
		# shellcheck disable=SC2086
		report "4 KiB $op, depth 32: paused migrate: / aio:" x at-least 0.95 ${migrate_ratio[$op]}
	done
}

# --- what the journal costs ------------------------------------------------------------

# A guest that flushes every 32 writes, on a disk whose every flush is two, on a
# plain one, and through a migration by lr of a disk of which nothing is copied yet
# (rate 1): every first write of a block changes the map.
flushed_iops() {
	iops randwrite --iodepth=8 --fsync=32 --size=$((256 << 20)) --ioengine=nbd --uri="$uri"
}

measure_journal() {
	local at value twice=() plain=()
	declare -A figure
	full_image source
	for ((round = 0; round < ROUNDS; round++)); do
		for at in aio fault migrate; do
			: >faults
			[ $at != fault ] || echo "again flush" >faults
			unmark source || die "the source cannot be used again"
			TAPDISK=$BUILD/tests/tapdisk start_disk "$([ $at = fault ] && echo "fault:$T/faults:$T/source" || echo "aio:$T/source")"
			[ $at != migrate ] || mig start --to "aio:$T/target" --create --strategy lr --rate 1 \
				--complete manual >/dev/null || die "no migration"
			figure[$at]=$(flushed_iops)
			[ $at != migrate ] || no_migration
			stop_disk
		done
		twice+=("$(ratio "${figure[migrate]}" "${figure[fault]}")")
		plain+=("$(ratio "${figure[migrate]}" "${figure[aio]}")")
		printf '    aio: %6.0f   with two flushes %6.0f   lr with its journal %6.0f IOPS\n' \
			"${figure[aio]}" "${figure[fault]}" "${figure[migrate]}" >&2
	done
	report "4 KiB writes, a flush every 32: lr / aio: flushing twice" x at-least 0.8 "${twice[@]}"
	report "4 KiB writes, a flush every 32: lr / plain aio:" x at-least 0 "${plain[@]}"
	rm -f source target
}

measure_journal_open() {
	local seconds=() bytes=() s b
	for ((round = 0; round < ROUNDS; round++)); do
		read -r s b < <("$BUILD/tests/bench/journal-open")
		seconds+=("$s")
		bytes+=("$(ratio "$b" $((1 << 20)))")
	done
	report "reading the journal of 16 TiB with a million extents" s at-most 2 "${seconds[@]}"
	report "... and the memory that it has then" MiB at-most 200 "${bytes[@]}"
}

# --- copying ------------------------------------------------------------------------

seconds_of() { # COMMAND...
	local from=$EPOCHREALTIME
	"$@" >/dev/null || die "$* failed"
	awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}

copy_by_tapdisk() {
	mig start --to "aio:$T/target" --strategy lr --complete auto --wait && sync target
}

qmp() { # COMMAND [arguments as JSON]
	echo "{\"execute\": \"$1\", \"arguments\": ${2:-{\}}}" >&"${QSD[1]}"
}

await() { # TEXT in an event
	local line
	while read -r -t $PATIENCE line <&"${QSD[0]}"; do
		[[ $line != *'"error"'* ]] || die "qemu-storage-daemon: $line"
		[[ $line != *"$1"* ]] || return 0
	done
	die "qemu-storage-daemon said nothing of $1"
}

copy_by_qemu() {
	qmp blockdev-mirror '{"job-id": "copy", "device": "source", "target": "target", "sync": "full"}'
	await BLOCK_JOB_READY
	qmp job-complete '{"id": "copy"}'
	await BLOCK_JOB_COMPLETED
	sync target
}

measure_copies() {
	local ours=() theirs=() ratios=() file=driver=file,cache.direct=on,aio=native
	full_image source
	cp source target
	sync target
	for ((round = 0; round < ROUNDS; round++)); do
		rm -f target.migrate
		unmark source || die "the source of the last copy cannot be used again"
		start_disk "aio:$T/source"
		ours+=("$(seconds_of copy_by_tapdisk)")
		stop_disk
		cmp source target || die "the copy differs"

		coproc QSD { exec qemu-storage-daemon --blockdev $file,node-name=source,filename=source \
			--blockdev $file,node-name=target,filename=target --chardev stdio,id=qmp --monitor qmp; }
		qmp qmp_capabilities
		await return
		theirs+=("$(seconds_of copy_by_qemu)")
		qmp quit
		wait "$QSD_PID"
		ratios+=("$(ratio "${theirs[-1]}" "${ours[-1]}")")
		printf '    tapdisk %.2f s   qemu-storage-daemon %.2f s\n' "${ours[-1]}" "${theirs[-1]}" >&2
	done
	report "copying 1 GiB that nobody uses: speed / blockdev-mirror's" x at-least 1 "${ratios[@]}"
	rm -f source target target.migrate
}

# --- memory -------------------------------------------------------------------------

measure_memory() {
	local rest written
	read -r rest written < <("$BUILD/tests/bench/map-memory")
	report "the map of 1 TiB, at rest" MiB at-most 1 "$(ratio "$rest" $((1 << 20)))"
	report "the map of 1 TiB, after random 4 KiB writes all over" MiB at-most 80 "$(ratio "$written" $((1 << 20)))"
}

needed=(qemu-storage-daemon fio jq)
for tool in "${needed[@]}"; do
	command -v "$tool" >/dev/null || die "no $tool on this machine; make deps installs it"
done
measure_memory
measure_journal_open
measure_journal
measure_copies
measure_requests
printf '%s\n' "${results[@]}" | jq -s --arg rounds "$ROUNDS" --arg machine "$(nproc) CPUs, Linux $(uname -r)" \
	'{machine: $machine, rounds: $rounds, results: .}' >"$OUT/results.json"
echo "  $OUT/results.json"
exit $missed
