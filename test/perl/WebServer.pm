# A web server that does what the test says, and remembers what it was asked.
package WebServer;
use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP;
use POSIX qw(_exit);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my $owner = $$;
my @running;

# The path says what is answered: /status/500, /slow (never), /redirect, /large (200 kB); else 200 and "done <run>".
sub new
{
	my ($class) = @_;
	my $self = bless { port => PostgreSQL::Test::Cluster::get_free_port(), log => PostgreSQL::Test::Utils::tempdir() . '/requests' }, $class;
	push @running, $self;
	return $self->start;
}

sub url { return "http://127.0.0.1:$_[0]{port}" }

sub start
{
	my ($self) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 128, ReuseAddr => 1)
		or die "listen: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		setpgrp;
		$SIG{CHLD} = 'IGNORE';
		open STDOUT, '>', '/dev/null';	# else who reads the output of the test would wait for us
		open STDERR, '>&', \*STDOUT;
		while (my $socket = $listener->accept)
		{
			my $child = fork;
			next if $child;
			eval { $self->serve($socket) };
			_exit(0);
		}
		_exit(1);
	}
	$self->{pid} = $pid;
	return $self;
}

sub stop
{
	my ($self) = @_;
	return unless $self->{pid};
	kill '-KILL', $self->{pid};	# with all that serve
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

# What came in: { method, path, headers => { name in lower case => value }, body }.
sub requests
{
	my ($self) = @_;
	return () unless -e $self->{log};
	return map { decode_json($_) } split /\n/, slurp_file($self->{log});
}

sub serve
{
	my ($self, $socket) = @_;
	local $/ = "\r\n";
	while (defined(my $line = <$socket>))
	{
		my ($method, $path) = $line =~ /^(\S+) (\S+)/ or return;
		my %headers;
		while (defined($line = <$socket>) && $line =~ /^([^:]+): *(.*)\r\n$/) { $headers{ lc $1 } = $2 }
		read $socket, my ($body), $headers{'content-length'} // 0;
		open my $log, '>>', $self->{log} or die "$self->{log}: $!";
		syswrite $log, encode_json({ method => $method, path => $path, headers => \%headers, body => $body }) . "\n";
		close $log or die "$self->{log}: $!";
		<$socket> if $path =~ m{/slow};	# until the other side hangs up
		my ($status) = $path =~ m{/status/(\d+)};
		$status = 302 if $path =~ m{/redirect};
		my $text = $path =~ m{/large} ? 'x' x 200_000 : $path =~ m{/binary} ? "a\0b\xff" : 'done ' . $headers{'x-pgbraid-run'};
		my $more = $status && $status == 302 ? 'Location: ' . $self->url . "/elsewhere\r\n" : '';
		$socket->print('HTTP/1.1 ', $status // 200, " x\r\nContent-Length: ", length $text, "\r\n$more\r\n$text");
		$socket->flush;
	}
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

1;
