# pgbranch in a repository of git: what it knows there, and the hook by which a database follows git.
use strict;
use warnings;

use BranchCommand;
use File::Path qw(make_path);
use PostgreSQL::Test::Utils;
use Test::More;

begin();
sub site { return $braid->sql($_[0], dbname => 'site') }

repository('site', 'site');
fails(pgbranch('hook', 'install'), 1, qr/knows no database\nHINT:  .*pgbranch init -d/, 'a hook needs a database');
prints(pgbranch(@server, 'init', '-d', 'site'), qq{Database "site" is on branch "main", which the git repository knows now.\n}, 'init stores the connection');
is(git('config', '--local', '--get-regexp', '^pgbranch\.')->{out}, "pgbranch.dbname site\npgbranch.host $server[1]\npgbranch.port $server[3]\npgbranch.user " . site('SELECT current_user') . "\n", 'in the configuration of git');
like(pgbranch('status')->{out}, qr/^Database "site" is on branch "main"\n.*\nGit is on branch "main", too\nThe hook of git is not installed\n$/, 'other commands find it there');
make_path("$BranchCommand::directory/sub/directory");
{
	local $BranchCommand::directory = "$home/site/sub/directory";
	is(pgbranch('status')->{status}, 0, 'in a directory below, too');
	prints(pgbranch('hook', 'install'), "The hook is installed: $home/site/.git/hooks/post-checkout\n", 'the hook is installed from there');
}
prints(pgbranch('hook', 'install'), "The hook is installed: $home/site/.git/hooks/post-checkout\n", 'installed again it is one');
prints(pgbranch('hook', 'status'), "The hook is installed.\n", 'that is to be seen');
is(json(pgbranch('hook', 'status', '--json'))->{state}, 'installed', 'as JSON, too');

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
ok(!-e "$BranchCommand::directory/x", 'which no shell has read');
is(site('SELECT branch FROM made_on'), 'feature/a', 'it has what the branch has that it was made from');
follows(git('checkout', 'main'), 'main', 'branch "main" now', 'an old branch');
is(site('SELECT count(*) FROM made_on'), 0, 'has what was written there');
follows(git('checkout', 'main'), 'main', '', 'the same branch again');
{
	local $BranchCommand::directory = "$home/site/sub/directory";
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
$BranchCommand::directory = "$home/site";
follows(git('checkout', 'main'), 'main', 'branch "main" now', 'before worktrees');
my $added = git('worktree', 'add', '-b', 'linked', "$home/linked");
is(hook_said($added), "pgbranch: in a linked worktree the database stays as it is, unless git config pgbranch.worktrees true\n", 'a new worktree says that it has the same database');
is(current('site'), 'main', 'which stays as it is');
{
	local $BranchCommand::directory = "$home/linked";
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
	local $BranchCommand::directory = "$home/site/sub/directory";
	prints(pgbranch('hook', 'install'), "The hook is installed: $home/site/.githooks/post-checkout\n", 'core.hooksPath is respected');
	follows(git('checkout', 'main'), 'main', 'branch "main" now', 'and works');
}
prints(pgbranch('hook', 'uninstall'), "Took the hook away: $home/site/.githooks/post-checkout\n", 'uninstall finds it there');
git('config', '--unset', 'core.hooksPath');
{
	local $BranchCommand::directory = "$home/outside";
	fails(pgbranch('hook', 'install'), 1, qr/^pgbranch: this is no git repository\n/, 'no hook without a repository');
}

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
