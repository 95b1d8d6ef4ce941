#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# xl-migrate-disk: the disk moves, what points to it follows, and whatever goes wrong the
# disk is served and nothing is lost.
. "$(dirname "$0")/lib.sh"
needs fio

vbd=backend/vbd/7/51712 vbd3=backend/vbd3/7/51712 record=/libxl/7/device/vbd/51712
size=$((16 << 20))

attach() { # a fresh disk, to domain 7 as xvda
	[ ! -e src ] || hotplug remove 51712
	rm -f src dst ./*.migrate
	: >"$passes"
	head -c $size /dev/urandom >src
	cp src pristine
	new_device 51712 xvda "aio:$T/src"
	hotplug add 51712 && tapdisk_at $vbd3/physical-device-path
	uri="nbd+unix:///?socket=$BLKTAP_RUN_DIR/nbd$pid.$minor"
}

points_to() { # TYPE:NAME: all that names the disk does
	local node
	for node in $vbd $vbd3 $record; do
		[ "$(xs "$node/params")" = "$1" ] || return
	done
}

move() { # [ARGUMENT...]
	timeout "$HANG" xl-migrate-disk "$@"
}

xen_has blkback tapback

for strategy in lr slr aio mirror dbt; do
	attach
	guest_start $size
	ok "$strategy: a disk that is used moves" move g xvda "$T/dst" $strategy --rate 16
	mv said said.$strategy
	ok "$strategy: its guest sees nothing of it" guest_stop
	ok "$strategy: it is on the target" runs_on "aio:$T/dst"
	ok "$strategy: which holds all" disk_is dst
	ok "$strategy: xenstore points there" points_to "aio:$T/dst"
done
is "$(tail -n 2 said.lr)" "xvda of g is on $T/dst now. In the domain's config file its disk is:
    'format=raw,vdev=xvda,access=rw,script=block-tapmigrate,target=aio:$T/dst'" "the line for the config file is printed"
like "$(cat said.lr)" "100.0 %" "and before that the progress"

ok "a disk that is there already" move g xvda "$T/dst"
like "$(cat said)" "target=aio:$T/dst" "is no error"
ok "nor is no target" move 7 51712
like "$(cat said)" "xvda|51712 of 7 is on $T/dst" "but says where it is"

# --- refusals, before anything is done -------------------------------------------------------

attach
head -c $size /dev/zero >there
refuses "a target that exists" "$T/there exists; --overwrite" move g xvda "$T/there"
refuses "a relative target" "absolute path" move g xvda there
refuses "a target in no directory" "no directory $T/none" move g xvda "$T/none/dst"
refuses "no such domain" 'no domain "h"' move h xvda "$T/dst"
refuses "no such disk" "g has no disk xvdz; it has: xvda" move g xvdz "$T/dst"
refuses "no such strategy" 'no strategy "fast"' move g xvda "$T/dst" fast
refuses "no such option" "no option --fast" move g xvda "$T/dst" --fast
refuses "an option without its value" "--rate wants a value" move g xvda "$T/dst" --rate
refuses "a rate that is none" "not a number" move g xvda "$T/dst" --rate x
refuses "no disk" "DOMAIN and VDEV are wanted" move g
refuses "what on error?" "leave or cancel" move g xvda "$T/dst" --on-error burn
ok "--dry-run" move g xvda "$T/dst" slr --dry-run
is "$(cat said)" "xvda of g would move from $T/src to $T/dst (slr)" "says what would be done"
truncate -s 1M small
refuses "--dry-run, to a target that is too small" "small" move g xvda "$T/small" --overwrite --dry-run
xenstore-write $vbd/mode r
refuses "--dry-run, of a read-only disk" "xvda of g is read-only" move g xvda "$T/dst" --dry-run
refuses "a read-only disk" "xvda of g is read-only" move g xvda "$T/dst"
xenstore-write $vbd/mode w
ok "none of which changed anything" eval "runs_on 'aio:$T/src' && points_to 'aio:$T/src' && [ ! -e dst ]"
new_device 51728 xvdb "/dev/some"
refuses "a disk that no tapdisk serves" "xvdb of g is not a tapdisk's" move g xvdb "$T/dst"
device_gone 51728
ok "a target that exists, with --overwrite" move g xvda "$T/there" --overwrite
ok "holds all" cmp src there
attach
ok "--help" move --help
like "$(cat said)" "usage: xl-migrate-disk .*DOMAIN VDEV" "shows the usage"

# --- interrupted --------------------------------------------------------------------------------

size=$((64 << 20))
attach
to=$T/dst
begin_slowly() { # [ARGUMENT...]: a copy to $to that takes a minute; sets mover
	rm -f moved
	setsid xl-migrate-disk g xvda "$to" --rate 1 "$@" >moved 2>&1 &
	mover=$!
	started+=("$mover")
	wait_for grep -q copying moved
}

begin_slowly slr
ok "meanwhile xenstore points to the journal" points_to "migrate:$T/dst.migrate"
refuses "another target" "on its way to $T/dst" move g xvda "$T/other"
kill -TERM $mover
wait $mover
is $? 130 "interrupted"
like "$(cat moved)" 'the migration of xvda goes on by itself. "xl-migrate-disk g xvda" shows it' "says what becomes of it"
ok "it goes on" state_is copying
is "$(pgrep -fc "migrate complete -p $pid -m $minor")" 0 "nobody is left who shows it"
mig set --rate 0
ok "without a target it is seen through" move g xvda
ok "and all is as it would have been" eval "runs_on 'aio:$T/dst' && points_to 'aio:$T/dst' && cmp src dst"

# What JSON escapes, and what looks like more than a name.
for to in 'q"uote' 'back\slash' "a args=aio:$T/other b" '", "state": "x'; do
	to=$T/$to
	attach
	mkdir -p "$(dirname "$to")"
	begin_slowly slr
	kill -TERM $mover
	wait $mover
	ok "a target named ${to##*/}: on its way" move g xvda --dry-run
	is "$(cat said)" "xvda of g is on its way from $T/src to $to" "that is said"
	mig set --rate 0
	ok "it is seen through" move g xvda "$to"
	is "$(disk_args)" "aio:$to" "to there"
	ok "and all that names the disk says so" points_to "aio:$to"
	rm "$to"*
