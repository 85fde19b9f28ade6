# pgbranch: the commands, what they print and how they end.
use strict;
use warnings;

use BranchCommand;
use JSON::PP;
use Test::More;

begin();

# The commands, outside of any repository.
prints(in_shop('branch'), '* main   ' . shop('SELECT pg_size_pretty(size) FROM pgbranch_list()') . "\n", 'a database is one branch');
prints(in_shop('init', '--branch', 'trunk'), qq{Database "shop" is on branch "trunk".\n}, 'init names it');
prints(in_shop('init'), qq{Database "shop" is on branch "trunk".\n}, 'init can be said again');
fails(in_shop('init', '--branch', 'other'), 1, qr/^pgbranch: branch "trunk" .* is checked out\nHINT:  .*pgbranch rename trunk other$/, 'but not with another name');
prints(in_shop('rename', 'trunk', 'main'), qq{Renamed branch "trunk" to "main".\n}, 'rename');
prints(in_shop('branch', 'a/b'), qq{Created branch "a/b" of database "shop" from "main".\n}, 'branch creates one');
prints(in_shop('checkout', 'a/b'), qq{Switched database "shop" to branch "a/b".\n}, 'checkout switches to it');
prints(in_shop('checkout', 'a/b'), qq{Database "shop" is on branch "a/b" already.\n}, 'once');
shop('DELETE FROM items');
prints(in_shop('checkout', 'main'), qq{Switched database "shop" to branch "main".\n}, 'and back');
is(shop('SELECT count(*) FROM items'), 10, 'what was written stays where it was written');
prints(in_shop('checkout', '-b', 'c', 'a/b', '-m', "two\nlines"), qq{Switched database "shop" to a new branch "c" from "a/b".\n}, 'checkout -b creates from a source');
is(shop('SELECT count(*) FROM items'), 0, 'with what that has');
is(shop(q{SELECT description FROM pgbranch_list() WHERE name = 'c'}), "two\nlines", 'and a description');
prints(in_shop('checkout', 'main', '-q'), '', 'with -q it says nothing');
prints(in_shop('snapshot', 'first'), qq{Made snapshot "first" of branch "main" of database "shop".\n}, 'snapshot');
shop('DELETE FROM items');
prints(in_shop('reset', 'first'), qq{Reset branch "main" of database "shop" to snapshot "first"; pgbranch undo main takes that back.\n}, 'reset');
is(shop('SELECT count(*) FROM items'), 10, 'brings the snapshot back');
prints(in_shop('undo'), qq{Put branch "main" of database "shop" back.\n}, 'undo');
is(shop('SELECT count(*) FROM items'), 0, 'takes that back');
in_shop('undo', 'main');
prints(in_shop('protect', 'c'), qq{Branch "c" is protected.\n}, 'protect');
fails(in_shop('delete', 'c', '-f'), 1, qr/^pgbranch: branch "c" is protected\nHINT:  pgbranch_unprotect/, 'what is protected is not deleted');
prints(in_shop('unprotect', 'c'), qq{Branch "c" is not protected any more.\n}, 'unprotect');
prints(in_shop('rm', 'c'), qq{Deleted branch "c" of database "shop"; pgbranch undo c has it back.\n}, 'rm');
prints(in_shop('undo', 'c'), qq{Put branch "c" of database "shop" back.\n}, 'undo of a name');
fails(in_shop('delete', 'first'), 1, qr/branch "first" .* does not exist/, 'a snapshot is deleted as such only');
fails(in_shop('delete', 'first', '--snapshot'), 1, qr/^pgbranch: others were made from "first"\nDETAIL:  They are: main\.\nHINT:  .*force/, 'details are printed');
prints(in_shop('spares', 'first', 1), qq{Spares of snapshot "first" to be kept ready: 1.\n}, 'spares');
$braid->until_sql(q{SELECT spares FROM pgbranch_list('shop') WHERE name = 'first'}, '1', 'are made');
like(in_shop('list')->{out}, qr/^ +kind +name +from .*\n-.*\n(?=.*^\* branch +main +first )(?=.*^  branch +c +a\/b .*two lines$)(?=.*^  snapshot first +main .*spares: 1$)/ms, 'list has branches and snapshots');
unlike(in_shop('list')->{out}, qr/\e|[ ]$/m, 'without colours in a pipe, and blanks at the end');
in_shop('spares', 'first', 0);
like(in_shop('log', '-n', 1)->{out}, qr/^\d{4}-\d\d-\d\d [\d:]+ spares +snapshot first +0 +\S+\n$/, 'log has the latest first');
like(in_shop('status')->{out}, qr/^Database "shop" is on branch "main"\nBranches: 3, snapshots: 1, .*\n$/, 'status');
like(in_shop('status', '-d', 'shop@c')->{out}, qr/is on branch "main"\nDatabase "shop\@c" is its branch "c"\n/, 'status of a branch that is not checked out');

