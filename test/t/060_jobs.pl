# What a job does: when it runs, as whom, what is kept of it, and what its end leads to.
use strict;
use warnings;

use Braid;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(nats => 0, conf => "max_prepared_transactions = 2\n");
my $seconds = $PostgreSQL::Test::Utils::timeout_default;

# The states of a job's runs, in order.
sub states
{
	my ($job) = @_;
	return $braid->sql("SELECT string_agg(r.state, ' ' ORDER BY r.due_at, r.serial, r.attempt)
		FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = '$job'");
}

sub until_states
{
	my ($job, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $braid->until_sql("SELECT string_agg(r.state, ' ' ORDER BY r.due_at, r.serial, r.attempt)
		FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = '$job'", $expected, $name)
		|| diag(states($job));
}

# A column of a job's latest run.
sub last_run
{
	my ($job, $column) = @_;
	return $braid->sql("SELECT $column FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = '$job'
		ORDER BY r.id DESC LIMIT 1");
}

sub run_and_wait
{
	my ($job) = @_;
	my $run = $braid->sql("SELECT pgjob_run('$job')");
	$braid->until_sql("SELECT finished_at IS NOT NULL FROM pgbraid.job_runs WHERE id = $run");
	return $run;
}

# On a schedule.
$braid->sql("CREATE TABLE ticks (due timestamptz, at timestamptz DEFAULT clock_timestamp());
	SELECT pgjob_create('tick', '1 second', 'INSERT INTO ticks VALUES (\$3)')");
$braid->until_sql('SELECT count(*) >= 3 FROM ticks');
is($braid->sql("SELECT count(*) FROM (SELECT due - lag(due) OVER (ORDER BY due) AS step FROM ticks) t WHERE step <> '1 s'"), '0',
	'a job every second is due every second, to the microsecond');
is($braid->sql('SELECT count(*) FROM ticks WHERE at < due'), '0', 'and never early');
is($braid->sql("SELECT count(*) FROM ticks t WHERE NOT EXISTS (SELECT FROM pgbraid.job_runs r WHERE r.due_at = t.due AND r.attempt = 1)"), '0',
	'each time has its row');
$braid->sql("SELECT pgjob_pause('tick')");
$braid->until_sql("SELECT running + ready + waiting FROM pgbraid.stat_job WHERE job = 'tick'", '0');
my $ticks = $braid->sql('SELECT count(*) FROM ticks');
$braid->sql('SELECT pg_sleep(1.2)');	# what must not happen has no condition to wait for
is($braid->sql('SELECT count(*) FROM ticks'), $ticks, 'a paused one does not run');
is($braid->sql("SELECT state || coalesce(next_run_at::text, '') FROM pgbraid.stat_job WHERE job = 'tick'"), 'paused', 'and says so');
run_and_wait('tick');
is($braid->sql('SELECT count(*) FROM ticks'), $ticks + 1, 'but for when it is asked to');
$braid->sql("SELECT pgjob_resume('tick')");
$braid->until_sql("SELECT count(*) > $ticks + 2 FROM ticks");
is($braid->sql("SELECT count(*) FROM pgbraid.job_runs WHERE state = 'missed'"), '0', 'times of the pause are no times');
$braid->sql("SELECT pgjob_drop('tick')");
is($braid->sql('SELECT count(*) FROM pgbraid.job_runs'), '0', 'a dropped job leaves nothing');

# What a command is given, and what is kept of it.
$braid->sql(q{SELECT pgjob_create('see', NULL, $$SELECT $1->>'a' || $2, 'other' FROM generate_series(1, 3)$$, payload => '{"a": "x"}')});
run_and_wait('see');
is(last_run('see', "state || ' ' || rows || ' ' || output"), 'succeeded 3 x1', 'payload and attempt; rows and the first value');
$braid->sql(q{SELECT pgjob_run('see', '{"a": "y"}')});
until_states('see', 'succeeded succeeded');
is(last_run('see', 'output'), 'y1', 'a payload of its own');
$braid->sql(q{SELECT pgjob_create('say', NULL, $$DO 'BEGIN RAISE NOTICE ''one''; RAISE WARNING ''two''; RAISE DEBUG ''three''; END'$$)});
run_and_wait('say');
is(last_run('say', 'log'), "NOTICE: one\nWARNING: two\n", 'notices');
$braid->sql(q{SELECT pgjob_create('long', NULL, $$DO 'BEGIN RAISE NOTICE ''%'', repeat(''é'', 50000); END'; SELECT repeat('é', 50000)$$)});
run_and_wait('long');
is(last_run('long', "length(output) || ' ' || (length(log) BETWEEN 32000 AND 32780)"), '32768 true', 'cut at 64 kB, between characters');
$braid->sql(q{SELECT pgjob_create('fail', NULL, 'SELECT 1; SELECT 1/0')});
run_and_wait('fail');
is(last_run('fail', "state || ' ' || sqlstate || ' ' || error"), 'failed 22012 division by zero', 'an error');
is($braid->sql("SELECT last_state || ' ' || failed || ' ' || failures_in_a_row FROM pgbraid.stat_job WHERE job = 'fail'"), 'failed 1 1', 'stat_job');

# All or nothing.
$braid->sql("CREATE TABLE effects (x int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
$braid->sql("SELECT pgjob_create('deferred', NULL, 'INSERT INTO effects VALUES (1), (1)')");
run_and_wait('deferred');
is(last_run('deferred', "state || ' ' || sqlstate"), 'failed 23505', 'a deferred constraint is the command\'s own');
is($braid->sql('SELECT count(*) FROM effects'), '0', 'nothing stays of what failed');
$braid->sql("SELECT pgjob_create('commit', NULL, 'COMMIT')");
run_and_wait('commit');
like(last_run('commit', 'error'), qr/can't begin or end transactions.*HINT: .*"transaction": false/s, 'COMMIT is refused with what to do');
$braid->sql("SELECT pgjob_create('vacuum', NULL, 'VACUUM effects')");
run_and_wait('vacuum');
like(last_run('vacuum', "sqlstate || error"), qr/^25001.*HINT: .*"transaction": false/s, 'so is VACUUM');
$braid->sql(q{SELECT pgjob_alter('vacuum', options => '{"transaction": false}')});
run_and_wait('vacuum');
is(last_run('vacuum', 'state'), 'succeeded', 'which runs outside of a transaction');
$braid->sql(q{CREATE PROCEDURE steps() LANGUAGE plpgsql AS $$BEGIN INSERT INTO effects VALUES (7); COMMIT; INSERT INTO effects VALUES (8); RAISE EXCEPTION 'enough'; END$$;
	SELECT pgjob_create('steps', NULL, 'CALL steps()', options => '{"transaction": false}')});
run_and_wait('steps');
is(last_run('steps', "state || ' ' || error") . $braid->sql('SELECT x FROM effects'), 'failed enough7', 'a procedure commits what it commits');
$braid->sql(q{SELECT pgjob_create('open', NULL, 'BEGIN; INSERT INTO effects VALUES (9)', options => '{"transaction": false}')});
run_and_wait('open');
is(last_run('open', "state") . $braid->sql('SELECT count(*) FROM effects'), 'failed1', 'a transaction left open is an error, and undone');

# Other databases.
$braid->sql('CREATE DATABASE elsewhere');
$braid->sql(q{SELECT pgjob_create('elsewhere', NULL, 'CREATE TABLE here AS SELECT current_database()', database => 'elsewhere')});
run_and_wait('elsewhere');
is($braid->sql('SELECT * FROM here', dbname => 'elsewhere'), 'elsewhere', 'a command runs in another database');
$braid->sql('DROP DATABASE elsewhere');
run_and_wait('elsewhere');
like(last_run('elsewhere', "state || sqlstate || error"), qr/^failed3D000database "elsewhere" does not exist.*HINT/s, 'which may be gone');

# Other encodings: text is converted on its way to another process and back.
my %commands = (gut => q{DO $do$BEGIN RAISE NOTICE '%', current_setting('my.word'); END$do$; SELECT 'größe ' || ($1->>'a')}, 'übel' => 'SELECT "ä"');
my $options = '{"transaction": false, "settings": {"my.word": "äß"}}';
$braid->sql("CREATE DATABASE $_ ENCODING '$_' LOCALE 'C' TEMPLATE template0") for qw(latin1 utf8);
for my $home (qw(latin1 utf8))
{
	my @in = (dbname => $home);
	my $utf8 = "SET client_encoding = 'UTF8'";
	$braid->sql('CREATE EXTENSION pgbraid', @in);
	for my $job (sort keys %commands)
	{
		$braid->sql("$utf8; SELECT pgjob_create('$job ' || place, NULL, \$x\$$commands{$job}\$x\$, database => nullif(place, 'here'),
			payload => '{\"a\": \"señor\"}', options => '$options') FROM unnest('{here,latin1,utf8}'::text[]) place", @in);
	}
	$braid->sql("SELECT pgjob_create('from euro', NULL, 'SELECT chr(8364)', database => 'utf8'); SELECT pgjob_run(job) FROM pgbraid.jobs", @in);
	$braid->until_sql('SELECT count(*) FROM pgbraid.job_runs WHERE finished_at IS NULL', '0', undef, @in);
	my $results = "$utf8; SELECT DISTINCT concat_ws(' ', r.state, r.output, r.sqlstate, r.error, r.log) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job LIKE";
	is($braid->sql("$results 'gut %'", @in), "succeeded größe señor NOTICE: äß\n", "$home: command, payload, settings, output and log");
	is($braid->sql("$results 'übel %'", @in), 'failed 42703 column "ä" does not exist', "$home: an error");
	like($braid->sql("$results 'from euro'", @in), $home eq 'utf8' ? qr/^succeeded €$/ : qr/^failed 22P05 character .* has no equivalent in encoding "LATIN1"$/,
		"$home: a character that the one has and the other has not");
}
$braid->sql(q{SET client_encoding = 'UTF8'; SELECT pgjob_create('to euro', NULL, 'SELECT $1', database => 'latin1', payload => '{"a": "€"}'); SELECT pgjob_run('to euro')}, dbname => 'utf8');
$braid->until_sql("SELECT last_error FROM pgbraid.stat_job WHERE job = 'to euro'", 'character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent in encoding "LATIN1"',
	'and the other way round', dbname => 'utf8');
$braid->sql('DROP DATABASE latin1; DROP DATABASE utf8');

# As whom.
$braid->sql(q{CREATE ROLE joe; CREATE ROLE sue LOGIN; ALTER ROLE joe SET work_mem = '7MB'; ALTER ROLE joe IN DATABASE postgres SET work_mem = '9MB';
	SELECT pgjob_create('who', NULL, $$SELECT current_user || session_user || current_setting('work_mem') || current_setting('search_path')$$,
		run_as => 'joe', options => '{"settings": {"search_path": "a, b"}}')});
run_and_wait('who');
is(last_run('who', 'output'), 'joejoe9MBa, b', 'the role, its settings, and those of the job');
for my $escape ('RESET ROLE', 'SET ROLE postgres', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres', "SET log_min_messages = error",
	"SELECT set_config('role', 'postgres', false)", "DO 'BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN RESET SESSION AUTHORIZATION; END'")
{
	$braid->sql("SELECT pgjob_create('who', NULL, \$x\$$escape\$x\$, run_as => 'joe')");
	run_and_wait('who');
	like(last_run('who', "state || sqlstate"), qr/^failed42501/, "no way out: $escape");
}
# What is put off until the commit must not run as somebody else.
$braid->sql(q{CREATE TABLE as_whom (who text); GRANT INSERT ON as_whom TO joe; CREATE TABLE trap (x int); GRANT INSERT ON trap TO joe;
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO as_whom VALUES (current_user); RETURN NULL; END$$;
	CREATE FUNCTION spell() RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO as_whom VALUES (current_user); RETURN 1; END$$;
	CREATE CONSTRAINT TRIGGER note AFTER INSERT ON trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
	SELECT pgjob_create('who', NULL, 'INSERT INTO trap VALUES (1); DECLARE c CURSOR WITH HOLD FOR SELECT spell()', run_as => 'joe')});
run_and_wait('who');
is(last_run('who', 'state') . $braid->sql("SELECT string_agg(who, ',') FROM as_whom"), 'succeededjoe', 'deferred triggers run as the role, cursors are closed');
# The session is as good as new.
$braid->sql(q{ALTER SYSTEM SET pgbraid.job_executors = 1; SELECT pg_reload_conf();
	SELECT pgjob_create('litter', NULL, $$SET work_mem = '1MB'; CREATE TEMP TABLE z AS SELECT 1; PREPARE p AS SELECT 1; SELECT pg_advisory_lock(42); LISTEN x$$)});
$braid->sql(q{SELECT pg_terminate_backend(pid) FROM pgbraid.stat_worker WHERE kind = 'executor' AND object <> 'postgres 1'});
$braid->until_sql(q{SELECT count(*) FROM pgbraid.stat_worker WHERE kind = 'executor' AND pid IS NOT NULL}, '1');
run_and_wait('litter');
$braid->sql(q{SELECT pgjob_create('clean', NULL, $$SELECT current_setting('work_mem') || coalesce(to_regclass('pg_temp.z')::text, '') ||
	(SELECT count(*) FROM pg_prepared_statements WHERE name = 'p') || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42) ||
	(SELECT count(*) FROM pg_listening_channels())$$)});
run_and_wait('clean');
is(last_run('clean', 'output'), '4MB000', 'a command finds nothing of the one before');
is($braid->sql("SELECT count(DISTINCT worker) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job IN ('litter', 'clean')"), '1',
	'though the same process executed both');
$braid->sql('ALTER SYSTEM RESET pgbraid.job_executors; SELECT pg_reload_conf()');

# Timeouts and cancelling.
$braid->sql(q{SELECT pgjob_create('slow', NULL, 'SELECT pg_sleep(1000)', timeout => '300 ms')});
run_and_wait('slow');
is(last_run('slow', "state || ' ' || sqlstate"), 'failed 57014', 'a timeout');
for my $options ('{}', '{"transaction": false}')
{
	$braid->sql("SELECT pgjob_create('endless', NULL, 'SELECT pg_sleep(1000)', options => '$options')");
	my $run = $braid->sql("SELECT pgjob_run('endless')");
	$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1000)' AND wait_event = 'PgSleep'", '1');
	is($braid->sql("SELECT pgjob_cancel($run)"), 't', "cancelled: $options");
	$braid->until_sql("SELECT state FROM pgbraid.job_runs WHERE id = $run", 'cancelled', 'what is executed ends');
	$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1000)' AND state = 'active'", '0', 'and its statement with it');
	is($braid->sql("SELECT pgjob_cancel($run)"), 'f', 'once');
}
my $later = $braid->sql("SELECT pgjob_run('endless', run_at => now() + interval '1 day')");
is($braid->sql("SELECT state FROM pgbraid.job_runs WHERE id = $later"), 'waiting', 'a run for later waits');
$braid->sql("SELECT pgjob_cancel($later)");
is($braid->sql("SELECT state FROM pgbraid.job_runs WHERE id = $later"), 'cancelled', 'what waits, at once');

# What is cancelled in a transaction is cancelled when that commits.
my $gate = $braid->node->background_psql('postgres');
$braid->sql("SELECT pgjob_create('gated', NULL, 'SELECT pg_advisory_xact_lock(77)')");
sub begin_gated
{
	$gate->query_safe('SELECT pg_advisory_lock(77)');
	my $run = $braid->sql("SELECT pgjob_run('gated')");
	$braid->until_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted", '1');
	return $run;
}
sub end_gated
{
	my ($run, $expected, $name) = @_;
	$gate->query_safe('SELECT pg_advisory_unlock(77)') if $expected eq 'succeeded';
	$braid->until_sql("SELECT state FROM pgbraid.job_runs WHERE id = $run AND finished_at IS NOT NULL", $expected, $name);
	$gate->query_safe('SELECT pg_advisory_unlock(77)') if $expected ne 'succeeded';
	return;
}
my $gated = begin_gated();
$braid->sql("BEGIN; SELECT pgjob_cancel($gated); ROLLBACK");
$braid->sql("BEGIN; SAVEPOINT a; SELECT pgjob_cancel($gated); ROLLBACK TO a; COMMIT");
$braid->sql("BEGIN; SAVEPOINT a; SAVEPOINT b; SELECT pgjob_cancel($gated); RELEASE b; ROLLBACK TO a; COMMIT");
$braid->sql("DO \$\$BEGIN PERFORM pgjob_cancel($gated); RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END\$\$");
$braid->sql("BEGIN; SELECT pgjob_cancel($gated); PREPARE TRANSACTION 'undone'");
$braid->sql("ROLLBACK PREPARED 'undone'");
end_gated($gated, 'succeeded', 'a run goes on when its cancelling is rolled back, or a savepoint before it');
my %cancels = ('released savepoint' => 'BEGIN; SAVEPOINT a; SELECT pgjob_cancel(%d); RELEASE a; COMMIT',
	'savepoint beside it' => 'BEGIN; SELECT pgjob_cancel(%d); SAVEPOINT a; ROLLBACK TO a; COMMIT',
	'savepoint that was rolled back before' => 'BEGIN; SAVEPOINT a; SELECT pgjob_cancel(%1$d); ROLLBACK TO a; SELECT pgjob_cancel(%1$d); COMMIT',
	'prepared transaction' => "BEGIN; SELECT pgjob_cancel(%d); PREPARE TRANSACTION 'done'; COMMIT PREPARED 'done'");
for my $way (sort keys %cancels)
{
	my $run = begin_gated();
	$braid->sql(sprintf $cancels{$way}, $run);
	end_gated($run, 'cancelled', "cancelled: $way");
}

# Retries.
$braid->sql(q{CREATE SEQUENCE tries;
	SELECT pgjob_create('flaky', NULL, $$SELECT 1 / (nextval('tries') / 3)$$, retries => 5, retry_delay => '10 ms')});
$braid->sql("SELECT pgjob_run('flaky')");
until_states('flaky', 'failed failed succeeded', 'tried again until it succeeds');
is(last_run('flaky', 'attempt'), '3', 'attempts are counted');
$braid->sql(q{SELECT pgjob_create('hopeless', NULL, 'SELECT 1/0', retries => 5, retry_delay => '10 ms', options => '{"no_retry": ["22"]}')});
run_and_wait('hopeless');
is(states('hopeless'), 'failed', 'an error that no attempt will mend');
$braid->sql(q{SELECT pgjob_alter('hopeless', retries => 2, options => '{"no_retry": null, "retry_backoff": "exponential", "retry_delay_max": "20 ms"}')});
$braid->sql("SELECT pgjob_run('hopeless')");
until_states('hopeless', 'failed failed failed failed', 'retries come to an end');

# Alerts, and pause after failures.
my $listener = $braid->node->background_psql('postgres');
$listener->query_safe('LISTEN pgbraid_job_alerts');
$braid->sql(q{CREATE TABLE broken (); SELECT pgjob_create('moody', NULL, $$SELECT 1 / (SELECT count(*)::int FROM pg_class WHERE relname = 'fixed')$$, options => '{"pause_after_failures": 3}')});
run_and_wait('moody') for 1 .. 3;
is($braid->sql("SELECT state || ' ' || note FROM pgbraid.stat_job WHERE job = 'moody'"), 'paused paused after 3 failures in a row', 'three failures are enough');
$braid->sql("SELECT pgjob_resume('moody'); CREATE TABLE fixed ()");
run_and_wait('moody');
is($braid->sql("SELECT state || ' ' || failures_in_a_row FROM pgbraid.stat_job WHERE job = 'moody'"), 'idle 0', 'one that succeeds begins anew');
my @alerts = map { decode_json($_)->{event} } $listener->query_safe('SELECT 1') =~ /payload "(\{.*?\})" received/g;
is_deeply(\@alerts, [qw(failed paused)], 'listeners hear of the first failure and of the pause') || diag(explain(\@alerts));

# Idempotency keys, in the caller's transaction.
is($braid->sql("SELECT pgjob_run('see', idempotency_key => 'k') = pgjob_run('see', idempotency_key => 'k')"), 't', 'one key, one run');
$braid->sql("BEGIN; SELECT pgjob_run('see', idempotency_key => 'undone'); ROLLBACK");
is($braid->sql("SELECT count(*) FROM pgbraid.job_runs WHERE idempotency_key = 'undone'"), '0', 'a run that is rolled back never was');
my $moment = $braid->sql("SELECT clock_timestamp() + interval '700 ms'");
my $timed = $braid->sql("SELECT pgjob_run('see', run_at => '$moment')");
$braid->until_sql("SELECT state FROM pgbraid.job_runs WHERE id = $timed", 'succeeded');
is($braid->sql("SELECT started_at >= '$moment' FROM pgbraid.job_runs WHERE id = $timed"), 't', 'not before run_at');

# Chains: d after b and c, which are after a.
$braid->sql(q{CREATE TABLE chain (id serial, job text);
	SELECT pgjob_create('a', NULL, $$INSERT INTO chain (job) VALUES ('a')$$);
	SELECT pgjob_create('b', NULL, $$INSERT INTO chain (job) VALUES ('b')$$, options => '{"after": "a"}');
	SELECT pgjob_create('c', NULL, $$INSERT INTO chain (job) VALUES ('c')$$, options => '{"after": {"a": "always"}}');
	SELECT pgjob_create('d', NULL, $$INSERT INTO chain (job) VALUES ('d')$$, options => '{"after": ["b", "c"]}');
	SELECT pgjob_create('rescue', NULL, $$INSERT INTO chain (job) VALUES ('rescue')$$, options => '{"after": {"a": "failure"}}')});
$braid->sql("SELECT pgjob_run('a')");
until_states('d', 'succeeded');
like($braid->sql("SELECT string_agg(job, '' ORDER BY id) FROM chain"), qr/^a(bc|cb)d$/, 'each after those that it waits for, once');
$braid->sql("SELECT pgjob_create('a', NULL, 'SELECT 1/0')");
$braid->sql("SELECT pgjob_run('a')");
until_states('rescue', 'succeeded');
until_states('c', 'succeeded succeeded');
is($braid->sql("SELECT count(*) FROM chain WHERE job IN ('b', 'd')"), '2', 'what needs a success does not run');

# Limits: of a job, of a group, and priorities.
$braid->sql(q{CREATE TABLE levels (job text, level int);
	CREATE FUNCTION busy(name text) RETURNS void LANGUAGE plpgsql AS $$BEGIN
		INSERT INTO levels SELECT name, count(*) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE r.state = 'running' AND j.job LIKE name;
		PERFORM pg_sleep(0.02); END$$;
	SELECT pgjob_create('two', NULL, $$SELECT busy('two')$$, options => '{"concurrency": 2}');
	SELECT pgjob_create('group1', NULL, $$SELECT busy('group_')$$, options => '{"group": "g", "group_concurrency": 1}');
	SELECT pgjob_create('group2', NULL, $$SELECT busy('group_')$$, options => '{"group": "g"}')});
$braid->sql("SELECT pgjob_run('two'), pgjob_run('group1'), pgjob_run('group2') FROM generate_series(1, 15)");
$braid->until_sql("SELECT sum(succeeded) FROM pgbraid.stat_job WHERE job IN ('two', 'group1', 'group2')", '45');
is($braid->sql("SELECT max(level) FROM levels WHERE job = 'two'"), '2', 'as many at a time as the job allows');
is($braid->sql("SELECT max(level) FROM levels WHERE job = 'group_'"), '1', 'and the group');
$braid->sql(q{CREATE TABLE ordered (id serial, p int);
	SELECT pgjob_create('one', NULL, $$INSERT INTO ordered (p) VALUES (($1->>'p')::int)$$, options => '{"concurrency": 1}');
	SELECT pgjob_run('one', format('{"p": %s}', p)::jsonb, priority => p) FROM unnest('{1,3,2,5,4}'::int[]) p});
until_states('one', join(' ', ('succeeded') x 5));
is($braid->sql("SELECT string_agg(p::text, '' ORDER BY id) FROM ordered"), '54321', 'the greatest priority first');

# Overlap: 300 ms of work twice in that time.
my %expected = (allow => qr/^succeeded succeeded$/, skip => qr/^succeeded skipped/, queue_one => qr/^succeeded succeeded/, replace => qr/^cancelled/);
for my $policy (sort keys %expected)
{
	$braid->sql("SELECT pgjob_create('overlap $policy', '1 second', 'SELECT pg_sleep(1.3)', overlap => '$policy')");
}
for my $policy (sort keys %expected)
{
	my $query = "FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'overlap $policy' AND r.serial = 0";
	$braid->until_sql("SELECT count(*) FILTER (WHERE r.finished_at IS NOT NULL) >= 3 $query");
	my ($together, $skipped, $cancelled) = split /\|/, $braid->sql("SELECT
		(SELECT max((SELECT count(*) FROM pgbraid.job_runs o WHERE o.job = r.job AND o.started_at <= r.started_at AND coalesce(o.finished_at, 'infinity') > r.started_at)) $query),
		count(*) FILTER (WHERE r.state = 'skipped'), count(*) FILTER (WHERE r.state = 'cancelled') $query");
	my %fits = (allow => $together == 2 && !$skipped && !$cancelled, skip => $together == 1 && $skipped && !$cancelled,
		queue_one => $together == 1 && !$cancelled, replace => $together == 1 && $cancelled && !$skipped);
	ok($fits{$policy}, "overlap $policy: $together at a time, $skipped skipped, $cancelled cancelled");
	$braid->sql("SELECT pgjob_drop('overlap $policy')");
}

# Retention.
$braid->sql(q{SELECT pgjob_create('many', NULL, 'SELECT 1', options => '{"keep_runs": 5}'); SELECT pgjob_run('many') FROM generate_series(1, 30)});
$braid->until_sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'many'", '30');
$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_worker WHERE kind = 'scheduler'");
$braid->until_sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'many'", '5', 'so many are kept');

# Owners.
$braid->sql(q{CREATE ROLE owner1 LOGIN; CREATE ROLE owner2 LOGIN; CREATE ROLE team ROLE owner2; SELECT pgjob_grant('owner1'), pgjob_grant('owner2')});
sub as_owner
{
	my ($number, $sql) = @_;
	my ($status, $out, $err) = $braid->node->psql('postgres', "SET ROLE owner$number; $sql", on_error_stop => 1, extra_params => [ '-q' ]);
	return $status == 0 ? $out : $err =~ s/.*?ERROR:  ([^\n]*).*/$1/sr;
}
as_owner(1, "SELECT pgjob_create('own', NULL, 'SELECT current_user')");
as_owner(1, "SELECT pgjob_run('own')");
until_states('own', 'succeeded');
is(as_owner(1, 'SELECT string_agg(output, $$,$$) FROM pgbraid.job_runs'), 'owner1', 'an owner sees the runs of its jobs, and they run as the owner');
is(as_owner(2, 'SELECT count(*) FROM pgbraid.jobs') . as_owner(2, 'SELECT count(*) FROM pgbraid.job_runs') . as_owner(2, 'SELECT count(*) FROM pgbraid.stat_job'), '000', 'another one does not');
like(as_owner(2, "SELECT pgjob_run('own')"), qr/does not exist/, 'nor can run them');
like(as_owner(2, "SELECT pgjob_cancel(" . last_run('own', 'r.id') . ')'), qr/does not exist/, 'or cancel');
like(as_owner(2, "SELECT pgjob_create('own', NULL, 'SELECT 2')"), qr/belongs to somebody else/, 'or take their names');
like(as_owner(1, "SELECT pgjob_create('mine', NULL, 'SELECT 1', run_as => 'postgres')"), qr/permission denied to run a job as role postgres/, 'or become somebody else');
like(as_owner(1, "UPDATE pgbraid.jobs SET run_as = 'postgres'"), qr/permission denied/, 'not in the table, either');
like(as_owner(1, "UPDATE pgbraid.jobs SET owner = 'postgres'"), qr/can't belong to role/, 'nor give jobs away');
$braid->sql("UPDATE pgbraid.jobs SET owner = 'team', run_as = 'team' WHERE job = 'own'");
is(as_owner(2, 'SELECT job FROM pgbraid.jobs'), 'own', 'members of the owner are owners');
run_and_wait('own');
$braid->sql("UPDATE pgbraid.jobs SET owner = 'owner1', run_as = 'team' WHERE job = 'own'");
run_and_wait('own');
like(last_run('own', 'sqlstate || error'), qr/^42501.*may no longer act/, 'a job whose owner may no longer be that role fails');
$braid->sql('DROP ROLE team; SELECT 1');
run_and_wait('own');
like(last_run('own', 'sqlstate || error'), qr/^42704.*does not exist any more/, 'so does one whose role is gone');

# A copy of the database runs nothing until it is told to.
$braid->sql("SELECT pgjob_create('copied', '1 second', 'SELECT 1')");
$braid->until_sql("SELECT succeeded > 0 FROM pgbraid.stat_job WHERE job = 'copied'");
$braid->sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
$braid->sql('CREATE DATABASE twin TEMPLATE postgres');
is($braid->sql("SELECT state FROM pgbraid.stat_job WHERE job = 'copied'", dbname => 'twin'), 'copy', 'a copy knows that it is one');
$braid->refuses("SELECT pgjob_run('copied')", '55000', 'pgjob_resume', 'and refuses to run', dbname => 'twin');
my $copied = $braid->sql("SELECT count(*) FROM pgbraid.job_runs", dbname => 'twin');
$braid->sql("SELECT pgjob_resume('copied')", dbname => 'twin');
$braid->until_sql("SELECT count(*) > $copied FROM pgbraid.job_runs WHERE state = 'succeeded'", 't', 'until it is told to', dbname => 'twin');
my ($dump, $errors);
IPC::Run::run([ 'pg_dump', '-d', $braid->node->connstr('postgres') ], '>', \$dump, '2>', \$errors) or die $errors;
like($dump, qr/COPY pgbraid\.jobs .*\tcopied\t/s, 'pg_dump takes the jobs along');
unlike($dump, qr/COPY pgbraid\.job_runs/, 'and not their runs');

# Nothing is left when the extension goes.
$braid->sql('DROP EXTENSION pgbraid');
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'pgbraid (scheduler|executor)' AND datname = 'postgres'", '0', 'scheduler and executors leave with the extension');
done_testing();
