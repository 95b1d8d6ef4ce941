#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A journal's name may be any bytes. What cannot be said of it in JSON is shown by question
# marks; the migration is listed, and its journal says how it ended.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io

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

# A disk of a name with everything in it that is special somewhere. It can be served and
# looked at; a journal cannot record bytes that are not UTF-8, and a start says so first.
odd=$(printf 'o\xffd "quoted" \\back pid=7 args=aio')
head -c $size /dev/urandom >"$odd"
start_disk "aio:$T/$odd"
is "$(tap stats -p "$pid" -m "$minor" | jq -r .name)" "aio:$T/o?d \"quoted\" \\back pid=7 args=aio" \
	"an odd name: statistics are JSON"
refuses "an odd name: a migration is refused, and it says why" "not UTF-8" \
	mig start --to "aio:$T/dst2" --create
ok "an odd name: nothing is left of it" [ ! -e dst2 ]
ok "an odd name: the disk runs" qemu-io -f raw "$uri" -c "write 0 4k"
stop_disk

# Quotes, backslashes and characters of other languages are no trouble.
odd=$(printf 'gr\xc3\xbcn "quoted" \\back')
head -c $size /dev/urandom >"$odd"
start_disk "aio:$T/$odd"
ok "a special name: migrates" mig start --to "aio:$T/to $odd" --create --wait
ok "a special name: the disk is there" cmp "$odd" "to $odd"
is "$(tap stats -p "$pid" -m "$minor" | jq -r .name)" "aio:$T/to $odd" "a special name: statistics show it"
stop_disk

# After a migration the disk's name may be longer than the 255 bytes that the list of a
# tapdisk has room for; tap-ctl list shows it whole nevertheless.
fresh_disk $size
long=$(printf '%0100d/' 1 2 3)name
mkdir -p "${long%/*}"
ok "a long name: migrates" mig start --to "aio:$T/$long" --journal "$T/long.migrate" --create --wait
ok "a long name: the disk is there" wait_for runs_on "aio:$T/$long"
is "$(tap list -t aio -f "$T/$long" | wc -l)" 1 "a long name: it is found by that"
missing=$T/$(printf '%0*d' $((250 - ${#T})) 1)
refuses "a long name: an error about one is not cut" "$missing: .*No such file or directory" \
	tap create -a "aio:$missing"
stop_disk

# The journal cannot be written, and the status quotes its name.
fresh_disk $size
truncate -s $size dst
rm -f "$name"
new_journal "$T/$name" "aio:$T/src" "fault:$T/faults:$T/dst" mirror 0
faults "fail write EIO"
ok "errors: pauses" tap pause -p "$pid" -m "$minor"
ok "errors: goes on by a journal of an odd name" tap unpause -p "$pid" -m "$minor" -a "migrate:$T/$name"
ok "errors: status says what is wrong" wait_for holds '.reason == "destination-errors" and (.journal.path | test("gr.n"))'
kill -KILL "$pid"
done_testing
