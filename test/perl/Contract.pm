# A flow and a slot of pgoutput with the same publication from the same point on, and whether both let out the same.
#
# An operation is compared as one line of text, with the values as JSON. The two say the same in different words here:
# - pgoutput marks a value out of line that an update left alone as unchanged even where the old row brings it; a flow
#   puts it into the row (docs/wire-format.md).
# - pgoutput gives an old key as a row in which all else is null; a flow gives the columns of the key alone.
# - pgoutput has one Truncate for a statement, a flow one event for each table.
# - Through the root of a partition tree, pgoutput describes the replica identity of the root, though the old row is
#   what the leaf logged; a flow speaks of the leaf's. There only what is not null is compared.
package Contract;
use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use JSON::PP;
use Pgoutput;
use Test::More;

my $json = JSON::PP->new->canonical->allow_nonref->utf8;
my $string = qr/"[^"\\]*+(?:\\.[^"\\]*+)*+"/s;
my $value;
$value = qr/(?:$string|[-+.\w]++|[\{\[](?:[^"\{\}\[\]]++|$string|(??{$value}))*+[\}\]])/s;
my %types = (bool => 16, int8 => 20, int2 => 21, int4 => 23, numeric => 1700, jsonb => 3802, timestamptz => 1184);
my %as_it_is = map { $_ => 1 } @types{qw(int8 int2 int4 numeric jsonb)};

# Contract->begin($braid, 'name', publication => 'p'); the publication has the name of the flow, unless told otherwise.
sub begin
{
	my ($class, $braid, $name, %options) = @_;
	my $self = bless { braid => $braid, name => $name, publication => $options{publication} // $name }, $class;
	$braid->sql("SELECT pgflow_create('$name', publication => '$self->{publication}', snapshot => 'none',
		subject => '$name.{schema}.{table}', options => '{\"schema_events\": \"none\"}')");
	$braid->until_sql("SELECT state FROM pgbraid.stat_flow WHERE flow = '$name'", 'streaming');
	$braid->sql("SELECT pg_create_logical_replication_slot('$name', 'pgoutput')");
	$braid->events($name);
	return $self;
}

sub end
{
	my ($self) = @_;
	$self->{braid}->sql("SELECT pg_drop_replication_slot('$self->{name}'); SELECT pgflow_drop('$self->{name}')");
	return;
}

# Both have let out the same; returns its operations.
sub is_kept
{
	my ($self, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @got = $self->of_flow;
	my @expected = $self->of_pgoutput;
	forget_keys(\@got, \@expected);
	my @lines = map { line_of($_) } @got;
	my @expected_lines = map { line_of($_) } @expected;
	my ($i) = grep { ($lines[$_] // '') ne ($expected_lines[$_] // '') } 0 .. ($#lines > $#expected_lines ? $#lines : $#expected_lines);
	ok(!defined $i, $name) or diag(difference($i, \@lines, \@expected_lines));
	return @got;
}

# Where the identity is the whole row, only a flow knows the primary key; and only pgoutput takes that of the root for a
# leaf that has no identity.
sub forget_keys
{
	my ($got, $expected) = @_;
	for my $i (0 .. $#$expected)
	{
		next if !$got->[$i];
		delete $got->[$i]{key} if delete $expected->[$i]{whole};
		delete $expected->[$i]{key} if is_root($got->[$i]{table}) && !$got->[$i]{key};
		delete $got->[$i]{key} if is_root($got->[$i]{table}) && !$expected->[$i]{key};	# whose own identity is NOTHING
	}
	return;
}

sub difference
{
	my ($i, $got, $expected) = @_;
	my $from = $i > 2 ? $i - 2 : 0;
	my ($ours, $theirs) = map { join "\n", grep { defined } @$_[ $from .. $i + 2 ] } $got, $expected;
	return "operation $i of " . @$got . ", and of " . @$expected . " of pgoutput\nthe flow:\n$ours\npgoutput:\n$theirs";
}

sub line_of
{
	my ($operation) = @_;
	return "$operation->{op} $operation->{table} " . $json->encode($operation);
}

# What the flow has let out since the last call.
sub of_flow
{
	my ($self) = @_;
	return map { $self->of_event($_->{text}) } $self->{braid}->events($self->{name});
}

# What pgoutput has let out since the last call, or since the beginning.
sub of_pgoutput
{
	my ($self) = @_;
	my $all = $self->{braid}->sql("SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('$self->{name}',
		NULL, NULL, 'proto_version', '1', 'publication_names', '$self->{publication}')");
	my $session = Pgoutput->new;
	my ($begin, @operations);
	for my $message (map { $session->parse($_) } split /\n/, $all)
	{
		$begin = $message if $message->{type} eq 'Begin';
		push @operations, grep { $_->{table} !~ /^pgbraid\./ }	# which flows never publish
			map { { %$_, lsn => $begin->{lsn}, xid => $begin->{xid} } } operations_of($message);
	}
	my $seen = $self->{seen} // 0;
	$self->{seen} = @operations;
	return @operations[ $seen .. $#operations ];
}

sub operations_of
{
	my ($message) = @_;
	return map { { op => 'truncate', table => table_of($_) } } @{ $message->{relations} } if $message->{type} eq 'Truncate';
	return () unless $message->{type} =~ /^(Insert|Update|Delete)$/;
	my $relation = $message->{relation};
	my ($new, $old) = map { $_ && { %$_ } } @$message{qw(new old)};
	fill_in($new, $old) if $new && $old;
	my $row = $new // $old;
	my %operation = (op => lc $message->{type}, table => table_of($relation));
	my @key = map { $_->{name} } grep { $_->{in_key} } @{ $relation->{columns} };
	$operation{whole} = 1 if $relation->{identity} eq 'f';
	$operation{key} = values_of($relation, $row, @key) if @key && !$operation{whole};
	$operation{after} = values_of($relation, $new, keys %$new) if $new;
	$operation{unchanged} = [ sort grep { $new->{$_}{unchanged} } keys %$new ] if $new && grep { $_->{unchanged} } values %$new;
	$operation{before} = values_of($relation, $old, $message->{old_kind} eq 'O' || is_root($relation->{name}) ? keys %$old : @key) if $old;
	return even_out(\%operation);
}

sub table_of { return "$_[0]{schema}.$_[0]{name}"; }
sub is_root { return $_[0] =~ /\broot\w*$/; }

sub fill_in
{
	my ($new, $old) = @_;
	for my $name (grep { $new->{$_}{unchanged} && defined $old->{$_}{text} } keys %$new)
	{
		$new->{$name} = $old->{$name};
	}
	return;
}

sub values_of
{
	my ($relation, $row, @names) = @_;
	my %types = map { $_->{name} => $_->{type} } @{ $relation->{columns} };
	return { map { $_ => canonical(as_json($types{$_}, $row->{$_})) } grep { !$row->{$_}{unchanged} } @names };
}

sub as_json
{
	my ($type, $column) = @_;
	return 'null' if $column->{null};
	return $column->{text} eq 't' ? 'true' : 'false' if $type == $types{bool};
	return $column->{text} if $as_it_is{$type};
	return qq("$1T$2:00") if $type == $types{timestamptz} && $column->{text} =~ /^(\S+) (\S+)$/;
	utf8::decode(my $text = $column->{text});
	return $json->encode($text);
}

# The same for what is the same string; a long one shortened, for the eye.
sub canonical
{
	my ($text) = @_;
	return $text unless $text =~ /^"/;
	my $encoded = $json->encode($json->decode($text));
	return length $encoded < 60 ? $encoded : length($encoded) . ' ' . md5_hex($encoded);
}

sub even_out
{
	my ($operation) = @_;
	return $operation unless is_root($operation->{table}) && $operation->{before};
	my $before = $operation->{before};
	delete @$before{ grep { $before->{$_} eq 'null' } keys %$before };
	return $operation;
}

sub of_event
{
	my ($self, $text) = @_;
	my $event = object($text);
	my %operation = map { $_ => $json->decode($event->{$_}) } grep { $event->{$_} } qw(op lsn xid unchanged);
	$operation{table} = join '.', map { $json->decode($event->{$_}) } qw(schema table);
	$operation{unchanged} = [ sort @{ $operation{unchanged} } ] if $operation{unchanged};
	for my $row (grep { $event->{$_} } qw(key after before))
	{
		$operation{$row} = columns_of($event->{$row});
	}
	return even_out(\%operation);
}

sub columns_of
{
	my $columns = object(@_);
	return { map { $_ => canonical($columns->{$_}) } keys %$columns };
}

# The values of an object, each as it is written: a decoder would lose the digits of numbers.
sub object
{
	my ($text) = @_;
	my %values;
	$text =~ /\G\{/gc or die "no object: $text";
	while ($text =~ /\G,?($string):($value)/gc)
	{
		my ($name, $written) = ($1, $2);
		$values{ $json->decode($name) } = $written;
	}
	$text =~ /\G\}$/gc or die 'not understood: ' . substr $text, pos $text;
	return \%values;
}

# The initial snapshot of a new flow has the rows that a subscription would copy. Not those of pgbraid, which change.
sub snapshot_is_kept
{
	my ($braid, $flow, $publication, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $queries = $braid->sql("SELECT format('SELECT ''%1\$s.%2\$s '' || row_to_json(x) FROM (SELECT %3\$s FROM %1\$I.%2\$I WHERE %4\$s) x',
		schemaname, tablename, (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attname = ANY (attnames)
			AND attrelid = format('%I.%I', schemaname, tablename)::regclass	-- before 18, those that are generated are listed
			AND (attgenerated = '' OR current_setting('server_version_num')::int >= 180000)), coalesce(rowfilter, 'true'))
		FROM pg_publication_tables WHERE pubname = '$publication' AND schemaname <> 'pgbraid'") =~ s/\n/ UNION ALL /gr;
	$braid->sql("SELECT pgflow_create('$flow', publication => '$publication', subject => '$flow.{schema}.{table}', options => '{\"schema_events\": \"none\"}')");
	my @events = map { __PACKAGE__->of_event($_->{text}) } $braid->events($flow);
	$braid->sql("SELECT pgflow_drop('$flow')");
	my @rows = map { "$_->{table} " . $json->encode($_->{after}) } grep { $_->{op} eq 'snapshot' && $_->{table} !~ /^pgbraid\./ } @events;
	my @expected = map { my ($table, $row) = /^(\S+) (.*)$/; "$table " . $json->encode(columns_of($row)) } split /\n/, $queries && $braid->sql($queries);
	is(join("\n", sort @rows), join("\n", sort @expected), "$name, " . @expected . ' rows');
	return;
}

# In short: "insert s.t {id,v}, update s.t {id,v} before {id}".
sub summary
{
	return join ', ', map { short($_) } @_;
}

sub short
{
	my ($operation) = @_;
	my $names = sub { '{' . join(',', sort keys %{ $_[0] }) . '}' };
	return join ' ', @$operation{qw(op table)}, $operation->{after} ? $names->($operation->{after}) : (),
		$operation->{before} ? 'before ' . $names->($operation->{before}) : ();
}

1;
