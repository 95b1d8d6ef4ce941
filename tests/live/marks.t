#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Nobody opens half of a disk, or an old one, by mistake: the images of a
# migration are marked from its beginning, and whoever else opens them is told
# whose they are. Afterwards the source stays marked until somebody says that
# it may be used again.
. "$(dirname "$0")/lib.sh"
needs jq setfattr

size=$((8 << 20))

mark() { # IMAGE
	tap migrate mark "$1" --json | jq -r '.mark | if . then "\(.role) \(.name)" else "none" end'
}

opens() { # TYPE:NAME: a tapdisk does, and closes it again
	local marker
	marker=$(tap create -a "$@") || return 1
	marker=${marker##*/tapdisk-}
	tap destroy -p "$(tap list -m "$marker" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')" -m "$marker"
}

start() { # STRATEGY [option...]
	mig start --to "aio:$T/dst" --create --strategy "$1" --rate 1 --complete manual "${@:2}"
}

# --- a migration that completes --------------------------------------------------

fresh_disk $size
is "$(mark src)" none "an image has no mark"
ok "starts" start slr
is "$(mark src)" "source $T/dst.migrate" "the source's mark names the journal"
is "$(mark "aio:$T/dst")" "destination $T/dst.migrate" "so does the destination's"
like "$(tap migrate mark src)" "source of migration $(status .uuid), journal $T/dst.migrate" "for people too"

other=("$pid" "$minor")
head -c $size /dev/urandom >src2
start_disk "aio:$T/src2"
refuses "a second migration to the same destination" "$T/dst is in use by tapdisk ${other[0]} \(minor ${other[1]}\)" \
	mig start --to "aio:$T/dst"
refuses "one onto the other's source" "$T/src is in use by tapdisk ${other[0]} \(minor ${other[1]}\)" \
	mig start --to "aio:$T/src"
refuses "one with the other's journal" "the journal $T/dst.migrate is in use by tapdisk ${other[0]}. The disk runs on" \
	mig start --to "aio:$T/dst2" --create --journal "$T/dst.migrate"
ok "the disk that was to move runs as before" runs_on "aio:$T/src2"
is "$(find . -name '*.migrate')" ./dst.migrate "no journal is left"
refuses "a second tapdisk on the same image" "$T/src: in use by tapdisk ${other[0]}" tap create -a "aio:$T/src"
refuses "a second tapdisk on the same journal" "$T/dst.migrate is in use by tapdisk ${other[0]}" \
	tap create -a "migrate:$T/dst.migrate"
refuses "to unmark what is in use" "in use by tapdisk ${other[0]} \(minor ${other[1]}\)" tap migrate unmark --force src
stop_disk
pid=${other[0]} minor=${other[1]}

ok "the VBD is paused" tap pause -p "$pid" -m "$minor"
is "$(mark src), $(mark dst)" "source $T/dst.migrate, destination $T/dst.migrate" "the marks stay"
refuses "the source" "is the source of a migration.*open migrate:$T/dst.migrate" tap create -a "aio:$T/src"
refuses "the destination, read-only" "is the destination of a migration.*open migrate:$T/dst.migrate" \
	tap create -a "aio:$T/dst" -R
refuses "to unmark it" "tap-ctl migrate inspect $T/dst.migrate tells .*--force" tap migrate unmark src
mv src elsewhere
refuses "the source under another name" "open migrate:$T/dst.migrate" tap create -a "aio:$T/elsewhere"
mv elsewhere src
for side in src dst; do # another migration, of what is not its own
	rm -f stranger
	new_journal "$T/stranger" "aio:$T/src2" "aio:$T/$side" lr 1
	refuses "another migration onto $side" "open migrate:$T/dst.migrate" tap create -a "migrate:$T/stranger"
	is "$(mark src2)" none "which leaves no mark of its own"
done
ok "unpaused, the migration goes on" tap unpause -p "$pid" -m "$minor"
mig set --rate 0
ok "and synchronises" wait_for state_is synchronised
ok "and completes" mig complete --wait
is "$(mark src), $(mark dst)" "superseded aio:$T/dst, none" "the source is superseded, the destination has no mark"
stop_disk
refuses "the source" "out of date: the disk has moved to aio:$T/dst .*tap-ctl migrate unmark" tap create -a "aio:$T/src"
refuses "the source, read-only" "out of date" tap create -a "aio:$T/src" -R
like "$(tap migrate mark src)" "out of date; the disk has moved to aio:$T/dst" "mark tells the same"
ok "the destination opens" start_disk "aio:$T/dst"
refuses "the old source as a destination" "out of date" mig start --to "aio:$T/src"
ok "which is said before anything is written" cmp src pristine
stop_disk
ok "unmark needs no force then" tap migrate unmark src
is "$(mark src)" none "and removes it"
ok "once unmarked it opens" opens "aio:$T/src"

# --- one that dies between its last steps -----------------------------------------

uuid=$(tap migrate status --journal "$T/dst.migrate" --json | jq -r .uuid)
# From the journal on: completed, and nothing done about the marks.
setfattr -n user.tapmigrate -v "1 source $uuid $T/dst.migrate" src
setfattr -n user.tapmigrate -v "1 destination $uuid $T/dst.migrate" dst
refuses "the destination whose mark was not removed" "open migrate:$T/dst.migrate" tap create -a "aio:$T/dst"
ok "opening what it names" start_disk "migrate:$T/dst.migrate"
ok "serves the destination" wait_for runs_on "aio:$T/dst"
is "$(mark src), $(mark dst)" "superseded aio:$T/dst, none" "and has done the steps that were missing"
stop_disk
ok "opening it again" opens "migrate:$T/dst.migrate"
is "$(mark src), $(mark dst)" "superseded aio:$T/dst, none" "changes nothing"
# One that somebody else has marked meanwhile is left alone.
setfattr -n user.tapmigrate -v "1 source 00000000-1111-2222-3333-444444444444 /j" dst
refuses "opening it a third time" "is the source of a migration.*open migrate:/j" tap create -a "migrate:$T/dst.migrate"
is "$(mark dst)" "source /j" "leaves the mark of another migration"

setfattr -n user.tapmigrate -v "$(head -c 3000 /dev/urandom | base64 -w 0 | head -c 3000)" dst
refuses "an image whose mark is rubbish" "not understood.*--force" tap create -a "aio:$T/dst"
is "$(mark dst)" "unknown null" "mark says so"
refuses "to unmark it without force" "--force" tap migrate unmark dst
ok "with force it goes" tap migrate unmark --force dst
ok "and the image opens" opens "aio:$T/dst"

# --- one that is cancelled ----------------------------------------------------------

for strategy in lr mirror; do
	fresh_disk $size
	ok "$strategy starts" start $strategy
	ok "$strategy cancels" mig cancel --wait
	is "$(mark src)" none "the source has no mark any more"
	ok "the destination, which was made for it, is gone" [ ! -e dst ]
	stop_disk
	ok "the source opens" opens "aio:$T/src"
	ok "the journal serves the source" start_disk "migrate:$T/dst.migrate"
	ok "alone" wait_for runs_on "aio:$T/src"
	stop_disk
done

fresh_disk $size
ok "starts" start lr
ok "cancels, and keeps the destination" mig cancel --keep --wait
is "$(mark src), $(mark dst)" "none, abandoned aio:$T/src" "whose mark says that it is no disk"
refuses "the destination" "not a whole disk.*the disk is aio:$T/src .*tap-ctl migrate unmark" tap create -a "aio:$T/dst"
refuses "the destination, read-only" "not a whole disk" tap create -a "aio:$T/dst" -R
like "$(tap migrate mark dst)" "its migration was cancelled, the disk is aio:$T/src" "mark tells the same"
rm dst.migrate
refuses "a migration onto it that cannot start" "" mig start --to "aio:$T/dst" --journal "$T/none/x"
is "$(mark dst)" "abandoned aio:$T/src" "leaves its mark"
ok "one that starts" mig start --to "aio:$T/dst" --complete auto --wait
is "$(mark src), $(mark dst)" "superseded aio:$T/dst, none" "overwrites it"
stop_disk
ok "and it is the disk" cmp pristine dst

fresh_disk $size
truncate -s $size dst
ok "starts onto a file that was there" mig start --to "aio:$T/dst" --rate 1 --complete manual
ok "cancels" mig cancel --wait
is "$(mark src), $(mark dst)" "none, abandoned aio:$T/src" "the file stays, marked"
stop_disk
ok "unmark needs no force" tap migrate unmark dst
ok "and it opens" opens "aio:$T/dst"

# Only what was made is removed, never what has its name now.
fresh_disk $size
ok "starts" start lr
mv dst elsewhere
echo precious >dst
ok "cancels" mig cancel --wait
is "$(cat dst)" precious "what has the destination's name now stays"
is "$(mark elsewhere)" "abandoned aio:$T/src" "what had it is marked"
stop_disk

# --- one whose tapdisk dies ------------------------------------------------------------

fresh_disk $size
ok "starts" start lr
kill -KILL "$pid"
wait_for gone "$pid"
is "$(mark src), $(mark dst)" "source $T/dst.migrate, destination $T/dst.migrate" "a killed tapdisk leaves the marks"
for side in src dst; do
	refuses "$side" "open migrate:$T/dst.migrate" tap create -a "aio:$T/$side"
done
refuses "to unmark the source" "lost.*--force" tap migrate unmark src
ok "with force it goes" tap migrate unmark --force src
ok "and it opens" opens "aio:$T/src"
refuses "the journal, whose source somebody may have used" "has lost this migration's mark.*setfattr" \
	tap create -a "migrate:$T/dst.migrate"
how=$(tap create -a "migrate:$T/dst.migrate" 2>&1 | sed -n "s/.*setfattr -n \([^ ]*\) -v '\(.*\)' \(.*\)/\1|\2|\3/p")
IFS='|' read -r name value image <<<"$how"
ok "as it says" setfattr -n "$name" -v "$value" "$image"
ok "it opens" start_disk "migrate:$T/dst.migrate"
ok "and is cancelled" mig cancel --wait
stop_disk

# --- one that fails to start --------------------------------------------------------------

fresh_disk $size
truncate -s 4096 dst
refuses "a destination that is too small" "smaller" mig start --to "aio:$T/dst"
is "$(mark src), $(mark dst)" "none, none" "leaves no marks"
rm dst
refuses "a journal that cannot be made" "$T/none/x" mig start --to "aio:$T/dst" --create --journal "$T/none/x"
is "$(mark src)" none "leaves no mark on the source"
ok "the disk runs as before" runs_on "aio:$T/src"
stop_disk

# --- block devices ---------------------------------------------------------------------------

loop() { # FILE: a device on it, in $device
	device=$(losetup --find --show "$1" 2>/dev/null) && devices+=("$device")
}
at_exit() {
	[ "$failures" = 0 ] || say "to repeat: SEED=$SEED $0"
	for device in "${devices[@]}"; do
		losetup --detach "$device"
	done
}
devices=()

rm -f src dst
truncate -s $size src dst
if [ "$(id -u)" = 0 ] && loop src && loop dst; then
	src=${devices[0]} dst=${devices[1]}
	start_disk "aio:$src"
	ok "devices: starts" mig start --to "aio:$dst" --rate 1 --complete manual --strategy slr
	journal=$(status .journal.path)
	is "$(mark "$src"), $(mark "$dst")" "source $journal, destination $journal" "devices: both are marked"
	is "$(find "$TAPMIGRATE_STATE_DIR" -name 'mark-loop-*' | wc -l)" 2 "devices: in the state directory"
	mig set --rate 0
	wait_for state_is synchronised
	ok "devices: completes" mig complete --wait
	is "$(mark "$src"), $(mark "$dst")" "superseded aio:$dst, none" "devices: the source is superseded"
	stop_disk
	refuses "devices: the source" "out of date" tap create -a "aio:$src"
	losetup --detach "$src"
	devices=("$dst")
	mv src renamed
	truncate -s 1M another
	loop another # takes the number
	loop renamed
	refuses "devices: the source under another number ($device, not $src)" "out of date" tap create -a "aio:$device"
	ok "devices: unmark" tap migrate unmark "$device"
	ok "devices: it opens" opens "aio:$device"
	is "$(find "$TAPMIGRATE_STATE_DIR" -name 'mark-*')" "" "devices: no mark is left behind"
else
	say "no loop devices here: not tried"
fi
done_testing
