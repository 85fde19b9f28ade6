# The disk of the NATS server is full: the flow waits and says why, and when there is room again everything is in the
# stream, once.
use strict;
use warnings;

use Braid;
use IPC::Run;
use Load;
use NatsServer;
use PostgreSQL::Test::Utils;
use Test::More;

# A disk of its own, in a mount namespace that a process holds; who need not be root for that.
my $disk = PostgreSQL::Test::Utils::tempdir('disk');
my ($in, $out, $err) = ('', '', '');
my $holder = IPC::Run::start([ 'unshare', '-Urm', 'sh', '-c', "mount -t tmpfs -o size=128m tmpfs '$disk' && echo \$\$ && exec cat" ],
	'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(3600));
$holder->pump until $out =~ /^(\d+)\n/ || !$holder->pumpable;
my ($pid) = $out =~ /^(\d+)\n/;
if (!$pid)
{
	eval { $holder->finish };
	plan skip_all => 'a file system can\'t be mounted here';
}
my @inside = ('nsenter', '-t', $pid, '-U', '-m', '--preserve-credentials');

sub fill { IPC::Run::run([ @inside, 'sh', '-c', "head -c $_[0] /dev/zero > '$disk/filler'" ], '2>', \my $ignored); return }
sub make_room { IPC::Run::run([ @inside, 'rm', '-f', "$disk/filler" ]) or die 'rm failed'; return }

my $wrapper = "$disk.sh";
append_to_file($wrapper, "#!/bin/sh\nexec @inside nats-server \"\$@\"\n");
chmod 0755, $wrapper;
$ENV{NATS_SERVER} = $wrapper;
my $nats = NatsServer->new(jetstream => 0, config => "jetstream { store_dir: \"$disk/store\", max_file_store: 1GB }\n");
my $braid = Braid->new(nats => $nats, conf => "restart_after_crash = on\n");

Load::create($braid, 'load');
my $load = Load::start($braid, rate => 100);
Load::wait_for_rows($braid, 500);
$braid->wait_for('load');
for my $round (1, 2)
{
	my $since = $braid->sql('SELECT clock_timestamp()');
	fill('200M');
	$braid->sql("INSERT INTO b (n, x) SELECT g, repeat('k', 1000) FROM generate_series(1, 4000) g") for 1 .. 4;
	$braid->until_sql("SELECT last_error_at > '$since' AND lag_bytes > 4000000 FROM pgbraid.stat_flow WHERE flow = 'load'", 't',
		"round $round: the flow waits");
	note($braid->report);
	isnt($braid->sql("SELECT state FROM pgbraid.stat_flow WHERE flow = 'load'"), 'lost', 'it is not lost');
	is($braid->sql("SELECT pgflow_wait('load', timeout => '2 s')"), 'f', 'nor does it say that all is stored');
	isnt($braid->sql("SELECT last_hint FROM pgbraid.stat_flow WHERE flow = 'load'"), '', 'it says what to do');
	make_room();
	$nats->kill9;	# a server whose disk was full may hang, or have switched JetStream off
	$nats->start;
	$braid->until_sql("SELECT state = 'streaming' AND lag_bytes < 4000000 FROM pgbraid.stat_flow WHERE flow = 'load'", 't', 'there is room: it goes on');
}
Load::stop($load);
Load::is_exactly_published($braid, 'load', 'after a full disk');
$nats->stop;
$holder->kill_kill;
done_testing();
