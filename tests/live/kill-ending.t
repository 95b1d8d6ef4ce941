#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tapdisk is killed while it cancels and while it completes, again and again, until it
# has: the journal tells whether it had, and the guest misses nothing either way.
. "$(dirname "$0")/kills.sh"
needs jq

for strategy in ${STRATEGIES:-lr slr aio mirror dbt}; do
	begin "$strategy" 16
	pause_for 999
	cancels=0
	for ((i = 0; i < KILLS / 2; i++)); do
		mig cancel >/dev/null 2>&1 && cancels=$((cancels + 1))
		mig set --rate 16 >/dev/null 2>&1
		pause_for 200
		before=$(ups)
		killed
		reopen
		goes_on "$before" || break
		ended && break
	done
	ok "$strategy: was cancelled" [ $cancels -gt 0 ]
	ended || mig cancel >/dev/null 2>&1
	ended || mig set --rate 0 >/dev/null 2>&1
	ok "$strategy: goes back to the source" wait_for runs_on "aio:$T/src"
	ok "$strategy: the guest missed nothing, and the source holds the disk" survivor_end src
done

for strategy in ${STRATEGIES:-lr slr aio mirror dbt}; do
	begin "$strategy" 0
	ok "$strategy synchronises" wait_for all_copied
	for ((i = 0; i < KILLS / 2; i++)); do
		mig complete >/dev/null 2>&1
		pause_for 40
		before=$(ups)
		killed
		said=$(tap migrate inspect --json "$journal" | jq -r .migration.state)
		reopen
		goes_on "$before" || break
		[ "$said" != completed ] || break
	done
	[ "$said" = completed ] || mig complete --wait
	ok "$strategy: the disk runs on the destination" wait_for runs_on "aio:$T/dst"
	before=$(ups)
	killed
	reopen
	ok "$strategy: a completed journal serves the destination" wait_for runs_on "aio:$T/dst"
	ok "$strategy: and the guest goes on" goes_on "$before"
	ok "$strategy: the guest missed nothing, and the destination holds the disk" survivor_end dst
done
done_testing