done
to=$T/dst

attach
begin_slowly mirror
kill -TERM $mover
wait $mover
mig set --rate 0
wait_for runs_on "aio:$T/dst"
ok "what points to a disk that has moved by itself meanwhile" move g xvda
ok "follows" points_to "aio:$T/dst"

attach
begin_slowly lr
hotplug remove 51712
wait $mover
is $? 103 "the domain ends meanwhile"
like "$(cat moved)" "goes on when it is opened again from $T/dst.migrate" "says how it goes on"
new_device 51712 xvda "aio:$T/src"
ok "the domain comes back, by its old config" hotplug add 51712
ok "its disk" tapdisk_at $vbd3/physical-device-path
ok "is the migration" runs_on "migrate:$T/dst.migrate"
mig set --rate 0
ok "which is seen through" move g xvda
ok "and holds all" cmp src dst

attach
mkdir early
cat >early/tap-ctl <<-'END'
	#!/bin/bash
	# The domain ends just when the migration has begun.
	"$BUILD/tap-ctl" "$@" || exit
	[[ "$1 $2" != "migrate start" ]] || XENBUS_PATH=backend/vbd/7/51712 block-tapmigrate remove
END
chmod +x early/tap-ctl
PATH=$T/early:$PATH move g xvda "$T/dst" --rate 1 >moved 2>&1
is $? 103 "the domain ends as the migration begins"
like "$(cat moved)" "goes on when it is opened again from $T/dst.migrate" "which is said"
new_device 51712 xvda "aio:$T/src"
hotplug add 51712 && tapdisk_at $vbd3/physical-device-path
mig set --rate 0
ok "and it goes on" move g xvda
ok "to the end" cmp src dst

# --- the target fails ------------------------------------------------------------------------

attach
begin_slowly aio
(mig cancel --wait) >/dev/null
wait $mover
is $? 125 "somebody else cancels"
ok "the disk is where it was" runs_on "aio:$T/src"

# --- the target fails ------------------------------------------------------------------------

# begin_to_fail: a migration to a target that fails
begin_to_fail() {
	attach
	truncate -s $size bad
	faults "fail write EIO" "fail zero EIO"
	ok "a migration" start_by_hand "fault:$T/faults:$T/bad" mirror 0
	wait_for state_is paused
}

begin_to_fail
move g xvda >said 2>&1
is $? 16 "to a target that fails"
like "$(cat said)" "reason: destination-errors .resume or cancel it first.*xvda is left as it is" "is left as it is"
faults
mig resume
ok "mended, it is seen through" move g xvda
ok "and holds all" cmp src bad
begin_to_fail
move g xvda --on-error cancel >said 2>&1
is $? 16 "to a target that fails, with --on-error cancel"
like "$(cat said)" "xvda of g is on $T/src, as before" "goes back"
ok "to where it was" eval "runs_on 'aio:$T/src' && points_to 'aio:$T/src'"
is "$(ls "$T"/*.migrate 2>/dev/null):$(ls bad)" ":bad" "and only the journal is removed"

# As if the new target were full.
rm "$XEN/bin/tap-ctl"
cat >"$XEN/bin/tap-ctl" <<-END
	#!/bin/bash
	[ "\$2" != start ] || set -- "\$@" --complete manual
	[ "\$2" != complete ] || exit 28
	exec "$BUILD/tap-ctl" "\$@"
END
chmod +x "$XEN/bin/tap-ctl"
attach
move g xvda "$T/dst" --on-error cancel >said 2>&1
is $? 28 "a target that was made, and is full"
is "$(find "$T" -name 'dst*'):$(disk_args)" ":aio:$T/src" "is removed again, with the journal"

done_testing
