# Whatever the encoding of the database, events are UTF-8.
use strict;
use warnings;
use utf8;

use Braid;
use Digest::SHA qw(hmac_sha256_hex);
use Encode qw(encode decode FB_CROAK);
use Test::More;

my $braid = Braid->new(extra => [ '--locale', 'C', '--encoding', 'UTF8' ]);
my %samples = (
	LATIN1 => [ 'iso-8859-1', "größe ñ \xa3" ],
	LATIN9 => [ 'iso-8859-15', 'prix 5 €' ],
	EUC_JP => [ 'euc-jp', '日本語テスト' ],
	WIN1251 => [ 'cp1251', 'Привет' ],
	UTF8 => [ 'UTF-8', 'ü 日本 🚕' ],
);

for my $encoding (sort keys %samples)
{
	my ($perl_name, $text) = @{ $samples{$encoding} };
	(my $database = lc $encoding) =~ s/_//;
	my @in = (dbname => $database);
	$braid->sql("CREATE DATABASE $database ENCODING '$encoding' TEMPLATE template0");
	my $bytes = encode($perl_name, my $copy = $text, FB_CROAK);
	$braid->sql("SET client_encoding = '$encoding'; CREATE EXTENSION pgbraid;
		CREATE TABLE \"t$bytes\" (id int PRIMARY KEY, \"c$bytes\" text, j json, x xml);
		INSERT INTO \"t$bytes\" VALUES (1, '$bytes', '{\"$bytes\": 1}')", @in);
	$braid->sql("SET client_encoding = '$encoding'; SELECT pgflow_create('f', tables => ARRAY['\"t$bytes\"'::regclass])", @in);
	$braid->until_state('f', 'streaming', undef, @in);
	$braid->sql("SET client_encoding = '$encoding'; INSERT INTO \"t$bytes\" VALUES (2, '$bytes', '{\"$bytes\": 1}')", @in);
	my @events = $braid->events('f', @in);
	is(scalar @events, 2, "$encoding: snapshot and insert");
	for my $message (@events)
	{
		Braid::is_json($message->{event}{after}, { id => $message->{event}{after}{id}, "c$text" => $text, j => { $text => 1 }, x => undef },
			"$encoding: $message->{event}{op} is UTF-8");
		is($message->{event}{table}, "t$text", "$encoding: so is the name of the table");
		(my $token = "t$text") =~ s/ /%20/g;
		is($message->{subject}, "pgflow.$database.public.$token", "$encoding: and the subject");
	}
	formats_of($encoding, $database, $bytes, $text);
}

# Names of flows, masks that count characters, rules and filters that name columns, headers.
sub formats_of
{
	my ($encoding, $database, $bytes, $text) = @_;
	my @in = (dbname => $database);
	my $utf8 = encode('UTF-8', $text);
	my $url = $braid->nats->url;
	my $table = "public.\\\"t$bytes\\\"";
	my $filter = "\\\"c$bytes\\\" = ''$bytes''";
	$braid->sql("SET client_encoding = '$encoding'; CREATE PUBLICATION p FOR TABLE \"t$bytes\" WITH (publish = 'insert');
		CREATE SERVER s FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url '$url'); CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (mask_key 'k')", @in);
	my %masks = (debezium => '"mask": "partial", "keep": 2', cloudevents => "\"mask\": \"hash\", \"rename\": \"r$bytes\"");
	for my $format (sort keys %masks)
	{
		$braid->sql("SET client_encoding = '$encoding'; SELECT pgflow_create('$format$bytes', publication => 'p', server => 's',
			snapshot => 'none', format => '$format', stream => '${database}_$format', subject => '$format.{database}',
			options => '{\"columns\": {\"$table\": {\"c$bytes\": {$masks{$format}}}}, \"filter\": {\"$table\": \"$filter\"}}')", @in);
	}
	$braid->until_sql("SELECT count(*) FROM pgbraid.stat_flow WHERE state = 'streaming'", '3', undef, @in);
	$braid->sql("SET client_encoding = '$encoding'; INSERT INTO \"t$bytes\" VALUES (3, 'x'), (4, '$bytes')", @in);
	$braid->until_sql("SELECT every(pgflow_wait(flow)) FROM pgbraid.flows", 't', undef, @in);
	my @messages = $braid->messages("${database}_debezium");
	is(scalar @messages, 1, "$encoding: a filter in the encoding of the database");
	my $event = $messages[0]{event};
	is($event->{after}{"c$text"}, '*' x (length($text) - 2) . substr($text, -2), "$encoding: a mask counts characters");
	is($event->{source}{name}, "debezium$text", "$encoding: the name of the flow");
	my ($cloudevent) = $braid->messages("${database}_cloudevents");
	is($cloudevent->{event}{after}{"r$text"}, hmac_sha256_hex($utf8, 'k'), "$encoding: a hash is that of UTF-8");
	my $encoded = "t$utf8" =~ s/([^!#-\$&-~])/sprintf '%%%02X', ord $1/ger;
	is($cloudevent->{headers}{'ce-subject'}, "public.$encoded", "$encoding: a header is ASCII");
	return;
}

# Without an encoding, bytes that are UTF-8 stay, and others are replaced: the event must be valid.
my @in = (dbname => 'bytes');
$braid->sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0");
$braid->sql("CREATE EXTENSION pgbraid; CREATE TABLE t (id int PRIMARY KEY, v text); SELECT pgflow_create('f', tables => '{t}', snapshot => 'none')", @in);
$braid->until_state('f', 'streaming', undef, @in);
my $good = encode('UTF-8', 'ü日');
$braid->sql("INSERT INTO t VALUES (1, '$good'), (2, E'a\\xffb\\xc3')", @in);
my @events = $braid->events('f', @in);
is($events[0]{event}{after}{v}, 'ü日', 'SQL_ASCII: UTF-8 stays');
is($events[1]{event}{after}{v}, "a\x{fffd}b\x{fffd}", 'SQL_ASCII: what is not is replaced');

# A name that is not UTF-8, as a table and as a part of the subject.
$braid->sql("CREATE TABLE \"n\xff\" (id int PRIMARY KEY); SELECT pgflow_create('odd', tables => ARRAY['\"n\xff\"'::regclass], snapshot => 'none', stream => 'odd', subject => 'odd.{table}')", @in);
$braid->until_state('odd', 'streaming', undef, @in);
$braid->sql("INSERT INTO \"n\xff\" VALUES (1)", @in);
@events = $braid->events('odd', @in);
is($events[0]{subject}, 'odd.n%FF', 'SQL_ASCII: a byte of a name in a subject');
is($events[0]{event}{table}, "n\x{fffd}", 'and in the event');

done_testing;
