# The main job: rows of a table become messages of a stream, exactly as promised.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new;
my $taxi_columns = 'log_id int PRIMARY KEY, _cq_sync_time timestamp, distance_traveled float8, driver_id int, duration int, '
	. 'end_location text, fare_amount float8, passenger_id int, payment_method text, start_location text, "timestamp" text';
my $ride = q{NULL, 19.15, 1, 320, '55 Schlimgen Road', 309.56, 583, 'cash', '87 Fisk Driv', '08/18/2022'};
my $ride_json = '"_cq_sync_time":null,"distance_traveled":19.15,"driver_id":1,"duration":320,'
	. '"end_location":"55 Schlimgen Road","fare_amount":309.56,"passenger_id":583,"payment_method":"cash",'
	. '"start_location":"87 Fisk Driv","timestamp":"08/18/2022"';

# A row that was there before comes as a snapshot.
$braid->sql("CREATE TABLE taxi_rides ($taxi_columns); INSERT INTO taxi_rides VALUES (8539, $ride)");
like($braid->sql("SELECT pgflow_create('rides', tables => '{taxi_rides}')"), qr/^\d+$/, 'pgflow_create returns a number');
$braid->until_state('rides', 'streaming');
my ($event) = $braid->events('rides');
is($event->{event}{op}, 'snapshot', 'the row that was there is a snapshot');
is($event->{event}{after}{log_id}, 8539, 'and it is that row');
ok(!exists $event->{event}{xid}, 'a snapshot has no transaction');

# One insert, looked at closely.
$braid->sql("INSERT INTO taxi_rides VALUES (8540, $ride)");
my @events = $braid->events('rides');
is(scalar @events, 1, 'one insert is one message');
$event = $events[0];
is($event->{subject}, 'pgflow.postgres.public.taxi_rides', 'subject');
my $id = qr/"lsn":"([0-9A-F]+\/[0-9A-F]+)","seq":(\d+),"xid":(\d+),"ts":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"/;
like($event->{text}, $id, 'lsn, seq, xid and ts have the promised form');
my ($lsn, $seq, $xid, $ts) = $event->{text} =~ $id;
(my $rest = $event->{text}) =~ s/$id/.../;
Braid::is_json($event->{event}{after}, "{\"log_id\":8540,$ride_json}", 'after is the row');
like($rest, qr/^\{"op":"insert","schema":"public","table":"taxi_rides",\.\.\.,"key":\{"log_id":8540\},"after":\{"log_id":8540,.*\}\}$/,
	'the event has these members in this order, and no other');
is($seq, 1, 'the first change of its transaction');
is($braid->sql("SELECT xmin FROM taxi_rides WHERE log_id = 8540"), $xid, 'xid is the transaction');
is($braid->sql("SELECT abs(extract(epoch FROM now() - '$ts'::timestamptz)) < 60"), 't', 'ts is the commit time');

my $system = $braid->sql('SELECT system_identifier FROM pg_control_system()');
my $digits = sprintf '%08X%08X', map { hex } split /\//, $lsn;
like($event->{headers}{'Nats-Msg-Id'}, qr/^$system\.[^.]+\.$digits\.$seq$/, 'Nats-Msg-Id is system.epoch.lsn.seq');

# Another form of the same.
$braid->sql("CREATE TABLE blink (LIKE taxi_rides INCLUDING ALL);
	SELECT pgflow_create('rows', tables => '{blink}', format => 'rows')");
$braid->until_state('rows', 'streaming');
$braid->sql("INSERT INTO blink VALUES (8540, $ride)");
($event) = $braid->events('rows');
is($event->{text},
	'[{"_cq_sync_time":null,"distance_traveled":19.15,"driver_id":1,"duration":320,"end_location":"55 Schlimgen Road",'
	. '"fare_amount":309.56,"log_id":8540,"passenger_id":583,"payment_method":"cash","start_location":"87 Fisk Driv",'
	. '"timestamp":"08/18/2022"}]', 'format rows is an array with the row, its columns sorted');

# Transactions: order, counting, and what was rolled back.
$braid->sql('CREATE TABLE t (id int PRIMARY KEY, v text)');
$braid->sql("SELECT pgflow_create('t', tables => '{t}', snapshot => 'none')");
$braid->until_state('t', 'streaming');
$braid->sql("INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 5) i");
@events = $braid->events('t');
is(join(',', map { $_->{event}{seq} } @events), '1,2,3,4,5', 'a multi-row insert is counted');
is(scalar(keys %{ { map { $_->{event}{lsn} => 1 } @events } }), 1, 'all its events carry the LSN of the commit');
is(join(',', map { $_->{event}{after}{id} } @events), '1,2,3,4,5', 'in order');

$braid->sql("COPY t FROM stdin;\n6\tsix\n7\t\\N\n8\tei\\tght\n\\.\n");
@events = $braid->events('t');
is(join(',', map { $_->{event}{seq} } @events), '1,2,3', 'COPY is counted');
Braid::is_json([ map { $_->{event}{after} } @events ], '[{"id":6,"v":"six"},{"id":7,"v":null},{"id":8,"v":"ei\tght"}]', 'rows of COPY');

$braid->sql("BEGIN; INSERT INTO t VALUES (10, 'a'); SAVEPOINT s; INSERT INTO t VALUES (11, 'b'); ROLLBACK TO s;
	INSERT INTO t VALUES (12, 'c'); COMMIT");
@events = $braid->events('t');
is(join(',', map { $_->{event}{after}{id} } @events), '10,12', 'what a savepoint took back is not published');
is(join(',', map { $_->{event}{seq} } @events), '1,2', 'nor counted');

$braid->sql("BEGIN; INSERT INTO t VALUES (20, 'a'); ROLLBACK");
is(scalar(@events = $braid->events('t')), 0, 'nor what a transaction took back');

# A change of another table of the transaction counts, though it is not published.
$braid->sql('CREATE TABLE other (id int)');
$braid->sql('BEGIN; INSERT INTO other VALUES (1); INSERT INTO t VALUES (30); INSERT INTO other VALUES (2); INSERT INTO t VALUES (31); COMMIT');
is(join(',', map { $_->{event}{seq} } $braid->events('t')), '2,4', 'seq counts before any filter');

# Two tables, one transaction: one order.
$braid->sql("CREATE TABLE u (id int PRIMARY KEY); 
	SELECT pgflow_create('both', tables => '{t,u}', snapshot => 'none', subject => 'both.{table}')");
$braid->until_state('both', 'streaming');
$braid->sql('BEGIN; INSERT INTO t VALUES (40); INSERT INTO u VALUES (1); INSERT INTO t VALUES (41); COMMIT');
is(Braid::summary($braid->events('both')), 'insert public.t, insert public.u, insert public.t', 'events of tables keep their order');
is(scalar(@events = $braid->events('t')), 2, 'a table can be in two flows');

# Message ids can be left out.
$braid->sql("SELECT pgflow_create('plain', tables => '{u}', snapshot => 'none', subject => 'plain',
	options => '{\"message_id\": false}')");
$braid->until_state('plain', 'streaming');
$braid->sql('INSERT INTO u VALUES (2)');
($event) = $braid->events('plain');
ok(!exists $event->{headers}{'Nats-Msg-Id'}, 'message_id false leaves out Nats-Msg-Id');
is($event->{event}{after}{id}, 2, 'and nothing else');

done_testing;
