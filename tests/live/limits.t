#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# More clients than a tapdisk has descriptors, or memory, for: others are served, and
# tap-ctl can still look and end it.
. "$(dirname "$0")/lib.sh"
needs jq nbdcopy perl qemu-io

size=$((64 << 20))
head -c $size /dev/urandom >disk
cp disk pristine
start_disk "aio:$T/disk"
socket=$BLKTAP_RUN_DIR/nbd$pid.$minor
control=$BLKTAP_RUN_DIR/ctl$pid

# Connects COUNT times to SOCKET, sends BYTES (as perl has it) each time, and keeps all of
# it open; half: closes the sending side. Sets crowd.
crowd_comes() { # SOCKET COUNT BYTES [half]
	rm -f "$T/crowd"
	perl -MIO::Socket::UNIX -e '
		my ($path, $count, $bytes, $half, $said) = @ARGV;
		my @all;
		$SIG{PIPE} = "IGNORE";
		for (1 .. $count) {
			my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM) or last;
			$s->blocking(0); # those that there is no room for are not waited for
			connect($s, pack_sockaddr_un($path)) or next;
			push @all, $s;
		}
		for (@all) { syswrite $_, eval "qq{$bytes}"; shutdown $_, 1 if $half }
		open my $ready, ">", $said or die; print $ready scalar @all; close $ready;
		sleep;' "$1" "$2" "$3" "${4:-}" "$T/crowd" &
	crowd=$!
	started+=("$crowd")
	wait_for test -s "$T/crowd"
}

crowd_goes() {
	kill -KILL "$crowd" || return 1
	wait "$crowd" 2>/dev/null
	return 0
}

descriptors() {
	find "/proc/$pid/fd" -mindepth 1 | wc -l
}

has_descriptors() { # COUNT, at least
	[ "$(descriptors)" -ge "$1" ]
}

resident() { # MiB
	awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status"
}

disk_is_whole() {
	nbdcopy "$uri" copy && cmp pristine copy
}

# --- descriptors
before=$(descriptors)
prlimit --pid "$pid" --nofile=$((before + 8))
ok "clients come that there are no descriptors for" crowd_comes "$socket" 60 ""
ok "as many are taken as there are" wait_for has_descriptors $((before + 7))
is "$(tap list -p "$pid" -m "$minor" | sed 's/.*args=//')" "aio:$T/disk" "the disk is listed nevertheless"
is "$(tap stats -p "$pid" -m "$minor" | jq -r .name)" "aio:$T/disk" "and looked at"
is "$(for _ in 1 2 3 4 5; do tap list -p "$pid" | wc -l; done | xargs)" "1 1 1 1 1" "again and again"
ok "they go" crowd_goes
ok "and others are served" wait_for disk_is_whole

ok "they come again" crowd_comes "$socket" 60 ""
ok "and the disk can be closed" stop_disk
crowd_goes >/dev/null

# --- memory: each asks for 32 MiB and takes nothing of it
start_disk "aio:$T/disk"
socket=$BLKTAP_RUN_DIR/nbd$pid.$minor
control=$BLKTAP_RUN_DIR/ctl$pid
hello='\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0'
read16='\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\1\0\0\0'
ok "clients ask for much, and do not listen" crowd_comes "$socket" 40 "$hello$read16$read16" half
ok "a small request is served beside them" qemu-io -f raw "$uri" -c "read 1M 64k"
ok "they have no more memory than all clients of a disk may have" [ "$(resident)" -lt 300 ]
ok "one that copies the disk is served too, in the end" disk_is_whole
crowd_goes

# --- sockets of control: who says half a word keeps nobody out
ok "clients of the control socket say half a word" crowd_comes "$control" 100 '\3'
ok "others have their turn, and are answered" wait_for runs_on "aio:$T/disk"
crowd_goes

fresh=$T/dst
ok "a migration begins" mig start --to "aio:$fresh" --create --strategy mirror --complete manual --wait
migration=$(echo "$BLKTAP_RUN_DIR"/migrate-*)
ok "clients of its socket say half a word" crowd_comes "$migration" 15 '{'
is "$(status .strategy)" mirror "another one is answered"
crowd_goes
ok "clients say nothing, and have all places" crowd_comes "$migration" 16 ''
ok "another one has a place in the end" wait_for state_is synchronised
crowd_goes
ok "it completes" mig complete --wait
ok "the disk is whole" disk_is_whole
stop_disk
done_testing
