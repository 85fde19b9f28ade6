# The option atomic: the stream has all of a transaction or nothing, whatever is killed.
use strict;
use warnings;

use Braid;
use IPC::Run;
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Until;

my $braid = Braid->new(conf => "restart_after_crash = on\n");
my $nats = $braid->nats;

$braid->sql('CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tx int, n int, size int, filler text)');
$braid->refuses("SELECT pgflow_create('f', tables => '{t}', options => '{\"atomic\": 1}')", '22023', 'Write options.*', 'atomic is true or false');
$braid->sql("SELECT pgflow_create('f', tables => '{t}', options => '{\"atomic\": true}')");

my $greeting = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $nats->port, Timeout => 10)->getline;
my ($major, $minor) = $greeting =~ /"version":"(\d+)\.(\d+)/ or die $greeting;
if ($major < 2 || ($major == 2 && $minor < 12))
{
	$braid->until_sql("SELECT coalesce(last_sqlstate = '0A000' AND last_hint ~ '2\\.12', false) FROM pgbraid.stat_flow", 't', 'an older server is refused');
	$braid->sql("SELECT pgflow_alter('f', options => '{\"atomic\": false}')");
	$braid->until_state('f', 'streaming');
	$braid->sql('INSERT INTO t (tx) VALUES (1)');
	is(scalar($braid->events('f')), 1, 'and works without the option');
	done_testing();
	exit;
}
$braid->until_state('f', 'streaming');

sub insert
{
	my ($tx, $size) = @_;
	return "INSERT INTO t (tx, n, size) SELECT $tx, n, $size FROM generate_series(1, $size) n";
}

my @events = do { $braid->sql(insert(1, 5)); $braid->events('f') };
is(scalar(@events), 5, 'all of a transaction');
is(scalar(keys %{ { map { $_->{headers}{'Nats-Batch-Id'} => 1 } @events } }), 1, 'is one batch');
is(join(' ', map { $_->{headers}{'Nats-Batch-Sequence'} } @events), '1 2 3 4 5', 'in order');
is($events[4]{headers}{'Nats-Batch-Commit'}, '1', 'that is committed');
is(join(' ', map { $_->{headers}{'Nats-Expected-Last-Sequence'} // '-' } @events), '0 - - - -', 'and fenced');
$braid->sql(insert(2, 1));
@events = $braid->events('f');
ok(!exists $events[0]{headers}{'Nats-Batch-Id'}, 'a single message needs no batch');

# A transaction above the limit of messages, and one above that of bytes while it fills all the memory there is.
$braid->sql(insert(3, 2500));
is(scalar($braid->events('f')), 2500, 'a large transaction');
$braid->sql("ALTER SYSTEM SET pgbraid.flow_memory = '64kB'; SELECT pg_reload_conf()");
$braid->sql("INSERT INTO t (tx, n, size, filler) SELECT 4, n, 600, repeat('x', 1000) FROM generate_series(1, 600) n");
is(scalar($braid->events('f')), 600, 'a transaction larger than the memory of the flow');
$braid->sql('ALTER SYSTEM RESET pgbraid.flow_memory; SELECT pg_reload_conf()');

# The row that the stream ends with.
sub last_seen
{
	my $info = eval { decode_json($nats->request('$JS.API.STREAM.INFO.postgres_f', '')) } or return;
	my $last = $info->{state}{last_seq} or return;
	my $got = eval { $nats->request('$JS.API.STREAM.MSG.GET.postgres_f', "{\"seq\":$last}") } or return;
	my ($data) = $got =~ /"data":"([^"]*)"/ or return;
	my $row = decode_json(MIME::Base64::decode_base64($data))->{after};
	return "$row->{n} of $row->{size}";
}

my $transactions = 3000;
my $load = IPC::Run::start([ 'psql', '-X', '-q', '-d', $braid->node->connstr('postgres'), '-c', <<"END" ], '<', \undef);
DO \$\$ BEGIN FOR i IN 1 .. $transactions LOOP
	INSERT INTO t (tx, n, size) SELECT 1000 + i, n, 1 + i * 7 % 50 FROM generate_series(1, 1 + i * 7 % 50) n;
	COMMIT;
END LOOP; END \$\$;
END
my @ends;
for my $round (1 .. 8)
{
	my $base = $nats->stream_state('postgres_f')->{last_seq};
	until_true(sub { $nats->stream_state('postgres_f')->{last_seq} > $base + 2000 }, 'events come');
	my $worker = $braid->worker_pid('f');
	kill 'STOP', $worker;
	($nats->kill9, $nats->start) if $round % 2;
	# What the server was about to store is stored, after an instant.
	my ($before, $end) = ('', '');
	until_true(sub { ($before, $end) = ($end, last_seen() // ''); $end ne '' && $end eq $before }, 'the stream has come to rest');
	push @ends, $end;
	$braid->sql("SELECT pg_terminate_backend($worker)") unless $round % 4;
	kill 'CONT', $worker;
}
$load->finish;
$braid->wait_for('f');
is(join(', ', grep { $_ !~ /^(\d+) of \1$/ } @ends), '', 'the stream ended with a whole transaction whenever the worker was stopped, NATS killed in between');

my ($row, %ids, @broken) = { n => 0, size => 0 };
for my $payload ($braid->payloads('postgres_f'))
{
	my %next;
	@next{qw(id tx n size)} = $payload =~ /"after":\{"id":(\d+),"tx":(\d+),"n":(\d+),"size":(\d+)/ or next;
	$ids{ $next{id} }++;
	push @broken, "$next{tx}/$next{n}" unless $next{n} == ($row->{n} == $row->{size} ? 1 : $row->{n} + 1);
	$row = \%next;
}
is("@broken", '', 'transactions are whole and in order');
is(scalar(keys %ids), $braid->sql('SELECT count(*) FROM t'), 'every row is there');
is(scalar(grep { $_ > 1 } values %ids), 0, 'once');

done_testing();
