# A stream with three replicas, whose leader is killed again and again, each time when all three have all of it: what was
# acknowledged outlives it, and nothing is there twice.
use strict;
use warnings;

use Braid;
use Faults;
use Load;
use NatsCluster;
use Test::More;

# Returns how often the leader could be killed: a cluster that does not become whole again would lose messages, by the
# server's fault, when another member dies.
sub kill_leaders
{
	my ($most) = @_;
	my $nats = NatsCluster->new;
	my $braid = Braid->new(nats => $nats, conf => "restart_after_crash = on\nlog_statement = none\n");
	Load::create($braid, 'load', options => q('{"replicas": 3}'));
	my $stream = $braid->stream_of('load');
	is($nats->stream_detail($stream)->{config}{num_replicas}, 3, 'the stream has three replicas');
	my ($kills, $whole) = (0, 1);
	while ($whole && $kills < $most)
	{
		my $faults = Faults->new(braid => $braid, flow => 'load', rate => 100);
		$faults->progress(500);
		my $leader = $nats->leader($stream);
		note('port ' . $leader->port);
		$leader->kill9;
		$faults->inflict('terminate_worker') if ++$kills % 2 == 0;
		$faults->progress(500);	# the two others do
		$leader->start;
		$faults->stop_load;
		$braid->wait_for('load');
		$whole = $nats->make_whole($stream);
	}
	Load::is_exactly_published($braid, 'load', "leader killed $kills times");
	$braid->node->stop;
	$nats->stop;
	return $kills;
}

my $left = 8;
for (1 .. 4)
{
	$left -= kill_leaders($left) if $left > 0;
}
is($left, 0, 'the leader was killed 8 times');

done_testing();
