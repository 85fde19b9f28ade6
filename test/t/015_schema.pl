# Whoever reads a stream is told of a table's new shape before the first row that has it, once.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(conf => "restart_after_crash = on\n");

# "schema 2, insert, update": operations, and of schemas the version.
sub story
{
	return join ', ', map { $_->{event}{op} . ($_->{event}{op} eq 'schema' ? " $_->{event}{version}" : '') } @_;
}

$braid->sql("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x')");
$braid->sql("SELECT pgflow_create('f', tables => '{t}')");
$braid->until_state('f', 'streaming');
$braid->sql("INSERT INTO t VALUES (2, 'y')");
is(story($braid->events('f')), 'snapshot, insert', 'the first shape is not announced');

# Each kind of change.
my @changes = (
	['a column added', 'ALTER TABLE t ADD b numeric(10,2)'],
	['renamed', 'ALTER TABLE t RENAME b TO c'],
	['of another type', 'ALTER TABLE t ALTER c TYPE bigint'],
	['not null', 'UPDATE t SET c = 0 WHERE c IS NULL; ALTER TABLE t ALTER c SET NOT NULL', 1],
	['dropped', 'ALTER TABLE t DROP c'],
	['another replica identity', 'ALTER TABLE t REPLICA IDENTITY FULL'],
	['another key', 'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, a)'],
	['table renamed', 'ALTER TABLE t RENAME TO t2'],
	['and back', 'ALTER TABLE t2 RENAME TO t; ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id)'],
	['column list', 'ALTER TABLE t REPLICA IDENTITY DEFAULT; ALTER TABLE t ADD d int; ALTER PUBLICATION pgflow_f SET TABLE t (id, d)'],
);
my $version = 1;
my $id = 10;
for my $change (@changes)
{
	my ($name, $sql) = @$change;
	$braid->sql($sql);
	$braid->events('f');
	$id++;
	my $table = $name eq 'table renamed' ? 't2' : 't';
	my $columns = $sql =~ /NOT NULL/ ? '(id, a, c)' : $braid->sql("SELECT count(*) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attname = 'c' AND attnotnull") ? '(id, a, c)' : '(id, a)';
	my $values = $columns eq '(id, a, c)' ? "($id, 'x', 1), (1000 + $id, 'x', 1)" : "($id, 'x'), (1000 + $id, 'x')";
	$braid->sql("INSERT INTO $table $columns VALUES $values");
	my @events = $braid->events('f');
	$version = $events[0]{event}{version} // 'none';
	like(story(@events), qr/^schema \d+, insert, insert$/, "$name: announced before the first row, once");
	is($events[0]{subject}, "pgflow.postgres.public.$table", 'on the subject of the table') if $name =~ /added|table renamed/;
}
my @all = grep { $_->{event}{op} eq 'schema' } $braid->messages($braid->stream_of('f'));
is(join(' ', map { $_->{event}{version} } @all), join(' ', 2 .. @all + 1), 'versions follow each other');
Braid::is_json($all[0]{event}{columns}, '[{"name":"id","type":"integer","nullable":false,"key":true},
	{"name":"a","type":"text","nullable":true,"key":false},{"name":"b","type":"numeric(10,2)","nullable":true,"key":false}]', 'columns are described');
Braid::is_json([ $all[0]{event}{key}, $all[0]{event}{identity}, $all[0]{headers}{'Pgbraid-Op'} ], '[["id"],"default","schema"]', 'so is the key');
like($all[0]{headers}{'Nats-Msg-Id'}, qr/\.1\.0$/, 'its id is that of the row, part 0');
my ($listed) = $all[-1];
Braid::is_json([ map { $_->{name} } @{ $listed->{event}{columns} } ], '["id","d"]', 'what a column list keeps in is not told');

