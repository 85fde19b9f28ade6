# Writers for tests that kill things: transactions of many kinds on tables whose rows number themselves, and the proof
# that a stream holds the committed ones, each once, in commit order.
package Load;
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $PostgreSQL::Test::Utils::timeout_default;

my $tables = <<'END';
CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, x text);
CREATE TABLE b (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, x text);
CREATE TABLE c (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, x text);
END

# Rolled back rows say so, so that one of them in the stream is seen at once.
my %scripts = (
	small => q{INSERT INTO a (n, x) VALUES (1, 'kept');},
	many => q{
		\set n random(1, 50)
		BEGIN;
		INSERT INTO a (n, x) SELECT g, 'kept' FROM generate_series(1, :n) g;
		INSERT INTO b (n, x) SELECT g, repeat('k', g * 40) FROM generate_series(1, :n) g;
		COMMIT;},
	savepoint => q{
		\set n random(1, 20)
		BEGIN;
		INSERT INTO b (n, x) SELECT g, 'kept' FROM generate_series(1, :n) g;
		SAVEPOINT s;
		INSERT INTO c (n, x) SELECT g, 'rolled back' FROM generate_series(1, :n) g;
		ROLLBACK TO s;
		INSERT INTO c (n, x) VALUES (0, 'kept');
		COMMIT;},
	rollback => q{
		BEGIN;
		INSERT INTO c (n, x) SELECT g, 'rolled back' FROM generate_series(1, 20) g;
		ROLLBACK;},
);

sub create
{
	my ($braid, $flow, %options) = @_;
	my $options = $options{options} // '{}';
	$braid->sql($tables);
	$braid->sql("SELECT pgflow_create('$flow', tables => '{a,b,c}', snapshot => 'none', options => '$options')");
	$braid->until_state($flow, 'streaming');
	return;
}

# Starts writers that go on until stop(), or until the server goes.
sub start
{
	my ($braid) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir('load');
	my @command = ('pgbench', '-n', '-c', 4, '-T', 3600, '-R', 400, '-h', $braid->node->host, '-p', $braid->node->port);
	for my $name (sort keys %scripts)
	{
		append_to_file("$directory/$name.sql", $scripts{$name});
		push @command, '-f', "$directory/$name.sql";
	}
	my $output = '';
	my $handle = IPC::Run::start([ @command, 'postgres' ], '<', \undef, '>', \$output, '2>', \$output);
	return { handle => $handle };
}

sub stop
{
	my ($load) = @_;
	$load->{handle}->kill_kill(grace => 2);
	return;
}

sub committed
{
	my ($braid) = @_;
	return $braid->sql('SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c)');
}

# Until that many more rows have been committed.
sub wait_for_rows
{
	my ($braid, $rows) = @_;
	my $target = committed($braid) + $rows;
	$braid->until_sql("SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c) >= $target");
	return;
}

# "a 17" for each row of the tables.
sub rows_of_tables
{
	my ($braid) = @_;
	return split /\n/, $braid->sql(join ' UNION ALL ', map { "SELECT '$_ ' || id FROM $_" } qw(a b c));
}

# By pattern, not by a JSON parser: there may be hundreds of thousands.
sub events_of
{
	my ($braid, $flow) = @_;
	my @command = ('pgbraid-tail', '-s', $braid->nats->url, '--stream', $braid->stream_of($flow), '--until-end');
	my $output = '';
	IPC::Run::run(\@command, '>', \$output) or die 'pgbraid-tail failed';
	return map {
		m{^\{"op":"insert",.*?"table":"(\w)","lsn":"(\w+)/(\w+)","seq":(\d+),.*"after":\{"id":(\d+)} or die "unexpected event: $_";
		{ row => "$1 $5", lsn => hex($2) * 2**32 + hex($3), seq => $4 }
	} split /\n/, $output;
}

sub is_exactly_published
{
	my ($braid, $flow, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$braid->wait_for($flow);
	my @events = events_of($braid, $flow);
	my %expected = map { $_ => 1 } rows_of_tables($braid);
	my %seen;
	$seen{ $_->{row} }++ for @events;
	my @missing = grep { !$seen{$_} } keys %expected;
	my @foreign = grep { !$expected{$_} } keys %seen;
	my @twice = grep { $seen{$_} > 1 } keys %seen;
	is(scalar(@missing), 0, "$name: all " . keys(%expected) . ' committed rows are in the stream')
		or diag("missing: @missing[0 .. ($#missing < 9 ? $#missing : 9)]");
	is(scalar(@foreign), 0, "$name: no row that was rolled back is");
	is(scalar(@twice), 0, "$name: no row is there twice");
	is(scalar(grep { !follows(@events[ $_ - 1, $_ ]) } 1 .. $#events), 0, "$name: they are in commit order");
	return;
}

sub follows
{
	my ($before, $event) = @_;
	return $event->{lsn} > $before->{lsn} || ($event->{lsn} == $before->{lsn} && $event->{seq} > $before->{seq});
}

1;
