# Publications decide what leaves: a flow lets out the same operations, columns and values as PostgreSQL's own plugin.
use strict;
use warnings;

use Braid;
use Contract;
use IPC::Run;
use Pgoutput;
use PostgreSQL::Test::Utils;
use RandomChanges;
use Test::More;

my $braid = Braid->new(conf => "logical_decoding_work_mem = '64kB'\n");
my $version = $braid->sql('SHOW server_version_num');

my $cases = 0;

# A publication of each kind, changes, and what leaves of them.
sub leaves
{
	my ($name, $setup, $changes, $expected, %options) = @_;
	$braid->sql("CREATE SCHEMA one; CREATE SCHEMA two; CREATE SCHEMA three; $setup");
	my $contract = Contract->begin($braid, 'flow' . ++$cases, publication => 'p');	# each with a stream of its own
	$braid->sql($changes);
	is(Contract::summary($options{alone} ? $contract->of_flow : $contract->is_kept("$name: as pgoutput")), $expected, $name);
	$contract->end;
	$braid->sql('DROP PUBLICATION p; DROP SCHEMA one, two, three CASCADE');
	return;
}

my $table = 'CREATE TABLE one.t (id int PRIMARY KEY, v text, n int);';
leaves('a list of columns', "$table CREATE PUBLICATION p FOR TABLE one.t (n, id)",
	"INSERT INTO one.t VALUES (1, 'a', 2); UPDATE one.t SET v = 'b'; UPDATE one.t SET id = 2; DELETE FROM one.t",
	'insert one.t {id,n}, update one.t {id,n}, update one.t {id,n} before {id}, delete one.t before {id}');
leaves('rows that move into the filter and out of it', "$table ALTER TABLE one.t REPLICA IDENTITY FULL;
	CREATE PUBLICATION p FOR TABLE one.t WHERE (n > 5)",
	"INSERT INTO one.t VALUES (1, 'a', 2), (2, 'b', 7), (3, 'c', NULL); UPDATE one.t SET n = n + 5; UPDATE one.t SET n = n - 5;
	UPDATE one.t SET v = 'z'; DELETE FROM one.t",
	'insert one.t {id,n,v}, insert one.t {id,n,v}, update one.t {id,n,v} before {id,n,v}, delete one.t before {id,n,v}, '
	. 'update one.t {id,n,v} before {id,n,v}, update one.t {id,n,v} before {id,n,v}, delete one.t before {id,n,v}');
leaves('a filter on the key', "$table CREATE PUBLICATION p FOR TABLE one.t (id, v) WHERE (id < 10)",
	"INSERT INTO one.t VALUES (1, 'a', 2), (20, 'b', 7); UPDATE one.t SET n = 0; UPDATE one.t SET id = 25 - id; DELETE FROM one.t",
	'insert one.t {id,v}, update one.t {id,v}, delete one.t before {id}, insert one.t {id,v}, delete one.t before {id}');
leaves('an update that a filter makes an insert brings what is out of line',
	"$table ALTER TABLE one.t ALTER v SET STORAGE EXTERNAL, REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE one.t WHERE (n > 5)",
	"INSERT INTO one.t VALUES (1, repeat('x', 3000), 2); UPDATE one.t SET n = 6; UPDATE one.t SET n = 7; UPDATE one.t SET n = 1",
	'insert one.t {id,n,v}, update one.t {id,n,v} before {id,n,v}, delete one.t before {id,n,v}');
leaves('a filter on what is out of line', "CREATE TABLE one.l (id int, k text, n int, PRIMARY KEY (k, id)); ALTER TABLE one.l ALTER k SET STORAGE EXTERNAL;
	CREATE PUBLICATION p FOR TABLE one.l WHERE (length(k) > 100)",
	"INSERT INTO one.l VALUES (1, repeat('k', 2100), 1), (2, 'k', 1); UPDATE one.l SET n = 2; UPDATE one.l SET id = 3 WHERE id = 1; DELETE FROM one.l",
	'insert one.l {id,k,n}, update one.l {id,k,n} before {id,k}, update one.l {id,k,n} before {id,k}, delete one.l before {id,k}');
