#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Of all system calls that are made to fail, to wait, or to kill who makes them, a sample, and
# those that have found something: the guest goes on, and so can the operator.
here=$(dirname "$0")
BUILD=$(realpath "${BUILD:-build}")
export BUILD
truncate -s 4096 "$BUILD/faults.page"
said=$("$BUILD/tests/faults/inject" "$BUILD/faults.page" /dev/null / openat -- true 2>&1) || {
	echo "1..0 # SKIP no seccomp here: $said"
	exit 0
}
echo 1..1
said=$("$here/faults.py" --sample "${FAULTS:-60}" --jobs 4 2>&1)
status=$?
said="# ${said//$'\n'/$'\n'# }"
echo "$said"
[ $status = 0 ] || {
	echo "$said" >&2
	echo -n "not "
}
echo "ok 1 - whatever fails once, the guest goes on, and so does the operator"
exit $status
