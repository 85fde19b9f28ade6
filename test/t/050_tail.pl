# pgbraid-tail: what it shows, where it begins and ends, and that nothing stops it.
use strict;
use warnings;

use Braid;
use IPC::Run;
use Test::More;

my $braid = Braid->new;
$braid->sql("CREATE TABLE $_ (id int PRIMARY KEY)") for qw(a b c);
$braid->sql("SELECT pgflow_create('f', tables => '{a,b,c}', subject => 'x.{table}')");
$braid->until_state('f', 'streaming');
$braid->sql('INSERT INTO a VALUES (1); INSERT INTO b VALUES (2); INSERT INTO c VALUES (3); INSERT INTO a VALUES (4)');
$braid->wait_for('f');

sub tail
{
	my @arguments = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'pgbraid-tail', '-s', $braid->nats->url, @arguments ], '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return { out => $out, ids => join(',', $out =~ /"after":\{"id":(\d+)/g), err => $err, status => $? >> 8 };
}

is(tail('--stream', 'postgres_f', '--until-end')->{ids}, '1,2,3,4', 'a whole stream');
is(tail('--until-end', 'x.a')->{ids}, '1,4', 'one subject, whose stream is found');
is(tail('--until-end', 'x.a', 'x.c')->{ids}, '1,3,4', 'several subjects, in the order of the stream');
is(tail('--until-end', 'x.*')->{ids}, '1,2,3,4', 'a wildcard');
is(tail('--until-end', '--stream', 'postgres_f', 'x.none')->{out}, '', 'a subject without messages ends too');
is(tail('--until-end', '--from', 3, 'x.>')->{ids}, '3,4', 'from a sequence');
is(tail('--until-end', '--from', 'last', 'x.>')->{ids}, '4', 'from the last');
is(tail('--count', 2, 'x.>')->{ids}, '1,2', 'a count');
like(tail('--until-end', '--verbose', '--from', 2, '--count', 1, 'x.>')->{out}, qr/^x\.b  \{"op"/, 'with its subject');
like(tail('--until-end', '--json', '--count', 1, 'x.>')->{out},
	qr/^\{"stream_seq":1,"subject":"x\.a","headers":\{.*"Nats-Msg-Id":".*\},"data":\{"op":"insert".*\}\}$/, 'as JSON');

my $absent = tail('--stream', 'absent');
is($absent->{status}, 1, 'no such stream');
like($absent->{err}, qr/no stream absent/, 'is said');
is(tail('--timeout', 1, '--from', 'new', 'x.>')->{status}, 2, 'silence for longer than the timeout');
is(tail('--from', 'nowhere', 'x.>')->{status}, 1, 'a start that is none');
is(tail()->{status}, 1, 'neither stream nor subject');

# It waits for its stream, and outlives the server.
my $out = '';
my $running = IPC::Run::start([ 'pgbraid-tail', '-s', $braid->nats->url, '--wait', '--count', 3, 'late.>' ], '<', \undef, '>', \$out);
$braid->sql("CREATE TABLE d (id int PRIMARY KEY); SELECT pgflow_create('late', tables => '{d}', subject => 'late.{table}')");
$braid->until_state('late', 'streaming');
$braid->sql('INSERT INTO d VALUES (1)');
$running->pump until $out =~ /"id":1/;
$braid->nats->kill9;
$braid->nats->start;
$braid->sql('INSERT INTO d VALUES (2), (3)');
$running->finish;
is(join(',', $out =~ /"after":\{"id":(\d+)/g), '1,2,3', 'a server that was killed comes between, and nothing is missing or twice');
done_testing();
