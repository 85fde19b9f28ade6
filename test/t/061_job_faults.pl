# Jobs when things break: each run is executed once, each time of a schedule has its row, whatever dies.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{PGBRAID_SEED} // time;
srand($seed);
note("PGBRAID_SEED=$seed");

my $braid = Braid->new(nats => 0, conf => "pgbraid.job_executors = 3\nrestart_after_crash = on\n");
my $node = $braid->node;

# Does that to one that runs: right after a start of the server there may be none yet. Returns the result.
sub with_executor
{
	my ($expression) = @_;
	my $executors = "FROM pgbraid.stat_worker WHERE kind = 'executor' AND pid IS NOT NULL";
	$braid->until_sql("SELECT count(*) > 0 $executors");
	return $braid->sql("SELECT $expression $executors LIMIT 1");
}

sub wait_for_ready_after
{
	my ($offset) = @_;
	$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
	return;
}

# Every second has one row, from the first to the last.
sub is_gapless
{
	my ($job, $name, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $found = $braid->sql("SELECT count(*), count(DISTINCT r.due_at), round(extract(epoch FROM max(coalesce(r.due_until, r.due_at)) - min(r.due_at))) + 1
		- sum(CASE WHEN r.due_until IS NULL THEN 0 ELSE round(extract(epoch FROM r.due_until - r.due_at)) END)
		FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = '$job' AND r.attempt = 1 AND r.serial = 0", %options);
	my ($rows, $times, $seconds) = split /\|/, $found;
	ok($rows == $times && $rows == $seconds, $name) || diag($found);
	return;
}

# Executors terminated, executors killed, the server stopped at once: in the middle of claims, work and completions.
my $runs = 1500;
$braid->sql(q{CREATE TABLE effects (n int, run_attempt int);
	SELECT pgjob_create('work', NULL, $$INSERT INTO effects VALUES (($1->>'n')::int, $2); SELECT pg_sleep(0.005)$$);
	SELECT pgjob_create('second', '* * * * * *', $$SELECT 1$$)});
$braid->sql("SELECT pgjob_run('work', format('{\"n\": %s}', n)::jsonb) FROM generate_series(1, $runs) n");
my %done = (terminate => 0, kill => 0, stop => 0);
for my $round (1 .. 12)
{
	my $target = int($runs * $round / 16 + rand(20));
	$braid->until_sql("SELECT count(*) >= $target FROM effects");
	my $way = (qw(terminate terminate stop kill))[ $round % 4 ];
	$done{$way}++;
	if ($way eq 'terminate')
	{
		with_executor('pg_terminate_backend(pid)');
	}
	elsif ($way eq 'kill')
	{
		my $offset = -s $node->logfile;
		my $pid = with_executor('pid');
		if ($pid && kill('KILL', $pid)) { wait_for_ready_after($offset); }
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
}
$braid->until_sql("SELECT count(*) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'work' AND r.state = 'succeeded'", $runs,
	"$runs runs succeed though executors were terminated $done{terminate} times and killed $done{kill} times, and the server stopped $done{stop} times");
is($braid->sql('SELECT count(*), count(DISTINCT n) FROM effects'), "$runs|$runs", 'the effect of each is there once');
is($braid->sql("SELECT count(*) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'work'"), $runs, 'and none was lost on the way');
is_gapless('second', 'every second has its row');
is($braid->sql("SELECT count(*) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'second' AND r.attempt > 1"), '0', 'none was executed twice');

# What can't be undone is not done again, unless somebody says so.
$braid->sql(q{SELECT pgjob_create('once', NULL, $$INSERT INTO effects VALUES (-1); SELECT pg_sleep(1000)$$, options => '{"transaction": false}')});
$braid->sql("SELECT pgjob_run('once')");
$braid->until_sql("SELECT count(*) FROM effects WHERE n = -1", '1');
$braid->sql("SELECT pg_terminate_backend(r.pid) FROM pgbraid.job_runs r WHERE r.state = 'running' AND r.liveness = 'executor'");
$braid->until_sql("SELECT last_state FROM pgbraid.stat_job WHERE job = 'once'", 'lost', 'a command outside of a transaction whose executor goes is lost');
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgbraid run'", '0', 'its process goes with the executor');
$braid->sql(q{SELECT pgjob_alter('once', options => '{"redeliveries": 1}'); SELECT pgjob_run('once')});
$braid->until_sql("SELECT count(*) FROM effects WHERE n = -1", '2');
$braid->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pgbraid run'");
$braid->until_sql("SELECT last_state FROM pgbraid.stat_job WHERE job = 'once'", 'failed', 'one whose own process goes has failed');
$braid->sql("SELECT pgjob_drop('once')");

# A command that ends its executor is given up after three.
$braid->sql(q{SELECT pgjob_create('fatal', NULL, 'SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(10)')});
$braid->sql("SELECT pgjob_run('fatal')");
$braid->until_sql("SELECT r.state || r.pickups FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'fatal'", 'lost3', 'a command that ends its executor is given up');

# Who has lost a run can't complete it.
$braid->sql("SELECT pgjob_create('claimed', NULL)");
my $first = $braid->sql("SELECT pgjob_run('claimed')");
my $session = $node->background_psql('postgres');
my ($run, $token) = split /\|/, $session->query_safe("SELECT run, token FROM pgjob_claim('{claimed}', 'one')") =~ s/.*?(\d+\|[-0-9a-f]{36}).*/$1/sr;
is($run, $first, 'claimed');
is($braid->sql("SELECT count(*) FROM pgjob_claim('{claimed}', 'two')"), '0', 'nobody else gets it');
is($braid->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 'pgbraid.job_runs'::regclass AND objid = $run"), '1', 'the lock of its session is to be seen');
$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.job_runs WHERE id = $run");
$braid->until_sql("SELECT string_agg(state, ' ' ORDER BY attempt) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'claimed'", 'lost ready',
	'a cut session loses its run, which is offered again');
$braid->refuses("SELECT pgjob_complete($run, '$token')", '55000', 'Roll back', 'it can\'t complete it any more');
$braid->refuses("SELECT pgjob_log($run, '$token', 'x')", '55000', 'Roll back', 'nor log');
is($braid->sql("SELECT pgjob_heartbeat($run, '$token')"), 'f', 'a heartbeat tells it');
is($braid->sql("SELECT pgjob_complete(run, token, 'fine') FROM pgjob_claim('{claimed}', 'two')"), '', 'another one completes it');
is($braid->sql("SELECT last_state FROM pgbraid.stat_job WHERE job = 'claimed'"), 'succeeded', 'once');

# In one transaction with its effects, or not at all.
$braid->sql("SELECT pgjob_run('claimed')");
is($braid->sql("BEGIN; SELECT pgjob_complete(run, token) FROM pgjob_claim('{claimed}', 'x'); ROLLBACK;
	SELECT r.state FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'claimed' ORDER BY r.id DESC LIMIT 1"), "\nready", 'a claim that is rolled back was none');
is($braid->sql("SELECT count(*) FROM pgjob_claim('{claimed}', 'y') c, pgjob_complete(c.run, c.token, error => 'no')"), '1', 'and the next one gets it');
is($braid->sql("SELECT last_state || last_error FROM pgbraid.stat_job WHERE job = 'claimed'"), 'failedno', 'an error');

# Behind a pool: the backend of a claim says nothing about its client.
$braid->sql(q{SELECT pgjob_create('pooled', NULL, options => '{"lease": "700 ms", "redeliveries": 0}'); SELECT pgjob_run('pooled')});
my $pool = $node->background_psql('postgres');
($run, $token) = split /\|/, $pool->query_safe("SELECT run, token FROM pgjob_claim('{pooled}', 'one')") =~ s/.*?(\d+\|[-0-9a-f]{36}).*/$1/sr;
is($braid->sql("SELECT liveness FROM pgbraid.job_runs WHERE id = $run"), 'lock', 'a session of its own');
is($braid->sql("SELECT pgjob_heartbeat($run, '$token')"), 't', 'a heartbeat through another backend');
is($braid->sql("SELECT liveness FROM pgbraid.job_runs WHERE id = $run"), 'lease', 'shows that a pool lies between: a lease from now on');
$braid->until_sql("SELECT state || ' ' || reason FROM pgbraid.job_runs WHERE id = $run", 'lost its worker was silent', 'which runs out');
$braid->sql("SELECT pgjob_run('pooled')");
($run, $token) = split /\|/, $pool->query_safe("SELECT run, token FROM pgjob_claim('{pooled}', 'another')") =~ s/.*?(\d+\|[-0-9a-f]{36}).*/$1/sr;
is($braid->sql("SELECT liveness FROM pgbraid.job_runs WHERE id = $run"), 'lease', 'so does another worker in the same backend');
$braid->sql("SELECT pgjob_complete($run, '$token')");
is($braid->sql("SELECT state FROM pgbraid.job_runs WHERE id = $run"), 'succeeded', 'it completes through any backend');
$pool->query_safe("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name ~ 'none'");

# Pick-up and execution take no longer than they may.
$braid->sql(q{SELECT pgjob_create('timed', NULL, timeout => '300 ms', pickup_timeout => '300 ms'); SELECT pgjob_run('timed')});
$braid->until_sql("SELECT last_state FROM pgbraid.stat_job WHERE job = 'timed'", 'expired', 'nobody picks it up');
$braid->sql("SELECT pgjob_run('timed')");
$pool->query_safe("SELECT run FROM pgjob_claim('{timed}', 'another', wait => '10 s')");
$braid->until_sql("SELECT r.state || ' ' || r.reason FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'timed' ORDER BY r.id DESC LIMIT 1",
	'failed timeout', 'nor longer than the timeout');

# A claim that waits is woken.
$braid->sql("SELECT pgjob_create('awaited', NULL)");
my $waiting = $node->background_psql('postgres');
$waiting->query_until(qr/begun/, "\\echo begun\nSELECT 'got ' || job FROM pgjob_claim('{awaited}', 'w', wait => '1 hour');\n");
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pgjob_claim%awaited%' AND wait_event_type = 'Extension'", '1');
$braid->sql("SELECT pgjob_run('awaited')");
$braid->until_sql("SELECT r.state FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'awaited'", 'running', 'a claim that waits gets the run');

# The history is locked: the rest goes on, and nothing is forgotten.
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK TABLE pgbraid.job_runs');
$braid->until_sql("SELECT last_sqlstate FROM pgbraid.stat_worker WHERE kind = 'scheduler'", '55P03', 'a lock on the history is told');
is($braid->sql("SELECT count(*) FROM pgbraid.stat_worker WHERE kind = 'scheduler' AND state = 'running'"), '1', 'the scheduler does not stop');
$braid->sql('SELECT pg_sleep(1.5)');	# times that come meanwhile
$locker->query_safe('COMMIT');
$braid->until_sql("SELECT last_error IS NULL FROM pgbraid.stat_worker WHERE kind = 'scheduler'", 't', 'all is well again');
my $now = $braid->sql("SELECT date_trunc('second', clock_timestamp())");
$braid->until_sql("SELECT max(r.due_at) > '$now' FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'second'");
is_gapless('second', 'every second has its row still');

# Downtime, under each policy.
$braid->sql(qq{SELECT pgjob_create('after $_', '* * * * * *', 'SELECT 1', misfire => '$_', options => '{"grace": "1 s"}')}) for qw(skip once all);
$braid->until_sql("SELECT min(succeeded) > 0 FROM pgbraid.stat_job WHERE job LIKE 'after%'");
$node->stop;
sleep 6;	# of downtime
$node->start;
$now = $braid->sql("SELECT date_trunc('second', clock_timestamp())");
$braid->until_sql("SELECT min(last_due_at) > '$now'::timestamptz + '1 s' FROM pgbraid.stat_job WHERE job LIKE 'after%'");
my %missed = map { split /\|/ } split /\n/, $braid->sql("SELECT substr(job, 7), missed FROM pgbraid.stat_job WHERE job LIKE 'after%'");
ok($missed{skip} >= 4 && $missed{once} == $missed{skip} - 1 && $missed{all} == 0, 'skip: those of the downtime are missed; once: but for one; all: none')
	|| diag(join ' ', %missed);
is_gapless("after $_", "$_: every second has its row") for qw(skip once all);
$braid->sql("SELECT pgjob_drop('after $_')") for qw(skip once all);

# The clock goes 8 hours ahead, and back. (The clock of the scheduler: that of the machine is not ours to set.)
$braid->sql(q{SELECT pgjob_create('hourly', '0 * * * *', 'SELECT 1', misfire => 'all');
	SELECT pgjob_create('latest', '0 * * * *', 'SELECT 1', misfire => 'all', overlap => 'replace')});
$braid->sql("ALTER SYSTEM SET pgbraid.job_clock_shift = '8 h'; SELECT pg_reload_conf()");
$braid->until_sql("SELECT count(*) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'hourly' AND r.state = 'succeeded'", '8', 'eight hours make eight runs');
$braid->until_sql("SELECT string_agg(r.state, ' ' ORDER BY r.due_at) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'latest'",
	join(' ', ('cancelled') x 7, 'succeeded'), 'or one, where each takes the place of the one before');
$braid->sql("ALTER SYSTEM RESET pgbraid.job_clock_shift; SELECT pg_reload_conf()");
$braid->sql("SELECT pgjob_create('witness', '1 second', 'SELECT 1')");
$braid->until_sql("SELECT succeeded > 1 FROM pgbraid.stat_job WHERE job = 'witness'");
is($braid->sql("SELECT count(*), count(DISTINCT due_at) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'hourly'"), '8|8', 'which do not come again when the clock is put right');
is($braid->sql("SELECT next_run_at > now() + interval '8 hours' FROM pgbraid.stat_job WHERE job = 'hourly'"), 't', 'the next one is the first after them');

# Promotion of a standby.
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'pgbraid'"), '0', 'nothing runs on a standby');
my $before = $braid->sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'witness'");
$braid->sql("SELECT pgjob_run('work', '{\"n\": -2}')");
$node->stop('immediate');
$standby->promote;
$braid->{node} = $node = $standby;
$braid->until_sql("SELECT succeeded > $before + 3 FROM pgbraid.stat_job WHERE job = 'witness'", 't', 'it takes over when it is promoted');
is_gapless('witness', 'every second has its row');
is($braid->sql("SELECT count(*) - count(DISTINCT n) FROM effects WHERE n <> -1"), '0', 'no effect is there twice');

done_testing();
