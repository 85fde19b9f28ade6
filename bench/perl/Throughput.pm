# How fast a backlog reaches the stream: the same changes, one contender after the other.
package Throughput;
use strict;
use warnings;
use Machine;

# Transactions and rows in each, at full scale.
my %loads = (
	transactions => { title => 'inserts, 10 rows a transaction', transactions => 50_000, rows => 10 },
	updates => { title => 'updates, 10 rows a transaction', transactions => 20_000, rows => 10, updates => 1 },
	singles => { title => 'inserts, 1 row a transaction', transactions => 100_000, rows => 1 },
	large => { title => 'inserts, 1 transaction', transactions => 1, rows => 1_000_000 },
);
my $packed_rows = 100;

sub measure
{
	my ($report, $name, %options) = @_;
	my $load = scaled($name, $options{rows});
	my $all = $load->{transactions} * $load->{rows};
	sql("TRUNCATE taxi_rides RESTART IDENTITY");
	sql("CALL insert_rides($load->{transactions}, $load->{rows})") if $load->{updates};
	note("$load->{title}: preparing");
	make_flow($_, 'one', '{}') for 1 .. $options{runs};
	make_flow($_, 'packed', qq({"rows_per_message": $packed_rows})) for 1 .. $options{runs};
	my @plugins = grep { library_exists($_) } qw(pgoutput wal2json);
	sql("SELECT pg_create_logical_replication_slot('$_', '$_')") for @plugins;
	sql('CALL ' . ($load->{updates} ? 'update' : 'insert') . "_rides($load->{transactions}, $load->{rows})");
	$load->{end} = value('SELECT pg_current_wal_lsn()');
	sql('SELECT pg_logical_emit_message(false, \'\', \'end\')');	# so that readers get to the end
	my @turns = (
		[one => sub { drain_flow($_[0], 'one', $all, $_[0] == 1) }],
		[packed => sub { drain_flow($_[0], 'packed', messages($load)) }],
		(map { my $acks = $_; ["ceiling $acks" => sub { ceiling($acks) }] } qw(acks none)),
		(map { my $plugin = $_; [$plugin => sub { receive($plugin, $load) }] } @plugins));
	push @turns, [node => sub { node($all) }] if $name eq 'transactions' && -d program('peers/node/node_modules');
	for my $run (1 .. $options{runs}) {
		for my $entry (@turns) {
			my ($contender, $turn) = @$entry;
			my $figures = $turn->($run);
			note(sprintf '%s, round %d, %-14s %8.0f rows/s', $load->{title}, $run, $contender, $all / $figures->{seconds});
			$report->add($name, $contender, { rows => $all, %$figures });
		}
	}
	drop_all($options{runs}, @plugins);
	$report->title($name, sprintf '%s rows, %s', $report->grouped($all), $load->{title});
}

