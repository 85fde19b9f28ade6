# Random values of every type, from Perl's generator: the same seed makes the same ones. A value is what the type's input
# function reads, in UTF-8, undef for null. What to_jsonb itself can't tell apart is not made: see docs/wire-format.md.
package RandomValues;
use strict;
use warnings;

use Exporter 'import';
our @EXPORT = qw(pick chance below literal copy_field base_types key_types array_of composite_of big_types nested);

sub pick { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub below { return int rand $_[0]; }

# As SQL reads it.
sub literal
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	$value =~ s/'/''/g;
	return "'$value'";
}

# As COPY reads it.
my %copy_escapes = ("\\" => "\\\\", "\n" => "\\n", "\r" => "\\r", "\t" => "\\t");

sub copy_field
{
	my ($value) = @_;
	return '\\N' unless defined $value;
	$value =~ s/([\\\n\r\t])/$copy_escapes{$1}/g;
	return $value;
}

sub quoted
{
	my ($value) = @_;
	$value =~ s/(["\\])/\\$1/g;
	return "\"$value\"";
}

# Arrays: of one dimension or more, with nulls, and at times with lower bounds other than 1.
sub array_of
{
	my ($element, $delimiter, $bounds) = @_;
	return '{}' if chance(0.1);
	my @lengths = map { 1 + below($_) } chance(0.7) ? (4) : chance(0.7) ? (3, 3) : (2, 2, 2);
	my $text = dimension($element, $delimiter // ',', @lengths);
	return $text unless $bounds && chance(0.15);
	my @from = map { below(5) - 2 } @lengths;
	return join('', map { "[$from[$_]:" . ($from[$_] + $lengths[$_] - 1) . ']' } 0 .. $#lengths) . "=$text";
}

sub dimension
{
	my ($element, $delimiter, $length, @inner) = @_;
	my @parts = map { @inner ? dimension($element, $delimiter, @inner) : chance(0.15) ? 'NULL' : quoted($element->()) } 1 .. $length;
	return '{' . join($delimiter, @parts) . '}';
}

sub composite_of
{
	return '(' . join(',', map { chance(0.15) ? '' : quoted($_->()) } @_) . ')';
}

# Text: what quoting, escaping and encoding could get wrong.
my @pieces = (
	(map { chr } 1 .. 31, 127), q{"}, q{'}, '\\', '\\n', '\\\\', '\\u0041', '$$', '%', '%s', '/', ' ', '  ', ',', ';', ':', '(', ')', '{', '}',
	'[1]', '{"a":1}', 'null', 'NULL', 'true', '12', '-0', 'NaN', "\xc3\xbc", "e\xcc\x81", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x9a\x95",
	"\xe2\x80\xa8", "\xef\xbf\xbf", "\xef\xbb\xbf", "\xc2\x80", "\xf4\x8f\xbf\xbf", 'a', 'word', 'x' x 14, 'y' x 15, 'z' x 16, 'w' x 33,
);
my $noise = '';

# Incompressible, so that it is stored out of line.
sub noise
{
	my ($size) = @_;
	$noise = join '', map { chr(33 + below(94)) } 1 .. 60_000 if $noise eq '';
	return substr $noise, below(60_000 - $size), $size;
}

sub text
{
	return join '', map { pick(@pieces) } 1 .. below(7);
}

sub characters
{
	my ($most) = @_;
	my $text = text();
	utf8::decode($text);
	$text = substr $text, 0, $most;
	utf8::encode($text);
	return $text;
}

sub large_text
{
	return chance(0.25) ? text() x (1 + below(700)) : text() . noise(2500 + below(6000)) . text();
}

# JSON. Inside arrays and composites its spelling can't be kept.
my @json_strings = ('""', '"a"', '"\\\\"', '"\\""', '"\\n\\t"', "\"\xc3\xbc\"", "\"\xf0\x9f\x9a\x95\"", '"null"', '"1"');
my @json_spellings = ('"\\u0041"', '"\\/"', '"\\ud83d\\ude95"', '"\\u001f"');
my @json_numbers = qw(0 -1 1.0 1.10 1e5 -1E-7 0.10 123456789012345678901234567890 9007199254740993);

sub json
{
	my ($depth, $spelled) = @_;
	my $kind = $depth > 0 ? below(6) : below(3);
	return pick(@json_strings, $spelled ? @json_spellings : ()) if $kind == 0;
	return pick(@json_numbers) if $kind == 1;
	return pick(qw(true false)) if $kind == 2;
	my @inner = map { chance(0.2) ? 'null' : json($depth - 1, $spelled) } 1 .. below(4);
	my $blank = $spelled ? pick('', ' ', '  ') : '';
	return "[$blank" . join(",$blank", @inner) . ']' if $kind == 3;
	return "{$blank" . join(",$blank", map { pick(@json_strings) . ":$blank$_" } @inner) . '}';
}

# As an element of an array: an array would be a dimension more.
sub json_element
{
	my $json = json(2);
	return $json =~ /^\[/ ? "{\"a\":$json}" : $json;
}

sub hex_digits { return join '', map { sprintf '%02x', below(256) } 1 .. $_[0]; }
sub digits { return join '', map { below(10) } 1 .. $_[0]; }
sub bits { return join '', map { below(2) } 1 .. $_[0]; }

sub float
{
	return pick(qw(NaN Infinity -Infinity 0 -0 1.7976931348623157e308 2.2250738585072014e-308 4.9e-324 0.1 1e15 1e16 -1e-7 19.15)) if chance(0.4);
	return sprintf '%.17g', (rand() - 0.5) * 10**(below(40) - 20);
}

sub float4
{
	return pick(qw(NaN Infinity -Infinity 0 -0 3.4028235e38 1.17549435e-38 1.4e-45 0.1 16777217 1e20)) if chance(0.4);
	return sprintf '%.9g', (rand() - 0.5) * 10**(below(30) - 15);
}

sub coordinate { return chance(0.8) ? float() : below(9); }
sub finite { return sprintf '%.17g', (rand() - 0.5) * 10**(below(20) - 10); }
sub point { return '(' . coordinate() . ',' . coordinate() . ')'; }
sub finite_point { return '(' . finite() . ',' . finite() . ')'; }

sub numeric
{
	return pick(qw(NaN Infinity -Infinity 0 -0.00 1.10 1e-20 1e100 0.000000000000000000000000000001)) if chance(0.3);
	return (chance(0.5) ? '-' : '') . digits(1 + below(40)) . (chance(0.7) ? '.' . digits(below(30) + 1) : '');
}

sub date
{
	return pick('infinity', '-infinity', '0044-03-15 BC', '4713-01-01 BC', '5874897-12-31', '0001-01-01', '10000-02-29') if chance(0.3);
	return day();
}

sub day { return sprintf '%04d-%02d-%02d', 1 + below(2500), 1 + below(12), 1 + below(28); }
sub clock { return sprintf('%02d:%02d:%02d', below(24), below(60), below(60)) . (chance(0.6) ? '.' . digits(1 + below(6)) : ''); }
sub zone { return sprintf('%s%02d:%02d', pick('+', '-'), below(15), below(60)); }
sub moment { return day() . ' ' . clock(); }

sub timestamp
{
	return pick('infinity', '-infinity', '0044-03-15 12:00:00 BC', '4713-01-01 00:00 BC', '294276-12-31 23:59:59.999999', '1970-01-01') if chance(0.3);
	return moment();
}

sub timestamptz
{
	return pick('infinity', '-infinity', '0044-03-15 12:00+00 BC', '294276-12-31 23:59:59.999999+00', '1900-01-01 00:00+01:23') if chance(0.3);
	return moment() . zone();
}

sub interval
{
	return pick('0', '178000000 years', '-1 mon +1 day', '00:00:00.000001', '-00:00:00.5', '1 day -00:00:01') if chance(0.3);
	return join ' ', below(40) - 20 . ' years', below(24) - 12 . ' mons', below(60) - 30 . ' days', pick('', '-') . clock();
}

sub range_of
{
	my ($bound) = @_;
	return 'empty' if chance(0.1);
	my @bounds = sort { $a <=> $b } map { $bound->() } 1, 2;
	return range_text(@bounds);
}

# The text of bounds sorts as they do.
sub text_range_of
{
	my ($bound) = @_;
	return 'empty' if chance(0.1);
	return range_text(sort map { $bound->() } 1, 2);
}

sub range_text
{
	my @bounds = map { chance(0.15) ? '' : quoted($_) } @_;
	return pick('[', '(') . join(',', @bounds) . pick(']', ')');
}

sub multirange_of
{
	my ($range) = @_;
	return '{' . join(',', map { $range->() } 1 .. below(4)) . '}';
}

sub address { return chance(0.6) ? join('.', map { below(256) } 1 .. 4) : join(':', map { sprintf '%x', below(65536) } 1 .. 8); }

sub inet
{
	my $address = address();
	return $address . (chance(0.5) ? '/' . below($address =~ /:/ ? 129 : 33) : '');
}

sub lexeme { return quoted_lexeme(characters(6) . pick('a', 'b', "\xc3\xbc")); }

sub quoted_lexeme
{
	my ($text) = @_;
	$text =~ s/(['\\])/$1$1/g;
	return "'$text'";
}

sub tsvector
{
	return join ' ', map { lexeme() . pick('', ':1', ':2A', ':3B,7', ':16383') } 1 .. below(6);
}

sub tsquery
{
	my ($depth) = @_;
	return lexeme() . pick('', ':*', ':AB', ':*C') if $depth == 0 || chance(0.3);
	my ($left, $right) = map { tsquery($depth - 1) } 1, 2;
	return pick("($left & $right)", "($left | $right)", "!($left)", "($left <-> $right)", "($left <3> $right)");
}

my $day_range = sub { text_range_of(\&day) };
my $integer_range = sub { range_of(sub { below(2_000_000) - 1_000_000 }) };
my $number_range = sub { range_of(sub { (below(2_000_000) - 1_000_000) . '.' . digits(1 + below(9)) }) };

my %base = (
	'bool' => sub { pick(qw(t f)) },
	'int2' => sub { pick(-32768, 32767, 0, below(1000)) },
	'int4' => sub { pick(-2147483648, 2147483647, below(1000)) },
	'int8' => sub { pick(qw(-9223372036854775808 9223372036854775807 9007199254740993), below(1000)) },
	'float4' => \&float4,
	'float8' => \&float,
	'numeric' => \&numeric,
	'numeric(10,4)' => sub { pick('NaN', '-999999.9999', below(1000) . '.' . digits(4), '1', '0.00005') },
	'numeric(5,-2)' => sub { pick('NaN', '9999900', '-100', '49', '50') },
	'numeric(3,5)' => sub { pick('0.00999', '-0.001', '0', '0.000004') },
	'numeric(1000,900)' => sub { digits(100) . '.' . digits(900) },
	'money' => sub { pick('-92233720368547758.08', '92233720368547758.07', '0', below(9999) . '.5') },
	'text' => \&text,
	'varchar' => \&text,
	'varchar(9)' => sub { characters(9) },
	'char(7)' => sub { characters(7) },
	'bpchar' => sub { text() . pick('', ' ') },
	'name' => \&text,
	'"char"' => sub { pick('', 'a', '"', '\\', "\t", ',', "\x01", ' ', '\\310') },
	'bytea' => sub { '\\x' . hex_digits(below(20)) },
	'date' => \&date,
	'time' => sub { pick('24:00', '00:00', '23:59:59.999999', clock()) },
	'time(2)' => \&clock,
	'timetz' => sub { clock() . zone() },
	'timestamp' => \&timestamp,
	'timestamp(3)' => \&moment,
	'timestamptz' => \&timestamptz,
	'timestamptz(0)' => sub { moment() . zone() },
	'interval' => \&interval,
	'interval year to month' => sub { below(100) . '-' . below(12) },
	'uuid' => sub { hex_digits(16) },
	'inet' => \&inet,
	'cidr' => sub { my $address = address(); $address . ($address =~ /:/ ? '/128' : '/32') },
	'macaddr' => sub { hex_digits(6) },
	'macaddr8' => sub { hex_digits(8) },
	'json' => sub { json(3, 1) },
	'jsonb' => sub { json(3, 1) },
	'jsonpath' => sub { pick('$.a[*] ? (@ > 1)', 'strict $."a b"', '$.**{2}.k', 'lax $[last]') },
	'xml' => sub { pick('', 'text', '<a b="c">x &amp; y</a>', "<x>\n\t\xc3\xbc<![CDATA[<>]]></x>", '<!-- "\\" --><y/>') },
	'point' => \&point,
	'line' => sub { '{' . finite() . ',1.5,' . finite() . '}' },
	'lseg' => sub { '[' . point() . ',' . point() . ']' },
	'box' => sub { finite_point() . ',' . finite_point() },
	'path' => sub { my $points = join ',', map { point() } 0 .. below(4); pick("[$points]", "($points)") },
	'polygon' => sub { '(' . join(',', map { finite_point() } 0 .. below(4)) . ')' },
	'circle' => sub { '<' . point() . ',' . pick('0', '1.5', 'Infinity') . '>' },
	'bit(3)' => sub { bits(3) },
	'varbit' => sub { bits(below(40)) },
	'varbit(9)' => sub { bits(below(10)) },
	'tsvector' => \&tsvector,
	'tsquery' => sub { chance(0.1) ? '' : tsquery(2) },
	'int4range' => $integer_range,
	'int8range' => $integer_range,
	'numrange' => $number_range,
	'daterange' => $day_range,
	'tsrange' => $day_range,
	'tstzrange' => $day_range,
	'int4multirange' => sub { multirange_of($integer_range) },
	'int8multirange' => sub { multirange_of($integer_range) },
	'nummultirange' => sub { multirange_of($number_range) },
	'datemultirange' => sub { multirange_of($day_range) },
	'tsmultirange' => sub { multirange_of($day_range) },
	'tstzmultirange' => sub { multirange_of($day_range) },
	'oid' => sub { pick(0, 4294967295, below(1000)) },
	'xid' => sub { pick(0, 4294967295, 42) },
	'cid' => sub { below(1000) },
	'tid' => sub { '(' . pick(0, 4294967295) . ',' . below(65536) . ')' },
	'xid8' => sub { pick(0, '18446744073709551615', below(1000)) },
	'pg_lsn' => sub { sprintf '%X/%X', below(2**32), below(2**32) },
	'pg_snapshot' => sub { pick('10:20:10,14,15', '1:1:', '9000000000000000000:9000000000000000001:9000000000000000000') },
	'txid_snapshot' => sub { pick('10:20:10,14,15', '1:1:') },
	'int2vector' => sub { join ' ', map { below(9) - 4 } 1 .. below(4) },
	'oidvector' => sub { join ' ', map { below(999) } 1 .. below(4) },
	'refcursor' => \&text,
	'aclitem' => sub { pick('=r/pg_monitor', 'pg_monitor=a*r*w/pg_read_all_data') },
	'regclass' => sub { pick('pg_class', '-', '4294967290', 'information_schema.tables') },
	'regtype' => sub { pick('int4', '"char"', '-', 'timestamp with time zone', 'text[]', '4294967290') },
	'regproc' => sub { pick('now', '-', 'pg_catalog.array_in') },
	'regprocedure' => sub { pick('lower(text)', '-', 'now()') },
	'regoper' => sub { pick('0', '|/', '4294967290') },
	'regoperator' => sub { pick('+(int4,int4)', '-(NONE,int4)', '0') },
	'regrole' => sub { pick('pg_monitor', '-', '4294967290') },
	'regnamespace' => sub { pick('pg_catalog', '-') },
	'regconfig' => sub { pick('english', 'simple', '-') },
	'regdictionary' => sub { pick('simple', '-') },
	'regcollation' => sub { pick('"C"', '"POSIX"', '-') },
);

sub base_types { return \%base; }

# Types a primary key can have, and what may be distinct enough in them.
sub key_types
{
	my @names = ('int4', 'int8', 'numeric', 'float8', 'text', 'varchar(9)', 'char(7)', 'bytea', 'date', 'timestamp', 'timestamptz',
		'interval', 'uuid', 'inet', 'macaddr8', 'jsonb', 'pg_lsn', 'varbit', 'numrange', 'int4multirange', 'tsvector', 'name', 'timetz',
		'oidvector');
	my %keys = map { $_ => $base{$_} } @names;
	$keys{int4} = $keys{int8} = sub { below(100_000) - 50_000 };
	$keys{'int4[]'} = sub { array_of(sub { below(1000) }) };
	$keys{'text[]'} = sub { array_of(\&text) };
	# Stored out of line, and yet small enough for an index.
	$keys{'long'} = sub { text() . noise(2100 + below(300)) };
	return \%keys;
}

# Types with values that may be stored out of line.
sub big_types
{
	my %big = (
		'text' => \&large_text,
		'varchar' => \&large_text,
		'bpchar' => \&large_text,
		'bytea' => sub { '\\x' . unpack 'H*', noise(2500 + below(5000)) },
		'json' => sub { my $noise = noise(3000 + below(3000)); $noise =~ s/["\\]/./g; '{"a": "' . $noise . '", "b":' . json(2, 1) . '}' },
		'jsonb' => sub { my $noise = noise(3000 + below(3000)); $noise =~ s/["\\]/./g; '[' . json(2) . ',"' . $noise . '"]' },
		'text[]' => sub { my $part = 1 + below(4); array_of(sub { noise(2500 / $part) }) },
		'varbit' => sub { bits(500 + below(3)) x (60 + below(9)) },
		'numeric' => sub { '1' . digits(4000 + below(2000)) . '.' . digits(below(2000) + 1) },
		'tsvector' => sub { join ' ', map { quoted_lexeme(noise(40)) . ":$_" } 1 .. 90 },
		'path' => sub { '[' . join(',', map { finite_point() } 1 .. 200) . ']' },
		'int8[]' => sub { '{' . join(',', map { '-' . digits(18) } 1 .. 400) . '}' },
	);
	return map { my $large = $big{$_}; my $small = $base{$_}; [ $_, sub { !$small || chance(0.6) ? $large->() : $small->() } ] } sort keys %big;
}

# For elements of arrays, columns of composites, domains.
sub nested
{
	my ($type) = @_;
	return $type =~ /^jsonb?$/ ? \&json_element : $base{$type};
}

1;