# Whoever is connected to what is left is sent away.
{
	my $session = $braid->node->background_psql('shop');
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	prints(in_shop('checkout', 'a/b'), qq{Switched database "shop" to branch "a/b".\n}, 'checkout');
	is($braid->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), 0, 'ends sessions');
	$session->{run}->kill_kill;
	in_shop('checkout', 'main');
}

# Nobody is left without a way.
in_shop('checkout', '-b', 'short-lived', 'main');
prints(in_shop('delete', '-f', 'short-lived'), qq{Deleted branch "short-lived" of database "shop"; pgbranch undo short-lived has it back.\nNo branch is checked out now. For another one: pgbranch -d shop\@a_b}
	. $braid->sql(q{SELECT substr(database_name, 9) FROM pgbranch_list('shop@main') WHERE name = 'a/b'}, dbname => 'shop@main') . " checkout a/b\n", 'what is checked out is deleted by force');
fails(in_shop('status'), 3, qr/database "shop" does not exist/, 'then there is no database of that name');
prints(pgbranch(@server, '-d', 'shop@main', 'checkout', 'main'), qq{Switched database "shop" to branch "main".\n}, 'until one is checked out');

# Prune.
in_shop('branch', $_) for 'old', 'older', 'in use';
prints(in_shop('prune'), "No branch that may go has been unused for 7 days.\n", 'prune leaves what was used lately');
like(in_shop('prune', '--days', 0, '--keep', 'c', '--keep', "it's")->{out},
	qr/^(Would delete branch "(old|older|in use)", last used [-\d]+ [:\d]+\.\n){3}Nothing is deleted without -y\.\n$/, 'prune says what it would do');
is(scalar(grep { $_->{name} eq 'old' } @{ json(in_shop('list', '--json')) }), 1, 'and does not do it');
{
	my $session = $braid->node->background_psql('shop@in_use~' . $braid->sql(q{SELECT substring(database_name, '~(.*)') FROM pgbranch_list('shop') WHERE name = 'in use'}));
	$session->query_safe('SELECT 1');
	my $run = in_shop('prune', '--days', 0, '--keep', 'c', '-y');
	like($run->{out}, qr/^(Deleted branch "(old|older)", last used [-\d]+ [:\d]+; pgbranch undo (old|older) has it back\.\n){2}$/, 'with -y it does');
	like("$run->{status} $run->{err}", qr/^1 pgbranch: branch "in use" stays: sessions are connected to "in use"$/m, 'but for one with a session, and that is said');
	$session->quit;
}
my $pruned = in_shop('prune', '--days', 0, '--keep', 'c', '-y', '--json');
is_deeply([ map { "$_->{name} " . ($_->{dropped} ? 'dropped' : '') } @{ json($pruned) } ], ['in use dropped'], 'prune as JSON');

# JSON.
is(join(',', map { $_->{name} } grep { $_->{checked_out} } @{ json(in_shop('branch', '--json')) }), 'main', 'branches as JSON');
is(json(in_shop('status', '--json'))->{family}, 'shop', 'the status as JSON');
is(json(in_shop('log', '--json', '-n', 2))->[1]{kind}, 'branch', 'the log as JSON');
is_deeply(json(in_shop('checkout', 'a/b', '--json')), { operation => 'checkout', database => 'shop', branch => 'a/b', before => 'main', created => JSON::PP::false }, 'what was done as JSON');
in_shop('checkout', 'main');

