# Copies whose files are clones: exact under load, whole or gone after a crash, sharing the disk; and when they are not
# cloned. PGBRAID_CLONE_DIR is a directory on a file system that can clone files, Btrfs or XFS; scripts/test.sh mounts one.
use strict;
use warnings;

use Branches;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub can_clone
{
	my ($dir) = @_;
	append_to_file("$dir/original", 'x' x 8192);
	my $can = IPC::Run::run([ 'cp', '--reflink=always', "$dir/original", "$dir/clone" ], '>', \my $out, '2>', \my $err);
	unlink "$dir/original", "$dir/clone";
	return $can;
}

my $usual = $PostgreSQL::Test::Utils::tmp_check;
my ($plain) = grep { -w $_ && !can_clone($_) } $usual, '/dev/shm';
my ($cloning) = grep { defined && -w $_ && can_clone($_) } $ENV{PGBRAID_CLONE_DIR}, $usual;

# Where nothing can be cloned.
SKIP:
{
	skip 'every file system here can clone', 5 unless $plain;
	$PostgreSQL::Test::Utils::tmp_check = $plain;
	my $braid = Branches->new(nats => 0, name => 'plain');
	my $refused = $braid->refuses(q{SELECT pgbranch_snapshot('no', options => '{"method": "clone"}')}, '0A000', 'wal', 'a clone is refused');
	like($refused, qr/tablespace "pg_default"/, 'with the reason');
	is($braid->sql(q{SELECT count(*) FROM pgbraid.branches WHERE name = 'no'}), 0, 'and nothing is left');
	$braid->refuses(q{SELECT pgbranch_snapshot('no', options => '{"method": "reflink"}')}, '22023', 'auto, clone, wal', 'there are three methods');
	$braid->sql(q{SELECT pgbranch_snapshot('yes')});
	is($braid->sql('SELECT detail FROM pgbranch_log()'), 'from main', 'and "auto" copies through WAL');
	$braid->node->stop;
}

SKIP:
{
skip 'no file system here can clone files: see PGBRAID_CLONE_DIR', 1 unless $cloning;
$PostgreSQL::Test::Utils::tmp_check = $cloning;
my $braid = Branches->new(nats => 0, name => 'cloning', conf => <<'END');
fsync = on
restart_after_crash = on
autovacuum = on
autovacuum_naptime = 1s
allow_in_place_tablespaces = on
wal_keep_size = 2GB
max_wal_size = 2GB
checkpoint_timeout = 1h
shared_buffers = 32MB
END
my $node = $braid->node;
$node->backup('base');	# for a standby
$braid->sql('CREATE DATABASE shop');
sub shop { return $braid->sql($_[0], dbname => 'shop') }
shop('CREATE EXTENSION pgbraid; CREATE EXTENSION amcheck; CREATE EXTENSION pageinspect');
$node->command_ok([ 'pgbench', '-i', '-q', '-s', 5, 'shop' ], 'tables are there');
shop(q{CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 10000) i; CREATE SEQUENCE numbers; SELECT nextval('numbers') FROM generate_series(1, 5)});

sub how { return shop("SELECT detail FROM pgbranch_log() WHERE name = '$_[0]' AND operation IN ('snapshot', 'create')") }

my $invariant = q{SELECT (SELECT sum(abalance) FROM pgbench_accounts) = h AND (SELECT sum(tbalance) FROM pgbench_tellers) = h
	AND (SELECT sum(bbalance) FROM pgbench_branches) = h AND n > 0 FROM (SELECT coalesce(sum(delta), 0) AS h, count(*) AS n FROM pgbench_history) x};

