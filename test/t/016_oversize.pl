# Rows that are larger than a message of NATS may be: in pieces, put aside, or in nobody's way.
use strict;
use warnings;

use Braid;
use Digest::MD5 qw(md5_hex);
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(conf => "restart_after_crash = on\n");
my $node = $braid->node;

# Text that compresses badly, so that it is stored out of line as well.
$braid->sql(<<'END');
CREATE TABLE big (id int PRIMARY KEY, note text, body text);
CREATE FUNCTION noise(bytes int) RETURNS text LANGUAGE sql VOLATILE AS
	$$ SELECT left(string_agg(md5(random()::text), ''), bytes) FROM generate_series(1, bytes / 32 + 1) $$;
END

# What the table holds, and what the last event of each row in the stream says, whole.
sub is_whole
{
	my ($flow, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @rows = split /\n/, $braid->sql('SELECT id, md5(body), length(body) FROM big ORDER BY id');
	my %seen;
	for my $message ($braid->messages($braid->stream_of($flow), assemble => 1))
	{
		my ($id, $body) = $message->{text} =~ /"after":\{"id":(\d+),"note":"\w+","body":"(\w*)"\}/ or next;
		$seen{$id} = join '|', $id, md5_hex($body), length $body;
	}
	is(join("\n", map { $seen{ (split /\|/)[0] } // 'missing' } @rows), join("\n", @rows), $name);
	return;
}

# Pieces follow each other, ids are never used twice, and no event is there twice.
sub is_in_order
{
	my ($flow, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @raw = $braid->messages($braid->stream_of($flow));
	my %ids;
	$ids{ $_->{headers}{'Nats-Msg-Id'} }++ for @raw;
	is(scalar(grep { $_ > 1 } values %ids), 0, "$name: no id twice");
	my (%events, $twice);
	for my $message (Braid::assembled(@raw))
	{
		my $event = $message->{event};
		$twice .= "$event->{lsn} $event->{seq}, " if $events{"$event->{lsn} $event->{seq} $event->{op}"}++;
	}
	is($twice, undef, "$name: no event twice");
	return @raw;
}

# The rows that are there, then changes; a row of 1 MB less a bit does not fit either, since headers count.
$braid->sql("INSERT INTO big SELECT g, 'there', noise(g * 1000000) FROM generate_series(1, 4) g");
$braid->sql("SELECT pgflow_create('big', tables => '{big}')");
$braid->until_state('big', 'streaming');
$braid->sql("INSERT INTO big VALUES (10, 'small', 'x'), (11, 'four', noise(4000000)), (12, 'just', noise(1048576 - 300)), (13, 'small', 'y')");
$braid->wait_for('big');
is_whole('big', 'every row is there, whole');
my @raw = is_in_order('big', 'in pieces');
my @pieces = grep { $_->{headers}{'Pgbraid-Part'} } @raw;
cmp_ok(scalar(@pieces), '>=', 2 + 3 + 4 + 4 + 2, 'those that are large are in pieces');
like($pieces[0]{headers}{'Pgbraid-Part'}, qr{^1/\d+$}, 'the first says which it is');
my ($first_whole) = grep { $_->{parts} > 1 } Braid::assembled(@raw);
is($pieces[0]{headers}{'Pgbraid-Size'}, length $first_whole->{text}, 'and how large the whole is');

# In the whole payload is what to_jsonb shows.
my ($whole) = grep { $_->{text} =~ /"id":11,/ } $braid->messages($braid->stream_of('big'), assemble => 1);
my ($after) = $whole->{text} =~ /"after":(\{.*\})\}$/s;
is(md5_hex($after), $braid->sql("SELECT md5(replace(replace(to_json(b)::text, '\": ', '\":'), ', \"', ',\"')) FROM big b WHERE id = 11"), 'the row is what to_json shows');
is($whole->{parts}, 4, 'it took four pieces');

# Killed in the middle of the pieces: NATS is stopped as soon as some have been stored, the worker killed, and both come
# back. Small pieces make the middle wide.
$braid->nats->configure('max_payload: 64KB');
$braid->nats->restart;
my $stream = $braid->stream_of('big');
for my $round (1 .. 5)
{
	my $before = $braid->nats->stream_state($stream)->{last_seq};
	my $psql = $node->background_psql('postgres');
	$psql->query_until(qr/begun/, "\\echo begun\nINSERT INTO big SELECT 100 * $round + g, 'killed', noise(2000000) FROM generate_series(1, 2) g;\n");
	my $now = $before;
	for (1 .. 6000)
	{
		$now = $braid->nats->stream_state($stream)->{last_seq};
		last if $now > $before + 5 * $round;
		select undef, undef, undef, 0.005;
	}
	ok($braid->kill_worker('big'), "round $round: streams again");
	eval { $psql->quit };
	$braid->wait_for('big');
}
is_whole('big', 'killed amid the pieces 5 times: every row is there, whole');
@raw = is_in_order('big', 'after that');

# A worker that finds another limit than its predecessor had cuts anew.
for my $limit ('256KB', '32KB', '100KB')
{
	my $before = $braid->nats->stream_state($stream)->{last_seq};
	my $last = $before;
	my $id = $braid->sql('SELECT max(id) + 1 FROM big');
	my $psql = $node->background_psql('postgres');
	$psql->query_until(qr/begun/, "\\echo begun\nINSERT INTO big VALUES ($id, 'limits', noise(3000000));\n");
	for (1 .. 6000)
	{
		$last = $braid->nats->stream_state($stream)->{last_seq};
		last if $last > $before + 3;
		select undef, undef, undef, 0.002;
	}
	$braid->nats->kill9;
	$braid->nats->configure("max_payload: $limit");
	$psql->quit;
	$braid->nats->start;
	$braid->wait_for('big');
}
is_whole('big', 'limits that change in the middle');
@raw = is_in_order('big', 'with other limits');
note(scalar(grep { ($_->{headers}{'Pgbraid-Part'} // '') =~ m{^1/} && $_->{headers}{'Nats-Msg-Id'} !~ /\.1$/ } @raw), ' times pieces began anew');
$braid->until_state('big', 'streaming', 'nothing stopped for good');

# Put aside: a stub stands for the row, and its letter can be published later.
$braid->nats->configure('max_payload: 64KB');
$braid->nats->restart;
$braid->wait_for('big');
$braid->sql("SELECT pgflow_drop('big')");
$braid->sql('CREATE TABLE l (id int PRIMARY KEY, body text); CREATE PUBLICATION everything FOR ALL TABLES');
$braid->sql("SELECT pgflow_create('l', publication => 'everything', snapshot => 'none', subject => 'l.{table}', options => '{\"oversize\": \"dead_letter\", \"messages\": true, \"message_subject\": \"l.message\"}')");
$braid->until_state('l', 'streaming');
$braid->sql("BEGIN; INSERT INTO l VALUES (1, 'small'), (2, noise(200000)), (3, 'small'); SELECT pg_logical_emit_message(true, 'app', noise(100000)); COMMIT");
my @events = $braid->events('l');
is(scalar(@events), 4, 'something stands for each');
is($events[1]{headers}{'Pgbraid-Oversize'}, $events[1]{event}{oversize}, 'what stands for a large one says how large it is');
is($events[1]{event}{key}{id}, 2, 'and which row it is');
ok(!exists $events[1]{event}{after}, 'without the row');
is($events[3]{event}{prefix}, 'app', 'a message has its prefix');
$braid->until_sql('SELECT count(*) FROM pgbraid.dead_letters', 2, 'two letters');
is($braid->sql("SELECT op, subject, size = octet_length(payload), lsn::text, seq, reason ~ '65536' FROM pgbraid.dead_letters ORDER BY id"),
	"insert|l.l|t|$events[1]{event}{lsn}|2|t\nmessage|l.message|t|$events[1]{event}{lsn}|4|t", 'what is known of them');
is($braid->sql("SELECT convert_from(payload, 'UTF8')::json->'after'->>'body' = body FROM pgbraid.dead_letters, l WHERE op = 'insert' AND l.id = 2"), 't', 'the whole payload');
is($braid->sql('SELECT size FROM pgbraid.dead_letters ORDER BY id LIMIT 1'), $events[1]{event}{oversize}, 'its size');

# Killed right after such rows: each is put aside once.
for my $round (1 .. 3)
{
	$braid->sql("INSERT INTO l SELECT $round * 100 + g, noise(100000) FROM generate_series(1, 20) g");
	ok($braid->kill_worker('l'), "round $round: streams again");
}
@events = $braid->events('l');
is(scalar(grep { $_->{event}{oversize} } @events), 60, 'killed: each has its stub, once');
$braid->until_sql("SELECT count(*), count(DISTINCT convert_from(payload, 'UTF8')::json->'key'->>'id') FROM pgbraid.dead_letters WHERE op = 'insert'", '61|61', 'and its letter, once');

# Published after all: in pieces where it is still too large.
is($braid->sql("SELECT pgflow_redrive('l', (SELECT min(id) FROM pgbraid.dead_letters))"), 1, 'one');
$braid->wait_for('l');
my ($driven) = grep { $_->{headers}{'Pgbraid-Redrive'} } $braid->messages($braid->stream_of('l'), assemble => 1);
is("$driven->{subject} $driven->{parts}", 'l.l 4', 'in pieces, on its subject');
is(md5_hex($driven->{text}), $braid->sql('SELECT md5(payload) FROM pgbraid.dead_letters ORDER BY id LIMIT 1'), 'its payload');
is($braid->sql('SELECT count(*) FROM pgbraid.dead_letters WHERE redriven_at IS NOT NULL'), 1, 'it is marked');
is($braid->sql("SELECT pgflow_redrive('l')"), 61, 'the others');
for (1 .. 2)
{
	ok($braid->kill_worker('l'), 'killed amid them');
}
$braid->wait_for('l');
my %driven;
$driven{ $_->{headers}{'Pgbraid-Redrive'} }++ for grep { $_->{headers}{'Pgbraid-Redrive'} } $braid->messages($braid->stream_of('l'), assemble => 1);
is(join(' ', sort { $a <=> $b } keys %driven), $braid->sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM pgbraid.dead_letters"), 'every letter was published');
is(scalar(grep { $_ > 1 } values %driven), 0, 'once');
is($braid->sql("SELECT pgflow_redrive('l'), (SELECT count(*) FROM pgbraid.redrives)"), '0|0', 'nothing is left');
$braid->refuses("SELECT pgflow_redrive('l', 99999)", '42704', 'pgbraid.dead_letters', 'a letter that is not there');
is(scalar(grep { $_->{subject} =~ /^l\.(?!l$|message$)/ } $braid->messages($braid->stream_of('l'))), 0, 'FOR ALL TABLES lets no table of the extension out');

# Many at a time are held in a file.
$braid->sql("ALTER SYSTEM SET pgbraid.flow_memory = '1MB'; SELECT pg_reload_conf()");
$braid->until_sql("SELECT setting FROM pg_settings WHERE name = 'pgbraid.flow_memory'", 1024);
$braid->wait_for('l');
my $many = "FROM pgbraid.dead_letters JOIN l ON l.id = (convert_from(payload, 'UTF8')::json->'key'->>'id')::int WHERE l.id > 1000";
$braid->sql('INSERT INTO l SELECT 1000 + g, noise(100000) FROM generate_series(1, 40) g');
$braid->wait_for('l');
$braid->until_sql("SELECT count(*) $many", 40, 'many letters');
is($braid->sql("SELECT count(*) $many AND body = convert_from(payload, 'UTF8')::json->'after'->>'body'"), 40, 'each with its payload');

# The flow stops, and says why.
$braid->sql("SELECT pgflow_alter('l', options => '{\"oversize\": \"stop\"}'); INSERT INTO l VALUES (5000, noise(100000))");
$braid->until_sql("SELECT last_sqlstate FROM pgbraid.stat_flow WHERE flow = 'l'", '54000', 'stop: an error');
$braid->sql("SELECT pgflow_alter('l', options => '{\"oversize\": \"split\"}')");
$braid->wait_for('l');
pass('and it goes on as it is told');

# Anybody may write a message, with any prefix.
$braid->sql("SELECT pgflow_create('any', tables => '{l}', snapshot => 'none', stream => 'any', subject => 'any', options => '{\"messages\": true, \"message_subject\": \"any.{prefix}\", \"oversize\": \"dead_letter\", \"schema_events\": \"none\"}')");
$braid->until_state('any', 'streaming');
$braid->sql("SELECT pg_logical_emit_message(true, repeat('p', n), 'x') FROM unnest('{5000,200000}'::int[]) n");
my @any = $braid->events('any');
is(join(' ', map { length $_->{subject} } @any), '132 132', 'a long prefix is no long subject');
is(join(' ', map { length $_->{event}{prefix} } @any), '5000 255', 'and is cut where the message was too large');
is($any[1]{event}{oversize} > 200000, 1, 'which says so');

done_testing();
