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
);

sub show
{
	my ($self) = @_;
	$self->show_load($_) for @{ $self->{order} };
}

sub show_load
{
	my ($self, $load) = @_;
	my $one = $self->rate($load, 'one');
	printf "\n%-49s %10s %9s %15s %9s\n", $self->{titles}{$load}, 'rows/s', 'of ours', 'CPU us/row', 'NATS';
	for (@contenders) {
		my ($contender, $title) = @$_;
		my $rate = $self->rate($load, $contender) // next;
		printf "  %-47s %10s %8.2fx %15s %9s\n", $title, $self->grouped(int($rate)), $rate / $one,
			number($self->per_row($load, $contender, 'cpu')), number($self->per_row($load, $contender, 'nats_cpu'));
	}
}

sub number { my ($value) = @_; return defined $value ? sprintf '%.2f', $value : '' }

1;
