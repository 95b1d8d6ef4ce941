#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tap-ctl migrate against a scripted migration: what it asks, what it makes of
# each answer, what it says, and its exit status.
here=$(realpath "$(dirname "$0")")
. "$(dirname "$0")/lib.sh"
needs perl jq

uuid=01234567-89ab-cdef-0123-456789abcdef
socket=$BLKTAP_RUN_DIR/migrate-$uuid
"$BUILD/tests/live/new-journal" journal $uuid 8 '{"source":"aio:/a","destination":"aio:/b"}' '{"state":"copying"}'
"$BUILD/tests/live/fake-tapdisk" 101 bytes "migrate:$T/journal" >fake &
started+=($!)
wait_for [ -s fake ]

line() { # STATE REASON VALID [END]: a status of that
	echo '{"'"${4:-ok}"'":true,"status":{"uuid":"'$uuid'","journal":{"path":"'"$T"'/journal",
		"state":"good","error":null,"bytes":8192,"intents":2,"unwritten":3},
		"source":"aio:/a","destination":"aio:/b","strategy":"lr","state":"'"$1"'",
		"reason":"'"$2"'","error":null,"complete":"auto","bytes":{"total":1073741824,
		"valid":'"$3"',"copied":1048576,"skipped":0,"zero":512},
		"written":{"source":{"copy":0,"guest":1},"destination":{"copy":1048576,"guest":2048}},
		"guest_reads":{"source":4096,"destination":0},"pending_writes":3,"delayed_writes":4,
		"threshold":32,"rate_mib_s":100.5,"rate_limit_mib_s":0,"eta_s":3725,"elapsed_s":59,
		"chunk":1048576,"destination_larger_by":512,"map_bytes":1,"hold_ms":null}}' |
		tr -d '\n\t'
	echo
}

# script NAME WANTED_STATUS COMMAND...: with the script on stdin; output in said, requests in asked
script() {
	local name=$1 wanted=$2 server status
	shift 2
	rm -f "$socket"
	cat >answers
	"$here/fake-migration.pl" "$socket" answers >asked &
	server=$!
	wait_for [ -S "$socket" ]
	"$@" >said 2>&1 </dev/null
	status=$?
	kill $server 2>/dev/null
	wait $server 2>/dev/null
	is $status "$wanted" "$name" || say "$(quote "$(cat said)")"
}

# shellcheck disable=SC2317 # script and refuses call it
on() { # COMMAND...
	local command=$1
	shift
	tap migrate "$command" -m 1 "$@"
}

script "status" 0 on status < <(line copying "" 536870912)
is "$(cat asked)" '{"command":"status"}' "status asks for the status"
is "$(cat said)" "aio:/a -> aio:/b
  state        copying, 50.0 % of 1.0 GiB
  strategy     lr, completes by itself, threshold 32, chunk 1.0 MiB
  time         0:59 gone  1:02:05 left
  rate         100 MiB/s
  bytes        512.0 MiB valid, 1.0 MiB copied, 0 B skipped, 512 B zero
  source       written: 0 B by the copy, 1 B by the guest; read by the guest: 4.0 KiB
  destination  written: 1.0 MiB by the copy, 2.0 KiB by the guest; read by the guest: 0 B
  writes       3 pending, 4 delayed
  note         the destination is 512 B larger than the disk
  journal      $T/journal: good, 8.0 KiB, 2 regions in doubt if power fails" "status for people"

script "status --json" 0 on status --json < <(line copying "" 536870912)
is "$(jq -r '.state, .bytes.valid, .hold_ms' said | xargs)" "copying 536870912 null" "status for programs"

script "a status that would control the terminal" 0 on status < <(
	line copying "" 536870912 | sed 's|"aio:/a"|"aio:/\\u001b[2J\\u000aa"|')
is "$(head -1 said)" "aio:/?[2J?a -> aio:/b" "is shown without that"

script "watch ends with the migration" 0 on status --watch < <(
	line copying "" 536870912
	line copying "" 1073741823
	line completed "" 1073741824 final)
is "$(sed 's/  100 MiB\/s  1:02:05 left//' said)" " 50.0 %  copying
 99.9 %  copying
100.0 %  completed
completed: the disk runs on aio:/b, aio:/a is no longer used
the destination is 512 B larger than the disk: it has that size when it is next opened, and does not fit onto the old source then" "a line for each change, 100 % only when all is done"

script "set asks for what is given, and no more" 0 on set --strategy aio --rate 0 --threshold 5 < <(line copying "" 1)
is "$(jq -Sc . asked)" '{"command":"set","rate_mib_s":0,"strategy":"aio","threshold":5}' "as numbers and strings"
script "set without settings" 22 on set </dev/null
script "a refusal is the exit status" 22 on set --strategy fast < <(
	echo '{"ok":false,"error":{"errno":22,"message":"there is no strategy \"fast\""}}')
is "$(cat said)" 'tap-ctl: Invalid argument: there is no strategy "fast"' "with its message"

script "pause" 0 on pause < <(line paused operator 1)
is "$(cat asked)" '{"command":"pause"}' "pause says pause"
script "pause of one that has just ended" 2 on pause < <(line completed "" 1073741824 final)
script "resume" 0 on resume < <(line copying "" 1)

