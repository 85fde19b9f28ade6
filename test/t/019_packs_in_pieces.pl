# Rows of a snapshot that share messages, before one so large that it goes in pieces: a worker that dies amid those pieces
# is followed by one that does not tell the rows before them again.
use strict;
use warnings;

use Braid;
use Proxy;
use Test::More;
use Until;

my $nats = NatsServer->new(config => 'max_payload: 16KB');
my $proxy = Proxy->new(port => $nats->port);
my $braid = Braid->new(nats => $nats, url => $proxy->url, conf => 'restart_after_crash = on');
$braid->sql(<<'END');
CREATE TABLE big (id int PRIMARY KEY, body text);
INSERT INTO big SELECT g, CASE WHEN g = 15 THEN repeat('0123456789', 200000) ELSE 'small' END FROM generate_series(1, 30) g;
SELECT pgflow_create('packs', tables => '{big}', snapshot => 'none', options => '{"rows_per_message": 3, "schema_events": "none"}');
END
$braid->until_state('packs', 'streaming');
my $stream = $braid->stream_of('packs');

$proxy->cut(500_000, then => 'hold');
$braid->sql("SELECT pgflow_snapshot('packs')");
until_true(sub { ($nats->stream_state($stream) // {})->{last_seq} > 10 }, 'some pieces are there');
my ($last) = ($braid->messages($stream, url => $nats->url))[-1];
like($last->{headers}{'Pgbraid-Part'}, qr/^\d+\//, 'the stream ends amid the pieces');
kill 'KILL', $braid->worker_pid('packs');
$proxy->pass;
$braid->until_sql('SELECT finished_at IS NOT NULL FROM pgbraid.flow_snapshots', 't', 'the snapshot is finished by another worker');
my @told = map { my $text = $_->{text}; $text =~ /"after":\{"id":(\d+),"body"/g } Braid::assembled($braid->messages($stream, url => $nats->url));
is("@told", join(' ', 1 .. 30), 'each row once');

done_testing();
