# A standby with a copy of the flow's slot (PostgreSQL 17) is promoted: the flow goes on there, in the same stream, with
# neither a gap nor a repetition. Until then nothing runs on the standby; and nothing is told that it does not have.
use strict;
use warnings;

use Braid;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'slots are synchronized to standbys from PostgreSQL 17 on'
	if PostgreSQL::Test::Cluster->new('none')->pg_version < 17;

my $braid = Braid->new(name => 'primary', conf => "wal_keep_size = '1GB'\nmax_wal_senders = 10\n"
	. "pgbraid.flow_horizon = 500ms\npgbraid.flow_save_interval = 100ms\n");
my $primary = $braid->node;
Load::create($braid, 'load', options => q('{"failover": true}'));
$braid->sql('CREATE TABLE plain (id int PRIMARY KEY); CREATE TABLE later (id int PRIMARY KEY)');
$braid->sql("SELECT pgflow_create('$_', tables => '{$_}', snapshot => 'none')") for qw(plain later);
$braid->until_state($_, 'streaming') for qw(plain later);

sub failover_of
{
	my ($flow) = @_;
	return $braid->sql("SELECT r.failover FROM pg_replication_slots r JOIN pgbraid.stat_flow f USING (slot_name) WHERE f.flow = '$flow'");
}
is(failover_of('load'), 't', 'the slot of a flow with the option is one for failover');
is(failover_of('plain'), 'f', 'that of another is not');
for my $failover (qw(true false true))
{
	$braid->sql("SELECT pgflow_alter('later', options => '{\"failover\": $failover}')");
	$braid->until_sql("SELECT r.failover = $failover FROM pg_replication_slots r JOIN pgbraid.stat_flow f USING (slot_name) WHERE f.flow = 'later'",
		't', "the option can be changed: $failover");
}

# The standby.
$braid->sql("SELECT pg_create_physical_replication_slot('sb')");
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
my $connection = $primary->connstr('postgres') =~ s/'/''/gr;
$standby->append_conf('postgresql.conf', <<"END");
primary_conninfo = '$connection application_name=standby'
primary_slot_name = 'sb'
hot_standby_feedback = on
sync_replication_slots = on
END
$standby->start;
$primary->append_conf('postgresql.conf', "synchronized_standby_slots = 'sb'\n");
$primary->reload;

