# The server or the process is killed at each step of each operation: afterwards catalogue and directories agree, no data
# is lost, nothing is left over; and a standby has replayed all of it.
use strict;
use warnings;

use Branches;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Until;

my $braid = Branches->new(nats => 0, conf => "fsync = on\nrestart_after_crash = on\npgbraid.restart_delay_max = 200ms");
my $node = $braid->node;
my $backup = 'base';
$node->backup($backup);
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, $backup, has_streaming => 1);
$standby->start;

$braid->sql('CREATE DATABASE shop');
sub shop { return $braid->sql($_[0], dbname => 'shop') }
shop(q{CREATE EXTENSION pgbraid; CREATE TABLE items AS SELECT i, repeat('x', 100) AS x FROM generate_series(1, 5000) i; CREATE UNIQUE INDEX ON items (i);
	CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS i; CREATE SEQUENCE numbers; SELECT nextval('numbers') FROM generate_series(1, 5)});

sub items { return $braid->sql('SELECT count(*) FROM items', dbname => $_[0] // 'shop') }

my $number = 0;
my @copying = qw(intent frozen copying half copied completing);
for my $how ('server', 'kill -9', 'terminate')
{
	for my $step (@copying)
	{
		my $name = 's' . ++$number;
		$braid->kill_at($step, "SELECT pgbranch_snapshot('$name', 'shop')", $how, dbname => 'postgres');
		$braid->agree("snapshot, $how at $step");
		is($braid->sql("SELECT count(*) FROM pgbranch_list('shop') WHERE name = '$name'"), 0, "snapshot, $how at $step: there is none");
	}
	$braid->kill_at('completed', "SELECT pgbranch_snapshot('done$number', 'shop')", $how, dbname => 'postgres');
	$braid->agree("snapshot, $how when it is committed");
	is($braid->sql("SELECT state FROM pgbranch_list('shop') WHERE name = 'done$number'"), 'ready', "snapshot, $how when it is committed: it is whole");

	$braid->sql("SELECT pgbranch_create('b$number', database => 'shop')");
	$braid->sql('DELETE FROM items WHERE i > 100', dbname => "shop\@b$number");
	$braid->kill_at('switching', "SELECT pgbranch_checkout('b$number', 'shop')", $how, dbname => 'postgres');
	$braid->agree("checkout, $how before its commit");
	is(items(), 5000, "checkout, $how before its commit: nothing has changed");
	$braid->kill_at('switched', "SELECT pgbranch_checkout('b$number', 'shop')", $how, dbname => 'postgres');
	$braid->agree("checkout, $how after its commit");
	is(items() . ' ' . items('shop@main'), '100 5000', "checkout, $how after its commit: both branches are there");
	$braid->sql("SELECT pgbranch_checkout('main', 'shop')");

	my $trash = q{SELECT count(*) FROM pgbraid.branches WHERE family = 'shop' AND trashed_by = 'reset'};
	my $thrown_away = $braid->sql($trash);
	for my $step (qw(half switching))
	{
		$braid->kill_at($step, "SELECT pgbranch_reset('done$number', 'shop')", $how, dbname => 'postgres');
		$braid->agree("reset, $how at $step");
		is(items(), 5000, "reset, $how at $step: nothing has changed");
		is($braid->sql($trash), $thrown_away, "reset, $how at $step: nor been thrown away");
	}
	shop('DELETE FROM items WHERE i > 10');
	$braid->kill_at('switched', "SELECT pgbranch_reset('done$number', 'shop')", $how, dbname => 'postgres');
	$braid->agree("reset, $how after its commit");
	is(items(), 5000, "reset, $how after its commit: it is done");
	$braid->sql("SELECT pgbranch_undo('main', 'shop')");
	is(items(), 10, "reset, $how after its commit: and can be undone");
	$braid->sql("SELECT pgbranch_undo('main', 'shop')");

	$braid->kill_at('switching', "SELECT pgbranch_drop('b$number', 'shop')", $how, dbname => 'postgres');
	is(items("shop\@b$number"), 100, "drop, $how before its commit: nothing has changed");
	$braid->kill_at('switched', "SELECT pgbranch_drop('b$number', 'shop')", $how, dbname => 'postgres');
	$braid->agree("drop, $how after its commit");
	is($braid->sql("SELECT count(*) FROM pgbranch_list('shop') WHERE name = 'b$number'"), 0, "drop, $how after its commit: it is done");
	$braid->sql("SELECT pgbranch_undo('b$number', 'shop')");
	is(items("shop\@b$number"), 100, "drop, $how after its commit: and can be undone");
}

# A crash right after a snapshot: what is in it is on disk, or in WAL; unlogged tables are reset, sequences do not repeat.
$braid->sql(q{SELECT pgbranch_create('after', database => 'shop')});
my $last = $braid->sql(q{SELECT nextval('numbers')}, dbname => 'shop@after');
$node->stop('immediate');
$node->start;
is(items('shop@after'), 5000, 'after a crash a new branch is whole');
is($braid->sql('SELECT count(*) FROM fleeting', dbname => 'shop@after'), 0, 'unlogged tables are empty');
cmp_ok($braid->sql(q{SELECT nextval('numbers')}, dbname => 'shop@after'), '>', $last, 'sequences do not repeat');
$braid->sql('CREATE EXTENSION amcheck', dbname => 'shop@after');
is($braid->sql(q{SELECT count(*) FROM pg_class, verify_heapam(oid) WHERE relkind IN ('r', 't', 'm') AND relpersistence = 'p' AND NOT relisshared}, dbname => 'shop@after'), 0, 'no page is damaged');

# A disk that is full: the copy fails with a clear error and leaves nothing. The server runs in a mount namespace of its own,
# with a small file system for a tablespace; who need not be root for that.
SKIP:
{
	my $disk = PostgreSQL::Test::Utils::tempdir('disk');
	my ($in, $out, $err) = ('', '', '');
	my $holder = IPC::Run::start([ 'unshare', '-Um', '--map-current-user', '--keep-caps', 'sh', '-c', "mount -t tmpfs -o size=12m tmpfs '$disk' && echo \$\$ && exec cat" ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(3600));
	$holder->pump until $out =~ /^(\d+)\n/ || !$holder->pumpable;
	my ($pid) = $out =~ /^(\d+)\n/;
	skip 'a file system can\'t be mounted here', 3 unless $pid;
	my $programs = PostgreSQL::Test::Utils::tempdir('programs');
	my $pg_ctl = `sh -c 'command -v pg_ctl'` =~ s/\n//r;
	append_to_file("$programs/pg_ctl", "#!/bin/sh\nexec nsenter -t $pid -U -m --preserve-credentials $pg_ctl \"\$@\"\n");
	chmod 0755, "$programs/pg_ctl";
	local $ENV{PATH} = "$programs:$ENV{PATH}";
	my $small = Braid->new(nats => 0, name => 'small');
	$small->sql("CREATE TABLESPACE small LOCATION '$disk'");
	$small->sql('CREATE DATABASE shop');
	$small->sql('CREATE TABLE large TABLESPACE small AS SELECT i FROM generate_series(1, 200000) i', dbname => 'shop');
	$small->refuses(q{SELECT pgbranch_snapshot('full', 'shop')}, 53100, 'free disk space', 'a full disk ends the copy');
	$small->until_sql(q{SELECT count(*) FROM pgbraid.branches WHERE name = 'full'}, '0', 'nothing is left of it');
	is($small->sql('SELECT count(*) FROM large', dbname => 'shop'), 200000, 'the database itself is as it was');
	$small->node->stop;
	$holder->kill_kill;
}

# The trash is emptied, and the process that does it is killed meanwhile.
$braid->sql(q{ALTER SYSTEM SET pgbraid.branch_trash_age = 0});
$braid->hold_at('removing');
$braid->sql("SELECT pgbranch_drop('after', 'shop', force => true)");
$braid->until_sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgbraid keeper' AND state = 'active'}, '1');
$node->stop('immediate');
$node->append_conf('postgresql.auto.conf', "pgbraid.branch_hold_at = ''");
$node->start;
$braid->until_sql(q{SELECT trash FROM pgbranch_status('shop')}, '0', 'the trash is emptied after a crash');
$braid->agree('keeper');

# The standby has replayed all of it.
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_database}), $braid->sql(q{SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_database}), 'the standby has the same databases');
is($braid->directories($standby), $braid->directories, 'and the same directories');
is($standby->safe_psql('shop', 'SELECT count(*) FROM items'), 5000, 'with their contents');
$braid->node->safe_psql('shop', q{SELECT pgbranch_create('promoted')});
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
is($standby->safe_psql('shop@promoted', 'SELECT count(*) FROM items'), 5000, 'a branch survives a promotion');
cmp_ok($standby->safe_psql('shop@promoted', q{SELECT nextval('numbers')}), '>', 5, 'its sequences do not repeat there, either');
$standby->safe_psql('shop', q{SELECT pgbranch_checkout('promoted')});
is($standby->safe_psql('postgres', q{SELECT branch FROM pgbranch_status('shop')}), 'promoted', 'and the promoted server goes on with it');

done_testing();
