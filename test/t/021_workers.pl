# The life of workers: no death of theirs restarts the cluster, and they are in nobody's way.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $braid = Braid->new;
my $node = $braid->node;
my $rides = 'CREATE TABLE rides (id int PRIMARY KEY, x text)';
$braid->sql($rides);
$braid->sql("SELECT pgflow_create('rides', tables => '{rides}')");
$braid->until_state('rides', 'streaming');

# Terminated as often as one likes.
for my $i (1 .. 20)
{
	my $pid = $braid->sql("SELECT pid FROM pgbraid.stat_flow WHERE pid IS NOT NULL");
	$braid->sql("SELECT pg_terminate_backend($pid)");
	$braid->sql("INSERT INTO rides VALUES ($i, 'x')");
	$braid->until_sql("SELECT count(*) FROM pgbraid.stat_flow WHERE pid <> $pid AND state = 'streaming'", '1');
}
is(scalar($braid->events('rides')), 20, 'the worker was terminated 20 times, and 20 rows are in the stream');
my $cancelled = $braid->worker_pid('rides');
$braid->sql("SELECT pg_cancel_backend($cancelled)");
$braid->sql("INSERT INTO rides VALUES (99, 'x')");
is(scalar($braid->events('rides')), 1, 'a worker has no statement to cancel');
is($braid->worker_pid('rides'), $cancelled, 'and goes on');
for my $kind (qw(launcher manager))
{
	my $find = "SELECT pid FROM pgbraid.stat_worker WHERE kind = '$kind' AND pid IS NOT NULL";
	my $pid = $braid->sql("$find LIMIT 1");
	$braid->sql("SELECT pg_terminate_backend($pid)");
	$braid->until_sql("SELECT count(*) FROM ($find) s WHERE pid <> $pid", '1', "a terminated $kind comes back");
}
$braid->sql("INSERT INTO rides VALUES (100, 'x')");
is(scalar($braid->events('rides')), 1, 'and all goes on');

# Reloads are heard.
my $other = NatsServer->new;
$node->append_conf('postgresql.conf', "pgbraid.nats_url = '" . $other->url . "'");
$node->reload;
$braid->until_sql("SELECT count(*) FROM pgbraid.stat_flow WHERE state = 'streaming'", '1');
$braid->sql("INSERT INTO rides VALUES (101, 'elsewhere')");
$braid->wait_for('rides');
is(scalar($braid->messages($braid->stream_of('rides'), url => $other->url)), 1, 'a reload moves the flow to another server');
$node->append_conf('postgresql.conf', "pgbraid.nats_url = '" . $braid->nats->url . "'");
$node->reload;
$braid->wait_for('rides');

# DROP DATABASE and CREATE DATABASE ... TEMPLATE need a database without sessions.
$braid->sql('CREATE DATABASE shop');
$braid->sql("CREATE EXTENSION pgbraid; $rides", dbname => 'shop');
$braid->sql("SELECT pgflow_create('orders', tables => '{rides}')", dbname => 'shop');
$braid->until_state('orders', 'streaming', 'a flow in another database streams', dbname => 'shop');
$braid->sql('CREATE DATABASE shop_copy TEMPLATE shop');
pass('a database with a flow can be a template');
$braid->until_state('orders', 'streaming', 'and its flow streams again', dbname => 'shop');
is($braid->sql('SELECT state, pid IS NULL, last_hint LIKE \'%pgflow_resume%\' FROM pgbraid.stat_flow', dbname => 'shop_copy'),
	'paused|t|t', 'the copy knows that it is one, and runs nothing');
$braid->sql('INSERT INTO rides VALUES (1)', dbname => 'shop_copy');
$braid->sql("SELECT pgflow_alter('orders', stream => 'copy', subject => 'copy.{table}')", dbname => 'shop_copy');
$braid->sql("SELECT pgflow_resume('orders')", dbname => 'shop_copy');
$braid->wait_for('orders', dbname => 'shop_copy');
is(Braid::summary($braid->messages('copy')), 'snapshot public.rides', 'until it is told to');
$braid->sql('ALTER DATABASE shop RENAME TO store');
pass('a database with a flow can be renamed');
$braid->until_state('orders', 'streaming', 'and its flow streams again', dbname => 'store');
for my $name (qw(store shop_copy))
{
	$braid->sql("DROP DATABASE $name");
	$braid->until_sql("SELECT count(*) FROM pgbraid.stat_worker WHERE database = '$name' OR object = '$name'", '0',
		"DROP DATABASE $name leaves no worker behind");
}
is($braid->sql('SELECT count(*) FROM pg_replication_slots'), 1, 'nor a slot');

# A role that may not drop the database does not stop its workers either.
$braid->sql('CREATE ROLE nobody LOGIN');
my $pid = $braid->sql('SELECT pid FROM pgbraid.stat_flow');
$node->psql('template1', 'DROP DATABASE postgres', extra_params => [ '-U', 'nobody' ]);
is($braid->sql('SELECT pid FROM pgbraid.stat_flow'), $pid, 'a role without the right disturbs nobody');

# Nothing is left of a flow that is dropped, nor of the extension.
sub leftovers
{
	return "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication) + "
		. "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgbraid flow')";
}
$braid->sql("SELECT pgflow_drop('rides')");
$braid->until_sql(leftovers(), '0', 'pgflow_drop leaves no slot, publication or worker behind');
$braid->sql("SELECT pgflow_create('rides', tables => '{rides}', stream => 'second', subject => 'second.{table}')");
$braid->until_state('rides', 'streaming');
$braid->sql('DROP EXTENSION pgbraid');
$braid->until_sql(leftovers(), '0', 'DROP EXTENSION leaves no slot, publication or worker behind');
$braid->sql('CREATE EXTENSION pgbraid');
$braid->sql("SELECT pgflow_create('rides', tables => '{rides}', stream => 'third', subject => 'third.{table}')");
$braid->until_state('rides', 'streaming', 'and it can be made again');

# A slot that was taken away is told, not replaced in silence.
$braid->sql("SELECT pgflow_pause('rides')");
$braid->until_sql("SELECT count(*) FROM pg_replication_slots WHERE active", '0');
$braid->sql("SELECT pg_drop_replication_slot(slot_name) FROM pgbraid.stat_flow");
$braid->sql("SELECT pgflow_resume('rides')");
$braid->until_state('rides', 'lost', 'a flow whose slot is gone is lost');
like($braid->sql('SELECT last_error, last_hint FROM pgbraid.stat_flow'), qr/slot is gone.*restart => true/, 'and says how to begin anew');
$braid->sql("SELECT pgflow_resume('rides', restart => true)");
$braid->until_state('rides', 'streaming', 'which works');

# The server stops at once although NATS is away and something waits to be published.
$braid->nats->stop;
$braid->sql("INSERT INTO rides SELECT g, repeat('x', 1000) FROM generate_series(1000, 50000) g");
$braid->until_sql("SELECT last_sqlstate FROM pgbraid.stat_flow", '08001');
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, sprintf('a fast stop with NATS away took %.1f s', time - $start));
unlike(slurp_file($node->logfile), qr/all server processes terminated|was terminated by signal/, 'no process ever crashed');
$braid->nats->start;

done_testing();
