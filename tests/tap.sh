# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# tap.sh - a test says what it expects with ok, is, like, above, refuses, and ends
# with done_testing
#
# $T is a directory of the test's own. Nothing is asserted about time: wait_for polls
# a condition, with a bound that only a hang reaches.

tests=0
failures=0

say() { # what people should see, also through prove
	printf '# %s\n' "$@" >&2
}

verdict() { # 0|other NAME
	tests=$((tests + 1))
	if [ "$1" = 0 ]; then
		echo "ok $tests - $2"
	else
		failures=$((failures + 1))
		echo "not ok $tests - $2"
		say "${0##*/} $tests failed: $2"
		return 1
	fi
}

quote() {
	sed '2,$s/^/# /' <<<"$1"
}

ok() { # NAME COMMAND...: the command succeeds
	local name=$1 status
	shift
	"$@" >"$T/said" 2>&1 # not in a subshell: it may set variables
	status=$?
	verdict $status "$name" || say "exit $status: $*" "$(quote "$(head -40 "$T/said")")"
}

is() { # GOT EXPECTED NAME
	[ "$1" = "$2" ]
	verdict $? "$3" || say "got:      $(quote "$1")" "expected: $(quote "$2")"
}

like() { # GOT REGEX NAME
	[[ $1 =~ $2 ]]
	verdict $? "$3" || say "got:    $(quote "$1")" "wanted: $2"
}

above() { # NUMBER NUMBER NAME: the first is more than the second
	[ "$1" -gt "$2" ]
	verdict $? "$3" || say "$1 is not more than $2"
}

refuses() { # NAME REGEX COMMAND...: it fails, by itself, and its words match
	local name=$1 wanted=$2 said status
	shift 2
	said=$("$@" 2>&1 </dev/null)
	status=$?
	[ $status != 0 ] && [ $status -lt 128 ] && [[ $said =~ $wanted ]]
	verdict $? "$name" || say "exit $status: $*" "said:   $(quote "$said")" "wanted: $wanted"
}

done_testing() {
	echo "1..$tests"
	[ $failures = 0 ]
	exit
}

needs() { # TOOL...: skips the whole test where one is missing
	local tool
	for tool; do
		command -v "$tool" >/dev/null || {
			echo "1..0 # SKIP no $tool on this machine"
			exit 0
		}
	done
}
