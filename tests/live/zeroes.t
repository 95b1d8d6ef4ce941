#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The guest discards and zeroes, before and behind the copier, while a disk
# moves: what it reads back and what arrives are the same as on a plain file.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io nbdcopy

size=$((16 << 20))

requests() { # IMAGE: the same requests, whatever it is
	local commands=() at
	for at in 0 1 5 7 9 13 15; do # MiB
		commands+=(-c "write -P 0x5$((at % 10)) $((at << 20)) 300k"
			-c "write -z $(((at << 20) + 4096)) 60k"
			-c "write -z -u $(((at << 20) + 65536)) 128k"
			-c "discard $(((at << 20) + 230 * 1024)) 20k"
			-c "write -z $(((at << 20) + 512 * 3)) 512"
			-c "write -P 0x77 $(((at << 20) + 512 * 77)) 1536")
	done
	qemu-io -f raw -d unmap "${commands[@]}" -c flush "$1"
}

for strategy in lr slr aio mirror dbt; do
	fresh_disk $size
	head -c $size /dev/urandom >dst
	ok "$strategy starts" mig start --to "aio:$T/dst" --strategy $strategy --chunk 64K --rate 16 --complete manual
	wait_for holds '.bytes.valid > (6 * 1024 * 1024)'
	mig pause
	ok "$strategy: the guest zeroes and discards" requests "$uri"
	requests pristine >/dev/null
	ok "$strategy: the guest can read it all" nbdcopy "$uri" seen
	ok "$strategy: and reads what it wrote" cmp pristine seen
	mig resume
	ok "$strategy synchronises" wait_for state_is synchronised
	ok "$strategy completes" mig complete --wait
	stop_disk
	ok "$strategy: the destination holds exactly what the guest wrote" cmp pristine dst
done
done_testing
