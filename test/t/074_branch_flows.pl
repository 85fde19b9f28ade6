# Flows and branches: with the option follow, whichever branch is checked out publishes to one stream; nothing is lost or
# told twice, whatever is killed at a switch.
use strict;
use warnings;

use Braid;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Until;

my $braid = Braid->new(conf => 'restart_after_crash = on');
$braid->sql('CREATE DATABASE shop');
sub shop { return $braid->sql($_[0], dbname => $_[1] // 'shop') }
sub checkout { return $braid->sql("SELECT pgbranch_checkout('$_[0]', 'shop', '$_[1]')") }

# The ids of the rows with that text that events of an operation have told, in their order.
sub told
{
	my ($op, $branch, @messages) = @_;
	return join ' ', map { $_->{event}{after}{id} } grep { $_->{event}{op} eq $op && $_->{event}{after}{branch} eq $branch } @messages;
}

sub state_in
{
	my ($database, $state, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $braid->until_state('feed', $state, $name, dbname => $database);
}

shop(q{CREATE EXTENSION pgbraid; CREATE TABLE items (id integer PRIMARY KEY, branch text); CREATE TABLE notes (id integer PRIMARY KEY, branch text)});
$braid->refuses(q{SELECT pgflow_create('feed', tables => '{items}', options => '{"follow": "name"}')}, 22023, 'family', 'a flow follows a branch or a family', dbname => 'shop');
shop(q{SELECT pgflow_create('feed', tables => '{items}', stream => 'feed', subject => 'feed.{table}', options => '{"follow": "family"}')});
shop(q{SELECT pgflow_create('own', tables => '{notes}', stream => 'own', subject => 'own.{table}')});
state_in('shop', 'streaming', 'it runs in the database that has no branches');
$braid->until_state('own', 'streaming', 'as does the other', dbname => 'shop');
shop(q{INSERT INTO items VALUES (1, 'main'), (2, 'main')});
is(told('insert', 'main', $braid->events('feed', dbname => 'shop')), '1 2', 'and publishes');

# A new branch, checked out: the flow begins there, and rests where it was.
checkout('dev', 'true');
state_in('shop', 'streaming', 'in a branch that is checked out a flow begins by itself');
state_in('shop@main', 'resting', 'and rests where it was');
is(shop(q{SELECT last_error, last_hint, pid IS NULL FROM pgbraid.stat_flow WHERE flow = 'feed'}, 'shop@main'),
	q{branch "main" is not checked out|It goes on after SELECT pgbranch_checkout('main').|t}, 'it says why');
is(shop(q{SELECT count(*) FROM pg_replication_slots s JOIN pgbraid.stat_flow f USING (slot_name) WHERE flow = 'feed' AND NOT active}, 'shop@main'), '1', 'with its slot');
shop(q{INSERT INTO items VALUES (3, 'away')}, 'shop@main');
shop(q{INSERT INTO items VALUES (3, 'dev')});
my @seen = $braid->events('feed', dbname => 'shop');
is(told('snapshot', 'main', @seen), '1 2', 'the branch tells what it holds');
is(told('insert', 'dev', @seen), '3', 'and what is written to it');
is(told('insert', 'away', @seen), '', 'nothing of the branch that was left');

# The flow that follows its branch stays with it.
shop(q{INSERT INTO notes VALUES (1, 'main')}, 'shop@main');
shop(q{INSERT INTO notes VALUES (1, 'dev')});
is(told('insert', 'main', $braid->events('own', dbname => 'shop@main')), '1', 'a flow that follows its branch goes on with it');
is(shop(q{SELECT state, last_error FROM pgbraid.stat_flow WHERE flow = 'own'}), 'paused|this database is a copy of the one that the flow was made in', 'and is paused in the copy');

# Back and forth.
checkout('main', 'false');
state_in('shop', 'streaming', 'it goes on where it rested');
state_in('shop@dev', 'resting', 'and rests in the other branch');
shop(q{INSERT INTO items VALUES (4, 'away')}, 'shop@dev');
@seen = $braid->events('feed', dbname => 'shop');
is(told('insert', 'away', @seen), '3', 'what was written meanwhile is told');
is(scalar @seen, 1, 'and nothing else');
checkout('dev', 'false');
state_in('shop', 'streaming', 'so does the other one');
@seen = $braid->events('feed', dbname => 'shop');
is(told('insert', 'away', @seen), '4', 'with what was written to it meanwhile');
is(scalar @seen, 1, 'and no other snapshot');
checkout('main', 'false');

# After a crash of PostgreSQL nothing is known but what was noted.
shop(q{INSERT INTO items VALUES (5, 'main')});
$braid->wait_for('feed', dbname => 'shop');
checkout('dev', 'false');
shop(q{INSERT INTO items VALUES (5, 'dev')});
$braid->wait_for('feed', dbname => 'shop');
$braid->node->stop('immediate');
$braid->node->start;
checkout('main', 'false');
shop(q{INSERT INTO items VALUES (6, 'main')});
@seen = $braid->events('feed', dbname => 'shop');
is(told('insert', 'main', @seen) . ' and ' . told('insert', 'dev', @seen), '5 6 and 5', 'after a crash neither branch repeats anything');
checkout('dev', 'false');
is(scalar $braid->events('feed', dbname => 'shop'), 0, 'nor later');
checkout('main', 'false');
state_in('shop', 'streaming');

# Its slot is in nobody's way but that of who would throw it away.
shop(q{SELECT pgbranch_snapshot('before')});
$braid->refuses(q{SELECT pgbranch_drop('dev')}, 55006, 'force', 'a branch with slots of flows is not dropped', dbname => 'shop');
$braid->refuses(q{SELECT pgbranch_reset('before')}, 55006, 'force', 'nor reset', dbname => 'shop');
shop(q{SELECT pg_create_logical_replication_slot('mine', 'pgoutput')});
for my $verb ("snapshot('other')", "create('other')", "checkout('dev')")
{
	$braid->refuses("SELECT pgbranch_$verb", 55006, 'force', "a slot of somebody else's is in the way of $verb", dbname => 'shop');
}
shop(q{SELECT pg_drop_replication_slot('mine')});

# Reset: the copy begins anew, and undone, the flow goes on where it was.
shop(q{SELECT pgbranch_reset('before', options => '{"force": true}')});
state_in('shop', 'streaming', 'after a reset it begins anew');
shop(q{INSERT INTO items VALUES (7, 'reset')});
@seen = $braid->events('feed', dbname => 'shop');
is(told('insert', 'reset', @seen) . ' and ' . told('snapshot', 'main', @seen), '7 and 1 2 5 6', 'with a snapshot');
shop(q{SELECT pgflow_pause('feed')});
$braid->until_state('feed', 'paused', undef, dbname => 'shop');
shop(q{SELECT pgflow_drop('feed')});
$braid->until_sql(q{SELECT count(*) FROM pg_replication_slots WHERE database = 'shop'}, '0');
shop(q{SELECT pgbranch_undo()});
shop(q{INSERT INTO items VALUES (8, 'undone')});
@seen = $braid->events('feed', dbname => 'shop');
is(told('insert', 'undone', @seen), '8', 'it is back after an undo');
is(scalar @seen, 1, 'where it was');

# A worker that does not hear that its branch was left is refused by the NATS server, and gives way without an error.
state_in('shop', 'streaming');
my $manager = $braid->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgbraid manager' AND datname = 'shop'});
kill 'STOP', $manager or die "there is no process $manager";
checkout('dev', 'false');
shop(q{INSERT INTO items VALUES (9, 'heard')});
$braid->wait_for('feed', dbname => 'shop');
my $offset = -s $braid->node->logfile;
shop(q{INSERT INTO items VALUES (9, 'deaf')}, 'shop@main');
$braid->node->wait_for_log(qr/flow "feed" gives way to another writer/, $offset);
kill 'CONT', $manager;
state_in('shop@main', 'resting', 'a worker that was refused rests');
is($braid->sql(q{SELECT count(*) FROM pgbraid.stat_worker WHERE kind = 'flow' AND object = 'feed' AND last_error <> ''}), '0', 'without an error');
checkout('main', 'false');
@seen = $braid->events('feed', dbname => 'shop');
is(told('insert', 'heard', @seen) . ' and ' . told('insert', 'deaf', @seen), '9 and 9', 'what it could not publish is told when its branch is back');

# A copy by other means is left alone.
$braid->sql('CREATE DATABASE copied TEMPLATE shop');
is(shop(q{SELECT state FROM pgbraid.stat_flow WHERE flow = 'feed'}, 'copied'), 'paused', 'a copy that is no branch is left alone');
$braid->sql(q{SELECT pgbranch_create('twig', database => 'copied'); SELECT pgbranch_checkout('twig', 'copied')});
is(shop(q{SELECT state FROM pgbraid.stat_flow WHERE flow = 'feed'}, 'copied'), 'paused', 'and so are branches of its own');
is($braid->sql(q{SELECT count(*) FROM pg_replication_slots WHERE database LIKE 'copied%'}), 0, 'without slots');
$braid->sql(q{SELECT pgbranch_checkout('main', 'copied'); SELECT pgbranch_drop('twig', 'copied', force => true)});
$braid->sql('DROP DATABASE copied');

# A switch starts no process where there are no flows; they are found all the same as soon as there are.
$braid->sql(q{CREATE DATABASE quiet; ALTER SYSTEM SET log_min_messages = debug1; SELECT pg_reload_conf()});
shop(q{CREATE EXTENSION pgbraid; CREATE TABLE items (id integer PRIMARY KEY); SELECT pgbranch_create('side')}, 'quiet');
my $log_end = -s $braid->node->logfile;
sub managers_started { return scalar(() = slurp_file($braid->node->logfile, $log_end) =~ /starting background worker process "pgbraid manager quiet/g) }
$braid->sql(q{SELECT pgbranch_checkout('side', 'quiet')});
until_true(\&managers_started, 'somebody looks whether the new branch has flows');
$braid->until_sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgbraid manager' AND datname LIKE 'quiet%'}, '0');
$log_end = -s $braid->node->logfile;
$braid->sql("SELECT pgbranch_checkout('$_', 'quiet')") for qw(main side main);
shop(q{SELECT pgflow_create('feed', tables => '{items}', stream => 'quiet', options => '{"follow": "family"}')}, 'quiet');
state_in('quiet', 'streaming', 'a flow is made in a branch that had none');
is(managers_started(), 1, 'for it a manager was started, and none before');
$braid->sql(q{SELECT pgbranch_checkout('side', 'quiet')});
state_in('quiet@main', 'resting', 'and follows the family');
$braid->sql(q{SELECT pgbranch_checkout('main', 'quiet')});
state_in('quiet', 'streaming', 'from then on');
$braid->sql('ALTER SYSTEM RESET log_min_messages; SELECT pg_reload_conf()');

# Switches under load, some of them with a crash. Each row is told exactly once.
my $written = 100;
sub writer
{
	my ($database, $branch, $rows) = @_;
	my ($first, $last) = ($written + 1, $written += $rows);
	my $sql = "DO \$\$ BEGIN FOR i IN $first..$last LOOP INSERT INTO items VALUES (i, '$branch'); COMMIT; END LOOP; END \$\$";
	my ($in, $out, $err) = ('', '', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $braid->node->connstr($database), '-c', $sql ], '<', \$in, '>', \$out, '2>', \$err);
	$braid->until_sql("SELECT count(*) >= $rows / 10 FROM items WHERE id BETWEEN $first AND $last", 't', undef, dbname => $database);
	return $run;
}

sub start_checkout
{
	my ($branch) = @_;
	my ($in, $out, $err) = ('', '', '');
	return IPC::Run::start([ 'psql', '-XAtq', '-d', $braid->node->connstr('postgres'), '-c',
		"SELECT pgbranch_checkout('$branch', 'shop', options => '{\"sessions\": \"keep\"}')" ], '<', \$in, '>', \$out, '2>', \$err);
}

sub crash
{
	my ($pid) = @_;
	my $offset = -s $braid->node->logfile;
	kill 'KILL', $pid or die "there is no process $pid";
	$braid->node->wait_for_log(qr/database system is ready to accept connections/, $offset);
	return;
}

$braid->{seen}{feed} = scalar $braid->messages('feed');
state_in('shop', 'streaming');
my @branches = ('main', 'dev');
for my $round (1 .. 8)
{
	my ($here, $other) = @branches;
	my $run = writer('shop', "load $here", 3000);
	my $publisher = $braid->sql(q{SELECT pid FROM pgbraid.stat_flow WHERE flow = 'feed'}, dbname => 'shop');
	my $launcher = $braid->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgbraid launcher'});
	my $database = $braid->sql(q{SELECT oid FROM pg_database WHERE datname = 'shop'});
	my $checkout = start_checkout($other);
	crash($publisher) if $round == 2;	# before the switch, or in it
	if ($round > 2 && $round % 2 == 0)
	{
		$braid->until_sql("SELECT oid <> $database FROM pg_database WHERE datname = 'shop'", 't');
		crash($launcher);	# right after it, whatever the two workers do
	}
	$_->finish for $run, $checkout;
	checkout($other, 'false');	# where the crash came first
	state_in('shop', 'streaming', "round $round: branch $other publishes");
	@branches = ($other, $here);
}
my %expected;
for my $branch (@branches, reverse @branches)
{
	checkout($branch, 'false');
	$braid->wait_for('feed', dbname => 'shop');
	$expected{$branch} = shop("SELECT string_agg(id::text, ' ' ORDER BY id) FROM items WHERE branch = 'load $branch'");
}
my @all = $braid->messages('feed');
@seen = @all[ $braid->{seen}{feed} .. $#all ];
for my $branch (sort @branches)
{
	cmp_ok(length $expected{$branch}, '>', 10000, "much was written in branch $branch");
	ok(told('insert', "load $branch", @seen) eq $expected{$branch}, "each row of branch $branch is told once, in order")
		or diag(differences($expected{$branch}, told('insert', "load $branch", @seen)));
}
my %ids;
$ids{ $_->{headers}{'Nats-Msg-Id'} }++ for @all;
is(join(' ', grep { $ids{$_} > 1 } sort keys %ids), '', 'no message id comes twice');
is($braid->sql(q{SELECT count(*) FROM pgbraid.stat_worker WHERE kind = 'flow' AND last_error LIKE '%another writer%'}), '0', 'no branch took another for a stranger');

sub differences
{
	my ($expected, $told) = @_;
	my (%count, @found);
	$count{$_}++ for split / /, $told;
	for (split / /, $expected)
	{
		my $times = delete $count{$_} // 0;
		push @found, "$_: $times times" if $times != 1;
	}
	return join ', ', (@found, map { "$_: not written" } sort keys %count)[ 0 .. 20 ];
}

done_testing();
