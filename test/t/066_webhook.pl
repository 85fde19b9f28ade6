# Runs that are sent to web servers.
use strict;
use warnings;

use Braid;
use Digest::SHA qw(hmac_sha256_hex);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebServer;

my $web = WebServer->new;
my $braid = Braid->new(nats => 0);
my $dead_port = PostgreSQL::Test::Cluster::get_free_port();

sub run_job { my ($job) = @_; return $braid->sql("SELECT pgjob_run('$job')"); }

sub is_run
{
	my ($run, $columns, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$braid->until_sql("SELECT concat_ws('|', $columns) = \$\$$expected\$\$ FROM pgbraid.job_runs WHERE id = $run", 't', $name)
		or diag($braid->sql("SELECT * FROM pgbraid.job_runs WHERE id = $run"));
	return;
}

sub is_last
{
	my ($job, $columns, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$braid->until_sql("SELECT concat_ws('|', $columns) = \$\$$expected\$\$ FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job"
		. " WHERE j.job = '$job' ORDER BY r.id DESC LIMIT 1", 't', $name)
		or diag($braid->sql("SELECT r.* FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = '$job'"));
	return;
}

# What can be written.
$braid->refuses(q{CREATE SERVER bad FOREIGN DATA WRAPPER pgbraid_webhook OPTIONS (url 'ftp://x/')}, 'HV024', 'https', 'a server is one of http or https');
$braid->refuses(q{CREATE SERVER bad FOREIGN DATA WRAPPER pgbraid_webhook OPTIONS (urk 'http://x/')}, 'HV00D', 'url', 'options have names');
$braid->refuses(q{SELECT pgjob_create('bad', NULL, options => '{"webhook": "app"}')}, '42704', 'CREATE SERVER', 'the server must exist');
$braid->sql("CREATE SERVER app FOREIGN DATA WRAPPER pgbraid_webhook OPTIONS (url '" . $web->url . q{');
	CREATE USER MAPPING FOR CURRENT_USER SERVER app OPTIONS (secret 'k1')});
$braid->refuses(q{SELECT pgjob_create('bad', NULL, options => '{"webhook": {"server": "app", "path": "no"}}')}, '22023', 'path', 'a path begins with a slash');
$braid->sql('CREATE ROLE guest; GRANT USAGE ON SCHEMA pgbraid TO guest; GRANT ALL ON ALL TABLES IN SCHEMA pgbraid TO guest;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgbraid, public TO guest');
$braid->refuses(q{SET ROLE guest; SELECT pgjob_create('bad', NULL, options => '{"webhook": "app"}')}, '42501', 'GRANT USAGE', 'and one needs the right to use it');

# One request.
$braid->sql(q{SELECT pgjob_create('hook', NULL, payload => '{"n": 1}', options => '{"webhook": {"server": "app", "path": "/jobs?x=1"}}')});
my $run = run_job('hook');
is_run($run, 'state, output, pickups, liveness', "succeeded|done $run|1|lease", 'a run is sent, and the answer is its output');
my ($request) = $web->requests;
is("$request->{method} $request->{path}", 'POST /jobs?x=1', 'to the path of the job');
my $body = decode_json($request->{body});
is("$body->{v} $body->{run} $body->{job} $body->{payload}{n} $body->{attempt}", "1 $run hook 1 1", 'with all that is needed');
my $headers = $request->{headers};
is($headers->{'content-type'}, 'application/json', 'as JSON');
is("$headers->{'x-pgbraid-run'} $headers->{'x-pgbraid-attempt'}", "$run 1", 'numbers are in headers');
is($headers->{'x-schedo-signature'}, hmac_sha256_hex($request->{body}, 'k1'), 'the body is signed');
my ($time, $signature) = $headers->{'x-pgbraid-signature'} =~ /^t=(\d+),v1=([0-9a-f]{64})$/;
is($signature, hmac_sha256_hex("$time.$request->{body}", 'k1'), 'and with the time');
cmp_ok(abs(time - $time), '<', 300, 'which is that of sending');

# Answers.
sub make { my ($job, $path, $more) = @_; return $braid->sql("SELECT pgjob_create('$job', NULL, retry_delay => '0', "
	. ($more ? "$more, " : '') . "options => '{\"webhook\": {\"server\": \"app\", \"path\": \"$path\"}}')"); }
make('broken', '/status/500', 'retries => 2');
$run = run_job('broken');
is_last('broken', 'r.state, attempt, sqlstate, error', 'failed|3|HV000|the webhook answered with status 500', 'a run that fails is tried again');
is(join(' ', map { $_->{headers}{'x-pgbraid-attempt'} } grep { $_->{path} eq '/status/500' } $web->requests), '1 2 3', 'as often as the job says');
make('moved', '/redirect');
is_run(run_job('moved'), 'state, error', 'failed|the webhook answered with status 302', 'redirects are not followed');
is(scalar(grep { $_->{path} eq '/elsewhere' } $web->requests), 0, 'really not');
make('large', '/large');
is_run(run_job('large'), 'state, length(output)', 'succeeded|65536', 'a large answer is cut');
make('binary', '/binary');
is_run(run_job('binary'), 'state, output', "succeeded|a b\x{ef}\x{bf}\x{bd}", 'one that is no text is made one');
make('slow', '/slow', q{timeout => '500 ms'});
is_run(run_job('slow'), 'state, sqlstate, reason', 'failed|57014|timeout', 'a server that does not answer in time has failed');
$braid->sql("CREATE SERVER dead FOREIGN DATA WRAPPER pgbraid_webhook OPTIONS (url 'http://127.0.0.1:$dead_port')");
$braid->sql(q{SELECT pgjob_create('dead', NULL, options => '{"webhook": "dead"}')});
is_run(run_job('dead'), 'state, sqlstate', 'failed|08001', 'as has one that is not there');
is(scalar(grep { !exists $_->{headers}{'x-pgbraid-signature'} } $web->requests), 0, 'all is signed');
$braid->sql(q{DROP USER MAPPING FOR CURRENT_USER SERVER app});
is_run(run_job('hook'), 'state', 'succeeded', 'without a secret');
is(scalar(grep { !exists $_->{headers}{'x-pgbraid-signature'} } $web->requests), 1, 'nothing is signed');

# Rights and servers that go away.
$braid->sql(q{GRANT USAGE ON FOREIGN SERVER app TO guest; UPDATE pgbraid.jobs SET owner = 'guest', run_as = 'guest' WHERE job = 'hook'});
is_run(run_job('hook'), 'state', 'succeeded', 'an owner with the right');
$braid->sql('REVOKE USAGE ON FOREIGN SERVER app FROM guest');
is_run(run_job('hook'), 'state, sqlstate', 'failed|42501', 'without it nothing is sent');
$braid->sql('DROP SERVER dead');
is_run(run_job('dead'), 'state, sqlstate', 'failed|42704', 'nor to a server that was dropped');

# Many, with as many at a time as the setting says, and a dispatcher that goes away.
$braid->sql(q{ALTER SYSTEM SET pgbraid.job_dispatches = 20; SELECT pg_reload_conf(); });
make('many', '/many');
$braid->sql(q{SELECT count(pgjob_run('many')) FROM generate_series(1, 300)});
$braid->until_sql(q{SELECT count(*) FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'many' AND r.state = 'succeeded'}, '300', 'many');
my %times;
$times{ $_->{headers}{'x-pgbraid-run'} }++ for grep { $_->{path} eq '/many' } $web->requests;
is(scalar(keys %times) . ' ' . scalar(grep { $_ > 1 } values %times), '300 0', 'each was sent once');
make('hangs', '/slow', q{timeout => '1 h'});
$run = run_job('hangs');
is_run($run, 'state', 'running', 'one that takes long');
$braid->sql("SELECT pgjob_cancel($run)");
is_run(run_job('large'), 'state', 'succeeded', 'one after it');
is_run($run, 'state', 'cancelled', 'can be cancelled');
$run = run_job('hangs');
is_run($run, 'state', 'running', 'another one');
$braid->sql(q{SELECT pg_terminate_backend(pid) FROM pgbraid.stat_worker WHERE kind = 'dispatcher'});
is_run($run, 'state, reason', 'lost|the dispatcher that sent it is gone', 'whose dispatcher goes away is lost');
is_last('hangs', 'r.state, attempt', 'running|2', 'and sent again');

done_testing();