sub catch_up { $primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert')); return }

# Copies of these. A slot can be copied once it needs nothing that the standby has not kept: when transactions that are
# noted as running have been passed over.
my $copies = 'SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary AND invalidation_reason IS NULL';
sub wait_for_copies
{
	my ($count) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($standby->safe_psql('postgres', $copies) == $count)
	{
		die 'the slots are not synchronized' if time > $deadline;
		$braid->sql('SELECT pg_log_standby_snapshot()');
	}
	return;
}
wait_for_copies(2);
pass('the standby has copies of the slots');
catch_up();
$braid->{history_begins} = $braid->sql('SELECT pg_current_wal_insert_lsn()');

sub stored { return $braid->nats->stream_state("postgres_$_[0]")->{messages} }
sub receiver { return $standby->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver') }

# The standby is behind: what it does not have is not told, but by flows that don't care.
$braid->sql("INSERT INTO a (n, x) VALUES (1, 'kept')");
$braid->wait_for('load');
my $receiver = receiver();
kill 'STOP', $receiver or die "there is no receiver $receiver";
my $before = stored('load');
$braid->sql("INSERT INTO a (n, x) VALUES (2, 'kept'); INSERT INTO plain VALUES (1)");
is($braid->sql("SELECT pgflow_wait('load', timeout => '3 s')"), 'f', 'what the standby does not have is not told');
is(stored('load'), $before, 'indeed');
$braid->wait_for('plain');
is(stored('plain'), 1, 'a flow without the option does not wait');
$braid->until_sql("SELECT last_sqlstate || last_error FROM pgbraid.stat_flow WHERE flow = 'load'",
	'55000flow "load" waits for the standby of slot "sb"', 'and it says whom it waits for');
kill 'CONT', $receiver;
$braid->wait_for('load');
is(stored('load'), $before + 1, 'it is told once the standby has it');

$standby->stop;
$braid->sql("INSERT INTO a (n, x) VALUES (3, 'kept')");
$braid->until_sql("SELECT last_error FROM pgbraid.stat_flow WHERE flow = 'load'",
	'flow "load" waits for the standby of slot "sb", which is not in use', 'a standby that is away is waited for as well');
is(stored('load'), $before + 1, 'and nothing is told');
$braid->sql("ALTER SYSTEM SET synchronized_standby_slots = 'sb, nobody'; SELECT pg_reload_conf()");
$standby->start;
$braid->until_sql("SELECT last_error FROM pgbraid.stat_flow WHERE flow = 'load'",
	'flow "load" waits for the standby of slot "nobody", which does not exist', 'nor while a slot is missing');
is(stored('load'), $before + 1, 'still nothing is told');
$braid->sql('ALTER SYSTEM RESET synchronized_standby_slots; SELECT pg_reload_conf()');
$braid->wait_for('load');
is(stored('load'), $before + 2, 'then it goes on');

# Rows of a snapshot are seen before the standby has them.
$braid->sql("CREATE TABLE s1 (id int PRIMARY KEY, v text); CREATE TABLE s2 (id int PRIMARY KEY, v text);
	INSERT INTO s1 VALUES (1, 'old'); INSERT INTO s2 VALUES (1, 'old')");
$braid->sql(q{SELECT pgflow_create('rows', tables => '{s1,s2}', snapshot => 'none', options => '{"failover": true}')});
$braid->until_state('rows', 'streaming');
$braid->nats->pause;
my $snapshot = $braid->sql("SELECT pgflow_snapshot('rows')");
$braid->until_sql("SELECT cutoff IS NOT NULL FROM pgbraid.flow_snapshots WHERE id = $snapshot");
catch_up();
$receiver = receiver();
kill 'STOP', $receiver or die "there is no receiver $receiver";
$braid->sql("UPDATE s1 SET v = 'new'; UPDATE s2 SET v = 'new'");
$braid->nats->continue;
is($braid->sql("SELECT pgflow_wait('rows', timeout => '3 s')"), 'f', 'a snapshot waits too');
is((grep { $_->{text} =~ /new/ } $braid->messages('postgres_rows')), 0, 'and tells no row that the standby does not have');
kill 'CONT', $receiver;
$braid->wait_for('rows');
cmp_ok(scalar(grep { $_->{text} =~ /new/ } $braid->messages('postgres_rows')), '>=', 2, 'it does when the standby has them');

# Nothing of ours runs on the standby, nor touches its slots.
wait_for_copies(3);
my $load = Load::start($braid);
Load::wait_for_rows($braid, 3000);
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pgbraid%'"), 0,
	'nothing of ours runs on the standby');
is($standby->safe_psql('postgres', $copies), 3, 'the copies of the slots are as they were');
like(($standby->psql('postgres', "SELECT pgflow_wait('load')"))[2], qr/standby/, 'and a flow is refused with the reason');

# The primary dies while it publishes, with a worker that was killed and a standby that was behind shortly before.
$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow WHERE flow = 'load' AND pid IS NOT NULL");
Load::wait_for_rows($braid, 3000);
$receiver = receiver();
kill 'STOP', $receiver or die "there is no receiver $receiver";
Load::wait_for_rows($braid, 1000);
$primary->kill9;
Load::finish($load);
kill 'CONT', $receiver;
$standby->promote;
my $promoted = bless { %$braid, node => $standby }, 'Braid';
$promoted->until_sql("SELECT state IN ('streaming', 'lost') FROM pgbraid.stat_flow WHERE flow = 'load'");
is($promoted->sql("SELECT state FROM pgbraid.stat_flow WHERE flow = 'load'"), 'streaming', 'after the promotion the flow goes on');
Load::is_exactly_published($promoted, 'load', 'promoted');
$load = Load::start($promoted);
Load::wait_for_rows($promoted, 2000);
Load::stop($load);
Load::is_exactly_published($promoted, 'load', 'and after that');
my @messages = $promoted->messages('postgres_load');
like($messages[0]{headers}{'Nats-Msg-Id'}, qr/^\d+\.\d+-\d+-1-1\./, 'it has begun under the epoch of the first timeline');
like($messages[-1]{headers}{'Nats-Msg-Id'}, qr/^\d+\.\d+-\d+-2-1\./, 'and goes on under that of the second, with the slot that it had');
is($promoted->sql("SELECT coalesce(last_error, '') ~ 'undone' FROM pgbraid.stat_flow WHERE flow = 'load'"), 'f', 'nothing that was told has been undone');
$promoted->wait_for('rows');
$promoted->sql('INSERT INTO later VALUES (1)');
$promoted->wait_for('later');
is(stored('later'), 1, 'a flow that was given the option later goes on as well');
$promoted->until_state('plain', 'lost', 'and one without it is lost, and says so');
done_testing();
