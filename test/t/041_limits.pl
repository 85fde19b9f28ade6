# Settings of PostgreSQL that a flow needs: what is missing is said, with the setting to change.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new(start => 0, conf => "max_replication_slots = 2\n");
my $node = $braid->node;
my $create = "SELECT pgflow_create('f', tables => '{t}')";

# Not preloaded: the extension can be there (a dump may be restored, say), but no flow.
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->adjust_conf('postgresql.conf', 'pgbraid.restart_delay_max', undef);
$node->adjust_conf('postgresql.conf', 'pgbraid.nats_url', undef);
$node->start;
$braid->sql('CREATE EXTENSION pgbraid; CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)');
$braid->refuses($create, '55000', 'shared_preload_libraries', 'pgflow_create without shared_preload_libraries');
is($braid->sql("SELECT ok FROM pgflow_check() WHERE check_name = 'shared_preload_libraries'"), 'f', 'pgflow_check says so');
is($braid->error_of('INSERT INTO t VALUES (1)'), '', 'the database works');
like($braid->error_of('SELECT * FROM pgbraid.stat_flow'), qr/^(ERROR:  55000:.*HINT|$)/s, 'the views say so too, or nothing');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'pgbraid'");
$node->append_conf('postgresql.conf', "pgbraid.restart_delay_max = 500ms\npgbraid.nats_url = '" . $braid->nats->url . "'\n");

# wal_level.
$node->adjust_conf('postgresql.conf', 'wal_level', 'replica');
$node->restart;
$braid->refuses($create, '55000', 'wal_level = logical', 'pgflow_create with wal_level replica');
is($braid->sql("SELECT ok FROM pgflow_check() WHERE check_name = 'wal_level'"), 'f', 'pgflow_check says so');
$node->adjust_conf('postgresql.conf', 'wal_level', 'logical');
$node->restart;

# Replication slots.
$braid->sql("SELECT pg_create_physical_replication_slot('one'), pg_create_physical_replication_slot('two')");
$braid->refuses($create, '53400', 'max_replication_slots', 'pgflow_create without a free slot');
is($braid->sql("SELECT ok FROM pgflow_check() WHERE check_name = 'replication slots'"), 'f', 'pgflow_check says so');
is($braid->sql("SELECT count(*) FROM pgbraid.flows"), 0, 'nothing is left of the attempt');
is($braid->sql("SELECT count(*) FROM pg_publication"), 0, 'no publication either');

# A slot that is taken between the check and the making of ours shows in the view.
$braid->sql("SELECT pg_drop_replication_slot('two')");
$braid->sql("BEGIN; $create; SELECT pg_create_physical_replication_slot('two'); COMMIT");
$braid->until_sql("SELECT last_sqlstate = '53400' AND last_hint ~ 'max_replication_slots' FROM pgbraid.stat_flow", 't', 'a slot that is gone by then shows in stat_flow');
$braid->sql("SELECT pg_drop_replication_slot('two')");
$braid->until_state('f', 'streaming', 'and is taken when it is free again');
$braid->sql("SELECT pgflow_drop('f'); SELECT pg_drop_replication_slot('one')");
$braid->until_sql('SELECT count(*) FROM pg_replication_slots', 0);

# Background worker slots: PostgreSQL's own logical launcher, ours, a manager, one flow.
$node->adjust_conf('postgresql.conf', 'max_worker_processes', 4);
$node->restart;
$braid->sql("SELECT pgflow_create('one', tables => '{t}', subject => 'one.{table}')");
$braid->until_state('one', 'streaming');
$braid->sql("SELECT pgflow_create('two', tables => '{u}', subject => 'two.{table}')");
$braid->until_sql("SELECT last_sqlstate = '53400' AND last_hint ~ 'max_worker_processes' FROM pgbraid.stat_flow WHERE flow = 'two'", 't', 'no worker slot: stat_flow says so');
is($braid->sql("SELECT state, last_hint ~ 'max_worker_processes' FROM pgbraid.stat_worker WHERE object = 'two'"), 'failed|t', 'stat_worker too');
is($braid->sql("SELECT state FROM pgbraid.stat_flow WHERE flow = 'one'"), 'streaming', 'the first goes on');
like($braid->sql("SELECT ok, detail FROM pgflow_check() WHERE check_name = 'nats connection'"), qr/^f\|.*max_worker_processes/,
	'pgflow_check needs a worker itself, and says so');
$braid->sql("SELECT pgflow_drop('one')");
$braid->until_state('two', 'streaming', 'a slot that becomes free is used');

# pgbraid.max_workers is the size of our own table.
$node->adjust_conf('postgresql.conf', 'max_worker_processes', 16);
$node->append_conf('postgresql.conf', 'pgbraid.max_workers = 4');
$node->adjust_conf('postgresql.conf', 'max_replication_slots', 10);
$node->restart;
my $offset = -s $node->logfile;
$braid->sql("SELECT pgflow_create('flow$_', tables => '{t}', subject => 'flow$_.{table}') ") for 1 .. 4;
ok($node->wait_for_log(qr/no entry is free for flow.*HINT:  Increase pgbraid\.max_workers/s, $offset), 'pgbraid.max_workers is too small: the log says so');

# WAL that a slot needs is gone: lost, said so, and started anew when told to.
$node->append_conf('postgresql.conf', "pgbraid.max_workers = 16\nmax_slot_wal_keep_size = 1MB\nmin_wal_size = 32MB\nmax_wal_size = 32MB");
$node->restart;
$braid->until_state('two', 'streaming');
$braid->sql("SELECT pgflow_pause('two')");
$braid->until_state('two', 'paused');
$braid->sql('INSERT INTO u VALUES (1)');
for my $i (1 .. 6) { $braid->sql("INSERT INTO t VALUES (1000 + $i); SELECT pg_switch_wal(); CHECKPOINT") }
is($braid->sql("SELECT wal_status FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM pgbraid.stat_flow WHERE flow = 'two')"), 'lost', 'the slot is lost');
$braid->sql("SELECT pgflow_resume('two')");
$braid->until_state('two', 'lost', 'so is the flow');
like($braid->sql("SELECT last_sqlstate, last_error, last_hint FROM pgbraid.stat_flow WHERE flow = 'two'"), qr/^55000\|.*lost changes.*\|.*restart => true/, 'it says what to do');
$braid->sql("SELECT pgflow_resume('two', restart => true)");
$braid->until_state('two', 'streaming', 'it starts anew');
my @events = $braid->events('two');
is($events[-1]{event}{after}{id}, 1, 'with the rows that there are');

# Somebody drops the slot.
$braid->sql("SELECT pgflow_pause('two')");
$braid->until_sql("SELECT active FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM pgbraid.stat_flow WHERE flow = 'two')", 'f');
$braid->sql("SELECT pg_drop_replication_slot(slot_name) FROM pgbraid.stat_flow WHERE flow = 'two'; SELECT pgflow_resume('two')");
$braid->until_state('two', 'lost', 'a flow whose slot was dropped is lost');

done_testing;
