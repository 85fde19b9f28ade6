# What a consumer makes of the events of a flow is the table: for random schemas of all types, and random changes of rows
# and of schemas, among them everything that PostgreSQL logs in a way of its own.
# PGBRAID_SEED=n runs what a failed run of that seed has run.
use strict;
use warnings;

use Braid;
use PostgreSQL::Test::Utils;
use RandomValues;
use Replay;
use Test::More;

my $seed = $ENV{PGBRAID_SEED} // int(rand(2**31));
srand($seed);
note("PGBRAID_SEED=$seed");
END { diag("PGBRAID_SEED=$seed repeats this") if $?; }

my $braid = Braid->new(
	extra => [ '--encoding=UTF8', '--locale=C' ],
	conf => "max_prepared_transactions = 4\nlogical_decoding_work_mem = 64kB");	# so that transactions spill
my %missing;
$missing{hstore} = 1 unless $braid->sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'");
$missing{xml} = 1 if $braid->error_of("SELECT '<a/>'::xml") ne '';
$braid->sql('CREATE EXTENSION hstore') unless $missing{hstore};
my $replay = Replay->new($braid, 'replica', hstore => !$missing{hstore});

my ($script, @mirrored);	# what runs in the original; what the replica must be told beforehand
my ($schema, @tables, @all_types, @labels, @fields);	# of the round; labels of the enum, fields of the inner composite type
my $is_live;	# a flow publishes the table ddl, which tells the replica
my $number = 0;

sub run
{
	my ($name) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir($name) . '/script.sql';
	append_to_file($file, $script);
	my ($status, $out, $err) = $braid->node->psql('postgres', "\\i $file", on_error_stop => 1);
	die "seed $seed, $name: " . substr($err, 0, 2000) if $status != 0;
	$script = '';
	return;
}

sub emit { $script .= "$_;\n" for @_; return; }

# A change of the schema, in the original and, at the same place among the changes, in the replica.
sub ddl
{
	my (@commands) = @_;
	for my $command (@commands)
	{
		emit($command);
		if ($is_live) { emit("INSERT INTO $schema.ddl (command) VALUES (" . literal($command) . ')'); }
		else { push @mirrored, $command; }
	}
	return;
}

sub identifier
{
	my ($name) = @_;
	$name = pick("Odd \"$name", "$name\xc3\xbc", "$name.\\%s'", "$name, >*") if chance(0.3);
	$name =~ s/"/""/g;
	return "\"$name\"";
}

# Types of the round: each type there is, as it is or in an array or below a domain.

sub domain_of
{
	my ($type) = @_;
	my $name = "$schema.domain" . ++$number;
	ddl("CREATE DOMAIN $name AS $type CHECK (VALUE IS NULL OR VALUE::text IS NOT NULL)");
	return $name;
}

sub delimiter_of { return $_[0] eq 'box' ? ';' : ','; }

# An array of these would look like one of two dimensions. And PostgreSQL can't read a domain of aclitem from JSON.
sub is_vector { return $_[0] =~ /^(int2|oid)vector$/; }

sub dressed
{
	my ($type) = @_;
	my $element = nested($type);
	my $array = sub { array_of($element, delimiter_of($type), 1) };
	my $dress = is_vector($type) ? 9 : $type eq 'aclitem' ? pick(0, 9) : below(10);
	return { type => "$type\[]", value => $array } if $dress < 3;
	return { type => domain_of($type), value => $element } if $dress == 3;
	return { type => domain_of("$type\[]"), value => $array } if $dress == 4;
	return { type => domain_of($type) . '[]', value => $array } if $dress == 5;
	return { type => $type, value => base_types()->{$type} };
}

sub field { my ($type) = @_; return { name => identifier('f' . ++$number), type => $type, value => nested($type) }; }

