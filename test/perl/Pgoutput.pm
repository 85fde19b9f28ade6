# Messages of PostgreSQL's own output plugin, protocol version 1 (see "Logical Replication Message Formats" in its
# manual), as hashes: { type => 'Insert', relation => {...}, new => {...} }. What does not parse to its last byte dies.
package Pgoutput;
use strict;
use warnings;

my %readers = (
	B => \&begin,
	C => \&commit,
	D => \&delete_row,
	I => \&insert,
	M => \&message,
	O => \&origin,
	R => \&relation,
	T => \&truncate,
	U => \&update,
	Y => \&type,
);

# A session: it remembers the relations that were described in it.
sub new
{
	my ($class) = @_;
	return bless { relations => {} }, $class;
}

sub parse
{
	my ($self, $hex) = @_;
	local $self->{rest} = pack 'H*', $hex;
	my $tag = $self->take('a');
	my $reader = $readers{$tag} or die "unknown message '$tag': $hex";
	my $message = $reader->($self);
	die "more than a $message->{type}: $hex" if length $self->{rest};
	return $message;
}

# Fields by a template of unpack.
sub take
{
	my ($self, $template) = @_;
	my @fields = unpack "$template a*", $self->{rest};
	die 'the message ends too early' if @fields != 1 + split / /, $template;
	$self->{rest} = pop @fields;
	return wantarray ? @fields : $fields[0];
}

sub take_bytes
{
	my ($self, $length) = @_;
	die 'the message ends too early' if length $self->{rest} < $length;
	return substr $self->{rest}, 0, $length, '';
}

sub take_lsn
{
	my ($self) = @_;
	return sprintf '%X/%X', $self->take('N N');
}

sub begin
{
	my ($self) = @_;
	return { type => 'Begin', lsn => $self->take_lsn, time => scalar $self->take('q>'), xid => scalar $self->take('N') };
}

sub commit
{
	my ($self) = @_;
	my ($flags) = $self->take('C');
	return { type => 'Commit', flags => $flags, lsn => $self->take_lsn, end => $self->take_lsn, time => scalar $self->take('q>') };
}

sub origin
{
	my ($self) = @_;
	return { type => 'Origin', lsn => $self->take_lsn, name => scalar $self->take('Z*') };
}

sub message
{
	my ($self) = @_;
	my ($flags) = $self->take('C');
	my $lsn = $self->take_lsn;
	my ($prefix, $length) = $self->take('Z* N');
	return { type => 'Message', transactional => $flags & 1, lsn => $lsn, prefix => $prefix, content => $self->take_bytes($length) };
}

sub type
{
	my ($self) = @_;
	my ($oid, $schema, $name) = $self->take('N Z* Z*');
	return { type => 'Type', oid => $oid, schema => $schema, name => $name };
}

# columns: in_key, name, type (an oid) and typmod of each. An empty schema means pg_catalog.
sub relation
{
	my ($self) = @_;
	my ($oid, $schema, $name, $identity, $count) = $self->take('N Z* Z* a n');
	my @columns = map { $self->column } 1 .. $count;
	my $relation = { type => 'Relation', oid => $oid, schema => $schema || 'pg_catalog', name => $name,
		identity => $identity, columns => \@columns };
	return $self->{relations}{$oid} = $relation;
}

sub column
{
	my ($self) = @_;
	my %column;
	@column{qw(in_key name type typmod)} = $self->take('C Z* N l>');
	return \%column;
}

# A value by the name of each column: { text => '...' }, { null => 1 } or { unchanged => 1 }.
sub tuple
{
	my ($self, $relation) = @_;
	my ($count) = $self->take('n');
	my @columns = @{ $relation->{columns} };
	die "$count values for the " . @columns . " columns of $relation->{name}" if $count != @columns;
	return { map { $_->{name} => $self->value } @columns };
}

sub value
{
	my ($self) = @_;
	my ($kind) = $self->take('a');
	return { null => 1 } if $kind eq 'n';
	return { unchanged => 1 } if $kind eq 'u';
	die "unknown kind of value '$kind'" if $kind ne 't';
	return { text => $self->take_bytes(scalar $self->take('N')) };
}

sub known_relation
{
	my ($self, $oid) = @_;
	return $self->{relations}{$oid} // die "relation $oid was not described";
}

sub insert
{
	my ($self) = @_;
	my ($oid, $kind) = $self->take('N a');
	my $relation = $self->known_relation($oid);
	die "an Insert has '$kind'" if $kind ne 'N';
	return { type => 'Insert', relation => $relation, new => $self->tuple($relation) };
}

# old_kind: K, the key, or O, the whole row; without an old row there is neither it nor `old`.
sub update
{
	my ($self) = @_;
	my ($oid, $kind) = $self->take('N a');
	my $message = { type => 'Update', relation => $self->known_relation($oid) };
	if ($kind ne 'N')
	{
		die "an Update has '$kind'" if $kind !~ /^[KO]$/;
		$message->{old_kind} = $kind;
		$message->{old} = $self->tuple($message->{relation});
		($kind) = $self->take('a');
	}
	die "an Update has '$kind'" if $kind ne 'N';
	$message->{new} = $self->tuple($message->{relation});
	return $message;
}

sub delete_row
{
	my ($self) = @_;
	my ($oid, $kind) = $self->take('N a');
	die "a Delete has '$kind'" if $kind !~ /^[KO]$/;
	my $relation = $self->known_relation($oid);
	return { type => 'Delete', relation => $relation, old_kind => $kind, old => $self->tuple($relation) };
}

sub truncate
{
	my ($self) = @_;
	my ($count, $flags) = $self->take('N C');
	my @relations = map { $self->known_relation(scalar $self->take('N')) } 1 .. $count;
	return { type => 'Truncate', cascade => $flags & 1, restart => ($flags >> 1) & 1, relations => \@relations };
}

1;
