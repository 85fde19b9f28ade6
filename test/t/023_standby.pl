# Nothing runs on a standby; everything does after its promotion, without a restart.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(conf => "wal_keep_size = '64MB'");
my $primary = $braid->node;
$braid->sql('CREATE TABLE rides (id int PRIMARY KEY, x text)');
$braid->sql("SELECT pgflow_create('rides', tables => '{rides}')");
$braid->wait_for('rides');
$primary->backup('copy');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;
$braid->sql("INSERT INTO rides VALUES (1, 'before')");
$braid->wait_for('rides');
$primary->wait_for_catchup($standby, 'replay');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pgbraid%'"), 0,
	'nothing of ours runs on the standby');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM pgbraid.stat_worker'), 0, 'the views work there');
like(($standby->psql('postgres', "SELECT pgflow_create('more', tables => '{rides}')"))[2], qr/standby/,
	'and a flow is refused with the reason');

$primary->stop('immediate');
$standby->promote;
$standby->poll_query_until('postgres', "SELECT state FROM pgbraid.stat_flow", 'lost') or die 'flow is not lost';
pass('after promotion the flow is looked after: its slot stayed behind, and it says so instead of leaving a gap');
$standby->safe_psql('postgres', "SELECT pgflow_resume('rides', restart => true)");
$standby->poll_query_until('postgres', "SELECT state FROM pgbraid.stat_flow", 'streaming') or die 'flow does not stream';
$standby->safe_psql('postgres', "INSERT INTO rides VALUES (2, 'after')");
is($standby->safe_psql('postgres', "SELECT pgflow_wait('rides')"), 't', 'started anew, it streams');
my @messages = $braid->messages('postgres_rides');
is(scalar(@messages), 3, 'one row from before, the snapshot that has it too, and one from after');
like($messages[-1]{headers}{'Nats-Msg-Id'}, qr/^\d+\.\d+-1-2-3\./, 'under the epoch of the new timeline and slot');
done_testing();
