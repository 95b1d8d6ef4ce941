#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What is wrong with a journal, or with the disks that it names: it is refused, with
# the reason and with nothing written. What is no damage opens; and where it cannot
# be written the disk is there all the same.
. "$(dirname "$0")/lib.sh"
needs jq nbdcopy getfattr

size=$((8 << 20))

# A migration that was killed half-way, its live changes with it: as after a power
# failure there is nothing but the journal.
fresh_disk $size
truncate -s $size dst
survivor_start 24 500
ok "starts" mig start --to "aio:$T/dst" --strategy slr --chunk 64K --rate 4 --complete manual
wait_for holds '.bytes.valid > (2 * 1024 * 1024) and .journal.bytes > 8192'
kill -KILL "$guest"
wait "$guest" 2>/dev/null
ok "closes" tap destroy -p "$pid" -m "$minor"
is "$(find run -name 'live-*')" "" "closed in order, nothing is left in the run directory"
cp dst.migrate whole
cp src src.whole
cp dst dst.whole

attributes() {
	getfattr --absolute-names -d "$T/src" "$T/dst" "$T/dst.migrate"
}

unchanged() { # nothing was written, but to the journal that the test has spoilt
	cmp src src.whole && cmp dst dst.whole && cmp dst.migrate spoilt && [ "$(attributes)" = "$marks" ] &&
		[ -z "$(find . -name '*.next')$(find run -name 'live-*')" ]
}

refused() { # NAME REGEX: what dst.migrate is now
	cp dst.migrate spoilt
	marks=$(attributes)
	refuses "$1" "$2" tap create -a "migrate:$T/dst.migrate"
	ok "and nothing is written" unchanged
	cp whole dst.migrate
}

put() { # OFFSET BYTES: into dst.migrate
	printf '%b' "$2" | dd of=dst.migrate bs=1 seek="$1" conv=notrunc status=none
}

records() { # the offsets of the journal's records
	grep -abo TMJR whole | cut -d: -f1
}

truncate -s 300 dst.migrate
refused "a journal that ends in its preamble" "head is damaged|not a journal"
truncate -s 520 dst.migrate
refused "one that ends in its head" "head is damaged"
put 3 X
refused "one that begins with something else" "not a journal"
put 8 '\x02\0\0\0'
refused "one whose preamble is damaged" "first bytes are damaged"
# Version 2, and the checksum that goes with it.
put 8 '\x02\0\0\0\x75\xc6\xae\xda'
refused "one of a newer version" "version 2, and this program reads version 1 only"
put 8 '\x02\0\0\0\x75\xc6\xae\xda'
refuses "which inspect tells too" "version 2, .*use the version of tapmigrate that wrote it" tap migrate inspect "$T/dst.migrate"
cp whole dst.migrate
mapfile -t offsets < <(records)
above "${#offsets[@]}" 4 "the journal has several records"
put $((offsets[1] + 60)) '\xff\xfe'
refused "one that is damaged in the middle" "damaged.*tap-ctl migrate check"
put $((offsets[0] + 60)) '\xff\xfe'
refused "one whose head is damaged" "head is damaged.*tap-ctl migrate check"

# What a power failure leaves of a write that was under way.
head -c 3000 /dev/urandom >>dst.migrate
ok "one whose tail is torn opens" start_disk "migrate:$T/dst.migrate"
ok "and goes on" wait_for state_is copying synchronised
ok "closes" tap destroy -p "$pid" -m "$minor"
cp whole dst.migrate
cp src.whole src
cp dst.whole dst

truncate -s $((size - 4096)) src
cp src src.whole
refused "a source that has become smaller" "smaller"
truncate -s $size src
cp pristine src
cp src src.whole
truncate -s $((size - 512)) dst
mv dst.whole dst.kept
cp dst dst.whole
refused "a destination that has become smaller" "smaller"
mv dst.kept dst.whole
cp dst.whole dst
for side in src dst; do
	name=source
	[ $side = src ] || name=destination
	mv $side real
	cp $side.whole $side
	refused "a $name that is another disk" "$name .* is not the disk that this migration began with"
	mv real $side
	rm $side.whole
	mv $side absent
	cp dst.migrate spoilt
	refuses "a $name that is not there" "No such file" tap create -a "migrate:$T/dst.migrate"
	ok "and the journal is as it was" cmp dst.migrate spoilt
	mv absent $side
	cp $side $side.whole
done
ok "the right one opens under any name" mv dst elsewhere
refuses "though not under one that is not recorded" "." tap create -a "migrate:$T/dst.migrate"
mv elsewhere dst
ok "opens" start_disk "migrate:$T/dst.migrate"
refuses "a second opening" "in use by tapdisk $pid" tap create -a "migrate:$T/dst.migrate"
ok "completes" mig set --rate 0 --complete auto
ok "and the disk runs on the destination" wait_for runs_on "aio:$T/dst"
ok "closes" tap destroy -p "$pid" -m "$minor"
is "$(tap migrate status --journal "$T/dst.migrate" --json | jq -r .state)" completed "the journal says so"
ok "it opens again" start_disk "migrate:$T/dst.migrate"
ok "and serves the destination" wait_for runs_on "aio:$T/dst"
ok "closes" tap destroy -p "$pid" -m "$minor"

# It is removed where that was asked for.
for way in complete cancel; do
	fresh_disk $size
	ok "to $way: starts" mig start --to "aio:$T/dst" --create --strategy mirror --complete manual --journal-after remove
	ok "to $way: synchronises" wait_for state_is synchronised
	ok "to $way: it does" mig $way --wait
	ok "to $way: the journal is removed" wait_for [ ! -e dst.migrate ]
	stop_disk
done

# Where it cannot be written: reads are served, writes wait, and the status says why.
mkdir full
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=16m tmpfs full 2>/dev/null; then
	at_exit() {
		[ "$failures" = 0 ] || say "to repeat: SEED=$SEED $0"
		umount -l "$T/full"
	}
	for trouble in full read-only; do
		fresh_disk $size
		stop_disk
		truncate -s $size dst
		rm -f full/*
		new_journal "$T/full/journal" "aio:$T/src" "aio:$T/dst" slr 0
		if [ $trouble = full ]; then
			reason="journal-full"
			head -c 32M /dev/zero >full/filler 2>/dev/null
		else
			reason="journal-failed"
			mount -o remount,ro full
		fi
		untouched=$(sha256sum src dst full/journal)
		ok "$trouble: the disk opens" start_disk "migrate:$T/full/journal"
		ok "$trouble: the status says why it does not go on" wait_for holds ".reason == \"$reason\""
		ok "$trouble: what can be read is right" nbdcopy "$uri" copy
		ok "$trouble: all of it" cmp copy pristine
		is "$(sha256sum src dst full/journal)" "$untouched" "$trouble: and nothing has been written"
		survivor_start 24 500
		ok "$trouble: the guest waits" goes_on 0
		if [ $trouble = full ]; then
			rm full/filler
		else
			mount -o remount,rw full
		fi
		mig resume >/dev/null 2>&1 # it may have noticed
		ok "$trouble: once mended it goes on" wait_for state_is synchronised
		ok "$trouble: completes" mig complete --wait
		ok "$trouble: the disk runs on the destination" wait_for runs_on "aio:$T/dst"
		ok "$trouble: the guest missed nothing" survivor_end dst
	done
else
	say "no file system of our own can be mounted here: a full one is not tried"
fi
done_testing
