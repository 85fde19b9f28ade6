# Three nats-servers of a test's own that are one cluster; replicated streams have a copy on each.
package NatsCluster;
use strict;
use warnings;

use NatsServer;
use PostgreSQL::Test::Cluster;
use Until;

sub new
{
	my ($class) = @_;
	my %ports = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(n1 n2 n3);
	my $routes = join ', ', map { "\"nats://127.0.0.1:$ports{$_}\"" } sort keys %ports;
	my %servers = map {
		$_ => NatsServer->new(start => 0, config => <<"END") } sort keys %ports;
server_name: $_
cluster { name: test, listen: "127.0.0.1:$ports{$_}", no_advertise: true, routes: [$routes] }
END
	my $self = bless { servers => \%servers }, $class;
	$_->start for $self->servers;
	return $self;
}

sub servers
{
	my ($self) = @_;
	return map { $self->{servers}{$_} } sort keys %{ $self->{servers} };
}

sub url
{
	my ($self) = @_;
	return join ',', map { $_->url } $self->servers;
}

# The stream as its leader sees it, see NatsServer; undef while it has none.
sub stream_detail
{
	my ($self, $stream) = @_;
	for my $server (grep { $_->pid } $self->servers)
	{
		my $detail = eval { $server->stream_detail($stream) } or next;
		my $leader = $self->{servers}{ $detail->{cluster}{leader} // '' } or next;
		return $detail if $leader == $server;
	}
	return;
}

sub stream_state
{
	my ($self, $stream) = @_;
	my $detail = $self->stream_detail($stream);
	return $detail && $detail->{state};
}

# The server that leads the stream, once all members have all of it.
sub leader_of_whole
{
	my ($self, $stream) = @_;
	my $detail;
	until_true(sub {
		$detail = $self->stream_detail($stream) or return 0;
		my @replicas = @{ $detail->{cluster}{replicas} // [] };
		return @replicas == $self->servers - 1 && !grep { $_->{offline} || !$_->{current} } @replicas;
	}, "stream $stream has all its members");
	return $self->{servers}{ $detail->{cluster}{leader} };
}

1;
