# One large row, then many small commits: the worker that is killed when the large one is stored, and of the others only a
# part, leaves out none of them.
use strict;
use warnings;

use Braid;
use Proxy;
use Test::More;

my $nats = NatsServer->new(config => 'max_payload: 8MB');
my $proxy = Proxy->new(port => $nats->port);
my $braid = Braid->new(nats => $nats, url => $proxy->url, conf => 'restart_after_crash = on');
$braid->sql('CREATE TABLE t (id int PRIMARY KEY, x text)');
$braid->sql("SELECT pgflow_create('large', tables => '{t}', snapshot => 'none')");
$braid->until_state('large', 'streaming');

# All of it waits when the worker starts.
$braid->sql("SELECT pgflow_pause('large')");
$braid->until_sql('SELECT count(*) FROM pg_replication_slots WHERE active', '0');
$braid->sql("INSERT INTO t VALUES (0, repeat('x', 4000000))");
$braid->sql('DO $$ BEGIN FOR i IN 1 .. 199 LOOP INSERT INTO t VALUES (i, i); COMMIT; END LOOP; END $$');

# The large message gets through, what follows it does not, somewhere in a small one.
$proxy->cut(4_010_000, then => 'hold');

# The server kills it, since it is the quickest to see the acknowledgement. That ends all sessions.
my $kill = <<'END';
DO $$ BEGIN
	WHILE (SELECT events_published = 0 FROM pgbraid.stat_flow) LOOP
	END LOOP;
	RAISE WARNING '% published', (SELECT events_published FROM pgbraid.stat_flow);
	EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', 'kill -9 ' || (SELECT pid FROM pgbraid.stat_flow));
	PERFORM pg_sleep(60);	-- the end of the worker ends this session
END $$
END
$braid->sql("SELECT pgflow_resume('large')");
my $error = $braid->error_of($kill);
like($error, qr/terminat/, 'the worker is killed');
like($error, qr/WARNING:.* 1 published/, 'when the large message is acknowledged, and none of the others');
$braid->until_sql('SELECT true');
$braid->until_state('large', 'streaming', 'and started again after crash recovery');

$proxy->pass;	# what the dead one had sent arrives now
$braid->wait_for('large');
my @ids = map { /"after":\{"id":(\d+)/ } $braid->payloads($braid->stream_of('large'));
is("@ids", join(' ', 0 .. 199), 'the large row and all that were committed after it are in the stream, once each');

done_testing();
