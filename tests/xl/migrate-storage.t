#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# xl-migrate-storage: all disks of a domain, one after another or several at a time; after
# a failure each is usable where it is, and the same command does the rest.
. "$(dirname "$0")/lib.sh"

size=$((4 << 20))
vdevs=(xvda xvdb xvdc)

attach() { # fresh disks
	local i
	rm -rf old new
	mkdir old new
	for i in 0 1 2; do
		[ ! -e "$XEN/store/libxl/7/device/vbd/$i" ] || hotplug remove $i
		head -c $size /dev/urandom >"old/${vdevs[i]}.img"
		new_device $i "${vdevs[i]}" "aio:$T/old/${vdevs[i]}.img"
		hotplug add $i
	done
}

where() { # the images of all
	local i
	for i in 0 1 2; do
		tapdisk_at backend/vbd3/7/$i/physical-device-path && disk_args
	done | sed "s|aio:$T/||" | xargs
}

all_hold() { # DIRECTORY
	local vdev
	for vdev in "${vdevs[@]}"; do
		cmp "old/$vdev.img" "$1/$vdev.img" || return
	done
}

move() {
	timeout "$HANG" xl-migrate-storage "$@"
}

xen_has blkback tapback
attach
ok "--dry-run" move --dry-run g "$T/new"
is "$(cat said)" "xvda of 7 would move from $T/old/xvda.img to $T/new/xvda.img (lr)
xvdb of 7 would move from $T/old/xvdb.img to $T/new/xvdb.img (lr)
xvdc of 7 would move from $T/old/xvdc.img to $T/new/xvdc.img (lr)" "says what would be done"
is "$(where)" "old/xvda.img old/xvdb.img old/xvdc.img" "and does nothing"
ok "one after another" move g "$T/new"
mv said told
is "$(where)" "new/xvda.img new/xvdb.img new/xvdc.img" "all disks are moved"
ok "and hold all" all_hold new
is "$(tail -n 3 told)" "xvda: moved to $T/new/xvda.img
xvdb: moved to $T/new/xvdb.img
xvdc: moved to $T/new/xvdc.img" "which is said"
is "$(sed -n 's/:.* moves from.*//p' told | xargs)" "xvda xvdb xvdc" "in their order"
ok "again" move g "$T/new"
attach
ok "two at a time, by another strategy" move -j 2 --strategy mirror g "$T/new"
is "$(where)" "new/xvda.img new/xvdb.img new/xvdc.img" "all disks are moved"
ok "and hold all" all_hold new
attach
ok "some of them" move g "xvdb=$T/new/b" "xvda=$T/new/a" --overwrite
is "$(where)" "new/a new/b old/xvdc.img" "to where they are wanted"

attach
hotplug remove 1
xenstore-write backend/vbd/7/1/mode r
hotplug add 1
ok "--dry-run, of a domain with a read-only disk" move --dry-run g "$T/new"
like "$(cat said)" "xvdb stays where it is: it is read-only" "says that this one stays"
ok "the others move" move g "$T/new"
is "$(where)" "new/xvda.img old/xvdb.img new/xvdc.img" "also what comes after it"
ok "again" move g "$T/new"
refuses "it is not moved by its name" "xvdb of 7 is read-only.*nothing has been done" move g "xvda=$T/new/x" "xvdb=$T/new/b"
is "$(where)" "new/xvda.img old/xvdb.img new/xvdc.img" "nor is anything else then"

# --- refusals, before anything is done ------------------------------------------------------

attach
echo mine >new/xvdc.img
refuses "a target that exists, of the last one" "xvdc.img exists; --overwrite.*nothing has been done" move g "$T/new"
refuses "no directory" "no directory $T/none" move g "$T/none"
refuses "no such domain" 'no domain "h"' move h "$T/new"
refuses "no such disk" "no disk xvdz" move g "xvda=$T/new/a" "xvdz=$T/new/z"
refuses "no path" "VDEV=TARGET" move g xvda=new
refuses "a disk twice" "xvda is named twice" move g "xvda=$T/new/a" "xvda=$T/new/b"
refuses "a target twice" "xvda and xvdb would both move to" move g "xvda=$T/new/a" "xvdb=$T/new/a"
refuses "no number" "-j wants a number" move -j many g "$T/new"
refuses "no such strategy" 'no strategy "fast"' move --strategy fast g "xvda=$T/new/a"
refuses "no such option" "no option --fast" move --fast g "$T/new"
refuses "nothing to do" "are wanted" move g
is "$(where):$(ls new)" "old/xvda.img old/xvdb.img old/xvdc.img:xvdc.img" "none of which did anything"
ok "--help" move --help
like "$(cat said)" "usage: xl-migrate-storage .*DOMAIN DIRECTORY" "shows the usage"

# --- one fails ------------------------------------------------------------------------------------

# As if the target of xvdb were full.
rm "$XEN/bin/tap-ctl"
cat >"$XEN/bin/tap-ctl" <<-END
	#!/bin/bash
	if [[ -e "$T/full" && "\$*" = *"-m \$(cat "$T/full") "* ]]; then
		[ "\$2" != start ] || set -- "\$@" --complete manual
		[ "\$2" != complete ] || exit 28
	fi
	exec "$BUILD/tap-ctl" "\$@"
END
chmod +x "$XEN/bin/tap-ctl"
attach
tapdisk_at backend/vbd3/7/1/physical-device-path
echo "$minor" >full
move g "$T/new" >said 2>&1
is $? 28 "one that fails"
is "$(where)" "new/xvda.img old/xvdb.img old/xvdc.img" "is taken back; what was done stays, no other is begun"
is "$(tail -n 3 said)" "xvda: moved to $T/new/xvda.img
xvdb: failed, with exit status 28
xvdc: not begun" "which is said"
is "$(ls new)" "xvda.img
xvda.img.migrate" "what had been made for it is removed"
rm full
ok "the same command again" move g "$T/new"
is "$(where)" "new/xvda.img new/xvdb.img new/xvdc.img" "does the rest"
ok "and all hold all" all_hold new

attach
tapdisk_at backend/vbd3/7/1/physical-device-path
echo "$minor" >full
move -j 2 g "$T/new" >said 2>&1
is $? 28 "one that fails beside another"
like "$(where)" "^new/xvda.img old/xvdb.img " "which is seen through"
rm full

size=$((64 << 20)) # a minute
attach
setsid "$scripts/xl-migrate-storage" -j 2 g "$T/new" --rate 1 >said 2>&1 &
mover=$!
started+=("$mover")
wait_for grep -q "xvda: .*copying" said
wait_for grep -q "xvdb: .*copying" said
kill -TERM $mover
wait $mover
is $? 130 "interrupted"
is "$(where | sed "s|$T/||g")" "migrate:new/xvda.img.migrate migrate:new/xvdb.img.migrate old/xvdc.img" "what is under way goes on"
for i in 0 1; do
	tapdisk_at backend/vbd3/7/$i/physical-device-path
	mig set --rate 0
done
ok "the same command again" move -j 3 g "$T/new"
is "$(where)" "new/xvda.img new/xvdb.img new/xvdc.img" "does the rest"
ok "and all hold all" all_hold new

done_testing
