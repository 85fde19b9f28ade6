# Half a million rows, or PGBRAID_ROWS, are read while they change, and whatever dies meanwhile: in the end the stream tells
# the same table.
use strict;
use warnings;

use Braid;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = $ENV{PGBRAID_ROWS} // 500_000;
my $braid = Braid->new(conf => "restart_after_crash = on\nmax_wal_size = 4GB\npgbraid.flow_save_interval = 100ms");
my $node = $braid->node;

# Keys that do not follow the order on disk; a table of two columns as key; one without a key; a partitioned one.
$braid->sql("CREATE TABLE one (id bigint PRIMARY KEY, n int NOT NULL, x text);
	INSERT INTO one SELECT (i::bigint * 7919) % ($rows * 2 + 1), 0, 'before' FROM generate_series(1, $rows) i;
	CREATE TABLE two (a text COLLATE \"C\", b int, n int NOT NULL, x text, PRIMARY KEY (a, b));
	INSERT INTO two SELECT chr(97 + i % 26), i, 0, 'before' FROM generate_series(1, 20000) i;
	CREATE TABLE none (id bigint, n int, x text); ALTER TABLE none REPLICA IDENTITY FULL;
	INSERT INTO none SELECT i, 0, 'before' FROM generate_series(1, 20000) i;
	CREATE TABLE parts (id int, n int NOT NULL, x text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10000);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10000) TO (30000);
	INSERT INTO parts SELECT i, 0, 'before' FROM generate_series(1, 20000) i");

# Writers that change, move, delete and add rows all over.
my $scripts = PostgreSQL::Test::Utils::tempdir('scripts');
my %script = (
	one => "\\set id random(1, $rows * 2)\n\\set other random(1, $rows * 2)\nUPDATE one SET n = n + 1 WHERE id = :id;\n"
		. "DELETE FROM one WHERE id = :other;\nINSERT INTO one VALUES (:id, 0, 'new') ON CONFLICT DO NOTHING;\n"
		. "UPDATE one SET id = id + $rows * 3 WHERE id = :id + 1 AND NOT EXISTS (SELECT FROM one o WHERE o.id = :id + 1 + $rows * 3);\n",
	two => "\\set i random(1, 20000)\nUPDATE two SET n = n + 1, a = chr(97 + (:i + n) % 26) WHERE b = :i;\nDELETE FROM two WHERE b = :i + 7 AND n > 2;\n",
	none => "\\set i random(1, 20000)\nBEGIN;\nUPDATE none SET n = n + 1 WHERE id = :i;\nINSERT INTO none VALUES (:i + 100000, 0, 'new');\nEND;\nDELETE FROM none WHERE id = :i + 3 AND n > 1;\n",
	parts => "\\set i random(1, 20000)\nUPDATE parts SET n = n + 1, id = (id + 10000) % 30000 WHERE id = :i AND NOT EXISTS (SELECT FROM parts p WHERE p.id = (:i + 10000) % 30000);\n",
);
append_to_file("$scripts/$_", $script{$_}) for keys %script;
my @load;
sub start_load
{
	my $output = '';
	my @command = ('pgbench', '-n', '-c', 4, '-T', 3600, '-R', 800, '-h', $node->host, '-p', $node->port,
		(map { ('-f', "$scripts/$_") } sort keys %script), 'postgres');
	@load = (IPC::Run::start(\@command, '<', \undef, '>', \$output, '2>', \$output));
	return;
}
sub stop_load { (pop @load)->kill_kill(grace => 2); return; }

sub until_rows
{
	my ($count) = @_;
	$braid->until_sql("SELECT coalesce(sum(rows), 0) >= $count FROM pgbraid.flow_snapshots");
	return;
}

start_load();
$braid->sql("SELECT pgflow_create('all', tables => '{one,two,none,parts}', options => '{}')");
my @deaths = (
	[ 'worker killed with -9' => sub {
		kill 'KILL', $braid->sql('SELECT pid FROM pgbraid.stat_flow');
		stop_load();
		$braid->until_sql('SELECT true');
		start_load();
	} ],
	[ 'worker terminated' => sub { $braid->sql('SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow') } ],
	[ 'NATS killed with -9' => sub { $braid->nats->kill9; $braid->nats->start } ],
	[ 'server stopped immediate' => sub { $node->stop('immediate'); stop_load(); $node->start; start_load() } ],
	[ 'worker killed with -9 again' => sub {
		kill 'KILL', $braid->sql('SELECT pid FROM pgbraid.stat_flow');
		stop_load();
		$braid->until_sql('SELECT true');
		start_load();
	} ],
);
for my $i (0 .. $#deaths)
{
	until_rows($rows * ($i + 1) / (@deaths + 1));
	is($braid->sql('SELECT finished_at IS NULL FROM pgbraid.flow_snapshots'), 't', "$deaths[$i][0], with the snapshot at " . ($i + 1) . ' of ' . (@deaths + 1));
	$deaths[$i][1]->();
}
$braid->until_state('all', 'streaming');
stop_load();
$braid->wait_for('all');

# Replayed in SQL: of each key, the last thing that the stream says.
$braid->sql('CREATE DATABASE replay');
my $file = "$scripts/events";
IPC::Run::run([ 'pgbraid-tail', '-s', $braid->nats->url, '--stream', $braid->stream_of('all'), '--until-end' ], '>', $file) or die;
sub replay { return $node->safe_psql('replay', $_[0]) }
replay("CREATE UNLOGGED TABLE raw (n bigint GENERATED ALWAYS AS IDENTITY, e jsonb);
	COPY raw (e) FROM '$file' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02');
	CREATE UNLOGGED TABLE event AS SELECT n, e->>'op' op, e->>'table' tab, e->'key' key, e->'before' old, e->'after' new, e->>'lsn' lsn, (e->>'seq')::bigint seq FROM raw;
	ANALYZE event");
is(replay('SELECT count(*) FROM (SELECT lsn::pg_lsn, seq, lag(lsn::pg_lsn) OVER w AS lsn0, lag(seq) OVER w AS seq0 FROM event WINDOW w AS (ORDER BY n)) s
	WHERE (lsn, seq) <= (lsn0, seq0)'), 0, 'every message follows the one before, none is there twice');
is(replay("SELECT count(*) FROM (SELECT tab, key FROM event WHERE op = 'snapshot' GROUP BY tab, key, CASE WHEN key IS NULL THEN new END HAVING count(*) > 1
	EXCEPT SELECT tab, key FROM event WHERE op = 'update' AND old IS NOT NULL) twice"), 0, 'no row was read twice, but for those that were given another key');

for my $table (qw(one two parts))
{
	replay("CREATE TABLE $table AS
		SELECT new FROM (
			SELECT DISTINCT ON (key) key, new FROM (
				SELECT n, 1 AS part, key, new FROM event WHERE tab = '$table'
				UNION ALL
				SELECT n, 0, old, NULL FROM event WHERE tab = '$table' AND op = 'update' AND old IS NOT NULL) effect
			 ORDER BY key, n DESC, part DESC) last
		 WHERE new IS NOT NULL");
}
# Without a key: each row as often as it was written and not taken away.
replay("CREATE TABLE none AS SELECT r AS new, sum(c) AS c FROM (
		SELECT new AS r, 1 AS c FROM event WHERE tab = 'none' AND new IS NOT NULL
		UNION ALL SELECT old, -1 FROM event WHERE tab = 'none' AND old IS NOT NULL AND op <> 'insert') effect
	GROUP BY r");
for my $table (qw(one two parts))
{
	my $expected = $braid->sql("SELECT count(*), sum(hashtextextended(to_jsonb(t)::text, 0)::numeric) FROM $table t");
	is(replay("SELECT count(*), sum(hashtextextended(new::text, 0)::numeric) FROM $table"), $expected, "table $table is the same");
}
# A row that changed before it was read was never told: its changes take away what is not there. So compare what is left.
my $left = $braid->sql('SELECT count(*), sum(hashtextextended(to_jsonb(t)::text, 0)::numeric) FROM none t');
is(replay("SELECT sum(c), sum(hashtextextended(new::text, 0)::numeric * c) FROM none WHERE c > 0"), $left, 'a table without a key is the same');
cmp_ok($braid->sql('SELECT rows FROM pgbraid.flow_snapshots'), '>', $rows / 2, 'most rows came by the snapshot');
done_testing();