# In the same transaction as rows of either shape.
$braid->sql("BEGIN; INSERT INTO t VALUES (101, 'a'); ALTER TABLE t ADD e int; ALTER PUBLICATION pgflow_f SET TABLE t; INSERT INTO t VALUES (102, 'a', 1, 1); ALTER TABLE t DROP e; INSERT INTO t VALUES (103, 'a'); COMMIT");
like(story($braid->events('f')), qr/^insert, schema \d+, insert, schema \d+, insert$/, 'in the midst of a transaction');
$braid->sql('CREATE INDEX ON t (a); ANALYZE t; VACUUM t');
$braid->sql("INSERT INTO t VALUES (104, 'a')");
is(story($braid->events('f')), 'insert', 'an index changes no shape');

# Killed again and again while shapes change: each change is announced once.
for my $round (1 .. 3)
{
	for my $i (1 .. 4)
	{
		$braid->sql("ALTER TABLE t ADD k_${round}_$i int; INSERT INTO t (id, a) VALUES (1000 * $round + 10 * $i + 2000, 'k'), (1000 * $round + 10 * $i + 2001, 'k')");
		$braid->kill_worker('f') if $i % 2;
	}
}
like(story($braid->events('f')), qr/^(schema \d+, insert, insert(, |$)){12}$/, 'killed with -9: each change is announced once');
my @versions = map { $_->{event}{version} } grep { $_->{event}{op} eq 'schema' } $braid->messages($braid->stream_of('f'));
is("@versions", join(' ', 2 .. @versions + 1), 'versions still follow each other');
$braid->until_sql("SELECT max(version) = " . (@versions + 1) . " FROM pgbraid.flow_schemas", 't', 'and are kept in a table');

# A table that takes the name of another.
$braid->sql("ALTER PUBLICATION pgflow_f DROP TABLE t; DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, z int); ALTER PUBLICATION pgflow_f ADD TABLE t; INSERT INTO t VALUES (1, 1)");
like(story($braid->events('f')), qr/^schema \d+, insert$/, 'a table made anew has another shape');

# All, none.
$braid->sql("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1), (2)");
$braid->sql("SELECT pgflow_create('all', tables => '{u}', subject => 'all.{table}.{op}', options => '{\"schema_events\": \"all\"}')");
$braid->sql("SELECT pgflow_create('none', tables => '{u}', subject => 'none.{table}', format => 'rows', options => '{\"schema_events\": \"none\"}')");
$braid->until_state($_, 'streaming') for qw(all none);
$braid->sql('INSERT INTO u VALUES (3); ALTER TABLE u ADD v int; INSERT INTO u VALUES (4, 4)');
my @events = $braid->events('all');
is(story(@events), 'schema 1, snapshot, snapshot, insert, schema 2, insert', 'all: the first shape too');
is($events[0]{subject}, 'all.u.schema', 'op is schema in the subject');
is(scalar($braid->events('none')), 4, 'none: rows alone');
$braid->sql("SELECT pgflow_resume('all', restart => true)");
$braid->until_sql("SELECT generation = 3 AND streaming FROM pgbraid.flow_progress p JOIN pgbraid.flows f ON f.id = p.flow AND f.flow = 'all'");
$braid->until_state('all', 'streaming'); # only now: before, it can be the state of the worker that was there
$braid->until_sql("SELECT pgflow_wait('all')", 't');
# (The worker that was there may have read the table for itself before it heard that it shall begin anew.)
is(story(grep { $_->{headers}{'Nats-Msg-Id'} =~ /-3\.[0-9A-F]{16}\./ } $braid->events('all')), 'schema 1, ' . join(', ', ('snapshot') x 4), 'a flow that begins anew knows no shape');

# A partitioned table has one shape.
$braid->sql("CREATE TABLE p (id int PRIMARY KEY, x text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
	CREATE TABLE p2 (x text, id int NOT NULL); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)");
$braid->sql("SELECT pgflow_create('p', tables => '{p}', snapshot => 'none')");
$braid->until_state('p', 'streaming');
$braid->sql("INSERT INTO p VALUES (1, 'a'), (11, 'b'), (2, 'c')");
is(story($braid->events('p')), 'insert, insert, insert', 'whatever partition a row is in');

done_testing();
