# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# lib.sh - what the tests of the scripts for xl share: a xenstore and an xl that are none
# (fake-xen), and real tapdisks
#
# $domain_disk is a disk as libxl hands it to its script: of domain 7, on 51712 or another.

here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
scripts=$(realpath "$here/../../xl-scripts")
# shellcheck source-path=SCRIPTDIR/../live source=../live/lib.sh
. "$here/../live/lib.sh"
[ -x "$BUILD/tests/tapmigrate-hotplug" ] || { echo "1..0 # SKIP no libxenstore on this machine"; exit; }

export XEN=$T/xen SYSFS=$T/sys XEN_HOTPLUG_LOG=$T/hotplug.log
export LOCKDIR=$T/lock # where everybody may write, as /run/lock is; not ours to use
blkback=$SYSFS/bus/xen-backend/drivers/vbd
mkdir -p "$XEN/bin" "$SYSFS/block"
for name in xenstore-{read,write,rm,exists,list,chmod} xl nbd-client modprobe; do
	ln -s "$here/fake-xen" "$XEN/bin/$name"
done
ln -s "$BUILD/tap-ctl" "$XEN/bin/tap-ctl"
ln -s "$BUILD/tests/tapmigrate-hotplug" "$XEN/bin/tapmigrate-hotplug"
PATH=$XEN/bin:$scripts:$PATH

at_exit() {
	[ $failures = 0 ] || say "$(tail -n 20 "$XEN_HOTPLUG_LOG" 2>/dev/null)"
	for pid in $(tap-ctl list 2>/dev/null | sed -n 's/^pid=\([0-9]*\).*/\1/p'); do
		kill -KILL "$pid"
	done
}

# --- what Xen would do ----------------------------------------------------------------------

xs() { # PATH
	xenstore-read "$1" 2>/dev/null
}

xen_has() { # [blkback] [tapback] [nbd]; the domain of the tests is being built
	rm -rf "$SYSFS" "$XEN/does" "$XEN/refuses" "$XEN/calls" "$XEN/kills"
	mkdir -p "$SYSFS/block"
	echo --p--- >"$XEN/state"
	[[ " $* " != *" blkback "* ]] || mkdir -p "$blkback"
	[[ " $* " != *" nbd "* ]] || for name in nbd0 nbd1; do
		mkdir -p "$SYSFS/block/$name"
		echo "43:$((${name#nbd} * 16))" >"$SYSFS/block/$name/dev"
	done
	[[ " $* " != *" tapback "* ]] || {
		cat >"$XEN/does" <<-'END'
			#!/bin/bash
			[[ "$1 $2" = *"vbd3/"*"/hotplug-status connected" ]] && xenstore-write "${1%/*}/state" 2
			true
		END
		chmod +x "$XEN/does"
	}
}

# As libxl does, up to where it calls the script.
new_device() { # DEV VDEV TARGET [SCRIPT]
	local target=${3//\\/\\\\}
	xenstore-write "backend/vbd/7/$1/frontend" "/local/domain/7/device/vbd/$1" "backend/vbd/7/$1/params" "$target" \
		"backend/vbd/7/$1/mode" w "backend/vbd/7/$1/state" 2 "backend/vbd/7/$1/dev" "$2" \
		"backend/vbd/7/$1/script" "/etc/xen/scripts/${4:-block-tapmigrate}" \
		"/local/domain/7/device/vbd/$1/backend" "/local/domain/0/backend/vbd/7/$1" \
		"/libxl/7/device/vbd/$1/dev" "$2" "/libxl/7/device/vbd/$1/params" "$target" \
		"/libxl/7/device/vbd/$1/script" "/etc/xen/scripts/${4:-block-tapmigrate}"
	[ ! -d "$blkback" ] || touch "$blkback/vbd-7-$1"
}

hotplug() { # add|remove DEV [SCRIPT]
	XENBUS_PATH=backend/vbd/7/$2 "${3:-block-tapmigrate}" "$1"
}

device_gone() { # DEV: as libxl does after remove
	xenstore-rm "backend/vbd/7/$1"
	xenstore-rm "/libxl/7/device/vbd/$1"
	rm -rf "$XEN/store/local/domain/7/device/vbd/$1"
}

# --- what there is ---------------------------------------------------------------------------

# Sets pid and minor. Of the disk that is on record there.
tapdisk_at() { # PATH
	[[ $(xs "$1") =~ ^$BLKTAP_RUN_DIR/nbd([0-9]+)\.([0-9]+)$ ]] &&
		pid=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
}

left() { # tapdisks, minors, and what the scripts have put in xenstore
	tap-ctl list
	find "$BLKTAP_RUN_DIR" -name 'tapdisk-*' -o -name 'hotplug-[0-9]*'
	(cd "$XEN/store/local/domain/0/backend" 2>/dev/null && find . -path '*vbd3*' -o -name tapdisk -o -name nbd -o -name physical-device-path)
	ls "$SYSFS"/block/*/pid 2>/dev/null
	true
}