for my $action (qw(insert update delete truncate))
{
	leaves("only $action", "$table CREATE PUBLICATION p FOR TABLE one.t WITH (publish = '$action')",
		"INSERT INTO one.t VALUES (1, 'a', 2); UPDATE one.t SET v = 'b'; DELETE FROM one.t; TRUNCATE one.t",
		{ insert => 'insert one.t {id,n,v}', update => 'update one.t {id,n,v}', delete => 'delete one.t before {id}', truncate => 'truncate one.t' }->{$action});
}
leaves('an update becomes an insert where only updates are published',
	"$table CREATE PUBLICATION p FOR TABLE one.t WHERE (id > 5) WITH (publish = 'update')",
	"INSERT INTO one.t VALUES (1, 'a', 2); UPDATE one.t SET id = 6; UPDATE one.t SET id = 1; DELETE FROM one.t",
	'insert one.t {id,n,v}, delete one.t before {id}');

my $tree = "CREATE TABLE one.root (id int, p int, v text, PRIMARY KEY (id, p)) PARTITION BY RANGE (p);
	CREATE TABLE one.leaf (gone int, v text, p int NOT NULL, id int NOT NULL); ALTER TABLE one.leaf DROP gone;
	ALTER TABLE one.root ATTACH PARTITION one.leaf FOR VALUES FROM (0) TO (10);
	CREATE TABLE two.rootmid PARTITION OF one.root FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (p);
	CREATE TABLE two.low PARTITION OF two.rootmid FOR VALUES FROM (10) TO (20);
	CREATE TABLE one.high (LIKE one.leaf); ALTER TABLE two.rootmid ATTACH PARTITION one.high FOR VALUES FROM (20) TO (30);";
my $moves = "INSERT INTO one.root VALUES (1, 1, 'a'), (2, 11, 'b'), (3, 21, 'c'); UPDATE one.root SET v = 'd' WHERE p > 20;
	UPDATE one.root SET p = 12 WHERE id = 1; TRUNCATE one.leaf; TRUNCATE two.rootmid; TRUNCATE one.root";
leaves('a tree by its root', "$tree CREATE PUBLICATION p FOR TABLE one.root WITH (publish_via_partition_root)", $moves,
	'insert one.root {id,p,v}, insert one.root {id,p,v}, insert one.root {id,p,v}, update one.root {id,p,v}, '
	. 'delete one.root before {id,p}, insert one.root {id,p,v}, truncate one.root');
leaves('a tree by its leaves', "$tree CREATE PUBLICATION p FOR TABLE one.root", $moves,
	'insert one.leaf {id,p,v}, insert two.low {id,p,v}, insert one.high {id,p,v}, update one.high {id,p,v}, delete one.leaf before {id,p}, '
	. 'insert two.low {id,p,v}, truncate one.leaf, truncate two.low, truncate one.high, truncate one.leaf, truncate two.low, truncate one.high');
leaves('a tree by a root in the middle', "$tree CREATE PUBLICATION p FOR TABLE two.rootmid (id, p) WHERE (p > 11) WITH (publish_via_partition_root)", $moves,
	'insert two.rootmid {id,p}, update two.rootmid {id,p}, insert two.rootmid {id,p}, truncate two.rootmid, truncate two.rootmid');
leaves('a tree by the schema of its root', "$tree CREATE PUBLICATION p FOR TABLES IN SCHEMA one WITH (publish_via_partition_root)", $moves,
	'insert one.root {id,p,v}, insert one.root {id,p,v}, insert one.root {id,p,v}, update one.root {id,p,v}, '
	. 'delete one.root before {id,p}, insert one.root {id,p,v}, truncate one.root');
leaves('a tree by the schema of some leaves', "$tree CREATE PUBLICATION p FOR TABLES IN SCHEMA two", $moves,
	'insert two.low {id,p,v}, insert one.high {id,p,v}, update one.high {id,p,v}, insert two.low {id,p,v}, '
	. 'truncate two.low, truncate one.high, truncate two.low, truncate one.high');
