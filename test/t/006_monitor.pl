# What the views and pgflow_check show, and who may look.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new;

# The columns are an interface.
is($braid->sql("SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'pgbraid.stat_flow'::regclass AND attnum > 0"),
	'flow state slot_name stream events_published rows_snapshotted events_filtered retries confirmed_lsn sent_lsn lag_bytes lag '
	. 'last_event_at last_sqlstate last_error last_hint last_error_at pid retained_bytes', 'columns of stat_flow');
is($braid->sql("SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'pgbraid.stat_worker'::regclass AND attnum > 0"),
	'kind database object state pid started_at next_start_at restarts last_sqlstate last_error last_hint last_error_at', 'columns of stat_worker');
is($braid->sql('SELECT count(*) FROM pgbraid.stat_flow'), 0, 'no flow, no line');
$braid->until_sql("SELECT string_agg(kind, ' ') FROM pgbraid.stat_worker WHERE pid IS NOT NULL", 'launcher', 'only the launcher runs where there is nothing to do');

$braid->sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3);
	SELECT pgflow_create('f', tables => '{t}')");
$braid->until_state('f', 'streaming');
$braid->sql('INSERT INTO t VALUES (4), (5); INSERT INTO u VALUES (1), (2)');
$braid->wait_for('f');
is($braid->sql("SELECT flow, state, stream, events_published, rows_snapshotted, events_filtered >= 2, retries, last_error, lag FROM pgbraid.stat_flow"),
	'f|streaming|postgres_f|5|3|t|0||00:00:00', 'stat_flow after some work');
