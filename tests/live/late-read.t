#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The migration completes while the guest's reads are still with a slow source.
# What the source answers then may not be told, for it is asked no more: such a
# read goes to the destination, whose image is the VBD's already.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$((8 << 20))

slow_reads() { # reads what has not been written since the migration began
	fio --name=slow --ioengine=nbd --uri="$uri" --rw=randread --bs=4k --iodepth=8 \
		--size=$size --io_size=256k --randseed="$SEED" --output="$T/slow.log"
}

for strategy in slr aio mirror dbt; do
	rm -f dst ./*.migrate
	head -c $size /dev/urandom >src
	truncate -s $size dst
	faults
	start_disk "fault:$T/faults:$T/src"
	ok "$strategy starts" mig start --to "aio:$T/dst" --strategy $strategy --complete manual
	ok "$strategy synchronises" wait_for state_is synchronised
	faults "delay read 500"
	slow_reads &
	reader=$!
	started+=("$reader")
	ok "$strategy: reads are with the source" wait_for holds '.guest_reads.source > 0'
	ok "$strategy completes" mig complete --wait
	ok "$strategy: the reads are answered" wait "$reader"
	ok "$strategy: the disk runs on the destination" runs_on "aio:$T/dst"
	stop_disk
	ok "$strategy: the destination holds what the source held" cmp src dst
done
done_testing
