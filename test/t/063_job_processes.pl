# Too few processes: what can run runs, the rest waits and says why.
use strict;
use warnings;

use Braid;
use Test::More;

# One for logical replication, then launcher, manager, scheduler and one executor.
my $braid = Braid->new(nats => 0, conf => "max_worker_processes = 5\n");
$braid->sql(q{SELECT pgjob_create('plain', '1 second', 'SELECT 1');
	SELECT pgjob_create('sleeper', NULL, 'SELECT pg_sleep(0.1)');
	SELECT pgjob_create('detached', NULL, 'SELECT 1', options => '{"transaction": false}')});
$braid->until_sql("SELECT succeeded > 0 FROM pgbraid.stat_job WHERE job = 'plain'", 't', 'a command runs in the one process that there is');
$braid->sql("SELECT pgjob_run('detached')");
$braid->until_sql("SELECT r.reason FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'detached'", 'no background worker slot was free',
	'one that needs another process waits and says why');
$braid->sql("SELECT pgjob_run('sleeper') FROM generate_series(1, 20)");
$braid->until_sql("SELECT max(last_sqlstate || last_hint) FROM pgbraid.stat_worker WHERE kind = 'executor' AND pid IS NULL",
	'53400Increase max_worker_processes in postgresql.conf and restart the server.', 'further executors say what they need');
$braid->until_sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'sleeper'", '20', 'the one executor does all the work');
my $before = $braid->sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'plain'");
$braid->until_sql("SELECT succeeded > $before FROM pgbraid.stat_job WHERE job = 'plain'", 't', 'and schedules go on');
$braid->node->append_conf('postgresql.conf', 'max_worker_processes = 12');
$braid->node->restart;
$braid->until_sql("SELECT last_state FROM pgbraid.stat_job WHERE job = 'detached'", 'succeeded', 'with more of them, what waited runs');

# The registry is full.
$braid->node->append_conf('postgresql.conf', 'pgbraid.max_workers = 5');
$braid->node->restart;
$before = $braid->sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'plain'");
$braid->until_sql("SELECT succeeded > $before + 1 FROM pgbraid.stat_job WHERE job = 'plain'", 't', 'five entries are enough for an executor and the keeper of branches');
$braid->sql("SELECT pgjob_run('sleeper') FROM generate_series(1, 5)");
$braid->until_sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'sleeper'", '25', 'which does all the work');
ok($braid->node->log_contains('no entry is free for an executor of jobs'), 'the log says what is missing');

done_testing();
