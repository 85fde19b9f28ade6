# A PostgreSQL node that runs pgbraid, the NATS server it publishes to, and what tests ask of the two.
package Braid;
use strict;
use warnings;

use IPC::Run;
use JSON::PP;
use MIME::Base64 qw(decode_base64);
use NatsServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Until;

my $seconds = $PostgreSQL::Test::Utils::timeout_default;
my $nodes = 0;

# Braid->new(nats => 0 | NatsServer | NatsCluster, url => of a proxy before it, conf => 'work_mem = 1MB',
#            extra => [initdb options], preload => 0, start => 0)
sub new
{
	my ($class, %options) = @_;
	my $nats = exists $options{nats} ? $options{nats} : NatsServer->new;
	my $node = PostgreSQL::Test::Cluster->new($options{name} // 'braid' . ++$nodes);
	$node->init(extra => $options{extra} // []);
	$node->append_conf('postgresql.conf', configuration($nats, %options));
	my $self = bless { node => $node, nats => $nats, seen => {} }, $class;
	return $self if exists $options{start} && !$options{start};
	$node->start;
	$self->sql('CREATE EXTENSION pgbraid');
	return $self;
}

sub configuration
{
	my ($nats, %options) = @_;
	my $url = $options{url} // ($nats ? $nats->url : 'nats://127.0.0.1:1');
	my $conf = $options{preload} // 1 ? "shared_preload_libraries = 'pgbraid'\n" : '';
	return $conf . <<"END" . ($options{conf} // '') . "\n";
wal_level = logical
max_wal_senders = 4
max_replication_slots = 32
max_worker_processes = 32
fsync = off
autovacuum = off
log_min_messages = info
pgbraid.restart_delay_max = 500ms
pgbraid.nats_url = '$url'
END
}

sub node { return $_[0]{node} }
sub nats { return $_[0]{nats} }

# Runs SQL that must succeed; returns what psql -At prints. In another database with (dbname => 'x').
sub sql
{
	my ($self, $sql, %options) = @_;
	return $self->{node}->safe_psql($options{dbname} // 'postgres', $sql);
}

# What psql says of an error: "ERROR:  22023: message", DETAIL, HINT. '' for success.
sub error_of
{
	my ($self, $sql, %options) = @_;
	my ($status, $out, $err) = $self->{node}->psql($options{dbname} // 'postgres', $sql,
		on_error_stop => 1, extra_params => [ '-v', 'VERBOSITY=verbose', '-v', 'SHOW_CONTEXT=never' ]);
	return $status == 0 ? '' : $err;
}

# A refusal names its SQLSTATE and says what to do.
sub refuses
{
	my ($self, $sql, $sqlstate, $hint, $name, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $error = $self->error_of($sql, %options);
	like($error, qr/ERROR:  $sqlstate:.*HINT:  [^\n]*$hint/s, $name);
	return $error;
}

# Polls until the query, which changes nothing, says what is expected ('t'). Without a name for a test, failing ends the file.
sub until_sql
{
	my ($self, $query, $expected, $name, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($met, $said) = until_answer($self->{node}->connstr($options{dbname} // 'postgres'), $query, $expected // 't');
	ok($met, $name) if defined $name;
	return 1 if $met;
	die "condition not met: $query\nlast: $said" unless defined $name;
	diag("$query\nlast: $said");
	return 0;
}

sub until_state
{
	my ($self, $flow, $state, $name, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $met = $self->until_sql('SELECT state FROM pgbraid.stat_flow WHERE flow = ' . quoted($flow), $state,
		$name // "flow $flow is $state", %options);
	diag($self->report(%options)) unless $met;
	return $met;
}

sub worker_pid
{
	my ($self, $flow) = @_;
	return $self->sql('SELECT pid FROM pgbraid.stat_flow WHERE pid IS NOT NULL AND flow = ' . quoted($flow));
}

# Kills a flow's worker with -9, so that PostgreSQL starts anew, and waits until it streams again. The log tells when
# that is over: a psql that connects meanwhile can die before it has read its query, and the test with it.
sub kill_worker
{
	my ($self, $flow) = @_;
	my $pid = $self->worker_pid($flow);
	my $offset = -s $self->{node}->logfile;
	kill 'KILL', $pid or die "there is no worker $pid";
	$self->{node}->wait_for_log(qr/database system is ready to accept connections/, $offset);
	return $self->until_sql("SELECT count(*) FROM pgbraid.stat_flow WHERE pid <> $pid AND state = 'streaming' AND flow = "
		. quoted($flow), '1');
}

# Everything committed up to now is in the stream, or the file ends. Much may take long on a busy machine: as long as the
# stream grows there is hope.
sub wait_for
{
	my ($self, $flow, %options) = @_;
	my ($done, $length, $before) = ('f', 0, -1);
	while ($done ne 't' && $length > $before)
	{
		$done = $self->sql('SELECT pgflow_wait(' . quoted($flow) . ", timeout => '$seconds s')", %options);
		$before = $length;
		$length = $self->sql('SELECT events_published FROM pgbraid.stat_flow WHERE flow = ' . quoted($flow), %options) || 0 if $done ne 't';
	}
	die "flow $flow did not publish everything in time:\n" . $self->report(%options) unless $done eq 't';
	return;
}

sub report
{
	my ($self, %options) = @_;
	return $self->sql("\\x\nSELECT * FROM pgbraid.stat_flow", %options);
}

sub stream_of
{
	my ($self, $flow, %options) = @_;
	return $self->sql('SELECT stream FROM pgbraid.flows WHERE flow = ' . quoted($flow), %options);
}

# The payloads of a stream's messages alone, where there are many or large ones.
sub payloads
{
	my ($self, $stream) = @_;
	my ($out, $err) = ('', '');
	my @command = ('pgbraid-tail', '-s', $self->{nats}->url, '--stream', $stream, '--until-end');
	IPC::Run::run(\@command, '>', \$out, '2>', \$err) or die "pgbraid-tail failed: $err";
	return split /\n/, $out;
}

# Every message of a stream: { stream_seq, subject, headers, text }, and event: the text decoded.
sub messages
{
	my ($self, $stream, %options) = @_;
	my ($out, $err) = ('', '');
	utf8::decode(my $name = $stream);
	my $state = $self->{nats}->stream_state($name) or die "there is no stream $stream";
	return () unless $state->{messages};
	my @command = ('pgbraid-tail', '-s', $options{url} // $self->{nats}->url, '--stream', $stream,
		'--from', 'all', '--json', '--until-end', '--timeout', $seconds);
	IPC::Run::run(\@command, '>', \$out, '2>', \$err, IPC::Run::timeout($seconds * 2))
		or die "pgbraid-tail failed: $err";
	my @messages = map { message_of($_) } split /\n/, $out;
	return $options{assemble} ? assembled(@messages) : @messages;
}

# Puts pieces together (header Pgbraid-Part: 2/5), as a consumer must: piece 1 begins, and anything else than the next
# piece ends it in vain. The message is then that of the last piece, with the whole payload as `text`, and `parts`; it is
# not decoded, but for what comes before the key and the row.
sub assembled
{
	my (@whole, $text, $next);
	for my $message (@_)
	{
		my ($number, $count) = ($message->{headers}{'Pgbraid-Part'} // '1/1') =~ m{^(\d+)/(\d+)$};
		($text, $next) = ('', 1) if $number == 1;
		next if $number != $next;
		$text .= $message->{text};
		$next++;
		next if $number < $count;
		my %made = (%$message, text => $text, parts => $count);
		$made{event} = eval { decode_json($text =~ s/,"(?:key|after|before|transactional)":.*/}/sr) } if $count > 1;
		push @whole, \%made;
		$next = 0;
	}
	return @whole;
}

# The payload is wanted as it was published, to the byte: a decoder would lose the digits of numbers.
sub message_of
{
	my ($line) = @_;
	# A piece of something larger. (A JSON parser in Perl takes its time for megabytes.)
	if ($line =~ s/,"data_base64":"([^"]*)"\}\s*$/}/)
	{
		my $piece = decode_base64($1);
		return { %{ decode_json($line) }, text => $piece };
	}
	my $message = decode_json($line);
	my ($text) = $line =~ /"data":(.*)\}\s*$/s or die "no data: $line";
	if ($text =~ /^"/)
	{
		$text = $message->{data};
		utf8::encode($text);
	}
	$message->{text} = $text;
	$message->{event} = eval { decode_json($text) };
	return $message;
}

# What a flow has published since the last call; all that was committed before this one is there.
sub events
{
	my ($self, $flow, %options) = @_;
	$self->wait_for($flow, %options);
	my $stream = $self->stream_of($flow, %options);
	my @all = $self->messages($stream, %options);
	my $seen = $self->{seen}{$stream} // 0;
	$self->{seen}{$stream} = @all;
	my @new = @all[ $seen .. $#all ];
	return @new;
}

# Events in short: "insert public.t, delete public.t".
sub summary
{
	return join ', ', map { "$_->{event}{op} $_->{event}{schema}.$_->{event}{table}" } @_;
}

sub quoted
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# Compares data as canonical JSON, so that a difference shows as text.
sub is_json
{
	my ($got, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $json = JSON::PP->new->canonical->allow_nonref->utf8;
	$expected = $json->decode($expected) unless ref $expected;
	is($json->encode($got), $json->encode($expected), $name);
	return;
}

1;
