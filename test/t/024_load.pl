# Half a million rows in fifty thousand transactions: all of them, once, in commit order.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new(conf => 'max_wal_size = 4GB');
$braid->sql('CREATE TABLE taxi_rides (log_id int PRIMARY KEY, _cq_sync_time timestamp, distance_traveled float8,
	driver_id int, duration int, end_location text, fare_amount float8, passenger_id int, payment_method text,
	start_location text, "timestamp" text)');
$braid->sql("SELECT pgflow_create('rides', tables => '{taxi_rides}')");
$braid->until_state('rides', 'streaming');
$braid->sql(q{DO $$ BEGIN
	FOR i IN 0..49999 LOOP
		INSERT INTO taxi_rides
		SELECT i * 10 + g, null, 19.15, 1, 320, '55 Schlimgen Road', 309.56, 583, 'cash', '87 Fisk Driv', '08/18/2022'
		  FROM generate_series(0, 9) g;
		COMMIT;
	END LOOP; END $$});
is($braid->sql("SELECT pgflow_wait('rides')"), 't', 'pgflow_wait returns true');
is($braid->sql("SELECT events_published, lag_bytes FROM pgbraid.stat_flow"), '500000|0', 'stat_flow counts them');

# One writer: rows are numbered in the order in which they were committed.
my ($next, $wrong, $left) = (0, 0, '');
sub check
{
	my @lines = split /\n/, $left . $_[0], -1;
	$left = pop @lines;
	for my $line (@lines)
	{
		my ($id) = $line =~ /"after":\{"log_id":(\d+),"_cq_sync_time":null,"distance_traveled":19\.15,/;
		$wrong++ if !defined $id || $id != $next;
		$next++;
	}
	return;
}
IPC::Run::run([ 'pgbraid-tail', '-s', $braid->nats->url, '--stream', $braid->stream_of('rides'), '--until-end' ], '>', \&check);
is($next, 500_000, 'as many messages as rows');
is($wrong, 0, 'each in its place');
done_testing();
