# Random tables, publications and changes, from a seed. Much of it the server refuses, such as a detached partition's
# being detached again: nobody cares, as long as enough is committed.
package RandomChanges;
use strict;
use warnings;

# Every table has these columns, in any order. The spare one is there to be renamed, dropped and made anew.
my @columns = ('id int NOT NULL', q{k text NOT NULL DEFAULT 'k'}, 'p int NOT NULL', 'q int NOT NULL', 'n int', 't text',
	'b bool', 'm numeric', 'j jsonb', 'big text', 'spare int DEFAULT 7');
my %identities = (	# by which a filter may speak when updates are published: any column, the key, nothing
	key => { with => 'PRIMARY KEY (id)', key => ['id'] },
	two => { with => 'PRIMARY KEY (k, id)', key => [ 'id', 'k' ] },
	toast => { with => 'PRIMARY KEY (id, k)', key => [ 'id', 'k' ], long_key => 1 },
	index => { with => 'PRIMARY KEY (id, k)', key => [ 'id', 'p' ], index => 1 },
	full => { with => 'PRIMARY KEY (id)', full => 1 },
	bare => { full => 1 },
	none => {},
);

sub new
{
	my ($class, $seed) = @_;
	srand $seed;
	my $self = bless { tables => [], next => {} }, $class;
	$self->{setup} = join "\n", 'CREATE SCHEMA s1; CREATE SCHEMA s2;', map { $self->plain($_) } 1 .. 4;
	$self->{setup} .= $self->family . $self->tree . 'CREATE MATERIALIZED VIEW s1.mv AS SELECT id, p FROM s1.parent;
		CREATE UNIQUE INDEX ON s1.mv (id);';
	return $self;
}

sub setup { return $_[0]{setup}; }
sub any { return $_[ int rand @_ ]; }
sub maybe { return rand() < $_[0]; }
sub shuffled { return map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ rand, $_ ] } @_; }
sub some { my @some = shuffled(@_); return @some[ 0 .. int rand @some ]; }

sub columns
{
	my ($self, $generated) = @_;
	my @all = (@columns, $generated ? 'g int GENERATED ALWAYS AS (n * 2) STORED' : ());
	return join ', ', shuffled(@all, maybe(0.5) ? 'gone int' : ());
}

sub table
{
	my ($self, $name, %options) = @_;
	my $table = { name => $name, where => 'true', %options };
	push @{ $self->{tables} }, $table;
	return $table;
}

# What follows each CREATE TABLE.
sub finish
{
	my ($name, $identity) = @_;
	my ($short) = $name =~ /\.(\w+)$/;
	my $sql = "ALTER TABLE $name DROP IF EXISTS gone; ALTER TABLE $name ALTER big SET STORAGE EXTERNAL, ALTER k SET STORAGE EXTERNAL;\n";
	$sql .= "ALTER TABLE $name REPLICA IDENTITY FULL;\n" if $identity->{full};
	$sql .= "CREATE UNIQUE INDEX ${short}_ix ON $name (p, id); ALTER TABLE $name REPLICA IDENTITY USING INDEX ${short}_ix;\n" if $identity->{index};
	return $sql;
}

sub plain
{
	my ($self, $number) = @_;
	my $identity = $identities{ any(sort keys %identities) };
	my $table = $self->table(any('s1', 's2') . ".plain$number", identity => $identity);
	my $columns = $self->columns($table->{generated} = maybe(0.3));
	return "CREATE TABLE $table->{name} ($columns" . ($identity->{with} ? ", $identity->{with}" : '') . ");\n" . finish($table->{name}, $identity);
}

# For TRUNCATE CASCADE.
sub family
{
	my ($self) = @_;
	my @family = map { $self->table("s1.$_", identity => $identities{key}) } qw(parent child);
	return join '', map { "CREATE TABLE $_->{name} (" . $self->columns(0) . ', PRIMARY KEY (id)'
			. ($_->{name} =~ /child/ ? ', parent int REFERENCES s1.parent' : '') . ");\n" . finish($_->{name}, {}) } @family;
}

