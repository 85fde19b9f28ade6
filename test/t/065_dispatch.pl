# Runs that applications execute over NATS: each by one instance, whatever goes away meanwhile.
use strict;
use warnings;

use Braid;
use IPC::Run;
use JSON::PP ();
use NatsClient;
use NatsServer;
use PostgreSQL::Test::Utils;
use Test::More;
use Until;

my $nats = NatsServer->new(jetstream => 0);
my $braid = Braid->new(nats => $nats);
my $directory = PostgreSQL::Test::Utils::tempdir();
my @workers;

sub start_workers
{
	my (@arguments) = @_;
	my ($out, $err) = ('', '');
	my $worker = IPC::Run::start([ 'pgbraid-worker', '-s', $nats->url, @arguments ], '<', \undef, '>', \$out, '2>', \$err);
	push @workers, $worker;
	return $worker;
}

sub stop_workers
{
	$_->kill_kill for splice @workers;
	return;
}

sub run_job
{
	my ($job, $payload) = @_;
	return $braid->sql("SELECT pgjob_run('$job'" . ($payload ? ", '$payload'" : '') . ')');
}

sub is_run
{
	my ($run, $columns, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$braid->until_sql("SELECT concat_ws('|', $columns) = \$\$$expected\$\$ FROM pgbraid.job_runs WHERE id = $run", 't', $name)
		or diag($braid->sql("SELECT * FROM pgbraid.job_runs WHERE id = $run"));
	return;
}

my $inbox = 'pgbraid.jobs.' . $braid->sql("SELECT replace(pgbraid.here(), '/', '.')");
my $client = NatsClient->new($nats);
$client->subscribe("$inbox.cancel");

# The protocol, message by message. The option makes offers follow each other fast.
$braid->sql(q{SELECT pgjob_create('talk', NULL, subject => 'jobs.talk', payload => '{"to": "Zoë"}', options => '{"offer_timeout": "300 ms"}')});
$client->subscribe('jobs.talk', 'talkers');
my $run = run_job('talk');
my $first = $client->next_message('jobs.talk');
is($first->{reply}, $inbox, 'an offer is answered on a subject that stays');
like($first->{headers}, qr/^Pgbraid-Run: $run\r$/m, 'the number of the run is in a header');
is_json_but($first->{json}, qq{{"v": 1, "run": $run, "job": "talk", "payload": {"to": "Zo\x{c3}\x{ab}"}, "attempt": 1}}, 'an offer has all that is needed');
my $second = $client->next_message('jobs.talk');
isnt($second->{json}{token}, $first->{json}{token}, 'what nobody picks is offered again, with another token');

sub is_json_but
{
	my ($got, $expected, $name) = @_;
	my %rest = %$got;
	like(delete $rest{token}, qr/^[0-9a-f-]{36}$/, "$name: a token");
	like(delete $rest{due_at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, "$name: a time");
	Braid::is_json(\%rest, $expected, $name);
	return;
}

# Of the last offer: more may have come meanwhile.
sub pick
{
	my ($job, %more) = @_;
	my $answer;
	my $offer = $client->next_message("jobs.$job");
	until ($answer && $answer->{ok})
	{
		$answer = $client->ask($inbox, { run => $offer->{json}{run}, token => $offer->{json}{token}, type => 'picked', worker => 'w1', %more });
		$offer = $client->next_message("jobs.$job") unless $answer->{ok};
	}
	return ({ run => $offer->{json}{run}, token => $offer->{json}{token} }, $answer);
}

my $late = $client->ask($inbox, { run => $run, token => $first->{json}{token}, type => 'picked', worker => 'w1' });
is($late->{ok} ? 'yes' : $late->{reason}, 'the run was offered again since', 'who picks an offer too late is refused');
my ($mine, $picked) = pick('talk');
is($picked->{lease_ms}, 30000, 'who picks a run is told how long its silence is borne');
ok($client->ask($inbox, { %$mine, type => 'picked', worker => 'w1' })->{ok}, 'who asks again is told again');
ok(!$client->ask($inbox, { %$mine, type => 'picked', worker => 'w2' })->{ok}, 'nobody else gets it');
ok($client->ask($inbox, { %$mine, type => 'heartbeat' })->{ok}, 'a heartbeat');
ok($client->ask($inbox, { %$mine, type => 'log', line => 'half' })->{ok}, 'a line for the log');
ok($client->ask($inbox, { %$mine, type => 'progress', progress => { percent => 50 } })->{ok}, 'progress');
for my $bad ('{', '[]', '"x"', '{}', '{"type": "picked"', "\xff\xfe", '{"type": "log", "run": "x", "token": "y"}',
	qq({"type": "heartbeat", "run": $run, "token": "nobody"}), qq({"type": "picked", "run": $run, "token": "$mine->{token}"}),
	qq({"type": "log", "run": $run, "token": "$mine->{token}", "line": "\\u0000"}))
{
	my $answer = $client->ask($inbox, $bad);
	ok(!$answer->{ok} && length $answer->{reason}, "refused: $bad: $answer->{reason}");
}
ok($client->ask($inbox, { %$mine, type => 'succeeded', output => 'sent' })->{ok}, 'it succeeds');
ok($client->ask($inbox, { %$mine, type => 'succeeded', output => 'sent' })->{ok}, 'who says so again is told that it does');
my $after = $client->ask($inbox, { %$mine, type => 'heartbeat' });
is($after->{reason}, 'the run is succeeded', 'after that nothing more can be said');
is_run($run, 'state, worker, pickups, output', 'succeeded|w1|1|sent', 'and so it is noted');
like($braid->sql("SELECT log FROM pgbraid.job_runs WHERE id = $run"),
	qr/^\S+Z half\n\S+Z progress: \{"percent": 50\}\n?$/, 'its log has what was told');

$run = run_job('talk');
($mine) = pick('talk');
ok($client->ask($inbox, { %$mine, type => 'failed', error => 'no such mailbox', sqlstate => 'P0001' })->{ok}, 'one fails');
is_run($run, 'state, sqlstate, error', 'failed|P0001|no such mailbox', 'with its error');

# Cancelled.
$run = run_job('talk');
($mine) = pick('talk');
$braid->sql("SELECT pgjob_cancel($run)");
my $told = $client->next_message("$inbox.cancel");
is("$told->{json}{run} $told->{json}{token}", "$mine->{run} $mine->{token}", 'who executes a run that is cancelled is told');
like($client->ask($inbox, { %$mine, type => 'heartbeat' })->{reason}, qr/^the run is cancelled/, 'at the next heartbeat too');
ok(!$client->ask($inbox, { %$mine, type => 'succeeded' })->{ok}, 'and has come too late to succeed');

# Somebody's transaction has a run: what is said of it is answered later, what is said of others at once.
run_job('talk') for 1, 2;
($mine) = pick('talk');
my ($free) = pick('talk');
my ($in, $out) = ('', '');
my $locker = IPC::Run::start([ 'psql', '-XAtq', '-d', $braid->node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1');
$in = "BEGIN; SELECT 'locked' FROM pgbraid.job_runs WHERE id = $mine->{run} FOR UPDATE;\n";
$locker->pump until $out =~ /locked/;
$client->publish($inbox, JSON::PP::encode_json({ %$mine, type => 'log', line => 'x' }), "$client->{inbox}.held");
ok($client->ask($inbox, { %$free, type => 'succeeded' })->{ok}, 'a run that is locked holds up no others');
ok(!$client->next_message("$client->{inbox}.held", 0), 'what is said of it is not answered');
$in = "ROLLBACK;\n";
$locker->finish;
ok($client->ask($inbox, { %$mine, type => 'succeeded' })->{ok}, 'until the lock is gone');

# Silent workers, and slow ones.
$braid->sql(q{SELECT pgjob_create('silent', NULL, subject => 'jobs.silent', retry_delay => '0', options => '{"lease": "1 s"}')});
$client->subscribe('jobs.silent');
$run = run_job('silent');
($mine) = pick('silent');
is_run($run, 'state, reason', 'lost|its worker was silent', 'the run of a worker that is silent is lost');
my ($again) = pick('silent');
is($braid->sql("SELECT attempt, state FROM pgbraid.job_runs WHERE id = $again->{run}"), '2|running', 'and offered to others as another attempt');
ok(!$client->ask($inbox, { %$mine, type => 'succeeded' })->{ok}, 'the silent one has lost it');
ok($client->ask($inbox, { %$again, type => 'succeeded' })->{ok}, 'the other has not');
$braid->sql(q{SELECT pgjob_create('slow', NULL, subject => 'jobs.slow', timeout => '500 ms')});
$client->subscribe('jobs.slow');
$run = run_job('slow');
pick('slow');
is_run($run, 'state, reason, sqlstate', 'failed|timeout|57014', 'what takes longer than the timeout has failed');

# Nobody there.
$braid->sql(q{SELECT pgjob_create('nobody', NULL, subject => 'jobs.nobody', pickup_timeout => '1 s')});
$run = run_job('nobody');
is_run($run, 'state, reason', 'expired|nobody picked it up', 'what nobody picks expires');

# An instance that hangs does not keep others from a run.
$braid->sql(q{SELECT pgjob_create('shared', NULL, subject => 'jobs.shared', options => '{"offer_timeout": "200 ms"}')});
$client->subscribe('jobs.shared', 'group');
$run = run_job('shared');
my $unanswered = $client->next_message('jobs.shared');
start_workers('--queue', 'group', '--name', 'healthy', 'jobs.shared');
is_run($run, 'state, worker', 'succeeded|healthy', 'a run that its first instance does not answer goes to another');
ok(!$client->ask($inbox, { run => $run, token => $unanswered->{json}{token}, type => 'picked', worker => 'w1' })->{ok}, 'and that one is too late');

# A payload that does not fit.
$braid->sql(q{SELECT pgjob_run('shared', to_jsonb(repeat('x', 1100000)))});
$braid->until_sql(q{SELECT sqlstate FROM pgbraid.job_runs WHERE job = (SELECT id FROM pgbraid.jobs WHERE job = 'shared') AND state = 'failed'}, '54000',
	'a payload that the server does not take fails the run');
stop_workers();

# Commands.
$braid->sql(q{SELECT pgjob_create('command', NULL, subject => 'jobs.command')});
start_workers('jobs.command', '--', 'sh', '-c', "cat; echo \"run \$PGBRAID_RUN\" >&2; test \$PGBRAID_ATTEMPT = 1 || exit 3");
$run = run_job('command', '{"n": 1}');
is_run($run, "state, output, substr(log, strpos(log, 'Z ') + 2)", qq(succeeded|{"n": 1}|run $run\n), 'pgbraid-worker executes a command');
stop_workers();
start_workers('jobs.command', '--', 'sh', '-c', 'echo so far; exit 3');
$run = run_job('command');
is_run($run, 'state, error, output', "failed|exit status 3|so far\n", 'one that fails');
stop_workers();
start_workers('jobs.command', '--', 'sh', '-c', "trap 'touch $directory/ended; exit' TERM; touch $directory/begun; while :; do sleep 0.1; done");
$run = run_job('command');
until_true(sub { -e "$directory/begun" }, 'the command has begun');
$braid->sql("SELECT pgjob_cancel($run)");
until_true(sub { -e "$directory/ended" }, 'the command has ended');
is_run($run, 'state', 'cancelled', 'one that is cancelled is ended');
stop_workers();

# Each run is executed once, by whichever of 20 instances, although the NATS server crashes meanwhile.
$braid->sql(q{SELECT pgjob_create('many', NULL, subject => 'jobs.many')});
start_workers('--instances', 20, 'jobs.many', '--', 'sh', '-c', "echo \$PGBRAID_RUN >> $directory/effects");
$braid->sql(q{SELECT count(pgjob_run('many')) FROM generate_series(1, 10000)});
my $ended = q{SELECT count(*) %s FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'many' AND r.state = 'succeeded'};
$braid->until_sql(sprintf($ended, '> 300'), 't');
$nats->kill9;
ok($braid->sql(sprintf($ended, '')) < 10000, 'the NATS server crashes in the midst of it');
$braid->until_sql(q{SELECT last_error ~ 'NATS' FROM pgbraid.stat_worker WHERE kind = 'dispatcher'}, 't', 'that it is away can be seen');
$nats->start;
$braid->until_sql(sprintf($ended, ''), '10000', 'all runs succeed');
$braid->until_sql(q{SELECT last_error IS NULL FROM pgbraid.stat_worker WHERE kind = 'dispatcher'}, 't', 'and no trouble is left');
my @effects = split /\n/, slurp_file("$directory/effects");
my %once = map { $_ => 1 } @effects;
is(scalar(@effects) . ' of ' . scalar(keys %once), '10000 of 10000', 'each was executed once');
is($braid->sql(q{SELECT max(pickups), max(attempt), count(DISTINCT worker) > 1 FROM pgbraid.job_runs r JOIN pgbraid.jobs j ON j.id = r.job WHERE j.job = 'many'}),
	'1|1|t', 'in one attempt, by several instances');
stop_workers();

# The dispatcher itself goes away; who executes a run does not notice.
$client = NatsClient->new($nats);
$client->subscribe('jobs.talk', 'talkers');
$run = run_job('talk');
($mine) = pick('talk');
my $dispatcher = $braid->sql(q{SELECT pid FROM pgbraid.stat_worker WHERE kind = 'dispatcher'});
$braid->sql("SELECT pg_terminate_backend($dispatcher)");
ok($client->ask($inbox, { %$mine, type => 'succeeded' })->{ok}, 'a later dispatcher takes what an earlier one has given');
isnt($braid->sql(q{SELECT pid FROM pgbraid.stat_worker WHERE kind = 'dispatcher'}), $dispatcher, 'it is another one');

# Servers and rights.
$braid->refuses(q{SELECT pgjob_create('bad', NULL, subject => 'jobs.*')}, '22023', 'wildcards', 'a subject is no pattern');
$braid->refuses(q{SELECT pgjob_create('bad', NULL, subject => '$JS.API.STREAM.DELETE.orders')}, '22023', 'subject', 'nor the API of JetStream');
$braid->refuses(q{SELECT pgjob_create('bad', NULL, subject => 'a', options => '{"server": "elsewhere"}')}, '42704', 'CREATE SERVER', 'a server must exist');
$braid->refuses(q{SELECT pgjob_create('bad', NULL, options => '{"server": "elsewhere"}')}, '22023', 'subject', 'and only offers need one');
my $locked = NatsServer->new(jetstream => 0, config => 'authorization { user: job, password: secret }');
$braid->sql("CREATE SERVER locked FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url '" . $locked->url . q{'); }
	. q{CREATE USER MAPPING FOR CURRENT_USER SERVER locked OPTIONS (user 'job', password 'wrong')});
$braid->sql(q{SELECT pgjob_create('guarded', NULL, subject => 'jobs.guarded', options => '{"server": "locked"}')});
$run = run_job('guarded');
$braid->until_sql(q{SELECT last_sqlstate FROM pgbraid.stat_worker WHERE kind = 'dispatcher'}, '28P01', 'a server that refuses us is told of');
my $other = run_job('talk');
($mine) = pick('talk');
is($mine->{run}, $other, 'and keeps no other job waiting');
$braid->sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER locked OPTIONS (SET password 'secret')});
my $guest = NatsClient->new($locked, login => ',"user":"job","pass":"secret"');
$guest->subscribe('jobs.guarded');
my $offer = $guest->next_message('jobs.guarded');
ok($guest->ask($offer->{reply}, { run => $run, token => $offer->{json}{token}, type => 'picked', worker => 'g' })->{ok},
	'a job can have a server of its own, and its options take effect at once');

# Not needed any more.
$braid->sql(q{DELETE FROM pgbraid.jobs; SELECT pgjob_create('plain', '@yearly', 'SELECT 1')});
$braid->until_sql(q{SELECT count(*) FROM pgbraid.stat_worker WHERE kind = 'dispatcher'}, '0', 'without such jobs there is no dispatcher');

stop_workers();
done_testing();
