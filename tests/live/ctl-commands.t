#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Every command of tap-ctl with a real tapdisk: output, exit status, and what is
# left behind.
. "$(dirname "$0")/lib.sh"
needs jq

runs() { # STATUS OUTPUT NAME COMMAND...
	local wanted=$1 output=$2 name=$3
	shift 3
	"$@" >out 2>err </dev/null
	is "$?:$(cat out)" "$wanted:$output" "$name" || say "$(quote "$(cat err)")"
}

says() { # REGEX NAME: on stderr
	like "$(cat err)" "$1" "$2"
}

left() { # what is in the run directory
	(cd "$BLKTAP_RUN_DIR" && find . ! -type d | sort | xargs)
}

mark=$BLKTAP_RUN_DIR/tapdisk/tapdisk-
head -c 1M /dev/urandom >a
head -c 1M /dev/urandom >b

runs 0 "" "list of nothing is nothing" tap list
runs 0 "${mark}0" "allocate prints the marker" tap allocate
runs 0 "${mark}1" "allocate takes the next" tap allocate
runs 0 "minor=0
minor=1" "list shows minors without a tapdisk" tap list
runs 0 "" "free says nothing" tap free -m 0
runs 2 "" "free of a free minor" tap free -m 0
runs 0 "${mark}0" "allocate takes the lowest" tap allocate
tap free -m 1

tap spawn >out 2>err
is $? 0 "spawn succeeds"
pid=$(cat out) minor=0
started+=("$pid")
like "$pid" '^[0-9]+$' "spawn prints the process id"
is "$(cat err)" "" "and nothing else"
runs 0 "pid=$pid
minor=0" "list shows a tapdisk without a VBD" tap list

runs 22 "" "attach of a minor that is not allocated" tap attach -p "$pid" -m 7
says "allocate" "says what to do"
runs 22 "" "open of a minor that is not attached" tap open -p "$pid" -m 0 -a "aio:$T/a"
runs 0 "" "attach" tap attach -p "$pid" -m 0
runs 22 "" "attach twice" tap attach -p "$pid" -m 0
says "attached already" "says so"
runs 0 "pid=$pid minor=0 state=0" "list shows a VBD that is not open" tap list
runs 11 "" "free of an attached minor" tap free -m 0
runs 2 "" "open of a missing file" tap open -p "$pid" -m 0 -a "aio:$T/none"
says "$T/none" "names it"
runs 2 "" "open of an unknown type" tap open -p "$pid" -m 0 -a "strange:$T/a"
runs 22 "" "open of a name without a type" tap open -p "$pid" -m 0 -a "$T/a"
runs 36 "" "open of a long name" tap open -p "$pid" -m 0 -a "aio:/$(printf 'x%.0s' {1..300})"
runs 0 "" "open" tap open -p "$pid" -m 0 -a "aio:$T/a"
runs 114 "" "open twice" tap open -p "$pid" -m 0 -a "aio:$T/a"
runs 0 "pid=$pid minor=0 state=0 args=aio:$T/a" "list shows an open VBD" tap list
runs 16 "" "detach while it is open" tap detach -p "$pid" -m 0

runs 22 "" "unpause while it runs" tap unpause -p "$pid" -m 0
runs 0 "" "pause" tap pause -p "$pid" -m 0
runs 0 "pid=$pid minor=0 state=0x2a args=aio:$T/a" "list shows a paused VBD as 0x2a" tap list
runs 0 "" "unpause" tap unpause -p "$pid" -m 0
runs 0 "" "pause -t" tap pause -p "$pid" -m 0 -t 30
runs 0 "" "unpause -a" tap unpause -p "$pid" -m 0 -a "aio:$T/b"
runs 0 "pid=$pid minor=0 state=0 args=aio:$T/b" "list shows the other image" tap list

