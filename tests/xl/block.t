#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # what wait_for evaluates
#
# block-tapmigrate: by each route a tapdisk, and after remove, or after an add that failed,
# nothing.
. "$(dirname "$0")/lib.sh"

vbd=backend/vbd/7/51712 vbd3=backend/vbd3/7/51712 frontend=/local/domain/7/device/vbd/51712
size=$((4 << 20))
head -c $size /dev/urandom >disk
head -c $size /dev/urandom >other

why() { # what xl shows
	xs $vbd/hotplug-error
}

# --- by backend/vbd3 ------------------------------------------------------------------------------

xen_has blkback tapback nbd
new_device 51712 xvda "aio:$T/disk"
ok "add, with blkback and tapback" hotplug add 51712
is "$(grep -v ^xenstore "$XEN/calls")" "xl list 7" "runs no other program than xl, and tapdisk"
like "$(cat "$XEN_HOTPLUG_LOG")" "block-tapmigrate add $vbd: attached by vbd3 in [0-9.]+ s .clean-up [0-9.]+, tapdisk [0-9.]+, image " \
	"says in the log how long it took, and where"
ok "gives the device a tapdisk" tapdisk_at $vbd3/physical-device-path
is "$(disk_args)" "aio:$T/disk" "that is open on the target"
is "$(xs $vbd/hotplug-status) $(xs $frontend/backend)" "connected /local/domain/0/$vbd3" "and leads the guest to tapback"
is "$(for key in frontend frontend-id mode params hotplug-status; do xs $vbd3/$key; done | xargs)" \
	"$frontend 7 w aio:$T/disk connected" "which finds all its keys"
is "$(cat "$blkback/unbind")" vbd-7-51712 "blkback has let go"
before=$pid
ok "add again" hotplug add 51712
ok "changes nothing" eval "tapdisk_at $vbd3/physical-device-path && [ $before = \$pid ]"
new_device 51728 xvdb "aio:$T/other"
ok "a second disk" hotplug add 51728
ok "remove" hotplug remove 51712
wait_for gone "$before"
ok "ends the tapdisk of its own device only" eval "! xenstore-exists $vbd3 &&
	tapdisk_at backend/vbd3/7/51728/physical-device-path && runs_on 'aio:$T/other'"
ok "remove again is no error" hotplug remove 51712
ok "remove of the last" hotplug remove 51728
is "$(left)" "" "leaves nothing"
device_gone 51728

xen_has tapback
new_device 51712 xvda "$T/disk"
ok "add, without blkback, of a target without type" hotplug add 51712
ok "gives the device a tapdisk" tapdisk_at $vbd3/physical-device-path
is "$(disk_args) $(xs $frontend/backend)" "aio:$T/disk /local/domain/0/$vbd3" "and leads the guest to tapback"
ok "remove" hotplug remove 51712
is "$(left)" "" "leaves nothing"

xen_has blkback tapback
new_device 51712 xvda "aio:$T/disk"
rm "$blkback/vbd-7-51712"
(wait_for grep -q 2 "$XEN/store/local/domain/0/$vbd3/state/=" && touch "$blkback/vbd-7-51712") &
ok "add, where blkback is late" hotplug add 51712
wait $!
is "$(cat "$blkback/unbind")" vbd-7-51712 "waits for it"
ok "remove" hotplug remove 51712

xen_has tapback
echo -b---- >"$XEN/state"
new_device 51712 xvda "aio:$T/disk"
ok "add, to a guest that runs, without blkback" hotplug add 51712
ok "tells tapback at backend/vbd" tapdisk_at $vbd/physical-device-path
is "$(disk_args) $(xs $frontend/backend)" "aio:$T/disk /local/domain/0/$vbd" "and leaves the guest there"
ok "remove" hotplug remove 51712
is "$(left)" "" "leaves nothing"

# --- by nbd ---------------------------------------------------------------------------------------

xen_has blkback tapback nbd
echo r----- >"$XEN/state"
echo 1 >"$SYSFS/block/nbd0/pid"
new_device 51712 xvda "aio:$T/disk"
ok "add, to a guest that runs" hotplug add 51712
is "$(xs $vbd/physical-device) $(xs $vbd/physical-device-path)" "2b:10 /dev/nbd1" "gives blkback an nbd that was free"
ok "which a tapdisk serves" tapdisk_at $vbd/tapdisk
is "$(xs $frontend/backend):$(ls "$blkback")" "/local/domain/0/$vbd:vbd-7-51712" "and leaves the guest with blkback"
is "$(xs $vbd/script)" /etc/xen/scripts/block-tapmigrate-nbd "for which tapback does not answer"
ok "remove" hotplug remove 51712
rm "$SYSFS/block/nbd0/pid"
is "$(left)" "" "leaves nothing"

