# A snapshot of a database whose sessions live: exact, without an error for anybody, and what it does about each thing
# that could be in its way.
use strict;
use warnings;

use Branches;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Until;

my $braid = Branches->new(nats => 0, conf => <<'END');
autovacuum = on
autovacuum_naptime = 1s
autovacuum_vacuum_threshold = 10
autovacuum_vacuum_scale_factor = 0
max_prepared_transactions = 4
allow_in_place_tablespaces = on
log_statement = none
min_wal_size = 32MB
max_wal_size = 32MB
END
my $node = $braid->node;
$braid->sql('CREATE EXTENSION amcheck; CREATE DATABASE shop');
sub shop { return $braid->sql($_[0], dbname => 'shop') }
shop('CREATE EXTENSION pgbraid; CREATE EXTENSION amcheck; CREATE SEQUENCE numbers; CREATE TABLE lo (id oid)');
$node->command_ok([ 'pgbench', '-i', '-q', '-s', 1, '--unlogged-tables', 'shop' ], 'unlogged tables are there');
shop('ALTER TABLE pgbench_accounts SET LOGGED; ALTER TABLE pgbench_tellers SET LOGGED; ALTER TABLE pgbench_branches SET LOGGED; ALTER TABLE pgbench_history SET LOGGED; CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 10000) i; CREATE INDEX ON fleeting (i)');

