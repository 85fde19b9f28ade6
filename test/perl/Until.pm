# Waiting for a condition, not for a time.
package Until;
use strict;
use warnings;

use Exporter qw(import);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time sleep);

our @EXPORT = qw(until_true until_answer);

# Polls until the check returns something true, and returns that; ends the file if it doesn't.
sub until_true
{
	my ($check, $what) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $result;
	until ($result = $check->())
	{
		die "waited in vain until $what" if time > $deadline;
		sleep 0.01;
	}
	return $result;
}

# Polls until psql prints that for the query. Returns whether it did, and what was printed last, with errors. One psql asks
# again and again, as a new one each time would take most of a processor; where its session is ended, another one goes on.
# It may ask once more after the answer that was waited for: the query must change nothing.
sub until_answer
{
	my ($connection, $query, $expected) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($met, $said) = _watch($connection, $query, $expected, $deadline);
	until ($met || time > $deadline)
	{
		sleep 0.1;
		($met, $said) = _watch($connection, $query, $expected, $deadline);
	}
	return ($met, $said);
}

# Until it answers so, or the session ends, or it is too late.
sub _watch
{
	my ($connection, $query, $expected, $deadline) = @_;
	my ($out, $err, $answer) = ('', '');
	my $script = ($query =~ s/[;\s]+$//r) . "\n\\; SELECT E'\\x1e' \\watch 0.05\n";
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $connection ], '<', \$script, '>', \$out, '2>', \$err,
		IPC::Run::timeout(1 + $deadline - time));
	my $met = 0;
	until ($met)
	{
		if ($out =~ s/\A(.*?)\n?\x1e\n//s)
		{
			$answer = $1;
			$met = $answer eq $expected;
		}
		else
		{
			last unless $psql->pumpable && eval { $psql->pump; 1 };	# or it is too late
		}
	}
	$psql->kill_kill;
	return ($met, ($answer // 'no answer') . "\n$err");
}

1;
