# pgbranch: the commands, what they print and how they end, and the hook by which a database follows git.
use strict;
use warnings;

use Braid;
use Cwd qw(realpath);
use File::Path qw(make_path);
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(nats => 0);
$braid->sql('CREATE DATABASE shop');
sub shop { return $braid->sql($_[0], dbname => 'shop') }
shop('CREATE EXTENSION pgbraid; CREATE TABLE items (id integer PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 10)');

# Nothing of whoever runs the test: neither their configuration of git nor where their PostgreSQL is.
my $home = realpath(PostgreSQL::Test::Utils::tempdir());
delete @ENV{ grep { /^(GIT|PG(HOST|PORT|DATABASE|USER|SERVICE|OPTIONS)|XDG)/ } keys %ENV };
delete @ENV{qw(NO_COLOR BASH_ENV PROMPT_COMMAND LC_ALL)};
$ENV{HOME} = $home;
$ENV{GIT_CONFIG_NOSYSTEM} = 1;
$ENV{GIT_CEILING_DIRECTORIES} = $home;
my @server = ('-h', $braid->node->host, '-p', $braid->node->port);
our $directory = "$home/outside";
make_path($directory);

# Runs a command in the directory of the moment, without a terminal.
sub ran
{
	my @command = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err, init => sub { chdir $directory or die }, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return { out => $out, err => $err, status => $? >> 8 };
}
sub pgbranch { return ran('pgbranch', @_) }
sub in_shop { return pgbranch(@server, '-d', 'shop', @_) }

