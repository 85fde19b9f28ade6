# Nothing rests on the server's own search for duplicates: with the shortest window that it takes, and everything coming
# back later than that, no message is there twice.
use strict;
use warnings;

use Braid;
use Faults;
use JSON::PP;
use List::Util qw(shuffle);
use Load;
use Proxy;
use Test::More;
use Time::HiRes qw(time);
use Until;

my $window = 0.1;
my $seed = $ENV{PGBRAID_TEST_SEED} // int time;
note("PGBRAID_TEST_SEED=$seed");
srand $seed;

my $nats = NatsServer->new;
my %stream = (name => 'short', subjects => ['pgflow.>'], storage => 'file', duplicate_window => $window * 1e9);
my $made = decode_json($nats->request('$JS.API.STREAM.CREATE.short', encode_json(\%stream)));
is($made->{config}{duplicate_window}, $window * 1e9, 'the stream looks for duplicates of the last 100 ms only');

my $proxy = Proxy->new(port => $nats->port);
my $braid = Braid->new(nats => $nats, url => $proxy->url, conf => "restart_after_crash = on\nlog_statement = none\n");
Load::create($braid, 'load', stream => "'short'");
my $faults = Faults->new(braid => $braid, flow => 'load', proxy => $proxy, rate => 200);

# Messages were stored whose acknowledgement never came; then something else happens, and the window passes.
for my $fault (shuffle(map { ($_) x 4 } qw(nothing terminate_worker kill_worker stop_postgres kill_nats)))
{
	note($fault);
	$faults->progress(int rand 400);
	$faults->sever('refuse');
	$faults->inflict($fault) if $fault ne 'nothing';
	my $end = time + 2 * $window;
	until_true(sub { time > $end }, 'the window is over');
	$proxy->pass;
}
$faults->progress(1);
$faults->stop_load;
Load::is_exactly_published($braid, 'load', 'restarts after the window');

done_testing();
