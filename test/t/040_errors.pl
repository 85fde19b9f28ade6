# What goes wrong between a flow and NATS: it shows, with an SQLSTATE and a hint, disturbs nobody, and ends when its cause does.
use strict;
use warnings;

use Braid;
use NatsServer;
use Test::More;

my $accounts = <<'END';
authorization {
	users: [
		{ user: good, password: right }
		{ user: mute, password: right, permissions: { publish: { allow: ["$JS.API.>", "_INBOX.>"] }, subscribe: ">" } }
		{ user: plain, password: right, permissions: { publish: { deny: ["$JS.API.>"] }, subscribe: ">" } }
	]
}
END
my $nats = NatsServer->new(config => $accounts, credentials => 'good:right@');
my $braid = Braid->new(nats => $nats, conf => 'pgbraid.flow_horizon = 1h');
my $port = $nats->port;
my $number = 0;

$braid->sql('CREATE TABLE t (id int PRIMARY KEY, v text)');

# A server object of NATS, with a user mapping.
sub server
{
	my ($name, $url, %mapping) = @_;
	my $options = join ', ', map { "$_ '$mapping{$_}'" } sort keys %mapping;
	$braid->sql("BEGIN; CREATE SERVER $name FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url '$url');"
		. ($options && "CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS ($options);") . 'COMMIT');
	return;
}

sub create
{
	my ($flow, $more) = @_;
	$braid->sql("SELECT pgflow_create('$flow', tables => '{t}', snapshot => 'none', subject => '$flow.{table}'" . ($more ? ", $more" : '') . ')');
	return;
}