is($braid->sql("SELECT slot_name = (SELECT slot_name FROM pg_replication_slots) AND pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgbraid flow')
	AND confirmed_lsn = (SELECT confirmed_flush_lsn FROM pg_replication_slots) AND sent_lsn <= pg_current_wal_lsn()
	AND last_event_at BETWEEN now() - interval '1 min' AND now() FROM pgbraid.stat_flow"), 't', 'it agrees with what PostgreSQL shows');
is($braid->sql("SELECT kind, database, object, state, restarts, pid IS NOT NULL, started_at IS NOT NULL FROM pgbraid.stat_worker ORDER BY kind"),
	"flow|postgres|f|streaming|0|t|t\nlauncher||launcher|running|0|t|t\nmanager|postgres|postgres|running|0|t|t", 'stat_worker');
is($braid->sql("SELECT string_agg(backend_type, ',' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type LIKE 'pgbraid%'"),
	'pgbraid flow,pgbraid launcher,pgbraid manager', 'pg_stat_activity knows them');

# An empty transaction moves the slot: WAL is not kept for what is not published.
$braid->sql("SELECT txid_current(); SELECT pg_switch_wal(); INSERT INTO u SELECT generate_series(10, 1000)");
$braid->wait_for('f');
$braid->until_sql("SELECT confirmed_lsn >= '" . $braid->sql('SELECT pg_current_wal_lsn()') . "' FROM pgbraid.stat_flow", 't', 'the slot keeps up with what is not published');
is($braid->sql('SELECT lag_bytes FROM pgbraid.stat_flow') < 10000, 1, 'so does lag_bytes');

# While NATS is away, the lag grows and the error shows.
$braid->nats->stop;
$braid->sql('INSERT INTO t VALUES (6)');
$braid->until_sql("SELECT last_error IS NOT NULL AND last_sqlstate LIKE '08%' AND last_hint <> '' AND retries > 0 AND lag_bytes > 0 AND lag > interval '0'
	FROM pgbraid.stat_flow", 't', 'NATS away: error, hint, retries and lag are shown');
$braid->nats->start;
$braid->wait_for('f');
is($braid->sql('SELECT events_published, lag FROM pgbraid.stat_flow'), '6|00:00:00', 'and it recovers by itself');

# A killed worker comes back. (TERM: what an administrator may do to any backend.)
my $pid = $braid->sql('SELECT pid FROM pgbraid.stat_flow');
$braid->sql("SELECT pg_terminate_backend($pid)");
$braid->until_sql("SELECT state = 'streaming' AND pid <> $pid FROM pgbraid.stat_flow", 't', 'a terminated worker is started again');
is($braid->sql("SELECT restarts > 0 FROM pgbraid.stat_worker WHERE kind = 'flow'"), 't', 'which is counted');
for my $kind (qw(manager launcher))
{
	$pid = $braid->sql("SELECT pid FROM pgbraid.stat_worker WHERE kind = '$kind'");
	$braid->sql("SELECT pg_terminate_backend($pid)");
	$braid->until_sql("SELECT state = 'running' AND pid <> $pid FROM pgbraid.stat_worker WHERE kind = '$kind'", 't', "so is a terminated $kind");
}
$braid->sql('INSERT INTO t VALUES (7)');
$braid->wait_for('f');
is(join(',', map { $_->{event}{after}{id} } $braid->events('f')), '1,2,3,4,5,6,7', 'with nothing lost or doubled');

# Logs say what matters, once.
my $log = PostgreSQL::Test::Utils::slurp_file($braid->node->logfile);
like($log, qr/LOG:  flow "f" is streaming/, 'the log tells the change of a state');
like($log, qr/LOG:  flow "f" can't publish: /, 'and a failure');
unlike($log, qr/(HINT|DETAIL):\s*\n/, 'without empty hints');

# pgflow_check.
my $check = $braid->sql('SELECT check_name, ok FROM pgflow_check()');
is($check, join("\n", map { "$_|t" } 'shared_preload_libraries', 'wal_level', 'replication slots', 'background workers', 'nats connection', 'jetstream'), 'pgflow_check: all is well');
like($braid->sql("SELECT detail FROM pgflow_check() WHERE check_name = 'nats connection'"), qr/127\.0\.0\.1:\d+/, 'it says what it reached');
is($braid->sql("SELECT check_name, ok FROM pgflow_check('nowhere') WHERE NOT ok"), 'server|f', 'pgflow_check of a server that does not exist');
like($braid->sql("SELECT detail FROM pgflow_check('nowhere') WHERE NOT ok"), qr/CREATE SERVER nowhere/, 'it says how to make it');
$braid->sql("CREATE SERVER dead FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url 'nats://127.0.0.1:1')");
like($braid->sql("SELECT check_name, ok, detail FROM pgflow_check('dead') WHERE NOT ok"), qr/^nats connection\|f\|.*127\.0\.0\.1:1.*\(.*\)$/, 'pgflow_check of a server that does not answer');
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgbraid check'", 0, 'its worker goes');

# Roles.
$braid->sql('CREATE ROLE nobody LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
sub as { my ($role, $sql) = @_; return $braid->error_of("SET SESSION AUTHORIZATION $role; $sql"); }
is(as('watcher', 'SELECT * FROM pgbraid.stat_flow; SELECT * FROM pgbraid.stat_worker'), '', 'pg_monitor may look');
like(as('nobody', $_), qr/ERROR:  42501/, "nobody may not: $_")
  for 'SELECT * FROM pgbraid.stat_flow', "SELECT pgflow_pause('f')", "SELECT pgflow_create('x', tables => '{t}')", 'SELECT * FROM pgflow_check()',
	"SELECT pgflow_wait('f')", "SELECT pgbraid.check_subject('x')";
like(as('watcher', "SELECT pgflow_drop('f')"), qr/ERROR:  42501/, 'looking is not changing');

# The server restarts: the flow goes on.
$braid->sql('INSERT INTO t VALUES (8)');
$braid->node->restart;
$braid->sql('INSERT INTO t VALUES (9)');
is(join(',', map { $_->{event}{after}{id} } $braid->events('f')), '8,9', 'a restart of the server loses and doubles nothing');
$braid->node->stop('immediate');
$braid->node->start;
$braid->sql('INSERT INTO t VALUES (10)');
is(join(',', map { $_->{event}{after}{id} } $braid->events('f')), '10', 'nor does a crash');

done_testing;
