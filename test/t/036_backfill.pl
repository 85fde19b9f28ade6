# Tables brought in while a flow runs: on demand, in part, added later; and what happens to them meanwhile.
use strict;
use warnings;

use Braid;
use IPC::Run;
use Test::More;

my $braid = Braid->new(conf => "pgbraid.flow_memory = 1MB\nmax_prepared_transactions = 2");
my $node = $braid->node;
$braid->sql("CREATE TABLE orders (id int PRIMARY KEY, amount int, x text);
	INSERT INTO orders SELECT g, g, 'old' FROM generate_series(1, 1000) g;
	CREATE TABLE visits (id int, x text); ALTER TABLE visits REPLICA IDENTITY FULL;
	INSERT INTO visits SELECT g, 'old' FROM generate_series(1, 1000) g");
$braid->sql("SELECT pgflow_create('all', tables => '{orders,visits}', snapshot => 'none')");
$braid->until_state('all', 'streaming');
$braid->sql("INSERT INTO orders VALUES (1001, 1001, 'new'); UPDATE orders SET x = 'changed' WHERE id = 1");
is(Braid::summary($braid->events('all')), 'insert public.orders, update public.orders', 'without a snapshot, changes alone');

sub read_rows { return grep { $_->{event}{op} eq 'snapshot' } $braid->events('all') }
sub ids { return join ',', sort { $a <=> $b } map { $_->{event}{after}{id} } @_ }

# All of a table, in the order of its key; a part of one.
$braid->sql("SELECT pgflow_snapshot('all', tables => '{orders}')");
my @rows = read_rows();
is(ids(@rows), join(',', 1 .. 1001), 'pgflow_snapshot brings in a table, and pgflow_wait waits for it');
is(join(',', map { $_->{event}{after}{id} } @rows), ids(@rows), 'in the order of its key');
is($rows[0]{event}{after}{x}, 'changed', 'as it is now');
$braid->sql("SELECT pgflow_snapshot('all', tables => '{orders}', filter => 'amount BETWEEN 10 AND 12 OR x = ''new''')");
is(ids(@rows = read_rows()), '10,11,12,1001', 'a filter picks a part');
$braid->sql("SELECT pgflow_snapshot('all', tables => '{visits}', filter => 'id > 995'); SELECT pgflow_snapshot('all', tables => '{orders}', filter => 'id = 7')");
is(join(' ', map { "$_->{event}{table}:$_->{event}{after}{id}" } read_rows()), 'visits:996 visits:997 visits:998 visits:999 visits:1000 orders:7', 'several are done one after the other, also without a key');
is($braid->sql('SELECT string_agg(rows::text, $$,$$ ORDER BY id), bool_and(finished_at IS NOT NULL) FROM pgbraid.flow_snapshots'), '1001,4,5,1|t', 'flow_snapshots tells how many rows');

# A table added to a flow that began with a snapshot comes whole; one that is taken out is not heard of any more.
$braid->sql("CREATE TABLE customers (id int PRIMARY KEY, x text); INSERT INTO customers SELECT g FROM generate_series(1, 10) g;
	CREATE TABLE cities (id int PRIMARY KEY, x text); INSERT INTO cities SELECT g FROM generate_series(1, 10) g;
	SELECT pgflow_create('whole', tables => '{customers}')");
$braid->until_state('whole', 'streaming');
is(scalar($braid->events('whole')), 10, 'the rows of the beginning');
$braid->sql("SELECT pgflow_alter('whole', tables => '{customers,cities}'); INSERT INTO cities VALUES (11)");
my %seen;
$seen{"$_->{event}{table} $_->{event}{after}{id}"}++ for $braid->events('whole');
is(join(',', sort keys %seen), join(',', sort map { "cities $_" } 1 .. 11), 'a table that is added comes whole');
$braid->sql("SELECT pgflow_alter('whole', tables => '{cities}')");
$braid->wait_for('whole');
$braid->sql('INSERT INTO customers VALUES (12); INSERT INTO cities VALUES (12)');
is(Braid::summary($braid->events('whole')), 'insert public.cities', 'one that is taken out is not heard of');

# A transaction that wrote to the table before it was added ends after that: its row is part of the snapshot.
$braid->sql('CREATE TABLE late (id int PRIMARY KEY)');
$braid->sql("BEGIN; INSERT INTO late VALUES (1); PREPARE TRANSACTION 'writer'");
$braid->sql("SELECT pgflow_alter('whole', tables => '{cities,late}'); INSERT INTO late VALUES (2)");
is($braid->sql("SELECT pgflow_wait('whole', timeout => '1 s')"), 'f', 'a snapshot waits for who wrote to its tables');
$braid->sql('INSERT INTO cities VALUES (13)');
$braid->until_sql("SELECT lag_bytes = 0 FROM pgbraid.stat_flow WHERE flow = 'whole'", 't', 'changes go on meanwhile');
$braid->sql("COMMIT PREPARED 'writer'");
%seen = ();
$seen{"$_->{event}{table} $_->{event}{after}{id}"}++ for $braid->events('whole');
is(join(',', sort grep { /late/ } keys %seen), 'late 1,late 2', 'and has what they wrote');

# So does a table that somebody has locked.
$braid->sql("BEGIN; LOCK TABLE orders; PREPARE TRANSACTION 'locker'");
$braid->sql("SELECT pgflow_snapshot('all', tables => '{orders}'); INSERT INTO visits VALUES (1001, 'new')");
$braid->until_sql("SELECT lag_bytes = 0 FROM pgbraid.stat_flow WHERE flow = 'all'", 't', 'changes go on while a table is locked');
is($braid->sql('SELECT finished_at FROM pgbraid.flow_snapshots ORDER BY id DESC LIMIT 1'), '', 'its snapshot does not');
$braid->sql("COMMIT PREPARED 'locker'");
is(scalar(read_rows()), 1001, 'until it is free');

# What was read is not read again into another stream, nor missed there.
$braid->sql("ALTER SYSTEM SET pgbraid.flow_horizon = 0");
$braid->sql("SELECT pg_reload_conf(); SELECT pgflow_alter('whole', stream => 'other_stream', subject => 'other_stream.{table}')");
$braid->sql('INSERT INTO cities VALUES (14)');
is(Braid::summary($braid->events('whole')), 'insert public.cities', 'a flow that has read tables changes to another stream');
$braid->sql('ALTER SYSTEM RESET pgbraid.flow_horizon');
$braid->sql('SELECT pg_reload_conf()');

# Keys in other orders than ascending.
$braid->sql("CREATE TABLE down (a int NOT NULL, b int NOT NULL); CREATE UNIQUE INDEX down_i ON down (a DESC, b DESC); ALTER TABLE down REPLICA IDENTITY USING INDEX down_i;
	INSERT INTO down SELECT g % 100, g FROM generate_series(1, 60000) g; SELECT pgflow_create('down', tables => '{down}')");
$braid->wait_for('down');
is($braid->nats->stream_state($braid->stream_of('down'))->{messages}, 60000, 'a key that descends');

# Things that happen while NATS keeps a snapshot from going on.
$braid->sql("CREATE TABLE big (id int PRIMARY KEY, n int, x text); INSERT INTO big SELECT g, 0, repeat('x', 1000) FROM generate_series(1, 10000) g;
	CREATE TABLE loose (id int, x text); ALTER TABLE loose REPLICA IDENTITY FULL; INSERT INTO loose SELECT g, repeat('x', 1000) FROM generate_series(1, 10000) g;
	CREATE TABLE gone (id int PRIMARY KEY); INSERT INTO gone SELECT generate_series(1, 10)");

# Lets the snapshot of a new flow of the tables come half way, and there `$meanwhile` happens.
sub in_the_middle
{
	my ($flow, $tables, $meanwhile) = @_;
	$braid->sql("SELECT pgflow_create('$flow', tables => '{$tables}', subject => '$flow.{table}')");
	$braid->until_sql("SELECT rows > 0 FROM pgbraid.flow_snapshots WHERE flow = (SELECT id FROM pgbraid.flows WHERE flow = '$flow')");
	$braid->nats->pause;
	my $finished = $braid->sql("SELECT finished_at IS NOT NULL FROM pgbraid.flow_snapshots WHERE flow = (SELECT id FROM pgbraid.flows WHERE flow = '$flow')");
	diag("$flow: the snapshot was over already") if $finished eq 't';
	$meanwhile->();
	$braid->nats->continue;
	$braid->wait_for($flow);
	return events_of($flow);
}

# By pattern: a JSON parser takes too long for so many.
sub events_of
{
	my ($flow) = @_;
	my $output = '';
	IPC::Run::run([ 'pgbraid-tail', '-s', $braid->nats->url, '--stream', $braid->stream_of($flow), '--json', '--until-end' ], '>', \$output) or die;
	return map {
		my %event;
		($event{history}) = /"Nats-Msg-Id":"(\d+\.[\d-]+)\./;
		@event{qw(op table)} = /"data":\{"op":"(\w+)","schema":"public","table":"(\w+)"/;
		($event{key}) = /"key":\{"id":(-?\d+)\}/;
		for my $row (qw(before after))
		{
			$event{$row} = { id => $1, n => $2, x => $3 } if /"$row":\{"id":(-?\d+)(?:,"n":(\d+))?(?:,"x":"?([^"]{0,5}))?/;
		}
		\%event;
	} split /\n/, $output;
}

# What a reader has in the end, by key.
sub replayed
{
	my %rows;
	for my $event (@_)
	{
		next if $event->{op} eq 'schema';
		delete $rows{ $event->{before}{id} } if $event->{op} eq 'update' && $event->{before};
		if ($event->{op} eq 'delete') { delete $rows{ $event->{key} } }
		elsif ($event->{op} eq 'truncate') { %rows = () }
		else { $rows{ $event->{after}{id} } = $event->{after}{n} }
	}
	return join ',', map { "$_:$rows{$_}" } sort { $a <=> $b } keys %rows;
}
sub now { return $braid->sql("SELECT string_agg(id || ':' || n, ',' ORDER BY id) FROM big") }

my @events = in_the_middle('changed', 'big', sub {
	$braid->sql('UPDATE big SET n = n + 1 WHERE id % 3 = 0; DELETE FROM big WHERE id % 7 = 0; UPDATE big SET id = -id WHERE id % 11 = 0; UPDATE big SET id = id + 100000 WHERE id < 100');
});
is(replayed(@events), now(), 'rows that are changed, deleted and moved meanwhile');
@events = in_the_middle('rewritten', 'big', sub {
	$braid->sql('ALTER TABLE big ALTER n TYPE bigint; UPDATE big SET n = n + 1 WHERE id % 5 = 0');
	$braid->sql('VACUUM FULL big');
});
is(replayed(@events), now(), 'a table that is rewritten meanwhile');
@events = in_the_middle('emptied', 'big', sub { $braid->sql('TRUNCATE big; INSERT INTO big SELECT g, g FROM generate_series(1, 50) g') });
is(replayed(@events), now(), 'a table that is emptied meanwhile');
$braid->sql("INSERT INTO big SELECT g, 0, repeat('x', 1000) FROM generate_series(100, 10000) g");
@events = in_the_middle('frozen', 'big', sub { $braid->sql('INSERT INTO big SELECT g, g FROM generate_series(50001, 50050) g'); $braid->sql('VACUUM FREEZE big') });
is(replayed(@events), now(), 'a table that is frozen meanwhile');
@events = in_the_middle('loose', 'loose', sub { $braid->sql("UPDATE loose SET x = 'u' WHERE id % 3 = 0; DELETE FROM loose WHERE id % 7 = 0; INSERT INTO loose VALUES (-1, 'new')") });
my %count;
for my $event (@events)
{
	$count{"$event->{after}{id} $event->{after}{x}"}++ if $event->{after};
	$count{"$event->{before}{id} $event->{before}{x}"}-- if $event->{before};
}
is(join(',', sort map { $_ . 'x' . $count{$_} } grep { $count{$_} > 0 } keys %count), join(',', sort map { $_ . 'x1' } split /\n/, $braid->sql("SELECT id || ' ' || left(x, 5) FROM loose")),
	'a table without a key, changed meanwhile');
@events = in_the_middle('dropped', 'big,gone', sub { $braid->sql('DROP TABLE gone') });
is(replayed(grep { $_->{table} eq 'big' } @events), now(), 'a table that is dropped before its turn');
$braid->until_state('dropped', 'streaming', 'does not hinder');

@events = in_the_middle('keyed', 'loose', sub {
	$braid->sql("SELECT pgflow_pause('keyed')");
	$braid->until_sql("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = (SELECT slot_name FROM pgbraid.stat_flow WHERE flow = 'keyed')", '0');
	$braid->sql("DELETE FROM loose WHERE id < 0; ALTER TABLE loose ADD PRIMARY KEY (id); SELECT pgflow_resume('keyed')");
});
%seen = map { $_->{after}{id} => 1 } grep { $_->{op} eq 'snapshot' } @events;
is(join(',', sort { $a <=> $b } grep { $_ > 0 } keys %seen), $braid->sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM loose"), 'a table that gets a key meanwhile');

# The flow itself is changed meanwhile.
@events = in_the_middle('paused', 'big', sub {
	$braid->sql("SELECT pgflow_pause('paused')");
	$braid->until_state('paused', 'paused');
	$braid->sql('UPDATE big SET n = n + 1 WHERE id % 2 = 0');
	$braid->sql("SELECT pgflow_resume('paused')");
});
is(replayed(@events), now(), 'a flow that is paused meanwhile goes on');
is(scalar(grep { $_->{op} eq 'snapshot' } @events), $braid->sql("SELECT rows FROM pgbraid.flow_snapshots WHERE flow = (SELECT id FROM pgbraid.flows WHERE flow = 'paused')"),
	'and reads no row twice');
in_the_middle('restarted', 'big', sub { $braid->sql("SELECT pgflow_resume('restarted', restart => true)") });
@events = events_of('restarted');
is(replayed(grep { $_->{history} eq $events[-1]{history} } @events), now(), 'one that is started anew begins anew');
done_testing();