# The view shows the error, its class and what to do.
sub shows
{
	my ($flow, $sqlstate, $error, $hint, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $met = $braid->until_sql("SELECT last_sqlstate ~ '^$sqlstate\$' AND last_error ~* \$q\$$error\$q\$ AND last_hint ~* \$q\$$hint\$q\$
		AND last_error_at IS NOT NULL FROM pgbraid.stat_flow WHERE flow = '$flow'", 't', $name);
	diag($braid->sql("SELECT state, last_sqlstate, last_error, last_hint FROM pgbraid.stat_flow WHERE flow = '$flow'")) unless $met;
	return;
}

# The flow streams, and what is written now arrives.
sub works
{
	my ($flow, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$braid->until_state($flow, 'streaming', $name) or return;
	$number++;
	$braid->sql("INSERT INTO t VALUES ($number)");
	$braid->wait_for($flow);
	my @events = $braid->messages($braid->stream_of($flow));
	is($events[-1]{event}{after}{id}, $number, "$name: what is written arrives");
	return;
}

# Nobody listens there. The database goes on; the flow comes to life with the server.
my $late = NatsServer->new(start => 0);
server('late', $late->url);
create('late', "server => 'late'");
shows('late', '08001', 'could not connect', 'url', 'NATS unreachable');
is($braid->error_of('INSERT INTO t VALUES (-1); CREATE TABLE x (); DROP TABLE x'), '', 'the database is not disturbed');
$late->start;
$braid->until_state('late', 'streaming', 'it connects when NATS comes up');
$braid->sql("SELECT pgflow_drop('late'); DROP SERVER late CASCADE");

# The address belongs to something else.
my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1');
server('silent', 'nats://127.0.0.1:' . $silent->sockport);
create('silent', "server => 'silent'");
shows('silent', '08\w{3}', '127.0.0.1', 'url', 'a server that does not answer');
$braid->sql("SELECT pgflow_drop('silent'); DROP SERVER silent CASCADE");
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgbraid flow'", 0, 'a flow that hangs in a handshake can be dropped');
close $silent;

# JetStream is off.
my $core = NatsServer->new(jetstream => 0);
server('core', $core->url);
create('core', "server => 'core'");
shows('core', '0A000', 'JetStream', 'with -js', 'JetStream is off');
$core->stop;
$core->{jetstream} = 1;
$core->start;
$braid->until_state('core', 'streaming', 'it streams when JetStream is on');
$braid->sql("SELECT pgflow_drop('core'); DROP SERVER core CASCADE");

# Permissions.
server('mute', "nats://127.0.0.1:$port", user => 'mute', password => 'right');
create('mute', "server => 'mute'");
$braid->until_sql("SELECT state IN ('streaming', 'failed') FROM pgbraid.stat_flow WHERE flow = 'mute'");
$braid->sql('INSERT INTO t VALUES (-2)');
shows('mute', '42501', 'ermission', 'publish to "mute', 'publishing is not permitted');
$braid->sql("ALTER USER MAPPING FOR CURRENT_USER SERVER mute OPTIONS (SET user 'good'); SELECT pgflow_alter('mute', server => 'mute')");
works('mute', 'permitted after ALTER USER MAPPING');
is(join(',', map { $_->{event}{after}{id} } $braid->messages('postgres_mute')), "-2,$number", 'with what had been refused');
server('plain', "nats://127.0.0.1:$port", user => 'plain', password => 'right');
create('plain', "server => 'plain'");
shows('plain', '42501', 'ermission', 'JS\.API', 'the API of JetStream is not permitted');
(my $open = $accounts) =~ s/deny: \[.*?\]/allow: [">"]/;
$nats->configure($open);
$nats->reload;
works('plain', 'permitted after a reload of nats-server');

# Credentials.
server('bad', "nats://127.0.0.1:$port", user => 'good', password => 'wrong');
create('bad', "server => 'bad'");
shows('bad', '28(000|P01)', 'refuses the connection', 'user, token', 'a wrong password');
$braid->until_sql("SELECT last_error !~ 'wrong' AND last_hint !~ 'wrong' FROM pgbraid.stat_flow WHERE flow = 'bad'", 't', 'which is not shown');
$braid->sql("ALTER USER MAPPING FOR CURRENT_USER SERVER bad OPTIONS (SET password 'right'); SELECT pgflow_alter('bad', server => 'bad')");
works('bad', 'the right password');
server('none', "nats://127.0.0.1:$port");
create('none', "server => 'none'");
shows('none', '28(000|P01)', 'refuses the connection', 'user, token', 'no credentials');
$braid->sql("CREATE USER MAPPING FOR CURRENT_USER SERVER none OPTIONS (user 'good', password 'right')");
works('none', 'a user mapping alone mends it');
$braid->sql("SELECT pgflow_drop('none')");

# Streams of others.
sub make_stream
{
	my ($name, $subject) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or die;
	my $json = "{\"name\":\"$name\",\"subjects\":[\"$subject\"]}";
	print $socket 'CONNECT {"user":"good","pass":"right","verbose":false}' . "\r\nSUB reply 1\r\nPUB \$JS.API.STREAM.CREATE.$name reply "
		. length($json) . "\r\n$json\r\n";
	while (<$socket>) { last if /stream_create_response/ }
	return;
}
make_stream('orders', 'orders.>');
create('taken', "stream => 'orders'");
shows('taken', '55000', 'stream "orders" does not listen on "taken', 'another stream', 'the stream exists with other subjects');
$braid->sql("SELECT pgflow_alter('taken', stream => 'taken')");
works('taken', 'another stream');
$braid->sql("SELECT pgflow_create('overlap', tables => '{t}', snapshot => 'none', subject => 'orders.{table}')");
shows('overlap', '55000', 'overlap with those of stream "orders"', 'subjects of your own', 'subjects of another stream');
$braid->sql("SELECT pgflow_alter('overlap', subject => 'overlap.{table}')");
works('overlap', 'subjects of its own');
make_stream('fitting', 'fitting.*');
create('fitting', "stream => 'fitting'");
works('fitting', 'a stream that somebody made with the right subjects');

# The server object goes while the flow exists.
server('gone', "nats://127.0.0.1:$port", user => 'good', password => 'right');
create('gone', "server => 'gone'");
works('gone', 'a flow by a server object');
$braid->sql('DROP SERVER gone CASCADE');
$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow WHERE flow = 'gone' AND pid IS NOT NULL");
shows('gone', '42704', 'server "gone" does not exist', 'CREATE SERVER', 'the server object is gone');
server('gone', "nats://127.0.0.1:$port", user => 'good', password => 'right');
works('gone', 'the server object is back');

# The publication goes while the flow runs: changes are not passed over in silence.
$braid->sql("CREATE PUBLICATION p FOR TABLE t; SELECT pgflow_create('orphan', publication => 'p', snapshot => 'none', subject => 'orphan.{table}')");
works('orphan', 'a flow of a publication');
my $offset = -s $braid->node->logfile;
$braid->sql('DROP PUBLICATION p');
$braid->sql('INSERT INTO t VALUES (-3)');
$braid->sql("SELECT pgflow_wait('orphan', timeout => '1 s')");
ok($braid->node->wait_for_log(qr/publication "p" did not exist/, $offset), 'a change without its publication is warned of');
$braid->sql('CREATE PUBLICATION p FOR TABLE t');
works('orphan', 'the publication is back');

# A message too big for NATS, where it is not to be split, ends nobody but its flow, and passes once NATS takes it.
$braid->sql("CREATE TABLE big (id int PRIMARY KEY, v text);
	SELECT pgflow_create('big', tables => '{big}', snapshot => 'none', subject => 'big.{table}', options => '{\"oversize\": \"stop\"}')");
$braid->until_state('big', 'streaming');
$braid->sql("INSERT INTO big VALUES (1, 'small'), (2, repeat('x', 1100000)), (3, 'small')");
shows('big', '54000', 'larger than the NATS server takes', 'max_payload', 'a message larger than max_payload');
works('taken', 'other flows go on');
$nats->configure("max_payload: 4MB\n$open");
$nats->restart;
is(join(',', map { $_->{event}{after}{id} } $braid->events('big')), '1,2,3', 'with a larger max_payload it passes');

# The stream is deleted under a running flow.
sub delete_stream
{
	my ($name) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or die;
	print $socket 'CONNECT {"user":"good","pass":"right","verbose":false}' . "\r\nSUB reply 1\r\nPUB \$JS.API.STREAM.DELETE.$name reply 0\r\n\r\n";
	while (<$socket>) { last if /stream_delete_response/ }
	return;
}
delete_stream('taken');
$braid->sql('INSERT INTO t VALUES (-40)');
works('taken', 'a flow whose stream was deleted makes it again');
$braid->until_sql("SELECT last_error ~ 'lost messages' FROM pgbraid.stat_flow WHERE flow = 'taken'", 't', 'and says what happened');

is($braid->sql("SELECT count(*) FROM pgbraid.stat_flow WHERE state <> 'streaming'"), 0, 'in the end everything streams');
done_testing;
