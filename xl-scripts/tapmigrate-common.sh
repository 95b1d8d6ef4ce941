# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# tapmigrate-common.sh - what block-tapmigrate, xl-migrate-disk and
# xl-migrate-storage know of a domain's disk
#
# DOM is a domain's number, DEV a virtual device's (51712 is xvda). What is said
# of a disk is read where only dom0 writes: never below /local/domain/DOM, which
# the guest may write.

set -u
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset "${!LC_@}" LANG

xs_read() { # PATH: nothing, and false, if it is not there
	xenstore-read "$1" 2>/dev/null
}

# Sets socket, where the disk is served, and with it pid and minor. False if no tapdisk is
# on record; one that is may have died. What tapback goes by comes first: whoever starts
# another tapdisk for the disk writes it there.
find_tapdisk() { # DOM DEV
	local key
	for key in backend/vbd3/"$1/$2"/physical-device-path backend/vbd/"$1/$2"/{physical-device-path,tapdisk}; do
		socket=$(xs_read "$key") || continue
		[[ $socket =~ ^/.*/nbd([0-9]+)\.([0-9]+)$ ]] || continue
		pid=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
		return 0
	done
	return 1
}

tapdisk_line() { # what tap-ctl says of the VBD that pid and minor name; nothing if it is not there
	tap-ctl list -p "$pid" -m "$minor" 2>/dev/null | grep "^pid=.* minor=$minor "
}

tapdisk_lives() {
	tapdisk_line >/dev/null
}

tapdisk_args() { # TYPE:NAME that it is open on
	tapdisk_line | sed -n 's/.* args=//p'
}

# A string at KEY of the JSON that tap-ctl prints; nothing if it is none, or one that JSON
# has to escape.
json_value() { # KEY, JSON on stdin
	sed -n 's/^ *"'"$1"'": "\([^\\]*\)",\{0,1\}$/\1/p'
}

# What is now the disk that the image was: itself, or where migrations have taken it. An
# image of a migration that exists is half a disk: the disk is the migration's journal.
now_at() { # TYPE:NAME
	local image=$1 mark name hops
	for ((hops = 0; hops < 16; hops++)); do
		[ "${image%%:*}" = aio ] || break
		mark=$(tap-ctl migrate mark --json "${image#aio:}" 2>/dev/null) || break
		name=$(json_value name <<<"$mark")
		[ -n "$name" ] || break
		case $(json_value role <<<"$mark") in
		superseded) image=$name ;;
		source | destination) image=migrate:$name ;;
		*) break ;;
		esac
	done
	printf '%s\n' "$image"
}

# --- for those who name domains and disks as people do ----------------------------------------

domain_id() { # NAME or number
	case $1 in
	*[!0-9]* | '') xl domid "$1" 2>/dev/null ;;
	*) xenstore-exists "/libxl/$1" && echo "$1" ;;
	esac
}

disks_of() { # DOM: a line "DEV VDEV" each
	local dev
	for dev in $(xenstore-list "/libxl/$1/device/vbd" 2>/dev/null); do
		echo "$dev $(xs_read "/libxl/$1/device/vbd/$dev/dev")"
	done
}

device_of() { # DOM VDEV-or-DEV
	disks_of "$1" | awk -v name="$2" '$1 == name || $2 == name { print $1; found = 1 } END { exit !found }'
}