sub is_exact
{
	my ($branch, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($braid->sql($invariant, dbname => "shop\@$branch"), 't', "$name: the sums are exact");
	return $node->command_ok([ 'pg_amcheck', '--heapallindexed', '--parent-check', '--no-dependent-toast', '-d', "shop\@$branch" ], "$name: pg_amcheck finds nothing");
}

# Under load.
{
	my ($out, $err) = ('', '');
	my $load = IPC::Run::start([ 'pgbench', '-n', '-T', 3600, '-c', 2, $node->connstr('shop') ], '<', \undef, '>', \$out, '2>', \$err);
	$braid->until_sql('SELECT count(*) > 100 FROM pgbench_history', 't', undef, dbname => 'shop');
	for my $i (1 .. 3)
	{
		shop("SELECT pgbranch_snapshot('snap$i')");
		shop("SELECT pgbranch_create('live$i')");
		my $rows = shop('SELECT count(*) FROM pgbench_history');
		$braid->until_sql("SELECT count(*) > $rows FROM pgbench_history", 't', undef, dbname => 'shop');
	}
	ok($load->pumpable, 'the writers go on');
	$load->signal('INT');
	$load->finish;
	unlike($err, qr/error|aborted/i, 'without an error');
	for my $i (1 .. 3)
	{
		is(how("snap$i") . how("live$i"), 'from main, clonedfrom main, cloned', "they are clones ($i)");
		shop("SELECT pgbranch_create('of-snap$i', 'snap$i')");
		is_exact("of-snap$i", "snapshot $i");
		is_exact("live$i", "branch $i");
	}
	is($braid->sql('SELECT count(*) FROM fleeting', dbname => 'shop@live1'), 10000, 'unlogged tables come along');
	is($braid->sql('SELECT last_value, log_cnt FROM numbers', dbname => 'shop@live1'), '5|0', 'sequences, too, without values that are promised to WAL');
	shop("SELECT pgbranch_drop('of-snap$_'), pgbranch_drop('snap$_'), pgbranch_drop('live$_')") for 1 .. 3;
}

# What it costs.
$braid->sql($_) for 'ALTER SYSTEM SET autovacuum = off', 'SELECT pg_reload_conf()';
$braid->until_sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%'}, '0');
{
	shop('CHECKPOINT');
	my $start = $braid->sql('SELECT pg_current_wal_lsn()');
	my $path = sub { return $node->data_dir . '/' . $braid->sql(q{SELECT pg_relation_filepath('pgbench_accounts')}, dbname => $_[0]) };
	shop(q{SELECT pgbranch_create('cheap', options => '{"method": "clone"}')});
	cmp_ok($braid->sql("SELECT pg_current_wal_lsn() - '$start'"), '<', 2_000_000, 'little WAL is written');
	cmp_ok($braid->sql(q{SELECT pg_database_size('shop@cheap')}), '>', 70_000_000, 'for a large database');
	my ($extents) = run_command([ 'filefrag', '-v', $path->('shop@cheap') ]);
	my @extents = grep { /^ *\d+: / } split /\n/, $extents;
	cmp_ok(scalar(@extents), '>', 0, 'its table has extents');
	is(scalar(grep { !/shared/ } @extents), 0, 'and shares all of them');
	my $sum = shop('SELECT sum(abalance) FROM pgbench_accounts');
	$braid->sql('UPDATE pgbench_accounts SET abalance = abalance + 1000; CHECKPOINT', dbname => 'shop@cheap');
	is(shop('SELECT sum(abalance) FROM pgbench_accounts'), $sum, 'what is changed in the copy is not in the original');
}

# A table of several files: 1 GB each.
{
	shop('CREATE TABLE wide (i int, x text); INSERT INTO wide VALUES (1, NULL)');
	my $file = $node->data_dir . '/' . shop(q{SELECT pg_relation_filepath('wide')});
	$node->stop;
	truncate $file, 1 << 30 or die $!;	# holes, which are pages that nobody has used yet
	open my $second, '>', "$file.1" or die $!;
	truncate $second, 1 << 20 or die $!;
	close $second;
	$node->start;
	shop(q{INSERT INTO wide SELECT g, repeat('w', 1000) FROM generate_series(1, 400) g; VACUUM wide; INSERT INTO wide SELECT g, repeat('w', 1000) FROM generate_series(1, 400) g});
	my $state = q{SELECT count(*), sum(i), max((ctid::text::point)[0]) >= 131072, pg_relation_size('wide') FROM wide};
	my $wide = shop($state);
	like($wide, qr/\|t\|/, 'there are rows in the second file');
	shop(q{SELECT pgbranch_create('wide', options => '{"method": "clone"}')});
	is($braid->sql($state, dbname => 'shop@wide'), $wide, 'all files of a table come along');
	shop(q{SELECT pgbranch_drop('wide'); DROP TABLE wide});
}

# Where it is not to be cloned.
sub wal_instead
{
	my ($branch, $sqlstate, $reason, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $error = $braid->refuses(qq{SELECT pgbranch_create('no', options => '{"method": "clone"}')}, $sqlstate, 'wal', "$name: a clone is refused", dbname => 'shop');
	like($error, $reason, "$name: with the reason");
	is(shop(q{SELECT count(*) FROM pgbranch_list() WHERE name = 'no'}), 0, "$name: and nothing is left");
	shop("SELECT pgbranch_create('$branch')");
	is(how($branch), 'from main', "$name: \"auto\" copies through WAL");
	return is_exact($branch, $name);
}
$braid->sql(q{SELECT pg_create_physical_replication_slot('waiting')});
wal_instead('slot', 55000, qr/replication slot waiting/, 'a physical slot');
$braid->sql(q{SELECT pg_drop_replication_slot('waiting')});
{
	$braid->hold_at('half');
	my $overtaken = $braid->in_background(q{SELECT pgbranch_create('overtaken')});
	$braid->until_phase('held');
	$braid->sql(q{SELECT pg_create_physical_replication_slot('late')});
	$braid->hold_at('');
	isnt($braid->ended($overtaken), '', 'who begins to replay WAL while files are cloned ends the clone');
	is(shop(q{SELECT count(*) FROM pgbranch_list() WHERE name = 'overtaken'}), 0, 'and nothing is left of it');
	$braid->sql(q{SELECT pg_drop_replication_slot('late')});
}

# A standby that is away misses nothing, though what a reader does to the original while it is cloned is in WAL.
$PostgreSQL::Test::Utils::tmp_check = $plain // $cloning;
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$PostgreSQL::Test::Utils::tmp_check = $cloning;
shop(q{CREATE TABLE pruned (i int, x text) WITH (autovacuum_enabled = false); INSERT INTO pruned SELECT 1, repeat('p', 500) FROM generate_series(1, 14);
	UPDATE pruned SET i = 2});
my $items = q{SELECT string_agg(lp || ':' || lp_flags || ':' || lp_len, ' ' ORDER BY lp) FROM heap_page_items(get_raw_page('pruned', 0))};
my $before = shop($items);
$braid->hold_at('half');
my $creation = $braid->in_background(q{SELECT pgbranch_create('missed', options => '{"method": "clone"}')});
$braid->until_phase('held');
shop('SELECT count(*) FROM pruned');
isnt(shop($items), $before, 'a reader prunes a page');
$braid->hold_at('');
$braid->ended($creation);
$braid->sql('UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid < 1000; UPDATE pgbench_history SET delta = delta + 999 WHERE ctid = (SELECT min(ctid) FROM pgbench_history); '
	. 'UPDATE pgbench_tellers SET tbalance = tbalance + 999 WHERE tid = 1; UPDATE pgbench_branches SET bbalance = bbalance + 999 WHERE bid = 1', dbname => 'shop@missed');
{
	$standby->start;
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('shop@missed', $invariant), 't', 'a standby that was away has the copy');
	is($standby->safe_psql('shop@missed', $items), $braid->sql($items, dbname => 'shop@missed'), 'with the same pages');
	is($standby->safe_psql('shop@missed', 'SELECT count(*) FROM pruned'), 14, 'and rows');
	wal_instead('seen', 55000, qr/sends WAL to 'standby'/, 'a standby');
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('shop@seen', $invariant), 't', 'which has that, too');
	$standby->stop;
}