# A session that a test speaks with while others go on.
sub session { return $node->background_psql($_[0] // 'shop', on_error_stop => 0) }

sub snapshot_is_exact
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $database = shop("SELECT database_name FROM pgbranch_list() WHERE name = '$name' AND kind = 'snapshot'");
	$braid->sql(qq{ALTER DATABASE "$database" ALLOW_CONNECTIONS true});
	my $sums = $braid->sql(q{
		SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
		       (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history),
		       (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history),
		       (SELECT count(*) FROM pgbench_history) > 0}, dbname => $database);
	is($sums, 't|t|t|t', "$name: the sums are exact");
	$node->command_ok([ 'pg_amcheck', '--heapallindexed', '--parent-check', '--no-dependent-toast', '-d', $database =~ s/([*?.|^\$(){}\[\]+])/"$1"/gr ], "$name: pg_amcheck finds nothing")
		if $database !~ /[*?|^\$(){}\[\]+]/;
	$braid->sql(qq{ALTER DATABASE "$database" ALLOW_CONNECTIONS false});
	return;
}

# Under load: 4 writers, 3 readers, idle sessions, a pool that reconnects for each query, a storm on a sequence.
{
	my @idle = map { open(my $psql, '|-', 'psql', '-Xq', '-d', $node->connstr('shop')) or die $!; $psql } 1 .. 3;
	my $script = sub { append_to_file("$node->{_basedir}/$_[0].sql", $_[1]); return "$node->{_basedir}/$_[0].sql" };
	my $reconnect = $script->('reconnect', "SELECT 1;\n");
	my $storm = $script->('storm', "SELECT nextval('numbers');\n");
	my @load = map { my @command = @$_; my ($out, $err) = ('', ''); { out => \$out, err => \$err, name => "@command", run => IPC::Run::start([ 'pgbench', '-n', '-T', 3600, @command, $node->connstr('shop') ], '<', \undef, '>', \$out, '2>', \$err) } }
		[ '-c', 4 ], [ '-S', '-c', 3 ], [ '-C', '-c', 2, '-R', 100, '-f', $reconnect ], [ '-c', 1, '-R', 1000, '-f', $storm ];
	$braid->until_sql('SELECT count(*) > 100 FROM pgbench_history', 't', undef, dbname => 'shop');
	for my $i (1 .. 20)
	{
		shop("SELECT pgbranch_snapshot('load$i')");
	}
	# While a copy is being made, readers go on, and connections are made; writers wait.
	$braid->hold_at('copied');
	my $held = $braid->in_background(q{SELECT pgbranch_snapshot('held')});
	$braid->until_phase('held');
	my $rows = shop('SELECT count(*) FROM pgbench_history');
	my $reads = q{SELECT sum(seq_scan + idx_scan) FROM pg_stat_all_tables WHERE relname = 'pgbench_accounts'};
	my $before = shop($reads);
	$braid->until_sql(qq{SELECT ($reads) > $before + 100}, 't', 'readers go on while the files are copied', dbname => 'shop');
	is(shop('SELECT count(*) FROM pgbench_history'), $rows, 'writers wait');
	is(shop(q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'}), 't', 'which can be seen');
	$braid->hold_at('');
	is($braid->ended($held), '', 'and go on when it is done');
	$braid->until_sql("SELECT count(*) > $rows FROM pgbench_history", 't', undef, dbname => 'shop');
	for my $load (@load)
	{
		ok($load->{run}->pumpable, "$load->{name}: no client has given up");
		$load->{run}->signal('INT');
		$load->{run}->finish;
		unlike(${ $load->{err} }, qr/error|aborted/i, "$load->{name}: without an error");
	}
	close $_ for @idle;
	is($braid->sql(q{SELECT count(*) FROM pgbranch_list('shop') WHERE kind = 'snapshot'}), 21, 'twenty snapshots under load');
	snapshot_is_exact("load$_") for 1 .. 20;
	snapshot_is_exact('held');
	is($braid->sql(q{SELECT count(*) FROM pg_database d WHERE datconnlimit = -2}), 0, 'nothing is left over');
	shop("SELECT pgbranch_drop('load$_')") for 1 .. 20;
}

# What has written is waited for; who only wants to write waits.
{
	my $writer = session();
	$writer->query_safe('BEGIN; CREATE TABLE made (i int); INSERT INTO made VALUES (1); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; COMMENT ON TABLE made IS $$uncommitted$$');
	my $pid = $writer->query_safe('SELECT pg_backend_pid()');
	my $error = $braid->error_of(q{SELECT pgbranch_snapshot('no', options => '{"timeout": "300 ms", "gate_timeout": "100 ms"}')}, dbname => 'shop');
	like($error, qr/ERROR:  55006: .*\nDETAIL:  In the way: processes that write: $pid\.\nHINT:  .*timeout/, 'a transaction that has written is in the way, and named');
	is(shop(q{SELECT count(*) FROM pgbraid.branches WHERE name = 'no'}), 0, 'and nothing is left');
	my $snapshot = $braid->in_background(q{SELECT pgbranch_snapshot('waits')});
	$braid->until_sql(q{SELECT max(attempt) > 1 FROM pgbraid.stat_branch}, 't', 'a snapshot tries again');
	shop('INSERT INTO lo VALUES (0)');
	pass('between tries others write');
	$writer->query_safe('COMMIT');
	is($braid->ended($snapshot), '', 'when it has committed the snapshot is made');
	shop(q{SELECT pgbranch_create('of-waits', 'waits')});
	is($braid->sql('SELECT f(), count(*) FROM made', dbname => 'shop@of-waits'), '1|1', 'with all of it');
	$writer->quit;
}

# A write in a way that no hook sees: it is waited for as well.
{
	my $writer = session();
	$writer->query_safe('BEGIN; SELECT lo_from_bytea(4711, $$x$$)');
	my $pid = $writer->query_safe('SELECT pg_backend_pid()');
	my $error = $braid->error_of(q{SELECT pgbranch_snapshot('no', options => '{"timeout": "300 ms", "gate_timeout": "100 ms"}')}, dbname => 'shop');
	like($error, qr/ERROR:  55006: .*\nDETAIL:  In the way: process $pid, which has written\./, 'of a large object');
	$writer->query_safe('COMMIT; BEGIN; SELECT pg_current_xact_id()');
	$error = $braid->error_of(q{SELECT pgbranch_snapshot('no', options => '{"timeout": "300 ms", "gate_timeout": "100 ms"}')}, dbname => 'shop');
	like($error, qr/ERROR:  55006: .*\nDETAIL:  In the way: process $pid, which has written\./, 'of anything');
	$writer->query_safe('COMMIT');
	$braid->hold_at('frozen');
	my $snapshot = $braid->in_background(q{SELECT pgbranch_snapshot('lo')});
	$braid->until_phase('held');
	my $late = $braid->in_background(q{SELECT lo_create(4712)});
	$braid->until_sql(q{SELECT count(*) FROM pg_locks WHERE NOT granted AND relation::regclass::text LIKE 'pg_largeobject%'}, '1', 'who writes one meanwhile waits', dbname => 'shop');
	$braid->hold_at('');
	is($braid->ended($snapshot) . $braid->ended($late), '', 'both end well');
	shop(q{SELECT pgbranch_create('of-lo', 'lo')});
	is($braid->sql('SELECT string_agg(oid::text, $$,$$ ORDER BY oid) FROM pg_largeobject_metadata', dbname => 'shop@of-lo'), '4711', 'and the late one is not in the snapshot');
	$writer->quit;
}

# Who waits at the gate may hold what a writer waits for: the snapshot gives way, and nobody is cancelled.
{
	my $control = session();
	$control->query_safe('SELECT pg_advisory_lock(1), pg_advisory_lock(2)');
	my $reader = $braid->in_background('BEGIN; SELECT count(*) FROM lo; SELECT pg_advisory_lock(1); INSERT INTO made VALUES (3); COMMIT');
	my $writer = $braid->in_background('BEGIN; INSERT INTO made VALUES (2); SELECT pg_advisory_lock(2); ALTER TABLE lo ADD COLUMN more int; COMMIT');
	my $waiting = q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'client backend' AND wait_event = '%s'};
	$braid->until_sql(sprintf($waiting, 'advisory'), 2);
	my $snapshot = $braid->in_background(q{SELECT pgbranch_snapshot('gives-way', options => '{"gate_timeout": "5 s"}')});
	$braid->until_phase('draining');
	$control->query_safe('SELECT pg_advisory_unlock(1)');
	$braid->until_sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; SELECT count(*)%' AND wait_event_type = 'Extension'}, '1', 'who has read waits at the gate');
	$control->query_safe('SELECT pg_advisory_unlock(2)');
	$braid->until_sql(q{SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'}, '1', 'who has written waits for what that one holds');
	is($braid->ended($reader), '', 'who has read goes on when the snapshot gives way');
	is($braid->ended($writer), '', 'who has written, too');
	is($braid->ended($snapshot), '', 'and the snapshot is made in the end');
	is(shop('SELECT count(*) FROM made'), 3, 'nothing was cancelled');
	$control->quit;
}

# Prepared transactions, before and meanwhile.
{
	shop(q{BEGIN; INSERT INTO made VALUES (4); PREPARE TRANSACTION 'p1'});
	$braid->refuses(q{SELECT pgbranch_snapshot('no')}, 55000, 'COMMIT PREPARED', 'a prepared transaction is refused', dbname => 'shop');
	shop(q{COMMIT PREPARED 'p1'});
}

# Vacuum, index builds, and changes of tables are kept out, and waited for.
{
	my $locker = session();
	$locker->query_safe('BEGIN; LOCK TABLE made IN SHARE UPDATE EXCLUSIVE MODE');
	my $pid = $locker->query_safe('SELECT pg_backend_pid()');
	my $error = $braid->error_of(q{SELECT pgbranch_snapshot('no', options => '{"timeout": "300 ms"}')}, dbname => 'shop');
	like($error, qr/ERROR:  55006: .*\nDETAIL:  In the way: public\.made is locked by $pid\./, 'who has a table locked is named');
	$locker->query_safe('COMMIT');
	$braid->hold_at('frozen');
	my $snapshot = $braid->in_background(q{SELECT pgbranch_snapshot('locks')});
	$braid->until_phase('held');
	my @late = map { $braid->in_background($_) } 'VACUUM made', 'CREATE INDEX CONCURRENTLY ON pgbench_branches (bbalance)', 'REINDEX TABLE made', 'CLUSTER pgbench_accounts USING pgbench_accounts_pkey',
		'TRUNCATE made', 'COPY made FROM PROGRAM $$echo 5$$', q{DO 'BEGIN UPDATE made SET i = i; COMMIT; END'}, 'SELECT * FROM made FOR UPDATE', 'CREATE TABLE later ()';
	$braid->until_sql(q{SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = 'shop' AND pid <> pg_backend_pid()
		AND (wait_event_type IN ('Lock', 'Extension')) AND backend_type = 'client backend' AND query NOT LIKE '%pgbranch_snapshot%'}, '9', 'all that would change something waits');
	is(shop('SELECT count(*) FROM made'), 4, 'who reads does not');
	$braid->hold_at('');
	is($braid->ended($snapshot), '', 'the snapshot is made');
	is(join('', map { $braid->ended($_) } @late), '', 'and all go on');
	shop(q{SELECT pgbranch_create('of-locks', 'locks')});
	is($braid->sql(q{SELECT count(*), to_regclass('later') IS NULL FROM made}, dbname => 'shop@of-locks'), '4|t', 'the snapshot has nothing of theirs');
	$locker->quit;
}

# Sequences may be ahead, never behind.
is($braid->sql('SELECT last_value > 100, log_cnt FROM numbers', dbname => 'shop@of-locks'), 't|0', 'a sequence comes along, without values that are promised to WAL');

# Unlogged tables, and tables in other tablespaces.
is($braid->sql('SELECT count(*) FROM fleeting WHERE i > 0', dbname => 'shop@of-locks'), 10000, 'unlogged tables come along');
$braid->sql(q{CREATE TABLESPACE aside LOCATION ''});
shop(q{CREATE TABLE elsewhere TABLESPACE aside AS SELECT generate_series(1, 1000) i; CREATE INDEX elsewhere_i ON elsewhere (i) TABLESPACE aside; SELECT pgbranch_create('spread')});
is($braid->sql(q{SELECT count(*), (SELECT count(*) FROM elsewhere WHERE i = 7), pg_relation_filepath('elsewhere') LIKE 'pg_tblspc/%' FROM elsewhere}, dbname => 'shop@spread'), '1000|1|t', 'tablespaces come along');
shop(q{DROP TABLE elsewhere; SELECT pgbranch_drop('spread', force => true)});

# What a subscription applies.
{
	$braid->sql('CREATE DATABASE source');
	$braid->sql(q{CREATE TABLE applied (i int PRIMARY KEY, v int); INSERT INTO applied SELECT g, 0 FROM generate_series(1, 100) g; CREATE PUBLICATION p FOR TABLE applied; SELECT pg_create_logical_replication_slot('s', 'pgoutput')}, dbname => 'source');
	shop(q{CREATE TABLE applied (i int PRIMARY KEY, v int); INSERT INTO applied SELECT g, 0 FROM generate_series(1, 100) g});
	my $connection = $node->connstr('source') =~ s/'/''/gr;
	shop(qq{CREATE SUBSCRIPTION s CONNECTION '$connection' PUBLICATION p WITH (create_slot = false, slot_name = 's', copy_data = false)});
	$braid->refuses(q{SELECT pgbranch_snapshot('applied')}, 55006, 'force', 'a subscription is refused', dbname => 'shop');
	my $stop = "$node->{_basedir}/applied.sql";
	append_to_file($stop, "UPDATE applied SET v = v + 1;\n");
	my ($out, $err) = ('', '');
	my $load = IPC::Run::start([ 'pgbench', '-n', '-T', 3600, '-R', 100, '-f', $stop, $node->connstr('source') ], '<', \undef, '>', \$out, '2>', \$err);
	$braid->until_sql('SELECT max(v) > 10 FROM applied', 't', undef, dbname => 'shop');
	for my $i (1 .. 5)
	{
		my $oid = shop(qq{SELECT pgbranch_create('applied$i', options => '{"force": true}')});
		my $database = shop("SELECT datname FROM pg_database WHERE oid = $oid");
		is($braid->sql('SELECT count(DISTINCT v) FROM applied', dbname => $database), 1, "unless forced, and then whole transactions are in it ($i)");
	}
	$load->signal('INT');
	$load->finish;
	shop(q{ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s});
	$braid->sql(q{SELECT pg_drop_replication_slot('s')});
}

# A replication slot would be lost with the branch.
shop(q{SELECT pg_create_logical_replication_slot('mine', 'pgoutput')});
$braid->refuses(q{SELECT pgbranch_reset('held')}, 55006, 'force', 'a slot is not thrown away by a reset', dbname => 'shop');
$braid->refuses(q{SELECT pgbranch_checkout('of-lo')}, 55006, 'force', 'nor left behind by a checkout', dbname => 'shop');
$braid->sql(q{SELECT pg_drop_replication_slot('mine')});

# What writes past the gate and the locks is found in WAL.
{
	shop('CREATE TABLE words (w int[]) WITH (autovacuum_enabled = false); CREATE INDEX words_w ON words USING gin (w) WITH (fastupdate = on); INSERT INTO words SELECT ARRAY[g] FROM generate_series(1, 100) g');
	$braid->hold_at('frozen');
	my $snapshot = $braid->in_background(q{SELECT pgbranch_snapshot('intruded')});
	$braid->until_phase('held');
	like(shop(q{SELECT gin_clean_pending_list('words_w')}), qr/^[1-9]/, 'a function writes an index while the database should stand still');
	$braid->hold_at('');
	like($braid->ended($snapshot), qr/ERROR:  40001: something has written.*\nDETAIL:  WAL of Gin/, 'the copy is thrown away');
	is(shop(q{SELECT count(*) FROM pgbraid.branches WHERE name = 'intruded'}), 0, 'all of it');
}

# A transaction that begins with a sequence, and so has a number when it comes to the gate.
{
	shop('CREATE TABLE orders (id int); CREATE TABLE lines (id int); CREATE SEQUENCE ids');
	$braid->hold_at('frozen');
	my $snapshot = $braid->in_background(q{SELECT pgbranch_snapshot('numbered')});
	$braid->until_phase('held');
	my $writer = $braid->in_background(q{BEGIN; SELECT nextval('ids'); INSERT INTO orders VALUES (1); INSERT INTO lines VALUES (1); COMMIT});
	$braid->until_sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; SELECT nextval%' AND wait_event_type = 'Extension'}, '1', 'waits like others');
	$braid->hold_at('');
	is($braid->ended($snapshot) . $braid->ended($writer), '', 'and goes on like others');
	shop(q{SELECT pgbranch_create('of-numbered', 'numbered')});
	is($braid->sql(q{SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM lines), nextval('ids') > 0}, dbname => 'shop@of-numbered'), '0|0|t', 'it is not in the snapshot');
}

# Who connects while names are changed waits, and gets the branch that is checked out then.
{
	$braid->hold_at('switching');
	my $switch = $braid->in_background(q{SELECT pgbranch_checkout('of-lo', 'shop', options => '{"sessions": "keep"}')}, dbname => 'postgres');
	$braid->until_phase('held');
	my $late = $braid->in_background(q{SELECT 'on ' || branch FROM pgbranch_status()});
	$braid->until_sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND objsubid = 20546 AND NOT granted}, '1', 'a connection waits for a switch');
	$braid->hold_at('');
	is($braid->ended($switch) . $braid->ended($late), '', 'and is made when it is done');
	is(${ $late->{out} }, "on of-lo\n", 'to the branch that is checked out now');
	shop(q{SELECT pgbranch_checkout('main')});
}

# Two that want the same spare.
{
	shop(q{SELECT pgbranch_spares('numbered', 1)});
	$braid->until_sql(q{SELECT spares FROM pgbranch_list('shop') WHERE name = 'numbered'}, '1', 'there is one spare');
	$braid->hold_at('switching');
	my $faster = $braid->in_background(q{SELECT pgbranch_reset('numbered', 'shop')}, dbname => 'postgres');
	$braid->until_phase('held');
	my $other = $braid->in_background(q{SELECT pgbranch_reset('numbered', 'shop@of-lo')}, dbname => 'postgres');
	$braid->until_sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND objsubid = 20550 AND NOT granted}, '1', 'another reset wants it, too');
	$braid->hold_at('');
	is($braid->ended($faster) . $braid->ended($other), '', 'both are done');
	isnt(${ $faster->{out} }, ${ $other->{out} }, 'with two copies');
	shop(q{SELECT pgbranch_spares('numbered', 0)});
}