new_device 51712 xvda "aio:$T/disk"
hotplug add 51712
tapdisk_at $vbd/tapdisk
killed
echo 4711 >"$SYSFS/block/nbd0/pid"
ok "remove, of a tapdisk that has died, and whose nbd is somebody else's now" hotplug remove 51712
is "$(left)" "$SYSFS/block/nbd0/pid" "leaves that alone"

xen_has blkback tapback nbd
ln -s "$scripts/block-tapmigrate" block-tapmigrate-nbd
ln -s "$scripts/tapmigrate-common.sh" .
new_device 51712 xvda "aio:$T/disk" block-tapmigrate-nbd
ok "add, by the name of block-tapmigrate-nbd" hotplug add 51712 ./block-tapmigrate-nbd
is "$(xs $vbd/physical-device-path)" "/dev/nbd0" "is by nbd"
ok "remove" hotplug remove 51712 ./block-tapmigrate-nbd

xen_has blkback nbd
new_device 51712 xvda "aio:$T/disk"
ok "add, where tapback does not answer" hotplug add 51712
is "$(xs $vbd/physical-device-path):$(xenstore-exists $vbd3 || echo none)" "/dev/nbd0:none" "is by nbd"
ok "remove" hotplug remove 51712
is "$(left)" "" "leaves nothing"

# --- add fails -----------------------------------------------------------------------------------

fails() { # NAME REGEX: add does, says that, and leaves nothing
	refuses "$1" "" hotplug add 51712
	like "$(why)" "$2" "says so to xl"
	is "$(left):$(xs $vbd/hotplug-status):$(xs $frontend/backend)" ":error:/local/domain/0/$vbd" "and leaves nothing"
	ok "remove afterwards is no error" hotplug remove 51712
	xen_has blkback tapback nbd
	new_device 51712 xvda "aio:$T/disk"
}

xen_has blkback
new_device 51712 xvda "aio:$T/disk"
fails "neither tapback nor nbd" "^block-tapmigrate: tapback does not answer, and the kernel has no nbd$"
xen_has blkback tapback
echo r----- >"$XEN/state"
new_device 51712 xvda "aio:$T/disk"
fails "a guest that runs, and no nbd" "the guest runs, so that xen-blkback must serve it, and the kernel has no nbd"
new_device 51712 xvda "aio:$T/none"
fails "no such image" "aio:$T/none cannot be opened: .*No such file"
new_device 51712 xvda "aio:none"
fails "a relative target" "an absolute path, not aio:none"
new_device 51712 xvda "vhd:$T/disk"
fails "an image of a type that is none" "vhd:$T/disk cannot be opened"
tap create -a "aio:$T/disk" >marker
tap list >busy
new_device 51712 xvda "aio:$T/disk"
refuses "an image that another tapdisk has" "" hotplug add 51712
like "$(why)" "cannot be opened: .*" "says so to xl"
is "$(tap list)" "$(cat busy)" "and does not touch that"
tap destroy -p "$(sed -n 's/^pid=\([0-9]*\).*/\1/p' busy)" -m "$(sed -n 's/.*minor=\([0-9]*\).*/\1/p' busy)"
xen_has blkback tapback nbd
new_device 51712 xvda "aio:$T/disk"
echo "^xenstore-write /local/[^ ]*/backend " >"$XEN/refuses"
fails "xenstore does not take the guest's backend" "xenstore does not take $frontend/backend"
echo "^nbd-client -unix" >"$XEN/refuses"
echo r----- >"$XEN/state"
fails "nbd-client fails" "nbd-client: .*refused"
echo r----- >"$XEN/state"
for name in nbd0 nbd1; do echo 1 >"$SYSFS/block/$name/pid"; done
refuses "all nbd devices in use" "" hotplug add 51712
like "$(why)" "all nbd devices are in use" "says so to xl"

refuses "no command" "" hotplug "" 51712
like "$(why)" 'there is no command "", only add and remove' "says so"

# --- killed, as libxl does after 40 s ----------------------------------------------------------------

