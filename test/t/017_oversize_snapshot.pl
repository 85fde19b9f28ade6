# A snapshot with rows that are larger than a message may be, whose worker dies amid their pieces: each row is there once.
use strict;
use warnings;

use Braid;
use Digest::MD5 qw(md5_hex);
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new(conf => "restart_after_crash = on\n");
my $node = $braid->node;
$braid->nats->configure('max_payload: 16KB');
$braid->nats->restart;

# Small rows before a large one in the same piece of the table, so that there is something that could come twice.
$braid->sql(<<'END');
CREATE TABLE big (id int PRIMARY KEY, body text);
INSERT INTO big SELECT g, (SELECT left(string_agg(md5(random()::text || g || i), ''), CASE WHEN g = 15 THEN 12000000 ELSE 100 END)
	FROM generate_series(1, CASE WHEN g = 15 THEN 376000 ELSE 4 END) i) FROM generate_series(1, 30) g;
SELECT pgflow_create('big', tables => '{big}', snapshot => 'none', options => '{"schema_events": "all"}');
END
$braid->until_state('big', 'streaming');
my $rows = $braid->sql('SELECT string_agg(id || md5(body), E\'\n\' ORDER BY id) FROM big');
my $stream = $braid->stream_of('big');

my ($abandoned, $seen) = (0, 0);
for my $round (1 .. 8)
{
	my $snapshot = $braid->sql("SELECT pgflow_snapshot('big')");
	for (1 .. 20000)
	{
		last if $braid->nats->stream_state($stream)->{last_seq} >= $seen + 15 + 100 * ($round % 4);
		select undef, undef, undef, 0.001;
	}
	ok($braid->kill_worker('big'), "round $round: killed");
	$braid->until_sql("SELECT finished_at IS NOT NULL FROM pgbraid.flow_snapshots WHERE id = $snapshot", 't');
	my @raw = grep { $_->{stream_seq} > $seen } $braid->messages($stream);
	my @schemas = grep { ($_->{headers}{'Pgbraid-Op'} // '') eq 'schema' } @raw;
	is(scalar(@schemas), $round == 1 ? 1 : 0, "round $round: the shape is told once");
	my @whole = Braid::assembled(@raw);
	my $parts = 0;
	$parts += $_->{parts} // 1 for @whole;
	$abandoned++ if $parts < @raw;
	my @told = map { $_->{text} =~ /"after":\{"id":(\d+),"body":"(\w*)"\}/ ? [ $1, md5_hex($2) ] : () } @whole;
	is(join("\n", map { $_->[0] . $_->[1] } sort { $a->[0] <=> $b->[0] } @told), $rows, "round $round: each row, whole, once");
	my %ids;
	$ids{ $_->{headers}{'Nats-Msg-Id'} }++ for @raw;
	is(scalar(grep { $_ > 1 } values %ids), 0, "round $round: no id twice");
	$seen = $raw[-1]{stream_seq};
	last if $abandoned >= 2;
}
note("died amid the pieces of a row $abandoned times");

# Changes go on after that.
$braid->sql("INSERT INTO big VALUES (100, 'after')");
$braid->wait_for('big');
my ($last) = ($braid->messages($stream))[-1];
is($last->{event}{after}{id}, 100, 'and changes after it');

done_testing();
