# Updates, deletes and truncates under each replica identity, and values stored out of line.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new;

# Creates a table and a flow of it; returns what runs SQL and gives the events that it caused.
sub flow_of
{
	my ($table, $definition, %options) = @_;
	$braid->sql("CREATE TABLE $table $definition");
	my $what = $options{publication} ? "publication => '$options{publication}'" : "tables => '{$table}'";
	$braid->sql($options{prepare}) if $options{prepare};
	$braid->sql("SELECT pgflow_create('$table', $what, snapshot => 'none')");
	$braid->until_state($table, 'streaming');
	return sub { $braid->sql($_[0]); return $braid->events($table); };
}

sub is_event
{
	my ($message, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %event = %{ $message->{event} };
	delete @event{qw(lsn seq xid ts schema table)};
	Braid::is_json(\%event, $expected, $name);
	return;
}

# The primary key.
my $run = flow_of('by_key', '(id int PRIMARY KEY, v text)');
$run->("INSERT INTO by_key VALUES (1, 'a'), (2, 'b')");
my ($event) = $run->("UPDATE by_key SET v = 'A' WHERE id = 1");
is_event($event, '{"op":"update","key":{"id":1},"after":{"id":1,"v":"A"}}', 'update: the key has not changed, so there is no before');
($event) = $run->('UPDATE by_key SET id = 3 WHERE id = 1');
is_event($event, '{"op":"update","key":{"id":3},"after":{"id":3,"v":"A"},"before":{"id":1}}', 'update of the key: before is the old key');
($event) = $run->('DELETE FROM by_key WHERE id = 2');
is_event($event, '{"op":"delete","key":{"id":2},"before":{"id":2}}', 'delete: before is the key');
($event) = $run->('TRUNCATE by_key');
is_event($event, '{"op":"truncate"}', 'truncate has no row');

# A key of several columns, not the first ones, nor in the order of the table.
$run = flow_of('by_two', '(v text, b int, a text, PRIMARY KEY (a, b))');
($event) = $run->("INSERT INTO by_two VALUES ('x', 1, 'k')");
is_event($event, '{"op":"insert","key":{"b":1,"a":"k"},"after":{"v":"x","b":1,"a":"k"}}', 'a key of two columns');

# Another unique index.
$run = flow_of('by_index', '(id int PRIMARY KEY, code text NOT NULL, v text)',
	prepare => 'CREATE UNIQUE INDEX by_index_code ON by_index (code); ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code');
$run->("INSERT INTO by_index VALUES (1, 'one', 'a')");
($event) = $run->("UPDATE by_index SET v = 'b'");
is_event($event, '{"op":"update","key":{"code":"one"},"after":{"id":1,"code":"one","v":"b"}}', 'identity by index: its column is the key');
($event) = $run->("UPDATE by_index SET code = 'uno'");
is_event($event, '{"op":"update","key":{"code":"uno"},"after":{"id":1,"code":"uno","v":"b"},"before":{"code":"one"}}', 'and its old value is before');
($event) = $run->('DELETE FROM by_index');
is_event($event, '{"op":"delete","key":{"code":"uno"},"before":{"code":"uno"}}', 'delete by index');

# The whole row.
$run = flow_of('by_row', '(id int PRIMARY KEY, v text, w text)', prepare => 'ALTER TABLE by_row REPLICA IDENTITY FULL');
$run->("INSERT INTO by_row VALUES (1, 'a', NULL)");
($event) = $run->("UPDATE by_row SET v = 'b'");
is_event($event, '{"op":"update","key":{"id":1},"after":{"id":1,"v":"b","w":null},"before":{"id":1,"v":"a","w":null}}',
	'identity full: before is the row, the key is the primary key');
($event) = $run->('DELETE FROM by_row');
is_event($event, '{"op":"delete","key":{"id":1},"before":{"id":1,"v":"b","w":null}}', 'delete under identity full');

$run = flow_of('keyless', '(v text)', prepare => 'ALTER TABLE keyless REPLICA IDENTITY FULL');
($event) = $run->("INSERT INTO keyless VALUES ('a')");
is_event($event, '{"op":"insert","after":{"v":"a"}}', 'without a key there is no key');
($event) = $run->("UPDATE keyless SET v = 'b'");
is_event($event, '{"op":"update","after":{"v":"b"},"before":{"v":"a"}}', 'but before and after');

# No identity: PostgreSQL lets such a table be published for inserts alone.
$run = flow_of('nothing', '(id int, v text)', publication => 'inserts',
	prepare => "ALTER TABLE nothing REPLICA IDENTITY NOTHING; CREATE PUBLICATION inserts FOR TABLE nothing WITH (publish = 'insert')");
my @events = $run->("INSERT INTO nothing VALUES (1, 'a'); UPDATE nothing SET v = 'b'; DELETE FROM nothing; INSERT INTO nothing VALUES (2)");
is(Braid::summary(@events), 'insert public.nothing, insert public.nothing', 'only what the publication publishes leaves');
is_event($events[0], '{"op":"insert","after":{"id":1,"v":"a"}}', 'identity nothing');

# A publication without truncate, and one of deletes only.
$run = flow_of('deletes', '(id int PRIMARY KEY)', publication => 'deletes',
	prepare => "CREATE PUBLICATION deletes FOR TABLE deletes WITH (publish = 'delete')");
@events = $run->('INSERT INTO deletes VALUES (1); DELETE FROM deletes; TRUNCATE deletes');
is(Braid::summary(@events), 'delete public.deletes', 'publish decides the operations');

# Several tables in one TRUNCATE; options of it that have no place in an event.
$braid->sql('CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (id serial PRIMARY KEY, one int REFERENCES one)');
$braid->sql("SELECT pgflow_create('pair', tables => '{one,two}', snapshot => 'none')");
$braid->until_state('pair', 'streaming');
$braid->sql('TRUNCATE one RESTART IDENTITY CASCADE');
@events = $braid->events('pair');
is(join(' ', sort map { $_->{event}{table} } @events), 'one two', 'TRUNCATE CASCADE is an event for each table');
is(join(' ', map { $_->{event}{seq} } @events), '1 2', 'each counted');

# A value out of line that an update leaves alone is not in WAL.
$run = flow_of('toast', '(id int PRIMARY KEY, v text, big text, "bi""g2" text)',
	prepare => 'ALTER TABLE toast ALTER big SET STORAGE EXTERNAL, ALTER "bi""g2" SET STORAGE EXTERNAL');
($event) = $run->("INSERT INTO toast VALUES (1, 'a', repeat('x', 100000), repeat('y', 5000))");
is(length $event->{event}{after}{big}, 100000, 'a big value arrives whole');
($event) = $run->("UPDATE toast SET v = 'b'");
is_event($event, '{"op":"update","key":{"id":1},"after":{"id":1,"v":"b"},"unchanged":["big","bi\"g2"]}',
	'unchanged values are named, and neither in after nor null');
($event) = $run->("UPDATE toast SET big = 'small'");
is_event($event, '{"op":"update","key":{"id":1},"after":{"id":1,"v":"b","big":"small"},"unchanged":["bi\"g2"]}', 'one of two unchanged');
($event) = $run->('UPDATE toast SET "bi""g2" = NULL');
is_event($event, '{"op":"update","key":{"id":1},"after":{"id":1,"v":"b","big":"small","bi\"g2":null}}', 'a null is null');

# Under identity full the old row has the value.
$run = flow_of('toast_full', '(id int PRIMARY KEY, v text, big text)',
	prepare => 'ALTER TABLE toast_full ALTER big SET STORAGE EXTERNAL; ALTER TABLE toast_full REPLICA IDENTITY FULL');
$run->("INSERT INTO toast_full VALUES (1, 'a', repeat('x', 5000))");
($event) = $run->("UPDATE toast_full SET v = 'b'");
is(length $event->{event}{after}{big}, 5000, 'identity full fills in what is unchanged');
is(length $event->{event}{before}{big}, 5000, 'before has it too');
ok(!exists $event->{event}{unchanged}, 'so nothing is marked');

# A key out of line.
$run = flow_of('toast_key', '(id text PRIMARY KEY, v int)',
	prepare => 'ALTER TABLE toast_key ALTER id SET STORAGE EXTERNAL');
my $long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 70) i)";
$run->("INSERT INTO toast_key VALUES ($long, 1)");
($event) = $run->('UPDATE toast_key SET v = 2');
is(length $event->{event}{key}{id}, 2240, 'a key out of line is in the event');
($event) = $run->('DELETE FROM toast_key');
is(length $event->{event}{before}{id}, 2240, 'also of a delete');

# Format rows shows what there is: the row, or what identifies it.
$braid->sql("CREATE TABLE as_rows (id int PRIMARY KEY, b text, a text); ALTER TABLE as_rows ALTER b SET STORAGE EXTERNAL;
	SELECT pgflow_create('as_rows', tables => '{as_rows}', snapshot => 'none', format => 'rows')");
$braid->until_state('as_rows', 'streaming');
$braid->sql("INSERT INTO as_rows VALUES (1, repeat('x', 5000), 'y')");
$braid->sql("UPDATE as_rows SET a = 'z'");
$braid->sql('DELETE FROM as_rows');
$braid->sql('TRUNCATE as_rows');
@events = $braid->events('as_rows');
is(join(' ', map { $_->{text} } @events[ 1 .. 3 ]), '[{"a":"z","id":1}] [{"id":1}] []', 'format rows: update, delete, truncate');

done_testing;
