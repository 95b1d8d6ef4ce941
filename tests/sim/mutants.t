#!/usr/bin/perl
# Shows that the simulator bites: builds the engine with each of the faults in
# the file "mutants", and expects the simulator to find it in 20,000 seeds, or at
# least with a seed of the file "regressions".
# BUILD has the simulator's objects; MUTANTS, if set, is a pattern that chooses.
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);

my $root  = dirname(__FILE__) . '/../..';
my $build = $ENV{BUILD} or die "mutants.t: BUILD is not set\n";
my $seeds = 20000;
# As in the Makefile: what the simulator's journal and engine do at a time is small.
my @small = qw(-DJOURNAL_REGION_SECTORS=64u -DLIVE_MAX=256u -DLIVE_SLACK=8u -DSLICE_BYTES=16u
	-DGROW_BYTES=8192ull -DGUEST_PARTS=4u -DGRAINS=64u -DFLUSH_NS=5000000000ull);
my @flags = qw(-std=gnu17 -O2 -w -D_GNU_SOURCE -fno-strict-aliasing);

sub slurp {
	my ($name) = @_;
	open my $file, '<', $name or die "mutants.t: $name: $!\n";
	local $/;
	return scalar <$file>;
}

# The file as it would be; dies if a text that is to be replaced is not there.
sub mutate {
	my ($mutant) = @_;
	my $text = slurp("$root/drivers/migrate/$mutant->{file}");
	for my $edit (@{ $mutant->{edits} }) {
		my $times = () = $text =~ /\Q$edit->[0]\E/g;
		die "mutants.t: $mutant->{file} has $times times, not once:\n$edit->[0]" if $times != 1;
		$text =~ s/\Q$edit->[0]\E/$edit->[1]/;
	}
	return $text;
}

sub run {
	system(@_) == 0 or die "mutants.t: fails: @_\n";
}

# Builds the simulator with the mutant in place of the engine's own file.
sub compile {
	my ($mutant, $dir) = @_;
	my $source = "$dir/$mutant->{file}";
	(my $object = $source) =~ s/c$/o/;
	open my $file, '>', $source or die "mutants.t: $source: $!\n";
	print $file mutate($mutant);
	close $file or die "mutants.t: $source: $!\n";
	run('gcc', @flags, @small, map({ "-I$root/$_" } qw(include drivers drivers/migrate)),
		'-c', '-o', $object, $source);
	(my $own = $mutant->{file}) =~ s/c$/o/;
	run('gcc', '-o', "$dir/sim", glob("$build/obj/tests/sim/*.o"), $object,
		grep { !m{/\Q$own\E$} } glob("$build/obj/tests/sim-small/*.o"),
		grep { !m{/(engine|journal(-file)?)\.o$} } glob("$build/obj/drivers/migrate/*.o"));
}

my (@mutants, $wanted);
$wanted = $ENV{MUTANTS} // '.';
my $list = slurp(dirname(__FILE__) . '/mutants');
while ($list =~ /^== (.*)\n-- (.*)\n((?:<<<<\n(?:.*\n)*?>>>>\n)+)/mg) {
	my ($name, $file, $edits) = ($1, $2, $3);
	my @edits;
	push @edits, [$1, $2] while $edits =~ /<<<<\n((?:.*\n)*?)====\n((?:.*\n)*?)>>>>\n/g;
	chomp($_->[0]), chomp($_->[1]) for @edits;
	push @mutants, { name => $name, file => $file, edits => \@edits } if $name =~ /$wanted/;
}

my @regressions = slurp(dirname(__FILE__) . '/regressions') =~ /^(\d+)/mg;
my $failed = 0;
printf "1..%d\n", scalar @mutants;
for my $number (1 .. @mutants) {
	my $mutant = $mutants[$number - 1];
	my $dir = "$build/mutants/$number";
	make_path($dir);
	compile($mutant, $dir);
	my ($kind) = $mutant->{name} =~ /^(journal|alone): /;
	my $first = $kind ? { journal => 2000000001, alone => 4000000001 }->{$kind} : 1;
	my $output = `$dir/sim -q -f $first -n $seeds 2>&1`;
	my $caught = $? != 0;
	for my $seed (@regressions) {
		last if $caught;
		$output = `$dir/sim -q -f $seed -n 1 2>&1`;
		$caught = $? != 0;
	}
	my ($how) = $output =~ /^# (seed \d+ event.*)/m;
	my ($ran) = $output =~ /^# (\d+) seeds in/m;
	$failed++ unless $caught;
	printf "%sok %d - %s\n# %s\n", $caught ? '' : 'not ', $number, $mutant->{name},
		$caught ? "after $ran seeds: " . ($how // 'it crashes or hangs') : 'SURVIVES';
}
exit($failed ? 1 : 0);