# root: a (p < 4), rootmid: b, c (p < 8, by q), d (the rest). Each part has an order of columns of its own.
sub tree
{
	my ($self) = @_;
	my $full = maybe(0.3);
	my $generated = maybe(0.3);
	my $identity = $full ? { full => 1 } : { with => 'PRIMARY KEY (id, p, q)', key => [qw(id p q)] };
	my @schemas = map { any('s1', 's2') } 0 .. 5;
	my %parts = (a => 'p < 4', rootmid => 'p BETWEEN 4 AND 7', b => 'p BETWEEN 4 AND 7 AND q < 5', c => 'p BETWEEN 4 AND 7 AND q > 4', d => 'p > 7');
	my $root = $self->table("$schemas[0].root", identity => $identity, tree => 1, generated => $generated);
	my $sql = "CREATE TABLE $root->{name} (" . $self->columns($generated) . ($identity->{with} ? ", $identity->{with}" : '')
		. ") PARTITION BY RANGE (p);\n" . finish($root->{name}, $identity);
	for my $part (qw(a rootmid b c d))
	{
		my $leaf = $self->table(pop(@schemas) . ".$part", where => $parts{$part}, tree => 1, generated => $generated,
			identity => $full || $part ne 'rootmid' && maybe(0.3) ? { %$identity, full => 1 } : $identity);
		$self->{attach}{$part} = "ALTER TABLE " . ($part =~ /b|c/ ? $self->{mid} : $root->{name}) . " ATTACH PARTITION $leaf->{name} "
			. { a => 'FOR VALUES FROM (MINVALUE) TO (4)', rootmid => 'FOR VALUES FROM (4) TO (8)', d => 'DEFAULT',
				b => 'FOR VALUES FROM (MINVALUE) TO (5)', c => 'FOR VALUES FROM (5) TO (MAXVALUE)' }->{$part};
		$self->{mid} = $leaf->{name} if $part eq 'rootmid';
		$sql .= "CREATE TABLE $leaf->{name} (" . $self->columns($generated) . ')' . ($part eq 'rootmid' ? ' PARTITION BY RANGE (q)' : '') . ";\n"
			. finish($leaf->{name}, $leaf->{identity}) . "$self->{attach}{$part};\n";
	}
	return $sql;
}

# A table of a publication, with a list and a filter, mostly such that updates are let through.
sub member
{
	my ($self, $table, $conditions, $all_actions) = @_;
	return $table->{name} unless $conditions;
	my $key = $table->{identity}{key} // [];
	my @names = map { (split)[0] } @columns;
	my $free = $table->{identity}{full} || !$all_actions || maybe(0.1);
	my @list = shuffled(sort keys %{ { map { $_ => 1 } @$key, some(grep { $_ ne 'spare' } @names) } });
	my $list = maybe(0.4) && !($table->{identity}{full} && $all_actions) ? ' (' . join(', ', @list) . ')' : '';
	return $table->{name} . $list . (maybe(0.5) && ($free || @$key) ? ' WHERE (' . filter($free ? \@names : $key) . ')' : '');
}

sub filter
{
	my ($names) = @_;
	my %conditions = (id => [ 'id % 3 <> 0', 'id < 1000', 'id BETWEEN 10 AND 100000' ], k => [ q{k <> 'k'}, 'length(k) > 3' ],
		p => [ 'p < 5', 'p % 2 = 0' ], q => [ 'q > 3', 'q IN (1, 4, 6, 9)' ], n => [ 'n > 4', 'n IS NULL' ],
		t => [ q{t = 'a'}, q{t LIKE '%''%'}, 't IS NOT NULL' ], b => [ 'b', 'NOT b', 'b IS NULL' ], m => [ 'm > 2', 'm = 1.50' ],
		j => [ q{j @> '{"a": 1}'}, q{j ? 'b'} ], big => [ 'length(big) > 100', 'big IS NULL' ]);
	my $one = sub { any(@{ $conditions{ any(grep { $conditions{$_} } @$names) } }) };
	return maybe(0.3) ? $one->() . any(' AND ', ' OR ') . $one->() : $one->();
}

sub objects
{
	my ($self, $root, $all_actions) = @_;
	return 'FOR ALL TABLES' if maybe(0.2);
	return 'FOR TABLES IN SCHEMA ' . any('s1', 's2', 's1, s2') if maybe(0.2);
	my @members = map { $self->member($_, $root || $_->{name} !~ /root/, $all_actions) } some(@{ $self->{tables} });
	return "FOR TABLE @{[ join ', ', @members ]}";
}