leaves('a partition that is detached and comes back', "$tree CREATE PUBLICATION p FOR TABLE one.root WITH (publish_via_partition_root)",
	"INSERT INTO one.root VALUES (1, 21, 'a'); BEGIN; ALTER TABLE one.root DETACH PARTITION two.rootmid; INSERT INTO two.rootmid VALUES (2, 21, 'b'); COMMIT;
	INSERT INTO one.high VALUES ('c', 21, 3); ALTER TABLE one.root ATTACH PARTITION two.rootmid FOR VALUES FROM (10) TO (30); INSERT INTO one.high VALUES ('d', 21, 4)",
	'insert one.root {id,p,v}, insert one.root {id,p,v}');
# pgoutput does not notice before it is started anew.
leaves('a root that moves into a schema that is published, and out of it', "$tree CREATE PUBLICATION p FOR TABLES IN SCHEMA three WITH (publish_via_partition_root)",
	"INSERT INTO one.root VALUES (1, 1, 'a'), (2, 11, 'a'); ALTER TABLE one.root SET SCHEMA three; INSERT INTO three.root VALUES (3, 1, 'a'), (4, 11, 'a');
	ALTER TABLE three.root SET SCHEMA one; INSERT INTO one.root VALUES (5, 1, 'a'), (6, 11, 'a'); ALTER TABLE two.rootmid SET SCHEMA three; INSERT INTO one.root VALUES (7, 1, 'a'), (8, 11, 'a')",
	'insert three.root {id,p,v}, insert three.root {id,p,v}, insert three.rootmid {id,p,v}', alone => 1);

my $generated = 'CREATE TABLE one.g (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, v text);';
my $writes = "INSERT INTO one.g VALUES (1, DEFAULT, 'a'); UPDATE one.g SET v = 'b'; UPDATE one.g SET id = 2; DELETE FROM one.g";
leaves('generated columns stay', "$generated CREATE PUBLICATION p FOR TABLE one.g", $writes,
	'insert one.g {id,v}, update one.g {id,v}, update one.g {id,v} before {id}, delete one.g before {id}');
leaves('a filter on a generated column', "$generated ALTER TABLE one.g REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE one.g WHERE (twice = 2) WITH (publish = 'insert')",
	"$writes; INSERT INTO one.g VALUES (5)", 'insert one.g {id,v}');
SKIP:
{
	skip 'publications can not publish generated columns', 4 if $version < 180000;
	leaves('generated columns leave', "$generated CREATE PUBLICATION p FOR TABLE one.g WITH (publish_generated_columns = stored)", $writes,
		'insert one.g {id,twice,v}, update one.g {id,twice,v}, update one.g {id,twice,v} before {id}, delete one.g before {id}');
	leaves('a list of columns names a generated one', "$generated CREATE PUBLICATION p FOR TABLE one.g (id, twice)", $writes,
		'insert one.g {id,twice}, update one.g {id,twice}, update one.g {id,twice} before {id}, delete one.g before {id}');
}

my $two = "$table CREATE TABLE two.t (LIKE one.t INCLUDING ALL);";
leaves('schemas', "$two CREATE PUBLICATION p FOR TABLES IN SCHEMA two, TABLE one.t WHERE (id = 2)",
	"INSERT INTO one.t VALUES (1), (2); INSERT INTO two.t VALUES (1); DELETE FROM one.t; CREATE TABLE two.later (id int PRIMARY KEY); INSERT INTO two.later VALUES (1);
	ALTER TABLE two.later SET SCHEMA one; INSERT INTO one.later VALUES (2); ALTER TABLE one.t SET SCHEMA three; INSERT INTO three.t VALUES (2)",
	'insert one.t {id,n,v}, insert two.t {id,n,v}, delete one.t before {id}, insert two.later {id}, insert three.t {id,n,v}');
leaves('a filtered table in a schema that is published', "$table CREATE PUBLICATION p FOR TABLES IN SCHEMA one, TABLE one.t WHERE (id = 2)",
	'INSERT INTO one.t VALUES (1), (2)', 'insert one.t {id,n,v}, insert one.t {id,n,v}');
