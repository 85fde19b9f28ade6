# A stream with three replicas, whose leader is killed again and again: what was acknowledged outlives it, and nothing is
# there twice.
use strict;
use warnings;

use Braid;
use Faults;
use Load;
use NatsCluster;
use Test::More;
use Until;

my $nats = NatsCluster->new;
my $braid = Braid->new(nats => $nats, conf => "restart_after_crash = on\nlog_statement = none\n");
Load::create($braid, 'load', options => q('{"replicas": 3}'));
my $stream = $braid->stream_of('load');
is($nats->stream_detail($stream)->{config}{num_replicas}, 3, 'the stream has three replicas');

# Members catch up while nobody writes; see NatsCluster.
my $faults = Faults->new(braid => $braid, flow => 'load', rate => 100);
for my $round (1 .. 8)
{
	$faults->progress(500);
	my $leader = $nats->leader($stream);
	note("round $round: port " . $leader->port);
	$leader->kill9;
	$faults->inflict('terminate_worker') if $round % 2 == 0;
	$faults->progress(500);	# the two others do
	$leader->start;
	$faults->stop_load;
	$braid->wait_for('load');
	$nats->make_whole($stream);
	$faults->start_load if $round < 8;
}
Load::is_exactly_published($braid, 'load', 'leader killed 8 times');

done_testing();