# Two composite types, one in the other; @fields are those of the inner.
sub composites
{
	my @names = grep { !$missing{$_} && !is_vector($_) } sort keys %{ base_types() };
	@fields = map { field(pick(@names)) } 1 .. 4;
	my $inner = sub { composite_of(map { $_->{value} } @fields) };
	my @outer = ({ type => "$schema.inner_", value => $inner },
		{ type => "$schema.inner_[]", value => sub { array_of($inner) } },
		{ type => "$schema.mood", value => \&mood }, map { field(pick(@names)) } 1 .. 2);
	my $outer = sub { composite_of(map { $_->{value} } @outer) };
	ddl("CREATE TYPE $schema.inner_ AS (" . join(', ', map { "$_->{name} $_->{type}" } @fields) . ')');
	my $position = 0;
	ddl("CREATE TYPE $schema.outer_ AS (" . join(', ', map { 'o' . $position++ . " $_->{type}" } @outer) . ')');
	return ({ type => "$schema.inner_", value => $inner }, { type => domain_of("$schema.inner_"), value => $inner },
		{ type => "$schema.outer_", value => $outer }, { type => "$schema.outer_[]", value => sub { array_of($outer) } });
}

sub mood { return pick(@labels); }

sub deal_types
{
	@labels = ('sad', 'very "happy"', "\xc3\xbc, (x)");
	ddl("CREATE TYPE $schema.mood AS ENUM (" . join(', ', map { literal($_) } @labels) . ')',
		"CREATE TYPE $schema.span AS RANGE (subtype = float8)", "CREATE TYPE $schema.words AS RANGE (subtype = text, collation = \"C\")");
	my $span = sub { RandomValues::range_of(sub { below(1000) / 8 }) };
	my $words = sub { RandomValues::text_range_of(\&RandomValues::text) };
	my @types = (composites(),
		{ type => "$schema.mood", value => \&mood }, { type => "$schema.mood[]", value => sub { array_of(\&mood, ',', 1) } },
		{ type => "$schema.span", value => $span }, { type => "$schema.words", value => $words },
		{ type => "$schema.words[]", value => sub { array_of($words) } });
	push @types, { type => 'hstore', value => sub { pick('', 'a=>1', '"b \"c"=>NULL, d=>"\\\\ü"') } } unless $missing{hstore};
	push @types, map { dressed($_) } grep { !$missing{$_} } sort keys %{ base_types() };
	push @types, map { { type => $_->[0], value => $_->[1], is_big => 1 } } big_types(), big_types();
	return map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ rand(), $_ ] } @types;
}

# Tables.

sub fresh { my $unique = 200_000 + ++$number; return "$unique"; }

sub key_column
{
	my ($type) = @_;
	my %fresh = (int4 => 1, int8 => 1, numeric => 1, text => 1, name => 1, long => 1, oidvector => 1);
	my $column = { name => identifier('k' . ++$number), type => $type eq 'long' ? 'text' : $type, value => key_types()->{$type}, is_key => 1 };
	$column->{fresh} = \&fresh if $fresh{$type};
	$column->{storage} = 'EXTERNAL' if $type eq 'long';
	return $column;
}

sub column
{
	my ($type) = @_;
	my $column = { %$type, name => identifier('c' . ++$number) };
	$column->{storage} = pick('EXTERNAL', 'EXTENDED', 'MAIN') if $type->{is_big};
	return $column;
}