leaves('all tables', "$two CREATE UNLOGGED TABLE one.unlogged (id int PRIMARY KEY); CREATE SEQUENCE one.s;
	CREATE MATERIALIZED VIEW one.mv AS SELECT id FROM one.t; CREATE UNIQUE INDEX ON one.mv (id);
	CREATE PUBLICATION p FOR ALL TABLES", "INSERT INTO one.t VALUES (1); INSERT INTO two.t VALUES (2); INSERT INTO one.unlogged VALUES (1);
	CREATE TEMPORARY TABLE temporary (id int PRIMARY KEY); INSERT INTO temporary VALUES (1); SELECT nextval('one.s');
	REFRESH MATERIALIZED VIEW CONCURRENTLY one.mv; CREATE MATERIALIZED VIEW two.mv AS SELECT * FROM one.t; REFRESH MATERIALIZED VIEW two.mv;
	UPDATE information_schema.sql_features SET comments = 'x' WHERE feature_id = 'B011'; ANALYZE one.t; CREATE TABLE two.made AS SELECT 1 AS id;
	TRUNCATE one.t, one.unlogged, two.t",
	'insert one.t {id,n,v}, insert two.t {id,n,v}, insert two.made {id}, truncate one.t, truncate two.t');
leaves('a materialized view in a schema that is published', "$table INSERT INTO one.t VALUES (1); CREATE MATERIALIZED VIEW two.mv AS SELECT id FROM one.t;
	CREATE UNIQUE INDEX ON two.mv (id); CREATE PUBLICATION p FOR TABLES IN SCHEMA two",
	'INSERT INTO one.t VALUES (2); REFRESH MATERIALIZED VIEW CONCURRENTLY two.mv; CREATE TABLE two.after (id int PRIMARY KEY); INSERT INTO two.after VALUES (1)',
	'insert two.after {id}');
leaves('a table that is added, whose first change stays', "$two CREATE PUBLICATION p FOR TABLE one.t",
	"ALTER PUBLICATION p ADD TABLE two.t WHERE (id > 5); INSERT INTO two.t VALUES (1); SELECT pgflow_wait(flow) FROM pgbraid.flows; INSERT INTO two.t VALUES (6)",
	'insert two.t {id,n,v}');
leaves('a publication altered within a transaction', "$two CREATE PUBLICATION p FOR TABLE one.t (id, v)",
	"BEGIN; INSERT INTO one.t VALUES (1, 'a', 1); INSERT INTO two.t VALUES (1); ALTER PUBLICATION p ADD TABLE two.t; INSERT INTO two.t VALUES (2);
	ALTER PUBLICATION p SET TABLE one.t (id, n), two.t WHERE (id > 9); INSERT INTO one.t VALUES (2); INSERT INTO two.t VALUES (3), (10);
	SAVEPOINT s; ALTER PUBLICATION p DROP TABLE one.t; INSERT INTO one.t VALUES (3); ROLLBACK TO s; INSERT INTO one.t VALUES (4);
	ALTER PUBLICATION p SET (publish = 'delete'); INSERT INTO one.t VALUES (5); DELETE FROM one.t WHERE id = 1;
	DROP PUBLICATION p; CREATE PUBLICATION p FOR ALL TABLES; INSERT INTO one.t VALUES (6); COMMIT; INSERT INTO two.t VALUES (7)",
	'insert one.t {id,v}, insert two.t {id,n,v}, insert one.t {id,n}, insert two.t {id,n,v}, insert one.t {id,n}, delete one.t before {id}, '
	. 'insert one.t {id,n,v}, insert two.t {id,n,v}');

