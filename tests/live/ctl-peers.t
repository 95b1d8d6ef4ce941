#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tap-ctl against tapdisks that are stopped, dead, or talk nonsense: it always
# ends, says what is wrong, and still shows the others.
. "$(dirname "$0")/lib.sh"

fake() { # NUMBER MODE [ARGS]
	"$BUILD/tests/live/fake-tapdisk" "$@" >"$T/fake$1" &
	started+=($!)
	fake=$!
	wait_for [ -s "$T/fake$1" ]
}

fake 101 bytes
fake 102 silent
fake 103 half
fake 104 half-held
fake 105 wrong-type
fake 106 unterminated
fake 107 error
fake 108 endless
fake 109 bytes
kill -STOP "$fake"
fake 110 bytes
kill -KILL "$fake"
wait "$fake" 2>/dev/null # leaves its socket
: >"$BLKTAP_RUN_DIR/nbd102.7"
tap allocate >/dev/null # minor 0

tap list >listed 2>warned
is $? 0 "list succeeds whatever its peers do"
long=aio:$(printf 'x%.0s' {1..251})
is "$(cat listed)" "pid=101 minor=1 state=0 args=aio:/fake
pid=102 minor=7
pid=103
pid=104
pid=105
pid=106 minor=1 state=0 args=$long
pid=107
pid=108
pid=109
minor=0" "those that answer are shown whole, the others as the run directory knows them"
is "$(sed 's/ (.*//' warned)" "$(for n in 102 103 104 105 107 108 109; do
	echo "tap-ctl: tapdisk $n does not answer"
done)" "there is a warning for each that does not answer, and none for a dead one"
is "$(tap list -p 101)" "pid=101 minor=1 state=0 args=aio:/fake" "list -p shows one"
is "$(tap list -m 7 2>/dev/null)" "pid=102 minor=7" "list -m shows one"
is "$(tap list -t aio -f /fake 2>/dev/null | cut -d' ' -f1)" "pid=101" "list -t -f shows one"
is "$(tap list -p 4711 2>&1)" "" "list -p of no tapdisk shows nothing"

exits() { # STATUS NAME COMMAND...
	local wanted=$1 name=$2
	shift 2
	"$@" >said 2>&1 </dev/null
	is $? "$wanted" "$name"
}

exits 28 "a tapdisk's error is the exit status" tap detach -p 107 -m 1
is "$(cat said)" "tap-ctl: No space left on device: the fake disk is full" "and its message is shown"
exits 110 "a timeout is kept" tap close -p 102 -m 1 -t 1
exits 110 "pause has a timeout too" tap pause -p 102 -m 1 -t 1
exits 71 "half an answer" tap attach -p 103 -m 1
exits 110 "half an answer, held" tap pause -p 104 -m 1 -t 1
exits 71 "an answer to something else" tap attach -p 105 -m 1
exits 111 "a dead tapdisk" tap attach -p 110 -m 1
exits 2 "no tapdisk" tap attach -p 4711 -m 1

fake 111 error-unterminated
exits 5 "a message without an end" tap detach -p 111 -m 1
# A text that is longer than its place in the message goes on behind it.
x=$(printf 'x%.0s' {1..255}) y=$(printf 'y%.0s' {1..300})
fake 117 error-long
exits 5 "a message that is longer than its place" tap detach -p 117 -m 1
is "$(cat said)" "tap-ctl: Input/output error: $x$y" "is shown whole"
fake 118 error-full
exits 5 "one that just fits" tap detach -p 118 -m 1
is "$(cat said)" "tap-ctl: Input/output error: $x" "as well"
fake 119 error-full-held
exits 5 "one whose end is not to be had is shown as far as it goes" tap detach -p 119 -m 1
is "$(cat said)" "tap-ctl: Input/output error: $x" "and nobody waits for ever"
fake 120 error-endless
exits 5 "one without an end has one here" tap detach -p 120 -m 1
is "$(wc -l <said)" 1 "it is one line"
ok "of a length that can be read" [ "$(wc -c <said)" -lt 20000 ]
refuses "and no control characters" "" grep -q $'\e' said
fake 112 error-zero
exits 71 "an error that is none" tap detach -p 112 -m 1
fake 113 stats-cut
exits 71 "statistics that do not come" tap stats -p 113 -m 1
fake 114 stats-huge
exits 71 "statistics without measure" tap stats -p 114 -m 1

# What a tapdisk says does not control the terminal, nor look like another line.
fake 115 bytes $'aio:/\e]0;x\a\npid=1\xc2\x9b2J grün'
is "$(tap list -p 115)" "pid=115 minor=1 state=0 args=aio:/?]0;x??pid=1??2J grün" "list shows no control characters"
kill -KILL "$fake"
fake 116 bytes $'aio:/\e]0;x\a'
refuses "nor does an error" 'minor 1 is aio:/[?]\]0;x' tap migrate status -p 116 -m 1

done_testing