sub create_table
{
	my ($identity, @types) = @_;
	my $table = {
		name => "$schema." . identifier('t' . ++$number),
		identity => $identity,
		label => "$identity $number",
		columns => [ map { column($_) } @types ],
	};
	my @kinds = grep { $identity ne 'partitioned' || /^(int|text|numeric|bytea|date|timestamp|inet|long)/ } sort keys %{ key_types() };
	my @chosen = map { pick(@kinds) } 1 .. ($identity =~ /many/ ? 2 + below(2) : $identity =~ /keyless/ ? 0 : 1);
	@chosen = ('long', map { 'int8' } 2 .. @chosen) if grep { $_ eq 'long' } @chosen;	# an index has room for one
	my @keys = map { key_column($_) } @chosen;
	splice @{ $table->{columns} }, below(4), 0, $_ for @keys;
	my @definitions = map { "$_->{name} $_->{type}" . ($_->{is_key} ? ' NOT NULL' : '') } @{ $table->{columns} };
	splice @definitions, below(9), 0, 'doubled bigint GENERATED ALWAYS AS (n * 2) STORED', 'n bigint';
	push @{ $table->{columns} }, { name => 'n', type => 'bigint', value => sub { below(1000) }, is_kept => 1 };
	my $key = key_of($table);
	ddl("CREATE TABLE $table->{name} (" . join(', ', @definitions) . ')' . ($identity eq 'partitioned' ? " PARTITION BY HASH ($key)" : ''));
	partitions($table, @definitions) if $identity eq 'partitioned';
	ddl("ALTER TABLE $table->{name} ADD PRIMARY KEY ($key)") if $identity =~ /primary|partitioned/;
	ddl("CREATE UNIQUE INDEX odd_$number ON $table->{name} ($key)",
		"ALTER TABLE $table->{name} REPLICA IDENTITY USING INDEX odd_$number") if $identity =~ /index/;
	ddl("ALTER TABLE $table->{name} REPLICA IDENTITY FULL") if $identity =~ /full/;
	ddl(map { "ALTER TABLE $table->{name} ALTER $_->{name} SET STORAGE $_->{storage}" } grep { $_->{storage} } @{ $table->{columns} });
	return $table;
}

# One of them has the columns in another order.
sub partitions
{
	my ($table, @definitions) = @_;
	my @bounds = map { "FOR VALUES WITH (MODULUS 3, REMAINDER $_)" } 0 .. 2;
	ddl("CREATE TABLE $schema.first_$number PARTITION OF $table->{name} $bounds[0]",
		"CREATE TABLE $schema.second_$number PARTITION OF $table->{name} $bounds[1]",
		"CREATE TABLE $schema.third_$number (" . join(', ', reverse @definitions) . ')',
		"ALTER TABLE $table->{name} ATTACH PARTITION $schema.third_$number $bounds[2]");
	return;
}

sub keys_of { my ($table) = @_; return grep { $_->{is_key} } @{ $table->{columns} }; }
sub key_of { my ($table) = @_; return join ', ', map { $_->{name} } keys_of($table); }
sub any_table { return pick(@tables); }

# Changes of rows.

sub value_of
{
	my ($column) = @_;
	return $column->{value}->() if $column->{is_key};
	return chance(0.15) ? undef : $column->{value}->();
}

sub insert
{
	my ($table) = @_;
	my @columns = grep { $_->{is_key} || chance(0.9) } @{ $table->{columns} };
	my @rows = map { '(' . join(', ', map { literal(value_of($_)) } @columns) . ')' } 1 .. 1 + below(4);
	my $names = join(', ', map { $_->{name} } @columns);
	emit("INSERT INTO $table->{name} ($names) VALUES " . join(', ', @rows) . ' ON CONFLICT DO NOTHING') if @columns;
	return;
}

sub copy
{
	my ($table) = @_;
	my @keys = keys_of($table);
	return insert($table) if @keys && !grep { $_->{fresh} } @keys;
	my @columns = @{ $table->{columns} };
	emit("COPY $table->{name} (" . join(', ', map { $_->{name} } @columns) . ') FROM STDIN');
	for (1 .. 1 + below(6))
	{
		$script .= join("\t", map { copy_field($_->{fresh} ? $_->{fresh}->() : value_of($_)) } @columns) . "\n";
	}
	$script .= "\\.\n";
	return;
}

sub some_rows
{
	my ($table, $most) = @_;
	my $part = rand();
	my $ids = "SELECT tableoid, ctid FROM $table->{name} ORDER BY 1, 2 OFFSET (SELECT floor(count(*) * $part) FROM $table->{name}) LIMIT $most";
	return "(tableoid, ctid) IN ($ids)";
}

