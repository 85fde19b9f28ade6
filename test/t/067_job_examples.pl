# The programs in examples/jobs, as users would start them.
use strict;
use warnings;

use Braid;
use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use HTTP::Tiny;
use IPC::Run;
use NatsServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Until;

my $examples = "$FindBin::Bin/../../examples/jobs";
my $nats = NatsServer->new(jetstream => 0);
my $braid = Braid->new(nats => $nats);
my @started;

sub start_example
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	push @started, IPC::Run::start(\@command, '<', \undef, '>', \$out, '2>', \$err);
	return;
}

sub is_executed
{
	my ($job, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $run = $braid->sql("SELECT pgjob_run('$job', '{\"who\": \"Ada\"}')");
	$braid->until_sql("SELECT concat_ws('|', state, output, error) = '$expected' FROM pgbraid.job_runs WHERE id = $run", 't', $name)
		or diag($braid->sql("SELECT * FROM pgbraid.job_runs WHERE id = $run"));
	return $run;
}

sub webhook
{
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	start_example('python3', "$examples/webhook.py", $port, 'hush');
	my $post = sub {
		my ($body, $signature) = @_;
		return HTTP::Tiny->new->post("http://127.0.0.1:$port/", { content => $body, headers => { 'x-pgbraid-signature' => $signature } })->{status};
	};
	until_true(sub { $post->('{}', '') == 401 }, 'webhook.py listens');
	$braid->sql("CREATE SERVER app FOREIGN DATA WRAPPER pgbraid_webhook OPTIONS (url 'http://127.0.0.1:$port/');
		CREATE USER MAPPING FOR CURRENT_USER SERVER app OPTIONS (secret 'hush')");
	$braid->sql(q{SELECT pgjob_create('hook', NULL, options => '{"webhook": "app"}')});
	is_executed('hook', 'succeeded|done: hook', 'webhook.py executes a run');
	my ($now, $old) = (time, time - 3600);
	my $body = '{"run":1,"job":"forged","payload":null}';
	is($post->($body, "t=$now,v1=" . hmac_sha256_hex("$now.$body", 'guess')), 401, 'not one that others signed');
	is($post->($body, "t=$old,v1=" . hmac_sha256_hex("$old.$body", 'hush')), 401, 'nor one that was signed long ago');
	return;
}
webhook();

sub reason_against_python
{
	return IPC::Run::run([ 'python3', '-c', 'import psycopg2' ], '>&', \my $ignored) ? undef : 'python3-psycopg2 is not installed';
}

SKIP:
{
	my $reason = reason_against_python();
	skip $reason, 2 if $reason;
	$braid->sql(q{CREATE TABLE greetings (who text); SELECT pgjob_create('python', NULL)});
	start_example('python3', "$examples/handler.py", $braid->node->connstr('postgres'), 'python');
	is_executed('python', 'succeeded|greeted Ada', 'handler.py executes a run');
	is($braid->sql('SELECT who FROM greetings'), 'Ada', 'and its effect is there');
}

sub reason_against_node
{
	my ($directory) = @_;
	return 'node is not installed' unless IPC::Run::run([ 'node', '--version' ], '>&', \my $ignored);
	return 'npm can not install nats' unless eval {
		IPC::Run::run([ 'npm', 'install', '--no-audit', '--no-fund', '--silent', '--prefix', $directory, 'nats@2' ], '<', \undef, '>&', \$ignored,
			IPC::Run::timeout(60));
	};
	return;
}

SKIP:
{
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my $reason = reason_against_node($directory);
	skip $reason, 2 if $reason;
	$braid->sql(q{SELECT pgjob_create('node', NULL, subject => 'jobs.node')});
	local $ENV{NODE_PATH} = "$directory/node_modules";
	start_example('node', "$examples/handler.js", 'jobs.node', $nats->url);
	my $run = is_executed('node', 'succeeded|greeted Ada', 'handler.js executes a run');
	like($braid->sql("SELECT log FROM pgbraid.job_runs WHERE id = $run"), qr/Z hello Ada/, 'and tells of it');
}

$_->kill_kill for @started;
done_testing();
