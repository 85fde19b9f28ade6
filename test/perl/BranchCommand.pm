# The command pgbranch, run as a user would who has nothing yet: an empty home, no configuration of git, no environment that
# says where PostgreSQL is.
package BranchCommand;
use strict;
use warnings;

use Braid;
use Cwd qw(realpath);
use Exporter qw(import);
use File::Path qw(make_path);
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw($braid $home @server begin ran pgbranch in_shop prints fails json current shop git commit repository hook_said);

our ($braid, $home, @server);
our $directory;	# in which commands run

# A server with a database shop.
sub begin
{
	$home = realpath(PostgreSQL::Test::Utils::tempdir());
	$directory = "$home/outside";
	make_path($directory);
	$braid = Braid->new(nats => 0);
	@server = ('-h', $braid->node->host, '-p', $braid->node->port);
	delete @ENV{ grep { /^(GIT|PG(HOST|PORT|DATABASE|USER|SERVICE|OPTIONS)|XDG)/ } keys %ENV };
	delete @ENV{qw(NO_COLOR BASH_ENV PROMPT_COMMAND LC_ALL)};
	@ENV{qw(HOME GIT_CONFIG_NOSYSTEM GIT_CEILING_DIRECTORIES)} = ($home, 1, $home);
	$braid->sql('CREATE DATABASE shop');
	return shop('CREATE EXTENSION pgbraid; CREATE TABLE items (id integer PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 10)');
}
sub shop { return $braid->sql($_[0], dbname => 'shop') }

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

# It ends well, and prints that.
sub prints
{
	my ($run, $out, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($run->{out} . $run->{err}, $out, $name);
	is($run->{status}, 0, "$name: status 0");
	return;
}

# It ends with that status, and says why.
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

# It must end well.
sub git
{
	my $run = ran('git', @_);
	is($run->{status}, 0, "git @_") or diag($run->{err});
	return $run;
}

# With one commit, in a directory of that name, and with an empty database.
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

# What the hook said: all of git's standard error that is ours.
sub hook_said { return join('', map { "$_\n" } grep { /^(pgbranch: |HINT)/ } split /\n/, $_[0]{err}) }

1;
