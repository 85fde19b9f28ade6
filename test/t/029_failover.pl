# Other histories of the same database: after a recovery to an older point and after a promotion positions of WAL are used
# again, for other changes. None is taken for what was published before, and who was replaced publishes no more.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(conf => "wal_keep_size = '64MB'\npgbraid.flow_save_interval = 1h\n", extra => []);
my $primary = $braid->node;
my $archive = PostgreSQL::Test::Utils::tempdir('archive');
$primary->append_conf('postgresql.conf', "archive_mode = on\narchive_command = 'cp %p $archive/%f'\n");
$primary->restart;
$braid->sql('CREATE TABLE rides (id int PRIMARY KEY, x text)');
$braid->sql("SELECT pgflow_create('rides', tables => '{rides}', snapshot => 'none')");
$braid->until_state('rides', 'streaming');

sub ids { return join ',', map { $_->{event}{after}{id} } $braid->messages('postgres_rides') }

# The slot is never saved here but by a checkpoint: a crash takes it back to its beginning.
$braid->sql("INSERT INTO rides VALUES ($_, 'x')") for 1 .. 50;
$braid->wait_for('rides');
$primary->stop('immediate');
$primary->start;
$braid->sql("INSERT INTO rides VALUES (51, 'x')");
$braid->wait_for('rides');
is(ids(), join(',', 1 .. 51), 'a slot whose last position was lost repeats nothing');

# A copy of the whole data directory, with its slot, is recovered to a point that lies before what is published next.
$primary->stop;
my $cold = $primary->data_dir . '.cold';
PostgreSQL::Test::RecursiveCopy::copypath($primary->data_dir, $cold);
$primary->start;
$braid->sql("INSERT INTO rides VALUES (52, 'kept')");
$braid->wait_for('rides');
$braid->sql("SELECT pg_create_restore_point('here')");
$braid->sql("INSERT INTO rides VALUES ($_, 'undone')") for 53 .. 55;
$braid->wait_for('rides');
is(ids(), join(',', 1 .. 55), 'before the recovery');
$braid->sql('SELECT pg_switch_wal()');
$braid->until_sql("SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver");
$primary->stop;
rename $primary->data_dir, $primary->data_dir . '.undone' or die $!;
rename $cold, $primary->data_dir or die $!;
chmod 0700, $primary->data_dir;
$primary->append_conf('postgresql.conf', "restore_command = 'cp $archive/%f %p'\nrecovery_target_name = 'here'\nrecovery_target_action = 'promote'\narchive_mode = off\n");
append_to_file($primary->data_dir . '/recovery.signal', '');
$primary->start;
$primary->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;
is($braid->sql('SELECT max(id) FROM rides'), 52, 'the database is recovered to the restore point');
$braid->sql("INSERT INTO rides VALUES ($_, 'other')") for 53 .. 60;
$braid->wait_for('rides');
is(ids(), join(',', 1 .. 55, 53 .. 60), 'what is written at positions that were used before is published, each once');
$braid->until_sql("SELECT last_error ~ 'undone' FROM pgbraid.stat_flow", 't', 'and it is said that the stream has events that were undone');
my @messages = $braid->messages('postgres_rides');
like($messages[-1]{headers}{'Nats-Msg-Id'}, qr/^\d+\.\d+-1-2-1\./, 'under the epoch of the new timeline');

# A standby is promoted while the primary lives on.
$primary->append_conf('postgresql.conf', "recovery_target_name = ''\n");
$primary->restart;
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;
$braid->sql("INSERT INTO rides VALUES (100, 'before')");
$braid->wait_for('rides');
$primary->wait_for_catchup($standby, 'replay');
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT state FROM pgbraid.stat_flow', 'lost') or die 'the flow is not lost';
$standby->safe_psql('postgres', "SELECT pgflow_resume('rides', restart => true)");
$standby->poll_query_until('postgres', 'SELECT state FROM pgbraid.stat_flow', 'streaming') or die 'the flow does not stream';
$standby->safe_psql('postgres', "INSERT INTO rides VALUES (101, 'after')");
is($standby->safe_psql('postgres', "SELECT pgflow_wait('rides')"), 't', 'the promoted standby publishes');
$braid->sql("INSERT INTO rides VALUES ($_, 'zombie')") for 102 .. 110;
is($braid->sql("SELECT pgflow_wait('rides', timeout => '2 s')"), 'f', 'the old primary does not');
$braid->until_sql("SELECT last_error ~ 'another writer|not sent by this flow' FROM pgbraid.stat_flow", 't', 'and says why');
$braid->sql('SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow WHERE pid IS NOT NULL');
is($braid->sql("SELECT pgflow_wait('rides', timeout => '2 s')"), 'f', 'nor does a new worker of it');
$standby->safe_psql('postgres', "INSERT INTO rides VALUES (111, 'after')");
is($standby->safe_psql('postgres', "SELECT pgflow_wait('rides')"), 't');
is(join(',', map { $_->{event}{after}{x} } grep { $_->{event}{after}{id} > 100 } $braid->messages('postgres_rides')), 'after,after',
	'the stream has what the new primary wrote, and nothing of the old one');
done_testing();
