# The measurements of bench/flow, which starts the servers. Rounds are interleaved: in each, every contender has one turn
# at the same WAL, so that what disturbs the machine disturbs all alike.
use strict;
use warnings;
use Getopt::Long;
use Machine;
use Throughput;
use Worker;
use Report;

my %options = (runs => 5, rows => 1, only => 'throughput,decode,latency,idle,memory,snapshot', loads => 'transactions,updates,singles,large');
GetOptions(\%options, 'runs=i', 'rows=f', 'only=s', 'loads=s', 'long') or exit 2;
$| = 1;

sub wants { my ($part) = @_; return grep { $_ eq $part } split /,/, $options{only} }

sql('CREATE DATABASE taxi');
sql('\c taxi');
$ENV{PGDATABASE} = 'taxi';
sql("\\i $ENV{BENCH_ROOT}/scripts/demo.sql");
sql("\\i $ENV{BENCH_ROOT}/bench/loads.sql");
sql('CREATE EXTENSION pgbraid');
sql('CREATE PUBLICATION rides FOR TABLE taxi_rides');

my $report = Report->new(%options);
if (wants('throughput')) {
	Throughput::measure($report, $_, %options) for split /,/, $options{loads};
}
Worker::measure_decoding($report, %options) if wants('decode');
Worker::measure_latency($report, %options) if wants('latency');
Worker::measure_idle($report, %options) if wants('idle');
Worker::measure_memory($report, %options) if wants('memory');
Worker::measure_snapshot($report, %options) if wants('snapshot');
$report->show;
