# Logical messages (the outbox without a table), begin and commit, prepared transactions, savepoints.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(conf => "restart_after_crash = on\nmax_prepared_transactions = 5\n");
my $node = $braid->node;

sub story
{
	return join ', ', map { my $e = $_->{event}; $e->{op} . ($e->{op} eq 'message' ? ' ' . ($e->{content} // $e->{content_base64}) : $e->{op} eq 'commit' ? " $e->{events}" : '') } @_;
}

$braid->sql('CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)');
$braid->sql("SELECT pgflow_create('f', tables => '{t}')");
$braid->until_state('f', 'streaming');
$braid->sql("SELECT pg_logical_emit_message(true, 'app', 'unheard')");
$braid->sql("INSERT INTO t VALUES (1)");
is(story($braid->events('f')), 'insert', 'messages are published only if that is wanted');
$braid->sql("SELECT pgflow_alter('f', options => '{\"messages\": true}')");
$braid->sql("BEGIN; INSERT INTO t VALUES (2); SELECT pg_logical_emit_message(true, 'app', 'in it'); INSERT INTO t VALUES (3); COMMIT");
my @events = $braid->events('f');
is(story(@events), 'insert, message in it, insert', 'a message has its place in the transaction');
is($events[1]{subject}, 'pgflow.postgres.message.app', 'its subject');
is($events[1]{headers}{'Pgbraid-Op'}, 'message', 'its header');
is(join(' ', map { $_->{event}{seq} } @events), '1 2 3', 'ordinals');
is_deeply([ @{ $events[1]{event} }{qw(prefix lsn xid ts)} ], [ 'app', @{ $events[0]{event} }{qw(lsn xid ts)} ], 'it is one of the transaction');
ok($events[1]{event}{transactional}, 'and says so');

# Not transactional: published even when the transaction is rolled back, and before what commits later.
$braid->sql("BEGIN; INSERT INTO t VALUES (4); SELECT pg_logical_emit_message(false, 'app', 'at once'); SELECT pg_logical_emit_message(true, 'app', 'never'); ROLLBACK");
$braid->sql("BEGIN; INSERT INTO t VALUES (5); SELECT pg_logical_emit_message(false, 'a.b', 'first'); COMMIT");
@events = $braid->events('f');
is(story(@events), 'message at once, message first, insert', 'messages that are not transactional');
is(scalar(grep { $_->{headers}{'Nats-Msg-Id'} eq $events[1]{headers}{'Nats-Msg-Id'} } @events), 1, 'have an id of their own, right before a commit too');
is($events[1]{subject}, 'pgflow.postgres.message.a%2Eb', 'a prefix can\'t add a token');
ok(!$events[0]{event}{transactional} && !exists $events[0]{event}{xid}, 'they belong to no transaction');

# Any bytes.
$braid->sql("SELECT pg_logical_emit_message(true, 'app', 'Zürich \"\\'), pg_logical_emit_message(true, 'app', '\\xff00fe'::bytea), pg_logical_emit_message(true, 'app', ''), pg_logical_emit_message(true, '', 'no prefix'), pg_logical_emit_message(true, 'pgbraid', 'ours')");
@events = $braid->events('f');
is(scalar(@events), 4, 'all but those with our own prefix');
is($events[0]{event}{content}, "Z\x{fc}rich \"\\", 'text');
is($events[1]{event}{content_base64}, '/wD+', 'other bytes');
is($events[2]{event}{content}, '', 'nothing');
is($events[3]{subject}, 'pgflow.postgres.message.%', 'no prefix');

# Prefixes and a subject of one's own.
$braid->sql("SELECT pgflow_alter('f', options => '{\"messages\": [\"one\", \"two\"], \"message_subject\": \"outbox.{prefix}\"}')");
$braid->sql("SELECT pg_logical_emit_message(true, p, p) FROM unnest('{one,two,three,onetwo}'::text[]) p");
@events = $braid->events('f');
is(join(' ', map { $_->{subject} } @events), 'outbox.one outbox.two', 'exact prefixes');
is(join(' ', map { $_->{event}{seq} } @events), '1 2', 'and their places');

# Killed while messages of both kinds are written: each is there once.
$braid->sql("SELECT pgflow_alter('f', options => '{\"messages\": true, \"transactions\": true}')");
$braid->events('f');

# Options are for what comes: what was passed over before isn't published now, even when a crash has it read again.
$braid->until_sql('SELECT p.revision = f.revision FROM pgbraid.flows f JOIN pgbraid.flow_progress p ON p.flow = f.id');
$braid->kill_worker('f');
is(story($braid->events('f')), '', 'what was not wanted is not published later');
for my $round (1 .. 4)
{
	$braid->sql("DO \$\$ BEGIN FOR i IN 1 .. 300 LOOP
		PERFORM pg_logical_emit_message(i % 3 = 0, 'app', '$round ' || i);
		IF i % 50 = 0 THEN INSERT INTO t VALUES ($round * 1000 + i); COMMIT; END IF; END LOOP; END \$\$");
	$braid->kill_worker('f');
}
@events = $braid->events('f');
my %seen;
$seen{ $_->{event}{content} }++ for grep { $_->{event}{op} eq 'message' } @events;
is(scalar(keys %seen), 1200, 'killed with -9: each message is there');
is(scalar(grep { $_ > 1 } values %seen), 0, 'once');
my @positions = map { $_->{headers}{'Nats-Msg-Id'} =~ /([0-9A-F]{16})\.(\d+)$/ ? sprintf('%s.%020d', $1, $2) : '?' } @events;
is(join("\n", @positions), join("\n", sort @positions), 'in the order of their positions');
is(join(' ', map { $_->{event}{events} } grep { $_->{event}{op} eq 'commit' } @events), join(' ', map { map { int($_ * 50 / 3) - int(($_ - 1) * 50 / 3) + 1 } 1 .. 6 } 1 .. 4), 'commits count what their transactions published');

# Begin and commit.
$braid->sql('BEGIN; INSERT INTO t VALUES (10); INSERT INTO other VALUES (1); INSERT INTO t VALUES (11); COMMIT; INSERT INTO other VALUES (2)');
@events = $braid->events('f');
is(story(@events), 'begin, insert, insert, commit 2', 'around what is published, and only that');
is(join(' ', map { $_->{event}{seq} } @events), '0 1 3 4', 'their ordinals');
is($events[0]{subject}, 'pgflow.postgres.transaction', 'their subject');
is_deeply([ @{ $events[3]{event} }{qw(lsn xid ts)} ], [ @{ $events[1]{event} }{qw(lsn xid ts)} ], 'their transaction');

# Savepoints.
$braid->sql('BEGIN; INSERT INTO t VALUES (20); SAVEPOINT a; INSERT INTO t VALUES (21); SAVEPOINT b; INSERT INTO t VALUES (22); ROLLBACK TO a; INSERT INTO t VALUES (23); SAVEPOINT c; INSERT INTO t VALUES (24); RELEASE c; COMMIT');
@events = $braid->events('f');
is(story(@events), 'begin, insert, insert, insert, commit 3', 'what was rolled back to a savepoint is not published');
is(join(' ', map { $_->{event}{after}{id} // () } @events), '20 23 24', 'what was not is');

# Prepared transactions, also when the server is restarted in between.
$braid->sql("BEGIN; INSERT INTO t VALUES (30); SELECT pg_logical_emit_message(true, 'app', 'prepared'); PREPARE TRANSACTION 'one'");
$braid->sql("BEGIN; INSERT INTO t VALUES (31); PREPARE TRANSACTION 'two'");
$braid->sql("BEGIN; INSERT INTO t VALUES (32); PREPARE TRANSACTION 'three'");
$braid->sql('INSERT INTO t VALUES (33)');
is(story($braid->events('f')), 'begin, insert, commit 1', 'what is prepared is not published');
$node->restart;
$braid->until_state('f', 'streaming');
$braid->sql("ROLLBACK PREPARED 'two'");
$braid->sql("COMMIT PREPARED 'one'");
@events = $braid->events('f');
is(story(@events), 'begin, insert, message prepared, commit 2', 'published when it is committed, after a restart of the server');
$braid->sql("COMMIT PREPARED 'three'");
is(join(' ', map { $_->{event}{after}{id} // () } $braid->events('f')), '32', 'what was rolled back is not');

# Formats without an op in their payload.
$braid->sql("SELECT pgflow_create('rows', tables => '{t}', subject => 'rows.{table}', snapshot => 'none', format => 'rows', options => '{\"messages\": true, \"transactions\": true, \"message_subject\": \"rows.message\", \"transaction_subject\": \"rows.tx\"}')");
$braid->until_state('rows', 'streaming');
$braid->sql("BEGIN; INSERT INTO t VALUES (40); SELECT pg_logical_emit_message(true, 'app', 'x'); COMMIT");
is(join(', ', map { "$_->{subject} $_->{headers}{'Pgbraid-Op'}" } $braid->events('rows')), 'rows.tx begin, rows.t insert, rows.message message, rows.tx commit', 'format rows: the header tells');

# In another encoding.
$braid->sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
my %latin = (dbname => 'latin');
$braid->sql('CREATE EXTENSION pgbraid; CREATE TABLE t (id int PRIMARY KEY)', %latin);
$braid->sql("SELECT pgflow_create('latin', tables => '{t}', options => '{\"messages\": true}')", %latin);
$braid->until_state('latin', 'streaming', undef, %latin);
$braid->sql("SELECT pg_logical_emit_message(k, chr(252), 'Z' || chr(252) || 'rich') FROM unnest('{t,f}'::bool[]) k", %latin);
@events = $braid->events('latin', %latin);
is(join(' ', map { "$_->{event}{prefix}$_->{event}{content}" } @events), "\x{fc}Z\x{fc}rich \x{fc}Z\x{fc}rich", 'text is converted, inside of transactions and outside');

# A large transaction, killed in the middle: the count is right. (A JSON parser in Perl would take its time.)
my $before = $braid->nats->stream_state($braid->stream_of('f'))->{last_seq};
$braid->sql('INSERT INTO t SELECT generate_series(100000, 159999)');
$braid->kill_worker('f') for 1 .. 3;
$braid->wait_for('f');
my ($events, $last) = (0, '');
IPC::Run::run([ 'pgbraid-tail', '-s', $braid->nats->url, '--stream', $braid->stream_of('f'), '--from', $before + 1, '--until-end' ], '>', \my $out);
for my $line (split /\n/, $out)
{
	$events++ if $line =~ /^\{"op":"insert"/;
	$last = $line;
}
is($events, 60000, 'a large transaction, killed 3 times: every row once');
is(($out =~ tr/\n//), 60000 + 2, 'with one begin and one commit');
like($last, qr/^\{"op":"commit".*,"events":60000\}$/, 'and counted right');

done_testing();
