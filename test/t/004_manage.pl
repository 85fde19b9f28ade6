# Life of a flow: snapshot or none, pause, resume, alter, wait, drop.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new;
my $none = "snapshot => 'none'";

sub ids { return join ',', map { $_->{event}{after}{id} // $_->{event}{key}{id} // 't' } @_; }

# Snapshot.
$braid->sql("CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT i, 'v' || i FROM generate_series(1, 1000) i;
	CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1);
	CREATE TABLE empty (id int PRIMARY KEY)");
$braid->sql("SELECT pgflow_create('a', tables => '{a,b,empty}')");
$braid->sql("INSERT INTO a VALUES (2000)");
$braid->wait_for('a');
my @events = $braid->events('a');
is(scalar(grep { $_->{event}{op} eq 'snapshot' } @events), $braid->sql("SELECT rows_snapshotted FROM pgbraid.stat_flow WHERE flow = 'a'"),
	'stat_flow counts the rows of the snapshot');
is(join(',', sort { $a <=> $b } map { $_->{event}{after}{id} } grep { $_->{event}{table} eq 'a' } @events), join(',', 1 .. 1000, 2000),
	'each row once, be it in the snapshot or changed afterwards');
is(scalar(keys %{ { map {; "$_->{event}{lsn} $_->{event}{seq}" => 1 } @events } }), 1002, '(lsn, seq) is unique over both');
my %ids = map { ($_->{headers}{'Nats-Msg-Id'} => 1) } @events;
is(scalar(keys %ids), 1002, 'so are message ids');

$braid->sql("CREATE TABLE c (id int PRIMARY KEY); INSERT INTO c VALUES (1); SELECT pgflow_create('c', tables => '{c}', $none)");
$braid->until_state('c', 'streaming');
$braid->sql('INSERT INTO c VALUES (2)');
is(ids($braid->events('c')), '2', 'snapshot none: changes only');
is($braid->sql("SELECT rows_snapshotted FROM pgbraid.stat_flow WHERE flow = 'c'"), '0', 'and nothing is counted');

# Changes made right after the commit of pgflow_create, before its slot exists, are no surprise with a snapshot.
$braid->sql("CREATE TABLE race (id int PRIMARY KEY); SELECT pgflow_create('race', tables => '{race}')");
$braid->sql("INSERT INTO race VALUES ($_)") for 1 .. 10;
is(join(',', sort { $a <=> $b } split /,/, ids($braid->events('race'))), join(',', 1 .. 10), 'nothing falls between snapshot and changes');

# Pause and resume.
$braid->sql("SELECT pgflow_pause('c')");
$braid->until_state('c', 'paused');
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgbraid flow' AND pid = (SELECT pid FROM pgbraid.stat_flow WHERE flow = 'c')", 0, 'a paused flow has no worker');
is($braid->sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM pgbraid.stat_flow WHERE flow = 'c')"), 1, 'but its slot');
$braid->sql("SELECT pgflow_pause('c')");
$braid->sql('INSERT INTO c VALUES (3); UPDATE c SET id = 30 WHERE id = 3; INSERT INTO c VALUES (4)');
my ($status, $out, $err) = $braid->node->psql('postgres', "SELECT pgflow_wait('c', timeout => '100 ms')");
is($out, 'f', 'pgflow_wait on a paused flow ends after its timeout');
like($err, qr/WARNING:.*(paused|not running|stopped)/, 'with a warning that says why');
$braid->sql("SELECT pgflow_resume('c')");
is(ids($braid->events('c')), '3,30,4', 'changes made while it was paused arrive');
is($braid->sql("SELECT pgflow_wait('c', '0/1')"), 't', 'an LSN long past needs no waiting');
($status, $out, $err) = $braid->node->psql('postgres', "SELECT pgflow_wait('c', 'FFFF/0', '100 ms')");
is($out, 'f', 'one far ahead ends after the timeout');

# A restart begins anew: a new slot, another epoch, and the rows again where there is a snapshot.
$braid->sql("SELECT pgflow_pause('a'); SELECT pgflow_resume('a', restart => true)");
$braid->until_state('a', 'streaming');
$braid->sql('INSERT INTO a VALUES (2001)');
@events = $braid->events('a');
is(scalar(grep { $_->{event}{op} eq 'snapshot' } @events), 1002, 'a restart with snapshot publishes the rows again');
is(scalar(grep { $ids{ $_->{headers}{'Nats-Msg-Id'} } } @events), 0, 'under message ids that are new');

# Alter.
$braid->sql("SELECT pgflow_alter('c', format => 'rows')");
$braid->sql('INSERT INTO c VALUES (5)');
@events = $braid->events('c');
is($events[0]{text}, '[{"id":5}]', 'the format can be altered');
$braid->sql("SELECT pgflow_alter('c', format => 'json', subject => 'moved.{table}')");
$braid->sql('INSERT INTO c VALUES (6)');
@events = $braid->events('c');
is("$events[0]{subject} $events[0]{event}{op}", 'moved.c insert', 'so can the subject');
$braid->sql("CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (1); SELECT pgflow_alter('c', tables => '{c,d}')");
$braid->sql('INSERT INTO d VALUES (2); INSERT INTO c VALUES (7)');
is(Braid::summary($braid->events('c')), 'insert public.d, insert public.c', 'a table can be added');
$braid->sql("SELECT pgflow_alter('c', tables => '{d}')");
$braid->sql('INSERT INTO c VALUES (8); INSERT INTO d VALUES (3)');
is(Braid::summary($braid->events('c')), 'insert public.d', 'and taken away');
$braid->sql("SELECT pgflow_alter('c', options => '{\"message_id\": false}')");
$braid->sql('INSERT INTO d VALUES (4)');
@events = $braid->events('c');
ok(!exists $events[0]{headers}{'Nats-Msg-Id'}, 'and options');

# A change made before an alteration is published in one form or the other, but never lost or twice.
for my $round (1 .. 5)
{
	my $format = $round % 2 ? 'rows' : 'json';
	$braid->sql("INSERT INTO d SELECT $round * 100 + i FROM generate_series(1, 20) i; SELECT pgflow_alter('c', format => '$format')");
}
my @numbers = map { my ($id) = $_->{text} =~ /"id":(\d+)/; $id } $braid->events('c');
is(join(',', @numbers), join(',', map { my $r = $_; map { $r * 100 + $_ } 1 .. 20 } 1 .. 5), 'alter amid changes: each exactly once, in order');

# Another stream.
$braid->sql("SELECT pgflow_alter('c', stream => 'elsewhere', subject => 'elsewhere.{table}', format => 'json')");
$braid->sql('INSERT INTO d VALUES (1000)');
@events = $braid->events('c');
is(ids(@events), '1000', 'another stream takes what comes');

# Another publication, made by the user.
$braid->sql("CREATE PUBLICATION mine FOR TABLE a; SELECT pgflow_alter('c', publication => 'mine')");
is($braid->sql("SELECT count(*) FROM pg_publication WHERE pubname = 'pgflow_c'"), 0, "the flow's own publication is gone");
$braid->sql('INSERT INTO d VALUES (1001); INSERT INTO a VALUES (3000)');
is(Braid::summary($braid->events('c')), 'insert public.a', 'a publication can replace the tables');

# Publications decide: a column list, a table added to it, a schema.
$braid->sql("CREATE TABLE wide (id int PRIMARY KEY, secret text, open text); CREATE PUBLICATION narrow FOR TABLE wide (id, open);
	SELECT pgflow_create('narrow', publication => 'narrow', subject => 'narrow.{table}')");
$braid->until_state('narrow', 'streaming');
$braid->sql("INSERT INTO wide VALUES (1, 'secret', 'open'); UPDATE wide SET secret = 's', open = 'o'");
@events = $braid->events('narrow');
is(scalar(grep { $_->{text} =~ /secret/ } @events), 0, 'a column that is not listed never leaves');
Braid::is_json($events[1]{event}{after}, '{"id":1,"open":"o"}', 'the listed ones do');
$braid->sql("CREATE TABLE late (id int PRIMARY KEY); ALTER PUBLICATION narrow ADD TABLE late; INSERT INTO late VALUES (1)");
is(Braid::summary($braid->events('narrow')), 'insert public.late', 'a table added to the publication is published from then on');
$braid->sql("CREATE SCHEMA s; CREATE TABLE s.x (id int PRIMARY KEY); CREATE PUBLICATION whole FOR TABLES IN SCHEMA s;
	SELECT pgflow_create('whole', publication => 'whole', subject => 'whole.{table}')");
$braid->until_state('whole', 'streaming');
$braid->sql('CREATE TABLE s.y (id int PRIMARY KEY); INSERT INTO s.y VALUES (1); INSERT INTO s.x VALUES (1)');
is(Braid::summary($braid->events('whole')), 'insert s.y, insert s.x', 'a schema is published with tables to come');

# A column list in the snapshot.
$braid->sql("SELECT pgflow_create('narrow2', publication => 'narrow', subject => 'narrow2.{table}')");
$braid->until_state('narrow2', 'streaming');
@events = grep { $_->{event}{table} eq 'wide' } $braid->events('narrow2');
Braid::is_json($events[0]{event}{after}, '{"id":1,"open":"o"}', 'the snapshot keeps to the column list');

# Drop.
my ($slot, $pid) = split /\|/, $braid->sql("SELECT slot_name, pid FROM pgbraid.stat_flow WHERE flow = 'race'");
$braid->sql("SELECT pgflow_drop('race')");
$braid->until_sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$slot'", 0, 'the slot goes with the flow');
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0, 'so does the worker');
is($braid->sql("SELECT count(*) FROM pg_publication WHERE pubname = 'pgflow_race'"), 0, 'and the publication that it made');
is($braid->sql("SELECT count(*) FROM pgbraid.stat_worker WHERE kind = 'flow' AND object = 'race'"), 0, 'and its line in stat_worker');
is(scalar(@events = $braid->messages('postgres_race')), 10, 'the stream stays');
$braid->sql("SELECT pgflow_drop('whole')");
is($braid->sql("SELECT count(*) FROM pg_publication WHERE pubname = 'whole'"), 1, "a publication of the user's stays too");
$braid->sql("SELECT pgflow_create('race', tables => '{race}'); INSERT INTO race VALUES (11)");
is(scalar(@events = $braid->events('race')), 11, 'the name can be used again, and goes on in its stream');

# The extension can go as a whole.
$braid->sql('DROP EXTENSION pgbraid CASCADE');
$braid->until_sql("SELECT count(*) FROM pg_replication_slots", 0, 'DROP EXTENSION leaves no slot');
$braid->until_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('pgbraid flow', 'pgbraid manager')", 0, 'and no worker');
is($braid->sql("SELECT string_agg(pubname, ',' ORDER BY pubname) FROM pg_publication"), 'mine,narrow,whole', "and no publication of ours");
$braid->sql("CREATE EXTENSION pgbraid; SELECT pgflow_create('again', tables => '{a}', subject => 'again.{table}')");
$braid->until_state('again', 'streaming', 'it can be created again');

done_testing;
