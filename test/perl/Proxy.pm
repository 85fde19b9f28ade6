# A TCP proxy between a flow and its NATS server, with a network's bad manners. It is a process of its own, which obeys
# one line at a time; each command has taken effect when its method returns.
#
# pass         forwards what comes
# delay(ms)    forwards every chunk that much later, both ways
# cut(bytes)   passes that many more bytes, then closes every connection in the middle of whatever it is;
#              direction => 'to_client' counts those of the server, then => 'refuse' lets nobody in afterwards,
#              then => 'hold' closes nothing, but holds back what follows on that connection, until pass
# black_hole   accepts connections and bytes, and forwards nothing; a connection that lost bytes ends with it
# stall        holds back, until pass, what comes on connections that are there, and lets new ones pass: bytes arrive
#              late, and after those of a later connection, even if the client has gone
# refuse       closes every connection, and refuses new ones
package Proxy;
use strict;
use warnings;

use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use List::Util qw(min);
use POSIX qw(_exit);
use PostgreSQL::Test::Cluster;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC SHUT_RD);
use Time::HiRes qw(time);

my $owner = $$;
my @running;
my $chunk = 65_536;
my $never = 9**9**9;
my $most_held = 4 << 20;	# of one direction; more stays in the kernel, and makes the sender wait

# Proxy->new(port => of the server)
sub new
{
	my ($class, %options) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => PostgreSQL::Test::Cluster::get_free_port(),
		ReuseAddr => 1, Listen => 128, Blocking => 0) or die "listen: $!";
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		close $ours;
		eval { serve({ listener => $listener, control => $theirs, target => $options{port}, mode => 'pass', pairs => {},
			accepted => 0, cuts => 0, swallowed => 0 }); 1 } or print STDERR "proxy: $@";
		_exit(0);	# the test's END blocks belong to the parent
	}
	close $theirs;
	$ours->autoflush;
	my $self = bless { pid => $pid, control => $ours, port => $listener->sockport }, $class;
	close $listener;
	push @running, $self;
	return $self;
}

sub port { return $_[0]{port} }
sub url { return "nats://127.0.0.1:$_[0]{port}" }

sub pass { my ($self) = @_; return $self->command('pass'); }
sub delay { my ($self, $ms) = @_; return $self->command("delay $ms"); }
sub black_hole { my ($self) = @_; return $self->command('black_hole'); }
sub stall { my ($self) = @_; return $self->command('stall'); }
sub refuse { my ($self) = @_; return $self->command('refuse'); }

