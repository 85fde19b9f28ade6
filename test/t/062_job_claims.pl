# Many workers over plain SQL: each run is executed once, whoever dies on the way.
use strict;
use warnings;

use Braid;
use IPC::Run;
use Test::More;

my $braid = Braid->new(nats => 0, conf => "max_connections = 150\n");
my $runs = 10_000;

# A worker claims, commits, does its work and completes it in one transaction, as an application does, until there is
# nothing to do any more.
$braid->sql(q{CREATE TABLE effects (run bigint, n int);
	SELECT pgjob_create('claimed', NULL, options => '{"keep_runs": 100000}');
	CREATE PROCEDURE work(name text) LANGUAGE plpgsql AS $$
	DECLARE
		mine record;
	BEGIN
		LOOP
			SELECT * INTO mine FROM pgjob_claim('{claimed}', name);
			COMMIT;
			EXIT WHEN mine.run IS NULL;
			INSERT INTO effects VALUES (mine.run, (mine.payload->>'n')::int);
			PERFORM pgjob_complete(mine.run, mine.token);
			COMMIT;
		END LOOP;
	END$$});
$braid->sql("SELECT count(pgjob_run('claimed', format('{\"n\": %s}', n)::jsonb)) FROM generate_series(1, $runs) n");
my $script = $braid->node->basedir . '/work.sql';
PostgreSQL::Test::Utils::append_to_file($script, "CALL work('worker ' || :client_id);\n");
my $claimers = IPC::Run::start([ 'pgbench', '-n', '-c', 100, '-j', 2, '-t', 1, '-f', $script, '-d', $braid->node->connstr('postgres') ], '>', \my $out, '2>', \my $err);

# Some of their sessions are cut in the middle.
my $cut = 0;
for my $part (1 .. 8)
{
	$braid->until_sql('SELECT count(*) >= ' . $runs * $part / 10 . ' FROM effects');
	$cut += $braid->sql("SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL work%' AND state = 'active' ORDER BY random() LIMIT 2) s");
}
$claimers->finish;
# What they had in hand goes to others.
$braid->sql("CALL work('last')");
$braid->until_sql("SELECT count(*) FROM pgbraid.job_runs WHERE state IN ('waiting', 'running')", '0');
$braid->sql("CALL work('last')");
is($braid->sql("SELECT count(*) FROM (SELECT 1 FROM pgbraid.job_runs WHERE state = 'succeeded' GROUP BY serial) r"), $runs, "$runs runs succeed, though $cut sessions were cut");
is($braid->sql('SELECT count(*), count(DISTINCT n) FROM effects'), "$runs|$runs", 'the effect of each is there once');
is($braid->sql("SELECT count(*) FROM pgbraid.job_runs WHERE state NOT IN ('succeeded', 'lost')"), '0', 'nothing else became of any');
cmp_ok($braid->sql('SELECT count(DISTINCT worker) FROM pgbraid.job_runs'), '>', 50, 'many workers had a part in it');

done_testing();
