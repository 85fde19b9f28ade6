# A nats-server of a test's own: on a free loopback port, with a store that goes when the test does.
package NatsServer;
use strict;
use warnings;

use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(WNOHANG _exit);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time sleep);

my @running;
my $owner = $$;

# NatsServer->new(jetstream => 0, config => 'authorization {...}', start => 0, scheme => 'tls')
sub new
{
	my ($class, %options) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir('nats');
	my $self = bless {
		port => PostgreSQL::Test::Cluster::get_free_port(),
		monitor_port => PostgreSQL::Test::Cluster::get_free_port(),
		directory => $directory,
		jetstream => $options{jetstream} // 1,
		config => $options{config} // '',
		scheme => $options{scheme} // 'nats',
		credentials => $options{credentials} // '',
		log => $options{log} // "$directory/nats.log",
	}, $class;
	$self->start unless exists $options{start} && !$options{start};
	return $self;
}

sub port { return $_[0]{port} }
sub pid { return $_[0]{pid} }
sub directory { return $_[0]{directory} }

# With what a client needs to be let in: "user:password@", if the test said so.
sub url
{
	my ($self, $credentials) = @_;
	return "$self->{scheme}://" . ($credentials // $self->{credentials}) . "127.0.0.1:$self->{port}";
}

# What the server itself says of a stream: { messages, last_seq, ... }, undef if there is none.
sub stream_state
{
	my ($self, $name) = @_;
	my $stream = $self->stream_detail($name);
	return $stream && $stream->{state};
}

# With its configuration and, in a cluster, where it lives: { state, config, cluster }. Asked over the monitoring port,
# which wants no credentials.
sub stream_detail
{
	my ($self, $name) = @_;
	my $answer = HTTP::Tiny->new(timeout => 10)->get("http://127.0.0.1:$self->{monitor_port}/jsz?streams=1&config=1");
	die "nats-server does not answer: $answer->{content}" unless $answer->{success};
	my @streams = map { @{ $_->{stream_detail} // [] } } @{ decode_json($answer->{content})->{account_details} // [] };
	my ($stream) = grep { $_->{name} eq $name } @streams;
	return $stream;
}

# The answer to a request, as of JetStream's API: request('$JS.API.STREAM.CREATE.s', '{"name":"s"}').
sub request
{
	my ($self, $subject, $payload) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$self->{port}", Timeout => 10) or die "connect: $@";
	$socket->print('CONNECT {"verbose":false,"pedantic":false}', "\r\nSUB _INBOX.test 1\r\n",
		"PUB $subject _INBOX.test ", length $payload, "\r\n$payload\r\n");
	while (my $line = <$socket>)
	{
		die "nats-server: $line" if $line =~ /^-ERR/;
		next unless $line =~ /^MSG .* (\d+)\r$/;
		read $socket, my ($answer), $1;
		return $answer;
	}
	die "nats-server hung up";
}

# Replaces the extra configuration; holds from the next start, or reload().
sub configure
{
	my ($self, $config) = @_;
	$self->{config} = $config;
	$self->write_config;
	return;
}

sub write_config
{
	my ($self) = @_;
	my $text = "listen: \"127.0.0.1:$self->{port}\"\nhttp: \"127.0.0.1:$self->{monitor_port}\"\n";
	$text .= "jetstream { store_dir: \"$self->{directory}/store\" }\n" if $self->{jetstream};
	open my $file, '>', "$self->{directory}/nats.conf" or die "nats.conf: $!";
	print $file $text, $self->{config}, "\n";
	close $file or die "nats.conf: $!";
	return;
}

sub start
{
	my ($self) = @_;
	die "nats-server runs" if $self->{pid};
	$self->write_config;
	my $pid = fork // die "fork: $!";
	exec_server($self) if $pid == 0;
	$self->{pid} = $pid;
	push @running, $self unless grep { $_ == $self } @running;
	$self->wait_until_ready;
	return $self;
}

# In the child. _exit, since the test's END blocks belong to the parent.
sub exec_server
{
	my ($self) = @_;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>>', $self->{log};
	open STDERR, '>&', \*STDOUT;
	no warnings 'exec';
	exec $ENV{NATS_SERVER} // 'nats-server', '-c', "$self->{directory}/nats.conf";
	_exit(127);
}

# Every nats-server greets with INFO, one with TLS too.
sub wait_until_ready
{
	my ($self) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($self->greets)
	{
		die "nats-server did not start; its log:\n" . slurp_file($self->{log})
			if waitpid($self->{pid}, WNOHANG) == $self->{pid} || time > $deadline;
		sleep 0.02;
	}
	return;
}

sub greets
{
	my ($self) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$self->{port}", Timeout => 1) or return 0;
	my $line = <$socket> // '';
	return $line =~ /^INFO/;
}

sub signal_server
{
	my ($self, $signal) = @_;
	die "nats-server does not run" unless $self->{pid};
	kill $signal, $self->{pid} or die "kill: $!";
	return;
}

sub end_with
{
	my ($self, $signal) = @_;
	return unless $self->{pid};
	kill $signal, $self->{pid};
	kill 'CONT', $self->{pid};	# a stopped process hears nothing but this and KILL
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub stop { my ($self) = @_; $self->end_with('TERM'); return; }
sub kill9 { my ($self) = @_; $self->end_with('KILL'); return; }
sub restart { my ($self) = @_; $self->stop; $self->start; return; }
sub pause { my ($self) = @_; $self->signal_server('STOP'); return; }
sub continue { my ($self) = @_; $self->signal_server('CONT'); return; }
sub reload { my ($self) = @_; $self->signal_server('HUP'); return; }

# The test's exit status must survive waitpid.
END
{
	local $?;
	if ($$ == $owner)
	{
		$_->end_with('KILL') for @running;
	}
}

1;