sub scaled
{
	my ($name, $factor) = @_;
	my %load = %{ $loads{$name} // die "no load is named $name\n" };
	my $what = $load{transactions} > 1 ? 'transactions' : 'rows';
	$load{$what} = int($load{$what} * $factor) || 1;
	return \%load;
}

# Of a flow that packs the rows of a transaction.
sub messages
{
	my ($load) = @_;
	return $load->{transactions} * int(($load->{rows} + $packed_rows - 1) / $packed_rows);
}

# A flow that has its slot, and waits.
sub make_flow
{
	my ($run, $kind, $options) = @_;
	my $flow = "${kind}_$run";
	sql("SELECT pgflow_create('$flow', publication => 'rides', stream => '$flow', subject => 'bench.$flow.{table}',
	                          snapshot => 'none', options => '$options')");
	await_state($flow, 'streaming');
	sql("SELECT pgflow_pause('$flow')");
	await_state($flow, 'paused');
}

sub await_state
{
	my ($flow, $state) = @_;
	for (1 .. 3000) {
		return if value("SELECT state FROM pgbraid.stat_flow WHERE flow = '$flow'") eq $state;
		pause(0.02);
	}
	die "flow $flow is not $state: " . value("SELECT last_error FROM pgbraid.stat_flow WHERE flow = '$flow'") . "\n";
}

# Its process.
sub await_worker
{
	my ($flow) = @_;
	for (1 .. 3000) {
		my $pid = value("SELECT pid FROM pgbraid.stat_flow WHERE flow = '$flow' AND state = 'streaming'");
		return $pid if $pid;
		pause(0.02);
	}
	die "flow $flow does not stream\n";
}

sub drain_flow
{
	my ($run, $kind, $messages, $shall_dump) = @_;
	my $flow = "${kind}_$run";
	my $awaiting = await_messages($flow, $messages);
	my $nats_before = cpu_of(nats_pid());
	my $begin = now();
	sql("SELECT pgflow_resume('$flow')");
	my @at = awaited($awaiting);
	my $nats = cpu_of(nats_pid()) - $nats_before;
	my $pid = await_worker($flow);
	my %figures = (seconds => $at[2] - $begin, since_first => $at[2] - $at[0], cpu => cpu_of($pid), nats_cpu => $nats,
		memory => peak_memory($pid));
	run_program('stream', nats_url(), 'dump', $flow, $messages, directory() . '/messages') if $shall_dump;
	sql("SELECT pgflow_drop('$flow')");
	drop_stream($flow);
	return \%figures;
}

# The messages of the first round's flow.
sub ceiling
{
	my ($acknowledgements) = @_;
	my $nats_before = cpu_of(nats_pid());
	my ($line) = run_program('publish_ceiling', nats_url(), directory() . '/messages', 'one_1', 'bench.one_1.*',
		$acknowledgements);
	my ($messages, $seconds, $cpu) = split ' ', $line;
	my $nats = cpu_of(nats_pid()) - $nats_before;
	drop_stream('one_1');
	return { seconds => $seconds, cpu => $cpu, nats_cpu => $nats };
}

my %plugin_options = (
	pgoutput => ['-o', 'proto_version=1', '-o', 'publication_names=rides'],
	wal2json => ['-o', 'format-version=2', '-o', 'add-tables=public.taxi_rides'],
);

# pg_recvlogical, which throws all away.
sub receive
{
	my ($plugin, $load) = @_;
	sql("SELECT pg_copy_logical_replication_slot('$plugin', 'copy')");
	my $begin = now();
	my $running = start_program("$ENV{BENCH_PG_BIN}/pg_recvlogical", '-d', $ENV{PGDATABASE}, '-S', 'copy', '--start',
		'--no-loop', '-F', '0', "--endpos=$load->{end}", '-f', '/dev/null', @{ $plugin_options{$plugin} });
	my $cpu = walsender_cpu($running);
	end_program($running);
	my %figures = (seconds => now() - $begin, cpu => $cpu);
	sql("SELECT pg_drop_replication_slot('copy')");
	return \%figures;
}

# What the walsender has used by the end, looked at now and then.
sub walsender_cpu
{
	my ($running) = @_;
	my ($pid, $cpu) = (undef, 0);
	vec(my $waiting, fileno($running->{output}), 1) = 1;
	while (!select(my $ready = $waiting, undef, undef, 0.05)) {
		$pid //= child_of_postmaster('walsender');
		$cpu = cpu_of($pid) // $cpu if $pid;
	}
	return $cpu;
}

sub node
{
	my ($rows) = @_;
	sql("SELECT pg_copy_logical_replication_slot('pgoutput', 'copy')");
	my $nats_before = cpu_of(nats_pid());
	my $running = start_program('/bin/sh', '-c', 'exec "$@" 2>&1', 'node', 'node', program('peers/node/main.mjs'),
		'--pg', "postgres://$ENV{PGUSER}\@$ENV{PGHOST}:$ENV{PGPORT}/$ENV{PGDATABASE}", '--nats', nats_url(),
		'--slot', 'copy', '--publication', 'rides', '--stream', 'CDC', '--create', '--flow', 'manual',
		'--until', $rows, '--stats');
	my $sender_cpu = walsender_cpu($running);
	my $output = join "\n", end_program($running);
	my ($seconds) = $output =~ /"seconds":([\d.]+)/ or die "the Node.js peer failed: $output\n";
	my ($user, $system) = $output =~ /"cpu_user":([\d.]+),"cpu_sys":([\d.]+)/;
	my %figures = (seconds => $seconds, cpu => $user + $system, sender_cpu => $sender_cpu,
		nats_cpu => cpu_of(nats_pid()) - $nats_before);
	drop_stream('CDC');
	for (1 .. 500) {
		last if value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'copy' AND active") == 0;
		pause(0.02);
	}
	sql("SELECT pg_drop_replication_slot('copy')");
	return \%figures;
}

sub drop_all
{
	my ($runs, @plugins) = @_;
	sql("SELECT pg_drop_replication_slot('$_')") for @plugins;
	unlink directory() . '/messages';
	sql('CHECKPOINT');
}

1;
