# The servers that bench/flow has started, and the programs that measure them.
package Machine;
use strict;
use warnings;
use Exporter 'import';
use IPC::Open2;
use POSIX ':sys_wait_h';
use Time::HiRes qw(time sleep);

our @EXPORT = qw(sql value start_program end_program run_program await_messages awaited drop_stream cpu_of peak_memory
	nats_url nats_pid conninfo child_of_postmaster program directory library_exists now pause note);

my (%children, $psql_in, $psql_out);
my $nats = $ENV{BENCH_NATS};
$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

END {
	my $status = $?;
	kill 'TERM', keys %children if %children;
	waitpid $_, 0 for keys %children;
	$? = $status;
}

sub nats_url { $nats }
sub nats_pid { $ENV{BENCH_NATS_PID} }
sub directory { $ENV{BENCH_DIR} }
sub program { my $name = shift; $name =~ m{^/} ? $name : "$ENV{BENCH_ROOT}/bench/$name" }
sub library_exists { -e "$ENV{BENCH_PG_LIB}/$_[0].so" }
sub conninfo { "host=$ENV{PGHOST} port=$ENV{PGPORT} user=$ENV{PGUSER} dbname=$ENV{PGDATABASE}" }
sub now { time }
sub pause { sleep $_[0] }
sub note { print STDERR "$_[0]\n" }

# One session for everything, so that no start of a client is measured.
sub session
{
	return if $psql_in;
	my $pid = open2($psql_out, $psql_in, "$ENV{BENCH_PG_BIN}/psql", '-XAtq', '-v', 'ON_ERROR_STOP=1');
	$children{$pid} = 1;
}

# The output of statements, as lines.
sub sql
{
	my ($statements) = @_;
	session();
	print $psql_in "$statements\n;\n\\echo -- done\n";
	$psql_in->flush;
	my @lines;
	while (defined(my $line = <$psql_out>)) {
		chomp $line;
		return wantarray ? @lines : join "\n", @lines if $line eq '-- done';
		push @lines, $line;
	}
	die "psql has ended, after: $statements\n";
}

sub value { my @lines = sql(@_); $lines[0] }

# Starts a program; its standard output can be read.
sub start_program
{
	my ($name, @arguments) = @_;
	my $pid = open(my $output, '-|', program($name), @arguments) // die "$name: $!\n";
	$children{$pid} = 1;
	return { name => $name, pid => $pid, output => $output };
}

# Waits for its end; the lines that it has printed.
sub end_program
{
	my ($running) = @_;
	my @lines = readline $running->{output};
	waitpid $running->{pid}, 0;
	my $status = $?;
	delete $children{$running->{pid}};
	close $running->{output};
	die "$running->{name} failed: @lines\n" if $status != 0;
	chomp @lines;
	return @lines;
}

sub run_program { end_program(start_program(@_)) }

# Begins to look at a stream.
sub await_messages
{
	my ($stream, $count) = @_;
	my $running = start_program('stream', $nats, 'await', $stream, $count);
	readline $running->{output};
	return $running;
}

# When it held its first message, a tenth, and all.
sub awaited { end_program($_[0]) }

sub drop_stream { run_program('stream', $nats, 'drop', $_[0]) }

# Seconds of a process and its threads so far; those that have ended are included.
sub cpu_of
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/stat" or return;
	my $line = readline $file;
	$line =~ s/^.*\) //;
	my @fields = split ' ', $line;
	return ($fields[11] + $fields[12]) / POSIX::sysconf(&POSIX::_SC_CLK_TCK);
}

# In kB: the most that it has had, of all memory.
sub peak_memory
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/status" or return;
	while (my $line = readline $file) {
		return $1 if $line =~ /^VmHWM:\s+(\d+)/;
	}
	return;
}

sub child_of_postmaster
{
	my ($kind) = @_;
	open my $file, '<', directory() . '/data/postmaster.pid' or die "no postmaster\n";
	chomp(my $postmaster = readline $file);
	open my $children, '<', "/proc/$postmaster/task/$postmaster/children" or return;
	for my $pid (split ' ', readline($children) // '') {
		open my $command, '<', "/proc/$pid/cmdline" or next;
		return $pid if (readline($command) // '') =~ /^postgres: \Q$kind\E/;
	}
	return;
}

1;
