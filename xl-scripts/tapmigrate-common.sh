# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# tapmigrate-common.sh - what xl-migrate-disk and xl-migrate-storage know of a domain's
# disk
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

# xenstore-write takes a backslash for the beginning of an escape.
xs_write() { # PATH VALUE
	xenstore-write "$1" "${2//\\/\\\\}"
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

tapdisk_lives() {
	[ -n "$(tap-ctl list -p "$pid" -m "$minor" --field minor 2>/dev/null)" ]
}

tapdisk_args() { # TYPE:NAME that it is open on; nothing if it is closed or not there
	tap-ctl list -p "$pid" -m "$minor" --field args 2>/dev/null
}

is_writable() { # DOM DEV: the guest may write to the disk
	[[ $(xs_read "backend/vbd/$1/$2/mode") = *w* ]]
}

# A string at KEY of the JSON that tap-ctl prints, which has a key on each line; nothing if
# there is none. printf's %b undoes what JSON escapes, but for \".
json_value() { # KEY, JSON on stdin
	local line
	while IFS= read -r line; do
		[[ $line =~ ^\ *\"$1\":\ \"(.*)\",?$ ]] || continue
		printf '%b\n' "${BASH_REMATCH[1]//\"/x22}"
		break
	done
}

# What is now the disk that the image was: itself, or where migrations have taken it.
now_at() { # TYPE:NAME
	tap-ctl migrate where "$1" 2>/dev/null || printf '%s\n' "$1"
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
