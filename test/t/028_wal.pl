# Flows and WAL: what is of no interest does not pile up, what can't be published is limited, and nothing is told that a
# failover could undo.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $work_mem = 16;	# MB
my $braid = Braid->new(conf => "max_wal_size = 2GB\nlogical_decoding_work_mem = ${work_mem}MB\npgbraid.flow_horizon = 2s\nwal_keep_size = 64MB\n");
my $node = $braid->node;
$braid->sql('CREATE TABLE rides (id int PRIMARY KEY, x text); CREATE TABLE other (id int, x text)');
$braid->sql("SELECT pgflow_create('rides', tables => '{rides}', snapshot => 'none')");
$braid->until_state('rides', 'streaming');
$braid->sql("INSERT INTO rides VALUES (1, 'x')");
$braid->wait_for('rides');

# A gigabyte that the flow does not publish.
my $before = $braid->sql('SELECT pg_current_wal_lsn()');
$braid->sql("INSERT INTO other SELECT g, repeat('x', 1000) FROM generate_series(1, 100000) g") for 1 .. 9;
cmp_ok($braid->sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '$before')"), '>', 900_000_000, 'a gigabyte of WAL that is not published');
my $end = $braid->sql('SELECT pg_current_wal_lsn()');
$braid->until_sql("SELECT confirmed_flush_lsn >= '$end' FROM pg_replication_slots WHERE slot_name ~ '^pgflow'", 't', 'is soon confirmed to the slot');
$braid->until_sql("SELECT retained_bytes < 64e6 FROM pgbraid.stat_flow", 't', 'and not retained');
$braid->sql('DROP TABLE other');

# A transaction larger than memory: what the worker holds is bounded.
sub peak_kb
{
	my $pid = $braid->sql('SELECT pid FROM pgbraid.stat_flow');
	my ($peak) = slurp_file("/proc/$pid/status") =~ /VmHWM:\s+(\d+)/;
	my ($shared) = slurp_file("/proc/$pid/status") =~ /RssShmem:\s+(\d+)/;
	return $peak - $shared;
}
my $rows = $ENV{PGBRAID_ROWS} // 1_500_000;
$braid->sql("INSERT INTO rides SELECT g, 'a row like many others' FROM generate_series(2, $rows + 1) g");
$braid->wait_for('rides');
is($braid->sql('SELECT events_published FROM pgbraid.stat_flow'), $rows + 1, "$rows rows of one transaction are published");
cmp_ok(peak_kb(), '<', (64 + $work_mem) * 1024, 'and the worker took ' . int(peak_kb() / 1024) . ' MB');

# A limit on what is retained, in each of its policies.
$braid->nats->stop;
for my $policy (qw(alert pause drop))
{
	$braid->sql("CREATE TABLE $policy (id int PRIMARY KEY, x text);
		SELECT pgflow_create('$policy', tables => '{$policy}', snapshot => 'none')");
}
$braid->nats->start;
$braid->until_state($_, 'streaming') for qw(alert pause drop);
$braid->refuses("SELECT pgflow_alter('alert', options => '{\"wal_limit\": \"much\"}')", '22023', 'wal_limit', 'a limit that is no size');
$braid->refuses("SELECT pgflow_alter('alert', options => '{\"wal_policy\": \"drop\"}')", '22023', 'wal_limit', 'a policy without a limit');
$braid->sql("SELECT pgflow_alter('$_', options => '{\"wal_limit\": \"40MB\", \"wal_policy\": \"$_\"}')") for qw(alert pause drop);
$braid->until_state($_, 'streaming') for qw(alert pause drop);
$braid->nats->stop;
$braid->sql("INSERT INTO $_ SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g") for qw(alert pause drop);
$braid->until_sql("SELECT last_sqlstate = '53100' OR last_error ~ 'connect' FROM pgbraid.stat_flow WHERE flow = 'alert'");
ok($node->wait_for_log(qr/flow "alert" retains \d+ bytes of WAL/), 'alert: it is said');
$braid->until_state('pause', 'paused', 'pause: it is paused');
$braid->until_state('drop', 'lost', 'drop: it is lost');
is($braid->sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM pgbraid.stat_flow WHERE flow = 'drop')"), 0, 'and its slot is gone');
$braid->nats->start;
$braid->sql("SELECT pgflow_alter('pause', options => '{\"wal_limit\": \"1GB\"}'); SELECT pgflow_resume('pause')");
$braid->wait_for($_) for qw(alert pause);
is($braid->sql("SELECT string_agg(events_published::text, ',') FROM pgbraid.stat_flow WHERE flow IN ('alert', 'pause')"), '20000,20000', 'the others catch up');
$braid->sql("SELECT pgflow_drop('$_')") for qw(alert pause drop);

# With a synchronous standby, a commit is told when the standby has it.
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$braid->sql("ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()");
$braid->until_sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')", '1');
$braid->sql('INSERT INTO rides VALUES (-1)');
$braid->wait_for('rides');
$standby->stop;
my $published = $braid->sql('SELECT events_published FROM pgbraid.stat_flow');
$braid->sql('SET synchronous_commit = local; INSERT INTO rides VALUES (-2)');
is($braid->sql("SELECT pgflow_wait('rides', timeout => '1 s')"), 'f', 'what the standby does not have is not told');
is($braid->sql('SELECT events_published FROM pgbraid.stat_flow'), $published, 'indeed');
$braid->until_sql('SELECT last_error FROM pgbraid.stat_flow', 'flow "rides" waits for synchronous standbys', 'and it is said');
$standby->start;
$braid->wait_for('rides');
is($braid->sql('SELECT events_published FROM pgbraid.stat_flow'), $published + 1, 'it is once the standby is back');
$standby->stop;
$braid->sql('ALTER SYSTEM SET pgbraid.flow_wait_for_standbys = off; SELECT pg_reload_conf()');
$braid->sql('SET synchronous_commit = local; INSERT INTO rides VALUES (-3)');
$braid->wait_for('rides');
pass('a setting lets flows go ahead of standbys');
done_testing();
