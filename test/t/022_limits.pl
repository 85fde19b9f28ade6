# Memory and descriptors that are not to be had are errors of the worker, and no more than that.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(nats => NatsServer->new(config => 'max_payload: 60MB'), conf => 'log_min_messages = warning');
my $node = $braid->node;
$braid->sql('CREATE TABLE rows (id int PRIMARY KEY, x text)');
$braid->sql("SELECT pgflow_create('rows', tables => '{rows}')");
$braid->until_state('rows', 'streaming');

sub worker_pid { return $braid->sql('SELECT pid FROM pgbraid.stat_flow WHERE pid IS NOT NULL') }

# Twenty megabytes a row are too much for a JSON parser in Perl.
sub published
{
	my $lines = 0;
	IPC::Run::run([ 'pgbraid-tail', '-s', $braid->nats->url, '--stream', $braid->stream_of('rows'), '--until-end' ],
		'>', sub { $lines += ($_[0] =~ tr/\n//) });
	return $lines;
}

sub limit
{
	my ($pid, @limit) = @_;
	system_or_bail('prlimit', '--pid', $pid, @limit);
	return;
}

sub virtual_memory
{
	my ($pid) = @_;
	my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^VmSize:\s+(\d+) kB/m;
	return $kilobytes * 1024;
}

sub new_worker
{
	my $pid = worker_pid();
	$braid->sql("SELECT pg_terminate_backend($pid)");
	$braid->until_sql("SELECT pid <> $pid AND state = 'streaming' FROM pgbraid.stat_flow");
	return worker_pid();
}

# From little to enough: the allocation that fails is another one each time.
my ($rows, $deaths) = (0, 0);
for my $megabytes (1, 4, 10, 20, 30, 45)
{
	my $pid = new_worker();
	limit($pid, '--as=' . (virtual_memory($pid) + $megabytes * 1024 * 1024));
	$rows++;
	$braid->sql("INSERT INTO rows SELECT $rows, repeat('0123456789', 2000000)");
	$braid->wait_for('rows');
	$deaths++ if worker_pid() != $pid;
}
cmp_ok($deaths, '>=', 3, "out of memory ended $deaths workers");
is(published(), $rows, 'every row is in the stream, once');

# No descriptor left for a slot's files, a socket, an eventfd.
my $pid = worker_pid();
limit($pid, '--nofile=8');
$braid->nats->restart;
$braid->sql("INSERT INTO rows VALUES (1000, 'x')");
$braid->until_sql("SELECT last_error IS NOT NULL FROM pgbraid.stat_flow", 't', 'without descriptors there is an error');
$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow WHERE pid = $pid");
$braid->wait_for('rows');
pass('and it goes on with a new worker');

unlike(slurp_file($node->logfile), qr/all server processes terminated|was terminated by signal/, 'no process ever crashed');
done_testing();
