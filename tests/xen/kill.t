#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # what is for the guest is expanded there
#
# tapdisk is killed under a guest whose disk is half migrated, and tapback too. The guest
# waits, goes on with the next ones, and misses nothing.
. "$(dirname "$0")/lib.sh"

tapback || die 'no tapback'
ok 'an image with a file system' new_image src 64
ok 'a guest with that disk comes up' create_guest g "$(xvda "aio:$T/src")"
ok 'its tapdisk is known' find_tapdisk
ok 'it mounts it' guest 'mount -t ext4 /dev/xvda /mnt'
ok 'it has a load' load_start 16 11
ok 'which goes on' load_goes_on 1
ok 'the disk is migrated' mig start --to "aio:$T/dst" --create --strategy slr --rate 1 \
	--complete manual --journal "$T/journal"

for i in 1 2 3; do
	ok "$i: the guest goes on" load_goes_on 2
	ok "$i: tapdisk is killed" kill_tapdisk
	ok "$i: the ring is on record" test -s "/run/blktap-control/ring$domid.51712"
	ok "$i: another one takes the journal up" restart_tapdisk "migrate:$T/journal"
done
ok 'the guest goes on' load_goes_on 2
is "$(xenstore-read "backend/vbd3/$domid/51712/kthread-pid")" "$pid" 'with the last tapdisk'

ok 'tapback is killed' kill -KILL "$(cat /run/tapback.pid)"
ok 'and started again' tapback
ok 'the guest goes on' load_goes_on 2
ok 'both are killed' eval 'kill -KILL $(cat /run/tapback.pid); kill_tapdisk'
ok 'and started again' eval 'restart_tapdisk "migrate:$T/journal" && tapback'
ok 'the guest goes on' load_goes_on 2

ok 'the rest is copied' mig set --rate 0
ok 'to the end' wait_for state_is synchronised
ok 'and completed' mig complete
ok 'the disk is the destination' runs_on "aio:$T/dst"
ok 'the guest goes on' load_goes_on 2
ok 'nothing it wrote was lost' load_stop
ok 'no I/O error is seen' no_io_errors
ok 'it unmounts' guest 'umount /mnt'
ok 'it is destroyed' xl destroy g
ok 'the file system is clean' e2fsck -fn "$T/dst"
is "$(xenstore-ls backend/vbd3)" '' 'nothing is left in xenstore'
refuses 'nor of its ring' 'No such' ls "/run/blktap-control/ring$domid.51712"
is "$(tap list)" '' 'nor a tapdisk'
done_testing
