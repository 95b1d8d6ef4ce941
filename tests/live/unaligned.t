#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Writes of any number of sectors at any sector: no neighbour of theirs is lost
# or copied over, with each strategy, on a disk whose size is not a multiple of
# anything.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$(((16 << 20) + 7 * 512))
guest_bs=(--bsrange=512-5k)

for strategy in lr slr aio mirror dbt; do
	fresh_disk $size
	truncate -s $size dst
	ok "$strategy starts" mig start --to "aio:$T/dst" --strategy $strategy --chunk 64K --rate 4 --complete manual
	guest_start $size
	ok "$strategy synchronises" wait_for all_copied
	guest_goes_on 1
	ok "$strategy completes" mig complete --wait
	ok "$strategy: the guest saw no error and no wrong data" guest_stop
	stop_disk
	ok "$strategy: the destination is exact to the sector" disk_is dst
done
done_testing
