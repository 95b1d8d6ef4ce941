#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The control socket of a real tapdisk: blktap's protocol byte by byte, clients
# that are slow, rude or gone, and what becomes of a VBD under them.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use POSIX qw(:errno_h WNOHANG);
use Test::More;

my $build = abs_path($ENV{BUILD} // 'build');
my $dir = tempdir('/var/tmp/tm.XXXXXX', CLEANUP => 1);
$ENV{BLKTAP_RUN_DIR} = "$dir/run";
mkdir "$dir/run" and mkdir "$dir/run/tapdisk" or die "$dir: $!";

my %id = (PID => 3, ATTACH => 5, OPEN => 7, PAUSE => 9, RESUME => 11, CLOSE => 13,
	DETACH => 15, LIST => 19, STATS => 21, FORCE => 23, CONNECT => 24, DISCONNECT => 26,
	INFO => 28);

my %tapdisks;    # by pid: the path of its control socket, its output
my $client;      # a guest, while it waits
END { kill 'KILL', keys %tapdisks, $client // (); }
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP ALRM);
$SIG{PIPE} = 'IGNORE';    # tapdisk may hang up on the rude before they are done

sub start_tapdisk {
	my $pid = open(my $out, '-|') // die "fork: $!";
	if (!$pid) {
		open(STDERR, '>>', "$dir/log");
		exec "$build/tests/tapdisk", '-f' or die "$build/tests/tapdisk: $!";
	}
	chomp(my $path = <$out> // die 'tapdisk does not start');
	$tapdisks{$pid} = { path => $path, out => $out };
	return $pid;
}

# The exit status of one that ends by itself.
sub ended {
	my $pid = shift;
	alarm 60;
	waitpid $pid, 0;
	alarm 0;
	my $tapdisk = delete $tapdisks{$pid};
	return $?;
}

sub dial {
	my $pid = shift;
	return IO::Socket::UNIX->new(Peer => $tapdisks{$pid}{path}) // die "connect: $!";
}

sub message {
	my ($type, $cookie, $rest) = @_;
	return pack 'S S x4 a536', $type, $cookie, $rest // '';
}

sub params {
	my ($path, %with) = @_;
	return pack 'L L L a256 L S a256', $with{flags} // 0, 0, 0, $path,
		$with{parent} // 0xffffffff, 0, '';
}

sub ring {
	my ($domid, $order, $protocol) = @_;
	return pack 'L L L8 L L', $domid, 51712, (8) x 8, $order, $protocol;
}

# Everything until the peer closes.
sub answer {
	my $socket = shift;
	my $bytes = '';
	alarm 60;
	1 while sysread $socket, $bytes, 65536, length $bytes;
	alarm 0;
	return $bytes;
}

sub ask {
	my ($pid, $name, $cookie, $rest) = @_;
	my $socket = dial($pid);
	syswrite $socket, message($id{$name} // $name, $cookie, $rest);
	return answer($socket);
}

sub answers {    # the type that comes back is the one after the request's
	my ($bytes, $name, $test) = @_;
	is unpack('S', $bytes), $name eq 'FORCE' ? 14 : $id{$name} + 1, $test
		or diag words($bytes);
}

sub words {
	my (undef, undef, $errno, $text) = unpack 'S S x4 l Z256', shift;
	return "$errno: $text";
}

sub refuses {
	my ($bytes, $errno, $text, $test) = @_;
	my ($type, undef, $got, $said) = unpack 'S S x4 l Z256', $bytes;
	ok length $bytes == 544 && $type == 1 && $got == $errno && $said =~ $text, $test
		or diag "type $type, errno $got, $said";
}

sub state_of {
	my ($pid, $minor) = @_;
	for (unpack '(a544)*', ask($pid, 'LIST', 0)) {
		my (undef, undef, $count, $got, $state, $path) = unpack 'S S x4 l l l Z256', $_;
		return sprintf '%#x %s', $state, $path if $count && $got == $minor;
	}
	return 'none';
}

sub wait_for {
	my ($condition, $name) = @_;
	for (1 .. 600) {
		return 1 if $condition->();
		select undef, undef, undef, 0.1;
	}
	diag "gave up waiting for $name";
}

sub image {
	my ($name, $bytes) = @_;
	open my $file, '>', "$dir/$name" or die "$dir/$name: $!";
	truncate $file, $bytes;
	return "$dir/$name";
}

sub allocate {
	my $minor = shift;
	open my $marker, '>', "$dir/run/tapdisk/tapdisk-$minor" or die $!;
}

my $pid = start_tapdisk();
my $path = $tapdisks{$pid}{path};
is $path, "$dir/run/ctl$pid", 'the control socket is named after the process';
is sprintf('%o', (stat $path)[2] & 07777), '600', 'only its owner may connect';

# --- the wire ------------------------------------------------------------------

my $bytes = ask($pid, 'PID', 42);
is length $bytes, 544, 'an answer is 544 bytes';
is_deeply [unpack 'S S x4 l', $bytes], [4, 42, $pid], 'PID tells the process, and the cookie';

for my $size (1, 8, 272, 543) {
	my $socket = dial($pid);
	my $request = message($id{PID}, 1);
	while (length $request) {
		syswrite $socket, substr $request, 0, $size, '';
		# Not all: tapdisk waits two seconds for the whole, and machines are busy.
		select undef, undef, undef, 0.001 if length $request > 512;
	}
	answers(answer($socket), 'PID', "a request in pieces of $size bytes is one request");
}

my @slow = map { my $socket = dial($pid); syswrite $socket, 'x' x 272; $socket } 1 .. 9;
answers(ask($pid, 'PID', 0), 'PID', 'half a message of others keeps nobody waiting');
push @slow, map { dial($pid) } 1 .. 20;
answers(ask($pid, 'PID', 0), 'PID', 'more silent clients than there are connections neither');
is join('', map { answer($_) } @slow), '', 'silent clients are dropped';

srand(my $seed = $ENV{SEED} // time);
note "SEED=$seed";
for (1 .. 50) {
	my $garbage = join '', map { chr int rand 256 } 1 .. 544;
	my $type = unpack 'S', $garbage;
	next if $type <= 30;
	my $socket = dial($pid);
	syswrite $socket, $garbage;
	my $bytes = answer($socket);
	next if (unpack 'S x6 l', $bytes) == 1 && (unpack 'x8 l', $bytes) == EINVAL;
	fail 'garbage is refused';
	last;
}
for my $type (0, 1, 2, 4, 17, 30, 31, 65535) {
	refuses(ask($pid, $type, 0), EINVAL, qr/no such request/, "type $type is no request");
}

# --- a VBD's life -----------------------------------------------------------------

refuses(ask($pid, 'ATTACH', 3), ENOENT, qr/tapdisk-3/, 'a minor must have its marker');
allocate(3);
answers(ask($pid, 'ATTACH', 3), 'ATTACH', 'then it is attached');
refuses(ask($pid, 'ATTACH', 3), EEXIST, qr/already/, 'once');
my $other = start_tapdisk();
refuses(ask($other, 'ATTACH', 3), EBUSY, qr/another tapdisk/, 'and by one tapdisk');
is state_of($pid, 3), '0 ', 'it is listed, closed';

refuses(ask($pid, $_, 9), ENODEV, qr/9 is not attached/, "$_ of an unknown minor")
	for qw(PAUSE RESUME CLOSE FORCE DETACH INFO STATS);
refuses(ask($pid, 'OPEN', 9, params('aio:/x')), EINVAL, qr/9 is not attached/,
	'OPEN of an unknown minor');
refuses(ask($pid, $_, 3), EINVAL, qr/not open/, "$_ of a closed VBD") for qw(PAUSE CLOSE FORCE);
refuses(ask($pid, 'RESUME', 3), EINVAL, qr/not paused/, 'RESUME of a closed VBD');

my $a = image('a', 1 << 20);
refuses(ask($pid, 'OPEN', 3, params('aio:' . 'x' x 300)),
	ENAMETOOLONG, qr/longer/, 'a name without an end');
refuses(ask($pid, 'OPEN', 3, params("aio:$dir/nothing")),
	ENOENT, qr/\Q$dir\E\/nothing/, 'a missing image is named');
# Whoever reads 544 bytes has the start of a long text, without half a character; the
# rest is behind them.
{
	my $name = "$dir/" . 'ä' x ((250 - length $dir) / 2);    # ä: two bytes
	my $said = ask($pid, 'OPEN', 3, params("aio:$name"));
	my ($type, undef, $errno, $start) = unpack 'S S x4 l Z256', $said;
	is "$type $errno", '1 ' . ENOENT, 'a missing image with a long name';
	cmp_ok length $start, '>=', 252, 'is said to be missing in as much as there is room for';
	ok utf8::decode(my $copy = $start), 'in whole characters';
	like $start . substr($said, 544), qr/^\Q$name\E: .*No such file or directory$/,
		'and the rest of the message follows';
}
refuses(ask($pid, 'OPEN', 3, params($a)), EINVAL, qr/type:path/, 'a name without a type');
refuses(ask($pid, 'OPEN', 3, params("vhd:$a")), ENOSYS, qr/no driver/, 'a type without driver');
refuses(ask($pid, 'OPEN', 3, params("new:$a")), ENOENT, qr/no such type/, 'an unknown type');
refuses(ask($pid, 'OPEN', 3, params("aio:$a", flags => $_)),
	EOPNOTSUPP, qr/no mirrors/, "flag $_ is not carried out")
	for 0x4, 0x10, 0x20, 0x40, 0x80, 0x100, 0x400, 0x10000;
refuses(ask($pid, 'OPEN', 3, params("aio:$a", parent => 1)), EOPNOTSUPP, qr/parent/, 'a parent');
refuses(ask($pid, 'CONNECT', 3, ring(1, 0, 1)), EINVAL, qr/not open/, 'a ring');
is state_of($pid, 3), '0 ', 'none of that opened it';

$bytes = ask($pid, 'OPEN', 3, params("aio:$a"));
answers($bytes, 'OPEN', 'OPEN');
is_deeply [(unpack 'S S x4 Q L L', $bytes)[2 .. 4]], [2048, 512, 0], 'tells the size';
answers($bytes = ask($pid, 'INFO', 3), 'INFO', 'DISK_INFO');
is_deeply [(unpack 'S S x4 Q L L', $bytes)[2 .. 4]], [2048, 512, 0], 'tells it too';
ok -S "$dir/run/nbd$pid.3", 'it is served';
refuses(ask($pid, 'OPEN', 3, params("aio:$a")), EALREADY, qr/./, 'OPEN of an open VBD');
refuses(ask($pid, 'DETACH', 3), EBUSY, qr/open/, 'DETACH of an open VBD');
refuses(ask($pid, 'RESUME', 3), EINVAL, qr/not paused/, 'RESUME of a running VBD');

refuses(ask($pid, 'CONNECT', 3, ring(1, @$_)), EINVAL, qr/order $_->[0] and protocol $_->[1]/,
	'CONNECT of a ring that cannot be')
	for [4, 1], [0, 0], [0, 4], [0xffffffff, 1];
# Without Xen's libraries none can be connected, and with them not that of this domain.
$bytes = ask($pid, 'CONNECT', 3, ring(0x7ff0, 0, 1));
refuses($bytes, unpack('x8 l', $bytes), qr/Xen/, 'nor one of no domain');
refuses(ask($pid, 'DISCONNECT', 3, ring(1, 0, 1)), ENODEV, qr/no ring of domain 1/,
	'DISCONNECT of what is not connected');

for my $minor (3, 65535) {
	$bytes = ask($pid, 'STATS', $minor);
	answers($bytes, 'STATS', "STATS of $minor");
	my $json = substr $bytes, 544;
	is unpack('x16 Q', $bytes), length $json, 'tells the length of what follows';
	my $stats = decode_json($json);
	$stats = $stats->[0] if $minor == 65535;
	is $stats->{name}, "aio:$a", 'which is JSON';
	is_deeply $stats->{images}[0]{hits}, [0, 0], 'with the counters that xapi reads';
}

answers(ask($pid, 'PAUSE', 3), 'PAUSE', 'PAUSE') for 1, 2;
is state_of($pid, 3), "0x2a aio:$a", 'makes the state 0x2a';
answers(ask($pid, 'INFO', 3), 'INFO', 'DISK_INFO of a paused VBD');
refuses(ask($pid, 'RESUME', 3, params("aio:$dir/nothing")),
	ENOENT, qr/nothing/, 'RESUME with a missing image');
refuses(ask($pid, 'RESUME', 3, params('aio:' . image('small', 512))),
	EMEDIUMTYPE(), qr/2048/, 'RESUME with a smaller image');
is state_of($pid, 3), "0x2a aio:$a", 'leave it paused under its old name';
answers(ask($pid, 'RESUME', 3, params('')), 'RESUME', 'RESUME without a name');
is state_of($pid, 3), "0 aio:$a", 'runs it again';
answers(ask($pid, 'PAUSE', 3), 'PAUSE', 'PAUSE again');
my $b = image('b', 2 << 20);
answers(ask($pid, 'RESUME', 3, params("aio:$b")), 'RESUME', 'RESUME with a larger image');
$bytes = ask($pid, 'INFO', 3);
is unpack('x8 Q', $bytes), 2048, 'does not change what the guest sees';
answers(ask($pid, 'CLOSE', 3), 'CLOSE', 'CLOSE');
ok !-e "$dir/run/nbd$pid.3", 'removes the NBD socket';
is state_of($pid, 3), '0x2 ', 'and leaves it attached';

# --- operations that wait -----------------------------------------------------------

sub faults {
	open my $file, '>', "$dir/faults.new" or die $!;
	print $file "$_\n" for @_;
	close $file;
	rename "$dir/faults.new", "$dir/faults";
}

# A write that stays in flight: qemu-io, which waits for it.
sub stalled_write {
	my $pid = shift;
	$client = fork // die $!;
	if (!$client) {
		open STDOUT, '>', '/dev/null';
		exec 'qemu-io', '-f', 'raw', '-c', 'write 0 4k', "nbd+unix:///?socket=$dir/run/nbd$pid.3";
	}
	wait_for(sub { decode_json(substr ask($pid, 'STATS', 3), 544)->{reqs_outstanding} == 1 },
		'the write');
}

sub guest_ended {
	alarm 60;
	waitpid $client, 0;
	alarm 0;
	undef $client;
	return $?;
}

faults();
answers(ask($pid, 'OPEN', 3, params("fault:$dir/faults:$a")), 'OPEN', 'a disk that can stall');
faults('stall write');
stalled_write($pid);

my $waiting = dial($pid);
syswrite $waiting, message($id{PAUSE}, 3);
wait_for(sub { state_of($pid, 3) =~ /^0x14 / }, 'the pause');
refuses(ask($pid, 'PAUSE', 3), EBUSY, qr/being paused/, 'a second PAUSE while one waits');
refuses(ask($pid, 'CLOSE', 3), EBUSY, qr/being paused/, 'and a CLOSE');
ok !IO::Select->new($waiting)->can_read(0), 'the first one has no answer yet';
close $waiting;
ok wait_for(sub { state_of($pid, 3) =~ /^0 / }, 'the VBD to run'),
	'a client that leaves takes its pause with it';

$waiting = dial($pid);
syswrite $waiting, message($id{PAUSE}, 3);
wait_for(sub { state_of($pid, 3) =~ /^0x14 / }, 'the pause');
faults();
answers(answer($waiting), 'PAUSE', 'a pause is answered when the write is');
answers(ask($pid, 'RESUME', 3, params('')), 'RESUME', 'RESUME');
is guest_ended(), 0, 'and the write was not lost';

faults('stall write');
stalled_write($pid);
$waiting = dial($pid);
syswrite $waiting, message($id{PAUSE}, 3);
wait_for(sub { state_of($pid, 3) =~ /^0x14 / }, 'the pause');
answers(ask($pid, 'FORCE', 3), 'FORCE', 'FORCE_SHUTDOWN takes over from a pause and does not wait');
refuses(answer($waiting), ECANCELED, qr/./, 'whose client is told');
faults();
wait_for(sub { state_of($pid, 3) eq '0x2 ' }, 'the close');
guest_ended();

# --- the end ------------------------------------------------------------------------

allocate(4);
answers(ask($pid, 'ATTACH', 4), 'ATTACH', 'a second VBD');
answers(ask($pid, 'DETACH', 3), 'DETACH', 'DETACH of the first');
is state_of($pid, 3), 'none', 'which is gone';
answers(ask($pid, 'DETACH', 4), 'DETACH', 'DETACH of the last');
is ended($pid), 0, 'ends the process, well';
ok !-e $path, 'and its socket';

answers(ask($other, 'ATTACH', 3), 'ATTACH', 'the minor is free for another');
answers(ask($other, 'OPEN', 3, params("aio:$a")), 'OPEN', 'with the image');
kill 'TERM', $other;
is ended($other), 0, 'SIGTERM ends it well';
is_deeply [grep { -S } glob "$dir/run/*"], [], 'with nothing left';

faults();
$other = start_tapdisk();
ask($other, 'ATTACH', 3);
answers(ask($other, 'OPEN', 3, params("fault:$dir/faults:$a")), 'OPEN', 'another one');
faults('stall write');
stalled_write($other);
$waiting = dial($other);
syswrite $waiting, message($id{PAUSE}, 3);
wait_for(sub { state_of($other, 3) =~ /^0x14 / }, 'the pause');
kill 'TERM', $other;
refuses(answer($waiting), ECANCELED, qr/./, 'SIGTERM takes over from a pause, whose client is told');
faults();
is ended($other), 0, 'and ends it well, when it can';
guest_ended();

done_testing();

sub EMEDIUMTYPE { return 124 }
