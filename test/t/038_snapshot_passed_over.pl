# A worker that takes up a snapshot where another has left it decodes again what that one had passed over, and reads rows
# at positions of WAL that lie within. They are told all the same.
use strict;
use warnings;

use Braid;
use IPC::Run;
use Test::More;

my $braid = Braid->new(conf => 'pgbraid.flow_horizon = 1h');	# the slot stays where it is
my $node = $braid->node;
$braid->sql("CREATE TABLE wide (id int PRIMARY KEY, x text); INSERT INTO wide SELECT g, repeat('x', 200000) FROM generate_series(1, 60) g;
	CREATE TABLE other (id int)");
for my $rows (1, 3)
{
	my $flow = "flow_$rows";
	$braid->sql("SELECT pgflow_create('$flow', tables => '{wide}', snapshot => 'none', subject => '$flow',
		options => '{\"rows_per_message\": $rows}')");
	$braid->until_state($flow, 'streaming');

	# Its first piece is on its way when the table is locked: the others are yet to come.
	$braid->nats->pause;
	my $snapshot = $braid->sql("SELECT pgflow_snapshot('$flow')");
	$braid->until_sql("SELECT cutoff IS NOT NULL FROM pgbraid.flow_snapshots WHERE id = $snapshot");
	my $locker = $node->background_psql('postgres');
	$locker->query_safe('BEGIN; LOCK TABLE wide');
	$braid->nats->continue;
	$braid->sql('INSERT INTO other SELECT 1') for 1 .. 30;
	my $end = $braid->sql('SELECT pg_current_wal_insert_lsn()');
	$braid->until_sql("SELECT sent_bytes >= 0 FROM (SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn() - lag_bytes, '$end') AS sent_bytes
		FROM pgbraid.stat_flow WHERE flow = '$flow') f");
	$braid->sql("SELECT pgflow_pause('$flow')");
	$braid->until_state($flow, 'paused');
	$locker->query_safe('ROLLBACK');
	$locker->quit;
	cmp_ok($braid->sql("SELECT rows FROM pgbraid.flow_snapshots WHERE id = $snapshot"), '<', 60, "$flow: the snapshot is under way");
	$braid->sql("SELECT pgflow_resume('$flow')");
	my @rows = map { /"id":(\d+),"x"/g } map { $_->{text} } $braid->events($flow);
	is("@rows", join(' ', 1 .. 60), "$flow: each row is told, once");
}
done_testing();