# Other tablespaces.
SKIP:
{
	skip 'every file system here can clone', 7 unless $plain;
	my $aside = "$plain/aside$$";
	mkdir $aside or die $!;
	$braid->sql("CREATE TABLESPACE aside LOCATION '$aside'");
	shop('CREATE TABLE elsewhere TABLESPACE aside AS SELECT generate_series(1, 1000) i');
	wal_instead('spread', '0A000', qr/tablespace "aside"/, 'a tablespace elsewhere');
	is($braid->sql('SELECT count(*) FROM elsewhere', dbname => 'shop@spread'), 1000, 'it comes along');
	shop(q{DROP TABLE elsewhere; SELECT pgbranch_drop('spread')});
}
{
	$braid->sql("CREATE TABLESPACE near LOCATION ''");
	shop(q{CREATE TABLE elsewhere TABLESPACE near AS SELECT generate_series(1, 1000) i; SELECT pgbranch_create('near')});
	is(how('near'), 'from main, cloned', 'a tablespace on a file system that can is cloned');
	is($braid->sql('SELECT count(*) FROM elsewhere', dbname => 'shop@near'), 1000, 'and comes along');
	shop('DROP TABLE elsewhere');
}

# Crashes.
shop('SELECT pgbranch_drop(name, force => true) FROM pgbranch_list() WHERE NOT checked_out');
for my $step (qw(intent frozen copying half copied completing completed))
{
	shop('UPDATE pgbench_accounts SET abalance = abalance WHERE aid < 5000');
	$braid->kill_at($step, "SELECT pgbranch_create('$step', options => '{\"method\": \"clone\"}')", 'server');
	$braid->agree($step);
	is(shop("SELECT count(*) FROM pgbranch_list() WHERE name = '$step'"), $step eq 'completed' ? 1 : 0, "$step: whole or gone");
	is(shop($invariant), 't', "$step: the original is as it was");
}
is_exact('completed', 'completed');
is($braid->sql('SELECT count(*) FROM fleeting', dbname => 'shop@completed'), 0, 'unlogged tables are empty after the crash');
cmp_ok($braid->sql(q{SELECT nextval('numbers')}, dbname => 'shop@completed'), '>', 5, 'sequences do not repeat');

