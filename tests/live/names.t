#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A journal's name may be any bytes. What cannot be said of it in JSON is shown by question
# marks; the migration is listed, and its journal says how it ended.
. "$(dirname "$0")/lib.sh"
needs jq

size=$((4 << 20))
name=$(printf 'gr\xfcn')
for way in complete cancel; do
	fresh_disk $size
	truncate -s $size dst
	rm -f "$name"
	new_journal "$T/$name" "aio:$T/src" "aio:$T/dst" mirror 0
	ok "$way: pauses" tap pause -p "$pid" -m "$minor"
	ok "$way: goes on by that journal" tap unpause -p "$pid" -m "$minor" -a "migrate:$T/$name"
	ok "$way: has a status" wait_for state_is synchronised
	is "$(tap migrate list --json | jq -r '.[] | select(.pid == '"$pid"') | .journal.path, .strategy' | xargs)" \
		"$T/gr?n mirror" "$way: is listed"
	ok "$way: does" mig $way --wait
	stop_disk
	like "$(tap migrate inspect "$T/$name")" "state +(completed|cancelled)" "$way: the journal says so"
	ok "$way: and opens" start_disk "migrate:$T/$name"
	[ $way = complete ] && left=dst || left=src
	ok "$way: on the disk that is left" wait_for runs_on "aio:$T/$left"
	stop_disk
done
done_testing
