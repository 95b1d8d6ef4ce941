#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # what is for the guest is expanded there
#
# block-tapmigrate by nbd and blkback, beside tapback: xl create, block-attach (to a guest that runs),
# block-detach, reboot and destroy work, wait for nothing, and leave nothing; what fails
# says why.
. "$(dirname "$0")/lib.sh"

ok 'tapback serves' tapback
new_image disk 48
truncate -s 8M second
ok 'a domain is created' create_guest g "$(disk xvda "aio:$T/disk" block-tapmigrate-nbd)"
ok 'its disk works' guest 'mount /dev/xvda /mnt'
load_start 4 1
ok 'the disk is moved under load' xl-migrate-disk g xvda "$T/moved" aio
like "$(cat "$T/said")" "target=aio:$T/moved" 'and what to put into the config is said'
ok 'which goes on' load_goes_on 1
ok 'a disk is attached' xl_quiet block-attach g "$(disk xvdb "aio:$T/second")"
ok 'the guest writes to it' wait_for guest 'echo hello | dd of=/dev/xvdb conv=fsync'
refuses 'a disk that is not there is not attached' "$T/none: No such file" xl block-attach g "$(disk xvdc "aio:$T/none")"
is "$(cd /run/blktap-control && echo ctl*)" "$(tap-ctl list | sed 's/pid=\([0-9]*\) .*/ctl\1/' | sort | xargs)" 'and leaves no tapdisk'
ok 'and detaching it is no error' xl_quiet block-detach g xvdc
ok 'a disk is detached' xl_quiet block-detach g xvdb
is "$(head -c 5 second)" hello 'what was written is there'
ok 'the load has seen no error' load_stop
ok 'nor has the kernel' no_io_errors
guest 'umount /mnt'
first=$domid
ok 'the domain is rebooted' xl_quiet reboot -F g
ok 'it comes back' wait_for eval "[ \$(xl domid g) != $first ]"
ok 'as it was' guest_is_up g
ok 'with its disk, which has moved' guest 'mount /dev/xvda /mnt && [ -s /mnt/load ] && umount /mnt'
ok 'the domain is destroyed' xl_quiet destroy g
ok 'nothing is left' wait_for nothing_left
ok 'the file system is clean' e2fsck -fn moved
for config in /etc/xen/example-*.cfg; do
	ok "${config##*/} is understood" xl create -n "$config"
done
mapfile -t took < <(sed -n 's/.*tapmigrate[^:]*: \(.* in [0-9.]* s .*\)/\1/p' /var/log/messages)
say 'how long the hotplug program took:' "${took[@]}"
done_testing
