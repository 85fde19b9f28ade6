# A client of NATS for tests, that does nothing by itself: what it was sent is seen when it looks.
package NatsClient;
use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

my $inboxes = 0;

sub new
{
	my ($class, $nats, %options) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $nats->port, Timeout => 10) or die "connect: $@";
	my $self = bless { socket => $socket, buffer => '', messages => [], sids => 0,
		inbox => "_INBOX.test$$." . ++$inboxes }, $class;
	my $login = $options{login} // '';
	$socket->print("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true$login}\r\n");
	$self->subscribe("$self->{inbox}.*");
	return $self;
}

# Comes back when the server has taken it.
sub subscribe
{
	my ($self, $subject, $queue) = @_;
	$self->{socket}->print("SUB $subject " . ($queue ? "$queue " : '') . ++$self->{sids} . "\r\nPING\r\n");
	$self->{pong} = 0;
	$self->wait_for(sub { $self->{pong} }, 'PONG');
	return;
}

sub publish
{
	my ($self, $subject, $payload, $reply) = @_;
	$self->{socket}->print("PUB $subject " . ($reply ? "$reply " : '') . length($payload) . "\r\n$payload\r\n");
	return;
}

# The next message on the subject, or undef after so many seconds: { subject, reply, headers, data, json }.
sub next_message
{
	my ($self, $subject, $seconds) = @_;
	my $found;
	my $look = sub {
		my ($index) = grep { $self->{messages}[$_]{subject} eq $subject } 0 .. $#{ $self->{messages} };
		$found = splice @{ $self->{messages} }, $index, 1 if defined $index;
		return $found;
	};
	$self->wait_for($look, "a message on $subject", $seconds);
	return $found;
}

# The answer to a request, decoded. It is repeated as long as nobody is there.
sub ask
{
	my ($self, $subject, $message) = @_;
	my $text = ref $message ? encode_json($message) : $message;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $deadline)
	{
		my $reply = "$self->{inbox}." . ++$self->{asked};
		$self->{socket}->print("PUB $subject $reply " . length($text) . "\r\n$text\r\n");
		my $answer = $self->next_message($reply, 2);
		return decode_json($answer->{data}) if $answer && length $answer->{data};
	}
	die "nobody answers on $subject";
}

sub wait_for
{
	my ($self, $check, $what, $seconds) = @_;
	my $deadline = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);
	until ($check->())
	{
		my $left = $deadline - time;
		if ($left <= 0 || !IO::Select->new($self->{socket})->can_read($left))
		{
			return if defined $seconds;
			die "waited in vain for $what";
		}
		sysread $self->{socket}, $self->{buffer}, 65536, length $self->{buffer} or die 'nats-server hung up';
		1 while $self->parse;
	}
	return;
}

# One line of the protocol, with what belongs to it. False if it is not there as a whole.
sub parse
{
	my ($self) = @_;
	return 0 unless $self->{buffer} =~ /^([^\r\n]*)\r\n/;
	my ($line, $length) = ($1, length($1) + 2);
	my ($subject, $reply, $headers, $size);
	if ($line =~ /^MSG (\S+) \S+ (?:(\S+) )?(\d+)$/) { ($subject, $reply, $headers, $size) = ($1, $2, 0, $3) }
	elsif ($line =~ /^HMSG (\S+) \S+ (?:(\S+) )?(\d+) (\d+)$/) { ($subject, $reply, $headers, $size) = ($1, $2, $3, $4) }
	if (defined $size)
	{
		return 0 if length $self->{buffer} < $length + $size + 2;
		my $body = substr $self->{buffer}, $length, $size;
		push @{ $self->{messages} }, { subject => $subject, reply => $reply, headers => substr($body, 0, $headers),
			data => substr($body, $headers), json => scalar eval { decode_json(substr $body, $headers) } };
		$length += $size + 2;
	}
	$self->{pong} = 1 if $line eq 'PONG';
	$self->{socket}->print("PONG\r\n") if $line eq 'PING';
	die "nats-server: $line" if $line =~ /^-ERR/;
	substr $self->{buffer}, 0, $length, '';
	return 1;
}

1;
