# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# lib.sh - what scenarios share, which run in a real dom0: guests, and what is left of them
#
# A scenario is a file tests/xen/NAME.t. It sources this, and says what it expects as
# tap.sh has it; boot.sh runs it. It has the machine to itself, which is thrown away.
# shellcheck disable=SC2016 # what is for the guest is expanded there

BUILD=/usr/sbin
# shellcheck source-path=SCRIPTDIR/.. source=../tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tap.sh"
# shellcheck source-path=SCRIPTDIR/.. source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
unset BLKTAP_RUN_DIR TAPMIGRATE_STATE_DIR # as installed
PATIENCE=180 # emulated processors are slow

at_exit() { # of a scenario that failed: what there was to be read
	local log
	[ $failures != 0 ] || return
	for log in /var/log/messages /var/log/xen/*; do
		[ -s "$log" ] && say "$log:" "$(tail -n 30 "$log" | tr -d '\r' | cut -c1-200 | sed 's/^/#   /')"
	done
}

# --- disks ----------------------------------------------------------------------

# Images are $T/NAME, each on a file system of dom0's that knows O_DIRECT.
new_image() { # NAME MIB: with an ext4
	truncate -s "$2M" "$T/$1" && mkfs.ext4 -q -F "$T/$1"
}

disk() { # VDEV TYPE:NAME [SCRIPT]: as a DISK of create_guest
	echo "format=raw,vdev=$1,access=rw,script=${3:-block-tapmigrate},target=$2"
}

xvda() { # TYPE:NAME
	disk xvda "$1"
}

# Sets pid and minor, as mig and tap want them, of the tapdisk that serves the guest's xvda.
find_tapdisk() {
	local path
	path=$(xenstore-read "backend/vbd3/$domid/51712/physical-device-path") || return
	minor=${path##*.} pid=${path##*/nbd}
	pid=${pid%.*}
}

# As after a crash; the guest goes on waiting. Its ring's file and its minor stay.
kill_tapdisk() {
	kill -KILL "$pid" && wait_for gone "$pid"
}

# As docs/xen.md says. Sets pid and minor.
restart_tapdisk() { # TYPE:NAME
	local marker
	tap free -m "$minor" && marker=$(tap create -a "$1") && minor=${marker##*/tapdisk-} &&
		pid=$(tap list -m "$minor" | sed -n 's/.*pid=\([0-9]*\).*/\1/p') &&
		xenstore-write "backend/vbd3/$domid/51712/physical-device-path" "/run/blktap-control/nbd$pid.$minor"
}

nothing_left() { # of any domain's disk: tapdisks, minors, nodes, nbds
	[ -z "$(tap-ctl list)$(ls /sys/block/nbd*/pid 2>/dev/null)" ] &&
		! xenstore-exists /local/domain/0/backend/vbd && ! xenstore-exists /local/domain/0/backend/vbd3
}

# libxl says so when it has waited in vain for a device.
xl_quiet() { # COMMAND...: as xl, which says nothing of the kind
	local said status
	said=$(xl "$@" 2>&1)
	status=$?
	echo "$said"
	[ "$status" = 0 ] && ! grep -qE 'error|unable|timed out' <<<"$said"
}

# --- guests ---------------------------------------------------------------------

guest_extra= # for its kernel's command line

# create_guest NAME [DISK...]: a running guest, each DISK as in xl.cfg(5). Sets domid.
# Its config file is $T/NAME.cfg.
create_guest() {
	local disk disks=
	for disk in "${@:2}"; do
		disks+="'$disk', "
	done
	cat >"$T/$1.cfg" <<-END
		name = "$1"
		type = "pv"
		kernel = "/boot/vmlinux"
		ramdisk = "/boot/guest.gz"
		extra = "console=hvc0 quiet $guest_extra"
		memory = 128
		vcpus = 1
		on_poweroff = "destroy"
		disk = [$disks]
	END
	xl create -q "$T/$1.cfg" && guest_is_up "$1"
}

# Sets domid; a guest that was rebooted or created again has a new one.
guest_is_up() { # NAME
	domid=$(xl domid "$1") && wait_for xenstore-exists "/local/domain/$domid/data/ready"
}

guest() { # COMMAND: a line for sh, in the guest that domid names. Its output (1500 bytes), its status.
	local data=/local/domain/$domid/data
	xenstore-rm "$data/status" 2>/dev/null
	xenstore-write "$data/order" "$1"
	wait_for xenstore-exists "$data/status" || return
	xenstore-read "$data/said"
	return "$(xenstore-read "$data/status")"
}

# --- a guest's load (load.c), on an ext4 that it has on /mnt ------------------------

load_start() { # MIB SEED: of a file on that
	guest "load /mnt/load $1 $2 >/tmp/load.said 2>&1 & echo \$! >/tmp/load.pid"
}

load_rounds() { # whole rounds so far
	guest 'wc -c </mnt/load.rounds'
}

load_reached() { # ROUNDS; or something has gone wrong
	[ "$(load_rounds)" -ge "$1" ] || ! guest '[ ! -s /tmp/load.said ]'
}

load_goes_on() { # ROUNDS: waits for that many more
	wait_for load_reached $(($(load_rounds) + $1)) && guest '[ ! -s /tmp/load.said ]'
}

load_stop() { # it has seen no error and no wrong data
	guest 'p=$(cat /tmp/load.pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.2; done; cat /tmp/load.said; [ ! -s /tmp/load.said ]'
}

# Nothing that the guest's kernel has said is about a disk in trouble.
no_io_errors() {
	! guest "dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|JBD2: .*rror|blkfront: .*fail'"
}
