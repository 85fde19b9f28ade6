# The stream and the database tell different stories: noticed, mended from WAL where it can be, and never passed over in
# silence where it can't.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;
use Until;

my $braid = Braid->new(conf => 'pgbraid.flow_horizon = 1h');
my $node = $braid->node;
my $store = $braid->nats->directory . '/store';
my $copies = 0;
my $id = 0;

sub insert
{
	my ($rows) = @_;
	$id++, $braid->sql("INSERT INTO rides VALUES ($id, 'x')") for 1 .. $rows;
	$braid->wait_for('rides');
	return;
}

sub copy_store
{
	my $copy = "$store." . ++$copies;
	$braid->nats->stop;
	PostgreSQL::Test::RecursiveCopy::copypath($store, $copy);
	$braid->nats->start;
	return $copy;
}

# NATS comes back with what it had then; `$meanwhile` happens while it is away.
sub restore_store
{
	my ($copy, $meanwhile) = @_;
	$braid->nats->stop;
	$meanwhile->() if $meanwhile;
	rename $store, "$store.dead." . ++$copies or die $!;
	rename $copy, $store or die $!;
	$braid->nats->start;
	return;
}

sub has_every_row_once
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$braid->wait_for('rides');
	is(join(',', map { $_->{event}{after}{id} } $braid->messages('postgres_rides')), join(',', 1 .. $id), $name);
	return;
}

$braid->sql('CREATE TABLE rides (id int PRIMARY KEY, x text)');
$braid->sql("SELECT pgflow_create('rides', tables => '{rides}', snapshot => 'none')");
$braid->until_state('rides', 'streaming');
insert(2);

# What a stream lost of the last seconds is published again: while the flow runs,
my $copy = copy_store();
insert(2);
restore_store($copy);
$braid->until_sql("SELECT count(*) FROM pgbraid.stat_flow WHERE last_error ~ 'lost messages'", '1', 'a stream that lost acknowledged messages is noticed');
has_every_row_once('and they are published again');
insert(1);

# also what an earlier definition had published, and when the worker that notices it does not come to its end;
$copy = copy_store();
insert(2);
$braid->sql("SELECT pgflow_alter('rides', options => '{\"schema_events\": \"none\"}')");
insert(1);
restore_store($copy);
$braid->until_sql("SELECT count(*) FROM pgbraid.flow_progress WHERE revision_lsn IS NULL OR revision_lsn = '0/0'", '1', 'what an earlier definition judged is judged again where the stream lost it');
$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow WHERE flow = 'rides'") for 1 .. 3;
has_every_row_once('and published again by the worker after');
$copy = copy_store();
insert(2);
$braid->sql("SELECT pgflow_alter('rides', options => '{\"schema_events\": \"changes\"}')");
insert(1);
$braid->sql("SELECT pgflow_pause('rides')");
$braid->until_sql('SELECT count(*) FROM pg_replication_slots WHERE active', '0');
restore_store($copy, sub { $node->stop('immediate'); $node->start });
$braid->sql("SELECT pgflow_resume('rides')");
has_every_row_once('also when PostgreSQL has crashed as well');
insert(1);

# while its worker is away,
$copy = copy_store();
insert(2);
$braid->sql("SELECT pgflow_pause('rides')");
$braid->until_sql('SELECT count(*) FROM pg_replication_slots WHERE active', '0');
restore_store($copy);
$braid->sql("SELECT pgflow_resume('rides')");
has_every_row_once('also when the worker was away');

# while PostgreSQL is away, after which nobody remembers what was acknowledged,
$copy = copy_store();
insert(2);
$node->stop('immediate');
restore_store($copy);
$node->start;
has_every_row_once('also when PostgreSQL crashed meanwhile');