sub cut
{
	my ($self, $bytes, %options) = @_;
	my ($direction, $then) = ($options{direction} // 'to_server', $options{then} // 'pass');
	return $self->command("cut $bytes $direction $then");
}

# { accepted => connections, cuts => how often cut() has struck, swallowed => bytes that a black hole took,
#   held => bytes that wait }
sub status
{
	my ($self) = @_;
	return { split / /, $self->command('status') };
}

sub command
{
	my ($self, $line) = @_;
	my $control = $self->{control};
	print $control "$line\n" or die "the proxy is gone: $!";
	my $answer = <$control> // die 'the proxy is gone';
	chomp $answer;
	return $answer;
}

sub stop
{
	my ($self) = @_;
	return unless $self->{pid};
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

END
{
	local $?;
	if ($$ == $owner)
	{
		$_->stop for @running;
	}
}

# The rest is the life of the process. A pair is two sides, { socket, other, direction, held => [[due, bytes], ...] }:
# held is what this side has to take.
sub serve
{
	my ($proxy) = @_;
	$SIG{PIPE} = 'IGNORE';
	while (1)
	{
		my ($readers, $writers, $timeout) = interests($proxy);
		my ($readable, $writable) = IO::Select->select(IO::Select->new(@$readers), IO::Select->new(@$writers), undef, $timeout);
		my %sides = map { fileno($_->{socket}) => $_ } sides($proxy);
		for my $socket (@{ $writable // [] })
		{
			my $side = $sides{ fileno($socket) // -1 };
			write_side($proxy, $side) if $side;
		}
		for my $socket (@{ $readable // [] })
		{
			my $side = $sides{ fileno($socket) // -1 };
			if ($socket == $proxy->{control}) { obey($proxy) }
			elsif ($socket == $proxy->{listener}) { accept_client($proxy) }
			elsif ($side) { read_side($proxy, $side) }
		}
	}
	return;
}

sub sides
{
	my ($proxy) = @_;
	return map { @$_ } values %{ $proxy->{pairs} };
}

sub interests
{
	my ($proxy) = @_;
	my (@readers, @writers, $timeout);
	push @readers, $proxy->{control}, $proxy->{mode} eq 'refuse' ? () : $proxy->{listener};
	for my $side (sides($proxy))
	{
		push @readers, $side->{socket} unless $side->{ended} || held($side->{other}) >= $most_held;
		next if $side->{stalled} || !@{ $side->{held} } || $side->{held}[0][0] == $never;
		my $wait = $side->{held}[0][0] - time;
		if ($wait <= 0) { push @writers, $side->{socket} }
		else { $timeout = min($timeout // $wait, $wait) }
	}
	return (\@readers, \@writers, $timeout);
}

sub held
{
	my ($side) = @_;
	my $sum = 0;
	$sum += length $_->[1] for @{ $side->{held} };
	return $sum;
}

sub accept_client
{
	my ($proxy) = @_;
	my $client = $proxy->{listener}->accept or return;
	$proxy->{accepted}++;
	my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$proxy->{target}", Timeout => 5) or return;	# closes the client
	$_->blocking(0) for $client, $server;
	my @pair = ({ socket => $client, direction => 'to_client', held => [] }, { socket => $server, direction => 'to_server', held => [] });
	$pair[0]{other} = $pair[1];
	$pair[1]{other} = $pair[0];
	$_->{pair} = $proxy->{accepted} for @pair;
	$proxy->{pairs}{ $proxy->{accepted} } = \@pair;
	return;
}

sub read_side
{
	my ($proxy, $side) = @_;
	my $bytes;
	my $read = sysread $side->{socket}, $bytes, $chunk;
	return if !defined $read && $!{EAGAIN};
	return note_end($proxy, $side) unless $read;
	my $to = $side->{other};
	if ($proxy->{mode} eq 'black_hole')
	{
		$proxy->{swallowed} += $read;
		$to->{lost} = 1;
		return;
	}
	return cut_after($proxy, $to, $bytes) if ($proxy->{cut_direction} // '') eq $to->{direction};
	push @{ $to->{held} }, [ $proxy->{mode} eq 'delay' ? time + $proxy->{delay} : 0, $bytes ];
	write_side($proxy, $to) unless $to->{stalled} || $proxy->{mode} eq 'delay';
	return;
}

# One that ended is closed on the other side when that has taken what was held for it.
sub note_end
{
	my ($proxy, $side) = @_;
	$side->{ended} = 1;
	drop($proxy, $side) unless @{ $side->{other}{held} };
	return;
}

sub write_side
{
	my ($proxy, $side) = @_;
	return unless $proxy->{pairs}{ $side->{pair} };
	while (@{ $side->{held} } && $side->{held}[0][0] <= time)
	{
		my $written = syswrite $side->{socket}, $side->{held}[0][1];
		return if !defined $written && $!{EAGAIN};
		return drop($proxy, $side) unless defined $written;
		substr $side->{held}[0][1], 0, $written, '';
		shift @{ $side->{held} } unless length $side->{held}[0][1];
	}
	drop($proxy, $side) if $side->{other}{ended} && !@{ $side->{held} };
	return;
}

sub drop
{
	my ($proxy, $side) = @_;
	delete $proxy->{pairs}{ $side->{pair} };
	close $_->{socket} for $side, $side->{other};
	delete $_->{other} for $side->{other}, $side;
	return;
}

sub cut_after
{
	my ($proxy, $side, $bytes) = @_;
	my $last = substr $bytes, 0, $proxy->{cut_bytes}, '';
	$proxy->{cut_bytes} -= length $last;
	push @{ $side->{held} }, [ 0, $last ];
	write_side($proxy, $side);
	return if $proxy->{cut_bytes} > 0;
	delete $proxy->{cut_direction};
	$proxy->{cuts}++;
	if ($proxy->{cut_then} eq 'refuse') { change_mode($proxy, 'refuse') }
	elsif ($proxy->{cut_then} eq 'hold') { push @{ $side->{held} }, [ $never, $bytes ] }
	else { drop_all($proxy) }
	return;
}

sub drop_all
{
	my ($proxy, $which) = @_;
	for my $pair (values %{ $proxy->{pairs} })
	{
		drop($proxy, $pair->[0]) if !$which || $which->($pair);
	}
	return;
}

sub obey
{
	my ($proxy) = @_;
	my $control = $proxy->{control};
	my $line = '';
	until ($line =~ /\n/)
	{
		sysread($control, $line, 1, length $line) or _exit(0);	# the test has ended
	}
	my ($command, @arguments) = split ' ', $line;
	my $answer = 'ok';
	if ($command eq 'status') { $answer = status_line($proxy) }
	elsif ($command eq 'cut') { @$proxy{qw(cut_bytes cut_direction cut_then)} = @arguments }
	else
	{
		$proxy->{delay} = $arguments[0] / 1000 if $command eq 'delay';
		change_mode($proxy, $command);
	}
	syswrite $control, "$answer\n";
	return;
}

# On Linux a socket that was shut down keeps the port that it was bound to, refuses connections, and can listen again.
sub change_mode
{
	my ($proxy, $mode) = @_;
	my $old = $proxy->{mode};
	$proxy->{mode} = $mode;
	delete $proxy->{cut_direction};
	drop_all($proxy, sub { $_[0][0]{lost} || $_[0][1]{lost} }) if $old eq 'black_hole' && $mode ne $old;
	listen $proxy->{listener}, 128 or die "listen: $!" if $old eq 'refuse' && $mode ne $old;
	for my $side (sides($proxy))
	{
		$side->{stalled} = $mode eq 'stall';
		$_->[0] = 0 for grep { $_->[0] == $never } @{ $side->{held} };
	}
	return unless $mode eq 'refuse';
	shutdown $proxy->{listener}, SHUT_RD or die "shutdown: $!";
	drop_all($proxy);
	return;
}

sub status_line
{
	my ($proxy) = @_;
	my $held = 0;
	$held += held($_) for sides($proxy);
	return join ' ', (map { $_ => $proxy->{$_} } qw(accepted cuts swallowed)), held => $held;
}

1;