# add_killed STATE [ACTION]: after each of its calls in turn; then ACTION, and remove
add_killed() {
	local call=1 status=137
	while [ "$status" = 137 ]; do
		xen_has blkback tapback nbd
		echo "$1" >"$XEN/state"
		new_device 51712 xvda "aio:$T/disk"
		rm -f "$XEN/calls"
		echo "$call" >"$XEN/kills"
		hotplug add 51712
		status=$?
		rm "$XEN/kills"
		[ -z "${2:-}" ] || hotplug "$2" 51712 || { echo "$2 after call $call: $(why)"; return 1; }
		hotplug remove 51712 || { echo "remove after call $call: $(why)"; return 1; }
		wait_for eval '[ -z "$(left)" ]' || { echo "after call $call: $(left)"; return 1; }
		: $((call += 1))
	done
	echo "$((call - 1)) calls"
	[ "$status" = 0 ] && [ "$call" -gt 10 ]
}

ok "remove undoes an add that was killed after any of its calls: while the domain is built" add_killed --p---
ok "another add does what one that was killed was to do: to a guest that runs" add_killed r----- add

mkdir killing
cat >killing/tapdisk <<-'END'
	#!/bin/bash
	"$BUILD/tests/tapdisk" || exit
	kill -KILL $PPID
END
chmod +x killing/tapdisk
new_device 51712 xvda "aio:$T/disk"
TAPDISK=$T/killing/tapdisk hotplug add 51712
is $? 137 "add, killed when its tapdisk runs and nobody knows of it"
like "$(tap list)" "^pid=[0-9]+$" "leaves that"
ok "remove" hotplug remove 51712
ok "ends it" wait_for eval '[ -z "$(left)" ]'

# --- the lock of the nbd devices ------------------------------------------------------------------

mkdir -p "$LOCKDIR" && chmod 1777 "$LOCKDIR"
xen_has blkback nbd
echo r----- >"$XEN/state"
new_device 51712 xvda "aio:$T/disk"
ok "add by nbd" hotplug add 51712
is "$(ls "$LOCKDIR")" "" "has no file where everybody may write"
is "$(stat -c %a "$BLKTAP_RUN_DIR/hotplug-nbd")" 600 "but a lock that nobody else can hold"
ok "remove" hotplug remove 51712
exec 8<"$BLKTAP_RUN_DIR/hotplug-nbd"
flock 8
refuses "add, where the lock is held for ever" "" hotplug add 51712
like "$(why)" "another disk is being connected by nbd, and does not end" "gives up, and says so"
is "$(left)" "" "and leaves nothing"
exec 8<&-

# --- names ------------------------------------------------------------------------------------------

xen_has blkback tapback
for name in 'q"uote' 'back\slash' "a args=aio:$T/other b" $'tab\there' 'line, "json": "x",'; do
	mkdir -p "$(dirname "$T/$name")" && cp disk "$T/$name"
	new_device 51712 xvda "aio:$T/$name"
	hotplug add 51712
	tapdisk_at $vbd3/physical-device-path
	is "$(disk_args)|$(xs $vbd/params)" "aio:$T/$name|aio:$T/$name" "an image named ${name//[^a-z ]/?} is opened by that name"
	hotplug remove 51712
done

# --- disks that have moved ------------------------------------------------------------------------

xen_has blkback tapback nbd
start_disk "aio:$T/disk"
mig start --to "aio:$T/moved" --create --strategy mirror --wait >/dev/null
stop_disk
new_device 51712 xvda "aio:$T/disk"
ok "add, of an image of a migration that has not ended" hotplug add 51712
tapdisk_at $vbd3/physical-device-path
is "$(disk_args)" "migrate:$T/moved.migrate" "opens the migration"
is "$(xs $vbd/params)" "migrate:$T/moved.migrate" "and xenstore says so"
mig complete --wait >/dev/null
before=$pid
ok "remove, after it has completed" hotplug remove 51712
wait_for gone "$before"
is "$(left)" "" "leaves nothing"
new_device 51712 xvda "aio:$T/disk"
ok "add, of the image that the disk has left" hotplug add 51712
tapdisk_at $vbd3/physical-device-path
is "$(disk_args)" "aio:$T/moved" "opens the one that it is on"
ok "remove" hotplug remove 51712
new_device 51712 xvda "migrate:$T/moved.migrate"
ok "add, by the journal" hotplug add 51712
tapdisk_at $vbd3/physical-device-path
is "$(disk_args)" "aio:$T/moved" "opens that too"
ok "remove" hotplug remove 51712
is "$(left)" "" "leaves nothing"
echo mine >moved.migrate
new_device 51712 xvda "migrate:$T/moved.migrate"
fails "what is no journal" "migrate:$T/moved.migrate cannot be opened: .*not a journal"

done_testing
