# What one flow costs by itself: decoding and encoding, its latency, its rest, and its memory.
package Worker;
use strict;
use warnings;
use Machine;
use Throughput;

my $row_transactions = 50_000;	# of 10 rows, to be decoded
my $idle_seconds = 30;

# In a session each, whose caches are as cold as a worker's.
sub measure_decoding
{
	my ($report, %options) = @_;
	my $transactions = int($row_transactions * $options{rows}) || 1;
	sql('TRUNCATE taxi_rides RESTART IDENTITY');
	sql("CREATE FUNCTION bench_decode(slot name, publication text, encode boolean, rows_per_message int)
	     RETURNS float8[] LANGUAGE c AS 'pgbraid_decode'");
	sql("SELECT pg_create_logical_replication_slot('decode', 'pgbraid_decode')");
	sql("CALL insert_rides($transactions, 10)");
	my %steps = (decode => 'false, 1', encode => 'true, 1', 'encode packed' => 'true, 100');
	for my $run (1 .. $options{runs}) {
		for my $step (qw(decode encode), 'encode packed') {
			sql("\\c $ENV{PGDATABASE}");
			my $found = value("SELECT bench_decode('decode', 'rides', $steps{$step})");
			my (undef, $seconds, $cpu) = $found =~ /([\d.]+)/g;
			note(sprintf 'decoding, round %d, %-14s %8.0f rows/s', $run, $step, $transactions * 10 / $seconds);
			$report->add('decoding', $step, { rows => $transactions * 10, seconds => $seconds, cpu => $cpu });
		}
	}
	sql("SELECT pg_drop_replication_slot('decode')");
	$report->title('decoding', $report->grouped($transactions * 10) . ' rows, 10 a transaction, within a session');
}

# A flow that streams; its worker's process.
sub start_flow
{
	my ($flow) = @_;
	Throughput::make_flow($flow, 'worker', '{}');
	return resume_flow($flow);
}

sub resume_flow
{
	my ($flow) = @_;
	sql("SELECT pgflow_resume('worker_$flow')");
	return Throughput::await_worker("worker_$flow");
}

sub drop_flow
{
	my ($flow) = @_;
	sql("SELECT pgflow_drop('worker_$flow')");
	drop_stream("worker_$flow");
}

sub measure_latency
{
	my ($report, %options) = @_;
	my $pid = start_flow('latency');
	for my $run (1 .. $options{runs}) {
		my ($cpu, $nats) = (cpu_of($pid), cpu_of(nats_pid()));
		my %found = map { my ($name, @figures) = split; ($name => \@figures) }
			run_program('latency', nats_url(), 'worker_latency', conninfo(), 10, 1000);
		note("latency, round $run: commit @{ $found{commit} } ms, committed @{ $found{committed} } ms, $found{rate}[0]/s");
		my $count = $found{count}[0];
		$report->add('latency', 'flow', { %found, cpu => (cpu_of($pid) - $cpu) / $count * 1e6,
			nats_cpu => (cpu_of(nats_pid()) - $nats) / $count * 1e6 });
	}
	drop_flow('latency');
}

sub measure_idle
{
	my ($report, %options) = @_;
	my $pid = start_flow('idle');
	pause(3);
	my ($cpu, $begin) = (run_time($pid), now());
	pause($idle_seconds);
	my $share = (run_time($pid) - $cpu) / (now() - $begin);
	$report->add('idle', 'flow', { share => $share, memory => peak_memory($pid) });
	note(sprintf 'idle: %.3f %% of a core', $share * 100);
	drop_flow('idle');
}

# Seconds of all threads that a process has now, finer than cpu_of.
sub run_time
{
	my ($pid) = @_;
	my $sum = 0;
	for my $path (glob "/proc/$pid/task/*/schedstat") {
		open my $file, '<', $path or next;
		$sum += (split ' ', readline $file)[0];
	}
	return $sum / 1e9;
}

sub measure_memory
{
	my ($report, %options) = @_;
	my $transactions = int(($options{long} ? 1_000_000 : 100_000) * $options{rows}) || 1;
	my $rows = $transactions * 10;
	sql('TRUNCATE taxi_rides RESTART IDENTITY');
	Throughput::make_flow('memory', 'worker', '{}');
	sql("CALL insert_rides($transactions, 10)");
	my $awaiting = await_messages('worker_memory', $rows);
	follow($report, 'memory', $awaiting, resume_flow('memory'), $rows);
	drop_flow('memory');
}

# The rows that a table holds.
sub measure_snapshot
{
	my ($report, %options) = @_;
	my $rows = 10 * (int(200_000 * $options{rows}) || 1);
	sql('TRUNCATE taxi_rides RESTART IDENTITY');
	sql("CALL insert_rides($rows / 5000 + 1, 5000)");
	sql("DELETE FROM taxi_rides WHERE log_id > $rows");
	my $pid = start_flow('snapshot');
	my $awaiting = await_messages('worker_snapshot', $rows);
	sql("SELECT pgflow_snapshot('worker_snapshot')");
	follow($report, 'snapshot', $awaiting, $pid, $rows);
	drop_flow('snapshot');
}

sub follow
{
	my ($report, $part, $awaiting, $pid, $rows) = @_;
	my ($first, $tenth, $all, @memory);
	for my $mark (\$first, \$tenth, \$all) {
		chomp($$mark = readline $awaiting->{output});
		push @memory, peak_memory($pid);
	}
	end_program($awaiting);
	$report->add($part, 'flow', { rows => $rows, seconds => $all - $first, tenth_seconds => $tenth - $first,
		memory => $memory[2], tenth_memory => $memory[1], cpu => cpu_of($pid) });
	note(sprintf '%s: %d kB after a tenth, %d kB after all; %.2f s and %.2f s', $part, @memory[1, 2], $tenth - $first,
		$all - $first);
}

1;