# The original has become another one when recovery passes over the copy.
{
	my $sums = q{SELECT count(*), sum(bid), sum(abalance), sum(hashtext(aid::text || abalance)::bigint) FROM pgbench_accounts};
	my $then = shop($sums);
	shop(q{SELECT pgbranch_create('then', options => '{"method": "clone"}')});
	my $recovery_begins = $braid->sql('SELECT redo_lsn FROM pg_control_checkpoint()');
	shop('UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 3 = 0; DELETE FROM pgbench_accounts WHERE aid % 7 = 0; CREATE TABLE later AS SELECT 1');
	$braid->sql('UPDATE pgbench_accounts SET abalance = abalance WHERE aid < 20000', dbname => 'shop@then');
	is($braid->sql('SELECT redo_lsn FROM pg_control_checkpoint()'), $recovery_begins, 'there has been no other checkpoint');
	$node->stop('immediate');
	$node->start;
	is($braid->sql($sums, dbname => 'shop@then'), $then, 'after a crash the copy has what it had, though the original has changed');
	is($braid->sql(q{SELECT to_regclass('later') IS NULL}, dbname => 'shop@then'), 't', 'and nothing that came later');
	is_exact('then', 'after the crash');
}

# Without the WAL that a standby would need.
{
	$braid->node->append_conf('postgresql.conf', "wal_level = minimal\nmax_wal_senders = 0");
	$node->restart;
	shop(q{SELECT pgbranch_create('minimal', options => '{"method": "clone"}')});
	shop('UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 3 = 0');
	$node->stop('immediate');
	$node->start;
	is($braid->sql(q{SELECT count(*) > 0 FROM pgbench_accounts}, dbname => 'shop@minimal'), 't', 'wal_level = minimal: the copy is there after a crash');
	$node->command_ok([ 'pg_amcheck', '--heapallindexed', '--no-dependent-toast', '-d', 'shop@minimal' ], 'and whole');
	is($braid->sql(q{SELECT nextval('numbers') > 5}, dbname => 'shop@minimal'), 't', 'with its sequences');
}

# Spares and resets are clones as well.
{
	shop(q{SELECT pgbranch_snapshot('clean', options => '{"spares": 1}')});
	$braid->until_sql(q{SELECT spares FROM pgbranch_list() WHERE name = 'clean'}, '1', 'a spare is made', dbname => 'shop');
	my $path = $node->data_dir . '/' . $braid->sql(q{SELECT 'base/' || database_oid || '/' || pg_relation_filenode('pgbench_accounts') FROM pgbraid.branches WHERE kind = 'spare'}, dbname => 'shop');
	my ($extents) = run_command([ 'filefrag', '-v', $path ]);
	like($extents, qr/shared/, 'and shares its files');
}
$node->stop;
}
done_testing();
