#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Two tapdisks migrate at once, and clients die in the middle of their requests:
# nobody disturbs the other.
. "$(dirname "$0")/lib.sh"
needs fio jq

size=$((32 << 20))

head -c $size /dev/urandom >other-src
start_disk "aio:$T/other-src"
first=("$pid" "$minor")
fresh_disk $size
truncate -s $size other-dst dst

ok "the first starts" tap migrate start -p "${first[0]}" -m "${first[1]}" \
	--to "aio:$T/other-dst" --strategy slr --chunk 64K --rate 16 --complete manual
guest_start $size
ok "the second starts" mig start --to "aio:$T/dst" --strategy lr --chunk 64K --rate 8 --complete manual
is "$(tap migrate list --json | jq length)" 2 "both are listed"
ok "the first is to complete by itself" tap migrate set -p "${first[0]}" -m "${first[1]}" --complete auto

for victim in 1 2 3; do
	fio --ioengine=nbd --uri="$uri" --rw=randread --bs=64k --iodepth=32 --size=$size --time_based --runtime=60 \
		--name=victim$victim --output=victim.log &
	client=$!
	started+=("$client")
	guest_goes_on 1
	kill -KILL $client
	wait $client 2>/dev/null
done
ok "the second synchronises though clients were killed" wait_for state_is synchronised
ok "and completes" mig complete --wait
ok "its guest saw no error and no wrong data" guest_stop
stop_disk
ok "its destination holds exactly what the guest wrote" disk_is dst

pid=${first[0]} minor=${first[1]}
ok "the first completed by itself" wait_for runs_on "aio:$T/other-dst"
stop_disk
ok "and its destination is the same" cmp other-src other-dst
done_testing