sub prints
{
	my ($run, $out, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($run->{out} . $run->{err}, $out, $name);
	is($run->{status}, 0, "$name: status 0");
	return;
}

sub fails
{
	my ($run, $status, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$run->{status} $run->{out}", "$status ", "$name: status $status, nothing on standard output");
	like($run->{err}, $pattern, $name);
	unlike($run->{err}, qr/psql:|ERROR|LOCATION|stdin/, "$name: in our words");
	return;
}

sub json { return JSON::PP->new->utf8->decode($_[0]{out}) }
sub current { return $braid->sql(q{SELECT checked_out_branch FROM pgbranch_status('} . ($_[0] // 'shop') . q{')}, dbname => 'shop') }

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

# A repository of git knows its database.
sub git
{
	my $run = ran('git', @_);
	is($run->{status}, 0, "git @_") or diag($run->{err});
	return $run;
}
sub repository
{
	my ($name, $database) = @_;
	$directory = "$home/$name";
	make_path($directory);
	git('init', '-q', '-b', 'main', '.');
	git('config', 'user.name', 'Test');
	git('config', 'user.email', 'test@example.org');
	append_to_file("$directory/file", "content\n");
	git('add', 'file');
	commit('first');
	$braid->sql("CREATE DATABASE $database");
	$braid->sql('CREATE EXTENSION pgbraid; CREATE TABLE made_on (branch text)', dbname => $database);
	return;
}
sub commit { return git('commit', '-q', '--allow-empty', '-m', $_[0]) }
sub site { return $braid->sql($_[0], dbname => 'site') }

repository('site', 'site');
fails(pgbranch('hook', 'install'), 1, qr/knows no database\nHINT:  .*pgbranch init -d/, 'a hook needs a database');
prints(pgbranch(@server, 'init', '-d', 'site'), qq{Database "site" is on branch "main", which the git repository knows now.\n}, 'init stores the connection');
is(git('config', '--local', '--get-regexp', '^pgbranch\.')->{out}, "pgbranch.dbname site\npgbranch.host $server[1]\npgbranch.port $server[3]\npgbranch.user " . site('SELECT current_user') . "\n", 'in the configuration of git');
like(pgbranch('status')->{out}, qr/^Database "site" is on branch "main"\n.*\nGit is on branch "main", too\nThe hook of git is not installed\n$/, 'other commands find it there');
make_path("$directory/sub/directory");
{
	local $directory = "$home/site/sub/directory";
	is(pgbranch('status')->{status}, 0, 'in a directory below, too');
	prints(pgbranch('hook', 'install'), "The hook is installed: $home/site/.git/hooks/post-checkout\n", 'the hook is installed from there');
}
prints(pgbranch('hook', 'install'), "The hook is installed: $home/site/.git/hooks/post-checkout\n", 'installed again it is one');
prints(pgbranch('hook', 'status'), "The hook is installed.\n", 'that is to be seen');
is(json(pgbranch('hook', 'status', '--json'))->{state}, 'installed', 'as JSON, too');

# What the hook said: all of git's standard error that is ours.
sub hook_said { return join('', map { "$_\n" } grep { /^(pgbranch: |HINT)/ } split /\n/, $_[0]{err}) }

sub follows
{
	my ($run, $branch, $said, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($run->{status}, 0, $name);
	is(hook_said($run), $said && "pgbranch: database \"site\" is on $said\n", "$name: is said");
	is(current('site'), $branch, "$name: the database is on $branch");
	return;
}

follows(git('checkout', '-b', 'feature/a'), 'feature/a', 'a new branch "feature/a" now, made from "main" (git came from there)', 'a new branch');
site(q{INSERT INTO made_on VALUES ('feature/a')});
commit('a');
follows(git('switch', '-c', q{it's-"q";$(touch${IFS}x)&ñ日本}), q{it's-"q";$(touch${IFS}x)&ñ日本}, q{a new branch "it's-"q";$(touch${IFS}x)&ñ日本" now, made from "feature/a" (git came from there)}, 'a name with all that git allows');
ok(!-e "$directory/x", 'which no shell has read');
is(site('SELECT branch FROM made_on'), 'feature/a', 'it has what the branch has that it was made from');
follows(git('checkout', 'main'), 'main', 'branch "main" now', 'an old branch');
is(site('SELECT count(*) FROM made_on'), 0, 'has what was written there');
follows(git('checkout', 'main'), 'main', '', 'the same branch again');
{
	local $directory = "$home/site/sub/directory";
	follows(git('checkout', '-q', q{it's-"q";$(touch${IFS}x)&ñ日本}), q{it's-"q";$(touch${IFS}x)&ñ日本}, q{branch "it's-"q";$(touch${IFS}x)&ñ日本" now}, 'a checkout in a directory below');
}
follows(git('checkout', '--detach'), q{it's-"q";$(touch${IFS}x)&ñ日本}, '', 'a detached HEAD is no branch');
follows(git('checkout', 'main', '--', '.'), q{it's-"q";$(touch${IFS}x)&ñ日本}, '', 'nor is a checkout of files');
follows(git('checkout', 'main'), 'main', 'branch "main" now', 'from a detached HEAD');

# From which branch: where git came from, or what its log says, or what is nearest; never what has nothing to do with it.
follows(git('checkout', '-b', 'elsewhere', 'feature/a'), 'elsewhere', 'a new branch "elsewhere" now, made from "feature/a" (git made it from there)', 'a new branch of another one');
is(site('SELECT branch FROM made_on'), 'feature/a', 'has what that one has');
commit('elsewhere');
git('tag', 'of-elsewhere');
git('checkout', '-q', 'main');
git('update-ref', 'refs/heads/arrived', 'of-elsewhere');
follows(git('checkout', 'arrived'), 'arrived', 'a new branch "arrived" now, made from "elsewhere" (the nearest by its commits)', 'a branch that came from elsewhere');
git('checkout', '-q', 'main');
commit('second');
git('update-ref', 'refs/heads/behind', 'main~1');
follows(git('checkout', 'behind'), 'behind', 'a new branch "behind" now, made from "main" (the nearest by its commits)', 'an old commit is of the main branch');
$braid->sql(q{SELECT pgbranch_checkout('arrived', 'site')}, dbname => 'site');
git('branch', 'of-main', 'main');
git('checkout', '-q', 'feature/a');
follows(git('checkout', 'of-main'), 'of-main', 'a new branch "of-main" now, made from "main" (git made it from there)', 'a branch that was made earlier, from another one than the database and git are on');
# Where git came from when it made the branch, not when it came back to it; nor where one of that name was made before.
sub unseen { return git('-c', 'core.hooksPath=/dev/null', 'checkout', '-q', @_) }
my @day = map { "2001-01-0${_}T12:00:00Z" } 0 .. 3;
{
	local $ENV{GIT_COMMITTER_DATE} = $day[1];
	unseen('elsewhere');
	unseen('-b', $_) for 'wanderer', 'again';
	unseen('of-main');
	git('branch', '-q', '-D', 'again');
	$ENV{GIT_COMMITTER_DATE} = $day[2];
	follows(git('checkout', 'wanderer'), 'wanderer', 'a new branch "wanderer" now, made from "elsewhere" (git came from there)', 'a branch that was made earlier, from HEAD');
	git('checkout', '-q', 'of-main');
	$ENV{GIT_COMMITTER_DATE} = $day[3];
	follows(git('checkout', '-b', 'again'), 'again', 'a new branch "again" now, made from "of-main" (git came from there)', 'another one of that name');
	unseen('-b', $_), unseen('of-main'), git('branch', '-q', '-D', $_) for 'unclear';
	follows(git('checkout', '-b', 'unclear'), 'unclear', 'a new branch "unclear" now, made from "main" (the nearest by its commits)', 'two of a name at one time');
	git('checkout', '-q', 'of-main');
}
my $strange = ran('git', 'checkout', '--orphan', 'strange');
is(hook_said($strange), qq{pgbranch: database "site" has no branch "strange", and none of a git branch that it was made from\n}
	. qq{pgbranch: the database has not followed git to branch "strange"\nHINT:  When that is mended: pgbranch checkout -b strange SOURCE\n}, 'a branch without history');
is($strange->{status}, 1, 'is a failure');
is(current('site'), 'of-main', 'a branch of nothing is made from nothing');
git('checkout', '-q', '-f', 'main');

# A failure is printed, and git's checkout stands.
sub fails_to_follow
{
	my ($run, $branch, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($run->{status}, 1, "$name: status 1");
	like(hook_said($run), $pattern, $name);
	is(ran('git', 'symbolic-ref', 'HEAD')->{out}, "refs/heads/$branch\n", "$name: git has switched");
	is(current('site'), 'main', "$name: the database has not");
	git('-c', 'core.hooksPath=/dev/null', 'checkout', '-q', 'main');
	return;
}
$braid->sql('ALTER DATABASE site ALLOW_CONNECTIONS false');
fails_to_follow(ran('git', 'checkout', 'feature/a'), 'feature/a',
	qr/^pgbranch: connection to server .* not currently accepting connections\npgbranch: the database has not followed git to branch "feature\/a"\nHINT:  .*: pgbranch checkout feature\/a\n$/, 'no connection');
$braid->sql('ALTER DATABASE site ALLOW_CONNECTIONS true');
$braid->sql('CREATE ROLE guest LOGIN');
fails_to_follow(ran('git', '-c', 'pgbranch.user=guest', 'checkout', '-b', "g'"), "g'", qr/^pgbranch: permission denied for function .*\n(.*\n)?HINT:  .*: pgbranch checkout g\\'\n$/, 'no right');
for ([ PGDATABASE => 'shop' ], [ PGHOST => 'localhost' ], [ PGPORT => 1 ], [ PGSERVICE => 'other' ])
{
	my ($variable, $value) = @$_;
	my $run = do { local $ENV{$variable} = $value; ran('git', 'checkout', 'feature/a') };
	fails_to_follow($run, 'feature/a', qr/^pgbranch: the database has not followed git: $variable is $value, .*\nHINT:  Unset $variable/, "another $variable");
}
{
	local $ENV{PGDATABASE} = 'site';
	follows(git('checkout', 'feature/a'), 'feature/a', 'branch "feature/a" now', 'the same PGDATABASE');
}

# A rebase goes through commits of its own, with nothing checked out that has a name.
git('checkout', '-q', '-b', 'rebased', 'main');
commit('to be rebased');
my $rebase = git('-c', 'sequence.editor=:', 'rebase', '-q', '--force-rebase', '--exec', 'git checkout -q main && git checkout -q -', 'feature/a');
is(hook_said($rebase), '', 'a rebase says nothing');
is(current('site'), 'rebased', 'and switches nothing, even if it checks branches out');

# Linked worktrees share the database.
$directory = "$home/site";
follows(git('checkout', 'main'), 'main', 'branch "main" now', 'before worktrees');
my $added = git('worktree', 'add', '-b', 'linked', "$home/linked");
is(hook_said($added), "pgbranch: in a linked worktree the database stays as it is, unless git config pgbranch.worktrees true\n", 'a new worktree says that it has the same database');
is(current('site'), 'main', 'which stays as it is');
{
	local $directory = "$home/linked";
	git('checkout', '-q', '-b', 'in-linked');
	is(current('site'), 'main', 'whatever is checked out there');
	like(pgbranch('status')->{out}, qr/^Database "site" .*Git is on branch "in-linked"\nThe hook of git is installed\n$/s, 'commands know where they are');
	git('config', 'pgbranch.worktrees', 'true');
	follows(git('checkout', '-b', 'both'), 'both', 'a new branch "both" now, made from "main" (the nearest by its commits)', 'unless told to switch');
}
follows(git('checkout', 'feature/a'), 'feature/a', 'branch "feature/a" now', 'and the main one goes on');

# Another hook stays, is called first, and has its say.
my $hook = "$home/site/.git/hooks/post-checkout";
my $foreign = qq{#!/bin/sh\nprintf '<%s>' "\$@" >>"$home/foreign"\nexit "\${FOREIGN:-0}"\n};
sub write_hook { append_to_file($_[0], $_[1]); chmod 0755, $_[0] or die; return }
prints(pgbranch('hook', 'uninstall'), "Took the hook away: $hook\n", 'uninstall');
ok(!-e $hook, 'takes the file away');
prints(pgbranch('hook', 'uninstall'), "No hook of pgbranch is there: $hook\n", 'once');
write_hook($hook, $foreign);
prints(pgbranch('hook', 'uninstall'), "No hook of pgbranch is there: $hook\n", 'never that of somebody else');
is(slurp_file($hook), $foreign, 'which is as it was');
prints(pgbranch('hook', 'install'), "The hook is installed, after another one: $hook\n", 'install beside another one');
prints(pgbranch('hook', 'install'), "The hook is installed, after another one: $hook\n", 'and again');
is(slurp_file("$hook.before-pgbranch"), $foreign, 'the other one is kept');
my ($before, $after) = map { ran('git', 'rev-parse', $_)->{out} =~ s/\n//r } 'feature/a', 'main';
follows(git('checkout', 'main'), 'main', 'branch "main" now', 'the database follows');
is(slurp_file("$home/foreign"), "<$before><$after><1>", 'and the other one has been called with the same arguments');
{
	local $ENV{FOREIGN} = 7;
	my $run = ran($hook, $after, $after, 1);
	is($run->{status}, 7, 'its status counts');
	isnt(ran('git', 'checkout', 'feature/a')->{status}, 0, 'for git, too');
	is(current('site'), 'feature/a', 'and the database follows all the same');
}
prints(pgbranch('hook', 'uninstall'), "Took the hook away, and put back the one that was there before: $hook\n", 'uninstall puts it back');
is(slurp_file($hook), $foreign, 'as it was');
ok(-x $hook && !-e "$hook.before-pgbranch", 'where it was');
write_hook("$hook.before-pgbranch", 'mine');
fails(pgbranch('hook', 'install'), 1, qr/^pgbranch: there are both /, 'nothing is overwritten');
is(join(' ', map { s/.*\///r } glob "$hook*"), 'post-checkout post-checkout.before-pgbranch', 'nor left behind');
unlink $hook, "$hook.before-pgbranch";

# Where git looks for hooks.
git('config', 'core.hooksPath', '.githooks');
{
	local $directory = "$home/site/sub/directory";
	prints(pgbranch('hook', 'install'), "The hook is installed: $home/site/.githooks/post-checkout\n", 'core.hooksPath is respected');
	follows(git('checkout', 'main'), 'main', 'branch "main" now', 'and works');
}
prints(pgbranch('hook', 'uninstall'), "Took the hook away: $home/site/.githooks/post-checkout\n", 'uninstall finds it there');
git('config', '--unset', 'core.hooksPath');
{
	local $directory = "$home/outside";
	fails(pgbranch('hook', 'install'), 1, qr/^pgbranch: this is no git repository\n/, 'no hook without a repository');
}

# Completion.
sub completes
{
	my ($line) = @_;
	my $script = 'source <(pgbranch completion bash); COMP_LINE=$1 COMP_POINT=${#1}; _pgbranch; printf "%s\n" "${COMPREPLY[@]}"';
	my $run = ran('bash', '-c', $script, 'bash', $line);
	is($run->{err}, '', "completion of $line: no error");
	return $run->{out} =~ s/\n$//r =~ s/\n/ | /gr;
}
pgbranch('branch', $_) for 'with space', 'x=y@z', "o'clock";
pgbranch('snapshot', 'a snapshot');
is(completes('pgbranch ch'), 'checkout', 'a command');
is(completes('pgbranch rename wi'), 'with\ space', 'a branch, quoted');
is(completes('pgbranch rename "wi'), 'with space', 'within quotes');
is(completes("pgbranch rm o\\'"), "o\\'clock", 'quoted so far');
is(completes('pgbranch checkout x=y'), 'y@z', 'after what is between words for bash');
is(completes('pgbranch checkout x=y@'), '@z', 'before it');
is(completes('pgbranch checkout f'), 'feature/a', 'a branch');
is(completes('pgbranch --json checkout -b n ar'), 'arrived', 'a source');
is(completes('pgbranch checkout -b '), '', 'no name where a new one is wanted');
is(completes('pgbranch reset '), 'a\ snapshot', 'a snapshot');
is(completes('pgbranch rm --snapshot '), 'a\ snapshot', 'what is to be deleted');
is(completes('pgbranch prune --keep fe'), 'feature/a', 'the value of an option');
is(completes('pgbranch prune --k'), '--keep', 'an option');
is(completes('pgbranch -d shop checkout a'), 'a/b', 'of the database that is said');
is(completes('pgbranch -d '), '', 'nothing where nothing is known');
is(completes('pgbranch -p 1 checkout '), '', 'nothing where nobody answers');
is(completes('pgbranch hook '), 'install | status | uninstall', 'what there is to say to a hook');

# A missing main is not made from the feature that the family began with.
repository('late', 'late');
git('checkout', '-q', '-b', 'feature');
commit('of the feature');
like(pgbranch(@server, 'init', '-d', 'late', '--branch', 'feature')->{out}, qr/is on branch "feature"/, 'a family that begins with a feature');
pgbranch('hook', 'install');
my $missing = ran('git', 'checkout', 'main');
is("$missing->{status} " . hook_said($missing), qq{1 pgbranch: database "late" has no branch "main", and none of a git branch that it was made from\n}
	. qq{pgbranch: the database has not followed git to branch "main"\nHINT:  When that is mended: pgbranch checkout -b main SOURCE\n}, 'main is not made from it');
like(pgbranch('status')->{out}, qr/is on branch "feature"\n.*\nGit is on branch "main"\n/, 'the status shows it');

# init names the branch as git names its own, whatever is checked out.
repository('master', 'master');
git('branch', '-m', 'main', 'master');
git('checkout', '-q', '-b', 'topic');
prints(pgbranch(@server, 'init', '-d', 'master'), qq{Database "master" is on branch "master", which the git repository knows now.\nGit is on branch "topic"; the database, too, after: pgbranch checkout -b topic\n}, 'a main branch of another name');

done_testing();
