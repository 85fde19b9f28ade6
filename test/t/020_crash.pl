# Whatever dies while writers write: the stream holds what was committed.
use strict;
use warnings;

use Braid;
use Load;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $braid = Braid->new(conf => 'restart_after_crash = on');
my $node = $braid->node;

sub worker_pid { return $braid->sql("SELECT pid FROM pgbraid.stat_flow WHERE pid IS NOT NULL") }

sub until_other_worker
{
	my ($pid) = @_;
	$braid->until_sql("SELECT count(*) FROM pgbraid.stat_flow WHERE pid <> $pid AND state = 'streaming'", '1');
	return;
}

Load::create($braid, 'load');

my $load = Load::start($braid);
my $postmaster = $braid->sql('SELECT pg_postmaster_start_time()');
for (1 .. 5)
{
	Load::wait_for_rows($braid, 2000);
	my $pid = worker_pid();
	$braid->sql("SELECT pg_terminate_backend($pid)");
	until_other_worker($pid);
}
Load::stop($load);
Load::is_exactly_published($braid, 'load', 'worker terminated 5 times');
unlike(slurp_file($node->logfile), qr/all server processes terminated/, 'the cluster was not restarted');

for my $round (1 .. 2)
{
	$load = Load::start($braid);
	Load::wait_for_rows($braid, 2000);
	kill 'KILL', worker_pid();
	Load::finish($load);
	$braid->until_sql('SELECT true');
	$braid->until_state('load', 'streaming', "worker killed with -9, round $round: streams again after crash recovery");
}
Load::is_exactly_published($braid, 'load', 'worker killed with -9');

for my $round (1 .. 2)
{
	$load = Load::start($braid);
	Load::wait_for_rows($braid, 2000);
	$node->stop('immediate');
	Load::finish($load);
	$node->start;
	$braid->until_state('load', 'streaming', "server stopped immediate, round $round: streams again");
}
Load::is_exactly_published($braid, 'load', 'server stopped immediate');

# Ten seconds in which commits go on, undisturbed.
$load = Load::start($braid);
Load::wait_for_rows($braid, 2000);
$braid->nats->stop;
my $end = time + 10;
my $before = Load::committed($braid);
Load::wait_for_rows($braid, 500) while time < $end;
cmp_ok(Load::committed($braid), '>', $before + 1000, 'commits go on while NATS is away');
$braid->until_sql("SELECT lag_bytes > 0 AND last_sqlstate = '08001' AND last_hint <> '' FROM pgbraid.stat_flow");
pass('stat_flow shows the lag and what is wrong');
$braid->nats->start;
Load::wait_for_rows($braid, 1000);
$braid->nats->kill9;
Load::wait_for_rows($braid, 1000);
$braid->nats->start;
Load::stop($load);
Load::is_exactly_published($braid, 'load', 'NATS stopped for 10 s, then killed');
$braid->until_sql("SELECT last_error IS NULL OR state = 'streaming' FROM pgbraid.stat_flow");

# A server that hangs: it takes bytes and answers nothing.
$load = Load::start($braid);
Load::wait_for_rows($braid, 1000);
$braid->nats->pause;
Load::wait_for_rows($braid, 3000);
$braid->nats->continue;
Load::stop($load);
Load::is_exactly_published($braid, 'load', 'NATS hung');

done_testing();
