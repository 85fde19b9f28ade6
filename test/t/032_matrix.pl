# Everything that can die does, many times, in random order, under a load of transactions of every kind; the connection
# to NATS is cut in the middle of messages, held up and silenced. The stream then holds the committed history.
use strict;
use warnings;

use Braid;
use Faults;
use List::Util qw(shuffle);
use Load;
use PostgreSQL::Test::Utils;
use Proxy;
use Test::More;

my %times = (
	terminate_worker => 50,
	kill_worker => 5,
	kill_nats => 10,
	stop_postgres => 5,
	cut => 80,
	delay => 5,
	refuse => 5,
	stall => 3,
	black_hole => 2,
);
my $transactions = 10_000;

my $seed = $ENV{PGBRAID_TEST_SEED} // time;
note("PGBRAID_TEST_SEED=$seed");
srand $seed;

my $nats = NatsServer->new;
my $proxy = Proxy->new(port => $nats->port);
my $braid = Braid->new(nats => $nats, url => $proxy->url,
	conf => "restart_after_crash = on\nlogical_decoding_work_mem = 64kB\nlog_statement = none\n");
Load::create($braid, 'load');

my $faults = Faults->new(braid => $braid, flow => 'load', proxy => $proxy, rate => 150);
for my $fault (shuffle(map { ($_) x $times{$_} } sort keys %times))
{
	note($fault);
	$faults->inflict($fault);
	$faults->progress(int rand 400) if rand() < 0.75;	# else the next one meets a flow that recovers
}
$braid->until_sql("SELECT count(DISTINCT xid) >= $transactions FROM audit");
$faults->stop_load;

is($faults->inflicted($_), $times{$_}, "$_: $times{$_} times") for sort keys %times;
cmp_ok(Load::transactions($braid), '>=', $transactions, Load::transactions($braid) . ' transactions were committed');
Load::is_exactly_published($braid, 'load', 'after all that');
unlike(slurp_file($braid->node->logfile), qr/terminated by signal (?!9)/, 'no process has crashed of itself');

done_testing();
