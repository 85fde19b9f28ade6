# Branches and snapshots from SQL: what each function does, keeps and refuses.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(nats => 0);
$braid->sql('CREATE DATABASE shop');
sub shop { return $braid->sql($_[0], dbname => 'shop') }
shop('CREATE EXTENSION pgbraid; CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items SELECT i, i::text FROM generate_series(1, 1000) i');

sub list
{
	return $braid->sql("SELECT string_agg(kind || ' ' || name || CASE WHEN checked_out THEN '*' ELSE '' END, ', ' ORDER BY kind, name COLLATE \"C\") FROM pgbranch_list('shop')",
		dbname => $_[0] // 'shop');
}

sub refuses
{
	my ($sql, $sqlstate, $hint, $name, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $braid->refuses($sql, $sqlstate, $hint, $name, dbname => 'shop', %options);
}

# A database is a family of its own, with one branch.
is(list(), 'branch main*', 'a database is the branch main');
is(shop("SELECT labelled FROM pgbraid.branches WHERE database = 'shop'"), 'f', 'looking at it does nothing to it');

# What belongs to the database comes along.
$braid->sql(q{
	CREATE ROLE keeper CREATEDB LOGIN; CREATE ROLE guest;
	ALTER DATABASE shop OWNER TO keeper; ALTER DATABASE shop SET work_mem = '7MB'; ALTER ROLE guest IN DATABASE shop SET work_mem = '9MB';
	ALTER DATABASE shop CONNECTION LIMIT 77; COMMENT ON DATABASE shop IS 'the shop'; GRANT CONNECT ON DATABASE shop TO guest; REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC});
my $properties = q{
	SELECT pg_get_userbyid(datdba), datconnlimit, datacl, shobj_description(oid, 'pg_database'), encoding, datcollate, datallowconn, datistemplate,
	       (SELECT string_agg(setrole::regrole::text || array_to_string(setconfig, ','), ' ' ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid),
	       (SELECT string_agg(deptype::text || refobjid::regrole::text, ' ' ORDER BY deptype, refobjid) FROM pg_shdepend WHERE classid = 'pg_database'::regclass AND objid = d.oid)
	  FROM pg_database d WHERE datname = '%s'};
my $before = $braid->sql(sprintf($properties, 'shop'));
like($braid->sql(q{SELECT pgbranch_snapshot('first', 'shop')}, dbname => 'shop'), qr/^\d+$/, 'a snapshot has the oid of its database');
is($braid->sql(sprintf($properties, 'shop@first@snapshot')) =~ s/\|f\|t\|/|t|f|/r, $before, 'owner, limit, privileges, comment and settings come along');
is($braid->sql(q{SELECT datallowconn, datistemplate FROM pg_database WHERE datname = 'shop@first@snapshot'}), 'f|t', 'nobody connects to a snapshot');
is(list(), 'branch main*, snapshot first', 'it is listed');

# Names are free text.
for my $name ('a-b', 'a/b', 'a.b', 'a_b', 'it\'s "q" %s', 'ñandú', 'x' x 200)
{
	my $quoted = "'" . ($name =~ s/'/''/gr) . "'";
	shop("SELECT pgbranch_create($quoted)");
}
is(shop(q{SELECT count(DISTINCT database_name), max(octet_length(database_name)) <= 63 FROM pgbranch_list() WHERE kind = 'branch'}), '8|t', 'each name has a database');
refuses(q{SELECT pgbranch_create('a-b')}, 42710, 'pgbranch_drop', 'a name is taken once');
refuses(q{SELECT pgbranch_create('')}, 42602, '1 to 200 bytes', 'no empty name');
refuses(q{SELECT pgbranch_create(repeat('x', 201))}, 42602, '1 to 200 bytes', 'no name beyond 200 bytes');
refuses(q{SELECT pgbranch_create(E'a\nb')}, 42602, 'control', 'no line break in a name');
refuses(q{SELECT pgbranch_create('n', source => 'nothing')}, 42704, 'pgbranch_list', 'the source must exist');
refuses(q{SELECT pgbranch_create('n', database => 'nothing')}, '3D000', 'pgbranch_list', 'so must the database');
refuses(q{SELECT pgbranch_create('n', options => '{"tmeout": 1}')}, 22023, 'timeout', 'an unknown option');
refuses(q{SELECT pgbranch_create('n', options => '{"timeout": []}')}, 22023, 'interval', 'a value that is no interval');
refuses(q{SELECT pgbranch_create('n', options => '{"mode": "x"}')}, 22023, 'live, exclusive', 'a value that is no choice');

# Checkout swaps names; what was written stays where it was written.
shop(q{SELECT pgbranch_checkout('a/b')});
is(shop('SELECT name FROM pgbranch_list() WHERE checked_out'), 'a/b', 'another branch is checked out');
shop('DELETE FROM items WHERE id > 10');
is($braid->sql(sprintf($properties, 'shop')), $before, 'with owner, limit, privileges, comment and settings');
$braid->sql(q{SELECT pgbranch_checkout('main')}, dbname => 'shop@main');
is(shop('SELECT count(*) FROM items'), 1000, 'main is as it was');
shop(q{SELECT pgbranch_checkout('main')});
refuses(q{SELECT pgbranch_checkout('nothing')}, 42704, 'pgbranch_list', 'a branch that does not exist is not checked out');
shop(q{SELECT pgbranch_checkout('fresh', "create" => true)});
is(shop('SELECT branch, checked_out_branch FROM pgbranch_status()'), 'fresh|fresh', 'unless it is to be created');
shop(q{SELECT pgbranch_create('fresher', checkout => true)});
is(list(), "branch a-b, branch a.b, branch a/b, branch a_b, branch fresh, branch fresher*, branch it's \"q\" %s, branch main, branch " . 'x' x 200 . ', branch ñandú, snapshot first', 'create can check out');
is($braid->sql(q{SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'}), 'keeper', 'a branch of a branch has the same owner');
shop(q{SELECT pgbranch_checkout('main')});

# A branch from a snapshot or from another branch.
shop(q{SELECT pgbranch_create('of-first', source => 'first'); SELECT pgbranch_create('of-ab', source => 'a/b')});
is($braid->sql('SELECT count(*) FROM items', dbname => 'shop@of-first') . $braid->sql('SELECT count(*) FROM items', dbname => 'shop@of-ab'), '100010', 'have their contents');
is(shop(q{SELECT string_agg(name || ' ' || parent, ', ' ORDER BY name) FROM pgbranch_list() WHERE name LIKE 'of-%'}), 'of-ab a/b, of-first first', 'and their source as parent');

# Reset throws the branch's state away, and can be undone.
shop('DELETE FROM items');
shop(q{SELECT pgbranch_reset('first')});
is(shop('SELECT count(*) FROM items'), 1000, 'reset brings the snapshot back');
is(shop(q{SELECT name, parent, checked_out FROM pgbranch_list() WHERE name = 'main'}), 'main|first|t', 'as the same branch');
is($braid->sql(sprintf($properties, 'shop')), $before, 'with owner, limit, privileges, comment and settings');
shop(q{SELECT pgbranch_undo()});
is(shop('SELECT count(*) FROM items'), 0, 'undone, what was thrown away is back');
shop(q{SELECT pgbranch_undo('main')});
is(shop('SELECT count(*) FROM items'), 1000, 'and that can be undone too');

# Drop refuses what would be missed, and can be undone.
refuses(q{SELECT pgbranch_drop('main')}, 55006, 'another one', 'the checked-out branch is not dropped');
refuses(q{SELECT pgbranch_drop('first')}, '2BP01', 'force', 'nor what others were made from');
refuses(q{SELECT pgbranch_drop('nothing')}, 42704, 'pgbranch_list', 'nor what does not exist');
shop(q{SELECT pgbranch_protect('a-b')});
refuses(q{SELECT pgbranch_drop('a-b', force => true)}, 55000, 'pgbranch_unprotect', 'nor what is protected');
shop(q{SELECT pgbranch_unprotect('a-b')});
{
	my $session = $braid->node->background_psql('shop@a-b');
	$session->query_safe('SELECT 1');
	refuses(q{SELECT pgbranch_drop('a-b')}, 55006, 'force', 'nor where somebody is connected');
	shop(q{SELECT pgbranch_drop('a-b', force => true)});
	$session->{run}->kill_kill;
}
is(shop(q{SELECT count(*) FROM pgbranch_list() WHERE name = 'a-b'}), 0, 'unless forced');
is(shop(q{SELECT datallowconn FROM pg_database WHERE datname LIKE 'shop@a-b@trash%'}), 'f', 'nobody connects to the trash');
shop(q{SELECT pgbranch_create('a-b')});
refuses(q{SELECT pgbranch_undo('a-b')}, 42710, 'another name', 'a drop is not undone where its name is taken');
shop(q{SELECT pgbranch_rename('a-b', 'a-b2'); SELECT pgbranch_undo('a-b')});
is($braid->sql('SELECT count(*) FROM items', dbname => 'shop@a-b'), 1000, 'but else');
is($braid->sql('SELECT count(*) FROM items', dbname => 'shop@a-b2'), 1000, 'what was renamed has another database name');
shop(q{SELECT pgbranch_drop('first', force => true); SELECT pgbranch_undo()});
is($braid->sql(q{SELECT datallowconn, datistemplate FROM pg_database WHERE datname = 'shop@first@snapshot'}), 'f|t', 'a snapshot comes back as such');
shop(q{SELECT pgbranch_snapshot('main')});
refuses(q{SELECT pgbranch_drop('main')}, '42P09', 'kind', 'a name of both kinds is ambiguous');
shop(q{SELECT pgbranch_drop('main', kind => 'snapshot')});
refuses(q{SELECT pgbranch_undo('nothing')}, 42704, 'branch_trash_age', 'there may be nothing to undo');

# The trash is emptied in the background.
is(shop(q{SELECT trash > 0 FROM pgbranch_status()}), 't', 'what was dropped is in the trash');
$braid->sql(q{ALTER SYSTEM SET pgbraid.branch_trash_age = 0; SELECT pg_reload_conf()});
shop(q{SELECT pgbranch_drop('a_b')});
$braid->until_sql(q{SELECT trash FROM pgbranch_status('shop')}, '0', 'until its time has come');
$braid->sql(q{ALTER SYSTEM RESET pgbraid.branch_trash_age; SELECT pg_reload_conf()});

# Spares make a reset as fast as a checkout.
shop(q{SELECT pgbranch_spares('first', 2)});
$braid->until_sql(q{SELECT spares FROM pgbranch_list('shop') WHERE name = 'first'}, '2', 'spares are made in the background');
my $spare = shop(q{SELECT min(database_oid::bigint) FROM pgbraid.branches WHERE kind = 'spare'});
my $handed_out = shop(q{SELECT pgbranch_reset('first')});
ok($handed_out >= $spare, 'one is handed out');
$braid->until_sql(q{SELECT spares FROM pgbranch_list('shop') WHERE name = 'first'}, '2', 'and replaced');
shop(q{SELECT pgbranch_spares('first', 0)});

# Prune, without and with consequences.
my $prune = q{SELECT string_agg(name || ' ' || dropped, ', ' ORDER BY name COLLATE "C") FROM pgbranch_prune('0', keep => ARRAY['a.b', 'ñandú']%s)};
shop(q{SELECT pgbranch_protect('of-ab')});
my $pruned = "a-b %1\$s, a-b2 %1\$s, fresher %1\$s, it's \"q\" %%s %1\$s, of-first %1\$s, " . 'x' x 200 . ' %1$s';
is(shop(sprintf($prune, '')), sprintf($pruned, 'false'), 'prune says what it would drop');
is(shop(q{SELECT count(*) FROM pgbranch_prune('1 hour')}), 0, 'nothing that was used lately');
is(shop(sprintf($prune, ', dry_run => false')), sprintf($pruned, 'true'), 'and drops it when told to');
is(list(), 'branch a.b, branch a/b, branch fresh, branch main*, branch of-ab, branch ñandú, snapshot first', 'but not what is checked out, protected, kept or depended on');

# The log, and what is said.
shop(q{SELECT pgbranch_describe('a/b', 'it''s "odd"')});
is(shop(q{SELECT description FROM pgbranch_list() WHERE name = 'a/b'}), q{it's "odd"}, 'a description');
is(shop(q{SELECT string_agg(operation || coalesce(' ' || detail, ''), ', ' ORDER BY at) FROM pgbranch_log() WHERE name = 'a/b'}), 'create from main, checkout from main', 'the log tells of a branch');
is(shop(q{SELECT DISTINCT role FROM pgbranch_log()}), 'postgres', 'and of whose doing it was') if $braid->sql('SELECT current_user') eq 'postgres';

# Who may.
like($braid->error_of(q{SET ROLE guest; SELECT pgbranch_create('theirs')}, dbname => 'shop'), qr/ERROR:  42501: permission denied for function/, 'nobody but who was given the right');
shop(q{GRANT EXECUTE ON FUNCTION pgbranch_create, pgbranch_checkout, pgbranch_list TO guest, keeper});
refuses(q{SET ROLE guest; SELECT pgbranch_create('theirs')}, 42501, 'owner', 'who does not own the database does not branch it');
shop(q{SET ROLE keeper; SELECT pgbranch_create('theirs'); SELECT pgbranch_checkout('theirs'); SELECT count(*) FROM pgbranch_list()});
is(list('shop'), 'branch a.b, branch a/b, branch fresh, branch main, branch of-ab, branch theirs*, branch ñandú, snapshot first', 'its owner does');
$braid->sql('ALTER ROLE keeper NOCREATEDB');
refuses(q{SET ROLE keeper; SELECT pgbranch_create('more')}, 42501, 'CREATEDB', 'with the right to create databases');
refuses(q{SET ROLE keeper; SECURITY LABEL FOR pgbraid ON DATABASE shop IS '{}'}, 42501, 'pgbranch_', 'labels are not made by hand');
$braid->sql(q{ALTER ROLE keeper CREATEDB});
is(shop(q{SET ROLE guest; SELECT count(*) > 0 FROM pgbranch_list()}), 't', 'who may connect may look');
shop(q{CREATE ROLE stranger; REVOKE CONNECT ON DATABASE shop FROM PUBLIC; GRANT EXECUTE ON FUNCTION pgbranch_list, pgbranch_log, pgbranch_status, pgbranch_prune TO stranger});
for my $look (qw(pgbranch_list() pgbranch_log() pgbranch_status() pgbranch_prune()))
{
	refuses("SET ROLE stranger; SELECT * FROM $look", 42501, 'connect', "nobody else: $look");
}
shop('CREATE ROLE watcher ROLE CURRENT_USER; GRANT pg_monitor TO watcher');
is(shop(q{SET ROLE watcher; SELECT (SELECT count(*) > 0 FROM pgbranch_list()), (SELECT count(*) > 0 FROM pgbranch_log()), (SELECT branches > 0 FROM pgbranch_status())}),
	't|t|t', 'but pg_monitor');
shop('GRANT CONNECT ON DATABASE shop TO PUBLIC');

# When not.
refuses(q{BEGIN; INSERT INTO items VALUES (-1); SELECT pgbranch_snapshot('n')}, 25001, 'COMMIT', 'not in a transaction that has written');
refuses(q{INSERT INTO items SELECT pgbranch_snapshot('n')}, 25001, 'COMMIT', 'nor in a statement that writes');
shop(q{BEGIN; SELECT pgbranch_snapshot('kept'); ROLLBACK});
is(shop(q{SELECT count(*) FROM pgbranch_list() WHERE name = 'kept'}), 1, 'a rollback does not undo it');

# Exclusive: who prefers that everybody is sent away.
refuses(q{SELECT pgbranch_snapshot('n', options => '{"mode": "exclusive"}')}, 55006, 'another database', 'not from within');
{
	my $session = $braid->node->background_psql('shop');
	$session->query_safe('SELECT 1');
	$braid->sql('CREATE EXTENSION IF NOT EXISTS pgbraid');
	$braid->sql(q{SELECT pgbranch_snapshot('alone', 'shop', '{"mode": "exclusive"}')});
	is($braid->sql(q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'client backend'}), 0, 'an exclusive copy ends sessions');
	$session->{run}->kill_kill;
}

# From any database, without the extension in the family.
$braid->sql('CREATE DATABASE plain');
$braid->sql(q{SELECT pgbranch_init('trunk', 'plain'); SELECT pgbranch_create('twig', database => 'plain'); SELECT pgbranch_checkout('twig', 'plain')});
is($braid->sql(q{SELECT string_agg(name || ' ' || database_name, ', ' ORDER BY name) FROM pgbranch_list('plain')}), 'trunk plain@trunk, twig plain', 'a database without the extension has branches, too');
$braid->refuses(q{SELECT pgbranch_init('again', 'plain')}, 42710, 'pgbranch_rename', 'a family begins once');

# A renamed family is found again by its labels.
$braid->sql('ALTER DATABASE plain RENAME TO simple');
is($braid->sql(q{SELECT family, branch, checked_out_branch IS NULL FROM pgbranch_status('simple')}), 'plain|twig|t', 'ALTER DATABASE RENAME checks it out of its family');
$braid->sql(q{SELECT pgbranch_checkout('twig', 'simple')});
is($braid->sql(q{SELECT branch FROM pgbranch_status('plain')}), 'twig', 'checkout brings it back');

# Without preload.
my $plain = Braid->new(nats => 0, preload => 0);
$plain->refuses(q{SELECT pgbranch_snapshot('n')}, 55000, 'shared_preload_libraries', 'without preload there is an error that says so');

done_testing();
