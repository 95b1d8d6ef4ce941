#!/bin/sh
# The simulator: first the seeds that once failed, then many others.
# SIM_SEEDS says how many, SIM_FIRST with which to begin.
cd "$(dirname "$0")" || exit 1
sim=$BUILD/tests/sim/sim

# result NUMBER NAME COMMAND...: runs the command; what it says goes into comments.
result() {
	number=$1 name=$2
	shift 2
	if output=$("$@" 2>&1); then
		echo "ok $number - $name"
		echo "$output" | tail -n 1
	else
		echo "not ok $number - $name"
		echo "$output" | sed 's/^/# /'
	fi
}

regressions() {
	sed '/^#/d; s/[^0-9].*//' regressions | while read -r seed; do
		"$sim" -j 1 -f "$seed" -n 1 || exit 1
	done
}

echo 1..5
result 1 "what once failed does not fail again" regressions
result 2 "${SIM_SEEDS:-20000} seeds keep every promise" \
	"$sim" -f "${SIM_FIRST:-1}" -n "${SIM_SEEDS:-20000}"
result 3 "so do as many with a journal, and crashes" \
	"$sim" -f "$((2000000000 + ${SIM_FIRST:-1}))" -n "${SIM_SEEDS:-20000}"
result 4 "and as many that switch the strategy just before a crash" \
	"$sim" -f "$((3000000000 + ${SIM_FIRST:-1}))" -n "${SIM_SEEDS:-20000}"
result 5 "and as many whose journal cannot be written for seconds" \
	"$sim" -f "$((4000000000 + ${SIM_FIRST:-1}))" -n "${SIM_SEEDS:-20000}"