tap stats -p "$pid" -m 0 >out
is "$?:$(wc -l <out)" "0:2" "stats prints a line and an empty one"
is "$(jq -r '.name, (.secs | length), .images[0].driver.name, .nbd_mirror_failed, .reqs_outstanding' out | xargs)" \
	"aio:$T/b 2 aio 0 0" "stats has blktap's keys"
runs 19 "" "stats of an unknown minor fails" tap stats -p "$pid" -m 9
is "$(tap stats -p "$pid" -m 65535 | jq length)" 1 "stats of all VBDs is a list"

kill -STOP "$pid"
tap list >out 2>err
is "$?:$(cat out)" "0:pid=$pid minor=0" "list shows a stopped tapdisk as the run directory knows it"
says "tapdisk $pid does not answer" "and warns"
runs 110 "" "pause of a stopped tapdisk ends" tap pause -p "$pid" -m 0 -t 1
kill -CONT "$pid"
wait_for runs_on "aio:$T/b" # it answers again
runs 0 "pid=$pid minor=0 state=0 args=aio:$T/b" "the pause that was given up does not come later" tap list

runs 0 "" "close" tap close -p "$pid" -m 0
runs 0 "pid=$pid minor=0 state=0x2" "list shows a closed VBD" tap list
runs 0 "" "detach" tap detach -p "$pid" -m 0
ok "the tapdisk ends with its last VBD" wait_for gone "$pid"
tap free -m 0
is "$(left)" "" "nothing is left behind"
runs 2 "" "close of a tapdisk that has gone" tap close -p "$pid" -m 0

runs 0 "${mark}0" "create" tap create -a "aio:$T/a" -R
pid=$(tap list | sed 's/^pid=\([0-9]*\) .*/\1/')
started+=("$pid")
runs 0 "pid=$pid minor=0 state=0 args=aio:$T/a" "list -p -m" tap list -p "$pid" -m 0
runs 0 "" "list -t" tap list -t migrate
runs 0 "" "list -f" tap list -f "$T/b"
runs 0 "" "destroy" tap destroy -p "$pid" -m 0 -t 30
ok "destroy ends the tapdisk" wait_for gone "$pid"
is "$(left)" "" "destroy leaves nothing"

runs 2 "" "create of a missing file" tap create -a "aio:$T/none"
says "$T/none" "names it"
ok "a create that fails leaves nothing" wait_for [ "$(left)" = "" ]

cat >failing <<-'END'
	#!/bin/sh
	echo "no memory for me" >&2
	exit 12
END
chmod +x failing
runs 12 "" "spawn of a tapdisk that fails has its status" env TAPDISK="$T/failing" "$BUILD/tap-ctl" spawn
says "no memory for me" "and its words"
runs 12 "" "create with one" env TAPDISK="$T/failing" "$BUILD/tap-ctl" create -a "aio:$T/a"
is "$(left)" "" "leaves nothing"
runs 2 "" "spawn without a tapdisk" env TAPDISK="$T/none" "$BUILD/tap-ctl" spawn
runs 71 "" "spawn of something else" env TAPDISK=/bin/echo "$BUILD/tap-ctl" spawn

runs 22 "" "an unknown command is an error" tap nonsense
says '"nonsense"' "that names it"
tap >out 2>err
is $? 0 "no command is not"
like "$(cat out)" "usage: tap-ctl COMMAND" "it prints the usage"
for command in list allocate free create destroy spawn attach detach open close pause unpause stats; do
	tap $command -h >out 2>err
	is "$?:$(head -1 out)" "0:usage: tap-ctl $command [OPTIONS]" "$command -h"
	runs 22 "" "$command with a wrong option" tap $command -z
done
runs 22 "" "a minor that is no number" tap free -m 0x
runs 22 "" "an option that is missing" tap pause -p 1
says "-m MINOR is missing" "is named"
runs 0 "" "--debug is accepted" tap list --debug
runs 0 "" "also before the options" tap list --debug -m 3

done_testing
