# Writers for tests that kill things: transactions of many kinds on three tables, and the proof that a stream holds the
# committed history: each change of each committed transaction, once, in the order of the commits.
#
# The history is known from elsewhere: triggers write every change into a table "audit" within the same transaction, and
# pg_waldump says in which order transactions were committed.
package Load;
use strict;
use warnings;

use IPC::Run;
use List::Util qw(min);
use PostgreSQL::Test::Utils;
use Test::More;

my $tables = join '', map { <<"END" } qw(a b c);
CREATE TABLE $_ (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, x text);
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON $_ FOR EACH ROW EXECUTE FUNCTION audit();
END

my $audit = <<'END';
CREATE TABLE audit (nr bigint GENERATED ALWAYS AS IDENTITY, xid xid8 DEFAULT pg_current_xact_id(), op text, tab text,
	id bigint, n int, size int);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO audit (op, tab, id, n, size)
	VALUES (lower(TG_OP), TG_TABLE_NAME, coalesce(NEW.id, OLD.id), NEW.n, length(NEW.x));
	RETURN NULL;
END $$;
END

# Rolled back rows say so, so that one of them in the stream is seen at once. COPY makes one WAL record of many rows.
my $rows = q{FROM generate_series(1, :n) g};
my $some = q{(SELECT id FROM %s ORDER BY id DESC LIMIT :n FOR UPDATE SKIP LOCKED) s};
my %scripts = (
	small => q{INSERT INTO a (n, x) VALUES (1, 'kept');},
	many => qq{
		\\set n random(1, 25)
		BEGIN;
		INSERT INTO a (n, x) SELECT g, 'kept' $rows;
		INSERT INTO b (n, x) SELECT g, repeat('k', g * 60) $rows;
		COMMIT;},
	copy => q{
		\set n random(1, 50)
		COPY c (n, x) FROM '%COPY%' WHERE n <= :n;},
	savepoint => qq{
		\\set n random(1, 20)
		BEGIN;
		INSERT INTO b (n, x) SELECT g, 'kept' $rows;
		SAVEPOINT s;
		INSERT INTO c (n, x) SELECT g, 'rolled back' $rows;
		UPDATE a SET x = 'rolled back' FROM ${\ sprintf $some, 'a'} WHERE a.id = s.id;
		ROLLBACK TO s;
		INSERT INTO c (n, x) VALUES (0, 'kept');
		SAVEPOINT t;
		INSERT INTO a (n, x) SELECT g, 'kept' $rows;
		RELEASE t;
		COMMIT;},
	change => qq{
		\\set n random(1, 10)
		BEGIN;
		UPDATE a SET n = a.n + 1, x = a.x || 'u' FROM ${\ sprintf $some, 'a'} WHERE a.id = s.id;
		DELETE FROM c USING ${\ sprintf $some, 'c'} WHERE c.id = s.id;
		INSERT INTO c (n, x) VALUES (:n, 'kept');
		COMMIT;},
	rollback => qq{
		\\set n random(1, 20)
		BEGIN;
		INSERT INTO c (n, x) SELECT g, 'rolled back' $rows;
		ROLLBACK;},
);

# The tables and a flow of them; options as pgflow_create takes them: (stream => "'s'", options => q('{"replicas": 3}')).
sub create
{
	my ($braid, $flow, %options) = @_;
	$braid->node->append_conf('postgresql.conf', 'wal_keep_size = 16GB');
	$braid->node->reload;
	$braid->sql($audit . $tables);
	$braid->{history_begins} = $braid->sql('SELECT pg_current_wal_insert_lsn()');
	my $arguments = join '', map { ", $_ => $options{$_}" } sort keys %options;
	$braid->sql("SELECT pgflow_create('$flow', tables => '{a,b,c}', snapshot => 'none'$arguments)");
	$braid->until_state($flow, 'streaming');
	return;
}

# Starts writers that go on until stop(), or until the server goes. rate: transactions in a second.
sub start
{
	my ($braid, %options) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir('load');
	append_to_file("$directory/copy.txt", join '', map { "$_\t" . 'c' x ($_ * 7) . "\n" } 1 .. 50);
	my @command = ('pgbench', '-n', '-c', 4, '-T', 3600, '-R', $options{rate} // 400,
		'-h', $braid->node->host, '-p', $braid->node->port);
	for my $name (sort keys %scripts)
	{
		append_to_file("$directory/$name.sql", $scripts{$name} =~ s{%COPY%}{$directory/copy.txt}r);
		push @command, '-f', "$directory/$name.sql";
	}
	my $output = '';
	my $handle = IPC::Run::start([ @command, 'postgres' ], '<', \undef, '>', \$output, '2>', \$output);
	return { handle => $handle, output => \$output };
}

sub stop
{
	my ($load) = @_;
	$load->{handle}->kill_kill(grace => 2);
	return;
}

# When the server has gone, its sessions end by themselves.
sub finish
{
	my ($load) = @_;
	$load->{handle}->finish;
	return;
}

