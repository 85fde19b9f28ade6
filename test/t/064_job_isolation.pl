# Jobs of one role are no way to become another, and one that is broken or in somebody's hands holds up no others.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new(nats => 0);

# As a role that has jobs of its own; what psql says of it.
sub as_joe
{
	my ($sql) = @_;
	my ($status, $out, $err) = $braid->node->psql('postgres', "SET ROLE joe; $sql", on_error_stop => 1, extra_params => ['-q']);
	return $status == 0 ? $out : $err;
}

sub run_and_wait
{
	my ($job) = @_;
	my $run = $braid->sql("SELECT pgjob_run('$job')");
	$braid->until_sql("SELECT finished_at IS NOT NULL FROM pgbraid.job_runs WHERE id = $run");
	return $run;
}

$braid->sql(q{CREATE ROLE joe; SELECT pgjob_grant('joe'); CREATE SCHEMA joe AUTHORIZATION joe; CREATE TABLE joe.who (name text); ALTER TABLE joe.who OWNER TO joe});

# Operators of his own, in the path of what runs as the owner.
as_joe(q{CREATE FUNCTION joe.eq(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN INSERT INTO joe.who VALUES (current_user); RETURN true; END$$;
	CREATE OPERATOR joe.= (leftarg = bigint, rightarg = bigint, function = joe.eq);
	CREATE FUNCTION joe.gt(int, int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN INSERT INTO joe.who VALUES (current_user); RETURN true; END$$;
	CREATE OPERATOR joe.> (leftarg = int, rightarg = int, function = joe.gt);
	SELECT pgjob_create('claimed', NULL); SELECT pgjob_run('claimed')});
is(as_joe(q{SET search_path = joe, pg_catalog; SELECT public.pgjob_complete(run, token) FROM public.pgjob_claim('{claimed}', 'w')}), '', 'completed under a search_path of evil operators');
is($braid->sql('SELECT count(*) FROM joe.who'), '0', 'none of which was called');
is($braid->sql(q{SELECT pgjob_create('evil', NULL, 'SET search_path = joe, pg_catalog', run_as => 'joe')}) > 0, 1);
run_and_wait('evil');
is($braid->sql('SELECT count(*) FROM joe.who'), '0', 'nor for what a command leaves behind');

# A deferred trigger that puts off again.
$braid->sql(q{SET ROLE joe; CREATE TABLE joe.one (x int); CREATE TABLE joe.two (x int);
	CREATE FUNCTION joe.note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO joe.who VALUES (current_user); RETURN NULL; END$$;
	CREATE FUNCTION joe.again() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO joe.two VALUES (1); RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER t AFTER INSERT ON joe.one DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION joe.again();
	CREATE CONSTRAINT TRIGGER t AFTER INSERT ON joe.two DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION joe.note();
	RESET ROLE; SELECT pgjob_create('deferred', NULL, 'INSERT INTO joe.one VALUES (1)', run_as => 'joe')});
run_and_wait('deferred');
is($braid->sql("SELECT string_agg(name, ',') FROM joe.who"), 'joe', 'a trigger that is put off twice runs as the role');

# What a command sets does not change what we do.
$braid->sql(q{SELECT pgjob_create('before', NULL, 'SET session_replication_role = replica');
	SELECT pgjob_create('behind', NULL, 'SELECT 1', options => '{"after": "before"}')});
run_and_wait('before');
$braid->until_sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'behind'", '1', 'triggers of ours fire after session_replication_role = replica');

# Rows of his own jobs, written by hand.
my $mine = $braid->sql("SELECT id FROM pgbraid.jobs WHERE job = 'claimed'");
for my $sql ("INSERT INTO pgbraid.job_runs (id, job, due_at, origin, state, handler, run_at) VALUES (9223372036854775807, $mine, now(), 'request', 'ready', 'claim', now())",
	"INSERT INTO pgbraid.job_runs (job, due_at, origin, state, handler, run_at, liveness) SELECT $mine, now() + g * interval '1 s', 'request', 'running', 'claim', now(), 'lock' FROM generate_series(1, 10) g",
	"UPDATE pgbraid.job_runs SET sqlstate = repeat('x', 9000)", "UPDATE pgbraid.job_runs SET state = 'ready'", "UPDATE pgbraid.job_runs SET attempt = 2147483647",
	"UPDATE pgbraid.job_runs SET run_at = 'infinity'")
{
	like(as_joe($sql), qr/ERROR:  runs are (made|changed) by/, substr($sql, 0, 60) . '... is refused');
}
$braid->sql("SELECT pgjob_create('not_his', NULL)");
$braid->sql('GRANT pg_monitor TO joe');
is(as_joe("SELECT count(*) FROM pgbraid.jobs WHERE job = 'not_his'"), '1', 'pg_monitor sees the jobs of all');
like(as_joe("SELECT pgjob_run('not_his')"), qr/row-level security/, 'and can run none of them');
$braid->sql("SELECT pgjob_run('not_his')");
is(as_joe("SELECT count(*) FROM pgjob_claim('{not_his}', 'joe')"), '0', 'or claim');
is(as_joe("UPDATE pgbraid.job_runs SET cancel_requested = true WHERE job <> $mine RETURNING 1"), '', 'or cancel');

# A job in somebody's hands.
$braid->sql(q{SELECT pgjob_create(name, '* * * * * *', 'SELECT 1', options => '{"grace": "30 s"}') FROM unnest('{held,free}'::text[]) name});
$braid->until_sql("SELECT min(succeeded) > 0 FROM pgbraid.stat_job WHERE job IN ('held', 'free')");
my $holder = $braid->node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe("UPDATE pgbraid.job_progress p SET failures = 0 FROM pgbraid.jobs j WHERE j.id = p.job AND j.job = 'held'");
my $before = $braid->sql("SELECT succeeded FROM pgbraid.stat_job WHERE job = 'free'");
$braid->until_sql("SELECT succeeded > $before + 3 FROM pgbraid.stat_job WHERE job = 'free'", 't', 'while one job is locked the others run');
is($braid->sql("SELECT missed FROM pgbraid.stat_job WHERE job = 'free'"), '0', 'none of their times is missed');
$holder->query_safe('COMMIT');
my $now = $braid->sql('SELECT clock_timestamp()');
$braid->until_sql("SELECT max(due_at) > '$now' FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'held'");
for my $job (qw(held free))
{
	is($braid->sql("SELECT count(*) - 1 = round(extract(epoch FROM max(r.due_at) - min(r.due_at))) AND count(*) = count(DISTINCT r.due_at)
		FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = '$job' AND r.due_until IS NULL"), 't', "$job: every second has its row");
}

# A run whose end is in somebody's hands holds up no other end.
$braid->sql(q{SELECT pgjob_create('late ' || n, NULL, pickup_timeout => '300 ms') FROM generate_series(1, 2) n});
$holder->query_safe('BEGIN');
$holder->query_safe("UPDATE pgbraid.job_progress p SET failures = 0 FROM pgbraid.jobs j WHERE j.id = p.job AND j.job = 'late 1'");
$braid->sql("SELECT pgjob_run('late 1'); SELECT pgjob_run('late 2')");
$braid->until_sql("SELECT last_state FROM pgbraid.stat_job WHERE job = 'late 2'", 'expired', 'while the end of one run has to wait others end');
$holder->query_safe('COMMIT');
$braid->until_sql("SELECT last_state FROM pgbraid.stat_job WHERE job = 'late 1'", 'expired', 'which then ends, too');

# Values at the edge.
for my $arguments ("jitter => '300000 years'", "timeout => '300000 years'", "retry_delay => '178000000 years'", "options => '{\"grace\": \"300000 years\"}'",
	"options => '{\"keep\": \"10000 years\"}'", "options => '{\"starts_at\": \"infinity\"}'", "retries => 2147483647")
{
	$braid->refuses("SELECT pgjob_create('edge', '\@daily', 'SELECT 1', $arguments)", '22023', '', "refused: $arguments");
}
$braid->sql(q{SET datestyle = 'DMY'; SET timezone = 'Asia/Tokyo'; SELECT pgjob_create('dated', '* * * * * *', 'SELECT 1', options => '{"starts_at": "13/02/2020 10:00"}')});
is($braid->sql("SELECT options->>'starts_at' FROM pgbraid.jobs WHERE job = 'dated'"), '2020-02-13T01:00:00.000000Z', 'a moment is kept as its session reads it');
$braid->until_sql("SELECT succeeded > 0 FROM pgbraid.stat_job WHERE job = 'dated'", 't', 'and followed');

# Without the library preloaded there is an error, and no crash.
my $bare = Braid->new(nats => 0, preload => 0);
$bare->refuses($_, '55000', 'shared_preload_libraries', "$_ needs the library preloaded")
	for "SELECT pgbraid.await_ready('1 s')", 'SELECT pgbraid.held_runs()', "SELECT pgbraid.hold_run(1, 'w')";
is($bare->sql('SELECT 1'), '1', 'the server lives');

done_testing();
