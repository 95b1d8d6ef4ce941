#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # what is for the guest is expanded there
#
# A guest writes to its disk, on tapdisk's ring, and verifies, while xl-migrate-disk moves
# it by each strategy, and xl-migrate-storage with all others. A domain that ends in
# mid-migration goes on with it when it is created again from the journal; from there on
# without xen-blkback.
. "$(dirname "$0")/lib.sh"

ok 'tapback serves' tapback
new_image disk 48
truncate -s 8M data
ok 'a domain with two disks is created' create_guest g "$(xvda "aio:$T/disk")" "$(disk xvdb "aio:$T/data")"
ok 'it uses both' guest 'mount /dev/xvda /mnt && echo hello | dd of=/dev/xvdb conv=fsync'
load_start 8 1
for strategy in lr slr aio mirror dbt; do
	ok "$strategy: the disk is moved under load" xl-migrate-disk g xvda "$T/$strategy" $strategy
	find_tapdisk
	ok "$strategy: it is on its new place" runs_on "aio:$T/$strategy"
	ok "$strategy: the load goes on" load_goes_on 1
done
mkdir all
ok 'all disks are moved, two at a time' xl-migrate-storage -j 2 --strategy mirror g "$T/all"
is "$(tap-ctl list | sed 's/.*args=aio://' | sort | xargs)" "$T/all/data $T/all/dbt" 'to where they are to be'
ok 'the load goes on' load_goes_on 1
ok 'and has seen no error and no wrong data' load_stop
ok 'nor has the kernel' no_io_errors

guest 'dd if=/dev/urandom of=/mnt/junk bs=1M count=20 2>/dev/null; umount /mnt'
find_tapdisk
xl-migrate-disk g xvda "$T/slow" slr --rate 1 >slow.said 2>&1 &
mover=$!
started+=("$mover")
wait_for grep -q copying slow.said
ok 'a disk moves slowly, and stops on its way' mig pause
ok 'the guest writes' guest 'mount /dev/xvda /mnt && cd /mnt && rm load && dd if=/dev/urandom of=file bs=1M count=8 2>/dev/null && md5sum file >sum && cd / && umount /mnt'
ok 'the domain is destroyed meanwhile' xl_quiet destroy g
wait $mover
is $? 103 'xl-migrate-disk says that it is not over'
ok 'no tapdisk is left' wait_for nothing_left
ok 'xen-blkback is unloaded' rmmod xen_blkback
ok 'the domain is created again, from the journal' create_guest g "$(xvda "migrate:$T/slow.migrate")"
ok 'a disk is attached' xl_quiet block-attach g "$(disk xvdb "aio:$T/data")"
find_tapdisk
ok 'the migration is where it was' state_is paused
mig set --rate 0
ok 'goes on' mig resume
ok 'and is seen through' xl-migrate-disk g xvda
ok 'the disk is on its new place' runs_on "aio:$T/slow"
verify='mount /dev/xvda /mnt && cd /mnt && md5sum -c sum && cd / && umount /mnt'
hello='head -c 5 /dev/xvdb | grep hello'
ok 'the guest has what it wrote' guest "$verify"
ok 'and the disk that was attached' wait_for guest "$hello"
ok 'a disk is detached' xl_quiet block-detach g xvdb
ok 'and attached again' xl_quiet block-attach g "$(disk xvdb "aio:$T/data")"
ok 'it moves' xl-migrate-disk g xvdb "$T/data2"
ok 'the guest sees nothing of that' wait_for guest "$hello"
first=$domid
ok 'the domain is rebooted' xl_quiet reboot -F g
ok 'it comes back' wait_for eval "[ \$(xl domid g) != $first ]"
ok 'as it was' guest_is_up g
ok 'with what it wrote' guest "$verify && $hello"
ok 'no kernel has seen an error' no_io_errors
ok 'the domain is destroyed' xl_quiet destroy g
ok 'nothing is left' wait_for nothing_left
is "$(find /var/tmp /run/blktap-control -name 'live-*' -o -name 'nbd*' -o -name 'tapdisk-*')" '' 'of any tapdisk'
ok 'the file system is clean' e2fsck -fn slow
for image in data2 slow; do
	is "$(tap migrate mark "$image")" "$image: no mark" "$image is nobody's"
done
done_testing
