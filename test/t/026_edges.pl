# What a careful reader found: each of these once took the cluster down or lost a flow.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(conf => 'max_prepared_transactions = 5');
my $node = $braid->node;

# A foreign table as a partition has no rows of its own here.
$braid->sql('CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
	CREATE TABLE root (id int, x text) PARTITION BY LIST (id); ALTER TABLE root REPLICA IDENTITY FULL;
	CREATE TABLE leaf PARTITION OF root FOR VALUES IN (1, 2); ALTER TABLE leaf REPLICA IDENTITY FULL;
	CREATE FOREIGN TABLE away PARTITION OF root FOR VALUES IN (3) SERVER nowhere;
	INSERT INTO root VALUES (1, \'here\')');
$braid->sql("SELECT pgflow_create('root', tables => '{root}', subject => 'root.{table}')");
$braid->wait_for('root');
is(Braid::summary($braid->messages($braid->stream_of('root'))), 'snapshot public.root', 'a foreign partition is left out');
$braid->sql("SELECT pgflow_drop('root')");

# A delete that began before its table was published carries no row.
$braid->sql('CREATE TABLE d (id int, x text); INSERT INTO d SELECT g, \'x\' FROM generate_series(1, 10) g;
	CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE other');
$braid->sql("SELECT pgflow_create('p', publication => 'p', snapshot => 'none', subject => 'p.{table}')");
$braid->until_state('p', 'streaming');
my $blocker = $node->background_psql('postgres');
$blocker->query_safe('BEGIN; SELECT FROM d WHERE id = 5 FOR UPDATE');
my $deleter = $node->background_psql('postgres');
$deleter->query_until(qr/begun/, "\\echo begun\nDELETE FROM d;\n\\echo ended\n");
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE%'", '1');
$braid->sql('ALTER PUBLICATION p ADD TABLE d WHERE (id > 0)');
$blocker->query_safe('COMMIT');
$deleter->query_until(qr/ended/, '');
$_->quit for $blocker, $deleter;
$braid->sql('INSERT INTO other VALUES (1)');
$braid->wait_for('p');
is(Braid::summary($braid->messages($braid->stream_of('p'))), 'insert public.other', 'what can\'t be named is not published, and harms nobody');

# What a prepared transaction did counts when it is committed.
$braid->sql("SELECT pgflow_drop('p')");
$braid->until_sql("SELECT count(*) FROM pgbraid.stat_worker WHERE kind IN ('manager', 'flow')", '0');
$braid->sql("BEGIN; SELECT pgflow_create('prepared', publication => 'p', snapshot => 'none', subject => 'q.{table}'); PREPARE TRANSACTION 'one'");
$braid->sql("COMMIT PREPARED 'one'");
$braid->until_state('prepared', 'streaming', 'a flow made by a prepared transaction starts');
$braid->sql("BEGIN; INSERT INTO other VALUES (2); PREPARE TRANSACTION 'two'");
$braid->sql("COMMIT PREPARED 'two'");
$braid->wait_for('prepared');
is(Braid::summary($braid->messages($braid->stream_of('prepared'))), 'insert public.other', 'and rows of one are published');

# Another kind of message id does not make the flow forget where it was.
$braid->sql("INSERT INTO other SELECT generate_series(10, 2000)");
for my $kind (qw(false true false))
{
	$braid->sql("SELECT pgflow_alter('prepared', options => '{\"message_id\": $kind}')");
	$braid->sql("INSERT INTO other SELECT max(id) + 1 FROM other");
	$braid->wait_for('prepared');
}
my @ids = map { $_->{event}{after}{id} } $braid->messages($braid->stream_of('prepared'));
is(scalar(@ids), 1 + 1991 + 3, 'no event is there twice');

unlike(slurp_file($node->logfile), qr/all server processes terminated|was terminated by signal/, 'no process ever crashed');
done_testing();
