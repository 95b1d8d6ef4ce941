#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fuzzes each target named for FUZZ_SECONDS. New inputs go to $BUILD/corpus/NAME,
# what breaks something to $BUILD/findings, and fails.
set -eu

seconds=${FUZZ_SECONDS:-60}
# Migrations sync their journals there.
run_dir=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$run_dir"' EXIT
trap 'exit 1' INT TERM

for name; do
	mkdir -p "$BUILD/corpus/$name" "$BUILD/findings"
	dict=tests/fuzz/${name%-proto}.dict
	[ -f "$dict" ] || dict=
	echo "fuzzing $name for $seconds s"
	if ! BLKTAP_RUN_DIR=$run_dir "$BUILD/tests/fuzz/$name" -max_total_time="$seconds" \
		${dict:+"-dict=$dict"} -max_len=4096 -timeout=60 -close_fd_mask=1 -print_final_stats=1 -verbosity=1 \
		-artifact_prefix="$BUILD/findings/$name-" \
		"$BUILD/corpus/$name" "tests/fuzz/corpus/$name" >"$BUILD/$name.log" 2>&1; then
		tail -n 40 "$BUILD/$name.log"
		input=$(sed -n 's/.*Test unit written to //p' "$BUILD/$name.log")
		echo "$name: ${input:-see $BUILD/$name.log}"
		[ -z "$input" ] || echo "again: BLKTAP_RUN_DIR=/tmp $BUILD/tests/fuzz/$name $input"
		exit 1
	fi
	grep -E 'cov:' "$BUILD/$name.log" | tail -n 1
done