unrecorded() { # STATE REASON
	line "$1" "$2" 1 | sed 's|"status":{|&"recorded":false,|'
}
script "a command is done when the journal has it" 0 on pause < <(
	unrecorded paused operator
	unrecorded paused operator
	line paused operator 1)
is "$(grep -c . asked) $(head -1 asked)" '3 {"command":"pause"}' "and asks until it does"
script "a command that the journal does not take is not a success" 115 on cancel < <(
	for _ in {1..200}; do unrecorded rolling-back journal-full; done)
like "$(cat said)" "the journal does not have it yet" "and says what that means"

script "complete --wait" 0 on complete --wait < <(
	line copying "" 1
	line synchronised "" 1073741824
	line completed "" 1073741824 final)
script "complete --watch" 0 on complete --watch < <(
	line copying "" 1
	line copying "" 536870912
	line completed "" 1073741824 final)
is "$(sed 's/  100 MiB\/s  1:02:05 left//' said)" " 50.0 %  copying
100.0 %  completed
completed: the disk runs on aio:/b, aio:/a is no longer used
the destination is 512 B larger than the disk: it has that size when it is next opened, and does not fit onto the old source then" "shows the progress to the end"
again='{"ok":false,"error":{"errno":114,"message":"that is so already"}}'
script "complete --wait of what completes already waits for it" 0 on complete --wait < <(
	echo "$again"
	line completing "" 1073741824
	line completed "" 1073741824 final)
script "complete of it does not" 114 on complete < <(echo "$again")
script "cancel --wait of what is being cancelled waits for it" 0 on cancel --wait < <(
	echo "$again"
	line rolling-back "" 1
	line cancelled "" 0 final)
script "complete --wait of one that is cancelled" 125 on complete --wait < <(
	line copying "" 1
	line cancelled "" 0 final)
script "complete --wait does not wait where the operator must act" 28 on complete --wait < <(
	line copying "" 1
	line paused no-space 1)
like "$(cat said)" "no-space.*make room" "and says what to do"
script "nor where sectors cannot be read" 5 on complete --wait < <(
	line copying "" 1
	line paused bad-sectors 1)
like "$(cat said)" "bad-sectors.*tap-ctl migrate resume reads them again" "and says what to do"
script "complete --wait of a disk that is closed" 103 on complete --wait < <(
	line copying "" 1
	line copying "" 1 final)
like "$(cat said)" "goes on when it is opened again from $T/journal" "and says how it goes on"
script "complete --wait of a tapdisk that dies" 104 on complete --wait < <(
	line copying "" 1
	echo .)
script "cancel --wait" 0 on cancel --wait < <(
	line copying "" 1
	line rolling-back "" 1
	line cancelled "" 0 final)
is "$(cat said)" "cancelled: the disk runs on aio:/a, aio:/b is no longer used" "says which disk is used now"
script "cancel --wait does not wait where the operator must act either" 5 on cancel --wait < <(
	line copying "" 1
	line rolling-back destination-errors 1)
like "$(cat said)" "rolling-back: destination-errors .*mend the destination, then tap-ctl migrate resume$" \
	"and says what to do"
script "cancel --wait of one that has completed" 114 on cancel --wait < <(line completed "" 0 final)

script "an answer that is no JSON" 71 on status < <(echo "hello")
script "an answer that is no object" 71 on status < <(echo '[1]')
script "an answer with nothing in it" 71 on status < <(echo '{}')
script "an error that is none" 71 on status < <(echo '{"ok":false,"error":{"errno":-3,"message":7}}')
script "an answer without end" 71 on status < <(head -c 70000 /dev/zero | tr '\0' x; echo)

script "list" 0 tap migrate list < <(line copying "" 536870912)
is "$(tail -1 said)" "     101     1 lr       copying       50.0% aio:/a -> aio:/b" "list for people"
script "list --json" 0 tap migrate list --json < <(line copying "" 536870912)
is "$(jq -r '.[0] | .pid, .minor, .state' said | xargs)" "101 1 copying" "list for programs"
rm -f "$socket"
tap migrate list --json >said
is $? 0 "list of a migration that does not answer"
like "$(jq -r '.[0].error' said)" "nobody answers on $socket" "says so in its row"

refuses "status of a migration that does not answer" "nobody answers on $socket" on status
refuses "status of nothing" "status wants either" tap migrate status
refuses "start of a disk under migration" "minor 1 is under migration already" on start --to aio:/c
refuses "no such minor" "no tapdisk has minor 9" tap migrate pause -m 9
refuses "a strategy that is none" 'no strategy "fast"' on start --to aio:/c --strategy fast
refuses "a destination without a type" '--to wants aio:' on start --to /c
refuses "a relative destination" '--to wants aio:' on start --to aio:c
refuses "a relative journal" '--journal wants' on start --to aio:/c --journal x
refuses "to do what with the journal?" 'keep or remove' on start --to aio:/c --journal-after burn
refuses "a chunk too small" 'power of two from 64K' on start --to aio:/c --chunk 4K
refuses "a chunk that is no power of two" 'power of two from 64K' on start --to aio:/c --chunk 96K
refuses "complete when?" 'auto or manual' on start --to aio:/c --complete soon
refuses "no destination" '--to aio:PATH is missing' on start
echo 'x' >journal
refuses "a journal that is none" "not a journal" on status

done_testing
