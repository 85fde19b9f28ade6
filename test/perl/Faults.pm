# What can befall a flow under load. Each fault is a method that returns once it has struck and its cause is over;
# whether the flow has recovered is another question, asked by progress().
package Faults;
use strict;
use warnings;

use Load;
use Time::HiRes qw(time);
use Until;

# Faults->new(braid => Braid, flow => 'name', proxy => Proxy before NATS, rate => transactions in a second); the load
# runs from now on.
sub new
{
	my ($class, %options) = @_;
	my $self = bless { %options, stream => $options{braid}->stream_of($options{flow}), inflicted => {} }, $class;
	$self->start_load;
	return $self;
}

sub start_load
{
	my ($self) = @_;
	$self->{load} = Load::start($self->{braid}, rate => $self->{rate});
	return;
}

sub stop_load
{
	my ($self) = @_;
	Load::stop($self->{load});
	return;
}

sub inflict
{
	my ($self, $fault) = @_;
	$self->$fault;
	$self->{inflicted}{$fault}++;
	return;
}

sub inflicted { my ($self, $fault) = @_; return $self->{inflicted}{$fault} // 0; }

# Until that many more messages are in the stream. NATS must be there.
sub progress
{
	my ($self, $messages) = @_;
	my $target = $self->last_sequence + $messages;
	$self->await(sub { $self->last_sequence >= $target }, "the stream has message $target");
	return;
}

sub last_sequence
{
	my ($self) = @_;
	my $state = $self->{braid}->nats->stream_state($self->{stream});
	return $state ? $state->{last_seq} : 0;
}

# A flow that is lost will not come back; no use in waiting for it.
sub await
{
	my ($self, $check, $what) = @_;
	my $look = time + 2;
	until_true(sub {
		$look = $self->look_for_loss if time > $look;
		return $check->();
	}, $what);
	return;
}

sub look_for_loss
{
	my ($self) = @_;
	my ($status, $out) = $self->{braid}->node->psql('postgres',
		"SELECT last_error FROM pgbraid.stat_flow WHERE flow = '$self->{flow}' AND state = 'lost'");
	die "the flow is lost: $out" if $out ne '';
	return time + 2;
}

sub worker_pid
{
	my ($self) = @_;
	my $pid;
	until_true(sub {
		$pid = $self->{braid}->sql("SELECT pid FROM pgbraid.stat_flow WHERE flow = '$self->{flow}'");
	}, 'the flow has a worker');
	return $pid;
}

sub terminate_worker
{
	my ($self) = @_;
	my $worker = "FROM pgbraid.stat_flow WHERE flow = '$self->{flow}' AND pid IS NOT NULL";
	until_true(sub { $self->{braid}->sql("SELECT pg_terminate_backend(pid) $worker") eq 't' }, 'the worker is terminated');
	return;
}

# PostgreSQL then ends all sessions and goes through crash recovery.
sub kill_worker
{
	my ($self) = @_;
	until_true(sub { kill 'KILL', $self->worker_pid }, 'there is a worker to kill');
	Load::finish($self->{load});
	$self->{braid}->until_sql('SELECT true');
	$self->start_load;
	return;
}

sub stop_postgres
{
	my ($self) = @_;
	$self->{braid}->node->stop('immediate');
	Load::finish($self->{load});
	$self->{braid}->node->start;
	$self->start_load;
	return;
}

sub kill_nats
{
	my ($self) = @_;
	$self->{braid}->nats->kill9;
	Load::wait_for_rows($self->{braid}, int rand 200);
	$self->{braid}->nats->start;
	return;
}

# In the middle of a message, or of an answer; then the network may stay away for a while.
sub cut
{
	my ($self) = @_;
	my $then = rand() < 0.3 ? 'refuse' : 'pass';
	$self->sever($then);
	Load::wait_for_rows($self->{braid}, int rand 200) if $then eq 'refuse';
	$self->{proxy}->pass;
	return;
}

# With 'refuse' the network is away until the proxy is told to pass.
sub sever
{
	my ($self, $then) = @_;
	my $proxy = $self->{proxy};
	my ($direction, $most) = rand() < 0.5 ? ('to_server', 50_000) : ('to_client', 300);
	my $before = $proxy->status->{cuts};
	$proxy->cut(1 + int rand $most, direction => $direction, then => $then);
	$self->await(sub { $proxy->status->{cuts} > $before }, 'the connection is cut');
	return;
}

sub delay
{
	my ($self) = @_;
	$self->{proxy}->delay(1 + int rand 20);
	$self->progress(100);
	$self->{proxy}->pass;
	return;
}

# Until the flow has lost its patience.
sub black_hole
{
	my ($self) = @_;
	my $proxy = $self->{proxy};
	$self->progress(1);
	my $before = $proxy->status;
	$proxy->black_hole;
	$self->await(sub {
		my $now = $proxy->status;
		return $now->{swallowed} > $before->{swallowed} && $now->{accepted} > $before->{accepted};
	}, 'the flow has tried another connection');
	$proxy->pass;
	return;
}

# What was sent on one connection comes to the server when the flow has another one. It may happen to have none when the
# stall begins; then that begins again.
sub stall
{
	my ($self) = @_;
	my $proxy = $self->{proxy};
	my $before = { accepted => -1 };
	$self->await(sub {
		my $now = $proxy->status;
		return 0 if $now->{accepted} == $before->{accepted};
		return 1 if $now->{held} && $before->{accepted} >= 0;
		$proxy->pass;
		$before = $proxy->status;
		$proxy->stall;
		return 0;
	}, 'the flow has tried another connection');
	$self->progress(int rand 200) if rand() < 0.5;
	$proxy->pass;
	return;
}

sub refuse
{
	my ($self) = @_;
	$self->{proxy}->refuse;
	Load::wait_for_rows($self->{braid}, int rand 400);
	$self->{proxy}->pass;
	return;
}

1;
