#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The strategy of a running migration is switched from each to each other, under
# a guest's load; then the disk moves as if nothing had been.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$((64 << 20))
# A walk in which each strategy follows each other once.
walk=(lr aio lr mirror dbt slr mirror slr dbt aio mirror lr slr aio dbt mirror aio slr lr dbt lr)

fresh_disk $size
truncate -s $size dst
guest_start $size
ok "starts" mig start --to "aio:$T/dst" --strategy "${walk[0]}" --chunk 64K --rate 8 --complete manual
pairs=()
for ((i = 1; i < ${#walk[@]}; i++)); do
	pairs+=("${walk[i - 1]}-${walk[i]}")
	ok "switches from ${walk[i - 1]} to ${walk[i]}" mig set --strategy "${walk[i]}"
	is "$(status .strategy)" "${walk[i]}" "and says so"
	[ $((i % 4)) != 0 ] || guest_goes_on 1
done
is "$(printf '%s\n' "${pairs[@]}" | sort -u | wc -l)" 20 "every pair was tried"
ok "no limit from now on" mig set --rate 0
ok "synchronises" wait_for state_is synchronised
ok "completes" mig complete --wait
guest_goes_on 1
ok "the guest saw no error and no wrong data" guest_stop
stop_disk
ok "the destination holds exactly what the guest wrote" disk_is dst
done_testing