# A session that gives up, times out, or goes away.
{
	$braid->hold_at('half');
	my $error = $braid->error_of(q{SET statement_timeout = '1s'; SELECT pgbranch_snapshot('given-up')}, dbname => 'shop');
	like($error, qr/ERROR:  57014/, 'a timeout ends the wait');
	$braid->until_sql(q{SELECT count(*) FROM pgbraid.branches WHERE name = 'given-up'}, '0', 'and what was begun is undone');
	$braid->until_sql(q{SELECT count(*) FROM pgbraid.stat_branch}, '0', 'the process has ended');
	$braid->hold_at('');
}

# More tables than there is room for locks.
{
	my $small = Braid->new(nats => 0, conf => "max_locks_per_transaction = 10\nmax_connections = 10\nmax_worker_processes = 8\nmax_wal_senders = 0\nautovacuum_max_workers = 1");
	$small->sql(q{CREATE DATABASE wide});
	$small->sql(q{SELECT format('CREATE TABLE t%s (i int)', g) FROM generate_series(1, 400) g \gexec}, dbname => 'wide');
	$small->refuses(q{SELECT pgbranch_snapshot('n', 'wide')}, 53200, 'max_locks_per_transaction', 'too many tables are refused');
	is($small->sql(q{SELECT count(*) FROM pgbraid.branches WHERE family = 'wide'}), 1, 'and nothing is left');
}

done_testing();