# The changes committed so far.
sub committed
{
	my ($braid) = @_;
	return $braid->sql('SELECT count(*) FROM audit');
}

sub transactions
{
	my ($braid) = @_;
	return $braid->sql('SELECT count(DISTINCT xid) FROM audit');
}

# Until that many more changes have been committed.
sub wait_for_rows
{
	my ($braid, $rows) = @_;
	my $target = committed($braid) + $rows;
	$braid->until_sql("SELECT count(*) >= $target FROM audit");
	return;
}

# The timelines that the history is on, each with where its part ends: ([1, '0/3000000'], [2, now]).
sub timelines
{
	my ($braid) = @_;
	my $end = $braid->sql('SELECT pg_current_wal_flush_lsn()');
	my $timeline = hex substr $braid->sql("SELECT pg_walfile_name('$end')"), 0, 8;
	return [ 1, $end ] if $timeline == 1;
	my $file = sprintf '%s/pg_wal/%08X.history', $braid->node->data_dir, $timeline;
	return ((map { m{^(\d+)\s+(\w+/\w+)} ? [ $1, $2 ] : () } split /\n/, slurp_file($file)), [ $timeline, $end ]);
}

# The commits in the order of WAL: ([lsn, xid], ...).
sub commits
{
	my ($braid) = @_;
	my ($begin, @commits) = ($braid->{history_begins});
	for (timelines($braid))
	{
		my ($timeline, $end) = @$_;
		my ($out, $err) = ('', '');
		# Files are named, lest pg_waldump asks one that is yet to be filled for the size of segments.
		my @files = map { sprintf '%08X%s', $timeline, substr $braid->sql("SELECT pg_walfile_name('$_')"), 8 } $begin, $end;
		my @command = ('pg_waldump', '-p', $braid->node->data_dir . '/pg_wal', '-r', 'Transaction', '-s', $begin, '-e', $end, @files);
		IPC::Run::run(\@command, '>', \$out, '2>', \$err) or die "pg_waldump failed: $err";
		push @commits, map { m{tx: +(\d+), lsn: (\w+)/(\w+), .* desc: COMMIT } ? [ hex($2) * 2**32 + hex($3), $1 ] : () } split /\n/, $out;
		$begin = $end;
	}
	return @commits;
}

# "<commit lsn> insert a 17 3 120" for each committed change: what, where, id, n and the size of x.
sub history
{
	my ($braid) = @_;
	my %changes;
	for (split /\n/, $braid->sql('SELECT xid, concat_ws(\' \', op, tab, id, n, size) FROM audit ORDER BY nr'))
	{
		my ($xid, $change) = split /\|/;
		push @{ $changes{$xid} }, $change;
	}
	my @history;
	for my $commit (commits($braid))
	{
		my ($lsn, $xid) = @$commit;
		push @history, map { "$lsn $_" } @{ delete $changes{$xid} // [] };
	}
	die 'WAL lacks commits' if %changes;
	return @history;
}

# The same of the messages of a stream, each with its seq: ([text, seq], ...). By pattern, not by a JSON parser: there
# may be hundreds of thousands.
sub published
{
	my ($braid, $flow) = @_;
	return map {
		m{^\{"op":"(\w+)",.*?"table":"(\w)","lsn":"(\w+)/(\w+)","seq":(\d+),.*"(?:after|before)":\{"id":(\d+)(?:,"n":(\d+),"x":"([\w ]*)")?\}}
			or die "unexpected event: $_";
		my $row = defined $7 ? " $7 " . length $8 : '';
		[ hex($3) * 2**32 + hex($4) . " $1 $2 $6$row", $5 ]
	} $braid->payloads($braid->stream_of($flow));
}

# What one list has more often than the other.
sub surplus
{
	my ($list, $other) = @_;
	my %count;
	$count{$_}++ for @$list;
	$count{$_}-- for @$other;
	return grep { $count{$_} > 0 } sort keys %count;
}

sub is_none
{
	my ($wrong, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(scalar(@$wrong), 0, $name) or diag(map { "\t$_\n" } @$wrong[ 0 .. min($#$wrong, 9) ]);
	return;
}

# All that has been committed is in the stream, once, in commit order; nothing else is.
sub is_exactly_published
{
	my ($braid, $flow, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$braid->wait_for($flow);
	my @history = history($braid);
	my @events = published($braid, $flow);
	my @texts = map { $_->[0] } @events;
	my %seen;
	my @twice = grep { $seen{$_}++ } map { ($_->[0] =~ /(\d+)/)[0] . " $_->[1]" } @events;
	my @displaced = grep { $texts[$_] ne ($history[$_] // '') } 0 .. $#texts;
	is_none([ surplus(\@history, \@texts) ], "$name: all " . @history . ' committed changes are in the stream');
	is_none([ surplus(\@texts, \@history) ], "$name: nothing else is, so nothing that was rolled back");
	is_none(\@twice, "$name: no event is there twice");
	is_none([ map { "$_: $texts[$_]" } @displaced ], "$name: they are in commit order");
	return;
}

1;
