# A PostgreSQL node whose databases have branches: operations that are held at a step of theirs, and ended there.
package Branches;
use strict;
use warnings;

use parent 'Braid';

use IPC::Run;
use Test::More;

# SQL in a session of its own, which goes on meanwhile. In another database than shop with (dbname => 'x').
sub in_background
{
	my ($self, $sql, %options) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-d', $self->node->connstr($options{dbname} // 'shop'), '-c', $sql ],
		'<', \undef, '>', \$out, '2>', \$err);
	return { run => $run, out => \$out, err => \$err };
}

# Waits for it; returns the error, '' for success.
sub ended
{
	my ($self, $background) = @_;
	return $background->{run}->finish ? '' : ${ $background->{err} };
}

# Operations stop at that step, until it is another one.
sub hold_at
{
	my ($self, $step) = @_;
	$self->sql("ALTER SYSTEM SET pgbraid.branch_hold_at = '$step'");
	return $self->sql('SELECT pg_reload_conf()');
}

sub until_phase
{
	my ($self, $phase) = @_;
	return $self->until_sql(q{SELECT string_agg(phase, ',') FROM pgbraid.stat_branch}, $phase);
}

# Brings an operation to the step, and kills: the server ('server'), or its process ('kill -9', 'terminate').
sub kill_at
{
	my ($self, $step, $sql, $how, %options) = @_;
	my $node = $self->node;
	$self->hold_at($step);
	my $session = $self->in_background($sql, %options);
	$self->until_phase('held');
	my $pid = $self->sql('SELECT pid FROM pgbraid.stat_branch');
	my $offset = -s $node->logfile;
	$node->append_conf('postgresql.auto.conf', "pgbraid.branch_hold_at = ''");
	if ($how eq 'server')
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		kill $how eq 'kill -9' ? 'KILL' : 'TERM', $pid or die "there is no process $pid";
		$node->wait_for_log(qr/database system is ready to accept connections/, $offset) if $how eq 'kill -9';
	}
	$self->ended($session);
	return $self->hold_at('');
}

# Of databases, on disk.
sub directories
{
	my ($self, $node) = @_;
	opendir(my $dir, ($node // $self->node)->data_dir . '/base') or die $!;
	return join ',', sort { $a <=> $b } grep { /^\d+$/ } readdir $dir;
}

# What was begun is made or gone, in the catalogue and on disk.
sub agree
{
	my ($self, $step) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->until_sql(q{SELECT count(*) FROM pg_database WHERE datconnlimit = -2}, '0', "$step: nothing half-made is left");
	return is($self->directories, $self->sql(q{SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_database}), "$step: catalogue and directories agree");
}

1;