sub update
{
	my ($table) = @_;
	my @columns = grep { !$_->{is_key} && chance(0.15) } @{ $table->{columns} };
	my @keys = keys_of($table);
	my %set = map { $_->{name} => literal(value_of($_)) } @columns, @keys;
	my $where = some_rows($table, 1 + below(4));
	if (@keys && chance(0.3))
	{
		push @columns, @keys;
		my $taken = '(' . key_of($table) . ') = (' . join(', ', map { $set{ $_->{name} } } @keys) . ')';
		$where = some_rows($table, 1) . " AND NOT EXISTS (SELECT FROM $table->{name} WHERE $taken)";
	}
	@columns = { name => 'n' } unless @columns;
	$set{n} = 'n + 1' if chance(0.3);
	emit("UPDATE $table->{name} SET " . join(', ', map { "$_->{name} = " . ($set{ $_->{name} } // 'n') } @columns) . " WHERE $where");
	return;
}

sub remove { my ($table) = @_; emit("DELETE FROM $table->{name} WHERE " . some_rows($table, 1 + below(3))); return; }
sub touch { my ($table) = @_; emit("UPDATE $table->{name} SET n = n"); return; }
sub truncate_table { my ($table) = @_; emit("TRUNCATE $table->{name}"); return insert($table); }

sub change
{
	my ($table) = @_;
	my $kind = rand();
	return insert($table) if $kind < 0.35;
	return update($table) if $kind < 0.75;
	return remove($table) if $kind < 0.85;
	return copy($table) if $kind < 0.92;
	return touch($table) if $kind < 0.98;
	return truncate_table($table);
}

# Changes of the schema.

sub add_column
{
	my ($table) = @_;
	my $column = column(pick(@all_types));
	delete $column->{storage};
	my $default = chance(0.5) ? ' DEFAULT ' . literal($column->{value}->()) : '';
	ddl("ALTER TABLE $table->{name} ADD $column->{name} $column->{type}$default");
	push @{ $table->{columns} }, $column;
	return;
}

sub drop_column
{
	my ($table) = @_;
	my @candidates = grep { !$_->{is_key} && !$_->{is_kept} } @{ $table->{columns} };
	return if @candidates < 5;
	my $column = pick(@candidates);
	ddl("ALTER TABLE $table->{name} DROP $column->{name}");
	$table->{columns} = [ grep { $_ != $column } @{ $table->{columns} } ];
	return;
}

sub rename_column
{
	my ($table) = @_;
	my $column = pick(grep { !$_->{is_kept} } @{ $table->{columns} }) or return;
	my $name = identifier('r' . ++$number);
	ddl("ALTER TABLE $table->{name} RENAME $column->{name} TO $name");
	$column->{name} = $name;
	return;
}

# Rewrites the table, and its values are not changes that a slot gives.
sub alter_column
{
	my ($table) = @_;
	my $keys = $table->{identity} eq 'partitioned' ? qr/^$/ : qr/^(int4|varchar\(9\))$/;
	my @candidates = grep { $_->{is_key} ? $_->{type} =~ $keys : !$_->{is_kept} } @{ $table->{columns} };
	my $column = pick(@candidates) or return;
	my $type = $column->{type} eq 'int4' ? 'int8' : 'text';
	ddl("ALTER TABLE $table->{name} ALTER $column->{name} TYPE $type USING $column->{name}::$type");
	$column->{type} = $type;
	return;
}

sub rename_table
{
	my ($table) = @_;
	my $name = identifier('n' . ++$number);
	my ($of) = $table->{name} =~ /^(\w+)\./;
	ddl("ALTER TABLE $table->{name} RENAME TO $name");
	$table->{name} = "$of.$name";
	return;
}

sub move_table
{
	my ($table) = @_;
	my ($from, $name) = $table->{name} =~ /^(\w+)\.(.*)$/s;
	my $to = $from eq $schema ? "${schema}_other" : $schema;
	ddl("ALTER TABLE $table->{name} SET SCHEMA $to");
	$table->{name} = "$to.$name";
	return;
}

# Rewrites the table too.
sub add_generated
{
	my ($table) = @_;
	ddl("ALTER TABLE $table->{name} ADD hash" . ++$number . ' text GENERATED ALWAYS AS (md5(n::text)) STORED');
	return;
}

sub drop_expression
{
	my ($table) = @_;
	ddl("ALTER TABLE $table->{name} ALTER doubled DROP EXPRESSION IF EXISTS");
	return;
}

sub change_identity
{
	my ($table) = @_;
	return unless $table->{identity} =~ /primary/;
	emit("ALTER TABLE $table->{name} REPLICA IDENTITY " . pick('FULL', 'DEFAULT'));
	return;
}

sub alter_table
{
	my ($table) = @_;
	return pick(\&add_column, \&add_column, \&drop_column, \&rename_column, \&alter_column, \&alter_column, \&rename_table, \&move_table,
		\&add_generated, \&drop_expression, \&change_identity, \&change_identity)->($table);
}

# A new label can be used only after the transaction.
sub add_label
{
	my $label = 'mood ' . ++$number;
	ddl("ALTER TYPE $schema.mood ADD VALUE " . literal($label) . ' ' . pick('BEFORE', 'AFTER') . ' ' . literal(pick(@labels)));
	push @labels, $label;
	return;
}

sub alter_type
{
	my $kind = below(4);
	my $label = 'mood ' . ++$number;
	if ($kind == 0)
	{
		my $old = below(scalar @labels);
		ddl("ALTER TYPE $schema.mood RENAME VALUE " . literal($labels[$old]) . ' TO ' . literal($label));
		$labels[$old] = $label;
	}
	elsif ($kind == 1)
	{
		push @fields, field(pick(qw(text int4 numeric bytea float8 jsonb)));
		ddl("ALTER TYPE $schema.inner_ ADD ATTRIBUTE $fields[-1]{name} $fields[-1]{type}");
	}
	elsif ($kind == 2 && @fields > 2)
	{
		my ($field) = splice @fields, below(scalar @fields), 1;
		ddl("ALTER TYPE $schema.inner_ DROP ATTRIBUTE $field->{name}");
	}
	else
	{
		my $field = pick(@fields);
		my $name = identifier('g' . ++$number);
		ddl("ALTER TYPE $schema.inner_ RENAME ATTRIBUTE $field->{name} TO $name");
		$field->{name} = $name;
	}
	return;
}

# Transactions.

# What has to be so again after a rollback.
sub saved
{
	return {
		tables => [ map { { %$_, columns => [ map { {%$_} } @{ $_->{columns} } ] } } @tables ],
		fields => [ map { {%$_} } @fields ],
		labels => [@labels],
		told => scalar @mirrored,
	};
}

sub restore
{
	my ($saved) = @_;
	@tables = @{ $saved->{tables} };
	@fields = @{ $saved->{fields} };
	@labels = @{ $saved->{labels} };
	splice @mirrored, $saved->{told};
	return;
}

sub changes
{
	change(any_table()) for 1 .. 1 + below(4);
	alter_table(any_table()) if chance(0.15);
	alter_type() if chance(0.05);
	change(any_table()) for 1 .. below(3);
	return;
}

sub with_savepoints
{
	emit('BEGIN');
	changes() if chance(0.6);
	for (1 .. 1 + below(3))
	{
		emit('SAVEPOINT s');
		my $before = saved();
		changes();
		if (chance(0.5))
		{
			emit('ROLLBACK TO s');
			restore($before);
		}
		elsif (chance(0.5)) { emit('RELEASE s'); }
	}
	changes() if chance(0.6);
	emit('COMMIT');
	return;
}

sub rolled_back
{
	my $before = saved();
	emit('BEGIN');
	changes();
	emit('ROLLBACK');
	restore($before);
	return;
}

# Other tables are changed before it is decided upon.
sub two_phase
{
	my @all = splice @tables;
	my $half = 1 + below(@all - 1);
	my $told = @mirrored;
	@tables = @all[ 0 .. $half - 1 ];
	my $before = saved();
	emit('BEGIN');
	change(any_table()) for 1 .. 2 + below(3);
	alter_table(any_table()) if chance(0.3);
	change(any_table());
	emit("PREPARE TRANSACTION 'p'");
	my @prepared = splice @tables;
	my @commands = splice @mirrored, $told;
	@tables = @all[ $half .. $#all ];
	change(any_table()) for 1 .. 3;
	my $is_kept = chance(0.7);
	emit(($is_kept ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'p'");
	push @mirrored, @commands if $is_kept;
	unshift @tables, $is_kept ? @prepared : @{ $before->{tables} };
	return;
}

sub transaction
{
	my $kind = rand();
	return change(any_table()) if $kind < 0.5;
	return with_savepoints() if $kind < 0.7;
	return rolled_back() if $kind < 0.73;
	return two_phase() if $kind < 0.8;
	return emit('VACUUM FULL ' . any_table()->{name}) if $kind < 0.82;
	emit('BEGIN');
	if ($kind < 0.9) { changes(); }
	elsif ($kind < 0.95) { alter_table(any_table()); }
	elsif ($kind < 0.98) { alter_type(); }
	else { add_label(); }
	emit('COMMIT');
	return;
}

sub is_same
{
	my ($name) = @_;
	for my $table (@tables)
	{
		$replay->is_same($table->{name}, "$name: $table->{label}")
			or diag("seed $seed; columns: " . join(', ', map { "$_->{name} $_->{type}" } @{ $table->{columns} }));
	}
	return;
}

sub catch_up
{
	my ($name, $part) = @_;
	note("$name $part: " . $replay->catch_up($name) . ' events');
	is_same("$name $part");
	return;
}

sub start_round
{
	my ($name) = @_;
	($schema, $is_live, $script, @mirrored) = ($name, 0, '');
	ddl("CREATE SCHEMA $schema", "CREATE SCHEMA ${schema}_other",
		"CREATE TABLE $schema.ddl (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, command text)");
	my @types = deal_types();
	my @identities = ('keyless full', 'primary', 'primary many', 'primary full', 'index', 'index many', 'partitioned');
	@all_types = @types;
	my $each = int(@types / @identities) + 1;
	@tables = map { create_table($_, splice @types, 0, $each) } @identities;
	return;
}

# A third of the changes are made before there is a flow, some while it takes its snapshot, some while it is away.
sub play_round
{
	my ($name) = @_;
	start_round($name);
	change($_), insert($_), copy($_) for @tables, @tables;
	transaction() for 1 .. 30;
	run("$name-before");
	$replay->sql(join ";\n", @mirrored);
	my $published = join ', ', map { literal($_) . '::regclass' } "$schema.ddl", map { $_->{name} } @tables;
	$braid->sql("SELECT pgflow_create('$name', tables => ARRAY[$published])");
	change(any_table()) for 1 .. 20;
	run("$name-snapshot");
	$braid->until_state($name, 'streaming');
	$is_live = 1;
	transaction() for 1 .. 50;
	run("$name-live");
	catch_up($name, 'live');
	transaction() for 1 .. 10;
	run("$name-killed");
	$braid->sql("SELECT pg_terminate_backend(pid) FROM pgbraid.stat_flow WHERE flow = '$name'");
	transaction() for 1 .. 10;
	run("$name-back");
	$braid->sql("SELECT pgflow_pause('$name')");
	transaction() for 1 .. 50;
	run("$name-away");
	$braid->sql("SELECT pgflow_resume('$name')");	# it decodes under schemas of the past
	catch_up($name, 'later');
	$braid->sql("SELECT pgflow_drop('$name')");
	return;
}

play_round("r$_") for 1 .. 2;
done_testing();
