# The formats debezium and cloudevents, and several rows in one message, in all formats.
use strict;
use warnings;

use Braid;
use JSON::PP;
use Load;
use Test::More;

my $braid = Braid->new(conf => 'restart_after_crash = on');
my %flows;

sub create
{
	my ($flow, %options) = @_;
	my $options = $options{options} // '{}';
	$braid->sql("SELECT pgflow_create('$flow', tables => '{$options{table}}', format => '$options{format}', "
			. "subject => 'f.$flow.{table}" . ($options{subject} // '') . "', options => '$options')");
	$braid->until_state($flow, 'streaming');
	return;
}

sub payloads { return [ map { decode_json($_) } map { split /\n/, $_->{text} } @_ ] }
sub texts { return map { $_->{text} } @_ }

# Debezium: every operation.
$braid->sql("CREATE TABLE d (id int PRIMARY KEY, v text, big text); ALTER TABLE d ALTER big SET STORAGE EXTERNAL;
	INSERT INTO d VALUES (1, 'old', NULL)");
create('dbz', table => 'd', format => 'debezium');
$braid->sql("INSERT INTO d VALUES (2, 'a', repeat('x', 3000))");
$braid->sql("UPDATE d SET v = 'b' WHERE id = 2");
$braid->sql('UPDATE d SET id = 3 WHERE id = 2');
$braid->sql('DELETE FROM d WHERE id = 3');
$braid->sql('TRUNCATE d');
my @messages = $braid->events('dbz');
my @events = @{ payloads(@messages) };
is(join(' ', map { $_->{op} } @events), 'r c u u d t', 'debezium: operations');
Braid::is_json([ map { [ $_->{before}, $_->{after} ] } @events ],
	[
		[ undef, { id => 1, v => 'old', big => undef } ],
		[ undef, { id => 2, v => 'a', big => 'x' x 3000 } ],
		[ undef, { id => 2, v => 'b', big => '__debezium_unavailable_value' } ],
		[ { id => 2 }, { id => 3, v => 'b', big => '__debezium_unavailable_value' } ],
		[ { id => 3 }, undef ],
		[ undef, undef ]
	],
	'debezium: before and after');
my ($snapshot, $insert) = @events;
is($snapshot->{source}{snapshot}, 'true', 'debezium: a row of the snapshot says so');
is($insert->{source}{snapshot}, 'false', 'debezium: a change does not');
Braid::is_json(
	{ map { $_ => $insert->{source}{$_} } qw(connector name db schema table xmin) },
	'{"connector":"postgresql","name":"dbz","db":"postgres","schema":"public","table":"d","xmin":null}',
	'debezium: source');
like($insert->{source}{version}, qr/^\d+\.\d+/, 'debezium: version');
is($insert->{source}{sequence} =~ /^\["(\d+)","(\d+)"\]$/ && $2, $insert->{source}{lsn}, 'debezium: sequence ends in the lsn');
cmp_ok($1, '>', $2, 'debezium: and begins with the lsn of the commit');
my @lsns = map { $_->{source}{lsn} } @events[ 1 .. 5 ];
is("@lsns", join(' ', sort { $a <=> $b } @lsns), 'debezium: lsns grow');
cmp_ok($insert->{source}{txId}, '>', 0, 'debezium: txId');
is($insert->{ts_ms}, $insert->{source}{ts_ms}, 'debezium: the time is that of the commit');
is($insert->{ts_us}, substr($insert->{source}{ts_ns}, 0, -3), 'debezium: in three units');
ok(exists $insert->{transaction} && !defined $insert->{transaction}, 'debezium: transaction is null');
cmp_ok(abs($insert->{ts_ms} / 1000 - time), '<', 600, 'debezium: since 1970');

# CloudEvents.
$braid->sql(q{CREATE TABLE "c é" (id int PRIMARY KEY, v text); INSERT INTO "c é" VALUES (1, 'old')});
create('ce', table => '"\"c é\""', format => 'cloudevents');
$braid->sql(q{INSERT INTO "c é" VALUES (2, 'a'); UPDATE "c é" SET id = 3 WHERE id = 2; DELETE FROM "c é" WHERE id = 3; TRUNCATE "c é"});
@messages = $braid->events('ce');
is(join(' ', map { $_->{headers}{'ce-type'} } @messages),
	'pgbraid.snapshot pgbraid.insert pgbraid.update pgbraid.delete pgbraid.truncate', 'cloudevents: types');
is(join("\n", texts(@messages)), <<'END' =~ s/\n\z//r, 'cloudevents: data');
{"op":"snapshot","key":{"id":1},"after":{"id":1,"v":"old"}}
{"op":"insert","key":{"id":2},"after":{"id":2,"v":"a"}}
{"op":"update","key":{"id":3},"after":{"id":3,"v":"a"},"before":{"id":2}}
{"op":"delete","key":{"id":3},"before":{"id":3}}
{"op":"truncate"}
END
for my $message (@messages)
{
	my %headers = %{ $message->{headers} };
	is($headers{'ce-id'}, $headers{'Nats-Msg-Id'}, 'cloudevents: the id is that of the message');
	like($headers{'ce-time'}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, 'cloudevents: time');
}
my $system = $braid->sql('SELECT system_identifier FROM pg_control_system()');
my %headers = %{ $messages[1]{headers} };
is($headers{'ce-source'}, "pgbraid://$system/postgres/ce", 'cloudevents: source');
is($headers{'ce-subject'}, 'public.c%20%C3%A9', 'cloudevents: subject, percent-encoded');
is($headers{'ce-specversion'}, '1.0', 'cloudevents: version');
is("$headers{'content-type'} $headers{'ce-datacontenttype'}", 'application/json application/json', 'cloudevents: type of the data');

# Packs.
for my $format (qw(json rows debezium cloudevents))
{
	my $flow = "pack_$format";
	$braid->sql("CREATE TABLE t_$format (id int PRIMARY KEY, v text); CREATE TABLE u_$format (id int PRIMARY KEY);
		INSERT INTO t_$format SELECT g, 'old' FROM generate_series(1, 5) g");
	create($flow, table => "t_$format,u_$format", format => $format, options => '{"rows_per_message": 3}');
	$flows{$format} = [ $braid->events($flow) ];
	$braid->sql("BEGIN; INSERT INTO t_$format SELECT g FROM generate_series(6, 9) g; UPDATE t_$format SET v = 'u' WHERE id > 7;
		INSERT INTO u_$format VALUES (1), (2); INSERT INTO t_$format VALUES (10); TRUNCATE u_$format; DELETE FROM t_$format WHERE id < 3; COMMIT");
	$braid->sql("INSERT INTO u_$format VALUES (3)");
	push @{ $flows{$format} }, $braid->events($flow);
}

sub sizes { return join ' ', map { scalar(() = $_->{text} =~ /\n/g) + 1 } @_ }
my @json = @{ $flows{json} };
is(sizes(@json), '3 2 3 3 2 1 1 2 1', 'json: three rows in a message, of one table and transaction');
is(join(' ', map { $_->{event} && $_->{event}{op} || '-' } @json), '- - - - - insert truncate - insert', 'json: truncate is alone');
is(join(' ', map { $_->{seq} // '' } @{ payloads($json[3]) }), '4 5 6', 'json: a line is an event as ever');
is($json[3]{headers}{'Nats-Msg-Id'} =~ /\.(\d+)$/ && $1, 6, 'json: the id is that of the last row');
is(sizes(@{ $flows{debezium} }), '3 2 3 3 2 1 1 2 1', 'debezium: as json');
is(join('', map { $_->{op} } @{ payloads(@{ $flows{debezium} }) }), 'rrrrrccccuuccctddc', 'debezium: all rows');
is(join(' ', map { "$_->{headers}{'Pgbraid-Op'}=" . @{ $_->{event} } } @{ $flows{rows} }),
	'snapshot=3 snapshot=2 insert=3 insert=1 update=2 insert=2 insert=1 truncate=0 delete=2 insert=1',
	'rows: arrays of one operation each');
is($flows{rows}[6]{text}, '[{"id":10,"v":null}]', 'rows: one row');
is(join(' ', map { "$_->{headers}{'ce-type'}=" . (() = $_->{text} =~ /"op"/g) } @{ $flows{cloudevents} }),
	'pgbraid.snapshot=3 pgbraid.snapshot=2 pgbraid.insert=3 pgbraid.insert=1 pgbraid.update=2 pgbraid.insert=2 pgbraid.insert=1 '
		. 'pgbraid.truncate=1 pgbraid.delete=2 pgbraid.insert=1',
	'cloudevents: one operation each');
is((grep { $_->{headers}{'content-type'} eq 'application/x-ndjson' && $_->{headers}{'ce-id'} eq $_->{headers}{'Nats-Msg-Id'} }
			@{ $flows{cloudevents} }), 10, 'cloudevents: lines of JSON, with the id of the last');

# A subject by key: another key, another message.
$braid->sql('CREATE TABLE k (id int, n int, PRIMARY KEY (id, n))');
create('pack_key', table => 'k', format => 'json', subject => '.{key}', options => '{"rows_per_message": 100}');
$braid->sql('INSERT INTO k VALUES (1, 1); UPDATE k SET n = 1; INSERT INTO k VALUES (2, 1)');
$braid->sql('BEGIN; UPDATE k SET n = 1 WHERE id = 1; UPDATE k SET n = 1 WHERE id = 1; UPDATE k SET n = 1 WHERE id = 2; COMMIT');
@messages = $braid->events('pack_key');
is(join(' ', map { $_->{subject} } @messages), join(' ', map { "f.pack_key.k.$_" } '1,1', '1,1', '2,1', '1,1', '2,1'), 'a message has one subject');
is(sizes(@messages), '1 1 1 2 1', 'packed by key');

# Bytes are bounded, and a row that is larger goes alone.
$braid->sql('CREATE TABLE wide (id int PRIMARY KEY, v text)');
create('pack_wide', table => 'wide', format => 'json', options => '{"rows_per_message": 10000}');
$braid->sql("INSERT INTO wide SELECT g, repeat('x', CASE g WHEN 30 THEN 500000 ELSE 20000 END) FROM generate_series(1, 60) g");
@messages = $braid->events('pack_wide');
is(join(' ', map { $_->{after}{id} } @{ payloads(@messages) }), join(' ', 1 .. 60), 'wide rows arrive in order');
cmp_ok((sort { $b <=> $a } map { length } grep { !/"id":30,/ } texts(@messages))[0], '<=', 256 * 1024, 'in messages of at most 256 kB');
is((grep { /"id":30,/ } texts(@messages))[0] =~ tr/\n//, 0, 'the widest alone');

# The server takes less.
$braid->nats->stop;
$braid->nats->configure('max_payload: 65536');
$braid->nats->start;
$braid->sql("INSERT INTO wide SELECT g, repeat('y', 20000) FROM generate_series(101, 120) g");
@messages = $braid->events('pack_wide');
is(join(' ', map { $_->{after}{id} } @{ payloads(@messages) }), join(' ', 101 .. 120), 'packs fit into what the server takes');
is((sort { $b <=> $a } map { tr/\n// } texts(@messages))[0], 2, 'and use it');
$braid->nats->stop;
$braid->nats->configure('');
$braid->nats->start;

# Killed while it packs: every row once.
Load::create($braid, 'load', options => q('{"rows_per_message": 17}'));
my $load = Load::start($braid);
sub worker_pid { return $braid->sql("SELECT pid FROM pgbraid.stat_flow WHERE flow = 'load' AND pid IS NOT NULL") }
for my $round (1 .. 4)
{
	Load::wait_for_rows($braid, 1000);
	$braid->sql("INSERT INTO b (n, x) SELECT g, 'kept' FROM generate_series(1, 20000) g");
	my $pid = worker_pid();
	$braid->sql("SELECT pg_terminate_backend($pid)");
	$braid->until_sql("SELECT count(*) FROM pgbraid.stat_flow WHERE flow = 'load' AND pid <> $pid AND state = 'streaming'", '1');
}
$braid->kill_worker('load');
Load::finish($load);
Load::is_exactly_published($braid, 'load', 'packs');
my $messages = $braid->nats->stream_state($braid->stream_of('load'))->{messages};
cmp_ok($messages, '<', Load::committed($braid) / 5, 'in far fewer messages than rows');

done_testing();
