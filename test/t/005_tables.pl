# Partitions, generated columns, and tables that change their shape in the middle of a stream.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new;

sub rows { return '[' . join(',', map { $_->{text} =~ /"after":(\{.*?\})/ ? $1 : 'null' } @_) . ']'; }

# A partitioned table, one partition with another order of columns and a dropped one, one below another root.
$braid->sql("CREATE TABLE measures (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
	CREATE TABLE measures_2023 PARTITION OF measures FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
	CREATE TABLE measures_2024 (gone int, v text, at date NOT NULL, id int NOT NULL, PRIMARY KEY (id, at));
	ALTER TABLE measures_2024 DROP gone;
	ALTER TABLE measures ATTACH PARTITION measures_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
	CREATE TABLE measures_2025 PARTITION OF measures FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY RANGE (id);
	CREATE TABLE measures_2025_low PARTITION OF measures_2025 FOR VALUES FROM (0) TO (100);
	INSERT INTO measures VALUES (1, '2023-05-05', 'a'), (2, '2024-05-05', 'b'), (3, '2025-05-05', 'c')");
$braid->sql("SELECT pgflow_create('root', tables => '{measures}', subject => 'root.{table}')");
$braid->until_state('root', 'streaming');
my @events = sort { $a->{event}{key}{id} <=> $b->{event}{key}{id} } $braid->events('root');
is(Braid::summary(@events), join(', ', ('snapshot public.measures') x 3), "snapshot: the root's name for each partition");
Braid::is_json($events[1]{event}{after}, '{"id":2,"at":"2024-05-05","v":"b"}', 'a partition with another order of columns');
$braid->sql("INSERT INTO measures VALUES (4, '2023-06-06', 'd'), (5, '2024-06-06', 'e'), (6, '2025-06-06', 'f');
	INSERT INTO measures_2024 VALUES ('direct', '2024-07-07', 7)");
@events = $braid->events('root');
is(Braid::summary(@events), join(', ', ('insert public.measures') x 4), "inserts: the root's name");
is($events[0]{subject}, 'root.measures', 'and subject');
Braid::is_json($events[3]{event}{after}, '{"id":7,"at":"2024-07-07","v":"direct"}', 'also for what is inserted into a partition');
$braid->sql("UPDATE measures SET at = '2024-06-06' WHERE id = 4");
is(Braid::summary($braid->events('root')), 'delete public.measures, insert public.measures', 'a row that moves is a delete and an insert');
$braid->sql("CREATE TABLE measures_2026 PARTITION OF measures FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); INSERT INTO measures VALUES (8, '2026-01-01', 'g')");
is(Braid::summary($braid->events('root')), 'insert public.measures', 'a partition made later');
$braid->sql('TRUNCATE measures');
@events = $braid->events('root');
is(Braid::summary(@events), 'truncate public.measures', 'truncate of the root is one event');

$braid->sql('TRUNCATE measures_2024');
is(scalar(@events = $braid->events('root')), 0, 'truncate of one partition does not look like one of all');

# The same tree by a publication that names the leaves.
$braid->sql("CREATE PUBLICATION leaves FOR TABLE measures; SELECT pgflow_create('leaves', publication => 'leaves', subject => 'leaves.{table}')");
$braid->until_state('leaves', 'streaming');
$braid->sql("INSERT INTO measures VALUES (4, '2023-06-06', 'd'), (5, '2024-06-06', 'e'), (6, '2025-06-06', 'f')");
@events = $braid->events('leaves');
is(Braid::summary(@events), 'insert public.measures_2023, insert public.measures_2024, insert public.measures_2025_low', 'leaf names');
is($events[2]{subject}, 'leaves.measures_2025_low', 'and subjects');
like($events[1]{text}, qr/"after":\{"v":"e","at":"2024-06-06","id":5\}/, "a leaf's own order of columns");

$braid->sql('TRUNCATE measures');
is(join(' ', sort map { "$_->{event}{op}-$_->{event}{table}" } $braid->events('leaves')),
	'truncate-measures_2023 truncate-measures_2024 truncate-measures_2025_low truncate-measures_2026', 'truncate of the root is one of each leaf');

# Through a root in the middle.
$braid->sql("CREATE PUBLICATION middle FOR TABLE measures_2025 WITH (publish_via_partition_root);
	SELECT pgflow_create('middle', publication => 'middle', subject => 'middle.{table}')");
$braid->until_state('middle', 'streaming');
$braid->events('middle');
$braid->sql("INSERT INTO measures VALUES (10, '2023-06-06', 'd'), (11, '2025-06-06', 'f')");
is(Braid::summary($braid->events('middle')), 'insert public.measures_2025', 'the ancestor that the publication names');

# Generated columns are part of the row of an own publication.
$braid->sql("CREATE TABLE gen (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, v text);
	INSERT INTO gen VALUES (1, 10); SELECT pgflow_create('gen', tables => '{gen}')");
$braid->until_state('gen', 'streaming');
$braid->sql('INSERT INTO gen VALUES (2, 20)');
@events = $braid->events('gen');
Braid::is_json($events[0]{event}{after}, '{"id":1,"a":10,"twice":20,"v":null}', 'generated column in the snapshot');
Braid::is_json($events[1]{event}{after}, '{"id":2,"a":20,"twice":40,"v":null}', 'and in an insert');

# The table changes.
$braid->sql("CREATE TABLE shape (id int PRIMARY KEY, a text, b int DEFAULT 7);
	SELECT pgflow_create('shape', tables => '{shape}', snapshot => 'none', subject => 'shape.{schema}.{table}')");
$braid->until_state('shape', 'streaming');
$braid->sql("SELECT pgflow_pause('shape')");	# so that all is decoded with the catalog of then
$braid->sql("INSERT INTO shape VALUES (1, 'a');
	ALTER TABLE shape ADD c text DEFAULT 'new';
	INSERT INTO shape VALUES (2, 'b');
	ALTER TABLE shape DROP a;
	INSERT INTO shape VALUES (3);
	ALTER TABLE shape RENAME b TO bee;
	INSERT INTO shape VALUES (4);
	ALTER TABLE shape ALTER bee TYPE text USING 'b' || bee;
	INSERT INTO shape VALUES (5);
	BEGIN; INSERT INTO shape VALUES (6); ALTER TABLE shape ADD d int; INSERT INTO shape VALUES (7, 'b', 'c', 9); COMMIT;
	CREATE SCHEMA moved;
	ALTER TABLE shape SET SCHEMA moved;
	INSERT INTO moved.shape VALUES (8);
	ALTER TABLE moved.shape RENAME TO form;
	INSERT INTO moved.form VALUES (9);");
$braid->sql("SELECT pgflow_resume('shape')");
@events = $braid->events('shape');
is(rows(grep { $_->{event}{op} eq 'insert' } @events), '[{"id":1,"a":"a","b":7},{"id":2,"a":"b","b":7,"c":"new"},{"id":3,"b":7,"c":"new"},'
	. '{"id":4,"bee":7,"c":"new"},{"id":5,"bee":"7","c":"new"},{"id":6,"bee":"7","c":"new"},'
	. '{"id":7,"bee":"b","c":"c","d":9},{"id":8,"bee":"7","c":"new","d":null},{"id":9,"bee":"7","c":"new","d":null}]',
	'each row in the shape that its table had then');
is(join(' ', map { $_->{subject} } (grep { $_->{event}{op} ne 'schema' } @events)[ -3 .. -1 ]), 'shape.public.shape shape.moved.shape shape.moved.form', 'and under the name');
is(scalar(grep { $_->{event}{op} !~ /^(insert|schema)$/ } @events), 0, 'a rewrite of the table is not an event');

# Rows from before a column was added, as the snapshot and an update see them.
$braid->sql("CREATE TABLE filled (id int PRIMARY KEY, v int); INSERT INTO filled VALUES (1, 1); ALTER TABLE filled ADD w text DEFAULT 'dflt';
	ALTER TABLE filled REPLICA IDENTITY FULL; SELECT pgflow_create('filled', tables => '{filled}')");
$braid->until_state('filled', 'streaming');
$braid->sql('UPDATE filled SET v = 2');
@events = $braid->events('filled');
Braid::is_json($events[0]{event}{after}, '{"id":1,"v":1,"w":"dflt"}', 'snapshot: the default of a column that the row never stored');
Braid::is_json([ @{ $events[1]{event} }{qw(before after)} ], '[{"id":1,"v":1,"w":"dflt"},{"id":1,"v":2,"w":"dflt"}]', 'update: before has it too');

# Operations that rewrite rows are no changes of data; a table replaced by another of its name.
$braid->sql('VACUUM FULL filled; CLUSTER filled USING filled_pkey; REINDEX TABLE filled; ANALYZE filled');
is(scalar(@events = $braid->events('filled')), 0, 'maintenance publishes nothing');
$braid->sql('CREATE MATERIALIZED VIEW mv AS SELECT * FROM filled; REFRESH MATERIALIZED VIEW mv;
	CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); INSERT INTO unlogged VALUES (1)');
is(scalar(@events = $braid->events('filled')), 0, 'nor do other kinds of relations');
$braid->sql('DROP TABLE filled CASCADE; CREATE TABLE filled (id int PRIMARY KEY); INSERT INTO filled VALUES (1)');
is(scalar(@events = $braid->events('filled')), 0, 'a new table of the same name is not the published one');
$braid->until_state('filled', 'streaming', 'and the flow goes on');

# Many columns, and none.
my @columns = map { "c$_" } 1 .. 1500;
$braid->sql('CREATE TABLE wide (id int PRIMARY KEY, ' . join(', ', map { "$_ int" } @columns) . ');
	CREATE TABLE bare (); ALTER TABLE bare REPLICA IDENTITY FULL;
	SELECT pgflow_create(\'wide\', tables => \'{wide,bare}\', subject => \'wide.{table}\')');
$braid->until_state('wide', 'streaming');
$braid->sql('INSERT INTO bare DEFAULT VALUES; INSERT INTO wide (id, c1500) VALUES (1, 5)');
@events = $braid->events('wide');
is(rows($events[0]), '[{}]', 'a table without columns');
is("@{[scalar keys %{ $events[1]{event}{after} }]} $events[1]{event}{after}{c1500}", '1501 5', 'a table of 1501 columns');

# INSERT ... ON CONFLICT, MERGE, UPDATE of nothing, foreign keys that cascade.
$braid->sql("CREATE TABLE parent (id int PRIMARY KEY, v int); CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
	SELECT pgflow_create('family', tables => '{parent,child}', subject => 'family.{table}')");
$braid->until_state('family', 'streaming');
$braid->sql('INSERT INTO parent VALUES (1, 1); INSERT INTO parent VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v;
	INSERT INTO parent VALUES (1, 3) ON CONFLICT DO NOTHING; INSERT INTO child VALUES (1, 1); UPDATE parent SET id = 2; UPDATE parent SET v = 0 WHERE id = 99;
	MERGE INTO parent p USING (VALUES (2), (3)) s(id) ON p.id = s.id WHEN MATCHED THEN UPDATE SET v = 9 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 8);
	DELETE FROM parent WHERE id = 2');
is(Braid::summary($braid->events('family')), join(', ', map { my ($o, $t) = split; "$o public.$t" } 'insert parent', 'update parent',
	'insert child', 'update parent', 'update child', 'update parent', 'insert parent', 'delete parent', 'delete child'), 'every way to change a row');

done_testing;
