# Waiting for a condition, not for a time.
package Until;
use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time sleep);

our @EXPORT = qw(until_true);

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

1;
