# Values are exactly what to_jsonb gives, for every type, on each way that a row can take.
use strict;
use warnings;
use utf8;

use Braid;
use Test::More;

my $braid = Braid->new;

sub sql { my ($sql, %options) = @_; utf8::encode($sql); return $braid->sql($sql, %options); }

# Column name => [type, values...]. Each becomes a table of its own rows, so that a difference names the type.
my @types = (
	[ 'bool', 'bool', 'true', 'false' ],
	[ 'char', '"char"', q{'a'}, q{''}, q{E'\\\\001'}, q{'\200'}, q{'"'} ],
	[ 'name', 'name', q{'n'}, q{''}, q{'ü"\\'} ],
	[ 'int2', 'int2', -32768, 32767, 0 ],
	[ 'int4', 'int4', -2147483648, 2147483647 ],
	[ 'int8', 'int8', '-9223372036854775808', '9223372036854775807', '9007199254740993' ],
	[ 'float4', 'float4', qw('NaN' 'Infinity' '-Infinity' '-0' 3.4028235e38 1.17549435e-38 1.4e-45 0.1 16777217 1e20) ],
	[ 'float8', 'float8', qw('NaN' 'Infinity' '-Infinity' '-0' 1.7976931348623157e308 2.2250738585072014e-308 4.9e-324 0.1 1e15 1e16 123456789012345678 19.15 309.56) ],
	[ 'numeric', 'numeric', qw('NaN' 'Infinity' '-Infinity' 0 -0.0 1.10 1e-20 1e100 0.000000000000000000000000000001
		123456789012345678901234567890.123456789012345678901234567890), q{('1' || repeat('0', 1000))::numeric} ],
	[ 'numeric_s', 'numeric(10,4)', 1, 1.23456, -99999.9999, q{'NaN'} ],
	[ 'money', 'money', q{'12.34'}, q{'-92233720368547758.08'} ],
	[ 'text', 'text', q{''}, q{'ünïcödé 日本 🚕'}, q{E'tab\\tline\\nquote"back\\\\slash/\\x01\\x1f\\x7f'}, q{repeat('x"', 5000)}, q{'[1]'}, q{E'\\u2028'} ],
	[ 'varchar', 'varchar(5)', q{'ab   '}, q{''} ],
	[ 'bpchar', 'char(5)', q{'ab'}, q{''} ],
	[ 'bytea', 'bytea', q{'\x'}, q{'\x0001ff'}, q{'\xdeadbeef'} ],
	[ 'date', 'date', q{'2024-05-22'}, q{'infinity'}, q{'-infinity'}, q{'0044-03-15 BC'}, q{'5874897-12-31'}, q{'4713-01-01 BC'} ],
	[ 'time', 'time', q{'00:00'}, q{'24:00'}, q{'12:34:56.789012'}, q{'23:59:59.999999'} ],
	[ 'timetz', 'timetz', q{'12:34:56.7+05:30'}, q{'00:00-15:59'}, q{'12:00+00'} ],
	[ 'timestamp', 'timestamp', q{'2024-05-22 22:12:00.123456'}, q{'2024-05-22 22:12:00'}, q{'infinity'}, q{'-infinity'}, q{'0044-03-15 BC'}, q{'294276-12-31 23:59:59.999999'} ],
	[ 'timestamptz', 'timestamptz', q{'2024-05-22 22:12:00.1+02'}, q{'infinity'}, q{'-infinity'}, q{'0044-03-15 12:00+00 BC'}, q{'1900-01-01 00:00+01:23'} ],
	[ 'timestamp_3', 'timestamp(3)', q{'2024-05-22 22:12:00.1239'} ],
	[ 'interval', 'interval', q{'1 year 2 mons -3 days 04:05:06.789'}, q{'0'}, q{'-1 mon +1 day'}, q{'178000000 years'}, q{'00:00:00.000001'} ],
	[ 'json', 'json', q{'{"a":1,"a":2, "b" : [1.0, 1e5]}'}, q{'"\u0041\u00e9\ud83d\ude95"'}, q{E'{\\n\\t"x":\\r\\n1 }'}, q{'null'}, q{'  [ ]  '}, q{'123456789012345678901234567890'} ],
	[ 'jsonb', 'jsonb', q{'{"a":1,"a":2,"b":[1.0,1e5,null,true]}'}, q{'"\u0041\n"'}, q{'null'}, q{'{}'}, q{'1e400'} ],
	[ 'bit', 'bit(3)', q{B'101'} ],
	[ 'varbit', 'varbit', q{B''}, q{B'1010101010101'} ],
	[ 'inet', 'inet', q{'10.0.0.1/8'}, q{'::1'}, q{'fe80::1/64'}, q{'1.2.3.4'} ],
	[ 'cidr', 'cidr', q{'10.0.0.0/8'}, q{'::/0'} ],
	[ 'macaddr', 'macaddr', q{'08:00:2b:01:02:03'} ],
	[ 'macaddr8', 'macaddr8', q{'08:00:2b:01:02:03:04:05'} ],
	[ 'tsvector', 'tsvector', q{'a:1A fat:2B,4C ''it''''s'''}, q{''} ],
	[ 'tsquery', 'tsquery', q{'fat & (rat | !cat:*)'}, q{''} ],
	[ 'xml', 'xml', q{'<a b="c">x &amp; y</a>'}, q{'text'}, q{''} ],
	[ 'uuid', 'uuid', q{'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'} ],
	[ 'point', 'point', q{'(1.5,-2)'}, q{'(NaN,Infinity)'} ],
	[ 'line', 'line', q{'{1,2,3}'} ],
	[ 'lseg', 'lseg', q{'[(0,0),(1,1)]'} ],
	[ 'box', 'box', q{'(1,1),(0,0)'} ],
	[ 'path', 'path', q{'[(0,0),(1,1)]'}, q{'((0,0),(1,1))'} ],
	[ 'polygon', 'polygon', q{'((0,0),(1,1),(2,0))'} ],
	[ 'circle', 'circle', q{'<(0,0),1.5>'} ],
	[ 'oid', 'oid', 0, '4294967295' ],
	[ 'regclass', 'regclass', q{'pg_class'}, 0, 999999, q{'"Odd"'} ],
	[ 'regtype', 'regtype', q{'int4'}, q{'"char"'}, 0 ],
	[ 'regproc', 'regproc', q{'now'}, 0 ],
	[ 'regprocedure', 'regprocedure', q{'lower(text)'} ],
	[ 'regoper', 'regoper', 0 ],
	[ 'regoperator', 'regoperator', q{'+(int4,int4)'} ],
	[ 'regrole', 'regrole', q{'pg_monitor'} ],
	[ 'regnamespace', 'regnamespace', q{'pg_catalog'} ],
	[ 'regconfig', 'regconfig', q{'english'} ],
	[ 'regdictionary', 'regdictionary', q{'simple'} ],
	[ 'regcollation', 'regcollation', q{'"C"'} ],
	[ 'pg_lsn', 'pg_lsn', q{'0/0'}, q{'FFFFFFFF/FFFFFFFF'} ],
	[ 'tid', 'tid', q{'(1,2)'} ],
	[ 'xid', 'xid', q{'42'} ],
	[ 'cid', 'cid', q{'42'} ],
	[ 'xid8', 'xid8', q{'18446744073709551615'} ],
	[ 'pg_snapshot', 'pg_snapshot', q{'10:20:10,14,15'} ],
	[ 'txid_snapshot', 'txid_snapshot', q{'10:20:10,14,15'} ],
	[ 'int2vector', 'int2vector', q{'1 2 3'}, q{''} ],
	[ 'oidvector', 'oidvector', q{'1 2 3'} ],
	[ 'jsonpath', 'jsonpath', q{'$.a[*] ? (@ > 1)'} ],
	[ 'refcursor', 'refcursor', q{'c'} ],
	[ 'aclitem', 'aclitem', q{'postgres=r/postgres'} ],
	[ 'int4range', 'int4range', q{'[1,5]'}, q{'empty'}, q{'(,)'} ],
	[ 'numrange', 'numrange', q{'[1.5,)'} ],
	[ 'tstzrange', 'tstzrange', q{'["2024-05-22 22:12:00+02",infinity)'} ],
	[ 'daterange', 'daterange', q{'[2024-01-01,2024-02-01)'} ],
	[ 'int8multirange', 'int8multirange', q{'{[1,2],[5,9)}'}, q{'{}'} ],
	[ 'tsmultirange', 'tsmultirange', q{'{[2024-01-01,2024-02-01)}'} ],
	[ 'enum', 'mood', q{'sad'}, q{'very "happy"'}, q{'ü'} ],
	[ 'domain', 'positive', 5 ],
	[ 'domain_text', 'word', q{'w"'} ],
	[ 'domain_domain', 'small', 3 ],
	[ 'composite', 'pair', q{ROW(1, 'x"y')}, q{ROW(NULL, NULL)} ],
	[ 'nested', 'nest', q{ROW(ROW(1, 'x'), ARRAY[ROW(2, 'y')::pair, NULL], '2024-01-01', 'NaN')} ],
	[ 'domain_composite', 'good_pair', q{ROW(1, 'x')} ],
	[ 'int_array', 'int[]', q{'{}'}, q{'{1,NULL,3}'}, q{'{{1,2},{3,4}}'}, q{'[0:1]={1,2}'}, q{'{{{1},{2}},{{3},{4}}}'}, q{'[-1:0][5:6]={{1,2},{3,4}}'} ],
	[ 'text_array', 'text[]', q{ARRAY['a,b', 'c"d', NULL, 'NULL', '', '{}', E'\\n']} ],
	[ 'float_array', 'float8[]', q{'{NaN,Infinity,-0,0.1}'} ],
	[ 'numeric_array', 'numeric[]', q{'{NaN,1.10,1e30}'} ],
	[ 'bool_array', 'bool[]', q{'{t,f,NULL}'} ],
	[ 'timestamptz_array', 'timestamptz[]', q{'{"2024-05-22 22:12:00+02",infinity}'} ],
	[ 'jsonb_array', 'jsonb[]', q{ARRAY['{"a":1}'::jsonb, 'null', NULL]} ],
	[ 'json_array', 'json[]', q{ARRAY['{"a":1,"a":2}'::json]} ],
	[ 'bytea_array', 'bytea[]', q{ARRAY['\xff'::bytea]} ],
	[ 'enum_array', 'mood[]', q{'{sad,NULL}'} ],
	[ 'domain_array', 'positive[]', q{'{1,2}'} ],
	[ 'composite_array', 'pair[]', q{ARRAY[ROW(1, 'x')::pair, NULL, ROW(NULL, '')]} ],
	[ 'range_array', 'int4range[]', q{ARRAY['[1,5)'::int4range]} ],
	[ 'array_domain', 'numbers', q{'{1,2}'} ],
	[ 'name_array', 'name[]', q{'{a,b}'} ],
	[ 'int2vector_array', 'int2vector[]', q{ARRAY['1 2'::int2vector]} ],
	[ 'hstore', 'hstore', q{'a=>1, "b c"=>NULL, d=>"q\"\\\\"'}, q{''} ],
	[ 'hstore_array', 'hstore[]', q{ARRAY['a=>1'::hstore]} ],
	[ 'citext', 'citext', q{'Abc'} ],
	[ 'ltree', 'ltree', q{'a.b.c'} ],
	[ 'cube', 'cube', q{'(1,2),(3,4)'} ],
	[ 'isbn', 'isbn', q{'978-0-393-04002-9'} ],
);

