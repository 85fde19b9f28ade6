# Gathers figures, and prints their medians: a table for people, and a line of JSON for programs.
package Report;
use strict;
use warnings;

sub new { my ($class, %options) = @_; return bless { options => \%options, order => [], loads => {} }, $class }

sub add
{
	my ($self, $load, $contender, $figures) = @_;
	push @{ $self->{loads}{$load}{$contender} }, $figures;
}

sub title
{
	my ($self, $load, $title) = @_;
	push @{ $self->{order} }, $load;
	$self->{titles}{$load} = $title;
}

sub grouped { my ($self, $number) = @_; 1 while $number =~ s/^(\d+)(\d{3})/$1,$2/; return $number }

sub median
{
	my @sorted = sort { $a <=> $b } grep { defined } @_;
	return if !@sorted;
	my $middle = int(@sorted / 2);
	return @sorted % 2 ? $sorted[$middle] : ($sorted[$middle - 1] + $sorted[$middle]) / 2;
}

# Rows a second.
sub rate
{
	my ($self, $load, $contender) = @_;
	return median(map { $_->{rows} / $_->{seconds} } @{ $self->{loads}{$load}{$contender} // [] });
}

sub per_row
{
	my ($self, $load, $contender, $figure) = @_;
	return median(map { defined $_->{$figure} ? $_->{$figure} / $_->{rows} * 1e6 : undef }
		@{ $self->{loads}{$load}{$contender} // [] });
}

my @contenders = (
	[one => 'a flow, one message a row'],
	[packed => 'a flow, rows_per_message 100'],
	['ceiling acks' => 'its messages, ready-made, same acknowledgements'],
	['ceiling none' => 'its messages, ready-made, one acknowledgement'],
	[pgoutput => 'pg_recvlogical, pgoutput, to /dev/null'],
	[wal2json => 'pg_recvlogical, wal2json, to /dev/null'],
	[node => 'Node.js, pgoutput, to a stream'],
	[decode => 'decoding only'],
	[encode => 'decoding and encoding, one message a row'],
	['encode packed' => 'decoding and encoding, rows_per_message 100'],
);

sub show
{
	my ($self) = @_;
	$self->show_load($_) for @{ $self->{order} };
	$self->show_latency if $self->{loads}{latency};
	$self->show_rest;
	my $passed = $self->show_targets;
	print $self->json, "\n";
	return $passed;
}

# Seconds of CPU per million rows are microseconds per row: of the process that decodes and, where there is one, sends;
# of the NATS server; and of the walsender of the Node.js peer.
sub show_load
{
	my ($self, $load) = @_;
	my $base = $self->rate($load, 'one') // $self->rate($load, 'decode');
	printf "\n%-49s %10s %8s %14s %7s %11s\n", $self->{titles}{$load}, 'rows/s', 'ratio', 'CPU s/M rows', 'NATS',
		'walsender';
	for (@contenders) {
		my ($contender, $title) = @$_;
		my $rate = $self->rate($load, $contender) // next;
		printf "  %-47s %10s %7.2fx %14s %7s %11s\n", $title, $self->grouped(int($rate)), $rate / $base,
			map { number($self->per_row($load, $contender, $_)) } qw(cpu nats_cpu sender_cpu);
	}
}

# The median over the rounds of one figure, or of the n-th in a list.
sub figure
{
	my ($self, $part, $name, $n) = @_;
	return median(map { my $value = $_->{$name}; ref $value ? $value->[$n] : $value } @{ $self->{loads}{$part}{flow} // [] });
}

sub show_latency
{
	my ($self) = @_;
	printf "\n%-49s %10s %8s %14s\n", 'latency at 1,000 transactions a second, ms', 'p50', 'p99', 'max';
	for (['commit', 'from before the commit is sent'], ['committed', 'from when the commit has returned']) {
		my ($name, $title) = @$_;
		printf "  %-47s %10.2f %8.2f %14.2f\n", $title, map { $self->figure('latency', $name, $_) } 0 .. 2;
	}
	printf "  %-47s %10.0f\n", 'transactions a second', $self->figure('latency', 'rate', 0);
	printf "  %-47s %10.1f\n", 'worker, CPU s/M transactions', $self->figure('latency', 'cpu');
}

sub show_rest
{
	my ($self) = @_;
	if ($self->{loads}{idle}) {
		printf "\n%-49s %9.3f%%\n", 'worker at rest, of a core', 100 * $self->figure('idle', 'share');
		printf "  %-47s %9.1f\n", 'peak memory, MB', $self->figure('idle', 'memory') / 1024;
	}
	for (['memory', 'rows by one worker'], ['snapshot', 'rows of a table, as a snapshot']) {
		my ($part, $title) = @$_;
		next if !$self->{loads}{$part};
		my %figure = map { $_ => scalar $self->figure($part, $_) } qw(rows tenth_memory memory tenth_seconds seconds cpu);
		printf "\n%-49s %10s %10s\n", $self->grouped($figure{rows}) . " $title", 'a tenth', 'all';
		printf "  %-47s %10.1f %10.1f\n", 'peak memory, shared buffers included, MB', map { $_ / 1024 } @figure{qw(tenth_memory memory)};
		printf "  %-47s %10.2f %10.2f\n", 'seconds', @figure{qw(tenth_seconds seconds)};
		printf "  %-47s %10s %10.0f\n", 'rows/s', '', $figure{rows} / $figure{seconds};
		printf "  %-47s %10s %10.2f\n", 'CPU s/M rows', '', $figure{cpu} / $figure{rows} * 1e6;
	}
}

# Name, what it is, relation, target.
sub targets
{
	my ($self) = @_;
	my $ratio = sub {
		my ($load, $above, $below) = @_;
		my ($x, $y) = ($self->rate($load, $above), $self->rate($load, $below));
		return $x && $y ? $x / $y : undef;
	};
	my $quotient = sub {
		my ($part, $above, $below) = @_;
		my ($x, $y) = ($self->figure($part, $above), $self->figure($part, $below));
		return $x && $y ? $x / $y : undef;
	};
	my ($main, $acks, $none) = ('transactions', map { $self->rate('transactions', "ceiling $_") // 0 } qw(acks none));
	my $idle = $self->figure('idle', 'share');
	return (
		['one row a message / the ceiling', $ratio->($main, 'one', $acks > $none ? 'ceiling acks' : 'ceiling none'), '>=', 0.8],
		['one row a message / pgoutput to /dev/null', $ratio->($main, 'one', 'pgoutput'), '>=', 0.9],
		['one row a message / wal2json to /dev/null', $ratio->($main, 'one', 'wal2json'), '>=', 1.6],
		['one row a message / Node.js', $ratio->($main, 'one', 'node'), '>=', 5],
		['rows_per_message 100 / one row a message', $ratio->($main, 'packed', 'one'), '>=', 2.5],
		['rows_per_message 100 / pgoutput to /dev/null', $ratio->($main, 'packed', 'pgoutput'), '>=', 2],
		['time of decoding and encoding / of decoding', $ratio->('decoding', 'decode', 'encode'), '<=', 2.5],
		['latency p50, ms, from before the commit', scalar $self->figure('latency', 'commit', 0), '<', 2],
		['latency p99, ms, from before the commit', scalar $self->figure('latency', 'commit', 1), '<', 15],
		['worker at rest, % of a core', defined $idle ? 100 * $idle : undef, '<', 0.2],
		['peak memory after all / after a tenth', $quotient->('memory', 'memory', 'tenth_memory'), '<=', 1.05],
		['time for all / for a tenth', $quotient->('memory', 'seconds', 'tenth_seconds'), '<=', 11],
		['time of a snapshot, all / a tenth', $quotient->('snapshot', 'seconds', 'tenth_seconds'), '<=', 11],
	);
}

sub show_targets
{
	my ($self) = @_;
	my $passed = 1;
	printf "\n%-49s %10s %10s\n", 'target', 'actual', '';
	for ($self->targets) {
		my ($title, $actual, $relation, $target) = @$_;
		next if !defined $actual;
		my $ok = $relation eq '>=' ? $actual >= $target : $relation eq '<=' ? $actual <= $target : $actual < $target;
		$passed &&= $ok;
		printf "  %-47s %10.3f %10s  %s\n", $title, $actual, "$relation $target", $ok ? 'ok' : 'MISSED';
	}
	return $passed;
}

sub number { my ($value) = @_; return defined $value ? sprintf '%.2f', $value : '' }

# Medians of all that was measured, and the targets.
sub json
{
	my ($self) = @_;
	my %loads;
	for my $load (@{ $self->{order} }) {
		for my $contender (keys %{ $self->{loads}{$load} }) {
			my %figures = (rows_per_second => $self->rate($load, $contender));
			$figures{"${_}_us_per_row"} = $self->per_row($load, $contender, $_) for qw(cpu nats_cpu sender_cpu);
			$loads{$load}{$contender} = \%figures;
		}
	}
	my %targets = map { $_->[0] => { actual => $_->[1], target => "$_->[2] $_->[3]" } } grep { defined $_->[1] } $self->targets;
	my %latency = map { my $name = $_; ($name => { p50 => scalar $self->figure('latency', $name, 0),
		p99 => scalar $self->figure('latency', $name, 1), max => scalar $self->figure('latency', $name, 2) }) } qw(commit committed);
	return encode({ runs => $self->{options}{runs}, scale => $self->{options}{rows}, loads => \%loads,
		latency_ms => \%latency, targets => \%targets });
}

sub encode
{
	my ($value) = @_;
	return 'null' if !defined $value;
	return '{' . join(',', map { qq("$_":) . encode($value->{$_}) } sort keys %$value) . '}' if ref $value;
	return $value =~ /^-?\d+(\.\d+)?(e[-+]\d+)?$/ ? sprintf('%.6g', $value) : qq("$value");
}

1;