# and when the stream is gone altogether.
my $empty = "$store.empty";
mkdir $empty or die $!;
restore_store($empty);
until_true(sub { (($braid->nats->stream_state('postgres_rides') // {})->{messages} // 0) >= $id }, 'the stream is filled');	# the flow has yet to notice
has_every_row_once('a stream that is gone is filled again');

# The last message alone is missing, as after a purge: its place is known.
sub request
{
	my ($subject, $payload) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $braid->nats->port) or die;
	print $socket 'CONNECT {"verbose":false}' . "\r\nSUB reply 1\r\nPUB \$JS.API.$subject reply " . length($payload) . "\r\n$payload\r\n";
	while (<$socket>) { return if /_response/ }
	return;
}
request('STREAM.PURGE.postgres_rides', '{}');
$braid->sql('SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow');
$braid->sql("INSERT INTO rides VALUES (" . ++$id . ", 'x')");
$braid->wait_for('rides');
is(join(',', map { $_->{event}{after}{id} } $braid->messages('postgres_rides')), $id, 'after a purge a new worker repeats nothing');

# What is older than the horizon can't be published again.
$braid->sql('ALTER SYSTEM SET pgbraid.flow_horizon = 0; SELECT pg_reload_conf()');
$braid->until_state('rides', 'streaming');
insert(1);
$braid->until_sql("SELECT settled_sequence > 0 FROM pgbraid.flow_progress");
$copy = copy_store();
my $before = $braid->sql("SELECT settled_sequence FROM pgbraid.flow_progress");
insert(2);
$braid->until_sql("SELECT settled_sequence = $before + 2 FROM pgbraid.flow_progress");
restore_store($copy);
$braid->until_state('rides', 'lost', 'a stream that lost what WAL may not have any more is not passed over');
like($braid->sql('SELECT last_error, last_hint FROM pgbraid.stat_flow'), qr/acknowledged.*restart => true/, 'and what to do is said');
$braid->sql('ALTER SYSTEM RESET pgbraid.flow_horizon; SELECT pg_reload_conf()');

# PostgreSQL comes back with an older copy of its data directory.
$braid->sql("SELECT pgflow_resume('rides', restart => true)");
$braid->until_state('rides', 'streaming', 'started anew it streams');
insert(1);
$node->stop;
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $node->data_dir . '.old');
chmod 0700, $node->data_dir . '.old' or die $!;
$node->start;
$braid->sql("INSERT INTO rides SELECT g, 'g' FROM generate_series(1000, 1100) g");
$braid->wait_for('rides');
$node->stop;
rename $node->data_dir, $node->data_dir . '.new' or die $!;
rename $node->data_dir . '.old', $node->data_dir or die $!;
$node->start;
$braid->until_state('rides', 'lost', 'a database that was restored to an older state is noticed');

# Two flows that were given one stream.
$braid->sql('CREATE DATABASE other');
$braid->sql("SELECT pgflow_drop('rides')");
for my $database (qw(postgres other))
{
	$braid->sql('CREATE EXTENSION pgbraid; CREATE TABLE rides (id int PRIMARY KEY, x text)', dbname => $database) if $database eq 'other';
	$braid->sql("SELECT pgflow_create('shared', tables => '{rides}', snapshot => 'none', stream => 'shared', subject => '$database.{table}')",
		dbname => $database);
	$braid->until_state('shared', 'streaming', "flow of $database streams", dbname => $database);
	$braid->sql("INSERT INTO rides VALUES (2000, '$database')", dbname => $database);
	$braid->wait_for('shared', dbname => $database);
}
$braid->sql("INSERT INTO rides VALUES (2001, 'too late')");
$braid->until_sql("SELECT last_sqlstate = '55000' AND last_hint ~ 'stream of its own' FROM pgbraid.stat_flow", 't',
	'a flow whose stream another one has taken says so');
$braid->sql("SELECT pgflow_alter('shared', stream => 'own', subject => 'own.{table}')");
$braid->wait_for('shared');
is(join(',', map { $_->{event}{after}{id} } $braid->messages('own')), '2001', 'and loses nothing: it goes on with a stream of its own');
done_testing();
