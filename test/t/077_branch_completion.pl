# pgbranch completion: what a shell proposes.
use strict;
use warnings;

use BranchCommand;
use Test::More;

begin();
in_shop('branch', 'a/b');
repository('site', 'site');
pgbranch(@server, 'init', '-d', 'site');
pgbranch('branch', $_) for 'feature/a', 'arrived', 'with space', 'x=y@z', "o'clock";
pgbranch('snapshot', 'a snapshot');

sub completes
{
	my ($line) = @_;
	my $script = 'source <(pgbranch completion bash); COMP_LINE=$1 COMP_POINT=${#1}; _pgbranch; printf "%s\n" "${COMPREPLY[@]}"';
	my $run = ran('bash', '-c', $script, 'bash', $line);
	is($run->{err}, '', "completion of $line: no error");
	return $run->{out} =~ s/\n$//r =~ s/\n/ | /gr;
}

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

done_testing();
