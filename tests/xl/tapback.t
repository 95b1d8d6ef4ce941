#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tapback is one, and nobody but root can keep it from starting.
. "$(dirname "$0")/lib.sh"
[ ! -e /proc/xen/capabilities ] || { echo "1..0 # SKIP it would serve this machine's guests"; exit; }

start() { # as far as it comes without a xenstore
	"$BUILD/tapback" -f -p "$T/pid"
}

refuses "without a xenstore" "no xenstore here" start
is "$(stat -c %a pid)" 600 "nobody else can read its pid file, and so lock it"
chmod 644 pid
refuses "with a pid file of an older one" "no xenstore here" start
is "$(stat -c %a pid)" 600 "it is root's alone from then on"
exec 8<pid
flock 8
refuses "beside another one" "another tapback runs" start
exec 8<&-
rm pid
ln -s "$T/elsewhere" pid
refuses "a link in its place" "Too many levels of symbolic links" start
ok "is not followed" test ! -e elsewhere

done_testing
