# Names of schemas, tables, columns and databases, in JSON and in subjects; templates of subjects.
use strict;
use warnings;
use utf8;

use Braid;
use Test::More;

my $braid = Braid->new;

sub sql { my ($sql, %options) = @_; utf8::encode($sql); return $braid->sql($sql, %options); }

# Table => the token it is in a subject.
my %tokens = (
	'plain' => 'plain',
	'Upper Case' => 'Upper%20Case',
	'with.dot' => 'with%2Edot',
	'qu"ote' => 'qu"ote',
	"apo'strophe" => "apo'strophe",
	'star*>' => 'star%2A%3E',
	'per%cent' => 'per%25cent',
	'$SYS' => '%24SYS',
	'back\\slash' => 'back\\slash',
	'{table}' => '{table}',
	"tab\tline\n" => 'tab%09line%0A',
	'Übung_日本_🚕' => 'Übung_日本_🚕',
);
my @names = sort keys %tokens;
sub ident { my ($name) = @_; $name =~ s/"/""/g; return "\"$name\""; }

sql('CREATE SCHEMA ' . ident('my.Schema "1"'));
sql('CREATE TABLE ' . ident('my.Schema "1"') . '.' . ident($_) . ' (' . ident("c $_") . ' int PRIMARY KEY)') for @names;
sql('CREATE PUBLICATION ' . ident('pub "odd"') . ' FOR ALL TABLES');
sql(q{SELECT pgflow_create('Odd ''flow" ü.*', publication => 'pub "odd"', stream => 'odd', snapshot => 'none')});
$braid->until_state(do { my $n = q{Odd 'flow" ü.*}; utf8::encode($n); $n }, 'streaming');
sql('INSERT INTO ' . ident('my.Schema "1"') . '.' . ident($_) . ' VALUES (1)') for @names;
my $flow = q{Odd 'flow" ü.*};
utf8::encode($flow);
my %by_table = map { $_->{event}{table} => $_ } $braid->events($flow);
for my $name (@names)
{
	my $message = $by_table{$name};
	(my $shown = $name) =~ s/([\t\n])/sprintf '\\x%02x', ord $1/ge;
	utf8::encode($shown);
	ok($message, "an event of table $shown") or next;
	is($message->{subject}, "pgflow.postgres.my%2ESchema%20\"1\".$tokens{$name}", 'its subject');
	is($message->{event}{schema}, 'my.Schema "1"', 'its schema');
	Braid::is_json($message->{event}{after}, { "c $name" => 1 }, 'its column');
}

# nats-server puts a stream's name through a format when it makes acknowledgement subjects: a "%" breaks every consumer.
# And not every client quotes it.
for my $odd ('a_b', 'a b', 'a.b', 'a"b', 'a%b')
{
	my $stream = sql('SELECT pgbraid.default_stream(' . Braid::quoted($odd) . ')');
	unlike($stream, qr/[%"'\\\s.*>]/, "the stream of flow $odd has a name that consumers can use");
}

# A table made after the flow, by FOR ALL TABLES: the stream learns its subject.
sql('CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)');
my ($event) = $braid->events($flow);
is($event->{subject}, 'pgflow.postgres.public.later', 'a table that came later');

# The same names through tables => '{...}', so that the extension quotes them itself.
my $array = join ',', map { (my $n = ident('my.Schema "1"') . '.' . ident($_)) =~ s/'/''/g; "'$n'::regclass" } @names;
sql("SELECT pgflow_drop(flow) FROM pgbraid.flows; SELECT pgflow_create('own', tables => ARRAY[$array], snapshot => 'none', subject => 'own.{table}')");
$braid->until_state('own', 'streaming');
sql('INSERT INTO ' . ident('my.Schema "1"') . '.' . ident($_) . ' VALUES (2)') for @names;
is(scalar(my @own = $braid->events('own')), scalar @names, 'tables with odd names in a publication of our own');

# Longest names: 63 bytes.
my $long = 'n' x 63;
sql("CREATE TABLE $long (id int PRIMARY KEY); SELECT pgflow_create('$long', tables => '{$long}', snapshot => 'none', subject => 'long.{table}')");
$braid->until_state($long, 'streaming');
my $other = 'n' x 62 . 'o';
sql("CREATE TABLE $other (id int PRIMARY KEY)");
is($braid->error_of("SELECT pgflow_create('$other', tables => '{$other}', snapshot => 'none', subject => 'long.{table}')"), '',
	'flows whose names differ in the last of 63 bytes do not collide');
sql("INSERT INTO $long VALUES (1)");
($event) = $braid->events($long);
is($event->{subject}, "long.$long", 'a name of 63 bytes');

# Placeholders.
sql(q{CREATE TABLE keyed (a text, b int, v text, PRIMARY KEY (a, b));
	SELECT pgflow_create('keyed', tables => '{keyed}', snapshot => 'none', subject => 'k.{op}.{table}-{schema}.{key}')});
$braid->until_state('keyed', 'streaming');
sql("INSERT INTO keyed VALUES ('a.b *', 1); UPDATE keyed SET v = 'x'; UPDATE keyed SET b = 2; DELETE FROM keyed; TRUNCATE keyed; INSERT INTO keyed VALUES ('', 3), ('ü', 4)");
is(join(' ', map { $_->{subject} } $braid->events('keyed')),
	'k.insert.keyed-public.a%2Eb%20%2A,1 k.update.keyed-public.a%2Eb%20%2A,1 k.update.keyed-public.a%2Eb%20%2A,2 '
	. 'k.delete.keyed-public.a%2Eb%20%2A,2 k.truncate.keyed-public.% k.insert.keyed-public.,3 k.insert.keyed-public.ü,4',
	'{op} and {key} in a subject');

# Without a key, {key} is empty; a constant subject serves every table.
sql(q{CREATE TABLE nokey (v text); ALTER TABLE nokey REPLICA IDENTITY FULL;
	SELECT pgflow_create('nokey', tables => '{nokey}', snapshot => 'none', subject => 'nokey.{key}');
	SELECT pgflow_create('constant', tables => '{nokey,keyed}', snapshot => 'none', subject => 'constant')});
$braid->until_state($_, 'streaming') for qw(nokey constant);
sql("INSERT INTO nokey VALUES ('a'); INSERT INTO keyed VALUES ('z', 9)");
is(join(' ', map { $_->{subject} } $braid->events('nokey')), 'nokey.%', '{key} of a table without one');
is(join(' ', map { $_->{subject} } $braid->events('constant')), 'constant constant', 'a subject without placeholders');

# A key far longer than a token may be.
sql("INSERT INTO keyed VALUES (repeat('k', 500), 1), (repeat('k', 500), 2)");
my @subjects = map { $_->{subject} } $braid->events('keyed');
shift @subjects;
cmp_ok(length $subjects[0], '<', 200, 'a long key is cut');
isnt($subjects[0], $subjects[1], 'and stays its own');

# Another database.
sql('CREATE DATABASE ' . ident('Dät.a"b_1'));
my @in = (dbname => do { my $n = 'Dät.a"b_1'; utf8::encode($n); $n });
sql("CREATE EXTENSION pgbraid; CREATE TABLE t (id int PRIMARY KEY); SELECT pgflow_create('here', tables => '{t}', stream => 'here', snapshot => 'none')", @in);
$braid->until_state('here', 'streaming', undef, @in);
sql('INSERT INTO t VALUES (1)', @in);
($event) = $braid->events('here', @in);
is($event->{subject}, 'pgflow.Dät%2Ea"b_1.public.t', 'the name of a database in a subject');

# The extension works when its functions live elsewhere and names of ours shadow the system's.
sql('CREATE DATABASE else_where');
unlike(sql("SELECT pgbraid.default_stream('f')", @in), qr/[%"]/, 'so has the stream of a database with an odd name');
@in = (dbname => 'else_where');

sql(q{CREATE SCHEMA "Ext"; CREATE EXTENSION pgbraid SCHEMA "Ext"; CREATE TABLE t (id int PRIMARY KEY);
	CREATE TABLE pg_publication (x int); CREATE FUNCTION public.format(text) RETURNS text LANGUAGE sql AS 'SELECT (1/0)::text';
	SET search_path = public, "Ext", pg_catalog; SELECT pgflow_create('e', tables => '{public.t}', snapshot => 'none')}, @in);
$braid->until_state('e', 'streaming', 'a flow with shadowed names', @in);

done_testing;