# Types of contrib modules that are not installed are left out.
my $there = join ',', grep { $braid->sql("SELECT count(*) FROM pg_available_extensions WHERE name = '$_'") } qw(hstore citext ltree cube isn);
sql("CREATE EXTENSION $_") for split /,/, $there;
my %needs = (hstore => 'hstore', hstore_array => 'hstore', citext => 'citext', ltree => 'ltree', cube => 'cube', isbn => 'isn');
@types = grep { !$needs{ $_->[0] } || ",$there," =~ /,$needs{$_->[0]},/ } @types;
@types = grep { $_->[0] ne 'xml' } @types unless $braid->error_of("SELECT '<a/>'::xml") eq '';

sql(q{CREATE TABLE "Odd" (x int);
	CREATE TYPE mood AS ENUM ('sad', 'very "happy"', 'ü');
	CREATE DOMAIN positive AS int CHECK (VALUE > 0);
	CREATE DOMAIN word AS text;
	CREATE DOMAIN small AS positive CHECK (VALUE < 10);
	CREATE TYPE pair AS (a int, "b ""c" text);
	CREATE TYPE nest AS (p pair, many pair[], d date, f float8);
	CREATE DOMAIN good_pair AS pair CHECK (VALUE IS NULL OR (VALUE).a > 0);
	CREATE DOMAIN numbers AS int[];
	-- to_jsonb would run this cast. A flow does not: it is SQL, and would run with the rights of the worker.
	CREATE TYPE own_type;
	CREATE FUNCTION own_in(cstring) RETURNS own_type LANGUAGE internal STRICT IMMUTABLE AS 'int4in';
	CREATE FUNCTION own_out(own_type) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'int4out';
	CREATE TYPE own_type (INPUT = own_in, OUTPUT = own_out, LIKE = int4);
	CREATE FUNCTION own_json(own_type) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT json_build_object('own', own_out($1)::text) $$;
	CREATE CAST (own_type AS json) WITH FUNCTION own_json(own_type)});

