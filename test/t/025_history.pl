# The stream and the database tell different stories: noticed, and never passed over in silence.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new;
my $node = $braid->node;
$braid->sql('CREATE TABLE rides (id int PRIMARY KEY, x text)');
$braid->sql("SELECT pgflow_create('rides', tables => '{rides}', snapshot => 'none')");
$braid->until_state('rides', 'streaming');
$braid->sql("INSERT INTO rides VALUES (1, 'a'), (2, 'b')");
$braid->wait_for('rides');

# NATS comes back with an older copy of its store.
my $store = $braid->nats->directory . '/store';
$braid->nats->stop;
PostgreSQL::Test::RecursiveCopy::copypath($store, "$store.old");
$braid->nats->start;
$braid->sql("INSERT INTO rides VALUES (3, 'c'), (4, 'd')");
$braid->wait_for('rides');
$braid->nats->stop;
rename $store, "$store.new" or die $!;
rename "$store.old", $store or die $!;
$braid->nats->start;
$braid->until_state('rides', 'lost', 'a stream that lost acknowledged messages is noticed');
like($braid->sql('SELECT last_error, last_hint FROM pgbraid.stat_flow'), qr/acknowledged.*restart => true/, 'and what to do is said');

# The same while the worker was away.
$braid->sql("SELECT pgflow_resume('rides', restart => true)");
$braid->until_state('rides', 'streaming', 'started anew it streams');
$braid->sql("INSERT INTO rides VALUES (5, 'e')");
$braid->wait_for('rides');
$braid->sql("SELECT pgflow_pause('rides')");
$braid->until_sql('SELECT count(*) FROM pg_replication_slots WHERE active', '0');
$braid->nats->stop;
rename $store, "$store.latest" or die $!;
rename "$store.new", $store or die $!;
$braid->nats->start;
$braid->sql("SELECT pgflow_resume('rides')");
$braid->until_state('rides', 'lost', 'also when the worker was away');

# PostgreSQL comes back with an older copy of its data directory.
$braid->sql("SELECT pgflow_resume('rides', restart => true)");
$braid->until_state('rides', 'streaming');
$braid->sql("INSERT INTO rides VALUES (6, 'f')");
$braid->wait_for('rides');
$node->stop;
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $node->data_dir . '.old');
chmod 0700, $node->data_dir . '.old' or die $!;
$node->start;
$braid->sql("INSERT INTO rides SELECT g, 'g' FROM generate_series(7, 100) g");
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
	$braid->sql("INSERT INTO rides VALUES (1000, '$database')", dbname => $database);
	$braid->wait_for('shared', dbname => $database);
}
$braid->sql("INSERT INTO rides VALUES (1001, 'too late')");
$braid->until_sql("SELECT last_sqlstate = '55000' AND last_hint ~ 'stream of its own' FROM pgbraid.stat_flow", 't',
	'a flow whose stream another one has taken says so');
$braid->sql("SELECT pgflow_alter('shared', stream => 'own', subject => 'own.{table}')");
$braid->wait_for('shared');
is(join(',', map { $_->{event}{after}{id} } $braid->messages('own')), '1001', 'and loses nothing: it goes on with a stream of its own');
done_testing();
