#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What a copy may cost its guest: said at the start, changed under way, kept in the journal.
. "$(dirname "$0")/lib.sh"
needs jq fio

guest_may_lose() {
	status '.priority, .guest_latency_pct' | xargs
}

size=$((8 << 20))
fresh_disk $size

refuses "a priority that there is not" 'guest, balanced or copy, not "mine"' \
	mig start --to "aio:$T/dst" --create --priority mine
refuses "two ways to say it" "priority or --guest-latency, not both" \
	mig start --to "aio:$T/dst" --create --priority guest --guest-latency 10
ok "a start without a word of it" mig start --to "aio:$T/dst" --create --rate 1 --complete manual
balanced=$(guest_may_lose)
like "$balanced" "^balanced [0-9]+$" "is balanced"
ok "the guest can be put first under way" mig set --priority guest
is "$(guest_may_lose | cut -d' ' -f1)" guest "and is"
ok "a latency can be given" mig set --guest-latency 30
is "$(guest_may_lose)" "30" "which is nobody's name"
refuses "a latency out of all bounds" "guest.latency" mig set --guest-latency 99999
is "$(guest_may_lose)" "30" "changes nothing"

guest_start $size
wait_for holds '.guest_latency_us.copying != null'
above "$(status '.guest_latency_us.copying | floor')" 0 "what the guest feels is in the status"
ok "the copy can be put first" mig set --priority copy --rate 0
wait_for all_copied
is "$(guest_may_lose)" "copy 0" "whatever the guest feels"
ok "its data is right all the while" guest_stop

mig set --guest-latency 77
open_again() {
	tap pause -p "$pid" -m "$minor" && tap unpause -p "$pid" -m "$minor" -a "migrate:$T/dst.migrate"
}
ok "a journal that is opened again" open_again
is "$(guest_may_lose)" "77" "goes on as it was told"
ok "it completes" mig complete --wait
ok "the destination is what the guest wrote" disk_is dst
done_testing
