# Columns that are masked, renamed or dropped, and filters of a flow.
use strict;
use warnings;

use Braid;
use Digest::SHA qw(hmac_sha256_hex);
use IPC::Run;
use JSON::PP;
use Test::More;

my $braid = Braid->new;
my $url = $braid->nats->url;
my $key = 'a key of no few bytes';
$braid->sql("CREATE SERVER plain FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url '$url');
	CREATE SERVER events FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url '$url')");
$braid->sql("CREATE USER MAPPING FOR PUBLIC SERVER events OPTIONS (mask_key '$key')");

my $rules = '{"columns": {"public.people": {"id": {"mask": "hash"}, "email": {"mask": "hash", "rename": "e-mail"},
	"card": {"mask": "partial", "keep": 4}, "note": {"mask": "fixed", "value": "*\"*"}, "old_name": {"rename": "newName"},
	"secret": {"drop": true}, "n": {"mask": "partial", "keep": 1}, "big": {"mask": "hash"}}}}';

sub hash { return hmac_sha256_hex($_[0], $key) }

# Everything that is in a stream: subjects, headers and data.
sub dump_of
{
	my ($flow) = @_;
	my $out = '';
	IPC::Run::run([ 'pgbraid-tail', '-s', $url, '--stream', $braid->stream_of($flow), '--from', 'all', '--json', '--until-end' ], '>', \$out)
		or die 'pgbraid-tail failed';
	return $out;
}

sub never_leaks
{
	my ($flow, $name, @secrets) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $dump = dump_of($flow);
	is(join(' ', grep { index($dump, $_) >= 0 } @secrets), '', $name);
	return;
}