# The parser itself: what the server is not asked for here, and what it should never send.
sub parsed { return Pgoutput->new->parse(unpack 'H*', pack $_[0], @_[ 1 .. $#_ ]); }
Braid::is_json(parsed('a N N Z*', 'O', 1, 0xAB, 'elsewhere'), '{"type":"Origin","lsn":"1/AB","name":"elsewhere"}', 'Origin');
Braid::is_json(parsed('a N Z* Z*', 'Y', 77, 'one', 'mood'), '{"type":"Type","oid":77,"schema":"one","name":"mood"}', 'Type');
Braid::is_json(parsed('a C N N Z* N a*', 'M', 1, 0, 16, 'p', 2, 'xy'),
	'{"type":"Message","transactional":1,"lsn":"0/10","prefix":"p","content":"xy"}', 'Message');
ok(!eval { parsed(@$_) }, "refused: $_->[0] of $_->[1]") for [ 'a', 'Z' ], [ 'a N', 'O', 1 ], [ 'a N N Z* a', 'O', 1, 2, 'x', 'y' ],
	[ 'a C N N Z* N a', 'M', 1, 0, 16, 'p', 2, 'x' ], [ 'a N a n', 'I', 5, 'N', 0 ];

# Whatever comes: two sessions, each with transactions of its own, take turns.
sub psql
{
	my %session = (in => '', out => '', err => '', pieces => []);
	my @command = ('psql', '-XqAt', '-v', 'ON_ERROR_ROLLBACK=on', '-v', 'VERBOSITY=verbose', '-h', $braid->node->host, '-p', $braid->node->port, 'postgres');
	$session{handle} = IPC::Run::start(\@command, '<', \$session{in}, '>', \$session{out}, '2>', \$session{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	run_in(\%session, "SET lock_timeout = '20ms'; SET client_min_messages = warning;");	# the other session will not move on meanwhile
	return \%session;
}

sub run_in
{
	my ($session, $sql) = @_;
	utf8::encode($sql) if utf8::is_utf8($sql);
	$session->{in} .= "$sql\n\\echo done\n";
	$session->{handle}->pump until $session->{out} =~ /^done$/m;
	$session->{out} = '';
	return;
}

# With a round's half being decoded later than it was written, and the worker's being started again.
sub random_round
{
	my ($seed, $transactions) = @_;
	my $changes = RandomChanges->new($seed);
	$braid->sql($changes->setup);
	my $publication;
	until ($publication)
	{
		my $try = $changes->publication($version);
		$publication = $try unless $braid->error_of($try);
	}
	my $contract = Contract->begin($braid, "round$seed", publication => 'p');
	my @sessions = map { psql() } 1 .. 2;
	my @log = ($publication);
	$braid->sql("SELECT pgflow_pause('round$seed')") if $seed % 2;
	while ($transactions > 0 || grep { @{ $_->{pieces} } } @sessions)
	{
		my $i = int rand 2;
		my $session = $sessions[$i];
		@{ $session->{pieces} } = $changes->transaction($version) if !@{ $session->{pieces} } && $transactions-- > 0;
		my $piece = shift @{ $session->{pieces} } // next;
		push @log, "$i: $piece";
		$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow WHERE flow = 'round$seed'") if $seed % 4 == 2 && @log % 100 == 0;
		run_in($session, $piece);
	}
	$braid->sql("SELECT pgflow_resume('round$seed')") if $seed % 2;
	note(join "\n", @log) if $ENV{PGBRAID_SEED};
	my @operations = $contract->is_kept("seed $seed: what leaves is what pgoutput lets out");
	my %count;
	$count{ $_->{op} }++ for @operations;
	note("seed $seed: $publication; " . join ', ', map { "$count{$_} $_" } sort keys %count);
	my %errors;
	$errors{$_}++ for map { join(' ', @$_{err}) =~ /ERROR:  (\w+: .*)/g } @sessions;
	note("$errors{$_} times $_") for sort keys %errors;
	$_->{handle}->kill_kill(grace => 2) for @sessions;
	$contract->end;
	Contract::snapshot_is_kept($braid, "snapshot$seed", 'p', "seed $seed: the initial snapshot");
	$braid->sql('DROP PUBLICATION p; DROP SCHEMA s1, s2 CASCADE');
	return scalar @operations;
}

my @seeds = defined $ENV{PGBRAID_SEED} ? split(/,/, $ENV{PGBRAID_SEED}) : (2, 5, 8, map { 1 + int rand 1e6 } 1 .. 2);
my $operations = 0;
$operations += random_round($_, 60) for @seeds;
cmp_ok($operations, '>', 100, 'random changes leave');

done_testing;