# Names are free text, and SQL has no say in them.
for my $name ('with space', 'it\'s "q" $(touch x) `y` \\ %s', q{x'; DROP TABLE items; --}, ":name :'name' :{?name}", '\q', 'ñandú 日本', '--force', '-f')
{
	my @name = $name =~ /^-/ ? ('--', $name) : $name;
	is(json(in_shop('checkout', '--json', '-b', @name))->{branch}, JSON::PP->new->allow_nonref->utf8->decode(JSON::PP->new->allow_nonref->latin1->encode($name)), "created and checked out: $name");
	is(current(), $name, 'by that name');
	in_shop('checkout', 'main');
	is(in_shop('delete', @name)->{status}, 0, 'and deleted');
}
is(shop('SELECT count(*) FROM items'), 10, 'nothing happened to the table');
fails(in_shop('branch', "a\nb"), 1, qr/control characters\nHINT:  Names have/, 'no line break in a name');
fails(in_shop('branch', "a\xff"), 1, qr/^pgbranch: what is said is not in UTF-8$/, 'nor bytes that are no text');

# Exit codes.
fails(in_shop('checkout', 'nothing'), 1, qr/^pgbranch: branch "nothing" of database "shop" does not exist\nHINT:  .*pgbranch_list/, 'what the server refuses');
fails(pgbranch(@$_), 2, qr/^pgbranch: .*\nTry "pgbranch.* --help"\.\n$/, "wrong usage: @$_")
	for [ 'nothing' ], [ 'checkout' ], [ 'branch', '--nothing' ], [ 'branch', 'a', 'b', 'c' ], [ 'branch', '' ], [ 'log', '-n' ], [ 'log', '-n', 'x' ],
	[ 'prune', '--days', '-1' ], [ 'list', '-d', '' ], [ 'checkout', 'a', 'b' ], [ 'list', '--json=x' ], [ 'hook', 'nothing', '-f' ], [ '-d', 'password=x', 'list' ],
	[ '-d', 'postgresql://me:secret@localhost/shop', 'list' ], [ '--via', 'x', 'list' ];
fails(pgbranch('-h', '127.0.0.1', '-p', 1, '-d', 'shop', 'list'), 3, qr/^pgbranch: connection to server .* failed/, 'no server');
fails(pgbranch(@server, '-d', 'nowhere', 'list'), 3, qr/database "nowhere" does not exist/, 'no database');
fails(pgbranch('-h', '127.0.0.1', '-p', 1, 'list'), 3, qr/HINT:  Say which database/, 'none was said');
is(pgbranch()->{status}, 2, 'without a command it says how it is used');
like(pgbranch()->{err}, qr/^Usage: pgbranch/m, 'on standard error');
for my $command ('', qw(init branch checkout snapshot reset delete rm rename list status log prune undo protect unprotect spares hook completion))
{
	my $run = pgbranch($command ? $command : (), '--help');
	like("$run->{status}\n$run->{out}", qr/\A0\n.*^(Usage:|      ) pgbranch .*\Q$command\E.*Exit codes: 0 done/ms, "--help of $command") if $command ne 'rm';
	is("$run->{status} $run->{out}", '0 ' . pgbranch('delete', '--help')->{out}, '--help of rm') if $command eq 'rm';
}
like(pgbranch('--version')->{out}, qr/^pgbranch of pgbraid \d+\.\d+\.\d+$/, '--version');

# Where there is no pgbraid, or half of it.
$braid->sql('CREATE DATABASE plain');
fails(pgbranch(@server, '-d', 'plain', 'list'), 1, qr/^pgbranch: extension pgbraid is not in database "plain"\nHINT:  CREATE EXTENSION/, 'a database without the extension');
prints(pgbranch(@server, '-d', 'plain', '--via', 'shop', 'branch', '-q', 'twig'), '', 'can be reached through another one');
prints(pgbranch(@server, '-d', 'plain', '--via', 'shop', 'checkout', 'twig'), qq{Switched database "plain" to branch "twig".\n}, 'for everything');
{
	my $unloaded = Braid->new(nats => 0, preload => 0);
	delete @ENV{qw(PGHOST PGPORT PGDATABASE)};
	fails(pgbranch('-h', $unloaded->node->host, '-p', $unloaded->node->port, '-d', 'postgres', 'init'), 1, qr/HINT:  .*shared_preload_libraries/, 'init tells that a server does not preload it');
	$unloaded->node->stop;
}

# The environment says where, as for psql.
{
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($server[1], $server[3], 'plain');
	like(pgbranch('status')->{err}, qr/is not in database "plain"/, 'PGDATABASE');
	like(pgbranch('status', '-d', 'shop')->{out}, qr/Database "shop"/, 'an option goes before it');
	like(pgbranch('status', '--dbname=dbname=shop')->{out}, qr/Database "shop"/, 'which may be a connection string');
	is(pgbranch('status', '-dshop')->{status}, 0, 'and near');
}

# Colours are for people.
sub on_terminal
{
	my @command = @_;
	return ran('script', '-q', '-e', '-c', join(' ', @command), '/dev/null')->{out};
}
{
	local $ENV{TERM} = 'xterm';
	like(on_terminal('pgbranch', @server, '-d', 'shop', 'branch'), qr/^\e\[32m\* main .*\e\[0m\r$/m, 'on a terminal the checked-out branch has a colour');
	local $ENV{NO_COLOR} = 1;
	unlike(on_terminal('pgbranch', @server, '-d', 'shop', 'branch'), qr/\e/, 'unless NO_COLOR says no');
}

done_testing();