sub publication
{
	my ($self, $version) = @_;
	my $root = maybe(0.5);
	my $actions = maybe(0.7) ? '' : join ', ', some(qw(insert update delete truncate));
	my $all_actions = !$actions || $actions =~ /update|delete/;
	my @with = ("publish_via_partition_root = $root", $actions ? "publish = '$actions'" : (),
		$version >= 180000 && maybe(0.5) ? 'publish_generated_columns = stored' : ());
	$with[0] =~ s/= $/= 0/;
	return 'CREATE PUBLICATION p ' . $self->objects($root, $all_actions) . ' WITH (' . join(', ', @with) . ')';
}

sub alter_publication
{
	my ($self, $version) = @_;
	my $member = sub { $self->member(any(@{ $self->{tables} }), 1, 1) };
	return 'DO $$ BEGIN DROP PUBLICATION p; ' . $self->publication($version) . '; END $$;' if maybe(0.2);	# both or neither
	return 'ALTER PUBLICATION p ' . any(
		"ADD TABLE " . $member->(), "DROP TABLE " . any(@{ $self->{tables} })->{name}, 'SET TABLE ' . join(', ', map { $member->() } 1 .. 5),
		'SET TABLE ' . join(', ', map { $_->{name} } some(@{ $self->{tables} })), 'ADD TABLES IN SCHEMA s' . any(1, 2),
		'DROP TABLES IN SCHEMA s' . any(1, 2), 'SET (publish_via_partition_root = ' . any(0, 1) . ')',
		q{SET (publish = 'insert, update, delete, truncate')}, q{SET (publish = 'insert, delete')}, q{SET (publish = 'update, truncate')}) . ';';
}

# One change: SQL for psql.
sub change
{
	my ($self) = @_;
	my $table = any(@{ $self->{tables} });
	my $kind = rand;
	return $self->insert($table) if $kind < 0.35;
	return $self->copy($table) if $kind < 0.42;
	return update($table) if $kind < 0.8;
	return "DELETE FROM $table->{name} WHERE id % 7 = " . int(rand 7) . ';' if $kind < 0.9;
	return truncate_of($self, $table) if $kind < 0.93;
	return 'REFRESH MATERIALIZED VIEW CONCURRENTLY s1.mv;' if $kind < 0.94;
	return "SELECT pg_logical_emit_message(true, 'a', 'b');" if $kind < 0.95;
	return $self->alter_table($table);
}

my @texts = (q{'a'}, q{'b'}, q{''}, q{E'it''s "\\\\" \n'}, 'NULL', q{'ü'});
my @values = (n => '(g * 7) % 10', n => 'NULL', t => \@texts, b => [ 'g % 2 = 0', 'NULL' ], m => [ '1.50', 'g / 4.0', '-0.00010', 'NULL' ],
	j => [ q('{"b": [1, null, "}"], "a": 1}'), q{'"x"'}, 'NULL', 'to_jsonb(g)' ], big => [ q{'small'}, q{repeat('x' || g, 1500)}, 'NULL' ]);

sub key_text
{
	my ($table) = @_;
	return $table->{identity}{long_key} ? q{repeat(chr(97 + g % 26), 2100)} : any(q{'k'}, q{'k' || g}, q{'a.b'});
}

sub some_values
{
	my %chosen;
	for (1 .. 5)
	{
		my $i = 2 * int rand @values / 2;
		$chosen{ $values[$i] } = ref $values[ $i + 1 ] ? any(@{ $values[ $i + 1 ] }) : $values[ $i + 1 ];
	}
	return %chosen;
}

