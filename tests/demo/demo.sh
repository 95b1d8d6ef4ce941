#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# demo.sh - a running disk moves, once by each strategy, and its user notices
# nothing
#
# The disk is 640 MiB: a file system full of files of this machine, and behind
# it 128 MiB on which fio, the user, writes and checks without pause. So the
# file system can be compared byte for byte afterwards.
. "$(dirname "$0")/../lib.sh"

PATH=$PATH:/usr/sbin:/sbin # where e2fsck is, for who is not root
FS=$((512 << 20))
REGION=$((128 << 20))
RATE=${DEMO_RATE:-160} # MiB/s; so that there is something to watch
CALM=2                 # seconds that the user is watched before and after

# A progress bar where it can be drawn.
watch=()
progress=$T/progress
[ ! -t 1 ] || { watch=(--watch); progress=/dev/stdout; }

step() {
	printf '  %-12s %s\n' "$1" "$2"
}

mib() { # BYTES
	echo $((($1 + (1 << 19)) >> 20))
}

# --- the disk -------------------------------------------------------------------

fill() { # DIRECTORY: some 380 MiB of this machine's files
	find /usr/include /usr/share/doc /usr/share/perl /usr/share /usr/lib -xdev -type f -readable -printf '%s %p\0' 2>/dev/null |
		awk -v RS='\0' -v ORS='\0' '{ size = $1; sub(/^[0-9]+ /, ""); if (seen[$0]++) next
			total += size + 2048; if (total > 380 * 2 ^ 20 || ++n > 40000) exit; print }' |
		tar -C / --null --files-from=- -cf - 2>/dev/null | tar -C "$1" -xf - 2>/dev/null
	[ "$(du -sm "$1" | cut -f 1)" -ge 100 ] || die "this machine has too few files in /usr"
}

make_disk() { # FILE
	mkdir files
	fill files
	mke2fs -q -t ext4 -d files "$1" $((FS >> 10))k >/dev/null || die "mke2fs failed"
	files=$(find files -type f | wc -l)
	rm -rf files
	e2fsck -fn "$1" >e2fsck.log 2>&1 || die "the new file system is not clean: $(cat e2fsck.log)"
	truncate -s $((FS + REGION)) "$1"
	"${user[@]}" --ioengine=psync --filename="$1" --rw=write --do_verify=0 >/dev/null || die "fio failed"
}

# --- its user -------------------------------------------------------------------

user=(fio --name=user --offset="$FS" --size="$REGION" --bs=4k --verify=crc32c --verify_fatal=1
	--verify_state_save=0 --thread --eta=never)

# Random writes, each read back and checked a little later, until told to stop;
# with a log of every request's time and latency.
user_comes() {
	"${user[@]}" --ioengine=nbd --uri="$uri" --rw=randwrite --norandommap --randrepeat=0 --iodepth=8 \
		--verify_backlog=64 --time_based --runtime=600 --write_lat_log=user --log_unix_epoch=1 \
		--disable_clat=1 --disable_slat=1 --output=user.json --output-format=json 2>user.err &
	user_pid=$!
	started+=("$user_pid")
	sleep $CALM
}

user_goes() { # it must have seen nothing
	kill -INT "$user_pid" 2>/dev/null || die "the user gave up: $(tail -3 user.err user.json)"
	wait "$user_pid"
	[ "$(sed -n '/^{/,$p' user.json | jq '.jobs[0].error')" = 0 ] || die "the user saw errors: $(tail -3 user.err)"
}

# Its requests a second before, during and after the migration, and the longest
# that one took during it, in ms.
user_saw() { # FROM TO: ms since the epoch
	awk -F ', ' -v from="$1" -v to="$2" '
		NR == 1 { first = $1 }
		{ last = $1 }
		$1 < from { before++; next }
		$1 > to { after++; next }
		{ during++; if ($2 > worst) worst = $2 }
		END { printf "%d %d %d %.1f\n", before * 1000 / (from - first), during * 1000 / (to - from),
			after * 1000 / (last - to), worst / 1e6 }' user_lat.1.log
}

# --- moving it ------------------------------------------------------------------

now_ms() {
	date +%s%3N
}

move() { # STRATEGY
	local from to
	cp --sparse=always disk source
	rm -f destination destination.migrate
	start_disk "aio:$T/source"
	user_comes
	step "start" "tap-ctl migrate start -m $minor --to aio:destination --create --strategy $1 ..."
	from=$(now_ms)
	mig start --to "aio:$T/destination" --create --strategy "$1" --rate "$RATE" \
		--complete auto --wait "${watch[@]}" >"$progress" || die "the migration failed"
	to=$(now_ms)
	sleep $CALM
	runs_on "aio:$T/destination" || die "the disk does not run on the destination"
	tap migrate status --journal destination.migrate --json >status.json || die "no status"
	user_goes
	step "moved" "the user, on all the while, saw no error and no wrong byte"
	stop_disk || die "tapdisk does not end"
	rm source

	e2fsck -fn destination >e2fsck.log 2>&1 || die "the file system is not clean: $(cat e2fsck.log)"
	cmp -n $FS disk destination || die "the files differ"
	"${user[@]}" --ioengine=psync --filename=destination --rw=read >verify.log 2>&1 ||
		die "the user's data is not right: $(cat verify.log)"
	step "checked" "e2fsck finds it clean, its $files files are identical, fio's data verifies"
	row "$1" "$from" "$to"
}

# --- the table ------------------------------------------------------------------

columns() {
	printf '  %-8s %6s %7s %8s %17s %17s %24s %8s\n' "$@"
}

row() { # STRATEGY FROM TO
	local before during after worst copied skipped sc sg dc dg line
	read -r before during after worst < <(user_saw "$2" "$3")
	read -r copied skipped sc sg dc dg < <(jq -r '[.bytes.copied, .bytes.skipped, .written.source.copy,
		.written.source.guest, .written.destination.copy, .written.destination.guest] | map(tostring) | join(" ")' status.json)
	line=$(columns "$1" "$(jq -n "($3 - $2) / 100 | round / 10")" "$(mib "$copied")" "$(mib "$skipped")" \
		"$(mib "$sc") + $(mib "$sg")" "$(mib "$dc") + $(mib "$dg")" \
		"$(printf '%7d %7d %7d' "$before" "$during" "$after")" "$worst")
	table+=$'\n'$line
	echo "$line"
}

table=$(columns '' time copied skipped 'written to source' 'to destination' 'user IOPS' 'worst'
	columns strategy s MiB MiB 'copy+guest MiB' 'copy+guest MiB' 'before  during   after' 'stall ms')

echo "A disk of $(((FS + REGION) >> 20)) MiB: ext4 with files of this machine, and 128 MiB that a user works on."
make_disk disk
step "made" "$files files; $(du -m disk | cut -f 1) MiB are not holes"
for strategy in lr slr aio mirror dbt; do
	echo "$strategy"
	move $strategy
done
echo
echo "$table"
