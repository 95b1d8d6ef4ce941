#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A migration is said to have ended when it has: its marks are changed, and the image that
# is left behind is closed. What cannot be done is said, tried again, and keeps the journal.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io losetup strace mkfs.ext4
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root, to mount file systems"; exit; }

size=$((4 << 20))
devices=() mounts=()

at_exit() {
	local x
	for x in "${mounts[@]}"; do
		umount -l "$x" 2>/dev/null
	done
	for x in "${devices[@]}"; do
		losetup --detach "$x"
	done
}

mark() { # IMAGE
	tap migrate mark "$1" --json | jq -r '.mark | if . then "\(.role) \(.name)" else "none" end'
}

loop() { # FILE: a device on it, in $device
	device=$(losetup --find --show "$1") && devices+=("$device")
}

guest_writes() {
	qemu-io -f raw -c "write -P 7 1M 4k" -c "read -P 7 1M 4k" -c flush "$uri"
}

traced() {
	grep -qs "^TracerPid:[[:space:]]*[1-9]" "/proc/$pid/status"
}

slowly() { # CALL: takes two seconds in tapdisk from now on
	strace -f -qq -o trace -e trace="$1" -e inject="$1:delay_enter=2000000" -p "$pid" &
	tracer=$!
	started+=("$tracer")
	wait_for traced
}

# --- it is over when it is said to be ------------------------------------------------

truncate -s 64M fs
mkdir one
mkfs.ext4 -q -F fs
mount -o loop fs one || die "cannot mount a file system"
mounts+=("$T/one")
for call in fsetxattr fsync; do
	mountpoint -q one || mount -o loop fs one
	rm -f dst dst.migrate one/src
	head -c $size /dev/urandom >one/src
	start_disk "aio:$T/one/src"
	ok "starts" mig start --to "aio:$T/dst" --create --strategy mirror --wait --journal-after remove
	slowly $call
	ok "completes, with a slow $call" mig complete --wait
	is "$(mark one/src), $(mark dst)" "superseded aio:$T/dst, none" "the marks are right at once"
	ok "the journal is gone" [ ! -e dst.migrate ]
	ok "the source's file system is not busy" umount one
	ok "the disk runs on the destination" runs_on "aio:$T/dst"
	kill "$tracer"
	stop_disk
done
mount -o loop fs one
rm -f dst dst.migrate one/src
head -c $size /dev/urandom >src
start_disk "aio:$T/src"
ok "starts to a file system" mig start --to "aio:$T/one/dst" --create --strategy lr --complete manual --wait
ok "cancels" mig cancel --wait
ok "what was made there is gone" [ ! -e one/dst ]
rm one/dst.migrate
ok "and it is not busy" umount one
stop_disk

# --- marks that cannot be changed ------------------------------------------------------
# Those of devices are in the state directory, which becomes read-only.

rm -f src dst
truncate -s $size src dst
loop src
source=$device
loop dst
destination=$device
mount -t tmpfs none "$TAPMIGRATE_STATE_DIR" || die "cannot mount a tmpfs"
mounts+=("$TAPMIGRATE_STATE_DIR")

begin() { # start-option...
	rm -f journal
	mount -o remount,rw "$TAPMIGRATE_STATE_DIR"
	tap migrate unmark "$source"
	tap migrate unmark "$destination"
	start_disk "aio:$source"
	ok "starts: $*" mig start --to "aio:$destination" --complete manual --wait --journal "$T/journal" \
		--journal-after remove "$@"
	mount -o remount,ro "$TAPMIGRATE_STATE_DIR"
}

outcome() { # COMMAND: which image is left, and what is shown until then. Sets left, state.
	left=$destination state=completing marks="superseded aio:$destination, none"
	[ "$1" = complete ] || left=$source state=rolling-back marks="none, abandoned aio:$source"
}

for command in complete cancel; do
	outcome $command

	begin --strategy mirror
	refuses "$command waits for the marks" "$state: marks .the mark of the .* aio:$left cannot be changed: Read-only" \
		mig $command --wait
	is "$(status '"\(.state) \(.reason)"')" "$state marks" "$command: the state says so"
	ok "$command: the guest goes on" guest_writes
	is "$(mark "$source"), $(mark "$destination")" "source $T/journal, destination $T/journal" "nothing is changed"
	refuses "$command: once more" "that is so already" mig $command
	mount -o remount,rw "$TAPMIGRATE_STATE_DIR"
	ok "$command: it ends by itself once they can be changed" wait_for runs_on "aio:$left"
	is "$(mark "$source"), $(mark "$destination")" "$marks" "the marks are right"
	ok "the journal is gone, as was wanted" [ ! -e journal ]
	is "$(find "$TAPMIGRATE_STATE_DIR" -name 'migration-*')" "" "and nothing else is remembered"
	stop_disk

	begin --strategy lr
	mig $command --wait 2>/dev/null
	stop_disk
	for image in "$source" "$destination"; do
		refuses "$command, closed before they could: $image" "open migrate:$T/journal" tap create -a "aio:$image"
	done
	ok "$command: the journal opens" start_disk "migrate:$T/journal"
	ok "$command: the guest goes on" guest_writes
	ok "$command: still with the marks" wait_for holds ".state == \"$state\" and .reason == \"marks\""
	mount -o remount,rw "$TAPMIGRATE_STATE_DIR"
	ok "$command: it ends by itself" wait_for runs_on "aio:$left"
	is "$(mark "$source"), $(mark "$destination")" "$marks" "the marks are right"
	stop_disk

	begin --strategy aio
	mig $command --wait 2>/dev/null
	like "$(mig $command --force --wait)" "the disk runs on aio:$left.*cannot be changed.*$T/journal is kept" \
		"$command --force: ends all the same"
	ok "$command --force: the disk runs on what is left" runs_on "aio:$left"
	ok "$command --force: the guest goes on" guest_writes
	ok "$command --force: the journal stays" [ -e journal ]
	stop_disk
	mount -o remount,rw "$TAPMIGRATE_STATE_DIR"
	ok "$command --force: opening it" start_disk "migrate:$T/journal"
	ok "serves what is left" wait_for runs_on "aio:$left"
	is "$(mark "$source"), $(mark "$destination")" "$marks" "and the marks are right"
	stop_disk
done

# --- what is closed in the middle --------------------------------------------------------

begin --strategy lr --rate 1
mount -o remount,rw "$TAPMIGRATE_STATE_DIR"
like "$(tap destroy -p "$pid" -m "$minor" 2>&1)" "migration is not over.*tap-ctl create -a migrate:$T/journal" \
	"destroy says that it is not over, and how to go on"
ok "as it says" start_disk "migrate:$T/journal"
mig set --rate 0
ok "and completes" mig complete --wait
is "$(tap destroy -p "$pid" -m "$minor" 2>&1)" "" "destroy has nothing to say then"
done_testing