sub create
{
	my ($flow, $options, %how) = @_;
	my $what = $how{publication} ? "publication => '$how{publication}'" : "tables => '{$how{table}}'";
	my ($format, $server, $subject) = ($how{format} // 'json', $how{server} // 'events', $how{subject} // '{op}.{key}');
	$braid->sql("SELECT pgflow_create('$flow', $what, server => '$server', format => '$format', "
			. "subject => '$flow.$subject', options => '$options')");
	$braid->until_state($flow, 'streaming');
	return;
}

# Every format, every operation; the replica identity is the whole row, so that before shows all there is.
my @secrets = qw(K-11 K-22 K-33 ana@example.com bob@example.com 4111-1111 4222-2222 a-note b-note hidden1 hidden2 98765 BIGBIG);
my $big = q{repeat('BIGBIG', 1000)};
$braid->sql("CREATE TABLE people (id text PRIMARY KEY, email text, card text, note text, old_name text, secret text, n int, big text);
	ALTER TABLE people ALTER big SET STORAGE EXTERNAL; ALTER TABLE people REPLICA IDENTITY FULL;
	INSERT INTO people VALUES ('K-11', 'ana\@example.com', '4111-1111-é', 'a-note', 'Ana', 'hidden1', 98765, NULL)");
my @flows;
for my $format (qw(json rows debezium cloudevents))
{
	for my $rows (1, 5)
	{
		push @flows, "m_${format}_$rows";
		create($flows[-1], $rules =~ s/^\{/{"rows_per_message": $rows, /r, table => 'people', format => $format);
	}
}
$braid->sql("INSERT INTO people VALUES ('K-22', 'bob\@example.com', '4222-2222', 'b-note', 'Bob', 'hidden2', 98765, $big)");
$braid->sql(q{UPDATE people SET old_name = 'Bobby' WHERE id = 'K-22'});
$braid->sql(q{UPDATE people SET id = 'K-33', email = NULL, note = NULL WHERE id = 'K-22'});
$braid->sql(q{DELETE FROM people WHERE id = 'K-33'});
$braid->sql('TRUNCATE people');
for my $flow (@flows)
{
	$braid->wait_for($flow);
	never_leaks($flow, "$flow: nothing leaks", @secrets);
	like(dump_of($flow), qr/${\hash('K-22')}/, "$flow: but its hash is there");
}

my @messages = $braid->events('m_json_1');
my ($snapshot, $insert, $update, $move, $delete) = map { $_->{event} } @messages;
Braid::is_json($snapshot->{after},
	{ id => hash('K-11'), 'e-mail' => hash('ana@example.com'), card => '*******11-é' =~ s/.*/'*' x 7 . '11-' . "\x{e9}"/er,
		note => '*"*', newName => 'Ana', n => '****5', big => undef },
	'snapshot: masked, renamed, dropped; characters count, not bytes');
Braid::is_json($snapshot->{key}, { id => hash('K-11') }, 'the key is masked');
is($messages[1]{subject}, 'm_json_1.insert.' . hash('K-22'), 'and in the subject');
is($insert->{after}{big}, hash('BIGBIG' x 1000), 'a value out of line is hashed');
Braid::is_json($update->{before}, { %{ $insert->{after} } }, 'before is masked as after is');
Braid::is_json([ @{ $move->{after} }{ 'id', 'e-mail', 'note' } ], [ hash('K-33'), undef, undef ], 'null stays null');
is($delete->{before}{id}, hash('K-33'), 'delete');
my ($row) = map { $_->{text} } $braid->events('m_rows_1');
is(join(' ', $row =~ /"([\w-]+)":/g), 'big card e-mail id n newName note', 'rows: sorted by the names as published');

# Where a snapshot stands is noted in headers, and not by the keys that are hidden. Killed meanwhile it goes on there:
# with packs, too, each row is told once.
$braid->sql("CREATE TABLE crowd (id text PRIMARY KEY, n int); INSERT INTO crowd SELECT 'key-' || g, g FROM generate_series(1, 60000) g;
	CREATE TABLE inserted (id text PRIMARY KEY, n int); INSERT INTO inserted VALUES ('key-hidden', 1);
	CREATE PUBLICATION inserted FOR TABLE inserted (n) WITH (publish = 'insert')");
for my $rows (1, 30)
{
	my $flow = "crowd_$rows";
	$braid->sql("SELECT pgflow_create('$flow', tables => '{crowd}', server => 'events', subject => '$flow',
		options => '{\"rows_per_message\": $rows, \"columns\": {\"public.crowd\": {\"id\": {\"mask\": \"hash\"}}}}')");
	for my $kill (1 .. 3)
	{
		my $pid = $braid->sql("SELECT coalesce((SELECT pid FROM pgbraid.stat_flow WHERE flow = '$flow' AND rows_snapshotted > 0), 0)");
		$braid->sql("SELECT pg_terminate_backend($pid)") if $pid != 0;
		$braid->until_sql("SELECT count(*) FROM pgbraid.stat_flow WHERE flow = '$flow' AND pid <> $pid AND state IN ('snapshotting', 'streaming')", '1');
	}
	my @rows = map { split /\n/, $_->{text} } $braid->events($flow);
	is(join(' ', scalar(@rows), scalar keys %{ { map { /"n":(\d+)/ => 1 } @rows } }), '60000 60000', "$flow: each row of the snapshot once");
	never_leaks($flow, "$flow: no key in headers", 'key-');
	like(dump_of($flow), qr{Pgbraid-Snapshot[^,]*/~[0-9a-f]+}, "$flow: where a snapshot stands is encrypted");
}
create('inserted', '{}', publication => 'inserted', subject => 'all');
is(join(' ', map { $_->{event}{after}{n} } $braid->events('inserted')), '1', 'a list of columns without the key');
never_leaks('inserted', 'is not undone by headers', 'key-hidden');

# What is unchanged is named as published.
$braid->sql('CREATE TABLE toasted (id int PRIMARY KEY, a text, b text);
	ALTER TABLE toasted ALTER a SET STORAGE EXTERNAL; ALTER TABLE toasted ALTER b SET STORAGE EXTERNAL');
create('toasted', '{"columns": {"public.toasted": {"a": {"rename": "A"}, "b": {"drop": true}}}}', table => 'toasted');
$braid->sql("INSERT INTO toasted VALUES (1, repeat('x', 3000), repeat('y', 3000)); UPDATE toasted SET id = 2");
@messages = $braid->events('toasted');
Braid::is_json($messages[1]{event}{unchanged}, '["A"]', 'unchanged: renamed, and nothing of what is dropped');

# Names that need quotes, and a rename that swaps.
$braid->sql('CREATE SCHEMA "S x"; CREATE TABLE "S x"."T""y" ("Id" int PRIMARY KEY, a text, b text)');
create('swap', '{"columns": {"\"S x\".\"T\"\"y\"": {"a": {"rename": "b"}, "b": {"rename": "a"}, "Id": {"rename": "id"}}}}', table => '"\"S x\".\"T\"\"y\""');
$braid->sql(q{INSERT INTO "S x"."T""y" VALUES (1, 'A', 'B')});
@messages = $braid->events('swap');
Braid::is_json($messages[0]{event}{after}, '{"id":1,"b":"A","a":"B"}', 'names are swapped');
Braid::is_json($messages[0]{event}{key}, '{"id":1}', 'a key renamed');

# A table that comes later.
$braid->sql('CREATE PUBLICATION everything FOR ALL TABLES');
create('later', '{"columns": {"public.later": {"pin": {"mask": "hash", "if_exists": true}}}}', publication => 'everything', subject => 'all');
$braid->sql(q{CREATE TABLE later (id int PRIMARY KEY, pin text); INSERT INTO later VALUES (1, 'pin-777')});
@messages = $braid->events('later');
is($messages[-1]{event}{after}{pin}, hash('pin-777'), 'rules wait for their table');
$braid->sql("SELECT pgflow_drop('later'); DROP PUBLICATION everything");

# Rather than to let out what was to be hidden, a flow stops.
$braid->sql('CREATE TABLE moves (id int PRIMARY KEY, pin text)');
create('moves', '{"columns": {"public.moves": {"pin": {"mask": "hash"}}}}', table => 'moves');
$braid->sql(q{INSERT INTO moves VALUES (1, 'pin-111'); ALTER TABLE moves RENAME pin TO code; INSERT INTO moves VALUES (2, 'pin-222')});
$braid->until_sql("SELECT last_sqlstate = '42703' AND last_hint LIKE '%if_exists%' FROM pgbraid.stat_flow WHERE flow = 'moves'", 't', 'a hidden column that is renamed stops the flow');
never_leaks('moves', 'nothing has leaked', 'pin-222', 'pin-111');
$braid->sql(q{SELECT pgflow_alter('moves', options => '{"columns": {"public.moves": {"pin": {"mask": "hash", "if_exists": true}, "code": {"mask": "hash", "if_exists": true}}}}')});
@messages = grep { $_->{event}{op} ne 'schema' } $braid->events('moves');
is(join(' ', map { $_->{event}{after}{pin} // $_->{event}{after}{code} } @messages), hash('pin-111') . ' ' . hash('pin-222'), 'with rules for both it goes on');

# Another key, without a restart by hand.
$braid->sql("ALTER USER MAPPING FOR PUBLIC SERVER events OPTIONS (SET mask_key 'other')");
$braid->until_sql("SELECT pgflow_wait('moves')", 't');
$braid->sql(q{INSERT INTO moves VALUES (3, 'pin-111')});
my $tries = 0;
while (($braid->events('moves'))[-1]{event}{after}{code} ne hmac_sha256_hex('pin-111', 'other'))
{
	die 'the new key does not take effect' if ++$tries > 100;
	$braid->sql("DELETE FROM moves WHERE id = 3; INSERT INTO moves VALUES (3, 'pin-111')");
}
pass('a new key takes effect');

# Filters: as the WHERE of a publication, and together with one.
$braid->sql("CREATE TABLE orders (id int PRIMARY KEY, amount int, region text); ALTER TABLE orders REPLICA IDENTITY FULL;
	INSERT INTO orders VALUES (1, 5, 'eu'), (2, 50, 'eu'), (3, 50, 'us');
	CREATE PUBLICATION eu FOR TABLE orders WHERE (region = 'eu')");
create('filtered', '{"filter": {"public.orders": "amount > 10"}}', publication => 'eu');
create('both', '{"filter": {"public.orders": "amount > 10 AND region = \'\'eu\'\'"}}', table => 'orders');
$braid->sql("INSERT INTO orders VALUES (4, 60, 'eu'), (5, 6, 'eu'), (6, 60, 'us'), (7, NULL, 'eu')");
$braid->sql('UPDATE orders SET amount = amount + 7 WHERE id = 4');
$braid->sql('UPDATE orders SET amount = 70 WHERE id = 5');
$braid->sql('UPDATE orders SET amount = 1 WHERE id = 4');
$braid->sql("UPDATE orders SET region = 'eu' WHERE id = 6");
$braid->sql("UPDATE orders SET region = 'us' WHERE id = 6");
$braid->sql('DELETE FROM orders');
for my $flow (qw(filtered both))
{
	is(join(', ', map { "$_->{event}{op} " . ($_->{event}{key}{id} // '') } $braid->events($flow)),
		'snapshot 2, insert 4, update 4, insert 5, delete 4, insert 6, delete 6, delete 2, delete 5',
		"$flow: rows that enter are inserts, rows that leave are deletes");
}

# A filter speaks of the row as it is in the table.
$braid->sql("CREATE TABLE seen (id int PRIMARY KEY, kind text); ALTER TABLE seen REPLICA IDENTITY FULL");
create('seen', '{"filter": {"public.seen": "kind = \'\'good\'\'"}, "columns": {"public.seen": {"kind": {"drop": true}}}}', table => 'seen');
$braid->sql("INSERT INTO seen VALUES (1, 'good'), (2, 'bad')");
is(join(' ', map { $_->{text} =~ s/.*"after"://r } $braid->events('seen')), '{"id":1}}', 'a filter may use what is dropped');

# Partitions are told by the name that they are published under.
$braid->sql("CREATE TABLE parts (id int PRIMARY KEY, s text) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 (s text, junk int, id int NOT NULL); ALTER TABLE parts_1 DROP junk;
	ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES FROM (0) TO (100)");
create('parts', '{"filter": {"public.parts": "id > 1"}, "columns": {"public.parts": {"s": {"mask": "hash"}}}}', table => 'parts');
$braid->sql("INSERT INTO parts VALUES (1, 'p-1'), (2, 'p-2'); UPDATE parts SET s = 'p-3'; DELETE FROM parts");
@messages = $braid->events('parts');
is(join(' ', map { "$_->{event}{op}$_->{event}{key}{id}" } @messages), 'insert2 update2 delete2', 'a filter of a partitioned table');
is($messages[1]{event}{after}{s}, hmac_sha256_hex('p-3', 'other'), 'and masks');

# An identity that shrinks under a filter.
$braid->sql("ALTER TABLE seen REPLICA IDENTITY DEFAULT; UPDATE seen SET kind = 'bad'");
$braid->until_sql("SELECT last_sqlstate = '42P10' AND last_hint <> '' FROM pgbraid.stat_flow WHERE flow = 'seen'", 't', 'a filter outside of the identity stops the flow');

# The owner of a table can't have functions of his own run by a worker.
$braid->sql(<<'END');
CREATE ROLE owner;
GRANT CREATE ON SCHEMA public TO owner;
CREATE TABLE owned (id int PRIMARY KEY, amount numeric);
ALTER TABLE owned REPLICA IDENTITY FULL;
ALTER TABLE owned OWNER TO owner;
END
create('owned', '{"filter": {"public.owned": "amount > 10"}}', table => 'owned');
$braid->sql('INSERT INTO owned VALUES (1, 1), (2, 20)');
is(join(' ', map { $_->{event}{key}{id} } $braid->events('owned')), '2', 'a filter');
$braid->sql(<<'END');
SET ROLE owner;
CREATE TYPE evil AS ENUM ('a');
CREATE FUNCTION amount(evil) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RAISE EXCEPTION ''run by %'', current_user; END';
CREATE CAST (evil AS numeric) WITH FUNCTION amount(evil) AS IMPLICIT;
ALTER TABLE owned ALTER amount TYPE evil USING 'a';
INSERT INTO owned VALUES (3, 'a');
END
$braid->until_sql("SELECT last_sqlstate = '22023' AND last_error !~ 'run by' FROM pgbraid.stat_flow WHERE flow = 'owned'", 't', 'that would call a function of a user stops the flow');

done_testing();
