#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# fake-migration.pl SOCKET SCRIPT - answers like a migration, from a script
#
# Each line of SCRIPT is the answer to a request, in order over all connections;
# "-" is no answer, and "." hangs up. At the script's end it hangs up and stops.
# What it is asked goes to stdout.
use strict;
use warnings;
use IO::Socket::UNIX;

$| = 1;
my ($path, $script) = @ARGV;
# The socket has its name only when it listens: whoever sees it may connect.
my $listener = IO::Socket::UNIX->new(Local => "$path.new", Listen => 8) or die "$path: $!";
rename "$path.new", $path or die "$path: $!";
open(my $answers, '<', $script) or die "$script: $!";
while (my $peer = $listener->accept) {
	while (defined(my $request = <$peer>)) {
		print $request;
		my $answer = <$answers>;
		if (!defined $answer) {
			unlink $path;
			exit 0;
		}
		last if $answer eq ".\n";
		$peer->print($answer) unless $answer eq "-\n";
		$peer->flush;
	}
	close $peer;
}
