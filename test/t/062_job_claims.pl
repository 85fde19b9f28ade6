# Many workers over plain SQL: each run is executed once, whoever dies on the way. And what becomes of claims and runs that
# are made at unlucky moments.
use strict;
use warnings;

use Braid;
use IPC::Run;
use Test::More;

my $braid = Braid->new(nats => 0, conf => "max_connections = 150\npgbraid.job_executors = 1\n");
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

# What is completed in a savepoint that is rolled back is still in hand.
$braid->sql(q{SELECT pgjob_create('undone', NULL); SELECT pgjob_run('undone')});
my $state = q{SELECT r.state, (SELECT count(*) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 'pgbraid.job_runs'::regclass AND l.objid = r.id::int)
	FROM pgbraid.job_runs r WHERE r.id = :run;};
is($braid->sql(qq{SELECT run, token FROM pgjob_claim('{undone}', 'w') \\gset
	BEGIN; SAVEPOINT a; SAVEPOINT b; SELECT pgjob_complete(:run, :'token') \\gset
	RELEASE b; ROLLBACK TO a; $state
	COMMIT; $state
	BEGIN; SAVEPOINT a; SELECT pgjob_complete(:run, :'token', 'fine') \\gset
	RELEASE a; $state
	COMMIT; $state
	SELECT output FROM pgbraid.job_runs WHERE id = :run}),
	"running|1\nrunning|1\nsucceeded|1\nsucceeded|0\nfine", 'a completion that is rolled back was none, and can be had again');

# Names of jobs that are none.
$braid->refuses("SELECT * FROM pgjob_claim($_, 'w', wait => '1 hour')", '22023', 'null', "refused: $_") for "'{}'", "ARRAY['undone', NULL]", "ARRAY[NULL]::text[]";
is($braid->sql(q{SELECT pgjob_run('undone') \gset
	SELECT job FROM pgjob_claim(NULL, 'w', wait => '1 hour')}), 'undone', 'null takes runs of any job');

# An executor that goes to sleep just when a run comes. Nobody else may tell it of that: the scheduler, which looks for what was
# overlooked, is stopped meanwhile, in its sleep, where it holds nothing that others wait for.
sub stop_scheduler
{
	for (1 .. 1000)
	{
		my $pid = $braid->sql("SELECT pid FROM pgbraid.stat_worker WHERE kind = 'scheduler'");
		kill 'STOP', $pid or die "there is no scheduler $pid";
		return $pid if $braid->sql("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid") eq 'Extension';
		kill 'CONT', $pid;
	}
	die 'the scheduler does not sleep';
}
$braid->sql(q{CREATE PROCEDURE run_one_by_one(many int) LANGUAGE plpgsql AS $$
	DECLARE
		mine bigint;
		patience timestamptz;
	BEGIN
		FOR i IN 1 .. many LOOP
			mine := pgjob_run('quick');
			COMMIT;
			patience := clock_timestamp() + '30 s';
			WHILE NOT EXISTS (SELECT FROM pgbraid.job_runs WHERE id = mine AND state = 'succeeded') LOOP
				ASSERT clock_timestamp() < patience, 'run ' || mine || ' lies about';
			END LOOP;
		END LOOP;
	END$$});
$braid->sql("SELECT pgjob_create('quick', NULL, 'SELECT 1'); SELECT pgjob_run('quick') FROM generate_series(1, 100)");
$braid->until_sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'quick'", '100');
my $scheduler = stop_scheduler();
for my $clients (1, 4)
{
	$script = $braid->node->basedir . "/quick$clients.sql";
	PostgreSQL::Test::Utils::append_to_file($script, "CALL run_one_by_one(1000);\n");
	my $done = IPC::Run::run([ 'pgbench', '-n', '-c', $clients, '-t', 1, '-f', $script, '-d', $braid->node->connstr('postgres') ], '>', \$out, '2>', \$err);
	ok($done, "an executor that is about to sleep notices what comes: $clients at a time") || diag($err);
}
kill 'CONT', $scheduler;

done_testing();