# What to_jsonb says is kept in a table, computed under the settings that a flow pins.
my $pinned = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1;
	SET search_path = pg_catalog;";
sql("ALTER DATABASE postgres SET TimeZone = 'America/New_York'; ALTER DATABASE postgres SET DateStyle = 'German';
	ALTER DATABASE postgres SET IntervalStyle = 'iso_8601'; ALTER DATABASE postgres SET bytea_output = 'escape';
	ALTER DATABASE postgres SET extra_float_digits = -5");
sql("CREATE TABLE got (flow text, op text, tab text, id int, payload text)");

my @tables;
for my $type (@types)
{
	my ($name, $sql_type, @values) = @$type;
	my $rows = join ', ', map { "($_)" } @values, 'NULL';
	my $error = $braid->error_of(do {
		my $text = "CREATE TABLE t_$name (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v $sql_type);
			INSERT INTO t_$name (v) VALUES " . join(', ', map { "(($_)::$sql_type)" } @values, 'NULL') . "; ALTER TABLE t_$name REPLICA IDENTITY FULL";
		utf8::encode($text); $text });
	is($error, '', "values of $name") or next;
	push @tables, "t_$name";
}

sql("CREATE TABLE t_own (id int PRIMARY KEY, v own_type); INSERT INTO t_own VALUES (1, '12')");

# Every way: the rows were there, the rows are inserted, updated to themselves, deleted.
sql("SELECT pgflow_create('types', tables => '{" . join(',', @tables, 't_own') . "}')");
$braid->until_state('types', 'streaming');
sql("INSERT INTO $_ (v) SELECT v FROM $_ ORDER BY id; UPDATE $_ SET v = v; ") for @tables;
my @events = $braid->events('types');
sql("CREATE TABLE expected (tab text, id int, whole jsonb, as_text text)");
sql($pinned . join '', map { "INSERT INTO public.expected SELECT '$_', id, to_jsonb(t), to_json(t)::text FROM public.$_ t;" } @tables);
sql("DELETE FROM $_") for @tables;
push @events, $braid->events('types');

my ($own) = grep { $_->{event}{table} eq 't_own' } @events;
is($own->{event}{after}{v}, '12', 'a cast to json that is SQL is not run');
@events = grep { $_->{event}{table} ne 't_own' } @events;

for my $message (@events)
{
	utf8::decode(my $text = $message->{text});
	ok(defined $message->{event}, 'valid JSON in UTF-8') or diag($message->{text}) unless defined $message->{event};
}
my $literals = join ",\n", map { utf8::decode(my $text = $_->{text}); '(' . Braid::quoted($text) . ')' } @events;
sql("CREATE TABLE events (n serial, e json); SET standard_conforming_strings = on; INSERT INTO events (e) VALUES $literals");

is(sql("SELECT count(*) FROM events WHERE e->>'op' = '$_'"), sql("SELECT count(*) / 2 FROM expected"), "as many events: $_") for qw(snapshot insert);
is(sql("SELECT count(*) FROM events WHERE e->>'op' = '$_'"), sql("SELECT count(*) FROM expected"), "as many events: $_") for qw(update delete);
sql("CREATE VIEW wrong AS SELECT e->>'op' AS op, tab, part, e->part->>'v' AS published, whole->>'v' AS expected
	FROM events CROSS JOIN (VALUES ('after'), ('before')) parts(part)
	JOIN expected ON tab = e->>'table' AND id = coalesce(e->'after'->>'id', e->'before'->>'id')::int
	WHERE e->part IS NOT NULL AND (e->part)::jsonb IS DISTINCT FROM whole");
for my $table (@tables)
{
	is(sql("SELECT DISTINCT op, part, left(published, 200), left(expected, 200) FROM wrong WHERE tab = '$table'"), '', "to_jsonb: $table");
}
# json is kept as it was written: its text, not only its meaning, apart from line breaks.
is(sql(q{SELECT DISTINCT e->'after'->>'v', as_text::json->>'v' FROM events JOIN expected ON tab = e->>'table' AND id = (e->'after'->>'id')::int
	WHERE tab IN ('t_json', 't_text', 't_json_array') AND translate(e->'after'->>'v', E'\n\r\t', '   ') <> translate(as_text::json->>'v', E'\n\r\t', '   ')}),
	'', 'json keeps duplicate keys and spelling');
is(scalar(grep { $_->{text} =~ /[\x00-\x1f]/ } @events), 0, 'no event has a control character');
is(sql("SELECT count(*) FROM events WHERE (e->'after'->'v') IS NOT NULL AND json_typeof(e->'after'->'v') IS DISTINCT FROM
	(SELECT jsonb_typeof(whole->'v') FROM expected WHERE tab = e->>'table' AND id = (e->'after'->>'id')::int)"), 0, 'JSON types are the same');

done_testing;
