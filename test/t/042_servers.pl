# The ways to reach NATS: server objects and user mappings, with each kind of proof of identity, TLS, and several URLs.
use strict;
use warnings;

use Braid;
use Cwd ();
use NatsServer;
use PostgreSQL::Test::Utils;
use Test::More;

my $braid = Braid->new;
$braid->sql('CREATE TABLE t (id int PRIMARY KEY)');
# Files are named by absolute paths.
my $directory = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir('keys'));

sub shell { system(@_) == 0 or die "failed: @_"; return; }

# A flow by a server object with these options; it must stream and store, or show an error.
sub reaches
{
	my ($name, $url, $server, $mapping, $error) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $list = sub { my ($o) = @_; return join ', ', map { "$_ '$o->{$_}'" } sort keys %$o };
	$braid->sql("BEGIN; CREATE SERVER $name FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (" . $list->({ url => $url, %$server }) . ');'
		. (%$mapping ? "CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS (" . $list->($mapping) . ');' : '')
		. "SELECT pgflow_create('$name', tables => '{t}', server => '$name', snapshot => 'none', subject => '$name.{table}'); COMMIT");
	if ($error)
	{
		$braid->until_sql("SELECT last_error ~* '$error' AND last_hint <> '' AND last_sqlstate <> '' FROM pgbraid.stat_flow WHERE flow = '$name'", 't', "$name is refused")
			or diag($braid->report);
	}
	elsif ($braid->until_state($name, 'streaming'))
	{
		$braid->sql('INSERT INTO t SELECT count(*) FROM t');
		$braid->wait_for($name);
		is($braid->sql("SELECT events_published FROM pgbraid.stat_flow WHERE flow = '$name'"), 1, "$name publishes");
		is($braid->sql("SELECT bool_and(ok) FROM pgflow_check('$name')"), 't', "pgflow_check reaches $name");
	}
	$braid->sql("SELECT pgflow_drop('$name'); DROP SERVER $name CASCADE");
	return;
}

# An nkey: base32 of a prefix, the bytes and their CRC. The key itself is made by openssl.
sub base32
{
	my ($bytes) = @_;
	my $bits = unpack 'B*', $bytes;
	$bits .= '0' while length($bits) % 5;
	return join '', map { ('A' .. 'Z', 2 .. 7)[ oct "0b$_" ] } $bits =~ /(.{5})/g;
}

sub with_crc
{
	my ($bytes) = @_;
	my $crc = 0;
	for my $byte (unpack 'C*', $bytes)
	{
		$crc ^= $byte << 8;
		$crc = ($crc & 0x8000 ? $crc << 1 ^ 0x1021 : $crc << 1) & 0xffff for 1 .. 8;
	}
	return base32($bytes . pack 'v', $crc);
}

shell("openssl genpkey -algorithm ed25519 -outform DER -out $directory/nkey.der 2>/dev/null");
shell("openssl pkey -inform DER -in $directory/nkey.der -pubout -outform DER -out $directory/nkey.pub 2>/dev/null");
my ($private, $public) = map { substr slurp_file("$directory/$_"), -32 } qw(nkey.der nkey.pub);
my $nkey = with_crc("\xa0$public");
append_to_file("$directory/seed", with_crc("\x95\x00$private") . "\n");
chmod 0600, "$directory/seed";

my $users = NatsServer->new(config => "authorization { users: [ { user: u, password: 'p\@ss:w\"ord' }, { nkey: $nkey } ] }");
reaches('password', $users->url, {}, { user => 'u', password => 'p@ss:w"ord' });
reaches('in_url', $users->url('u:p%40ss%3Aw%22ord@'), {}, {});
reaches('nkey', $users->url, {}, { nkey_seed_file => "$directory/seed" });
reaches('no_seed', $users->url, {}, { nkey_seed_file => "$directory/none" }, 'could not read file');
my $token = NatsServer->new(config => 'authorization { token: "s3cr3t" }');
reaches('token', $token->url, {}, { token => 's3cr3t' });
reaches('wrong_token', $token->url, {}, { token => 'x' }, 'refuses');

# The first of the list is dead.
reaches('several', 'nats://127.0.0.1:1, ' . $braid->nats->url, {}, {});

# TLS: an authority, a certificate of the server and one of a client, and another authority.
for my $ca (qw(ca other))
{
	shell("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$ca -keyout $directory/$ca.key -out $directory/$ca.pem 2>/dev/null");
}
append_to_file("$directory/names", "subjectAltName=IP:127.0.0.1\n");
for my $who (qw(server client))
{
	shell("openssl req -newkey rsa:2048 -nodes -subj /CN=$who -keyout $directory/$who.key -out $directory/$who.csr 2>/dev/null");
	shell("openssl x509 -req -days 2 -in $directory/$who.csr -CA $directory/ca.pem -CAkey $directory/ca.key -CAcreateserial -extfile $directory/names -out $directory/$who.pem 2>/dev/null");
}
my $files = "cert_file: '$directory/server.pem', key_file: '$directory/server.key', ca_file: '$directory/ca.pem'";
my $tls = NatsServer->new(config => "tls { $files }", scheme => 'tls');
reaches('tls', $tls->url, { tls_ca => "$directory/ca.pem" }, {});
reaches('wrong_ca', $tls->url, { tls_ca => "$directory/other.pem" }, {}, 'secure|certificate|verif');
reaches('no_ca', $tls->url, {}, {}, 'secure|certificate|verif');
reaches('no_tls', 'tls://127.0.0.1:' . $braid->nats->port, { tls_ca => "$directory/ca.pem" }, {}, 'does not offer TLS');
my $mutual = NatsServer->new(config => "tls { $files, verify: true }", scheme => 'tls');
reaches('client', $mutual->url, { tls_ca => "$directory/ca.pem" }, { tls_cert => "$directory/client.pem", tls_key => "$directory/client.key" });
reaches('no_client', $mutual->url, { tls_ca => "$directory/ca.pem" }, {}, '127.0.0.1');

done_testing;
