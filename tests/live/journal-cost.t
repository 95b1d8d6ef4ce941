#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What a journal costs a guest: its first write to a region is a sync of the journal, the
# thousands that follow are none, and a flush is one at most. The tapdisk's syncs are
# counted; some are the migration's own, one in five seconds.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$((8 << 20)) # one region
export TAPDISK_COUNTED_SYNCS=$T/syncs

syncs() {
	stat -c %s syncs
}

now() {
	cut -d. -f1 /proc/uptime
}

# A pass of the guest, and how many syncs it took at least: without as many as the clock
# may have caused.
cost() { # FIO-OPTION...
	local began before
	began=$(now)
	before=$(syncs)
	guest_pass "$size" "$@" || return 1
	own=$(($(syncs) - before - ($(now) - began + 1) / 5 - 1))
}

for strategy in lr slr aio mirror dbt; do
	fresh_disk $size
	truncate -s $size dst
	: >syncs
	ok "$strategy starts" mig start --to "aio:$T/dst" --strategy $strategy --complete manual
	ok "$strategy synchronises" wait_for state_is synchronised
	# Until it rests: all is in the journal, and nothing is in doubt.
	ok "$strategy rests" wait_for holds '.journal.unwritten == 0 and .journal.intents == 0'
	above "$(syncs)" 0 "$strategy: syncs are counted"
	if [ $strategy = dbt ]; then
		# What it writes is to be copied again: the copier would have its part in this.
		mig pause
	fi
	first=$(syncs)
	ok "$strategy: a guest writes" cost
	above "$(syncs)" "$first" "$strategy: its first write is a sync"
	above 2 "$own" "$strategy: the 255 others are none"
	guest_bs=(--bs=512)
	ok "$strategy: it writes 2048 smaller blocks" cost
	above 2 "$own" "$strategy: none of these is"
	guest_bs=(--bs=4k)
	ok "$strategy: it flushes every 32 writes" cost --fsync=32
	above 16 "$own" "$strategy: these are one sync each at most"
	stop_disk
done
done_testing