# Ids that are new, or else taken perhaps.
sub ids
{
	my ($self, $count) = @_;
	my $from = maybe(0.8) ? $self->{next}{id} //= 1 : 1 + int rand 50;
	$self->{next}{id} = $from + $count if $from >= ($self->{next}{id} // 1);
	return ($from, $from + $count - 1);
}

sub insert
{
	my ($self, $table) = @_;
	my ($from, $to) = $self->ids(any(1, 1, 2, 12));
	my %row = (id => 'g', k => key_text($table), p => 'g % 10', q => '(g / 3) % 10', some_values());
	my @names = shuffled(sort keys %row);
	my $conflict = maybe(0.7) ? ' ON CONFLICT DO NOTHING' : '';
	return "INSERT INTO $table->{name} (" . join(', ', @names) . ') SELECT ' . join(', ', @row{@names})
		. " FROM (SELECT g, g % 10 AS p, (g / 3) % 10 AS q FROM generate_series($from, $to) g) s WHERE $table->{where}$conflict;";
}

sub copy
{
	my ($self, $table) = @_;
	my ($from, $to) = $self->ids(6);
	my @p = $table->{where} =~ /^p < 4/ ? (0 .. 3) : $table->{where} =~ /^p > 7/ ? (8, 9) : $table->{where} =~ /BETWEEN/ ? (4 .. 7) : (0 .. 9);
	my @q = $table->{where} =~ /q < 5/ ? (0 .. 4) : $table->{where} =~ /q > 4/ ? (5 .. 9) : (0 .. 9);
	return "COPY $table->{name} (id, k, p, q, t, m) FROM STDIN;\n"
		. join('', map { join("\t", $_, 'k', any(@p), any(@q), any('a', '\\N', 'c d'), any('2.50', '\\N')) . "\n" } $from .. $to) . "\\.\n\\r\n";	# refused, it would be taken for SQL
}

sub update
{
	my ($table) = @_;
	my %row = some_values();
	s/\bg\b/id/g for values %row;
	my @sets = (
		(map { "$_ = $row{$_}" } sort keys %row),
		'n = n', 'n = n + 3', 'b = NOT b', 'm = m + 1', 'id = id + 10000', 'id = id - 10000, t = ' . any(@texts),
		'k = ' . key_text($table) =~ s/\bg\b/(id+1)/gr, 'p = (p + 3) % 10', 'p = (p + 5) % 10, q = (q + 5) % 10', 'q = (q + 5) % 10', 'spare = 8');
	my $sets = any(@sets);
	$sets .= ', ' . any(sort keys %row) . ' = NULL' if maybe(0.2) && $sets =~ /^\w+ = [^,]*$/ && $sets !~ /^(n|t|b|m|j|big)/;
	return "UPDATE $table->{name} SET $sets WHERE " . any('id % 5 = ' . int rand 5, 'id % 2 = 0', 'n < 5', 'true') . ';';
}

sub truncate_of
{
	my ($self, $table) = @_;
	return 'TRUNCATE ' . any("$table->{name}", 's1.parent CASCADE', join(', ', map { $_->{name} } some(@{ $self->{tables} })) . ' CASCADE',
		"ONLY $table->{name} RESTART IDENTITY") . ';';
}

sub alter_table
{
	my ($self, $table) = @_;
	my ($part) = any(sort keys %{ $self->{attach} });
	my $detach = $self->{attach}{$part} =~ s/ATTACH PARTITION (\S+) .*/DETACH PARTITION $1/r;
	my $inserts = join ' ', map { $self->insert($_) } grep { $_->{tree} } shuffled(@{ $self->{tables} });
	return "$detach; $inserts $self->{attach}{$part};" if maybe(0.3);
	return any("$detach;", "$self->{attach}{$part};") if maybe(0.2);
	return 'CREATE TABLE ' . any('s1', 's2') . '.new AS SELECT * FROM ' . $table->{name} . ';' if maybe(0.1);
	return 'DROP TABLE IF EXISTS s1.new, s2.new;' if maybe(0.1);
	return "ALTER TABLE $table->{name} " . any('ADD added int DEFAULT 5', 'DROP added', 'RENAME spare TO kept', 'RENAME kept TO spare', 'DROP spare',
		"ADD spare text DEFAULT 'seven'", 'ALTER n TYPE bigint', 'ALTER n TYPE int', 'REPLICA IDENTITY FULL', 'REPLICA IDENTITY DEFAULT',
		'REPLICA IDENTITY NOTHING', 'ALTER big SET STORAGE EXTENDED') . ';';
}

# A transaction: a list of pieces of SQL.
sub transaction
{
	my ($self, $version) = @_;
	my @pieces = map { maybe(0.06) ? $self->alter_publication($version) : $self->change } 1 .. 1 + int rand 6;
	splice @pieces, int(rand @pieces), 0, 'SAVEPOINT a;' if maybe(0.3);
	push @pieces, 'ROLLBACK TO a;', $self->change if grep({ $_ eq 'SAVEPOINT a;' } @pieces) && maybe(0.6);
	return ('BEGIN;', @pieces, maybe(0.05) ? 'ROLLBACK;' : 'COMMIT;');
}

1;
