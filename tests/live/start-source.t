#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A running disk's image is what tapdisk has open, whatever has its name by now: a migration
# moves that, and a pause that could not come back to it is refused.
. "$(dirname "$0")/lib.sh"
needs jq qemu-io

size=$((4 << 20))

guest_io() { # COMMAND...
	local commands=() command
	for command; do commands+=(-c "$command"); done
	timeout "$HANG" qemu-io -f raw -t none "$uri" "${commands[@]}" >"$T/io" 2>&1 && ! grep -q 'failed\|error' "$T/io"
}

# Its first sector says which file it is, and the guest has written to it since.
new_disk() { # NAME
	rm -rf src* dst* other away
	head -c $size /dev/zero >"$1"
	start_disk "aio:$T/$1"
	guest_io 'write -P 0x11 0 64k' flush
}
is_whole() { # as the guest left it
	guest_io 'read -P 0x11 0 64k' 'read -P 0 64k 64k'
}

another() {
	head -c $size /dev/zero | tr '\0' '\42'
}

removed() { rm src; }
renamed() { mv src away; }
replaced() { another >other && mv other src; }
covered_by_link() { mv src away && another >other && ln -s other src; }
moved_behind_link() { mv src away && ln -s away src; }

for change in removed renamed replaced covered_by_link moved_behind_link; do
	new_disk src
	ok "$change: happens" $change
	refused=0
	tap pause -p "$pid" -m "$minor" >said 2>&1 || refused=$?
	if [ $change = moved_behind_link ]; then
		is $refused 0 "$change: can be paused"
		ok "$change: comes back" tap unpause -p "$pid" -m "$minor"
	else
		above $refused 0 "$change: a pause is refused"
		like "$(cat said)" "does not lead to the image" "$change: and says why"
	fi
	like "$(tap list -p "$pid")" " state=0 " "$change: the disk runs"
	ok "$change: and is what it was" is_whole
	ok "$change: a migration of it is tried" mig start --to "aio:$T/dst" --create --dry-run
	ok "$change: which leaves nothing" [ ! -e dst ] && [ ! -e dst.migrate ]
	ok "$change: a migration moves it" mig start --to "aio:$T/dst" --create --wait
	ok "$change: the disk runs on its destination" runs_on "aio:$T/dst"
	ok "$change: and is what it was" is_whole
	stop_disk
done

# With its new name in the journal, a migration goes on after a kill.
new_disk src
renamed
mig start --to "aio:$T/dst" --create --strategy slr --rate 1 --complete manual >said 2>&1
is $? 0 "a migration of a renamed source starts"
like "$(cat said)" "another name by now.*$T/away" "and says what it is called"
killed
tap free -m "$minor"
ok "it goes on after a kill" start_disk "migrate:$T/dst.migrate"
mig set --rate 0
ok "and completes" mig complete --wait
ok "the disk is what it was" is_whole
stop_disk

# What cannot: the operator knows it from the beginning.
new_disk src
removed
mig start --to "aio:$T/dst" --create --strategy slr --rate 1 --complete manual >said 2>&1
is $? 0 "a migration of a removed source starts"
like "$(cat said)" "no name leads to the source.*only as long as tapdisk $pid runs" "and says what depends on it"
ok "it can be cancelled" mig cancel --wait
ok "the disk is what it was" is_whole
ok "and can be moved again" mig start --to "aio:$T/dst2" --create --wait
ok "the disk is what it was" is_whole
stop_disk

# What a pause has closed is what it opens again.
new_disk src
ok "a disk is paused" tap pause -p "$pid" -m "$minor"
replaced
refuses "another file of its name is not opened" "not the image that was paused.*-a aio:$T/src" \
	tap unpause -p "$pid" -m "$minor"
like "$(tap list -p "$pid")" " state=0x2a " "the disk stays paused"
ok "by its name it is opened" tap unpause -p "$pid" -m "$minor" -a "aio:$T/src"
ok "as was wanted" guest_io 'read -P 0x22 0 64k'
removed
refuses "one that was removed is not paused" "does not lead" tap pause -p "$pid" -m "$minor"
ok "but by force" tap pause -f -p "$pid" -m "$minor"
another >dst
ok "which another can follow" tap unpause -p "$pid" -m "$minor" -a "aio:$T/dst"
stop_disk

# A migration is found by three names.
for name in src dst dst.migrate; do
	new_disk src
	mig start --to "aio:$T/dst" --create --strategy mirror --rate 1 >/dev/null
	mv $name away
	tap pause -p "$pid" -m "$minor" >said 2>&1
	above $? 0 "a migration whose $name has another name is not paused"
	like "$(tap list -p "$pid")" " state=0 " "it runs"
	mv away $name
	ok "with its name, it is" tap pause -p "$pid" -m "$minor"
	ok "and goes on" tap unpause -p "$pid" -m "$minor"
	mig set --rate 0
	ok "and completes" mig complete --wait
	ok "the disk is what it was" is_whole
	stop_disk
done

done_testing
