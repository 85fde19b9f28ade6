# Options that 060 leaves out: jitter, queue_all, begin and end of a schedule, mute, logs, age of what is kept, and rights taken back.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new(nats => 0);
my $runs_of = "FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job =";

$braid->sql(q{SELECT pgjob_create('jittered', '* * * * * *', 'SELECT 1', jitter => '500 ms');
	SELECT pgjob_create('queued', '* * * * * *', 'SELECT pg_sleep(1000)', overlap => 'queue_all', options => '{"queue_limit": 2}');
	SELECT pgjob_create('bounded', '* * * * * *', 'SELECT 1', options => jsonb_build_object('starts_at', now() + '2 s', 'ends_at', now() + '4 s'))});

$braid->until_sql("SELECT count(*) FILTER (WHERE r.state = 'succeeded') >= 4 $runs_of 'jittered'");
is($braid->sql("SELECT bool_and(r.run_at - r.due_at >= '0' AND r.run_at - r.due_at < '500 ms' AND (r.started_at IS NULL OR r.started_at >= r.run_at)),
	count(DISTINCT r.run_at - r.due_at) > 1 $runs_of 'jittered'"), 't|t', 'jitter: later by less than that, and not always by the same');

$braid->until_sql("SELECT count(*) FILTER (WHERE r.state = 'skipped') >= 1 $runs_of 'queued'");
is($braid->sql("SELECT count(*) FILTER (WHERE r.state = 'running'), count(*) FILTER (WHERE r.state = 'waiting') $runs_of 'queued'"), '1|2',
	'queue_all: one runs, so many wait, the others are skipped');

$braid->until_sql("SELECT clock_timestamp() > (options->>'ends_at')::timestamptz + '1 s' FROM pgbraid.jobs WHERE job = 'bounded'");
is($braid->sql("SELECT count(*), bool_and(r.due_at >= (j.options->>'starts_at')::timestamptz AND r.due_at < (j.options->>'ends_at')::timestamptz) $runs_of 'bounded'"),
	'2|t', 'a schedule has times from its begin to its end only');
is($braid->sql("SELECT next_run_at IS NULL FROM pgbraid.stat_job WHERE job = 'bounded'"), 't', 'and then none');

my $listener = $braid->node->background_psql('postgres');
$listener->query_safe('LISTEN pgbraid_job_alerts');
$braid->sql(q{SELECT pgjob_create('quiet', NULL, 'SELECT 1/0'); SELECT pgjob_create('loud', NULL, 'SELECT 1/0'); SELECT pgjob_mute('quiet'); SELECT pgjob_run('quiet'); SELECT pgjob_run('loud')});
$braid->until_sql("SELECT sum(failed) FROM pgbraid.stat_job WHERE job IN ('quiet', 'loud')", '2');
my $heard = $listener->query_safe('SELECT 1');
ok($heard =~ /"loud"/ && $heard !~ /"quiet"/, 'a muted job is not heard of');

$braid->sql(q{SELECT pgjob_create('logged', NULL); SELECT pgjob_run('logged')});
$braid->sql(q{SELECT pgjob_log(c.run, c.token, 'half'), pgjob_log(c.run, c.token, 'done'), pgjob_complete(c.run, c.token) FROM pgjob_claim('{logged}', 'w') c});
like($braid->sql("SELECT r.log $runs_of 'logged'"), qr/^\S+Z half\n\S+Z done$/, 'lines of pgjob_log');

$braid->sql(q{SELECT pgjob_create('aged', NULL, 'SELECT 1', options => '{"keep": "1 s"}'); SELECT pgjob_run('aged')});
$braid->until_sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'aged'", '1');
$braid->until_sql("SELECT max(r.finished_at) < clock_timestamp() - interval '1 s' $runs_of 'aged'");
$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_worker WHERE kind = 'scheduler'");
$braid->until_sql("SELECT count(*) $runs_of 'aged'", '0', 'what is older than that is deleted');

# A minute later, by a plan of when there were no runs.
$braid->sql(q{DELETE FROM pgbraid.jobs; SELECT pgjob_create('many', NULL, options => '{"keep_runs": 5}')});
$braid->until_sql('SELECT count(*) FROM pgbraid.job_runs', '0', 'without their jobs runs are deleted');
$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_worker WHERE kind = 'scheduler'");
$braid->until_sql("SELECT state FROM pgbraid.stat_worker WHERE kind = 'scheduler'", 'running');
$braid->sql("SELECT pgjob_run('many')");
$braid->until_sql("SELECT bool_or(r.state = 'ready') $runs_of 'many'");
$braid->sql(q{INSERT INTO pgbraid.job_runs (job, origin, handler, state, due_at, run_at, finished_at)
	SELECT id, 'manual', 'sql', 'succeeded', now() - n * interval '1 s', now(), now() FROM pgbraid.jobs, generate_series(1, 3000) n});
my $looks = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'job_runs_job_due_at_attempt_serial_key'";
my $before = $braid->sql($looks);
$braid->sql("ALTER SYSTEM SET pgbraid.job_clock_shift = '2 min'; SELECT pg_reload_conf()");
$braid->until_sql("SELECT n_tup_del >= 2995 FROM pg_stat_user_tables WHERE relid = 'pgbraid.job_runs'::regclass", 't', 'all but the last runs are deleted');
cmp_ok($braid->sql($looks) - $before, '<', 1000, 'the history is not looked through for each of them');

$braid->sql(q{CREATE ROLE joe; SELECT pgjob_grant('joe'); SELECT pgjob_revoke('joe')});
for my $sql ('SELECT count(*) FROM pgbraid.jobs', "SELECT pgjob_create('x', NULL)")
{
	like($braid->error_of("SET ROLE joe; $sql"), qr/42501/, "after pgjob_revoke refused: $sql");
}

done_testing();
